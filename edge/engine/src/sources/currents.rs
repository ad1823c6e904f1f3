//! Braze's Custom Currents Export: batches of `{"events": [...]}`.
//!
//! Whatever the status code says, Braze acts on: a refused batch is split, retried for days or dropped for good. So
//! only a body that is no JSON object is an error; an event that cannot be read becomes a dead letter and its
//! neighbours go on. Field names and meanings are those of Braze's Currents documentation, version 12 (September
//! 2026); later versions only add fields and types, and both are kept.

mod labels;
mod table;
#[cfg(test)]
mod tests;

use super::{EnvelopeError, Refusal, is_plausible, is_wire_id, json};
use crate::event::{Body, FactInput, Record, Source};
use crate::key::{Identifier, KeyType};
use data_encoding::HEXLOWER;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// One request of Braze's, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// What could be read, in the order sent.
    pub records: Vec<Record>,
    /// For each record, its event's place in the request, from 0.
    pub places: Vec<usize>,
    /// What could not.
    pub dead: Vec<DeadLetter>,
    /// There was no event at all: Braze tries its credentials so. Nothing is to be done but to check them.
    pub probe: bool,
}

/// An event that could not be read, kept for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the request, from 0.
    pub index: usize,
    /// `invalid_event`, `missing_field`, `invalid_time`, or `no_identity`: it says nothing of who it is about.
    pub reason: &'static str,
    /// What is wrong, in words.
    pub detail: String,
    /// The event as sent.
    pub raw: String,
}

/// Reads one request. `workspace` is the Braze workspace of the token that it came with (the default one is empty);
/// `groups` are the configured names of subscription groups by id, which Braze does not send.
///
/// # Errors
/// `invalid_json` for a body that is no JSON object, `invalid_field` for `events` of another type than array. An
/// empty body, and `events` absent, `null` or empty, are a probe.
pub fn parse(body: &[u8], workspace: &str, groups: &BTreeMap<String, String>) -> Result<Batch, EnvelopeError> {
    // A broken byte inside one event is no reason to refuse the other 99.
    let body = String::from_utf8_lossy(body);
    if body.trim().is_empty() {
        return Ok(Batch { probe: true, ..Batch::default() });
    }
    let envelope = json::members(&body).ok_or_else(EnvelopeError::not_an_object)?;
    let events = match json::present(&envelope, "events") {
        Some(value) => json::items(value).ok_or_else(|| EnvelopeError::field("/events", "`events` is no array"))?,
        None => Vec::new(),
    };
    let mut batch = Batch { probe: events.is_empty(), ..Batch::default() };
    for (index, raw) in events.into_iter().enumerate() {
        match read_event(raw.get(), workspace, groups) {
            Ok(record) => {
                batch.records.push(record);
                batch.places.push(index);
            }
            Err(Refusal { reason, detail }) => {
                batch.dead.push(DeadLetter { index, reason, detail, raw: raw.get().to_owned() });
            }
        }
    }
    Ok(batch)
}

fn read_event(raw: &str, workspace: &str, groups: &BTreeMap<String, String>) -> Result<Record, Refusal> {
    let mut event: Map<String, Value> =
        serde_json::from_str(raw).map_err(|error| Refusal::new("invalid_event", error.to_string()))?;
    let event_type = required_text(&event, "event_type")?.to_owned();
    let id = event_id(required_text(&event, "id")?);
    let at = event_time(&event)?;
    let user = part(&mut event, "user")?;
    let mut properties = part(&mut event, "properties")?;
    for name in ["custom_properties", "purchase_properties"] {
        unfold(&mut properties, name);
    }
    properties.values_mut().for_each(json::strip_identity);

    let row = table::row(&event_type, &properties);
    let people = identifiers(&user, &properties, row.keys, workspace);
    let mut people = people.into_iter();
    let rec = people.next().ok_or_else(|| {
        Refusal::new("no_identity", "no usable braze_id, external_user_id, e-mail address or phone number")
    })?;
    let mut facts: Vec<_> = people.map(|other| FactInput { other, explicit: false }).collect();
    if event_type == table::USER_ORPHAN {
        let survivor = json::words(&properties, "orphaned_by_id")
            .and_then(|id| Identifier::new(KeyType::BrazeId, workspace, &id))
            .filter(|survivor| *survivor != rec);
        facts.extend(survivor.map(|other| FactInput { other, explicit: true }));
    }
    let name = labels::render(row.label, &labels::Fields { event_type: &event_type, properties: &properties, groups });
    let body = Body {
        kind: row.kind,
        name,
        source: Source::Currents,
        url: None,
        referrer: None,
        bot: row.bot.reason(&properties).map(str::to_owned),
        properties: Value::Object(properties).to_string(),
        utm: None,
        page: None,
        event_type: Some(event_type),
    };
    Ok(Record { rec, at, id, body, facts, claims: Vec::new() })
}

/// Whether Braze was asked to forget this person (`users.UserDeleteRequest`).
#[must_use]
pub fn is_delete_request(record: &Record) -> bool {
    record.body.source == Source::Currents && record.body.event_type.as_deref() == Some(table::USER_DELETE_REQUEST)
}

/// Who an event is about: `braze_id`, else the external id, else e-mail, else phone comes first; the others follow.
///
/// Beware of the names: `user.user_id` is what everybody else calls `braze_id`.
fn identifiers(
    user: &Map<String, Value>,
    properties: &Map<String, Value>,
    keys: &[(KeyType, &str)],
    workspace: &str,
) -> Vec<Identifier> {
    let of_user = [(KeyType::BrazeId, "user_id"), (KeyType::ExternalId, "external_user_id")];
    let of_user = of_user.into_iter().map(|(key_type, name)| (key_type, json::words(user, name)));
    let of_properties = keys.iter().map(|(key_type, name)| (*key_type, json::words(properties, name)));
    of_user.chain(of_properties).filter_map(|(key_type, value)| Identifier::new(key_type, workspace, &value?)).collect()
}

fn required_text<'a>(event: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match json::field(event, name).ok_or_else(|| Refusal::missing(name))? {
        Value::String(text) if !text.is_empty() => Ok(text),
        _ => Err(Refusal::new("invalid_event", format!("`{name}` is no text"))),
    }
}

/// Braze's ids are UUIDs. Whatever else one may be, it must still tell repeats: it is hashed.
fn event_id(id: &str) -> String {
    if is_wire_id(id) { id.to_owned() } else { HEXLOWER.encode(&Sha256::digest(id.as_bytes())) }
}

/// Seconds since 1970 on the wire, ms here.
fn event_time(event: &Map<String, Value>) -> Result<i64, Refusal> {
    let time = json::field(event, "time").ok_or_else(|| Refusal::missing("time"))?;
    let at = time.as_i64().and_then(|seconds| seconds.checked_mul(1000)).filter(|at| is_plausible(*at));
    at.ok_or_else(|| Refusal::new("invalid_time", "`time` is no whole number of seconds between 1970 and 2100"))
}

/// `user` or `properties`: an object, or nothing.
fn part(event: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, Refusal> {
    match event.remove(name) {
        Some(Value::Object(object)) => Ok(object),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no object"))),
    }
}

/// A customer's own properties come as an object or as JSON in a string: they are stored as an object.
fn unfold(properties: &mut Map<String, Value>, name: &str) {
    if let Some(value) = properties.get_mut(name)
        && let Value::String(text) = value
        && let Ok(object) = serde_json::from_str(text)
    {
        *value = Value::Object(object);
    }
}
