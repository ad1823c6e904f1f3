//! Reading and compiling conditions (`when`, `include`, `exclude`).
//!
//! The same words mean a question about *one event* in a score's rule and about *all events of a prospect* in tags:
//! an object with a field of events in it asks how many events fulfil the whole of it (contract, section 1, rows 8
//! to 11).

use super::DAY_MS;
use super::condition::{CountTest, EventCondition, History, StateCondition, kind_bit};
use super::known::Asked;
use super::model::{Matcher, Target};
use super::operator::{Compare, Operator};
use super::parse_operator::{EXISTS, LIST_MAX, OPERATORS, check_words, field_operators, operator};
use super::reader::{Object, Report, did_you_mean, one_of};
use super::seen::Seen;
use super::subject::Text;
use crate::event::Source;
use crate::kinds::KINDS;
use jiff::civil::Date;
use jiff::{Timestamp, tz::Offset};
use serde_json::Value;
use std::ops::BitOr;

/// The longest stretch of days: ten years.
pub(super) const DAYS_MAX: f64 = 3650.0;
/// The highest number in `count`: so many times may have to be kept per prospect.
pub(super) const COUNT_MAX: u32 = 1000;
/// How deep conditions may nest: nobody reads more.
const DEPTH_MAX: usize = 16;
/// The longest name of a property or campaign parameter, and of how many parts it may be: of an event's properties, those
/// that have one are kept at hand.
const PARAMETER_CHARS_MAX: usize = 256;
const PARAMETER_PARTS_MAX: usize = 16;

pub(super) const COMBINATORS: [&str; 3] = ["all", "any", "not"];
pub(super) const FIELDS: [&str; 6] = ["event", "event_type", "name", "url", "referrer", "source"];
pub(super) const TIMES: [&str; 2] = ["after", "before"];
pub(super) const HISTORY: [&str; 3] = ["count", "within_days", "not_within_days"];
const STATE: [&str; 4] = ["tag", "score", "above", "below"];

/// Every source: what `source` can say is the API's closed list of their names.
pub(crate) const SOURCES: [Source; 12] = [
    Source::Currents,
    Source::Tracker,
    Source::Form,
    Source::Url,
    Source::Link,
    Source::Api,
    Source::Segment,
    Source::Crm,
    Source::BrazeExport,
    Source::Import,
    Source::Console,
    Source::Identify,
];

/// What sort of word a key of a condition is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Combinator,
    Event,
    History,
    Attribute,
    Operator,
    State,
    Unknown,
}

fn word(key: &str) -> Word {
    if COMBINATORS.contains(&key) {
        Word::Combinator
    } else if FIELDS.contains(&key) || TIMES.contains(&key) || parameter(key).is_some() {
        Word::Event
    } else if HISTORY.contains(&key) {
        Word::History
    } else if key == "attribute" {
        Word::Attribute
    } else if OPERATORS.contains(&key) || key == EXISTS {
        Word::Operator
    } else if STATE.contains(&key) {
        Word::State
    } else {
        Word::Unknown
    }
}

/// `property.<path>` or `utm.<name>`.
fn parameter(key: &str) -> Option<(&str, &str)> {
    let (field, name) = key.split_once('.')?;
    (matches!(field, "property" | "utm") && !name.is_empty()).then_some((field, name))
}

/// Whether a condition may ask for a property of this name.
///
/// # Errors
/// The limit that it is beyond, in words.
pub fn check_property_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > PARAMETER_CHARS_MAX || name.split('.').count() > PARAMETER_PARTS_MAX {
        return Err(format!(
            "a name may have {PARAMETER_CHARS_MAX} characters and {PARAMETER_PARTS_MAX} parts between dots"
        ));
    }
    Ok(())
}

/// Which questions a state condition may ask.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Attributes only: profile scores.
    Attributes,
    /// Attributes and events: tags, `include`, `exclude`.
    Everything,
}

/// Compiles conditions, and collects the histories and attributes that they ask for.
pub(super) struct Compiler<'a> {
    pub(super) report: &'a Report,
    pub(super) matchers: Vec<Matcher>,
    pub(super) histories: Vec<History>,
    pub(super) asked: Asked,
}

