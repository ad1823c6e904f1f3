//! What became of one event: which rules it matched, and what kept it from matching others.

use super::*;
use serde_json::json;

fn model() -> Model {
    parse(&json!({
        "scores": [
            { "slug": "s", "rules": [
                { "id": "pricing", "points": 5, "limit": { "times": 1, "per": "day" },
                  "when": { "event": "page_view", "url": { "contains": "/pricing", "not_contains": "/old" } } },
                { "id": "guide", "points": 3,
                  "when": { "all": [{ "event": "page_view" }, { "name": { "glob": "*guide*" } }] } },
                { "id": "keen", "points": 9, "when": { "event": "page_view", "count": { "gte": 3 }, "within_days": 7 } },
                { "id": "plan", "points": 2, "when": { "property.plan": { "in": ["pro", "team"] }, "event": "custom" } },
                { "id": "either", "points": 4, "when": { "event": "page_view", "any": [{ "utm.source": "mail" }, { "referrer": "x" }] } },
                { "id": "form", "points": 20, "when": { "event": "form_submit" } } ] },
            { "slug": "z", "rules": [{ "id": "reset", "set": 1, "when": { "event": "page_view" }, "include_bots": true }] },
            { "slug": "fit", "kind": "profile", "rules": [] }
        ],
        "exclude": { "attribute": "customer", "equals": true }
    }))
}

type Line = (&'static str, &'static str, &'static str, f64, serde_json::Value);

/// All verdicts on the last of some events; what stood in the way is its place, the condition and what was found.
fn verdicts(events: &[Event], attributes: &Attributes) -> Vec<(String, String, &'static str, f64, serde_json::Value)> {
    let occurrences = sorted(events);
    let verdicts = why(&model(), &occurrences, attributes, occurrences.len() - 1, T0 + DAY);
    let line = |verdict: Verdict| {
        let failed = verdict.failed.map(|failed| json!([failed.path, failed.condition, failed.found]));
        (verdict.score, verdict.rule, verdict.outcome.slug(), verdict.points, failed.unwrap_or_default())
    };
    verdicts.into_iter().map(line).collect()
}

#[track_caller]
fn assert_verdicts(events: &[Event], expected: &[Line]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(score, rule, outcome, points, failed)| {
            ((*score).to_owned(), (*rule).to_owned(), *outcome, *points, failed.clone())
        })
        .collect();
    assert_eq!(verdicts(events, &Attributes::default()), expected);
}

const NONE: serde_json::Value = serde_json::Value::Null;

#[test]
fn a_page_is_earned_limited_counted_and_nearly_matched() {
    let near_guide = json!(["/scores/0/rules/1/when/all/1/name/glob", { "glob": "*guide*" }, ""]);
    let count = json!(["/scores/0/rules/2/when/count", { "gte": 3 }, "1 of 3"]);
    let any = json!(["/scores/0/rules/4/when/any", [{ "utm.source": "mail" }, { "referrer": "x" }], { "utm.source": null, "referrer": null }]);
    assert_verdicts(
        &[pricing(T0)],
        &[
            ("s", "pricing", "earned", 5.0, NONE),
            ("s", "guide", "nearly", 3.0, near_guide.clone()),
            ("s", "keen", "count", 9.0, count.clone()),
            ("s", "either", "nearly", 4.0, any.clone()),
            ("z", "reset", "earned", 1.0, NONE),
        ],
    );
    let limit = json!(["/scores/0/rules/0/limit", { "times": 1, "per": "day" }, "1 of 1 per day"]);
    let twice = json!(["/scores/0/rules/2/when/count", { "gte": 3 }, "2 of 3"]);
    assert_verdicts(
        &[pricing(T0), pricing(T0 + 1)],
        &[
            ("s", "pricing", "limited", 5.0, limit),
            ("s", "guide", "nearly", 3.0, near_guide),
            ("s", "keen", "count", 9.0, twice),
            ("s", "either", "nearly", 4.0, any.clone()),
            ("z", "reset", "earned", 1.0, NONE),
        ],
    );
    let other = Event::new(T0 + 2, Kind::PageView).url("https://shop.example/about").name("A guide");
    let near = json!(["/scores/0/rules/0/when/url/contains", { "contains": "/pricing" }, "https://shop.example/about"]);
    assert_verdicts(
        &[pricing(T0), pricing(T0 + 1), other],
        &[
            ("s", "pricing", "nearly", 5.0, near),
            ("s", "guide", "earned", 3.0, NONE),
            ("s", "keen", "earned", 9.0, NONE),
            ("s", "either", "nearly", 4.0, any),
            ("z", "reset", "earned", 1.0, NONE),
        ],
    );
}

