//! Erasure while things move and partitions crash, over random inputs, partitions and orders: nothing of the person is
//! left, not even in plain text; nothing comes back by a retry; nobody else loses anything; the receipt is complete.

use super::call::{Answer, Query};
use super::erasure::{Cut, Erasure};
use super::feed_reader::Reader;
use super::message::{Ask, Message};
use super::person::Person;
use super::read::Target;
use super::{Partition, Reply, decode};
use crate::event::{ClaimInput, FactInput, Record, Source};
use crate::identity::generate::{Random, inputs, record, small_policy};
use crate::identity::naive::{Input, World, naive};
use crate::identity::{Decision, Trust};
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::scoring::Model;
use crate::store::native::Native;
use crate::store::{Store, Value};
use std::collections::{BTreeMap, BTreeSet};

const SEEDS: u64 = 300;
/// Before anything dated by [`LATER`], after anything that the generator dates.
const ERASED_AT: i64 = 1_000;
/// How much later what happens after the erasure is dated.
const LATER: i64 = 10_000;

/// After so many deliveries something goes round in circles.
const STEPS_MAX: u32 = 20_000;

/// As a frontend does: after so many hops an event travels by itself.
const HOPS_MAX: u32 = 8;

type Event = (KeyHash, i64, String);

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

fn open(store: Native, number: u16, slots: SlotMap) -> Partition<Native> {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let mut partition = Partition::open(store, (number, slots), deployment(), small_policy(), model, 1).unwrap();
    // As in the simulator: from all in rows to nearly all inline, from an element a message to a cluster.
    partition.star_inline = 2 * usize::from(number);
    partition.bygone_inline = usize::from(number);
    partition.piece_bytes = if number.is_multiple_of(2) { 1 } else { 400 * usize::from(number) };
    partition
}

/// Partitions, and parcels that arrive in any order, some of them twice.
struct Network {
    slots: SlotMap,
    partitions: Vec<Partition<Native>>,
    random: Random,
    now: i64,
    steps: u32,
    /// Somebody who reads the feeds all the while.
    reader: Reader,
}

impl Network {
    fn new(partitions: u16, random: Random) -> Network {
        let slots = SlotMap { partitions };
        let open = |number| open(Native::in_memory().unwrap(), number, slots);
        let (partitions, reader) = ((0..partitions).map(open).collect(), Reader::new(slots, Random(random.0 ^ 0x5EED)));
        Network { slots, partitions, random, now: 100, steps: 0, reader }
    }

    /// Of some partition all that is not in its store is gone.
    fn crash(&mut self) {
        let place = self.random.below(self.slots.partitions.into()) as usize;
        let store = self.partitions.remove(place).into_store();
        self.partitions.insert(place, open(store, u16::try_from(place).unwrap(), self.slots));
    }

    fn at(&mut self, key: KeyHash) -> &mut Partition<Native> {
        let number = self.slots.partition_of(key);
        &mut self.partitions[usize::from(number)]
    }

    fn tell(&mut self, message: Message) {
        let (mut messages, mut hops) = (vec![message], 0);
        while let Some(mut message) = messages.pop() {
            hops += 1;
            if hops > HOPS_MAX {
                message.events_mut().for_each(|event| event.place = None);
            }
            self.steps += 1;
            assert!(self.steps < STEPS_MAX, "no end of it: {message:?}");
            let now = self.now;
            for reply in self.at(message.key).apply(now, vec![message]).unwrap().replies {
                let Reply::Done { onward, .. } = reply else { panic!("{reply:?}") };
                messages.extend(onward);
            }
        }
    }

