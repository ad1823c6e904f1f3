//! The runtime is killed in the middle of its work: whatever it has acknowledged is there afterwards, exactly once.

use crate::harness::api::currents_body;
use crate::harness::events::{self, Person, id, now};
use crate::harness::{Api, Instance, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const CLIENTS: usize = 6;
/// How many batches are acknowledged before a kill: different in every round, so that it comes at different places.
const ACKNOWLEDGED: std::ops::Range<usize> = 20..120;

/// One request of the load: a tracker's batch, or one of Braze's.
struct Batch {
    /// The browser; `None` for Braze.
    visitor: Option<String>,
    events: Vec<Value>,
    acknowledged: bool,
}

impl Batch {
    /// Sends it. Whether it was acknowledged; what is neither that nor a way of saying "again" fails the test.
    fn send(&self, api: &Api) -> bool {
        let answer = match &self.visitor {
            Some(visitor) => api.try_post_collect(&api.collect_body(visitor, &self.events)),
            None => api.try_post_currents(&currents_body(&self.events)),
        };
        // No answer: the runtime is dead, before or after it stored the batch.
        let Ok(answer) = answer else { return false };
        if answer.status == 503 {
            return false;
        }
        let counts = answer.expect(200);
        let taken = counts["accepted"].as_u64().unwrap_or(0) + counts["duplicates"].as_u64().unwrap_or(0);
        assert_eq!(usize::try_from(taken), Ok(self.events.len()), "{counts}");
        true
    }
}

/// A client that sends one batch after the other until nobody answers: a person's browser and Braze take turns, so that
/// events move between the browser and the person all the time.
fn client(api: &Api, person: &Person, stop: &AtomicBool, acknowledged: &AtomicUsize) -> Vec<Batch> {
    let mut sent = Vec::new();
    let visitor = events::uuid();
    for n in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let at = now();
        let page = "https://shop.example/pricing";
        let mut batch = match n % 4 {
            0 => Batch {
                visitor: Some(visitor.clone()),
                events: (0..8).map(|k| events::page_view(at + k, page)).collect(),
                acknowledged: false,
            },
            1 => {
                Batch { visitor: None, events: (0..20).map(|_| person.email_click(at)).collect(), acknowledged: false }
            }
            2 => Batch {
                visitor: Some(visitor.clone()),
                events: vec![events::link_visit(at, page, &person.braze_id)],
                acknowledged: false,
            },
            _ => Batch {
                visitor: Some(events::uuid()),
                events: vec![events::page_view(at, page), events::form(at + 1, "demo", &person.email)],
                acknowledged: false,
            },
        };
        batch.acknowledged = batch.send(api);
        acknowledged.fetch_add(usize::from(batch.acknowledged), Ordering::SeqCst);
        let dead = !batch.acknowledged && api.try_get("/healthz").is_err();
        sent.push(batch);
        if dead {
            break;
        }
    }
    sent
}

/// How often each event is in the timelines of these people.
fn stored(api: &Api, people: &[Person]) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for person in people {
        if api.find(&format!("braze_id:{}", person.braze_id)).is_none() {
            continue;
        }
        for item in api.timeline(&format!("braze_id:{}", person.braze_id)) {
            *times.entry(id(&item)).or_insert(0) += 1;
        }
    }
    times
}

/// How often each event of a browser is in its owner's timeline: that of the person who claims it, or its own.
fn stored_of(api: &Api, batch: &Batch) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    let Some(visitor) = &batch.visitor else { return times };
    if api.find(&format!("visitor:{visitor}")).is_some() {
        for item in api.timeline(&format!("visitor:{visitor}")) {
            *times.entry(id(&item)).or_insert(0) += 1;
        }
    }
    times
}

