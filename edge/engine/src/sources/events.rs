//! Our own event API (contract, section 3, row 45): `{"id","at","kind","name","url","referrer","properties",
//! "identity":[{"type","value"},…]}`. It comes from servers with a token, so what it says of identity is strong.

use super::collect::labels::{self, Said, UNNAMED};
use super::collect::{EVENT_BYTES_MAX, Events, NAME_BYTES_MAX, URL_BYTES_MAX};
use super::{EnvelopeError, Refusal, is_plausible, is_wire_id, json, url_identity};
use crate::attributes;
use crate::event::{Body, ClaimInput, FactInput, Record, Rejected, Source};
use crate::identity::Trust;
use crate::identity::policy::Policy;
use crate::key::{Identifier, KeyType};
use crate::kinds::{KINDS, Kind};
use crate::scoring::one_of;
use crate::time;
use data_encoding::HEXLOWER;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

type Fields = Map<String, Value>;

/// All that an event may have.
const FIELDS: [&str; 10] =
    ["id", "at", "kind", "name", "url", "referrer", "utm", "properties", "identity", "event_type"];

/// The longest request in bytes (contract, row 42).
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most events in one request.
pub const EVENTS_MAX: usize = 10_000;

/// Reads a request: one event, or `{"events": […]}`. Every event is either a record or rejected.
///
/// # Errors
/// `invalid_json` for a body that is no JSON object, `invalid_field` for `events` of another type than array or empty,
/// `too_large` for more than [`EVENTS_MAX`] events; `invalid_field` for anything else beside a list of them.
pub fn parse(body: &[u8], workspace: &str, policy: &Policy) -> Result<Events, EnvelopeError> {
    let text = str::from_utf8(body).map_err(|_| EnvelopeError::not_an_object())?.trim();
    let members = json::members(text).ok_or_else(EnvelopeError::not_an_object)?;
    let sent: Vec<&str> = match members.get("events") {
        None => vec![text],
        Some(list) => {
            if let Some(other) = members.keys().find(|name| *name != "events") {
                let path = format!("/{}", other.replace('~', "~0").replace('/', "~1"));
                return Err(EnvelopeError::field(
                    path,
                    format!("unknown field{}", one_of(other, ["events"].into_iter())),
                ));
            }
            let items =
                json::items(list).ok_or_else(|| EnvelopeError::field("/events", "`events` must be an array"))?;
            items.into_iter().map(RawValue::get).collect()
        }
    };
    if sent.is_empty() {
        return Err(EnvelopeError::field("/events", "there are no events"));
    }
    if sent.len() > EVENTS_MAX {
        return Err(EnvelopeError::too_large(Some("/events"), format!("there are more than {EVENTS_MAX} events")));
    }
    let mut events = Events::default();
    for (index, raw) in sent.into_iter().enumerate() {
        match read(raw, index, workspace, policy) {
            Ok(record) => {
                events.records.push(record);
                events.places.push(index);
            }
            Err(rejected) => events.rejected.push(rejected),
        }
    }
    Ok(events)
}

/// Reads one event, given as JSON text. `workspace` is the Braze workspace of the token (the default one is empty).
///
/// The first identity that the policy does not block is the key that it is recorded under. Another person key beside a person key is a fact; a browser
/// key beside a person key is a claim; two browsers have nothing to do with each other. An event without `id` is
/// named by the hash of its text, so that the same text is the same event.
///
/// # Errors
/// The word and the details of what makes it unusable, with `index` as its place in the request.
pub fn read(raw: &str, index: usize, workspace: &str, policy: &Policy) -> Result<Record, Rejected> {
    read_event(raw, workspace, policy).map_err(|refusal| refusal.at(index))
}

