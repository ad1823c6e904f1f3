//! The visitor's cookie, which browsers keep longer than what scripts store: set where the Worker is on the site's own
//! domain, and out of the reach of scripts.

use crate::{config, origin};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use wingbeat_engine::key::{Identifier, KeyType};
use worker::Env;

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
    let base = config::base_path(env);
    let path = if base.is_empty() { "/" } else { &base };
    let cookie = format!("{COOKIE}={visitor}; Path={path}; Max-Age={COOKIE_SECONDS}; HttpOnly; Secure; SameSite=Lax");
    if let Ok(value) = HeaderValue::from_str(&cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
}
