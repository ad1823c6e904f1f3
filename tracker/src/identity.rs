//! Claims: which values identify somebody at all, and how a claim is written.

use crate::json::Object;
use alloc::{borrow::ToOwned, string::String};

/// The longest identifier in bytes: Braze's own limit on an external id.
pub const IDENTIFIER_BYTES_MAX: usize = 987;

/// The types that a browser may claim. Browser keys are not among them: the body's `visitor` is the only one.
pub const TYPES: [&str; 6] = ["external_id", "braze_id", "crm_id", "email", "phone", "segment_user"];

/// Values that stand for "nobody" in somebody's template or database.
const NOBODY: [&str; 10] =
    ["null", "undefined", "anonymous", "none", "nil", "nan", "unknown", "(null)", "[object object]", "false"];

/// "This browser's events are this person's."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// One of [`TYPES`].
    pub key_type: &'static str,
    /// The identifier, checked.
    pub value: String,
    /// Where it was read: `url`, `form` or `identify`.
    pub from: &'static str,
}

impl Claim {
    /// A claim, if the value can identify anybody.
    #[must_use]
    pub fn new(key_type: &'static str, value: &str, from: &'static str) -> Option<Claim> {
        let value = value.trim_ascii();
        let value = match key_type {
            "email" => email(value)?,
            "phone" => phone(value)?,
            _ => usable(value)?.to_owned(),
        };
        Some(Claim { key_type, value, from })
    }
}

/// Writes claims as the wire's `identity`; empty for none.
#[must_use]
pub fn to_json(claims: &[Claim]) -> String {
    let mut json = String::new();
    for claim in claims {
        json.push(if json.is_empty() { '[' } else { ',' });
        let claim = Object::new().text("type", claim.key_type).text("value", &claim.value).text("from", claim.from);
        json.push_str(&claim.finish());
    }
    if !json.is_empty() {
        json.push(']');
    }
    json
}

/// The value, unless it is one that identifies nobody: empty, `null` and the like, zeros and dashes, unrendered
/// Liquid, control characters, too long. The server checks again.
#[must_use]
pub fn usable(value: &str) -> Option<&str> {
    let identifies = value.len() <= IDENTIFIER_BYTES_MAX
        && !value.contains("{{")
        && !value.contains("${")
        && !value.contains(char::is_control)
        // True of the empty value too.
        && !value.bytes().all(|b| matches!(b, b'0' | b'-'))
        && !NOBODY.iter().any(|nobody| value.eq_ignore_ascii_case(nobody));
    identifies.then_some(value)
}

/// The address in lower case, if it looks like one: something on both sides of one `@`, a dot in the domain.
/// Who can be written to is for a mail server to say.
#[must_use]
pub fn email(value: &str) -> Option<String> {
    let value = usable(value.trim_ascii())?;
    let (local, domain) = value.split_once('@')?;
    let (host, top) = domain.rsplit_once('.')?;
    let plausible = !local.is_empty()
        && !host.is_empty()
        && !host.starts_with('.')
        && !top.is_empty()
        // RFC 5321: a path has at most 256 bytes, with its angle brackets.
        && value.len() <= 254
        && !value.contains([' ', ',', ';', '<', '>', '"', '(', ')', '\u{a0}'])
        && !domain.contains('@');
    // Beyond ASCII the server lowers: Unicode's tables are too long for a page.
    plausible.then(|| value.to_ascii_lowercase())
}

/// The number as E.164, if it is international: a plus and 6 to 15 digits once what people write between is dropped.
#[must_use]
pub fn phone(value: &str) -> Option<String> {
    let digits = value.trim_ascii().strip_prefix('+')?;
    let mut number = String::from("+");
    for c in digits.chars() {
        match c {
            '0'..='9' => number.push(c),
            ' ' | '-' | '.' | '(' | ')' | '/' => {}
            _ => return None,
        }
    }
    let plausible = (7..=16).contains(&number.len()) && !number.starts_with("+0");
    plausible.then_some(number)
}

/// Whether this has the form of a visitor's id, a UUID: what a page or a server left in its place is not taken over.
#[must_use]
pub fn is_uuid(id: &str) -> bool {
    id.len() == 36
        && id.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
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
            "0",
            "-",
            "00000000-0000-0000-0000-000000000000",
            "{{${braze_id}}}",
            "{{ ${user_id} | url_param_escape }}",
            "x${user_id}",
            "a\u{0}b",
            "a\nb",
            "a\u{85}b",
            "[object Object]",
        ] {
            assert_eq!(Claim::new("braze_id", value, "url"), None, "{value:?}");
        }
        assert_eq!(Claim::new("external_id", &"x".repeat(988), "url"), None);
        assert!(Claim::new("external_id", &"x".repeat(987), "url").is_some());
        assert_eq!(Claim::new("external_id", " a+b c/ö ", "url").map(|c| c.value).as_deref(), Some("a+b c/ö"));
    }

    #[test]
    fn addresses() {
        assert_eq!(email(" Ada@Example.COM\n").as_deref(), Some("ada@example.com"));
        assert_eq!(email("a+b@mail.example.co.uk").as_deref(), Some("a+b@mail.example.co.uk"));
        for no in [
            "", "ada", "@example.com", "ada@", "ada@example", "ada@.com", "ada@example.", "a@b@example.com",
            "a da@example.com", "ada@example.com, bob@example.com", "<ada@example.com>", "{{email}}@example.com",
        ] {
            assert_eq!(email(no), None, "{no:?}");
        }
    }

    #[test]
    fn only_international_numbers() {
        assert_eq!(phone("+44 (20) 7946-0958").as_deref(), Some("+442079460958"));
        for no in ["", "+", "020 7946 0958", "0044 20 7946 0958", "+12345", "+1234567890123456", "+44x20", "+0123456789"] {
            assert_eq!(phone(no), None, "{no:?}");
        }
    }

    #[test]
    fn visitors() {
        assert!(is_uuid("7b0c2c4e-1111-4222-8333-444455556666"));
        for no in ["", "7b0c2c4e-1111-4222-8333-44445555666", "7b0c2c4e-1111-4222-8333-44445555666x", "7b0c2c4e11114222-8333-4444555566660-"] {
            assert!(!is_uuid(no), "{no}");
        }
    }

    #[test]
    fn claims_are_written_as_the_wire_has_them() {
        let claims = [
            Claim::new("braze_id", "5fbd99bac125ca40511f2cb1", "url").unwrap(),
            Claim::new("email", "Ada@example.com", "form").unwrap(),
        ];
        assert_eq!(
            to_json(&claims),
            r#"[{"type":"braze_id","value":"5fbd99bac125ca40511f2cb1","from":"url"},{"type":"email","value":"ada@example.com","from":"form"}]"#
        );
        assert_eq!(to_json(&[]), "");
    }
}
