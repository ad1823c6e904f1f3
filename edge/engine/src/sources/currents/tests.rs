mod labels;

use super::table::ROWS;
use super::{Batch, EVENT_BYTES_MAX, EVENTS_MAX, parse, parse_under};
use crate::event::{FactInput, Record};
use crate::identity::policy::Policy;
use crate::key::{Identifier, KeyType};
use crate::kinds::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const BRAZE_ID: &str = "00aa11bb22cc33dd44ee55ff";

fn event(event_type: &str, properties: &Value) -> Value {
    json!({
        "id": "0c7d1c5e-5b1d-4a55-8a06-4d1e34a6b001",
        "time": 1_767_225_600,
        "event_type": event_type,
        "user": { "user_id": BRAZE_ID, "external_user_id": "user-42", "timezone": "Europe/Berlin" },
        "properties": properties,
    })
}

fn read(events: &[Value]) -> Batch {
    let groups = BTreeMap::from([("group-1".to_owned(), "Product news".to_owned())]);
    parse(json!({ "events": events }).to_string().as_bytes(), "", &groups).unwrap()
}

fn record(event: Value) -> Record {
    let mut batch = read(&[event]);
    assert_eq!(batch.dead, []);
    batch.records.pop().unwrap()
}

fn id(key_type: KeyType, value: &str) -> Identifier {
    Identifier::new(key_type, "", value).unwrap()
}

fn facts(record: &Record) -> Vec<(KeyType, &str, bool)> {
    record.facts.iter().map(|FactInput { other, explicit }| (other.key_type(), other.value(), *explicit)).collect()
}

#[test]
fn what_is_blocked_is_nobodys_key() {
    let policy = Policy::default().with_blocked("external_id:test, email:nobody@example.com, braze_id:00ff").unwrap();
    let mail = |user: Value, address: &str| {
        let mut event = event("users.messages.email.Click", &json!({ "email_address": address }));
        event["user"] = user;
        event
    };
    let nobody = mail(json!({ "external_user_id": "test" }), "Nobody@example.com");
    let mut orphan = mail(json!({ "user_id": BRAZE_ID }), "ada@example.com");
    orphan["event_type"] = json!("users.UserOrphan");
    orphan["properties"]["orphaned_by_id"] = json!("00ff");
    let events = [
        mail(json!({ "external_user_id": "test" }), "ada@example.com"),
        nobody.clone(),
        mail(json!({ "user_id": BRAZE_ID, "external_user_id": "test" }), "nobody@example.com"),
        orphan,
    ];
    let batch = parse_under(&policy, json!({ "events": events }).to_string().as_bytes(), "", &BTreeMap::new()).unwrap();
    // As without a value: the next key is the record's.
    let kept: Vec<_> = batch.records.iter().map(|record| (record.rec.value(), record.facts.len())).collect();
    assert_eq!(kept, [("ada@example.com", 0), (BRAZE_ID, 0), (BRAZE_ID, 0)]);
    let dead: Vec<_> = batch.dead.iter().map(|dead| (dead.index, dead.reason, dead.raw.as_str())).collect();
    assert_eq!(dead, [(1, "no_identity", nobody.to_string().as_str())]);
}

#[test]
fn bounces_of_three_sorts() {
    let hard = record(event("users.messages.email.Bounce", &json!({ "is_drop": false })));
    let dropped = record(event("users.messages.email.Bounce", &json!({ "is_drop": true, "campaign_name": "Spring" })));
    let soft = record(event("users.messages.email.SoftBounce", &json!({ "campaign_name": "Spring" })));
    assert_eq!(
        [hard.body.kind, dropped.body.kind, soft.body.kind],
        [Kind::EmailBounce, Kind::MessageSend, Kind::EmailSoftBounce]
    );
    // The shipped model zeroes scores on this prefix.
    for record in [dropped, soft] {
        assert!(!record.body.name.starts_with("[Alerting or negative]"), "{}", record.body.name);
    }
}

