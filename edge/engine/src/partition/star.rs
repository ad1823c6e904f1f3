//! What a person key knows of itself: the facts that end at it, and the browsers that claim it. Each end of a fact ranks
//! it among its own and tells the other (README, architecture: who decides).
//!
//! A key that thousands share has a star of thousands. What is computed here needs only the first of each ranking, as many
//! as places change, and what is being changed: a star in rows ([`rows`]) is loaded no further than that.

pub mod rows;

use super::erasure::Cut;
use super::message::{Ask, ClaimSummary, Claimant, Element, Flag, Introductions, Message, Seen, order};
use crate::event::Source;
use crate::identity::policy::Policy;
use crate::identity::{Fact, FactClass, Trust};
use crate::key::{Identifier, KeyHash, KeyType};
use minicbor::{Decode, Encode};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Facts and claims at one person key: all of them, or the part of a star in rows that is being worked on.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Star {
    #[n(0)]
    facts: BTreeMap<Fact, Known>,
    /// By browser.
    #[n(1)]
    claims: BTreeMap<KeyHash, Claimed>,
    /// Of the list of facts that the cluster has been told.
    #[n(2)]
    facts_version: u64,
    /// Of the list of browsers that the cluster has been told.
    #[n(3)]
    claims_version: u64,
    /// How many facts are ranked here, admitted or not.
    #[n(4)]
    facts_ranked: u64,
    /// How many browsers have claims here that count, admitted or not.
    #[n(5)]
    browsers_ranked: u64,
    /// Whether facts and claims have rows of their own: never taken back.
    #[n(6)]
    in_rows: bool,
}

/// A fact that ends here.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Known {
    /// When a server first said it, ms, and who.
    #[n(0)]
    said: Option<(i64, Source)>,
    /// The browsers that introduce it, and when, ms.
    #[n(1)]
    introduced: BTreeMap<KeyHash, i64>,
    /// What the other end is.
    #[n(2)]
    other: Option<Identifier>,
    #[n(3)]
    admitted: bool,
    /// What the cluster has been told of it: time and source.
    #[n(4)]
    told: Option<(i64, Option<Source>)>,
    /// The larger end has said that it admits it (we are the smaller).
    #[n(5)]
    other_admits: bool,
    /// A union has been sent: never taken back.
    #[n(6)]
    united: bool,
    /// Until when, ms, an erasure of the other end took what was said.
    #[n(7)]
    forgotten: Option<i64>,
}

impl Known {
    /// What nobody says any more is not kept: it may be an erased person's.
    fn drop_if_unsaid(&mut self) {
        if self.since().is_none() {
            self.other = None;
        }
    }

    /// When it was first said or introduced, and by whom; `None` if nobody says it now.
    fn since(&self) -> Option<(i64, Option<Source>)> {
        let said = self.said.map(|(at, source)| (at, Some(source)));
        said.or_else(|| self.introduced.values().min().map(|at| (*at, None)))
    }

    fn rank(&self, fact: Fact) -> Option<(FactClass, i64, KeyHash, KeyHash)> {
        self.since().map(|(at, _)| order(fact, at))
    }
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
    /// The browser's version of what it introduces here.
    #[n(4)]
    introduces_version: u64,
    #[n(5)]
    introduces: Vec<Fact>,
}

impl Claimed {
    fn nothing(browser: KeyHash) -> Claimed {
        let claims = ClaimSummary { browser, version: 0, activated: BTreeMap::new(), since: None };
        Claimed { claims, version: 0, admitted: false, listed: false, introduces_version: 0, introduces: Vec::new() }
    }

    /// The best claim that counts, then the earliest; those of which none counts come last. `None`: it claims no more.
    fn rank(&self) -> Option<(Reverse<Option<Trust>>, i64, KeyHash)> {
        let best = self.claims.best();
        let at = best.map_or(0, |(_, at, _)| at);
        self.claims.since.map(|_| (Reverse(best.map(|(trust, ..)| trust)), at, self.claims.browser))
    }
}

/// How many facts, and how many browsers, a cluster is told of at least: so what it holds stays bounded, however many
/// share a key. What is admitted is always told.
const LISTED: usize = 64;

fn facts_listed(key_type: KeyType, policy: &Policy) -> usize {
    LISTED.max(policy.joins_max(key_type))
}

fn browsers_listed(policy: &Policy) -> usize {
    LISTED.max(policy.browsers as usize)
}

