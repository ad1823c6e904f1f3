//! Tests of publishing and backtesting: who is shown by which version, what survives a crash, and that publishing does what
//! the backtest said.

use super::backtest::{State, fingerprint};
use super::list::{Filter, List, Sort};
use super::message::{Ask, Message};
use super::publish::STEPS_A_SLICE;
use super::read::Target;
use super::tally::Way;
use super::{Partition, Progress, Reply};
use crate::event::{Body, ClaimInput, Record, Source};
use crate::identity::Trust;
use crate::identity::generate::Random;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::kinds::Kind;
use crate::scoring::Model;
use crate::store::Store;
use crate::store::native::Native;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_793_577_600_000;
/// More than four slices.
const PEOPLE: u32 = 600;

const BEFORE: &str = r#"{
  "scores": [{ "slug": "interest", "half_life_days": 20, "floor": 0,
    "rules": [{ "id": "form", "when": { "event": "form_submit" }, "points": 25 },
              { "id": "page", "when": { "event": "page_view" }, "points": 4 }],
    "bands": { "A": 30, "B": 0 } },
             { "slug": "visits", "main": true, "rules": [{ "id": "page", "when": { "event": "page_view" }, "points": 1 }] }],
  "tags": [{ "slug": "reader", "when": { "event": "page_view", "count": { "gte": 2 } } }],
  "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "interest", "above": 30 }, "leave_below": 12 }]
}"#;

const DRAFT: &str = r#"{
  "scores": [{ "slug": "fit", "kind": "profile",
    "rules": [{ "id": "mail", "when": { "attribute": "email_domain", "exists": true }, "points": 3 }] },
             { "slug": "interest", "main": true, "half_life_days": 9, "floor": 0,
    "rules": [{ "id": "form", "when": { "event": "form_submit" }, "points": 12 },
              { "id": "page", "when": { "event": "page_view" }, "points": 9, "limit": { "times": 2, "per": "week" } }] }],
  "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "interest", "above": 20 }, "leave_below": 15 },
             { "slug": "sql", "when": { "score": "interest", "above": 28 } }]
}"#;

fn key(identifier: &Identifier) -> KeyHash {
    DeploymentKey::new(b"test").hash(identifier)
}

fn open(store: Native, model: &str, version: u64) -> Partition<Native> {
    let (model, slots) = (Model::parse(model).unwrap(), SlotMap { partitions: 1 });
    Partition::open(store, (0, slots), DeploymentKey::new(b"test"), Policy::default(), model, version).unwrap()
}

/// All that is not in the store is gone. What a new store would begin with means nothing to this one.
fn crash(partition: Partition<Native>) -> Partition<Native> {
    open(partition.into_store(), r#"{ "scores": [{ "slug": "other" }] }"#, 0)
}

fn visitor(n: u32) -> Identifier {
    Identifier::new(KeyType::Visitor, "", &format!("visitor-{n}")).unwrap()
}

fn record(n: u32, at: i64, kind: Kind) -> Record {
    let body = Body::bare(kind, kind.slug().to_owned(), Source::Tracker);
    let mut record = Record { rec: visitor(n), at, id: format!("e-{at}"), body, facts: Vec::new(), claims: Vec::new() };
    if kind == Kind::FormSubmit && n.is_multiple_of(3) {
        let (browser, page) = (visitor(n), "p".to_owned());
        let email = Identifier::new(KeyType::Email, "", &format!("person{n}@company.example")).unwrap();
        record.claims =
            vec![ClaimInput { browser, key: email, trust: Trust::Medium, source: Source::Form, page, human: true }];
    }
    record
}

fn take(partition: &mut Partition<Native>, record: Record, now: i64) {
    let message = Message { key: key(&record.rec), ask: Ask::Take(vec![record]) };
    let replies = partition.apply(now, vec![message]).unwrap().replies;
    assert!(matches!(replies[..], [Reply::Done { .. }]), "{replies:?}");
}

fn history() -> Vec<Record> {
    let mut random = Random(11);
    let mut records = Vec::new();
    for n in 0..PEOPLE {
        for _ in 0..1 + random.below(7) {
            let at = NOW - i64::from(random.below(60)) * DAY - i64::from(random.below(80_000)) * 1_000;
            records.push(record(n, at, if random.one_in(3) { Kind::FormSubmit } else { Kind::PageView }));
        }
    }
    records
}

fn crowd(model: &str, version: u64) -> Partition<Native> {
    let mut partition = open(Native::in_memory().unwrap(), model, version);
    for record in history() {
        take(&mut partition, record, NOW);
    }
    partition
}

/// Everybody, in the order of the main score, over all pages.
fn listed(partition: &Partition<Native>, as_of: i64) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let filter = Filter::default();
        let list = List { sort: Sort::Main, descending: true, limit: 50, as_of, after, filter };
        let page = partition.list(&list).unwrap().unwrap();
        all.extend(page.iter().map(|one| serde_json::from_slice::<Value>(&one.prospect).unwrap()));
        after = page.last().map(|last| last.rank);
        if page.len() < 50 {
            return all;
        }
    }
}

