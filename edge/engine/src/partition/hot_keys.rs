//! One key that thousands share: the same people as by the naive function, the first in rank admitted whatever the order
//! of arrival, rows that stay small, and work per message that does not grow.
//!
//! `WINGBEAT_HOT=100000 cargo test -p wingbeat-engine hot_keys -- --nocapture` says what it costs with so many.

use super::message::{Ask, Message};
use super::person::Person;
use super::read::Target;
use super::{Partition, Reply, decode};
use crate::event::{ClaimInput, FactInput, Record, Source};
use crate::identity::Trust;
use crate::identity::generate::{Random, record};
use crate::identity::naive::{Input, naive};
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::scoring::Model;
use crate::store::Store;
use crate::store::native::Native;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"wingbeat test deployment key 32b")
}

fn partition(policy: Policy) -> Partition<Native> {
    let (store, model) = (Native::in_memory().unwrap(), Model::parse(Model::SHIPPED).unwrap());
    Partition::open(store, (0, SlotMap { partitions: 1 }), deployment(), policy, model, 1).unwrap()
}

fn email() -> Identifier {
    Identifier::new(KeyType::Email, "", "info@example.com").unwrap()
}

fn browser(n: i64) -> Identifier {
    Identifier::new(KeyType::Visitor, "", &format!("visitor-{n}")).unwrap()
}

/// A form in one browser.
fn claim(n: i64, at: i64, key: Identifier) -> Record {
    let mut form = record(&browser(n), at, format!("form-{n}-{at}"));
    let (trust, source, page) = (Trust::Medium, Source::Form, format!("page-{n}-{at}"));
    form.claims = vec![ClaimInput { browser: browser(n), key, trust, source, page, human: true }];
    form
}

/// An event of Braze that names a profile and the shared address.
fn profile(n: i64, at: i64) -> Record {
    let braze_id = Identifier::new(KeyType::BrazeId, "", &format!("profile-{n}")).unwrap();
    let mut opened = record(&braze_id, at, format!("open-{n}"));
    opened.facts = vec![FactInput { other: email(), explicit: false }];
    opened
}

fn take(partition: &mut Partition<Native>, record: &Record) {
    let message = Message { key: deployment().hash(&record.rec), ask: Ask::Take(vec![record.clone()]) };
    let replies = partition.apply(1_000_000, vec![message]).unwrap().replies;
    assert!(matches!(replies.as_slice(), [Reply::Done { .. }]), "{replies:?}");
}

/// How many events each prospect has, by founder.
fn people(partition: &Partition<Native>) -> BTreeMap<KeyHash, u64> {
    let rows = partition.store().query("SELECT state FROM person", &[]).unwrap();
    let persons = rows.iter().map(|row| decode::<Person>(row.blob(0).unwrap()).unwrap());
    persons.map(|person| (person.founder, person.events)).collect()
}

fn refused(partition: &Partition<Native>) -> (u64, u64) {
    let target = Target::key(deployment().hash(&email()));
    let limits = partition.identity(target).unwrap().found().unwrap().identity().limits;
    limits.first().map_or((0, 0), |limit| (limit.facts_refused, limit.browsers_refused))
}

fn largest_row(partition: &Partition<Native>, table: &str) -> i64 {
    let sql = format!("SELECT max(length(body)) FROM {table}");
    partition.store().query(&sql, &[]).unwrap()[0].integer(0).unwrap()
}

fn shuffled(records: &[Record]) -> Vec<Record> {
    let mut shuffled = records.to_vec();
    Random(7).shuffle(&mut shuffled);
    shuffled
}

/// The newest first: each is the best in rank when it comes, and displaces another.
fn backwards(records: &[Record]) -> Vec<Record> {
    records.iter().rev().cloned().collect()
}

#[test]
fn people_around_a_shared_key_are_those_of_the_naive_function() {
    let policy = Policy { claims: 2, ..Policy::default() };
    let mut random = Random(3);
    let mut records: Vec<Record> = Vec::new();
    for n in 0..110 {
        // Few times, so that there are ties.
        let at = i64::from(random.below(40));
        records.push(claim(n, at, email()));
        records.push(profile(n, at + 5));
        // Some say later who they are: the claim on the shared address is displaced.
        if random.one_in(5) {
            let own = Identifier::new(KeyType::Email, "", &format!("own-{n}@example.com")).unwrap();
            records.extend([claim(n, at + 50, own.clone()), claim(n, at + 60, own)]);
        }
    }
    let set: Vec<Input> = records.iter().cloned().map(Input::Record).collect();
    let world = naive(&deployment(), &policy, &set);
    let expected: BTreeMap<KeyHash, u64> =
        world.prospects.values().map(|prospect| (prospect.founder, prospect.events.len() as u64)).collect();
    for order in [records.clone(), backwards(&records), shuffled(&records)] {
        let mut partition = partition(policy.clone());
        order.iter().for_each(|record| take(&mut partition, record));
        assert_eq!(people(&partition), expected);
    }
}

