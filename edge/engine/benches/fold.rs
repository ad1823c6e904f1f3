//! What one more event costs under 100 rules, with a short and with a long past: it must not depend on the past.
//!
//! `cargo bench -p wingbeat-engine`; DESIGN 9 and issue 6 ask for 10 µs at most.
#![allow(clippy::cast_possible_wrap)] // Counts of events, far below 2^63.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use divan::{Bencher, black_box};
use serde_json::{Value, json};
use wingbeat_engine::event::{Body, Source};
use wingbeat_engine::key::KeyHash;
use wingbeat_engine::kinds::Kind;
use wingbeat_engine::scoring::{Attributes, Fold, Model, Occurrence};

fn main() {
    divan::main();
}

const PAST: [i64; 3] = [10, 1_000, 100_000];
const T0: i64 = 1_793_577_600_000;
const MINUTE: i64 = 60_000;

/// A hundred rules as people write them: on pages, forms, mails and properties, some with limits, some counted over
/// days, some whose points disappear; decay, inactivity, stages, ten tags.
fn model() -> Model {
    let rule = |n: usize| {
        let mut rule = match n % 10 {
            0..4 => json!({ "when": { "event": "page_view", "url": { "contains": format!("/section-{n}") } } }),
            4 => json!({ "when": { "event": "page_view", "name": { "glob": format!("*guide {n}*") } },
                "limit": { "times": 3, "per": "day" } }),
            5 => json!({ "when": { "event": "form_submit", "name": { "glob": format!("*demo {n}*") } } }),
            6 => json!({ "when": { "name": { "starts_with": format!("[Email campaign engagement] {n}") } } }),
            7 => {
                json!({ "when": { "event": "custom", "property.plan": { "in": ["pro", "team"] }, "property.seats": { "gte": n } } })
            }
            8 => json!({ "when": { "event": "page_view", "count": { "gte": 5 }, "within_days": 7 },
                "limit": { "times": 1, "per": "week" } }),
            _ => json!({ "when": { "event": "custom", "within_days": 14 } }),
        };
        rule["id"] = json!(format!("r{n}"));
        rule["points"] = json!(n % 7 + 1);
        rule
    };
    let rules: Vec<Value> = (0..100).map(rule).collect();
    let tags: Vec<Value> = (0..10)
        .map(|n| {
            json!({ "slug": format!("t{n}"), "when": { "event": "page_view",
                "url": { "contains": format!("/section-{n}") }, "count": { "gte": 2 }, "within_days": 30 } })
        })
        .collect();
    let model = json!({
        "tags": tags,
        "scores": [{ "slug": "s", "half_life_days": 30, "floor": 0, "cap": 500, "rules": rules,
            "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 50 }, "leave_below": 35 }],
    });
    Model::parse(&model.to_string()).unwrap()
}

fn body(kind: Kind, n: i64) -> Body {
    Body {
        kind,
        name: format!("[Page view] The complete guide {} to our product", n % 100),
        source: Source::Tracker,
        event_type: None,
        url: Some(format!("https://shop.example/section-{}/page?session={n}", n % 100)),
        referrer: Some("https://www.search.example/results?q=product".to_owned()),
        properties: json!({ "plan": "pro", "seats": 50, "page": { "words": 1200, "language": "en" } }).to_string(),
        utm: None,
        bot: None,
        page: None,
    }
}

struct Event {
    at: i64,
    id: String,
    body: Body,
}

impl Event {
    fn new(n: i64, kind: Kind) -> Event {
        Event { at: T0 + n * MINUTE, id: format!("event-{n:08}"), body: body(kind, n) }
    }

    fn occurrence(&self) -> Occurrence<'_> {
        let Event { at, id, body } = self;
        Occurrence { at: *at, id, rec: KeyHash([7; 16]), browser: true, internal: false, body }
    }
}

/// A past of page views, and one custom event in ten.
fn past(model: &Model, events: i64) -> Fold {
    let mut fold = Fold::default();
    for n in 0..events {
        let event = Event::new(n, if n % 10 == 9 { Kind::Custom } else { Kind::PageView });
        fold.push(model, &event.occurrence(), event.at);
    }
    fold
}

fn push(bencher: Bencher<'_, '_>, events: i64, kind: Kind) {
    let model = model();
    let fold = past(&model, events);
    let next = Event::new(events, kind);
    bencher.with_inputs(|| fold.clone()).bench_local_refs(|fold| {
        fold.push(black_box(&model), black_box(&next.occurrence()), next.at);
    });
}

/// One more page view.
#[divan::bench(args = PAST)]
fn page_view(bencher: Bencher<'_, '_>, events: i64) {
    push(bencher, events, Kind::PageView);
}

/// One more custom event: ten rules whose points disappear, ten that look into properties.
#[divan::bench(args = PAST)]
fn custom(bencher: Bencher<'_, '_>, events: i64) {
    push(bencher, events, Kind::Custom);
}

/// What the state means at a time: scores, tags, temperature, stage, order.
#[divan::bench(args = PAST)]
fn standing(bencher: Bencher<'_, '_>, events: i64) {
    let model = model();
    let fold = past(&model, events);
    let (none, now) = (Attributes::default(), T0 + events * MINUTE);
    bencher.bench_local(|| black_box(&fold).standing(&model, &none, black_box(now)));
}

/// When something changes next by itself.
#[divan::bench(args = PAST)]
fn due(bencher: Bencher<'_, '_>, events: i64) {
    let model = model();
    let fold = past(&model, events);
    let (none, now) = (Attributes::default(), T0 + events * MINUTE);
    bencher.bench_local(|| black_box(&fold).due(&model, &none, black_box(now)));
}

/// Out of a row and back into it.
#[divan::bench(args = PAST)]
fn stored_form(bencher: Bencher<'_, '_>, events: i64) {
    let model = model();
    let bytes = minicbor::to_vec(past(&model, events)).unwrap();
    bencher.bench_local(|| {
        let fold: Fold = minicbor::decode(black_box(&bytes)).unwrap();
        minicbor::to_vec(&fold).unwrap()
    });
}
