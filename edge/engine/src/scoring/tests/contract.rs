//! The contract's section 1, row by row.

use super::*;
use serde_json::json;

fn all() -> serde_json::Value {
    json!({ "event": { "exists": true } })
}

#[test]
fn row_1_each_entry_decays_from_its_own_time_and_the_clamp_comes_last() {
    let rules = json!([{ "id": "r", "when": all(), "points": 20 }]);
    let model = scoring(rules, json!({ "half_life_days": 10, "cap": 200, "floor": 0 }));
    let events: Vec<Event> = (0..15).map(|n| Event::new(T0 + n, Kind::Custom)).collect();
    assert_eq!(value(&model, &events, T0 + 15), 200.0);
    // 300 halved, not 200 halved.
    assert!((value(&model, &events, T0 + 10 * DAY) - 150.0).abs() < 1e-4);
    let two = [Event::new(T0, Kind::Custom), Event::new(T0 + 10 * DAY, Kind::Custom)];
    assert_eq!(value(&model, &two, T0 + 20 * DAY), 15.0);
    let steady = scoring(json!([{ "id": "r", "when": all(), "points": 20 }]), json!({}));
    assert_eq!(value(&steady, &events, T0 + 4000 * DAY), 300.0);
}

#[test]
fn row_2_an_event_dated_later_counts_undecayed_and_once_its_time_has_come_like_any() {
    let rules = json!([{ "id": "r", "when": all(), "points": 16 }]);
    let model = scoring(rules, json!({ "half_life_days": 1 }));
    let events = [Event::new(T0, Kind::Custom), Event::new(T0 + 2 * DAY, Kind::Custom)];
    let early = fold(&model, &events, T0);
    for (days, expected) in [(0, 32.0), (1, 24.0), (2, 20.0), (3, 10.0)] {
        let now = T0 + days * DAY;
        let standing = early.standing(&model, &Attributes::default(), now);
        assert_eq!(standing.scores[0].1.value, Some(expected), "{days}");
        assert_eq!(fold(&model, &events, now).standing(&model, &Attributes::default(), now), standing);
    }
    assert_eq!(early.newest().unwrap().0, T0, "others may still come before a future event");
    assert_eq!((early.events(), early.created_at(), early.last_active_at()), (2, Some(T0), Some(T0 + 2 * DAY)));
    let mut between = early;
    between.push(&model, &Event::new(T0 + DAY, Kind::Custom).occurrence(), T0 + DAY);
    let sum = 16.0 / 2.0 + 16.0 + 16.0;
    assert_eq!(between.standing(&model, &Attributes::default(), T0 + DAY).scores[0].1.value, Some(sum));
}

#[test]
fn row_3_set_removes_what_came_before_and_decays_but_limits_go_on() {
    let rules = json!([
        { "id": "set", "when": { "event": "purchase" }, "set": 40 },
        { "id": "once", "when": { "event": "custom" }, "points": 5, "limit": { "times": 1, "per": "ever" } },
        { "id": "view", "when": { "event": "page_view" }, "points": 3 }]);
    let model = scoring(rules, json!({ "half_life_days": 10 }));
    let events = [
        Event::new(T0, Kind::Custom),
        Event::new(T0 + 1, Kind::PageView),
        Event::new(T0 + 2, Kind::Purchase),
        Event::new(T0 + 3, Kind::Custom),
    ];
    assert_eq!(value(&model, &events, T0 + 2), 40.0);
    assert_eq!(value(&model, &events, T0 + 2 + 10 * DAY), 20.0, "decays, and the limit stays used");
}

#[test]
fn rows_3_and_4_rules_apply_in_the_order_listed() {
    let points = json!({ "id": "a", "when": all(), "points": 5 });
    let set = json!({ "id": "b", "when": all(), "set": 1 });
    let event = [Event::new(T0, Kind::Custom)];
    assert_eq!(value(&scoring(json!([points, set]), json!({})), &event, T0), 1.0);
    assert_eq!(value(&scoring(json!([set, points]), json!({})), &event, T0), 6.0);
}

#[test]
fn row_5_limits_take_the_first_of_each_utc_window() {
    // T0 is a Monday, the 2nd of a month.
    let cases = [
        ("day", T0 + DAY - 1, T0 + DAY),
        ("week", T0 + 7 * DAY - 1, T0 + 7 * DAY),
        ("month", T0 + 29 * DAY - 1, T0 + 29 * DAY),
        ("ever", T0 + 999 * DAY, i64::MAX),
    ];
    for (per, inside, next) in cases {
        let rules = json!([{ "id": "r", "when": all(), "points": 1, "limit": { "times": 2, "per": per } }]);
        let model = scoring(rules, json!({}));
        let mut events = vec![Event::new(T0, Kind::Custom), Event::new(T0 + 1, Kind::Custom)];
        events.push(Event::new(inside, Kind::Custom));
        assert_eq!(value(&model, &events, inside), 2.0, "{per}");
        if next < i64::MAX {
            events.push(Event::new(next, Kind::Custom));
            assert_eq!(value(&model, &events, next), 3.0, "{per}");
        }
    }
}

