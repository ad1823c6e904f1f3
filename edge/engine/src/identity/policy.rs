//! The policy of a deployment: the limits of identity, and which identifiers are nobody's or the customer's own staff.
//!
//! One version of it governs a result. Publishing another recomputes, as publishing a model does.

use crate::key::{Identifier, KeyType};
use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A number per type of key; a type without an entry has no limit.
pub type Limits = BTreeMap<KeyType, u32>;

/// Limits and lists. The defaults are those of the README's reference (identity, section 4 of its definition); each is
/// far above what one person has and far below what would make one partition hot.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Policy {
    /// How many facts may join through one key; the first in canonical order count, the others are conflicts.
    /// 1 is "belongs to, never joins": a phone number is a family's or a switchboard's.
    #[n(0)]
    pub joins: Limits,
    /// How many keys of a type one prospect may hold. More `external_id`s than this need an explicit fact.
    #[n(1)]
    pub per_prospect: Limits,
    /// How many browsers may claim one key. The events of the others stay anonymous at their own partitions.
    #[n(2)]
    pub browsers: u32,
    /// How many events of a prospect are scored at most, the newest by (`at`, `id`); older ones are in the timeline only.
    /// How many exactly, [`Policy::scored`] says.
    #[n(3)]
    pub events_scored: u32,
    /// How far apart in ms the two claims of an introduction may be, at most.
    #[n(4)]
    pub introduction_ms: i64,
    /// How many copies of claims count per browser and trust, the newest: a bound on what one browser can make us keep.
    #[n(5)]
    pub claims: u32,
    /// Values that identify nobody here, normalised as [`Identifier`] does, in every workspace. An e-mail may be given
    /// plain or as `sha256:` and hex.
    #[n(6)]
    pub blocked: BTreeSet<(KeyType, String)>,
    /// The customer's own addresses, in lower case, plain or as `sha256:` and hex: recorded, never scored.
    #[n(7)]
    pub internal_addresses: BTreeSet<String>,
    /// The customer's own e-mail domains, in lower case. A subdomain is another domain.
    #[n(8)]
    pub internal_domains: BTreeSet<String>,
    /// The emergency brake: how many keys a cluster may have. Facts that would make it larger join nobody; for who is in
    /// such a cluster the result depends on the order of arrival, and the partition's health says so.
    #[n(9)]
    pub cluster_keys: u32,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            joins: Limits::from([
                (KeyType::ExternalId, 64),
                (KeyType::BrazeId, 16),
                (KeyType::CrmId, 4),
                (KeyType::Email, 32),
                (KeyType::Phone, 1),
                (KeyType::SegmentUser, 8),
            ]),
            per_prospect: Limits::from([
                (KeyType::ExternalId, 1),
                (KeyType::BrazeId, 32),
                (KeyType::CrmId, 16),
                (KeyType::Email, 16),
                (KeyType::Phone, 8),
            ]),
            browsers: 64,
            events_scored: 10_000,
            introduction_ms: 2 * 3_600_000,
            claims: 512,
            blocked: BTreeSet::new(),
            internal_addresses: BTreeSet::new(),
            internal_domains: BTreeSet::new(),
            cluster_keys: 10_000,
        }
    }
}

impl Policy {
    /// How many of so many events are scored, the newest.
    #[must_use]
    pub fn scored(&self, events: u64) -> u64 {
        events - self.left_out(events)
    }

    /// How many of so many events are not scored, the oldest. Where they are more than [`Policy::events_scored`], the oldest
    /// go an eighth of that at a time: whenever they go, all that are left are folded anew.
    #[must_use]
    pub fn left_out(&self, events: u64) -> u64 {
        let most = u64::from(self.events_scored);
        let step = (most / 8).max(2);
        events.min(events.saturating_sub(most).div_ceil(step) * step)
    }

