//! What a person key knows of itself: the facts that end at it, and the browsers that claim it. Each end of a fact ranks
//! it among its own and tells the other (README, architecture: who decides).

use super::erasure::{self, Cut};
use super::message::{Ask, ClaimSummary, Claimant, Element, Flag, Introductions, Message, order};
use crate::event::Source;
use crate::identity::policy::Policy;
use crate::identity::{Fact, Trust};
use crate::key::{Identifier, KeyHash, KeyType};
use minicbor::{Decode, Encode};
use std::cmp::Reverse;
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
    /// By browser.
    #[n(5)]
    claims: BTreeMap<KeyHash, Claimed>,
    /// Of the list of browsers that the cluster has been told.
    #[n(6)]
    claims_version: u64,
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

/// A browser that claims this key.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Claimed {
    #[n(0)]
    claims: ClaimSummary,
    /// Of the answer that the browser has been given.
    #[n(1)]
    version: u64,
    #[n(2)]
    admitted: bool,
    /// Whether the cluster has been told of it.
    #[n(3)]
    listed: bool,
}

impl Claimed {
    /// The best claim that counts, then the earliest; those of which none counts come last. `None`: it claims no more.
    fn rank(&self) -> Option<(Reverse<Option<Trust>>, i64, KeyHash)> {
        let best = self.claims.best();
        let at = best.map_or(0, |(_, at, _)| at);
        self.claims.since.map(|_| (Reverse(best.map(|(trust, ..)| trust)), at, self.claims.browser))
    }
}

/// How many browsers, at least, a cluster is told of: what it holds stays bounded, whoever is claimed by thousands.
const LISTED: usize = 64;

impl Star {
    /// Merges a server's fact. Whether that changed anything.
    pub fn say(&mut self, fact: Fact, at: i64, source: Source, other: &Identifier) -> bool {
        if self.facts.get(&fact).is_some_and(|known| (known.at, known.source) <= (at, source)) {
            return false;
        }
        self.facts.insert(fact, Said { at, source, other: other.clone() });
        true
    }

    /// Forgets all that is from before an erasure of `own`. Answers who else must: the other ends of facts, and browsers.
    pub fn erase(&mut self, own: KeyHash, cut: Cut) -> Vec<Message> {
        let goes = |at: i64| cut.known || at <= cut.at;
        let mut messages = Vec::new();
        self.facts.retain(|fact, said| {
            if goes(said.at) {
                messages.push(erasure::forget(fact.other(own), *fact, cut.at.max(said.at)));
            }
            !goes(said.at)
        });
        let claiming = self.claims.values().filter(|claimed| claimed.claims.since.is_some_and(goes));
        messages.extend(claiming.map(|claimed| Message { key: claimed.claims.browser, ask: Ask::ForgetKey(own, cut) }));
        messages
    }

    /// Forgets a fact of which the other end was erased. Whether it was known.
    pub fn forget(&mut self, fact: Fact, upto: i64) -> bool {
        let known = self.facts.get(&fact).is_some_and(|said| said.at <= upto);
        if known {
            self.facts.remove(&fact);
        }
        known
    }

    /// Whether a browser still claims `own` from before a time, ms.
    #[must_use]
    pub fn is_claimed_since_before(&self, time: i64) -> bool {
        self.claims.values().any(|claimed| claimed.claims.since.is_some_and(|since| since <= time))
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
        let gone = gone.map(|flag| Flag {
            admitted: false,
            withdrawn: true,
            other: Identifier::erased(flag.other.key_type()),
            ..flag.clone()
        });
        let gone: Vec<Flag> = gone.collect();

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

    /// Once both ends admit a fact, the smaller one sends the union to the larger.
    fn unite(&mut self, fact: Fact) -> Option<Message> {
        let both = self.other_admits.contains(&fact) && self.flags.get(&fact).is_some_and(|told| told.admitted);
        (both && self.united.insert(fact)).then_some(Message { key: fact.b, ask: Ask::Union(fact.a) })
    }

    /// Merges what a browser's claims on `own` come to, and ranks all browsers: the first that a key offers places to are
    /// admitted.
    pub fn claim(&mut self, own: KeyHash, claims: ClaimSummary, policy: &Policy) -> Vec<Message> {
        let browser = claims.browser;
        let claimed = match self.claims.get(&browser).cloned() {
            Some(known) if known.claims.version >= claims.version => return Vec::new(),
            Some(known) => Claimed { claims, ..known },
            None => Claimed { claims, version: 0, admitted: false, listed: false },
        };
        let mut news = claimed.listed;
        self.claims.insert(browser, claimed);

        let mut order: Vec<_> = self.claims.values().filter_map(Claimed::rank).collect();
        order.sort_unstable();
        let (places, listed) = (policy.browsers as usize, LISTED.max(policy.browsers as usize));
        let order: Vec<KeyHash> = order.into_iter().take(listed).map(|(_, _, browser)| browser).collect();

        let mut messages = Vec::new();
        for (browser, claimed) in &mut self.claims {
            let place = order.iter().position(|one| one == browser);
            let admitted = place.is_some_and(|place| place < places) && claimed.claims.best().is_some();
            if admitted != claimed.admitted {
                claimed.admitted = admitted;
                claimed.version += 1;
                let ask = Ask::ClaimsAdmitted(own, claimed.version, admitted);
                messages.push(Message { key: *browser, ask });
                news = true;
            }
            news |= place.is_some() != claimed.listed;
            claimed.listed = place.is_some();
        }
        if news {
            self.claims_version += 1;
            let claimant = |claimed: &Claimed| Claimant { claims: claimed.claims.clone(), admitted: claimed.admitted };
            let listed = order.iter().filter_map(|browser| self.claims.get(browser)).map(claimant).collect();
            let element = Element::Claimants(own, self.claims_version, listed);
            messages.push(Message { key: own, ask: Ask::Put(vec![element]) });
        }
        messages
    }
}
