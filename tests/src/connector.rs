//! Currents as Braze's connector sees it: every status makes it do something (facts on Braze, 1.4), so each answer is the
//! one that loses nothing.

use crate::harness::api::{CURRENTS, currents_body};
use crate::harness::events::{self, Person, id, now, uuid};
use crate::harness::state::{deployment_key, partition};
use crate::harness::{Answer, Api, Instance, shared, snapshot, until, within};
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use wingbeat_engine::event::Source;
use wingbeat_engine::key::{KeyHash, SlotMap};
use wingbeat_engine::partition::encode;
use wingbeat_engine::partition::message::DeadLetter;

/// All partitions go by it; two instances that have it give the same people the same ids.
const KEY: &str = "0f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn send(api: &Api, token: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers: Vec<_> = [("authorization", bearer.as_str())].into_iter().chain(headers.iter().copied()).collect();
    api.send("POST", CURRENTS, &headers, Some(body)).expect("an answer")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn counts(answer: &Value) -> [u64; 3] {
    ["accepted", "duplicates", "dead_lettered"].map(|name| answer[name].as_u64().expect("a count"))
}

/// What the report of gaps says in all, by its columns; of one type, or of all.
fn intake(api: &Api, query: &str) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for row in api.pages(&format!("/api/sources/currents?limit=7{query}")) {
        for column in ["received", "duplicate", "rejected", "no_email", "bot"] {
            *all.entry(column.to_owned()).or_insert(0) += row[column].as_u64().expect("a count");
        }
    }
    all
}

fn columns(counts: [u64; 5]) -> BTreeMap<String, u64> {
    ["received", "duplicate", "rejected", "no_email", "bot"].map(str::to_owned).into_iter().zip(counts).collect()
}

/// A hundred events of a hundred new people, every third with all that Braze may know of somebody.
fn hundred_people() -> Vec<Value> {
    let event = |n: i64| {
        let person = Person::new("new");
        match n % 3 {
            0 => person.email_click(now() - n * 1_000),
            1 => events::currents(
                "users.messages.pushnotification.Open",
                now() - n * 1_000,
                &person.user(),
                &json!({ "campaign_name": "Spring sale" }),
            ),
            _ => events::currents(
                "users.messages.email.Open",
                now() - n * 1_000,
                &person.user(),
                &json!({ "email_address": person.email, "machine_open": "true" }),
            ),
        }
    };
    (0..100).map(event).collect()
}

#[test]
fn a_batch_of_new_people_comes_to_the_same_however_often_and_in_whatever_shape_it_is_sent() {
    let instance = Instance::start();
    let api = instance.api();
    let mut batch = hundred_people();
    batch[7]["time"] = json!("yesterday");
    batch[41]["user"] = json!({});
    batch[41]["properties"] = json!({});
    batch[93] = json!({ "event_type": "users.messages.email.Open", "user": 7 });
    assert_eq!(counts(&api.currents(&batch)), [97, 0, 3]);
    let at = events::rfc3339(now());
    let first = snapshot::of_everybody(api, &at);
    assert_eq!(first.len(), 97);

    assert_eq!(counts(&api.currents(&batch)), [0, 97, 3], "again");
    let mut sent = [0; 3];
    for part in batch.chunks(7) {
        let [accepted, duplicates, dead] = counts(&api.currents(part));
        assert_eq!(accepted + duplicates + dead, part.len() as u64);
        sent = [sent[0] + accepted, sent[1] + duplicates, sent[2] + dead];
    }
    assert_eq!(sent, [0, 97, 3], "by sevens");
    fastrand::Rng::with_seed(0xB12E).shuffle(&mut batch);
    assert_eq!(counts(&api.currents(&batch)), [0, 97, 3], "shuffled");
    snapshot::assert_same(&snapshot::of_everybody(api, &at), &first);

    // Each letter once, with its reason, whatever page it is on.
    let letters = api.pages("/api/dead-letters?limit=1");
    let mut reasons: Vec<_> = letters.iter().map(|letter| letter["reason"].as_str().expect("a word")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["invalid_time", "missing_field", "no_identity"]);
    // Of the 33 pushes, which name no address, and of the 33 machines' opens, one each is broken.
    let of = |event_type: &str| intake(api, &format!("&type={event_type}"));
    let all = intake(api, "");
    assert_eq!((all["received"], all["duplicate"], all["rejected"]), (400, 300, 3), "{all:?}");
    assert_eq!(of("users.messages.pushnotification.Open")["no_email"], all["no_email"]);
    assert_eq!(of("users.messages.email.Open")["bot"], all["bot"]);
    assert_eq!((all["no_email"], all["bot"]), (32, 32), "{all:?}");
    let last = &api.read("/api/sources/currents")["last_batch"];
    assert_eq!((&last["received"], &last["duplicates"], &last["dead_lettered"]), (&100.into(), &97.into(), &3.into()));
}

