//! Braze Currents: names to the letter, and nothing that Braze does with a batch (repeat it, split it, shuffle it, break
//! an event in it) changes who people are and what they did.

use crate::harness::events::{self, Person, id, now, rfc3339};
use crate::harness::{Instance, shared, snapshot};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The table of seed 000: Braze's type, what is sent, the kind, and the name that rules are written against.
fn nineteen() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    vec![
        (
            "users.canvas.Entry",
            json!({ "canvas_id": "c1", "canvas_name": "Trial", "in_control_group": false }),
            "canvas_entry",
            "[Nurturing] Added by marketing team onto the journey Trial",
        ),
        (
            "users.behaviors.CustomEvent",
            json!({ "name": "webinar_joined", "custom_properties": { "topic": "rounds" } }),
            "custom",
            "[Custom Event tracked] webinar_joined",
        ),
        (
            "users.behaviors.app.FirstSession",
            json!({ "app_id": "a1", "session_id": "s1" }),
            "first_session",
            "[User Action] Today marks the user's first session",
        ),
        (
            "users.behaviors.InstallAttribution",
            json!({ "source": "adjust" }),
            "install",
            "[User Action] User installed app from adjust",
        ),
        (
            "users.behaviors.Purchase",
            json!({ "product_id": "fleet-plan", "price": 49.900_001_525_878_906, "currency": "EUR", "purchase_properties": {} }),
            "purchase",
            "[Purchase] Customer purchased fleet-plan for 49.9 EUR",
        ),
        (
            "users.messages.contentcard.Click",
            json!({ "content_card_id": "k1", "campaign_name": "Spring sale" }),
            "content_card_click",
            "[Content Card engagement] Clicked on Spring sale content card",
        ),
        (
            "users.messages.email.Bounce",
            json!({ "bounce_reason": "550 no such user" }),
            "email_bounce",
            "[Alerting or negative] Email hard-bounced. This person's email appears to be no longer valid",
        ),
        (
            "users.messages.email.Click",
            json!({ "campaign_name": "Spring sale", "url": "https://shop.example/spring?x=1" }),
            "email_click",
            "[Email campaign engagement] Clicked in email Spring sale on https://shop.example/spring?x=1",
        ),
        (
            "users.messages.email.Delivery",
            json!({ "campaign_name": "Spring sale" }),
            "email_delivery",
            "[Nurturing] Received email Spring sale",
        ),
        (
            "users.messages.email.Open",
            json!({ "campaign_name": "Spring sale", "machine_open": null }),
            "email_open",
            "[Email campaign engagement] Opened email Spring sale",
        ),
        (
            "users.messages.email.Unsubscribe",
            json!({ "campaign_name": "Spring sale" }),
            "email_unsubscribe",
            "[Subscription status change] Unsubscribed from Spring sale",
        ),
        (
            "users.messages.inappmessage.Click",
            json!({ "campaign_name": "Spring sale", "button_id": null }),
            "in_app_click",
            "[In-app campaign engagement] Clicked on message Spring sale",
        ),
        (
            "users.messages.pushnotification.Open",
            json!({ "campaign_name": "Spring sale", "button_action_type": "uri" }),
            "push_open",
            "[Push notification engagement] Clicked on notification Spring sale",
        ),
        (
            "users.messages.sms.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "message_body": "Grüße: ja & nein", "action": "None" }),
            "sms_inbound",
            "[SMS/mobile campaign engagement] We received a message from this person to our internal number +15550100: Grüße: ja & nein",
        ),
        (
            "users.messages.sms.ShortLinkClick",
            json!({ "short_url": "https://brz.example/x", "url": "https://shop.example/" }),
            "sms_click",
            "[SMS/mobile campaign engagement] Clicked on https://brz.example/x",
        ),
        (
            "users.messages.whatsapp.InboundReceive",
            json!({ "inbound_phone_number": "+15550100", "message_body": "Hello" }),
            "whatsapp_inbound",
            "[WhatsApp engagement] We received a message from this person to our WhatsApp number +15550100: Hello",
        ),
        (
            "users.messages.whatsapp.Read",
            json!({ "campaign_name": "Spring sale", "from_phone_number": "+15550100" }),
            "whatsapp_read",
            "[WhatsApp engagement] Lead read our message from the Spring sale campaign",
        ),
        (
            "users.behaviors.subscription.GlobalStateChange",
            json!({ "subscription_status": "Opted In" }),
            "subscription_global",
            "[Subscription status change] Global marketing subscription setting set to Opted In",
        ),
        (
            "users.behaviors.subscriptiongroup.StateChange",
            json!({ "subscription_status": "Subscribed", "campaign_name": "Spring sale" }),
            "subscription_group",
            "[Subscription status change] Subscribed to/from Spring sale",
        ),
    ]
}

const MINUTE: i64 = 60_000;

