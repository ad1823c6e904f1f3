//! What people decided, as keys and clusters carry it: by hashes alone, so that it may outlive an erasure.

use crate::event::{ClaimInput, Source};
use crate::identity::policy::Policy;
use crate::identity::{Decision, EvidenceRef, Fact, FactClass, Trust};
use crate::key::{DeploymentKey, Identifier, KeyHash};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

use super::message::{Ask, Message, Ranked};

/// A decision on all pairs of two sides: that they are not to be one, or may be again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Decided {
    /// The decision's id.
    #[n(0)]
    pub id: String,
    /// The server's time, ms.
    #[n(1)]
    pub at: i64,
    /// Whether it brings the two sides together.
    #[n(2)]
    pub merges: bool,
    /// The keys of one side.
    #[n(3)]
    pub left: BTreeSet<KeyHash>,
    /// The keys of the other.
    #[n(4)]
    pub right: BTreeSet<KeyHash>,
    /// Of a merge, what brings the two together: a fact between founders, or a browser's claim on one.
    #[n(5)]
    pub by: Option<EvidenceRef>,
}

impl Decided {
    /// Of whom it decides.
    pub fn pairs(&self) -> impl Iterator<Item = (KeyHash, KeyHash)> {
        let all = self.left.iter().flat_map(|one| self.right.iter().map(|other| (*one, *other)));
        // In both sides it cannot be meant: nobody is separated from themselves.
        all.filter(|(one, other)| one != other)
    }

    /// What it says of one key: the others that it is about.
    pub fn others_of(&self, key: KeyHash) -> impl Iterator<Item = KeyHash> {
        self.pairs().filter_map(move |(one, other)| match (one == key, other == key) {
            (true, _) => Some(other),
            (_, true) => Some(one),
            _ => None,
        })
    }

    /// Whether a later one of these decisions says otherwise of a pair.
    #[must_use]
    pub fn is_overruled<'a>(
        &self,
        (one, other): (KeyHash, KeyHash),
        others: impl IntoIterator<Item = &'a Decided>,
    ) -> bool {
        let later = others.into_iter().filter(|later| later.merges != self.merges && later.rank() > self.rank());
        later.flat_map(Decided::pairs).any(|pair| pair == (one, other) || pair == (other, one))
    }

    /// What it says of one key alone.
    #[must_use]
    pub fn of(&self, key: KeyHash) -> Decided {
        Decided { left: [key].into(), right: self.others_of(key).collect(), ..self.clone() }
    }

    /// How it stands against another decision on the same pair: the latest counts, at one and the same time a merge.
    #[must_use]
    pub fn rank(&self) -> (i64, bool) {
        (self.at, self.merges)
    }
}

/// The pairs that are separated by all these decisions together, both ways round.
#[must_use]
pub fn separated<'a>(decisions: impl IntoIterator<Item = &'a Decided>) -> BTreeSet<(KeyHash, KeyHash)> {
    let mut latest: BTreeMap<(KeyHash, KeyHash), (i64, bool)> = BTreeMap::new();
    for decided in decisions {
        for (one, other) in decided.pairs() {
            let rank = latest.entry((one.min(other), one.max(other))).or_insert(decided.rank());
            *rank = (*rank).max(decided.rank());
        }
    }
    let apart = latest.into_iter().filter(|(_, (_, merges))| !merges);
    apart.flat_map(|((one, other), _)| [(one, other), (other, one)]).collect()
}

/// Whom a decision must be told, and what a merge says beside lifting separations.
#[must_use]
pub fn messages(decision: &Decision, key: &DeploymentKey, policy: &Policy) -> Vec<Message> {
    let (id, at, merged, left, right) = match decision {
        Decision::Separate { id, at, left, right } => (id, *at, None, left, right),
        Decision::Merge { id, at, keep, other, lifts: (left, right) } => (id, *at, Some((keep, other)), left, right),
    };
    let hashes = |side: &[Identifier]| -> BTreeMap<KeyHash, Identifier> {
        let keys = side.iter().filter(|ident| !policy.is_blocked(ident));
        keys.map(|ident| (key.hash(ident), ident.clone())).collect()
    };
    let joined = merged.filter(|(keep, other)| !policy.is_blocked(keep) && !policy.is_blocked(other));
    let (left, right) = (hashes(left), hashes(right));
    let decided = Decided {
        id: id.clone(),
        at,
        merges: merged.is_some(),
        left: left.keys().copied().collect(),
        right: right.keys().copied().collect(),
        by: joined.and_then(|(keep, other)| evidence_of(id, keep, other, key)),
    };
    let sides: BTreeMap<KeyHash, Identifier> = left.into_iter().chain(right).collect();
    let heeded = sides.into_iter().map(|(key, ident)| Message { key, ask: Ask::Heed(decided.clone(), ident) });
    heeded.chain(joined.into_iter().flat_map(|(keep, other)| join(id, at, keep, other, key))).collect()
}

/// What a merge of these two is.
fn evidence_of(id: &str, keep: &Identifier, other: &Identifier, key: &DeploymentKey) -> Option<EvidenceRef> {
    let claim = |browser, person| {
        let (browser, key) = (key.hash(browser), key.hash(person));
        Some(EvidenceRef::Claim { browser, key, trust: Trust::Strong, page: id.to_owned() })
    };
    match (keep.key_type().is_browser(), other.key_type().is_browser()) {
        (true, true) => None,
        (true, false) => claim(keep, other),
        (false, true) => claim(other, keep),
        (false, false) => Fact::new(FactClass::Explicit, key.hash(keep), key.hash(other)).map(EvidenceRef::Fact),
    }
}

/// An explicit fact between two persons' founders; a strong claim if one of them is a browser. Two browsers: nothing, for
/// there is no person to claim.
fn join(id: &str, at: i64, keep: &Identifier, other: &Identifier, key: &DeploymentKey) -> Vec<Message> {
    let claim = |browser: &Identifier, person: &Identifier| {
        let claim = ClaimInput {
            browser: browser.clone(),
            key: person.clone(),
            trust: Trust::Strong,
            source: Source::Api,
            page: id.to_owned(),
            human: true,
        };
        vec![Message { key: key.hash(browser), ask: Ask::MakeClaim(claim, at) }]
    };
    match (keep.key_type().is_browser(), other.key_type().is_browser()) {
        (true, true) => Vec::new(),
        (true, false) => claim(keep, other),
        (false, true) => claim(other, keep),
        (false, false) => {
            let Some(fact) = Fact::new(FactClass::Explicit, key.hash(keep), key.hash(other)) else { return Vec::new() };
            let ends = [(keep, other), (other, keep)];
            let ranked = ends.into_iter().map(|(target, other)| {
                let (target, other) = (target.clone(), other.clone());
                let key = key.hash(&target);
                Message { key, ask: Ask::RankFact(Ranked { fact, at, source: Source::Api, target, other }) }
            });
            ranked.collect()
        }
    }
}