#[test]
fn the_report_of_gaps_says_what_came_by_type_and_hour() {
    let instance = Instance::start();
    let api = instance.api();
    assert_eq!(api.read("/api/sources/currents")["last_batch"], Value::Null);
    let person = Person::new("counted");
    let push = |user: &Value| events::currents("users.messages.pushnotification.Open", now(), user, &json!({}));
    let batch = [person.email_click(now()), push(&person.user()), push(&Person::new("nobody").user()), json!(5)];
    assert_eq!(counts(&api.currents(&batch)), [3, 0, 1]);
    // Read your writes; the address of the first is known by the time its second event comes, or it is counted without.
    let click = "&type=users.messages.email.Click";
    assert_eq!(intake(api, click), columns([1, 0, 0, 0, 0]));
    assert_eq!(intake(api, "&type=(unreadable)"), columns([1, 0, 1, 0, 0]));
    api.currents(&batch);
    assert_eq!(intake(api, click), columns([2, 1, 0, 0, 0]));
    let pushes = intake(api, "&type=users.messages.pushnotification.Open");
    assert_eq!((pushes["received"], pushes["duplicate"]), (4, 2));
    assert!((1..=2).contains(&pushes["no_email"]), "{pushes:?}");
    // By now it is known for good.
    api.currents(&[push(&person.user())]);
    assert_eq!(intake(api, "&type=users.messages.pushnotification.Open")["no_email"], pushes["no_email"]);

    let hour = |ms: i64| events::rfc3339(ms - ms.rem_euclid(3_600_000));
    let rows = api.pages("/api/sources/currents?limit=200");
    assert!(
        rows.iter().all(|row| [hour(now()), hour(now() - 600_000)].map(Value::from).contains(&row["hour"])),
        "{rows:?}"
    );
    let tomorrow = events::rfc3339(now() + 86_400_000);
    assert_eq!(api.pages(&format!("/api/sources/currents?since={tomorrow}")), Vec::<Value>::new());
    assert_eq!(api.get("/api/sources/currents?hours=3").error(400)["code"], "unknown_parameter");
    assert_eq!(api.get("/api/sources/currents?cursor=x").error(400)["path"], "/cursor");
}

#[test]
fn workspaces_have_tokens_and_ids_of_their_own() {
    let instance = Instance::start_with(KEY, &[("CURRENTS_TOKENS", "brand-b=token-b, brand-b=token-b.new, =second")]);
    let api = instance.api();
    let (here, there) = (Person::new("here"), Person::new("there"));
    // The same customer number means somebody else in the other workspace.
    let mail = |person: &Person, external_id: &str| {
        let user = json!({ "user_id": person.braze_id, "external_user_id": external_id });
        currents_body(&[events::currents(
            "users.messages.email.Open",
            now(),
            &user,
            &json!({ "email_address": person.email }),
        )])
    };
    let id_of = |person: &Person| api.prospect(&format!("email:{}", person.email))["id"].clone();
    assert_eq!(send(api, &api.tokens.currents, &[], &mail(&here, "customer-1")).status, 200);
    for token in ["token-b", "token-b.new"] {
        assert_eq!(send(api, token, &[], &mail(&there, "customer-1")).status, 200, "{token}");
    }
    assert_eq!(
        send(api, "second", &[], &mail(&here, "customer-1")).status,
        200,
        "a second token while one is replaced"
    );
    assert_ne!(id_of(&here), id_of(&there));
    assert_eq!(api.prospect("external_id:customer-1")["email"], here.email.as_str());
    assert_eq!(api.prospect(&format!("email:{}", there.email))["events"], 2);
    let last = &api.read("/api/sources/currents")["last_batches"];
    assert_eq!((&last[0]["workspace"], &last[1]["workspace"]), (&"".into(), &"brand-b".into()));
    assert_eq!(send(api, "token-c", &[], b"").error(401)["code"], "unauthorized");
    let answer = api.send("GET", "/api/dead-letters", &[("authorization", "Bearer token-b")], None);
    assert_eq!(answer.expect("an answer").error(403)["code"], "forbidden");
}

