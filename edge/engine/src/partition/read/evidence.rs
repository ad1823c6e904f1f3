//! Why these are one person, and why not more: all evidence around a prospect, with what became of it.

use super::super::Partition;
use super::super::cluster::Cluster;
use super::super::message::{Claim, Standing};
use super::super::people::people;
use super::super::view::{End, Evidence, Identity, Time};
use super::decided::evidence_of_decisions;
use super::{Looked, Target};
use crate::event::Source;
use crate::identity::{Fact, FactClass, Reason, State, Trust};
use crate::key::{Identifier, KeyHash};
use crate::store::{Store, StoreError};
use data_encoding::HEXLOWER;
use std::collections::BTreeSet;

impl<S: Store> Partition<S> {
    /// Why these are one person, and why not more. The browsers named are other partitions': they know of more claims.
    ///
    /// # Errors
    /// When the store fails.
    pub fn identity(&self, target: Target) -> Result<Looked<(Identity, Vec<KeyHash>)>, StoreError> {
        self.find(target)?.and_then(|found| {
            let (mut evidence, browsers) = match &found.cluster {
                Some(cluster) => self.evidence_of(cluster, &found.keys)?,
                None => (self.claims_of(found.founder)?, Vec::new()),
            };
            evidence.sort_by(|one, other| (one.at, &one.id).cmp(&(other.at, &other.id)));
            Ok(Looked::Found((Identity { identifiers: self.identifiers(&found), evidence }, browsers)))
        })
    }

    /// Facts and claims that name a key of the prospect or a browser of its, whatever became of them.
    fn evidence_of(
        &self,
        cluster: &Cluster,
        keys: &BTreeSet<KeyHash>,
    ) -> Result<(Vec<Evidence>, Vec<KeyHash>), StoreError> {
        let refused = people(cluster, &self.policy).refused;
        let separated = cluster.separated();
        let candidates: BTreeSet<Fact> = cluster.candidates().into_iter().map(|(fact, _)| fact).collect();
        let mut seen = BTreeSet::new();
        let mut evidence = Vec::new();
        for flag in cluster.flags.values() {
            let fact = flag.fact;
            if !(keys.contains(&fact.a) || keys.contains(&fact.b)) || !seen.insert(fact) {
                continue;
            }
            let Some(own) = cluster.ident(flag.end).filter(|_| !flag.withdrawn) else { continue };
            let (from, to) = if flag.end == fact.a { (own, &flag.other) } else { (&flag.other, own) };
            let undone = separated.contains(&(fact.a, fact.b));
            let reason = match (undone, candidates.contains(&fact)) {
                (true, _) => Some(Reason::Separated),
                (false, true) => refused.get(&fact).copied(),
                (false, false) => Some(Reason::Limit),
            };
            let state = match (undone, reason) {
                (true, _) => State::Undone,
                (false, Some(_)) => State::Conflict,
                (false, None) => State::Active,
            };
            evidence.push(Evidence {
                id: fact_id(fact),
                kind: if fact.class == FactClass::Provisional { "introduction" } else { "fact" },
                from: End::of(from),
                to: End::of(to),
                source: flag.source.map_or("form", Source::slug),
                trust: if fact.class == FactClass::Provisional { Trust::Medium.slug() } else { Trust::Strong.slug() },
                state: state.slug(),
                reason: reason.map(|reason| reason.words().to_owned()),
                at: Time(flag.at),
            });
        }
        for (claim, _, admitted) in cluster.claims.values().filter(|(claim, _, _)| keys.contains(&claim.id.key)) {
            let Some(to) = cluster.ident(claim.id.key) else { continue };
            evidence.extend(claim_evidence(claim, *admitted, to, are_one(cluster, claim.holder, claim.id.key)));
        }
        let own = cluster.tables.values().filter(|table| keys.contains(&table.owner(i64::MAX)));
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            own.map(|table| table.browser).partition(|browser| self.holds(*browser));
        for browser in here {
            // A browser's own record knows its claims on other people, too.
            evidence.extend(self.claims_of(browser)?);
        }
        evidence.extend(evidence_of_decisions(cluster, keys));
        let mut known = BTreeSet::new();
        evidence.retain(|piece: &Evidence| known.insert(piece.id.clone()));
        Ok((evidence, elsewhere))
    }

    /// All claims of a browser, those on other people too.
    ///
    /// # Errors
    /// When the store fails.
    pub fn claims_of(&self, own: KeyHash) -> Result<Vec<Evidence>, StoreError> {
        let Some((node, _)) = self.load_node(own)? else { return Ok(Vec::new()) };
        let mut evidence = Vec::new();
        if let Some(browser) = &node.body.browser {
            for (claim, ident) in browser.claims() {
                let Some(ident) = ident else { continue };
                let root = self.root(claim.id.key)?;
                let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
                let same = are_one(&cluster, claim.holder, claim.id.key);
                evidence.extend(claim_evidence(claim, !browser.refused(&claim.id), ident, same));
            }
        }
        Ok(evidence)
    }
}

/// `same`: the key claimed is of the prospect that had the browser then.
fn claim_evidence(claim: &Claim, admitted: bool, to: &Identifier, same: bool) -> Option<Evidence> {
    let id = &claim.id;
    let (state, reason) = match (claim.standing, admitted) {
        (Standing::Withdrawn, _) => return None,
        (Standing::Undone, _) => (State::Undone, Some(Reason::Separated)),
        (_, false) => (State::Conflict, Some(Reason::Limit)),
        (Standing::Pending, _) => (State::Pending, Some(Reason::NoHuman)),
        (Standing::Suspended, _) if !same => (State::Suspended, Some(Reason::Superseded)),
        // One of lower trust that says the same as the one that governs.
        (Standing::Suspended | Standing::Active, _) => (State::Active, None),
    };
    let (from, key) = (HEXLOWER.encode(&id.browser.0), HEXLOWER.encode(&id.key.0));
    Some(Evidence {
        id: format!("c_{from}_{key}_{}_{}", id.trust.slug(), id.page),
        kind: "claim",
        from: End::of(&claim.from),
        to: End::of(to),
        source: claim.source.slug(),
        trust: id.trust.slug(),
        state: state.slug(),
        reason: reason.map(|reason| reason.words().to_owned()),
        at: Time(claim.at),
    })
}

/// Whether two person keys are one prospect's.
fn are_one(cluster: &Cluster, one: KeyHash, other: KeyHash) -> bool {
    cluster.prospects.values().any(|keys| keys.contains(&one) && keys.contains(&other))
}

fn fact_id(fact: Fact) -> String {
    let class = match fact.class {
        FactClass::Explicit => 'e',
        FactClass::Strong => 's',
        FactClass::Provisional => 'p',
    };
    format!("f{class}_{}_{}", HEXLOWER.encode(&fact.a.0), HEXLOWER.encode(&fact.b.0))
}
