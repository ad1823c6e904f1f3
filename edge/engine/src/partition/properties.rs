//! The names of properties that events have brought, with types and a few samples: what whoever writes rules is offered.
//!
//! A row is written only when something new is seen: a name, a type of it, a kind of event, one of its first samples. Who
//! people are is never a sample.

use super::{Partition, decode, encode};
use crate::event::Record;
use crate::key::Identifier;
use crate::kinds::{KINDS, Kind};
use crate::store::{Row, Store, StoreError, Value as Column};
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// How many names one partition keeps. More would help nobody to choose, and a site that makes up names would fill it.
const NAMES_MAX: usize = 1_000;
/// The longest name, in bytes: conditions take no longer one.
const NAME_BYTES_MAX: usize = 256;
/// How deep objects are looked into.
const DEPTH_MAX: usize = 4;
const SAMPLES_MAX: usize = 5;
const SAMPLE_CHARS_MAX: usize = 40;
/// Longer runs of digits are numbers of somebody or something: a phone, an order.
const SAMPLE_DIGITS_MAX: usize = 6;

/// Braze's containers of custom properties: conditions look in them first, without their names (contract, row 15).
const CONTAINERS: [&str; 2] = ["custom_properties", "purchase_properties"];
/// A part of a name that says that values tell who somebody is, or what they wrote.
const PERSONAL: [&str; 40] = [
    "account",
    "address",
    "answer",
    "birth",
    "birthday",
    "body",
    "card",
    "city",
    "comment",
    "contact",
    "customer",
    "device",
    "dob",
    "email",
    "firstname",
    "guid",
    "iban",
    "id",
    "ids",
    "ip",
    "lastname",
    "mail",
    "message",
    "mobile",
    "password",
    "phone",
    "postcode",
    "query",
    "search",
    "secret",
    "session",
    "street",
    "surname",
    "tel",
    "text",
    "token",
    "user",
    "uuid",
    "vat",
    "zip",
];
/// Before `name`, these say that it is a person's.
const NAMED: [&str; 10] = ["", "first", "last", "full", "middle", "given", "family", "display", "nick", "maiden"];

/// What is known of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Property {
    /// JSON types seen.
    #[n(0)]
    types: BTreeSet<String>,
    /// Values as JSON text, the first few that were seen.
    #[n(1)]
    samples: BTreeSet<String>,
    /// Kinds of events that had it.
    #[n(2)]
    kinds: BTreeSet<Kind>,
    /// When it was first seen, ms.
    #[n(3)]
    first_seen: i64,
    /// How often it came, repeats of events among them.
    #[n(4)]
    count: u64,
    /// The count that is in the row.
    #[cbor(skip)]
    kept: u64,
}

/// Names and what is known of them, as one partition tells it.
pub type Properties = BTreeMap<String, Property>;

impl Property {
    fn merge(&mut self, other: Property) {
        self.types.extend(other.types);
        self.samples.extend(other.samples);
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_last();
        }
        self.kinds.extend(other.kinds);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.count += other.count;
    }

    /// Whether the count is to be kept: each time would be a row for each event, so that of a large one an eighth may be
    /// lost with this life of the partition.
    fn is_counted_on(&self) -> bool {
        self.count - self.kept > self.kept / 8
    }
}

/// Adds what another partition knows.
pub fn merge(own: &mut Properties, other: Properties) {
    for (name, property) in other {
        match own.get_mut(&name) {
            Some(known) => known.merge(property),
            None => {
                own.insert(name, property);
            }
        }
    }
}

/// As the API shows them.
#[must_use]
pub fn document(properties: &Properties) -> Vec<Value> {
    let show = |(name, property): (&String, &Property)| {
        let samples: Vec<Value> =
            property.samples.iter().filter_map(|sample| serde_json::from_str(sample).ok()).collect();
        let kinds = KINDS.iter().filter(|row| property.kinds.contains(&row.kind)).map(|row| row.slug);
        json!({
            "name": name,
            "types": property.types,
            "samples": samples,
            "kinds": kinds.collect::<Vec<_>>(),
            "count": property.count,
            "first_seen": crate::time::show(property.first_seen),
        })
    };
    properties.iter().map(show).collect()
}

/// The JSON types that a property may be of.
pub const TYPES: [&str; 6] = ["null", "boolean", "number", "string", "array", "object"];

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether values of this name may be shown.
fn is_personal(name: &str) -> bool {
    let mut words: Vec<String> = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        // `orderId` is two words, as `order_id` is.
        if !c.is_alphanumeric() || (c.is_uppercase() && lower) {
            words.push(String::new());
        }
        lower = c.is_lowercase();
        if let (true, Some(word)) = (c.is_alphanumeric(), words.last_mut()) {
            word.extend(c.to_lowercase());
        }
    }
    let before = |place: usize| place.checked_sub(1).and_then(|place| words.get(place)).map_or("", String::as_str);
    words
        .iter()
        .enumerate()
        .any(|(place, word)| PERSONAL.contains(&word.as_str()) || (word == "name" && NAMED.contains(&before(place))))
}

