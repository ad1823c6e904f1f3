//! What shows only at the edges: rounding that must leave nothing, sums that take long to vanish, people of whom only the
//! future is known.

use super::super::balance::resolution;
use super::super::condition::{EventCondition, KindMask, kind_bit};
use super::*;
use serde_json::json;

fn every(kind: &str) -> serde_json::Value {
    json!({ "event": kind })
}

#[test]
fn points_that_have_all_disappeared_leave_exactly_nothing() {
    let rules = json!([{ "id": "r", "when": { "event": "custom", "within_days": 1 }, "points": 0.1 }]);
    let model = scoring(rules, json!({}));
    let events: Vec<Event> = (0..3).map(|n| Event::new(T0 + n, Kind::Custom)).collect();
    let folded = fold(&model, &events, T0 + 3);
    let (_, behavior) = model.behaviors().next().unwrap();
    let sum = |now| folded.at(&model, now).0.balances[0].sum(behavior, now);
    // 0.1 three times and back is 2.8e-17.
    assert!(sum(T0 + 3) > 0.0);
    assert_eq!(sum(T0 + 2 * DAY), 0.0);
}

#[test]
fn silence_takes_a_sum_to_the_bound_in_one_step_whatever_was_rounded() {
    let rules = json!([
        { "id": "stays", "when": every("custom"), "points": 0.7 },
        { "id": "goes", "when": { "event": "page_view", "within_days": 1000 }, "points": 0.1 }]);
    let model = scoring(rules, json!({ "inactivity": [{ "after_days": 1, "points": -5, "repeat": true }] }));
    let events = [Event::new(T0, Kind::Custom), Event::new(T0, Kind::PageView).id("view")];
    // 0.7 - (0.7 + 0.1) + 0.1 is 1.1e-16: a second day of silence must not find that.
    let explained = explain(&model, &sorted(&events), &Attributes::default(), "s", T0 + 10 * DAY).unwrap();
    let taken = explained.parts.iter().filter(|part| part.rule.is_none()).count();
    assert_eq!((explained.value, taken), (Some(0.0), 1), "{:?}", explained.parts);
}

#[test]
fn a_large_sum_is_due_when_it_has_become_small_however_long_that_takes() {
    // From 10^6 to 10^-5: 36.5 half-lives. (Neither kind is an activity: no temperature changes on the way.)
    let rules = json!([
        { "id": "large", "when": every("identify"), "points": 1_000_000 },
        { "id": "goes", "when": { "event": "canvas_entry", "within_days": 365 }, "points": 1_000_000 }]);
    let stages =
        json!([{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 1 }, "leave_below": 0.00001 }]);
    let model = parse(&json!({ "scores": [{ "slug": "s", "half_life_days": 1, "rules": rules }], "stages": stages }));
    let leaves = |events: &[Event]| {
        let folded = fold(&model, events, T0);
        let due = folded.due(&model, &Attributes::default(), T0).unwrap();
        let stage = |now| folded.standing(&model, &Attributes::default(), now).stage.unwrap();
        assert_eq!((stage(due - 1).as_str(), stage(due).as_str()), ("mql", "lead"), "due {} ms after T0", due - T0);
        due - T0
    };
    let once = Event::new(T0, Kind::Identify);
    let leaves_once = leaves(std::slice::from_ref(&once));
    assert!((36 * DAY..37 * DAY).contains(&leaves_once));
    // As much again, which would disappear only after an event that lies ahead.
    let ahead = Event::new(T0 + 60 * DAY, Kind::EmailOpen);
    let leaves_twice = leaves(&[once, Event::new(T0, Kind::CanvasEntry).id("entry"), ahead]);
    assert!((leaves_twice - leaves_once - DAY).abs() < HOUR, "a half-life later");
}

#[test]
fn an_order_key_bounds_the_value_at_any_time_whatever_lies_ahead() {
    let rules = json!([
        { "id": "gain", "when": every("custom"), "points": 100 }, { "id": "loss", "when": every("purchase"), "points": -90 }]);
    let model = scoring(rules, json!({ "half_life_days": 1 }));
    // Whether what lies ahead is kept one by one or as what it adds.
    for (ahead, most) in [(Kind::Custom, 256), (Kind::Purchase, 256), (Kind::Custom, 0), (Kind::Purchase, 0)] {
        let events = [Event::new(T0, Kind::Custom), Event::new(T0 + 10 * DAY, ahead)];
        let folded = fold_keeping(most, &model, &events, T0);
        let key = folded.standing(&model, &Attributes::default(), T0).order[0].unwrap();
        for days in 0..20 {
            let now = T0 + days * DAY;
            let (value, bound) = (value(&model, &events, now), model.value_bound("s", key, now).unwrap());
            assert!(value <= bound, "{value} > {bound} after {days} days, {ahead:?} ahead, {most} kept");
        }
    }
}

