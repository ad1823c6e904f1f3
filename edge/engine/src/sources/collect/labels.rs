//! What the tracker's events are called (contract, row 17 and section 5): one text for timelines and for rules.

use crate::event::ClaimInput;
use crate::key::KeyType;
use crate::kinds::Kind;
use crate::sources::json;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What an event says that a label may be made of.
pub(in crate::sources) struct Said<'a> {
    /// The raw name: a page's title, a form's name, the target of a click.
    pub(in crate::sources) name: Option<&'a str>,
    /// The page.
    pub(in crate::sources) url: Option<&'a str>,
    pub(in crate::sources) properties: &'a Map<String, Value>,
    pub(in crate::sources) claims: &'a [ClaimInput],
}

/// What is said of something that has no name.
pub(in crate::sources) const UNNAMED: &str = "(unnamed)";

/// The label of an event.
pub(in crate::sources) fn render(kind: Kind, said: &Said<'_>) -> String {
    let path = || said.url.map_or(UNNAMED, path);
    match kind {
        Kind::PageView => format!("[Page view] {}", said.name.unwrap_or_else(path)),
        Kind::FormSubmit => format!("[Form] {}", said.name.unwrap_or_else(path)),
        Kind::ClickOutbound => format!("[Click] {}", target(said).as_deref().map_or(UNNAMED, host_and_path)),
        Kind::Download => format!("[Download] {}", target(said).as_deref().map_or(UNNAMED, file)),
        Kind::Engagement => {
            let number = |name| json::words(said.properties, name).unwrap_or(Cow::Borrowed("0"));
            format!("[Engagement] {} s, {} %", number("seconds"), number("scroll"))
        }
        Kind::Identify => {
            let types: BTreeSet<_> = said.claims.iter().map(|claim| claim.key.key_type()).collect();
            let types: Vec<_> = types.into_iter().map(KeyType::slug).collect();
            format!("[Identify] {}", if types.is_empty() { UNNAMED.to_owned() } else { types.join(", ") })
        }
        // The other kinds do not come from browsers.
        _ => format!("[Custom Event tracked] {}", said.name.unwrap_or(UNNAMED)),
    }
}

/// Where a click leads: the event's name, or the property `href` (which may be longer).
fn target<'a>(said: &Said<'a>) -> Option<Cow<'a, str>> {
    said.name.map(Cow::Borrowed).or_else(|| json::words(said.properties, "href"))
}

/// `https://user@host/path?query#fragment` as `host/path`; what is no URL (`tel:…`) as it is, without a query.
fn host_and_path(url: &str) -> &str {
    let url = until_query(url);
    let Some((_, rest)) = url.split_once("://") else { return url };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let user_end = rest.get(..host_end).and_then(|host| host.rfind('@')).map_or(0, |at| at + 1);
    rest.get(user_end..).unwrap_or(rest)
}

/// The path of a URL, `/` if it has none.
fn path(url: &str) -> &str {
    let url = until_query(url);
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default(),
        None => url,
    };
    if path.is_empty() { "/" } else { path }
}

/// The last piece of a URL's path; the whole of what is no URL.
fn file(url: &str) -> &str {
    let path = host_and_path(url);
    path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(UNNAMED)
}

fn until_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_urls() {
        let cases = [
            ("https://shop.example/a/b.pdf?x=1#f", "shop.example/a/b.pdf", "/a/b.pdf", "b.pdf"),
            ("https://shop.example", "shop.example", "/", "shop.example"),
            ("https://ada:pw@shop.example:8443/a/", "shop.example:8443/a/", "/a/", "a"),
            ("https://shop.example/@ada", "shop.example/@ada", "/@ada", "@ada"),
            ("/files/price list.pdf", "/files/price list.pdf", "/files/price list.pdf", "price list.pdf"),
            (
                "mailto:sales@example.com?subject=x",
                "mailto:sales@example.com",
                "mailto:sales@example.com",
                "mailto:sales@example.com",
            ),
            ("?x=1", "", "/", UNNAMED),
        ];
        for (url, expected_host_and_path, expected_path, expected_file) in cases {
            assert_eq!(
                (host_and_path(url), path(url), file(url)),
                (expected_host_and_path, expected_path, expected_file)
            );
        }
    }
}
