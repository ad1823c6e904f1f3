//! Claims: which values identify somebody at all, and how a claim is written.

use crate::json::{Object, copy, lower, part, put};
use alloc::string::String;

/// The longest identifier in bytes: Braze's own limit on an external id.
pub const IDENTIFIER_BYTES_MAX: usize = 987;

/// The types that a browser may claim. Browser keys are not among them: the body's `visitor` is the only one.
pub const TYPES: &str = "external_id|braze_id|crm_id|email|phone|segment_user";

/// Values that stand for "nobody" in somebody's template or database: those that the server drops, too, so that of a
/// repeated parameter the first that names somebody is found.
const NOBODY: &str = "null|undefined|anonymous|none|unknown|nil|nan|(null)|[object object]|false";

/// The claim "this browser's events are this person's" as JSON; empty if the value cannot identify anybody. `from` is
/// where it was read: `url`, `form` or `identify`.
#[must_use]
pub fn claim(key_type: &str, value: &str, from: &str) -> String {
    let Some(value) = normal(key_type, value.trim_ascii()) else { return String::new() };
    let mut claim = Object::new();
    claim.text("type", key_type);
    claim.text("value", &value);
    claim.text("from", from);
    claim.finish()
}

/// Adds claims to others: elements of a JSON array, without its brackets.
pub fn join(claims: &mut String, more: &str) {
    if !claims.is_empty() && !more.is_empty() {
        put(claims, b',');
    }
    claims.push_str(more);
}

/// The value as it identifies somebody, if it does. The server checks again.
fn normal(key_type: &str, value: &str) -> Option<String> {
    match key_type {
        _ if !usable(value) => None,
        "email" if !value.starts_with("sha256:") => email(value),
        "phone" => phone(value),
        _ => Some(copy(value)),
    }
}

/// Whether a value identifies anybody: it is not empty, `null` and the like, zeros and dashes, unrendered Liquid, with
/// control characters, or too long.
#[must_use]
pub fn usable(value: &str) -> bool {
    value.len() <= IDENTIFIER_BYTES_MAX
        && !holds(value, "{{")
        && !holds(value, "${")
        && !value.bytes().any(|byte| byte.is_ascii_control())
        // True of the empty value too.
        && !value.bytes().all(|b| matches!(b, b'0' | b'-'))
        && !among(&lower(value), NOBODY)
}

/// The words of a list, with `|` between them: shorter in the file than a table of slices.
#[derive(Debug)]
pub struct Words(pub &'static str);

impl Iterator for Words {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.bytes().position(|byte| byte == b'|').unwrap_or(self.0.len());
        let word = part(self.0, 0, end);
        self.0 = part(self.0, end + 1, usize::MAX);
        Some(word)
    }
}

/// Whether a word is one of a list.
#[must_use]
pub fn among(word: &str, list: &'static str) -> bool {
    Words(list).any(|one| one == word)
}

/// Whether `part` (not empty) stands in `text`. `str::contains` brings a search made for long texts: 2 KB.
#[must_use]
pub fn holds(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window == part.as_bytes())
}

/// The address in lower case, if it looks like one: something on both sides of one `@`, a dot within the domain. Who
/// can be written to is for a mail server to say.
#[must_use]
pub fn email(value: &str) -> Option<String> {
    let mut at = 0;
    let mut dot = 0;
    for (i, byte) in value.bytes().enumerate() {
        match byte {
            // A second one, or nothing before it.
            b'@' if at > 0 || i == 0 => return None,
            b'@' => at = i,
            b'.' if i == at + 1 && at > 0 => return None,
            b'.' => dot = i,
            b' ' | b',' | b';' | b'<' | b'>' | b'"' | b'(' | b')' => return None,
            _ => {}
        }
    }
    // RFC 5321: a path has at most 256 bytes, with its angle brackets.
    let plausible = at > 0 && dot > at && dot + 1 < value.len() && value.len() <= 254;
    // Beyond ASCII the server lowers: Unicode's tables are too long for a page.
    plausible.then(|| lower(value))
}

/// The number as E.164, if it is international: a plus and 6 to 15 digits once what people write between is dropped.
fn phone(value: &str) -> Option<String> {
    let mut number = String::new();
    for byte in value.bytes() {
        match byte {
            b'+' if number.is_empty() => put(&mut number, byte),
            b'0'..=b'9' if !number.is_empty() => put(&mut number, byte),
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' => {}
            _ => return None,
        }
    }
    (7..=16).contains(&number.len()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_never_an_identifier() {
        for value in [
            "",
            " ",
            "null",
            "NULL",
            "undefined",
            "Anonymous",
            "NIL",
            "NaN",
            "(null)",
            "[object Object]",
            "false",
            "0",
            "-",
            "00000000-0000-0000-0000-000000000000",
            "{{${braze_id}}}",
            "{{ ${user_id} | url_param_escape }}",
            "x${user_id}",
            "a\u{0}b",
            "a\nb",
        ] {
            assert_eq!(claim("braze_id", value, "url"), "", "{value:?}");
        }
        assert_eq!(claim("external_id", &"x".repeat(988), "url"), "");
        assert_ne!(claim("external_id", &"x".repeat(987), "url"), "");
        assert_eq!(normal("external_id", "a+b c/ö").as_deref(), Some("a+b c/ö"));
    }

    #[test]
    fn addresses() {
        assert_eq!(normal("email", "Ada@Example.COM").as_deref(), Some("ada@example.com"));
        assert_eq!(normal("email", "a.b+c@mail.example.co.uk").as_deref(), Some("a.b+c@mail.example.co.uk"));
        for no in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a.da@example",
            "ada@.com",
            "ada@example.",
            "a@b@example.com",
            "a da@example.com",
            "ada@example.com, bob@example.com",
            "<ada@example.com>",
            "{{email}}@example.com",
        ] {
            assert_eq!(normal("email", no), None, "{no:?}");
        }
    }

    #[test]
    fn only_international_numbers() {
        assert_eq!(normal("phone", "+44 (20) 7946-0958").as_deref(), Some("+442079460958"));
        for no in
            ["", "+", "020 7946 0958", "0044 20 7946 0958", "+12345", "+1234567890123456", "+44x20", "44+2079460958"]
        {
            assert_eq!(normal("phone", no), None, "{no:?}");
        }
    }

    #[test]
    fn claims_are_written_as_the_wire_has_them() {
        let mut claims = claim("braze_id", " 5fbd99bac125ca40511f2cb1 ", "url");
        assert_eq!(claims, r#"{"type":"braze_id","value":"5fbd99bac125ca40511f2cb1","from":"url"}"#);
        join(&mut claims, "");
        join(&mut claims, "{}");
        assert!(claims.ends_with(r#""from":"url"},{}"#));
        let mut none = String::new();
        join(&mut none, "{}");
        assert_eq!(none, "{}");
    }
}
