//! What a browser's owner knows of it: its claims, its time table and what it introduces. The only authority on whose
//! its events are.

use super::decision::Decided;
use super::erasure::{Cut, Gone};
use super::evidence::{About, DecisionPiece, Piece};
use super::message::{Ask, ClaimId, ClaimSummary, Element, Introductions, Message, Table};
use super::person::{END_MS, FIRST_MS, times};
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
    #[cbor(default)]
    decided: BTreeMap<KeyHash, (i64, bool)>,
    /// Person keys that were erased.
    #[n(12)]
    #[cbor(default)]
    forgotten: BTreeMap<KeyHash, Forgotten>,
    /// What erasures took of the time that was its own.
    #[n(13)]
    #[cbor(default)]
    own_gone: Vec<Gone>,
    #[n(14)]
    #[cbor(default)]
    gone: Vec<Gone>,
    /// Claims until this time, ms, went with its anonymous prospect.
    #[n(15)]
    claims_erased: Option<i64>,
    /// What people decided about it, by the decision's id.
    #[n(16)]
    #[cbor(default)]
    heeded: BTreeMap<String, Decided>,
}

/// A person key that was erased: copies of claims on it from before count as nobody's, so that the time between them does
/// not fall to whoever was before or after.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Forgotten {
    /// When, ms.
    #[n(0)]
    at: i64,
    /// Copies that were here then, though they are dated later.
    #[n(1)]
    early: BTreeSet<Copy>,
    /// Whether claims on it counted then.
    #[n(2)]
    counted: bool,
}