/// A batch as a marketer's morning makes it: ten people, ten events each, all 19 types, two minutes apart. Some events
/// name an address, so that people come together while it is being read.
fn hundred_events(people: &[Person], from: i64) -> Vec<Value> {
    let table = nineteen();
    let of_person = |(n, person): (usize, &Person)| {
        let table = &table;
        (0..10_usize)
            .map(move |k| {
                let (event_type, properties, ..) = &table[(n + k * 2) % table.len()];
                let mut properties = properties.clone();
                if event_type.contains("email") {
                    properties["email_address"] = person.email.clone().into();
                }
                let user = if k % 3 == 0 { person.user() } else { person.braze_user() };
                let at = from + i64::try_from(n * 10 + k).expect("small") * 2 * MINUTE;
                events::currents(event_type, at, &user, &properties)
            })
            .collect::<Vec<_>>()
    };
    people.iter().enumerate().flat_map(of_person).collect()
}

fn ten_people() -> Vec<Person> {
    (0..10).map(|n| Person::new(&format!("person{n}"))).collect()
}

fn counts(answer: &Value) -> (i64, i64, i64) {
    let count = |name: &str| answer[name].as_i64().unwrap_or_else(|| panic!("{name} is no integer: {answer}"));
    (count("accepted"), count("duplicates"), count("dead_lettered"))
}

#[test]
fn all_nineteen_names_are_exactly_those_of_the_table() {
    let api = shared();
    let person = Person::new("nineteen");
    let from = now() - 19 * MINUTE;
    let sent: Vec<Value> = nineteen()
        .iter()
        .zip(0..)
        .map(|((event_type, properties, ..), n)| {
            events::currents(event_type, from + n * MINUTE, &person.user(), properties)
        })
        .collect();
    assert_eq!(counts(&api.currents(&sent)), (19, 0, 0));

    let timeline = api.timeline(&format!("braze_id:{}", person.braze_id));
    let shown: BTreeMap<String, &Value> = timeline.iter().map(|item| (id(item), item)).collect();
    assert_eq!(shown.len(), 19);
    for (event, (event_type, _, kind, name)) in sent.iter().zip(nineteen()) {
        let item = shown[&id(event)];
        assert_eq!(item["name"].as_str().map(str::as_bytes), Some(name.as_bytes()), "{event_type}");
        assert_eq!(
            (&item["kind"], &item["source"], &item["bot"]),
            (&kind.into(), &"currents".into(), &Value::Null),
            "{event_type}"
        );
        let at = event["time"].as_i64().expect("seconds") * 1_000;
        assert_eq!(
            item["at"].as_str().and_then(|at| at.parse().ok()),
            Some(jiff::Timestamp::from_millisecond(at).expect("a time"))
        );
    }
    assert_eq!(api.prospect(&format!("external_id:{}", person.external_id))["events"], 19);
}

#[test]
fn machines_are_shown_as_such_and_earn_nothing() {
    let api = shared();
    let person = Person::new("scanned");
    let at = now();
    let click = |more: Value| {
        let mut properties =
            json!({ "email_address": person.email, "campaign_name": "Spring sale", "url": "https://shop.example/" });
        properties.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        events::currents("users.messages.email.Click", at, &person.user(), &properties)
    };
    let human = click(json!({ "is_suspected_bot_click": null, "suspected_bot_click_reason": [] }));
    let scanner = click(json!({ "suspected_bot_click_reason": ["user_agent"] }));
    let open = events::currents(
        "users.messages.email.Open",
        at,
        &person.user(),
        &json!({ "email_address": person.email, "machine_open": "true" }),
    );
    assert_eq!(counts(&api.currents(&[human.clone(), scanner.clone(), open.clone()])), (3, 0, 0));
    let timeline = api.timeline(&format!("email:{}", person.email));
    let of = |event: &Value| timeline.iter().find(|item| item["id"] == event["id"]).expect("it is kept");
    assert_eq!(of(&human)["points"]["engagement"], 5.0);
    for event in [&scanner, &open] {
        assert!(of(event)["bot"].is_string(), "{}", of(event));
        assert!(of(event)["points"]["engagement"].as_f64().unwrap_or(0.0).abs() < f64::EPSILON, "{}", of(event));
    }
}

#[test]
fn a_batch_repeated_split_and_shuffled_changes_nothing() {
    let api = shared();
    let people = ten_people();
    let batch = hundred_events(&people, now() - 200 * 2 * MINUTE);
    assert_eq!(counts(&api.currents(&batch)), (100, 0, 0));
    let references: Vec<String> = people.iter().map(|person| format!("braze_id:{}", person.braze_id)).collect();
    let at = rfc3339(now());
    let look = || snapshot::of(api, references.iter().map(String::as_str), &at);
    let first = look();
    assert_eq!(first.len(), 10);
    assert_eq!(first.values().map(|person| person["timeline"].as_array().map_or(0, Vec::len)).sum::<usize>(), 100);

    assert_eq!(counts(&api.currents(&batch)), (0, 100, 0), "sent again");
    snapshot::assert_same(&look(), &first);

    for chunk in batch.chunks(7) {
        assert_eq!(counts(&api.currents(chunk)), (0, i64::try_from(chunk.len()).expect("small"), 0), "sent by sevens");
    }
    snapshot::assert_same(&look(), &first);

    let mut shuffled = [batch.clone(), batch].concat();
    fastrand::Rng::with_seed(0x5EED).shuffle(&mut shuffled);
    assert_eq!(counts(&api.currents(&shuffled)), (0, 200, 0), "sent twice at once and shuffled");
    snapshot::assert_same(&look(), &first);
}

