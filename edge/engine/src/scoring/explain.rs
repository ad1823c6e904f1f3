//! Why a score is what it is: every part traced to its rule and event, adding up to the value shown.

use super::balance::{Note, resolution, shown, whole};
use super::fold::{Matched, State};
use super::model::Effect;
use super::model::{Clamp, Decay, Model, Rule, ScoreKind};
use super::standing::with_balances;
use super::{Attributes, Occurrence};
use crate::key::KeyHash;
use std::collections::BTreeMap;

/// A score at a time, in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The score's slug, or `temperature`.
    pub score: String,
    /// The value as shown; `None` for an excluded prospect.
    pub value: Option<f64>,
    /// Why this prospect is not scored, if so: then there are no parts.
    pub excluded: Option<String>,
    /// The time asked about, ms since 1970 UTC.
    pub at: i64,
    /// What it is made of, in the order of happening. The contributions add up to the value.
    pub parts: Vec<Part>,
    /// Into how many parts a unit is divided here: value and contributions are whole numbers of millionths, or of larger
    /// parts where a sum is 8·10^9 or more. To add them up without rounding, add up these.
    pub resolution: f64,
    /// Rules of which more points would count but for the limit on how many are kept.
    pub crowded: Vec<Crowded>,
}

/// A rule whose points disappear, and of which only the newest [`EXPIRING_MAX`] count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crowded {
    /// The rule's id.
    pub rule: String,
    /// How many points do not count that else would.
    pub left_out: usize,
}

/// One part of a score.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What sort of part it is.
    pub kind: PartKind,
    /// The rule's id; for the temperature, the kind of event.
    pub rule: Option<String>,
    /// The event: the key that it was recorded under, when, its id.
    pub event: Option<(KeyHash, i64, String)>,
    /// The event's label, or who set an external score.
    pub name: Option<String>,
    /// When it was earned, ms since 1970 UTC.
    pub at: i64,
    /// The points when it was earned.
    pub points: f64,
    /// What is left of a point.
    pub factor: f64,
    /// What it adds to the value.
    pub contribution: f64,
}

/// What sort of part something is (contract, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PartKind {
    /// A rule gave points.
    Rule,
    /// A rule would have given points, but for a limit.
    Limited,
    /// A rule set the score: what came before counts no more.
    Set,
    /// Points taken for inactivity.
    Inactivity,
    /// A value set from outside.
    External,
    /// What the floor adds.
    Floor,
    /// What the cap takes.
    Cap,
}

impl PartKind {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            PartKind::Rule => "rule",
            PartKind::Limited => "limited",
            PartKind::Set => "set",
            PartKind::Inactivity => "inactivity",
            PartKind::External => "external",
            PartKind::Floor => "floor",
            PartKind::Cap => "cap",
        }
    }
}

impl Part {
    fn new(kind: PartKind, at: i64, points: f64) -> Part {
        Part { kind, rule: None, event: None, name: None, at, points, factor: 1.0, contribution: 0.0 }
    }

    fn by(mut self, rule: &str, o: &Occurrence<'_>) -> Part {
        self.rule = Some(rule.to_owned());
        self.event = Some((o.rec, o.at, o.id.to_owned()));
        self.name = Some(o.body.name.clone());
        self
    }

    fn exact(&self) -> f64 {
        self.points * self.factor
    }
}

/// What the temperature is called where a score is asked for: no score can have this slug.
pub const TEMPERATURE: &str = "temperature";

