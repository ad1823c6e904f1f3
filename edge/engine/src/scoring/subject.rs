//! An event as conditions look at it: fields lower-cased, JSON parsed and properties named once, and only if something asks.

use super::parse_condition::check_property_name;
use super::seen::Seen;
use crate::event::Body;
use serde_json::{Map, Value};
use std::cell::OnceCell;
use std::collections::BTreeMap;

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

/// How many names of properties are looked at, those of nested ones counted one by one: more than fit into the 16 KB that an
/// event of ours may have (contract, section 4). Braze's may have more. With the longest names that is 4 MB.
pub(super) const NAMES_SEEN: usize = 4_096;

/// One event under the eyes of the conditions.
pub(super) struct Subject<'a> {
    pub(super) at: i64,
    pub(super) body: &'a Body,
    event_type: OnceCell<Option<Seen>>,
    name: OnceCell<Option<Seen>>,
    url: OnceCell<Option<Seen>>,
    referrer: OnceCell<Option<Seen>>,
    utm: OnceCell<BTreeMap<String, Seen>>,
    properties: OnceCell<Properties>,
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
    pub(super) fn text(&self, field: Text) -> Option<&Seen> {
        let (cell, value) = match field {
            Text::EventType => (&self.event_type, self.body.event_type.as_deref()),
            Text::Name => (&self.name, Some(self.body.name.as_str())),
            Text::Url => (&self.url, self.body.url.as_deref()),
            Text::Referrer => (&self.referrer, self.body.referrer.as_deref()),
        };
        cell.get_or_init(|| value.map(Seen::text)).as_ref()
    }

    /// A campaign parameter.
    pub(super) fn utm(&self, name: &str) -> Option<&Seen> {
        let utm = self.utm.get_or_init(|| {
            let Some(Value::Object(utm)) = self.body.utm.as_deref().map(parsed) else { return BTreeMap::new() };
            utm.into_iter().filter_map(|(name, value)| Some((name, Seen::json(value)?))).collect()
        });
        utm.get(name)
    }

    /// A property by its dotted path.
    pub(super) fn property(&self, path: &str) -> Option<&Seen> {
        let properties = self.properties.get_or_init(|| Properties::of(&self.body.properties));
        properties.0.get(path)
    }
}

/// All properties by their dotted paths, so that each question is one look: a path may be cut into names in many ways
/// ([`lookup`]), which a model would else pay for with each of its conditions.
#[derive(Debug, Default)]
struct Properties(BTreeMap<String, Seen>);

impl Properties {
    fn of(properties: &str) -> Properties {
        let mut all = Properties::default();
        for place in places(properties) {
            if let Value::Object(place) = place {
                all.gather(None, place);
            }
        }
        all
    }

    /// Takes in what an object holds, which stands at a path if it is an inner one. What is there already was found first.
    fn gather(&mut self, at: Option<&str>, object: Map<String, Value>) {
        let mut inner = Vec::new();
        for (name, value) in object {
            let path = at.map_or_else(|| name.clone(), |at| format!("{at}.{name}"));
            // Nothing is called by no name, but inside it something may be.
            if check_property_name(&path).is_err() && !path.is_empty() {
                continue;
            }
            if let Value::Object(object) = value {
                self.put(path.clone(), || Some(Seen::Object));
                inner.push((path, object));
            } else if !value.is_null() {
                self.put(path, || Seen::json(value));
            }
        }
        // The shortest beginning is tried first.
        inner.sort_by_key(|(path, _)| path.len());
        for (path, object) in inner {
            self.gather(Some(&path), object);
        }
    }

    fn put(&mut self, path: String, value: impl FnOnce() -> Option<Seen>) {
        if self.0.len() < NAMES_SEEN && !self.0.contains_key(&path) {
            self.0.extend(value().map(|seen| (path, seen)));
        }
    }
}

/// A property by its dotted path, as it was sent.
pub(super) fn property_sent(body: &Body, path: &str) -> Option<Value> {
    places(&body.properties).iter().filter_map(Value::as_object).find_map(|place| lookup(place, path)).cloned()
}

