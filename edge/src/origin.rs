//! Where a browser's request comes from.

use std::net::{Ipv4Addr, Ipv6Addr};

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
