//! One event of the tracker's.

use super::labels::{self, Said};
use super::{EVENT_BYTES_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, STRING_BYTES_MAX, URL_BYTES_MAX};
use crate::event::{Body, ClaimInput, Record, Source};
use crate::identity::Trust;
use crate::key::{Identifier, KeyType};
use crate::kinds::Kind;
use crate::sources::{Refusal, is_plausible, is_wire_id, json, url_identity};
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Reads one event of `visitor`'s.
pub(super) fn read(raw: &str, visitor: &Identifier, workspace: &str) -> Result<Record, Refusal> {
    if raw.len() > EVENT_BYTES_MAX {
        return Err(too_large(format!("the event has more than {EVENT_BYTES_MAX} bytes")));
    }
    let raw = json::without_lone_surrogates(raw);
    let fields: Fields =
        serde_json::from_str(&raw).map_err(|error| Refusal::new("invalid_event", error.to_string()))?;
    let id = read_id(&fields)?;
    let at = read_time(&fields)?;
    let kind = read_kind(&fields)?;
    let page = text(&fields, "page", STRING_BYTES_MAX)?.filter(|page| !page.is_empty());
    let page = page.ok_or_else(|| Refusal::missing("page"))?.to_owned();
    let url = text(&fields, "url", URL_BYTES_MAX)?.map(url_identity::strip);
    let referrer = text(&fields, "referrer", URL_BYTES_MAX)?.map(url_identity::strip);
    let name = text(&fields, "name", NAME_BYTES_MAX)?.map(url_identity::strip_text);
    let properties = read_properties(&fields)?;
    let utm = read_utm(&fields)?;
    let claims = read_claims(&fields, visitor, &page, workspace)?;

    let said = Said {
        name: name.as_deref().map(str::trim).filter(|name| !name.is_empty()),
        url: url.as_deref(),
        properties: &properties,
        claims: &claims,
    };
    let body = Body {
        kind,
        name: labels::render(kind, &said),
        source: Source::Tracker,
        event_type: None,
        url: url.filter(|url| !url.is_empty()).map(String::from),
        referrer: referrer.filter(|url| !url.is_empty()).map(String::from),
        properties: Value::Object(properties).to_string(),
        utm,
        bot: None,
        page: Some(page),
    };
    Ok(Record { rec: visitor.clone(), at, id, body, facts: Vec::new(), claims })
}

fn read_id(fields: &Fields) -> Result<String, Refusal> {
    match json::field(fields, "id").ok_or_else(|| Refusal::missing("id"))? {
        Value::String(id) if is_wire_id(id) => Ok(id.clone()),
        _ => Err(Refusal::new("invalid_id", "`id` must be 1 to 64 of A-Z, a-z, 0-9, _ and -")),
    }
}

fn read_time(fields: &Fields) -> Result<i64, Refusal> {
    let at = json::field(fields, "at").ok_or_else(|| Refusal::missing("at"))?;
    let at = at.as_i64().filter(|at| is_plausible(*at));
    at.ok_or_else(|| Refusal::new("invalid_time", "`at` must be whole ms between 1970 and 2100"))
}

fn read_kind(fields: &Fields) -> Result<Kind, Refusal> {
    let kind = json::field(fields, "kind").ok_or_else(|| Refusal::missing("kind"))?;
    let slug = kind.as_str().ok_or_else(|| Refusal::new("invalid_event", "`kind` is no text"))?;
    let kind = Kind::from_slug(slug).filter(|kind| kind.row().collect);
    kind.ok_or_else(|| Refusal::new("unknown_kind", "`kind` is none that a browser may send"))
}

fn text<'a>(fields: &'a Fields, name: &str, bytes_max: usize) -> Result<Option<&'a str>, Refusal> {
    match json::field(fields, name) {
        None => Ok(None),
        Some(Value::String(text)) if text.len() <= bytes_max => Ok(Some(text)),
        Some(Value::String(_)) => Err(too_large(format!("`{name}` has more than {bytes_max} bytes"))),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no text"))),
    }
}

fn object<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a Fields>, Refusal> {
    match json::field(fields, name) {
        None => Ok(None),
        Some(Value::Object(object)) if object.len() <= PROPERTIES_MAX => Ok(Some(object)),
        Some(Value::Object(_)) => Err(too_large(format!("`{name}` has more than {PROPERTIES_MAX} members"))),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no object"))),
    }
}

