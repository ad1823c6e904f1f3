//! Tests of what is counted of Currents, and of records that could not be read.

use super::dead::LetterId;
use super::intake::{Batch, Counts, HOUR_MS, Hour, Question, UNREADABLE};
use super::message::{Ask, DeadLetter, Message};
use super::{Partition, Reply};
use crate::event::{Record, Source};
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, KeyHash, SlotMap};
use crate::scoring::Model;
use crate::sources::currents::parse;
use crate::store::Store;
use crate::store::native::Native;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

const NOW: i64 = 1_767_225_600_000;
const HOUR: i64 = NOW / HOUR_MS;
const OPEN: &str = "users.messages.email.Open";
const PUSH: &str = "users.messages.pushnotification.Open";

fn deployment() -> DeploymentKey {
    DeploymentKey::new(b"test")
}

fn partition() -> Partition<Native> {
    let model = Model::parse(Model::SHIPPED).unwrap();
    let slots = SlotMap { partitions: 1 };
    Partition::open(Native::in_memory().unwrap(), (0, slots), deployment(), Policy::default(), model, 1).unwrap()
}

fn event(event_type: &str, id: &str, person: u32, properties: &Value) -> Value {
    let user = json!({ "user_id": format!("{person:024x}") });
    json!({ "event_type": event_type, "id": id, "time": NOW / 1000, "user": user, "properties": properties })
}

fn records(events: &[Value]) -> Vec<Record> {
    parse(json!({ "events": events }).to_string().as_bytes(), "", &BTreeMap::new()).unwrap().records
}

fn take(partition: &mut Partition<Native>, now: i64, records: &[Record]) {
    let message =
        |record: &Record| Message { key: deployment().hash(&record.rec), ask: Ask::Take(vec![record.clone()]) };
    apply(partition, now, records.iter().map(message).collect());
}

fn apply(partition: &mut Partition<Native>, now: i64, messages: Vec<Message>) {
    let replies = partition.apply(now, messages).unwrap().replies;
    assert!(
        replies.iter().all(|reply| matches!(reply, Reply::Done { onward, .. } if onward.is_empty())),
        "{replies:?}"
    );
}

fn letter(raw: &str, event_type: Option<&str>) -> Message {
    let letter = DeadLetter {
        source: Source::Currents,
        reason: "invalid_time".to_owned(),
        detail: String::new(),
        raw: raw.to_owned(),
        event_type: event_type.map(str::to_owned),
        workspace: String::new(),
    };
    let key = KeyHash::from_mac(&deployment().mac(raw.as_bytes()));
    Message { key, ask: Ask::Bury(vec![letter]) }
}

fn all(partition: &Partition<Native>) -> Vec<Hour> {
    partition.intake(&Question { limit: 200, ..Question::default() }).unwrap()
}

fn counts(received: u64, duplicate: u64, rejected: u64, no_email: u64, bot: u64) -> Counts {
    Counts { received, duplicate, rejected, no_email, bot }
}

fn hour(hour: i64, event_type: &str, counts: Counts) -> Hour {
    Hour { hour, event_type: event_type.to_owned(), counts }
}

