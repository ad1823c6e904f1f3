//! `GET`, `POST` and `DELETE /api/tokens`: tokens generated here, for Currents and for callers of the API. Each is shown
//! once; what is kept is its hash.

use crate::auth::Scope;
use crate::error::{ApiError, Result};
use crate::registry_do::hash;
use crate::token_store::{Generated, Order, Ordered};
use crate::{body, config, directory, now_ms, seal};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::Deserialize;
use serde_json::{Value, json};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 64 * 1024;
const NAME_CHARS_MAX: usize = 100;
const DAY_MS: i64 = 86_400_000;
/// How long a token that is replaced is good beside the new one, unless told otherwise, days: long enough to change it in
/// Braze's dashboard, which nobody does at night.
const OVERLAP_DAYS: f64 = 7.0;
const OVERLAP_DAYS_MAX: f64 = 90.0;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scopes: Vec<Scope>,
    #[serde(default)]
    workspace: String,
    expires_at: Option<String>,
    /// The id of the token whose place this one takes.
    replaces: Option<String>,
    overlap_days: Option<f64>,
}

/// `GET /api/tokens`: those that were generated here, never what they are.
pub(crate) async fn list(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let items: Vec<Value> = directory::generated_tokens(&env).await?.iter().map(show).collect();
        Ok(Json(json!({ "items": items, "next_cursor": null })))
    })
    .await
}

/// `POST /api/tokens`: makes one, and shows it this once. With `replaces`, the one that it takes the place of is good for
/// some days yet.
pub(crate) async fn make(State(env): State<Env>, body: Body) -> Result<Response> {
    SendFuture::new(async move {
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let wanted = read(&bytes)?;
        let now = now_ms();
        let replaces = check(&wanted, now)?;
        let (id, secret) = (HEXLOWER.encode(&seal::random::<8>()?), BASE32_NOPAD.encode(&seal::random::<32>()?));
        // Whoever finds one in a log or a repository sees by its beginning what it is.
        let secret = format!("wb_{}", secret.to_lowercase());
        let token = Generated {
            id,
            sha256: hash(&secret),
            hint: format!("wb_…{}", secret.get(secret.len() - 4..).unwrap_or_default()),
            name: wanted.name,
            scopes: wanted.scopes,
            workspace: wanted.workspace,
            created_at: now,
            expires_at: wanted.expires_at.as_deref().and_then(wingbeat_engine::time::parse),
            last_used_at: None,
        };
        match directory::keep_token(&env, &Order { token, replaces }).await? {
            Ordered::Kept(token) => {
                let mut shown = show(&token);
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("token".to_owned(), secret.into());
                }
                let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
                Ok((StatusCode::CREATED, headers, Json(shown)).into_response())
            }
            Ordered::Unknown => Err(ApiError::not_found("there is no such token that is valid").at("/replaces")),
            Ordered::Full => Err(ApiError::conflict(
                "two tokens for Currents are valid already (or there are 200 in all): revoke one first",
            )),
        }
    })
    .await
}

