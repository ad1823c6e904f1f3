//! What a browser's owner knows of it: its claims, its time table and what it introduces. The only authority on whose
//! its events are.

use super::evidence::Piece;
use super::message::{Ask, ClaimId, ClaimSummary, Element, Introductions, Message, Table};
use crate::event::Source;
use crate::identity::policy::Policy;
use crate::identity::{EvidenceRef, Fact, FactClass, Reason, State, Trust};
use crate::key::{Identifier, KeyHash, KeyType};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// A browser's own record.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Browser {
    /// Copies of claims as they were made, by trust; the newest count, so that what a busy browser makes us keep stays
    /// bounded by a rule that does not depend on the order of arrival.
    #[n(0)]
    copies: BTreeMap<Trust, BTreeMap<Copy, Source>>,
    /// What each claimed key is.
    #[n(1)]
    idents: BTreeMap<KeyHash, Identifier>,
    /// By claimed key, its answer: version, and whether it admits the claims.
    #[n(2)]
    answers: BTreeMap<KeyHash, (u64, bool)>,
    /// What each claimed key has been told.
    #[n(3)]
    told: BTreeMap<KeyHash, ClaimSummary>,
    /// Of table, introductions and claims alike: grows with every change.
    #[n(4)]
    version: u64,
    #[n(5)]
    table_version: u64,
    #[n(6)]
    epochs: Vec<(i64, KeyHash)>,
    /// Every key that any version of the table named: all of them are told of each change.
    #[n(7)]
    named: BTreeSet<KeyHash>,
    #[n(8)]
    introduced: BTreeMap<Fact, i64>,
    /// Every key that any version introduced.
    #[n(9)]
    introduced_ever: BTreeSet<KeyHash>,
    /// The `rev` with which its own, anonymous prospect went into another: it goes on from there if it comes back.
    #[n(10)]
    pub rev: u64,
}

/// One copy of a claim of some trust, in the order of time: at, key, page, human.
type Copy = (i64, KeyHash, String, bool);

/// A claim after merging its copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Made {
    at: i64,
    human: bool,
    source: Source,
}

impl Made {
    /// A claim counts when it is more than a URL's word, or its page has shown a human.
    fn activated(&self, id: &ClaimId) -> bool {
        self.human || id.trust >= Trust::Medium
    }
}

impl Browser {
    /// Merges one copy of a claim. Whether that changed anything.
    pub fn make_claim(
        &mut self,
        id: ClaimId,
        ident: &Identifier,
        at: i64,
        human: bool,
        source: Source,
        policy: &Policy,
    ) -> bool {
        let ClaimId { key, trust, page, .. } = id;
        let of_trust = self.copies.entry(trust).or_default();
        let copy = (at, key, page, human);
        if of_trust.get(&copy).is_some_and(|known| *known <= source) {
            return false;
        }
        of_trust.insert(copy.clone(), source);
        if of_trust.len() > policy.claims as usize {
            let oldest = of_trust.pop_first();
            if oldest.is_some_and(|(oldest, _)| oldest == copy) {
                return false;
            }
        }
        self.idents.entry(key).or_insert_with(|| ident.clone());
        true
    }

    /// A claimed key has answered. Whether that is news.
    pub fn answered(&mut self, key: KeyHash, version: u64, admitted: bool) -> bool {
        if self.answers.get(&key).is_some_and(|(known, _)| version <= *known) {
            return false;
        }
        self.answers.insert(key, (version, admitted));
        true
    }

    /// Whether a key admits this browser. Until it has answered it does not: thousands that claim one key would else all
    /// leave their tables with it.
    fn admitted(&self, key: KeyHash) -> bool {
        self.answers.get(&key).is_some_and(|(_, admitted)| *admitted)
    }

