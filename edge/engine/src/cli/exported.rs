//! What a deployment holds, as it exports it: lines of `GET /api/exports/events` and `…/prospects` (NDJSON). Events come
//! with the prospect that they are one of, so who is who is as it was there.
//!
//! An event has everything that scores rest on but its campaign parameters, which a page view has in its URL. What is known
//! of a person was told by their events. Only a prospect's line says how somebody is called, of which domain their e-mail
//! is, and whether they are one of the customer's own.

use super::people::identifier;
use super::person::Person;
use crate::attributes::EMAIL_DOMAIN;
use crate::destinations::prospect::Identifier as Shown;
use crate::event::{Body, Source};
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash};
use crate::kinds::Kind;
use crate::partition::decode;
use crate::partition::person::Stored;
use crate::partition::read::Position;
use crate::scoring::{Attribute, SOURCES};
use crate::time;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The lines read so far.
#[derive(Default)]
pub struct Exports {
    /// With whose they are, by what is the same for the same event always: who was merged while an export ran may be in it
    /// twice, and then the later line is right.
    events: BTreeMap<String, (String, Stored)>,
    /// By their ids.
    prospects: BTreeMap<String, ProspectLine>,
}

/// Somebody from an export.
pub struct Exported {
    /// The prospect's id.
    pub id: String,
    /// What they can be found by.
    pub keys: Vec<KeyHash>,
    /// Whether there was a line of the prospect.
    pub is_described: bool,
    /// With all that scores rest on.
    pub person: Person,
}

#[derive(Deserialize)]
struct EventLine<'a> {
    key: String,
    prospect: String,
    id: String,
    at: String,
    kind: String,
    name: String,
    url: Option<String>,
    source: String,
    bot: Option<String>,
    #[serde(borrow)]
    properties: &'a RawValue,
    received_at: String,
    referrer: Option<String>,
    event_type: Option<String>,
}

#[derive(Deserialize)]
struct ProspectLine {
    id: String,
    rev: u64,
    email: Option<String>,
    identifiers: Vec<Shown>,
    attributes: BTreeMap<String, AttributeLine>,
}

#[derive(Deserialize)]
struct AttributeLine {
    value: Box<RawValue>,
    source: String,
    at: String,
}

impl Exports {
    /// Takes a line that is one of an export; `None` for one that is none, by the names of its members.
    ///
    /// # Errors
    /// In words, for one that cannot be read.
    pub fn take(&mut self, line: &str, members: &BTreeMap<String, &RawValue>) -> Option<Result<(), String>> {
        let has = |names: [&str; 2]| names.iter().all(|name| members.contains_key(*name));
        if has(["key", "prospect"]) {
            Some(self.take_event(line))
        } else if has(["life_cycle", "identifiers"]) {
            Some(self.take_prospect(line))
        } else {
            None
        }
    }

    fn take_event(&mut self, line: &str) -> Result<(), String> {
        let line: EventLine<'_> = serde_json::from_str(line).map_err(|error| in_words(&error))?;
        let (key, prospect) = (line.key.clone(), line.prospect.clone());
        self.events.insert(key, (prospect, line.stored()?));
        Ok(())
    }

    fn take_prospect(&mut self, line: &str) -> Result<(), String> {
        let prospect: ProspectLine = serde_json::from_str(line).map_err(|error| in_words(&error))?;
        let known = self.prospects.get(&prospect.id);
        if known.is_none_or(|known| known.rev <= prospect.rev) {
            self.prospects.insert(prospect.id.clone(), prospect);
        }
        Ok(())
    }

    /// When the newest event came in, ms.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        self.events.values().map(|(_, event)| event.rx).max()
    }

    /// Everybody who has events, the newest of everybody's having come in `now`.
    #[must_use]
    pub fn people(self, policy: &Policy, key: &DeploymentKey, now: i64) -> Vec<Exported> {
        let mut events: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
        for (prospect, event) in self.events.into_values() {
            events.entry(prospect).or_default().push(event);
        }
        let mut prospects = self.prospects;
        let person = |(id, events): (String, Vec<Stored>)| match prospects.remove(&id) {
            Some(prospect) => prospect.person(events, policy, key, now),
            None => {
                let person = person(id.clone(), events, policy, now);
                Exported { id, keys: Vec::new(), is_described: false, person }
            }
        };
        events.into_iter().map(person).collect()
    }
}

