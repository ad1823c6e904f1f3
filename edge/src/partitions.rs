//! Calling partitions: which one holds a key, many at once, and merging what they answer.

use crate::config;
use crate::directory::{self, Directory, PublishedModel};
use crate::error::{ApiError, Result};
use crate::timer::sleep;
use futures_util::future::try_join_all;
use js_sys::Uint8Array;
use std::collections::BTreeMap;
use std::time::Duration;
use wingbeat_engine::event::Record;
use wingbeat_engine::key::{DeploymentKey, KeyHash};
use wingbeat_engine::partition::call::{Answer, Call, Envelope, Query};
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
        let mut outcomes = vec![Outcome::Accepted; records.len()];
        let mut by_key: BTreeMap<KeyHash, (Vec<usize>, Vec<Record>)> = BTreeMap::new();
        for (place, record) in records.into_iter().enumerate() {
            let (places, records) = by_key.entry(self.key.hash(&record.rec)).or_default();
            places.push(place);
            records.push(record);
        }
        let mut sent: Vec<Sent> = by_key
            .into_iter()
            .map(|(key, (places, records))| Sent { message: Message { key, ask: Ask::Take(records) }, places })
            .collect();
        if let Some(first) = dead.first() {
            // By their bytes: a repeated batch finds the same partition, and the same row there.
            let key = KeyHash::from_mac(&self.key.mac(first.raw.as_bytes()));
            sent.push(Sent { message: Message { key, ask: Ask::Bury(dead) }, places: Vec::new() });
        }
        for hop in 0.. {
            let onward = self.hop(sent, &mut outcomes).await?;
            if onward.is_empty() {
                break;
            }
            // A chase never fails a request: from here on the events travel by themselves, durably.
            let last = hop == HOPS_MAX;
            sent = onward.into_iter().map(|message| Sent::onward(message, last)).collect();
        }
        Ok(outcomes)
    }

    /// One call to every partition that messages are for. Answers the messages that must go on.
    async fn hop(&self, sent: Vec<Sent>, outcomes: &mut [Outcome]) -> Result<Vec<Message>> {
        let mut calls: BTreeMap<u16, Vec<Sent>> = BTreeMap::new();
        for sent in sent {
            calls.entry(self.directory.slots().partition_of(sent.message.key)).or_default().push(sent);
        }
        let applied = try_join_all(calls.into_iter().map(|(partition, sent)| self.apply(partition, sent))).await?;
        let mut all_onward = Vec::new();
        for (places, of_message, onward) in applied.into_iter().flatten() {
            for (place, outcome) in of_message {
                if let Some(slot) = places.get(place).and_then(|place| outcomes.get_mut(*place)) {
                    *slot = outcome;
                }
            }
            for mut message in onward {
                for event in message.events_mut() {
                    event.place = event.place.and_then(|place| places.get(place).copied());
                }
                all_onward.push(message);
            }
        }
        Ok(all_onward)
    }

    async fn apply(&self, partition: u16, sent: Vec<Sent>) -> Result<Vec<Applied>> {
        let (places, messages): (Vec<_>, Vec<_>) = sent.into_iter().map(|sent| (sent.places, sent.message)).unzip();
        let Answer::Replies(replies) = self.call(partition, Call::Apply(messages)).await? else {
            return Err(ApiError::unavailable("a partition failed", "it gave another answer than replies"));
        };
        let mut applied = Vec::with_capacity(places.len());
        for (places, reply) in places.into_iter().zip(replies) {
            match reply {
                Reply::Done { outcomes, onward } => applied.push((places, outcomes, onward)),
                Reply::Failed(why) => return Err(ApiError::unavailable("events could not be stored", why)),
            }
        }
        Ok(applied)
    }

    /// Asks whoever knows, starting where the query says, until somebody answers.
    pub(crate) async fn ask(&self, mut query: Query) -> Result<Answer> {
        let mut settling = 0;
        for _ in 0..=2 * HOPS_MAX {
            let Some(at) = query.target_mut().map(|target| target.at) else { return Ok(Answer::Unknown) };
            let partition = self.directory.slots().partition_of(at);
            match self.call(partition, Call::Ask(Box::new(query.clone()))).await? {
                Answer::Elsewhere(next) => {
                    if let Some(target) = query.target_mut() {
                        *target = next;
                    }
                }
                Answer::Settling if settling == SETTLING_RETRIES => break,
                Answer::Settling => {
                    settling += 1;
                    sleep(Duration::from_millis(20 * settling)).await;
                }
                answer => return Ok(answer),
            }
        }
        Err(ApiError::settling())
    }

    /// Asks the partition that holds a key.
    pub(crate) async fn ask_owner(&self, key: KeyHash, query: Query) -> Result<Answer> {
        self.call(self.directory.slots().partition_of(key), Call::Ask(Box::new(query))).await
    }

    /// Asks every partition.
    pub(crate) async fn ask_all(&self, query: Query) -> Result<Vec<Answer>> {
        let calls =
            (0..self.directory.partitions).map(|partition| self.call(partition, Call::Ask(Box::new(query.clone()))));
        try_join_all(calls).await
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

    /// Asks one partition.
    pub(crate) async fn ask_one(&self, partition: u16, query: Query) -> Result<Answer> {
        self.call(partition, Call::Ask(Box::new(query))).await
    }

    /// Calls every partition.
    pub(crate) async fn call_all(&self, call: &Call) -> Result<Vec<Answer>> {
        try_join_all((0..self.directory.partitions).map(|partition| self.call(partition, call.clone()))).await
    }

    /// Tells every partition of a version of the model. Answers when all go by it.
    pub(crate) async fn publish(&self, published: &PublishedModel) -> Result<Vec<Answer>> {
        self.call_all(&told(published)).await
    }

    /// Calls a partition; one that has not heard of the newest version of the model is told of it first.
    async fn call(&self, partition: u16, call: Call) -> Result<Answer> {
        let envelope = self.envelope(partition, call);
        match call_partition(self.env, &envelope).await? {
            Answer::Behind => {
                call_partition(self.env, &self.envelope(partition, told(&self.directory.model))).await?;
                match call_partition(self.env, &envelope).await? {
                    Answer::Behind => Err(ApiError::unavailable("a partition failed", "it knows no newer model")),
                    answer => Ok(answer),
                }
            }
            answer => Ok(answer),
        }
    }

    fn envelope(&self, partition: u16, call: Call) -> Envelope {
        let model_version = self.directory.model.version;
        Envelope { partition, of: self.directory.partitions, call, model_version }
    }
}

