//! `GET /api/dead-letters`: records that could not be read, newest first, with the reason.

use crate::auth::{self, Scope};
use crate::error::{ApiError, Result};
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use wingbeat_engine::partition::call;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn list(
    State(env): State<Env>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Json<Value>> {
    SendFuture::new(async move {
        auth::require(&env, &headers, Scope::Read).await?;
        let limit = parameters.limit()?;
        parameters.none_left()?;
        let mut items = Vec::new();
        for answer in Partitions::open(&env).await?.ask_all(call::Query::DeadLetters(limit)).await? {
            if let call::Answer::Page { items: part, .. } = answer {
                let part: Vec<Value> = serde_json::from_slice(&part)
                    .map_err(|error| ApiError::unavailable("dead letters could not be read", error))?;
                items.extend(part);
            }
        }
        items.sort_by(|one, other| text(other, "received_at").cmp(text(one, "received_at")));
        items.truncate(limit);
        Ok(Json(json!({ "items": items, "next_cursor": null })))
    })
    .await
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