#[test]
fn two_questions_answered_with_no_are_not_nearly() {
    let old = Event::new(T0, Kind::FormSubmit).url("https://shop.example/old");
    assert_verdicts(&[old], &[("s", "form", "earned", 20.0, NONE)]);
    let mut custom = Event::new(T0, Kind::Custom);
    custom.body.properties = json!({ "custom_properties": { "plan": "Free" } }).to_string();
    let near = json!(["/scores/0/rules/3/when/property.plan/in", { "in": ["pro", "team"] }, "Free"]);
    assert_verdicts(&[custom], &[("s", "plan", "nearly", 2.0, near)]);
}

#[test]
fn bots_our_own_people_and_who_is_excluded() {
    let form = Event::new(T0, Kind::FormSubmit);
    let bot = json!(["/scores/0/rules/5", { "include_bots": false }, "scanner"]);
    assert_verdicts(&[form.clone().bot()], &[("s", "form", "bot", 20.0, bot)]);
    let internal = Event { internal: true, ..form.clone() };
    assert_verdicts(&[internal], &[("s", "form", "internal", 20.0, NONE)]);
    let customer = attributes(&[("customer", "true", T0)]);
    let verdicts = verdicts(&[form], &customer);
    let excluded = json!(["/exclude", { "attribute": "customer", "equals": true }, true]);
    assert_eq!(verdicts, [("s".to_owned(), "form".to_owned(), "excluded", 20.0, excluded)]);
    let page = pricing(T0).bot();
    let of_page = super::why::verdicts(&[page], &Attributes::default());
    assert!(of_page.contains(&("z".to_owned(), "reset".to_owned(), "earned", 1.0, NONE)), "{of_page:?}");
}

#[test]
fn by_what_somebody_is_excluded_is_found_where_it_stands() {
    let customer = json!({ "attribute": "customer", "equals": true });
    let said = |exclude: &serde_json::Value| {
        let rule = json!({ "id": "r", "when": { "event": "form_submit" }, "points": 1 });
        let model = parse(&json!({ "scores": [{ "slug": "s", "rules": [rule] }], "exclude": exclude }));
        let form = Event::new(T0, Kind::FormSubmit);
        let verdicts = why(&model, &sorted(&[form]), &attributes(&[("customer", "true", T0)]), 0, T0);
        verdicts.into_iter().next().and_then(|verdict| verdict.failed).map(|f| json!([f.path, f.condition, f.found]))
    };
    let other = json!({ "attribute": "customer", "equals": false });
    for (exclude, path) in [
        (customer.clone(), "/exclude"),
        (json!({ "any": [customer] }), "/exclude/any/0"),
        (json!({ "any": [other, customer] }), "/exclude/any/1"),
    ] {
        assert_eq!(said(&exclude), Some(json!([path, customer, true])), "{exclude}");
    }
}

#[test]
fn a_not_is_one_question_whatever_it_holds() {
    let not = json!({ "name": "guide", "url": { "contains": "/jobs", "not_contains": "/old" } });
    let rule = json!({ "id": "r", "points": 1, "when": { "event": "page_view", "not": not } });
    let model = parse(&json!({ "scores": [{ "slug": "s", "rules": [rule] }] }));
    let event = Event::new(T0, Kind::PageView).name("Guide").url("https://shop.example/jobs");
    let verdicts = why(&model, &[event.occurrence()], &Attributes::default(), 0, T0);
    let [verdict] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    let found = json!({ "name": "Guide", "url": "https://shop.example/jobs" });
    let failed = Failed { path: "/scores/0/rules/0/when/not".to_owned(), condition: not, found: Some(found) };
    assert_eq!((verdict.outcome, verdict.failed.as_ref()), (Outcome::NearlyMatched, Some(&failed)));
}

#[test]
fn what_an_event_has_in_the_place_of_a_question_is_told_as_it_was_sent() {
    let mut event = Event::new(T0, Kind::PageView).name("Guide");
    event.body.utm = Some(json!({ "source": "News", "medium": null }).to_string());
    for (question, path, found) in [
        (json!({ "utm.source": "mail" }), "/utm.source", Some(json!("News"))),
        (json!({ "utm.medium": "mail" }), "/utm.medium", None),
        (json!({ "utm.campaign": "mail" }), "/utm.campaign", None),
        (json!({ "name": "other" }), "/name", Some(json!("Guide"))),
        // By the names of the fields, even if it is one.
        (json!({ "not": { "name": "guide" } }), "/not", Some(json!({ "name": "Guide" }))),
    ] {
        let mut when = json!({ "event": "page_view" });
        when.as_object_mut().unwrap().extend(question.as_object().unwrap().clone());
        let rule = json!({ "id": "r", "points": 1, "when": when });
        let model = parse(&json!({ "scores": [{ "slug": "s", "rules": [rule] }] }));
        let verdicts = why(&model, &[event.occurrence()], &Attributes::default(), 0, T0);
        let failed = verdicts.into_iter().find_map(|verdict| verdict.failed).unwrap_or_else(|| panic!("{question}"));
        assert_eq!((failed.path, failed.found), (format!("/scores/0/rules/0/when{path}"), found), "{question}");
    }
}

