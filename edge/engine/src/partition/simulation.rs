//! A deterministic simulation of several partitions: the real state machines over real SQLite, and between them a network
//! that loses acknowledgements, repeats and reorders; requests are retried, objects crash and are loaded again. At rest the
//! whole equals the naive function.

use super::list::{Filter, List, Sort};
use super::message::{Ask, Element, Message};
use super::person::Person;
use super::read::{Looked, Target};
use super::view::Prospect;
use super::{Applied, Partition, Reply, decode};
use crate::event::Record;
use crate::identity::Decision;
use crate::identity::generate::{Random, inputs, small_policy};
use crate::identity::naive::{Input, World, naive};
use crate::key::{DeploymentKey, KeyHash, SlotMap};
use crate::scoring::Model;
use crate::store::native::Native;
use crate::store::{Store, Value};
use std::collections::{BTreeMap, BTreeSet};

type Events = BTreeSet<(KeyHash, i64, String)>;

/// After so many steps something goes round in circles.
const STEPS_MAX: u32 = 20_000;
/// As a frontend does: after so many hops an event travels by itself.
const HOPS_MAX: u32 = 8;

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

fn open(store: Native, number: u16, slots: SlotMap) -> Partition<Native> {
    let model = Model::parse(Model::SHIPPED).unwrap();
    Partition::open(store, (number, slots), deployment(), small_policy(), model, 1).unwrap()
}

struct Simulation {
    slots: SlotMap,
    partitions: Vec<Option<Partition<Native>>>,
    random: Random,
    steps: u32,
}

impl Simulation {
    fn new(partitions: u16, random: Random) -> Simulation {
        let slots = SlotMap { partitions };
        let all = (0..partitions).map(|number| Some(open(Native::in_memory().unwrap(), number, slots))).collect();
        Simulation { slots, partitions: all, random, steps: 0 }
    }

    fn apply(&mut self, to: u16, messages: Vec<Message>) -> Applied {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "no end of it");
        let partition = self.partitions[usize::from(to)].as_mut().unwrap();
        let applied = partition.apply(1_000, messages).unwrap();
        for reply in &applied.replies {
            assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
        }
        if self.random.one_in(20) {
            self.crash(to);
        }
        applied
    }

    /// All that is not in the store is gone.
    fn crash(&mut self, number: u16) {
        let partition = self.partitions[usize::from(number)].take().unwrap();
        self.partitions[usize::from(number)] = Some(open(partition.into_store(), number, self.slots));
    }

    /// What a frontend does with a record: takes it to its key's owner, and its event on from there. It may give up on
    /// the way, and then the sender sends the record again.
    fn request(&mut self, record: &Record) {
        loop {
            let key = deployment().hash(&record.rec);
            let mut messages = vec![Message { key, ask: Ask::Take(vec![record.clone()]) }];
            let (mut arrived, mut hops) = (0, 0);
            while let Some(mut message) = messages.pop() {
                hops += 1;
                if hops > HOPS_MAX
                    && let Ask::Put(elements) = &mut message.ask
                {
                    for element in elements {
                        if let Element::Event(event) = element {
                            event.place = None;
                            arrived += 1;
                        }
                    }
                }
                let to = self.slots.partition_of(message.key);
                for reply in self.apply(to, vec![message]).replies {
                    if let Reply::Done { outcomes, onward } = reply {
                        arrived += outcomes.len();
                        messages.extend(onward);
                    }
                }
                if self.random.one_in(6) {
                    break;
                }
                if self.random.one_in(3) {
                    self.deliver_one();
                }
            }
            if arrived > 0 {
                return;
            }
        }
    }

    /// What a frontend does with a decision: any key's owner will do. Its answer may be lost, and then it is said again.
    fn decide(&mut self, decision: &Decision) {
        loop {
            let to = u16::try_from(self.random.below(u32::from(self.slots.partitions))).unwrap();
            let key = KeyHash([0; 16]);
            self.apply(to, vec![Message { key, ask: Ask::Decide(decision.clone()) }]);
            if !self.random.one_in(6) {
                return;
            }
        }
    }

    /// Delivers some parcel, which may be any that is waiting; its acknowledgement may be lost.
    fn deliver_one(&mut self) -> bool {
        let mut waiting = Vec::new();
        for (number, partition) in self.partitions.iter().enumerate() {
            let parcels = partition.as_ref().unwrap().undelivered(1_000).unwrap();
            waiting.extend(parcels.into_iter().map(|parcel| (number, parcel)));
        }
        let Some((from, parcel)) = self.random.pick(&waiting).cloned() else { return false };
        let (id, mut messages) = (parcel.id, parcel.messages);
        if self.random.one_in(3) {
            self.random.shuffle(&mut messages);
        }
        self.apply(parcel.to, messages);
        if !self.random.one_in(6) {
            self.partitions[from].as_mut().unwrap().delivered(id).unwrap();
        }
        true
    }

    /// What all partitions hold: prospects by id, with their events.
    fn prospects(&self) -> BTreeMap<String, Events> {
        let (mut found, mut stored) = (BTreeMap::new(), BTreeSet::new());
        for partition in self.partitions.iter().flatten() {
            let store = partition.store();
            for row in store.query("SELECT rec, at, id FROM event", &[]).unwrap() {
                let event = (row.integer(0).unwrap(), row.integer(1).unwrap(), row.text(2).unwrap().to_owned());
                assert!(stored.insert(event.clone()), "{event:?} is stored twice");
            }
            for row in store.query("SELECT state FROM person", &[]).unwrap() {
                let person: Person = decode(row.blob(0).unwrap()).unwrap();
                let mut events = Events::new();
                for span in &person.spans {
                    let sql = "SELECT at, id FROM event WHERE rec = ? AND at >= ? AND at < ?";
                    let range = [Value::Integer(span.no), Value::Integer(span.from), Value::Integer(span.until)];
                    for row in store.query(sql, &range).unwrap() {
                        events.insert((span.rec, row.integer(0).unwrap(), row.text(1).unwrap().to_owned()));
                    }
                }
                assert_eq!(person.events, events.len() as u64, "the count of events");
                assert!(found.insert(person.founder.prospect_id(), events).is_none(), "a prospect in two places");
            }
        }
        found
    }
}

