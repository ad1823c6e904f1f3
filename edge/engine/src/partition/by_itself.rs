//! Tests of what happens without an event, under a virtual clock.

use super::change::{Cause, Change, Line, Turned};
use super::message::{Ask, Message};
use super::person::Person;
use super::read::Target;
use super::view::Prospect;
use super::{Partition, Reply, decode};
use crate::event::{Body, ClaimInput, Record, Source};
use crate::identity::Trust;
use crate::identity::generate::Random;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::kinds::Kind;
use crate::scoring::Model;
use crate::store::Store;
use crate::store::native::Native;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const T0: i64 = 1_793_577_600_000;

/// Everything that can change by itself: decay over a stage's line and a band, a tag's window, inactivity down to the
/// floor, temperature.
const MODEL: &str = r#"{
  "scores": [{ "slug": "s", "half_life_days": 10, "floor": 0, "bands": { "A": 40, "B": 20, "C": 0 },
    "rules": [{ "id": "form", "when": { "event": "form_submit" }, "points": 60 },
              { "id": "page", "when": { "event": "page_view" }, "points": 7 }],
    "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] }],
  "tags": [{ "slug": "fresh", "when": { "event": "page_view", "within_days": 3 } },
           { "slug": "keen", "when": { "event": "page_view", "within_days": 9, "count": { "gte": 2 } } }],
  "temperature": { "half_life_days": 4, "hot": 10, "warm": 6, "normal": 3, "cold": 1 },
  "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 50 }, "leave_below": 35 }],
  "exclude": { "event": "download", "within_days": 5 }
}"#;

fn key(identifier: &Identifier) -> KeyHash {
    DeploymentKey::new(b"test").hash(identifier)
}

fn partition(model: &str) -> Partition<Native> {
    let store = Native::in_memory().unwrap();
    let (model, slots) = (Model::parse(model).unwrap(), SlotMap { partitions: 1 });
    Partition::open(store, (0, slots), DeploymentKey::new(b"test"), Policy::default(), model, 1).unwrap()
}

fn visitor(n: u32) -> Identifier {
    Identifier::new(KeyType::Visitor, "", &format!("visitor-{n}")).unwrap()
}

fn record(n: u32, at: i64, kind: Kind) -> Record {
    let body = Body::bare(kind, kind.slug().to_owned(), Source::Tracker);
    let id = format!("{}-{at}", kind.slug());
    Record { rec: visitor(n), at, id, body, facts: Vec::new(), claims: Vec::new() }
}

fn take(partition: &mut Partition<Native>, record: Record, now: i64) {
    let message = Message { key: key(&record.rec), ask: Ask::Take(vec![record]) };
    let replies = partition.apply(now, vec![message]).unwrap().replies;
    assert!(matches!(replies[..], [Reply::Done { .. }]), "{replies:?}");
}

fn show(partition: &Partition<Native>, n: u32, at: i64) -> Prospect {
    partition.prospect(Target::key(key(&visitor(n))), at).unwrap().found().unwrap()
}

fn feed(partition: &Partition<Native>) -> Vec<Change> {
    let rows = partition.store().query("SELECT body FROM feed ORDER BY seq", &[]).unwrap();
    rows.iter().flat_map(|row| decode::<Line>(row.blob(0).unwrap()).unwrap().changes).collect()
}

/// What happened by itself: whose, when, what.
fn by_itself(partition: &Partition<Native>) -> Vec<(KeyHash, i64, Vec<Turned>)> {
    let changes = feed(partition).into_iter().filter(|change| change.cause == Cause::Time);
    let mut told: Vec<_> = changes.map(|change| (change.founder, change.at, change.turned)).collect();
    told.sort_by_key(|(founder, at, _)| (*founder, *at));
    told
}

/// The first ms after `from` at which this no longer holds.
fn until(from: i64, holds: impl Fn(i64) -> bool) -> i64 {
    let (mut before, mut after) = (from, from + 1_000 * DAY);
    assert!(holds(before) && !holds(after));
    while after - before > 1 {
        let middle = before.midpoint(after);
        if holds(middle) { before = middle } else { after = middle }
    }
    after
}

#[test]
fn a_stage_is_left_at_its_instant_without_an_event_and_whoever_looks_late_is_told_the_same() {
    let cooling = |clock: &[i64]| {
        let mut partition = partition(MODEL);
        take(&mut partition, record(1, T0, Kind::FormSubmit), T0);
        for now in clock {
            partition.turn(*now, 100).unwrap();
        }
        partition
    };
    let partition = cooling(&[]);
    assert_eq!(show(&partition, 1, T0).stage.as_deref(), Some("mql"));
    let instant = until(T0, |t| show(&partition, 1, t).stage.as_deref() == Some("mql"));
    // 60 points fall below 35 after 10 days · log2(60/35).
    let exact = T0 as f64 + 10.0 * DAY as f64 * libm::log2(60.0 / 35.0);
    assert!((instant as f64 - exact).abs() < 60_000.0, "{instant} {exact}");

    let stages = |partition: &Partition<Native>| {
        let told = by_itself(partition);
        told.into_iter()
            .filter(|(_, _, turned)| turned.contains(&Turned::Stage))
            .map(|(_, at, _)| at)
            .collect::<Vec<_>>()
    };
    let early = cooling(&[instant - 1]);
    assert_eq!(stages(&early), Vec::<i64>::new());
    let rev = show(&early, 1, instant).rev;
    let on_time = cooling(&[instant - 1, instant]);
    assert_eq!(stages(&on_time), [instant]);
    assert_eq!(show(&on_time, 1, instant).rev, rev + 1);
    let late = cooling(&[instant + 100 * DAY]);
    assert_eq!(stages(&late), [instant]);
    assert_eq!(by_itself(&late)[..by_itself(&on_time).len()], by_itself(&on_time));
}

/// Weeks of visits by forty people.
fn visits(random: &mut Random) -> Vec<Record> {
    let mut records = Vec::new();
    for n in 0..40 {
        for _ in 0..1 + random.below(6) {
            let at = T0 + i64::from(random.below(40)) * DAY + i64::from(random.below(50)) * HOUR;
            let kind = match random.below(8) {
                0..=2 => Kind::FormSubmit,
                3 => Kind::Download,
                _ => Kind::PageView,
            };
            records.push(record(n, at, kind));
        }
    }
    records.sort_by_key(|record| record.at);
    records
}

#[test]
fn whenever_the_alarm_comes_the_same_is_told_at_the_same_instants() {
    let end = T0 + 400 * DAY;
    let run = |records: &[Record], step: &mut dyn FnMut() -> Option<i64>| {
        let mut partition = partition(MODEL);
        let mut clock = T0;
        for record in records {
            while let Some(next) = step().map(|step| clock + step).filter(|next| *next < record.at) {
                clock = next;
                while partition.turn(clock, 7).unwrap().prospects == 7 {}
            }
            clock = clock.max(record.at);
            take(&mut partition, record.clone(), record.at);
        }
        while partition.next_due().unwrap().is_some_and(|due| due <= end) {
            partition.turn(end, 50).unwrap();
        }
        partition
    };
    for seed in 0..6 {
        let records = visits(&mut Random(seed));
        let never = run(&records, &mut || None);
        let told = by_itself(&never);
        assert!(told.len() > 300, "{}", told.len());
        let kinds = |wanted| told.iter().filter(|(_, _, turned)| turned.contains(&wanted)).count();
        for turned in
            [Turned::Stage, Turned::Temperature, Turned::Tags, Turned::Band, Turned::Inactivity, Turned::Excluded]
        {
            assert!(kinds(turned) > 0, "{turned:?} never happened");
        }
        let mut random = Random(seed + 100);
        let often = run(&records, &mut || Some(HOUR + i64::from(random.below(40)) * HOUR));
        let mut on_time = partition(MODEL);
        for record in &records {
            while let Some(due) = on_time.next_due().unwrap().filter(|due| *due < record.at) {
                on_time.turn(due, 50).unwrap();
            }
            take(&mut on_time, record.clone(), record.at);
        }
        while let Some(due) = on_time.next_due().unwrap().filter(|due| *due <= end) {
            on_time.turn(due, 50).unwrap();
        }
        assert_eq!(by_itself(&often), told, "seed {seed}");
        assert_eq!(by_itself(&on_time), told, "seed {seed}");
        // Between two instants nothing is seen to change.
        for n in 0..40 {
            let founder = key(&visitor(n));
            let own: Vec<i64> = told.iter().filter(|(whose, _, _)| *whose == founder).map(|(_, at, _)| *at).collect();
            let newest =
                records.iter().filter(|record| record.rec == visitor(n)).map(|record| record.at).max().unwrap();
            let watched = |at| {
                let prospect = show(&never, n, at);
                let bands: Vec<_> = prospect.scores.into_values().map(|score| score.band).collect();
                (prospect.stage, prospect.temperature, prospect.tags, bands, prospect.excluded)
            };
            let marks: Vec<i64> =
                [newest].into_iter().chain(own.into_iter().filter(|at| *at > newest)).chain([end + 1]).collect();
            for pair in marks.windows(2) {
                assert_eq!(watched(pair[0]), watched(pair[1] - 1), "seed {seed}: {n}");
            }
        }
    }
}

#[test]
fn at_the_floor_nothing_is_due_and_only_who_is_due_is_looked_at() {
    let mut partition = partition(MODEL);
    for n in 0..50 {
        take(&mut partition, record(n, T0, Kind::FormSubmit), T0);
    }
    let mut rounds = 0;
    while let Some(due) = partition.next_due().unwrap() {
        partition.turn(due, 100).unwrap();
        rounds += 1;
        assert!(rounds < 100, "no end of it");
    }
    assert!(by_itself(&partition).len() >= 50 * 5);
    let rows = partition.store().query("SELECT no FROM person WHERE due IS NOT NULL", &[]).unwrap();
    assert_eq!(rows.len(), 0, "everybody is at the floor");
    let plan = partition.store().query(
        "EXPLAIN QUERY PLAN SELECT no, due, state FROM person WHERE due <= ? ORDER BY due LIMIT ? + 0",
        &[0.into(), 1.into()],
    );
    assert!(plan.unwrap()[0].text(3).unwrap().contains("person_due"), "by the index");
}

#[test]
fn an_event_moves_what_is_due_only_to_an_earlier_time() {
    let due = |partition: &Partition<Native>| {
        let rows = partition.store().query("SELECT due FROM person", &[]).unwrap();
        rows[0].integer(0).unwrap()
    };
    // Nothing but the temperature, and of that only its end.
    let model = r#"{ "scores": [{ "slug": "s" }],
        "temperature": { "half_life_days": 4, "hot": 500, "warm": 400, "normal": 300, "cold": 1 } }"#;
    let mut partition = partition(model);
    take(&mut partition, record(1, T0, Kind::PageView), T0);
    let first = due(&partition);
    // Warmer by five visits: it happens later, and the row keeps the earlier time.
    for minute in 1..6 {
        take(&mut partition, record(1, T0 + minute, Kind::PageView), T0 + minute);
    }
    assert_eq!(due(&partition), first);
    // Then the look was for nothing: nobody is told, and the time is the right one.
    let told = feed(&partition).len();
    assert_eq!(partition.turn(first, 10).unwrap(), super::due::Round { prospects: 1, changes: 0 });
    assert_eq!(feed(&partition).len(), told);
    assert!(due(&partition) > first);
}