#[test]
fn what_was_acknowledged_is_there_exactly_once_after_kill_9() {
    let rounds: usize =
        std::env::var("CRASH_ROUNDS").ok().map_or(3, |rounds| rounds.parse().expect("CRASH_ROUNDS is a number"));
    let mut instance = Instance::start();
    for round in 0..rounds {
        let people: Vec<Person> = (0..CLIENTS).map(|n| Person::new(&format!("crash{n}"))).collect();
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
        let kill_after = fastrand::usize(ACKNOWLEDGED);
        let mut batches: Vec<Batch> = thread::scope(|scope| {
            let clients: Vec<_> = people
                .iter()
                .map(|person| {
                    let (api, stop, acknowledged) = (instance.api().clone(), &stop, &acknowledged);
                    scope.spawn(move || client(&api, person, stop, acknowledged))
                })
                .collect();
            until("the load is under way", || {
                acknowledged.load(Ordering::SeqCst) >= kill_after
                    || clients.iter().all(thread::ScopedJoinHandle::is_finished)
            });
            instance.kill_9();
            stop.store(true, Ordering::SeqCst);
            clients.into_iter().flat_map(|client| client.join().expect("a client ends well")).collect()
        });
        let lost = batches.iter().filter(|batch| !batch.acknowledged).count();
        println!(
            "round {round}: killed after {kill_after} acknowledged batches, {} sent, {lost} without an answer",
            batches.len()
        );
        assert!(acknowledged.load(Ordering::SeqCst) >= kill_after, "the clients gave up before the kill");

        instance.restart();
        let api = instance.api();
        let times = |batches: &[Batch], event: &str, by_person: &BTreeMap<String, usize>| {
            // Of a browser that nobody claims (the claim was lost with the crash), its own timeline counts.
            by_person.get(event).copied().unwrap_or_else(|| {
                let batch = batches.iter().find(|batch| batch.events.iter().any(|sent| sent["id"] == event));
                batch.map(|batch| stored_of(api, batch).get(event).copied().unwrap_or(0)).unwrap_or(0)
            })
        };
        let by_person = stored(api, &people);
        for batch in &batches {
            for event in &batch.events {
                let found = times(&batches, &id(event), &by_person);
                if batch.acknowledged {
                    assert_eq!(found, 1, "acknowledged, round {round}: {event}");
                } else {
                    assert!(found <= 1, "without an answer, round {round}: {event}");
                }
            }
        }

        // What got no answer is sent again, as the tracker and Braze do, and then is there once, too.
        for batch in batches.iter_mut().filter(|batch| !batch.acknowledged) {
            batch.acknowledged = batch.send(api);
            assert!(batch.acknowledged, "a running instance takes it");
        }
        let by_person = stored(api, &people);
        for event in batches.iter().flat_map(|batch| &batch.events) {
            assert_eq!(times(&batches, &id(event), &by_person), 1, "after sending again, round {round}: {event}");
        }
        assert_eq!(by_person.values().max(), Some(&1));
        // And the bookkeeping agrees with the timelines.
        for person in &people {
            if let Some(prospect) = api.find(&format!("braze_id:{}", person.braze_id)) {
                let timeline = api.timeline(&format!("braze_id:{}", person.braze_id));
                assert_eq!(prospect["events"].as_u64(), u64::try_from(timeline.len()).ok(), "{prospect}");
            }
        }
    }
}

#[test]
fn a_killed_instance_comes_back_with_the_same_people() {
    let mut instance = Instance::start();
    let person = Person::new("phoenix");
    let visitor = events::uuid();
    let api = instance.api();
    api.collect(&visitor, &[events::link_visit(now() - 1_000, "https://shop.example/pricing", &person.braze_id)]);
    api.collect(&visitor, &[events::form(now(), "demo", &person.email)]);
    api.currents(&[person.email_click(now())]);
    let at = events::rfc3339(now());
    let before = crate::harness::snapshot::of_everybody(api, &at);
    assert_eq!(before.len(), 1);

    instance.kill_9();
    instance.restart();

    crate::harness::snapshot::assert_same(&crate::harness::snapshot::of_everybody(instance.api(), &at), &before);
}
