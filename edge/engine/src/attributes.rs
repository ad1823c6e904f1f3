//! What events say of a person's attributes (contract, row 19). An attribute is the value with the latest word, over
//! all events in their order; `null` takes it away.

use crate::event::{Body, Source};
use crate::kinds::Kind;
use crate::scoring::{Attribute, Attributes};
use serde_json::{Map, Value};

/// The type of event that `PATCH /api/prospects/{ref}` is recorded as.
pub const PATCH: &str = "prospect.patch";
/// Whether a colleague has marked the person.
pub const FAVORITE: &str = "favorite";
/// Whose the person is in sales.
pub const OWNER_EMAIL: &str = "owner_email";
/// What a person and their company are called.
pub const NAMES: [&str; 3] = ["first_name", "last_name", "company"];
/// The domain of the e-mail: follows from it, and is never told.
pub const EMAIL_DOMAIN: &str = "email_domain";

/// The most attributes that are kept of a person: by the order of events, the first that were told. With the longest
/// names and values that is 1.3 MB in a row of at most 2 MB (limit of SQLite in a Durable Object).
pub const NAMES_MAX: usize = 1_000;
/// The most attributes that one call or event may tell.
pub const TOLD_MAX: usize = 64;
/// The longest name, in bytes: conditions take no longer one.
pub const NAME_BYTES_MAX: usize = 256;
/// The longest value, in bytes as JSON.
pub const VALUE_BYTES_MAX: usize = 1_024;
/// What attributes of others' systems begin with: they never compete with our own.
const FOREIGN: [&str; 2] = ["sf.", "braze."];

/// What an event says of attributes, in the order told; `null` takes one away.
#[must_use]
pub fn told(body: &Body) -> Vec<(String, Value)> {
    if !tells(body) {
        return Vec::new();
    }
    let Ok(Value::Object(mut properties)) = serde_json::from_str::<Value>(&body.properties) else { return Vec::new() };
    if body.kind == Kind::FormSubmit {
        let filled_in = NAMES.into_iter().filter_map(|name| Some((name.to_owned(), properties.remove(name)?)));
        return filled_in.filter(|(_, value)| value.is_string()).collect();
    }
    let Some(Value::Object(attributes)) = properties.remove("attributes") else { return Vec::new() };
    let prefix = if body.source == Source::BrazeExport { "braze." } else { "" };
    attributes.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
}

/// Whether an event may say something of attributes: what a machine has done says nothing.
#[must_use]
pub fn tells(body: &Body) -> bool {
    let of_kind = match (body.source, body.kind) {
        (_, Kind::FormSubmit) | (Source::BrazeExport, _) | (Source::Api, Kind::Identify) => true,
        (Source::Api, Kind::Other) => body.event_type.as_deref() == Some(PATCH),
        _ => false,
    };
    of_kind && body.bot.is_none()
}

impl Attributes {
    /// Takes over what the next event says: those told of must come in their order.
    pub fn learn(&mut self, body: &Body, at: i64) {
        for (name, value) in told(body) {
            let kept = self.0.len() - usize::from(self.0.contains_key(EMAIL_DOMAIN));
            if value.is_null() {
                self.0.remove(&name);
            } else if kept < NAMES_MAX || self.0.contains_key(&name) {
                self.0.insert(name, Attribute { value: value.to_string(), source: body.source, at });
            }
        }
    }
}

/// Why attributes can't be taken that a caller of our API tells: the name at fault, and what is wrong.
///
/// # Errors
/// For too many of them, for a name that is too long or not a caller's to set, and for a value that is an object, a
/// list of anything else than texts, numbers, `true` and `false`, or too long.
pub fn check(attributes: &Map<String, Value>) -> Result<(), (Option<&str>, String)> {
    if attributes.len() > TOLD_MAX {
        return Err((None, format!("at most {TOLD_MAX} attributes may be told at a time")));
    }
    for (name, value) in attributes {
        check_one(name, value).map_err(|message| (Some(name.as_str()), message))?;
    }
    Ok(())
}

