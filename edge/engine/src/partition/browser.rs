//! What a browser's owner knows of it: its claims, its time table and what it introduces. The only authority on whose
//! its events are.

use super::decision::Decided;
use super::message::{Ask, Claim, ClaimId, Element, Introductions, Message, Standing, Table};
use crate::event::Source;
use crate::identity::policy::Policy;
use crate::identity::{Fact, FactClass, Trust};
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
    /// Claims that their key has answered: version, and whether it admits them.
    #[n(2)]
    answers: BTreeMap<ClaimId, (u64, bool)>,
    /// What each claimed key has been told.
    #[n(3)]
    told: BTreeMap<ClaimId, Claim>,
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
    /// By person key, the latest decision on it and this browser: its time, and whether it is a merge.
    #[n(11)]
    decided: BTreeMap<KeyHash, (i64, bool)>,
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

    /// Merges a decision of people. Whether that is news.
    pub fn heed(&mut self, own: KeyHash, decided: &Decided) -> bool {
        let mut news = false;
        for key in decided.others_of(own) {
            if self.decided.get(&key).is_none_or(|known| *known < decided.rank()) {
                self.decided.insert(key, decided.rank());
                news = true;
            }
        }
        news
    }

    /// Whether a person separated it from a key.
    fn separated(&self, key: KeyHash) -> bool {
        self.decided.get(&key).is_some_and(|(_, merges)| !merges)
    }

    /// A claimed key has answered. Whether that is news.
    pub fn answered(&mut self, id: &ClaimId, version: u64, admitted: bool) -> bool {
        let known = self.answers.get(id).map_or(0, |(version, _)| *version);
        if version <= known {
            return false;
        }
        self.answers.insert(id.clone(), (version, admitted));
        true
    }

    /// Recomputes table and introductions after a change of claims or answers; says whom that concerns.
    /// The second answer: whether the table is another now.
    pub fn recompute(&mut self, own: KeyHash, no: i64, ident: &Identifier, policy: &Policy) -> (Vec<Message>, bool) {
        let merged = self.merged(own);
        let activated: Vec<(&ClaimId, Made, bool)> = merged
            .iter()
            .filter(|(id, made)| made.human || id.trust >= Trust::Medium)
            .map(|(id, made)| (id, *made, !self.refused(id) && !self.separated(id.key)))
            .collect();
        let counting: Vec<(&ClaimId, Made)> =
            activated.iter().filter(|(_, _, counts)| *counts).map(|(id, made, _)| (*id, *made)).collect();
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
        messages.extend(self.tell_claims(&merged, governing, &self.table(own, no, ident)));
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

    /// Tells each claimed key what has changed about its claim; one that no longer counts is withdrawn.
    fn tell_claims(
        &mut self,
        merged: &BTreeMap<ClaimId, Made>,
        governing: Option<Trust>,
        table: &Table,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        for (id, made) in merged {
            let standing = if self.separated(id.key) {
                Standing::Undone
            } else if !made.human && id.trust == Trust::Weak {
                Standing::Pending
            } else if governing.is_some_and(|governing| id.trust < governing) {
                Standing::Suspended
            } else {
                Standing::Active
            };
            let Made { at, human, source } = *made;
            let (holder, from) = (table.owner(at), table.ident.clone());
            let claim = Claim { id: id.clone(), at, human, source, standing, holder, from, version: self.version };
            let same = |told: &Claim| Claim { version: claim.version, ..told.clone() } == claim;
            if self.told.get(id).is_some_and(same) {
                continue;
            }
            self.told.insert(id.clone(), claim.clone());
            let ident = self.idents.get(&id.key).cloned();
            messages.extend(ident.map(|ident| Message { key: id.key, ask: Ask::RankClaim(claim, ident) }));
        }
        let gone: Vec<ClaimId> = self.told.keys().filter(|id| !merged.contains_key(id)).cloned().collect();
        for id in gone {
            let Some(told) = self.told.remove(&id) else { continue };
            let claim = Claim { standing: Standing::Withdrawn, version: self.version, ..told };
            let ident = self.idents.get(&id.key).cloned();
            messages.extend(ident.map(|ident| Message { key: id.key, ask: Ask::RankClaim(claim, ident) }));
        }
        messages
    }

    /// The time table as it is told to clusters.
    #[must_use]
    pub fn table(&self, own: KeyHash, no: i64, ident: &Identifier) -> Table {
        Table { browser: own, no, ident: ident.clone(), version: self.table_version, epochs: self.epochs.clone() }
    }

    /// Its claims, governing or not, and what each claims.
    pub fn claims(&self) -> impl Iterator<Item = (&Claim, Option<&Identifier>)> {
        self.told.values().map(|claim| (claim, self.idents.get(&claim.id.key)))
    }

    /// Whether its key has refused a claim for its limit of browsers.
    #[must_use]
    pub fn refused(&self, id: &ClaimId) -> bool {
        self.answers.get(id).is_some_and(|(_, admitted)| !admitted)
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
