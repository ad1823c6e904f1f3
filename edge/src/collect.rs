//! `POST /collect`: batches of the tracker (contract, section 4).

use crate::error::Result;
use crate::partitions::Partitions;
use crate::{body, cookie, origin};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::sources::bot::bot_reason;
use wingbeat_engine::sources::collect::{BODY_BYTES_MAX, parse};
use worker::Env;
use worker::send::SendFuture;

/// Sites belong to the default Braze workspace until they can be given another.
const WORKSPACE: &str = "";

pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let origin = origin::of(&headers);
        origin::answer(origin, take(&env, &headers, origin, body).await)
    })
    .await
}

async fn take(env: &Env, headers: &HeaderMap, origin: &str, body: Body) -> Result<Response> {
    let partitions = Partitions::open(env).await?;
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    let envelope = parse(&bytes)?;
    origin::check(partitions.directory(), &envelope.site, origin)?;
    let mut events = envelope.events(WORKSPACE, &partitions.directory().policy());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let purposes: Vec<&str> = ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().filter_map(text).collect();
    if let Some(reason) = bot_reason(text("user-agent").unwrap_or_default(), &purposes) {
        events.mark_bot(reason);
    }
    let outcomes = partitions.take(events.records, Vec::new()).await?;
    let duplicates = outcomes.iter().filter(|outcome| **outcome == Outcome::Duplicate).count();
    let rejected: Vec<_> = events
        .rejected
        .iter()
        .map(|rejected| json!({ "index": rejected.index, "reason": rejected.reason, "detail": rejected.detail }))
        .collect();

    let visitor = if cookie::is_same_site(headers, origin) { cookie::visitor(headers) } else { None };
    let visitor = visitor.unwrap_or_else(|| envelope.visitor.value().to_owned());
    let answer = json!({
        "accepted": outcomes.len() - duplicates,
        "duplicates": duplicates,
        "rejected": rejected,
        "visitor": visitor,
    });
    let mut response = Json(answer).into_response();
    if cookie::is_same_site(headers, origin) {
        cookie::set(env, &mut response, &visitor);
    }
    Ok(response)
}