/// The `when` of a score's rule.
pub(super) struct RuleWhen {
    pub(super) condition: EventCondition,
    pub(super) count: Option<CountTest>,
    pub(super) within_ms: Option<i64>,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(report: &'a Report) -> Compiler<'a> {
        Compiler { report, matchers: Vec::new(), histories: Vec::new(), asked: Asked::default() }
    }

    /// The condition of a rule: on one event, with `count` and `within_days` at its top.
    pub(super) fn rule(&self, value: &Value, path: &str) -> Option<RuleWhen> {
        let object = Object::new(value, path, self.report)?;
        if object.has("not_within_days") {
            object
                .error("not_within_days", "is for tags: a rule is asked at a matching event, which is within any days");
        }
        let condition = event(&object, Level::Rule, 1)?;
        Some(RuleWhen { condition, count: count(&object), within_ms: days(&object, "within_days") })
    }

    /// A condition on a prospect's state.
    pub(super) fn state(
        &mut self,
        value: &Value,
        path: &str,
        over: Over,
        include_bots: bool,
    ) -> Option<StateCondition> {
        self.state_at(value, path, over, include_bots, 1)
    }

    fn state_at(
        &mut self,
        value: &Value,
        path: &str,
        over: Over,
        include_bots: bool,
        depth: usize,
    ) -> Option<StateCondition> {
        let object = Object::new(value, path, self.report)?;
        if !sound(&object, depth) {
            return None;
        }
        let asks_events = object.fields.keys().any(|key| matches!(word(key), Word::Event | Word::History));
        if over == Over::Everything && asks_events {
            return self.history(&object, include_bots, depth);
        }
        let mut parts = Vec::new();
        for (key, value) in object.fields {
            match word(key) {
                Word::Combinator => parts.extend(self.combined(&object, key, value, over, include_bots, depth)),
                Word::Event | Word::History => {
                    object.error(key, "a profile score looks at attributes only; events belong in a behavior score");
                }
                Word::Attribute => parts.extend(self.attribute(&object)),
                Word::Operator if object.has("attribute") => {}
                Word::Operator => operator_alone(&object, key),
                Word::State => state_word(&object, key),
                Word::Unknown => unknown(&object, key),
            }
        }
        Some(joined(parts, StateCondition::All))
    }

    fn combined(
        &mut self,
        object: &Object<'_>,
        key: &str,
        value: &Value,
        over: Over,
        include_bots: bool,
        depth: usize,
    ) -> Option<StateCondition> {
        let path = object.at(key);
        if key == "not" {
            let part = self.state_at(value, &path, over, include_bots, depth + 1)?;
            return Some(StateCondition::Not(Box::new(part)));
        }
        let parts: Vec<_> = alternatives(object, key)
            .into_iter()
            .filter_map(|(path, part)| self.state_at(part, &path, over, include_bots, depth + 1))
            .collect();
        Some(if key == "all" { StateCondition::All(parts) } else { StateCondition::Any(parts) })
    }

    /// The question about events that an object with fields of events asks; an attribute beside them is another.
    fn history(&mut self, object: &Object<'_>, include_bots: bool, depth: usize) -> Option<StateCondition> {
        let condition = event(object, Level::State, depth)?;
        let not_within_ms = days(object, "not_within_days");
        let history = match not_within_ms {
            Some(_) if object.has("count") || object.has("within_days") => {
                object.error("not_within_days", "says already how many (none) and when: leave out the other");
                return None;
            }
            Some(window) => History { test: CountTest(vec![(Compare::Lt, 1)]), within_ms: Some(window) },
            None => History {
                test: count(object).unwrap_or_else(CountTest::at_least_one),
                within_ms: days(object, "within_days"),
            },
        };
        let place = self.histories.len();
        self.histories.push(history);
        self.matchers.push(Matcher { condition, include_bots, target: Target::History(place) });
        let asked = StateCondition::History(place);
        let attribute = if object.has("attribute") { self.attribute(object) } else { None };
        Some(joined(attribute.into_iter().chain([asked]).collect(), StateCondition::All))
    }

    /// `{"attribute": name, operator: …}`.
    fn attribute(&mut self, object: &Object<'_>) -> Option<StateCondition> {
        let name = object.text("attribute")?;
        let asked = object.fields.iter().filter(|(key, _)| word(key) == Word::Operator);
        let operators: Vec<_> =
            asked.clone().filter_map(|(key, operand)| operator(key, operand, &object.at(key), object.report)).collect();
        if asked.count() == 0 {
            object.error(
                "attribute",
                "needs an operator beside it, as in {\"attribute\": \"industry\", \"equals\": \"SaaS\"}",
            );
        }
        let place = self.asked.note(name, &operators);
        let part = |operator| StateCondition::Attribute(place, operator);
        Some(joined(operators.into_iter().map(part).collect(), StateCondition::All))
    }
}

/// Several conditions as one; one stays as it is.
fn joined<T>(mut parts: Vec<T>, all: fn(Vec<T>) -> T) -> T {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            all(parts)
        }
        None => all(parts),
    }
}

