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

/// Compares what is shown of one prospect's identity.
pub(super) fn check_evidence(
    world: &World,
    (key, policy): (&DeploymentKey, &Policy),
    prospect: &NaiveProspect,
    identity: Identity,
) -> Result<(), String> {
    let mut shown = BTreeMap::new();
    // The naive function has no evidence of decisions: it shows them by what they undo.
    for piece in identity.evidence.into_iter().filter(|piece| piece.kind != "decision") {
        let state = (piece.state.to_owned(), piece.reason);
        if shown.insert(piece.id.clone(), state).is_some() {
            return Err(format!("{} is shown twice", piece.id));
        }
    }
    let concerning = world.evidence.iter().filter(|(evidence, _)| concerns(evidence, prospect, world));
    let expected: BTreeMap<_, _> = concerning
        .map(|(evidence, (state, reason))| {
            (id(evidence), (state.slug().to_owned(), reason.map(|reason| Reason::words(reason).to_owned())))
        })
        .collect();
    if shown != expected {
        return Err(format!("evidence: got {shown:?}\n  want {expected:?}"));
    }

    let limits = identity.limits.into_iter();
    let limits: BTreeMap<_, _> =
        limits.map(|limit| (limit.identifier, (limit.facts_refused, limit.browsers_refused))).collect();
    let keys = identity.identifiers.iter().filter_map(|shown| {
        let key_type = KeyType::from_slug(&shown.key_type).filter(|key_type| !key_type.is_browser())?;
        Identifier::new(key_type, "", &shown.value)
    });
    for ident in keys {
        let Some(expected) = refused(key.hash(&ident), ident.key_type(), world, policy) else { continue };
        let shown = limits.get(&End::of(&ident)).copied().unwrap_or_default();
        if shown != expected {
            return Err(format!("limits: {ident:?} refused {shown:?}, not {expected:?}"));
        }
    }
    Ok(())
}

/// Gathers the identity of every prospect and compares it.
pub(super) fn compare_evidence(
    world: &World,
    laws: (&DeploymentKey, &Policy),
    context: &str,
    gather: impl Fn(Target) -> Identity,
) {
    for (name, prospect) in &world.prospects {
        let checked = check_evidence(world, laws, prospect, gather(Target::id(prospect.founder)));
        assert_eq!(checked, Ok(()), "{context}: {name}");
    }
}