#[test]
fn row_5_what_earns_nothing_uses_no_limit() {
    let rules = json!([{ "id": "r", "when": all(), "points": 1,
        "limit": [{ "times": 1, "per": "day" }, { "times": 2, "per": "ever" }] }]);
    let model = scoring(rules, json!({}));
    let mut events: Vec<Event> = (0..5).map(|n| Event::new(T0 + n, Kind::Custom)).collect();
    events.push(Event::new(T0 - 1, Kind::Custom).bot());
    events.push(Event { internal: true, ..Event::new(T0 - 2, Kind::Custom) });
    events.push(Event::new(T0 + DAY, Kind::Custom));
    assert_eq!(value(&model, &events, T0 + DAY), 2.0, "the second day has room: the first used one");
}

#[test]
fn row_6_inactivity_takes_points_after_each_full_period_but_never_below_the_floor() {
    let inactivity = json!([{ "after_days": 14, "points": -5, "repeat": true }]);
    let rules = json!([{ "id": "r", "when": { "event": "custom" }, "points": 12 }]);
    let model = scoring(rules.clone(), json!({ "inactivity": inactivity }));
    let event = [Event::new(T0, Kind::Custom)];
    for (ms, expected) in
        [(14 * DAY - 1, 12.0), (14 * DAY, 7.0), (28 * DAY - 1, 7.0), (28 * DAY, 2.0), (42 * DAY, 0.0), (400 * DAY, 0.0)]
    {
        assert_eq!(value(&model, &event, T0 + ms), expected, "{ms}");
    }
    // A lead that was silent for a year comes back without debts.
    let back = [Event::new(T0, Kind::Custom), Event::new(T0 + 365 * DAY, Kind::Custom)];
    assert_eq!(value(&model, &back, T0 + 365 * DAY), 12.0);
    let floored = scoring(rules.clone(), json!({ "floor": 10, "inactivity": inactivity }));
    assert_eq!(value(&floored, &event, T0 + 14 * DAY), 10.0);
    assert_eq!(fold(&floored, &event, T0).due(&floored, &Attributes::default(), T0 + 14 * DAY), None, "at the floor");
    let below = scoring(rules.clone(), json!({ "floor": -7, "inactivity": inactivity }));
    assert_eq!(value(&below, &event, T0 + 56 * DAY), -7.0);
    let once = scoring(rules, json!({ "inactivity": [{ "after_days": 14, "points": -5 }] }));
    assert_eq!(value(&once, &event, T0 + 28 * DAY), 7.0);
}

