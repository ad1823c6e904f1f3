//! The definition of identity as one pure function, written to be read and not to be fast: the oracle of everything
//! incremental and distributed.
//!
//! The result depends on the *set* of inputs: order, repetition and batching change nothing. Every sort is total (ties
//! are broken by the bytes of the element), and where copies of one element differ the merge is a minimum, a maximum
//! or an "or".
//!
//! The steps have the numbers of the definition. They are computed in the order 1, 4, introduction, 2, 3, 5, 6, 7:
//! facts depend on introductions, which depend on which claims a key admits, which depends on claims alone.

use super::policy::{Limits, Policy};
use super::{Decision, EvidenceRef, Fact, FactClass, Reason, State, Trust};
use crate::event::Record;
use crate::key::{DeploymentKey, Identifier, KEY_TYPES, KeyHash, KeyType};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// One element of the set that the result is a function of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// What a source reported.
    Record(Record),
    /// What a person decided.
    Decision(Decision),
}

/// An event by what makes it the same event when it comes again: the key it was recorded under, its time, its id.
pub type EventRef = (KeyHash, i64, String);

/// Whose a browser's events are: from each time on, the key; the first entry reaches back to the beginning.
pub type Table = Vec<(i64, KeyHash)>;

/// Everything that follows from a set of inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Who there is, by prospect id.
    pub prospects: BTreeMap<String, NaiveProspect>,
    /// What became of each piece of evidence, and why.
    pub evidence: BTreeMap<EvidenceRef, (State, Option<Reason>)>,
    /// The time table of each browser that somebody claims.
    pub tables: BTreeMap<KeyHash, Table>,
    /// What became of each decision, by its id.
    pub decisions: BTreeMap<String, NaiveDecision>,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaiveDecision {
    /// The evidence that a merge is, beside lifting separations: a fact between founders, or a browser's claim.
    pub by: Option<EvidenceRef>,
    /// Whether it is a merge.
    pub merges: bool,
    /// Each pair of keys that it is about, the first side's first: whether a later decision says otherwise.
    pub pairs: BTreeMap<(KeyHash, KeyHash), bool>,
}

/// A person, or one browser's unclaimed events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NaiveProspect {
    /// The key that the id is made of.
    pub founder: KeyHash,
    /// Its person keys; the browser's key for an anonymous one.
    pub keys: BTreeSet<KeyHash>,
    /// The browsers whose tables name one of its keys; none for an anonymous one.
    pub browsers: BTreeSet<KeyHash>,
    /// What it did, never empty.
    pub events: BTreeSet<EventRef>,
}

/// Who is who, by these inputs under this policy.
#[must_use]
pub fn naive(deployment: &DeploymentKey, policy: &Policy, inputs: &[Input]) -> World {
    let mut sets = Sets::collect(deployment, policy, inputs);
    let claims = sets.counted_claims();
    let activated: Vec<&Claim> = claims.iter().filter(|c| c.is_activated()).collect();
    let admitted = admitted_claims(&sets, &activated);
    let counting: Vec<&Claim> =
        admitted.iter().copied().filter(|c| !sets.separated.contains(&(c.browser, c.key))).collect();
    for (fact, at) in introductions(&sets, &counting, &activated) {
        earliest(&mut sets.facts, fact, at);
    }
    let candidates = candidates(&sets);
    let (people, refused) = people(&sets, &candidates);
    let tables = tables(&counting);
    let prospects = prospects(&sets, &people, &tables, &first_seen(&sets, &candidates, &admitted));

    // States are read off the steps, in their order.
    let mut evidence = BTreeMap::new();
    for fact in sets.facts.keys() {
        evidence.insert(EvidenceRef::Fact(*fact), fact_state(fact, &sets, &candidates, &refused));
    }
    for claim in &claims {
        let of =
            EvidenceRef::Claim { browser: claim.browser, key: claim.key, trust: claim.trust, page: claim.page.clone() };
        evidence.insert(of, claim_state(claim, &sets, &admitted, &counting, &people, &tables));
    }
    World { prospects, evidence, tables, decisions: decisions(&sets.said) }
}

/// A claim after merging its copies: one per (browser, key, trust, page).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim {
    browser: KeyHash,
    key: KeyHash,
    trust: Trust,
    page: String,
    at: i64,
    human: bool,
}

impl Claim {
    fn is_activated(&self) -> bool {
        self.trust >= Trust::Medium || self.human
    }
}

