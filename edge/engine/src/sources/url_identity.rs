//! Takes identity parameters out of URLs, and leaves every other byte as it was.
//!
//! Nothing durable may hold them (README, invariant 6). Senders build links from templates, so this reads what
//! templates make: parameters in the query, in the fragment, behind a second `?`, behind an `&` without any `?`,
//! behind `;` or `&amp;`, in any case, repeated, and inside a URL that is percent-encoded in another parameter.

use std::borrow::Cow;

/// The parameters that say who somebody is. `wb_t` (trackable links) and `wb_link` (links between domains) are our own,
/// `lid` that of Braze's link aliasing. Campaign parameters (`utm_*`) are none.
pub const IDENTITY_PARAMETERS: [&str; 5] = ["braze_id", "br_user_id", "wb_t", "wb_link", "lid"];

/// Takes the identity parameters out of one URL.
#[must_use]
pub fn strip(url: &str) -> Cow<'_, str> {
    let parts = split(url);
    if !parts.iter().any(Part::is_identity) {
        return Cow::Borrowed(url);
    }
    let mut out = String::with_capacity(url.len());
    // The parameter being left out, by the depth of its separator: everything deeper belongs to its value.
    let mut leaving_out: Option<usize> = None;
    // A `?` or `#` whose first parameter was left out: the next parameter inherits it.
    let mut opening: Option<Part<'_>> = None;
    for part in parts {
        if leaving_out.is_some_and(|depth| part.depth > depth || part.is_tail_of_a_value()) {
            continue;
        }
        leaving_out = None;
        if opening.is_some_and(|open| open.depth != part.depth) {
            opening = None;
        }
        if part.is_identity() {
            leaving_out = Some(part.depth);
            if part.mark == b'#' || (part.mark == b'?' && opening.is_none()) {
                opening = Some(part);
            }
            continue;
        }
        match (opening.take(), part.mark) {
            (Some(open), b'&' | b';') => out.push_str(open.separator),
            (Some(open), b'?') if open.mark == b'#' => {
                out.push_str(open.separator);
                out.push_str(part.separator);
            }
            _ => out.push_str(part.separator),
        }
        out.push_str(part.content);
    }
    Cow::Owned(out)
}

/// Whether a URL carries the parameter `braze_id`, usable or not: then `br_user_id` does not count.
#[must_use]
pub fn has_braze_id(url: &str) -> bool {
    split(url).iter().any(|part| part.mark != 0 && decoded_name(part.content) == b"braze_id")
}

/// Takes the identity parameters out of every URL in running text, HTML or JSON.
#[must_use]
pub fn strip_text(text: &str) -> Cow<'_, str> {
    if !text.contains(['?', '#', '&', '%']) {
        return Cow::Borrowed(text);
    }
    let never_in_a_url = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\' | '`');
    if text.contains("://") && !text.contains(never_in_a_url) {
        return strip(text);
    }
    // In running text a bracket or an apostrophe is more often the sentence's than the URL's.
    let ends_a_url = |c: char| never_in_a_url(c) || matches!(c, '\'' | '(' | ')');
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(ends_a_url) {
        let url = word.strip_suffix(ends_a_url).unwrap_or(word);
        out.push_str(&strip(url));
        out.push_str(word.get(url.len()..).unwrap_or_default());
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// A stretch of a URL and the separator before it.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    /// As written: `?`, `&amp;`, `%26`; empty before the first stretch.
    separator: &'a str,
    /// Which separator it is: `?`, `#`, `&` or `;`; 0 before the first stretch.
    mark: u8,
    /// How many times the separator is percent-encoded.
    depth: usize,
    content: &'a str,
}

impl Part<'_> {
    fn is_identity(&self) -> bool {
        self.mark != 0 && {
            let name = decoded_name(self.content);
            IDENTITY_PARAMETERS.iter().any(|parameter| parameter.as_bytes() == name)
        }
    }

    /// `;` separates parameters only for some: without a `=` after it, it belongs to the value before it.
    fn is_tail_of_a_value(&self) -> bool {
        self.mark == b';'
            && !(0..self.content.len()).any(|at| octet_at(self.content, at).is_some_and(|o| o.byte == b'='))
    }
}

/// A byte of a URL, written plainly or percent-encoded any number of times.
struct Octet {
    byte: u8,
    /// How many bytes of text it takes.
    len: usize,
    depth: usize,
}