#[test]
fn who_is_excluded_follows_from_every_event_until_now_and_each_counts_once() {
    let rule = json!({ "id": "r", "when": { "event": "form_submit" }, "points": 1 });
    let model = |exclude: serde_json::Value| {
        parse(&json!({ "scores": [{ "slug": "s", "rules": [rule] }], "exclude": exclude }))
    };
    let outcome = |exclude: serde_json::Value, events: &[Event], now| {
        let verdicts = why(&model(exclude), &sorted(events), &Attributes::default(), 0, now);
        verdicts[0].outcome
    };
    let customer = json!({ "event": "purchase" });
    let events = [Event::new(T0, Kind::FormSubmit), Event::new(T0 + DAY, Kind::Purchase)];
    assert_eq!(outcome(customer.clone(), &events, T0 + DAY - 1), Outcome::Earned);
    assert_eq!(outcome(customer, &events, T0 + DAY), Outcome::Excluded);
    let twice = json!({ "event": "form_submit", "count": { "gte": 3 } });
    let forms = [Event::new(T0, Kind::FormSubmit), Event::new(T0, Kind::FormSubmit).id("second")];
    assert_eq!(outcome(twice, &forms, T0), Outcome::Earned, "two forms are not three");
}

#[test]
fn what_was_found_is_said_in_the_words_of_what_was_asked() {
    let rules = json!([
        { "id": "few", "when": { "event": "custom", "count": { "lt": 2 } }, "points": 1 },
        { "id": "gt", "when": { "event": "custom", "count": { "gt": 5 } }, "points": 1 },
        { "id": "once", "when": { "event": "custom", "count": { "equals": 1 }, "within_days": 1 }, "points": 1 },
        { "id": "two", "when": { "event": "custom" }, "points": 1,
          "limit": [{ "times": 9, "per": "day" }, { "times": 2, "per": "ever" }] },
        { "id": "not", "when": { "event": "custom", "not": { "any": [{ "name": "Trial" }, { "url": "x", "name": "t" }] } }, "points": 1 }]);
    let model = parse(
        &json!({ "scores": [{ "slug": "s", "rules": rules }], "include": { "attribute": "plan", "exists": true },
        "exclude": { "any": [{ "attribute": "a", "exists": true }, { "event": "custom", "count": { "gte": 4 } }] } }),
    );
    let events: Vec<Event> = (0..3).map(|n| Event::new(T0 + n, Kind::Custom).name("trial")).collect();
    let about = |events: &[Event], known: &Attributes| -> Vec<_> {
        let verdicts = why(&model, &sorted(events), known, events.len() - 1, T0 + DAY);
        verdicts.into_iter().map(|v| (v.rule, v.outcome.slug(), v.failed.map(|f| json!([f.path, f.found])))).collect()
    };
    let known = attributes(&[("plan", "\"pro\"", T0)]);
    let said = |rule: &str, outcome: &'static str, failed: serde_json::Value| (rule.to_owned(), outcome, Some(failed));
    assert_eq!(
        about(&events, &known),
        [
            said("few", "count", json!(["/scores/0/rules/0/when/count", "3 of at most 1"])),
            said("gt", "count", json!(["/scores/0/rules/1/when/count", "3 of 6"])),
            said("once", "count", json!(["/scores/0/rules/2/when/count", "more than 1 of 1"])),
            said("two", "limited", json!(["/scores/0/rules/3/limit/1", "2 of 2 per ever"])),
            said("not", "nearly", json!(["/scores/0/rules/4/when/not", { "name": "trial", "url": null }])),
        ]
    );
    let first = &events[..1];
    let excluded = |known: &Attributes| about(first, known).into_iter().find(|(rule, ..)| rule == "two").unwrap();
    assert_eq!(excluded(&Attributes::default()), said("two", "excluded", json!(["/include", null])));
    let of_a = attributes(&[("plan", "1", T0), ("a", "7", T0)]);
    assert_eq!(excluded(&of_a), said("two", "excluded", json!(["/exclude/any/0", 7])));
    let explained = explain(&model, &sorted(first), &of_a, "s", T0).unwrap();
    assert_eq!((explained.value, explained.excluded.as_deref()), (None, Some("a exists true")));
    assert_eq!(explain(&model, &sorted(first), &known, "s", T0).unwrap().excluded, None);
    let cold = explain(&model, &sorted(first), &Attributes::default(), "temperature", T0).unwrap();
    assert_eq!(cold.excluded.as_deref(), Some("not included"));
}