    fn deliver_one(&mut self) -> bool {
        let mut waiting = Vec::new();
        for (number, partition) in self.partitions.iter().enumerate() {
            waiting.extend(partition.undelivered(1_000).unwrap().into_iter().map(|parcel| (number, parcel)));
        }
        let Some((from, parcel)) = self.random.pick(&waiting).cloned() else { return false };
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "no end of it: {:?}", parcel.messages);
        let now = self.now;
        let replies = self.partitions[usize::from(parcel.to)].apply(now, parcel.messages).unwrap().replies;
        assert!(replies.iter().all(|reply| matches!(reply, Reply::Done { .. })), "{replies:?}");
        if !self.random.one_in(6) {
            self.partitions[from].delivered(parcel.id).unwrap();
        }
        true
    }

    fn input(&mut self, input: &Input) {
        match input {
            Input::Record(record) => {
                let key = deployment().hash(&record.rec);
                self.tell(Message { key, ask: Ask::Take(vec![record.clone()]) });
            }
            Input::Decision(decision) => {
                self.tell(Message { key: KeyHash([0; 16]), ask: Ask::Decide(decision.clone()) });
            }
        }
        while self.random.one_in(2) && self.deliver_one() {}
        if self.random.one_in(8) {
            self.crash();
        }
        self.reader.glance(&self.partitions, self.now, 4).unwrap();
    }

    fn ask(&mut self, mut query: Query) -> Answer {
        for _ in 0..20 {
            let at = query.target_mut().unwrap().at;
            match self.at(at).answer(&query, 2_000).unwrap() {
                Answer::Elsewhere(next) => *query.target_mut().unwrap() = next,
                answer => return answer,
            }
        }
        panic!("sent round in circles");
    }

    /// Orders the erasure of some prospect.
    fn erase_somebody(&mut self) -> Option<Erasure> {
        let mut founders = Vec::new();
        for partition in &self.partitions {
            for row in partition.store().query("SELECT state FROM person", &[]).unwrap() {
                founders.push(decode::<Person>(row.blob(0).unwrap()).unwrap().founder);
            }
        }
        let founder = *self.random.pick(&founders)?;
        let query = Query::Holdings { target: Target::id(founder), decision: String::new() };
        let Answer::Holdings(held) = self.ask(query) else { return None };
        let keys = if held.keys.is_empty() { held.browsers } else { held.keys };
        let keys = keys.iter().map(|ident| deployment().hash(ident)).collect();
        let founder = deployment().hash(&held.founder);
        let cut = Cut { at: ERASED_AT, known: true };
        let erasure = Erasure { founder, cut, keys, completed: None };
        self.tell(Message { key: founder, ask: Ask::Erase(erasure.clone()) });
        Some(erasure)
    }

    /// Every event that is stored anywhere, by the key that recorded it.
    fn events(&self, names: &BTreeMap<KeyHash, Identifier>) -> BTreeSet<Event> {
        let mut numbers = BTreeMap::new();
        let mut events = BTreeSet::new();
        for partition in &self.partitions {
            for row in partition.store().query("SELECT k, no FROM node", &[]).unwrap() {
                let key = KeyHash(row.blob(0).unwrap().try_into().unwrap());
                numbers.insert(row.integer(1).unwrap(), key);
            }
        }
        for partition in &self.partitions {
            for row in partition.store().query("SELECT rec, at, id FROM event", &[]).unwrap() {
                let key = numbers[&row.integer(0).unwrap()];
                assert!(names.contains_key(&key));
                let event = (key, row.integer(1).unwrap(), row.text(2).unwrap().to_owned());
                assert!(events.insert(event), "an event twice");
            }
        }
        events
    }

    fn prospects(&self) -> BTreeMap<String, u64> {
        let rows = |partition: &Partition<Native>| partition.store().query("SELECT state FROM person", &[]).unwrap();
        let people = self.partitions.iter().flat_map(rows).map(|row| decode::<Person>(row.blob(0).unwrap()).unwrap());
        people.map(|person| (person.founder.prospect_id(), person.events)).collect()
    }

    /// Whether a text stands in any row of any table.
    fn mentions(&self, text: &str) -> Option<&'static str> {
        for partition in &self.partitions {
            for table in ["node", "event", "cluster", "bygone", "person", "feed", "outbox", "meta", "dead", "erasure"] {
                for row in partition.store().query(&format!("SELECT * FROM {table}"), &[]).unwrap() {
                    for value in row.0 {
                        let found = match value {
                            Value::Text(value) => value.contains(text),
                            Value::Blob(bytes) => bytes.windows(text.len()).any(|window| window == text.as_bytes()),
                            _ => false,
                        };
                        if found {
                            return Some(table);
                        }
                    }
                }
            }
        }
        None
    }
}

/// The same, a long time later.
fn later(input: &Input) -> Input {
    match input.clone() {
        Input::Record(record) => {
            Input::Record(Record { at: record.at + LATER, id: format!("{}-later", record.id), ..record })
        }
        Input::Decision(decision) => Input::Decision(match decision {
            Decision::Separate { id, at, left, right } => {
                Decision::Separate { id: format!("{id}-later"), at: at + LATER, left, right }
            }
            Decision::Merge { id, at, keep, other, lifts } => {
                Decision::Merge { id: format!("{id}-later"), at: at + LATER, keep, other, lifts }
            }
        }),
    }
}

/// All identifiers that an input names.
fn named(input: &Input) -> Vec<&Identifier> {
    match input {
        Input::Record(record) => {
            let facts = record.facts.iter().map(|fact| &fact.other);
            let claims = record.claims.iter().flat_map(|claim| [&claim.browser, &claim.key]);
            [&record.rec].into_iter().chain(facts).chain(claims).collect()
        }
        Input::Decision(Decision::Separate { left, right, .. }) => left.iter().chain(right).collect(),
        Input::Decision(Decision::Merge { keep, other, lifts, .. }) => {
            [keep, other].into_iter().chain(&lifts.0).chain(&lifts.1).collect()
        }
    }
}

