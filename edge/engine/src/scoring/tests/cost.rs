//! What looking at a prospect costs: as much as is asked, not that times the size of what is there.

use super::*;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The shortest of several looks at somebody who has viewed a page.
#[allow(clippy::disallowed_methods)] // How long it takes is measured by the clock.
fn look(model: &Value, known: &Attributes) -> Duration {
    let model = parse(model);
    let fold = fold(&model, &[pricing(T0)], T0);
    let once = || {
        let begin = Instant::now();
        black_box(fold.standing(&model, known, T0));
        begin.elapsed()
    };
    (0..5).map(|_| once()).min().unwrap_or_default()
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
    println!("2 questions: {few:?}; 400: {many:?}, {:.1} times that", many.as_secs_f64() / few.as_secs_f64());
    // Two hundred times the questions: prepared for each anew, it was two hundred times as long.
    assert!(many < few * 50, "{few:?} {many:?}");
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
    let (one, many) = (look(&model(1), &known), look(&model(19), &known));
    println!("7 gates: {one:?}; 133: {many:?}, {:.1} times that", many.as_secs_f64() / one.as_secs_f64());
    // Made up for each gate anew, it was some fifteen times as long.
    assert!(many < one * 5, "{one:?} {many:?}");
}
