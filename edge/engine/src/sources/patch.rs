//! `PATCH /api/prospects/{ref}`: what a caller with a token says of a person. It is recorded as an event like any other,
//! so that it merges, separates, is exported and erased with the person, and counts as its time (contract, row 19).

use super::EnvelopeError;
use crate::attributes::{FAVORITE, NAMES, OWNER_EMAIL, PATCH, check};
use crate::event::{Body, Record, Source};
use crate::key::{Identifier, KeyType};
use crate::kinds::Kind;
use crate::scoring::{JsonError, is_beyond_range, read_json};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The longest body in bytes: 64 attributes of the longest names and values are 82 KB.
pub const BODY_BYTES_MAX: usize = 128 * 1024;

/// What is to be changed of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    attributes: Map<String, Value>,
}

/// Reads a body: `{"favorite","owner_email","first_name","last_name","company","attributes":{…}}`, each of which may be
/// left out; `null` takes away.
///
/// # Errors
/// `invalid_json` for what is no JSON object; `invalid_field`, with the place, for whatever can't be set so.
pub fn parse(body: &[u8]) -> Result<Patch, EnvelopeError> {
    let text = str::from_utf8(body).map_err(|_| EnvelopeError::not_an_object())?;
    let value = read_json(text).map_err(|JsonError { path, message }| match path {
        Some(path) => EnvelopeError::field(path, message),
        None => EnvelopeError::json(message),
    })?;
    let Value::Object(fields) = value else { return Err(EnvelopeError::not_an_object()) };
    let mut all = Map::new();
    for (name, value) in fields {
        let place = || format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let wrong = |message: &str| Err(EnvelopeError::field(place(), message));
        match (name.as_str(), &value) {
            ("attributes", Value::Object(attributes)) => {
                let own = NAMES.into_iter().chain([FAVORITE, OWNER_EMAIL]).find(|own| attributes.contains_key(*own));
                if let Some(own) = own {
                    let message = format!("stands at the top of the body: {{\"{own}\": …}}");
                    return Err(EnvelopeError::field(format!("/attributes/{own}"), message));
                }
                all.extend(attributes.clone());
                continue;
            }
            ("attributes", _) => return wrong("`attributes` must be an object"),
            (FAVORITE, Value::Bool(_)) | (FAVORITE | OWNER_EMAIL, Value::Null) => {}
            (FAVORITE, _) => return wrong("`favorite` must be true, false or null"),
            (OWNER_EMAIL, Value::String(text)) => {
                let Some(address) = plain_address(text) else { return wrong("`owner_email` is no e-mail address") };
                all.insert(name, address.into());
                continue;
            }
            (OWNER_EMAIL, _) => return wrong("`owner_email` must be a text or null"),
            (name, Value::String(text)) if NAMES.contains(&name) && text.trim().is_empty() => {
                return wrong("must not be empty: `null` takes away");
            }
            (name, Value::String(_) | Value::Null) if NAMES.contains(&name) => {}
            (name, _) if NAMES.contains(&name) => return wrong("must be a text or null"),
            _ => {
                let known = [FAVORITE, OWNER_EMAIL].into_iter().chain(NAMES).chain(["attributes"]);
                return wrong(&format!("there is no such field to set: {}", known.collect::<Vec<_>>().join(", ")));
            }
        }
        all.insert(name, value);
    }
    if let Err((name, message)) = check(&all) {
        let is_own = |name: &str| name == FAVORITE || name == OWNER_EMAIL || NAMES.contains(&name);
        let escaped = name.map(|name| name.replace('~', "~0").replace('/', "~1"));
        let place = match (name, escaped) {
            (Some(name), Some(escaped)) if is_own(name) => format!("/{escaped}"),
            (_, Some(escaped)) => format!("/attributes/{escaped}"),
            (_, None) => "/attributes".to_owned(),
        };
        return Err(EnvelopeError::field(place, message));
    }
    Ok(Patch { attributes: all })
}

