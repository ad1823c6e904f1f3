//! What a model is, once read: typed, compiled, immutable.

use super::balance::EXPIRING_MAX;
use super::condition::{CountTest, EventCondition, History, StateCondition, StateView, kind_bit};
use super::known::Known;
use super::operator::Compare;
use super::window::Per;
use crate::kinds::{KINDS, Kind};
use minicbor::{Decode, Encode};
use std::ops::Range;

/// One version of all scores, tags, the temperature and the stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(super) json: String,
    /// The place of the main score.
    pub(super) main: usize,
    pub(super) scores: Vec<Score>,
    pub(super) tags: Vec<Tag>,
    pub(super) temperature: Temperature,
    /// Slugs, in order. Which of them depend on a score is in [`Behavior::stages`].
    pub(super) stages: Vec<String>,
    /// What stages ask besides that score.
    pub(super) gates: Vec<Gate>,
    pub(super) include: Option<StateCondition>,
    /// Any of these excludes.
    pub(super) exclude: Vec<Exclusion>,
    /// All conditions over one event: those of rules (in the order of scores and rules) and of histories.
    pub(super) matchers: Vec<Matcher>,
    pub(super) histories: Vec<History>,
    /// The names of the attributes that conditions ask for.
    pub(super) attributes: Vec<String>,
    /// Per kind, by its place in the table: the matchers that could match an event of it.
    pub(super) by_kind: Vec<Vec<u16>>,
    /// What asking them all is at most, at one event: see [`Model::steps_an_event`].
    pub(super) steps: usize,
    /// What asking a prospect's state all conditions is at most: see [`Model::steps_a_look`].
    pub(super) look_steps: usize,
}

/// A condition by which prospects are not scored.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Exclusion {
    pub(super) when: StateCondition,
    /// It in short.
    pub(super) reason: String,
    /// Where it stands: a JSON pointer.
    pub(super) path: String,
}

/// A condition over one event, and what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matcher {
    pub(super) condition: EventCondition,
    pub(super) include_bots: bool,
    pub(super) target: Target,
}

/// What a matching event feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The rule of this place in its score.
    Rule(usize),
    /// The history of this place in the model.
    History(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub(super) slug: String,
    pub(super) clamp: Clamp,
    pub(super) bands: Bands,
    pub(super) account_aggregate: Aggregate,
    pub(super) kind: ScoreKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ScoreKind {
    /// Earned by events, or told by them.
    Behavior(Behavior),
    /// Given by attributes, now.
    Profile(Vec<ProfileRule>),
}

/// How much of some points is left after a time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Decay {
    pub(super) half_life_ms: Option<f64>,
}

impl Decay {
    /// The factor at time `t` of what was earned at `at`; 1 before (contract, section 1, row 2).
    pub(super) fn factor(self, at: i64, t: i64) -> f64 {
        let age = t.saturating_sub(at).max(0);
        self.half_life_ms.map_or(1.0, |half_life| libm::exp2(-(age as f64) / half_life))
    }
}

/// `floor` and `cap`, applied once, to the total.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Clamp {
    pub(super) floor: Option<f64>,
    pub(super) cap: Option<f64>,
}

impl Clamp {
    pub(super) fn apply(self, sum: f64) -> f64 {
        let capped = self.cap.map_or(sum, |cap| sum.min(cap));
        self.floor.map_or(capped, |floor| capped.max(floor))
    }
}

/// Letters and the value from which each holds, highest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Bands(pub(super) Vec<(String, f64)>);