/// Reports what no condition may be: empty, or nested too deep.
fn sound(object: &Object<'_>, depth: usize) -> bool {
    let message = if object.fields.is_empty() {
        "must ask something".to_owned()
    } else if depth > DEPTH_MAX {
        format!("is nested more than {DEPTH_MAX} deep")
    } else {
        return true;
    };
    object.report.error(object.path, message);
    false
}

/// The elements of `all` or `any`.
fn alternatives<'a>(object: &Object<'a>, key: &str) -> Vec<(String, &'a Value)> {
    let list = object.list(key, LIST_MAX);
    if object.fields.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty) {
        object.error(key, "must list at least one condition");
    }
    list
}

fn operator_alone(object: &Object<'_>, key: &str) {
    object.error(key, format!("an operator stands inside a field, as in {{\"url\": {{\"{key}\": …}}}}"));
}

fn state_word(object: &Object<'_>, key: &str) {
    // `above` and `below` belong to the score beside them.
    let message = match key {
        "tag" => "no condition asks for tags: ask here what the tag asks",
        "score" => "only the `when` of a stage asks for a score",
        _ if object.has("score") => return,
        _ => "belongs to a score, for which only the `when` of a stage asks",
    };
    object.error(key, message);
}

fn unknown(object: &Object<'_>, key: &str) {
    let operators = OPERATORS.iter().copied().chain([EXISTS]);
    let fields = COMBINATORS.iter().chain(&FIELDS).chain(&TIMES).chain(&HISTORY).copied();
    let fields = fields.chain(["property.<name>", "utm.<name>", "attribute"]);
    let hint = match key {
        "property" | "property." => "; name the property, as in `property.plan`".to_owned(),
        "utm" | "utm." => "; name the parameter, as in `utm.source`".to_owned(),
        _ => match did_you_mean(key, operators) {
            hint if hint.is_empty() => one_of(key, fields),
            hint => hint,
        },
    };
    object.error(key, format!("unknown field of a condition{hint}"));
}

/// Where a condition on one event stands. `count` and the like, at the top, are read by the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The `when` of a rule.
    Rule,
    /// An object of a state condition: an attribute beside the fields of events is a question of its own.
    State,
    /// Inside `all`, `any` or `not` of either.
    InsideRule,
    InsideState,
}

impl Level {
    fn inside(self) -> Level {
        match self {
            Level::Rule | Level::InsideRule => Level::InsideRule,
            Level::State | Level::InsideState => Level::InsideState,
        }
    }
}

/// A condition on one event.
fn event(object: &Object<'_>, level: Level, depth: usize) -> Option<EventCondition> {
    if !sound(object, depth) {
        return None;
    }
    let written = |key| object.fields.get(key).and_then(Value::as_str).and_then(time);
    if let (Some(after), Some(before)) = (written("after"), written("before"))
        && before <= after
    {
        object.error("before", "must be later than `after`: no event is both");
    }
    let mut parts = Vec::new();
    for (key, value) in object.fields {
        match word(key) {
            Word::Combinator => parts.extend(event_combined(object, key, value, level.inside(), depth)),
            Word::Event => parts.extend(event_field(object, key, value)),
            Word::History if matches!(level, Level::Rule | Level::State) => {}
            Word::History => object.error(key, "stands beside the fields at the top of the condition on events"),
            Word::Attribute if level == Level::State => {}
            Word::Attribute if level == Level::InsideState => object.error(
                key,
                "stands among questions about one event, which has no attributes; ask side by side, as in \
                 {\"all\": [{\"event\": …}, {\"attribute\": …}]}",
            ),
            Word::Attribute => object.error(
                key,
                "an event cannot be asked for attributes, which change after it; use a profile score or a tag",
            ),
            Word::Operator if object.has("attribute") => {}
            Word::Operator => operator_alone(object, key),
            Word::State => state_word(object, key),
            Word::Unknown => unknown(object, key),
        }
    }
    Some(joined(parts, EventCondition::All))
}

