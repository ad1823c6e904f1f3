//! `POST /api/model/publish` and `GET /api/model/versions…`.

use super::{add_up, backtest, recompute, shown};
use crate::directory::{self, Publishing, Wanted};
use crate::error::{ApiError, Result};
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use crate::prospects::{open, seal};
use crate::{body, now_ms};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::{Map, Value, json};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 4 * 1024;

/// Publishes the draft, told `{"draft_sha256": "…"}` only if it is the one of this fingerprint; or, told `{"version": 3}`,
/// the content of that version again. Either is the next version. Answers when every partition goes by it: from then on
/// nobody who is looked up is shown by an older one. Says which backtest has said what this does, if the newest has.
pub(crate) async fn publish(State(env): State<Env>, body: Body) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let wanted = wanted(&body::read(body, BODY_BYTES_MAX).await?)?;
        // Asked first: what fails must not have published.
        let tested = backtest::done(&Partitions::open(&env).await?).await?;
        let published = match (directory::publish(&env, &wanted, now_ms()).await?, &wanted) {
            (Publishing::Done(published), _) => published,
            (Publishing::Nothing, Wanted::Version(version)) => {
                return Err(ApiError::invalid_field("/version", format!("there is no version {version}")));
            }
            (Publishing::Nothing, Wanted::Draft(_)) => {
                return Err(ApiError::conflict("there is no draft to publish: PUT /api/model/draft saves one"));
            }
            (Publishing::AnotherDraft, _) => {
                let message = "the draft is another than the one of this `draft_sha256`: somebody has saved one since";
                return Err(ApiError::conflict(message));
            }
        };
        let partitions = Partitions::open(&env).await?;
        let recompute = add_up(&partitions.publish(&published).await?).0;
        let backtest = tested.and_then(|done| backtest::said(&done, &published));
        Ok(Json(json!({ "version": published.version, "recompute": shown(recompute), "backtest": backtest })))
    })
    .await
}

/// What is to be published.
fn wanted(bytes: &[u8]) -> Result<Wanted> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Wanted::Draft(None));
    }
    let wrong = |path: &str, message: &str| Err(ApiError::invalid_field(path, message));
    let body: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
    if let Some(unknown) = body.keys().find(|name| !["version", "draft_sha256"].contains(&name.as_str())) {
        let message = "the body says nothing but which `version`, or which draft by its `draft_sha256`, if any";
        return wrong(&format!("/{unknown}"), message);
    }
    match (body.get("version"), body.get("draft_sha256")) {
        (None, None) => Ok(Wanted::Draft(None)),
        (None, Some(Value::String(sha256))) => Ok(Wanted::Draft(Some(sha256.to_ascii_lowercase()))),
        (None, Some(_)) => wrong("/draft_sha256", "`draft_sha256` must be a text"),
        (Some(_), Some(_)) => wrong("/draft_sha256", "either a `version` or the draft is published"),
        (Some(version), None) => {
            match version.as_u64().and_then(|version| u32::try_from(version).ok()).map(i64::from) {
                Some(version) => Ok(Wanted::Version(version)),
                None => wrong("/version", "`version` must be a whole number"),
            }
        }
    }
}

/// The versions that were ever published, newest first, without their content.
pub(crate) async fn list(State(env): State<Env>, parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let mut parameters = parameters;
        let behind: Option<u64> = parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
        let limit = parameters.limit()?;
        parameters.none_left()?;
        let recompute = recompute(&Partitions::open(&env).await?).await?;
        let mut items = directory::versions(&env).await?;
        if let Some(newest) = items.first_mut().and_then(Value::as_object_mut) {
            newest.insert("recompute".to_owned(), json!(recompute.map(shown)));
        }
        let number = |item: &Value| item.get("version").and_then(Value::as_u64);
        items.retain(|item| behind.is_none_or(|behind| number(item) < Some(behind)));
        let more = items.len() > limit;
        items.truncate(limit);
        let end = items.last().filter(|_| more).and_then(number);
        Ok(Json(json!({ "items": items, "next_cursor": end.map(|end| seal(&end)).transpose()? })))
    })
    .await
}

/// One version with its content.
pub(crate) async fn one(State(env): State<Env>, Reference(version): Reference) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let version = version.parse().ok().filter(|version: &u64| *version > 0);
        let found = match version {
            Some(version) => directory::version(&env, version).await?,
            None => None,
        };
        found.map(Json).ok_or_else(|| ApiError::not_found("there is no such version"))
    })
    .await
}
