//! `POST /api/events` and `/api/events/batches`: our own event API, for servers with a token (contract, row 45).

use crate::auth::{self, Scope};
use crate::error::Result;
use crate::model;
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::{body, directory};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wingbeat_engine::event::Rejected;
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::scoring::beyond_range;
use wingbeat_engine::sources::collect::Events;
use wingbeat_engine::sources::events::{BODY_BYTES_MAX, parse};
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn post(
    State(env): State<Env>,
    headers: HeaderMap,
    parameters: Parameters,
    body: Body,
) -> Result<Response> {
    SendFuture::new(async move {
        let workspace = auth::require(&env, &headers, Scope::Events).await?.workspace;
        parameters.none_left()?;
        body::check_encoding(&headers)?;
        let policy = directory::read(&env).await?.policy();
        let mut events = parse(&body::read(body, BODY_BYTES_MAX).await?, &workspace, &policy)?;
        reject_beyond_range(&env, &mut events).await?;
        let outcomes = Partitions::open(&env).await?.take(events.records, Vec::new()).await?;
        let duplicates = outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
        let rejected: Vec<Value> = events
            .rejected
            .iter()
            .map(|rejected| json!({ "index": rejected.index, "reason": rejected.reason, "detail": rejected.detail }))
            .collect();
        let status = if rejected.is_empty() { StatusCode::ACCEPTED } else { StatusCode::MULTI_STATUS };
        let answer = json!({ "accepted": outcomes.len() - duplicates, "duplicates": duplicates, "rejected": rejected });
        Ok((status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(answer)).into_response())
    })
    .await
}

/// Rejects what tells a score from outside a number that none can be.
async fn reject_beyond_range(env: &Env, events: &mut Events) -> Result<()> {
    let beyond: Vec<Vec<String>> = events.records.iter().map(|record| beyond_range(&record.body)).collect();
    let scored = model::scored_of(env, beyond.iter().flatten().cloned().collect()).await?;
    for (record, names) in beyond.iter().enumerate().rev() {
        if let Some(name) = names.iter().find(|name| scored.contains(*name)) {
            events.records.remove(record);
            let index = events.places.remove(record);
            let detail = format!("`properties.attributes.{name}`: {}", model::beyond_range());
            events.rejected.push(Rejected { index, reason: "invalid_event", detail });
        }
    }
    events.rejected.sort_by_key(|rejected| rejected.index);
    Ok(())
}
