//! `POST /api/braze/currents/events`: Braze's Custom Currents Export.
//!
//! What each status makes Braze do decides what we answer (facts on Braze, 1.4): 200 only when all is durable; 400 only
//! for a body that is no JSON object; one event that cannot be read is kept aside, and the batch is 200; trouble of ours
//! is 503, never 401 or 404, on which Braze gives up.

use crate::auth::{self, Scope};
use crate::body;
use crate::error::Result;
use crate::partitions::Partitions;
use crate::{config, erasures};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::collections::BTreeMap;
use wingbeat_engine::event::{Record, Source};
use wingbeat_engine::key::Identifier;
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::partition::erasure::Cut;
use wingbeat_engine::partition::message::DeadLetter;
use wingbeat_engine::partition::read::Target;
use wingbeat_engine::sources::currents::{is_delete_request, parse};
use worker::Env;
use worker::send::SendFuture;

/// The most bytes of a batch: 100 events of 1 to 2 KB are usual; Braze splits what it is told is too large.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The token names the workspace once there can be several tokens; this one's is the default.
const WORKSPACE: &str = "";

pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Result<Response> {
    SendFuture::new(async move {
        auth::require(&env, &headers, Scope::Currents).await?;
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let batch = parse(&bytes, WORKSPACE, &BTreeMap::new())?;
        let dead: Vec<DeadLetter> = batch.dead.into_iter().map(aside).collect();
        let buried = dead.len();
        // A probe of our credentials stores nothing.
        let outcomes = if batch.records.is_empty() && dead.is_empty() {
            Vec::new()
        } else {
            let partitions = Partitions::open(&env).await?;
            let requests =
                if config::erases_on_request(&env) { delete_requests(&partitions, &batch.records) } else { Vec::new() };
            let outcomes = partitions.take(batch.records, dead).await?;
            // After the rest of the batch: whether a merge or a delete request comes first in it makes no difference.
            for (target, at, named) in requests {
                // Dated as Braze dates it: a batch that is sent again erases nothing that has happened since.
                erasures::order(&partitions, target, Cut { at, known: false }, named).await?;
            }
            outcomes
        };
        let duplicates = outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
        let answer = json!({
            "accepted": outcomes.len() - duplicates,
            "duplicates": duplicates,
            "dead_lettered": buried,
        });
        Ok(Json(answer).into_response())
    })
    .await
}

/// Whom Braze was asked to delete, when, ms, and what it calls them.
fn delete_requests(partitions: &Partitions<'_>, records: &[Record]) -> Vec<(Target, i64, Vec<Identifier>)> {
    let requests = records.iter().filter(|record| is_delete_request(record)).map(|record| {
        let others = record.facts.iter().filter(|fact| !fact.explicit).map(|fact| &fact.other);
        let named = [&record.rec].into_iter().chain(others).cloned().collect();
        (Target::key(partitions.key().hash(&record.rec)), record.at, named)
    });
    requests.collect()
}

fn aside(dead: wingbeat_engine::sources::currents::DeadLetter) -> DeadLetter {
    DeadLetter { source: Source::Currents, reason: dead.reason.to_owned(), detail: dead.detail, raw: dead.raw }
}