#[test]
fn machines() {
    let cases = [
        ("users.messages.email.Open", json!({ "machine_open": "true" }), Some("machine_open")),
        ("users.messages.email.Open", json!({ "machine_open": true }), Some("machine_open")),
        ("users.messages.email.Open", json!({ "machine_open": "apple_mpp" }), Some("machine_open")),
        ("users.messages.email.Open", json!({ "machine_open": "false" }), None),
        ("users.messages.email.Open", json!({ "machine_open": false }), None),
        ("users.messages.email.Click", json!({ "is_suspected_bot_click": true }), Some("suspected_bot_click")),
        (
            "users.messages.email.Click",
            json!({ "is_suspected_bot_click": null, "suspected_bot_click_reason": ["user_agent"] }),
            Some("suspected_bot_click"),
        ),
        (
            "users.messages.email.Click",
            json!({ "is_suspected_bot_click": false, "suspected_bot_click_reason": [] }),
            None,
        ),
        (
            "users.messages.sms.ShortLinkClick",
            json!({ "suspected_bot_click_reason": ["ip_address"] }),
            Some("suspected_bot_click"),
        ),
        ("users.messages.line.Click", json!({ "is_suspected_bot_click": true }), Some("suspected_bot_click")),
        ("users.messages.pushnotification.Open", json!({ "button_action_type": "close" }), Some("push_close")),
        ("users.messages.pushnotification.Open", json!({ "button_action_type": "deep_link" }), None),
        ("users.canvas.Entry", json!({ "in_control_group": true }), Some("control_group")),
        ("users.canvas.Entry", json!({ "in_control_group": false }), None),
        ("users.campaigns.EnrollInControl", json!({}), Some("control_group")),
    ];
    for (event_type, properties, expected) in cases {
        assert_eq!(record(event(event_type, &properties)).body.bot.as_deref(), expected, "{event_type} {properties}");
    }
}

#[test]
fn who_it_is_about() {
    let star = record(event("users.messages.email.Open", &json!({ "email_address": "Ada@Example.com" })));
    assert_eq!(star.rec, id(KeyType::BrazeId, BRAZE_ID));
    assert_eq!(facts(&star), [(KeyType::ExternalId, "user-42", false), (KeyType::Email, "ada@example.com", false)]);
    assert_eq!(star.claims, []);

    let both = json!({ "email_address": "ada@example.com", "phone_number": "+15550101234" });
    let mut no_ids = event("users.behaviors.subscriptiongroup.StateChange", &both);
    no_ids["user"] = json!({ "user_id": null, "external_user_id": "" });
    let no_ids = record(no_ids);
    assert_eq!(no_ids.rec, id(KeyType::Email, "ada@example.com"));
    assert_eq!(facts(&no_ids), [(KeyType::Phone, "+15550101234", false)]);

    // Our own number is nobody's key.
    let mut inbound = event(
        "users.messages.sms.InboundReceive",
        &json!({ "inbound_phone_number": "+15550100000", "user_phone_number": "15550101234", "message_body": "Hi" }),
    );
    inbound["user"] = json!({});
    let inbound = record(inbound);
    assert_eq!((inbound.rec, inbound.facts.len()), (id(KeyType::Phone, "+15550101234"), 0));

    let read = record(event(
        "users.messages.whatsapp.Read",
        &json!({ "from_phone_number": "+15550100000", "to_phone_number": "+15550101234" }),
    ));
    assert_eq!(facts(&read), [(KeyType::ExternalId, "user-42", false), (KeyType::Phone, "+15550101234", false)]);

    let mut nonsense = event("users.behaviors.app.SessionStart", &json!({}));
    nonsense["user"] = json!({ "user_id": "{{${braze_id}}}", "external_user_id": 7 });
    assert_eq!(record(nonsense).rec, id(KeyType::ExternalId, "7"));
}

