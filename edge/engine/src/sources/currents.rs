//! Braze's Custom Currents Export: batches of `{"events": [...]}`.
//!
//! Whatever the status code says, Braze acts on: a refused batch is split, retried for days or dropped for good. So
//! only a body that is no JSON object is an error; an event that cannot be read becomes a dead letter and its
//! neighbours go on. Field names and meanings are those of Braze's Currents documentation, version 12 (September
//! 2026); later versions only add fields and types, and both are kept.

mod labels;
#[cfg(test)]
mod reference;
mod table;
#[cfg(test)]
mod tests;

use super::{EnvelopeError, Refusal, is_plausible, is_wire_id, json};
use crate::event::{Body, FactInput, Record, Source};
use crate::identity::policy::Policy;
use crate::key::{Identifier, KeyType};
use data_encoding::HEXLOWER;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// The most events of one request. Braze sends up to 100; a request of more is answered 413, on which it sends less.
pub const EVENTS_MAX: usize = 10_000;
/// The longest event, in bytes of its JSON: Braze drops what has more than 900 KB, and a row of ours holds 2 MB.
pub const EVENT_BYTES_MAX: usize = 1_000_000;
/// How much is kept of an event that is longer, in bytes.
const TOO_LARGE_KEPT: usize = 64 * 1024;

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
    /// `invalid_event`, `missing_field`, `invalid_time`, `too_large`, or `no_identity`: it says nothing of who it is about.
    pub reason: &'static str,
    /// What is wrong, in words.
    pub detail: String,
    /// Braze's type, as far as that could be read.
    pub event_type: Option<String>,
    /// The event as sent; of one that is too large, the beginning.
    pub raw: String,
}

/// Reads one request, event by event: no more than one of them is ever taken apart at a time. `workspace` is the Braze
/// workspace of the token that it came with (the default one is empty); `groups` are the configured names of
/// subscription groups by id, which Braze does not send.
///
/// # Errors
/// `invalid_json` for a body that is no JSON object, `invalid_field` for `events` of another type than array,
/// `too_large` for more than [`EVENTS_MAX`] events. An empty body, and `events` absent, `null` or empty, are a probe.
pub fn parse(body: &[u8], workspace: &str, groups: &BTreeMap<String, String>) -> Result<Batch, EnvelopeError> {
    parse_under(&Policy::default(), body, workspace, groups)
}

/// The same under a policy: what it blocks is nobody's key. Who is named by nothing else is kept aside as one of whom
/// nothing is said.
///
/// # Errors
/// As [`parse`].
pub fn parse_under(
    policy: &Policy,
    body: &[u8],
    workspace: &str,
    groups: &BTreeMap<String, String>,
) -> Result<Batch, EnvelopeError> {
    // A broken byte inside one event is no reason to refuse the other 99.
    let body = String::from_utf8_lossy(body);
    // RFC 8259, 8.1: a parser may ignore a byte order mark rather than take it for an error.
    let body = body.trim_start_matches('\u{feff}');
    if body.trim().is_empty() {
        return Ok(Batch { probe: true, ..Batch::default() });
    }
    let mut reading = Reading { policy, workspace, groups, batch: Batch::default(), events: 0, refused: None };
    let mut text = serde_json::Deserializer::from_str(body);
    let read = text.deserialize_map(Envelope(&mut reading)).and_then(|()| text.end());
    let Reading { batch, events, refused, .. } = reading;
    match (refused, read) {
        (Some(refused), _) => Err(refused),
        (None, Err(_)) => Err(EnvelopeError::not_an_object()),
        (None, Ok(())) => Ok(Batch { probe: events == 0, ..batch }),
    }
}

/// A request while it is read.
struct Reading<'a> {
    policy: &'a Policy,
    workspace: &'a str,
    groups: &'a BTreeMap<String, String>,
    batch: Batch,
    /// How many events there were.
    events: usize,
    /// Why the request is refused though it is JSON.
    refused: Option<EnvelopeError>,
}