fn check_one(name: &str, value: &Value) -> Result<(), String> {
    let is_scalar = |value: &Value| matches!(value, Value::String(_) | Value::Number(_) | Value::Bool(_));
    let is_flat = match value {
        Value::Array(elements) => elements.iter().all(is_scalar),
        Value::Null => true,
        other => is_scalar(other),
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("the name of an attribute has 1 to {NAME_BYTES_MAX} bytes and no control characters"));
    }
    if FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
        return Err("attributes of this name come from another system, and are not set here".to_owned());
    }
    if name == EMAIL_DOMAIN {
        return Err("follows from the e-mail, and is not set".to_owned());
    }
    if !is_flat {
        return Err("must be a text, a number, true, false, a list of these, or null".to_owned());
    }
    if value.to_string().len() > VALUE_BYTES_MAX {
        return Err(format!("has more than {VALUE_BYTES_MAX} bytes as JSON"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(source: Source, kind: Kind, event_type: Option<&str>, properties: &Value) -> Body {
        let event_type = event_type.map(str::to_owned);
        Body { event_type, properties: properties.to_string(), ..Body::bare(kind, String::new(), source) }
    }

    #[test]
    fn forms_callers_and_look_ups_tell_and_nobody_else_does() {
        let attributes = json!({ "attributes": { "plan": "pro", "seats": null } });
        let own = vec![("plan".to_owned(), json!("pro")), ("seats".to_owned(), Value::Null)];
        let foreign = vec![("braze.plan".to_owned(), json!("pro")), ("braze.seats".to_owned(), Value::Null)];
        for (source, kind, event_type, expected) in [
            (Source::Api, Kind::Identify, None, own.clone()),
            (Source::Api, Kind::Other, Some(PATCH), own),
            (Source::BrazeExport, Kind::Other, Some("braze.export"), foreign),
            (Source::Api, Kind::Other, None, Vec::new()),
            (Source::Api, Kind::Custom, None, Vec::new()),
            // A browser says who somebody is, not what they are.
            (Source::Tracker, Kind::Identify, None, Vec::new()),
        ] {
            let body = body(source, kind, event_type, &attributes);
            assert_eq!(told(&body), expected, "{source:?} {kind:?}");
            assert_eq!(told(&Body { bot: Some("scanner".to_owned()), ..body }), []);
        }
        let form = json!({ "first_name": "Ada", "company": 7, "industry": "SaaS" });
        let form = body(Source::Tracker, Kind::FormSubmit, None, &form);
        assert_eq!(told(&form), [("first_name".to_owned(), json!("Ada"))]);
    }

    #[test]
    fn what_a_caller_may_not_set_is_named() {
        let wrong = |name: &str, value: Value| {
            let attributes = Map::from_iter([(name.to_owned(), value)]);
            check(&attributes).err().map(|(name, _)| name.map(str::to_owned))
        };
        for value in [json!("SaaS"), json!(7.5), json!(false), json!(["a", 1, true]), json!([]), json!(null)] {
            assert_eq!(wrong("industry", value.clone()), None, "{value}");
        }
        for (name, value) in [
            ("", json!(1)),
            ("a\n", json!(1)),
            ("sf.account.industry", json!(1)),
            ("braze.plan", json!(null)),
            ("email_domain", json!("example.com")),
            ("plan", json!({ "name": "pro" })),
            ("plan", json!([["pro"]])),
            ("plan", json!([null])),
            ("plan", json!("x".repeat(1_023))),
        ] {
            assert_eq!(wrong(name, value.clone()), Some(Some(name.to_owned())), "{name}: {value}");
        }
        assert_eq!(wrong("plan", json!("x".repeat(1_022))), None);
        let many: Map<String, Value> = (0..65).map(|n| (format!("a{n}"), json!(n))).collect();
        assert_eq!(check(&many).unwrap_err().0, None);
    }

    #[test]
    fn the_latest_word_counts_and_names_made_up_without_end_are_not_kept() {
        let mut known = Attributes::default();
        let mut tell = |at: i64, attributes: Value| {
            known.learn(&body(Source::Api, Kind::Identify, None, &json!({ "attributes": attributes })), at);
            known.clone()
        };
        tell(1, json!({ "plan": "pro", "seats": 5 }));
        let after = tell(2, json!({ "plan": null, "seats": 7 }));
        let seats = Attribute { value: "7".to_owned(), source: Source::Api, at: 2 };
        assert_eq!(after.0, [("seats".to_owned(), seats)].into());
        for n in 0..NAMES_MAX {
            tell(3, json!({ format!("n{n:04}"): n }));
        }
        let full = tell(4, json!({ "seats": 8, "n0000": "known", "one more": 1 }));
        assert_eq!((full.0.len(), full.value("seats")), (NAMES_MAX, Some(json!(8))));
        assert!(full.0.contains_key("n0998") && !full.0.contains_key("n0999") && !full.0.contains_key("one more"));
    }
}