fn read_event(raw: &str, workspace: &str, policy: &Policy) -> Result<Record, Refusal> {
    if raw.len() > EVENT_BYTES_MAX {
        return Err(Refusal::new("too_large", format!("the event has more than {EVENT_BYTES_MAX} bytes")));
    }
    let fields: Fields = serde_json::from_str(&json::without_lone_surrogates(raw))
        .map_err(|error| Refusal::new("invalid_event", error.to_string()))?;
    // What is misspelt would be lost, and nobody would hear of it.
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        let hint = one_of(unknown, FIELDS.into_iter());
        return Err(Refusal::new("invalid_event", format!("`{unknown}`: unknown field{hint}")));
    }
    let kind = read_kind(&fields)?;
    let url = text(&fields, "url", URL_BYTES_MAX)?.map(|url| url_identity::strip(url).into_owned());
    let referrer = text(&fields, "referrer", URL_BYTES_MAX)?.map(|url| url_identity::strip(url).into_owned());
    let name = text(&fields, "name", NAME_BYTES_MAX)?.map(|name| url_identity::strip_text(name).into_owned());
    let mut properties = object(&fields, "properties")?.cloned().unwrap_or_default();
    properties.values_mut().for_each(json::strip_identity);
    if kind == Kind::Identify {
        check_attributes(&properties)?;
    }
    let utm = object(&fields, "utm")?.map(|utm| {
        let mut utm = Value::Object(utm.clone());
        json::strip_identity(&mut utm);
        utm.to_string()
    });
    let id = read_id(&fields, raw)?;
    let (rec, facts, claims) = read_identity(&fields, &id, workspace, policy)?;
    let label = match kind {
        Kind::Identify => {
            let others = facts.iter().map(|fact| &fact.other).chain(claims.iter().map(|claim| &claim.key));
            let types: BTreeSet<KeyType> = [&rec].into_iter().chain(others).map(Identifier::key_type).collect();
            format!("[Identify] {}", types.into_iter().map(KeyType::slug).collect::<Vec<_>>().join(", "))
        }
        _ => label(kind, name.as_deref(), url.as_deref(), &properties),
    };
    let body = Body {
        kind,
        name: label,
        source: Source::Api,
        event_type: text(&fields, "event_type", NAME_BYTES_MAX)?.map(str::to_owned),
        url: url.filter(|url| !url.is_empty()),
        referrer: referrer.filter(|url| !url.is_empty()),
        properties: Value::Object(properties).to_string(),
        utm,
        bot: None,
        page: None,
    };
    Ok(Record { rec, at: read_time(&fields)?, id, body, facts, claims })
}

/// What an `identify` says of the person, in `properties.attributes`.
fn check_attributes(properties: &Fields) -> Result<(), Refusal> {
    let Some(attributes) = json::field(properties, "attributes") else { return Ok(()) };
    let attributes =
        attributes.as_object().ok_or_else(|| Refusal::new("invalid_event", "`properties.attributes` is no object"))?;
    attributes::check(attributes).map_err(|(name, message)| {
        let place = name.map_or("properties.attributes".to_owned(), |name| format!("properties.attributes.{name}"));
        Refusal::new("invalid_event", format!("`{place}`: {message}"))
    })
}

fn read_kind(fields: &Fields) -> Result<Kind, Refusal> {
    let kind = json::field(fields, "kind").ok_or_else(|| Refusal::missing("kind"))?;
    let slug = kind.as_str().ok_or_else(|| Refusal::new("invalid_event", "`kind` is no text"))?;
    Kind::from_slug(slug).ok_or_else(|| {
        let hint = one_of(slug, KINDS.iter().map(|row| row.slug));
        Refusal::new("unknown_kind", format!("there is no kind `{slug}`{hint}"))
    })
}

fn read_id(fields: &Fields, raw: &str) -> Result<String, Refusal> {
    match json::field(fields, "id") {
        None => Ok(HEXLOWER.encode(&Sha256::digest(raw.as_bytes()))),
        Some(Value::String(id)) if is_wire_id(id) => Ok(id.clone()),
        Some(_) => Err(Refusal::new("invalid_id", "`id` must be 1 to 64 of A-Z, a-z, 0-9, _ and -")),
    }
}

