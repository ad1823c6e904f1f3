//! Which address a key belongs to: the instance's REST endpoint, as people paste it.

use thiserror::Error;

/// An address that no key can be used at.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadHost {
    /// Not an address at all.
    #[error("this is no address; the REST endpoint looks like https://rest.fra-02.braze.eu")]
    NoAddress,
    /// The key would travel in the clear.
    #[error("the REST endpoint begins with https://")]
    NotHttps,
    /// The other endpoint of the same instance, which is a common mistake.
    #[error("that is the SDK endpoint; the REST endpoint of this instance is {rest}")]
    Sdk {
        /// The one that is meant.
        rest: String,
    },
    /// Somebody else's.
    #[error("a REST endpoint of Braze ends in .braze.com or .braze.eu, as https://rest.iad-03.braze.com does")]
    NotBraze,
}

/// The endpoint without path or slash, or why it is none. `loopback`: stand-ins on this machine may be meant, by `http`.
///
/// # Errors
/// See [`BadHost`].
pub fn rest_endpoint(text: &str, loopback: bool) -> Result<String, BadHost> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        Some(_) => return Err(BadHost::NoAddress),
        None => (authority.as_str(), None),
    };
    let is_name =
        |host: &str| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if !is_name(host) {
        return Err(BadHost::NoAddress);
    }
    if loopback && matches!(host, "127.0.0.1" | "localhost") && matches!(scheme, "http" | "https") {
        return Ok(format!("{scheme}://{authority}"));
    }
    let instance = |prefix: &str| {
        let rest = host.strip_prefix(prefix)?;
        let instance = rest.strip_suffix(".braze.com").or_else(|| rest.strip_suffix(".braze.eu"))?;
        (!instance.is_empty()).then_some(rest)
    };
    if let Some(rest) = instance("sdk.") {
        return Err(BadHost::Sdk { rest: format!("https://rest.{rest}") });
    }
    if instance("rest.").is_none() || port.is_some_and(|port| port != "443") {
        return Err(BadHost::NotBraze);
    }
    if !scheme.eq_ignore_ascii_case("https") {
        return Err(BadHost::NotHttps);
    }
    Ok(format!("https://{host}"))
}

/// The instance as Braze names it (`EU-02`), where its host tells.
#[must_use]
pub fn instance(endpoint: &str) -> Option<String> {
    let host = endpoint.strip_prefix("https://rest.")?;
    let (place, _) = host.split_once(".braze.")?;
    let (region, number) = place.split_once('-')?;
    let region = match region {
        "iad" => "US",
        "fra" => "EU",
        other => other,
    };
    Some(format!("{}-{number}", region.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_paste_becomes_the_endpoint() {
        let cases = [
            ("https://rest.fra-02.braze.eu", "https://rest.fra-02.braze.eu"),
            ("https://rest.fra-02.braze.eu/", "https://rest.fra-02.braze.eu"),
            (" https://REST.iad-05.braze.com/users/track?x#y ", "https://rest.iad-05.braze.com"),
            ("rest.us-10.braze.com", "https://rest.us-10.braze.com"),
            ("https://rest.jp-01.braze.com:443", "https://rest.jp-01.braze.com"),
        ];
        for (text, expected) in cases {
            assert_eq!(rest_endpoint(text, false).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn the_sdk_endpoint_is_refused_with_the_right_one() {
        let rest = "https://rest.fra-02.braze.eu".to_owned();
        let refused = rest_endpoint("https://sdk.fra-02.braze.eu", false).unwrap_err();
        assert_eq!(refused, BadHost::Sdk { rest: rest.clone() });
        assert!(refused.to_string().contains(&rest));
    }

    #[test]
    fn nothing_else_ever_gets_a_key() {
        let cases = [
            ("", BadHost::NoAddress),
            ("https://", BadHost::NoAddress),
            ("https://user:secret@rest.fra-02.braze.eu", BadHost::NoAddress),
            ("https://rest.fra-02.braze.eu:x", BadHost::NoAddress),
            ("https://rest.fra-02.braze.eu:8443", BadHost::NotBraze),
            ("http://rest.fra-02.braze.eu", BadHost::NotHttps),
            ("https://rest.braze.eu.evil.example", BadHost::NotBraze),
            ("https://rest.evilbraze.com", BadHost::NotBraze),
            ("https://rest..braze.com", BadHost::NotBraze),
            ("https://evil.example/rest.fra-02.braze.eu", BadHost::NotBraze),
            ("https://dashboard-01.braze.com", BadHost::NotBraze),
            ("http://127.0.0.1:9000", BadHost::NotBraze),
            ("https://localhost", BadHost::NotBraze),
        ];
        for (text, expected) in cases {
            assert_eq!(rest_endpoint(text, false), Err(expected), "{text}");
        }
        assert_eq!(rest_endpoint("http://127.0.0.1:9000/", true).as_deref(), Ok("http://127.0.0.1:9000"));
        assert_eq!(rest_endpoint("http://10.0.0.1:9000/", true), Err(BadHost::NotBraze));
    }

    #[test]
    fn instances_have_names() {
        let names = [
            "https://rest.fra-02.braze.eu",
            "https://rest.iad-05.braze.com",
            "https://rest.us-10.braze.com",
            "http://127.0.0.1:1",
        ];
        let names: Vec<_> = names.into_iter().map(instance).collect();
        assert_eq!(names, [Some("EU-02".to_owned()), Some("US-05".to_owned()), Some("US-10".to_owned()), None]);
    }
}
