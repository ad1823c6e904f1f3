//! What became of one event: for each rule that it matched or nearly matched, what it earned or why not.
//!
//! A rule is nearly matched when all of its questions are answered with yes but one. The questions of a rule are the fields
//! of its `when`, one for each operator, and the conditions in an `all`; an `any` or a `not` is one question.

use super::balance::Note;
use super::fold::{Matched, State};
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
    let mut earned: Vec<(usize, usize, Outcome)> = Vec::new();
    state.apply(model, &Matched::new(model, event), &mut |score, note| match note {
        Note::Points(rule, _) | Note::Set(rule, _) => earned.push((score, rule, Outcome::Earned)),
        Note::Limited(rule, _) => earned.push((score, rule, Outcome::Limited)),
        Note::Told(_) | Note::Inactivity(..) | Note::Expired(_) | Note::Crowded(..) => {}
    });
    for later in occurrences.iter().skip(place + 1).filter(|o| o.at <= now) {
        state.apply(model, &Matched::new(model, later), &mut |_, _| {});
    }
    let excluded = model.excluded(&state.view(model, attributes, now)).is_some();
    let json: Value = serde_json::from_str(model.json()).unwrap_or_default();
    let mut verdicts = Vec::new();
    for (score, behavior) in model.behaviors() {
        let Some(slug) = model.scores.get(score).map(|score| score.slug.as_str()) else { continue };
        let rules = json.pointer(&format!("/scores/{score}/rules"));
        for (rule_place, rule) in behavior.rules.iter().enumerate() {
            let noted = earned.iter().find(|(s, r, _)| (*s, *r) == (score, rule_place)).map(|(_, _, outcome)| *outcome);
            let path = format!("/scores/{score}/rules/{rule_place}");
            let written = rules.and_then(|rules| rules.get(rule_place));
            let judged = judge(model, behavior, (rule_place, rule), written, &path, event, noted);
            verdicts.extend(judged.map(|(outcome, failed)| Verdict {
                score: slug.to_owned(),
                rule: rule.id.clone(),
                outcome: if excluded && outcome == Outcome::Earned { Outcome::Excluded } else { outcome },
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
    noted: Option<Outcome>,
) -> Option<(Outcome, Option<Failed>)> {
    let field = |name: &str, found: Option<Value>| {
        Some(Failed { path: format!("{path}/{name}"), condition: written?.get(name)?.clone(), found })
    };
    match noted {
        Some(Outcome::Limited) => return Some((Outcome::Limited, field("limit", None))),
        Some(outcome) => return Some((outcome, None)),
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
        // It was applied, and said nothing: only a `count` does that.
        return rule.count.as_ref().map(|_| (Outcome::Counted, count(path, written)));
    }
    let when = written?.get("when")?.as_object()?;
    let mut questions = Vec::new();
    questions_of(when, &format!("{path}/when"), &mut questions);
    let mut failed = questions.iter().filter(|question| !question.holds(&subject));
    let (only, more) = (failed.next()?, failed.next());
    (more.is_none() && questions.len() > 1)
        .then(|| (Outcome::NearlyMatched, Some(Failed { found: only.found(&subject), ..only.failed.clone() })))
}

/// The `count` of a rule, which may be left out beside `within_days`.
fn count(path: &str, written: Option<&Value>) -> Option<Failed> {
    let when = written?.get("when")?;
    let condition = when.get("count").cloned().unwrap_or_else(|| json!({ "gte": 1 }));
    Some(Failed { path: format!("{path}/when/count"), condition, found: None })
}

/// One question of a rule.
struct Question {
    failed: Failed,
    /// The field that it asks, for what is found there.
    field: String,
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
                field: String::new(),
                condition: json!({ field: value }),
            }),
            (_, Value::Object(operators)) => questions.extend(operators.iter().map(|(operator, operand)| Question {
                failed: Failed { path: step(&at, operator), condition: json!({ operator: operand }), found: None },
                field: field.clone(),
                condition: json!({ field: { operator: operand } }),
            })),
            _ => questions.push(Question {
                failed: Failed { path: at, condition: value.clone(), found: None },
                field: field.clone(),
                condition: json!({ field: value }),
            }),
        }
    }
}

impl Question {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        let report = Report::default();
        let compiler = Compiler { report: &report, matchers: Vec::new(), histories: Vec::new() };
        compiler.rule(&self.condition, "").is_some_and(|when| when.condition.holds(subject))
    }

    fn found(&self, subject: &Subject<'_>) -> Option<Value> {
        let body = subject.body;
        let text = |text: &Option<String>| text.clone().map(Value::from);
        match self.field.as_str() {
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