#[test]
fn settings_of_ours_that_cannot_be_read_are_no_reason_for_braze_to_give_up() {
    let instance = Instance::start_with(KEY, &[("CURRENTS_TOKENS", "no pair at all")]);
    let api = instance.api();
    for body in [&b""[..], b"no json", br#"{"events":[]}"#] {
        let answer = send(api, "of-another-workspace", &[], body);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert_eq!(send(api, &api.tokens.currents, &[], b"").status, 200, "the one that can be read is good");
    }
}

/// A secret that got lost is our fault, and Braze is to go on trying (facts on Braze, 1.4), whatever other tokens there are.
#[test]
fn a_token_that_our_secrets_have_lost_is_no_wrong_token() {
    let mut instance = Instance::start_with(KEY, &[("CURRENTS_TOKENS", "brand-b=token-b, =second")]);
    for token in ["token-b", "second"] {
        assert_eq!(send(instance.api(), token, &[], b"").status, 200);
    }
    instance.stop();
    instance.restart_with(&[("CURRENTS_TOKENS", "brand-c=token-c")]);
    for token in ["token-b", "second"] {
        let answer = send(instance.api(), token, &[], b"");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{token}: {}", answer.text());
    }
    assert_eq!(send(instance.api(), "token-c", &[], b"").status, 200);
    assert_eq!(send(instance.api(), "never-seen", &[], b"").status, 401);
    instance.stop();
    instance.restart_with(&[("CURRENTS_TOKENS", "brand-b=token-b")]);
    assert_eq!(send(instance.api(), "token-b", &[], b"").status, 200);
    assert_eq!(send(instance.api(), "token-c", &[], b"").status, 503);
}

#[test]
fn packed_bodies_are_unpacked_within_the_limit() {
    let api = shared();
    let person = Person::new("packed");
    let body = gzip(&currents_body(&[person.email_click(now())]));
    let token = &api.tokens.currents;
    assert_eq!(counts(&send(api, token, &[("content-encoding", "gzip")], &body).expect(200)), [1, 0, 0]);
    assert_eq!(counts(&send(api, token, &[], &body).expect(200)), [0, 1, 0], "told by its first bytes");
    assert_eq!(api.prospect(&format!("email:{}", person.email))["events"], 1);
    assert_eq!(send(api, token, &[("content-encoding", "gzip")], b"").status, 200, "a probe");
    let spaces = |bytes: usize| gzip(&vec![b' '; bytes]);
    assert_eq!(send(api, token, &[], &spaces(8 * 1024 * 1024)).status, 200);
    for bytes in [8 * 1024 * 1024 + 1, 64 * 1024 * 1024] {
        assert_eq!(send(api, token, &[], &spaces(bytes)).error(413)["code"], "too_large", "{bytes}");
    }
    assert_eq!(send(api, token, &[], &body[..body.len() / 2]).error(400)["code"], "invalid_json");
    // Not 400, on which Braze would drop what it holds.
    assert_eq!(send(api, token, &[("content-encoding", "br")], &body).error(415)["path"], "/content-encoding");
}