/// The octet at a position: `&`, `%26`, `%2526` and so on are one octet at depth 0, 1, 2.
fn octet_at(text: &str, at: usize) -> Option<Octet> {
    let rest = text.as_bytes().get(at..)?;
    let byte = *rest.first()?;
    if byte == b'%' {
        let nested = rest.get(1..)?.chunks_exact(2).take_while(|pair| *pair == b"25").count();
        let digits = rest.get(1 + 2 * nested..3 + 2 * nested);
        let digits = digits.filter(|pair| pair.iter().all(u8::is_ascii_hexdigit)).and_then(|d| str::from_utf8(d).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            return Some(Octet { byte, len: 3 + 2 * nested, depth: nested + 1 });
        }
    }
    Some(Octet { byte, len: 1, depth: 0 })
}

/// The name of `name=value`, decoded, in lower case.
fn decoded_name(content: &str) -> Vec<u8> {
    let mut name = Vec::new();
    let mut at = 0;
    // No identity parameter is longer than 16 letters: whatever goes on is none.
    while let Some(octet) = octet_at(content, at).filter(|octet| octet.byte != b'=' && name.len() < 16) {
        if !octet.byte.is_ascii_whitespace() {
            name.push(octet.byte.to_ascii_lowercase());
        }
        at += octet.len;
    }
    name
}

