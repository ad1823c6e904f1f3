//! What Braze's answers mean. A 2xx may hold errors of single objects; a 401 holds the key.

use super::track::Request;
use crate::destinations::rate::Limits;
use crate::destinations::retry::Class;
use serde_json::Value;
use std::collections::BTreeMap;

/// An answer as it came.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// HTTP's.
    pub status: u16,
    /// What the headers say of limits.
    pub limits: Limits,
    /// The body.
    pub body: &'a [u8],
}

/// What came of a request as a whole.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Everything was taken but for these: why, by target.
    Taken(BTreeMap<String, String>),
    /// Nothing was, and something in it is to blame that Braze does not name: smaller requests find it.
    Refused(String),
    /// Not now.
    Later {
        /// Whose trouble it is.
        class: Class,
        /// How long Braze asks to wait, ms, if it says.
        wait_ms: Option<i64>,
        /// In words, without the key.
        reason: String,
    },
}

/// Reads an answer of `/users/track` (facts on Braze, section 4).
#[must_use]
pub fn of_track(heard: &Heard<'_>, request: &Request, key: &str) -> Outcome {
    if let Some(later) = later(heard, key) {
        return later;
    }
    let body: Value = serde_json::from_slice(heard.body).unwrap_or_default();
    let errors = body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut refused = BTreeMap::new();
    for error in errors {
        let target = error.get("input_array").and_then(Value::as_str).and_then(|array| {
            let index = error.get("index").and_then(Value::as_u64)?;
            request.target(array, usize::try_from(index).ok()?)
        });
        // An error that names no object could be anybody's.
        let Some(target) = target else { return Outcome::Refused(message(heard, key)) };
        let words = error.get("type").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned);
        refused.insert(target.to_owned(), redact(&words, key));
    }
    if (200..300).contains(&heard.status) || !refused.is_empty() && names_all(&refused, request) {
        return Outcome::Taken(refused);
    }
    Outcome::Refused(message(heard, key))
}

/// Braze answers 400 when every object is bad, and names each.
fn names_all(refused: &BTreeMap<String, String>, request: &Request) -> bool {
    request.attributes.iter().all(|target| refused.contains_key(target))
}

/// What keeps the whole connection waiting, whatever was asked; `None` for answers to the request itself.
#[must_use]
pub fn later(heard: &Heard<'_>, key: &str) -> Option<Outcome> {
    let class = match heard.status {
        429 => Class::Quota,
        // A redirect, too, is an address that is not the right one: the key is not sent after it.
        300..=399 | 401 | 403 | 404 => Class::Setup,
        408 | 500..=599 => Class::Outage,
        _ => return None,
    };
    let wait_ms = heard.limits.wait_ms().filter(|_| class != Class::Setup);
    Some(Outcome::Later { class, wait_ms, reason: message(heard, key) })
}

/// What an answer says, in words, without the key.
#[must_use]
pub fn message(heard: &Heard<'_>, key: &str) -> String {
    const LONGEST: usize = 300;
    let body: Option<Value> = serde_json::from_slice(heard.body).ok();
    let words = body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str).map(str::to_owned);
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(heard.body).into_owned());
    let words: String = redact(&words, key).chars().take(LONGEST).collect();
    if words.trim().is_empty() { format!("HTTP {}", heard.status) } else { format!("HTTP {}: {words}", heard.status) }
}

/// Takes a key out of a text: Braze repeats a wrong one in its answer.
#[must_use]
pub fn redact(text: &str, key: &str) -> String {
    if key.is_empty() { text.to_owned() } else { text.replace(key, &shown(key)) }
}