#[test]
fn row_6_silence_counts_from_activity_and_activity_at_the_very_instant_prevents_the_entry() {
    let rules = json!([{ "id": "r", "when": { "event": "custom" }, "points": 12 },
        { "id": "crm", "when": { "event": "crm_change" }, "points": 30 }]);
    let model = scoring(rules, json!({ "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] }));
    let at = T0 + 14 * DAY;
    assert_eq!(value(&model, &[Event::new(T0, Kind::Custom), Event::new(at, Kind::PageView)], at), 12.0);
    assert_eq!(value(&model, &[Event::new(T0, Kind::Custom), Event::new(at, Kind::EmailDelivery)], at), 7.0);
    assert_eq!(value(&model, &[Event::new(T0, Kind::Custom), Event::new(at, Kind::PageView).bot()], at), 7.0);
    // Without any activity it counts from the first event, and periods without effect are not made up for later.
    let silent = [Event::new(T0, Kind::Other), Event::new(T0 + 40 * DAY, Kind::CrmChange)];
    assert_eq!(value(&model, &silent, T0 + 42 * DAY - 1), 30.0);
    assert_eq!(value(&model, &silent, T0 + 42 * DAY), 25.0);
}

#[test]
fn row_7_only_activity_of_people_moves_last_active_at() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let events = [
        Event::new(T0, Kind::PageView),
        Event::new(T0 + 1, Kind::EmailDelivery),
        Event::new(T0 + 2, Kind::EmailOpen).bot(),
        Event { internal: true, ..Event::new(T0 + 3, Kind::PageView) },
    ];
    let fold = fold(&model, &events, T0 + 9);
    assert_eq!((fold.last_active_at(), fold.events()), (Some(T0), 4));
}

#[test]
fn row_8_count_is_asked_at_each_matching_event() {
    let rule = |count: serde_json::Value| {
        let when = json!({ "event": "page_view", "count": count, "within_days": 1 });
        scoring(json!([{ "id": "r", "when": when, "points": 1 }]), json!({}))
    };
    let at = |hours: &[i64]| hours.iter().map(|h| Event::new(T0 + h * HOUR, Kind::PageView)).collect::<Vec<_>>();
    let now = T0 + 99 * DAY;
    assert_eq!(value(&rule(json!({ "gte": 3 })), &at(&[0, 1, 2, 3]), now), 2.0);
    assert_eq!(value(&rule(json!({ "equals": 2 })), &at(&[0, 1, 2, 3]), now), 1.0);
    assert_eq!(value(&rule(json!({ "lte": 2 })), &at(&[0, 1, 2, 3]), now), 2.0);
    assert_eq!(value(&rule(json!({ "gt": 1, "lt": 3 })), &at(&[0, 1, 2, 3]), now), 1.0);
    // The window is open at its start: 24 hours before is outside.
    assert_eq!(value(&rule(json!({ "gte": 2 })), &at(&[0, 24, 47]), now), 1.0);
    let ever = json!({ "event": "page_view", "count": { "gte": 3 } });
    let model = scoring(json!([{ "id": "r", "when": ever, "points": 1 }]), json!({}));
    assert_eq!(value(&model, &at(&[0, 100, 1000, 2000]), now), 2.0);
}

#[test]
fn row_9_within_days_alone_makes_points_disappear() {
    let when = json!({ "event": "custom", "within_days": 3 });
    let rules =
        json!([{ "id": "r", "when": when, "points": 8 }, { "id": "v", "when": { "event": "page_view" }, "points": 1 }]);
    let model = scoring(rules, json!({ "half_life_days": 1 }));
    let events = [Event::new(T0, Kind::Custom), Event::new(T0 + DAY, Kind::Custom)];
    for (ms, expected) in [(DAY, 12.0), (3 * DAY - 1, 3.0), (3 * DAY, 2.0), (4 * DAY - 1, 1.0), (4 * DAY, 0.0)] {
        assert!((value(&model, &events, T0 + ms) - expected).abs() < 1e-6, "{ms}");
    }
    assert_eq!(value(&model, &events, T0 + 4 * DAY), 0.0);
}

#[test]
fn rows_10_and_11_tags_come_and_go_on_time() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let none = Attributes::default();
    let fold = fold(&model, &[pricing(T0), pricing(T0 + DAY)], T0 + DAY);
    let tags = |now| fold.standing(&model, &none, now).tags;
    assert_eq!(tags(T0 + DAY), ["pricing"]);
    assert_eq!(tags(T0 + 30 * DAY - 1), ["pricing"]);
    assert!(tags(T0 + 30 * DAY).is_empty());
    let mut now = T0 + DAY;
    let mut seen = vec![];
    while let Some(due) = fold.due(&model, &none, now) {
        seen.push(due);
        now = due;
    }
    assert!(seen.contains(&(T0 + 30 * DAY)), "{seen:?}");
    let tag = |when: serde_json::Value| {
        let score = json!({ "slug": "s", "rules": [] });
        parse(&json!({ "scores": [score], "tags": [{ "slug": "t", "when": when }] }))
    };
    let silent = tag(json!({ "event": "page_view", "not_within_days": 2 }));
    let view = [Event::new(T0, Kind::PageView)];
    assert!(standing(&silent, &view, T0 + 2 * DAY - 1).tags.is_empty());
    assert_eq!(standing(&silent, &view, T0 + 2 * DAY).tags, ["t"]);
    let mixed =
        tag(json!({ "all": [{ "event": "page_view" }, { "event": "custom" }], "not": { "event": "purchase" } }));
    let both = [Event::new(T0, Kind::PageView), Event::new(T0, Kind::Custom)];
    assert!(standing(&mixed, &view, T0).tags.is_empty());
    assert_eq!(standing(&mixed, &both, T0).tags, ["t"]);
    let known = tag(json!({ "event": "page_view", "attribute": "industry", "in": ["saas", "retail"] }));
    let saas = attributes(&[("industry", "\"SaaS\"", T0)]);
    assert_eq!(super::fold(&known, &view, T0).standing(&known, &saas, T0).tags, ["t"]);
    assert!(standing(&known, &view, T0).tags.is_empty());
}

#[test]
fn rows_18_and_24_profile_scores_bands_and_exclusion() {
    let mut json: serde_json::Value = serde_json::from_str(Model::SHIPPED).unwrap();
    json["exclude"] = json!({ "any": [{ "attribute": "email_domain", "in": ["ourcompany.com"] },
        { "attribute": "customer", "equals": true }] });
    let model = parse(&json);
    let fold = fold(&model, &[pricing(T0), Event::new(T0, Kind::FormSubmit).name("[Form] Request a Demo")], T0);
    let fit = |pairs: &[(&str, &str, i64)]| fold.standing(&model, &attributes(pairs), T0).scores[1].1.clone();
    assert_eq!(fit(&[("industry", "\"saas\"", T0)]), ScoreValue { value: Some(40.0), band: Some("C".to_owned()) });
    assert_eq!(fit(&[("industry", "null", T0)]), ScoreValue { value: Some(0.0), band: Some("F".to_owned()) });
    for (pair, reason) in [
        (("email_domain", "\"OurCompany.com\"", T0), "email_domain in [\"ourcompany.com\"]"),
        (("customer", "true", T0), "customer equals true"),
    ] {
        let standing = fold.standing(&model, &attributes(&[pair]), T0);
        assert_eq!(standing.excluded.as_deref(), Some(reason));
        assert!(standing.scores.iter().all(|(_, score)| score.value.is_none() && score.band.is_none()));
        assert_eq!((standing.temperature, standing.stage.as_deref(), standing.tags.len()), ("frozen", Some("lead"), 0));
        assert_eq!(explain(&model, &[], &attributes(&[pair]), "engagement", T0).unwrap().value, None);
    }
    assert_eq!(fold.standing(&model, &Attributes::default(), T0).excluded, None);
    json["exclude"] = serde_json::Value::Null;
    json.as_object_mut().unwrap().remove("exclude");
    json["include"] = json!({ "attribute": "country", "equals": "DE" });
    let model = parse(&json);
    let only = |pairs: &[(&str, &str, i64)]| fold.standing(&model, &attributes(pairs), T0).excluded;
    assert_eq!(only(&[]).as_deref(), Some("not included"));
    assert_eq!(only(&[("country", "\"de\"", T0)]), None);
}

#[test]
fn row_20_temperature() {
    let model = parse(&json!({ "scores": [{ "slug": "s" }],
        "temperature": { "half_life_days": 7, "hot": 40, "warm": 20, "normal": 8, "cold": 2, "weights": { "purchase": 40 } } }));
    let events = [Event::new(T0, Kind::Purchase), Event::new(T0, Kind::Purchase).bot().id("b")];
    for (days, level) in [(0, "hot"), (7, "warm"), (14, "normal"), (21, "cold"), (28, "cold"), (31, "frozen")] {
        assert_eq!(standing(&model, &events, T0 + days * DAY).temperature, level, "{days}");
    }
    let (fold, none) = (fold(&model, &events, T0), Attributes::default());
    // Values are compared as shown: 39.9999995 still shows as 40.
    let due = fold.due(&model, &none, T0).unwrap();
    assert!((T0 + 1..T0 + 20).contains(&due), "{due}");
    assert_eq!(fold.standing(&model, &none, due - 1).temperature, "hot");
    assert_eq!(fold.standing(&model, &none, due).temperature, "warm");
    let explanation = explain(&model, &sorted(&events), &none, "temperature", T0 + 7 * DAY).unwrap();
    assert_eq!(explanation.value, Some(20.0));
    assert_eq!(explanation.parts.len(), 1);
    assert_eq!(explanation.parts[0].rule.as_deref(), Some("purchase"));
}

#[test]
fn rows_21_and_23_stages_enter_strictly_above_and_leave_below_to_the_millisecond() {
    let model = parse(&json!({
        "scores": [{ "slug": "s", "half_life_days": 30, "rules": [
            { "id": "r", "when": { "event": "custom" }, "points": 50 }, { "id": "v", "when": { "event": "page_view" }, "points": 1 }] }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 50 }, "leave_below": 35 },
            { "slug": "sql", "when": { "score": "s", "above": 90 } }] }));
    let none = Attributes::default();
    let stage = |events: &[Event], now| standing(&model, events, now).stage.unwrap();
    let half = [Event::new(T0, Kind::Custom)];
    assert_eq!(stage(&half, T0), "lead", "50 is not above 50");
    let above = [Event::new(T0, Kind::Custom), Event::new(T0 + 1, Kind::PageView)];
    assert_eq!(stage(&above, T0 + 1), "mql");
    let fold = fold(&model, &above, T0 + 1);
    // The temperature falls first.
    let dues = std::iter::successors(Some(T0 + 1), |now| fold.due(&model, &none, *now));
    let due = dues.into_iter().find(|now| stage(&above, *now) == "lead").unwrap();
    assert_eq!(stage(&above, due - 1), "mql");
    let value = |now| fold.standing(&model, &none, now).scores[0].1.value.unwrap();
    assert!(value(due - 1) >= 35.0 && value(due) < 35.0);
    // It left on the way, so coming back above 35 is no MQL; and a stage without `leave_below` is never left.
    let again = [&above[..], &[Event::new(T0 + 17 * DAY, Kind::PageView)]].concat();
    assert!(super::value(&model, &again, T0 + 17 * DAY) > 35.0);
    assert_eq!(stage(&again, T0 + 17 * DAY), "lead");
    let both = [Event::new(T0, Kind::Custom), Event::new(T0, Kind::Custom).id("f")];
    let standing = super::standing(&model, &both, T0);
    assert_eq!(standing.stages_entered, [("mql".to_owned(), T0), ("sql".to_owned(), T0)], "each in order");
    assert_eq!(stage(&both, T0 + 999 * DAY), "sql");
}