/// What is shown of everybody by id, without `rev`.
fn everybody(partition: &Partition<Native>, as_of: i64) -> BTreeMap<String, Value> {
    let shown = |mut prospect: Value| {
        prospect.as_object_mut().unwrap().remove("rev");
        (prospect["id"].as_str().unwrap().to_owned(), prospect)
    };
    listed(partition, as_of).into_iter().map(shown).collect()
}

fn versions(people: &[Value]) -> BTreeMap<u64, usize> {
    let mut versions = BTreeMap::new();
    for person in people {
        *versions.entry(person["model_version"].as_u64().unwrap()).or_insert(0) += 1;
    }
    versions
}

/// Everybody is whole: of one version, and in the order of what is shown.
fn assert_whole(people: &[Value]) {
    let ids: BTreeSet<&str> = people.iter().map(|person| person["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), people.len(), "each once");
    for person in people {
        let scores: Vec<&String> = person["scores"].as_object().unwrap().keys().collect();
        let expected = if person["model_version"] == 1 { vec!["interest", "visits"] } else { vec!["fit", "interest"] };
        assert_eq!(scores, expected, "{person}");
        assert_eq!(person["scores"]["interest"]["band"].is_null(), person["model_version"] == 2, "{person}");
    }
    let value = |person: &Value| person["scores"]["interest"]["value"].as_f64().unwrap();
    assert!(people.windows(2).all(|pair| value(&pair[0]) >= value(&pair[1])), "in the order of what is shown");
}

#[test]
fn a_version_comes_gradually_each_prospect_is_whole_and_a_crash_goes_on() {
    let mut partition = crowd(BEFORE, 1);
    let total = listed(&partition, NOW).len();
    let progress = partition.publish(2, DRAFT).unwrap();
    assert_eq!(progress, Progress { done: 0, total: total as u64 });
    assert_eq!(partition.publish(2, BEFORE).unwrap(), progress, "a version that is known changes nothing");
    assert_eq!(versions(&listed(&partition, NOW)), BTreeMap::from([(1, total)]));

    // Whoever is looked up is shown by the newest at once, whoever has an event is folded by it for good.
    let look = |partition: &Partition<Native>, n: u32| {
        partition.prospect(Target::key(key(&visitor(n))), NOW).unwrap().found().unwrap()
    };
    let last = look(&partition, 7);
    assert_eq!((last.model_version, last.scores.len()), (2, 2));
    assert_eq!(versions(&listed(&partition, NOW)), BTreeMap::from([(1, total)]), "looking changes nobody");
    take(&mut partition, record(7, NOW, Kind::Engagement), NOW);
    assert_eq!(versions(&listed(&partition, NOW)), BTreeMap::from([(1, total - 1), (2, 1)]));

    let mut slices = 0;
    while let Some(progress) = partition.recompute(NOW).unwrap() {
        slices += 1;
        let people = listed(&partition, NOW);
        assert_eq!(people.len(), total);
        assert_whole(&people);
        let mixed = versions(&people);
        assert!(progress.done < progress.total || !mixed.contains_key(&1), "{progress:?} {mixed:?}");
        if slices == 2 {
            assert!(mixed.len() == 2, "{mixed:?}");
            partition = crash(partition);
            assert_eq!(partition.recomputing(), Some(progress));
            assert_eq!(listed(&partition, NOW), people, "the earlier version is known after a crash, too");
        }
        // Events go on.
        take(&mut partition, record(slices, NOW + i64::from(slices), Kind::Engagement), NOW + i64::from(slices));
    }
    assert!(slices > 3, "{slices}");
    assert_eq!(versions(&listed(&partition, NOW + DAY)), BTreeMap::from([(2, total)]));
    let left = partition.store().query("SELECT name FROM meta WHERE name LIKE 'model/%' OR name = 'recompute'", &[]);
    assert_eq!(left.unwrap(), [], "nothing is kept of what is over");
    // It goes on counting while others are not done.
    let all = Progress { done: total as u64, total: total as u64 };
    assert_eq!(partition.recomputed(), all);
    partition = crash(partition);
    assert_eq!((partition.recomputing(), partition.recomputed()), (None, all));

    // The same as if it had never been otherwise.
    let mut fresh = crowd(DRAFT, 2);
    take(&mut fresh, record(7, NOW, Kind::Engagement), NOW);
    for slice in 1..=slices {
        take(&mut fresh, record(slice, NOW + i64::from(slice), Kind::Engagement), NOW + i64::from(slice));
    }
    assert_eq!(everybody(&partition, NOW + DAY), everybody(&fresh, NOW + DAY));
}

#[test]
fn a_slice_ends_by_work_and_not_by_people() {
    const EACH: i64 = 30;
    let mut partition = open(Native::in_memory().unwrap(), BEFORE, 1);
    for n in 1..=12 {
        let count = if n == 7 { 10 * EACH } else { EACH };
        let records = (0..count).map(|place| record(n, NOW - place * 1_000, Kind::PageView)).collect();
        let message = Message { key: key(&visitor(n)), ask: Ask::Take(records) };
        partition.apply(NOW, vec![message]).unwrap();
    }
    let rule = |n: usize| {
        let asked: Vec<_> = (0..4).map(|k| json!({ "name": format!("page {n} {k}") })).collect();
        json!({ "id": format!("r{n}"), "when": { "event": "page_view", "any": asked }, "points": 1 })
    };
    let heavy = json!({ "scores": [{ "slug": "s", "rules": (0..400).map(rule).collect::<Vec<_>>() }] }).to_string();
    let steps = Model::parse(&heavy).unwrap().steps_an_event();
    assert_eq!(steps, 2_500);
    // Three of 30 events are 225,000 steps. Whoever has 300 has more than a slice, and one of their own.
    let assert_slices = |done: &[u64]| {
        let slices: Vec<u64> = [0].iter().chain(done).zip(done).map(|(before, after)| after - before).collect();
        assert!(slices.iter().all(|people| people * EACH.unsigned_abs() * steps <= STEPS_A_SLICE), "{slices:?}");
        assert_eq!(slices.iter().filter(|people| **people == 3).count(), 3, "{slices:?}");
        assert!(slices.contains(&1) && slices.len() <= 6, "{slices:?}");
    };
    let mut done = Vec::new();
    partition.begin_backtest("b", NOW, &heavy).unwrap();
    while partition.is_backtesting() {
        partition.backtest_slice().unwrap();
        done.push(partition.backtest().unwrap().progress.done);
    }
    assert_slices(&done);
    assert_eq!(partition.backtest().unwrap().tally.people, 12);
    done.clear();
    partition.publish(2, &heavy).unwrap();
    while let Some(progress) = partition.recompute(NOW).unwrap() {
        done.push(progress.done);
    }
    done.push(12);
    assert_slices(&done);
    assert_eq!(versions(&listed(&partition, NOW)), BTreeMap::from([(2, 12)]));
    // A light model takes all of them at once.
    partition.publish(3, BEFORE).unwrap();
    assert_eq!(partition.recompute(NOW).unwrap(), None);
    assert_eq!(versions(&listed(&partition, NOW)), BTreeMap::from([(3, 12)]));
}

#[test]
fn what_is_asked_of_attributes_is_work_of_a_slice_too() {
    let mut partition = open(Native::in_memory().unwrap(), BEFORE, 1);
    for n in 0..100 {
        take(&mut partition, record(n, NOW, Kind::PageView), NOW);
    }
    let asked: Vec<_> = (0..1_000).map(|n| json!({ "attribute": "company", "contains": format!("c{n}") })).collect();
    let heavy = json!({ "scores": [{ "slug": "s" }], "exclude": { "all": [{ "any": asked }, { "any": asked }] } });
    let heavy = heavy.to_string();
    let steps = Model::parse(&heavy).unwrap().steps_a_look();
    assert_eq!(steps, 4_032);
    // At most so many people a slice, of whom each is looked at so often.
    let assert_slices = |done: &[u64], looks: u64| {
        let slices: Vec<u64> = [0].iter().chain(done).zip(done).map(|(before, after)| after - before).collect();
        assert!(slices.len() > 1, "{slices:?}");
        assert!(slices.iter().all(|people| people * looks * steps <= STEPS_A_SLICE), "{slices:?}");
    };
    let mut done = Vec::new();
    partition.begin_backtest("b", NOW, &heavy).unwrap();
    while partition.is_backtesting() {
        partition.backtest_slice().unwrap();
        done.push(partition.backtest().unwrap().progress.done);
    }
    assert_slices(&done, 1);
    done.clear();
    partition.publish(2, &heavy).unwrap();
    while let Some(progress) = partition.recompute(NOW).unwrap() {
        done.push(progress.done);
    }
    done.push(100);
    assert_slices(&done, 3);
    // Whoever is turned back is looked at by the heavy one once more.
    partition.publish(3, BEFORE).unwrap();
    assert!(partition.recompute(NOW).unwrap().unwrap().done <= STEPS_A_SLICE / steps);
}

#[test]
fn publishing_again_in_the_middle_ends_with_the_newest() {
    let mut partition = crowd(BEFORE, 1);
    partition.publish(2, DRAFT).unwrap();
    partition.recompute(NOW).unwrap();
    partition.publish(3, BEFORE).unwrap();
    take(&mut partition, record(PEOPLE - 1, NOW, Kind::Engagement), NOW);
    partition = crash(partition);
    assert_eq!(versions(&listed(&partition, NOW)).into_keys().collect::<Vec<_>>(), [1, 2, 3], "three at once");
    while partition.recompute(NOW).unwrap().is_some() {}
    let strip = |people: BTreeMap<String, Value>| {
        people
            .into_iter()
            .map(|(id, mut person)| {
                person.as_object_mut().unwrap().remove("model_version");
                (id, person)
            })
            .collect::<BTreeMap<_, _>>()
    };
    let mut never = crowd(BEFORE, 1);
    take(&mut never, record(PEOPLE - 1, NOW, Kind::Engagement), NOW);
    assert_eq!(strip(everybody(&partition, NOW)), strip(everybody(&never, NOW)), "rolled back");
}

#[test]
fn publishing_does_exactly_what_the_backtest_said() {
    let mut partition = crowd(BEFORE, 1);
    let as_of = NOW + DAY / 2;
    let before = everybody(&partition, as_of);
    partition.begin_backtest("b1", as_of, DRAFT).unwrap();
    let mut slices = 0;
    while partition.is_backtesting() {
        partition.backtest_slice().unwrap();
        slices += 1;
        if slices == 2 {
            let known = partition.backtest().cloned();
            partition = crash(partition);
            assert_eq!(partition.backtest().cloned(), known);
        }
        // What comes meanwhile, even if it is dated before, is not in it. (It makes nobody known: see `Backtest`.)
        take(
            &mut partition,
            record(3 * slices + 1, NOW - i64::from(slices), Kind::FormSubmit),
            as_of + i64::from(slices),
        );
    }
    assert!(slices > 3, "{slices}");
    let backtest = partition.backtest().unwrap().clone();
    assert_eq!((backtest.state, backtest.progress.done), (State::Done, backtest.progress.total));
    assert_eq!(everybody(&crowd(BEFORE, 1), as_of), before, "nobody has changed by it");

    // A twin without the later events is published, and looked at.
    let mut published = crowd(BEFORE, 1);
    published.publish(2, DRAFT).unwrap();
    while published.recompute(NOW).unwrap().is_some() {}
    let after = everybody(&published, as_of);
    let said = Value::Object(backtest.tally.document());
    let count = |people: &BTreeMap<String, Value>, holds: &dyn Fn(&Value) -> bool| {
        people.values().filter(|person| holds(person)).count()
    };
    assert_eq!(said["people"], before.len());
    for stage in ["lead", "mql", "sql"] {
        let at = |person: &Value| person["stage"] == stage;
        assert_eq!(said["stages"][stage]["before"], count(&before, &at), "{stage}");
        assert_eq!(said["stages"][stage]["after"], count(&after, &at), "{stage}");
    }
    for level in ["hot", "warm", "normal", "cold", "frozen"] {
        let at = |person: &Value| person["temperature"] == level;
        if count(&before, &at) > 0 {
            assert_eq!(
                said["temperatures"][level],
                json!({ "before": count(&before, &at), "after": count(&after, &at) })
            );
        }
    }
    assert_eq!(said["tags"]["reader"]["before"], count(&before, &|person| person["tags"] == json!(["reader"])));
    for (side, people) in [("before", &before), ("after", &after)] {
        let values: Vec<f64> =
            people.values().map(|person| person["scores"]["interest"]["value"].as_f64().unwrap()).collect();
        let distribution = &said["scores"]["interest"][side];
        let max = values.iter().copied().fold(0.0, f64::max);
        assert_eq!(
            (distribution["people"].as_u64(), distribution["max"].as_f64()),
            (Some(values.len() as u64), Some(max))
        );
        for bin in distribution["bins"].as_array().unwrap() {
            let (from, to) = (bin["from"].as_f64().unwrap(), bin["to"].as_f64().unwrap());
            let within = values.iter().filter(|value| {
                if from == to { **value == 0.0 } else { **value > 0.0 && **value >= from && **value < to }
            });
            assert_eq!(bin["people"], within.count(), "{side} {bin}");
        }
    }

    // Who crosses, by name: from one stage to another is out of none that lies below.
    let rank = |person: &Value| ["lead", "mql", "sql"].iter().position(|stage| person["stage"] == *stage).unwrap();
    let mut crossed = 0;
    for (place, stage) in [(1, "mql"), (2, "sql")] {
        for way in [Way::In, Way::Out] {
            let (mut people, mut end) = (Vec::new(), Some(-1));
            while let Some(after) = end {
                let (items, next) = partition.crossings(stage, way, after, 7).unwrap();
                people.extend(serde_json::from_slice::<Vec<Value>>(&items).unwrap());
                end = next;
            }
            let name = if way == Way::In { "in" } else { "out" };
            assert_eq!(said["stages"][stage][name], people.len(), "{stage} {name}");
            crossed += people.len();
            for person in people {
                let id = person["id"].as_str().unwrap();
                let (was, is) = (&before[id], &after[id]);
                assert_eq!((&person["before"]["stage"], &person["after"]["stage"]), (&was["stage"], &is["stage"]));
                // The score that the stage depends on, which was not the main one.
                assert_eq!(person["score"], "interest");
                assert_eq!(person["before"]["value"], was["scores"]["interest"]["value"]);
                assert_eq!(person["after"]["value"], is["scores"]["interest"]["value"]);
                assert_eq!(person["email"], was["email"]);
                let (higher, lower) = if way == Way::In { (is, was) } else { (was, is) };
                assert!(rank(higher) >= place, "{stage} {name}: {person}");
                assert!(place == 2 || rank(lower) < place || rank(lower) == 2, "{stage} {name}: {person}");
            }
        }
    }
    assert!(crossed > 40, "{crossed}");
    let moved = before.iter().filter(|(id, was)| rank(was) != rank(&after[*id])).count();
    assert!(moved > 20 && moved <= crossed, "{moved} {crossed}");
}

#[test]
fn a_backtest_is_outdated_by_a_publish_and_forgotten_for_another() {
    let mut partition = crowd(BEFORE, 1);
    partition.begin_backtest("b1", NOW, DRAFT).unwrap();
    partition.backtest_slice().unwrap();
    partition.publish(2, DRAFT).unwrap();
    partition.backtest_slice().unwrap();
    assert_eq!(partition.backtest().unwrap().state, State::Outdated);
    assert!(!partition.is_backtesting());
    partition.begin_backtest("b2", NOW, BEFORE).unwrap();
    let second = partition.backtest().unwrap();
    assert_eq!(second.tally.people, 0);
    let of = |version, model: &str| second.is_of(version, &fingerprint(model));
    assert!(of(2, BEFORE) && !of(1, BEFORE) && !of(2, DRAFT), "{second:?}");
    let rows = partition.store().query("SELECT no FROM crossing", &[]).unwrap();
    assert_eq!(rows.len(), 0);
}

#[test]
fn properties_are_written_when_something_new_is_seen_and_counts_now_and_then() {
    let mut partition = open(Native::in_memory().unwrap(), BEFORE, 1);
    let with = |n: u32, at: i64, properties: Value| {
        let mut record = record(n, at, Kind::Custom);
        record.body.properties = properties.to_string();
        record
    };
    let first = json!({ "plan": "pro", "deep": { "seats": 5 }, "list": ["red", 7], "email": "ada@example.com",
        "custom_properties": "{\"plan\": \"team\", \"trial\": true}" });
    for n in [1, 2] {
        take(&mut partition, with(n, NOW, first.clone()), NOW);
    }
    let rows = |partition: &Partition<Native>| {
        partition.store().query("SELECT name, body FROM property ORDER BY name", &[]).unwrap()
    };
    let known = rows(&partition);
    let shown = |partition: &Partition<Native>| super::properties::document(&partition.load_properties().unwrap());
    let expected = |name: &str, types: Value, samples: Value| {
        let count = if name == "plan" { 4 } else { 2 };
        json!({ "name": name, "types": types, "samples": samples, "kinds": ["custom"], "count": count,
            "first_seen": crate::time::show(NOW) })
    };
    assert_eq!(
        shown(&partition),
        [
            expected("deep.seats", json!(["number"]), json!([5])),
            expected("email", json!(["string"]), json!([])),
            expected("list", json!(["array"]), json!(["red", 7])),
            expected("plan", json!(["string"]), json!(["pro", "team"])),
            expected("trial", json!(["boolean"]), json!([true])),
        ]
    );
    // The same again, of others, over a crash: of rows only so many that no more than an eighth of a count can be lost.
    partition = crash(partition);
    let written = |partition: &Partition<Native>| {
        partition.store().query("SELECT total_changes()", &[]).unwrap()[0].integer(0).unwrap()
    };
    let take_each = |partition: &mut Partition<Native>, first_of: u32, what: &Value| {
        let before = written(partition);
        (first_of..first_of + 100).for_each(|n| take(partition, with(n, NOW + i64::from(n), what.clone()), NOW));
        written(partition) - before
    };
    let without = take_each(&mut partition, 100, &json!({}));
    let writes = take_each(&mut partition, 200, &first) - without;
    assert!(writes < 5 * 30, "{writes} rows");
    let now_known = super::properties::document(&partition.properties.borrow());
    let kept = shown(&crash(partition));
    for ((known, kept), before) in now_known.iter().zip(&kept).zip(&known) {
        let before = if before.text(0).unwrap() == "plan" { 2 } else { 1 };
        let (known, kept) = (known["count"].as_u64().unwrap(), kept["count"].as_u64().unwrap());
        assert_eq!(known, before * 102);
        assert!(kept * 9 / 8 >= known, "{kept} of {known}");
    }
    let mut partition = open(Native::in_memory().unwrap(), BEFORE, 1);
    // A site that makes up names fills no more than its share.
    for n in 0..30_i64 {
        let names: serde_json::Map<_, _> = (0..60).map(|k| (format!("made-up-{n}-{k}"), json!(1))).collect();
        take(&mut partition, with(4, NOW + 10 + n, Value::Object(names)), NOW + 10 + n);
    }
    assert_eq!(rows(&partition).len(), 1_000);
}
