//! `POST /api/braze/currents/events`: Braze's Custom Currents Export.
//!
//! What each status makes Braze do decides what we answer (facts on Braze, 1.4): 200 only when all is durable; 400 only
//! for a body that is no JSON object; one event that cannot be read is kept aside, and the batch is 200; trouble of ours
//! is 503, and more than we can hold at once 429, never 401 or 404, on which Braze gives up.

use crate::auth::{self, Scope};
use crate::error::Result;
use crate::idempotency::Call;
use crate::now_ms;
use crate::partitions::Partitions;
use crate::{body, config, directory, erasures};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wingbeat_engine::event::{Record, Source};
use wingbeat_engine::key::{Identifier, KeyHash};
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::partition::erasure::Cut;
use wingbeat_engine::partition::intake::Batch;
use wingbeat_engine::partition::message::{Ask, DeadLetter, Message};
use wingbeat_engine::partition::read::Target;
use wingbeat_engine::sources::currents;
use worker::Env;
use worker::send::SendFuture;

/// The most bytes of a batch, as sent and unpacked: 100 events of 1 to 2 KB are usual; Braze splits what it is told is too
/// large.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Result<Response> {
    SendFuture::new(async move {
        let workspace = auth::require(&env, &headers, Scope::Currents).await?.workspace;
        body::check_encoding(&headers)?;
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let directory = directory::read(&env).await?;
        let groups = &directory.settings.subscription_groups;
        let batch = currents::parse_under(&directory.policy(), &bytes, &workspace, groups)?;
        let dead: Vec<DeadLetter> = batch.dead.into_iter().map(|dead| aside(dead, &workspace)).collect();
        let buried = dead.len();
        // A probe of our credentials stores nothing.
        let outcomes = if batch.probe {
            Vec::new()
        } else {
            let partitions = Partitions::open(&env).await?;
            let outcomes = take(&env, &partitions, batch.records, dead).await?;
            note(&partitions, workspace, &outcomes, buried).await;
            outcomes
        };
        let answer = json!({
            "accepted": outcomes.len() - duplicates(&outcomes),
            "duplicates": duplicates(&outcomes),
            "dead_lettered": buried,
        });
        Ok(Json(answer).into_response())
    })
    .await
}

/// Reads what was kept aside once more: stored, or why it still can't be read.
pub(crate) async fn read_again(
    env: &Env,
    partitions: &Partitions<'_>,
    letter: &DeadLetter,
) -> Result<std::result::Result<Outcome, (String, String)>> {
    let body = format!("{{\"events\":[{}]}}", letter.raw);
    let groups = &partitions.directory().settings.subscription_groups;
    // Only the beginning of an event is kept that was too large: that is no JSON.
    let policy = partitions.directory().policy();
    let batch = currents::parse_under(&policy, body.as_bytes(), &letter.workspace, groups).unwrap_or_default();
    if batch.records.is_empty() {
        let dead = batch.dead.into_iter().next().map(|dead| (dead.reason.to_owned(), dead.detail));
        return Ok(Err(dead.unwrap_or_else(|| (letter.reason.clone(), letter.detail.clone()))));
    }
    let outcomes = take(env, partitions, batch.records, Vec::new()).await?;
    Ok(Ok(outcomes.first().copied().unwrap_or(Outcome::Duplicate)))
}

/// Stores what was read and what was not. Answers what came of each record.
async fn take(
    env: &Env,
    partitions: &Partitions<'_>,
    records: Vec<Record>,
    dead: Vec<DeadLetter>,
) -> Result<Vec<Outcome>> {
    let requests = if config::erases_on_request(env) { delete_requests(partitions, &records) } else { Vec::new() };
    let outcomes = partitions.take(records, dead).await?;
    // After the rest of the batch: whether a merge or a delete request comes first in it makes no difference.
    for DeleteRequest { call, target, at, named } in requests {
        // Dated as Braze dates it, so that what has happened since stays; but not ahead, or it would take what is to come.
        let now = now_ms();
        let cut = Cut { at: at.min(now), known: at > now };
        erasures::once(partitions, call, target, cut, named).await?;
    }
    Ok(outcomes)
}

/// Notes the last batch of a workspace, for people to see. All of it is stored by now: that this could not be noted, which
/// is logged, is no reason to have it sent again.
async fn note(partitions: &Partitions<'_>, workspace: String, outcomes: &[Outcome], buried: usize) {
    let key = KeyHash::from_mac(&partitions.key().mac(workspace.as_bytes()));
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let batch = Batch {
        workspace,
        at: now_ms(),
        accepted: count(outcomes.len() - duplicates(outcomes)),
        duplicates: count(duplicates(outcomes)),
        dead_lettered: count(buried),
    };
    let _ = partitions.tell(Message { key, ask: Ask::NoteBatch(batch) }).await;
}

fn duplicates(outcomes: &[Outcome]) -> usize {
    outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count()
}

/// Whom Braze was asked to delete.
struct DeleteRequest {
    /// The same for a batch that is sent again: whom somebody has become meanwhile was not meant.
    call: Call,
    target: Target,
    /// When, ms.
    at: i64,
    /// What Braze calls them.
    named: Vec<Identifier>,
}

fn delete_requests(partitions: &Partitions<'_>, records: &[Record]) -> Vec<DeleteRequest> {
    let requests = records.iter().filter(|record| currents::is_delete_request(record)).map(|record| {
        let others = record.facts.iter().filter(|fact| !fact.explicit).map(|fact| &fact.other);
        let named = [&record.rec].into_iter().chain(others).cloned().collect();
        let key = partitions.key().hash(&record.rec);
        let call = Call::of_event(partitions, key, &record.id);
        DeleteRequest { call, target: Target::key(key), at: record.at, named }
    });
    requests.collect()
}

fn aside(dead: currents::DeadLetter, workspace: &str) -> DeadLetter {
    let currents::DeadLetter { reason, detail, event_type, raw, .. } = dead;
    let (reason, workspace) = (reason.to_owned(), workspace.to_owned());
    DeadLetter { source: Source::Currents, reason, detail, raw, event_type, workspace }
}