fn read_time(fields: &Fields) -> Result<i64, Refusal> {
    let at = match json::field(fields, "at").ok_or_else(|| Refusal::missing("at"))? {
        Value::String(text) => time::parse(text),
        number => number.as_i64(),
    };
    let at = at.filter(|at| is_plausible(*at));
    at.ok_or_else(|| Refusal::new("invalid_time", "`at` must be whole ms or RFC 3339, between 1970 and 2100"))
}

fn text<'a>(fields: &'a Fields, name: &str, bytes_max: usize) -> Result<Option<&'a str>, Refusal> {
    match json::field(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text)),
        Some(Value::String(_)) => Err(Refusal::new("too_large", format!("`{name}` has more than {bytes_max} bytes"))),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no text"))),
    }
}

fn object<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a Fields>, Refusal> {
    match json::field(fields, name) {
        None => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no object"))),
    }
}

type Identity = (Identifier, Vec<FactInput>, Vec<ClaimInput>);

/// Each event says by itself whose the browser was then: on a shared one somebody may come again after somebody else.
fn read_identity(fields: &Fields, id: &str, workspace: &str, policy: &Policy) -> Result<Identity, Refusal> {
    let said = match json::field(fields, "identity") {
        Some(Value::Array(said)) => said.as_slice(),
        Some(_) => return Err(Refusal::new("invalid_event", "`identity` is no list")),
        None => return Err(Refusal::missing("identity")),
    };
    let identifier = |entry: &Value| {
        let key_type = entry.get("type").and_then(Value::as_str).and_then(KeyType::from_slug)?;
        Identifier::new(key_type, workspace, entry.get("value")?.as_str()?)
    };
    let mut identifiers = said.iter().filter_map(identifier).filter(|ident| !policy.is_blocked(ident));
    let rec = identifiers.next().ok_or_else(|| Refusal::new("missing_field", "`identity` names nobody"))?;
    let (mut facts, mut claims) = (Vec::new(), Vec::new());
    for other in identifiers.filter(|other| *other != rec) {
        let (browser, key) = match (rec.key_type().is_browser(), other.key_type().is_browser()) {
            (false, false) => {
                facts.push(FactInput { other, explicit: false });
                continue;
            }
            (true, false) => (rec.clone(), other),
            (false, true) => (other, rec.clone()),
            (true, true) => continue,
        };
        let (trust, page) = (Trust::Strong, id.to_owned());
        claims.push(ClaimInput { browser, key, trust, source: Source::Api, page, human: true });
    }
    Ok((rec, facts, claims))
}

