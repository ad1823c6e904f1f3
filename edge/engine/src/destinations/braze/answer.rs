//! What Braze's answers mean. A 2xx may hold errors of single objects; a 401 holds the key.

use super::track::Request;
use crate::destinations::rate::Limits;
use crate::destinations::retry::Class;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Everything was taken but for these.
    Taken(Refused),
    /// Everything was taken but for these, and for somebody among others whom Braze does not name.
    Partly {
        /// Who is known not to have been taken.
        refused: Refused,
        /// Of whom nobody knows: their targets.
        unclear: BTreeSet<String>,
        /// In words, without the key.
        reason: String,
    },
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

/// Objects that were not taken, though others were: why, by target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refused {
    /// Of `attributes`.
    pub attributes: BTreeMap<String, String>,
    /// Of `events`.
    pub events: BTreeMap<String, String>,
}

impl Refused {
    /// Why a target did not take all that it was sent.
    #[must_use]
    pub fn reason(&self, target: &str) -> Option<&str> {
        self.attributes.get(target).or_else(|| self.events.get(target)).map(String::as_str)
    }

    /// All of a request, for one reason.
    #[must_use]
    pub fn all(request: &Request, reason: &str) -> Refused {
        let all = |targets: &[String]| targets.iter().map(|target| (target.clone(), reason.to_owned())).collect();
        Refused { attributes: all(&request.attributes), events: all(&request.events) }
    }
}

/// Reads an answer of `/users/track` (facts on Braze, section 4).
#[must_use]
pub fn of_track(heard: &Heard<'_>, request: &Request, key: &str) -> Outcome {
    if let Some(later) = later(heard, key) {
        return later;
    }
    let is_2xx = (200..300).contains(&heard.status);
    let body: Value = if is_2xx {
        match success(heard, key) {
            Ok(body) => body,
            Err(strange) => return strange,
        }
    } else {
        redacted(heard.body, key).unwrap_or_default()
    };
    let errors = match body.get("errors") {
        Some(Value::Array(errors)) => errors.as_slice(),
        // Of whom it speaks, and whether of anybody, is not to be known.
        Some(other) if is_2xx && !other.is_null() => return strange(heard, key),
        _ => &[],
    };
    let mut refused = Refused::default();
    let mut unplaced = Vec::new();
    for error in errors {
        let place = error.get("input_array").and_then(Value::as_str).and_then(|array| {
            let index = error.get("index").and_then(Value::as_u64)?;
            Some((array, request.target(array, usize::try_from(index).ok()?)?))
        });
        match place {
            Some(("events", target)) => drop(refused.events.insert(target.to_owned(), words(error))),
            Some((_, target)) => drop(refused.attributes.insert(target.to_owned(), words(error))),
            None => unplaced.push(error),
        }
    }
    let mut unclear = BTreeSet::new();
    for error in &unplaced {
        // Whoever is named has been refused for what was said of them.
        let [of_attributes, of_events] =
            [(&request.attributes, &refused.attributes, "events"), (&request.events, &refused.events, "attributes")]
                .map(|(targets, named, not)| {
                    let is_meant = error.get("input_array").and_then(Value::as_str) != Some(not);
                    let targets = targets.iter().filter(|target| is_meant && !named.contains_key(*target));
                    targets.cloned().collect::<Vec<String>>()
                });
        let all: BTreeSet<&String> = of_attributes.iter().chain(&of_events).collect();
        if all.len() > 1 {
            unclear.extend(all.into_iter().cloned());
            continue;
        }
        // There is nobody else whom it could mean.
        refused.attributes.extend(of_attributes.into_iter().map(|target| (target, words(error))));
        refused.events.extend(of_events.into_iter().map(|target| (target, words(error))));
    }
    match unplaced.first().filter(|_| !unclear.is_empty()) {
        Some(error) if is_2xx => {
            let reason = format!("HTTP {}: {}, and not whose", heard.status, words(error));
            Outcome::Partly { refused, unclear, reason }
        }
        None if is_2xx || refused != Refused::default() && names_all(&refused, request) => Outcome::Taken(refused),
        _ => Outcome::Refused(message(heard, key)),
    }
}

