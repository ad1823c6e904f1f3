//! The names of properties that events have brought, with types and a few samples: what whoever writes rules is offered.
//!
//! A row is written only when something new is seen: a name, a type of it, a kind of event, one of its first samples. Who
//! people are is never a sample: a value is one when two have sent it, and a text only if it is a single word.

use super::{Partition, decode, encode};
use crate::event::Record;
use crate::key::{Identifier, KeyHash};
use crate::kinds::{KINDS, Kind};
use crate::scoring::check_property_name;
use crate::store::{Row, Store, StoreError, Value as Column};
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many names one partition keeps. More would help nobody to choose, and a site that makes up names would fill it.
const NAMES_MAX: usize = 1_000;
/// The longest name, in bytes: conditions take no longer one.
const NAME_BYTES_MAX: usize = 256;
/// How deep objects are looked into.
const DEPTH_MAX: usize = 4;
const SAMPLES_MAX: usize = 5;
/// How many values of a name wait for somebody else to send them, too: the newest. They are not stored.
const CANDIDATES_MAX: usize = 16;
const SAMPLE_CHARS_MAX: usize = 40;
/// Longer runs of digits are numbers of somebody or something: a phone, an order.
const SAMPLE_DIGITS_MAX: usize = 6;

/// Braze's containers of custom properties: conditions look in them first, without their names (contract, row 15).
const CONTAINERS: [&str; 2] = ["custom_properties", "purchase_properties"];
/// A part of a name that says that values tell who somebody is, or what they wrote.
const PERSONAL: [&str; 42] = [
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
    "name",
    "password",
    "phone",
    "postcode",
    "query",
    "recipient",
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
    /// Values that may be samples, each with whoever sent it first, the newest last.
    #[cbor(skip)]
    candidates: VecDeque<(String, KeyHash)>,
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

    /// Takes a value that may be shown for a sample, if somebody else has sent it before: what one person alone says may
    /// tell who they are. Whether it is one that was not known.
    fn try_sample(&mut self, value: String, sender: KeyHash) -> bool {
        if self.samples.len() >= SAMPLES_MAX || self.samples.contains(&value) {
            return false;
        }
        match self.candidates.iter().position(|(known, _)| *known == value) {
            Some(place) if self.candidates.get(place).is_some_and(|(_, first)| *first != sender) => {
                self.candidates.remove(place);
                self.samples.insert(value)
            }
            Some(_) => false,
            None => {
                self.candidates.push_back((value, sender));
                if self.candidates.len() > CANDIDATES_MAX {
                    self.candidates.pop_front();
                }
                false
            }
        }
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
    words.iter().any(|word| PERSONAL.contains(&word.as_str()))
}

/// Whether a property may be added by a name, and is shown by it.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_name(name: &str) -> Result<(), String> {
    check_property_name(name)?;
    if name.chars().any(char::is_control) || name.chars().all(|c| c == '.' || c.is_whitespace()) {
        return Err("a name has no control characters, and not only dots and spaces".to_owned());
    }
    Ok(())
}

/// A value as a sample, if it may be one once two have sent it.
fn sample(name: &str, value: &Value, people: &[&Identifier]) -> Option<String> {
    let text = match value {
        Value::Bool(_) => return Some(value.to_string()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let code = text.len() >= 16 && digits > 0;
    let refused = is_personal(name)
        || text.is_empty()
        || text.contains(char::is_whitespace)
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
        // The last is who has sent it.
        people: &[&Identifier],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut properties = self.properties.borrow_mut();
        let is_too_much = !properties.contains_key(name) && properties.len() >= NAMES_MAX;
        let is_none = name.len() > NAME_BYTES_MAX || check_name(name).is_err();
        if is_too_much || is_none || people.iter().any(|person| name.contains(person.value())) {
            return Ok(());
        }
        let Some(sender) = people.last().map(|sender| self.key.hash(sender)) else { return Ok(()) };
        if !properties.contains_key(name) {
            properties.insert(name.to_owned(), Property { first_seen: now, ..Property::default() });
        }
        let Some(property) = properties.get_mut(name) else { return Ok(()) };
        let mut is_news = property.types.insert(type_of(value).to_owned());
        is_news |= property.kinds.insert(kind);
        let values = if let Value::Array(elements) = value { elements.as_slice() } else { std::slice::from_ref(value) };
        for value in values {
            is_news |= sample(name, value, people).is_some_and(|sample| property.try_sample(sample, sender));
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
            ("campaign", json!("Spring-sale")),
            ("grade", json!("A-1")),
        ] {
            assert!(shown(name, value.clone()), "{name}: {value}");
        }
        for (name, value) in [
            ("email", json!("x")),
            ("orderId", json!("x")),
            ("user.first_name", json!("Ada")),
            ("name", json!("Ada")),
            ("cat_name", json!("Tom")),
            ("recipient", json!("Ada")),
            ("gift_for", json!("Ada Lovelace")),
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

    #[test]
    fn a_value_is_a_sample_when_two_have_sent_it() {
        let (ada, ben) = (KeyHash([1; 16]), KeyHash([2; 16]));
        let mut plan = Property::default();
        let mut send = |value: &str, sender: KeyHash| plan.try_sample(value.to_owned(), sender);
        assert_eq!(
            [send("pro", ada), send("pro", ada), send("pro", ben), send("pro", ada)],
            [false, false, true, false]
        );
        // Of very many values the newest wait.
        assert!(!send("free", ada));
        (0..CANDIDATES_MAX).for_each(|n| assert!(!send(&format!("v{n}"), ada)));
        assert!(!send("free", ben) && send("v9", ben));
        for n in 0..SAMPLES_MAX {
            send(&format!("w{n}"), ada);
            assert_eq!(send(&format!("w{n}"), ben), n < SAMPLES_MAX - 2, "{n}");
        }
        assert_eq!(plan.samples.len(), SAMPLES_MAX);
    }

    #[test]
    fn what_nobody_could_read_is_no_name() {
        for name in ["", " ", ".", ". .", "a\n", "a\u{7f}b"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "a.b", "-", "my plan", "ä"] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }
}
