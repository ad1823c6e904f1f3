//! The visitor's cookie, which browsers keep longer than what scripts store: set where the Worker is on the site's own
//! domain, and out of the reach of scripts.

use crate::{config, directory, origin};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wingbeat_engine::key::{Identifier, KeyType};
use worker::Env;
use worker::send::SendFuture;

const COOKIE: &str = "wb_v";
/// 400 days: browsers cut off anything longer.
const COOKIE_SECONDS: u32 = 400 * 86_400;

/// Whether the page and we are one site to the browser, so that the cookie is first-party. Browsers say so themselves;
/// for one that does not, the same host counts.
pub(crate) fn is_same_site(headers: &HeaderMap, origin: &str) -> bool {
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
pub(crate) fn visitor(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(header::COOKIE);
    let pairs = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    let value = pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == COOKIE)?.1;
    as_visitor(value)
}

/// A text as a visitor's id, if it may be one: what comes from a browser is written into headers and answers again.
pub(crate) fn as_visitor(value: &str) -> Option<String> {
    let is_id = value.len() <= 64 && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    Identifier::new(KeyType::Visitor, "", value).filter(|_| is_id).map(|id| id.value().to_owned())
}

/// Sets it on an answer.
pub(crate) fn set(env: &Env, response: &mut Response, visitor: &str) {
    set_for(env, response, visitor, COOKIE_SECONDS);
}

/// `POST /forget`, without a body: the browser's cookie ends. So consent that is withdrawn reaches what scripts cannot.
pub(crate) async fn forget(State(env): State<Env>, headers: HeaderMap) -> Response {
    SendFuture::new(async move {
        let origin = origin::of(&headers);
        let end = async {
            origin::check_any(&directory::read(&env).await?, origin)?;
            let mut response = StatusCode::NO_CONTENT.into_response();
            if is_same_site(&headers, origin) {
                set_for(&env, &mut response, "", 0);
            }
            Ok(response)
        };
        origin::answer(origin, end.await)
    })
    .await
}

fn set_for(env: &Env, response: &mut Response, visitor: &str, seconds: u32) {
    let base = config::base_path(env);
    let path = if base.is_empty() { "/" } else { &base };
    let cookie = format!("{COOKIE}={visitor}; Path={path}; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}