#[test]
fn the_order_in_which_things_arrive_does_not_matter() {
    // Two instances with one key, so that ids can be compared: one hears everything in order, the other as bad networks
    // deliver it. Browsers' events are among it: a link, a form, another person's link in the same browser.
    const KEY: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    let (orderly, disorderly) = (Instance::start_with_key(KEY), Instance::start_with_key(KEY));
    let people = ten_people();
    let from = now() - 200 * 2 * MINUTE;
    let batch = hundred_events(&people, from);
    let mut sent: Vec<(Option<String>, Value)> = batch.iter().map(|event| (None, event.clone())).collect();
    for (n, pair) in (0..).zip(people.chunks(2)) {
        let [one, other] = pair else { unreachable!("ten are five pairs") };
        let visitor = events::uuid();
        let at = from + n * 7 * MINUTE;
        let stranger = Person::new("stranger");
        for event in [
            events::page_view(at, "https://shop.example/"),
            events::link_visit(at + MINUTE, "https://shop.example/pricing", &one.braze_id),
            events::form(at + 2 * MINUTE, "demo", if n % 2 == 0 { &one.email } else { &stranger.email }),
            events::link_visit(at + 30 * MINUTE, "https://shop.example/pricing", &other.braze_id),
            events::page_view(at + 31 * MINUTE, "https://shop.example/pricing"),
        ] {
            sent.push((Some(visitor.clone()), event));
        }
    }
    let send = |instance: &Instance, (visitor, event): &(Option<String>, Value)| match visitor {
        Some(visitor) => {
            assert_eq!(instance.api().collect(visitor, std::slice::from_ref(event))["rejected"], json!([]));
        }
        None => assert_eq!(counts(&instance.api().currents(std::slice::from_ref(event))).2, 0),
    };
    assert_eq!(counts(&orderly.api().currents(&batch)), (100, 0, 0));
    for browsing in sent.iter().filter(|(visitor, _)| visitor.is_some()) {
        send(&orderly, browsing);
    }
    let mut rng = fastrand::Rng::with_seed(0x0DD);
    rng.shuffle(&mut sent);
    for event in &sent {
        send(&disorderly, event);
        if rng.f32() < 0.2 {
            send(&disorderly, &sent[rng.usize(..sent.len())]);
        }
    }
    let at = rfc3339(now());
    let (one, other) = (snapshot::of_everybody(orderly.api(), &at), snapshot::of_everybody(disorderly.api(), &at));
    assert!(one.len() >= 10, "{}", one.len());
    snapshot::assert_same(&other, &one);
}

#[test]
fn one_broken_event_in_a_hundred_costs_only_itself() {
    let api = shared();
    let people = ten_people();
    let mut batch = hundred_events(&people, now() - 200 * 2 * MINUTE);
    let broken_id = events::uuid();
    batch[41] = json!({ "event_type": "users.messages.email.Click", "id": broken_id, "time": "yesterday", "user": people[4].user(), "properties": {} });
    assert_eq!(counts(&api.currents(&batch)), (99, 0, 1));

    let stored: usize = people.iter().map(|person| api.timeline(&format!("braze_id:{}", person.braze_id)).len()).sum();
    assert_eq!(stored, 99);
    let letters = || {
        let all = api.pages("/api/dead-letters?limit=200");
        all.into_iter()
            .filter(|letter| letter["raw"].as_str().is_some_and(|raw| raw.contains(&broken_id)))
            .collect::<Vec<_>>()
    };
    let found = letters();
    let [letter] = found.as_slice() else { panic!("one dead letter: {found:?}") };
    assert_eq!((&letter["source"], &letter["reason"]), (&"currents".into(), &"invalid_time".into()));
    assert!(letter["detail"].as_str().is_some_and(|words| words.contains("time")), "{letter}");
    let raw: Value = serde_json::from_str(letter["raw"].as_str().expect("text")).expect("the event as sent");
    assert_eq!(raw, batch[41]);

    // Braze sends the whole batch again: still 99 events and one letter.
    let (accepted, duplicates, _) = counts(&api.currents(&batch));
    assert_eq!((accepted, duplicates), (0, 99));
    assert_eq!(letters().len(), 1);
}

#[test]
fn an_empty_batch_tries_the_credentials_and_stores_nothing() {
    let api = shared();
    let letters = |body: &str| api.post_currents(body.as_bytes()).expect(200);
    for body in ["", " \n", "{}", r#"{"events":[]}"#, r#"{"events":null}"#] {
        assert_eq!(counts(&letters(body)), (0, 0, 0), "{body}");
    }
}