fn event_combined(object: &Object<'_>, key: &str, value: &Value, level: Level, depth: usize) -> Option<EventCondition> {
    if key == "not" {
        let path = object.at(key);
        let part = event(&Object::new(value, &path, object.report)?, level, depth + 1)?;
        return Some(EventCondition::Not(Box::new(part)));
    }
    let parts: Vec<_> = alternatives(object, key)
        .into_iter()
        .filter_map(|(path, part)| event(&Object::new(part, &path, object.report)?, level, depth + 1))
        .collect();
    Some(if key == "all" { EventCondition::All(parts) } else { EventCondition::Any(parts) })
}

fn event_field(object: &Object<'_>, key: &str, value: &Value) -> Option<EventCondition> {
    if TIMES.contains(&key) {
        let Some(time) = value.as_str().and_then(time) else {
            object.error(key, "must be a date or a time, as in `2026-01-31` or `2026-01-31T09:00:00Z`");
            return None;
        };
        return Some(if key == "after" { EventCondition::After(time) } else { EventCondition::Before(time) });
    }
    if let Some(Err(message)) = parameter(key).map(|(_, name)| check_property_name(name)) {
        object.error(key, message);
        return None;
    }
    let path = object.at(key);
    let check = |what, words: Vec<&str>| check_words(value, &path, object.report, what, &words);
    match key {
        "event" => check("kind of event", KINDS.iter().map(|row| row.slug).collect()),
        "source" => check("source", SOURCES.iter().filter(|s| **s != Source::Identify).map(|s| s.slug()).collect()),
        _ => {}
    }
    let operators = field_operators(value, &path, object.report);
    let condition = |operator: Operator| match (parameter(key), key) {
        (Some(("utm", name)), _) => EventCondition::Utm(name.to_owned(), operator),
        (Some((_, name)), _) => EventCondition::Property(name.to_owned(), operator),
        (None, "event") => {
            let asked = KINDS.iter().filter(|row| operator.holds(Some(&Seen::text(row.slug))));
            EventCondition::Kind(asked.map(|row| kind_bit(row.kind)).fold(0, BitOr::bitor))
        }
        (None, "source") => {
            let asked = SOURCES.iter().filter(|source| operator.holds(Some(&Seen::text(source.slug()))));
            EventCondition::Source(asked.map(|source| 1 << (*source as u32)).fold(0, BitOr::bitor))
        }
        (None, "event_type") => EventCondition::Text(Text::EventType, operator),
        (None, "name") => EventCondition::Text(Text::Name, operator),
        (None, "url") => EventCondition::Text(Text::Url, operator),
        (None, _) => EventCondition::Text(Text::Referrer, operator),
    };
    Some(joined(operators.into_iter().map(condition).collect(), EventCondition::All))
}

/// `count`: an object of comparisons.
fn count(object: &Object<'_>) -> Option<CountTest> {
    let path = object.at("count");
    let value = object.fields.get("count")?;
    let count = Object::new(value, &path, object.report)?;
    let words: Vec<_> = CountTest::WORDS.iter().map(|(word, _)| *word).collect();
    count.only(&words);
    if count.fields.is_empty() {
        count.report.error(&path, "must compare with something, as in {\"gte\": 2}");
    }
    let tests = CountTest::WORDS
        .iter()
        .filter_map(|(word, compare)| Some((*compare, u64::from(count.whole(word, 0..=COUNT_MAX)?))));
    let test = CountTest(tests.collect());
    if !(0..=u64::from(COUNT_MAX) + 1).any(|number| test.holds(number)) {
        count.report.error(&path, "is fulfilled by no number");
    }
    Some(test)
}

/// A stretch of days, in ms.
pub(super) fn days(object: &Object<'_>, key: &str) -> Option<i64> {
    let ms = (object.number(key, 0.0..=DAYS_MAX)? * DAY_MS as f64).round() as i64;
    if ms == 0 {
        object.error(key, "must be more than 0");
    }
    (ms > 0).then_some(ms)
}

/// A date (its start in UTC) or an RFC 3339 time, in ms.
fn time(text: &str) -> Option<i64> {
    // Both are also read without hyphens, in which nobody sees a year from a number.
    if !text.trim_start_matches('-').trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('-') {
        return None;
    }
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        // `Date` would also take the date out of a time without an offset, which could mean any zone.
        Err(_) if text.len() != "2026-01-31".len() => return None,
        Err(_) => {
            Offset::UTC.to_timestamp(text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())).ok()?
        }
    };
    Some(timestamp.as_millisecond())
}
