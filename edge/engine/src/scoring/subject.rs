//! An event as conditions look at it: fields lower-cased and JSON parsed once, and only if something asks.

use super::operator::{Seen, seen, seen_json};
use crate::event::Body;
use serde_json::{Map, Value};
use std::cell::OnceCell;

/// A field of an event that a condition can name and that is looked up as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    EventType,
    Name,
    Url,
    Referrer,
}

/// Where the custom properties of Braze's events are, in the order of looking (contract, section 1, row 15).
const CUSTOM: [&str; 2] = ["custom_properties", "purchase_properties"];

/// One event under the eyes of the conditions.
pub(super) struct Subject<'a> {
    pub(super) at: i64,
    pub(super) body: &'a Body,
    event_type: OnceCell<Option<String>>,
    name: OnceCell<Option<String>>,
    url: OnceCell<Option<String>>,
    referrer: OnceCell<Option<String>>,
    utm: OnceCell<Value>,
    /// Objects to look in, in order: custom properties, then the payload.
    properties: OnceCell<Vec<Value>>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(at: i64, body: &'a Body) -> Subject<'a> {
        Subject {
            at,
            body,
            event_type: OnceCell::new(),
            name: OnceCell::new(),
            url: OnceCell::new(),
            referrer: OnceCell::new(),
            utm: OnceCell::new(),
            properties: OnceCell::new(),
        }
    }

    /// A text field, lower case (Unicode).
    pub(super) fn text(&self, field: Text) -> Option<Seen<'_>> {
        let (cell, value) = match field {
            Text::EventType => (&self.event_type, self.body.event_type.as_deref()),
            Text::Name => (&self.name, Some(self.body.name.as_str())),
            Text::Url => (&self.url, self.body.url.as_deref()),
            Text::Referrer => (&self.referrer, self.body.referrer.as_deref()),
        };
        cell.get_or_init(|| value.map(seen)).as_deref().map(Seen::Lower)
    }

    /// A campaign parameter.
    pub(super) fn utm(&self, name: &str) -> Option<Seen<'_>> {
        let utm = self.utm.get_or_init(|| self.body.utm.as_deref().map(parsed).map(seen_json).unwrap_or_default());
        utm.get(name).filter(|value| !value.is_null()).map(Seen::Json)
    }

    /// A property by its dotted path.
    pub(super) fn property(&self, path: &str) -> Option<Seen<'_>> {
        let places = self.properties.get_or_init(|| places(&self.body.properties).into_iter().map(seen_json).collect());
        find(places, path).map(Seen::Json)
    }
}

/// A property by its dotted path, as it was sent.
pub(super) fn property_sent(body: &Body, path: &str) -> Option<Value> {
    find(&places(&body.properties), path).cloned()
}

/// A campaign parameter, as it was sent.
pub(super) fn utm_sent(body: &Body, name: &str) -> Option<Value> {
    parsed(body.utm.as_deref()?).get(name).filter(|value| !value.is_null()).cloned()
}

fn find<'v>(places: &'v [Value], path: &str) -> Option<&'v Value> {
    places.iter().filter_map(Value::as_object).find_map(|place| lookup(place, path))
}

/// JSON text as a value; what is no JSON holds nothing.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn places(properties: &str) -> Vec<Value> {
    let payload = parsed(properties);
    let custom = CUSTOM.iter().filter_map(|name| match payload.get(*name)? {
        Value::String(text) => Some(parsed(text)),
        value => Some(value.clone()),
    });
    let mut places: Vec<Value> = custom.filter(Value::is_object).collect();
    places.push(payload);
    places
}

/// Walks a dotted path; a key that itself has dots is found too. `null` is missing.
fn lookup<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    if let Some(value) = object.get(path) {
        return Some(value).filter(|value| !value.is_null());
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let (key, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
        lookup(object.get(key)?.as_object()?, rest)
    })
}