impl Bands {
    /// The band of a value as shown: the one with the highest threshold that it reaches.
    pub(super) fn of(&self, value: f64) -> Option<&str> {
        self.0.iter().find(|(_, from)| value >= *from).map(|(band, _)| band.as_str())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Behavior {
    /// Of a score that comes from outside: the attribute whose number it is, decaying from the time it was told. Such a score
    /// has no rules.
    pub(super) attribute: Option<String>,
    pub(super) decay: Decay,
    pub(super) clamp: Clamp,
    pub(super) rules: Vec<Rule>,
    /// The matchers of its rules.
    pub(super) matchers: Range<u16>,
    pub(super) inactivity: Vec<Inactivity>,
    /// The stages that depend on this score.
    pub(super) stages: Vec<StageLine>,
}

impl Behavior {
    pub(super) fn without_rules(decay: Decay, clamp: Clamp) -> Behavior {
        let (attribute, rules, inactivity, stages) = (None, Vec::new(), Vec::new(), Vec::new());
        Behavior { attribute, decay, clamp, rules, matchers: 0..0, inactivity, stages }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) effect: Effect,
    /// `count`, evaluated at each matching event, inside the days before it if they are given.
    pub(super) count: Option<(CountTest, Option<i64>)>,
    pub(super) limits: Vec<Limit>,
    /// Where the rule's memory is among those of its score, if it needs one.
    pub(super) memory: Option<usize>,
}

impl Rule {
    /// How many times of events it keeps per prospect, at most.
    pub(super) fn times_kept(&self) -> usize {
        match (&self.count, self.effect) {
            (Some((test, Some(_))), _) => test.memory(),
            (_, Effect::Expiring(..)) => EXPIRING_MAX,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Effect {
    Points(f64),
    /// Points that disappear this many ms after the event.
    Expiring(f64, i64),
    Set(f64),
}

impl Effect {
    /// The points given, or the value set.
    pub(super) fn value(self) -> f64 {
        match self {
            Effect::Points(value) | Effect::Expiring(value, _) | Effect::Set(value) => value,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) times: u32,
    pub(super) per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Inactivity {
    pub(super) after_ms: i64,
    /// Below 0.
    pub(super) points: f64,
    pub(super) repeat: bool,
}

/// Where a stage is entered and left on a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StageLine {
    /// Its place among the model's stages.
    pub(super) stage: usize,
    pub(super) above: f64,
    pub(super) leave_below: Option<f64>,
}

impl StageLine {
    /// Whether who has `entered` it leaves at a value, and who has not enters.
    pub(super) fn turns(&self, entered: bool, value: f64) -> bool {
        if entered { self.leave_below.is_some_and(|leave| value < leave) } else { value > self.above }
    }
}

/// A profile score beside the score that a stage depends on: the stage is held only while that is above a value. It is asked
/// of the attributes as they are now, and has no memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gate {
    /// The stage's place.
    pub(super) stage: usize,
    /// The profile score's.
    pub(super) score: usize,
    pub(super) above: f64,
}

impl Gate {
    /// Whether it is open, by the sums of the scores.
    pub(super) fn is_open(self, model: &Model, sums: &[f64]) -> bool {
        let score = model.scores.get(self.score).zip(sums.get(self.score));
        score.is_some_and(|(score, sum)| score.shown(*sum) > self.above)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProfileRule {
    pub(super) id: String,
    pub(super) when: StateCondition,
    pub(super) points: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tag {
    pub(super) slug: String,
    pub(super) when: StateCondition,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Temperature {
    pub(super) decay: Decay,
    /// `hot`, `warm`, `normal`, `cold` and the value from which each holds, highest first.
    pub(super) levels: Vec<(&'static str, f64)>,
    /// Per kind, by its place in the table; 0 for what is no activity.
    pub(super) weights: Vec<f64>,
}

/// Below the lowest level.
pub(super) const FROZEN: &str = "frozen";

impl Temperature {
    pub(super) fn weight(&self, kind: Kind) -> f64 {
        self.weights.get(kind as usize).copied().unwrap_or_default()
    }

    /// The level of a value as shown.
    pub(super) fn level(&self, value: f64) -> &'static str {
        self.levels.iter().find(|(_, from)| value >= *from).map_or(FROZEN, |(level, _)| level)
    }
}

/// How an account's score is made of its people's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(index_only)]
pub enum Aggregate {
    /// The highest.
    #[default]
    #[n(0)]
    Max,
    /// The sum.
    #[n(1)]
    Sum,
    /// The mean.
    #[n(2)]
    Average,
    /// The mean of the three highest, or of as many as there are.
    #[n(3)]
    Top3Average,
}

impl Aggregate {
    /// Each with its name in models.
    pub const WORDS: [(&'static str, Aggregate); 4] = [
        ("max", Aggregate::Max),
        ("sum", Aggregate::Sum),
        ("average", Aggregate::Average),
        ("top3_average", Aggregate::Top3Average),
    ];
}

impl CountTest {
    pub(super) const WORDS: [(&'static str, Compare); 5] = [
        ("gt", Compare::Gt),
        ("gte", Compare::Gte),
        ("lt", Compare::Lt),
        ("lte", Compare::Lte),
        ("equals", Compare::Equals),
    ];
}

impl Model {
    /// The model that a deployment starts with: the sample of DESIGN 6 without `exclude`.
    pub const SHIPPED: &'static str = include_str!("shipped.json");

    /// The model as it was given.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The score that lists are sorted by unless told otherwise: the one marked `main`, else the first.
    #[must_use]
    pub fn main_score(&self) -> &str {
        self.scores.get(self.main).map_or("", |score| score.slug.as_str())
    }

    /// The slugs of the scores, in order.
    pub fn score_slugs(&self) -> impl Iterator<Item = &str> {
        self.scores.iter().map(|score| score.slug.as_str())
    }

    /// The slugs of the tags, in order.
    pub fn tag_slugs(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(|tag| tag.slug.as_str())
    }

    /// The slugs of the stages, in order.
    pub fn stage_slugs(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().map(String::as_str)
    }

    /// The score that a stage depends on; `None` for the first, and for a stage that the model has not.
    #[must_use]
    pub fn score_of_stage(&self, stage: &str) -> Option<&str> {
        let place = self.stages.iter().position(|known| known == stage)?;
        let depends = |behavior: &Behavior| behavior.stages.iter().any(|line| line.stage == place);
        let (score, _) = self.behaviors().find(|(_, behavior)| depends(behavior))?;
        self.scores.get(score).map(|score| score.slug.as_str())
    }

    /// How accounts combine this score.
    #[must_use]
    pub fn account_aggregate(&self, score: &str) -> Option<Aggregate> {
        self.scores.iter().find(|s| s.slug == score).map(|s| s.account_aggregate)
    }

    /// The scores that events make, each with its place.
    pub(super) fn behaviors(&self) -> impl Iterator<Item = (usize, &Behavior)> {
        self.scores.iter().enumerate().filter_map(|(place, score)| match &score.kind {
            ScoreKind::Behavior(behavior) => Some((place, behavior)),
            ScoreKind::Profile(_) => None,
        })
    }

    /// The attributes whose numbers are scores.
    pub fn attributes_scored(&self) -> impl Iterator<Item = &str> {
        self.behaviors().filter_map(|(_, behavior)| behavior.attribute.as_deref())
    }

    /// Why this prospect is not scored, if so.
    pub(super) fn excluded(&self, view: &StateView<'_>) -> Option<String> {
        if self.include.as_ref().is_some_and(|include| !include.holds(view)) {
            return Some("not included".to_owned());
        }
        self.exclude.iter().find(|exclusion| exclusion.when.holds(view)).map(|exclusion| exclusion.reason.clone())
    }

    /// Where the condition stands by which this prospect is not scored, if so: a JSON pointer.
    pub(super) fn excluding(&self, view: &StateView<'_>) -> Option<String> {
        if self.include.as_ref().is_some_and(|include| !include.holds(view)) {
            return Some("/include".to_owned());
        }
        self.exclude.iter().find(|exclusion| exclusion.when.holds(view)).map(|exclusion| exclusion.path.clone())
    }

    /// How much work it is at most to fold in one event, with reading it: in steps, of which a plain condition is one (60 ns
    /// natively, two to three times that in WebAssembly).
    #[must_use]
    pub fn steps_an_event(&self) -> u64 {
        /// Of an event that no condition is asked of.
        const FIXED: u64 = 100;
        FIXED + self.steps as u64
    }

    /// How much work it is at most to look at a prospect once: to prepare its attributes and to ask all that tags, profile
    /// scores, `include` and `exclude` ask, in the same steps.
    #[must_use]
    pub fn steps_a_look(&self) -> u64 {
        self.look_steps as u64
    }

    /// When the newest of the attributes was told that a profile score asks for. `i64::MIN` if none of them was.
    pub(super) fn newest_told(&self, score: usize, known: &Known<'_>) -> i64 {
        let rules = match self.scores.get(score).map(|score| &score.kind) {
            Some(ScoreKind::Profile(rules)) => rules.as_slice(),
            _ => &[],
        };
        rules.iter().filter_map(|rule| rule.when.newest_told(known)).max().unwrap_or(i64::MIN)
    }

    /// Which matchers could match an event of each kind.
    pub(super) fn index_by_kind(matchers: &[Matcher]) -> Vec<Vec<u16>> {
        let masks: Vec<_> = (0_u16..).zip(matchers.iter().map(|matcher| matcher.condition.kinds())).collect();
        let mut by_kind = vec![Vec::new(); KINDS.len()];
        for row in KINDS {
            if let Some(list) = by_kind.get_mut(row.kind as usize) {
                list.extend(masks.iter().filter(|(_, mask)| mask & kind_bit(row.kind) != 0).map(|(place, _)| *place));
            }
        }
        by_kind
    }

    /// What asking an event of the most expensive kind all that it has to be asked is: each matcher is a step besides.
    pub(super) fn steps_of(matchers: &[Matcher], by_kind: &[Vec<u16>]) -> usize {
        let steps: Vec<usize> = matchers.iter().map(|matcher| 1 + matcher.condition.steps()).collect();
        let of_kind = |places: &Vec<u16>| places.iter().filter_map(|place| steps.get(usize::from(*place))).sum();
        by_kind.iter().map(of_kind).max().unwrap_or_default()
    }
}
