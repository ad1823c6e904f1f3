//! Events dated ahead: what they do to the present, however many there are.
//!
//! An event dated after the time asked about counts as happening then (contract, section 1, row 2). The next ones are kept
//! one by one, until their time comes. Of those beyond, whose number has no bound, what they add to the present is kept:
//! until the first of them comes, that changes only by further events.

use super::balance::{Balance, Carry, Note, Timing};
use super::fold::{Matched, Place, Sessions, State};
use super::model::{Behavior, Model};
use crate::key::KeyHash;
use minicbor::{Decode, Encode};
use std::slice;

/// The events beyond those that are kept one by one.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub(super) struct Beyond {
    /// The time of the first of them.
    #[n(0)]
    pub(super) from: i64,
    #[n(1)]
    pub(super) last: Place,
    /// Their weights in the temperature.
    #[n(2)]
    pub(super) activity: f64,
    #[n(3)]
    pub(super) last_active_at: Option<i64>,
    /// How many sessions there are with theirs.
    #[n(4)]
    pub(super) sessions: u64,
    /// What they do to the scores that events make, in their order.
    #[n(5)]
    scores: Vec<Effect>,
    /// Where all known events lead: needed to add another one, and not stored.
    #[cbor(skip)]
    end: Option<End>,
}

/// What they do to one score.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Effect {
    /// Whether one of them discards what was before.
    #[n(0)]
    discards: bool,
    /// The points of those since, undecayed.
    #[n(1)]
    held: f64,
    /// The same for a bound on what the sum can ever be: what they earn, each at its own time, without what they cost.
    #[n(2)]
    gain: Option<Carry>,
}

/// What rules and sessions remember when all events have happened.
#[derive(Debug, Clone, PartialEq)]
struct End {
    balances: Vec<Balance>,
    sessions: Sessions,
}

impl Beyond {
    /// Beginning with this event, which comes after those that the state knows and after these.
    pub(super) fn begin(model: &Model, mut state: State, kept: &[Matched], first: &Matched) -> Beyond {
        for ((_, behavior), balance) in model.behaviors().zip(&mut state.balances) {
            balance.hold(model, behavior, kept, Timing::Held, &mut |_| {});
            balance.carry = Carry::default();
        }
        let mut sessions = state.sessions;
        kept.iter().for_each(|event| sessions.visit(event));
        let mut beyond = Beyond {
            from: first.at(),
            last: first.place().clone(),
            activity: 0.0,
            last_active_at: None,
            sessions: 0,
            scores: vec![Effect::default(); state.balances.len()],
            end: Some(End { balances: state.balances, sessions }),
        };
        beyond.take(model, first);
        beyond
    }

    /// Whether an event of this place can be added: it comes last, and this was not read from a row.
    pub(super) fn takes(&self, place: (i64, &str, KeyHash)) -> bool {
        self.end.is_some() && self.last.order() < place
    }

    /// Adds an event that it takes.
    pub(super) fn take(&mut self, model: &Model, event: &Matched) {
        let Some(end) = &mut self.end else { return };
        for (((_, behavior), balance), effect) in model.behaviors().zip(&mut end.balances).zip(&mut self.scores) {
            let (decay, at) = (behavior.decay, event.at());
            let earn = |points: f64, gain: &mut Option<Carry>| {
                if points > 0.0 {
                    gain.get_or_insert_default().add(decay, points, at);
                }
            };
            balance.hold(model, behavior, slice::from_ref(event), Timing::Held, &mut |note| match note {
                Note::Points(_, points) => earn(points, &mut effect.gain),
                Note::Set(_, value) | Note::Told(Some(value)) => {
                    (effect.discards, effect.gain) = (true, None);
                    earn(value, &mut effect.gain);
                }
                Note::Told(None) => (effect.discards, effect.gain) = (true, None),
                _ => {}
            });
            effect.held = balance.carry.held;
        }
        end.sessions.visit(event);
        self.sessions = end.sessions.count();
        if let Some(weight) = event.activity() {
            self.activity += weight;
            self.last_active_at = Some(event.at());
        }
        self.last = event.place().clone();
    }
}

/// What lies after the time asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead<'a> {
    /// The next events.
    pub(super) kept: &'a [Matched],
    /// All others.
    pub(super) beyond: Option<&'a Beyond>,
}

impl<'a> Ahead<'a> {
    /// These events and no others.
    pub(super) fn of(kept: &'a [Matched]) -> Ahead<'a> {
        Ahead { kept, beyond: None }
    }

    pub(super) fn is_empty(self) -> bool {
        self.kept.is_empty() && self.beyond.is_none()
    }

    /// When the first of them happens.
    pub(super) fn first_at(self) -> Option<i64> {
        self.kept.first().map(Matched::at).or(self.beyond.map(|beyond| beyond.from))
    }

    /// Their weights in the temperature.
    pub(super) fn activity(self) -> f64 {
        let kept: f64 = self.kept.iter().filter_map(Matched::activity).sum();
        kept + self.beyond.map_or(0.0, |beyond| beyond.activity)
    }

    /// Has them happen to the score of a place among those that events make, which has been advanced to the time asked
    /// about.
    pub(super) fn happen(
        self,
        model: &Model,
        (place, behavior): (usize, &Behavior),
        balance: &mut Balance,
        timing: Timing,
        note: &mut dyn FnMut(Note),
    ) {
        balance.hold(model, behavior, self.kept, timing, note);
        let Some(effect) = self.beyond.and_then(|beyond| beyond.scores.get(place)) else { return };
        if effect.discards {
            balance.discard(behavior);
        }
        match timing {
            Timing::Bound(_) => {
                if let Some(gain) = effect.gain {
                    balance.carry.add(behavior.decay, gain.sum, gain.at);
                }
            }
            Timing::Held | Timing::Own => balance.carry.held += effect.held,
        }
    }
}