#[test]
fn an_order_key_tells_the_value_where_nothing_lies_ahead() {
    let rules = json!([
        { "id": "gain", "when": every("custom"), "points": 300 }, { "id": "loss", "when": every("purchase"), "points": -200 }]);
    for fields in [json!({}), json!({ "half_life_days": 3 })] {
        let model = scoring(rules.clone(), fields);
        for kind in [Kind::Custom, Kind::Purchase, Kind::Other] {
            let events = [Event::new(T0, kind)];
            let key = standing(&model, &events, T0).order[0].unwrap();
            for days in 0..20 {
                let now = T0 + days * DAY;
                let (value, bound) = (value(&model, &events, now), model.value_bound("s", key, now).unwrap());
                let slack = 2e-6 + 1e-6 * value.abs();
                assert!((value..=value + slack).contains(&bound), "{bound} for {value} after {days} days");
            }
        }
        let of_nothing = [i64::MIN, 0, T0, i64::MAX].map(|now| model.value_bound("s", 0.0, now).unwrap());
        assert_eq!(of_nothing, [1e-6; 4], "at any time");
        assert_eq!(model.value_bound("other", 0.0, T0), None);
    }
}

#[test]
fn who_has_only_a_future_is_in_no_stage_since_the_beginning_of_time() {
    let rules = json!([{ "id": "r", "when": every("custom"), "points": 1 }]);
    let stages = json!([{ "slug": "lead" }, { "slug": "any", "when": { "score": "s", "above": -1 } }]);
    let model = parse(&json!({ "scores": [{ "slug": "s", "rules": rules }], "stages": stages }));
    let events = [Event::new(T0 + DAY, Kind::Custom)];
    let entered = |now| fold(&model, &events, now).standing(&model, &Attributes::default(), now).stages_entered;
    assert_eq!(entered(T0), [("any".to_owned(), T0)]);
    assert_eq!(entered(T0 + 2 * DAY), [("any".to_owned(), T0 + DAY)]);
}

#[test]
fn a_debt_that_fades_enters_a_stage_to_the_millisecond() {
    let rules = json!([{ "id": "r", "when": every("custom"), "points": -20 }]);
    let stages = json!([{ "slug": "lost" }, { "slug": "lead", "when": { "score": "s", "above": -5 } }]);
    let model = parse(&json!({ "scores": [{ "slug": "s", "half_life_days": 1, "rules": rules }], "stages": stages }));
    let folded = fold(&model, &[Event::new(T0, Kind::Custom)], T0);
    let standing = |now| folded.standing(&model, &Attributes::default(), now);
    assert_eq!(standing(T0 + 2 * DAY).scores[0].1.value, Some(-5.0), "not yet above");
    let entered = standing(T0 + 10 * DAY).stages_entered;
    let [(stage, at)] = entered.as_slice() else { panic!("{entered:?}") };
    assert_eq!(stage, "lead");
    let value = |now| standing(now).scores[0].1.value.unwrap();
    assert!(value(at - 1) <= -5.0 && value(*at) > -5.0 && *at > T0 + 2 * DAY);
    // From when on nothing else changes: the prospect has long cooled down.
    assert_eq!(folded.due(&model, &Attributes::default(), T0 + 47 * HOUR), Some(*at));
}

