//! What long and odd histories do to a fold: limits of memory, wrong clocks.

use super::super::fold::Matched;
use super::*;
use serde_json::json;

#[test]
fn a_fold_stays_small_however_long_the_history() {
    let rules = json!([
        { "id": "gone", "when": { "event": "custom", "within_days": 3650 }, "points": 1 },
        { "id": "often", "when": { "event": "custom", "count": { "gte": 10 }, "within_days": 3650 }, "points": 1 },
        { "id": "day", "when": { "event": "custom" }, "points": 1, "limit": { "times": 1, "per": "day" } }]);
    let model = scoring(rules, json!({ "half_life_days": 30 }));
    let size = |events: i64| {
        let events: Vec<Event> =
            (0..events).map(|n| Event::new(T0 + n * HOUR, Kind::Custom).browser((n % 200) as u8)).collect();
        minicbor::to_vec(fold(&model, &events, T0 + 10_000 * HOUR)).unwrap().len()
    };
    assert!(size(6000) <= size(1000) + 8, "{} {}", size(1000), size(6000));
}

#[test]
fn of_disappearing_points_only_the_newest_256_count() {
    let rules = json!([{ "id": "gone", "when": { "event": "custom", "within_days": 100 }, "points": 1 }]);
    let model = scoring(rules.clone(), json!({}));
    let events: Vec<Event> = (0..300).map(|n| Event::new(T0 + n * HOUR, Kind::Custom)).collect();
    let now = T0 + 300 * HOUR;
    assert_eq!(value(&model, &events, now), 256.0);
    let explanation = explain(&model, &sorted(&events), &Attributes::default(), "s", now).unwrap();
    assert_eq!((explanation.value, explanation.parts.len()), (Some(256.0), 256));
    assert_eq!(explanation.parts[0].at, T0 + 44 * HOUR);
    // Which is told, as long as those that had to go would still count, and nothing has discarded them.
    let crowded = |rules: &serde_json::Value, hours: i64| {
        let model = scoring(rules.clone(), json!({}));
        let explanation = explain(&model, &sorted(&events), &Attributes::default(), "s", T0 + hours * HOUR).unwrap();
        explanation.crowded.iter().map(|crowded| (crowded.rule.clone(), crowded.left_out)).collect::<Vec<_>>()
    };
    let gone = |left_out| vec![("gone".to_owned(), left_out)];
    assert_eq!(crowded(&rules, 299), gone(44));
    assert_eq!(crowded(&rules, 100 * 24 + 10), gone(33), "those of the first eleven hours have disappeared since");
    assert_eq!(crowded(&rules, 100 * 24 + 43), []);
    assert_eq!(crowded(&rules, 254), [], "of 255 all count");
    let mut with_set = rules.clone();
    let after = json!({ "event": "custom", "count": { "equals": 299 } });
    with_set.as_array_mut().unwrap().push(json!({ "id": "anew", "when": after, "set": 0 }));
    assert_eq!(crowded(&with_set, 299), []);
    assert_eq!(value(&model, &events, T0 + 100 * DAY + 44 * HOUR), 255.0);
}

#[test]
fn a_device_whose_clock_is_years_ahead_does_not_fill_the_fold_and_changes_nothing_of_the_present() {
    // The present: somebody who was here an hour ago, twice in two days.
    let custom = || json!({ "event": "custom" });
    let tags = json!([{ "slug": "twice", "when": { "event": "custom", "within_days": 2, "count": { "gte": 2 } } },
        { "slug": "silent", "when": { "event": "custom", "not_within_days": 3 } }]);
    let rules = json!([{ "id": "r", "when": custom(), "points": 8 }]);
    let model = parse(&json!({ "tags": tags, "scores": [{ "slug": "s", "half_life_days": 1, "rules": rules }] }));
    let present = [Event::new(T0 - DAY, Kind::Custom), Event::new(T0 - HOUR, Kind::Custom)];
    let with = |count: i64| {
        let ahead = (0..count).map(|n| Event::new(T0 + DAY + n * HOUR, Kind::Custom));
        present.iter().cloned().chain(ahead).collect::<Vec<_>>()
    };
    let now = |count: i64| standing(&model, &with(count), T0);
    let own = now(0).scores[0].1.value.unwrap();
    let mut sizes = Vec::new();
    for count in [256, 257, 600, 3_000] {
        let standing = now(count);
        assert_eq!(standing.tags, ["twice"], "{count}");
        assert_eq!(standing.scores[0].1.value, Some(own + 8.0 * count as f64), "each counts as happening now");
        let folded = fold(&model, &with(count), T0);
        assert_eq!(folded.newest().map(|newest| newest.0), Some(T0 - HOUR));
        assert_eq!(folded.last().map(|last| last.0), Some(T0 + DAY + (count - 1) * HOUR));
        assert_eq!(folded.ends(), (count > 256).then_some(T0 + DAY + 256 * HOUR));
        sizes.push(minicbor::to_vec(&folded).unwrap().len());
    }
    assert!(sizes[3] <= sizes[1] + 16, "{sizes:?}");
}