/// A value as a sample, if it may be one.
fn sample(name: &str, value: &Value, people: &[&Identifier]) -> Option<String> {
    let text = match value {
        Value::Bool(_) => return Some(value.to_string()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let code = text.len() >= 16 && !text.contains(' ') && digits > 0;
    let refused = is_personal(name)
        || text.trim().is_empty()
        || text.chars().count() > SAMPLE_CHARS_MAX
        || text.contains('@')
        || text.contains("://")
        || digits > SAMPLE_DIGITS_MAX
        || code
        || people.iter().any(|person| text.to_lowercase().contains(&person.value().to_lowercase()));
    (!refused).then(|| value.to_string())
}

/// Every property of an event by the name that conditions know it by.
fn each<'v>(value: &'v Map<String, Value>, prefix: &str, depth: usize, tell: &mut dyn FnMut(String, &'v Value)) {
    for (key, value) in value {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Object(fields) if depth < DEPTH_MAX => each(fields, &name, depth + 1, tell),
            value => tell(name, value),
        }
    }
}

impl<S: Store> Partition<S> {
    /// Notes the names of properties that records bring.
    pub(super) fn note_properties(&self, records: &[Record], now: i64) -> Result<(), StoreError> {
        for record in records.iter().filter(|record| record.body.properties.len() > 2) {
            let Ok(Value::Object(mut payload)) = serde_json::from_str::<Value>(&record.body.properties) else {
                continue;
            };
            let mut places = Vec::new();
            for container in CONTAINERS {
                match payload.remove(container) {
                    Some(Value::Object(fields)) => places.push(fields),
                    Some(Value::String(text)) => places.extend(serde_json::from_str::<Map<String, Value>>(&text).ok()),
                    _ => {}
                }
            }
            places.push(payload);
            let others =
                record.facts.iter().map(|fact| &fact.other).chain(record.claims.iter().map(|claim| &claim.key));
            let people: Vec<&Identifier> = others.chain([&record.rec]).collect();
            let mut seen = Vec::new();
            for place in &places {
                each(place, "", 0, &mut |name, value| seen.push((name, value)));
            }
            for (name, value) in seen {
                self.note_property(&name, value, record.body.kind, &people, now)?;
            }
        }
        Ok(())
    }

    fn note_property(
        &self,
        name: &str,
        value: &Value,
        kind: Kind,
        people: &[&Identifier],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut properties = self.properties.borrow_mut();
        let is_too_much = !properties.contains_key(name) && properties.len() >= NAMES_MAX;
        if is_too_much || name.len() > NAME_BYTES_MAX || people.iter().any(|person| name.contains(person.value())) {
            return Ok(());
        }
        if !properties.contains_key(name) {
            properties.insert(name.to_owned(), Property { first_seen: now, ..Property::default() });
        }
        let Some(property) = properties.get_mut(name) else { return Ok(()) };
        let mut is_news = property.types.insert(type_of(value).to_owned());
        is_news |= property.kinds.insert(kind);
        let values = if let Value::Array(elements) = value { elements.as_slice() } else { std::slice::from_ref(value) };
        for value in values {
            if property.samples.len() < SAMPLES_MAX {
                is_news |= sample(name, value, people).is_some_and(|sample| property.samples.insert(sample));
            }
        }
        property.count += 1;
        if is_news || property.is_counted_on() {
            let params = [Column::from(name), Column::Blob(encode(property)?)];
            self.store.exec("INSERT OR REPLACE INTO property VALUES (?, ?)", &params)?;
            property.kept = property.count;
        }
        Ok(())
    }

    /// All names that this partition has seen.
    pub(super) fn load_properties(&self) -> Result<Properties, StoreError> {
        let rows = self.store.query("SELECT name, body FROM property", &[])?;
        let read = |row: &Row| {
            let property: Property = decode(row.blob(1)?)?;
            Ok((row.text(0)?.to_owned(), Property { kept: property.count, ..property }))
        };
        rows.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    #[test]
    fn nobody_is_a_sample() {
        let ada = Identifier::new(KeyType::ExternalId, "", "ada-7").unwrap();
        let shown = |name: &str, value: Value| sample(name, &value, &[&ada]).is_some();
        for (name, value) in [
            ("plan", json!("pro")),
            ("seats", json!(49.9)),
            ("trial", json!(true)),
            ("campaign_name", json!("Spring sale")),
            ("grade", json!("A-1")),
        ] {
            assert!(shown(name, value.clone()), "{name}: {value}");
        }
        for (name, value) in [
            ("email", json!("x")),
            ("orderId", json!("x")),
            ("user.first_name", json!("Ada")),
            ("name", json!("Ada")),
            ("plan", json!("ada@example.com")),
            ("plan", json!("+49 30 1234567")),
            ("plan", json!(4_930_123_456_u64)),
            ("plan", json!("of ADA-7")),
            ("plan", json!("7b0c2c4e-aaaa-bbbb-cccc-dddddddddddd")),
            ("plan", json!("https://shop.example/a")),
            ("plan", json!("a text that goes on and on and is written by somebody")),
            ("plan", json!(null)),
            ("plan", json!("  ")),
        ] {
            assert!(!shown(name, value.clone()), "{name}: {value}");
        }
    }
}
