//! Explanations in detail: who gets the last millionth, and what is no part.

use super::*;
use serde_json::json;

#[test]
fn the_largest_remainders_get_the_millionths_that_are_short() {
    // Points of which a millionth is split, and what each becomes.
    for (points, contributions) in [
        // A large part with a small remainder, a small part with a large one: 0.7000009 shows as 0.700001.
        ([0.500_000_3, 0.200_000_6], [0.5, 0.200_001]),
        ([0.900_000_6, 0.100_000_3], [0.900_001, 0.1]),
        // 0.6000012 shows as 0.600001.
        ([0.400_000_5, 0.200_000_7], [0.4, 0.200_001]),
        // Below 0, down is away from it: -0.7000009 shows as -0.700001, which both rounded down would go below.
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
fn what_warms_nobody_is_no_part_of_the_temperature() {
    let model = parse(&json!({ "scores": [{ "slug": "s" }], "temperature": { "weights": { "download": 0 } } }));
    let kinds = [Kind::PageView, Kind::Download, Kind::EmailDelivery];
    let events = kinds.map(|kind| Event::new(T0, kind).id(kind.row().slug));
    let explained = explain(&model, &sorted(&events), &Attributes::default(), "temperature", T0).unwrap();
    let parts: Vec<_> = explained.parts.iter().map(|part| (part.rule.as_deref(), part.points)).collect();
    assert_eq!((explained.value, parts), (Some(2.0), vec![(Some("page_view"), 2.0)]));
}
