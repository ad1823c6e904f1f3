//! The schema against the parser: both judge alike whatever stands in a place.

use super::*;
use crate::scoring::ModelError;
use serde_json::{Value, json};

/// A model with every field that there is.
fn whole() -> Value {
    let described = json!({ "name": "Name", "note": "Note", "author": "Ada" });
    let with = |mut fields: Value| {
        fields.as_object_mut().unwrap().extend(described.as_object().unwrap().clone());
        fields
    };
    let operators = json!({ "equals": "a", "not_equals": 1, "contains": "b", "not_contains": true, "starts_with": "c",
        "ends_with": "d", "glob": "*e*", "in": ["f", 2], "gt": 1, "gte": 2, "lt": 9, "lte": 8, "exists": true });
    let mut attribute = operators.clone();
    attribute["attribute"] = "industry".into();
    let event = json!({ "event": "custom", "event_type": "e", "name": operators, "url": "u", "referrer": "r",
        "source": { "in": ["api", "tracker"] }, "after": "2026-01-01", "before": "2026-12-31T10:00:00Z",
        "property.plan": "pro", "utm.source": "mail" });
    let combined = json!({ "event": { "not_equals": "custom" }, "all": [{ "url": "u" }], "any": [{ "name": "n" }],
        "not": { "referrer": "r" }, "count": { "gt": 1, "gte": 2, "lt": 9, "lte": 8, "equals": 5 }, "within_days": 30 });
    let rules = json!([
        with(json!({ "id": "a", "when": event, "points": 5, "tags": ["web"], "include_bots": true,
            "limit": { "times": 1, "per": "day" } })),
        { "id": "b", "when": combined, "set": 5, "limit": [{ "times": 1, "per": "month" }] }]);
    let profile = json!([with(json!({ "id": "p", "when": attribute, "points": 5, "tags": ["fit"] })),
        { "id": "q", "when": { "all": [attribute], "any": [attribute], "not": attribute }, "points": -5 }]);
    let mut history = combined.clone();
    history["attribute"] = "plan".into();
    history["exists"] = true.into();
    json!({
        "name": "Name", "note": "Note", "author": "Ada",
        "scores": [
            with(json!({ "slug": "s", "tags": ["one"], "main": true, "kind": "behavior", "floor": -5, "cap": 50,
                "account_aggregate": "sum", "bands": { "A": 5, "B": 1 }, "half_life_days": 30, "rules": rules,
                "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] })),
            { "slug": "p", "kind": "profile", "rules": profile },
            { "slug": "x", "kind": "external", "half_life_days": 3, "attribute": "ml" }],
        "temperature": { "half_life_days": 7, "hot": 40, "warm": 20, "normal": 8, "cold": 2, "weights": { "download": 3 },
            "note": "Note" },
        "tags": [
            with(json!({ "slug": "t", "color": "#d97706", "when": history, "include_bots": true })),
            { "slug": "u", "when": { "event": "custom", "not_within_days": 30 } }],
        "stages": [
            with(json!({ "slug": "lead", "tags": ["first"] })),
            with(json!({ "slug": "mql", "tags": ["second"], "when": { "score": "s", "above": 5 }, "leave_below": -5 }))],
        "include": { "any": [{ "event": "custom" }, attribute] },
        "exclude": { "not": { "event": "custom" } },
    })
}

/// Every place in a value.
fn places(value: &Value, place: &str, found: &mut Vec<String>) {
    found.push(place.to_owned());
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, value) in inside {
        places(value, &format!("{place}/{step}"), found);
    }
}

#[test]
fn whatever_stands_in_a_place_schema_and_parser_judge_alike() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    let whole = whole();
    parse(&whole);
    let mut found = Vec::new();
    places(&whole, "", &mut found);
    let values = [json!(null), json!(true), json!(-1.5), json!(1e9), json!(""), json!("Zz"), json!([]), json!({})];
    let mut differing = Vec::new();
    for place in found {
        for value in &values {
            let mut model = whole.clone();
            *model.pointer_mut(&place).unwrap() = value.clone();
            let (parsed, valid) = (Model::parse(&model.to_string()), validator.is_valid(&model));
            // A schema cannot compare two places.
            let compares = |error: &ModelError| error.to_string().contains("nobody would ever");
            let parsed =
                parsed.map(drop).or_else(|errors| if errors.iter().all(compares) { Ok(()) } else { Err(errors) });
            if parsed.is_ok() != valid {
                differing.push(format!("{place} {value}: {:?}", parsed.err().map(|errors| errors[0].to_string())));
            }
        }
    }
    assert!(differing.is_empty(), "{} {differing:#?}", differing.len());
}

#[test]
fn a_part_of_a_word_of_a_closed_list_is_a_text() {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (part, right) in [(json!("mail"), true), (json!(""), false), (json!(5), false), (json!(true), false)] {
        for operator in ["contains", "not_contains"] {
            let rule = json!({ "id": "r", "when": { "event": { operator: part } }, "points": 1 });
            let model = json!({ "scores": [{ "slug": "s", "rules": [rule] }] });
            let judged = (Model::parse(&model.to_string()).is_ok(), validator.is_valid(&model));
            assert_eq!(judged, (right, right), "{operator} {part}");
        }
    }
}
