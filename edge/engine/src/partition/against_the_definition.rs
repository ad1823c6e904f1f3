//! The partition against the naive function: over random inputs, orders, repeats and batches, both give the same
//! prospects, ids, events and evidence.

use super::evidence_laws::compare_evidence;
use super::message::{Ask, Message};
use super::person::Person;
use super::read::Target;
use super::{Outcome, Partition, Reply, decode};
use crate::event::Record;
use crate::identity::generate::{Random, inputs, small_policy};
use crate::identity::naive::{Input, World, naive};
use crate::key::{DeploymentKey, KeyHash, SlotMap};
use crate::scoring::Model;
use crate::store::native::Native;
use crate::store::{Store, Value};
use std::collections::{BTreeMap, BTreeSet};

type Events = BTreeSet<(KeyHash, i64, String)>;

const SEEDS: u64 = 600;

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

fn partition() -> Partition<Native> {
    open(Native::in_memory().unwrap(), 0, 1)
}

fn open(store: Native, number: u16, partitions: u16) -> Partition<Native> {
    let model = Model::parse(Model::SHIPPED).unwrap();
    Partition::open(store, (number, SlotMap { partitions }), deployment(), small_policy(), model, 1).unwrap()
}

/// Inputs as a frontend sends them: records grouped by key, in calls of some messages each.
fn send(partition: &mut Partition<Native>, inputs: &[Input], random: &mut Random) {
    let mut rest = inputs;
    while !rest.is_empty() {
        let (call, later) = rest.split_at((1 + random.below(4) as usize).min(rest.len()));
        rest = later;
        let mut by_key: BTreeMap<KeyHash, Vec<Record>> = BTreeMap::new();
        let mut messages = Vec::new();
        for input in call {
            match input {
                Input::Record(record) => {
                    by_key.entry(deployment().hash(&record.rec)).or_default().push(record.clone());
                }
                Input::Decision(decision) => {
                    messages.push(Message { key: KeyHash([0; 16]), ask: Ask::Decide(decision.clone()) });
                }
            }
        }
        messages.extend(by_key.into_iter().map(|(key, records)| Message { key, ask: Ask::Take(records) }));
        for reply in partition.apply(1_000, messages).unwrap().replies {
            assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        }
    }
}

/// What the partition holds: prospects by id, with keys and events, read from the rows.
fn prospects(partition: &Partition<Native>) -> BTreeMap<String, Events> {
    let rows = partition.store().query("SELECT state FROM person", &[]).unwrap();
    let mut found = BTreeMap::new();
    for row in rows {
        let person: Person = decode(row.blob(0).unwrap()).unwrap();
        let mut events = Events::new();
        for span in &person.spans {
            let sql = "SELECT at, id FROM event WHERE rec = ? AND at >= ? AND at < ?";
            let params = [Value::Integer(span.no), Value::Integer(span.from), Value::Integer(span.until)];
            for row in partition.store().query(sql, &params).unwrap() {
                events.insert((span.rec, row.integer(0).unwrap(), row.text(1).unwrap().to_owned()));
            }
        }
        assert_eq!(person.events, events.len() as u64, "the count of events of {person:?}, which has {events:?}");
        found.insert(person.founder.prospect_id(), events);
    }
    found
}

fn compare(partition: &Partition<Native>, world: &World, context: &str) {
    let expected: BTreeMap<String, Events> =
        world.prospects.iter().map(|(id, prospect)| (id.clone(), prospect.events.clone())).collect();
    assert_eq!(prospects(partition), expected, "{context}");
    for (id, prospect) in &world.prospects {
        let target = Target::id(prospect.founder);
        let shown = partition.prospect(target, 2_000).unwrap().found().expect("a prospect answers to its id");
        assert_eq!((&shown.id, shown.life_cycle), (id, "active"), "{context}");
    }
    compare_evidence(world, (&deployment(), &small_policy()), context, |target| {
        let mut gathering = partition.identity(target).unwrap().found().expect("a prospect has an identity");
        assert!(gathering.questions().is_empty(), "all is here");
        gathering.identity()
    });
}

fn records(seed: u64) -> Vec<Record> {
    let records = inputs(seed).into_iter().filter_map(|input| match input {
        Input::Record(record) => Some(record),
        Input::Decision(_) => None,
    });
    records.collect()
}

#[test]
fn equals_the_naive_function_over_random_inputs_orders_and_repeats() {
    let mut merged = 0;
    for seed in 0..SEEDS {
        let inputs = inputs(seed);
        let world = naive(&deployment(), &small_policy(), &inputs);
        merged += world.prospects.values().filter(|prospect| prospect.keys.len() > 1).count();
        for order in 0..2 {
            let mut random = Random(seed * 31 + order);
            let mut shuffled = inputs.clone();
            random.shuffle(&mut shuffled);
            let repeats: Vec<Input> = shuffled.iter().filter(|_| random.one_in(4)).cloned().collect();
            shuffled.extend(repeats);
            let mut partition = partition();
            send(&mut partition, &shuffled, &mut random);
            compare(&partition, &world, &format!("seed {seed}, order {order}"));
        }
    }
    assert!(merged > 500, "the generator joins people: {merged}");
}

#[test]
fn a_repeat_is_reported_and_changes_nothing() {
    for seed in 0..200 {
        let records = records(seed);
        let mut partition = partition();
        let inputs: Vec<Input> = records.iter().cloned().map(Input::Record).collect();
        send(&mut partition, &inputs, &mut Random(seed));
        let dump = |partition: &Partition<Native>, tables: &[&str]| -> Vec<_> {
            let rows = |table| partition.store().query(&format!("SELECT * FROM {table}"), &[]).unwrap();
            tables.iter().map(rows).collect()
        };
        let (people, all) = (["event", "person", "feed"], ["node", "event", "cluster", "bygone", "person", "feed"]);
        let mut before = (dump(&partition, &people), Vec::new());
        for time in 0..2 {
            for record in &records {
                let message = Message { key: deployment().hash(&record.rec), ask: Ask::Take(vec![record.clone()]) };
                let outcomes = vec![(0, Outcome::Duplicate)];
                assert_eq!(
                    partition.apply(5_000, vec![message]).unwrap().replies,
                    [Reply::Done { outcomes, onward: vec![] }]
                );
            }
            assert_eq!(dump(&partition, &people), before.0, "seed {seed}");
            // With the first repeat a table may have come that only said of others whose they are.
            if time == 0 {
                before.1 = dump(&partition, &all);
            }
        }
        assert_eq!(dump(&partition, &all), before.1, "seed {seed}");
    }
}

#[test]
fn a_message_that_fails_is_undone_and_the_others_go_on() {
    let mut partition = partition();
    let record = records(1).remove(0);
    let key = deployment().hash(&record.rec);
    let wrong = KeyHash([7; 16]);
    let messages = vec![
        Message { key: wrong, ask: Ask::Take(vec![record.clone()]) },
        Message { key, ask: Ask::Take(vec![record]) },
    ];
    let replies = partition.apply(0, messages).unwrap().replies;
    assert!(matches!(replies.as_slice(), [Reply::Failed(_), Reply::Done { .. }]), "{replies:?}");
}
