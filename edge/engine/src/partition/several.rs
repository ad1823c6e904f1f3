//! Several partitions in a calm network: hints on the way to a root, and the brake on clusters that grow too large.

use super::message::{Ask, Element, Message};
use super::person::Person;
use super::read::{Looked, Target};
use super::{Partition, RefusedUnion, Reply, decode};
use crate::event::{FactInput, Record};
use crate::identity::generate::{Random, inputs, record, small_policy};
use crate::identity::naive::{Input, naive};
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::scoring::Model;
use crate::store::Store;
use crate::store::native::Native;
use std::collections::{BTreeMap, BTreeSet};

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

pub(super) fn hash(identifier: &Identifier) -> KeyHash {
    deployment().hash(identifier)
}

/// Partitions, and between them a frontend's calls and parcels that all arrive.
pub(super) struct Several {
    slots: SlotMap,
    pub(super) partitions: Vec<Partition<Native>>,
    refused: Vec<RefusedUnion>,
    gives_hints: bool,
}

impl Several {
    pub(super) fn new(partitions: u16, policy: &Policy) -> Several {
        let slots = SlotMap { partitions };
        let open = |number| {
            let model = Model::parse(Model::SHIPPED).unwrap();
            let store = Native::in_memory().unwrap();
            Partition::open(store, (number, slots), deployment(), policy.clone(), model, 1).unwrap()
        };
        Several { slots, partitions: (0..partitions).map(open).collect(), refused: Vec::new(), gives_hints: true }
    }

    pub(super) fn apply(&mut self, message: Message) -> Reply {
        let partition = &mut self.partitions[usize::from(self.slots.partition_of(message.key))];
        let applied = partition.apply(1_000, vec![message]).unwrap();
        self.refused.extend(applied.refused);
        applied.replies.into_iter().next().unwrap()
    }

    /// Stores a record as a frontend does. Answers how many calls its event took to arrive.
    pub(super) fn take(&mut self, record: &Record) -> usize {
        let first = hash(&record.rec);
        let mut message = Message { key: first, ask: Ask::Take(vec![record.clone()]) };
        for calls in 1..100 {
            let Reply::Done { outcomes, mut onward } = self.apply(message) else { panic!("it failed") };
            if !outcomes.is_empty() {
                return calls;
            }
            message = onward.pop().unwrap();
            if self.gives_hints && calls >= 2 && message.key < first && !record.rec.key_type().is_browser() {
                self.apply(Message { key: first, ask: Ask::Hint(message.key) });
            }
            // Somebody on the way between two partitions arrives meanwhile.
            self.deliver(&mut Random(1));
        }
        panic!("sent round in circles");
    }

    /// Delivers every parcel, in some order.
    pub(super) fn deliver(&mut self, random: &mut Random) {
        loop {
            let waiting: Vec<_> = (0..self.partitions.len())
                .flat_map(|from| {
                    self.partitions[from].undelivered(1_000).unwrap().into_iter().map(move |parcel| (from, parcel))
                })
                .collect();
            let Some((from, parcel)) = random.pick(&waiting).cloned() else { return };
            for message in parcel.messages {
                assert!(matches!(self.apply(message), Reply::Done { .. }));
            }
            self.partitions[from].delivered(parcel.id).unwrap();
        }
    }

    fn pointer(&self, key: KeyHash) -> Option<KeyHash> {
        let partition = &self.partitions[usize::from(self.slots.partition_of(key))];
        partition.load_node(key).unwrap().and_then(|(node, _)| node.up)
    }

    fn prospects(&self) -> BTreeMap<String, u64> {
        let rows = self
            .partitions
            .iter()
            .flat_map(|partition| partition.store().query("SELECT state FROM person", &[]).unwrap());
        let people = rows.map(|row| decode::<Person>(row.blob(0).unwrap()).unwrap());
        people.map(|person| (person.founder.prospect_id(), person.events)).collect()
    }

