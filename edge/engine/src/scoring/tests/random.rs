//! Random models over random histories: the fold against the naive reference and against itself.

use super::naive::{CountSpec, Question, RuleSpec, Spec};
use super::*;
use proptest::prelude::*;

const PAST: i64 = 60 * DAY;

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::PageView, Kind::FormSubmit, Kind::Custom, Kind::CrmChange, Kind::EmailDelivery])
}

/// Times that often meet each other, day borders and full periods.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        (0..60_i64).prop_map(|days| T0 + days * DAY),
        (0..60_i64, -1..=1_i64).prop_map(|(days, ms)| T0 + days * DAY + ms),
        (0..PAST).prop_map(|ms| T0 + ms),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (time(), kind(), 0..1000_u16, 0..10_u8).prop_map(|(at, kind, id, odd)| {
        let event = Event::new(at, kind).id(&format!("i{id}")).browser(odd % 3);
        match odd {
            9 => event.bot(),
            8 => Event { internal: true, ..event },
            _ => event,
        }
    })
}

/// Events in no order, no two the same.
fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec(event(), 0..25).prop_map(|mut events| {
        let mut seen = std::collections::BTreeSet::new();
        events.retain(|event| seen.insert((event.at, event.id.clone(), event.rec)));
        events
    })
}

fn count() -> impl Strategy<Value = CountSpec> {
    (prop::sample::select(vec!["gt", "gte", "lt", "lte", "equals"]), 0..4_u8)
        .prop_filter("no number is below 0", |asked| *asked != ("lt", 0))
        .prop_map(|(word, n)| CountSpec(word, n))
}

fn question() -> impl Strategy<Value = Question> {
    (kind(), count(), prop::option::of(1..20_u8))
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    let limit = (1..4_u8, prop::sample::select(vec!["day", "week", "month", "ever"]));
    let effect = prop_oneof![
        8 => (Just(false), (-20..40_i16).prop_filter("0 points do nothing", |points| *points != 0)),
        1 => (Just(true), -10..30_i16),
    ];
    (
        prop::collection::vec(kind(), 1..3),
        prop::bool::weighted(0.2),
        effect,
        prop::option::weighted(0.3, count()),
        prop::option::weighted(0.4, 1..20_u8),
        prop::collection::vec(limit, 0..3),
    )
        .prop_map(|(kinds, include_bots, (set, points), count, within_days, limits)| RuleSpec {
            kinds,
            include_bots,
            set,
            points,
            count,
            within_days,
            limits,
        })
}

fn spec() -> impl Strategy<Value = Spec> {
    let stages = prop::option::of((-5..40_i16, prop::option::of(0..15_i16), 1..30_i16, prop::option::of(0..15_i16)));
    let stages = stages.prop_map(|stages| match stages {
        Some((above, leave, gap, next)) => {
            vec![(above, leave.map(|below| above - below)), (above + gap, next.map(|below| above + gap - below))]
        }
        None => Vec::new(),
    });
    (
        prop::option::weighted(0.7, 1..30_u8),
        prop::option::of(-30..5_i16),
        // Not below the highest band.
        prop::option::of(31..80_i16),
        prop::collection::vec(rule(), 1..5),
        prop::collection::vec((1..20_u8, 1..10_u8, any::<bool>()), 0..3),
        stages,
        any::<bool>(),
        question(),
        prop::option::weighted(0.2, question()),
    )
        .prop_map(
            |(half_life_days, floor, cap, rules, inactivity, stages, exact, tag, exclude): (
                _,
                Option<i16>,
                Option<i16>,
                _,
                _,
                Vec<(i16, _)>,
                _,
                _,
                _,
            )| Spec {
                half_life_days,
                // A stage's line is between floor and cap.
                floor: stages.first().map_or(floor, |(lowest, _)| floor.map(|floor| floor.min(*lowest))),
                cap: stages.last().map_or(cap, |(highest, _)| cap.map(|cap| cap.max(highest + 1))),
                rules,
                inactivity,
                stages,
                exact,
                tag,
                exclude,
            },
        )
}

fn in_order(events: &[Event]) -> Vec<Event> {
    let mut events = events.to_vec();
    events.sort_by(|a, b| (a.at, &a.id, a.rec).cmp(&(b.at, &b.id, b.rec)));
    events
}

