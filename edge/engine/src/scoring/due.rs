//! When a prospect's standing changes by itself.

use super::Attributes;
use super::ahead::Ahead;
use super::balance::{Balance, Carry, Note, Timing, earliest, shown};
use super::fold::Fold;
use super::known::Known;
use super::model::{Behavior, Decay, Model, Score, ScoreKind};
use super::standing::with_balances;

impl Fold {
    /// The earliest time after `now` at which, without an event, a tag, the temperature, the stage or a band changes,
    /// the prospect is excluded or no longer so, or an inactivity entry is made. To the millisecond in the ordinary
    /// case; never late; early where events are dated after `now`, where a tag asks several questions, or where more than
    /// [`STEPS_A_LOOK`] entries of a score disappear or come before it.
    ///
    /// Decay alone and points that disappear are no change.
    #[must_use]
    pub fn due(&self, model: &Model, attributes: &Attributes, now: i64) -> Option<i64> {
        let (state, ahead) = self.at(model, now);
        // From the first future event on, everything may be different: what is found beyond it does not matter.
        let first_future = ahead.first_at().map(|at| at.max(now.saturating_add(1)));
        let histories = state.matches.iter().zip(&model.histories);
        let turns = histories.filter_map(|(matches, history)| matches.turns(history, now)).min();
        let mut due = first_future.into_iter().chain(turns).min();
        if model.excluded(&state.view(model, &Known::new(model, attributes), now)).is_some() {
            return due;
        }
        let mut places = 0..;
        for (score, balance) in with_balances(model, &state) {
            let next = match (&score.kind, balance) {
                (ScoreKind::Behavior(behavior), Some(balance)) => {
                    let place = places.next().unwrap_or_default();
                    let line = Line { model, score, place, behavior, silent_since: state.silent_since(), now };
                    line.due(balance, Ahead::of(&[]))
                        .into_iter()
                        .chain((!ahead.is_empty()).then(|| line.due(balance, ahead)).flatten())
                        .min()
                }
                _ => None,
            };
            due = due.into_iter().chain(next).min();
        }
        let mut warmth = state.warmth;
        warmth.held = ahead.activity();
        let level = |t| {
            let value = warmth.value(model.temperature.decay, t);
            model.temperature.level(shown(value, value))
        };
        let cools = horizon(model.temperature.decay, warmth, now)
            .and_then(|end| first_change(now, end, |t| level(t) != level(now)));
        due.into_iter().chain(cools).min()
    }

    /// Whether points are taken for inactivity after a time and up to another one.
    #[must_use]
    pub fn lapses(&self, model: &Model, after: i64, until: i64) -> bool {
        let (mut state, _) = self.at(model, after);
        let mut lapses = false;
        state.advance(model, until, &mut |_, note| lapses |= matches!(note, Note::Inactivity(..)));
        lapses
    }
}

/// How many entries of a score one look goes past. It is made with every event: who has thousands of entries that will
/// disappear is looked at again when so many have.
const STEPS_A_LOOK: usize = 16;

/// One behavior score on its way through time.
struct Line<'m> {
    model: &'m Model,
    score: &'m Score,
    /// Among those that events make.
    place: usize,
    behavior: &'m Behavior,
    silent_since: Option<i64>,
    now: i64,
}

impl Line<'_> {
    /// The first change of band or stages, or inactivity entry, with these events ahead held at their face value.
    ///
    /// Where events are held, a stage may be entered because of them alone, which the balance does not know later: so
    /// the line is looked at twice, with them and without, and in between both the balance and what is seen of it stay
    /// as they are.
    fn due(&self, start: &Balance, ahead: Ahead<'_>) -> Option<i64> {
        let behavior = self.behavior;
        let seen = |value: f64| (self.score.bands.of(value), start.stages_turning(behavior, value));
        let mut balance = start.clone();
        let before = seen(self.held(&balance, ahead).value(behavior, self.now));
        let mut from = self.now;
        for _ in 0..STEPS_A_LOOK {
            // Between two changes the sum only decays: every threshold is crossed at most once.
            let next = balance.next_change(behavior, self.silent_since);
            let end = match next {
                Some(next) => Some(next - 1),
                // Nothing is left that will disappear: the sum is that of the other entries.
                None => horizon(behavior.decay, balance.carry, from),
            };
            // A copy of all that the balance remembers, at every step, would be most of the work.
            let crossing = if ahead.is_empty() {
                first_difference(from, end, |t| seen(balance.value(behavior, t)) != before)
            } else {
                let held = self.held(&balance, ahead);
                first_difference(from, end, |t| seen(held.value(behavior, t)) != before)
            };
            if crossing.is_some() {
                return crossing;
            }
            from = next?;
            if balance.next_inactivity(behavior, self.silent_since) == Some(from) {
                return Some(from);
            }
            balance.advance(behavior, self.silent_since, from, true, &mut |_| {});
        }
        Some(from)
    }

    fn held(&self, balance: &Balance, ahead: Ahead<'_>) -> Balance {
        let mut held = balance.clone();
        ahead.happen(self.model, (self.place, self.behavior), &mut held, Timing::Held, &mut |_| {});
        held
    }
}

/// The first time from `from` on, that included, and not after `end`, at which something differs that comes to differ at
/// most once.
fn first_difference(from: i64, end: Option<i64>, differs: impl Fn(i64) -> bool) -> Option<i64> {
    if differs(from) { Some(from) } else { first_change(from, end?, differs) }
}

/// The first time after `from` and not after `end`, which is not before it, at which something that changes at most once
/// has changed.
fn first_change(from: i64, end: i64, changed: impl Fn(i64) -> bool) -> Option<i64> {
    changed(end).then(|| earliest(from, end, changed))
}

/// A time by which a sum shows as 0 for good; `None` if it does not decay.
fn horizon(decay: Decay, carry: Carry, now: i64) -> Option<i64> {
    // 2^-30 of 1 is below half a millionth, the smallest value that shows.
    const HALVINGS: f64 = 30.0;
    let halvings = HALVINGS + libm::log2(carry.sum.abs().max(1.0));
    Some(carry.at.max(now).saturating_add((decay.half_life_ms? * halvings) as i64))
}