/// One copy of a claim, in the order of time: at, key, page, human.
type ClaimCopy = (i64, KeyHash, String, bool);

/// The inputs as sets, after step 1.
struct Sets<'a> {
    deployment: &'a DeploymentKey,
    policy: &'a Policy,
    /// What `key` answered: inputs name few identifiers many times, and hashing is most of the work.
    keys: BTreeMap<&'a Identifier, Option<KeyHash>>,
    types: BTreeMap<KeyHash, KeyType>,
    internal: BTreeSet<KeyHash>,
    events: BTreeSet<EventRef>,
    /// With the earliest time at which it was said.
    facts: BTreeMap<Fact, i64>,
    /// By browser and trust.
    claims: BTreeMap<(KeyHash, Trust), BTreeSet<ClaimCopy>>,
    /// Both ways round.
    separated: BTreeSet<(KeyHash, KeyHash)>,
    /// Decisions by their ids: time, the evidence that a merge is, whether it is one, pairs.
    said: BTreeMap<&'a str, Said>,
}

type Said = (i64, Option<EvidenceRef>, bool, BTreeSet<(KeyHash, KeyHash)>);

impl<'a> Sets<'a> {
    // 1 hygiene: most of it is in `Identifier::new`; the blocked list is the policy's. A blocked key is no key: what
    // it claims or is claimed by, its facts and the events recorded under it are in no prospect.
    fn collect(deployment: &'a DeploymentKey, policy: &'a Policy, inputs: &'a [Input]) -> Sets<'a> {
        let mut sets = Sets {
            deployment,
            policy,
            keys: BTreeMap::new(),
            types: BTreeMap::new(),
            internal: BTreeSet::new(),
            events: BTreeSet::new(),
            facts: BTreeMap::new(),
            claims: BTreeMap::new(),
            separated: BTreeSet::new(),
            said: BTreeMap::new(),
        };
        // Per pair: the latest decision's time, and whether it is a merge (which at the same time comes later).
        let mut latest: BTreeMap<(KeyHash, KeyHash), (i64, bool)> = BTreeMap::new();
        for input in inputs {
            let (id, at, by, merges, (left, right)) = match input {
                Input::Record(record) => {
                    sets.record(record);
                    continue;
                }
                Input::Decision(Decision::Separate { id, at, left, right }) => (id, *at, None, false, (left, right)),
                Input::Decision(Decision::Merge { id, at, keep, other, lifts }) => {
                    let by = sets.merge(id, *at, (keep, other));
                    (id, *at, by, true, (&lifts.0, &lifts.1))
                }
            };
            let mut pairs = BTreeSet::new();
            for one in left.iter().filter_map(|id| sets.key(id)).collect::<Vec<_>>() {
                for two in right.iter().filter_map(|id| sets.key(id)) {
                    // In both sides it cannot be meant: nobody is separated from themselves.
                    if one != two {
                        pairs.insert((one, two));
                        let last = latest.entry((one.min(two), one.max(two))).or_insert((at, merges));
                        *last = (*last).max((at, merges));
                    }
                }
            }
            sets.said.insert(id, (at, by, merges, pairs));
        }
        for ((one, two), (_, merged)) in latest {
            if !merged {
                sets.separated.extend([(one, two), (two, one)]);
            }
        }
        sets
    }

    fn record(&mut self, record: &'a Record) {
        let Record { rec, at, id, .. } = record;
        if let Some(rec) = self.key(rec) {
            self.events.insert((rec, *at, id.clone()));
        }
        for fact in &record.facts {
            let class = if fact.explicit { FactClass::Explicit } else { FactClass::Strong };
            self.fact(class, *at, (rec, &fact.other));
        }
        for claim in &record.claims {
            self.claim((&claim.browser, &claim.key), claim.trust, (*at, &claim.page, claim.human));
        }
    }

    /// Answers the evidence that it is.
    fn merge(&mut self, id: &str, at: i64, sides: (&'a Identifier, &'a Identifier)) -> Option<EvidenceRef> {
        let (keep, other) = sides;
        let (browser, person) = match (keep.key_type().is_browser(), other.key_type().is_browser()) {
            (true, false) => (keep, other),
            (false, true) => (other, keep),
            (false, false) => {
                self.fact(FactClass::Explicit, at, sides);
                return Fact::new(FactClass::Explicit, self.key(keep)?, self.key(other)?).map(EvidenceRef::Fact);
            }
            (true, true) => return None,
        };
        self.claim((browser, person), Trust::Strong, (at, id, true));
        let (browser, key) = (self.key(browser)?, self.key(person)?);
        Some(EvidenceRef::Claim { browser, key, trust: Trust::Strong, page: id.to_owned() })
    }

    /// The key of an identifier. Its type follows from it, for the type is in the hash. It is internal if any of its
    /// forms says so: an address may come plain, or hashed and without its domain.
    fn key(&mut self, identifier: &'a Identifier) -> Option<KeyHash> {
        if let Some(known) = self.keys.get(identifier) {
            return *known;
        }
        let key = (!self.policy.is_blocked(identifier)).then(|| self.deployment.hash(identifier));
        self.keys.insert(identifier, key);
        if let Some(key) = key {
            self.types.insert(key, identifier.key_type());
            if self.policy.is_internal(identifier) {
                self.internal.insert(key);
            }
        }
        key
    }

    /// Only person keys have facts: a browser is never a bridge.
    fn fact(&mut self, class: FactClass, at: i64, ends: (&'a Identifier, &'a Identifier)) {
        let (one, two) = (self.key(ends.0), self.key(ends.1));
        let (Some(one), Some(two)) = (one, two) else { return };
        if self.is_person(one)
            && self.is_person(two)
            && let Some(fact) = Fact::new(class, one, two)
        {
            earliest(&mut self.facts, fact, at);
        }
    }

    fn claim(&mut self, ends: (&'a Identifier, &'a Identifier), trust: Trust, (at, page, human): (i64, &str, bool)) {
        let (browser, target) = (self.key(ends.0), self.key(ends.1));
        let (Some(browser), Some(target)) = (browser, target) else { return };
        if !self.is_person(browser) && self.is_person(target) {
            self.claims.entry((browser, trust)).or_default().insert((at, target, page.to_owned(), human));
        }
    }

    /// The claims that count. Of all copies by one browser with one trust the newest `Policy::claims` do, and are then
    /// merged: human = or, at = min.
    ///
    /// The bound is on copies, before merging: a copy that newer ones have displaced can never come back, so whoever
    /// stores claims may forget it at once. Were it on merged claims, an earlier copy of one could call another back.
    fn counted_claims(&self) -> Vec<Claim> {
        let mut merged: BTreeMap<(KeyHash, KeyHash, Trust, &str), (i64, bool)> = BTreeMap::new();
        for ((browser, trust), copies) in &self.claims {
            for (at, key, page, human) in copies.iter().rev().take(size(self.policy.claims)) {
                let so_far = merged.entry((*browser, *key, *trust, page)).or_insert((*at, *human));
                *so_far = (so_far.0.min(*at), so_far.1 || *human);
            }
        }
        let claim = |((browser, key, trust, page), (at, human)): ((_, _, _, &str), _)| {
            let page = page.to_owned();
            Claim { browser, key, trust, page, at, human }
        };
        merged.into_iter().map(claim).collect()
    }

    fn is_person(&self, key: KeyHash) -> bool {
        self.types.get(&key).is_some_and(|t| !t.is_browser())
    }

    fn is(&self, key: KeyHash, key_type: KeyType) -> bool {
        self.types.get(&key) == Some(&key_type)
    }
}

// 4 claims: at each person key, sort activated claims (trust desc, at, browser); the first BROWSERS distinct browsers
// are admitted. One that a person undid keeps its place: what one browser is told must not let another in.
fn admitted_claims<'a>(sets: &Sets<'_>, activated: &[&'a Claim]) -> Vec<&'a Claim> {
    let mut admitted = BTreeSet::new();
    for key in activated.iter().map(|c| c.key).collect::<BTreeSet<_>>() {
        let mut at_key: Vec<&Claim> = activated.iter().copied().filter(|c| c.key == key).collect();
        at_key.sort_by_key(|c| (Reverse(c.trust), c.at, c.browser));
        let mut browsers: Vec<KeyHash> = Vec::new();
        for claim in at_key {
            if !browsers.contains(&claim.browser) {
                browsers.push(claim.browser);
            }
        }
        admitted.extend(browsers.into_iter().take(size(sets.policy.browsers)).map(|browser| (browser, key)));
    }
    activated.iter().copied().filter(|c| admitted.contains(&(c.browser, c.key))).collect()
}

// Introduction: of one browser, every pair of counting claims, one to a `braze_id` or `external_id` and one to an
// `email`, not further apart than the window, with no activated claim to another e-mail between them. (Activated is
// enough there: another person's address on the device speaks against the pair even if its key is full or undone.)
// At the later claim's time; the earliest pair counts.
fn introductions(sets: &Sets<'_>, counting: &[&Claim], activated: &[&Claim]) -> BTreeMap<Fact, i64> {
    let is_email = |c: &Claim| sets.is(c.key, KeyType::Email);
    let is_id = |c: &Claim| sets.is(c.key, KeyType::BrazeId) || sets.is(c.key, KeyType::ExternalId);
    let mut found = BTreeMap::new();
    for id in counting.iter().filter(|c| is_id(c)) {
        for email in counting.iter().filter(|c| is_email(c) && c.browser == id.browser) {
            let (from, to) = (id.at.min(email.at), id.at.max(email.at));
            let another = activated
                .iter()
                .any(|c| c.browser == id.browser && is_email(c) && c.key != email.key && (from..=to).contains(&c.at));
            if to.saturating_sub(from) <= sets.policy.introduction_ms
                && !another
                && let Some(fact) = Fact::new(FactClass::Provisional, id.key, email.key)
            {
                earliest(&mut found, fact, to);
            }
        }
    }
    found
}

// 2 degree: at each person key, sort its facts (class, at, fact) and admit the first JOIN[type]; a fact is a candidate
// iff both ends admit it.
fn candidates(sets: &Sets<'_>) -> Vec<Fact> {
    let mut facts: Vec<Fact> = sets.facts.keys().copied().collect();
    facts.sort_by_key(|f| canonical(sets, *f));
    let mut admitted = BTreeSet::new();
    for (key, key_type) in &sets.types {
        let star = facts.iter().filter(|f| f.a == *key || f.b == *key);
        admitted.extend(star.take(limit(&sets.policy.joins, *key_type)).map(|fact| (*key, *fact)));
    }
    facts.retain(|f| admitted.contains(&(f.a, *f)) && admitted.contains(&(f.b, *f)));
    facts
}

/// The canonical order of facts: explicit first, introductions last, then time, then bytes.
fn canonical(sets: &Sets<'_>, fact: Fact) -> (FactClass, Option<i64>, Fact) {
    (fact.class, sets.facts.get(&fact).copied(), fact)
}

/// The components of person keys; each key is in exactly one.
type People = Vec<BTreeSet<KeyHash>>;

// 3 people: each candidate joins two components unless that is refused. Of a class, those between a `braze_id` and an
// `external_id` come first, at whatever time: Braze's profiles have one of each, and may share an address.
fn people(sets: &Sets<'_>, candidates: &[Fact]) -> (People, BTreeMap<Fact, Reason>) {
    let persons = sets.types.keys().copied().filter(|k| sets.is_person(*k));
    let mut people: People = persons.map(|k| BTreeSet::from([k])).collect();
    let (mut refused, mut explicit) = (BTreeMap::new(), Vec::new());
    let of_profile = |a, b| sets.is(a, KeyType::BrazeId) && sets.is(b, KeyType::ExternalId);
    let mut candidates = candidates.to_vec();
    candidates.sort_by_key(|f| (f.class, !(of_profile(f.a, f.b) || of_profile(f.b, f.a)), canonical(sets, *f)));
    for fact in &candidates {
        let (left, right) = (component(&people, fact.a), component(&people, fact.b));
        if left == right {
            continue;
        }
        let provisional = fact.class == FactClass::Provisional;
        let reason = refusal(sets, &left, &right, fact.class, &explicit)
            .or_else(|| if provisional { introduction_refusal(sets, &left, &right, fact) } else { None });
        if let Some(reason) = reason {
            refused.insert(*fact, reason);
            continue;
        }
        people.retain(|c| *c != left && *c != right);
        people.push(&left | &right);
        if fact.class == FactClass::Explicit {
            explicit.push(*fact);
        }
    }
    (people, refused)
}

/// Why two components may not become one; the first reason in this order. `explicit`: the explicit facts that have joined.
fn refusal(
    sets: &Sets<'_>,
    left: &BTreeSet<KeyHash>,
    right: &BTreeSet<KeyHash>,
    class: FactClass,
    explicit: &[Fact],
) -> Option<Reason> {
    let union = left | right;
    let count = |keys: &BTreeSet<KeyHash>, t| keys.iter().filter(|k| sets.is(**k, t)).count();
    let exceeds = |t| count(&union, t) > limit(&sets.policy.per_prospect, t);
    if left.iter().any(|one| right.iter().any(|two| sets.separated.contains(&(*one, *two)))) {
        return Some(Reason::Separated);
    }
    // Both sides must bring one: somebody who has two by an explicit fact may still be given an e-mail. Explicit facts
    // are exempt from this limit and from no other: it is the only one that says what is true and not what we can bear.
    // They come first, when the sides that they join have not got their ids yet: each leaves room for one more.
    let both_have = count(left, KeyType::ExternalId) > 0 && count(right, KeyType::ExternalId) > 0;
    let room = limit(&sets.policy.per_prospect, KeyType::ExternalId)
        .saturating_add(explicit.iter().filter(|fact| union.contains(&fact.a)).count());
    if class != FactClass::Explicit && both_have && count(&union, KeyType::ExternalId) > room {
        return Some(Reason::TwoExternalIds);
    }
    if KEY_TYPES.into_iter().any(|t| t != KeyType::ExternalId && exceeds(t)) {
        return Some(Reason::Limit);
    }
    let internal = union.intersection(&sets.internal).count();
    (internal > 0 && internal < count(&union, KeyType::Email)).then_some(Reason::Internal)
}

/// Why an introduction in particular may not join: it is for an e-mail of which nothing else is known, and for an id
/// without one. (That neither key was introduced before follows: such an e-mail is not alone, such an id has one.)
fn introduction_refusal(
    sets: &Sets<'_>,
    left: &BTreeSet<KeyHash>,
    right: &BTreeSet<KeyHash>,
    fact: &Fact,
) -> Option<Reason> {
    let union = left | right;
    let count = |t| union.iter().filter(|k| sets.is(**k, t)).count();
    let email_side = if sets.is(fact.a, KeyType::Email) { left } else { right };
    if email_side.len() > 1 {
        Some(Reason::EmailKnown)
    } else if count(KeyType::Email) > 1 {
        Some(Reason::TwoEmails)
    } else if count(KeyType::ExternalId) > 1 {
        Some(Reason::TwoExternalIds)
    } else {
        None
    }
}

// 5 owner: per browser, its counting claims of the highest trust by (at, page, key), equal neighbours collapsed.
fn tables(counting: &[&Claim]) -> BTreeMap<KeyHash, Table> {
    let mut tables = BTreeMap::new();
    for browser in counting.iter().map(|c| c.browser).collect::<BTreeSet<_>>() {
        let own = || counting.iter().filter(|c| c.browser == browser);
        let highest = own().map(|c| c.trust).max();
        let mut governing: Vec<_> = own().filter(|c| Some(c.trust) == highest).collect();
        governing.sort_by_key(|c| (c.at, &c.page, c.key));
        let mut table: Table = governing.iter().map(|c| (c.at, c.key)).collect();
        table.dedup_by_key(|(_, key)| *key);
        tables.insert(browser, table);
    }
    tables
}

/// Whose a browser's event of this time is: a person key, or the browser itself.
fn owner(tables: &BTreeMap<KeyHash, Table>, browser: KeyHash, at: i64) -> KeyHash {
    let Some(table) = tables.get(&browser) else { return browser };
    let last = table.iter().rev().find(|(from, _)| *from <= at);
    last.or(table.first()).map_or(browser, |(_, key)| *key)
}

// 6 prospects: a component's events, and those of browsers for the time that they are its. What remains with the
// browser is its anonymous prospect. 7 id: see `first_seen`.
fn prospects(
    sets: &Sets<'_>,
    people: &People,
    tables: &BTreeMap<KeyHash, Table>,
    first: &BTreeMap<KeyHash, i64>,
) -> BTreeMap<String, NaiveProspect> {
    let home = |(rec, at, _): &EventRef| if sets.is_person(*rec) { *rec } else { owner(tables, *rec, *at) };
    let mut prospects = BTreeMap::new();
    let anonymous = sets.types.keys().filter(|k| !sets.is_person(**k)).map(|k| BTreeSet::from([*k]));
    for keys in people.iter().cloned().chain(anonymous) {
        let events: BTreeSet<EventRef> = sets.events.iter().filter(|e| keys.contains(&home(e))).cloned().collect();
        let browsers: BTreeSet<KeyHash> = tables
            .iter()
            .filter(|(_, table)| table.iter().any(|(_, key)| keys.contains(key)))
            .map(|(browser, _)| *browser)
            .collect();
        let seen = |k: &KeyHash| (first.get(k).copied().unwrap_or(i64::MAX), sets.types.get(k).copied(), *k);
        let founder = keys.iter().copied().min_by_key(seen);
        if let Some(founder) = founder.filter(|_| !events.is_empty()) {
            prospects.insert(founder.prospect_id(), NaiveProspect { founder, keys, browsers, events });
        }
    }
    prospects
}

// 7 id: when each key appeared: in its earliest strong or explicit candidate, admitted claim naming it, or event
// recorded under it. Only candidates, for a cluster knows no others; a claim that was undone did name the key.
fn first_seen(sets: &Sets<'_>, candidates: &[Fact], admitted: &[&Claim]) -> BTreeMap<KeyHash, i64> {
    let mut first = BTreeMap::new();
    for fact in candidates.iter().filter(|f| f.class < FactClass::Provisional) {
        if let Some(at) = sets.facts.get(fact) {
            earliest(&mut first, fact.a, *at);
            earliest(&mut first, fact.b, *at);
        }
    }
    for claim in admitted {
        earliest(&mut first, claim.key, claim.at);
    }
    for (rec, at, _) in &sets.events {
        earliest(&mut first, *rec, *at);
    }
    first
}

fn fact_state(
    fact: &Fact,
    sets: &Sets<'_>,
    candidates: &[Fact],
    refused: &BTreeMap<Fact, Reason>,
) -> (State, Option<Reason>) {
    // The very two that a person separated: undone. Others that would bring them together: a conflict.
    if sets.separated.contains(&(fact.a, fact.b)) {
        (State::Undone, Some(Reason::Separated))
    } else if !candidates.contains(fact) {
        (State::Conflict, Some(Reason::Limit))
    } else {
        refused.get(fact).map_or((State::Active, None), |reason| (State::Conflict, Some(*reason)))
    }
}

fn claim_state(
    claim: &Claim,
    sets: &Sets<'_>,
    admitted: &[&Claim],
    counting: &[&Claim],
    people: &People,
    tables: &BTreeMap<KeyHash, Table>,
) -> (State, Option<Reason>) {
    if sets.separated.contains(&(claim.browser, claim.key)) {
        return (State::Undone, Some(Reason::Separated));
    }
    if !claim.is_activated() {
        return (State::Pending, Some(Reason::NoHuman));
    }
    if !admitted.contains(&claim) {
        return (State::Conflict, Some(Reason::Limit));
    }
    // Lower than the highest, and its key is in another prospect than the one that has the browser at that time.
    let higher = counting.iter().any(|c| c.browser == claim.browser && c.trust > claim.trust);
    let holder = component(people, owner(tables, claim.browser, claim.at));
    if higher && !holder.contains(&claim.key) {
        return (State::Suspended, Some(Reason::Superseded));
    }
    (State::Active, None)
}

// Of a pair the latest decision counts, at one and the same time a merge.
fn decisions(said: &BTreeMap<&str, Said>) -> BTreeMap<String, NaiveDecision> {
    let all = said.iter().map(|(id, (at, by, merges, pairs))| {
        let otherwise: Vec<&Said> =
            said.values().filter(|(later, _, other, _)| other != merges && (later, other) > (at, merges)).collect();
        let overruled = |(one, two): &(KeyHash, KeyHash)| {
            otherwise.iter().any(|(.., pairs)| pairs.contains(&(*one, *two)) || pairs.contains(&(*two, *one)))
        };
        let pairs = pairs.iter().map(|pair| (*pair, overruled(pair))).collect();
        ((*id).to_owned(), NaiveDecision { by: by.clone(), merges: *merges, pairs })
    });
    all.collect()
}

/// The component of a key.
fn component(people: &People, key: KeyHash) -> BTreeSet<KeyHash> {
    people.iter().find(|c| c.contains(&key)).cloned().unwrap_or_default()
}

fn earliest<K: Ord>(times: &mut BTreeMap<K, i64>, key: K, at: i64) {
    let first = times.entry(key).or_insert(at);
    *first = (*first).min(at);
}

/// A type without an entry has no limit.
fn limit(limits: &Limits, key_type: KeyType) -> usize {
    limits.get(&key_type).map_or(usize::MAX, |n| size(*n))
}

fn size(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