fn words(error: &Value) -> String {
    error.get("type").and_then(Value::as_str).map_or_else(|| error.to_string(), str::to_owned)
}

/// Braze answers 400 when every object is bad, and names each.
fn names_all(refused: &Refused, request: &Request) -> bool {
    request.attributes.iter().all(|target| refused.attributes.contains_key(target))
        && request.events.iter().all(|target| refused.events.contains_key(target))
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

/// The body of a 2xx that Braze has given, without the key. Braze says so in words: `success`, or `queued` with a 202 while it
/// only collects calls (its page on API errors). Another 2xx, a proxy's page or a maintenance page, say, is no answer.
///
/// # Errors
/// What the answer means, if it is not such a one.
pub fn success(heard: &Heard<'_>, key: &str) -> Result<Value, Outcome> {
    let body = redacted(heard.body, key).unwrap_or_default();
    match (heard.status, body.get("message").and_then(Value::as_str)) {
        (200..=299, Some("success")) | (202, Some("queued")) => Ok(body),
        _ => Err(strange(heard, key)),
    }
}

/// An answer that is not Braze's, whatever its status: nobody knows what has become of the call, as in an outage.
#[must_use]
pub fn strange(heard: &Heard<'_>, key: &str) -> Outcome {
    let reason = format!("not an answer that Braze gives: {}", message(heard, key));
    Outcome::Later { class: Class::Outage, wait_ms: None, reason }
}

/// What an answer says, in words, without the key.
#[must_use]
pub fn message(heard: &Heard<'_>, key: &str) -> String {
    const LONGEST: usize = 300;
    let body = redacted(heard.body, key);
    let words = body.as_ref().and_then(|body| body.get("message")).and_then(Value::as_str).map(str::to_owned);
    let words: String = words.unwrap_or_else(|| said(heard.body, key)).chars().take(LONGEST).collect();
    if words.trim().is_empty() { format!("HTTP {}", heard.status) } else { format!("HTTP {}: {words}", heard.status) }
}

/// The whole of an answer as it can be shown: without the key.
#[must_use]
pub fn said(body: &[u8], key: &str) -> String {
    redacted(body, key).map_or_else(|| redact(&String::from_utf8_lossy(body), key), |body| body.to_string())
}

/// An answer of JSON without the key. JSON may write a key in many ways (`\"`, `\u0022`, `\/`), so that it is looked for in
/// what the text means.
fn redacted(body: &[u8], key: &str) -> Option<Value> {
    fn clean(value: Value, key: &str) -> Value {
        match value {
            Value::String(text) => redact(&text, key).into(),
            Value::Array(items) => items.into_iter().map(|item| clean(item, key)).collect(),
            Value::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (redact(&name, key), clean(value, key)));
                Value::Object(members.collect())
            }
            other => other,
        }
    }
    serde_json::from_slice(body).ok().map(|body| clean(body, key))
}

