//! Why these are one person, and why not more: what this partition knows of it, and whom else to ask.

use super::super::Partition;
use super::super::cluster::Cluster;
use super::super::evidence::{Gathering, Piece, Question, Refused, Told};
use super::super::people::people;
use super::decided::{evidence_of_decisions, facts_of_decisions};
use super::{Looked, Target};
use crate::event::Source;
use crate::identity::{EvidenceRef, Fact, FactClass, Reason, State, Trust};
use crate::key::KeyHash;
use crate::store::{Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};

impl<S: Store> Partition<S> {
    /// Why these are one person, and why not more: whatever names a key or a browser of the prospect, and what became of
    /// it, as far as this partition knows.
    ///
    /// # Errors
    /// When the store fails.
    pub fn identity(&self, target: Target) -> Result<Looked<Gathering>, StoreError> {
        self.find(target)?.and_then(|found| {
            let identifiers = self.identifiers(&found);
            let mut gathering = match &found.cluster {
                Some(cluster) => Gathering {
                    decisions: {
                        let made = facts_of_decisions(cluster);
                        evidence_of_decisions(cluster, &found.keys, &self.facts_of(cluster, |fact| made.contains(fact)))
                    },
                    pieces: self.facts_of(cluster, |fact| found.keys.contains(&fact.a) || found.keys.contains(&fact.b)),
                    open: found
                        .keys
                        .iter()
                        .copied()
                        .map(Question::Limits)
                        .chain(claims_of(cluster, &found.keys))
                        .collect(),
                    identifiers,
                    keys: found.keys,
                    limits: Vec::new(),
                },
                None => Gathering { open: vec![Question::Claims(found.founder)], identifiers, ..Gathering::default() },
            };
            loop {
                let (here, elsewhere): (Vec<_>, Vec<_>) =
                    gathering.questions().into_iter().partition(|question| self.holds(question.at()));
                gathering.open = elsewhere;
                if here.is_empty() {
                    return Ok(Looked::Found(gathering));
                }
                for question in here {
                    gathering.learn(self.tell(&question)?);
                }
            }
        })
    }

    /// Answers a question that gathering a prospect's identity came to.
    ///
    /// # Errors
    /// When the store fails.
    pub fn tell(&self, question: &Question) -> Result<Told, StoreError> {
        Ok(match question {
            Question::Claims(browser) => {
                let node = self.load_node(*browser)?.map(|(node, _)| node.body);
                let decisions =
                    node.as_ref().and_then(|body| Some(body.browser.as_ref()?.decisions(*browser, &body.ident)));
                Told::Browser(self.claims_of(*browser)?, decisions.unwrap_or_default())
            }
            Question::ClaimsOn(browser, keys) => {
                let mut claims = self.claims_of(*browser)?;
                claims.retain(|piece| matches!(&piece.evidence, EvidenceRef::Claim { key, .. } if keys.contains(key)));
                Told::Claims(claims)
            }
            Question::Limits(key) => {
                let refused = self.load_node(*key)?.map(|(node, _)| {
                    let ident = node.body.ident;
                    let (facts, browsers) = node.body.star.refused(ident.key_type(), &self.policy);
                    Refused { ident, facts, browsers }
                });
                Told::Limits(refused.filter(|refused| refused.facts + refused.browsers > 0))
            }
            Question::AreOne { at, keys } => {
                let root = self.root(*at)?;
                if !self.holds(root) {
                    return Ok(Told::Elsewhere(Question::AreOne { at: root, keys: *keys }));
                }
                let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
                let are_one = |of: &BTreeSet<KeyHash>| of.contains(&keys.0) && of.contains(&keys.1);
                Told::AreOne(*keys, cluster.prospects.values().any(are_one))
            }
        })
    }

    fn claims_of(&self, own: KeyHash) -> Result<Vec<Piece>, StoreError> {
        let Some((node, _)) = self.load_node(own)? else { return Ok(Vec::new()) };
        let claims = node.body.browser.map(|browser| browser.claims(own, node.no, &node.body.ident));
        Ok(claims.unwrap_or_default())
    }

    /// The facts that are asked for, whatever became of them.
    fn facts_of(&self, cluster: &Cluster, wanted: impl Fn(&Fact) -> bool) -> Vec<Piece> {
        if !cluster.flags.values().any(|flag| wanted(&flag.fact)) {
            return Vec::new();
        }
        let refused = people(cluster, &self.policy).refused;
        let separated = cluster.separated();
        let candidates: BTreeSet<Fact> = cluster.candidates().into_iter().map(|(fact, _)| fact).collect();
        let mut seen = BTreeSet::new();
        let mut pieces = Vec::new();
        for flag in cluster.flags.values() {
            let fact = flag.fact;
            if !wanted(&fact) || !seen.insert(fact) {
                continue;
            }
            let Some(own) = cluster.ident(flag.end) else { continue };
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
            pieces.push(Piece {
                evidence: EvidenceRef::Fact(fact),
                from: from.clone(),
                to: to.clone(),
                source: flag.source.unwrap_or(Source::Form),
                trust: if fact.class == FactClass::Provisional { Trust::Medium } else { Trust::Strong },
                at: flag.at,
                state,
                reason,
                outranked_by: None,
            });
        }
        pieces
    }
}

/// Who knows the claims around some keys: the browsers that claim them, and those that are the prospect's now, which may
/// claim other people, too.
fn claims_of(cluster: &Cluster, keys: &BTreeSet<KeyHash>) -> Vec<Question> {
    let own = cluster.tables.values().filter(|table| keys.contains(&table.owner(i64::MAX)));
    let own: BTreeSet<KeyHash> = own.map(|table| table.browser).collect();
    let mut others: BTreeMap<KeyHash, BTreeSet<KeyHash>> = BTreeMap::new();
    for key in keys {
        for claimant in cluster.claimants(*key).iter().filter(|claimant| !own.contains(&claimant.claims.browser)) {
            others.entry(claimant.claims.browser).or_default().insert(*key);
        }
    }
    let others = others.into_iter().map(|(browser, keys)| Question::ClaimsOn(browser, keys));
    own.into_iter().map(Question::Claims).chain(others).collect()
}