/// Somebody of whom nothing is known but what the events say.
fn person(name: String, mut events: Vec<Stored>, policy: &Policy, now: i64) -> Person {
    events.sort_by(|one, other| one.order().cmp(&other.order()));
    let left_out = policy.left_out(events.len() as u64);
    events.drain(..left_out as usize);
    Person { name, events, left_out, domain: None, internal: false, now }
}

impl ProspectLine {
    fn person(self, events: Vec<Stored>, policy: &Policy, key: &DeploymentKey, now: i64) -> Exported {
        let identifiers: Vec<Identifier> =
            self.identifiers.iter().filter_map(|shown| identifier(&shown.key_type, &shown.value)).collect();
        let first = self.identifiers.first().map(|first| format!("{}:{}", first.key_type, first.value));
        let name = self.email.or(first).unwrap_or_else(|| self.id.clone());
        let person = Person {
            domain: self.attributes.get(EMAIL_DOMAIN).and_then(AttributeLine::attribute),
            internal: identifiers.iter().any(|identifier| policy.is_internal(identifier)),
            ..person(name, events, policy, now)
        };
        let keys = identifiers.iter().map(|identifier| key.hash(identifier)).collect();
        Exported { id: self.id, keys, is_described: true, person }
    }
}

impl AttributeLine {
    fn attribute(&self) -> Option<Attribute> {
        let (source, at) = (source(&self.source).ok()?, time::parse(&self.at)?);
        Some(Attribute { value: self.value.get().to_owned(), source, at })
    }
}

impl EventLine<'_> {
    fn stored(self) -> Result<Stored, String> {
        let not_a_key = || "`key` is none that an export has".to_owned();
        let key = BASE64URL_NOPAD.decode(self.key.as_bytes()).map_err(|_| not_a_key())?;
        let Position { rec, .. } = decode(&key).map_err(|_| not_a_key())?;
        let source = source(&self.source)?;
        let kind = Kind::from_slug(&self.kind).ok_or_else(|| format!("there is no kind `{}`", self.kind))?;
        let at = |name: &str, text: &str| time::parse(text).ok_or_else(|| format!("`{name}`: `{text}` is no time"));
        let (at, rx) = (at("at", &self.at)?, at("received_at", &self.received_at)?);
        let is_view = (source, kind) == (Source::Tracker, Kind::PageView);
        let body = Body {
            kind,
            name: self.name,
            source,
            event_type: self.event_type,
            utm: self.url.as_deref().filter(|_| is_view).and_then(campaign),
            url: self.url,
            referrer: self.referrer,
            properties: self.properties.get().to_owned(),
            bot: self.bot,
            page: None,
        };
        // The tracker records under browsers, and nobody else does.
        Ok(Stored { at, id: self.id, rec, rx, browser: source == Source::Tracker, body })
    }
}

fn source(slug: &str) -> Result<Source, String> {
    let source = SOURCES.into_iter().find(|source| source.slug() == slug);
    source.ok_or_else(|| format!("there is no source `{slug}`"))
}

/// The campaign parameters of a page's URL, as the tracker reads them: of each the first that says something, wherever a
/// parameter may begin.
fn campaign(url: &str) -> Option<String> {
    let mut utm = Map::new();
    for (name, value) in url.split(['?', '&', '#']).skip(1).flat_map(|part| form_urlencoded::parse(part.as_bytes())) {
        let name = name.to_ascii_lowercase();
        if let Some(name) = name.strip_prefix("utm_").filter(|name| !name.is_empty() && !value.is_empty()) {
            utm.entry(name).or_insert_with(|| Value::from(value));
        }
    }
    (!utm.is_empty()).then(|| Value::Object(utm).to_string())
}

/// What serde says of a line, without where in it: a line is long, and its number is told.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
