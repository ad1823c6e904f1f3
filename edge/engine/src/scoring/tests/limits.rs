//! The limits of models, each from both sides: what is just allowed, and what is just not.

use super::super::reader::ERRORS_MAX;
use super::*;
use serde_json::{Map, Value, json};

fn errors(model: &Value) -> Vec<String> {
    Model::parse(&model.to_string()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// A model with one score with these fields.
fn score(fields: &Value) -> Value {
    let mut score = json!({ "slug": "s" });
    score.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({ "scores": [score] })
}

/// One with rules of which each asks one of these.
fn asking(whens: impl IntoIterator<Item = Value>) -> Value {
    let rule = |(id, when)| json!({ "id": format!("r{id}"), "when": when, "points": 1 });
    score(&json!({ "rules": whens.into_iter().enumerate().map(rule).collect::<Vec<_>>() }))
}

/// A model where a number is at a limit, and what is said of one more.
type Limit<'l> = (&'l dyn Fn(usize) -> Value, usize, &'l str);

#[track_caller]
fn assert_limits(limits: &[Limit<'_>]) {
    for (model, most, beyond) in limits {
        assert_eq!(errors(&model(*most)), [""; 0], "at {most}, where one more {beyond}");
        assert_eq!(errors(&model(most + 1)), [*beyond]);
    }
}

/// What editors are told of the same limits.
#[track_caller]
fn assert_schema_knows(limits: &[Limit<'_>]) {
    let validator = jsonschema::draft202012::new(&schema()).unwrap();
    for (model, most, beyond) in limits {
        assert!(validator.is_valid(&model(*most)), "at {most}, where one more {beyond}");
        assert!(!validator.is_valid(&model(most + 1)), "{beyond}");
    }
}

#[test]
fn of_numbers_of_things() {
    let each = |count: usize, thing: &dyn Fn(usize) -> Value| Value::from((0..count).map(thing).collect::<Vec<_>>());
    let limit = |_| json!({ "times": 1, "per": "ever" });
    let silence = |_| json!({ "after_days": 1, "points": -1 });
    let line = |n: usize| match n {
        0 => json!({ "slug": "first" }),
        n => json!({ "slug": format!("s{n}"), "when": { "score": "s", "above": n } }),
    };
    let bands = |count| (0..count).map(|n| (format!("b{n}"), json!(n))).collect::<Map<_, _>>();
    let custom = || json!({ "event": "custom" });
    let limits: [Limit<'_>; 10] = [
        (
            &|n| json!({ "scores": each(n, &|n| json!({ "slug": format!("s{n}") })) }),
            32,
            "/scores: has 33 elements; 32 are allowed",
        ),
        (&|n| asking((0..n).map(|_| custom())), 500, "/scores/0/rules: has 501 elements; 500 are allowed"),
        (
            &|n| json!({ "scores": [{ "slug": "s" }], "tags": each(n, &|n| json!({ "slug": format!("t{n}"), "when": custom() })) }),
            500,
            "/tags: has 501 elements; 500 are allowed",
        ),
        (
            &|n| json!({ "scores": [{ "slug": "s" }], "stages": each(n, &line) }),
            20,
            "/stages: has 21 elements; 20 are allowed",
        ),
        (
            &|n| score(&json!({ "rules": [{ "id": "r", "when": custom(), "points": 1, "limit": each(n, &limit) }] })),
            4,
            "/scores/0/rules/0/limit: has 5 elements; 4 are allowed",
        ),
        (
            &|n| score(&json!({ "inactivity": each(n, &silence) })),
            8,
            "/scores/0/inactivity: has 9 elements; 8 are allowed",
        ),
        (&|n| score(&json!({ "bands": bands(n) })), 32, "/scores/0/bands: has 33 bands; 32 are allowed"),
        (&|n| score(&json!({ "tags": vec!["a"; n] })), 20, "/scores/0/tags: has 21 elements; 20 are allowed"),
        (
            &|n| asking([json!({ "any": vec![custom(); n] })]),
            1000,
            "/scores/0/rules/0/when/any: has 1001 elements; 1000 are allowed",
        ),
        (
            &|n| asking([json!({ "name": { "in": vec!["a"; n] } })]),
            1000,
            "/scores/0/rules/0/when/name/in: must be a list of 1 to 1000 texts, numbers, true or false",
        ),
    ];
    assert_limits(&limits);
    assert_schema_knows(&limits);
}

#[test]
fn of_lengths() {
    let a = |count: usize| "a".repeat(count);
    // In characters, of which each has two bytes.
    let long = |count: usize| "ä".repeat(count);
    let beyond_property = format!(
        "/scores/0/rules/0/when/property.{}: a name may have 256 characters and 16 parts between dots",
        long(257)
    );
    let beyond_parts = format!(
        "/scores/0/rules/0/when/property.{}a: a name may have 256 characters and 16 parts between dots",
        "a.".repeat(16)
    );
    let beyond_band = format!("/scores/0/bands/{}: the name of a band has 1 to 64 characters", long(65));
    let beyond_slug = "/scores/0/slug: must be 1 to 64 of a-z, 0-9, `_` and `-`, starting with a letter";
    let when = |operators: Value| asking([json!({ "name": operators })]);
    let limits: [Limit<'_>; 8] = [
        (&|n| score(&json!({ "name": long(n) })), 1024, "/scores/0/name: must be at most 1024 characters long"),
        (&|n| score(&json!({ "slug": a(n) })), 64, beyond_slug),
        (&|n| score(&json!({ "tags": [long(n)] })), 64, "/scores/0/tags/0: must be a text of 1 to 64 characters"),
        (&|n| score(&json!({ "bands": { long(n): 1 } })), 64, &beyond_band),
        (&|n| when(json!(long(n))), 1024, "/scores/0/rules/0/when/name: must be at most 1024 characters long"),
        (
            &|n| when(json!({ "ends_with": long(n) })),
            1024,
            "/scores/0/rules/0/when/name/ends_with: must be at most 1024 characters long",
        ),
        (
            &|n| when(json!({ "in": ["a", long(n)] })),
            1024,
            "/scores/0/rules/0/when/name/in/1: must be at most 1024 characters long",
        ),
        (
            &|n| when(json!({ "glob": long(n) })),
            256,
            "/scores/0/rules/0/when/name/glob: must be at most 256 characters long",
        ),
    ];
    assert_limits(&limits);
    assert_schema_knows(&limits);
    assert_limits(&[
        (&|n| asking([json!({ format!("property.{}", long(n)): 1 })]), 256, &beyond_property),
        (&|n| asking([json!({ format!("property.{}a", "a.".repeat(n - 1)): 1 })]), 16, &beyond_parts),
    ]);
}

#[test]
fn of_depths() {
    let nested = |n: usize, combinator: &str, innermost: &Value| {
        (1..n).fold(innermost.clone(), |inner, _| match combinator {
            "not" => json!({ "not": inner }),
            list => json!({ list: [inner] }),
        })
    };
    let (event, attribute) = (json!({ "event": "custom" }), json!({ "attribute": "a", "equals": 1 }));
    for (combinator, step) in [("not", "/not"), ("all", "/all/0"), ("any", "/any/0")] {
        let beyond = |path: &str| format!("{path}{}: is nested more than 16 deep", step.repeat(16));
        let tag = |when: Value| json!({ "scores": [{ "slug": "s" }], "tags": [{ "slug": "t", "when": when }] });
        let of_rule = |n| asking([nested(n, combinator, &event)]);
        let of_history = |n| tag(nested(n, combinator, &event));
        let of_attribute = |n| tag(nested(n, combinator, &attribute));
        assert_limits(&[
            (&of_rule, 16, &beyond("/scores/0/rules/0/when")),
            (&of_history, 16, &beyond("/tags/0/when")),
            (&of_attribute, 16, &beyond("/tags/0/when")),
        ]);
    }
}

#[test]
fn of_numbers() {
    let count = |n| asking([json!({ "event": "custom", "count": { "gte": n } })]);
    let days = |n| asking([json!({ "event": "custom", "within_days": n })]);
    let half_life = |n| score(&json!({ "half_life_days": n }));
    let cooling = |n| json!({ "scores": [{ "slug": "s" }], "temperature": { "half_life_days": n } });
    let limit = |n| {
        let limit = json!({ "times": n, "per": "day" });
        score(&json!({ "rules": [{ "id": "r", "when": { "event": "custom" }, "points": 1, "limit": limit }] }))
    };
    let limits: [Limit<'_>; 7] = [
        (&|n| score(&json!({ "cap": n })), 1_000_000, "/scores/0/cap: must be a number from -1000000 to 1000000"),
        (
            &|n| score(&json!({ "floor": -(n as f64) })),
            1_000_000,
            "/scores/0/floor: must be a number from -1000000 to 1000000",
        ),
        (&count, 1000, "/scores/0/rules/0/when/count/gte: must be a whole number from 0 to 1000"),
        (&days, 3650, "/scores/0/rules/0/when/within_days: must be a number from 0 to 3650"),
        (&half_life, 3650, "/scores/0/half_life_days: must be a number from 0 to 3650"),
        (&cooling, 3650, "/temperature/half_life_days: must be a number from 0 to 3650"),
        (&limit, 1_000_000, "/scores/0/rules/0/limit/times: must be a whole number from 1 to 1000000"),
    ];
    assert_limits(&limits);
    assert_schema_knows(&limits);
    assert_eq!(errors(&limit(0)), ["/scores/0/rules/0/limit/times: must be a whole number from 1 to 1000000"]);
    assert_eq!(errors(&count(0)), [""; 0]);
    let more = |n: usize| asking([json!({ "event": "custom", "count": { "gt": n } })]);
    assert_eq!(errors(&more(1000)), [""; 0], "1,001 are told apart from 1,000");
    // Half a millisecond is rounded to one, less is none.
    let ms = 1.0 / DAY as f64;
    let within = |days: f64| asking([json!({ "event": "custom", "within_days": days })]);
    assert_eq!(errors(&within(0.6 * ms)), [""; 0]);
    assert_eq!(errors(&within(0.4 * ms)), ["/scores/0/rules/0/when/within_days: must be more than 0"]);
    let silence = |days: f64, points: f64| score(&json!({ "inactivity": [{ "after_days": days, "points": points }] }));
    assert_eq!(errors(&silence(1.0, -0.000_001)), [""; 0]);
    assert_eq!(errors(&silence(1.0 - ms, -1.0)), ["/scores/0/inactivity/0/after_days: must be at least 1"]);
    assert_eq!(errors(&silence(0.0, -1.0)), ["/scores/0/inactivity/0/after_days: must be more than 0"]);
    assert_eq!(errors(&silence(1.0, 0.0)), ["/scores/0/inactivity/0/points: must be below 0: silence earns nothing"]);
    assert_eq!(errors(&score(&json!({ "floor": 5, "cap": 5 }))), [""; 0]);
    assert_eq!(errors(&score(&json!({ "floor": 5, "cap": 4 }))), ["/scores/0/cap: must not be below the floor"]);
}

#[test]
fn of_values_of_stages() {
    let told = |whens: &[Value]| {
        let stage = |(n, when): (usize, &Value)| json!({ "slug": format!("s{n}"), "when": when });
        let stages = [json!({ "slug": "first" })].into_iter().chain(whens.iter().enumerate().map(stage));
        errors(&json!({ "scores": [{ "slug": "s", "floor": -5, "cap": 10 },
            { "slug": "fit", "kind": "profile", "floor": 0, "cap": 10 }], "stages": stages.collect::<Vec<_>>() }))
    };
    let line = |above: f64| json!({ "score": "s", "above": above });
    let beside = |above: f64, fit: f64| json!({ "all": [line(above), { "score": "fit", "above": fit }] });
    // Who is at the floor is not above it.
    assert_eq!(told(&[line(-5.0), line(9.9)]), [""; 0]);
    assert_eq!(told(&[beside(-5.0, 0.0), beside(9.9, 9.9)]), [""; 0]);
    for (when, score) in [(line(-5.1), "/stages/1/when"), (beside(-5.1, 0.0), "/stages/1/when/all/0")] {
        let beyond = "must not be below the floor (-5) of `s`: everybody would enter at once";
        assert_eq!(told(&[when]), [format!("{score}/above: {beyond}")]);
    }
    let beyond = "must be below the cap (10) of `s`: nobody would ever enter";
    assert_eq!(told(&[line(10.0)]), [format!("/stages/1/when/above: {beyond}")]);
    let beyond = "must not be below the floor (0) of `fit`: everybody would enter at once";
    assert_eq!(told(&[beside(5.0, -0.1)]), [format!("/stages/1/when/all/1/above: {beyond}")]);
    // With a profile score beside it, the same value is another stage.
    assert_eq!(told(&[line(5.0), beside(5.0, 1.0)]), [""; 0]);
    let beyond = "must be higher than 5 of the earlier stage at /stages/1";
    assert_eq!(told(&[line(5.0), line(5.0)]), [format!("/stages/2/when/above: {beyond}")]);
    assert_eq!(told(&[line(5.0), beside(4.9, 1.0)]), [format!("/stages/2/when/all/0/above: {beyond}")]);
}

#[test]
fn of_a_model_as_a_whole() {
    let bytes = |n: usize| {
        let model = json!({ "scores": [{ "slug": "s" }] }).to_string();
        let padded = format!("{model}{}", " ".repeat(n - model.len()));
        Model::parse(&padded).err().map(|errors| errors[0].to_string())
    };
    assert_eq!(bytes(1 << 20), None);
    assert_eq!(bytes((1 << 20) + 1).as_deref(), Some("a model may have 1048576 bytes; this has 1048577"));

    // 1,001 times are kept to tell 1,000 from more; 256 of points that disappear.
    let counted = |n: usize| json!({ "event": "custom", "count": { "gte": n }, "within_days": 1 });
    let gone = || json!({ "event": "custom", "within_days": 1 });
    let times = |n: usize| {
        let mut model =
            asking((0..8).map(|_| counted(1000)).chain((0..30).map(|_| gone())).chain([counted(n - 16_384 + 695)]));
        model["tags"] = json!([{ "slug": "t", "when": { "any": vec![json!({ "event": "custom" }); 8] } }]);
        model
    };
    let globs = |n: usize| {
        asking(
            [256, 255, n - 511]
                .into_iter()
                .map(|chars| json!({ "name": { "glob": format!("?{}", "ä".repeat(chars - 1)) } })),
        )
    };
    // An event of any kind is a condition, too; each operator is one.
    let attributes = |n: usize| json!({ "any": vec![json!({ "attribute": "a", "gt": 1, "lt": 5 }); n] });
    let conditions = |n: usize| {
        let mut model = asking((0..n - 4_000 + 400).map(|_| json!({ "event": "custom" })));
        let both = json!({ "name": { "starts_with": "a", "not_equals": "b" } });
        let histories = (0..10).map(|_| json!({ "all": vec![both.clone(); 80] }));
        model["tags"] = Value::from(
            histories
                .chain([attributes(500), attributes(500)])
                .enumerate()
                .map(|(n, when)| json!({ "slug": format!("t{n}"), "when": when }))
                .collect::<Vec<_>>(),
        );
        model
    };
    let beyond_times = "all `count`s with `within_days` together may go up to 16384, and a rule whose points disappear \
                        counts as 256; these are 16385";
    assert_limits(&[
        (&times, 16_384, beyond_times),
        (&globs, 512, "the parts of all `glob`s that have a `?` may have 512 characters together; these have 513"),
        (&conditions, 4_096, "has 4097 conditions; 4096 are allowed"),
    ]);
}

#[test]
fn of_what_one_event_may_cost() {
    let plain = |n: usize| json!({ "name": format!("n{n}") });
    let part = |n: usize| json!({ "url": { "not_contains": format!("/{n}") } });
    let any = |parts: Vec<Value>| json!({ "event": "custom", "any": parts });
    // Of which all but the first take 1,902, 1,202 and 38 steps.
    let model = |n: usize| {
        let listed = json!({ "property.plan": { "in": (0..16 * 27).collect::<Vec<_>>() } });
        let mut model = asking([
            any((0..n - 3_144).map(plain).collect()),
            any((0..950).map(part).collect()),
            any((0..300).map(|n| json!({ "name": { "glob": format!("*{n}*") } })).collect()),
            json!({ "event": "custom", "property.plan": listed["property.plan"].clone(), "utm.source": { "glob": "a*" },
                "referrer": { "contains": "b" }, "property.seats": { "gt": 5, "lt": 9 } }),
        ]);
        // Of another kind of event, and no questions of events.
        model["tags"] = json!([
            { "slug": "views", "when": { "event": "page_view", "any": (0..40).map(part).collect::<Vec<_>>() } },
            { "slug": "known", "when": { "any": vec![json!({ "attribute": "a", "contains": "b" }); 40] } }]);
        model
    };
    let steps = |n: usize| Model::parse(&model(n).to_string()).unwrap().steps_an_event();
    assert_eq!(steps(3_500) - steps(3_400), 100);
    let beyond = "asking an event of one kind all that it may be asked takes 4097 steps; 4096 are allowed: one for each rule and \
                  tag, one for a condition, 2 with `contains`, 4 for each part of a `glob` between two stars, one more for every 16 \
                  values of `in`";
    assert_limits(&[(&model, 4_096, beyond)]);
    // 500 rules of four plain conditions are far from it; with four parts of a text each, they are beyond.
    let five_hundred = |when: Value| errors(&asking(vec![when; 500]));
    let four = json!({ "event": "page_view", "name": "a", "utm.source": "b", "property.plan": { "in": ["c", "d"] },
        "url": { "starts_with": "https://" } });
    assert_eq!(five_hundred(four), [""; 0]);
    let parts = json!({ "event": "page_view", "url": { "contains": "a", "not_contains": "b" },
        "name": { "contains": "a", "not_contains": "b" } });
    assert_eq!(five_hundred(parts), [beyond.replace("4097", "5000")]);
    // Whatever a condition asks, it counts; and of a pattern, each part that is searched for.
    for leaf in [
        json!({ "event": "custom" }),
        json!({ "source": "api" }),
        json!({ "after": "2099-01-01" }),
        json!({ "not": { "before": "2099-01-01" } }),
    ] {
        let any = |count: usize| json!({ "any": vec![leaf.clone(); count] });
        let nested = |n: usize| {
            let mut lists = vec![any(1_000); 4];
            lists.push(any(n - 4_000));
            asking([json!({ "any": lists })])
        };
        assert_limits(&[(&nested, 4_095, beyond)]);
    }
    let parts = |n: usize| {
        let four = json!({ "any": vec![json!({ "name": { "glob": "*a*b*c*d*" } }); 200] });
        let ends = json!({ "any": vec![json!({ "name": { "glob": "a*b" } }); 223] });
        asking([json!({ "any": [four, ends, { "any": vec![json!({ "name": "a" }); n - 4_093] }] })])
    };
    assert_limits(&[(&parts, 4_096, beyond)]);
}

#[test]
fn of_what_one_look_at_a_prospect_may_cost() {
    let of_operators = "one for a condition, 2 with `contains`, 4 for each part of a `glob` between two stars, one more for every \
                        16 values of `in`";
    let beyond = format!(
        "asking a prospect all that is asked of its attributes takes 4097 steps; 4096 are allowed: 8 for each attribute, 32 if \
         `contains` is asked of it, one for each question about its events, {of_operators}"
    );
    let asked = |name: &str, operators: Value| {
        let mut condition = json!({ "attribute": name });
        condition.as_object_mut().unwrap().extend(operators.as_object().unwrap().clone());
        condition
    };
    let plain = |count: usize| json!({ "any": vec![asked("a", json!({ "equals": 1 })); count] });
    // Wherever it is asked, it counts; what is beside `plain` takes 8 for `a`, 1,232, 44, 53 and 2 steps.
    let model = |n: usize| {
        let part = |n: usize| asked("b", json!({ "not_contains": format!("{n}") }));
        let rule = |id: &str, when: Value| json!({ "id": id, "when": when, "points": 1 });
        json!({
            "scores": [{ "slug": "s" }, { "slug": "fit", "kind": "profile", "rules": [
                rule("parts", json!({ "all": (0..600).map(part).collect::<Vec<_>>() })),
                rule("listed", asked("c", json!({ "in": (0..16 * 27).collect::<Vec<_>>(), "glob": "*x*y*" }))) ] }],
            "tags": [
                { "slug": "known", "when": { "any": [{ "event": "custom" }, { "event": "purchase" }] } },
                { "slug": "d", "when": asked("d", json!({ "contains": 1, "not_equals": "z", "exists": true, "gt": 1, "starts_with": "q",
                    "glob": "w*e", "lt": 9, "lte": 9, "gte": 0, "ends_with": "r", "in": [1] })) },
                { "slug": "plain", "when": plain(1_000) }],
            "include": plain(1_000),
            "exclude": { "any": [{ "not": plain(n - 2_000 - 8 - 1_232 - 44 - 2 - 47) }] } })
    };
    let steps = |n: usize| Model::parse(&model(n).to_string()).map(|model| model.steps_a_look());
    assert_eq!(steps(3_900), Ok(3_900));
    assert_limits(&[(&model, 4_096, &beyond)]);
    // Each attribute has to be prepared.
    let many = |count: usize, operator: &str| {
        let one = |n: usize| asked(&format!("a{n}"), json!({ operator: "x" }));
        json!({ "scores": [{ "slug": "s" }], "exclude": { "any": (0..count).map(one).collect::<Vec<_>>() } })
    };
    assert_limits(&[
        (&|n| many(n, "equals"), 455, &beyond.replace("4097", &(456 * 9).to_string())),
        (&|n| many(n, "contains"), 120, &beyond.replace("4097", &(121 * 34).to_string())),
    ]);
}

#[test]
fn of_the_mistakes_that_are_told() {
    let wrong = |count: usize| (0..count).map(|n| (format!("field{n}"), json!(n))).collect::<Map<_, _>>();
    let told = |count| errors(&Value::Object(wrong(count))).len();
    // One more for the scores that are missing.
    assert_eq!([told(98), told(99), told(100)], [99, ERRORS_MAX, ERRORS_MAX]);
}