/// A stand's tablet, on which everybody gives their address: whoever comes is news to the one before and to nobody else.
/// (The whole table went to all of them, and from each to all again: 120 addresses took a partition a minute.)
#[test]
fn whoever_comes_to_a_tablet_that_hundreds_have_used_is_news_to_the_one_before_only() {
    let mut partition = partition(Policy::default());
    let address = |n: i64| Identifier::new(KeyType::Email, "", &format!("guest-{n}@example.com")).unwrap();
    let rev = |partition: &Partition<Native>, n| {
        let target = Target::key(deployment().hash(&address(n)));
        partition.prospect(target, 0).unwrap().found().unwrap().rev
    };
    let mut records = Vec::new();
    for n in 0..200 {
        let mut form = claim(0, 1_000 + n, address(n));
        form.claims[0].page = format!("page-{n}");
        take(&mut partition, &form);
        records.push(form);
    }
    let revs: Vec<u64> = (0..200).map(|n| rev(&partition, n)).collect();
    assert!(revs.iter().all(|rev| *rev <= 3), "{revs:?}");
    let inputs: Vec<Input> = records.into_iter().map(Input::Record).collect();
    let world = naive(&deployment(), &Policy::default(), &inputs);
    let expected: BTreeMap<KeyHash, u64> =
        world.prospects.values().map(|prospect| (prospect.founder, prospect.events.len() as u64)).collect();
    assert_eq!(people(&partition), expected);
}

/// How many share the key, and whether figures are wanted.
fn crowd() -> (i64, bool) {
    let asked = std::env::var("WINGBEAT_HOT").ok().and_then(|count| count.parse().ok());
    (asked.unwrap_or(3_000), asked.is_some())
}

/// Takes records one by one; says what the last ones of every power of ten took.
// The clock decides nothing.
#[allow(clippy::disallowed_methods)]
fn take_all(partition: &mut Partition<Native>, records: &[Record], what: &str) {
    let (_, figures) = crowd();
    let (mut times, mut done): (Vec<Duration>, usize) = (Vec::new(), 0);
    for record in records {
        let start = Instant::now();
        take(partition, record);
        times.push(start.elapsed());
        done += 1;
        if figures && [100, 1_000, 10_000, 100_000].contains(&done) {
            let mut last = times.split_off(times.len() - 100);
            last.sort_unstable();
            let rows = ["node", "cluster", "star"].map(|table| largest_row(partition, table));
            println!(
                "{what}, {done}: median {:?}, slowest {:?} of the last 100; rows {rows:?} bytes",
                last[50], last[99]
            );
        }
    }
}

#[test]
fn thousands_of_browsers_that_claim_one_address_leave_small_rows_and_the_first_are_admitted() {
    let (n, _) = crowd();
    let records: Vec<Record> = (0..n).map(|n| claim(n, 1_000 + n, email())).collect();
    for (order, how) in [(shuffled(&records), "shuffled"), (backwards(&records), "backwards in time")] {
        browsers_that_claim_one_address(n, &order, how);
    }
}

fn browsers_that_claim_one_address(n: i64, order: &[Record], how: &str) {
    let mut expected: BTreeMap<KeyHash, u64> = (64..n).map(|n| (deployment().hash(&browser(n)), 1)).collect();
    expected.insert(deployment().hash(&email()), 64);
    let mut partition = partition(Policy { claims: 1, ..Policy::default() });
    take_all(&mut partition, order, &format!("browsers, {how}"));
    assert_eq!(people(&partition), expected);
    assert_eq!(refused(&partition), (0, n.unsigned_abs() - 64));
    for table in ["node", "cluster", "star"] {
        assert!(largest_row(&partition, table) < 200_000, "{table}: {}", largest_row(&partition, table));
    }

    // One of the admitted says later who it is; the next in rank has its place.
    let own = Identifier::new(KeyType::Email, "", "own@example.com").unwrap();
    take(&mut partition, &claim(10, 2_000_000, own));
    let next = partition.prospect(Target::key(deployment().hash(&browser(64))), 0).unwrap().found().unwrap();
    assert_eq!(next.id, deployment().hash(&email()).prospect_id());
    let parked = partition.prospect(Target::key(deployment().hash(&browser(65))), 0).unwrap().found().unwrap();
    assert_eq!(parked.id, deployment().hash(&browser(65)).prospect_id());
    assert_eq!(refused(&partition), (0, n.unsigned_abs() - 65));
}

#[test]
fn thousands_of_profiles_with_one_address_leave_small_rows_and_the_first_join() {
    let (n, figures) = crowd();
    let records = |n| (0..n).map(|n| profile(n, 1_000 + n)).collect::<Vec<Record>>();
    profiles_with_one_address(n, &shuffled(&records(n)), "shuffled", 200_000);
    // Each of these joins and is displaced by the next, so that all are one cluster, which has 10,000 keys at most: a
    // message costs in proportion to that.
    let n = n.min(if figures { 9_000 } else { 600 });
    profiles_with_one_address(n, &backwards(&records(n)), "backwards in time", 1_000_000);
}

fn profiles_with_one_address(n: i64, order: &[Record], how: &str, bytes_max: i64) {
    let hash = |n| deployment().hash(&profile(n, 0).rec);
    let mut expected: BTreeMap<KeyHash, u64> = (32..n).map(|n| (hash(n), 1)).collect();
    expected.insert(hash(0), 32);
    let mut partition = partition(Policy::default());
    take_all(&mut partition, order, &format!("profiles, {how}"));
    assert_eq!(people(&partition), expected);
    assert_eq!(refused(&partition), (n.unsigned_abs() - 32, 0));
    for table in ["node", "cluster", "star"] {
        assert!(largest_row(&partition, table) <= bytes_max, "{table}: {}", largest_row(&partition, table));
    }
}