    /// Adds the customer's own people, as an operator lists them: addresses and whole domains, between commas or spaces.
    #[must_use]
    pub fn with_internal(mut self, list: &str) -> Policy {
        let entries = list.split([',', ' ', '\n']).map(|entry| entry.trim().to_lowercase());
        for entry in entries.filter(|entry| !entry.is_empty()) {
            match entry.strip_prefix('@').unwrap_or(&entry) {
                address if address.contains('@') || address.starts_with("sha256:") => {
                    self.internal_addresses.insert(address.to_owned());
                }
                domain => {
                    self.internal_domains.insert(domain.to_owned());
                }
            }
        }
        self
    }

    /// Adds values that identify nobody, as an operator lists them: `type:value`, between commas.
    ///
    /// # Errors
    /// An entry that is none.
    pub fn with_blocked(mut self, list: &str) -> Result<Policy, String> {
        for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong =
                || format!("`{entry}` is no type and value of an identifier, such as `email:noreply@example.com`");
            let (key_type, value) = entry.split_once(':').ok_or_else(wrong)?;
            let key_type = KeyType::from_slug(key_type).ok_or_else(wrong)?;
            let value = Identifier::new(key_type, "", value).ok_or_else(wrong)?.value().to_owned();
            self.blocked.insert((key_type, value));
        }
        Ok(self)
    }

    /// How many facts may join through one key of a type.
    #[must_use]
    pub fn joins_max(&self, key_type: KeyType) -> usize {
        self.joins.get(&key_type).map_or(usize::MAX, |limit| *limit as usize)
    }

    /// How many keys of a type one prospect may hold.
    #[must_use]
    pub fn per_prospect_max(&self, key_type: KeyType) -> usize {
        self.per_prospect.get(&key_type).map_or(usize::MAX, |limit| *limit as usize)
    }

    /// Whether this identifies nobody, by the customer's own list.
    #[must_use]
    pub fn is_blocked(&self, identifier: &Identifier) -> bool {
        let key_type = identifier.key_type();
        self.blocked.iter().any(|(t, v)| {
            *t == key_type
                && if key_type == KeyType::Email { same_email(v, identifier.value()) } else { v == identifier.value() }
        })
    }

    /// Whether this is an e-mail address of the customer's own people. A hashed address shows no domain: it is found
    /// by the list of addresses only.
    #[must_use]
    pub fn is_internal(&self, identifier: &Identifier) -> bool {
        let domain = identifier.plain_email().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
        domain.is_some_and(|domain| self.internal_domains.contains(domain))
            || identifier.key_type() == KeyType::Email
                && self.internal_addresses.iter().any(|address| same_email(address, identifier.value()))
    }
}

