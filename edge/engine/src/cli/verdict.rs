//! What becomes of tests of rules.

use super::moment;
use super::suite::{Case, Expect, Suite};
use crate::key::DeploymentKey;
use crate::scoring::{Attributes, Explanation, Fold, Occurrence, Part, PartKind, Standing, explain};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An expectation that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The time asked about, as it is written in tests.
    pub at: String,
    /// Of what.
    pub what: String,
    /// What was expected, and what is.
    pub expected: String,
    /// What is.
    pub found: String,
}

/// Holds a case against the engine. Beside what is expected, the parts of every explanation must add up to the value.
#[must_use]
pub fn judge(suite: &Suite, case: &Case) -> Vec<Failure> {
    case.expect.iter().flat_map(|expect| judge_at(suite, case, expect)).collect()
}

fn judge_at(suite: &Suite, case: &Case, expect: &Expect) -> Vec<Failure> {
    // Which key events are recorded under matters to nobody here, only that it is always the same.
    let key = DeploymentKey::new(b"a test of rules");
    let known = case.events.iter().filter(|event| event.received <= expect.at);
    let mut occurrences: Vec<Occurrence<'_>> = known
        .map(|event| Occurrence {
            at: event.record.at,
            id: &event.record.id,
            rec: key.hash(&event.record.rec),
            browser: event.record.rec.key_type().is_browser(),
            internal: case.internal,
            body: &event.record.body,
        })
        .collect();
    occurrences.sort_by_key(|o| (o.at, o.id, o.rec));
    let mut fold = Fold::default();
    occurrences.iter().for_each(|o| fold.push(&case.model, o, expect.at));
    let attributes = attributes_at(case, &occurrences, expect.at);
    let standing = fold.standing(&case.model, &attributes, expect.at);
    let explanation = |score: &str| explain(&case.model, &occurrences, &attributes, score, expect.at);

    let mut failures = Vec::new();
    let mut hold = |what: &str, expected: Value, found: Value| {
        if expected != found {
            let at = moment::since(expect.at, suite.start);
            failures.push(Failure { at, what: what.to_owned(), expected: shown(&expected), found: shown(&found) });
        }
    };
    for (slug, expected) in &expect.scores {
        let found = match explanation(slug) {
            Some(explanation) => json!(explanation.value),
            None => json!("no such score"),
        };
        hold(&format!("score {slug}"), json!(expected), found);
    }
    for (slug, expected) in &expect.bands {
        let found = standing.scores.iter().find(|(known, _)| known == slug).map(|(_, score)| &score.band);
        hold(&format!("band {slug}"), json!(expected), found.map_or(json!("no such score"), |band| json!(band)));
    }
    if let Some(tags) = &expect.tags {
        hold("tags", json!(tags), json!(standing.tags));
    }
    if let Some(temperature) = &expect.temperature {
        hold("temperature", json!(temperature), json!(standing.temperature));
    }
    if let Some(stage) = &expect.stage {
        hold("stage", json!(stage), json!(standing.stage));
    }
    if let Some(reason) = &expect.excluded {
        hold("excluded", json!(reason), json!(standing.excluded));
    }
    if let Some(why) = &expect.why {
        let found = explanation(case.model.main_score()).map(|explanation| sums(&explanation)).unwrap_or_default();
        hold("why", json!(why), json!(found));
    }
    let time = |at: Option<i64>| json!(at.map(|at| moment::since(at, suite.start)));
    if let Some(next) = expect.next_change {
        hold("next change", time(next), time(fold.due(&case.model, &attributes, expect.at)));
    }
    if let Some(active) = expect.active {
        hold("active", time(Some(active)), time(fold.last_active_at()));
    }
    for (slug, found) in values(&standing) {
        let sum = explanation(slug).map(|explanation| explanation.value.map(|_| sum(&explanation, &explanation.parts)));
        hold(&format!("parts of {slug}, added up"), json!(found), json!(sum.flatten()));
    }
    failures
}

/// What is known at a time: of what the case says and what its events tell, the latest word.
fn attributes_at(case: &Case, occurrences: &[Occurrence<'_>], at: i64) -> Attributes {
    let mut given: Vec<_> = case.attributes.0.iter().filter(|(_, attribute)| attribute.at <= at).collect();
    given.sort_by_key(|(_, attribute)| attribute.at);
    let mut given = given.into_iter().map(|(name, attribute)| (name.clone(), attribute.clone())).peekable();
    let mut attributes = Attributes::default();
    for o in occurrences {
        attributes.0.extend(std::iter::from_fn(|| given.next_if(|(_, attribute)| attribute.at <= o.at)));
        attributes.learn(o.body, o.at);
    }
    attributes.0.extend(given);
    attributes
}

/// Whole numbers without `.0`, as they are written in tests.
fn shown(value: &Value) -> String {
    value.to_string().replace(".0,", ",").replace(".0}", "}").trim_end_matches(".0").to_owned()
}

fn values(standing: &Standing) -> impl Iterator<Item = (&str, Option<f64>)> {
    standing.scores.iter().map(|(slug, score)| (slug.as_str(), score.value))
}

/// Contributions are whole parts of a unit: summed as such, nothing is rounded.
fn sum<'p>(explanation: &Explanation, parts: impl IntoIterator<Item = &'p Part>) -> f64 {
    let whole = |part: &Part| (part.contribution * explanation.resolution).round() as i64;
    parts.into_iter().map(whole).sum::<i64>() as f64 / explanation.resolution
}

/// What a score is made of, per rule or sort of part; what adds nothing is left out.
fn sums(explanation: &Explanation) -> BTreeMap<String, f64> {
    let mut parts: BTreeMap<String, Vec<&Part>> = BTreeMap::new();
    for part in explanation.parts.iter().filter(|part| part.kind != PartKind::Limited) {
        let name = part.rule.clone().unwrap_or_else(|| part.kind.slug().to_owned());
        parts.entry(name).or_default().push(part);
    }
    parts.into_iter().map(|(name, parts)| (name, sum(explanation, parts))).filter(|(_, sum)| *sum != 0.0).collect()
}
