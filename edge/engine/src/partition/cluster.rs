//! A cluster: the keys that facts ever linked, and all that is known of them. The unit of co-location: its prospects are
//! computed from it and from its partition's events alone.

use super::decision::{self, Decided};
use super::message::{Claimant, Element, Flag, KeyInfo, Seen, Table};
use crate::event::Source;
use crate::identity::{Fact, Trust};
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
    /// By end: the version of all that it says of facts.
    #[n(7)]
    pub flag_versions: BTreeMap<KeyHash, u64>,
    /// The time tables of browsers that ever named a key of it.
    #[n(2)]
    pub tables: BTreeMap<KeyHash, Table>,
    /// By key, with the version of the key's owner: the browsers that claim it, best first.
    #[n(3)]
    pub claimants: BTreeMap<KeyHash, (u64, Vec<Claimant>)>,
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
    #[n(8)]
    pub decided: BTreeMap<String, Decided>,
    /// By the key whose cluster came, or is coming, in parts: how many, and which have come.
    #[n(9)]
    #[cbor(default)]
    pub parts: BTreeMap<KeyHash, (u32, BTreeSet<u32>)>,
    /// By the founder of a prospect that is no more: the stages that it was told to have reached, until whoever has its
    /// keys has a row.
    #[n(10)]
    #[cbor(default)]
    pub told: BTreeMap<KeyHash, BTreeSet<String>>,
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
            Element::Flags(key, version, flags) => {
                if self.flag_versions.get(&key).is_some_and(|known| version <= *known) {
                    return Merged::Nothing;
                }
                self.flag_versions.insert(key, version);
                self.flags.retain(|(_, end), _| *end != key);
                self.flags.extend(flags.into_iter().map(|flag| ((flag.fact, key), flag)));
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
            Element::Claimants(key, version, claimants) => {
                if self.claimants.get(&key).is_some_and(|(known, _)| version <= *known) {
                    return Merged::Nothing;
                }
                let before = (self.named(key), self.claimed(key));
                self.claimants.insert(key, (version, claimants));
                if (self.named(key), self.claimed(key)) == before { Merged::Shown } else { Merged::Structure }
            }
            Element::Rev(rev) => {
                self.rev = self.rev.max(rev);
                Merged::Shown
            }
            Element::Told(founder, stages) => {
                self.told.entry(founder).or_default().extend(stages);
                Merged::Shown
            }
            Element::FirstEvent(key, at) => {
                let erased = self.keys.get(&key).and_then(|info| info.erased).is_some_and(|erased| at <= erased);
                if erased || self.first_events.get(&key).is_some_and(|known| *known <= at) {
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
            Element::Part(of, count, numbers) => {
                let (_, known) = self.parts.entry(of).or_insert((count, BTreeSet::new()));
                let before = known.len();
                known.extend(numbers);
                if known.len() == before { Merged::Nothing } else { Merged::Structure }
            }
            // Events have rows of their own.
            Element::Event(_) => Merged::Nothing,
        }
    }

    /// Whether no part of a cluster that comes to it in parts is missing: until then it shows nobody.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.parts.values().all(|(count, known)| usize::try_from(*count).is_ok_and(|count| known.len() == count))
    }

    fn merge_key(&mut self, info: KeyInfo) -> Merged {
        match self.keys.get_mut(&info.k) {
            None => {
                self.keys.insert(info.k, info);
                Merged::Structure
            }
            Some(known) if known.erased < info.erased => {
                // What was known of it before is gone.
                *known = info;
                Merged::Structure
            }
            Some(known) if info.erased < known.erased => Merged::Nothing,
            Some(known) => {
                let before = known.clone();
                known.seen = match (known.seen, info.seen) {
                    (Some(one), Some(other)) => Some(Seen::best(one, other)),
                    (one, other) => one.or(other),
                };
                known.recorded |= info.recorded;
                let is_plain_news = known.ident.plain_email().is_none() && info.ident.plain_email().is_some();
                if is_plain_news || (known.ident.is_erased() && !info.ident.is_erased()) {
                    known.ident = info.ident;
                    // Whether an address is one of our own people's shows only in the plain form.
                    return Merged::Structure;
                }
                if *known == before { Merged::Nothing } else { Merged::Shown }
            }
        }
    }

    /// The browsers that claim a key, best first.
    pub fn claimants(&self, key: KeyHash) -> &[Claimant] {
        self.claimants.get(&key).map_or(&[], |(_, claimants)| claimants)
    }

    /// When a browser that the key admits first named it by a claim that counts, ms.
    #[must_use]
    pub fn named(&self, key: KeyHash) -> Option<i64> {
        let admitted = self.claimants(key).iter().filter(|claimant| claimant.admitted);
        admitted.filter_map(|claimant| claimant.claims.named()).min()
    }

    /// The best claim on a key: trust, time in ms, and source.
    #[must_use]
    pub fn claimed(&self, key: KeyHash) -> Option<(Trust, i64, Source)> {
        self.claimants(key).first().and_then(|claimant| claimant.claims.best())
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

    /// Sets the earliest event under a key, after an erasure.
    pub fn first_event_is(&mut self, key: KeyHash, first: Option<i64>) {
        match first {
            Some(at) => self.first_events.insert(key, at),
            None => self.first_events.remove(&key),
        };
    }

    /// The browsers whose tables name nobody here: kept so that no older one counts, and needed for nothing else. (Of a
    /// browser that people decided about, it is shown what it is.)
    #[must_use]
    pub fn bygone_tables(&self) -> Vec<KeyHash> {
        let names_nobody = |table: &&Table| !table.epochs.iter().any(|(_, key)| self.keys.contains_key(key));
        let decided = |browser: KeyHash| {
            self.decided.values().any(|decided| decided.left.contains(&browser) || decided.right.contains(&browser))
        };
        let bygone = self.tables.values().filter(names_nobody).map(|table| table.browser);
        bygone.filter(|browser| !decided(*browser)).collect()
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
        let mut flags: BTreeMap<KeyHash, Vec<Flag>> = self.flag_versions.keys().map(|key| (*key, Vec::new())).collect();
        for flag in self.flags.into_values() {
            flags.entry(flag.end).or_default().push(flag);
        }
        let versions = self.flag_versions;
        let flags = flags.into_iter().filter_map(|(key, flags)| Some(Element::Flags(key, *versions.get(&key)?, flags)));
        let tables = self.tables.into_values().map(Element::Table);
        let claimants = self.claimants.into_iter();
        let claimants = claimants.map(|(key, (version, claimants))| Element::Claimants(key, version, claimants));
        let firsts = self.first_events.into_iter().map(|(key, at)| Element::FirstEvent(key, at));
        let decided = self.decided.into_values().map(Element::Decided);
        let parts = self.parts.into_iter().map(|(of, (count, known))| Element::Part(of, count, known));
        let told = self.told.into_iter().map(|(founder, stages)| Element::Told(founder, stages));
        let rev = [Element::Rev(self.rev)];
        let elements = keys.chain(flags).chain(tables).chain(claimants).chain(firsts).chain(decided);
        elements.chain(parts).chain(told).chain(rev).collect()
    }
}