/// What remains of the inputs when all that is dated before the erasure of these keys goes.
fn without(inputs: &[Input], erased: &BTreeSet<KeyHash>) -> Vec<Input> {
    let is_erased = |ident: &Identifier| erased.contains(&deployment().hash(ident));
    let kept = inputs.iter().filter_map(|input| match input {
        Input::Record(record) if record.at <= ERASED_AT && is_erased(&record.rec) => None,
        Input::Record(record) if record.at <= ERASED_AT => {
            let facts = record.facts.iter().filter(|fact| !is_erased(&fact.other)).cloned().collect();
            Some(Input::Record(Record { facts, ..record.clone() }))
        }
        // An explicit fact goes like any other; that the two may be joined stays decided.
        Input::Decision(Decision::Merge { id, at, keep, other, lifts }) if *at <= ERASED_AT => {
            let joins = !is_erased(keep) && !is_erased(other);
            let keep = if joins { keep.clone() } else { other.clone() };
            Some(Input::Decision(Decision::Merge {
                id: id.clone(),
                at: *at,
                keep,
                other: other.clone(),
                lifts: lifts.clone(),
            }))
        }
        other => Some(other.clone()),
    });
    kept.collect()
}

fn counts(world: &World) -> BTreeMap<String, u64> {
    world.prospects.iter().map(|(id, prospect)| (id.clone(), prospect.events.len() as u64)).collect()
}

#[test]
fn an_erased_person_is_gone_and_nobody_else_loses_anything() {
    let (mut erased_events, mut compared, mut survivors) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut random = Random(seed ^ 0xe5a5ed);
        let mut order = inputs(seed);
        random.shuffle(&mut order);
        let cut = random.below(u32::try_from(order.len() + 1).unwrap()) as usize;
        let partitions = 1 + u16::try_from(random.below(4)).unwrap();
        let mut network = Network::new(partitions, random);
        for input in &order[..cut] {
            network.input(input);
        }
        if network.random.one_in(2) {
            while network.deliver_one() {}
        }
        let Some(erasure) = network.erase_somebody() else { continue };
        network.now = ERASED_AT + 1;
        // The rest comes late: dated before the erasure, or after it. And everything is sent once more.
        let mut all = order[..cut].to_vec();
        for input in &order[cut..] {
            let input = if network.random.one_in(2) { later(input) } else { input.clone() };
            network.input(&input);
            all.push(input);
        }
        let mut again = all.clone();
        network.random.shuffle(&mut again);
        for input in &again {
            network.input(input);
        }
        while network.deliver_one() {}

        let context = format!("seed {seed}, {partitions} partitions");
        let erased: BTreeSet<KeyHash> = erasure.keys.iter().copied().collect();
        let names: BTreeMap<KeyHash, Identifier> =
            all.iter().flat_map(named).map(|ident| (deployment().hash(ident), ident.clone())).collect();
        for key in &erased {
            let query = Query::Erased { target: Target::key(*key), since: ERASED_AT };
            assert_eq!(network.ask(query), Answer::Erased(true), "{context}: the receipt");
        }

        network.reader.holds_everybody(&network.partitions, 2_000).unwrap_or_else(|error| panic!("{context}: {error}"));

        // What was recorded under the keys of the person is gone; what was recorded under other persons' is there.
        let stored = network.events(&names);
        let is_late = |input: &&Input| matches!(input, Input::Record(record) if record.at > ERASED_AT);
        let named_later: BTreeSet<KeyHash> = all
            .iter()
            .filter(|input| is_late(input) || matches!(input, Input::Decision(_)))
            .flat_map(named)
            .map(|ident| deployment().hash(ident))
            .collect();
        for input in &all {
            let Input::Record(record) = input else { continue };
            let rec = deployment().hash(&record.rec);
            let event = (rec, record.at, record.id.clone());
            if erased.contains(&rec) && record.at <= ERASED_AT {
                assert!(!stored.contains(&event), "{context}: {event:?} survived");
                erased_events += 1;
            } else if !record.rec.key_type().is_browser() || record.at > ERASED_AT {
                assert!(
                    stored.contains(&event) || small_policy().is_blocked(&record.rec),
                    "{context}: {event:?} is lost"
                );
                survivors += 1;
            }
        }
        // No plain text of an identifier that nobody has named since.
        for key in erased.iter().filter(|key| !named_later.contains(key)) {
            let value = names[key].value();
            assert_eq!(network.mentions(value), None, "{context}: {value} is still there");
            assert_eq!(network.at(*key).known(&[*key]).unwrap(), [], "{context}: {value} is known");
        }
        for key in stored.iter().map(|(rec, ..)| rec).filter(|key| !erased.contains(key)) {
            assert_eq!(network.at(*key).known(&[*key]).unwrap(), [*key], "{context}: {key:?} is somebody's");
        }
        // Where no browser is concerned, the whole is what it would be had the person never been there.
        let browser_is_concerned = all.iter().flat_map(|input| match input {
            Input::Record(record) => record.claims.iter().map(|claim| &claim.key).collect::<Vec<_>>(),
            Input::Decision(_) => named(input).into_iter().filter(|ident| ident.key_type().is_browser()).collect(),
        });
        let browser_is_concerned = browser_is_concerned
            .into_iter()
            .any(|ident| ident.key_type().is_browser() || erased.contains(&deployment().hash(ident)));
        if !browser_is_concerned {
            let world = naive(&deployment(), &small_policy(), &without(&all, &erased));
            assert_eq!(network.prospects(), counts(&world), "{context}");
            compared += 1;
        }
    }
    assert!(erased_events > 300 && compared > 30 && survivors > 1_000, "{erased_events} {compared} {survivors}");
}