#[test]
fn workspaces_scope_ids() {
    let body =
        json!({ "events": [event("users.messages.email.Open", &json!({ "email_address": "ada@example.com" }))] });
    let batch = parse(body.to_string().as_bytes(), "brand-b", &BTreeMap::new()).unwrap();
    let record = &batch.records[0];
    assert_eq!(record.rec.scoped_type(), "braze_id@brand-b");
    let types: Vec<_> = record.facts.iter().map(|fact| fact.other.scoped_type()).collect();
    assert_eq!(types, ["external_id@brand-b", "email"]);
}

#[test]
fn orphans_are_explicit_facts() {
    let survivor = "ff55ee44dd33cc22bb11aa00";
    let orphan = record(event("users.UserOrphan", &json!({ "orphaned_by_id": survivor })));
    assert_eq!(orphan.body.kind, Kind::Other);
    assert_eq!(facts(&orphan), [(KeyType::ExternalId, "user-42", false), (KeyType::BrazeId, survivor, true)]);
    let own = record(event("users.UserOrphan", &json!({ "orphaned_by_id": BRAZE_ID })));
    assert_eq!(facts(&own), [(KeyType::ExternalId, "user-42", false)]);
    assert_eq!(record(event("users.UserDeleteRequest", &json!({}))).body.name, "[Other] users.UserDeleteRequest");
}

#[test]
fn properties_are_kept_as_sent_but_for_identity_in_urls() {
    let stored = |event_type: &str, properties: &Value| -> Value {
        let mut stored: Value = serde_json::from_str(&record(event(event_type, properties)).body.properties).unwrap();
        // What the fixture says of the person besides.
        let user = stored.as_object_mut().and_then(|stored| stored.shift_remove("user"));
        assert_eq!(user, Some(json!({ "timezone": "Europe/Berlin" })));
        stored
    };
    let own = json!({ "plan": { "name": "pro", "seats": [1, 2.5, null] }, "ok": true });
    let as_text = json!({ "name": "x", "custom_properties": own.to_string() });
    assert_eq!(stored("users.behaviors.CustomEvent", &as_text), json!({ "name": "x", "custom_properties": own }));
    let as_object = json!({ "name": "x", "custom_properties": own, "from_the_future": [1] });
    assert_eq!(stored("users.behaviors.CustomEvent", &as_object), as_object);
    let absent = json!({ "name": "x", "amount": 3 });
    assert_eq!(stored("users.behaviors.CustomEvent", &absent), absent);
    let broken = json!({ "name": "x", "custom_properties": "{broken" });
    assert_eq!(stored("users.behaviors.CustomEvent", &broken), broken);
    let purchase = json!({ "product_id": "p", "purchase_properties": "{\"size\":\"L\"}" });
    assert_eq!(stored("users.behaviors.Purchase", &purchase)["purchase_properties"], json!({ "size": "L" }));

    let with_urls = json!({ "name": "x", "custom_properties": { "deep": ["https://a.example/?braze_id=1&x=1"] }, "note": "see https://a.example/?lid=2 there" });
    let expected = json!({ "name": "x", "custom_properties": { "deep": ["https://a.example/?x=1"] }, "note": "see https://a.example/ there" });
    assert_eq!(stored("users.behaviors.CustomEvent", &with_urls), expected);
}

#[test]
fn what_else_is_said_of_the_person_and_the_event_is_kept_beside_the_properties() {
    let stored = |event: Value| -> Value { serde_json::from_str(&record(event).body.properties).unwrap() };
    let mut event = event("users.behaviors.FromTheFuture", &json!({ "plan": "pro" }));
    event["user"]["device_id"] = json!("dev-1");
    event["user"]["from_the_future"] = json!({ "seen": ["https://a.example/?braze_id=1&x=1", null] });
    event["app_group_id"] = json!("ag");
    event["sent_from"] = json!({ "deep": [1] });
    let user = json!({ "timezone": "Europe/Berlin", "device_id": "dev-1",
                       "from_the_future": { "seen": ["https://a.example/?x=1", null] } });
    let of_event = json!({ "app_group_id": "ag", "sent_from": { "deep": [1] } });
    assert_eq!(stored(event.clone()), json!({ "plan": "pro", "user": user, "event": of_event }));
    // Who it is stands with the person, and nowhere else.
    let text = stored(event.clone()).to_string();
    assert!(!text.contains(BRAZE_ID) && !text.contains("user-42"), "{text}");
    event["properties"] = json!({ "user": "theirs", "event": 1, "event_": 2 });
    let expected = json!({ "user": "theirs", "event": 1, "event_": 2, "user_": user, "event__": of_event });
    assert_eq!(stored(event), expected);
    let bare = self::event("users.behaviors.app.SessionStart", &json!({}));
    assert_eq!(stored(bare), json!({ "user": { "timezone": "Europe/Berlin" } }));
}