/// The label in the style of the table of kinds. What comes from Braze has its label already where somebody sends it
/// through this API: the name is taken as it is.
fn label(kind: Kind, name: Option<&str>, url: Option<&str>, properties: &Fields) -> String {
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    let prefix = match kind {
        kind if kind.row().collect => {
            return labels::render(kind, &Said { name, url, properties, claims: &[] });
        }
        Kind::LinkClick => "[Link click] ",
        Kind::CrmChange => "[CRM] ",
        Kind::Other => "[Other] ",
        _ => return name.map_or_else(|| kind.slug().to_owned(), str::to_owned),
    };
    format!("{prefix}{}", name.unwrap_or(UNNAMED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy() -> Policy {
        Policy::default().with_blocked("external_id:test, email:nobody@example.com, visitor:b-0").unwrap()
    }

    fn event(changes: &Value) -> Result<Record, Rejected> {
        let mut event = json!({ "id": "e1", "at": 1_767_225_600_123_i64, "kind": "custom", "name": "Trial",
            "identity": [{ "type": "email", "value": "ADA@example.com" }] });
        for (name, value) in changes.as_object().unwrap() {
            event[name] = value.clone();
        }
        read(&event.to_string(), 3, "", &policy())
    }

    #[test]
    fn a_text_that_was_cut_within_a_character_is_taken() {
        let whole = json!({ "at": 1, "kind": "custom", "name": "cut NAME", "properties": { "t": "ab" },
            "identity": [{ "type": "email", "value": "ada@example.com" }] });
        let read = |half: &str| {
            let raw = whole.to_string().replace("NAME", half).replace("ab", &format!("ab{half}"));
            read(&raw, 0, "", &policy()).unwrap()
        };
        let (high, low) = (read("\\ud83d"), read("\\uDE00"));
        let expected = ("[Custom Event tracked] cut \u{FFFD}", "{\"t\":\"ab\u{FFFD}\"}");
        for record in [&high, &low] {
            assert_eq!((record.body.name.as_str(), record.body.properties.as_str()), expected);
        }
        assert_ne!(high.id, low.id, "named by its text as it was sent");
    }

    #[test]
    fn an_event_is_recorded_under_its_first_identity() {
        let identity = json!([{ "type": "email", "value": "ADA@example.com" }, { "type": "external_id", "value": "7" },
            { "type": "visitor", "value": "b-1" }, { "type": "phone", "value": "none" }]);
        let record = event(&json!({ "identity": identity, "at": "2026-01-01T01:00:00.123+01:00" })).unwrap();
        assert_eq!((record.rec.value(), record.at, record.id.as_str()), ("ada@example.com", 1_767_225_600_123, "e1"));
        assert_eq!((record.body.name.as_str(), record.body.source), ("[Custom Event tracked] Trial", Source::Api));
        assert_eq!(record.facts.iter().map(|fact| fact.other.value()).collect::<Vec<_>>(), ["7"]);
        let claims: Vec<_> = record.claims.iter().map(|c| (c.browser.value(), c.key.value(), c.trust)).collect();
        assert_eq!(claims, [("b-1", "ada@example.com", Trust::Strong)]);
        assert_eq!(record.claims[0].page, record.id, "a claim of its own, whatever was claimed before");
        let identity = json!([{ "type": "visitor", "value": "b-1" }, { "type": "visitor", "value": "b-2" },
            { "type": "email", "value": "ada@example.com" }]);
        let record = event(&json!({ "identity": identity })).unwrap();
        assert_eq!((record.rec.value(), record.facts.len(), record.claims.len()), ("b-1", 0, 1));
    }

    #[test]
    fn what_is_blocked_is_no_identity() {
        let named = |entries: &[(&str, &str)]| {
            let entry = |(key_type, value): &(&str, &str)| json!({ "type": key_type, "value": value });
            event(&json!({ "identity": entries.iter().map(entry).collect::<Vec<_>>() }))
        };
        let record = named(&[("external_id", "test"), ("email", "ada@example.com"), ("visitor", "b-0")]).unwrap();
        assert_eq!((record.rec.value(), &record.facts, &record.claims), ("ada@example.com", &vec![], &vec![]));
        let record = named(&[("visitor", "b-0"), ("email", "ada@example.com"), ("crm_id", "7")]).unwrap();
        assert_eq!((record.rec.value(), record.facts[0].other.value()), ("ada@example.com", "7"));
        assert!(record.claims.is_empty(), "a browser that is nobody's says nothing");
        let rejected = named(&[("external_id", "test"), ("email", "Nobody@example.com")]).unwrap_err();
        assert_eq!(rejected.reason, "missing_field");
    }

    #[test]
    fn without_an_id_the_same_text_is_the_same_event() {
        let one = event(&json!({ "id": null })).unwrap();
        assert_eq!(one.id.len(), 64);
        assert_eq!(one.id, event(&json!({ "id": null })).unwrap().id);
        assert_ne!(one.id, event(&json!({ "id": null, "name": "Other" })).unwrap().id);
    }

    #[test]
    fn labels_follow_the_table_of_kinds() {
        for (changes, label) in [
            (json!({ "kind": "page_view", "name": null, "url": "https://a.example/x?y" }), "[Page view] /x"),
            (json!({ "kind": "form_submit" }), "[Form] Trial"),
            (json!({ "kind": "link_click", "name": "Spring" }), "[Link click] Spring"),
            (json!({ "kind": "crm_change", "name": "Status" }), "[CRM] Status"),
            (json!({ "kind": "purchase", "name": "[User Action] Made a purchase" }), "[User Action] Made a purchase"),
            (json!({ "kind": "purchase", "name": null }), "purchase"),
            (json!({ "kind": "identify", "properties": { "attributes": { "plan": "pro" } } }), "[Identify] email"),
        ] {
            assert_eq!(event(&changes).unwrap().body.name, label);
        }
    }

    #[test]
    fn what_cannot_be_taken_says_why() {
        for (changes, reason) in [
            (json!({ "kind": null }), "missing_field"),
            (json!({ "kind": "page-view" }), "unknown_kind"),
            (json!({ "naem": "Trial" }), "invalid_event"),
            (json!({ "at": "soon" }), "invalid_time"),
            (json!({ "at": 1.5 }), "invalid_time"),
            (json!({ "id": "a b" }), "invalid_id"),
            (json!({ "identity": [] }), "missing_field"),
            (json!({ "identity": "ada" }), "invalid_event"),
            (json!({ "properties": [] }), "invalid_event"),
            (json!({ "url": "x".repeat(2_049) }), "too_large"),
            (json!({ "properties": { "a": "x".repeat(20_000) } }), "too_large"),
            (json!({ "kind": "identify", "properties": { "attributes": ["pro"] } }), "invalid_event"),
            (json!({ "kind": "identify", "properties": { "attributes": { "sf.plan": "pro" } } }), "invalid_event"),
        ] {
            let rejected = event(&changes).unwrap_err();
            assert_eq!((rejected.index, rejected.reason), (3, reason), "{changes}");
        }
        assert_eq!(read("[]", 0, "", &policy()).unwrap_err().reason, "invalid_event");
        let detail = event(&json!({ "kind": "page_veiw" })).unwrap_err().detail;
        assert_eq!(detail, "there is no kind `page_veiw`; did you mean `page_view`?");
    }

    #[test]
    fn a_request_is_one_event_or_a_batch_of_which_each_is_judged_by_itself() {
        let event = json!({ "id": "e1", "at": 1_767_225_600_123_i64, "kind": "custom", "name": "Trial",
            "identity": [{ "type": "email", "value": "ada@example.com" }] });
        let one = parse(format!(" {event}\n").as_bytes(), "", &policy()).unwrap();
        assert_eq!((one.records.len(), one.rejected.len()), (1, 0));
        let other = json!({ "at": "soon" });
        let batch = parse(json!({ "events": [other, event, 7] }).to_string().as_bytes(), "brand-b", &policy()).unwrap();
        let rejected: Vec<_> = batch.rejected.iter().map(|rejected| (rejected.index, rejected.reason)).collect();
        assert_eq!((batch.places, rejected), (vec![1], vec![(0, "missing_field"), (2, "invalid_event")]));
        assert_eq!(batch.records, one.records);
        // What has no id is named by its own text, wherever it stands.
        let mut nameless = event.clone();
        nameless.as_object_mut().unwrap().remove("id");
        let alone = parse(format!(" {nameless} ").as_bytes(), "", &policy()).unwrap().records;
        assert_eq!(
            parse(json!({ "events": [nameless] }).to_string().as_bytes(), "", &policy()).unwrap().records,
            alone
        );
        let many = format!("{{\"events\": [{}]}}", vec!["{}"; EVENTS_MAX + 1].join(","));
        for (body, code, path) in [
            ("", "invalid_json", None),
            ("[]", "invalid_json", None),
            ("{\"events\": 7}", "invalid_field", Some("/events")),
            ("{\"events\": []}", "invalid_field", Some("/events")),
            (many.as_str(), "too_large", Some("/events")),
        ] {
            let error = parse(body.as_bytes(), "", &policy()).unwrap_err();
            assert_eq!((error.code, error.path.as_deref()), (code, path), "{}", body.get(..20).unwrap_or(body));
        }
    }
}