/// Whether two normalised e-mails are one key: a plain address and its hash are.
fn same_email(one: &str, two: &str) -> bool {
    let is_hash_of = |hex: &str, plain: &str| HEXLOWER.encode(&Sha256::digest(plain.as_bytes())) == hex;
    match (one.strip_prefix("sha256:"), two.strip_prefix("sha256:")) {
        (Some(hex), None) => is_hash_of(hex, two),
        (None, Some(hex)) => is_hash_of(hex, one),
        _ => one == two,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(key_type: KeyType, value: &str) -> Identifier {
        Identifier::new(key_type, "", value).unwrap()
    }

    fn hashed(plain: &str) -> String {
        format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(plain.as_bytes())))
    }

    #[test]
    fn blocked_values_are_of_one_type_in_every_workspace() {
        let policy = Policy { blocked: [(KeyType::ExternalId, "test".to_owned())].into(), ..Policy::default() };
        assert!(policy.is_blocked(&id(KeyType::ExternalId, "test")));
        assert!(policy.is_blocked(&Identifier::new(KeyType::ExternalId, "brand-b", "test").unwrap()));
        assert!(!policy.is_blocked(&id(KeyType::CrmId, "test")));
        assert!(!policy.is_blocked(&id(KeyType::ExternalId, "test2")));
    }

    #[test]
    fn an_email_is_found_plain_or_hashed_whichever_form_the_list_has() {
        for listed in ["info@example.com".to_owned(), hashed("info@example.com")] {
            let policy = Policy {
                blocked: [(KeyType::Email, listed.clone())].into(),
                internal_addresses: [listed].into(),
                ..Policy::default()
            };
            for value in ["info@example.com".to_owned(), hashed("info@example.com")] {
                assert!(policy.is_blocked(&id(KeyType::Email, &value)), "{value}");
                assert!(policy.is_internal(&id(KeyType::Email, &value)), "{value}");
            }
            for value in ["ada@example.com".to_owned(), hashed("ada@example.com")] {
                assert!(!policy.is_blocked(&id(KeyType::Email, &value)), "{value}");
                assert!(!policy.is_internal(&id(KeyType::Email, &value)), "{value}");
            }
        }
    }

    #[test]
    fn internal_domains_are_whole_domains_of_emails() {
        let policy = Policy { internal_domains: ["example.com".to_owned()].into(), ..Policy::default() };
        assert!(policy.is_internal(&id(KeyType::Email, "Ada@Example.com")));
        assert!(!policy.is_internal(&id(KeyType::Email, "ada@mail.example.com")));
        assert!(!policy.is_internal(&id(KeyType::Email, "ada@notexample.com")));
        assert!(!policy.is_internal(&id(KeyType::ExternalId, "ada@example.com")));
    }

    #[test]
    fn internal_people_are_listed_as_an_operator_writes_them() {
        let hash = hashed("cy@agency.example");
        let policy =
            Policy::default().with_internal(&format!(" Example.com,@staff.example\n Eve@Agency.example ,, {hash}"));
        assert_eq!(policy.internal_domains, ["example.com", "staff.example"].map(str::to_owned).into());
        for internal in ["ada@example.com", "ben@staff.example", "eve@agency.example", "cy@agency.example"] {
            assert!(policy.is_internal(&id(KeyType::Email, internal)), "{internal}");
        }
        assert!(!policy.is_internal(&id(KeyType::Email, "dan@agency.example")));
        assert_eq!(Policy::default().with_internal(" , "), Policy::default());
    }

    #[test]
    fn blocked_values_are_listed_as_an_operator_writes_them() {
        let policy = Policy::default().with_blocked(" email: NoReply@Example.com ,, external_id:test,").unwrap();
        assert!(policy.is_blocked(&id(KeyType::Email, "noreply@example.com")));
        assert!(policy.is_blocked(&id(KeyType::ExternalId, "test")));
        assert!(!policy.is_blocked(&id(KeyType::BrazeId, "test")));
        for wrong in ["noreply@example.com", "mail:noreply@example.com", "email:noreply", "external_id:"] {
            assert!(Policy::default().with_blocked(wrong).is_err_and(|error| error.contains(wrong)), "{wrong}");
        }
    }

    #[test]
    fn it_reads_back_as_stored() {
        let policy = Policy {
            blocked: [(KeyType::Phone, "+15550100".to_owned())].into(),
            internal_domains: ["example.com".to_owned()].into(),
            ..Policy::default()
        };
        let bytes = minicbor::to_vec(&policy).unwrap();
        assert_eq!(minicbor::decode::<Policy>(&bytes).unwrap(), policy);
    }

    #[test]
    fn of_too_many_events_the_oldest_go_an_eighth_at_a_time() {
        let policy = Policy::default();
        let table = [0, 9_999, 10_000, 10_001, 11_250, 11_251, 1_000_000].map(|events| (events, policy.scored(events)));
        let expected = [0, 9_999, 10_000, 8_751, 10_000, 8_751, 10_000];
        assert_eq!(table.map(|(_, scored)| scored), expected);
        // How many are left out changes at every 1,250th event only.
        let left_out: BTreeSet<u64> = (0..100_000).map(|events| policy.left_out(events)).collect();
        assert_eq!(left_out.len(), 73);
    }
}
