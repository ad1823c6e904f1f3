//! What one more event costs under 100 rules, with a short and with a long past: it must not depend on the past. The same
//! program natively and in WebAssembly; `npm run bench scoring` has them take turns and prints both. DESIGN 9 and the issue
//! that asked for this allow 10 µs natively and 50 µs in WebAssembly.
//!
//! One line of JSON for each measurement: `{"what", "past", "ns"}`, the median over the samples.

mod clock;

use clock::{now_ns, print};
use serde_json::{Value, json};
use std::hint::black_box;
use wingbeat_engine::event::{Body, Source};
use wingbeat_engine::key::KeyHash;
use wingbeat_engine::kinds::Kind;
use wingbeat_engine::scoring::{Attributes, Fold, Model, Occurrence};

/// Events that came before.
const PAST: [i64; 3] = [10, 1_000, 100_000];
/// The first of them, ms.
const T0: i64 = 1_793_577_600_000;
/// Between two of them, ms.
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
    Model::parse(&model.to_string()).unwrap_or_else(|errors| panic!("{errors:?}"))
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

/// So many samples of each.
const SAMPLES: usize = 101;
/// A sample is this often the same, because clocks are coarse.
const TIMES: i64 = 20;

/// The median over samples of what one turn of `work` takes. It gets what `prepare` made, which is not measured, and
/// which turn of its sample this is.
fn measure<T>(what: &str, past: i64, prepare: impl Fn() -> T, mut work: impl FnMut(&mut T, i64)) {
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let mut prepared = prepare();
            let began = now_ns();
            (0..TIMES).for_each(|turn| work(&mut prepared, turn));
            (now_ns() - began) / TIMES as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    let ns = samples.get(SAMPLES / 2).copied().unwrap_or(f64::NAN);
    print(&json!({ "what": what, "past": past, "ns": ns }).to_string());
}

fn main() {
    let (model, none) = (model(), Attributes::default());
    for events in PAST {
        let (fold, now) = (past(&model, events), T0 + events * MINUTE);
        for (what, kind) in [("a page view more", Kind::PageView), ("a custom event more", Kind::Custom)] {
            let next: Vec<Event> = (0..TIMES).map(|n| Event::new(events + n, kind)).collect();
            measure(
                what,
                events,
                || (fold.clone(), next.iter()),
                |(fold, next), _| {
                    if let Some(next) = next.next() {
                        fold.push(black_box(&model), black_box(&next.occurrence()), next.at);
                    }
                },
            );
        }
        measure(
            "what the state means",
            events,
            || (),
            |(), turn| {
                black_box(black_box(&fold).standing(&model, &none, now + turn));
            },
        );
        measure(
            "when something changes by itself",
            events,
            || (),
            |(), turn| {
                black_box(black_box(&fold).due(&model, &none, now + turn));
            },
        );
        let bytes = minicbor::to_vec(&fold).unwrap_or_default();
        measure(
            "out of a row and back",
            events,
            || (),
            |(), _| {
                let fold: Result<Fold, _> = minicbor::decode(black_box(&bytes));
                black_box(fold.map(minicbor::to_vec).is_ok());
            },
        );
    }
}