impl Reading<'_> {
    fn take<E: de::Error>(&mut self, raw: &str) -> Result<(), E> {
        let index = self.events;
        self.events += 1;
        if index == EVENTS_MAX {
            let message = format!("there are more than {EVENTS_MAX} events");
            return Err(self.refuse(EnvelopeError::too_large(Some("/events"), message)));
        }
        match read_event(raw, self.policy, self.workspace, self.groups) {
            Ok(record) => {
                self.batch.records.push(record);
                self.batch.places.push(index);
            }
            Err(Refusal { reason, detail }) => {
                let event_type = event_type(raw);
                let raw = if reason == TOO_LARGE { beginning(raw) } else { raw };
                self.batch.dead.push(DeadLetter { index, reason, detail, event_type, raw: raw.to_owned() });
            }
        }
        Ok(())
    }

    fn refuse<E: de::Error>(&mut self, refused: EnvelopeError) -> E {
        self.refused = Some(refused);
        E::custom("refused")
    }
}

/// The object around the events.
struct Envelope<'r, 'a>(&'r mut Reading<'a>);

impl<'de> Visitor<'de> for Envelope<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<(), M::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == "events" {
                members.next_value_seed(Events(&mut *self.0))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The array of events, or `null`.
struct Events<'r, 'a>(&'r mut Reading<'a>);

impl<'de> DeserializeSeed<'de> for Events<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Events<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<(), S::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            self.0.take(item.get())?;
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, _: M) -> Result<(), M::Error> {
        Err(self.wrong())
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.wrong())
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.wrong())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.wrong())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.wrong())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.wrong())
    }
}

impl Events<'_, '_> {
    fn wrong<E: de::Error>(self) -> E {
        self.0.refuse(EnvelopeError::field("/events", "`events` is no array"))
    }
}

const TOO_LARGE: &str = "too_large";

/// As much of an event that is too large as is kept.
fn beginning(raw: &str) -> &str {
    let end = (0..=TOO_LARGE_KEPT.min(raw.len())).rev().find(|end| raw.is_char_boundary(*end));
    end.and_then(|end| raw.get(..end)).unwrap_or_default()
}

/// The type of an event that cannot be read, if that much of it can.
fn event_type(raw: &str) -> Option<String> {
    let raw = json::without_lone_surrogates(raw);
    json::members(&raw).and_then(|members| serde_json::from_str(members.get("event_type")?.get()).ok())
}

fn read_event(
    raw: &str,
    policy: &Policy,
    workspace: &str,
    groups: &BTreeMap<String, String>,
) -> Result<Record, Refusal> {
    if raw.len() > EVENT_BYTES_MAX {
        return Err(Refusal::new(
            TOO_LARGE,
            format!("it has more than {EVENT_BYTES_MAX} bytes; the beginning is kept"),
        ));
    }
    let raw = &*json::without_lone_surrogates(raw);
    let mut event: Map<String, Value> =
        serde_json::from_str(raw).map_err(|error| Refusal::new("invalid_event", error.to_string()))?;
    let event_type = required_text(&event, "event_type")?.to_owned();
    let id = event_id(required_text(&event, "id")?);
    let at = event_time(&event)?;
    let mut user = part(&mut event, "user")?;
    let mut properties = part(&mut event, "properties")?;
    for name in ["custom_properties", "purchase_properties"] {
        unfold(&mut properties, name);
    }
    properties.values_mut().for_each(json::strip_identity);

    let row = table::row(&event_type, &properties);
    let people = identifiers(&user, &properties, row.keys, workspace);
    let mut people = people.into_iter().filter(|ident| !policy.is_blocked(ident));
    let rec = people.next().ok_or_else(|| {
        Refusal::new("no_identity", "no usable braze_id, external_user_id, e-mail address or phone number")
    })?;
    let mut facts: Vec<_> = people.map(|other| FactInput { other, explicit: false }).collect();
    if event_type == table::USER_ORPHAN {
        let survivor = json::words(&properties, "orphaned_by_id")
            .and_then(|id| Identifier::new(KeyType::BrazeId, workspace, &id))
            .filter(|survivor| *survivor != rec && !policy.is_blocked(survivor));
        facts.extend(survivor.map(|other| FactInput { other, explicit: true }));
    }
    ENVELOPE.into_iter().for_each(|name| drop(event.shift_remove(name)));
    USER_IDS.into_iter().for_each(|(_, name)| drop(user.shift_remove(name)));
    let name = labels::render(row.label, &labels::Fields { event_type: &event_type, properties: &properties, groups });
    let body = Body {
        bot: row.bot.reason(&properties).map(str::to_owned),
        properties: kept(properties, user, event, raw),
        event_type: Some(event_type),
        ..Body::bare(row.kind, name, Source::Currents)
    };
    Ok(Record { rec, at, id, body, facts, claims: Vec::new() })
}

