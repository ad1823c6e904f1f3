//! `POST /api/events` and `/api/events/batches`: our own event API, for servers with a token (contract, row 45).

use crate::auth::{self, Scope};
use crate::body;
use crate::error::Result;
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wingbeat_engine::partition::Outcome;
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
        let events = parse(&body::read(body, BODY_BYTES_MAX).await?, &workspace)?;
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