fn read_properties(fields: &Fields) -> Result<Fields, Refusal> {
    let mut properties = object(fields, "properties")?.cloned().unwrap_or_default();
    for (name, value) in &mut properties {
        if name.len() > STRING_BYTES_MAX || has_long_text(value) {
            return Err(too_large(format!("a property holds more than {STRING_BYTES_MAX} bytes of text")));
        }
        json::strip_identity(value);
    }
    Ok(properties)
}

/// At any depth. (How deep a value may be is bounded by the parser, at 128.)
fn has_long_text(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > STRING_BYTES_MAX,
        Value::Array(items) => items.iter().any(has_long_text),
        Value::Object(object) => {
            object.iter().any(|(name, value)| name.len() > STRING_BYTES_MAX || has_long_text(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Campaign parameters: a JSON object of strings as text, if there are any.
fn read_utm(fields: &Fields) -> Result<Option<String>, Refusal> {
    let mut utm = Fields::new();
    let Some(sent) = object(fields, "utm")? else { return Ok(None) };
    for name in sent.keys() {
        if name.len() > STRING_BYTES_MAX {
            return Err(too_large(format!("a name in `utm` has more than {STRING_BYTES_MAX} bytes")));
        }
        if let Some(value) = text(sent, name, STRING_BYTES_MAX)? {
            utm.insert(name.clone(), Value::String(url_identity::strip_text(value).into_owned()));
        }
    }
    Ok((!utm.is_empty()).then(|| Value::Object(utm).to_string()))
}

/// Who the page says that its visitor is. What is unusable is no claim, and no error either: pages carry templates
/// that were never filled in.
fn read_claims(fields: &Fields, visitor: &Identifier, page: &str, workspace: &str) -> Result<Vec<ClaimInput>, Refusal> {
    let said: &[Value] = match json::field(fields, "identity") {
        None => &[],
        Some(Value::Array(said)) => said,
        Some(_) => return Err(Refusal::new("invalid_event", "`identity` is no array")),
    };
    let human = json::field(fields, "human").and_then(Value::as_str).is_some_and(is_human_signal);
    let is = |entry: &Value, name: &str, word: &str| entry.get(name).and_then(Value::as_str) == Some(word);
    // If a URL carries both parameters only `braze_id` counts, even when it is unusable (contract, section 6).
    let url = json::field(fields, "url").and_then(Value::as_str);
    let url_has_braze_id = url.is_some_and(url_identity::has_braze_id)
        || said.iter().any(|entry| is(entry, "from", "url") && is(entry, "type", "braze_id"));
    let mut claims: Vec<ClaimInput> = Vec::new();
    for entry in said {
        let Some((trust, source)) = entry.get("from").and_then(Value::as_str).and_then(origin) else { continue };
        let key_type = entry.get("type").and_then(Value::as_str).and_then(person_key_type);
        let value = entry.get("value").and_then(Value::as_str);
        let (Some(key_type), Some(value)) = (key_type, value) else { continue };
        if url_has_braze_id && source == Source::Url && key_type == KeyType::ExternalId {
            continue;
        }
        let Some(key) = Identifier::new(key_type, workspace, value) else { continue };
        let claim = ClaimInput { browser: visitor.clone(), key, trust, source, page: page.to_owned(), human };
        if !claims.contains(&claim) {
            claims.push(claim);
        }
    }
    Ok(claims)
}

/// How a claim came about, and how far that is believed.
fn origin(from: &str) -> Option<(Trust, Source)> {
    match from {
        "url" => Some((Trust::Weak, Source::Url)),
        "link" => Some((Trust::Weak, Source::Link)),
        "form" => Some((Trust::Medium, Source::Form)),
        "identify" => Some((Trust::Medium, Source::Identify)),
        _ => None,
    }
}

/// A browser may name people, not other browsers. `br_user_id` is the external id's name in URLs.
fn person_key_type(slug: &str) -> Option<KeyType> {
    match slug {
        "br_user_id" => Some(KeyType::ExternalId),
        _ => KeyType::from_slug(slug).filter(|key_type| !key_type.is_browser()),
    }
}

/// The signals by which a page shows a human; words that are none say nothing.
fn is_human_signal(word: &str) -> bool {
    matches!(word, "visible" | "pointer" | "key" | "scroll" | "touch")
}

fn too_large(detail: String) -> Refusal {
    Refusal::new("too_large", detail)
}
