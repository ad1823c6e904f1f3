//! What several partitions owe each other and their callers: what one has for another arrives, and a caller who looks in
//! the wrong place is told so.

use crate::harness::api::currents_body;
use crate::harness::events::{Person, now};
use crate::harness::state::{deployment_key, partition, registry, undelivered};
use crate::harness::{Instance, until};
use rusqlite::Connection;
use std::collections::BTreeMap;
use wingbeat_engine::key::{DeploymentKey, Identifier, KeyType, SlotMap};
use wingbeat_engine::partition::encode;
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::sources::currents::parse;

const PARTITIONS: SlotMap = SlotMap { partitions: 4 };

/// Somebody whose Braze id lies at a partition of four.
fn person_at(key: &DeploymentKey, place: u16) -> Person {
    let at = |person: &Person| {
        let braze_id = Identifier::new(KeyType::BrazeId, "", &person.braze_id).expect("an id");
        PARTITIONS.partition_of(key.hash(&braze_id))
    };
    std::iter::repeat_with(|| Person::new("somebody")).find(|person| at(person) == place).expect("one in four")
}

#[test]
fn what_waits_in_an_outbox_arrives_after_a_start_without_any_request() {
    let mut instance = Instance::start();
    let key = deployment_key(&instance);
    let person = person_at(&key, 3);
    let records = parse(&currents_body(&[person.email_click(now())]), "", &BTreeMap::new()).expect("a batch").records;
    instance.stop();

    // More than one round of deliveries takes: the alarm does the rest.
    let parcels = 200;
    let message = Message { key: key.hash(&records[0].rec), ask: Ask::Take(records) };
    let outbox = Connection::open(partition(&instance, 0)).expect("the database opens");
    for _ in 0..parcels {
        let body = encode(&vec![message.clone()]).expect("a parcel");
        outbox.execute("INSERT INTO outbox (dest, body) VALUES (3, ?)", [body]).expect("a row");
    }
    drop(outbox);
    assert_eq!(undelivered(&instance), parcels);
    instance.restart();

    until("all parcels have arrived", || undelivered(&instance) == 0);
    assert_eq!(instance.api().prospect(&format!("braze_id:{}", person.braze_id))["events"], 1);
}

#[test]
fn who_goes_by_another_map_of_slots_is_told_so_and_nothing_is_guessed() {
    let mut instance = Instance::start();
    let key = deployment_key(&instance);
    // By a map of two partitions, the first holds what by the map of four is the first's and the second's.
    let (here, elsewhere) = (person_at(&key, 0), person_at(&key, 1));
    let events = [here.email_click(now()), elsewhere.email_click(now())];
    instance.api().currents(&events);
    let set_partitions = |instance: &Instance, partitions: &str| {
        let registry = Connection::open(registry(instance)).expect("the database opens");
        let changed = registry.execute("UPDATE meta SET body = ? WHERE name = 'partitions'", [partitions]);
        assert_eq!(changed, Ok(1));
    };
    let reference = |person: &Person| format!("/api/prospects/braze_id:{}", person.braze_id);

    instance.stop();
    set_partitions(&instance, "2");
    instance.restart();
    let api = instance.api();
    let answer = api.get(&reference(&elsewhere));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert_eq!(api.get("/api/prospects?sort=created_at").status, 503, "a list of half of them would be a guess");
    let late = elsewhere.email_click(now());
    assert_eq!(api.post_currents(&currents_body(std::slice::from_ref(&late))).status, 503);
    assert_eq!(api.try_get("/healthz").expect("an answer").status, 200, "every object is well");

    instance.stop();
    set_partitions(&instance, "4");
    instance.restart();
    let api = instance.api();
    assert_eq!(api.currents(&events)["duplicates"], 2);
    assert_eq!(api.currents(&[late])["accepted"], 1, "it was not applied");
    assert_eq!(api.read(&reference(&elsewhere))["events"], 2);
    assert_eq!(api.read(&reference(&here))["events"], 1);
}
