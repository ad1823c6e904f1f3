//! Explanations in detail: who gets the last millionth, what is no part, and pages of parts.

use super::*;
use serde_json::json;

#[test]
fn parts_are_rounded_so_that_they_add_up_as_far_as_they_go() {
    // Points of which a millionth is split, and what each becomes.
    for (points, contributions) in [
        // 0.7000009 shows as 0.700001, 1.0000009 as 1.000001.
        ([0.500_000_3, 0.200_000_6], [0.5, 0.200_001]),
        ([0.900_000_6, 0.100_000_3], [0.900_001, 0.1]),
        // 0.4000005 shows as 0.400001, 0.6000012 as 0.600001.
        ([0.400_000_5, 0.200_000_7], [0.400_001, 0.2]),
        ([-0.500_000_3, -0.200_000_6], [-0.5, -0.200_001]),
    ] {
        let rules = json!([
            { "id": "a", "when": { "event": "custom" }, "points": points[0] },
            { "id": "b", "when": { "event": "custom" }, "points": points[1] }]);
        let model = scoring(rules, json!({}));
        let events = [Event::new(T0, Kind::Custom)];
        let explained = explain(&model, &sorted(&events), &Attributes::default(), "s", T0).unwrap();
        let found: Vec<f64> = explained.parts.iter().map(|part| part.contribution).collect();
        assert_eq!(found, contributions, "{points:?}");
        assert_eq!(explained.value, Some(value(&model, &events, T0)));
    }
}

#[test]
fn points_are_shown_in_the_decimals_of_values() {
    let rules = json!([
        { "id": "a", "when": { "event": "custom" }, "points": 0.1 },
        { "id": "b", "when": { "event": "custom" }, "points": 0.2 }]);
    let inactivity = json!({ "half_life_days": 3, "inactivity": [{ "after_days": 7, "points": -1 }] });
    let model = scoring(rules, inactivity);
    let events = [Event::new(T0, Kind::Custom)];
    assert_eq!(points_of(&model, &sorted(&events)), [BTreeMap::from([("s".to_owned(), 0.3)])]);
    let explained = explain(&model, &sorted(&events), &Attributes::default(), "s", T0 + 7 * DAY).unwrap();
    let taken: Vec<f64> = explained.parts.iter().map(|part| part.points).collect();
    assert_eq!(taken, [0.1, 0.2, -0.059_528], "what was left of 0.3");
}

#[test]
fn inactivity_is_by_no_event_be_one_after_it_or_not() {
    let rules = json!([{ "id": "page", "when": { "event": "page_view" }, "points": 10 }]);
    let model = scoring(rules, json!({ "inactivity": [{ "after_days": 7, "points": -1 }] }));
    let events = [pricing(T0), pricing(T0 + 10 * DAY).name("Later")];
    let explained = explain(&model, &sorted(&events), &Attributes::default(), "s", T0 + 20 * DAY).unwrap();
    let parts: Vec<_> = explained
        .parts
        .into_iter()
        .map(|part| (part.kind.slug(), part.rule.is_some(), part.event.map(|(_, at, _)| at), part.name, part.at))
        .collect();
    let earned = |at: i64, name: &str| ("rule", true, Some(at), Some(name.to_owned()), at);
    let silent = |at: i64| ("inactivity", false, None, None, at);
    let expected = [earned(T0, ""), silent(T0 + 7 * DAY), earned(T0 + 10 * DAY, "Later"), silent(T0 + 17 * DAY)];
    assert_eq!(parts, expected);
}

#[test]
fn what_warms_nobody_is_no_part_of_the_temperature() {
    let model = parse(&json!({ "scores": [{ "slug": "s" }], "temperature": { "weights": { "download": 0 } } }));
    let kinds = [Kind::PageView, Kind::Download, Kind::EmailDelivery];
    let events = kinds.map(|kind| Event::new(T0, kind).id(kind.row().slug));
    let explained = explain(&model, &sorted(&events), &Attributes::default(), "temperature", T0).unwrap();
    let parts: Vec<_> = explained.parts.iter().map(|part| (part.rule.as_deref(), part.points)).collect();
    assert_eq!((explained.value, parts), (Some(2.0), vec![(Some("page_view"), 2.0)]));
}

#[test]
fn pages_of_parts_are_the_whole_in_order() {
    let rules = json!([
        { "id": "seen", "when": { "event": "page_view" }, "points": 0.1 },
        { "id": "often", "when": { "event": "page_view" }, "points": 7, "limit": { "times": 20, "per": "day" } },
        { "id": "lately", "when": { "event": "page_view", "within_days": 1 }, "points": 3 },
        { "id": "reset", "when": { "event": "form_submit" }, "set": 5 }]);
    for fields in [json!({}), json!({ "half_life_days": 2 }), json!({ "cap": 30 }), json!({ "floor": 1000 })] {
        let model = scoring(rules.clone(), fields.clone());
        let kind = |n: i64| if n == 40 { Kind::FormSubmit } else { Kind::PageView };
        let events: Vec<Event> = (0..200).map(|n| Event::new(T0 + n * HOUR, kind(n))).collect();
        let (events, none, at) = (sorted(&events), Attributes::default(), T0 + 200 * HOUR);
        for score in ["s", "temperature"] {
            let whole = explain(&model, &events, &none, score, at).unwrap();
            assert_eq!(whole.total, whole.parts.len());
            assert!(whole.total > 150, "{score} {fields}: {}", whole.total);
            for size in [1, 7, 150, whole.total, whole.total + 1] {
                let pages = (0..=whole.total).step_by(size).map(|from| {
                    let page = explain_page(&model, &events, &none, score, at, from..from + size).unwrap();
                    assert!(page.parts.len() <= size);
                    assert_eq!((page.value, page.total), (whole.value, whole.total));
                    page.parts
                });
                assert_eq!(pages.flatten().collect::<Vec<_>>(), whole.parts, "{score} {fields} by {size}");
            }
        }
    }
}