#[test]
fn a_poisoned_batch_costs_only_what_is_poison() {
    let api = shared();
    let person = Person::new("poisoned");
    let good = || person.email_click(now());
    let with = |name: &str, value: Value| {
        let mut event = good();
        event[name] = value;
        event
    };
    let text = |bytes: usize| json!({ "name": "essay", "custom_properties": { "text": "é".repeat(bytes / 2) } });
    let essay = |bytes: usize| events::currents("users.behaviors.CustomEvent", now(), &person.user(), &text(bytes));
    let mut deep = Value::Null;
    for _ in 0..100 {
        deep = json!([deep]);
    }
    let batch = [
        good(),
        with("event_type", json!(["users"])),
        with("id", json!("")),
        with("id", json!("not one of Braze's, and very long: ".repeat(100))),
        with("time", json!(9e300)),
        with("properties", json!("{}")),
        with("user", json!({ "user_id": "\u{0}", "external_user_id": "{{${user_id}}}" })),
        essay(900_000),
        essay(1_100_000),
        with("properties", json!({ "deep": deep, "campaign_name": "\u{202e}<script>" })),
        good(),
    ];
    let [accepted, duplicates, dead] = counts(&api.currents(&batch));
    // Two good ones, one with a strange id, one of nobody but its address, a long text, something deep.
    assert_eq!([accepted, duplicates, dead], [6, 0, 5]);
    let shown = api.timeline(&format!("email:{}", person.email));
    assert_eq!(shown.len(), 6);
    let sizes: Vec<usize> = shown.iter().map(|item| item["properties"].to_string().len()).collect();
    assert!(sizes.iter().any(|bytes| *bytes > 900_000), "kept as sent: {sizes:?}");
    let letters = api.pages("/api/dead-letters?limit=200");
    let large = letters.iter().find(|letter| letter["reason"] == "too_large").expect("a letter");
    assert!(large["raw"].as_str().is_some_and(|raw| raw.len() < 100_000), "the beginning of it");
    // Split to single events, as Braze splits what it is told is too large, nothing changes.
    for event in &batch {
        let [accepted, duplicates, dead] = counts(&api.currents(std::slice::from_ref(event)));
        assert_eq!((accepted, duplicates + dead), (0, 1));
    }
    assert_eq!(api.timeline(&format!("email:{}", person.email)).len(), 6);
}

#[test]
fn too_much_at_once_is_sent_away_and_comes_back() {
    let instance = Instance::start();
    let api = instance.api();
    let people: Vec<Person> = (0..6).map(|_| Person::new("patient")).collect();
    let bodies: Vec<Vec<u8>> = people
        .iter()
        .map(|person| {
            let mut body = currents_body(&[person.email_click(now())]);
            body.resize(7_500_000, b' ');
            body
        })
        .collect();
    // Six at once that do not come to an end have 45 MB, more than an isolate may hold.
    let (first_half, address) = (7_400_000, api.base.trim_start_matches("http://").to_owned());
    let mut sockets: Vec<TcpStream> = bodies
        .iter()
        .map(|body| {
            let mut socket = TcpStream::connect(&address).expect("it listens");
            let token = &api.tokens.currents;
            let head = format!(
                "POST {CURRENTS} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            socket.write_all(head.as_bytes()).expect("it is taken");
            socket.write_all(&body[..first_half]).expect("it is taken");
            socket
        })
        .collect();
    until("it holds as much as it can", || api.post_currents(&vec![b' '; 6_000_000]).status == 429);
    let statuses: Vec<String> = sockets
        .iter_mut()
        .zip(&bodies)
        .map(|(socket, body)| {
            socket.write_all(&body[first_half..]).expect("it is taken");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).expect("an answer");
            answer.split(' ').nth(1).unwrap_or_default().to_owned()
        })
        .collect();
    assert!(statuses.iter().all(|status| status == "200" || status == "429"), "{statuses:?}");
    assert!(
        statuses.iter().any(|status| status == "200") && statuses.iter().any(|status| status == "429"),
        "{statuses:?}"
    );
    for ((person, status), body) in people.iter().zip(&statuses).zip(&bodies) {
        let found = api.find(&format!("email:{}", person.email));
        assert_eq!(found.is_some(), status == "200");
        assert_eq!(counts(&api.post_currents(body).expect(200)), if found.is_some() { [0, 1, 0] } else { [1, 0, 0] });
    }
}