#[test]
fn what_lies_beyond_those_that_are_kept_is_added_to_only_from_memory() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let events: Vec<Event> = (0..6).map(|n| pricing(T0 + n * DAY)).collect();
    let place = |n: usize| (events[n].at, events[n].id.as_str(), events[n].rec);
    let folded = fold_keeping(2, &model, &events[..4], T0);
    assert_eq!([1, 2, 3, 4].map(|n| folded.takes(place(n))), [false, false, false, true]);
    assert_eq!(folded.ends(), Some(T0 + 3 * DAY));
    let read: Fold = minicbor::decode(&minicbor::to_vec(&folded).unwrap()).unwrap();
    assert!(!read.takes(place(4)), "where it leads was not stored");
    // With room, any later than those that have happened.
    let with_room = fold(&model, &events[..4], T0);
    assert_eq!([0, 1, 5].map(|n| with_room.takes(place(n))), [false, true, true]);
}

#[test]
fn nor_does_it_with_a_model_of_which_everything_matches() {
    let rules = |count: usize| -> Vec<_> {
        (0..count).map(|n| json!({ "id": format!("r{n}"), "when": { "event": "custom" }, "points": 1 })).collect()
    };
    let scores: Vec<_> = (0..8).map(|n| json!({ "slug": format!("s{n}"), "rules": rules(250) })).collect();
    let model = parse(&json!({ "scores": scores }));
    let events: Vec<Event> = (0..366).map(|n| Event::new(T0 + n * DAY, Kind::Custom)).collect();
    let whole = fold(&model, &events, T0 - DAY);
    let size = minicbor::to_vec(&whole).unwrap().len();
    assert!(size < 200 * 1024, "{size} bytes of the 2 MB of a row");
    assert_eq!(whole.events(), 366);
    assert_eq!(whole.standing(&model, &Attributes::default(), T0 - DAY).scores[7].1.value, Some(366.0 * 250.0));
    assert!((1..100).contains(&((whole.ends().unwrap() - T0) / DAY)), "{:?}", whole.ends());
}

#[test]
fn what_an_event_takes_is_known_before_it_is_stored() {
    let rules: Vec<_> =
        (0..499).map(|n| json!({ "id": format!("r{n}"), "when": { "event": "identify" }, "points": 1 })).collect();
    let attribute = |n: usize| format!("{n}{}", "a".repeat(200));
    let told = (0..5).map(|n| json!({ "slug": format!("told{n}"), "kind": "external", "attribute": attribute(n) }));
    let scores: Vec<_> =
        told.chain(["s", "t"].map(|slug| json!({ "slug": slug, "rules": rules.as_slice() }))).collect();
    let model = parse(&json!({ "scores": scores }));
    let tells: serde_json::Map<_, _> = (0..5).map(|n| (attribute(n), json!(0.1))).collect();
    // What matches everything, that which says something besides, and what matches nothing.
    let events = [Event::telling(T0, &json!({})), Event::telling(T0, &json!(tells)), Event::new(T0, Kind::Custom)];
    for event in events.map(|event| event.id(&"i".repeat(60))) {
        let matched = Matched::new(&model, &event.occurrence());
        let stored = minicbor::to_vec(&matched).unwrap().len();
        // Some hundred rules have small numbers, which take less.
        assert!((stored..stored + 400).contains(&matched.bytes()), "{} for {stored}", matched.bytes());
    }
}

#[test]
fn times_at_the_ends_of_the_world_do_no_harm() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let none = Attributes::default();
    for at in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
        for now in [i64::MIN, 0, T0, i64::MAX] {
            let fold = fold(&model, &[pricing(at), pricing(at).id("second")], now);
            let value = fold.standing(&model, &none, now).scores[0].1.value.unwrap();
            assert!((0.0..=10.0).contains(&value), "{at} {now} {value}");
            assert!(fold.due(&model, &none, now).is_none_or(|due| due > now), "{at} {now}");
        }
    }
}

#[test]
fn a_session_goes_on_for_half_an_hour_after_the_last_view() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let gap = HOUR / 2;
    let sessions = |gaps: &[i64]| {
        let mut at = T0;
        let later = gaps.iter().map(|gap| {
            at += gap;
            Event::new(at, Kind::PageView)
        });
        let events: Vec<Event> = [Event::new(T0, Kind::PageView)].into_iter().chain(later).collect();
        fold(&model, &events, T0 + 99 * DAY).sessions()
    };
    assert_eq!([sessions(&[]), sessions(&[gap, gap]), sessions(&[gap + 1]), sessions(&[DAY, gap, DAY])], [1, 1, 2, 3]);
}

#[test]
fn of_64_browsers_the_last_view_is_known_and_one_that_comes_back_after_64_others_begins_anew() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let sessions = |browsers: u8| {
        let views = (0..2 * i64::from(browsers))
            .map(|n| Event::new(T0 + n * 1_000, Kind::PageView).browser((n % i64::from(browsers)) as u8));
        fold(&model, &views.collect::<Vec<_>>(), T0 + DAY).sessions()
    };
    assert_eq!([sessions(63), sessions(64), sessions(65)], [63, 64, 130]);
}

#[test]
fn an_event_dated_ahead_is_awaited_until_its_time_and_is_the_last_of_all() {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let events = [pricing(T0), pricing(T0 + DAY), pricing(T0 + 2 * DAY)];
    let places = events.each_ref().map(|event| (event.at, event.id.as_str(), event.rec));
    for (now, awaited) in [(T0, [false, true, true]), (T0 + DAY, [false, false, true]), (T0 + 2 * DAY, [false; 3])] {
        let folded = fold(&model, &events, now);
        assert_eq!(places.map(|place| folded.awaits(place)), awaited);
        assert_eq!(folded.last(), Some(places[2]));
        assert!(!folded.awaits((T0 + 2 * DAY, "another", places[2].2)));
    }
    assert_eq!(Fold::default().last(), None);
}