/// `DELETE /api/tokens/{id}`: from now on it is unknown; in other isolates from a minute on.
pub(crate) async fn revoke(State(env): State<Env>, Path(id): Path<String>) -> Result<StatusCode> {
    SendFuture::new(async move {
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id || !directory::revoke_token(&env, &id).await? {
            return Err(ApiError::not_found("there is no such token"));
        }
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

fn read(bytes: &[u8]) -> Result<Wanted> {
    let request: Value = serde_json::from_slice(bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
    if let Some(scopes) = request.get("scopes") {
        Vec::<Scope>::deserialize(scopes).map_err(|error| ApiError::invalid_field("/scopes", error.to_string()))?;
    }
    serde_json::from_value(request).map_err(|error| ApiError::invalid_field("", error.to_string()))
}

/// Checks what is asked for. Answers which token is replaced, and until when that is good, ms.
fn check(wanted: &Wanted, now: i64) -> Result<Option<(String, i64)>> {
    let invalid = |path: &str, message: &str| Err(ApiError::invalid_field(path, message));
    if wanted.name.chars().count() > NAME_CHARS_MAX {
        return invalid("/name", "a name has at most 100 characters");
    }
    if !config::is_workspace(&wanted.workspace) {
        return invalid("/workspace", "a workspace is at most 32 of a-z, 0-9 and -");
    }
    let until = wanted.expires_at.as_deref().map(wingbeat_engine::time::parse);
    if until.is_some_and(|until| until.is_none_or(|until| until <= now)) {
        return invalid("/expires_at", "`expires_at` must be a time to come, such as 2027-01-31T12:00:00Z");
    }
    let days = wanted.overlap_days.unwrap_or(OVERLAP_DAYS);
    if !(0.0..=OVERLAP_DAYS_MAX).contains(&days) {
        return invalid("/overlap_days", "`overlap_days` must be a number from 0 to 90");
    }
    match &wanted.replaces {
        Some(_) if !wanted.scopes.is_empty() || !wanted.workspace.is_empty() => {
            invalid("/replaces", "a token that takes another's place has its scopes and its workspace")
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
        Some(id) => Ok(Some((id.clone(), now + (days * DAY_MS as f64) as i64))),
        None if wanted.scopes.is_empty() => {
            invalid("/scopes", "`scopes` must name what the token is for: currents, events, read, write, admin")
        }
        None if wanted.overlap_days.is_some() => {
            invalid("/overlap_days", "`overlap_days` is about the token that `replaces` names")
        }
        None if !wanted.workspace.is_empty()
            && !wanted.scopes.iter().any(|scope| matches!(scope, Scope::Currents | Scope::Events)) =>
        {
            invalid("/workspace", "only tokens for Currents and for events have a workspace")
        }
        None => Ok(None),
    }
}

fn show(token: &Generated) -> Value {
    let time = |ms: i64| wingbeat_engine::time::show(ms);
    json!({
        "id": token.id,
        "hint": token.hint,
        "name": token.name,
        "scopes": token.scopes,
        "workspace": token.workspace,
        "created_at": time(token.created_at),
        "expires_at": token.expires_at.and_then(time),
        "last_used_at": token.last_used_at.and_then(time),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_must_be_whole() {
        let path = |text: &str| {
            let wanted: Wanted = serde_json::from_str(text).unwrap();
            check(&wanted, 0).map_err(|error| error.path().unwrap_or_default().to_owned())
        };
        assert_eq!(path(r#"{"scopes":["currents"],"workspace":"brand-b"}"#), Ok(None));
        assert_eq!(path(r#"{"scopes":["events"],"workspace":"brand-b"}"#), Ok(None));
        assert_eq!(path(r#"{"replaces":"a"}"#), Ok(Some(("a".to_owned(), 7 * DAY_MS))));
        assert_eq!(path(r#"{"replaces":"a","overlap_days":0.5}"#), Ok(Some(("a".to_owned(), DAY_MS / 2))));
        for (wrong, at) in [
            ("{}", "/scopes"),
            (r#"{"scopes":["read"],"workspace":"brand-b"}"#, "/workspace"),
            (r#"{"scopes":["currents"],"workspace":"Brand B"}"#, "/workspace"),
            (r#"{"scopes":["read"],"overlap_days":1}"#, "/overlap_days"),
            (r#"{"replaces":"a","overlap_days":-1}"#, "/overlap_days"),
            (r#"{"replaces":"a","scopes":["read"]}"#, "/replaces"),
            (r#"{"scopes":["read"],"expires_at":"1969-01-01T00:00:00Z"}"#, "/expires_at"),
            (r#"{"scopes":["read"],"expires_at":"soon"}"#, "/expires_at"),
        ] {
            assert_eq!(path(wrong), Err(at.to_owned()), "{wrong}");
        }
    }
}