/// workerd neither goes on with a request whose connection was reset nor ends it.
#[test]
fn uploads_that_break_off_make_room_again() {
    let instance = Instance::start();
    let api = instance.api();
    let address = api.base.trim_start_matches("http://").to_owned();
    let half = vec![b' '; 7_400_000];
    let sockets: Vec<TcpStream> = (0..5)
        .map(|_| {
            let mut socket = TcpStream::connect(&address).expect("it listens");
            let token = &api.tokens.currents;
            // A connection on which an answer lies unread is reset when it is closed (RFC 1122, 4.2.2.13).
            let heads = format!(
                "GET /healthz HTTP/1.1\r\nHost: {address}\r\n\r\n\
                 POST {CURRENTS} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: 7500000\r\n\r\n",
            );
            socket.write_all(heads.as_bytes()).expect("it is taken");
            socket.write_all(&half).expect("it is taken");
            socket
        })
        .collect();
    let batch = || api.post_currents(&vec![b' '; 6_000_000]).status;
    until("it holds as much as it can", || batch() == 429);
    drop(sockets);
    // Half a minute after the last of them came (`STALLED_MS`).
    let room = within(Duration::from_secs(90), || (batch() == 200).then_some(()));
    assert!(room.is_some(), "there is room again");
    let person = Person::new("patient");
    assert_eq!(counts(&api.currents(&[person.email_click(now())])), [1, 0, 0]);
}

#[test]
fn subscription_groups_have_the_names_that_were_given_them() {
    let api = shared();
    let admin = format!("Bearer {}", api.tokens.admin);
    let put = |body: &str| {
        api.send("PUT", "/api/settings", &[("authorization", &admin)], Some(body.as_bytes())).expect("an answer")
    };
    let group = uuid();
    let settings = json!({ "subscription_groups": { &group: "Product news" } });
    assert_eq!(put(&settings.to_string()).expect(200), settings);
    assert_eq!(api.read("/api/settings"), settings);
    let person = Person::new("subscriber");
    let change = |group: &str| {
        let properties = json!({ "email_address": person.email, "subscription_status": "Subscribed", "subscription_group_id": group });
        events::currents("users.behaviors.subscriptiongroup.StateChange", now(), &person.user(), &properties)
    };
    let (named, unnamed) = (change(&group), change("group-9"));
    api.currents(&[named.clone(), unnamed.clone()]);
    let names: BTreeMap<String, Value> =
        api.timeline(&format!("email:{}", person.email)).iter().map(|item| (id(item), item["name"].clone())).collect();
    assert_eq!(names[&id(&named)], "[Subscription status change] Subscribed to/from Product news");
    assert_eq!(names[&id(&unnamed)], "[Subscription status change] Subscribed to/from group-9");
    for wrong in ["{}}", "[]", r#"{"subscription_groups":[]}"#, r#"{"groups":{}}"#] {
        assert_eq!(put(wrong).status, 400, "{wrong}");
    }
    assert_eq!(api.read("/api/settings"), settings);
}

