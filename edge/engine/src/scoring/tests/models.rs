//! Reading models: what is taken, what is refused and in which words; conditions on one event.

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

/// The shipped model with the value at a pointer replaced, or a field added.
fn with(pointer: &str, value: Value) -> String {
    let mut model: Value = serde_json::from_str(Model::SHIPPED).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match model.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other}"),
    }
    model.to_string()
}

#[test]
fn mistakes_are_named_with_their_place() {
    let rule = "/scores/0/rules/1";
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("/scoers", json!([]), "/scoers", "did you mean `scores`"),
        ("/scores", json!([]), "", "at least one"),
        ("/scores/0/half_life", json!(3), "/scores/0/half_life", "unknown field"),
        ("/scores/0/half_life_days", json!(0), "/scores/0/half_life_days", "more than 0"),
        ("/scores/0/half_life_days", json!("30"), "/scores/0/half_life_days", "must be a number, not a text"),
        ("/scores/0/cap", json!(-1), "/scores/0/cap", "below the floor"),
        ("/scores/0/kind", json!("behaviour"), "/scores/0/kind", "did you mean `behavior`"),
        ("/scores/0/slug", json!("Main Score"), "/scores/0/slug", "a-z"),
        ("/scores/1/slug", json!("created_at"), "/scores/1/slug", "none of"),
        ("/scores/0/attribute", json!("x"), "/scores/0/attribute", "earned by events"),
        ("/scores/1/slug", json!("engagement"), "/scores/1/slug", "taken"),
        ("/scores/1/main", json!(true), "/scores/1/main", "only one"),
        ("/scores/1/half_life_days", json!(3), "/scores/1/half_life_days", "has no `half_life_days`"),
        ("/scores/1/inactivity", json!([]), "/scores/1/inactivity", "has no"),
        ("/scores/1/rules/0/limit", json!({ "times": 1, "per": "day" }), "/scores/1/rules/0/limit", "no `limit`"),
        ("/scores/1/rules/0/when", json!({ "event": "custom" }), "/scores/1/rules/0/when/event", "attributes only"),
        (
            "/scores/1/rules/0/when",
            json!({ "attribute": "x" }),
            "/scores/1/rules/0/when/attribute",
            "needs an operator",
        ),
        ("/scores/1/bands", json!({ "A": 1, "B": 1 }), "/scores/1/bands", "same value"),
        ("/scores/0/rules/0/id", json!("demo"), "/scores/0/rules/1/id", "taken"),
        ("/scores/0/rules/0/limit/per", json!("days"), "/scores/0/rules/0/limit/per", "did you mean `day`"),
        ("/scores/0/rules/0/limit/times", json!(1.5), "/scores/0/rules/0/limit/times", "whole number"),
        ("/scores/0/rules/1/set", json!(3), rule, "either `points` or `set`"),
        ("/scores/0/rules/1/points", json!(0), "/scores/0/rules/1/points", "must not be 0"),
        ("/scores/0/rules/1/when", json!({}), "/scores/0/rules/1/when", "must ask something"),
        ("/scores/0/rules/1/when", json!({ "event": "page_veiw" }), "/scores/0/rules/1/when/event", "`page_view`"),
        ("/scores/0/rules/1/when", json!({ "evnt": "x" }), "/scores/0/rules/1/when/evnt", "did you mean `event`"),
        ("/scores/0/rules/1/when", json!({ "event": ["custom"] }), "/scores/0/rules/1/when/event", "in\": […]"),
        (
            "/scores/0/rules/1/when",
            json!({ "url": { "start_with": "/" } }),
            "/scores/0/rules/1/when/url/start_with",
            "did you mean `starts_with`",
        ),
        (
            "/scores/0/rules/1/when",
            json!({ "url": { "contains": "" } }),
            "/scores/0/rules/1/when/url/contains",
            "not empty",
        ),
        ("/scores/0/rules/1/when", json!({ "url": { "gt": "a" } }), "/scores/0/rules/1/when/url/gt", "a number"),
        ("/scores/0/rules/1/when", json!({ "url": { "in": [] } }), "/scores/0/rules/1/when/url/in", "a list of"),
        ("/scores/0/rules/1/when", json!({ "contains": "a" }), "/scores/0/rules/1/when/contains", "inside a field"),
        ("/scores/0/rules/1/when", json!({ "property": "a" }), "/scores/0/rules/1/when/property", "property.plan"),
        (
            "/scores/0/rules/1/when",
            json!({ "attribute": "a", "equals": 1 }),
            "/scores/0/rules/1/when/attribute",
            "cannot be asked for attributes",
        ),
        ("/scores/0/rules/1/when", json!({ "tag": "a" }), "/scores/0/rules/1/when/tag", "lists only"),
        ("/scores/0/rules/1/when", json!({ "any": [] }), "/scores/0/rules/1/when/any", "at least one"),
        (
            "/scores/0/rules/1/when",
            json!({ "any": [{ "event": "custom", "count": { "gte": 2 } }] }),
            "/scores/0/rules/1/when/any/0/count",
            "at the top",
        ),
        (
            "/scores/0/rules/1/when",
            json!({ "event": "custom", "count": 2 }),
            "/scores/0/rules/1/when/count",
            "an object",
        ),
        (
            "/scores/0/rules/1/when",
            json!({ "event": "custom", "count": { "gte": 1001 } }),
            "/scores/0/rules/1/when/count/gte",
            "from 0 to 1000",
        ),
        ("/scores/0/rules/1/when", json!({ "after": "soon" }), "/scores/0/rules/1/when/after", "a date"),
        ("/scores/0/rules/3/when/within_days", json!(3), "/scores/0/rules/3/when", "only positive points"),
        ("/scores/0/inactivity/0/points", json!(5), "/scores/0/inactivity/0/points", "below 0"),
        ("/scores/0/inactivity/0/after_days", json!(0.5), "/scores/0/inactivity/0/after_days", "at least 1"),
        ("/tags/0/color", json!("red"), "/tags/0/color", "#d97706"),
        ("/tags/0/when", json!({ "score": "fit", "above": 3 }), "/tags/0/when/score", "stages, alerts and lists"),
        (
            "/tags/0/when",
            json!({ "event": "custom", "not_within_days": 3, "count": { "gte": 1 } }),
            "/tags/0/when/not_within_days",
            "leave out",
        ),
        ("/temperature/warm", json!(50), "/temperature/warm", "below `hot`"),
        ("/temperature/weights", json!({ "email_delivery": 2 }), "/temperature/weights/email_delivery", "no activity"),
        ("/temperature/weights", json!({ "purchas": 2 }), "/temperature/weights/purchas", "`purchase`"),
        ("/stages/0/when", json!({ "score": "fit", "above": 1 }), "/stages/0/when", "first stage"),
        ("/stages/1/when/score", json!("engagment"), "/stages/1/when/score", "did you mean `engagement`"),
        ("/stages/1/when/score", json!("fit"), "/stages/1/when/score", "behavior score"),
        ("/stages/1/leave_below", json!(51), "/stages/1/leave_below", "must not be above"),
        ("/exclude", json!({ "any": [] }), "/exclude/any", "at least one"),
        ("/exclude", json!("all"), "/exclude", "must be an object, not a text"),
    ];
    for (pointer, value, path, words) in cases {
        let json = with(pointer, value.clone());
        let errors = Model::parse(&json).expect_err(&format!("{pointer} = {value}"));
        let found = errors.iter().any(|error| error.path == path && error.message.contains(words));
        assert!(found, "{pointer} = {value}: {errors:#?}");
        assert_eq!(errors.len(), 1, "{pointer} = {value}: one mistake, one message: {errors:#?}");
    }
    let errors = Model::parse("{").unwrap_err();
    assert!(errors[0].to_string().contains("is no JSON"), "{errors:?}");
}

#[test]
fn every_mistake_is_reported_at_once() {
    let json = json!({ "scores": [{ "slug": "A", "floor": "x", "rules": [{ "points": 1 }] }], "stage": [] });
    let errors = Model::parse(&json.to_string()).unwrap_err();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["/stage", "/scores/0/slug", "/scores/0/floor", "/scores/0/rules/0", "/scores/0/rules/0"]);
}

#[test]
fn conditions_nest_only_so_deep() {
    let deep = (0..20).fold(json!({ "event": "custom" }), |inner, _| json!({ "not": inner }));
    let errors = Model::parse(&with("/scores/0/rules/1/when", deep)).unwrap_err();
    assert!(errors[0].message.contains("16 deep"), "{errors:?}");
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
