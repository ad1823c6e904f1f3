//! Step 3 of the definition of identity: which keys of a cluster are one person, and which facts are refused and why.

use super::cluster::Cluster;
use super::message::order;
use crate::identity::policy::Policy;
use crate::identity::{Fact, FactClass, Reason};
use crate::key::{Identifier, KEY_TYPES, KeyHash, KeyType};
use std::collections::{BTreeMap, BTreeSet};

/// The people of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People {
    /// Components by their founder.
    pub by_founder: BTreeMap<KeyHash, BTreeSet<KeyHash>>,
    /// Candidate facts that may not join, and why.
    pub refused: BTreeMap<Fact, Reason>,
}

/// Joins components along the candidates, those of a class that are a profile's two ids first, and names each by its founder.
#[must_use]
pub fn people(cluster: &Cluster, policy: &Policy) -> People {
    let mut candidates = cluster.candidates();
    let key_type = |key| cluster.ident(key).map(Identifier::key_type);
    let of_profile = |fact: &Fact| {
        key_type(fact.a).zip(key_type(fact.b)).is_some_and(|(one, other)| Fact::is_of_one_profile(one, other))
    };
    candidates.sort_by_cached_key(|(fact, at)| (fact.class, !of_profile(fact), order(*fact, *at)));
    let persons = cluster.keys.iter().filter(|(_, info)| !policy.is_blocked(&info.ident));
    let mut components: BTreeMap<KeyHash, Component> =
        persons.map(|(key, info)| (*key, Component::of(*key, &info.ident, policy))).collect();
    let mut home: BTreeMap<KeyHash, KeyHash> = components.keys().map(|key| (*key, *key)).collect();
    let separated = cluster.separated();
    let mut refused = BTreeMap::new();

    for (fact, _) in &candidates {
        let (Some(a), Some(b)) = (home.get(&fact.a).copied(), home.get(&fact.b).copied()) else { continue };
        if a == b {
            continue;
        }
        let (Some(one), Some(other)) = (components.get(&a), components.get(&b)) else { continue };
        if parts(&separated, &one.keys, &other.keys) {
            refused.insert(*fact, Reason::Separated);
            continue;
        }
        if let Some(reason) = refusal(*fact, one, other, cluster, policy) {
            refused.insert(*fact, reason);
            continue;
        }
        if let Some(absorbed) = components.remove(&b) {
            for key in &absorbed.keys {
                home.insert(*key, a);
            }
            if let Some(component) = components.get_mut(&a) {
                component.absorb(absorbed);
                component.explicit += usize::from(fact.class == FactClass::Explicit);
            }
        }
    }

    let first = appearances(cluster, &candidates);
    let founder = |keys: &BTreeSet<KeyHash>| {
        let rank = |key: &KeyHash| {
            (first.get(key).copied().unwrap_or(i64::MAX), cluster.ident(*key).map(Identifier::key_type), *key)
        };
        keys.iter().copied().min_by_key(rank)
    };
    let by_founder =
        components.into_values().filter_map(|component| Some((founder(&component.keys)?, component.keys))).collect();
    People { by_founder, refused }
}

struct Component {
    keys: BTreeSet<KeyHash>,
    counts: BTreeMap<KeyType, usize>,
    internal_emails: usize,
    /// How many explicit facts have joined it.
    explicit: usize,
}

impl Component {
    fn of(key: KeyHash, ident: &Identifier, policy: &Policy) -> Component {
        Component {
            keys: BTreeSet::from([key]),
            counts: BTreeMap::from([(ident.key_type(), 1)]),
            internal_emails: usize::from(policy.is_internal(ident)),
            explicit: 0,
        }
    }

    fn count(&self, key_type: KeyType) -> usize {
        self.counts.get(&key_type).copied().unwrap_or(0)
    }

    fn absorb(&mut self, other: Component) {
        self.keys.extend(other.keys);
        for (key_type, count) in other.counts {
            *self.counts.entry(key_type).or_default() += count;
        }
        self.internal_emails += other.internal_emails;
        self.explicit += other.explicit;
    }
}

/// Whether a separated pair would be together.
fn parts(separated: &BTreeSet<(KeyHash, KeyHash)>, one: &BTreeSet<KeyHash>, other: &BTreeSet<KeyHash>) -> bool {
    separated.iter().any(|(left, right)| one.contains(left) && other.contains(right))
}

/// Why these two components may not become one; `None` when they may.
fn refusal(fact: Fact, one: &Component, other: &Component, cluster: &Cluster, policy: &Policy) -> Option<Reason> {
    let both = |key_type| one.count(key_type) + other.count(key_type);
    let exceeds = |key_type| both(key_type) > policy.per_prospect_max(key_type);
    // Both must bring one: somebody who has two by an explicit fact may still be given an e-mail. Explicit facts come
    // first, before the sides that they join have got their ids: each leaves room for one more.
    let room = policy.per_prospect_max(KeyType::ExternalId).saturating_add(one.explicit + other.explicit);
    let both_have = one.count(KeyType::ExternalId) > 0 && other.count(KeyType::ExternalId) > 0;
    if fact.class != FactClass::Explicit && both_have && both(KeyType::ExternalId) > room {
        return Some(Reason::TwoExternalIds);
    }
    if KEY_TYPES.into_iter().any(|key_type| key_type != KeyType::ExternalId && exceeds(key_type)) {
        return Some(Reason::Limit);
    }
    let internal = one.internal_emails + other.internal_emails;
    if internal > 0 && internal < both(KeyType::Email) {
        return Some(Reason::Internal);
    }
    if fact.class != FactClass::Provisional {
        return None;
    }
    let is_email = |key: KeyHash| cluster.ident(key).is_some_and(|ident| ident.key_type() == KeyType::Email);
    let email = if is_email(fact.a) { fact.a } else { fact.b };
    let email_side = if one.keys.contains(&email) { one } else { other };
    if email_side.keys.len() > 1 {
        Some(Reason::EmailKnown)
    } else if both(KeyType::Email) != 1 {
        Some(Reason::TwoEmails)
    } else if both(KeyType::ExternalId) > 1 {
        Some(Reason::TwoExternalIds)
    } else {
        // "Neither was introduced before" follows: the e-mail would not stand alone, or there would be two.
        None
    }
}

/// When each key first appeared: its earliest fact, claim that counts, or event.
fn appearances(cluster: &Cluster, candidates: &[(Fact, i64)]) -> BTreeMap<KeyHash, i64> {
    let mut first: BTreeMap<KeyHash, i64> = cluster.first_events.clone();
    let mut note = |key: KeyHash, at: i64| {
        let known = first.entry(key).or_insert(at);
        *known = (*known).min(at);
    };
    for (fact, at) in candidates.iter().filter(|(fact, _)| fact.class != FactClass::Provisional) {
        note(fact.a, *at);
        note(fact.b, *at);
    }
    for key in cluster.claimants.keys() {
        if let Some(at) = cluster.named(*key) {
            note(*key, at);
        }
    }
    first
}