/// A campaign parameter, as it was sent.
pub(super) fn utm_sent(body: &Body, name: &str) -> Option<Value> {
    parsed(body.utm.as_deref()?).get(name).filter(|value| !value.is_null()).cloned()
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

/// Walks a dotted path; a key that itself has dots is found too, and the whole first. `null` is missing.
fn lookup<'v>(object: &'v Map<String, Value>, path: &str) -> Option<&'v Value> {
    object.get(path).filter(|value| !value.is_null()).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| {
            let (key, rest) = (path.get(..dot)?, path.get(dot + 1..)?);
            lookup(object.get(key)?.as_object()?, rest)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;
    use crate::kinds::Kind;
    use proptest::prelude::*;
    use serde_json::json;

    fn body(properties: &Value) -> Body {
        let mut body = Body::bare(Kind::Custom, String::new(), Source::Api);
        body.properties = properties.to_string();
        body
    }

    /// Objects whose names, joined, often meet: `a`, `a.b`, and `b` inside `a`.
    fn nested() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), (0..9_u8).prop_map(Value::from)];
        let names = prop::sample::select(vec!["", "a", "b", "a.a", "a.b", "b.a", "a.b.a"]);
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop::collection::btree_map(names.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().rev().collect()))
        })
    }

    proptest! {
        #[test]
        fn a_property_is_found_as_a_walk_along_its_path_finds_it(
            payload in nested(),
            custom in nested(),
            path in "(a|b|)(\\.(a|b|)){0,5}",
        ) {
            let mut payload = if payload.is_object() { payload } else { json!({}) };
            payload["custom_properties"] = custom;
            let body = body(&payload);
            let subject = Subject::new(0, &body);
            let (found, sent) = (subject.property(&path), property_sent(&body, &path));
            let sent = sent.and_then(Seen::json);
            prop_assert_eq!(found, sent.as_ref());
        }
    }

    #[test]
    fn the_whole_name_is_found_first_then_the_one_with_the_shortest_beginning() {
        for (properties, found) in [
            (json!({ "a.b": { "c": 1 }, "a": { "b": { "c": 2 }, "b.c": 3 } }), Some(3)),
            (json!({ "a.b": { "c": 1 }, "a": { "b": { "c": 2 } } }), Some(2)),
            (json!({ "a.b": { "c": 1 }, "a": { "b.c": null } }), Some(1)),
            (json!({ "a.b": { "c": 1 }, "a": { "b": 2 }, "a.b.c": 4 }), Some(4)),
            (json!({ "a.b": { "c": 1 }, "custom_properties": { "a": { "b.c": 5 } } }), Some(5)),
            (json!({ "a": { "b": { "c": null } } }), None),
        ] {
            let body = body(&properties);
            let found = found.map(Value::from);
            assert_eq!(property_sent(&body, "a.b.c"), found, "{properties}");
            assert_eq!(
                Properties::of(&body.properties).0.get("a.b.c"),
                found.and_then(Seen::json).as_ref(),
                "{properties}"
            );
        }
    }

    #[test]
    fn of_very_many_names_the_first_are_looked_at() {
        let many = |count: usize| (0..count).map(|n| (format!("n{n}"), json!(n))).collect::<Map<_, _>>();
        let inner = json!({ "inner": many(NAMES_SEEN), "last": 1 });
        let properties = Properties::of(&inner.to_string());
        let has = |path: &str| properties.0.contains_key(path);
        assert_eq!(properties.0.len(), NAMES_SEEN);
        assert!(has("inner") && has("last") && has("inner.n0"));
        assert!(has(&format!("inner.n{}", NAMES_SEEN - 3)) && !has(&format!("inner.n{}", NAMES_SEEN - 2)));
    }

    #[test]
    fn names_that_no_condition_can_have_are_not_kept() {
        let deep = (0..40).fold(json!({ "end": 1 }), |inner, _| json!({ "k": inner, &"n".repeat(300): 1 }));
        let properties = Properties::of(&deep.to_string());
        assert_eq!(properties.0.len(), 16, "{:?}", properties.0.keys().map(String::len).collect::<Vec<_>>());
        assert!(properties.0.contains_key(["k"; 16].join(".").as_str()));
    }
}