#[test]
fn rows_25_and_26_parts_add_up_to_the_value_shown() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let events: Vec<Event> = (0..7)
        .map(|n| pricing(T0 + n * HOUR))
        .chain([Event::new(T0 + 40 * DAY, Kind::FormSubmit).name("[Form] Book a DEMO now")])
        .collect();
    let at = T0 + 60 * DAY;
    let explanation = explain(&model, &sorted(&events), &Attributes::default(), "engagement", at).unwrap();
    assert_eq!(explanation.value, standing(&model, &events, at).scores[0].1.value);
    let kinds: Vec<PartKind> = explanation.parts.iter().map(|part| part.kind).collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    assert_eq!((count(PartKind::Rule), count(PartKind::Limited), count(PartKind::Inactivity)), (4, 4, 3));
    let demo = explanation.parts.iter().find(|part| part.rule.as_deref() == Some("demo")).unwrap();
    assert_eq!((demo.points, demo.name.as_deref()), (20.0, Some("[Form] Book a DEMO now")));
    assert_eq!(demo.event, Some((KeyHash([7; 16]), T0 + 40 * DAY, events[7].id.clone())));
    let earned = points_of(&model, &sorted(&events));
    let earned: Vec<Option<f64>> = earned.iter().map(|points| points.get("engagement").copied()).collect();
    assert_eq!(earned, [Some(5.0), Some(5.0), Some(5.0), None, None, None, None, Some(20.0)]);
    let capped: Vec<Event> = (0..15).map(|n| Event::new(T0 + n, Kind::FormSubmit).name("demo")).collect();
    let parts = explain(&model, &sorted(&capped), &Attributes::default(), "engagement", T0 + 15).unwrap().parts;
    assert_eq!(parts.last().map(|part| part.kind), Some(PartKind::Cap));
    assert_eq!(explain(&model, &[], &Attributes::default(), "other", T0), None);
}