impl Star {
    /// Merges a server's fact. Whether that changed anything.
    pub fn say(&mut self, fact: Fact, at: i64, source: Source, other: &Identifier) -> bool {
        let known = self.facts.entry(fact).or_default();
        if known.forgotten.is_some_and(|upto| at <= upto) || known.said.is_some_and(|said| said <= (at, source)) {
            return false;
        }
        self.facts_ranked += u64::from(known.since().is_none());
        known.said = Some((at, source));
        known.other = Some(other.clone());
        true
    }

    /// Merges what a browser introduces here. Whether that changed anything.
    pub fn introduce(&mut self, introductions: Introductions) -> bool {
        let Introductions { browser, version, facts, .. } = introductions;
        let claimed = self.claims.entry(browser).or_insert_with(|| Claimed::nothing(browser));
        if version <= claimed.introduces_version {
            return false;
        }
        claimed.introduces_version = version;
        let gone = std::mem::replace(&mut claimed.introduces, facts.iter().map(|(fact, ..)| *fact).collect());
        for fact in gone {
            if let Some(known) = self.facts.get_mut(&fact) {
                known.introduced.remove(&browser);
                self.facts_ranked -= u64::from(known.since().is_none());
                known.drop_if_unsaid();
            }
        }
        for (fact, at, other) in facts {
            let known = self.facts.entry(fact).or_default();
            self.facts_ranked += u64::from(known.since().is_none());
            known.introduced.insert(browser, at);
            known.other.get_or_insert(other);
        }
        true
    }

    /// Ranks the facts that end at `own` and says what has changed: the list for the cluster, and word to other ends.
    pub fn rank(&mut self, own: KeyHash, key_type: KeyType, policy: &Policy) -> Vec<Message> {
        let mut order: Vec<_> =
            self.facts.iter().filter_map(|(fact, known)| Some((known.rank(*fact)?, *fact))).collect();
        order.sort_unstable();
        order.truncate(facts_listed(key_type, policy));
        let admitted: BTreeSet<Fact> = order.iter().take(policy.joins_max(key_type)).map(|(_, fact)| *fact).collect();
        let listed: BTreeSet<Fact> = order.into_iter().map(|(_, fact)| fact).collect();

        let (mut messages, mut news) = (Vec::new(), false);
        let (mut newly_admitted, mut flags) = (Vec::new(), Vec::new());
        for (fact, known) in &mut self.facts {
            let told = known.since().filter(|_| listed.contains(fact));
            let admitted = admitted.contains(fact);
            news |= (known.told, known.admitted) != (told, admitted);
            if admitted && !known.admitted {
                newly_admitted.push(*fact);
            }
            (known.told, known.admitted) = (told, admitted);
            if let (Some((at, source)), Some(other)) = (told, known.other.clone()) {
                flags.push(Flag { fact: *fact, end: own, admitted, at, source, other });
            }
        }
        for fact in newly_admitted {
            messages.extend(self.admits(own, fact));
        }
        if news {
            self.facts_version += 1;
            messages.push(Message { key: own, ask: Ask::Put(vec![Element::Flags(own, self.facts_version, flags)]) });
        }
        messages
    }

    /// The larger end of a fact says that it admits it.
    pub fn other_admits(&mut self, fact: Fact) -> Option<Message> {
        self.facts.entry(fact).or_default().other_admits = true;
        self.unite(fact)
    }

    fn admits(&mut self, own: KeyHash, fact: Fact) -> Option<Message> {
        if own == fact.b {
            let other = self.facts.get(&fact)?.other.clone()?;
            Some(Message { key: fact.a, ask: Ask::FactAdmitted(fact, other) })
        } else {
            self.unite(fact)
        }
    }

    /// Once both ends admit a fact, the smaller one sees to it that their clusters become one.
    fn unite(&mut self, fact: Fact) -> Option<Message> {
        let known = self.facts.get_mut(&fact)?;
        let now = known.other_admits && known.admitted && !known.united;
        known.united |= now;
        now.then_some(Message { key: fact.a, ask: Ask::Unite(fact.b) })
    }