    /// The events of a key's prospect, and how many keys its cluster has.
    fn find(&self, key: KeyHash) -> (u64, usize) {
        let mut root = key;
        while let Some(up) = self.pointer(root) {
            root = up;
        }
        let partition = &self.partitions[usize::from(self.slots.partition_of(root))];
        let keys = partition.load_cluster(root).unwrap().unwrap().0.keys.len();
        let mut target = Target::key(key);
        loop {
            let partition = &self.partitions[usize::from(self.slots.partition_of(target.at))];
            match partition.prospect(target, 2_000).unwrap() {
                Looked::Found(prospect) => return (prospect.events, keys),
                Looked::Elsewhere(next) => target = next,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn says(rec: &Identifier, others: &[&Identifier], n: usize) -> Record {
    let facts = others.iter().map(|other| FactInput { other: (*other).clone(), explicit: false }).collect();
    Record { facts, ..record(rec, i64::try_from(n).unwrap(), format!("r{n}")) }
}

/// A braze_id, an external_id and an e-mail at three partitions of four, each larger than the next.
pub(super) fn descending() -> [Identifier; 3] {
    let slots = SlotMap { partitions: 4 };
    let at = |key_type: KeyType, place: u16, value: &dyn Fn(u32) -> String| {
        let all = (0..1_000).filter_map(|n| Identifier::new(key_type, "", &value(n)));
        all.into_iter().find(|identifier| slots.partition_of(hash(identifier)) == place).unwrap()
    };
    [
        at(KeyType::BrazeId, 3, &|n| format!("b{n}")),
        at(KeyType::ExternalId, 1, &|n| format!("x{n}")),
        at(KeyType::Email, 0, &|n| format!("e{n}@example.com")),
    ]
}

/// The three keys become one cluster in two steps, so that the largest points at the middle one.
fn chain(several: &mut Several) -> [Identifier; 3] {
    let [braze_id, external_id, email] = descending();
    several.take(&says(&braze_id, &[&external_id], 0));
    several.deliver(&mut Random(1));
    several.take(&says(&external_id, &[&email], 1));
    several.deliver(&mut Random(1));
    assert_eq!(several.pointer(hash(&braze_id)), Some(hash(&external_id)));
    assert_eq!(several.pointer(hash(&external_id)), Some(hash(&email)));
    [braze_id, external_id, email]
}

#[test]
fn after_a_chase_the_next_event_needs_one_hop() {
    let calls = |gives_hints: bool| {
        let mut several = Several::new(4, &Policy::default());
        several.gives_hints = gives_hints;
        let [braze_id, ..] = chain(&mut several);
        let calls: Vec<usize> = (2..6).map(|n| several.take(&says(&braze_id, &[], n))).collect();
        assert_eq!(several.find(hash(&braze_id)), (6, 3));
        calls
    };
    assert_eq!(calls(false), [3, 3, 3, 3]);
    assert_eq!(calls(true), [3, 2, 2, 2]);
}

#[test]
fn a_hint_never_makes_a_pointer_and_never_raises_one() {
    let mut several = Several::new(4, &Policy::default());
    let [braze_id, external_id, email] = chain(&mut several);
    let hint = |several: &mut Several, key: &Identifier, ahead: &Identifier| {
        several.apply(Message { key: hash(key), ask: Ask::Hint(hash(ahead)) });
        several.pointer(hash(key))
    };
    let stranger = Identifier::new(KeyType::Email, "", "stranger@example.com").unwrap();
    assert_eq!(hint(&mut several, &stranger, &email), None, "of a key that nobody knows");
    assert_eq!(hint(&mut several, &email, &stranger), None, "of a root");
    assert_eq!(hint(&mut several, &braze_id, &email), Some(hash(&email)));
    assert_eq!(hint(&mut several, &braze_id, &external_id), Some(hash(&email)), "it is old");
}

#[test]
fn with_hints_everybody_is_who_they_are_by_the_naive_function() {
    let mut hinted = 0;
    for seed in 0..300 {
        let mut random = Random(seed ^ 0xa1);
        let mut records: Vec<Record> = inputs(seed)
            .into_iter()
            .filter_map(|input| if let Input::Record(record) = input { Some(record) } else { None })
            .collect();
        let set: Vec<Input> = records.iter().cloned().map(Input::Record).collect();
        random.shuffle(&mut records);
        let mut several = Several::new(5, &small_policy());
        for record in &records {
            hinted += usize::from(several.take(record) > 2);
            if random.one_in(3) {
                several.deliver(&mut random);
            }
        }
        several.deliver(&mut random);
        let expected: BTreeMap<String, u64> = naive(&deployment(), &small_policy(), &set)
            .prospects
            .into_iter()
            .map(|(id, prospect)| (id, prospect.events.len() as u64))
            .collect();
        assert_eq!(several.prospects(), expected, "seed {seed}");
    }
    assert!(hinted > 20, "there are long ways: {hinted}");
}

#[test]
fn a_cluster_that_would_be_too_large_stays_apart_and_nothing_is_lost() {
    const KEYS: usize = 12;
    let people: Vec<Identifier> =
        (0..KEYS).map(|n| Identifier::new(KeyType::Email, "", &format!("k{n}@example.com")).unwrap()).collect();
    let run = |cluster_keys: u32| {
        let mut several = Several::new(4, &Policy { cluster_keys, ..Policy::default() });
        for n in 0..KEYS - 1 {
            several.take(&says(&people[n], &[&people[n + 1]], n));
            several.deliver(&mut Random(1));
        }
        several.take(&says(&people[KEYS - 1], &[], KEYS));
        several.deliver(&mut Random(1));
        several
    };

    let whole = run(12);
    assert_eq!(whole.refused, []);
    assert!(people.iter().all(|key| whole.find(hash(key)).1 == KEYS));

    let parted = run(5);
    let mut over_limit = BTreeSet::new();
    for partition in &parted.partitions {
        over_limit.extend(partition.clusters_over_limit().unwrap());
    }
    assert!(!over_limit.is_empty(), "health tells of it");
    assert_eq!(over_limit, parted.refused.iter().map(|refused| refused.largest).collect());
    assert!(parted.refused.iter().all(|refused| refused.keys > 5 && refused.into < refused.from));
    assert!(people.iter().all(|key| parted.find(hash(key)).1 <= 5));
    // Every event is with somebody, once.
    assert_eq!(parted.prospects().values().sum::<u64>(), KEYS as u64);
    assert!(parted.partitions.iter().all(|partition| partition.undelivered(1).unwrap().is_empty()));
    // What has its place goes on as before.
    let mut parted = parted;
    for (n, key) in people.iter().enumerate() {
        let (before, _) = parted.find(hash(key));
        parted.take(&says(key, &[], 100 + n));
        parted.deliver(&mut Random(1));
        assert_eq!(parted.find(hash(key)).0, before + 1);
    }
}

#[test]
fn a_cluster_of_megabytes_moves_in_parts_and_shows_nobody_until_all_are_there() {
    let mut several = Several::new(2, &Policy::default());
    let profile = |n: u32| Identifier::new(KeyType::BrazeId, "", &format!("profile-{n}")).unwrap();
    let of = |partition| (0..).map(profile).find(|one| several.slots.partition_of(hash(one)) == partition).unwrap();
    let (stays, goes) = (of(0), of(1));
    for one in [&stays, &goes] {
        several.take(&record(one, 10, "e1".to_owned()));
    }
    let many = (0..100_000_u128).map(|n| Element::FirstEvent(KeyHash(n.to_be_bytes()), 1_767_225_600_000));
    several.apply(Message { key: hash(&goes), ask: Ask::Put(many.collect()) });
    several.apply(Message { key: hash(&goes), ask: Ask::Union(hash(&stays), 1) });

    let parcels = several.partitions[1].undelivered(1_000).unwrap();
    assert!(parcels.len() > 2, "{}", parcels.len());
    let rows = several.partitions[1].store().query("SELECT max(length(body)) FROM outbox", &[]).unwrap();
    assert!(rows[0].integer(0).unwrap() < 1_500_000, "a row has 2 MB at most");
    // The last comes first, and the others after it.
    for (count, parcel) in parcels.into_iter().rev().enumerate() {
        if count > 0 {
            for key in [&stays, &goes].map(hash) {
                let owner = usize::from(several.slots.partition_of(key));
                let mut looked = several.partitions[owner].prospect(Target::key(key), 1_000).unwrap();
                if let Looked::Elsewhere(next) = looked {
                    looked = several.partitions[0].prospect(next, 1_000).unwrap();
                }
                assert!(matches!(looked, Looked::Settling), "{looked:?}");
            }
        }
        for message in parcel.messages {
            assert!(matches!(several.apply(message), Reply::Done { .. }));
        }
        several.partitions[1].delivered(parcel.id).unwrap();
    }
    // The event came ahead of its cluster, and was sent round.
    several.deliver(&mut Random(1));
    let expected = [&stays, &goes].map(|one| (hash(one).prospect_id(), 1));
    assert_eq!(several.prospects(), BTreeMap::from(expected));
    let cluster = several.partitions[0].load_cluster(hash(&stays)).unwrap().unwrap().0;
    assert_eq!(cluster.first_events.len(), 100_002);
}
