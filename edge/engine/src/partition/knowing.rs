//! Tests of what is known of a person: the latest word over a set of events, whatever the order in which they come.

use super::backtest::State;
use super::message::{Ask, Message};
use super::read::Target;
use super::view::Prospect;
use super::{Partition, Reply};
use crate::event::Record;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::scoring::Model;
use crate::sources::{events, patch};
use crate::store::native::Native;
use serde_json::{Value, json};

const NOW: i64 = 1_767_225_600_000;

const MODEL: &str = r#"{
  "scores": [{ "slug": "fit", "kind": "profile",
    "rules": [{ "id": "saas", "when": { "attribute": "industry", "equals": "SaaS" }, "points": 40 }] }] }"#;

fn key(identifier: &Identifier) -> KeyHash {
    DeploymentKey::new(b"test").hash(identifier)
}

fn ada() -> Identifier {
    Identifier::new(KeyType::Email, "", "ada@example.com").unwrap()
}

fn partition() -> Partition<Native> {
    let (model, slots) = (Model::parse(MODEL).unwrap(), SlotMap { partitions: 1 });
    Partition::open(Native::in_memory().unwrap(), (0, slots), DeploymentKey::new(b"test"), Policy::default(), model, 1)
        .unwrap()
}

fn told(at: i64, attributes: &Value) -> Record {
    let body = json!({ "attributes": attributes }).to_string();
    patch::parse(body.as_bytes()).unwrap().record(ada(), at, format!("p{at}"))
}

fn take(partition: &mut Partition<Native>, record: Record, now: i64) {
    let message = Message { key: key(&record.rec), ask: Ask::Take(vec![record]) };
    let replies = partition.apply(now, vec![message]).unwrap().replies;
    assert!(matches!(replies[..], [Reply::Done { .. }]), "{replies:?}");
}

fn look(partition: &Partition<Native>, now: i64) -> Prospect {
    partition.prospect(Target::key(key(&ada())), now).unwrap().found().unwrap()
}

#[test]
fn the_latest_word_counts_in_whatever_order_words_come() {
    // The last of them are dated ahead: by a clock that is wrong.
    let words = [
        told(NOW - 3, &json!({ "plan": "free", "seats": 5, "industry": "SaaS" })),
        told(NOW - 2, &json!({ "plan": "pro", "seats": null })),
        told(NOW + 50_000, &json!({ "plan": "team", "industry": null })),
        told(NOW + 60_000, &json!({ "seats": 7 })),
    ];
    let known = |order: &[usize]| {
        let mut partition = partition();
        for (nth, place) in (0_i64..).zip(order) {
            take(&mut partition, words[*place].clone(), NOW + nth);
        }
        let prospect = look(&partition, NOW + 10);
        let values = prospect.attributes.iter().map(|(name, known)| format!("{name}={} {}", known.value, known.at.0));
        values.filter(|value| !value.starts_with("email_domain")).collect::<Vec<_>>()
    };
    let expected = [format!("plan=\"team\" {}", NOW + 50_000), format!("seats=7 {}", NOW + 60_000)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1], [3, 0, 2, 1], [1, 3, 0, 2]] {
        assert_eq!(known(&order), expected, "{order:?}");
    }
}

#[test]
fn a_backtest_goes_by_what_was_known_at_its_moment() {
    let mut partition = partition();
    take(&mut partition, told(NOW - 2, &json!({ "industry": "SaaS" })), NOW);
    let draft = MODEL.replace("40", "50");
    partition.begin_backtest("b1", NOW, &draft).unwrap();
    take(&mut partition, told(NOW + 1, &json!({ "industry": "Steel" })), NOW + 1);
    while partition.is_backtesting() {
        partition.backtest_slice().unwrap();
    }
    let backtest = partition.backtest().unwrap();
    let said = Value::Object(backtest.tally.document());
    assert_eq!(backtest.state, State::Done);
    assert_eq!(
        (&said["scores"]["fit"]["before"]["max"], &said["scores"]["fit"]["after"]["max"]),
        (&json!(40.0), &json!(50.0))
    );
    // As an explanation of then does, too.
    let then =
        partition.explanation(Target::key(key(&ada())), "fit", Some(NOW), None, NOW + 2).unwrap().found().unwrap();
    let then = then.unwrap();
    assert_eq!((then.value, look(&partition, NOW + 2).scores["fit"].value), (Some(40.0), Some(0.0)));
}

#[test]
fn a_caller_who_marks_somebody_or_names_an_owner_is_heard_and_a_machine_is_not() {
    let mut partition = partition();
    let marked = patch::parse(br#"{"favorite": true, "owner_email": "rep@example.com"}"#).unwrap();
    take(&mut partition, marked.record(ada(), NOW, "one".to_owned()), NOW);
    let mut machine = told(NOW + 1, &json!({ "industry": "SaaS" }));
    machine.body.bot = Some("scanner".to_owned());
    take(&mut partition, machine, NOW + 1);
    let shown = look(&partition, NOW + 2);
    assert_eq!((shown.favorite, shown.owner_email.as_deref(), shown.events), (true, Some("rep@example.com"), 2));
    assert_eq!(
        (shown.scores["fit"].value, shown.last_active_at),
        (Some(0.0), None),
        "saying so is no activity of hers"
    );
    let event = json!({ "at": NOW + 3, "kind": "identify", "identity": [{ "type": "email", "value": "ada@example.com" }],
        "properties": { "attributes": { "favorite": false, "industry": "SaaS" } } });
    take(&mut partition, events::read(&event.to_string(), 0, "", &Policy::default()).unwrap(), NOW + 3);
    let shown = look(&partition, NOW + 4);
    assert_eq!((shown.favorite, shown.scores["fit"].value), (false, Some(40.0)));
}
