//! `POST /collect`: batches of the tracker (contract, section 4).

use crate::directory::Directory;
use crate::error::{ApiError, Result};
use crate::partitions::Partitions;
use crate::{body, config, origin};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wingbeat_engine::key::{Identifier, KeyType};
use wingbeat_engine::partition::Outcome;
use wingbeat_engine::sources::bot::bot_reason;
use wingbeat_engine::sources::collect::{BODY_BYTES_MAX, parse};
use worker::Env;
use worker::send::SendFuture;

/// Sites belong to the default Braze workspace until they can be given another.
const WORKSPACE: &str = "";

pub(crate) async fn post(State(env): State<Env>, headers: HeaderMap, body: Body) -> Response {
    SendFuture::new(async move {
        let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let partitions = match Partitions::open(&env).await {
            Ok(partitions) => partitions,
            // Without the directory nobody is known to be allowed to read the answer: 503 it is, unread.
            Err(error) => return error.into_response(),
        };
        // The tracker must be able to read what went wrong, or it would send the same batch for ever; a page of nobody's
        // learns nothing.
        let may_read = partitions.directory().sites.iter().any(|site| site.allows(&origin));
        let mut response = match take(&env, &partitions, &headers, &origin, body).await {
            Ok(response) => response,
            Err(error) => error.into_response(),
        };
        if may_read && response.status() != axum::http::StatusCode::FORBIDDEN {
            allow(&mut response, &origin);
        }
        response
    })
    .await
}

async fn take(
    env: &Env,
    partitions: &Partitions<'_>,
    headers: &HeaderMap,
    origin: &str,
    body: Body,
) -> Result<Response> {
    let bytes = body::read(body, BODY_BYTES_MAX).await?;
    let envelope = parse(&bytes)?;
    if !may_send(partitions.directory(), &envelope.site, origin)? {
        return Err(ApiError::forbidden(format!("pages of the origin `{origin}` may not send for this site")));
    }
    let mut events = envelope.events(WORKSPACE);
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

    let visitor = if is_same_site(headers, origin) { cookie(headers) } else { None };
    let visitor = visitor.unwrap_or_else(|| envelope.visitor.value().to_owned());
    let answer = json!({
        "accepted": outcomes.len() - duplicates,
        "duplicates": duplicates,
        "rejected": rejected,
        "visitor": visitor,
    });
    let mut response = Json(answer).into_response();
    if is_same_site(headers, origin) {
        set_cookie(env, &mut response, &visitor);
    }
    Ok(response)
}

/// Whether pages of an origin may send for a site: 403 if there is no such site.
fn may_send(directory: &Directory, site: &str, origin: &str) -> Result<bool> {
    let site = directory.sites.iter().find(|known| known.key == site);
    let site = site.ok_or_else(|| ApiError::forbidden("there is no site of this key"))?;
    Ok(site.allows(origin))
}

fn allow(response: &mut Response, origin: &str) {
    let headers = response.headers_mut();
    if let Ok(origin) = HeaderValue::from_str(origin) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

const COOKIE: &str = "wb_v";
/// 400 days: browsers cut off anything longer.
const COOKIE_SECONDS: u32 = 400 * 86_400;

/// Whether the page and we are one site to the browser, so that the cookie is first-party. Browsers say so themselves;
/// for one that does not, the same host counts.
fn is_same_site(headers: &HeaderMap, origin: &str) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("sec-fetch-site") {
        Some(site) => matches!(site, "same-origin" | "same-site"),
        None => {
            let host = text("host").and_then(|host| origin::host_of(&format!("https://{host}")));
            host.is_some() && host == origin::host_of(origin)
        }
    }
}

/// The visitor that our own cookie names, if it is one.
fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE);
    let pairs = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let value = pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE)?.1;
    let is_id = value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    Identifier::new(KeyType::Visitor, "", value).filter(|_| is_id).map(|id| id.value().to_owned())
}

fn set_cookie(env: &Env, response: &mut Response, visitor: &str) {
    let base = config::base_path(env);
    let path = if base.is_empty() { "/" } else { &base };
    let cookie = format!("{COOKIE}={visitor}; Path={path}; Max-Age={COOKIE_SECONDS}; HttpOnly; Secure; SameSite=Lax");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}
