//! A prospect as the API shows it, read back: what a destination may tell is what everybody may see.

use serde::Deserialize;
use std::collections::BTreeMap;

/// The fields that destinations use; others are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prospect {
    /// As in the API.
    pub id: String,
    /// Grows with every change.
    pub rev: u64,
    /// `active`, `merged` or `deleted`.
    pub life_cycle: String,
    /// The address it goes by, or `sha256:` and a hash.
    pub email: Option<String>,
    /// Person keys and browsers.
    pub identifiers: Vec<Identifier>,
    /// By slug.
    pub scores: BTreeMap<String, Score>,
    /// Slugs.
    pub tags: Vec<String>,
    /// `hot` to `frozen`.
    pub temperature: String,
    /// The stage's slug.
    pub stage: Option<String>,
    /// Why it is not scored at all.
    pub excluded: Option<String>,
    /// Marked by a colleague.
    pub favorite: bool,
    /// Whose it is in sales.
    pub owner_email: Option<String>,
    /// Runs of browser activity.
    pub sessions: u64,
    /// RFC 3339.
    pub last_active_at: Option<String>,
    /// Which model its values are of.
    pub model_version: u64,
}

/// One key of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identifier {
    /// With `@` and the workspace outside the default one.
    #[serde(rename = "type")]
    pub key_type: String,
    /// Normalised.
    pub value: String,
}

/// One score of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Score {
    /// `None` for who is excluded.
    pub value: Option<f64>,
}

impl Prospect {
    /// The values of one type of key in one Braze workspace (the default one is empty).
    pub fn values<'p>(&'p self, key_type: &'p str, workspace: &'p str) -> impl Iterator<Item = &'p str> {
        let is_of = move |identifier: &&Identifier| match identifier.key_type.split_once('@') {
            Some((known, scope)) => (known, scope) == (key_type, workspace),
            None => identifier.key_type == key_type && workspace.is_empty(),
        };
        self.identifiers.iter().filter(is_of).map(|identifier| identifier.value.as_str())
    }

    /// The address, if it was ever told in the clear.
    #[must_use]
    pub fn plain_email(&self) -> Option<&str> {
        self.email.as_deref().filter(|email| email.contains('@'))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    /// Ada, who is hot.
    pub(crate) fn ada() -> Prospect {
        serde_json::from_value(json!({
            "id": "p000_a", "rev": 7, "life_cycle": "active", "merged_into": null, "identified": true,
            "email": "ada@example.com", "favorite": false, "owner_email": null,
            "identifiers": [
                { "type": "braze_id", "value": "5fbd99bac125ca40511f2cb1", "trust": "strong", "source": "currents" },
                { "type": "external_id@eu", "value": "42", "trust": "strong", "source": "currents" },
                { "type": "email", "value": "ada@example.com", "trust": "strong", "source": "currents" },
            ],
            "scores": { "engagement": { "value": 72.456_789, "band": null }, "fit": { "value": 40.0, "band": "C" } },
            "tags": ["pricing", "unheard-of"], "temperature": "hot", "stage": "mql", "excluded": null,
            "sessions": 3, "last_active_at": "2026-03-01T10:00:00Z", "model_version": 7, "attributes": {},
        }))
        .unwrap()
    }

    #[test]
    fn ids_belong_to_their_workspace() {
        let ada = ada();
        assert_eq!(ada.values("braze_id", "").collect::<Vec<_>>(), ["5fbd99bac125ca40511f2cb1"]);
        assert_eq!(ada.values("external_id", "").count(), 0);
        assert_eq!(ada.values("external_id", "eu").collect::<Vec<_>>(), ["42"]);
        assert_eq!(ada.values("braze_id", "eu").count(), 0);
    }
}
