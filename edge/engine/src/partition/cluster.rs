//! A cluster: the keys that facts ever linked, and all that is known of them. The unit of co-location: its prospects are
//! computed from it and from its partition's events alone.

use super::decision::{self, Decided};
use super::message::{Claim, ClaimId, Element, Flag, KeyInfo, Seen, Table};
use crate::identity::Fact;
use crate::key::{Identifier, KeyHash};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Elements by what identifies each, and the prospects last computed from them.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Cluster {
    /// The person keys.
    #[n(0)]
    pub keys: BTreeMap<KeyHash, KeyInfo>,
    /// What each end says of each fact.
    #[n(1)]
    pub flags: BTreeMap<(Fact, KeyHash), Flag>,
    /// The time tables of browsers that ever named a key of it.
    #[n(2)]
    pub tables: BTreeMap<KeyHash, Table>,
    /// With the version of the key's owner, and whether the key admits it.
    #[n(3)]
    pub claims: BTreeMap<ClaimId, (Claim, u64, bool)>,
    /// The earliest event under each person key, ms: founders go by it.
    #[n(4)]
    pub first_events: BTreeMap<KeyHash, i64>,
    /// Derived: the prospects as last computed, by founder.
    #[n(5)]
    pub prospects: BTreeMap<KeyHash, BTreeSet<KeyHash>>,
    /// Grows with every change of a prospect here, and across moves.
    #[n(6)]
    pub rev: u64,
    /// What people decided about keys of it, by the decision's id.
    #[n(7)]
    pub decided: BTreeMap<String, Decided>,
}

/// What merging an element has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merged {
    /// It was known.
    Nothing,
    /// Only what is shown of identity.
    Shown,
    /// What prospects are computed from.
    Structure,
}

impl Cluster {
    /// Merges anything but an event, by its merge rule.
    pub fn merge(&mut self, element: Element) -> Merged {
        match element {
            Element::Key(info) => self.merge_key(info),
            Element::Flag(flag) => {
                let known = self.flags.get(&(flag.fact, flag.end)).map_or(0, |known| known.version);
                if flag.version <= known {
                    return Merged::Nothing;
                }
                self.flags.insert((flag.fact, flag.end), flag);
                Merged::Structure
            }
            Element::Table(table) => {
                let known = self.tables.get(&table.browser).map_or(0, |known| known.version);
                if table.version <= known {
                    return Merged::Nothing;
                }
                self.tables.insert(table.browser, table);
                Merged::Structure
            }
            Element::Claim(claim, version, admitted) => {
                let known = self.claims.get(&claim.id).map_or(0, |(_, version, _)| *version);
                if version <= known {
                    return Merged::Nothing;
                }
                let before = self.named(claim.id.key);
                let key = claim.id.key;
                self.claims.insert(claim.id.clone(), (claim, version, admitted));
                if self.named(key) == before { Merged::Shown } else { Merged::Structure }
            }
            Element::Rev(rev) => {
                self.rev = self.rev.max(rev);
                Merged::Shown
            }
            Element::FirstEvent(key, at) => {
                if self.first_events.get(&key).is_some_and(|known| *known <= at) {
                    return Merged::Nothing;
                }
                self.first_events.insert(key, at);
                Merged::Structure
            }
            Element::Decided(decided) => {
                if self.decided.contains_key(&decided.id) {
                    return Merged::Nothing;
                }
                self.decided.insert(decided.id.clone(), decided);
                Merged::Structure
            }
            // Events have rows of their own.
            Element::Event(_) => Merged::Nothing,
        }
    }

    fn merge_key(&mut self, info: KeyInfo) -> Merged {
        match self.keys.get_mut(&info.k) {
            None => {
                self.keys.insert(info.k, info);
                Merged::Structure
            }
            Some(known) => {
                let before = known.clone();
                known.seen = match (known.seen, info.seen) {
                    (Some(one), Some(other)) => Some(Seen::best(one, other)),
                    (one, other) => one.or(other),
                };
                if known.ident.plain_email().is_none() && info.ident.plain_email().is_some() {
                    known.ident = info.ident;
                    // Whether an address is one of our own people's shows only in the plain form.
                    return Merged::Structure;
                }
                if *known == before { Merged::Nothing } else { Merged::Shown }
            }
        }
    }

    /// When a browser first named a key by a claim that counts, ms.
    #[must_use]
    pub fn named(&self, key: KeyHash) -> Option<i64> {
        let claims =
            self.claims.values().filter(|(claim, _, admitted)| claim.id.key == key && *admitted && claim.activated());
        claims.map(|(claim, _, _)| claim.at).min()
    }

    /// The facts that both ends admit, with their times.
    #[must_use]
    pub fn candidates(&self) -> Vec<(Fact, i64)> {
        let admits = |fact: &Fact, end: KeyHash| self.flags.get(&(*fact, end)).filter(|flag| flag.admitted);
        let smaller_ends = self.flags.values().filter(|flag| flag.end == flag.fact.a && flag.admitted);
        smaller_ends
            .filter_map(|flag| admits(&flag.fact, flag.fact.b).map(|other| (flag.fact, flag.at.min(other.at))))
            .collect()
    }

    /// The pairs of keys that people separated, both ways round.
    #[must_use]
    pub fn separated(&self) -> BTreeSet<(KeyHash, KeyHash)> {
        decision::separated(self.decided.values())
    }

    /// What a key of this cluster is.
    #[must_use]
    pub fn ident(&self, key: KeyHash) -> Option<&Identifier> {
        self.keys.get(&key).map(|info| &info.ident)
    }

    /// Everything but events, to follow a union.
    #[must_use]
    pub fn into_elements(self) -> Vec<Element> {
        let keys = self.keys.into_values().map(Element::Key);
        let flags = self.flags.into_values().map(Element::Flag);
        let tables = self.tables.into_values().map(Element::Table);
        let claims =
            self.claims.into_values().map(|(claim, version, admitted)| Element::Claim(claim, version, admitted));
        let firsts = self.first_events.into_iter().map(|(key, at)| Element::FirstEvent(key, at));
        let decided = self.decided.into_values().map(Element::Decided);
        let rev = [Element::Rev(self.rev)];
        keys.chain(flags).chain(tables).chain(claims).chain(firsts).chain(decided).chain(rev).collect()
    }
}