/// A step of a browser's time: from when on it is whose. An erased person's is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    at: i64,
    page: String,
    key: KeyHash,
    trust: Trust,
    erased: Option<i64>,
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
        if self.claims_erased.is_some_and(|erased| at <= erased) {
            return false;
        }
        let of_trust = self.copies.entry(trust).or_default();
        let copy = (at, key, page, human);
        if of_trust.get(&copy).is_some_and(|known| *known <= source) {
            return false;
        }
        of_trust.insert(copy.clone(), source);
        if of_trust.len() > policy.claims as usize {
            let oldest = of_trust.pop_first().map(|(oldest, _)| oldest);
            if oldest.as_ref() == Some(&copy) {
                return false;
            }
            // Of whom nothing is claimed any more, an erasure does not tell us.
            if let Some((_, displaced, ..)) = oldest.filter(|(_, displaced, ..)| !self.claims_anything_of(*displaced))
                && let Some(ident) = self.idents.get_mut(&displaced)
            {
                *ident = Identifier::erased(ident.key_type());
            }
        }
        if !self.is_erased(&copy) && self.idents.get(&key).is_none_or(Identifier::is_erased) {
            self.idents.insert(key, ident.clone());
        }
        true
    }

    fn claims_anything_of(&self, key: KeyHash) -> bool {
        self.copies.values().flat_map(BTreeMap::keys).any(|(_, claimed, ..)| *claimed == key)
    }

    /// Merges a decision of people. Whether that is news.
    pub fn heed(&mut self, own: KeyHash, decided: &Decided) -> bool {
        self.heeded.entry(decided.id.clone()).or_insert_with(|| decided.of(own));
        let mut news = false;
        for key in decided.others_of(own) {
            if self.decided.get(&key).is_none_or(|known| *known < decided.rank()) {
                self.decided.insert(key, decided.rank());
                news = true;
            }
        }
        news
    }

    /// What people decided about it and those whom it claims, as evidence; nothing from before an erasure.
    #[must_use]
    pub fn decisions(&self, own: KeyHash, ident: &Identifier) -> Vec<DecisionPiece> {
        let erased = self.own_gone.iter().map(|gone| gone.erased).max();
        let heeded = self.heeded.values().filter(|decided| erased.is_none_or(|erased| decided.at > erased));
        let pieces = heeded.filter_map(|decided| {
            let overruled = |key| decided.is_overruled((own, key), self.heeded.values());
            match &decided.by {
                Some(claim @ EvidenceRef::Claim { browser, key, .. }) if *browser == own => {
                    Some(DecisionPiece::of(decided, overruled(*key), About::Claim(claim.clone())))
                }
                _ if decided.merges => None,
                _ => {
                    let is_named =
                        |key: &KeyHash| self.forgotten.get(key).is_none_or(|forgotten| decided.at > forgotten.at);
                    let others = decided.others_of(own).filter(is_named);
                    let named = others.filter_map(|key| Some((overruled(key), self.idents.get(&key)?)));
                    let (overruled, other) = named.filter(|(_, other)| !other.is_erased()).min()?;
                    Some(DecisionPiece::of(decided, overruled, About::Two(ident.clone(), other.clone(), None)))
                }
            }
        });
        pieces.collect()
    }

    /// Whether a person separated it from a key.
    fn separated(&self, key: KeyHash) -> bool {
        self.decided.get(&key).is_some_and(|(_, merges)| !merges)
    }

    /// A claimed key was erased. Whether that is news.
    pub fn forget(&mut self, key: KeyHash, Cut { at, known }: Cut) -> bool {
        if self.forgotten.get(&key).is_some_and(|known| known.at >= at) {
            return false;
        }
        let of_key = self.copies.values().flat_map(BTreeMap::keys).filter(|(_, claimed, ..)| *claimed == key);
        let later: BTreeSet<_> = of_key.filter(|(copied, ..)| *copied > at).cloned().collect();
        let remains = !known && !later.is_empty();
        let early = if known { later } else { BTreeSet::new() };
        let counted = self.counts(key);
        self.forgotten.insert(key, Forgotten { at, early, counted });
        if let Some(ident) = self.idents.get_mut(&key).filter(|_| !remains) {
            *ident = Identifier::erased(ident.key_type());
        }
        true
    }

    /// Erases the time that is its own. Whether that is news.
    pub fn erase_own(&mut self, own: KeyHash, at: i64) -> bool {
        if self.has_forgotten_itself(at) {
            return false;
        }
        let own_time = times(own, &self.epochs).filter(|(_, owner)| *owner == own);
        let own_time = own_time.map(|((from, until), _)| Gone { from, until, erased: at });
        self.own_gone.extend(own_time);
        if self.epochs.is_empty() {
            // What it said of others was without effect, and goes with it.
            self.claims_erased = Some(at);
            self.copies.clear();
            self.idents.values_mut().for_each(|ident| *ident = Identifier::erased(ident.key_type()));
        }
        true
    }

    /// Whether events of it may be on their way home from somebody who had them; not if an erasure may have taken them, of
    /// somebody who had the browser's time by what was known then.
    #[must_use]
    pub fn may_be_coming_home(&self) -> bool {
        let was_taken = self.forgotten.values().any(|forgotten| forgotten.counted);
        self.table_version > 0 && self.gone.is_empty() && !was_taken
    }

    /// Whether the time that was its own was erased at this time, ms, or later.
    #[must_use]
    pub fn has_forgotten_itself(&self, at: i64) -> bool {
        self.own_gone.iter().any(|gone| gone.erased >= at)
    }

    /// The steps of its time: claims that count, and those on a person who was erased.
    fn steps(&self, counting: &[(&ClaimId, Made)]) -> Vec<Step> {
        let mut erased: BTreeMap<(Trust, KeyHash, &str), (i64, bool)> = BTreeMap::new();
        for (trust, copies) in &self.copies {
            for copy in copies.keys().filter(|copy| self.is_erased(copy)) {
                let (at, key, page, human) = copy;
                let step = erased.entry((*trust, *key, page)).or_insert((*at, *human));
                *step = (step.0.min(*at), step.1 || *human);
            }
        }
        let mut steps = Vec::new();
        for ((trust, key, page), (at, human)) in erased {
            let Some(forgotten) = self.forgotten.get(&key).filter(|forgotten| forgotten.counted) else { continue };
            if human || trust >= Trust::Medium {
                steps.push(Step { at, page: page.to_owned(), key, trust, erased: Some(forgotten.at) });
            }
        }
        steps.extend(counting.iter().map(|(id, made)| {
            let ClaimId { key, trust, page, .. } = (*id).clone();
            Step { at: made.at, page, key, trust, erased: None }
        }));
        steps
    }

    fn is_erased(&self, copy: &Copy) -> bool {
        let (at, key, ..) = copy;
        self.forgotten.get(key).is_some_and(|forgotten| *at <= forgotten.at || forgotten.early.contains(copy))
    }

    /// A claimed key has answered. Whether that is news.
    pub fn answered(&mut self, key: KeyHash, version: u64, admitted: bool) -> bool {
        if self.answers.get(&key).is_some_and(|(known, _)| version <= *known) {
            return false;
        }
        self.answers.insert(key, (version, admitted));
        true
    }

    /// Whether claims on a key count, once they are activated.
    fn counts(&self, key: KeyHash) -> bool {
        self.admitted(key) && !self.separated(key)
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
            .map(|(id, made)| (id, *made, self.counts(id.key)))
            .collect();
        let counting: Vec<(&ClaimId, Made)> =
            activated.iter().filter(|(_, _, counts)| *counts).map(|(id, made, _)| (*id, *made)).collect();
        let (epochs, mut gone) = timeline(own, self.steps(&counting));
        gone.extend(&self.own_gone);
        let introduced = introductions(&activated, &self.idents, policy);

        self.version += 1;
        let mut messages = Vec::new();
        let changed = epochs != self.epochs || gone != self.gone;
        if changed {
            let before = times_by_owner(own, &std::mem::replace(&mut self.epochs, epochs));
            let after = times_by_owner(own, &self.epochs);
            self.table_version = self.version;
            self.gone = gone;
            let table = self.table(own, no, ident);
            // Who neither gains time nor loses any, by the same claims, has nothing to learn: what comes by an older table than
            // theirs goes on from owner to owner, each of whom was told when they lost it.
            let mut owners: BTreeSet<KeyHash> = before.keys().chain(after.keys()).copied().collect();
            owners.retain(|key| before.get(key) != after.get(key));
            if ident.is_erased() {
                // Whoever may keep an older one must forget what it was called.
                owners.extend(self.told.keys());
            }
            for key in owners.into_iter().filter(|key| *key != own) {
                messages.push(Message { key, ask: Ask::Put(vec![Element::Table(table.clone())]) });
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
            for (copy, source) in copies.iter().filter(|(copy, _)| !self.is_erased(copy)) {
                let (at, key, page, human) = copy;
                let id = ClaimId { browser, key: *key, trust: *trust, page: page.clone() };
                let made = merged.entry(id).or_insert(Made { at: *at, human: *human, source: *source });
                *made = Made { at: made.at.min(*at), human: made.human || *human, source: made.source.min(*source) };
            }
        }
        merged
    }

    /// Tells each claimed key when what the claims on it come to has changed.
    fn tell_claims(&mut self, browser: KeyHash, merged: &BTreeMap<ClaimId, Made>) -> Vec<Message> {
        let none = || ClaimSummary { browser, version: 0, activated: BTreeMap::new(), since: None };
        // A key whose claims have all been displaced by newer ones is told so, too.
        let mut now: BTreeMap<KeyHash, ClaimSummary> = self.told.keys().map(|key| (*key, none())).collect();
        for (id, made) in merged {
            let summary = now.entry(id.key).or_insert_with(none);
            summary.since = Some(summary.since.map_or(made.at, |since| since.min(made.at)));
            if made.activated(id) {
                let first = summary.activated.entry(id.trust).or_insert((made.at, made.source));
                *first = (*first).min((made.at, made.source));
            }
        }
        let mut messages = Vec::new();
        for (key, claims) in now {
            let same = |told: &ClaimSummary| (&told.activated, told.since) == (&claims.activated, claims.since);
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
        Table {
            browser: own,
            no,
            ident: ident.clone(),
            version: self.table_version,
            epochs: self.epochs.clone(),
            gone: self.gone.clone(),
        }
    }

    /// Its claims and what became of them, as far as that is known here.
    #[must_use]
    pub fn claims(&self, own: KeyHash, no: i64, ident: &Identifier) -> Vec<Piece> {
        let (merged, table) = (self.merged(own), self.table(own, no, ident));
        let counting = merged.iter().filter(|(id, made)| made.activated(id) && self.counts(id.key));
        let counting: Vec<(&ClaimId, Made)> = counting.map(|(id, made)| (id, *made)).collect();
        let governing = self.steps(&counting).into_iter().map(|step| step.trust).max();
        let pieces = merged.iter().filter_map(|(id, made)| {
            let (state, reason) = if self.separated(id.key) {
                (State::Undone, Some(Reason::Separated))
            } else if !made.activated(id) {
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

/// Step 5 of the definition: the steps of the highest trust, by time, consecutive equal keys as one. An erased person's time
/// is the browser's own, and what was done in it is gone.
fn timeline(own: KeyHash, mut steps: Vec<Step>) -> (Vec<(i64, KeyHash)>, Vec<Gone>) {
    let governing = steps.iter().map(|step| step.trust).max();
    steps.retain(|step| Some(step.trust) == governing);
    steps.sort_unstable();
    steps.dedup_by(|later, earlier| (later.key, later.erased) == (earlier.key, earlier.erased));
    let ends = steps.iter().skip(1).map(|step| step.at).chain([END_MS]);
    let spans = steps.iter().zip(ends).enumerate();
    let gone = spans.filter_map(|(place, (step, until))| {
        let from = if place == 0 { FIRST_MS } else { step.at };
        Some(Gone { from, until, erased: step.erased? })
    });
    let owner = |step: &Step| if step.erased.is_some() { own } else { step.key };
    (steps.iter().map(|step| (step.at, owner(step))).collect(), gone.collect())
}

/// By owner, their times, and the claims by which they have them: an erasure asks whether one of these is from before it.
fn times_by_owner(own: KeyHash, epochs: &[(i64, KeyHash)]) -> BTreeMap<KeyHash, Vec<(i64, i64)>> {
    let mut by_owner: BTreeMap<KeyHash, Vec<(i64, i64)>> = BTreeMap::new();
    let claims = epochs.iter().map(|(at, owner)| ((*at, *at), *owner));
    for (time, owner) in times(own, epochs).chain(claims) {
        by_owner.entry(owner).or_default().push(time);
    }
    by_owner
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
