//! What a prospect shows of its evidence, against the naive function: neither less nor more, and nothing that differs.

use super::evidence::id;
use super::read::Target;
use super::view::Identity;
use crate::identity::naive::{NaiveProspect, World};
use crate::identity::{EvidenceRef, Reason};
use std::collections::BTreeMap;

/// Facts and claims that name one of its keys, and all claims of the browsers that are its own now.
fn concerns(evidence: &EvidenceRef, prospect: &NaiveProspect, world: &World) -> bool {
    match evidence {
        EvidenceRef::Fact(fact) => prospect.keys.contains(&fact.a) || prospect.keys.contains(&fact.b),
        EvidenceRef::Claim { key, browser, .. } => {
            let owner = world.tables.get(browser).and_then(|table| table.last()).map_or(*browser, |(_, key)| *key);
            prospect.keys.contains(key) || prospect.keys.contains(&owner)
        }
    }
}

/// Gathers the identity of every prospect and compares it.
pub(super) fn compare_evidence(world: &World, context: &str, gather: impl Fn(Target) -> Identity) {
    for (name, prospect) in &world.prospects {
        let mut shown = BTreeMap::new();
        let evidence = gather(Target::id(prospect.founder)).evidence.into_iter();
        for piece in evidence.filter(|piece| piece.kind != "decision") {
            let state = (piece.state.to_owned(), piece.reason);
            assert_eq!(shown.insert(piece.id.clone(), state), None, "{context}: {} twice", piece.id);
        }
        let concerning = world.evidence.iter().filter(|(evidence, _)| concerns(evidence, prospect, world));
        let expected: BTreeMap<_, _> = concerning
            .map(|(evidence, (state, reason))| {
                (id(evidence), (state.slug().to_owned(), reason.map(|reason| Reason::words(reason).to_owned())))
            })
            .collect();
        assert_eq!(shown, expected, "{context}: the evidence of {name}");
    }
}