/// All that is ever shown of a key: how it ends, if that gives nothing away.
#[must_use]
pub fn shown(key: &str) -> String {
    const END: usize = 4;
    let length = key.chars().count();
    let end: String = key.chars().skip(length.saturating_sub(END)).collect();
    if length >= 4 * END { format!("…{end}") } else { "…".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "4b1c9a7e-1111-2222-3333-abcdef001a2b";

    fn request() -> Request {
        let attributes = ["braze_id:a", "braze_id:b", "braze_id:c"].map(str::to_owned).to_vec();
        Request { attributes, events: vec!["braze_id:c".to_owned()], body: Value::Null }
    }

    fn read(status: u16, limits: Limits, body: &Value) -> Outcome {
        let body = body.to_string();
        of_track(&Heard { status, limits, body: body.as_bytes() }, &request(), KEY)
    }

    fn said(status: u16, body: &Value) -> Outcome {
        read(status, Limits::default(), body)
    }

    #[test]
    fn success_is_any_2xx() {
        for status in [200, 201, 202] {
            assert_eq!(said(status, &json!({ "message": "success" })), Outcome::Taken(BTreeMap::new()));
        }
        assert_eq!(
            of_track(&Heard { status: 201, limits: Limits::default(), body: b"not json" }, &request(), KEY),
            Outcome::Taken(BTreeMap::new())
        );
    }

    #[test]
    fn errors_inside_a_success_are_single_objects_by_their_place() {
        let body = json!({ "message": "success", "errors": [
            { "type": "'email_subscribe' must be …", "input_array": "attributes", "index": 1 },
            { "type": "EXTERNAL_USER_ID_TOO_LARGE", "input_array": "events", "index": 0 },
        ] });
        let refused = [("braze_id:b", "'email_subscribe' must be …"), ("braze_id:c", "EXTERNAL_USER_ID_TOO_LARGE")];
        let refused = refused.map(|(target, why)| (target.to_owned(), why.to_owned()));
        assert_eq!(said(201, &body), Outcome::Taken(refused.into()));
    }

    #[test]
    fn an_error_without_a_place_could_be_anybodys() {
        for error in [json!({ "type": "BAD" }), json!({ "type": "BAD", "input_array": "attributes", "index": 9 })] {
            let outcome = said(201, &json!({ "message": "success", "errors": [error] }));
            assert_eq!(outcome, Outcome::Refused("HTTP 201: success".to_owned()));
        }
    }

    #[test]
    fn when_all_are_bad_each_is_refused() {
        let errors: Vec<_> =
            (0..3).map(|index| json!({ "type": "bad", "input_array": "attributes", "index": index })).collect();
        let Outcome::Taken(refused) = said(400, &json!({ "message": "Valid data must be provided", "errors": errors }))
        else {
            panic!("all are named");
        };
        assert_eq!(refused.len(), 3);
        let one = json!({ "message": "no", "errors": [{ "type": "bad", "input_array": "attributes", "index": 0 }] });
        assert!(matches!(said(400, &one), Outcome::Refused(_)), "nothing was taken, and only one is named");
    }

    #[test]
    fn a_request_that_is_refused_as_a_whole_is_looked_into() {
        for status in [400, 413, 415] {
            let refused = Outcome::Refused(format!("HTTP {status}: Max Input Length Exceeded"));
            assert_eq!(said(status, &json!({ "message": "Max Input Length Exceeded" })), refused);
        }
    }

    #[test]
    fn trouble_is_told_apart() {
        let later = |status, limits| match read(status, limits, &json!({})) {
            Outcome::Later { class, wait_ms, .. } => (class, wait_ms),
            other => panic!("{status}: {other:?}"),
        };
        let told = Limits { retry_after: Some(7), ..Limits::default() };
        assert_eq!(later(429, told), (Class::Quota, Some(7_000)));
        assert_eq!(later(429, Limits::default()), (Class::Quota, None));
        for status in [500, 502, 503, 504, 408] {
            assert_eq!(later(status, Limits::default()), (Class::Outage, None));
        }
        for status in [401, 403, 404, 302] {
            assert_eq!(later(status, told), (Class::Setup, None));
        }
    }

    #[test]
    fn the_key_is_never_repeated() {
        let echoed = json!({ "message": format!("Invalid API key: {KEY}") });
        for outcome in [said(401, &echoed), said(400, &echoed)] {
            let told = format!("{outcome:?}");
            assert!(!told.contains(KEY) && told.contains("Invalid API key: …1a2b"), "{told}");
        }
        let error = json!({ "type": format!("what is {KEY}"), "input_array": "attributes", "index": 0 });
        assert!(!format!("{:?}", said(201, &json!({ "errors": [error] }))).contains(KEY));
        assert_eq!((shown("short"), redact("x", "")), ("…".to_owned(), "x".to_owned()));
    }
}
