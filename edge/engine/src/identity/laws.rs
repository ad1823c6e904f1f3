//! The law of identity on random inputs: the result is a function of their set, and holds nothing that it may not.

use super::generate::{Random, inputs, small_policy};
use super::naive::{Input, naive};
use super::{Decision, EvidenceRef, Reason, State};
use crate::event::Record;
use crate::key::{DeploymentKey, KeyHash, KeyType};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 2_000;

fn key() -> DeploymentKey {
    DeploymentKey::new(b"laws")
}

const fn conflict(reason: Reason) -> (State, Option<Reason>) {
    (State::Conflict, Some(reason))
}

/// Cuts a record into copies of the same event that each carry a part of what it says.
fn rebatched(random: &mut Random, input: &Input) -> Vec<Input> {
    let Input::Record(whole) = input else { return vec![input.clone()] };
    let mut parts = vec![Record { facts: vec![], claims: vec![], ..whole.clone() }; 3];
    for fact in &whole.facts {
        parts[random.below(3) as usize].facts.push(fact.clone());
    }
    for claim in &whole.claims {
        parts[random.below(3) as usize].claims.push(claim.clone());
    }
    parts.into_iter().map(Input::Record).collect()
}

#[test]
fn order_repetition_and_batching_change_nothing() {
    for seed in 0..SEEDS {
        let (policy, made) = (small_policy(), inputs(seed));
        let expected = naive(&key(), &policy, &made);
        let mut random = Random(!seed);
        let mut other: Vec<Input> = made.iter().flat_map(|input| rebatched(&mut random, input)).collect();
        for _ in 0..random.below(6) {
            other.extend(random.pick(&made).cloned());
        }
        random.shuffle(&mut other);
        assert_eq!(naive(&key(), &policy, &other), expected, "seed {seed}");
    }
}

#[test]
fn what_no_result_may_contain() {
    let policy = small_policy();
    for seed in 0..SEEDS {
        let made = inputs(seed);
        let w = naive(&key(), &policy, &made);
        let mut events = BTreeMap::new();
        let mut types = BTreeMap::new();
        let mut explicit = false;
        for input in &made {
            match input {
                Input::Record(r) => {
                    explicit |= r.facts.iter().any(|f| f.explicit);
                    let all = r.facts.iter().map(|f| &f.other).chain(r.claims.iter().map(|c| &c.key)).chain([&r.rec]);
                    types.extend(all.map(|i| (key().hash(i), (i.key_type(), policy.is_internal(i)))));
                    if !policy.is_blocked(&r.rec) {
                        events.insert((key().hash(&r.rec), r.at, r.id.clone()), 0);
                    }
                }
                Input::Decision(d) => explicit |= matches!(d, Decision::Merge { .. }),
            }
        }
        let mut held = BTreeSet::new();
        for (id, p) in &w.prospects {
            assert_eq!(KeyHash::from_prospect_id(id), Some(p.founder), "seed {seed}");
            assert!(p.keys.contains(&p.founder) && !p.events.is_empty(), "seed {seed}");
            assert!(p.keys.iter().all(|k| held.insert(*k)), "seed {seed}: a key of two prospects");
            for e in &p.events {
                *events.get_mut(e).unwrap() += 1;
            }
            let of_type = |t| p.keys.iter().filter(|k| types.get(k).is_some_and(|(of, _)| *of == t)).count();
            for (t, limit) in &policy.per_prospect {
                let exempt = *t == KeyType::ExternalId && explicit;
                assert!(of_type(*t) <= *limit as usize || exempt, "seed {seed}: too many {t:?}");
            }
            let internal = p.keys.iter().filter(|k| types.get(k).is_some_and(|(_, internal)| *internal)).count();
            assert!(internal == 0 || internal == of_type(KeyType::Email), "seed {seed}: internal and others");
        }
        assert!(events.values().all(|n| *n == 1), "seed {seed}: an event is on one prospect");
    }
}

#[test]
fn the_generator_reaches_every_state_and_reason() {
    let mut seen: BTreeMap<(bool, State, Option<Reason>), u32> = BTreeMap::new();
    for seed in 0..SEEDS {
        for (of, (state, reason)) in naive(&key(), &small_policy(), &inputs(seed)).evidence {
            *seen.entry((matches!(of, EvidenceRef::Fact(_)), state, reason)).or_default() += 1;
        }
    }
    let facts = [
        (State::Active, None),
        conflict(Reason::Limit),
        conflict(Reason::Separated),
        conflict(Reason::TwoExternalIds),
        conflict(Reason::Internal),
        conflict(Reason::EmailKnown),
        conflict(Reason::TwoEmails),
        (State::Undone, Some(Reason::Separated)),
    ];
    let claims = [
        (State::Active, None),
        conflict(Reason::Limit),
        (State::Pending, Some(Reason::NoHuman)),
        (State::Suspended, Some(Reason::Superseded)),
        (State::Undone, Some(Reason::Separated)),
    ];
    let expected = facts.map(|s| (true, s)).into_iter().chain(claims.map(|s| (false, s)));
    for (fact, (state, reason)) in expected {
        let times = seen.get(&(fact, state, reason)).copied().unwrap_or(0);
        assert!(times >= 20, "{state:?} {reason:?}: {times} times in {SEEDS} seeds");
    }
}