/// The message that tells of a version.
fn told(published: &PublishedModel) -> Call {
    Call::Publish { version: published.version, model: published.model.to_string() }
}

/// Calls a partition.
pub(crate) async fn call_partition(env: &Env, envelope: &Envelope) -> Result<Answer> {
    let failed = |cause: worker::Error| ApiError::unavailable("a partition failed", cause);
    let bytes = encode(envelope).map_err(|error| ApiError::unavailable("a partition could not be called", error))?;
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes.as_slice()).into()));
    // The host means nothing: the stub decides who is called.
    let request = Request::new_with_init("https://partition/", &init).map_err(failed)?;
    let namespace = env.durable_object("PARTITION").map_err(failed)?;
    let stub = namespace.get_by_name(&Directory::object_name(envelope.partition)).map_err(failed)?;
    let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
    let bytes = response.bytes().await.map_err(failed)?;
    if response.status_code() != 200 {
        return Err(ApiError::unavailable("a partition failed", String::from_utf8_lossy(&bytes)));
    }
    decode(&bytes).map_err(|error| ApiError::unavailable("a partition failed", error))
}

/// A message, and for the events in it their places in the request: by their own number in the message.
struct Sent {
    message: Message,
    places: Vec<usize>,
}

/// A message's places, what came of its events, and what must go on.
type Applied = (Vec<usize>, Vec<(usize, Outcome)>, Vec<Message>);

impl Sent {
    /// A message that a partition has sent on. `last`: nobody waits for it any more.
    fn onward(mut message: Message, last: bool) -> Sent {
        let mut places = Vec::new();
        for event in message.events_mut() {
            let place = event.place.take();
            if let Some(place) = place.filter(|_| !last) {
                event.place = Some(places.len());
                places.push(place);
            }
        }
        Sent { message, places }
    }
}

/// How often events are sent on before they travel by themselves.
const HOPS_MAX: u32 = 8;
/// How often somebody on the way between partitions is asked for again.
const SETTLING_RETRIES: u64 = 5;