/// What is stored of an event besides when, what and whom it is about: its properties; in them, as `user` and `event`, what
/// else Braze says of the person (`timezone`, `device_id`) and of the event itself. Properties of these names keep them.
fn kept(mut properties: Map<String, Value>, user: Map<String, Value>, event: Map<String, Value>, raw: &str) -> String {
    let all = json::members(raw).unwrap_or_default();
    let mut sent = all.get("properties").and_then(|properties| json::members(properties.get())).unwrap_or_default();
    let whole: Option<&RawValue> = serde_json::from_str(raw).ok();
    for (name, of, from) in [("user", user, all.get("user").copied()), ("event", event, whole)] {
        if of.is_empty() {
            continue;
        }
        let mut of = Value::Object(of);
        json::strip_identity(&mut of);
        let mut name = name.to_owned();
        while properties.contains_key(&name) {
            name.push('_');
        }
        sent.extend(from.map(|from| (name.clone(), from)));
        properties.insert(name, of);
    }
    let mut text = String::with_capacity(raw.len());
    json::write_members(&properties, &sent, &mut text);
    text
}

/// Whether Braze was asked to forget this person (`users.UserDeleteRequest`).
#[must_use]
pub fn is_delete_request(record: &Record) -> bool {
    record.body.source == Source::Currents && record.body.event_type.as_deref() == Some(table::USER_DELETE_REQUEST)
}

/// The fields of an event that are read.
const ENVELOPE: [&str; 3] = ["id", "event_type", "time"];
/// The fields of `user` that say who it is.
const USER_IDS: [(KeyType, &str); 2] = [(KeyType::BrazeId, "user_id"), (KeyType::ExternalId, "external_user_id")];

/// Who an event is about: `braze_id`, else the external id, else e-mail, else phone comes first; the others follow.
///
/// Beware of the names: `user.user_id` is what everybody else calls `braze_id`.
fn identifiers(
    user: &Map<String, Value>,
    properties: &Map<String, Value>,
    keys: &[(KeyType, &str)],
    workspace: &str,
) -> Vec<Identifier> {
    // Two integers too long for 64 bits may read as the same number: such a one is nobody's id.
    let is_exact = |name: &str| !matches!(user.get(name), Some(Value::Number(number)) if number.is_f64());
    let of_user = USER_IDS.into_iter().filter(|(_, name)| is_exact(name));
    let of_user = of_user.map(|(key_type, name)| (key_type, json::words(user, name)));
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
    match event.shift_remove(name) {
        Some(Value::Object(object)) => Ok(object),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(_) => Err(Refusal::new("invalid_event", format!("`{name}` is no object"))),
    }
}

/// A customer's own properties come as an object or as JSON in a string: they are stored as an object.
fn unfold(properties: &mut Map<String, Value>, name: &str) {
    if let Some(value) = properties.get_mut(name)
        && let Value::String(text) = value
        && let Ok(object) = serde_json::from_str(&json::without_lone_surrogates(text))
    {
        *value = Value::Object(object);
    }
}
