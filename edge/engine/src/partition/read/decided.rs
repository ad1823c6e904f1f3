//! What people decided about a prospect, as evidence.

use super::super::cluster::Cluster;
use super::super::decision::Decided;
use super::super::evidence::{About, DecisionPiece, Piece};
use crate::identity::{EvidenceRef, Fact};
use crate::key::{Identifier, KeyHash};
use std::collections::BTreeSet;

/// The decisions that name a key of a prospect: a merge by the two that it joined, a separation by a pair with one of these
/// keys, one that still counts if there is any. Of what was decided before an erasure nothing is shown. `facts` are at
/// least those that merges made, as far as they are known here.
pub(super) fn evidence_of_decisions(
    cluster: &Cluster,
    keys: &BTreeSet<KeyHash>,
    facts: &[Piece],
) -> Vec<DecisionPiece> {
    let is_about = |decided: &&Decided| {
        let mut keys = keys.iter().filter(|key| decided.others_of(**key).next().is_some());
        keys.any(|key| named(cluster, decided, *key).is_some())
    };
    let about = cluster.decided.values().filter(is_about);
    about.filter_map(|decided| show(cluster, keys, facts, decided)).collect()
}

fn show(cluster: &Cluster, keys: &BTreeSet<KeyHash>, facts: &[Piece], decided: &Decided) -> Option<DecisionPiece> {
    let overruled = |pair| decided.is_overruled(pair, cluster.decided.values());
    match &decided.by {
        Some(EvidenceRef::Fact(fact)) => {
            let piece = facts.iter().find(|piece| piece.evidence == EvidenceRef::Fact(*fact))?;
            let is_gone = |key| cluster.keys.contains_key(&key) && named(cluster, decided, key).is_none();
            if is_gone(fact.a) || is_gone(fact.b) || piece.from.is_erased() || piece.to.is_erased() {
                return None;
            }
            let about = About::Two(piece.from.clone(), piece.to.clone(), piece.reason);
            Some(DecisionPiece::of(decided, overruled((fact.a, fact.b)), about))
        }
        // Whoever has neither of the two need not know what was decided on them later: then the browser tells.
        Some(claim @ EvidenceRef::Claim { browser, key, .. }) => cluster
            .keys
            .contains_key(key)
            .then(|| DecisionPiece::of(decided, overruled((*browser, *key)), About::Claim(claim.clone()))),
        None if decided.merges => None,
        None => {
            let pairs = decided.pairs().filter(|(one, other)| keys.contains(one) || keys.contains(other));
            let shown = pairs.filter_map(|(one, other)| {
                let (from, to) = (named(cluster, decided, one)?, named(cluster, decided, other)?);
                Some((overruled((one, other)), from, to))
            });
            let (overruled, from, to) = shown.min()?;
            Some(DecisionPiece::of(decided, overruled, About::Two(from.clone(), to.clone(), None)))
        }
    }
}

/// The facts by which people joined keys of a cluster.
pub(super) fn facts_of_decisions(cluster: &Cluster) -> BTreeSet<Fact> {
    let by = cluster.decided.values().filter_map(|decided| decided.by.as_ref());
    by.filter_map(|by| if let EvidenceRef::Fact(fact) = by { Some(*fact) } else { None }).collect()
}

/// What a key is of which was decided, unless it was erased since.
fn named<'c>(cluster: &'c Cluster, decided: &Decided, key: KeyHash) -> Option<&'c Identifier> {
    let (ident, erased) = match (cluster.keys.get(&key), cluster.tables.get(&key)) {
        (Some(info), _) => (&info.ident, info.erased),
        (None, Some(table)) => (&table.ident, table.gone.iter().map(|gone| gone.erased).max()),
        (None, None) => return None,
    };
    (!ident.is_erased() && erased.is_none_or(|erased| decided.at > erased)).then_some(ident)
}