#[test]
fn time_raises_the_rev_and_a_merged_id_answers_above_it() {
    let mut partition = partition(MODEL);
    let email = Identifier::new(KeyType::Email, "", "ada@example.com").unwrap();
    let claim = |n: u32, at: i64| {
        let mut form = record(n, at, Kind::FormSubmit);
        let (browser, page) = (visitor(n), "p".to_owned());
        form.claims = vec![ClaimInput {
            browser,
            key: email.clone(),
            trust: Trust::Medium,
            source: Source::Form,
            page,
            human: true,
        }];
        form
    };
    take(&mut partition, record(1, T0, Kind::FormSubmit), T0);
    let id = show(&partition, 1, T0).id;
    while let Some(due) = partition.next_due().unwrap() {
        partition.turn(due, 10).unwrap();
    }
    let aged = show(&partition, 1, T0 + 300 * DAY);
    assert!(aged.rev > 5, "{}", aged.rev);
    take(&mut partition, claim(1, T0 + 300 * DAY), T0 + 300 * DAY);
    let id = KeyHash::from_prospect_id(&id).unwrap();
    let merged = partition.prospect(Target::id(id), T0 + 300 * DAY).unwrap().found().unwrap();
    assert_eq!(merged.life_cycle, "merged");
    assert!(merged.rev > aged.rev, "{} {}", merged.rev, aged.rev);
}

