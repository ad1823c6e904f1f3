//! Why a score is what it is: every part traced to its rule and event, adding up to the value shown.

use super::balance::{Note, resolution, shown, whole};
use super::fold::{Matched, State};
use super::known::Known;
use super::model::Effect;
use super::model::{Clamp, Decay, Model, Rule, ScoreKind};
use super::standing::with_balances;
use super::{Attributes, Occurrence};
use crate::key::KeyHash;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

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
    /// What it is made of, in the order of happening. The contributions of all parts add up to the value.
    pub parts: Vec<Part>,
    /// How many parts there are, those that were not asked for, too.
    pub total: usize,
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
    fn of(self, o: &Occurrence<'_>, name: &str) -> Part {
        Part { event: Some((o.rec, o.at, o.id.to_owned())), name: Some(name.to_owned()), ..self }
    }

    fn by(self, rule: &str, o: &Occurrence<'_>) -> Part {
        Part { rule: Some(rule.to_owned()), ..self.of(o, &o.body.name) }
    }

    fn told_by(self, o: &Occurrence<'_>) -> Part {
        self.of(o, o.body.source.slug())
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
    explain_page(model, occurrences, attributes, score, at, 0..usize::MAX)
}

/// The same with some of its parts, by their places: those of one person may be millions (10,000 events under 500 rules).
/// However many are asked for, memory is used for these, and a byte for each.
#[must_use]
pub fn explain_page(
    model: &Model,
    occurrences: &[Occurrence<'_>],
    attributes: &Attributes,
    score: &str,
    at: i64,
    page: Range<usize>,
) -> Option<Explanation> {
    let explained = |value, excluded, parts, total, sum, crowded| {
        let (score, resolution) = (score.to_owned(), resolution(sum));
        Some(Explanation { score, value, excluded, at, parts, total, resolution, crowded })
    };
    let known = Known::new(model, attributes);
    if score == TEMPERATURE {
        let state = match replay(model, occurrences, &known, at, |_, _, _| {}) {
            Ok(state) => state,
            Err(reason) => return explained(None, Some(reason), Vec::new(), 0, 0.0, Vec::new()),
        };
        let decay = model.temperature.decay;
        let sum = state.warmth.value(decay, at);
        let mut sheet = Sheet::new(decay, at, resolution(sum), page);
        for o in occurrences {
            if let Some(weight) = Matched::new(model, o).activity().filter(|weight| *weight > 0.0) {
                let piece = Piece { kind: PartKind::Rule, rule: None, at: o.at, points: weight };
                sheet.put(piece, |part| part.by(o.body.kind.slug(), o));
            }
        }
        let (value, parts, total) = sheet.close(sum, Clamp::default());
        return explained(Some(value), None, parts, total, sum, Vec::new());
    }
    let place = model.scores.iter().position(|s| s.slug == score)?;
    let defined = model.scores.get(place)?;
    let behavior = if let ScoreKind::Behavior(behavior) = &defined.kind { Some(behavior) } else { None };
    let rules = behavior.map_or(&[][..], |behavior| behavior.rules.as_slice());
    let mut left = Left::default();
    let replayed = replay(model, occurrences, &known, at, |_, noted, note| {
        if noted == place {
            left.hear(rules, note);
        }
    });
    let state = match replayed {
        Ok(state) => state,
        Err(reason) => return explained(None, Some(reason), Vec::new(), 0, 0.0, Vec::new()),
    };
    let view = state.view(model, &known, at);
    let balance = with_balances(model, &state).nth(place).and_then(|(_, balance)| balance);
    let sum = defined.sum(balance, &view);
    let decay = behavior.map_or_else(Decay::default, |behavior| behavior.decay);
    let mut sheet = Sheet::new(decay, at, resolution(sum), page);
    if let ScoreKind::Profile(rules) = &defined.kind {
        for rule in rules.iter().filter(|rule| rule.when.holds(&view)) {
            let piece = Piece { kind: PartKind::Rule, rule: None, at, points: rule.points };
            sheet.put(piece, |part| Part { rule: Some(rule.id.clone()), ..part });
        }
    } else {
        // Once more, now that it is known which of the pieces are left.
        let mut places = 0..;
        let again = replay(model, occurrences, &known, at, |o, noted, note| {
            if noted != place {
                return;
            }
            let Some(piece) = Piece::of(o.map_or(at, |o| o.at), note) else { return };
            if !places.next().is_some_and(|place| left.has(place)) {
                return;
            }
            sheet.put(piece, |part| match (o, piece.rule.and_then(|rule| rules.get(rule))) {
                (Some(o), Some(rule)) => part.by(&rule.id, o),
                // Inactivity is noticed at the next event, and is not by it.
                (Some(o), None) if piece.kind == PartKind::External => part.told_by(o),
                _ => part,
            });
        });
        again.ok()?;
    }
    let (value, parts, total) = sheet.close(sum, defined.clamp);
    explained(Some(value), None, parts, total, sum, left.crowded(rules, at))
}

/// The state at a time, telling of everything on the way; the reason, for an excluded prospect.
fn replay(
    model: &Model,
    occurrences: &[Occurrence<'_>],
    known: &Known<'_>,
    at: i64,
    mut tell: impl FnMut(Option<&Occurrence<'_>>, usize, Note),
) -> Result<State, String> {
    let mut state = State::new(model);
    let (past, future) = occurrences.split_at(occurrences.partition_point(|o| o.at <= at));
    for o in past {
        state.apply(model, &Matched::new(model, o), &mut |score, note| tell(Some(o), score, note));
    }
    state.advance(model, at, &mut |score, note| tell(None, score, note));
    let excluded = model.excluded(&state.view(model, known, at));
    for o in future {
        let event = [Matched::new(model, o)];
        state.hold(model, &event, at, &mut |score, note| tell(Some(o), score, note));
    }
    excluded.map_or(Ok(state), Err)
}

/// What may become a part of a score.
#[derive(Debug, Clone, Copy)]
struct Piece {
    kind: PartKind,
    /// The rule's place.
    rule: Option<usize>,
    at: i64,
    points: f64,
}

impl Piece {
    /// What happened to a score, if that may be a part of it: all but inactivity is by an event, which is of this time.
    fn of(at: i64, note: Note) -> Option<Piece> {
        let piece = |kind, rule, points| Some(Piece { kind, rule, at, points });
        match note {
            Note::Inactivity(at, points) => Some(Piece { kind: PartKind::Inactivity, rule: None, at, points }),
            Note::Points(rule, points) => piece(PartKind::Rule, Some(rule), points),
            Note::Limited(rule, points, _) => piece(PartKind::Limited, Some(rule), points),
            Note::Set(rule, value) => piece(PartKind::Set, Some(rule), value),
            Note::Told(told) => piece(PartKind::External, None, told?),
            Note::Counted(..) | Note::Expired(_) | Note::Crowded(..) => None,
        }
    }
}

/// Which pieces, by their places, are left in the end.
#[derive(Default)]
struct Left {
    /// Before this one, none.
    first: usize,
    pieces: Vec<bool>,
    /// Of the rules whose points disappear: those that have not.
    waiting: BTreeMap<usize, VecDeque<usize>>,
    /// When points were earned that had to make room for newer ones, by rule.
    crowded: BTreeMap<usize, Vec<i64>>,
}

impl Left {
    fn hear(&mut self, rules: &[Rule], note: Note) {
        match note {
            Note::Set(..) | Note::Told(_) => {
                self.first = self.pieces.len();
                self.waiting.clear();
                self.crowded.clear();
            }
            Note::Expired(rule) | Note::Crowded(rule, _) => {
                let oldest = self.waiting.get_mut(&rule).and_then(VecDeque::pop_front);
                if let Some(piece) = oldest.and_then(|place| self.pieces.get_mut(place)) {
                    *piece = false;
                }
            }
            _ => {}
        }
        if let Note::Crowded(rule, at) = note {
            self.crowded.entry(rule).or_default().push(at);
        }
        if let Note::Points(rule, _) = note
            && rules.get(rule).is_some_and(|rule| matches!(rule.effect, Effect::Expiring(..)))
        {
            self.waiting.entry(rule).or_default().push_back(self.pieces.len());
        }
        if Piece::of(0, note).is_some() {
            self.pieces.push(true);
        }
    }

    fn has(&self, place: usize) -> bool {
        place >= self.first && self.pieces.get(place) == Some(&true)
    }

    /// The rules of which more points would count at this time.
    fn crowded(&self, rules: &[Rule], at: i64) -> Vec<Crowded> {
        let crowded = self.crowded.iter().filter_map(|(rule, times)| {
            let rule = rules.get(*rule)?;
            let Effect::Expiring(_, window) = rule.effect else { return None };
            let left_out = times.iter().filter(|time| time.saturating_add(window) > at).count();
            (left_out > 0).then(|| Crowded { rule: rule.id.clone(), left_out })
        });
        crowded.collect()
    }
}

/// The parts of a score one below the other, each rounded so that the rounded ones add up to the rounded sum of those
/// above, and all to the value shown.
struct Sheet {
    decay: Decay,
    at: i64,
    resolution: f64,
    /// Which of the parts are wanted, and these.
    page: Range<usize>,
    parts: Vec<Part>,
    total: usize,
    /// The sum so far, exactly and of what was rounded, in parts of a unit.
    sum: f64,
    rounded: i64,
    /// The last part that adds something.
    last: Option<usize>,
}

impl Sheet {
    fn new(decay: Decay, at: i64, resolution: f64, page: Range<usize>) -> Sheet {
        Sheet { decay, at, resolution, page, parts: Vec::new(), total: 0, sum: 0.0, rounded: 0, last: None }
    }

    fn put(&mut self, piece: Piece, complete: impl FnOnce(Part) -> Part) {
        let factor = if piece.kind == PartKind::Limited { 0.0 } else { self.decay.factor(piece.at, self.at) };
        let exact = piece.points * factor;
        let mut contribution = 0.0;
        if exact != 0.0 {
            self.sum += exact * self.resolution;
            let rounded = self.sum.round() as i64;
            contribution = rounded.saturating_sub(self.rounded) as f64 / self.resolution;
            self.rounded = rounded;
            self.last = Some(self.total);
        }
        if self.page.contains(&self.total) {
            let Piece { kind, at, points, .. } = piece;
            let points = shown(points, points);
            let part = Part { kind, rule: None, event: None, name: None, at, points, factor, contribution };
            self.parts.push(complete(part));
        }
        self.total += 1;
    }

    /// The value, the wanted parts, and how many there are in all. `sum` is what the parts are of, before floor and cap.
    fn close(mut self, sum: f64, clamp: Clamp) -> (f64, Vec<Part>, usize) {
        let value = clamp.apply(sum);
        let clamped = value - sum;
        if clamped != 0.0 {
            let kind = if clamped.is_sign_positive() { PartKind::Floor } else { PartKind::Cap };
            self.put(Piece { kind, rule: None, at: self.at, points: clamped }, |part| part);
        }
        // The sum was kept up event by event, with roundings of its own.
        let short = whole(value, self.resolution).saturating_sub(self.rounded);
        let last = self.last.and_then(|last| last.checked_sub(self.page.start));
        if let Some(part) = last.and_then(|last| self.parts.get_mut(last)) {
            part.contribution = ((part.contribution * self.resolution).round() + short as f64) / self.resolution;
        }
        (shown(value, sum), self.parts, self.total)
    }
}

/// What each event earned, per score, as a timeline shows it: undecayed, in the decimals of values; a `set` shows its value; what earned nothing
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
        earned.values_mut().for_each(|points| *points = shown(*points, *points));
        earned
    };
    occurrences.iter().map(earned).collect()
}
