//! Wrong models and exactly what is said about them: `bad_models.yaml`, and those that are too large to be written down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use wingbeat_engine::cli::document;
use wingbeat_engine::cli::suite::Suite;
use wingbeat_engine::scoring::{Model, schema};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    set: BTreeMap<String, Value>,
    errors: Vec<String>,
}

/// The shipped model with these places changed.
fn changed(set: &BTreeMap<String, Value>) -> Value {
    let mut model: Value = serde_json::from_str(Model::SHIPPED).unwrap();
    for (pointer, value) in set {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match model.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.insert(key.to_owned(), value.clone())),
            Value::Array(list) => match list.get_mut(key.parse::<usize>().unwrap()) {
                Some(element) => *element = value.clone(),
                None => list.push(value.clone()),
            },
            other => panic!("{other}"),
        }
    }
    model
}

fn errors(json: &str) -> Vec<String> {
    Model::parse(json).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_models.yaml");
    document::read(&path, &document::text(&path).unwrap()).unwrap()
}

#[test]
fn every_wrong_model_is_told_exactly_what_is_wrong() {
    let cases = cases();
    let mut differing = BTreeMap::new();
    for case in &cases {
        let found = errors(&changed(&case.set).to_string());
        if found != case.errors || found.is_empty() {
            differing.insert(case.name.clone(), found);
        }
    }
    assert!(differing.is_empty(), "{}", serde_json::to_string_pretty(&differing).unwrap());
    assert!(cases.len() >= 60, "{} cases", cases.len());
}

fn rule(id: usize, when: &Value) -> Value {
    json!({ "id": format!("r{id}"), "when": when, "points": 1 })
}

fn score(slug: &str, rules: impl Iterator<Item = Value>) -> Value {
    json!({ "slug": slug, "rules": rules.collect::<Vec<_>>() })
}

#[test]
fn what_would_take_unbounded_memory_or_time_is_refused_with_the_limit() {
    let custom = json!({ "event": "custom" });
    let rules = |count: usize, when: &Value| score("s", (0..count).map(|id| rule(id, when)));
    let scores = |scores: Vec<Value>| json!({ "scores": scores });
    let name = |needle: Value| scores(vec![rules(1, &json!({ "name": needle }))]);
    let deep = (0..16).fold(custom.clone(), |inner, _| json!({ "not": inner }));
    let tag = |id: usize, when: Value| json!({ "slug": format!("t{id}"), "when": when });
    let tags = |tags: Vec<Value>| json!({ "scores": [{ "slug": "s" }], "tags": tags });
    let windowed = json!({ "event": "custom", "count": { "gte": 1000 }, "within_days": 30 });
    let cases = [
        (
            json!({ "scores": [{ "slug": "s" }], "note": "x".repeat(1 << 20) }),
            "a model may have 1048576 bytes; this has 1048611",
        ),
        (
            scores((0..33).map(|n| json!({ "slug": format!("s{n}") })).collect()),
            "/scores: has 33 elements; 32 are allowed",
        ),
        (scores(vec![rules(501, &custom)]), "/scores/0/rules: has 501 elements; 500 are allowed"),
        (
            scores((0..9).map(|n| score(&format!("s{n}"), (0..456).map(|id| rule(id, &custom)))).collect()),
            "has 4104 conditions; 4096 are allowed",
        ),
        (
            scores(vec![rules(
                500,
                &json!({ "event": "custom", "all": vec![json!({ "name": { "glob": "*a*" } }); 2] }),
            )]),
            "asking an event of one kind all that it may be asked takes 5000 steps; 4096 are allowed: one for each rule and \
             tag, one for a condition, 2 with `contains`, 4 for each part of a `glob` between two stars, one more for every 16 \
             values of `in`",
        ),
        (
            scores(vec![rules(
                1,
                &json!({ "any": vec![json!({ "any": vec![json!({ "after": "2099-01-01" }); 1000] }); 10] }),
            )]),
            "has 10000 conditions; 4096 are allowed",
        ),
        (
            tags(
                (0..5)
                    .map(|n| tag(n, json!({ "event": "custom", "any": vec![json!({ "source": "api" }); 900] })))
                    .collect(),
            ),
            "has 4505 conditions; 4096 are allowed",
        ),
        (tags((0..501).map(|n| tag(n, custom.clone())).collect()), "/tags: has 501 elements; 500 are allowed"),
        (
            tags((0..5).map(|n| tag(n, json!({ "any": vec![&custom; 900] }))).collect()),
            "has 4500 conditions; 4096 are allowed",
        ),
        (
            scores(vec![rules(5, &json!({ "any": vec![json!({ "name": "a" }); 900] }))]),
            "has 4500 conditions; 4096 are allowed",
        ),
        (
            scores(vec![rules(
                1,
                &json!({ "not": { "all": vec![json!({ "any": vec![json!({ "property.a": { "gt": 1, "lt": 5 } }); 300] }); 7] } }),
            )]),
            "has 4200 conditions; 4096 are allowed",
        ),
        (
            tags(
                (0..5).map(|n| tag(n, json!({ "any": vec![json!({ "attribute": "a", "equals": 1 }); 900] }))).collect(),
            ),
            "has 4500 conditions; 4096 are allowed",
        ),
        (
            json!({ "scores": [{ "slug": "s" }], "stages": vec![json!({ "slug": "a" }); 21] }),
            "/stages: has 21 elements; 20 are allowed",
        ),
        (
            scores(vec![rules(1, &deep)]),
            &format!("/scores/0/rules/0/when{}: is nested more than 16 deep", "/not".repeat(16)),
        ),
        (
            name(json!({ "glob": "*".repeat(257) })),
            "/scores/0/rules/0/when/name/glob: must be at most 256 characters long",
        ),
        (
            scores(vec![rules(5, &json!({ "name": { "glob": format!("*{}?*", "a".repeat(250)) } }))]),
            "the parts of all `glob`s that have a `?` may have 512 characters together; these have 1255",
        ),
        (
            name(json!({ "contains": "ä".repeat(1025) })),
            "/scores/0/rules/0/when/name/contains: must be at most 1024 characters long",
        ),
        (name(json!("a".repeat(1025))), "/scores/0/rules/0/when/name: must be at most 1024 characters long"),
        (
            name(json!({ "in": ["a", "a".repeat(1025)] })),
            "/scores/0/rules/0/when/name/in/1: must be at most 1024 characters long",
        ),
        (
            name(json!({ "in": vec![1; 1001] })),
            "/scores/0/rules/0/when/name/in: must be a list of 1 to 1000 texts, numbers, true or false",
        ),
        (
            scores(vec![rules(1, &json!({ "any": vec![&custom; 1001] }))]),
            "/scores/0/rules/0/when/any: has 1001 elements; 1000 are allowed",
        ),
        (
            scores(vec![rules(1, &json!({ format!("property.{}", "a.".repeat(16) + "a"): 1 }))]),
            &format!(
                "/scores/0/rules/0/when/property.{}a: a name may have 256 characters and 16 parts between dots",
                "a.".repeat(16)
            ),
        ),
        (
            scores(vec![rules(17, &windowed)]),
            "all `count`s with `within_days` together may go up to 16384, and a rule whose points disappear counts as \
             256; these are 17017",
        ),
        (
            scores(vec![rules(65, &json!({ "event": "custom", "within_days": 30 }))]),
            "all `count`s with `within_days` together may go up to 16384, and a rule whose points disappear counts as \
             256; these are 16640",
        ),
        (
            json!({ "scores": [{ "slug": "s", "bands": (0..33).map(|n| (format!("b{n}"), json!(n))).collect::<serde_json::Map<_, _>>() }] }),
            "/scores/0/bands: has 33 bands; 32 are allowed",
        ),
        (
            json!({ "scores": [{ "slug": "s", "inactivity": vec![json!({ "after_days": 1, "points": -1 }); 9] }] }),
            "/scores/0/inactivity: has 9 elements; 8 are allowed",
        ),
    ];
    for (model, expected) in cases {
        assert_eq!(errors(&model.to_string()), [expected]);
    }
}