#[test]
fn an_external_score_is_the_number_that_was_told_last() {
    let model = parse(&json!({ "scores": [{ "slug": "ml", "kind": "external", "half_life_days": 10, "cap": 90,
        "bands": { "high": 50 } }] }));
    let none = Attributes::default();
    let told = [Event::telling(T0, &json!({ "ml": 80 }))];
    let fold = fold(&model, &told, T0 - DAY);
    let at = |now| fold.standing(&model, &none, now).scores[0].1.clone();
    assert_eq!(at(T0 - DAY), ScoreValue { value: Some(80.0), band: Some("high".to_owned()) }, "dated ahead");
    assert_eq!(at(T0 + 10 * DAY), ScoreValue { value: Some(40.0), band: None });
    let due = fold.due(&model, &none, T0).unwrap();
    assert_eq!((at(due - 1).band.as_deref(), at(due).band), (Some("high"), None));
    let explanation = explain(&model, &sorted(&told), &none, "ml", T0 + 10 * DAY).unwrap();
    let [part] = explanation.parts.as_slice() else { panic!("{explanation:?}") };
    assert_eq!((part.kind, part.at, part.name.as_deref()), (PartKind::External, T0, Some("api")));
    assert_eq!((part.points, part.factor, part.contribution), (80.0, 0.5, 40.0));
    let event = part.event.as_ref().unwrap();
    assert_eq!((event.1, event.2.as_str()), (T0, told[0].id.as_str()));
    assert_eq!(value(&model, &[], T0), 0.0);
    // What is told of no number, or of another attribute; by a machine, of one of our own people.
    let again = |told: &serde_json::Value| [Event::telling(T0, &json!({ "ml": 80 })), Event::telling(T0 + 1, told)];
    for (told, expected) in [(json!({ "ml": null }), 0.0), (json!({ "ml": "high" }), 0.0), (json!({ "mx": 5 }), 80.0)] {
        assert_eq!(value(&model, &again(&told), T0 + 1).round(), expected, "{told}");
    }
    let [first, second] = again(&json!({ "ml": 5 }));
    assert_eq!(value(&model, &[first.clone(), second.clone().bot()], T0 + 1).round(), 80.0);
    assert_eq!(value(&model, &[first, Event { internal: true, ..second }], T0 + 1).round(), 80.0);
    assert_eq!(points_of(&model, &sorted(&told))[0], [("ml".to_owned(), 80.0)].into());
}

