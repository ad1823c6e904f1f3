//! What a prospect shows of its evidence, against the naive function: neither less nor more, and nothing that differs.

use super::evidence::id;
use super::read::Target;
use super::view::{End, Identity};
use crate::identity::naive::{NaiveProspect, World};
use crate::identity::policy::Policy;
use crate::identity::{EvidenceRef, Reason, State};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType};
use std::collections::{BTreeMap, BTreeSet};

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

/// Of one key: how many facts found all its places taken, and how many browsers. `None` if that can't be read off the
/// states: an undone claim does not show whether it would be pending.
fn refused(key: KeyHash, key_type: KeyType, world: &World, policy: &Policy) -> Option<(u64, u64)> {
    let mut facts = 0_usize;
    let mut browsers = BTreeSet::new();
    for (evidence, (state, _)) in &world.evidence {
        match evidence {
            EvidenceRef::Fact(fact) => facts += usize::from(fact.a == key || fact.b == key),
            EvidenceRef::Claim { key: claimed, .. } if *claimed == key && *state == State::Undone => return None,
            EvidenceRef::Claim { browser, key: claimed, .. } if *claimed == key && *state != State::Pending => {
                browsers.insert(*browser);
            }
            EvidenceRef::Claim { .. } => {}
        }
    }
    let facts = facts.saturating_sub(policy.joins_max(key_type));
    Some((facts as u64, (browsers.len() as u64).saturating_sub(policy.browsers.into())))
}

/// Gathers the identity of every prospect and compares it.
pub(super) fn compare_evidence(
    world: &World,
    (key, policy): (&DeploymentKey, &Policy),
    context: &str,
    gather: impl Fn(Target) -> Identity,
) {
    for (name, prospect) in &world.prospects {
        let identity = gather(Target::id(prospect.founder));
        let mut shown = BTreeMap::new();
        for piece in identity.evidence.into_iter().filter(|piece| piece.kind != "decision") {
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

        let limits = identity.limits.into_iter();
        let limits: BTreeMap<_, _> =
            limits.map(|limit| (limit.identifier, (limit.facts_refused, limit.browsers_refused))).collect();
        let keys = identity.identifiers.iter().map(|shown| {
            let key_type = KeyType::from_slug(&shown.key_type).unwrap();
            Identifier::new(key_type, "", &shown.value).unwrap()
        });
        for ident in keys.filter(|ident| !ident.key_type().is_browser()) {
            let Some(expected) = refused(key.hash(&ident), ident.key_type(), world, policy) else { continue };
            let shown = limits.get(&End::of(&ident)).copied().unwrap_or_default();
            assert_eq!(shown, expected, "{context}: what the limits of {name} refused at {ident:?}");
        }
    }
}