/// Explains a score, or the `temperature`, at a time; `None` if the model has no score of this slug.
///
/// `occurrences` are the events that it shall rest on, in the order (`at`, `id`, `rec`). Events after `at` count as
/// happening then; to look back, the caller leaves them out (contract, section 1, row 26).
#[must_use]
pub fn explain(
    model: &Model,
    occurrences: &[Occurrence<'_>],
    attributes: &Attributes,
    score: &str,
    at: i64,
) -> Option<Explanation> {
    let explained = |value, sum, parts, crowded| {
        let (score, resolution) = (score.to_owned(), resolution(sum));
        Some(Explanation { score, value: Some(value), excluded: None, at, parts, resolution, crowded })
    };
    let excluded = |reason| {
        let (score, parts, crowded) = (score.to_owned(), Vec::new(), Vec::new());
        Some(Explanation {
            score,
            value: None,
            excluded: Some(reason),
            at,
            parts,
            resolution: resolution(0.0),
            crowded,
        })
    };
    let (mut parts, mut left_out) = (Vec::new(), BTreeMap::<usize, Vec<i64>>::new());
    if score == TEMPERATURE {
        let state = match replay(model, occurrences, attributes, at, |_, _, _| {}) {
            Ok(state) => state,
            Err(reason) => return excluded(reason),
        };
        parts.extend(occurrences.iter().filter_map(|o| part_of_warmth(model, o)));
        let decay = model.temperature.decay;
        let sum = state.warmth.value(decay, at);
        let value = add_up(&mut parts, sum, Clamp::default(), decay, at);
        return explained(value, sum, parts, Vec::new());
    }
    let place = model.scores.iter().position(|s| s.slug == score)?;
    let defined = model.scores.get(place)?;
    let rules = if let ScoreKind::Behavior(behavior) = &defined.kind { behavior.rules.as_slice() } else { &[] };
    let replayed = replay(model, occurrences, attributes, at, |o, noted, note| {
        if noted == place {
            match note {
                Note::Crowded(rule, at) => left_out.entry(rule).or_default().push(at),
                Note::Set(..) | Note::Told(_) => left_out.clear(),
                _ => {}
            }
            take(&mut parts, rules, o, note);
        }
    });
    let state = match replayed {
        Ok(state) => state,
        Err(reason) => return excluded(reason),
    };
    let view = state.view(model, attributes, at);
    let balance = with_balances(model, &state).nth(place).and_then(|(_, balance)| balance);
    let decay = match &defined.kind {
        ScoreKind::Behavior(behavior) => behavior.decay,
        ScoreKind::Profile(rules) => {
            let holding = rules.iter().filter(|rule| rule.when.holds(&view));
            parts.extend(
                holding.map(|rule| Part { rule: Some(rule.id.clone()), ..Part::new(PartKind::Rule, at, rule.points) }),
            );
            Decay::default()
        }
    };
    let sum = defined.sum(balance, &view);
    let value = add_up(&mut parts, sum, defined.clamp, decay, at);
    let crowded = left_out.into_iter().filter_map(|(rule, times)| {
        let rule = rules.get(rule)?;
        let Effect::Expiring(_, window) = rule.effect else { return None };
        let left_out = times.iter().filter(|time| time.saturating_add(window) > at).count();
        (left_out > 0).then(|| Crowded { rule: rule.id.clone(), left_out })
    });
    let crowded = crowded.collect();
    explained(value, sum, parts, crowded)
}

/// The state at a time, telling of everything on the way; the reason, for an excluded prospect.
fn replay(
    model: &Model,
    occurrences: &[Occurrence<'_>],
    attributes: &Attributes,
    at: i64,
    mut tell: impl FnMut(Option<&Occurrence<'_>>, usize, Note),
) -> Result<State, String> {
    let mut state = State::new(model);
    let (past, future) = occurrences.split_at(occurrences.partition_point(|o| o.at <= at));
    for o in past {
        state.apply(model, &Matched::new(model, o), &mut |score, note| tell(Some(o), score, note));
    }
    state.advance(model, at, &mut |score, note| tell(None, score, note));
    let excluded = model.excluded(&state.view(model, attributes, at));
    for o in future {
        let event = [Matched::new(model, o)];
        state.hold(model, &event, at, &mut |score, note| tell(Some(o), score, note));
    }
    excluded.map_or(Ok(state), Err)
}

/// Keeps the parts up to date with what happens to a score.
fn take(parts: &mut Vec<Part>, rules: &[Rule], o: Option<&Occurrence<'_>>, note: Note) {
    let part = |kind, place: usize, points| {
        let (rule, o) = (rules.get(place)?, o?);
        Some(Part::new(kind, o.at, points).by(&rule.id, o))
    };
    match note {
        Note::Points(rule, points) => parts.extend(part(PartKind::Rule, rule, points)),
        Note::Limited(rule, points, _) => parts.extend(part(PartKind::Limited, rule, points)),
        Note::Counted(..) => {}
        Note::Set(rule, value) => {
            parts.clear();
            parts.extend(part(PartKind::Set, rule, value));
        }
        Note::Told(told) => {
            parts.clear();
            parts.extend(told.zip(o).map(|(value, o)| Part {
                event: Some((o.rec, o.at, o.id.to_owned())),
                name: Some(o.body.source.slug().to_owned()),
                ..Part::new(PartKind::External, o.at, value)
            }));
        }
        Note::Inactivity(at, points) => parts.push(Part::new(PartKind::Inactivity, at, points)),
        Note::Expired(rule) | Note::Crowded(rule, _) => {
            let id = rules.get(rule).map(|rule| &rule.id);
            if let Some(oldest) = parts.iter().position(|p| p.kind == PartKind::Rule && p.rule.as_ref() == id) {
                parts.remove(oldest);
            }
        }
    }
}

fn part_of_warmth(model: &Model, o: &Occurrence<'_>) -> Option<Part> {
    let weight = Matched::new(model, o).activity().filter(|weight| *weight > 0.0)?;
    Some(Part::new(PartKind::Rule, o.at, weight).by(o.body.kind.slug(), o))
}

/// Decays the parts, adds one for floor or cap, and rounds all by largest remainder so that they add up to the value
/// shown, which is returned.
fn add_up(parts: &mut Vec<Part>, sum: f64, clamp: Clamp, decay: Decay, at: i64) -> f64 {
    for part in parts.iter_mut() {
        part.factor = if part.kind == PartKind::Limited { 0.0 } else { decay.factor(part.at, at) };
    }
    let value = clamp.apply(sum);
    let clamped = value - sum;
    if clamped != 0.0 {
        let kind = if clamped.is_sign_positive() { PartKind::Floor } else { PartKind::Cap };
        parts.push(Part::new(kind, at, clamped));
    }
    let resolution = resolution(sum);
    let mut rounded: Vec<(&mut Part, i64, f64)> = Vec::new();
    for part in parts.iter_mut().filter(|part| part.exact() != 0.0) {
        let exact = part.exact() * resolution;
        rounded.push((part, exact.floor() as i64, exact - exact.floor()));
    }
    let short = whole(value, resolution) - rounded.iter().map(|(_, floor, _)| floor).sum::<i64>();
    let count = i64::try_from(rounded.len()).unwrap_or(i64::MAX).max(1);
    // The largest remainders get one more each, until nothing is short.
    rounded.sort_by(|(_, _, left), (_, _, right)| right.total_cmp(left));
    for (place, (part, floor, _)) in (0_i64..).zip(&mut rounded) {
        let extra = short.div_euclid(count) + i64::from(place < short.rem_euclid(count));
        part.contribution = (*floor + extra) as f64 / resolution;
    }
    shown(value, sum)
}

/// What each event earned, per score, as a timeline shows it: undecayed; a `set` shows its value; what earned nothing
/// is absent. `occurrences` are all of the prospect's, in the order (`at`, `id`, `rec`).
#[must_use]
pub fn points_of(model: &Model, occurrences: &[Occurrence<'_>]) -> Vec<BTreeMap<String, f64>> {
    let mut state = State::new(model);
    let earned = |o: &Occurrence<'_>| {
        let mut earned = BTreeMap::new();
        state.apply(model, &Matched::new(model, o), &mut |place, note| {
            let Some(score) = model.scores.get(place) else { return };
            match note {
                Note::Points(_, points) => *earned.entry(score.slug.clone()).or_insert(0.0) += points,
                Note::Set(_, value) | Note::Told(Some(value)) => {
                    earned.insert(score.slug.clone(), value);
                }
                Note::Limited(..)
                | Note::Counted(..)
                | Note::Told(None)
                | Note::Inactivity(..)
                | Note::Expired(_)
                | Note::Crowded(..) => {}
            }
        });
        earned
    };
    occurrences.iter().map(earned).collect()
}