impl Simulation {
    /// Asks for a prospect as a frontend does: from one partition to the next, until one knows.
    fn look_up(&self, mut target: Target) -> Option<Prospect> {
        for _ in 0..HOPS_MAX {
            let number = usize::from(self.slots.partition_of(target.at));
            match self.partitions[number].as_ref().unwrap().prospect(target, 2_000).unwrap() {
                Looked::Found(prospect) => return Some(prospect),
                Looked::Elsewhere(next) => target = next,
                Looked::Settling => panic!("settling at rest"),
                Looked::Unknown => return None,
            }
        }
        panic!("sent round in circles");
    }

    /// Together, the partitions' lists have everybody once.
    fn compare_lists(&self, world: &World) {
        let list = List {
            sort: Sort::Created,
            descending: true,
            limit: 200,
            as_of: 2_000,
            after: None,
            filter: Filter::default(),
        };
        let mut listed: Vec<String> = Vec::new();
        for partition in self.partitions.iter().flatten() {
            for entry in partition.list(&list).unwrap().unwrap() {
                let prospect: serde_json::Value = serde_json::from_slice(&entry.prospect).unwrap();
                listed.push(prospect["id"].as_str().unwrap().to_owned());
            }
        }
        listed.sort();
        assert_eq!(listed, world.prospects.keys().cloned().collect::<Vec<_>>());
    }

    /// Whoever asks for a prospect by its id or by one of its keys finds it, from wherever they start.
    fn compare_look_ups(&self, world: &World) {
        for (id, prospect) in &world.prospects {
            let found = self.look_up(Target::id(prospect.founder)).expect("a prospect answers to its id");
            assert_eq!((&found.id, found.life_cycle), (id, "active"));
            for key in &prospect.keys {
                let found = self.look_up(Target::key(*key)).expect("a prospect answers to its keys");
                assert_eq!((&found.id, found.events), (id, prospect.events.len() as u64));
                let by_id = self.look_up(Target::id(*key)).expect("a key is an id");
                let merged = (*key != prospect.founder).then(|| id.clone());
                assert_eq!(by_id.merged_into, merged, "an old id says where it has gone");
            }
        }
    }
}

fn expected(world: &World) -> BTreeMap<String, Events> {
    world.prospects.iter().map(|(id, prospect)| (id.clone(), prospect.events.clone())).collect()
}

fn run(seed: u64) {
    let mut random = Random(seed ^ 0x5eed);
    let mut order = inputs(seed);
    let world = naive(&deployment(), &small_policy(), &order);
    let partitions = 1 + u16::try_from(random.below(5)).unwrap();
    random.shuffle(&mut order);
    let mut simulation = Simulation::new(partitions, random);
    for input in &order {
        match input {
            Input::Record(record) => simulation.request(record),
            Input::Decision(decision) => simulation.decide(decision),
        }
        while simulation.random.one_in(2) && simulation.deliver_one() {}
    }
    while simulation.deliver_one() {}
    assert_eq!(simulation.prospects(), expected(&world), "seed {seed}: {partitions} partitions");
    simulation.compare_look_ups(&world);
    simulation.compare_lists(&world);
}

#[test]
fn several_partitions_at_rest_equal_the_naive_function() {
    let seeds = std::env::var("WINGBEAT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let first = std::env::var("WINGBEAT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        run(seed);
    }
}