#[test]
fn a_number_from_outside_that_is_too_large_to_be_shown_exactly_gives_no_score() {
    let model = parse(&json!({ "scores": [{ "slug": "ml", "kind": "external", "cap": 50 }, { "slug": "s" }] }));
    let explained = |told: serde_json::Value| {
        let events = [Event::telling(T0, &json!({ "ml": 7 })), Event::telling(T0 + 1, &json!({ "ml": told }))];
        let explained = explain(&model, &sorted(&events), &Attributes::default(), "ml", T0 + 1).unwrap();
        assert_eq!(Some(explained.value.unwrap()), standing(&model, &events, T0 + 1).scores[0].1.value);
        (explained.value.unwrap(), explained.parts.iter().map(|part| part.contribution).collect::<Vec<_>>())
    };
    for (told, expected) in [
        (json!(1e9), (50.0, vec![1e9, -999_999_950.0])),
        (json!(-1e9), (-1e9, vec![-1e9])),
        (json!(999_999_999.123_457), (50.0, vec![999_999_999.123_457, -999_999_949.123_457])),
        (json!(1_000_000_000.5), (0.0, vec![])),
        (json!(1e308), (0.0, vec![])),
        (json!("-1e12"), (0.0, vec![])),
        (json!("many"), (0.0, vec![])),
    ] {
        assert_eq!(explained(told.clone()), expected, "{told}");
    }
    let told = |attributes: serde_json::Value| beyond_range(&Event::telling(T0, &attributes).body);
    assert_eq!(
        told(json!({ "a": 1e9, "b": 1_000_000_001, "c": "x", "d": "2e9", "e": null, "f": -1e10 })),
        ["b", "d", "f"]
    );
    assert_eq!(beyond_range(&pricing(T0).body), [""; 0]);
}

#[test]
fn very_large_sums_are_shown_with_as_many_decimals_as_add_up() {
    // 10^10: a float's steps are 0.0000019 there.
    let rules = json!([{ "id": "r", "when": { "event": "page_view" }, "points": 999_999.123_457 },
        { "id": "down", "when": { "event": "custom" }, "points": -999_999.123_457 }]);
    for (fields, count) in [
        (json!({ "half_life_days": 3650 }), 10_000),
        (json!({ "half_life_days": 3650 }), 8_000),
        (json!({ "half_life_days": 3650, "cap": 77.123_457 }), 10_000),
        (json!({ "floor": -5.5 }), 9_999),
    ] {
        let model = scoring(rules.clone(), fields.clone());
        for kind in [Kind::PageView, Kind::Custom] {
            let events: Vec<Event> = (0..count).map(|n| Event::new(T0 + n * HOUR, kind)).collect();
            let now = T0 + (count + 5) * HOUR;
            let explained = explain(&model, &sorted(&events), &Attributes::default(), "s", now).unwrap();
            assert_eq!(explained.value, Some(value(&model, &events, now)));
            // As people add them up: the decimals as they are printed.
            let printed = |value: f64| {
                let text = value.to_string();
                let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
                format!("{whole}{decimals:0<6}").parse::<i128>().unwrap()
            };
            let sum: i128 = explained.parts.iter().map(|part| printed(part.contribution)).sum();
            assert_eq!(sum, printed(explained.value.unwrap()), "{fields} {count} {kind:?}");
            let mut rules = explained.parts.iter().rev().filter(|part| part.kind == PartKind::Rule);
            let off = |part: &Part| (part.contribution - part.points * part.factor).abs();
            // The last takes what the sum's own roundings, event by event, have come to.
            assert!(rules.next().is_some_and(|last| off(last) < 1e-2), "{fields} {count}");
            for part in rules {
                assert!(off(part) < 2e-3, "{part:?}");
            }
        }
    }
}

