//! What a prospect's state means at a time.

use super::Attributes;
use super::balance::{Balance, Timing, shown};
use super::condition::StateView;
use super::fold::{Fold, State};
use super::known::Known;
use super::model::{Decay, FROZEN, Gate, Model, Score, ScoreKind};
use std::collections::{BTreeMap, BTreeSet};

/// How many scores can be sorted by: the columns that storage has for order keys.
const ORDERS: usize = 4;

/// A prospect under one model at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Every score by its slug, in the order of the model.
    pub scores: Vec<(String, ScoreValue)>,
    /// The slugs of the tags held, in the order of the model.
    pub tags: Vec<String>,
    /// `hot`, `warm`, `normal`, `cold` or `frozen`.
    pub temperature: &'static str,
    /// The slug of the stage: the furthest one entered and not left. `None` if the model has no stages.
    pub stage: Option<String>,
    /// Every stage after the first that is entered and not left, in order, and since when.
    pub stages_entered: Vec<(String, i64)>,
    /// Why this prospect is not scored, if so.
    pub excluded: Option<String>,
    /// Order keys of the first four scores: comparing them compares the sums before floor and cap, at any time that no
    /// event comes before. Where points will disappear or inactivity strike by itself, they are upper bounds, and so
    /// where an event is dated after the time asked about.
    pub order: [Option<f64>; ORDERS],
}

/// A score as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreValue {
    /// Rounded to 6 decimals; `None` for an excluded prospect.
    pub value: Option<f64>,
    /// The letter, if the score has bands and one is reached.
    pub band: Option<String>,
}

impl Score {
    /// The value as shown of a sum.
    pub(super) fn shown(&self, sum: f64) -> f64 {
        shown(self.clamp.apply(sum), sum)
    }

    /// The sum of everything that counts, before floor and cap.
    pub(super) fn sum(&self, balance: Option<&Balance>, view: &StateView<'_>) -> f64 {
        match &self.kind {
            ScoreKind::Behavior(behavior) => balance.map_or(0.0, |balance| balance.sum(behavior, view.t)),
            ScoreKind::Profile(rules) => {
                rules.iter().filter(|rule| rule.when.holds(view)).map(|rule| rule.points).sum()
            }
        }
    }

    /// Of a profile score, its sum is.
    fn order(&self, balance: Option<&Balance>, sum: f64) -> f64 {
        match &self.kind {
            ScoreKind::Behavior(behavior) => balance.map_or(0.0, |balance| {
                let at = balance.newest_entry();
                order_key(balance.sum(behavior, at), at, behavior.decay)
            }),
            ScoreKind::Profile(_) => sum,
        }
    }
}

/// The logarithm of a float is above -1,075 and `at/h` is not below 0 since 1970: 10^6 keeps the signs apart for any
/// half-life and any earlier time that is not absurd, and leaves 10^-10 of precision.
const AWAY_FROM_ZERO: f64 = 1e6;

/// A number that orders decaying sums without regard to the time asked about: `log2(S) + at/h`, moved away from 0,
/// where the sums that are 0 are; mirrored for negative ones. Without half-life, the sum itself.
fn order_key(sum: f64, at: i64, decay: Decay) -> f64 {
    match decay.half_life_ms {
        Some(half_life) if sum != 0.0 => (AWAY_FROM_ZERO + libm::log2(sum.abs()) + at as f64 / half_life).copysign(sum),
        _ => sum,
    }
}

impl Model {
    /// The largest value that a score with this order key can have at a time; `None` if there is no such score.
    #[must_use]
    pub fn value_bound(&self, score: &str, order: f64, t: i64) -> Option<f64> {
        // What 10^-10 of precision in the logarithm and the rounding to 6 decimals may add.
        const SLACK: f64 = 1e-6;
        let score = self.scores.iter().find(|known| known.slug == score)?;
        let half_life_ms = match &score.kind {
            ScoreKind::Behavior(behavior) => behavior.decay.half_life_ms,
            ScoreKind::Profile(_) => None,
        };
        let sum = match half_life_ms {
            Some(half_life) if order != 0.0 => {
                libm::exp2(order.abs() - AWAY_FROM_ZERO - t as f64 / half_life).copysign(order)
            }
            _ => order,
        };
        Some(score.clamp.apply(sum + sum.abs() * SLACK) + SLACK)
    }
}

