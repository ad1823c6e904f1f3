//! Records that could not be read, and the people in them: an erasure takes those that name the person.

use super::message::DeadLetter;
use super::{Partition, decode};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType};
use crate::store::{Store, StoreError, Value};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// How many letters are looked at before the next are read.
const BLOCK: i64 = 200;

impl<S: Store> Partition<S> {
    /// Deletes the letters that name somebody by one of these.
    pub(super) fn forget_letters(&self, of: &[Identifier]) -> Result<(), StoreError> {
        let wanted = Wanted::new(of, &self.key);
        let mut behind = Vec::new();
        loop {
            let sql = "SELECT k, body FROM dead WHERE k > ? ORDER BY k LIMIT ? + 0";
            let rows = self.store.query(sql, &[Value::Blob(behind.clone()), Value::Integer(BLOCK)])?;
            for row in &rows {
                behind = row.blob(0)?.to_vec();
                let letter: DeadLetter = decode(row.blob(1)?)?;
                if wanted.is_named_in(&letter.raw) {
                    self.store.exec("DELETE FROM dead WHERE k = ?", &[Value::Blob(behind.clone())])?;
                }
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
    }
}

/// Whom to look for.
struct Wanted<'k> {
    key: &'k DeploymentKey,
    /// By type and workspace.
    hashes: BTreeMap<(KeyType, String), BTreeSet<KeyHash>>,
    /// What nobody else's text has in it by chance: addresses, numbers and the ids that Braze makes, in small letters.
    texts: Vec<String>,
}

impl<'k> Wanted<'k> {
    fn new(of: &[Identifier], key: &'k DeploymentKey) -> Wanted<'k> {
        let mut hashes: BTreeMap<_, BTreeSet<KeyHash>> = BTreeMap::new();
        for ident in of {
            let place = (ident.key_type(), ident.workspace().to_owned());
            hashes.entry(place).or_default().insert(key.hash(ident));
        }
        let unique = |ident: &&Identifier| match ident.key_type() {
            KeyType::Email | KeyType::Phone => !ident.is_erased(),
            // 24 hex digits, if it is one of Braze's making.
            KeyType::BrazeId => ident.value().len() >= 24,
            _ => false,
        };
        let texts = of.iter().filter(unique).map(|ident| ident.value().to_lowercase()).collect();
        Wanted { key, hashes, texts }
    }

    fn is_named_in(&self, raw: &str) -> bool {
        let small = raw.to_lowercase();
        self.texts.iter().any(|text| small.contains(text))
            || serde_json::from_str(raw).is_ok_and(|json: Json| self.is_in(&json))
    }

    /// Whether a value somewhere in this is one of those identifiers, written in any way that we would understand.
    fn is_in(&self, json: &Json) -> bool {
        match json {
            Json::Object(members) => members.values().any(|value| self.is_in(value)),
            Json::Array(items) => items.iter().any(|item| self.is_in(item)),
            Json::String(text) => self.is(text),
            Json::Number(number) => self.is(&number.to_string()),
            Json::Null | Json::Bool(_) => false,
        }
    }

    fn is(&self, text: &str) -> bool {
        self.hashes.iter().any(|((key_type, workspace), hashes)| {
            let ident = Identifier::new(*key_type, workspace, text);
            ident.is_some_and(|ident| hashes.contains(&self.key.hash(&ident)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(ident: &Identifier, raw: &str) -> bool {
        let key = DeploymentKey::new(b"wingbeat test deployment key 32b");
        Wanted::new(std::slice::from_ref(ident), &key).is_named_in(raw)
    }

    #[test]
    fn somebody_is_found_however_they_are_written() {
        let ident = |key_type, value| Identifier::new(key_type, "", value).unwrap();
        let ada = ident(KeyType::Email, "ada@example.com");
        let hashed = ident(KeyType::Email, "sha256:b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72");
        for ident in [&ada, &hashed] {
            assert!(named(ident, r#"{"properties": {"email_address": " Ada@Example.com"}}"#));
            assert!(named(ident, r#"["ada\u0040example.com"]"#));
            assert!(!named(ident, r#"{"properties": {"email_address": "ben@example.com"}}"#));
        }
        assert!(named(&ada, r#"{"url": "https://shop.example/?email=ADA@example.com"}"#));
        assert!(named(&ada, "not JSON, ada@example.com"));
        let phone = ident(KeyType::Phone, "+4930123456");
        assert!(named(&phone, r#"{"user_phone_number": "+49 (30) 123456"}"#));
        // An id that others' texts may contain must be a value of its own.
        let customer = ident(KeyType::ExternalId, "17");
        assert!(named(&customer, r#"{"user": {"external_user_id": 17}}"#));
        assert!(!named(&customer, r#"{"user": {"external_user_id": "170"}, "at": "2017-01-01"}"#));
    }
}