#[test]
fn a_stage_on_a_score_from_outside_is_entered_and_left_as_any() {
    let model = parse(&json!({ "scores": [{ "slug": "ml", "kind": "external", "half_life_days": 10 }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "ml", "above": 50 }, "leave_below": 40 }] }));
    let none = Attributes::default();
    let told = |value: f64, days: i64| Event::telling(T0 + days * DAY, &json!({ "ml": value }));
    let history = [told(50.0, 0), told(80.0, 1), told(45.0, 2), told(10.0, 20)];
    let stage = |events: &[Event], now| standing(&model, events, now).stage.unwrap();
    assert_eq!(stage(&history[..1], T0), "lead", "not above");
    assert_eq!(stage(&history[..2], T0 + DAY), "mql");
    let held = fold(&model, &history[..3], T0 + 2 * DAY);
    let entered = held.standing(&model, &none, T0 + 2 * DAY).stages_entered;
    assert_eq!(entered, [("mql".to_owned(), T0 + DAY)], "45 is not above 50, nor below 40");
    // From 45 to 40 by decay alone, to the millisecond, with nobody telling anything.
    let due = held.due(&model, &none, T0 + 2 * DAY).unwrap();
    assert_eq!((stage(&history[..3], due - 1).as_str(), stage(&history[..3], due).as_str()), ("mql", "lead"));
    // 10 days * log2(45 / 40); what is shown as 40 is not below it, some ms longer.
    let after = due - T0 - 2 * DAY;
    assert!((146_815_201..146_815_230).contains(&after), "{after}");
    assert_eq!(stage(&history, T0 + 30 * DAY), "lead");
}

#[test]
fn a_stage_with_a_profile_score_beside_is_held_since_both_are_and_only_while_both_are() {
    let model = parse(&json!({
        "scores": [{ "slug": "s", "rules": [{ "id": "r", "when": { "event": "custom" }, "points": 60 }] },
            { "slug": "fit", "kind": "profile", "floor": 0, "rules": [
                { "id": "saas", "when": { "attribute": "industry", "equals": "SaaS" }, "points": 40 },
                { "id": "large", "when": { "not": { "attribute": "employees", "lt": 100 } }, "points": 1 }] }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 50 } },
            { "slug": "sql", "when": { "all": [{ "score": "fit", "above": 40 }, { "score": "s", "above": 50 }] } }] }));
    let held = |events: &[Event], known: &[(&str, &str, i64)]| {
        fold(&model, events, T0).standing(&model, &attributes(known), T0 + 9 * DAY).stages_entered
    };
    let entered =
        |stages: &[(&str, i64)]| stages.iter().map(|(slug, at)| ((*slug).to_owned(), *at)).collect::<Vec<_>>();
    let done = [Event::new(T0, Kind::Custom)];
    let saas = ("industry", "\"SaaS\"", T0 + DAY);
    assert_eq!(held(&done, &[]), entered(&[("mql", T0)]));
    assert_eq!(held(&done, &[saas]), entered(&[("mql", T0), ("sql", T0 + DAY)]));
    assert_eq!(
        held(&done, &[saas, ("employees", "250", T0 + 2 * DAY)]),
        entered(&[("mql", T0), ("sql", T0 + 2 * DAY)])
    );
    assert_eq!(held(&done, &[("industry", "\"SaaS\"", T0 - DAY)]), entered(&[("mql", T0), ("sql", T0)]));
    assert_eq!(held(&done, &[saas, ("employees", "50", T0)]), entered(&[("mql", T0)]));
    assert_eq!(held(&[Event::new(T0, Kind::PageView)], &[saas]), []);
    assert_eq!(model.score_of_stage("sql"), Some("s"));
}

#[test]
fn include_bots_lets_a_rule_see_bots_but_never_internal_people() {
    let rules = json!([{ "id": "r", "when": { "event": "email_open" }, "points": 1, "include_bots": true }]);
    let model = scoring(rules, json!({}));
    let events =
        [Event::new(T0, Kind::EmailOpen).bot(), Event { internal: true, ..Event::new(T0 + 1, Kind::EmailOpen) }];
    assert_eq!(value(&model, &events, T0 + 1), 1.0);
    assert_eq!(fold(&model, &events, T0 + 1).last_active_at(), None);
}