#[test]
fn a_clock_that_is_ahead_changes_nothing_of_the_present_and_what_has_no_room_comes_at_its_time() {
    const AHEAD: i64 = 300;
    let records = || {
        let ahead = (0..AHEAD).map(|n| record(1, T0 + DAY + n * HOUR, Kind::PageView));
        [record(1, T0 - HOUR, Kind::FormSubmit)].into_iter().chain(ahead)
    };
    let mut partition = partition(MODEL);
    records().for_each(|record| take(&mut partition, record, T0));
    let ends = |partition: &Partition<Native>| {
        let rows = partition.store().query("SELECT state FROM person", &[]).unwrap();
        decode::<Person>(rows[0].blob(0).unwrap()).unwrap().fold.ends()
    };
    let end = T0 + DAY + 256 * HOUR;
    assert_eq!(ends(&partition), Some(end), "of 300, 256 are kept one by one");
    let shown = |partition: &Partition<Native>, at: i64| {
        let mut shown = serde_json::to_value(show(partition, 1, at)).unwrap();
        shown.as_object_mut().unwrap().remove("rev");
        shown
    };
    for (now, tags, is_kept) in [
        (T0, vec![], true),
        (T0 + DAY, vec!["fresh"], true),
        (end - 1, vec!["fresh", "keen"], true),
        (end, vec!["fresh", "keen"], false),
        (T0 + DAY + AHEAD * HOUR + 4 * DAY, vec!["keen"], false),
    ] {
        // As somebody is seen of whom all is heard now.
        let mut anew = self::partition(MODEL);
        records().for_each(|record| take(&mut anew, record, now));
        assert_eq!(shown(&partition, now), shown(&anew, now), "looked at before it is this one's turn");
        while partition.next_due().unwrap().is_some_and(|due| due <= now) {
            partition.turn(now, 100).unwrap();
        }
        let is = shown(&partition, now);
        assert_eq!(is, shown(&anew, now), "{} ms after T0", now - T0);
        assert_eq!(is["tags"], serde_json::json!(tags));
        assert_eq!(ends(&partition).is_some(), is_kept);
    }
    assert!(feed(&partition).iter().any(|change| (change.cause, change.at) == (Cause::Time, end)));
}
