//! What people decided about a prospect, as evidence.

use super::super::cluster::Cluster;
use super::super::decision::Decided;
use super::super::view::{End, Evidence, Time};
use crate::event::Source;
use crate::identity::{State, Trust};
use crate::key::{Identifier, KeyHash};
use std::collections::BTreeSet;

/// The decisions that name a key of a prospect: each key of their first side, and whom it was joined to or parted from.
pub(super) fn evidence_of_decisions(cluster: &Cluster, keys: &BTreeSet<KeyHash>) -> Vec<Evidence> {
    let named = |key: &KeyHash| {
        cluster.ident(*key).or_else(|| cluster.tables.get(key).map(|table| &table.ident)).map(|ident| (*key, ident))
    };
    let mut evidence = Vec::new();
    for decided in cluster.decided.values() {
        let sides = || decided.left.iter().chain(&decided.right);
        let Some(other) = decided.right.iter().find_map(named) else { continue };
        if sides().any(|key| keys.contains(key)) {
            let each = decided.left.iter().filter_map(named);
            evidence.extend(each.enumerate().map(|(place, one)| piece(cluster, decided, place, one, other)));
        }
    }
    evidence
}

fn piece(
    cluster: &Cluster,
    decided: &Decided,
    place: usize,
    (one, from): (KeyHash, &Identifier),
    (other, to): (KeyHash, &Identifier),
) -> Evidence {
    let about = |later: &&Decided| later.others_of(one).any(|key| key == other);
    let latest = cluster.decided.values().filter(about).map(Decided::rank).max();
    let counts = latest.is_none_or(|latest| latest <= decided.rank());
    let reason = match (counts, decided.merges) {
        (false, _) => "a later decision says otherwise",
        (true, true) => "a colleague has merged the two",
        (true, false) => "a colleague has separated the two",
    };
    Evidence {
        id: format!("d_{}_{place}", decided.id),
        kind: "decision",
        from: End::of(from),
        to: End::of(to),
        source: Source::Api.slug(),
        trust: Trust::Strong.slug(),
        state: if counts { State::Active.slug() } else { State::Undone.slug() },
        reason: Some(reason.to_owned()),
        at: Time(decided.at),
    }
}
