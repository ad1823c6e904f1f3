//! What looking at a prospect costs: as much as is asked, not that times the size of what is there.

use super::super::known::counted::{ASKED, PREPARED};
use super::*;
use serde_json::{Value, json};

/// How often a look at somebody who has viewed a page asks for attributes, and prepares one.
fn look(model: &Value, known: &Attributes) -> (u64, u64) {
    let model = parse(model);
    let fold = fold(&model, &[pricing(T0)], T0);
    let before = (ASKED.get(), PREPARED.get());
    let _ = fold.standing(&model, known, T0);
    (ASKED.get() - before.0, PREPARED.get() - before.1)
}

#[test]
fn an_attribute_is_prepared_once_for_all_that_is_asked_of_it() {
    // 1 KB, the longest that is taken.
    let list: Value = (0..500).map(|n| json!(n % 10)).collect();
    let known = attributes(&[("big", &list.to_string(), T0)]);
    let excluding = |questions: usize| {
        let asked: Vec<Value> =
            (0..questions).map(|n| json!({ "attribute": "big", "contains": format!("z{n}") })).collect();
        json!({ "scores": [{ "slug": "s" }], "exclude": { "any": asked } })
    };
    let (few, many) = (look(&excluding(2), &known), look(&excluding(400), &known));
    assert_eq!((few.1, many.1), (1, 1), "prepared for each anew, an event took 0.75 s");
    assert_eq!(many.0, 200 * few.0);
}

#[test]
fn a_profile_score_is_made_up_once_however_many_stages_ask_for_it() {
    let known = attributes(&[("a", "1", T0)]);
    let rule = |n: usize| json!({ "id": format!("r{n}"), "when": { "attribute": "a", "equals": n }, "points": 1 });
    let model = |stages: usize| {
        let gates: Vec<Value> = (0..7).map(|above| json!({ "score": "fit", "above": -above })).collect();
        let stage = |n: usize| {
            let line = json!({ "score": "s", "above": n as f64 / 100.0 });
            let all: Vec<Value> = [line].into_iter().chain(gates.clone()).collect();
            json!({ "slug": format!("s{n}"), "when": { "all": all } })
        };
        let stages: Vec<Value> = [json!({ "slug": "first" })].into_iter().chain((0..stages).map(stage)).collect();
        json!({ "stages": stages, "scores": [
            { "slug": "s", "rules": [{ "id": "page", "when": { "event": "page_view" }, "points": 1 }] },
            { "slug": "fit", "kind": "profile", "rules": (0..500).map(rule).collect::<Vec<_>>() }] })
    };
    assert_eq!(look(&model(19), &known), look(&model(1), &known), "133 gates ask no more than seven");
}