/// Folds events as they arrive, anew whenever one is not taken; through its stored form each time. At most so many are kept
/// one by one that are dated ahead.
fn arrive(most: usize, model: &Model, events: &[Event], now: i64) -> Fold {
    let mut known: Vec<Event> = Vec::new();
    let mut state = Fold::default();
    // The clock goes on between arrivals, and reaches `now` with the last.
    let mut clock = now;
    events.iter().skip(1).for_each(|_| clock -= 2 * DAY);
    for event in events {
        known.push(event.clone());
        if state.takes((event.at, event.id.as_str(), event.rec)) && state.ends().is_none_or(|ends| clock < ends) {
            state.push_keeping(most, model, &event.occurrence(), clock);
        } else {
            state = fold_keeping(most, model, &known, clock);
        }
        state = minicbor::decode(&minicbor::to_vec(&state).unwrap()).unwrap();
        clock += 2 * DAY;
    }
    state
}

/// How many events that are dated ahead are kept one by one.
fn kept() -> impl Strategy<Value = usize> {
    prop_oneof![0..4_usize, Just(256)]
}

/// What `due` watches.
fn watched(standing: &Standing) -> impl PartialEq + std::fmt::Debug + use<> {
    (standing.tags.clone(), standing.temperature, standing.stage.clone(), standing.scores[0].1.band.clone())
}