#[test]
fn just_inside_the_limits_is_fine() {
    let scores: Vec<Value> = (0..8)
        .map(|n| {
            score(
                &format!("s{n}"),
                (0..85).map(|id| rule(id, &json!({ "event": "custom", "name": { "glob": "*a*" } }))),
            )
        })
        .collect();
    assert_eq!(errors(&json!({ "scores": scores }).to_string()), [""; 0]);
}

#[test]
fn what_is_no_json_says_where_it_ends_to_be() {
    for (text, expected) in [
        ("", "is no JSON: EOF while parsing a value at line 1 column 0"),
        ("{\"scores\": [}", "is no JSON: expected value at line 1 column 13"),
        ("[]", "must be an object, not a list"),
        ("null", "must be an object, not null"),
        (
            "{\"scores\": [{\"slug\": \"s\"}],\n\"scores\": []}",
            "/scores: is given twice in one object at line 2 column 8",
        ),
        (&"[".repeat(200), "is nested too deep to be read: at most 127 objects and lists within each other"),
        ("{\"scores\": [{\"slug\": \"s\", \"cap\": 1e999}]}", "is no JSON: number out of range at line 1 column 38"),
    ] {
        assert_eq!(errors(text), [expected], "{text}");
    }
}

#[test]
fn of_very_many_mistakes_a_hundred_are_told() {
    let fields: serde_json::Map<_, _> = (0..5000).map(|n| (format!("field{n}"), json!(n))).collect();
    assert_eq!(errors(&Value::Object(fields).to_string()).len(), 100);
}

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::meta::validate(&schema()).unwrap();
    jsonschema::draft202012::new(&schema()).unwrap()
}

#[test]
fn the_schema_takes_every_model_of_the_reference_suite() {
    let validator = validator();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules");
    let mut models = vec![Model::SHIPPED.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let suite = Suite::read(&entry.unwrap().path()).unwrap();
        models.extend(suite.cases.iter().map(|case| case.model.json().to_owned()));
    }
    assert!(models.len() > 200);
    for model in models {
        let value: Value = serde_json::from_str(&model).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{model}\n{errors:#?}");
    }
}

#[test]
fn the_schema_refuses_what_a_schema_can_see_is_wrong() {
    let validator = validator();
    let cases = cases();
    let taken: Vec<&str> =
        cases.iter().filter(|case| validator.is_valid(&changed(&case.set))).map(|case| case.name.as_str()).collect();
    // What is left to the parser: things that must be unique, or fit to one another.
    let by_the_parser_alone = [
        "A cap below the floor",
        "A floor above the cap, of which nothing follows for stages and bands",
        "A slug taken",
        "Two main scores",
        "Two bands at one value",
        "An id taken",
        "Points that are lost and disappear",
        "A set that disappears",
        "A pattern that fits no kind of event",
        "A stage on a score nearly right",
        "A stage on a score that is none",
        "A stage on a profile score",
        "A stage that is left above its line",
        "A stage below an earlier one",
        "A stage at the cap",
        "A stage below the floor",
        "A band above the cap",
        "Bands below the floor",
        "A count of more than 5 and less than 3",
        "After what it is before",
        "A stage on profile scores alone, in a list",
        "A stage in a list of one, as high as an earlier stage",
        "A stage of the same name",
        "Warm above hot",
    ];
    assert_eq!(taken, by_the_parser_alone);
}