#[test]
fn what_comes_in_is_counted_by_type_and_hour_of_receipt() {
    let mut partition = partition();
    let mail = json!({ "email_address": "ada@example.com" });
    let first = records(&[
        event(OPEN, "1", 1, &mail),
        event(OPEN, "2", 1, &json!({ "machine_open": "true" })),
        event(PUSH, "3", 1, &json!({})),
        event(PUSH, "4", 2, &json!({})),
        event("users <script>", "5", 2, &json!({})),
    ]);
    take(&mut partition, NOW, &first);
    // Ada's address is known from her own event on; of the other nobody knows any.
    let expected = [
        hour(HOUR, UNREADABLE, counts(1, 0, 0, 1, 0)),
        hour(HOUR, OPEN, counts(2, 0, 0, 0, 1)),
        hour(HOUR, PUSH, counts(2, 0, 0, 1, 0)),
    ];
    assert_eq!(all(&partition), expected);

    // An hour later all of it comes again, and something that can't be read, twice.
    take(&mut partition, NOW + HOUR_MS, &first);
    apply(&mut partition, NOW + HOUR_MS, vec![letter("1", Some(OPEN)), letter("1", Some(OPEN)), letter("2", None)]);
    let later = [
        hour(HOUR + 1, UNREADABLE, counts(2, 1, 1, 0, 0)),
        hour(HOUR + 1, OPEN, counts(4, 3, 1, 0, 0)),
        hour(HOUR + 1, PUSH, counts(2, 2, 0, 0, 0)),
    ];
    assert_eq!(all(&partition), [later.as_slice(), &expected].concat());

    let ask = |question: Question| partition.intake(&Question { limit: 2, ..question }).unwrap();
    assert_eq!(ask(Question::default()), later[..2]);
    let behind = Some((HOUR + 1, OPEN.to_owned()));
    assert_eq!(ask(Question { behind, ..Question::default() }), [later[2].clone(), expected[0].clone()]);
    let only = Question { event_type: Some(PUSH.to_owned()), ..Question::default() };
    assert_eq!(ask(only), [later[2].clone(), expected[2].clone()]);
    assert_eq!(ask(Question { since: Some(HOUR + 1), until: Some(HOUR), ..Question::default() }), []);
    assert_eq!(ask(Question { until: Some(HOUR), ..Question::default() }), expected[..2]);

    // Ninety days later the old hours go.
    take(&mut partition, NOW + 91 * 24 * HOUR_MS, &first[..1]);
    assert_eq!(all(&partition), [hour(HOUR + 91 * 24, OPEN, counts(1, 1, 0, 0, 0))]);
}

#[test]
fn a_commit_writes_one_row_for_a_type_and_nothing_for_what_failed() {
    let mut partition = partition();
    let events: Vec<Value> = (1..=50).map(|n| event(OPEN, &n.to_string(), n, &json!({}))).collect();
    take(&mut partition, NOW, &records(&events));
    partition.store().exec("CREATE TABLE written (type TEXT)", &[]).unwrap();
    let trigger = "CREATE TRIGGER counted AFTER UPDATE ON intake BEGIN INSERT INTO written VALUES (new.type); END";
    partition.store().exec(trigger, &[]).unwrap();
    take(&mut partition, NOW, &records(&events));
    assert_eq!(partition.store().query("SELECT type FROM written", &[]).unwrap().len(), 1);
    assert_eq!(all(&partition), [hour(HOUR, OPEN, counts(100, 50, 0, 50, 0))]);

    // A message that is undone has not come in.
    let record = &records(&events)[0];
    let wrong = Message { key: KeyHash([7; 16]), ask: Ask::Take(vec![record.clone()]) };
    let replies = partition.apply(NOW, vec![wrong]).unwrap().replies;
    assert!(matches!(replies[0], Reply::Failed(_)));
    assert_eq!(all(&partition)[0].counts.received, 100);
}

#[test]
fn letters_are_paged_cut_in_lists_and_taken_away() {
    let mut partition = partition();
    let long = "é".repeat(40_000);
    for (place, raw) in ["a", "b", "c", long.as_str()].into_iter().enumerate() {
        // The middle two come at one time.
        let at = NOW + [0, 5, 5, 9][place];
        apply(&mut partition, at, vec![letter(raw, None)]);
        apply(&mut partition, at + 100, vec![letter(raw, None)]);
    }
    let mut seen = Vec::new();
    let mut behind = None;
    loop {
        let page = partition.dead_letters(behind.as_ref(), 1).unwrap();
        let Some(last) = page.last() else { break };
        behind = Some(last.position());
        seen.extend(page);
    }
    assert_eq!(seen.iter().map(|kept| kept.at).collect::<Vec<_>>(), [NOW + 9, NOW + 5, NOW + 5, NOW]);
    assert!(seen[0].cut && seen[0].letter.raw.len() <= 64 * 1024 && long.starts_with(&seen[0].letter.raw));
    assert_eq!(partition.dead_letters(None, 10).unwrap(), seen);
    let whole = partition.dead_letter(&seen[0].id).unwrap().unwrap();
    assert_eq!((whole.letter.raw == long, whole.cut), (true, false));
    assert_eq!(LetterId::parse(&whole.id.show()), Some(whole.id));
    assert_eq!(LetterId::parse("00"), None);

    apply(&mut partition, NOW, vec![Message { key: whole.id.key(), ask: Ask::Exhume(whole.id) }]);
    assert_eq!(partition.dead_letter(&whole.id).unwrap(), None);
    assert_eq!(partition.dead_letters(None, 10).unwrap(), seen[1..]);
}

