//! Where a browser's request comes from, and whether the page there may send it and read the answer.

use crate::directory::Directory;
use crate::error::{ApiError, Result};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The origin of the page that sends a request; empty if the browser does not say, as for what is no page's.
pub(crate) fn of(headers: &HeaderMap) -> &str {
    headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Refuses with 403 what pages of an origin may not send for a site, and every site that there is none of.
pub(crate) fn check(directory: &Directory, site: &str, origin: &str) -> Result<()> {
    let site = directory.sites.iter().find(|known| known.key == site);
    let site = site.ok_or_else(|| ApiError::forbidden("there is no site of this key"))?;
    if site.allows(origin) {
        Ok(())
    } else {
        Err(ApiError::forbidden(format!("pages of the origin `{origin}` may not send for this site")))
    }
}

/// Refuses with 403 what pages of an origin may not send for any site.
pub(crate) fn check_any(directory: &Directory, origin: &str) -> Result<()> {
    if directory.sites.iter().any(|site| site.allows(origin)) {
        Ok(())
    } else {
        Err(ApiError::forbidden(format!("pages of the origin `{origin}` may not send for any site")))
    }
}

/// An answer that the page which asked may read. A refusal, too, whoever is refused: a browser hides the status of what a
/// page may not read, and the tracker would take that for a failure and send the same again for ever. It says no more than
/// anybody is told who asks without a browser; all else was only given after [`check`].
pub(crate) fn answer(origin: &str, answer: Result<Response>) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let headers = response.headers_mut();
    if let Ok(origin) = HeaderValue::from_str(origin)
        && !origin.is_empty()
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether an origin is a page on this machine: any port of `localhost`, 127.0.0.0/8 or [::1].
pub(crate) fn is_loopback(origin: &str) -> bool {
    let Some(host) = host_of(origin) else { return false };
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The host of an origin, lower case, without the port.
pub(crate) fn host_of(origin: &str) -> Option<String> {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
    if authority.contains(['/', '@', '?', '#']) {
        return None;
    }
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(end)?;
    let plausible = !host.is_empty() && (port.is_empty() || port.strip_prefix(':')?.parse::<u16>().is_ok());
    plausible.then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_nothing_that_looks_like_it() {
        for origin in [
            "http://localhost",
            "http://localhost:8787",
            "https://127.0.0.1:1",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://shop.localhost:3000",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in [
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "null",
            "",
            "file://localhost",
            "http://localhost@evil.example",
            "http://10.0.0.1",
            "http://localhost:x",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