/// Takes a key out of a text: Braze repeats a wrong one in its answer. As it is, and as it stands in JSON that broke off.
#[must_use]
pub fn redact(text: &str, key: &str) -> String {
    if key.is_empty() {
        return text.to_owned();
    }
    let quoted = Value::from(key).to_string();
    let escaped = quoted.get(1..quoted.len() - 1).unwrap_or(key);
    text.replace(escaped, &shown(key)).replace(key, &shown(key))
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
        Request { covers: 3, attributes, events: vec!["braze_id:c".to_owned()], body: Value::Null }
    }

    fn read(status: u16, limits: Limits, body: &Value) -> Outcome {
        let body = body.to_string();
        of_track(&Heard { status, limits, body: body.as_bytes() }, &request(), KEY)
    }

    fn answered(status: u16, body: &Value) -> Outcome {
        read(status, Limits::default(), body)
    }

    #[test]
    fn success_is_what_braze_calls_so() {
        for status in [200, 201, 202] {
            for errors in [json!(null), json!([])] {
                let body = json!({ "message": "success", "errors": errors });
                assert_eq!(answered(status, &body), Outcome::Taken(Refused::default()));
            }
        }
        assert_eq!(answered(202, &json!({ "message": "queued" })), Outcome::Taken(Refused::default()));
    }

    #[test]
    fn another_2xx_is_nobodys_answer() {
        let error = json!({ "type": "bad", "input_array": "attributes", "index": 0 });
        let said = [
            json!("<html>").to_string(),
            json!([{ "message": "success" }]).to_string(),
            json!({}).to_string(),
            json!({ "message": "queued" }).to_string(),
            json!({ "message": "Valid data must be provided in the 'attributes' field." }).to_string(),
            json!({ "message": "Partial failure", "errors": [error] }).to_string(),
            json!({ "message": "success", "errors": "text" }).to_string(),
            json!({ "message": "success", "errors": { "0": "bad" } }).to_string(),
            "<html>We are down for maintenance</html>".to_owned(),
            String::new(),
        ];
        for body in said {
            let heard = Heard { status: 201, limits: Limits::default(), body: body.as_bytes() };
            let outcome = of_track(&heard, &request(), KEY);
            let Outcome::Later { class: Class::Outage, wait_ms: None, reason } = outcome else { panic!("{body}") };
            assert!(reason.starts_with("not an answer that Braze gives: HTTP 201"), "{reason}");
        }
    }

    #[test]
    fn errors_inside_a_success_are_single_objects_by_their_place() {
        let body = json!({ "message": "success", "errors": [
            { "type": "'email_subscribe' must be …", "input_array": "attributes", "index": 1 },
            { "type": "EXTERNAL_USER_ID_TOO_LARGE", "input_array": "events", "index": 0 },
        ] });
        let Outcome::Taken(refused) = answered(201, &body) else { panic!("others were taken") };
        let of = |of: &BTreeMap<String, String>| format!("{of:?}");
        assert_eq!(of(&refused.attributes), r#"{"braze_id:b": "'email_subscribe' must be …"}"#);
        assert_eq!(of(&refused.events), r#"{"braze_id:c": "EXTERNAL_USER_ID_TOO_LARGE"}"#);
        let reasons = ["braze_id:a", "braze_id:c"].map(|target| refused.reason(target));
        assert_eq!(reasons, [None, Some("EXTERNAL_USER_ID_TOO_LARGE")]);
    }

    #[test]
    fn an_error_without_a_place_is_of_somebody_who_is_not_named_otherwise() {
        let nowhere = json!({ "type": "BAD", "input_array": "attributes", "index": 9 });
        let named = |index| json!({ "type": "bad", "input_array": "attributes", "index": index });
        let targets = |letters: &str| letters.chars().map(|c| format!("braze_id:{c}")).collect::<BTreeSet<String>>();
        for (errors, refused, expected) in [
            (vec![json!({ "type": "BAD" })], "", "abc"),
            (vec![nowhere.clone()], "", "abc"),
            (vec![named(0), nowhere.clone()], "a", "bc"),
            (vec![nowhere.clone(), named(1), json!({ "type": "BAD", "input_array": "attributes" })], "b", "ac"),
        ] {
            let outcome = answered(201, &json!({ "message": "success", "errors": errors }));
            let Outcome::Partly { refused: known, unclear, reason } = outcome else { panic!("{outcome:?}") };
            assert_eq!((unclear, reason.as_str()), (targets(expected), "HTTP 201: BAD, and not whose"));
            assert_eq!((known.attributes.into_keys().collect(), known.events.len()), (targets(refused), 0));
        }
        // Where one is left whom it can mean, it is that one.
        for error in [json!({ "type": "BAD", "input_array": "events" }), json!({ "type": "BAD" })] {
            let outcome = answered(201, &json!({ "message": "success", "errors": [named(0), named(1), error] }));
            let Outcome::Taken(refused) = outcome else { panic!("{outcome:?}") };
            assert_eq!(refused.events.get("braze_id:c").map(String::as_str), Some("BAD"));
            assert_eq!(refused.attributes.contains_key("braze_id:c"), error.get("input_array").is_none());
        }
        // Nothing is taken, and nobody is named.
        assert!(matches!(answered(400, &json!({ "errors": [named(0), nowhere] })), Outcome::Refused(_)));
    }

    #[test]
    fn when_all_are_bad_each_is_refused() {
        let places = [("attributes", 0), ("attributes", 1), ("attributes", 2), ("events", 0)];
        let errors = places.map(|(array, index)| json!({ "type": "bad", "input_array": array, "index": index }));
        let Outcome::Taken(refused) =
            answered(400, &json!({ "message": "Valid data must be provided", "errors": errors }))
        else {
            panic!("all are named");
        };
        assert_eq!(refused, Refused::all(&request(), "bad"));
        let one = json!({ "message": "no", "errors": [{ "type": "bad", "input_array": "attributes", "index": 0 }] });
        assert!(matches!(answered(400, &one), Outcome::Refused(_)), "nothing was taken, and only one is named");
    }

    #[test]
    fn a_request_that_is_refused_as_a_whole_is_looked_into() {
        for status in [400, 413, 415] {
            let refused = Outcome::Refused(format!("HTTP {status}: Max Input Length Exceeded"));
            assert_eq!(answered(status, &json!({ "message": "Max Input Length Exceeded" })), refused);
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
    fn a_key_is_found_however_json_writes_it() {
        let key = r#"4b1c"9a7e\1111/2222-<3333>-abcdef00""#;
        let escaped = Value::from(key).to_string();
        let unicode: String = key.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
        for echo in [escaped.trim_matches('"').to_owned(), escaped[1..escaped.len() - 1].replace('/', "\\/"), unicode] {
            let echo = if echo.ends_with('\\') { format!("{echo}\"") } else { echo };
            for body in
                [format!(r#"{{"message": "Invalid API key: {echo}"}}"#), format!(r#"{{"errors": [{{"{echo}": 1}}]}}"#)]
            {
                let meant: Value = serde_json::from_str(&body).expect("JSON");
                assert!(format!("{meant:?}").contains("4b1c"), "{body}");
                let heard = Heard { status: 401, limits: Limits::default(), body: body.as_bytes() };
                for told in [
                    message(&heard, key),
                    super::said(body.as_bytes(), key),
                    format!("{:?}", of_track(&heard, &request(), key)),
                ] {
                    assert!(!told.contains("4b1c") && told.contains('…'), "{told}");
                }
            }
        }
        let broken_off = format!(r#"{{"message": "Invalid API key: {}"#, &escaped[1..escaped.len() - 1]);
        let told = super::said(broken_off.as_bytes(), key);
        assert!(!told.contains("4b1c") && told.contains('…'), "{told}");
    }

    #[test]
    fn the_key_is_never_repeated() {
        let echoed = json!({ "message": format!("Invalid API key: {KEY}") });
        for outcome in [answered(401, &echoed), answered(400, &echoed)] {
            let told = format!("{outcome:?}");
            assert!(!told.contains(KEY) && told.contains("Invalid API key: …1a2b"), "{told}");
        }
        let error = json!({ "type": format!("what is {KEY}"), "input_array": "attributes", "index": 0 });
        assert!(!format!("{:?}", answered(201, &json!({ "message": "success", "errors": [error] }))).contains(KEY));
        assert_eq!((shown("short"), redact("x", "")), ("…".to_owned(), "x".to_owned()));
    }
}