#[test]
fn numbers_are_kept_to_the_last_digit() {
    let numbers =
        r#"{"long":12345678901234567890123,"price":1.10,"list":[-0,1e2,{"deep":0.30000000000000004441}],"n":7}"#;
    let own = numbers.replace('"', "\\\"");
    let sent = format!(
        r#"{{"events":[{{"id":"e","time":1767225600,"event_type":"users.behaviors.CustomEvent",
            "user":{{"user_id":"{BRAZE_ID}","level":1.0}}, "version": 12345678901234567890123,
            "properties":{{ "name": "x", "more" : {numbers},"custom_properties":"{own}","plain":"1.10"}}}}]}}"#
    );
    let batch = parse(sent.as_bytes(), "", &BTreeMap::new()).unwrap();
    let expected = format!(
        r#"{{"name":"x","more":{numbers},"custom_properties":{numbers},"plain":"1.10","user":{{"level":1.0}},"event":{{"version":12345678901234567890123}}}}"#
    );
    assert_eq!(batch.records[0].body.properties, expected);

    // As an id it could be two people's: it is nobody's.
    let of = |id: &str| {
        let event = format!(r#"{{"id":"e","time":1767225600,"event_type":"x","user":{{"external_user_id":{id}}}}}"#);
        let batch = parse(format!(r#"{{"events":[{event}]}}"#).as_bytes(), "", &BTreeMap::new()).unwrap();
        batch.records.first().map(|record| record.rec.value().to_owned())
    };
    assert_eq!(of("12345678901234567890").as_deref(), Some("12345678901234567890"));
    assert_eq!(of("12345678901234567890123"), None);
}

#[test]
fn a_text_that_was_cut_within_a_character_is_taken() {
    let inside = r#"{"note":"in NAME","price":1.10}"#;
    let whole = event("users.behaviors.CustomEvent", &json!({ "name": "cut NAME", "custom_properties": inside }));
    // In the event's own text, and in the text that is JSON itself.
    let body = json!({ "events": [whole] }).to_string();
    let body = body.replace("cut NAME", "cut \\ud83d").replace("in NAME", "in \\\\ud83d");
    let batch = parse(body.as_bytes(), "", &BTreeMap::new()).unwrap();
    assert_eq!(batch.dead, []);
    let stored = &batch.records[0].body;
    assert!(stored.name.ends_with("cut \u{FFFD}"), "{}", stored.name);
    let kept = "{\"note\":\"in \u{FFFD}\",\"price\":1.10}";
    assert!(stored.properties.contains(kept), "{}", stored.properties);
    // What else is wrong with such an event is said of the event as it was sent.
    let body = body.replace("\"time\"", "\"when\"");
    let dead = parse(body.as_bytes(), "", &BTreeMap::new()).unwrap().dead;
    assert_eq!(dead[0].event_type.as_deref(), Some("users.behaviors.CustomEvent"));
    assert!(dead[0].raw.contains("cut \\ud83d"), "{}", dead[0].raw);
}

#[test]
fn ids_that_do_not_fit_are_hashed() {
    let event_id = |id: &str| {
        let mut event = event("users.behaviors.app.SessionStart", &json!({}));
        event["id"] = json!(id);
        record(event).id
    };
    assert_eq!(event_id("A_b-9"), "A_b-9");
    // `printf %s 'a b' | sha256sum`
    assert_eq!(event_id("a b"), "c8687a08aa5d6ed2044328fa6a697ab8e96dc34291e8c2034ae8c38e6fcc6d65");
    assert_eq!(event_id(&"x".repeat(65)).len(), 64);
}

#[test]
fn one_broken_event_of_a_hundred() {
    let good = |n: u32| {
        let mut event = event("users.messages.email.Open", &json!({ "campaign_name": "Spring" }));
        event["id"] = json!(format!("event-{n}"));
        event
    };
    let events: Vec<Value> = (0..100).map(|n| if n == 37 { json!({ "event_type": 5 }) } else { good(n) }).collect();
    let batch = read(&events);
    assert_eq!((batch.records.len(), batch.dead.len(), batch.probe), (99, 1, false));
    assert_eq!((batch.dead[0].index, batch.dead[0].raw.as_str()), (37, r#"{"event_type":5}"#));
    for (record, place) in batch.records.iter().zip(&batch.places) {
        assert_eq!(record.id, format!("event-{place}"));
    }
}

#[test]
fn dead_letters_say_why() {
    let change = |field: &str, value: Value| {
        let mut event = event("users.messages.email.Open", &json!({}));
        event[field] = value;
        event
    };
    let cases = [
        (json!(5), "invalid_event"),
        (json!([]), "invalid_event"),
        (json!({}), "missing_field"),
        (change("event_type", json!(null)), "missing_field"),
        (change("event_type", json!("")), "invalid_event"),
        (change("id", json!(null)), "missing_field"),
        (change("id", json!(7)), "invalid_event"),
        (change("time", json!(null)), "missing_field"),
        (change("time", json!("yesterday")), "invalid_time"),
        (change("time", json!(1_767_225_600_123_u64)), "invalid_time"),
        (change("time", json!(u64::MAX)), "invalid_time"),
        (change("time", json!(-1)), "invalid_time"),
        (change("time", json!(1.5)), "invalid_time"),
        (change("user", json!("ada")), "invalid_event"),
        (change("properties", json!([])), "invalid_event"),
        (change("user", json!(null)), "no_identity"),
    ];
    for (event, reason) in cases {
        let batch = read(std::slice::from_ref(&event));
        assert_eq!(batch.records, [], "{event}");
        assert_eq!((batch.dead[0].reason, batch.dead[0].raw.clone()), (reason, event.to_string()));
        assert_eq!(batch.dead[0].event_type.as_deref(), event["event_type"].as_str(), "{event}");
    }
    // Not readable as a value, though the envelope is: too deep, out of range.
    for raw in [format!("{}{}", "[".repeat(500), "]".repeat(500)), r#"{"time":1e999}"#.to_owned()] {
        let good = event("users.behaviors.app.SessionStart", &json!({}));
        let batch = parse(format!(r#"{{"events":[{raw},{good}]}}"#).as_bytes(), "", &BTreeMap::new()).unwrap();
        assert_eq!((batch.dead[0].reason, batch.places), ("invalid_event", vec![1]));
    }
}

#[test]
fn what_is_too_large_costs_only_itself() {
    let good = event("users.behaviors.app.SessionStart", &json!({}));
    let of = |bytes: usize| {
        let mut event = event("users.behaviors.CustomEvent", &json!({ "name": "essay", "text": "" }));
        let rest = bytes - event.to_string().len();
        // Of two bytes each, so that the cut falls inside one.
        event["properties"]["text"] = format!("{}{}", "x".repeat(rest % 2), "é".repeat(rest / 2)).into();
        assert_eq!(event.to_string().len(), bytes);
        event
    };
    let batch = read(&[good.clone(), of(EVENT_BYTES_MAX), of(EVENT_BYTES_MAX + 1), good]);
    assert_eq!(batch.places, [0, 1, 3]);
    let dead = &batch.dead[0];
    assert_eq!(
        (dead.index, dead.reason, dead.event_type.as_deref()),
        (2, "too_large", Some("users.behaviors.CustomEvent"))
    );
    assert!(dead.raw.starts_with(r#"{"id":"0c7d1c5e"#) && dead.raw.len() <= 64 * 1024, "{}", dead.raw.len());

    let many = |events: usize| format!(r#"{{"events":[{}0]}}"#, "0,".repeat(events - 1));
    let batch = parse(many(EVENTS_MAX).as_bytes(), "", &BTreeMap::new()).unwrap();
    assert_eq!(batch.dead.len(), EVENTS_MAX);
    let error = parse(many(EVENTS_MAX + 1).as_bytes(), "", &BTreeMap::new()).unwrap_err();
    assert_eq!((error.code, error.path.as_deref()), ("too_large", Some("/events")));
}

#[test]
fn broken_bytes_cost_only_themselves() {
    let mut body = json!({ "events": [event("users.behaviors.CustomEvent", &json!({ "name": "caf\u{1}" }))] })
        .to_string()
        .into_bytes();
    let at = body.windows(6).position(|bytes| bytes == br"\u0001").unwrap();
    body.splice(at..at + 6, [0xe9]);
    let batch = parse(&body, "", &BTreeMap::new()).unwrap();
    assert_eq!(batch.records[0].body.name, "[Custom Event tracked] caf\u{fffd}");
}

#[test]
fn test_events_from_the_future_are_taken() {
    let mut future = event("users.behaviors.app.SessionStart", &json!({}));
    future["time"] = json!(2_033_802_504_i64);
    assert_eq!(record(future).at, 2_033_802_504_000);
}

#[test]
fn probes_and_wrong_envelopes() {
    for probe in [
        "",
        " \n",
        "{}",
        r#"{"a":[{"events":[1]}]}"#,
        r#"{"events":[]}"#,
        r#"{"events":null}"#,
        r#"{"other":1}"#,
        "\u{feff}",
        "\u{feff}{}",
    ] {
        let batch = parse(probe.as_bytes(), "", &BTreeMap::new()).unwrap();
        assert_eq!(batch, Batch { probe: true, ..Batch::default() }, "{probe}");
    }
    let wrong = [
        ("[]", "invalid_json", None),
        ("null", "invalid_json", None),
        ("{", "invalid_json", None),
        ("{} {}", "invalid_json", None),
        (r#"{"events":{}}"#, "invalid_field", Some("/events")),
        (r#"{"events":"x"}"#, "invalid_field", Some("/events")),
        (r#"{"events":0}"#, "invalid_field", Some("/events")),
        (r#"{"events":-1.5}"#, "invalid_field", Some("/events")),
        (r#"{"events":true}"#, "invalid_field", Some("/events")),
        (r#"{"events":[],"more":}"#, "invalid_json", None),
        (r#"{"events":[{]}"#, "invalid_json", None),
    ];
    for (body, code, path) in wrong {
        let error = parse(body.as_bytes(), "", &BTreeMap::new()).unwrap_err();
        assert_eq!((error.code, error.path.as_deref()), (code, path), "{body}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, "", &BTreeMap::new());
    }

    #[test]
    fn any_damage_is_survived(row in 0..ROWS.len(), at in 0.0..1.0_f64, len in 0_usize..20, patch in "[\\PC\"{}\\[\\]:,0-9e\\\\]{0,8}") {
        let body = json!({ "events": [event(ROWS[row].event_type, &json!({ "campaign_name": "Spring" })), 1] }).to_string();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let start = (at * body.len() as f64) as usize;
        let mut bytes = body.into_bytes();
        let end = (start + len).min(bytes.len());
        bytes.splice(start..end, patch.into_bytes());
        if let Ok(batch) = parse(&bytes, "", &BTreeMap::new()) {
            prop_assert_eq!(batch.records.len(), batch.places.len());
        }
    }
}