/// The scores, each with its balance if events make it.
pub(super) fn with_balances<'m>(
    model: &'m Model,
    state: &'m State,
) -> impl Iterator<Item = (&'m Score, Option<&'m Balance>)> {
    let mut balances = state.balances.iter();
    model.scores.iter().map(move |score| match score.kind {
        ScoreKind::Behavior(_) => (score, balances.next()),
        ScoreKind::Profile(_) => (score, None),
    })
}

impl Fold {
    /// What the events folded in so far, and these attributes, mean at a time (ms since 1970 UTC).
    #[must_use]
    pub fn standing(&self, model: &Model, attributes: &Attributes, now: i64) -> Standing {
        let (mut state, ahead) = self.at(model, now);
        let known = Known::new(model, attributes);
        let view = state.view(model, &known, now);
        if let Some(reason) = model.excluded(&view) {
            return Standing::excluded(model, reason);
        }
        let tags = model.tags.iter().filter(|tag| tag.when.holds(&view)).map(|tag| tag.slug.clone()).collect();
        let mut bound = None;
        if !ahead.is_empty() {
            let bound = bound.insert(state.clone());
            for (place, ((_, behavior), balance)) in model.behaviors().zip(&mut bound.balances).enumerate() {
                ahead.happen(model, (place, behavior), balance, Timing::Bound(now), &mut |_| {});
            }
            state.hold_all(model, ahead, now, &mut |_, _| {});
        }
        let view = state.view(model, &known, now);
        let sums: Vec<f64> = with_balances(model, &state).map(|(score, balance)| score.sum(balance, &view)).collect();
        let scores = model.scores.iter().zip(&sums).map(|(score, sum)| {
            let value = score.shown(*sum);
            let band = score.bands.of(value).map(str::to_owned);
            (score.slug.clone(), ScoreValue { value: Some(value), band })
        });
        let mut order = [None; ORDERS];
        let bounds = with_balances(model, bound.as_ref().unwrap_or(&state)).zip(&sums);
        for (slot, ((score, balance), sum)) in order.iter_mut().zip(bounds) {
            *slot = Some(score.order(balance, *sum));
        }
        let stages_entered = stages_entered(model, &state, &known, &sums);
        let warmth = state.warmth.value(model.temperature.decay, now);
        let stage = stages_entered.last().map(|(stage, _)| stage).or(model.stages.first());
        Standing {
            scores: scores.collect(),
            tags,
            temperature: model.temperature.level(shown(warmth, warmth)),
            stage: stage.cloned(),
            stages_entered,
            excluded: None,
            order,
        }
    }
}

/// The stages whose score has entered them and whose gates are open, each since both are: at the latest, when the newest of
/// the attributes asked was told.
fn stages_entered(model: &Model, state: &State, known: &Known<'_>, sums: &[f64]) -> Vec<(String, i64)> {
    // Of twenty stages, each may ask for seven profile scores, of which each may have 500 rules: they are gone through once.
    let gated: BTreeSet<usize> = model.gates.iter().map(|gate| gate.score).collect();
    let told: BTreeMap<usize, i64> = gated.into_iter().map(|score| (score, model.newest_told(score, known))).collect();
    let open_since = |gate: &Gate| gate.is_open(model, sums).then(|| told.get(&gate.score).copied()).flatten();
    let mut entered: Vec<(usize, i64)> = model
        .behaviors()
        .zip(&state.balances)
        .flat_map(|((_, behavior), balance)| behavior.stages.iter().zip(&balance.entered))
        .filter_map(|(line, entered)| {
            let gates = model.gates.iter().filter(|gate| gate.stage == line.stage);
            let since = gates
                .map(open_since)
                .try_fold(*entered, |since, open| open.map(|open| since.map(|since| since.max(open))));
            Some((line.stage, since??))
        })
        .collect();
    entered.sort_unstable();
    entered.into_iter().filter_map(|(stage, at)| Some((model.stages.get(stage)?.clone(), at))).collect()
}

impl Standing {
    /// An excluded prospect: stored and listed, but not scored (contract, section 1, row 24).
    fn excluded(model: &Model, reason: String) -> Standing {
        let none = ScoreValue { value: None, band: None };
        Standing {
            scores: model.score_slugs().map(|slug| (slug.to_owned(), none.clone())).collect(),
            tags: Vec::new(),
            temperature: FROZEN,
            stage: model.stages.first().cloned(),
            stages_entered: Vec::new(),
            excluded: Some(reason),
            order: [None; ORDERS],
        }
    }
}
