//! What a person key knows of itself: the facts that end at it, and the browsers that claim it. Each end of a fact ranks
//! it among its own and tells the other (README, architecture: who decides).

use super::message::{Ask, Claim, ClaimId, Element, Flag, Introductions, Message, order};
use crate::event::Source;
use crate::identity::Fact;
use crate::identity::policy::Policy;
use crate::key::{Identifier, KeyHash, KeyType};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Facts and claims at one person key.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Star {
    #[n(0)]
    facts: BTreeMap<Fact, Said>,
    /// By browser: version, and what it introduces here.
    #[n(1)]
    introduced: BTreeMap<KeyHash, (u64, Vec<Introduced>)>,
    /// What the cluster has been told.
    #[n(2)]
    flags: BTreeMap<Fact, Flag>,
    /// Facts that the larger end has said it admits (we are the smaller).
    #[n(3)]
    other_admits: BTreeSet<Fact>,
    /// Facts for which a union has been sent: never taken back.
    #[n(4)]
    united: BTreeSet<Fact>,
    #[n(5)]
    claims: BTreeMap<ClaimId, Claimed>,
}

/// A provisional fact, its time, and what the other end is.
type Introduced = (Fact, i64, Identifier);

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Said {
    #[n(0)]
    at: i64,
    #[n(1)]
    source: Source,
    #[n(2)]
    other: Identifier,
}

#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Claimed {
    #[n(0)]
    claim: Claim,
    #[n(1)]
    version: u64,
    #[n(2)]
    admitted: bool,
}

impl Star {
    /// Merges a server's fact. Whether that changed anything.
    pub fn say(&mut self, fact: Fact, at: i64, source: Source, other: &Identifier) -> bool {
        if self.facts.get(&fact).is_some_and(|known| (known.at, known.source) <= (at, source)) {
            return false;
        }
        self.facts.insert(fact, Said { at, source, other: other.clone() });
        true
    }

    /// Merges what a browser introduces here. Whether that changed anything.
    pub fn introduce(&mut self, introductions: Introductions) -> bool {
        let known = self.introduced.get(&introductions.browser).map_or(0, |(version, _)| *version);
        if introductions.version <= known {
            return false;
        }
        self.introduced.insert(introductions.browser, (introductions.version, introductions.facts));
        true
    }

    /// Ranks all facts that end at `own` and says what has changed: flags for the cluster, and word to the other end.
    pub fn rank(&mut self, own: KeyHash, key_type: KeyType, policy: &Policy) -> Vec<Message> {
        let mut all: BTreeMap<Fact, (i64, Option<Source>, &Identifier)> =
            self.facts.iter().map(|(fact, said)| (*fact, (said.at, Some(said.source), &said.other))).collect();
        for (fact, at, other) in self.introduced.values().flat_map(|(_, facts)| facts) {
            let entry = all.entry(*fact).or_insert((*at, None, other));
            entry.0 = entry.0.min(*at);
        }
        let mut ranking: Vec<_> = all.iter().map(|(fact, (at, ..))| (order(*fact, *at), *fact)).collect();
        ranking.sort_unstable();
        let admitted: BTreeSet<Fact> =
            ranking.into_iter().take(policy.joins_max(key_type)).map(|(_, fact)| fact).collect();

        let mut now: Vec<Flag> = Vec::new();
        for (fact, (at, source, other)) in all {
            let (admitted, other) = (admitted.contains(&fact), other.clone());
            now.push(Flag { fact, end: own, version: 0, admitted, at, source, other, withdrawn: false });
        }
        let gone = self.flags.values().filter(|flag| !now.iter().any(|still| still.fact == flag.fact));
        let gone: Vec<Flag> = gone.map(|flag| Flag { admitted: false, withdrawn: true, ..flag.clone() }).collect();

        let mut messages = Vec::new();
        let mut elements = Vec::new();
        for flag in now.into_iter().chain(gone) {
            let before = self.flags.get(&flag.fact);
            let version = before.map_or(0, |told| told.version);
            if before.is_some_and(|told| *told == Flag { version, ..flag.clone() }) {
                continue;
            }
            let flag = Flag { version: version + 1, ..flag };
            self.flags.insert(flag.fact, flag.clone());
            if flag.admitted {
                messages.extend(self.admits(own, &flag));
            }
            elements.push(Element::Flag(flag));
        }
        if !elements.is_empty() {
            messages.push(Message { key: own, ask: Ask::Put(elements) });
        }
        messages
    }

    /// The larger end of a fact says that it admits it.
    pub fn other_admits(&mut self, fact: Fact) -> Option<Message> {
        self.other_admits.insert(fact);
        self.unite(fact)
    }

    fn admits(&mut self, own: KeyHash, flag: &Flag) -> Option<Message> {
        let fact = flag.fact;
        if own == fact.b {
            Some(Message { key: fact.a, ask: Ask::FactAdmitted(fact, flag.other.clone()) })
        } else {
            self.unite(fact)
        }
    }

    /// Once both ends admit a fact, the smaller one sees to it that their clusters become one.
    fn unite(&mut self, fact: Fact) -> Option<Message> {
        let both = self.other_admits.contains(&fact) && self.flags.get(&fact).is_some_and(|told| told.admitted);
        (both && self.united.insert(fact)).then_some(Message { key: fact.a, ask: Ask::Unite(fact.b) })
    }

    /// Merges a claim and ranks all claims on `own`: the earliest browsers of the highest trust are admitted.
    pub fn claim(&mut self, own: KeyHash, claim: Claim, policy: &Policy) -> Vec<Message> {
        if self.claims.get(&claim.id).is_some_and(|known| known.claim.version >= claim.version) {
            return Vec::new();
        }
        let mut changed = BTreeSet::from([claim.id.clone()]);
        let before = self.claims.get(&claim.id);
        let entry = Claimed {
            version: before.map_or(0, |known| known.version),
            admitted: before.is_none_or(|known| known.admitted),
            claim,
        };
        self.claims.insert(entry.claim.id.clone(), entry);

        let mut order: Vec<_> = self
            .claims
            .values()
            .filter(|claimed| claimed.claim.activated())
            .map(|claimed| (std::cmp::Reverse(claimed.claim.id.trust), claimed.claim.at, claimed.claim.id.browser))
            .collect();
        order.sort_unstable();
        let mut browsers = BTreeSet::new();
        for (_, _, browser) in order {
            if browsers.len() == policy.browsers as usize {
                break;
            }
            browsers.insert(browser);
        }

        let mut messages = Vec::new();
        for (id, claimed) in &mut self.claims {
            let admitted = !claimed.claim.activated() || browsers.contains(&id.browser);
            if admitted != claimed.admitted {
                claimed.admitted = admitted;
                changed.insert(id.clone());
                let ask = Ask::ClaimAdmitted(id.clone(), claimed.version + 1, admitted);
                messages.push(Message { key: id.browser, ask });
            }
            if changed.contains(id) {
                claimed.version += 1;
            }
        }
        let elements: Vec<Element> = changed
            .iter()
            .filter_map(|id| self.claims.get(id))
            .map(|claimed| Element::Claim(claimed.claim.clone(), claimed.version, claimed.admitted))
            .collect();
        messages.push(Message { key: own, ask: Ask::Put(elements) });
        messages
    }
}
