//! What became of one event: for each rule that it matched or nearly matched, what it earned or why not.
//!
//! A rule is nearly matched when all of its questions are answered with yes but one. The questions of a rule are the fields
//! of its `when`, one for each operator, and the conditions in an `all`; an `any` or a `not` is one question.

use super::balance::Note;
use super::fold::{Matched, State};
use super::known::Known;
use super::model::{Behavior, Model, Rule, Target};
use super::parse_condition::Compiler;
use super::reader::{Report, step};
use super::subject::{Subject, property_sent, utm_sent};
use super::{Attributes, Occurrence};
use serde_json::{Map, Value, json};

/// What a rule made of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The score's slug.
    pub score: String,
    /// The rule's id.
    pub rule: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The points that it gave or would have given; what it would have set the score to.
    pub points: f64,
    /// What stood in the way.
    pub failed: Option<Failed>,
}

/// What came of a rule at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It gave points, or set the score.
    Earned,
    /// It matched, but a limit was used up.
    Limited,
    /// It matched, but its `count` did not hold.
    Counted,
    /// It matched, but the event is taken for a machine's.
    Bot,
    /// It matched, but the event is of one of our own people.
    Internal,
    /// It matched, but the prospect is excluded: nothing is shown of what it earned.
    Excluded,
    /// All of its questions but one were answered with yes.
    NearlyMatched,
}

impl Outcome {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Outcome::Earned => "earned",
            Outcome::Limited => "limited",
            Outcome::Counted => "count",
            Outcome::Bot => "bot",
            Outcome::Internal => "internal",
            Outcome::Excluded => "excluded",
            Outcome::NearlyMatched => "nearly",
        }
    }
}

/// A condition that did not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// Where it stands in the model: a JSON pointer.
    pub path: String,
    /// It, as it stands there.
    pub condition: Value,
    /// What the event has in that place, if it has anything.
    pub found: Option<Value>,
}

