//! Calling partitions: which one holds a key, many at once, and merging what they answer.

use crate::config;
use crate::directory::{self, Directory};
use crate::error::{ApiError, Result};
use futures_util::future::try_join_all;
use js_sys::Uint8Array;
use std::collections::BTreeMap;
use wingbeat_engine::event::Record;
use wingbeat_engine::key::{DeploymentKey, KeyHash};
use wingbeat_engine::partition::call::{Answer, Call, Query};
use wingbeat_engine::partition::list::{List, Listed};
use wingbeat_engine::partition::message::{Ask, DeadLetter, Message};
use wingbeat_engine::partition::{Outcome, Reply, decode, encode};
use worker::{Env, Method, Request, RequestInit};

/// All partitions of a deployment, as one request sees them.
pub(crate) struct Partitions<'e> {
    env: &'e Env,
    key: DeploymentKey,
    directory: Directory,
}

impl<'e> Partitions<'e> {
    pub(crate) async fn open(env: &'e Env) -> Result<Partitions<'e>> {
        Ok(Partitions { env, key: config::deployment_key(env)?, directory: directory::read(env).await? })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn key(&self) -> &DeploymentKey {
        &self.key
    }

    /// Stores records. Answers one outcome for each, in order, when all are durable.
    pub(crate) async fn take(&self, records: Vec<Record>, dead: Vec<DeadLetter>) -> Result<Vec<Outcome>> {
        let count = records.len();
        let mut by_key: BTreeMap<KeyHash, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
        for (place, record) in records.into_iter().enumerate() {
            let (places, records) = by_key.entry(self.key.hash(&record.rec)).or_default();
            places.push(place);
            records.push(record);
        }
        let mut places = BTreeMap::new();
        let mut calls: BTreeMap<u16, Vec<Message>> = BTreeMap::new();
        for (key, (own, records)) in by_key {
            places.insert(key, own);
            calls.entry(self.directory.partition_of(key)).or_default().push(Message { key, ask: Ask::Take(records) });
        }
        if let Some(first) = dead.first() {
            // By their bytes: a repeated batch finds the same partition, and the same row there.
            let key = KeyHash::from_mac(&self.key.mac(first.raw.as_bytes()));
            calls.entry(self.directory.partition_of(key)).or_default().push(Message { key, ask: Ask::Bury(dead) });
        }
        let mut outcomes = vec![Outcome::Accepted; count];
        let applied = calls.into_iter().map(|(partition, messages)| self.apply(partition, messages));
        for (key, of_key) in try_join_all(applied).await?.into_iter().flatten() {
            for (place, outcome) in places.get(&key).into_iter().flatten().zip(of_key) {
                if let Some(slot) = outcomes.get_mut(*place) {
                    *slot = outcome;
                }
            }
        }
        Ok(outcomes)
    }

    async fn apply(&self, partition: u16, messages: Vec<Message>) -> Result<Vec<(KeyHash, Vec<Outcome>)>> {
        let keys: Vec<KeyHash> = messages.iter().map(|message| message.key).collect();
        let Answer::Replies(replies) = self.call(partition, &Call::Apply(messages)).await? else {
            return Err(ApiError::unavailable("a partition failed", "it gave another answer than replies"));
        };
        let mut outcomes = Vec::with_capacity(keys.len());
        for (key, reply) in keys.into_iter().zip(replies) {
            match reply {
                Reply::Done(of_key) => outcomes.push((key, of_key)),
                Reply::Failed(why) => return Err(ApiError::unavailable("events could not be stored", why)),
            }
        }
        Ok(outcomes)
    }

    /// Asks the partition that holds a key.
    pub(crate) async fn ask(&self, key: KeyHash, query: Query) -> Result<Answer> {
        self.call(self.directory.partition_of(key), &Call::Ask(Box::new(query))).await
    }

    /// Asks every partition.
    pub(crate) async fn ask_all(&self, query: Query) -> Result<Vec<Answer>> {
        let call = Call::Ask(Box::new(query));
        try_join_all((0..self.directory.partitions).map(|partition| self.call(partition, &call))).await
    }

    /// The first prospects of a list over all partitions; `None` when there is no such score.
    pub(crate) async fn list(&self, list: List) -> Result<Option<Vec<Listed>>> {
        let limit = list.limit;
        let mut merged = Vec::new();
        for answer in self.ask_all(Query::List(list)).await? {
            match answer {
                Answer::List(listed) => merged.extend(listed),
                _ => return Ok(None),
            }
        }
        merged.sort_by(|one, other| other.rank.partial_cmp(&one.rank).unwrap_or(std::cmp::Ordering::Equal));
        merged.truncate(limit);
        Ok(Some(merged))
    }

    async fn call(&self, partition: u16, call: &Call) -> Result<Answer> {
        let failed = |cause: worker::Error| ApiError::unavailable("a partition failed", cause);
        let bytes = encode(call).map_err(|error| ApiError::unavailable("a partition could not be called", error))?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes.as_slice()).into()));
        // The host means nothing: the stub decides who is called.
        let request = Request::new_with_init("https://partition/", &init).map_err(failed)?;
        let namespace = self.env.durable_object("PARTITION").map_err(failed)?;
        let stub = namespace.get_by_name(&Directory::object_name(partition)).map_err(failed)?;
        let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
        let bytes = response.bytes().await.map_err(failed)?;
        if response.status_code() != 200 {
            return Err(ApiError::unavailable("a partition failed", String::from_utf8_lossy(&bytes)));
        }
        decode(&bytes).map_err(|error| ApiError::unavailable("a partition failed", error))
    }
}