#[test]
fn only_events_of_kinds_that_could_match_are_looked_at() {
    let (click, view) = (kind_bit(Kind::EmailClick), kind_bit(Kind::PageView));
    let kind = |mask| EventCondition::Kind(mask);
    let (later, sooner) = (EventCondition::After(T0), EventCondition::Before(T0 + DAY));
    let not = |condition| EventCondition::Not(Box::new(condition));
    for (condition, kinds) in [
        (kind(click), click),
        (later.clone(), KindMask::MAX),
        (EventCondition::All(vec![kind(click), later.clone(), sooner.clone()]), click),
        (EventCondition::All(vec![kind(click | view), kind(view)]), view),
        (EventCondition::Any(vec![kind(click), kind(click | view)]), click | view),
        (EventCondition::Any(vec![kind(click), later.clone()]), KindMask::MAX),
        (not(kind(click)), !click),
        // Of a kind that the condition is about, some may still not fulfil it.
        (not(EventCondition::All(vec![kind(click), sooner])), KindMask::MAX),
    ] {
        assert_eq!(condition.kinds(), kinds, "{condition:?}");
    }
    // As they are read, too.
    let looked_at = |when: serde_json::Value, kind: Kind| {
        let model = scoring(json!([{ "id": "r", "when": when, "points": 1 }]), json!({}));
        !model.by_kind[kind as usize].is_empty()
    };
    let but_views = json!({ "not": { "event": "page_view" } });
    assert_eq!([Kind::PageView, Kind::Custom].map(|kind| looked_at(but_views.clone(), kind)), [false, true]);
    let custom = json!({ "all": [{ "name": "Trial" }, { "event": "custom" }] });
    assert_eq!([Kind::PageView, Kind::Custom].map(|kind| looked_at(custom.clone(), kind)), [false, true]);
}

#[test]
fn points_that_disappear_while_a_debt_fades_are_no_way_into_a_stage() {
    // With so large a debt, each millisecond shows: it fades by 0.004 in one.
    let rules = json!([
        { "id": "debt", "when": every("purchase"), "points": -1_000_000 },
        { "id": "gain", "when": { "event": "canvas_entry", "within_days": 1 }, "points": 1 }]);
    let score = json!({ "slug": "s", "half_life_days": 1, "rules": rules });
    let events = [Event::new(T0, Kind::Purchase), Event::new(T0, Kind::CanvasEntry).id("gain")];
    let without_stages = parse(&json!({ "scores": [score] }));
    // The last value with the point, and one that fading alone would have reached a millisecond later.
    let before = value(&without_stages, &events, T0 + DAY - 1);
    let stages = json!([{ "slug": "lost" }, { "slug": "lead", "when": { "score": "s", "above": before + 0.001 } }]);
    let model = parse(&json!({ "scores": [score], "stages": stages }));
    let folded = fold(&model, &events, T0);
    let stage = |now| folded.standing(&model, &Attributes::default(), now).stage.unwrap();
    let due = folded.due(&model, &Attributes::default(), T0 + 23 * HOUR).unwrap();
    assert_eq!(
        (stage(due - 1).as_str(), stage(due).as_str()),
        ("lost", "lead"),
        "due {} ms after a day",
        due - T0 - DAY
    );
    assert!((T0 + DAY + 100..T0 + DAY + 200).contains(&due));
}

#[test]
fn silence_is_told_at_its_time_and_no_other() {
    let rules = json!([{ "id": "r", "when": every("custom"), "points": 12 }]);
    let model = scoring(rules, json!({ "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] }));
    let folded = fold(&model, &[Event::new(T0, Kind::Custom)], T0);
    // 12 points: two of 5, then what is left.
    for (day, lapses) in [(13, false), (14, true), (15, false), (28, true), (42, true), (56, false)] {
        let at = T0 + day * DAY;
        assert_eq!(folded.lapses(&model, at - 1, at), lapses, "after {day} days");
    }
    assert!(folded.lapses(&model, T0, T0 + 15 * DAY), "in between");
}

#[test]
fn a_sum_of_one_is_due_as_any_other() {
    let rules = json!([{ "id": "r", "when": every("identify"), "points": 1 }]);
    let stages =
        json!([{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 0.5 }, "leave_below": 0.25 }]);
    let model = parse(&json!({ "scores": [{ "slug": "s", "half_life_days": 1, "rules": rules }], "stages": stages }));
    let folded = fold(&model, &[Event::new(T0, Kind::Identify)], T0);
    let due = folded.due(&model, &Attributes::default(), T0).unwrap();
    let stage = |now| folded.standing(&model, &Attributes::default(), now).stage.unwrap();
    assert_eq!((stage(due - 1).as_str(), stage(due).as_str()), ("mql", "lead"));
    assert!((2 * DAY..2 * DAY + HOUR).contains(&(due - T0)));
}

#[test]
fn the_larger_a_sum_the_fewer_decimals_it_shows() {
    for (sum, parts_of_a_unit) in
        [(0.0, 1e6), (7_999_999_999.0, 1e6), (8e9, 1e3), (7_999_999_999_999.0, 1e3), (8e12, 1.0)]
    {
        assert_eq!([resolution(sum), resolution(-sum)], [parts_of_a_unit; 2], "{sum}");
    }
}