/// An address as people write it; not the hash of one.
fn plain_address(text: &str) -> Option<String> {
    Some(Identifier::new(KeyType::Email, "", text)?.plain_email()?.to_owned())
}

impl Patch {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// The attributes that are to have a number that no score from outside can be, by name.
    #[must_use]
    pub fn beyond_range(&self) -> BTreeSet<String> {
        let beyond = self.attributes.iter().filter(|(_, value)| is_beyond_range(value));
        beyond.map(|(name, _)| name.clone()).collect()
    }

    /// The same text for the same change.
    #[must_use]
    pub fn text(&self) -> String {
        json!(self.attributes).to_string()
    }

    /// It as an event of a person's: under this key, at this time (ms), by this id.
    #[must_use]
    pub fn record(self, rec: Identifier, at: i64, id: String) -> Record {
        let body = Body {
            event_type: Some(PATCH.to_owned()),
            properties: json!({ "attributes": self.attributes }).to_string(),
            ..Body::bare(Kind::Other, format!("[Other] {PATCH}"), Source::Api)
        };
        Record { rec, at, id, body, facts: Vec::new(), claims: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::told;

    #[test]
    fn everything_that_may_be_set_is_an_attribute() {
        let body = json!({ "favorite": true, "owner_email": " Rep@Example.com ", "last_name": null,
            "attributes": { "customer": false, "plan": ["a", 2] } });
        let patch = parse(body.to_string().as_bytes()).unwrap();
        let rec = Identifier::new(KeyType::Email, "", "ada@example.com").unwrap();
        let record = patch.record(rec, 7, "p".to_owned());
        let told: Map<String, Value> = told(&record.body).into_iter().collect();
        let expected = json!({ "favorite": true, "owner_email": "rep@example.com", "last_name": null, "customer": false,
            "plan": ["a", 2] });
        assert_eq!(Value::Object(told), expected);
        assert_eq!((record.body.name.as_str(), record.at), ("[Other] prospect.patch", 7));
        assert!(parse(b"{}").unwrap().is_empty() && parse(b"{\"attributes\": {}}").unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_its_place() {
        for (body, code, path) in [
            ("", "invalid_json", None),
            ("[]", "invalid_json", None),
            ("{\"company\": \"a\", \"company\": \"b\"}", "invalid_field", Some("/company")),
            ("{\"email\": \"eve@example.com\"}", "invalid_field", Some("/email")),
            ("{\"a/b\": 1}", "invalid_field", Some("/a~1b")),
            ("{\"favorite\": \"yes\"}", "invalid_field", Some("/favorite")),
            ("{\"owner_email\": \"nobody\"}", "invalid_field", Some("/owner_email")),
            ("{\"owner_email\": 7}", "invalid_field", Some("/owner_email")),
            ("{\"first_name\": 7}", "invalid_field", Some("/first_name")),
            ("{\"first_name\": \"\"}", "invalid_field", Some("/first_name")),
            ("{\"company\": \" \"}", "invalid_field", Some("/company")),
            ("{\"attributes\": []}", "invalid_field", Some("/attributes")),
            ("{\"attributes\": {\"favorite\": true}}", "invalid_field", Some("/attributes/favorite")),
            ("{\"attributes\": {\"sf.x/y\": 1}}", "invalid_field", Some("/attributes/sf.x~1y")),
            ("{\"attributes\": {\"a\": {}}}", "invalid_field", Some("/attributes/a")),
        ] {
            let error = parse(body.as_bytes()).unwrap_err();
            assert_eq!((error.code, error.path.as_deref()), (code, path), "{body}");
        }
        let long = format!("{{\"company\": \"{}\"}}", "x".repeat(2_000));
        assert_eq!(parse(long.as_bytes()).unwrap_err().path.as_deref(), Some("/company"));
    }
}