fn micros(value: f64) -> i64 {
    (value * 1e6).round() as i64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_is_the_sum_formula(spec in spec(), events in events(), now in time(), kept in kept()) {
        let model = spec.model();
        let ordered = in_order(&events);
        let mut state = arrive(kept, &model, &events, now);
        prop_assert_eq!(state.events(), events.len() as u64);
        for t in [now, now + 1, now + DAY, now + 9 * DAY + 7, now + 100 * DAY] {
            if state.ends().is_some_and(|ends| ends <= t) {
                state = fold_keeping(kept, &model, &events, t);
            }
            let standing = state.standing(&model, &Attributes::default(), t);
            prop_assert_eq!(standing.excluded.is_some(), spec.excluded(&ordered, t));
            if standing.excluded.is_some() {
                prop_assert_eq!((standing.scores[0].1.value, &standing.scores[0].1.band), (None, &None));
                prop_assert_eq!((standing.tags.len(), standing.temperature), (0, "frozen"));
                prop_assert_eq!(standing.stage.as_deref(), model.stage_slugs().next());
                continue;
            }
            let value = standing.scores[0].1.value.unwrap();
            let expected = spec.value(&ordered, t);
            prop_assert!((value - expected).abs() < 2e-6, "{} {} at {}", value, expected, t - T0);
            prop_assert_eq!(&standing.scores[0].1.band, &spec.band(expected));
            prop_assert_eq!(standing.stage, Some(spec.stage(&ordered, t)));
            prop_assert_eq!(!standing.tags.is_empty(), spec.tagged(&ordered, t));
            prop_assert_eq!(standing.temperature, spec.temperature(&ordered, t));
        }
    }

    #[test]
    fn two_scores_are_each_their_own_and_the_stage_is_the_furthest_of_both(
        specs in [spec(), spec()], turns in prop::collection::vec(any::<bool>(), 4), events in events(), now in time(),
        kept in kept(),
    ) {
        let slugs = ["s", "z"];
        // The stages of each in their order, those of the two in any.
        let mut waiting = [0, 1].map(|which| specs[which].stages_of(slugs[which]).into_iter().enumerate());
        let (mut places, mut stages) = (Vec::new(), vec![serde_json::json!({ "slug": "first" })]);
        for turn in turns.into_iter().chain([false, false, true, true]) {
            if let Some((place, stage)) = waiting[usize::from(turn)].next() {
                places.push((usize::from(turn), place));
                stages.push(stage);
            }
        }
        let scores: Vec<_> = specs.iter().zip(slugs).map(|(spec, slug)| spec.score(slug)).collect();
        let model = parse(&serde_json::json!({ "scores": scores, "stages": stages }));
        let ordered = in_order(&events);
        let mut state = arrive(kept, &model, &events, now);
        for t in [now, now + 9 * DAY + 7] {
            if state.ends().is_some_and(|ends| ends <= t) {
                state = fold_keeping(kept, &model, &events, t);
            }
            let standing = state.standing(&model, &Attributes::default(), t);
            for (spec, (slug, score)) in specs.iter().zip(&standing.scores) {
                let (value, expected) = (score.value.unwrap(), spec.value(&ordered, t));
                prop_assert!((value - expected).abs() < 2e-6, "{}: {} {} at {}", slug, value, expected, t - T0);
            }
            let entered = [0, 1].map(|which: usize| specs[which].entered(&ordered, t));
            let furthest = places.iter().rposition(|(which, place)| entered[*which][*place]);
            prop_assert_eq!(standing.stage.as_deref(), model.stage_slugs().nth(furthest.map_or(0, |place| place + 1)));
            let told: Vec<&str> = standing.stages_entered.iter().map(|(stage, _)| stage.as_str()).collect();
            let held = places.iter().filter(|(which, place)| entered[*which][*place]);
            let held: Vec<String> = held.map(|(which, place)| format!("{}{place}", slugs[*which])).collect();
            prop_assert_eq!(told, held);
        }
    }

    #[test]
    fn arriving_in_any_order_is_folding_in_order(
        spec in spec(), events in events(), now in time(), kept in kept(),
    ) {
        let model = spec.model();
        let (arrived, ordered) = (arrive(kept, &model, &events, now), fold_keeping(kept, &model, &events, now));
        let none = Attributes::default();
        for t in [now, now + 3 * DAY, now + 70 * DAY] {
            prop_assert_eq!(arrived.standing(&model, &none, t), ordered.standing(&model, &none, t));
            prop_assert_eq!(arrived.due(&model, &none, t), ordered.due(&model, &none, t));
        }
        let whole = fold(&model, &events, now);
        prop_assert_eq!([arrived.sessions(), ordered.sessions()], [whole.sessions(); 2]);
        prop_assert_eq!([arrived.last(), ordered.last()], [whole.last(); 2]);
        prop_assert_eq!(arrived.created_at(), events.iter().map(|event| event.at).min());
        prop_assert_eq!([arrived.last_active_at(), ordered.last_active_at()], [whole.last_active_at(); 2]);
    }

    #[test]
    fn nothing_changes_before_it_is_due(
        spec in spec(), events in events(), now in time(), share in 0.0..1.0_f64, kept in kept(),
    ) {
        let model = spec.model();
        let mut state = fold_keeping(kept, &model, &events, now);
        let none = Attributes::default();
        let sorted = sorted(&events);
        let lapses = |t| {
            let parts = explain(&model, &sorted, &none, "s", t).unwrap().parts;
            parts.iter().filter(|part| part.kind == PartKind::Inactivity).count()
        };
        let mut now = now;
        for _ in 0..12 {
            let (standing, due) = (state.standing(&model, &none, now), state.due(&model, &none, now));
            let last = due.map_or(now + 3000 * DAY, |due| due - 1);
            prop_assert!(last >= now);
            let between = now + ((last - now) as f64 * share) as i64;
            for t in [between, last] {
                let later = state.standing(&model, &none, t);
                prop_assert_eq!(watched(&standing), watched(&later), "{} {}", now - T0, t - T0);
                prop_assert_eq!(lapses(t), lapses(now), "{} {}", now - T0, t - T0);
                prop_assert!(later.order[0] <= standing.order[0].map(|order| order + 1e-9));
            }
            match due {
                Some(due) => now = due,
                None => break,
            }
            prop_assert!(state.ends().is_none_or(|ends| now <= ends));
            if state.ends() == Some(now) {
                state = fold_keeping(kept, &model, &events, now);
            }
        }
    }

    #[test]
    fn explanations_add_up(spec in spec(), events in events(), now in time()) {
        let model = spec.model();
        let none = Attributes::default();
        for t in [now, now + 11 * DAY + 1] {
            let explanation = explain(&model, &sorted(&events), &none, "s", t).unwrap();
            let value = fold(&model, &events, now).standing(&model, &none, t).scores[0].1.value;
            prop_assert_eq!(explanation.value, value);
            if value.is_none() {
                prop_assert!(explanation.excluded.is_some() && explanation.parts.is_empty());
                continue;
            }
            let sum: i64 = explanation.parts.iter().map(|part| micros(part.contribution)).sum();
            prop_assert_eq!(sum, micros(value.unwrap()));
            for part in &explanation.parts {
                // Both are rounded.
                let exact = part.points * part.factor;
                prop_assert!((part.contribution - exact).abs() <= 1.5e-6 + 1e-9, "{:?}", part);
            }
            prop_assert!(explain(&model, &sorted(&events), &none, "temperature", t).is_some());
        }
    }

    #[test]
    fn orders_are_the_orders_of_sums(half_life in prop::option::of(1..30_u8), left in events(), right in events()) {
        let mut score = serde_json::json!({ "slug": "s", "floor": 0, "cap": 20, "rules": [
            { "id": "a", "when": { "event": "page_view" }, "points": 7 },
            { "id": "b", "when": { "event": "custom" }, "points": -9 }] });
        if let Some(days) = half_life {
            score["half_life_days"] = serde_json::json!(days);
        }
        let mut open = score.clone();
        for bound in ["floor", "cap"] {
            open.as_object_mut().unwrap().remove(bound);
        }
        let (model, open) = (parse(&serde_json::json!({ "scores": [score] })), parse(&serde_json::json!({ "scores": [open] })));
        let now = T0 + PAST + DAY;
        let read = |events: &[Event]| (standing(&model, events, now).order[0].unwrap(), value(&open, events, now));
        let ((left_order, left_sum), (right_order, right_sum)) = (read(&left), read(&right));
        if (left_sum - right_sum).abs() > 1e-4 {
            prop_assert_eq!(left_order < right_order, left_sum < right_sum);
        }
    }

    #[test]
    fn a_score_from_outside_is_its_last_word_and_its_stage_the_way_there(
        told in prop::collection::vec((time(), 0..1000_u16, prop::option::weighted(0.8, 0..100_u8)), 0..12),
        others in events(),
        half_life in prop::option::of(1..30_u8),
        (above, below) in (10..80_u8, prop::option::of(0..30_u8)),
        now in time(),
        kept in kept(),
    ) {
        let (above, leave) = (f64::from(above) + 0.37, below.map(|below| f64::from(above) + 0.37 - f64::from(below)));
        let mut score = serde_json::json!({ "slug": "s", "kind": "external" });
        let mut line = serde_json::json!({ "slug": "in", "when": { "score": "s", "above": above } });
        half_life.into_iter().for_each(|days| score["half_life_days"] = days.into());
        leave.into_iter().for_each(|leave| line["leave_below"] = leave.into());
        let model = parse(&serde_json::json!({ "scores": [score], "stages": [{ "slug": "out" }, line] }));

        let tellings = told.iter().map(|(at, id, value)| Event::telling(*at, &serde_json::json!({ "s": value })).id(&format!("t{id}")));
        let mut events: Vec<Event> = tellings.chain(others).collect();
        let mut seen = std::collections::BTreeSet::new();
        events.retain(|event| seen.insert((event.at, event.id.clone(), event.rec)));
        let mut state = arrive(kept, &model, &events, now);

        // By hand: the last word, decayed; and every value on the way.
        let words: Vec<(i64, f64)> = in_order(&events)
            .iter()
            .filter_map(|event| {
                let properties: serde_json::Value = serde_json::from_str(&event.body.properties).unwrap();
                Some((event.at, properties.get("attributes")?["s"].as_f64().unwrap_or_default()))
            })
            .collect();
        let decayed = |(at, value): (i64, f64), t: i64| {
            let factor = half_life.map_or(1.0, |days| libm::exp2(-((t - at).max(0) as f64) / (f64::from(days) * DAY as f64)));
            (value * factor * 1e6).round() / 1e6
        };
        for t in [now, now + DAY, now + 40 * DAY] {
            if state.ends().is_some_and(|ends| ends <= t) {
                state = fold_keeping(kept, &model, &events, t);
            }
            let mut stage = false;
            let mut look = |value: f64| stage = if stage { leave.is_none_or(|leave| value >= leave) } else { value > above };
            let past = words.partition_point(|(at, _)| *at <= t);
            for (place, word) in words[..past].iter().enumerate() {
                look(place.checked_sub(1).map_or(0.0, |before| decayed(words[before], word.0)));
                look(decayed(*word, word.0));
            }
            look(past.checked_sub(1).map_or(0.0, |last| decayed(words[last], t)));
            if let Some(ahead) = words[past..].last() {
                look(decayed(*ahead, t));
            }
            let standing = state.standing(&model, &Attributes::default(), t);
            prop_assert_eq!(standing.scores[0].1.value, Some(words.last().map_or(0.0, |last| decayed(*last, t))));
            prop_assert_eq!(standing.stage.as_deref(), Some(if stage { "in" } else { "out" }));
        }
    }
}
