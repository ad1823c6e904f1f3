//! `GET /api/dead-letters`, `GET /api/dead-letters/{id}`, `POST /api/dead-letters/{id}/retry`: records that could not be
//! read, with the reason.

use crate::currents;
use crate::error::{ApiError, Result};
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use crate::prospects::{open, seal};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::cmp::Reverse;
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::dead::{Kept, LetterId};
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::partition::read::Position;
use wingbeat_engine::time;
use worker::Env;
use worker::send::SendFuture;

/// Newest first; the beginning of those that are long.
pub(crate) async fn list(State(env): State<Env>, mut parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let limit = parameters.limit()?;
        let behind: Option<Position> = parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
        parameters.none_left()?;
        let mut letters = Vec::new();
        // One more tells whether there is another page.
        for answer in Partitions::open(&env).await?.ask_all(Query::DeadLetters(limit + 1, behind)).await? {
            letters.extend(kept(answer)?);
        }
        letters.sort_by_key(|kept| (Reverse(kept.at), kept.id));
        let more = letters.len() > limit;
        letters.truncate(limit);
        let end = letters.last().filter(|_| more).map(|kept| seal(&kept.position())).transpose()?;
        let items: Vec<Value> = letters.iter().map(show).collect();
        Ok(Json(json!({ "items": items, "next_cursor": end })))
    })
    .await
}

/// One, whole.
pub(crate) async fn one(
    State(env): State<Env>,
    Reference(id): Reference,
    parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let kept = find(&Partitions::open(&env).await?, &id).await?;
        Ok(Json(show(&kept)))
    })
    .await
}

/// Reads it again as it would be read now. What succeeds is stored and no letter any more; what does not stays one.
pub(crate) async fn retry(
    State(env): State<Env>,
    Reference(id): Reference,
    parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let Kept { id, letter, .. } = find(&partitions, &id).await?;
        let outcome = match currents::read_again(&env, &partitions, &letter).await? {
            Ok(outcome) => outcome,
            Err((reason, detail)) => {
                let answer = json!({ "id": id.show(), "status": "dead_lettered", "reason": reason, "detail": detail });
                return Ok(Json(answer));
            }
        };
        // Once it is stored: if this fails, the next retry finds a duplicate.
        partitions.tell(Message { key: id.key(), ask: Ask::Exhume(id) }).await?;
        let status = if outcome == Outcome::Accepted { "accepted" } else { "duplicate" };
        Ok(Json(json!({ "id": id.show(), "status": status })))
    })
    .await
}

async fn find(partitions: &Partitions<'_>, id: &str) -> Result<Kept> {
    let unknown = || ApiError::not_found("there is no such dead letter");
    let id = LetterId::parse(id).ok_or_else(unknown)?;
    let answer = partitions.ask_owner(id.key(), Query::DeadLetter(id)).await?;
    kept(answer)?.pop().ok_or_else(unknown)
}

fn kept(answer: Answer) -> Result<Vec<Kept>> {
    match answer {
        Answer::DeadLetters(kept) => Ok(kept),
        _ => Err(ApiError::unavailable("a partition failed", "it gave another answer than dead letters")),
    }
}

fn show(kept: &Kept) -> Value {
    let letter = &kept.letter;
    json!({
        "id": kept.id.show(),
        "received_at": time::show(kept.at),
        "source": letter.source.slug(),
        "workspace": letter.workspace,
        "event_type": letter.event_type,
        "reason": letter.reason,
        "detail": letter.detail,
        "raw": letter.raw,
        "truncated": kept.cut,
    })
}