#[test]
fn the_last_batch_of_each_workspace_is_known() {
    let mut partition = partition();
    let batch = |workspace: &str, at| Batch {
        workspace: workspace.to_owned(),
        at,
        accepted: 3,
        duplicates: 2,
        dead_lettered: 1,
    };
    let note = |batch: Batch| Message { key: KeyHash([0; 16]), ask: Ask::NoteBatch(batch) };
    assert_eq!(partition.last_batches().unwrap(), []);
    for (workspace, at) in [("", 1), ("brand-b", 2), ("", 3)] {
        apply(&mut partition, NOW, vec![note(batch(workspace, at))]);
    }
    assert_eq!(partition.last_batches().unwrap(), [batch("", 3), batch("brand-b", 2)]);
}

#[test]
fn whoever_moves_with_much_behind_them_moves_in_rows_that_a_store_can_hold() {
    // A Durable Object's store refuses what has more than 2 MB; this one says so by a trigger.
    let slots = SlotMap { partitions: 2 };
    let open = |number| {
        let (model, store) = (Model::parse(Model::SHIPPED).unwrap(), Native::in_memory().unwrap());
        let partition = Partition::open(store, (number, slots), deployment(), Policy::default(), model, 1).unwrap();
        let refuse = "CREATE TRIGGER large BEFORE INSERT ON outbox WHEN length(new.body) > 2000000
            BEGIN SELECT RAISE(ABORT, 'too large'); END";
        partition.store().exec(refuse, &[]).unwrap();
        partition
    };
    let mut partitions = [open(0), open(1)];
    let at = |key| usize::from(slots.partition_of(key));
    // Somebody whose events lie with the larger key, and then an address with a smaller one.
    let braze = |n: u32| deployment().hash(&records(&[event(PUSH, "1", n, &json!({}))])[0].rec);
    let person = (1..).find(|n| at(braze(*n)) == 1).unwrap();
    let address = |n: u32| format!("somebody{n}@example.com");
    let mail = |n: u32| records(&[event(OPEN, "last", person, &json!({ "email_address": address(n) }))]).remove(0);
    let told = (0..).map(mail).find(|mail| at(deployment().hash(&mail.facts[0].other)) == 0).unwrap();

    let essay =
        |id: usize, bytes: usize| event(PUSH, &format!("{id:04}"), person, &json!({ "text": "x".repeat(bytes) }));
    let events: Vec<Value> = (0..5).map(|id| essay(id, 900_000)).chain((5..205).map(|id| essay(id, 20_000))).collect();
    partitions[1].apply(NOW, vec![Message { key: braze(person), ask: Ask::Take(records(&events)) }]).unwrap();
    let mut waiting = VecDeque::from([(1, vec![Message { key: braze(person), ask: Ask::Take(vec![told]) }])]);
    while let Some((to, messages)) = waiting.pop_front() {
        let applied = partitions[to].apply(NOW, messages).unwrap();
        for reply in applied.replies {
            let Reply::Done { onward, .. } = reply else { panic!("{reply:?}") };
            waiting.extend(onward.into_iter().map(|message| (at(message.key), vec![message])));
        }
        waiting.extend(applied.parcels.into_iter().map(|parcel| (usize::from(parcel.to), parcel.messages)));
    }
    let stored = partitions.map(|partition| partition.store().query("SELECT id FROM event", &[]).unwrap().len());
    assert_eq!(stored, [206, 0]);
}