#[test]
fn sessions_are_runs_of_one_browser() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let gap = 30 * 60_000;
    let view = |at, browser| Event::new(at, Kind::PageView).browser(browser);
    let mut events = vec![view(T0, 1), view(T0 + gap, 1), view(T0 + 2 * gap + 1, 1), view(T0 + 1, 2)];
    events.push(Event { browser: false, ..Event::new(T0 + 9 * DAY, Kind::EmailClick) });
    events.push(Event::new(T0 + 9 * DAY, Kind::PageView).bot());
    assert_eq!(fold(&model, &events, T0 + 10 * DAY).sessions(), 3);
    assert_eq!(fold(&model, &events, T0 - DAY).sessions(), 3, "future events are counted too");
}

#[test]
fn orders_do_not_depend_on_the_time_asked_about_and_compare_unclamped_sums() {
    let rules = json!([{ "id": "a", "when": { "event": "custom" }, "points": 20 },
        { "id": "b", "when": { "event": "purchase" }, "points": -30 }]);
    let model = scoring(rules, json!({ "half_life_days": 5, "floor": 0, "cap": 30 }));
    let histories = [
        vec![Event::new(T0, Kind::Purchase), Event::new(T0 + 1, Kind::Purchase)],
        vec![Event::new(T0, Kind::Purchase)],
        vec![],
        vec![Event::new(T0, Kind::Custom)],
        vec![Event::new(T0 + 3 * DAY, Kind::Custom)],
        vec![Event::new(T0, Kind::Custom), Event::new(T0 + 1, Kind::Custom)],
        vec![Event::new(T0 + 3 * DAY, Kind::Custom), Event::new(T0 + 3 * DAY + 1, Kind::Custom)],
    ];
    let orders: Vec<f64> = histories
        .iter()
        .map(|events| {
            let order = |days| standing(&model, events, T0 + days * DAY).order;
            assert_eq!(order(4), order(40));
            assert_eq!(order(4)[1..], [None; 3]);
            order(4)[0].unwrap()
        })
        .collect();
    assert!(orders.is_sorted_by(|left, right| left < right), "{orders:?}");
    let later = [Event::new(T0, Kind::Custom), Event::new(T0 + 9 * DAY, Kind::Custom)];
    let bound = standing(&model, &later, T0).order[0].unwrap();
    for days in 0..20 {
        assert!(standing(&model, &later, T0 + days * DAY).order[0].unwrap() <= bound, "{days}");
    }
}

#[test]
fn points_that_expire_at_an_event_are_gone_before_it_but_no_stage_is_left_in_between() {
    let when = json!({ "event": "custom", "within_days": 3 });
    let rules = json!([{ "id": "r", "when": when, "points": 60 }, { "id": "v", "when": { "event": "page_view" }, "points": 25 },
        { "id": "p", "when": { "event": "purchase" }, "points": 60 }]);
    let stages = json!([{ "slug": "lead" }, { "slug": "low", "when": { "score": "s", "above": 50 }, "leave_below": 40 },
        { "slug": "high", "when": { "score": "s", "above": 80 } }]);
    let model = parse(&json!({ "scores": [{ "slug": "s", "rules": rules }], "stages": stages }));
    let at = T0 + 3 * DAY;
    let entered = |kind| standing(&model, &[Event::new(T0, Kind::Custom), Event::new(at, kind)], at).stages_entered;
    assert_eq!(entered(Kind::PageView), [], "never 85");
    assert_eq!(entered(Kind::Purchase), [("low".to_owned(), T0)], "60 before and after");
}

#[test]
fn who_has_many_entries_that_disappear_is_looked_at_in_steps_and_never_late() {
    let when = json!({ "event": "custom", "within_days": 3 });
    let model = parse(&json!({
        "scores": [{ "slug": "s", "rules": [{ "id": "r", "when": when, "points": 1 }] }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 200 }, "leave_below": 150 }] }));
    let none = Attributes::default();
    let events: Vec<Event> = (0..400).map(|n| Event::new(T0 + n * 1_000, Kind::Custom)).collect();
    let now = T0 + 400_000;
    let fold = fold(&model, &events, now);
    let stage = |t| fold.standing(&model, &none, t).stage.unwrap();
    // 250 of the 400 have gone with the one at second 250.
    let left = T0 + 250_000 + 3 * DAY;
    assert_eq!((stage(left - 1).as_str(), stage(left).as_str()), ("mql", "lead"));
    let mut dues = std::iter::successors(Some(now), |now| fold.due(&model, &none, *now));
    let looks = dues.by_ref().take_while(|due| *due < left).count();
    assert!((2..40).contains(&looks), "{looks}");
    let dues = std::iter::successors(Some(now), |now| fold.due(&model, &none, *now));
    assert_eq!(dues.into_iter().find(|due| stage(*due) == "lead"), Some(left));
}