/// What became of the event of a place among all of the prospect's, which are in the order (`at`, `id`, `rec`). `now` is
/// when it is asked whether the prospect is excluded.
#[must_use]
pub fn why(
    model: &Model,
    occurrences: &[Occurrence<'_>],
    attributes: &Attributes,
    place: usize,
    now: i64,
) -> Vec<Verdict> {
    let Some((event, before)) = occurrences.get(place).zip(occurrences.get(..place)) else { return Vec::new() };
    let mut state = State::new(model);
    for o in before {
        state.apply(model, &Matched::new(model, o), &mut |_, _| {});
    }
    let mut notes: Vec<(usize, usize, Note)> = Vec::new();
    state.apply(model, &Matched::new(model, event), &mut |score, note| match note {
        Note::Points(rule, _) | Note::Set(rule, _) | Note::Limited(rule, ..) | Note::Counted(rule, _) => {
            notes.push((score, rule, note));
        }
        Note::Told(_) | Note::Inactivity(..) | Note::Expired(_) | Note::Crowded(..) => {}
    });
    for later in occurrences.iter().skip(place + 1).filter(|o| o.at <= now) {
        state.apply(model, &Matched::new(model, later), &mut |_, _| {});
    }
    let json: Value = serde_json::from_str(model.json()).unwrap_or_default();
    let excluding = model.excluding(&state.view(model, &Known::new(model, attributes), now)).map(|path| {
        let condition = json.pointer(&path).cloned().unwrap_or_default();
        let asked = condition.get("attribute").and_then(Value::as_str);
        let found = asked.and_then(|name| attributes.value(name));
        Failed { path, condition, found }
    });
    let mut verdicts = Vec::new();
    for (score, behavior) in model.behaviors() {
        let Some(slug) = model.scores.get(score).map(|score| score.slug.as_str()) else { continue };
        let rules = json.pointer(&format!("/scores/{score}/rules"));
        for (rule_place, rule) in behavior.rules.iter().enumerate() {
            let noted = notes.iter().find(|(s, r, _)| (*s, *r) == (score, rule_place)).map(|(_, _, note)| *note);
            let path = format!("/scores/{score}/rules/{rule_place}");
            let written = rules.and_then(|rules| rules.get(rule_place));
            let judged = judge(model, behavior, (rule_place, rule), written, &path, event, noted);
            let judged = judged.map(|(outcome, failed)| match (outcome, &excluding) {
                (Outcome::Earned, Some(excluding)) => (Outcome::Excluded, Some(excluding.clone())),
                _ => (outcome, failed),
            });
            verdicts.extend(judged.map(|(outcome, failed)| Verdict {
                score: slug.to_owned(),
                rule: rule.id.clone(),
                outcome,
                points: rule.effect.value(),
                failed,
            }));
        }
    }
    verdicts
}

/// What one rule made of the event; `None` if it has nothing to do with it.
fn judge(
    model: &Model,
    behavior: &Behavior,
    (place, rule): (usize, &Rule),
    written: Option<&Value>,
    path: &str,
    event: &Occurrence<'_>,
    noted: Option<Note>,
) -> Option<(Outcome, Option<Failed>)> {
    match noted {
        Some(Note::Limited(_, _, limit)) => return Some((Outcome::Limited, limited(path, written, rule, limit))),
        Some(Note::Counted(_, count)) => return Some((Outcome::Counted, counted(path, written, rule, count))),
        Some(_) => return Some((Outcome::Earned, None)),
        None => {}
    }
    let own = usize::from(behavior.matchers.start)..usize::from(behavior.matchers.end);
    let matcher = model.matchers.get(own)?.iter().find(|matcher| matcher.target == Target::Rule(place))?;
    let subject = Subject::new(event.at, event.body);
    if matcher.condition.holds(&subject) {
        if event.internal {
            return Some((Outcome::Internal, None));
        }
        if let Some(bot) = event.body.bot.as_ref().filter(|_| !matcher.include_bots) {
            let condition = json!({ "include_bots": false });
            let found = Some(Value::from(bot.as_str()));
            return Some((Outcome::Bot, Some(Failed { path: path.to_owned(), condition, found })));
        }
        return None;
    }
    let when = written?.get("when")?.as_object()?;
    let mut questions = Vec::new();
    questions_of(when, &format!("{path}/when"), &mut questions);
    let mut failed = questions.iter().filter(|question| !question.holds(&subject));
    let (only, more) = (failed.next()?, failed.next());
    (more.is_none() && questions.len() > 1)
        .then(|| (Outcome::NearlyMatched, Some(Failed { found: only.found(&subject), ..only.failed.clone() })))
}

/// The limit of a place that was used up.
fn limited(path: &str, written: Option<&Value>, rule: &Rule, place: usize) -> Option<Failed> {
    let limit = rule.limits.get(place)?;
    let found = Some(format!("{times} of {times} per {per}", times = limit.times, per = limit.per.word()).into());
    let (path, written) = (format!("{path}/limit"), written?.get("limit")?);
    Some(match written.get(place) {
        Some(one) => Failed { path: step(&path, place), condition: one.clone(), found },
        None => Failed { path, condition: written.clone(), found },
    })
}

/// The `count` of a rule, which may be left out beside `within_days`.
fn counted(path: &str, written: Option<&Value>, rule: &Rule, count: u64) -> Option<Failed> {
    let when = written?.get("when")?;
    let condition = when.get("count").cloned().unwrap_or_else(|| json!({ "gte": 1 }));
    let (test, window) = rule.count.as_ref()?;
    let found = test.beside(count, window.is_some()).map(Value::from);
    Some(Failed { path: format!("{path}/when/count"), condition, found })
}

/// One question of a rule.
struct Question {
    failed: Failed,
    /// The fields that it asks, for what is found there: one, or all those of an `any` or a `not`.
    fields: Vec<String>,
    /// It as a condition of its own.
    condition: Value,
}

fn questions_of(when: &Map<String, Value>, path: &str, questions: &mut Vec<Question>) {
    for (field, value) in when {
        let at = step(path, field);
        match (field.as_str(), value) {
            ("count" | "within_days", _) => {}
            ("all", Value::Array(parts)) => {
                for (place, part) in parts.iter().enumerate() {
                    if let Some(part) = part.as_object() {
                        questions_of(part, &step(&at, place), questions);
                    }
                }
            }
            ("any" | "not", _) => questions.push(Question {
                failed: Failed { path: at, condition: value.clone(), found: None },
                fields: fields_of(value),
                condition: json!({ field: value }),
            }),
            (_, Value::Object(operators)) => questions.extend(operators.iter().map(|(operator, operand)| Question {
                failed: Failed { path: step(&at, operator), condition: json!({ operator: operand }), found: None },
                fields: vec![field.clone()],
                condition: json!({ field: { operator: operand } }),
            })),
            _ => questions.push(Question {
                failed: Failed { path: at, condition: value.clone(), found: None },
                fields: vec![field.clone()],
                condition: json!({ field: value }),
            }),
        }
    }
}

/// The fields that a condition asks, with those inside `all`, `any` and `not`.
fn fields_of(condition: &Value) -> Vec<String> {
    match condition {
        Value::Array(parts) => parts.iter().flat_map(fields_of).collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(field, value)| match field.as_str() {
                "all" | "any" | "not" => fields_of(value),
                _ => vec![field.clone()],
            })
            .collect(),
        _ => Vec::new(),
    }
}

impl Question {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let report = Report::default();
        let compiler = Compiler::new(&report);
        compiler.rule(&self.condition, "").is_some_and(|when| when.condition.holds(subject))
    }

    /// What is found in the field; in several, by their names.
    fn found(&self, subject: &Subject<'_>) -> Option<Value> {
        match self.fields.as_slice() {
            [field] if self.condition.get(field).is_some() => Question::found_in(field, subject),
            fields => {
                let found = |field: &String| (field.clone(), Question::found_in(field, subject).unwrap_or_default());
                Some(Value::Object(fields.iter().map(found).collect()))
            }
        }
    }

    fn found_in(field: &str, subject: &Subject<'_>) -> Option<Value> {
        let body = subject.body;
        let text = |text: &Option<String>| text.clone().map(Value::from);
        match field {
            "event" => Some(body.kind.slug().into()),
            "source" => Some(body.source.slug().into()),
            "event_type" => text(&body.event_type),
            "name" => Some(body.name.as_str().into()),
            "url" => text(&body.url),
            "referrer" => text(&body.referrer),
            "after" | "before" => crate::time::show(subject.at).map(Value::from),
            field => match field.split_once('.')? {
                ("utm", name) => utm_sent(body, name),
                (_, path) => property_sent(body, path),
            },
        }
    }
}
