//! `DELETE /api/prospects/{ref}` and its receipt, `GET /api/erasures/{id}` (contract, row 38); `GET /api/erasures`, those of
//! Braze's requests among them.

use crate::error::{ApiError, Result};
use crate::idempotency::{self, Call};
use crate::now_ms;
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use crate::prospects::{open, seal, target, unknown};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::cmp::Reverse;
use wingbeat_engine::key::{Identifier, KeyHash};
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::erasure::{Cut, Erasure};
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::partition::read::Target;
use worker::Env;
use worker::send::SendFuture;

/// `DELETE /api/prospects/{ref}`
pub(crate) async fn delete(
    State(env): State<Env>,
    headers: HeaderMap,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<(StatusCode, Json<Value>)> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let target = target(partitions.key(), &reference)?;
        idempotency::ask_once(&partitions, &headers, &["erase", &reference]).await?;
        let call = Call::of_caller(&partitions, &headers);
        // Of now, not of when it was first asked: it may have found nobody then, or have failed.
        let cut = Cut { at: now_ms(), known: true };
        let erasure = once(&partitions, call, target, cut, Vec::new()).await?.ok_or_else(|| unknown(&reference))?;
        Ok((StatusCode::ACCEPTED, Json(json!({ "erasure": erasure.id(), "status": "running" }))))
    })
    .await
}

/// `GET /api/erasures`: the receipts, latest first.
pub(crate) async fn list(State(env): State<Env>, mut parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let limit = parameters.limit()?;
        let behind: Option<(i64, String)> =
            parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let mut erasures = Vec::new();
        // One more tells whether there is another page.
        for answer in partitions.ask_all(Query::Erasures(limit + 1, behind)).await? {
            let Answer::Erasures(some) = answer else {
                return Err(ApiError::unavailable("a partition failed", "it gave another answer than erasures"));
            };
            erasures.extend(some);
        }
        erasures.sort_by_cached_key(|erasure| (Reverse(erasure.cut.at), erasure.id()));
        let more = erasures.len() > limit;
        erasures.truncate(limit);
        let end = erasures.last().filter(|_| more).map(|last| seal(&(last.cut.at, last.id()))).transpose()?;
        let mut items = Vec::with_capacity(erasures.len());
        for erasure in erasures {
            items.push(show(&partitions, erasure).await?);
        }
        Ok(Json(json!({ "items": items, "next_cursor": end })))
    })
    .await
}

/// `GET /api/erasures/{id}`
pub(crate) async fn receipt(
    State(env): State<Env>,
    Reference(id): Reference,
    parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let unknown = || ApiError::not_found("there is no such erasure");
        let (founder, _) = Erasure::parse_id(&id).ok_or_else(unknown)?;
        let answer = partitions.ask_owner(founder, Query::Erasure(id)).await?;
        let Answer::Erasure(erasure) = answer else { return Err(unknown()) };
        Ok(Json(show(&partitions, erasure).await?))
    })
    .await
}

/// A receipt. As long as it is not known to be complete, all who must have forgotten are asked.
async fn show(partitions: &Partitions<'_>, mut erasure: Erasure) -> Result<Value> {
    let mut done = erasure.keys.len();
    if erasure.completed.is_none() {
        done = 0;
        for key in &erasure.keys {
            let query = Query::Erased { target: Target::key(*key), since: erasure.cut.at };
            done += usize::from(partitions.ask(query).await? == Answer::Erased(true));
        }
        if done == erasure.keys.len() {
            let completed = now_ms();
            partitions.tell(Message { key: erasure.founder, ask: Ask::Erased(erasure.id()) }).await?;
            erasure.completed = Some(completed);
        }
    }
    let show = wingbeat_engine::time::show;
    Ok(json!({
        "erasure": erasure.id(),
        "status": if erasure.completed.is_some() { "completed" } else { "running" },
        "prospect": erasure.founder.prospect_id(),
        "requested_at": show(erasure.cut.at),
        "completed_at": erasure.completed.map(show),
        "keys": { "total": erasure.keys.len(), "erased": done },
    }))
}

/// Has a prospect erased; asked for again, it takes nobody who has come back since, and the receipt is the same. `None` if
/// there is nobody.
pub(crate) async fn once(
    partitions: &Partitions<'_>,
    call: Call,
    target: Target,
    cut: Cut,
    named: Vec<Identifier>,
) -> Result<Option<Erasure>> {
    let erasure: Erasure = match call.outcome(partitions).await? {
        Some(erasure) => erasure,
        None => match prepare(partitions, target, cut, named).await? {
            Some(erasure) => call.keep(partitions, erasure).await?,
            None => return Ok(None),
        },
    };
    partitions.tell(Message { key: erasure.founder, ask: Ask::Erase(erasure.clone()) }).await?;
    Ok(Some(erasure))
}

/// What is to be erased of a prospect; what could not be read but names them by an identifier of theirs, or by one of
/// `named`, goes at once. `None` if there is nobody.
async fn prepare(
    partitions: &Partitions<'_>,
    target: Target,
    cut: Cut,
    named: Vec<Identifier>,
) -> Result<Option<Erasure>> {
    let query = Query::Holdings { target, decision: String::new() };
    let held = match partitions.ask(query).await? {
        Answer::Holdings(held) => Some(held),
        _ => None,
    };
    let of_prospect = held.iter().flat_map(|held| held.keys.iter().chain(&held.browsers).cloned());
    let named: Vec<Identifier> = named.into_iter().chain(of_prospect).collect();
    if !named.is_empty() {
        // First, for afterwards nobody knows any more what to look for.
        partitions.tell_all(Ask::ForgetLetters(named)).await?;
    }
    let Some(held) = held else { return Ok(None) };
    // The browsers of a person learn of it by what they claim: only the time that is the person's goes.
    let keys = if held.keys.is_empty() { held.browsers } else { held.keys };
    let keys: Vec<KeyHash> = keys.iter().map(|ident| partitions.key().hash(ident)).collect();
    let founder = partitions.key().hash(&held.founder);
    Ok(Some(Erasure { founder, cut, keys, completed: None }))
}