    /// Recomputes table and introductions after a change of claims or answers; says whom that concerns.
    /// The second answer: whether the table is another now.
    pub fn recompute(&mut self, own: KeyHash, no: i64, ident: &Identifier, policy: &Policy) -> (Vec<Message>, bool) {
        let merged = self.merged(own);
        let activated: Vec<(&ClaimId, Made, bool)> = merged
            .iter()
            .filter(|(id, made)| made.activated(id))
            .map(|(id, made)| (id, *made, self.admitted(id.key)))
            .collect();
        let counting: Vec<(&ClaimId, Made)> =
            activated.iter().filter(|(_, _, admitted)| *admitted).map(|(id, made, _)| (*id, *made)).collect();
        let governing = counting.iter().map(|(id, _)| id.trust).max();
        let epochs = epochs(&counting, governing);
        let introduced = introductions(&activated, &self.idents, policy);

        self.version += 1;
        let mut messages = Vec::new();
        let changed = epochs != self.epochs;
        if changed {
            self.table_version = self.version;
            self.epochs = epochs;
            self.named.extend(self.epochs.iter().map(|(_, key)| *key));
            let table = self.table(own, no, ident);
            for key in &self.named {
                messages.push(Message { key: *key, ask: Ask::Put(vec![Element::Table(table.clone())]) });
            }
        }
        if introduced != self.introduced {
            self.introduced_ever.extend(introduced.keys().flat_map(|fact| [fact.a, fact.b]));
            self.introduced = introduced;
            for key in &self.introduced_ever {
                let Some(target) = self.idents.get(key).cloned() else { continue };
                let facts = self.introduced.iter().filter(|(fact, _)| fact.a == *key || fact.b == *key);
                let facts = facts
                    .filter_map(|(fact, at)| Some((*fact, *at, self.idents.get(&fact.other(*key))?.clone())))
                    .collect();
                let introductions = Introductions { browser: own, version: self.version, facts, target };
                messages.push(Message { key: *key, ask: Ask::Introduce(introductions) });
            }
        }
        messages.extend(self.tell_claims(own, &merged));
        (messages, changed)
    }

    /// The claims that count, each merged from its copies.
    fn merged(&self, browser: KeyHash) -> BTreeMap<ClaimId, Made> {
        let mut merged: BTreeMap<ClaimId, Made> = BTreeMap::new();
        for (trust, copies) in &self.copies {
            for ((at, key, page, human), source) in copies {
                let id = ClaimId { browser, key: *key, trust: *trust, page: page.clone() };
                let made = merged.entry(id).or_insert(Made { at: *at, human: *human, source: *source });
                *made = Made { at: made.at.min(*at), human: made.human || *human, source: made.source.min(*source) };
            }
        }
        merged
    }

    /// Tells each claimed key when what the claims on it come to has changed.
    fn tell_claims(&mut self, browser: KeyHash, merged: &BTreeMap<ClaimId, Made>) -> Vec<Message> {
        let summary = |any| ClaimSummary { browser, version: 0, activated: BTreeMap::new(), any };
        // A key whose claims have all been displaced by newer ones is told so, too.
        let mut now: BTreeMap<KeyHash, ClaimSummary> = self.told.keys().map(|key| (*key, summary(false))).collect();
        for (id, made) in merged {
            let summary = now.entry(id.key).or_insert_with(|| summary(true));
            summary.any = true;
            if made.activated(id) {
                let first = summary.activated.entry(id.trust).or_insert((made.at, made.source));
                *first = (*first).min((made.at, made.source));
            }
        }
        let mut messages = Vec::new();
        for (key, claims) in now {
            let same = |told: &ClaimSummary| (&told.activated, told.any) == (&claims.activated, claims.any);
            if self.told.get(&key).is_some_and(same) {
                continue;
            }
            let claims = ClaimSummary { version: self.version, ..claims };
            self.told.insert(key, claims.clone());
            let ident = self.idents.get(&key).cloned();
            messages.extend(ident.map(|ident| Message { key, ask: Ask::RankClaims(claims, ident) }));
        }
        messages
    }

    /// The time table as it is told to clusters.
    #[must_use]
    pub fn table(&self, own: KeyHash, no: i64, ident: &Identifier) -> Table {
        Table { browser: own, no, ident: ident.clone(), version: self.table_version, epochs: self.epochs.clone() }
    }

