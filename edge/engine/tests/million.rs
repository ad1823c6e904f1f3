//! Backtest and publish over 1,000,000 stored events of 50,000 people, with events accepted all the while: how long it takes,
//! how long an event waits, and how much memory it needs.
//!
//! `cargo test --release -p wingbeat-engine --test million -- --ignored --nocapture`; `WINGBEAT_EVENTS` asks for fewer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::disallowed_methods)]

use std::time::{Duration, Instant};
use wingbeat_engine::event::{Body, Record, Source};
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::key::{DeploymentKey, Identifier, KeyType, SlotMap};
use wingbeat_engine::kinds::Kind;
use wingbeat_engine::partition::backtest::State;
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::partition::{Partition, Reply};
use wingbeat_engine::scoring::{Model, TEMPLATES};
use wingbeat_engine::store::native::Native;

const EVENTS_EACH: usize = 20;
const NOW: i64 = 1_793_577_600_000;
const DAY: i64 = 86_400_000;

fn record(n: usize, k: usize) -> Record {
    let mixed = (n * 31 + k * 17) % 97;
    let (kind, name, url) = match mixed % 8 {
        0 => (Kind::FormSubmit, "[Form] request-demo", "https://shop.example/contact"),
        1 | 2 => (Kind::PageView, "[Page view] Prices", "https://shop.example/pricing"),
        3 => (Kind::Download, "[Download] guide.pdf", "https://shop.example/guide.pdf"),
        4 => (Kind::EmailClick, "[Email campaign engagement] Clicked on a link", "https://shop.example/spring"),
        _ => (Kind::PageView, "[Page view] A page of ours", "https://shop.example/about"),
    };
    let body = Body {
        url: Some(url.to_owned()),
        properties: format!(r#"{{"plan":"pro","seats":{mixed},"campaign_name":"Spring sale","position":{k}}}"#),
        ..Body::bare(kind, name.to_owned(), Source::Currents)
    };
    let rec = Identifier::new(KeyType::BrazeId, "", &format!("5fbd{n:020x}")).unwrap();
    let at = NOW - 90 * DAY + i64::try_from(k).unwrap() * 4 * DAY + i64::try_from(mixed).unwrap() * 3_600_000;
    Record { rec, at, id: format!("event-{n}-{k}"), body, facts: Vec::new(), claims: Vec::new() }
}

/// A line of what the kernel says of this process, in MB.
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kb = status
        .lines()
        .find(|text| text.starts_with(line))
        .and_then(|text| text.split_whitespace().nth(1)?.parse().ok());
    kb.unwrap_or(0_u64) / 1024
}

/// From now on the peak of memory counts.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn take(partition: &mut Partition<Native>, key: &DeploymentKey, records: Vec<Record>, now: i64) {
    let message = |record: Record| Message { key: key.hash(&record.rec), ask: Ask::Take(vec![record]) };
    let applied = partition.apply(now, records.into_iter().map(message).collect()).unwrap();
    assert!(applied.replies.iter().all(|reply| matches!(reply, Reply::Done { .. })));
}

/// Goes on slice by slice, with an event in between; how long it took, and the longest that an event had to wait.
fn run(
    partition: &mut Partition<Native>,
    key: &DeploymentKey,
    slice: impl Fn(&mut Partition<Native>) -> bool,
) -> (Duration, Duration, usize) {
    reset_peak();
    let (begun, mut longest, mut slices) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let waiting = Instant::now();
        let more = slice(partition);
        slices += 1;
        longest = longest.max(waiting.elapsed());
        if !more {
            return (begun.elapsed(), longest, slices);
        }
        take(partition, key, vec![record(slices % 1_000, 1_000 + slices)], NOW + 1);
    }
}

#[test]
#[ignore = "minutes of work; it reports figures"]
fn a_million_events_are_backtested_and_published_while_events_come() {
    let events: usize = std::env::var("WINGBEAT_EVENTS").map_or(1_000_000, |count| count.parse().unwrap());
    let people = events / EVENTS_EACH;
    let file = std::env::temp_dir().join(format!("wingbeat-million-{}.sqlite", std::process::id()));
    let key = DeploymentKey::new(b"million");
    let model = Model::parse(Model::SHIPPED).unwrap();
    let store = Native::open(&file).unwrap();
    let mut partition =
        Partition::open(store, (0, SlotMap { partitions: 1 }), key.clone(), Policy::default(), model, 1).unwrap();
    let begun = Instant::now();
    for k in 0..EVENTS_EACH {
        for chunk in (0..people).collect::<Vec<_>>().chunks(256) {
            take(&mut partition, &key, chunk.iter().map(|n| record(*n, k)).collect(), NOW);
        }
    }
    println!("{events} events of {people} people stored in {:.1} s", begun.elapsed().as_secs_f64());
    println!("memory then: {} MB", memory("VmRSS"));

    let draft = TEMPLATES[0].json;
    partition.begin_backtest("b", NOW, draft).unwrap();
    let (took, longest, slices) = run(&mut partition, &key, |partition| {
        partition.backtest_slice().unwrap();
        partition.is_backtesting()
    });
    let backtest = partition.backtest().unwrap().clone();
    assert_eq!((backtest.state, backtest.tally.people), (State::Done, people as u64));
    println!(
        "backtest: {:.1} s in {slices} slices, an event waits {:.0} ms at most, memory peaks at {} MB; {} change",
        took.as_secs_f64(),
        longest.as_secs_f64() * 1e3,
        memory("VmHWM"),
        backtest.tally.changed
    );

    partition.publish(2, draft).unwrap();
    let (took, longest, slices) =
        run(&mut partition, &key, |partition| partition.recompute(NOW + 2).unwrap().is_some());
    println!(
        "publish: {:.1} s in {slices} slices, an event waits {:.0} ms at most, memory peaks at {} MB",
        took.as_secs_f64(),
        longest.as_secs_f64() * 1e3,
        memory("VmHWM")
    );
    drop(partition);
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
}
