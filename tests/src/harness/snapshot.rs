//! Everything the API shows of people, in a form that can be compared: what must not change if nothing happened.

use super::Api;
use super::api::items;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All that is shown of these people, by prospect id.
///
/// Scores decay with every millisecond, so instead of the value now, the explanation at one time `at` is taken, with
/// all its parts. `rev` may grow by a repeat and is left out.
#[track_caller]
pub(crate) fn of<'r>(api: &Api, references: impl IntoIterator<Item = &'r str>, at: &str) -> BTreeMap<String, Value> {
    let mut people = BTreeMap::new();
    for reference in references {
        let mut prospect = api.prospect(reference);
        let id = prospect["id"].as_str().expect("an id").to_owned();
        let scores = prospect["scores"].as_object().cloned().unwrap_or_default();
        let shown = prospect.as_object_mut().expect("an object");
        shown.remove("rev");
        shown.remove("scores");
        let path = |what: &str| format!("/api/prospects/{id}/{what}");
        let explanations: Vec<Value> =
            scores.keys().map(|score| api.read(&path(&format!("explanation?score={score}&at={at}")))).collect();
        let identity = api.read(&path("identity"));
        let everything = json!({
            "prospect": prospect,
            "timeline": api.timeline(&id),
            "explanations": explanations,
            "identifiers": identity["identifiers"],
            "evidence": identity["evidence"],
        });
        people.insert(id, everything);
    }
    people
}

/// All that is shown of everybody.
#[track_caller]
pub(crate) fn of_everybody(api: &Api, at: &str) -> BTreeMap<String, Value> {
    let listed = api.pages("/api/prospects?sort=created_at&limit=200");
    let ids: Vec<String> = listed.iter().map(|prospect| prospect["id"].as_str().expect("an id").to_owned()).collect();
    of(api, ids.iter().map(String::as_str), at)
}

/// Fails, showing the first that differs, if two are not the same.
#[track_caller]
pub(crate) fn assert_same(one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>) {
    let ids = |people: &BTreeMap<String, Value>| people.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(one), ids(other), "other prospects");
    for (id, person) in one {
        let was = other.get(id).expect("just compared");
        for part in ["prospect", "timeline", "explanations", "identifiers", "evidence"] {
            assert_eq!(person[part], was[part], "{part} of {id}");
        }
    }
}

/// A number with six decimals, in millionths.
#[track_caller]
pub(crate) fn millionths(number: &Value) -> i64 {
    let value = number.as_f64().unwrap_or_else(|| panic!("no number: {number}")) * 1e6;
    assert!((value - value.round()).abs() < 1e-3, "more than six decimals: {number}");
    #[allow(clippy::cast_possible_truncation)]
    let rounded = value.round() as i64;
    rounded
}

/// The explanation of a score, whose parts must add up to its value to the last decimal.
#[track_caller]
pub(crate) fn explanation(api: &Api, reference: &str, score: &str) -> Value {
    let explanation = api.read(&format!("/api/prospects/{reference}/explanation?score={score}"));
    let sum: i64 = items(&explanation["parts"]).iter().map(|part| millionths(&part["contribution"])).sum();
    assert_eq!(sum, millionths(&explanation["value"]), "the parts do not add up: {explanation}");
    explanation
}
