//! What browsers are served: the tracker, and the demo site where there is one.
//!
//! The files come from the `ASSETS` binding. On `npm start` that is a plain folder, which knows no content types and
//! answers a folder with a listing: so only names from here are ever asked of it.

use crate::config;
use crate::error::{ApiError, Result};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use worker::{EncodeBody, Env};

/// The tracker (`/wb.js`), or what is loaded in its place: by pages of SalesWings' customers (`/sw.js`), by sites on several
/// domains and pages with frames (`/bind.js`). Not immutable, since the name has no hash: browsers ask again after five
/// minutes, and are told by its tag whether it has changed.
///
/// With `?v=` and the beginning of its SHA-256 it is one build for ever, which a page may name with its hash (Subresource
/// Integrity); 404 if that build is not kept (`www/wb/`, `www/bind/`, `www/sw/`).
///
/// Who takes brotli gets what the build has made: smaller by a seventh than what a server packs while it answers.
pub(crate) async fn script(env: &Env, uri: &Uri, request: &HeaderMap) -> Result<Response> {
    let none = || ApiError::not_found("there is no build of this version");
    let name = uri.path().rsplit('/').next().and_then(|name| name.strip_suffix(".js")).ok_or_else(none)?;
    let version = uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("v=")));
    let path = match version {
        Some(version) if version.len() == VERSION_DIGITS && version.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("/{name}/{version}.js")
        }
        Some(_) => return Err(none()),
        None => format!("/{name}.js"),
    };
    let packed = takes_brotli(request);
    let bytes = file(env, &if packed { format!("{path}.br") } else { path }).await?.ok_or_else(none)?;
    // Of the bytes as they are sent: another encoding is another representation.
    let tag = format!("\"{}\"", HEXLOWER.encode(Sha256::digest(&bytes).get(..VERSION_DIGITS / 2).unwrap_or_default()));
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.contains(&tag)) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        page(bytes, "text/javascript; charset=utf-8")
    };
    if packed {
        // It is packed already: without this the runtime would do it again.
        response.extensions_mut().insert(EncodeBody::Manual);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let kept = if version.is_some() { "public, max-age=31536000, immutable" } else { "public, max-age=300" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    // A page that isolates itself may embed only what says that it may be embedded.
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// How many hex digits of its SHA-256 name a build (`tracker/build.mjs`).
const VERSION_DIGITS: usize = 24;

/// Whether whoever asks takes brotli. In Cloudflare's network that is its own edge, which writes this header anew.
fn takes_brotli(request: &HeaderMap) -> bool {
    let all = request.get_all(header::ACCEPT_ENCODING);
    let mut codings = all.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split([';', '=']).map(str::trim);
        let is_brotli = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("br"));
        // `br;q=0` forbids it.
        is_brotli && parts.nth(1).and_then(|weight| weight.parse::<f32>().ok()) != Some(0.0)
    })
}

/// A page of the demo site; 404 where there is none.
pub(crate) async fn demo(env: &Env, uri: &Uri) -> Result<Response> {
    let none = || ApiError::not_found("there is nothing at this path");
    // Below PUBLIC_URL the path may have the base before it.
    let Some((_, name)) = uri.path().split_once("/demo").filter(|_| config::is_demo(env)) else { return Err(none()) };
    if name.is_empty() {
        return Ok(redirect("demo/", uri.query()));
    }
    let (file_name, content_type) = match name {
        "/" => ("index.html", HTML),
        "/pricing" => ("pricing.html", HTML),
        "/contact" => ("contact.html", HTML),
        "/thanks" => ("thanks.html", HTML),
        "/style.css" => ("style.css", "text/css; charset=utf-8"),
        "/links.js" => ("links.js", "text/javascript; charset=utf-8"),
        _ => return Err(none()),
    };
    let Some(bytes) = file(env, &format!("/demo/{file_name}")).await? else { return Err(none()) };
    if content_type != HTML {
        return Ok(page(bytes, content_type));
    }
    let key = config::secret(env, "SITE_KEY")?;
    let html = String::from_utf8_lossy(&bytes).replace("{{SITE_KEY}}", &key);
    Ok(page(html.into_bytes(), HTML))
}

const HTML: &str = "text/html; charset=utf-8";

fn page(bytes: Vec<u8>, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// To a path beside the one that was asked for, with what the link carries: who came by it, and from which campaign.
fn redirect(to: &str, query: Option<&str>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let location = query.map_or_else(|| to.to_owned(), |query| format!("{to}?{query}"));
    // What stands in a request's line may stand in an answer's head.
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A file that browsers are served; `None` if there is none of this name.
async fn file(env: &Env, path: &str) -> Result<Option<Vec<u8>>> {
    let failed = |cause: worker::Error| ApiError::unavailable("a file could not be read", cause);
    let assets = env.assets("ASSETS").map_err(failed)?;
    let response = assets.fetch(format!("https://assets.local{path}"), None).await.map_err(failed)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => return Err(ApiError::unavailable("a file could not be read", format!("{path}: {status}"))),
    }
    let bytes = axum::body::to_bytes(Body::new(response.into_body()), usize::MAX).await;
    let bytes = bytes.map_err(|error| ApiError::unavailable("a file could not be read", error))?;
    Ok(Some(bytes.to_vec()))
}