    /// Merges what a browser's claims on `own` come to, and ranks all browsers: the first that a key offers places to are
    /// admitted.
    pub fn claim(&mut self, own: KeyHash, claims: ClaimSummary, policy: &Policy) -> Vec<Message> {
        let browser = claims.browser;
        let claimed = self.claims.entry(browser).or_insert_with(|| Claimed::nothing(browser));
        if claims.version <= claimed.claims.version {
            return Vec::new();
        }
        self.browsers_ranked += u64::from(claims.best().is_some());
        self.browsers_ranked -= u64::from(claimed.claims.best().is_some());
        claimed.claims = claims;
        let mut news = claimed.listed;

        let mut order: Vec<_> = self.claims.values().filter_map(Claimed::rank).collect();
        order.sort_unstable();
        order.truncate(browsers_listed(policy));
        let order: Vec<KeyHash> = order.into_iter().map(|(_, _, browser)| browser).collect();

        let mut messages = Vec::new();
        for (browser, claimed) in &mut self.claims {
            let place = order.iter().position(|one| one == browser);
            let has_a_place = place.is_some_and(|place| place < policy.browsers as usize);
            let admitted = has_a_place && claimed.claims.best().is_some();
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

    /// Forgets all that is from before an erasure of `own`. Answers who else must: the other ends of facts, and browsers.
    pub fn erase(&mut self, own: KeyHash, cut: Cut) -> Vec<Message> {
        let goes = |at: i64| cut.known || at <= cut.at;
        let mut messages = Vec::new();
        for (fact, known) in &mut self.facts {
            let Some((at, _)) = known.said.filter(|(at, _)| goes(*at)) else { continue };
            let blank = known.other.as_ref().map(|other| Identifier::erased(other.key_type()));
            known.said = None;
            self.facts_ranked -= u64::from(known.since().is_none());
            known.drop_if_unsaid();
            let ask = blank.map(|blank| Ask::ForgetFact(*fact, cut.at.max(at), blank));
            messages.extend(ask.map(|ask| Message { key: fact.other(own), ask }));
        }
        let claiming = self.claims.values().filter(|claimed| claimed.claims.since.is_some_and(goes));
        messages.extend(claiming.map(|claimed| Message { key: claimed.claims.browser, ask: Ask::ForgetKey(own, cut) }));
        messages
    }

    /// Whether anything that an erasure has left names the key.
    #[must_use]
    pub fn is_named_since(&self, cut: Cut) -> bool {
        let claimed = self.claims.values().filter_map(|claimed| claimed.claims.since);
        !cut.known && (self.seen().is_some() || claimed.into_iter().any(|since| since > cut.at))
    }

    /// The best evidence of the key's own that its facts are.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        let said = self.facts.values().filter_map(|known| known.said);
        said.map(|(at, source)| Seen { trust: Trust::Strong, source, at }).reduce(Seen::best)
    }

    /// Forgets a fact of which the other end was erased, for good. Whether it was known.
    pub fn forget(&mut self, fact: Fact, upto: i64) -> bool {
        let known = self.facts.entry(fact).or_default();
        known.forgotten = known.forgotten.max(Some(upto));
        let was_said = known.said.is_some_and(|(at, _)| at <= upto);
        if was_said {
            known.said = None;
            self.facts_ranked -= u64::from(known.since().is_none());
            known.drop_if_unsaid();
        }
        was_said
    }

    /// When a fact was said, ms, by whom, and what its other end is, if it is.
    #[must_use]
    pub fn said(&self, fact: Fact) -> Option<(i64, Source, Identifier)> {
        let known = self.facts.get(&fact)?;
        let (at, source) = known.said?;
        Some((at, source, known.other.clone()?))
    }

    /// Whether a fact of this time is one that an erasure of its other end took.
    #[must_use]
    pub fn has_forgotten(&self, fact: Fact, at: i64) -> bool {
        self.facts.get(&fact).and_then(|known| known.forgotten).is_some_and(|upto| at <= upto)
    }

    /// Whether a browser still claims `own` from before a time, ms.
    #[must_use]
    pub fn is_claimed_since_before(&self, time: i64) -> bool {
        self.claims.values().any(|claimed| claimed.claims.since.is_some_and(|since| since <= time))
    }

    /// How many facts, and how many browsers whose claims count, found all places taken.
    #[must_use]
    pub fn refused(&self, key_type: KeyType, policy: &Policy) -> (u64, u64) {
        let joins = u64::try_from(policy.joins_max(key_type)).unwrap_or(u64::MAX);
        (self.facts_ranked.saturating_sub(joins), self.browsers_ranked.saturating_sub(policy.browsers.into()))
    }
}