fn identifier(key_type: KeyType, value: &str) -> Identifier {
    Identifier::new(key_type, "", value).unwrap()
}

fn happened(rec: &Identifier, at: i64, id: &str) -> Record {
    Record { at, id: id.to_owned(), ..record(rec, at, id.to_owned()) }
}

/// Braze's word of a deletion comes up to half an hour after it: what happened in between stays, and stays whose it is.
#[test]
fn a_request_to_delete_that_comes_late_leaves_what_happened_since_with_its_keys() {
    const REQUESTED: i64 = 500;
    let (profile, address) =
        (identifier(KeyType::BrazeId, "5f5f00000000000000000001"), identifier(KeyType::Email, "ada@example.com"));
    let (other, browser) = (identifier(KeyType::ExternalId, "A-1"), identifier(KeyType::Visitor, "visitor-1"));
    let fact = |other: &Identifier| FactInput { other: other.clone(), explicit: false };
    let claim = ClaimInput {
        browser: browser.clone(),
        key: address.clone(),
        trust: Trust::Medium,
        page: "p1".to_owned(),
        human: true,
        source: Source::Tracker,
    };
    let click = Record { facts: vec![fact(&address), fact(&other)], ..happened(&profile, 100, "click") };
    let form = Record { claims: vec![claim.clone()], ..happened(&browser, 900, "form") };
    let push = happened(&profile, 950, "push");
    // What a page before the request claimed goes, and leaves what one after it does.
    let before =
        Record { claims: vec![ClaimInput { page: "p0".to_owned(), ..claim }], ..happened(&browser, 90, "old") };
    let shown = |network: &mut Network, key: &Identifier| {
        let Answer::Document(bytes) = network.ask(Query::Prospect(Target::key(deployment().hash(key)))) else {
            return None;
        };
        let prospect: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        Some((prospect["identifiers"].to_string(), prospect["events"].clone()))
    };
    for seed in 0..200 {
        let mut random = Random(seed);
        let partitions = 1 + u16::try_from(random.below(4)).unwrap();
        let mut network = Network::new(partitions, random);
        let (late, had) = (network.random.one_in(2), network.random.one_in(2));
        if had {
            network.input(&Input::Record(before.clone()));
        }
        network.input(&Input::Record(click.clone()));
        let since = [Input::Record(form.clone()), Input::Record(push.clone())];
        network.now = 960;
        if late {
            since.iter().for_each(|input| network.input(input));
        }
        // The request finds who it is about by then.
        while network.deliver_one() {}
        let target = Target::key(deployment().hash(&profile));
        let query = Query::Holdings { target, decision: String::new() };
        let Answer::Holdings(held) = network.ask(query) else { panic!("seed {seed}: nobody") };
        let keys = held.keys.iter().map(|ident| deployment().hash(ident)).collect();
        let founder = deployment().hash(&held.founder);
        let erasure = Erasure { founder, cut: Cut { at: REQUESTED, known: false }, keys, completed: None };
        network.tell(Message { key: founder, ask: Ask::Erase(erasure) });
        if !late {
            since.iter().for_each(|input| network.input(input));
        }
        while network.deliver_one() {}
        let context = format!("seed {seed}, {partitions} partitions, late {late}, had {had}");
        let (keys, events) = shown(&mut network, &address).unwrap_or_else(|| panic!("{context}: nobody"));
        assert!(keys.contains("ada@example.com") && keys.contains("visitor-1"), "{context}: {keys}");
        assert_eq!(events, 1, "{context}");
        let (keys, events) = shown(&mut network, &profile).unwrap_or_else(|| panic!("{context}: no profile"));
        assert!(keys.contains(profile.value()) && !keys.contains("ada@"), "{context}: {keys}");
        assert_eq!(events, 1, "{context}");
        assert_eq!(shown(&mut network, &other), None, "{context}");
        assert_eq!(network.mentions("A-1"), None, "{context}");
    }
}