/// Cuts a URL at everything that may separate parameters.
fn split(url: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut current = Part { separator: "", mark: 0, depth: 0, content: "" };
    let (mut content_start, mut at, mut in_parameters) = (0, 0, false);
    while let Some(octet) = octet_at(url, at) {
        let separates = match octet.byte {
            b'?' | b'#' => {
                in_parameters = true;
                true
            }
            // Templates that append `&braze_id=` to a link without a query.
            b'&' => true,
            // In a path it is no separator of parameters.
            b';' => in_parameters,
            _ => false,
        };
        if !separates {
            at += octet.len;
            continue;
        }
        let is_escaped = octet.byte == b'&' && url.get(at + 1..at + 5).is_some_and(|s| s.eq_ignore_ascii_case("amp;"));
        let len = if octet.depth == 0 && is_escaped { 5 } else { octet.len };
        current.content = url.get(content_start..at).unwrap_or_default();
        parts.push(current);
        let separator = url.get(at..at + len).unwrap_or_default();
        current = Part { separator, mark: octet.byte, depth: octet.depth, content: "" };
        at += len;
        content_start = at;
    }
    current.content = url.get(content_start..).unwrap_or_default();
    parts.push(current);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URLS: &[(&str, &str)] = &[
        ("https://shop.example/?braze_id=5fbd99bac125ca40511f2cb1", "https://shop.example/"),
        ("https://shop.example?braze_id=1", "https://shop.example"),
        ("https://shop.example/a?x=1&braze_id=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?braze_id=1&x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?x=1&br_user_id=u%2B1&y=%20%7e+", "https://shop.example/a?x=1&y=%20%7e+"),
        ("https://shop.example/a?BRAZE_ID=1&Br_User_Id=2", "https://shop.example/a"),
        ("https://shop.example/a?braze_id=1&braze_id=2&x&braze_id=3", "https://shop.example/a?x"),
        ("https://shop.example/a?braze_id=", "https://shop.example/a"),
        ("https://shop.example/a?braze_id&x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?braze_id=1#top", "https://shop.example/a#top"),
        ("https://shop.example/a#braze_id=1", "https://shop.example/a"),
        ("https://shop.example/a#braze_id=1&x=1", "https://shop.example/a#x=1"),
        ("https://shop.example/a#/route?braze_id=1&b=2", "https://shop.example/a#/route?b=2"),
        ("https://shop.example/a#top?braze_id=1", "https://shop.example/a#top"),
        ("https://shop.example/a?x=1?braze_id=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?x=1&wb_link=0f&y=2", "https://shop.example/a?x=1&y=2"),
        ("https://shop.example/a?braze_id=1?x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a#braze_id=1?x=1", "https://shop.example/a#?x=1"),
        ("https://shop.example/a?braze_id=1#lid=2&x=3", "https://shop.example/a#x=3"),
        ("https://shop.example/a&braze_id=1", "https://shop.example/a"),
        ("https://shop.example/a?x=1;braze_id=1;y=2", "https://shop.example/a?x=1;y=2"),
        ("https://shop.example/a?br_user_id=a;b&x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?x=1&amp;braze_id=1&amp;y=2", "https://shop.example/a?x=1&amp;y=2"),
        (
            "https://shop.example/a?utm_source=mail&lid=abc&utm_medium=x",
            "https://shop.example/a?utm_source=mail&utm_medium=x",
        ),
        ("https://shop.example/a?wb_t=ab.cd&utm_id=1", "https://shop.example/a?utm_id=1"),
        ("https://shop.example/a?braze%5Fid=1", "https://shop.example/a"),
        ("https://shop.example/a?br_user_id=a%26b%3Dc&x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?br_user_id=ada@example.com", "https://shop.example/a"),
        ("https://shop.example/a?braze_id={{${braze_id}}}&x=1", "https://shop.example/a?x=1"),
        ("https://shop.example/a?br_user_id={{${user_id} | url_param_escape}}&x=1", "https://shop.example/a?x=1"),
        (
            "https://m.example/r?to=https%3A%2F%2Fshop.example%2F%3Fbraze_id%3D1%26x%3D1&k=2",
            "https://m.example/r?to=https%3A%2F%2Fshop.example%2F%3Fx%3D1&k=2",
        ),
        ("https://m.example/r?to=%252Fa%253Fbraze_id%253D1", "https://m.example/r?to=%252Fa"),
        ("/pricing?lid=4&plan=pro", "/pricing?plan=pro"),
        ("?braze_id=1&x=1", "?x=1"),
    ];

    const LEFT_ALONE: &[&str] = &[
        "",
        "https://shop.example/braze_id=1",
        "https://shop.example/a;lid=3/b",
        "https://shop.example/a?valid=1&lid_x=2&xlid=3&braze_ids=4",
        "https://shop.example/a?&&x=1&&#",
        "https://shop.example/%?a=%zz&b=%2&c=%25",
        "https://shop.example/ä?ö=ü#ß",
        "https://shop.example/a?utm_source=braze&utm_campaign=braze_id",
        "https://shop.example/a?q=braze_id",
    ];

    #[test]
    fn identity_goes_and_the_rest_stays() {
        for (url, expected) in URLS {
            assert_eq!(strip(url), *expected, "{url}");
            if !url.contains(' ') {
                assert_eq!(strip_text(url), *expected, "as text: {url}");
            }
        }
        for url in LEFT_ALONE {
            assert_eq!(strip(url), *url);
        }
    }

    #[test]
    fn urls_in_running_text() {
        let cases = [
            (
                "see https://a.example/?braze_id=1 and (https://b.example/?x=1&lid=2).",
                "see https://a.example/ and (https://b.example/?x=1).",
            ),
            (r#"<a href="https://a.example/?lid=1">x</a>"#, r#"<a href="https://a.example/">x</a>"#),
            (r#"{"u":"https://a.example/?braze_id=1","n":"x"}"#, r#"{"u":"https://a.example/","n":"x"}"#),
            ("https://a.example/?br_user_id=O'Neil", "https://a.example/"),
            ("Tom & Jerry; lid=3? yes", "Tom & Jerry; lid=3? yes"),
            ("50 % off", "50 % off"),
        ];
        for (text, expected) in cases {
            assert_eq!(strip_text(text), expected);
        }
    }

    proptest! {
        #[test]
        fn once_is_enough(url in r"(https://a\.example/)?([?#&;]|%3[fF]|%26|&amp;|%25|lid|=|%3D|braze_id|x|é| |\x22){0,24}") {
            let (stripped, stripped_text) = (strip(&url), strip_text(&url));
            prop_assert_eq!(strip(&stripped), &*stripped);
            prop_assert_eq!(strip_text(&stripped_text), &*stripped_text);
            prop_assert!(!split(&strip(&url)).iter().any(Part::is_identity));
        }

        #[test]
        fn what_holds_no_identity_is_untouched(url in r"[a-z:/?#&;=%0-9é ]{0,60}") {
            prop_assume!(!url.contains("lid"));
            prop_assert_eq!(strip(&url), &*url);
            prop_assert_eq!(strip_text(&url), &*url);
        }
    }
}
