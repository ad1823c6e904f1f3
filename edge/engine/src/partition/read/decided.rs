//! What people decided about a prospect, as evidence.

use super::super::cluster::Cluster;
use super::super::decision::Decided;
use super::super::evidence::DecisionPiece;
use crate::key::{Identifier, KeyHash};
use std::collections::BTreeSet;

/// The decisions that name a key of a prospect: each key of their first side, and whom it was joined to or parted from.
pub(super) fn evidence_of_decisions(cluster: &Cluster, keys: &BTreeSet<KeyHash>) -> Vec<DecisionPiece> {
    let named = |key: &KeyHash| {
        let ident = cluster.ident(*key).or_else(|| cluster.tables.get(key).map(|table| &table.ident));
        ident.filter(|ident| !ident.is_erased()).map(|ident| (*key, ident))
    };
    let mut pieces = Vec::new();
    for decided in cluster.decided.values() {
        let mut sides = decided.left.iter().chain(&decided.right);
        let Some(other) = decided.right.iter().find_map(named) else { continue };
        if sides.any(|key| keys.contains(key)) {
            let each = decided.left.iter().filter_map(named).enumerate();
            pieces.extend(each.map(|(place, one)| piece(cluster, decided, place, one, other)));
        }
    }
    pieces
}

fn piece(
    cluster: &Cluster,
    decided: &Decided,
    place: usize,
    (one, from): (KeyHash, &Identifier),
    (other, to): (KeyHash, &Identifier),
) -> DecisionPiece {
    let about = |later: &&Decided| later.others_of(one).any(|key| key == other);
    let latest = cluster.decided.values().filter(about).map(Decided::rank).max();
    DecisionPiece {
        id: format!("d_{}_{place}", decided.id),
        from: from.clone(),
        to: to.clone(),
        at: decided.at,
        merges: decided.merges,
        counts: latest.is_none_or(|latest| latest <= decided.rank()),
    }
}
