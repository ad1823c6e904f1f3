//! Reading models: what is taken; conditions on one event. What is refused, and in which words: `tests/bad_models.rs`.

use super::*;
use serde_json::{Value, json};

#[test]
fn the_shipped_model_is_read() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    assert_eq!(model.json(), Model::SHIPPED);
    assert_eq!(model.main_score(), "engagement");
    assert_eq!(model.score_slugs().collect::<Vec<_>>(), ["engagement", "fit"]);
    assert_eq!(model.tag_slugs().collect::<Vec<_>>(), ["pricing"]);
    assert_eq!(model.stage_slugs().collect::<Vec<_>>(), ["lead", "mql"]);
    assert_eq!(model.account_aggregate("engagement"), Some(Aggregate::Max));
}

#[test]
fn each_score_has_its_own_way_into_its_account() {
    let score = |(word, _): (&str, Aggregate)| json!({ "slug": word, "account_aggregate": word });
    let model = parse(&json!({ "scores": Aggregate::WORDS.map(score) }));
    for (word, aggregate) in Aggregate::WORDS {
        assert_eq!(model.account_aggregate(word), Some(aggregate));
    }
    assert_eq!(model.account_aggregate("other"), None);
}

#[test]
fn each_stage_follows_one_score() {
    let stage = |slug: &str, score: &str| json!({ "slug": slug, "when": { "score": score, "above": 1 } });
    let model = parse(&json!({ "scores": [{ "slug": "a" }, { "slug": "b" }],
        "stages": [{ "slug": "first" }, stage("warm", "b"), stage("hot", "a")] }));
    let scores = ["first", "warm", "hot", "other"].map(|stage| model.score_of_stage(stage));
    assert_eq!(scores, [None, Some("b"), Some("a"), None]);
}

#[test]
fn every_mistake_is_reported_at_once() {
    let json = json!({ "scores": [{ "slug": "A", "floor": "x", "rules": [{ "points": 1 }] }], "stage": [] });
    let errors = Model::parse(&json.to_string()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["/stage", "/scores/0/slug", "/scores/0/floor", "/scores/0/rules/0", "/scores/0/rules/0"]);
}

#[test]
fn colors_have_six_hex_digits() {
    let errors = |color: &str| {
        let tag = json!({ "slug": "t", "when": { "event": "custom" }, "color": color });
        Model::parse(&json!({ "scores": [{ "slug": "s" }], "tags": [tag] }).to_string()).err()
    };
    for color in ["#d97706", "#D97706"] {
        assert_eq!(errors(color), None, "{color}");
    }
    for color in ["d97706", "#d9770", "#d977060", "#d9770g", "#d9770é"] {
        let errors = errors(color).unwrap_or_else(|| panic!("{color}"));
        assert_eq!(errors[0].to_string(), "/tags/0/color: must be `#` and six hex digits, as in `#d97706`");
    }
}

#[test]
fn slugs_begin_with_a_small_letter_and_have_no_others_but_small_ones() {
    for slug in ["a", "a-b_1", "mql2"] {
        assert!(Model::parse(&json!({ "scores": [{ "slug": slug }] }).to_string()).is_ok(), "{slug}");
    }
    for slug in ["1a", "-a", "_a", "A", "aB", "a b", "a.b", "aé"] {
        let errors = Model::parse(&json!({ "scores": [{ "slug": slug }] }).to_string()).unwrap_err();
        let message = "must be 1 to 64 of a-z, 0-9, `_` and `-`, starting with a letter";
        assert_eq!(errors[0].to_string(), format!("/scores/0/slug: {message}"), "{slug}");
    }
}

#[test]
fn names_of_properties() {
    for (name, right) in [("plan", true), ("deep.er", true), ("", false), ("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q", false)]
    {
        assert_eq!(check_property_name(name).is_ok(), right, "{name}");
    }
}

/// Whether one event fulfils the condition of a rule.
fn holds(when: &Value, event: &Event) -> bool {
    let model = scoring(json!([{ "id": "r", "when": when, "points": 1 }]), json!({}));
    value(&model, std::slice::from_ref(event), event.at) == 1.0
}

#[test]
fn conditions_on_one_event() {
    let mut event = Event::new(T0, Kind::EmailClick)
        .name("[Custom Event tracked] Größe GEWÄHLT")
        .url("https://a.example/Pricing?x=1");
    event.body.event_type = Some("users.messages.email.Click".to_owned());
    event.body.utm = Some(json!({ "source": "Newsletter" }).to_string());
    event.body.source = Source::Currents;
    let custom =
        json!({ "plan": "Pro", "seats": 49.9, "empty": null, "list": ["Red", 7], "deep": { "er": "x" } }).to_string();
    let properties =
        json!({ "custom_properties": custom, "plan": "payload", "only": "payload", "empty": "here", "a.b": 1 });
    event.body.properties = properties.to_string();
    let cases = [
        (json!({ "event": "email_click" }), true),
        (json!({ "event": { "starts_with": "email_" } }), true),
        (json!({ "event": { "not_equals": "email_click" } }), false),
        (json!({ "event": { "in": ["purchase", "email_click"] } }), true),
        (json!({ "event_type": { "ends_with": ".EMAIL.click" } }), true),
        (json!({ "source": "currents" }), true),
        (json!({ "source": { "not_equals": "currents" } }), false),
        // Row 12: Unicode, whole value, whatever the case.
        (json!({ "name": { "contains": "GRÖSSE" } }), false),
        (json!({ "name": { "contains": "größe gewählt" } }), true),
        (json!({ "name": { "glob": "*tracked] gr?ße*" } }), true),
        (json!({ "name": { "glob": "tracked*" } }), false),
        // Row 13: missing fields.
        (json!({ "referrer": { "equals": "x" } }), false),
        (json!({ "referrer": { "not_equals": "x" } }), true),
        (json!({ "referrer": { "not_contains": "x" } }), true),
        (json!({ "referrer": { "exists": false } }), true),
        (json!({ "referrer": { "exists": true } }), false),
        (json!({ "referrer": { "lt": 5 } }), false),
        // Row 14: all must hold.
        (json!({ "url": { "contains": "/pricing", "not_contains": "/b" } }), true),
        (json!({ "url": { "contains": "/pricing", "not_contains": "x=1" } }), false),
        (json!({ "event": "email_click", "url": { "contains": "/other" } }), false),
        (json!({ "event": "email_click", "any": [{ "name": "x" }, { "not": { "name": "x" } }] }), true),
        // Row 15: properties.
        (json!({ "property.plan": "pro" }), true),
        (json!({ "property.only": "payload" }), true),
        (json!({ "property.empty": "here" }), true),
        (json!({ "property.seats": { "gte": 49.9, "lt": 50 } }), true),
        (json!({ "property.seats": "49.9" }), true),
        (json!({ "property.list": { "contains": "red" } }), true),
        (json!({ "property.list": { "contains": "re" } }), false),
        (json!({ "property.deep.er": "X" }), true),
        (json!({ "property.a.b": 1 }), true),
        (json!({ "property.deep.none": { "exists": true } }), false),
        (json!({ "property.custom_properties.plan": { "exists": true } }), false),
        (json!({ "utm.source": "newsletter" }), true),
        (json!({ "utm.medium": { "exists": true } }), false),
        (json!({ "after": "2026-11-02", "before": "2026-11-02T00:00:00.001Z" }), true),
        (json!({ "before": "2026-11-02" }), false),
    ];
    for (when, expected) in cases {
        assert_eq!(holds(&when, &event), expected, "{when}");
    }
}
