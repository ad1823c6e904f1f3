//! What a prospect shows of its evidence, against the naive function: neither less nor more, and nothing that differs.

use super::evidence::id;
use super::read::Target;
use super::view::{End, Evidence, Identity};
use crate::identity::naive::{NaiveDecision, NaiveProspect, World};
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

/// What a decision on a pair of keys is to be shown as.
fn expected_of(world: &World, decision: &NaiveDecision, overruled: bool) -> (&'static str, Option<&'static str>) {
    let refused = decision.by.as_ref().and_then(|by| world.evidence.get(by)).and_then(|(_, reason)| *reason);
    match (overruled, refused) {
        (true, _) => ("undone", Some("a later decision says otherwise")),
        (false, Some(refused)) => ("conflict", Some(refused.words())),
        (false, None) if decision.merges => ("active", Some("a colleague has merged the two")),
        (false, None) => ("active", Some("a colleague has separated the two")),
    }
}

/// Those whom facts that both ends admit link to a prospect, whatever became of these: one cluster knows them all.
fn linked(world: &World, prospect: &NaiveProspect) -> BTreeSet<KeyHash> {
    let admitted = |(state, reason): (State, Option<Reason>)| {
        state == State::Active || (state == State::Conflict && reason != Some(Reason::Limit))
    };
    let mut linked = prospect.keys.clone();
    loop {
        let facts = world.evidence.iter().filter_map(|(evidence, state)| match evidence {
            EvidenceRef::Fact(fact) if admitted(*state) => Some(*fact),
            _ => None,
        });
        let next = facts.filter(|fact| linked.contains(&fact.a) != linked.contains(&fact.b));
        let more: Vec<KeyHash> = next.flat_map(|fact| [fact.a, fact.b]).collect();
        if more.is_empty() {
            return linked;
        }
        linked.extend(more);
    }
}

/// Every decision that is shown is shown once, about two whom it is about, and as what became of that. Those are shown
/// that joined the prospect to somebody, or parted it from somebody who is known beside it.
fn check_decisions(
    world: &World,
    key: &DeploymentKey,
    prospect: &NaiveProspect,
    decisions: Vec<Evidence>,
) -> Result<(), String> {
    let hash = |end: &End| {
        let ident = KeyType::from_slug(&end.key_type).and_then(|key_type| Identifier::new(key_type, "", &end.value));
        ident.map(|ident| key.hash(&ident)).ok_or_else(|| format!("a decision is about {end:?}"))
    };
    let mut shown = BTreeMap::new();
    for piece in decisions {
        let id = piece.id.strip_prefix("d_").unwrap_or_default().to_owned();
        let decision = world.decisions.get(&id).ok_or_else(|| format!("nobody decided {piece:?}"))?;
        let (from, to) = (hash(&piece.from)?, hash(&piece.to)?);
        let overruled = decision.pairs.get(&(from, to)).or_else(|| decision.pairs.get(&(to, from)));
        let joins = match decision.by.as_ref() {
            Some(EvidenceRef::Fact(fact)) => BTreeSet::from([fact.a, fact.b]) == BTreeSet::from([from, to]),
            Some(EvidenceRef::Claim { browser, key, .. }) => (*browser, *key) == (from, to),
            None => !decision.merges,
        };
        let overruled = *overruled.filter(|_| joins).ok_or_else(|| format!("{piece:?} is not about these"))?;
        let expected = expected_of(world, decision, overruled);
        if (piece.state, piece.reason.as_deref()) != expected {
            return Err(format!("{piece:?} is {expected:?}"));
        }
        let is_fact = matches!(decision.by, Some(EvidenceRef::Fact(_)));
        let apart = world.prospects.values().any(|one| one.keys.contains(&from) != one.keys.contains(&to));
        if piece.state == "active" && is_fact && apart {
            return Err(format!("{piece:?}, and they are two"));
        }
        if shown.insert(id, piece.state).is_some() {
            return Err(format!("{} is shown twice", piece.id));
        }
    }

    let linked = linked(world, prospect);
    let now = |browser: &KeyHash| world.tables.get(browser).and_then(|table| table.last()).map(|(_, owner)| *owner);
    let its_own = |browser: &KeyHash| {
        prospect.keys.contains(browser) || now(browser).is_some_and(|owner| prospect.keys.contains(&owner))
    };
    let claims = |browser: &KeyHash, key: &KeyHash| {
        let is_claim = |evidence: &EvidenceRef| match evidence {
            EvidenceRef::Claim { browser: by, key: on, .. } => (by, on) == (browser, key),
            EvidenceRef::Fact(_) => false,
        };
        world.evidence.keys().any(is_claim)
    };
    let knows = |one: &KeyHash, other: &KeyHash| {
        (prospect.keys.contains(one) && linked.contains(other)) || (its_own(one) && claims(one, other))
    };
    for (id, decision) in &world.decisions {
        let state = shown.get(id);
        let must = match &decision.by {
            Some(EvidenceRef::Fact(fact)) => prospect.keys.contains(&fact.a) || prospect.keys.contains(&fact.b),
            Some(claim @ EvidenceRef::Claim { browser, key, .. }) => {
                world.evidence.contains_key(claim) && (prospect.keys.contains(key) || its_own(browser))
            }
            None if decision.merges => false,
            None => {
                let known = || decision.pairs.iter().filter(|((one, other), _)| knows(one, other) || knows(other, one));
                if known().any(|(_, overruled)| !overruled) && state.is_some_and(|state| *state != "active") {
                    return Err(format!("{id} still counts, and is shown as {state:?}"));
                }
                known().next().is_some()
            }
        };
        if must && state.is_none() {
            return Err(format!("{id} is not shown: {decision:?}"));
        }
    }
    Ok(())
}

/// Compares what is shown of one prospect's identity.
pub(super) fn check_evidence(
    world: &World,
    (key, policy): (&DeploymentKey, &Policy),
    prospect: &NaiveProspect,
    identity: Identity,
) -> Result<(), String> {
    let mut shown = BTreeMap::new();
    let (decisions, evidence): (Vec<_>, Vec<_>) =
        identity.evidence.into_iter().partition(|piece| piece.kind == "decision");
    check_decisions(world, key, prospect, decisions)?;
    for piece in evidence {
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