#[test]
fn a_letter_that_can_be_read_by_now_is_stored_and_goes() {
    let mut instance = Instance::start();
    let key = deployment_key(&instance);
    let api = instance.api();
    let person = Person::new("late");
    let mut broken = person.email_click(now());
    broken["time"] = json!("yesterday");
    assert_eq!(counts(&api.currents(&[broken])), [0, 0, 1]);
    // As if an older release had not been able to read it.
    let good = person.email_click(now());
    let letter = DeadLetter {
        source: Source::Currents,
        reason: "invalid_event".to_owned(),
        detail: "an older release".to_owned(),
        raw: good.to_string(),
        event_type: None,
        workspace: String::new(),
    };
    let mac = key.mac(letter.raw.as_bytes());
    let place = SlotMap { partitions: 4 }.partition_of(KeyHash::from_mac(&mac));
    instance.stop();
    let database = Connection::open(partition(&instance, place)).expect("the database opens");
    let row = (mac.as_slice(), now(), encode(&letter).expect("a letter"));
    database.execute("INSERT INTO dead VALUES (?, ?, ?)", row).expect("a row");
    drop(database);
    instance.restart();

    let api = instance.api();
    let letters = api.pages("/api/dead-letters?limit=1");
    assert_eq!(letters.len(), 2);
    let admin = format!("Bearer {}", api.tokens.admin);
    let retry = |id: &str| {
        let path = format!("/api/dead-letters/{id}/retry");
        api.send("POST", &path, &[("authorization", &admin)], Some(b"")).expect("an answer")
    };
    for letter in &letters {
        let id = letter["id"].as_str().expect("an id");
        assert_eq!(api.read(&format!("/api/dead-letters/{id}")), *letter);
        let answer = retry(id).expect(200);
        if letter["reason"] == "invalid_time" {
            assert_eq!((&answer["status"], &answer["reason"]), (&"dead_lettered".into(), &"invalid_time".into()));
        } else {
            assert_eq!(answer["status"], "accepted");
            assert_eq!(retry(id).error(404)["code"], "not_found");
        }
    }
    assert_eq!(api.pages("/api/dead-letters?limit=200").len(), 1);
    assert_eq!(api.timeline(&format!("email:{}", person.email)).len(), 1);
    assert_eq!(counts(&api.currents(&[good])), [0, 1, 0]);
    assert_eq!(retry("00").error(404)["code"], "not_found");
    let token = format!("Bearer {}", api.tokens.currents);
    let path = format!("/api/dead-letters/{}/retry", "0".repeat(64));
    assert_eq!(api.send("POST", &path, &[("authorization", &token)], Some(b"")).expect("an answer").status, 403);
}

#[test]
fn what_was_answered_200_outlives_kill_9() {
    let (mut instance, calm) = (Instance::start_with_key(KEY), Instance::start_with_key(KEY));
    let batches: Vec<Vec<Value>> = (0..12).map(|_| hundred_people().split_off(80)).collect();
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let kill_after = fastrand::usize(2..8);
    let kept: Vec<bool> = thread::scope(|scope| {
        let senders: Vec<_> = batches
            .chunks(4)
            .map(|own| {
                let (api, stop, answered) = (instance.api().clone(), &stop, &answered);
                scope.spawn(move || {
                    let send = |batch: &Vec<Value>| {
                        let is_up = !stop.load(Ordering::SeqCst);
                        let kept = is_up && api.try_post_currents(&currents_body(batch)).is_ok_and(|a| a.status == 200);
                        answered.fetch_add(usize::from(kept), Ordering::SeqCst);
                        kept
                    };
                    own.iter().map(send).collect::<Vec<_>>()
                })
            })
            .collect();
        until("some are answered", || answered.load(Ordering::SeqCst) >= kill_after);
        instance.kill_9();
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().flat_map(|sender| sender.join().expect("a sender ends well")).collect()
    });
    instance.restart();
    let api = instance.api();
    for (batch, kept) in batches.iter().zip(&kept) {
        let [accepted, duplicates, _] = counts(&api.currents(batch));
        assert_eq!(accepted + duplicates, 20);
        assert!(!kept || duplicates == 20, "killed after {kill_after}: {accepted} events were lost after a 200");
    }
    for batch in &batches {
        assert_eq!(counts(&calm.api().currents(batch)), [20, 0, 0]);
    }
    let at = events::rfc3339(now());
    let (one, other) = (snapshot::of_everybody(api, &at), snapshot::of_everybody(calm.api(), &at));
    assert_eq!(one.len(), 240);
    snapshot::assert_same(&one, &other);
    // Counted as new once, whatever became of the answer.
    let all = intake(api, "");
    assert_eq!(all["received"] - all["duplicate"] - all["rejected"], 240, "{all:?}");
}