    /// Its claims and what became of them, as far as that is known here.
    #[must_use]
    pub fn claims(&self, own: KeyHash, no: i64, ident: &Identifier) -> Vec<Piece> {
        let (merged, table) = (self.merged(own), self.table(own, no, ident));
        let counts = |(id, made): &(&ClaimId, &Made)| made.activated(id) && self.admitted(id.key);
        let governing = merged.iter().filter(counts).map(|(id, _)| id.trust).max();
        let pieces = merged.iter().filter_map(|(id, made)| {
            let (state, reason) = if !made.activated(id) {
                (State::Pending, Some(Reason::NoHuman))
            } else if !self.admitted(id.key) {
                (State::Conflict, Some(Reason::Limit))
            } else {
                (State::Active, None)
            };
            let outranked = state == State::Active && governing.is_some_and(|governing| id.trust < governing);
            let ClaimId { browser, key, trust, page } = id.clone();
            Some(Piece {
                evidence: EvidenceRef::Claim { browser, key, trust, page },
                from: ident.clone(),
                to: self.idents.get(&key)?.clone(),
                source: made.source,
                trust,
                at: made.at,
                state,
                reason,
                outranked_by: outranked.then(|| table.owner(made.at)),
            })
        });
        pieces.collect()
    }
}

/// Step 5 of the definition: the claims of the highest trust, by time, consecutive equal keys as one.
fn epochs(counting: &[(&ClaimId, Made)], governing: Option<Trust>) -> Vec<(i64, KeyHash)> {
    let mut of_trust: Vec<_> = counting.iter().filter(|(id, _)| Some(id.trust) == governing).collect();
    of_trust.sort_by_key(|(id, made)| (made.at, &id.page, id.key));
    let mut epochs: Vec<(i64, KeyHash)> = Vec::new();
    for (id, made) in of_trust {
        if epochs.last().is_none_or(|(_, key)| *key != id.key) {
            epochs.push((made.at, id.key));
        }
    }
    epochs
}

/// By time, the e-mails claimed then; whether any such claim is admitted.
type Emails = BTreeMap<i64, BTreeMap<KeyHash, bool>>;

/// The pairs of admitted claims that introduce an e-mail to an id: at most the window apart, no claim to another e-mail
/// between, admitted or not.
fn introductions(
    activated: &[(&ClaimId, Made, bool)],
    idents: &BTreeMap<KeyHash, Identifier>,
    policy: &Policy,
) -> BTreeMap<Fact, i64> {
    let type_of = |key: &KeyHash| idents.get(key).map(Identifier::key_type);
    let mut emails = Emails::new();
    for (id, made, admitted) in activated.iter().filter(|(id, _, _)| type_of(&id.key) == Some(KeyType::Email)) {
        *emails.entry(made.at).or_default().entry(id.key).or_default() |= admitted;
    }
    let mut facts = BTreeMap::new();
    for (id, made, admitted) in activated {
        if !admitted || !matches!(type_of(&id.key), Some(KeyType::BrazeId | KeyType::ExternalId)) {
            continue;
        }
        let later = met(emails.range(made.at..=made.at.saturating_add(policy.introduction_ms)));
        let earlier = met(emails.range(made.at.saturating_sub(policy.introduction_ms)..=made.at).rev());
        for (email, at) in later.into_iter().chain(earlier) {
            if let Some(fact) = Fact::new(FactClass::Provisional, id.key, email) {
                let at = at.max(made.at);
                let first = facts.entry(fact).or_insert(at);
                *first = (*first).min(at);
            }
        }
    }
    facts
}

/// Walks e-mail claims away from another claim, until one names another address than those before it.
fn met<'a>(emails: impl Iterator<Item = (&'a i64, &'a BTreeMap<KeyHash, bool>)>) -> Vec<(KeyHash, i64)> {
    let mut only = None;
    let mut met = Vec::new();
    for (at, keys) in emails {
        let mut keys = keys.iter();
        match (keys.next(), keys.next()) {
            (Some((key, admitted)), None) if only.is_none_or(|only| only == *key) => {
                only = Some(*key);
                if *admitted {
                    met.push((*key, *at));
                }
            }
            _ => break,
        }
    }
    met
}
