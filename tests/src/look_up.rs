//! People looked up in Braze who came without an address, and profiles that are found by what is known of people.

use crate::harness::braze::{Fate, Profile};
use crate::harness::events::{Person, currents, form, link_visit, now, rfc3339, uuid};
use crate::harness::wait::within;
use crate::harness::{Api, Braze, Instance, until};
use crate::write_back::{KEY, LONG, add, change, connection, put, settled};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const EXPORT: &str = "/users/export/ids";

#[test]
fn whoever_comes_without_an_address_is_looked_up_within_the_rate() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let mut set = connection(&braze);
    set["look_up"] = json!({ "per_second": 40 });
    set["write_back"] = json!({ "on": false });
    put(api, "braze", &set);
    // Of a thousand, every fifth is known to Braze without an address, and every tenth not at all.
    let people: Vec<Person> = (0..1_000).map(|n| Person::new(&format!("push{n}"))).collect();
    let has_email = |n: usize| !n.is_multiple_of(5);
    let is_known = |n: usize| !n.is_multiple_of(10);
    for (n, person) in people.iter().enumerate().filter(|(n, _)| is_known(*n)) {
        braze.add(Profile {
            braze_id: person.braze_id.clone(),
            external_id: Some(person.external_id.clone()),
            email: has_email(n).then(|| person.email.clone()),
            attributes: Map::from_iter([("plan".to_owned(), json!("pro"))]),
        });
    }
    let push = |user: Value| {
        currents(
            "users.messages.pushnotification.Open",
            now(),
            &user,
            &json!({ "campaign_name": "News", "app_id": "a" }),
        )
    };
    // Nine in ten by both ids; the others once by each: two people, until Braze says that they are one.
    for (part, batch) in people.chunks(100).enumerate() {
        let events: Vec<Value> = batch
            .iter()
            .flat_map(|person| match part {
                0 => vec![push(person.braze_user()), push(json!({ "external_user_id": person.external_id }))],
                _ => vec![push(person.user())],
            })
            .collect();
        api.currents(&events);
    }
    let known: Vec<&Person> =
        people.iter().enumerate().filter(|(n, _)| has_email(*n)).map(|(_, person)| person).collect();
    let all = within(LONG, || {
        let counts = &api.read("/api/connections/braze")["status"]["look_up"]["people"];
        counts["waiting"]
            .is_null()
            .then(|| {
                known.iter().all(|person| api.find(&format!("email:{}", person.email.replace('@', "%40"))).is_some())
            })
            .filter(|all| *all)
    });
    assert!(all.is_some(), "{}", api.read("/api/connections/braze"));
    let one = api.prospect(&format!("external_id:{}", people[1].external_id));
    let other = api.prospect(&format!("braze_id:{}", people[1].braze_id));
    assert_eq!((&one["id"], &one["email"]), (&other["id"], &json!(people[1].email)));
    assert_eq!(one["attributes"]["braze.plan"]["value"], "pro", "{one}");
    assert_eq!(api.prospect(&format!("braze_id:{}", people[5].braze_id))["email"], Value::Null);

    let calls = braze.calls("/users/export/ids");
    let times: Vec<Instant> = calls.iter().map(|call| call.at).collect();
    for start in &times {
        let second =
            times.iter().filter(|at| *at >= start && at.duration_since(*start) < Duration::from_secs(1)).count();
        assert!(second <= 41, "{second} calls within a second");
    }
    assert_eq!(braze.complaints(), Vec::<String>::new());
    assert!(calls.iter().all(|call| call.status == 200), "none was refused");
    // 900 by external ids, 50 a call as they came; the first hundred by either id; whom Braze does not know by an external id,
    // by the Braze id, too.
    assert!(calls.len() <= 20 + 2 * 10 + 100 + 90, "{} calls", calls.len());
    let counts = &api.read("/api/connections/braze")["status"]["look_up"]["people"];
    assert!(
        counts["no_email"].as_u64().is_some_and(|n| n >= 100) && counts["unknown"].as_u64().is_some_and(|n| n >= 100),
        "{counts}"
    );
}

#[test]
fn a_look_up_is_seen_as_a_write_back_is_but_for_what_it_found() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = ["ada", "bob"].map(Person::new);
    add(&braze, &people);
    put(api, "braze", &connection(&braze));
    let is_up = Arc::new(AtomicU32::new(0));
    let up = is_up.clone();
    braze.decide(move |_| if up.load(Ordering::Relaxed) == 0 { Fate::Refused(503, None) } else { Fate::Answered });
    let pushed: Vec<Value> = people
        .iter()
        .map(|person| {
            currents("users.messages.pushnotification.Open", now(), &person.user(), &json!({ "app_id": "a" }))
        })
        .collect();
    api.currents(&pushed);
    let look_ups = |state: &str| {
        crate::harness::api::items(&api.read(&format!("/api/deliveries?kind=look_up&state={state}"))["items"])
    };
    until("it waits", || look_ups("waiting").iter().any(|delivery| delivery["attempt"].as_u64() > Some(1)));
    let waiting = &look_ups("waiting")[0];
    assert!(waiting["next_attempt_at"].is_string() && waiting["reason"].is_string(), "{waiting}");
    assert_eq!((&waiting["status"], &waiting["kind"]), (&json!(503), &json!("look_up")));
    is_up.store(1, Ordering::Relaxed);
    until("all are looked up", || look_ups("waiting").is_empty() && !look_ups("delivered").is_empty());
    let delivered = look_ups("delivered").into_iter().find(|delivery| delivery["id"] == waiting["id"]);
    let delivered = delivered.expect("the series of attempts is one");
    let asked = braze.calls("/users/export/ids").into_iter().find(|call| call.status == 200).expect("a call");
    assert_eq!((&delivered["request"]["body"], &delivered["status"]), (&asked.body, &json!(200)));
    assert_eq!(delivered["request"]["headers"]["authorization"], "Bearer …89ab");
    until("they have their addresses", || {
        people.iter().all(|person| api.find(&format!("email:{}", person.email)).is_some())
    });
    let all = api.read("/api/deliveries?kind=look_up").to_string();
    assert!(people.iter().all(|person| !all.contains(&person.email)), "an erasure would not reach it: {all}");
    assert!(look_ups("delivered").iter().all(|delivery| delivery["kind"] == "look_up"));
}

fn push(user: &Value) -> Value {
    currents("users.messages.pushnotification.Open", now(), user, &json!({ "campaign_name": "News", "app_id": "a" }))
}

/// Asks once more for whoever the newest look-up asked for.
fn again(api: &Api, braze: &Braze) {
    let calls = braze.calls(EXPORT).len();
    let newest = api.read("/api/deliveries?kind=look_up")["items"][0]["id"].as_str().expect("a look-up").to_owned();
    change(api, "POST", &format!("/api/deliveries/{newest}/retry"), &json!({})).expect(202);
    until("it is asked for again", || braze.calls(EXPORT).len() > calls);
    until("it is answered", || api.read("/api/deliveries?kind=look_up")["items"][0]["id"] != newest.as_str());
}

/// Erases somebody, and waits until that is complete.
fn erase(api: &Api, reference: &str) {
    let erasure = change(api, "DELETE", &format!("/api/prospects/{reference}"), &json!({})).expect(202);
    let id = erasure["erasure"].as_str().expect("an erasure").to_owned();
    until("it is complete", || api.read(&format!("/api/erasures/{id}"))["status"] == "completed");
}

#[test]
fn who_is_erased_while_a_look_up_waits_or_is_under_way_is_not_brought_back() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = ["waits", "asked", "other"].map(Person::new);
    add(&braze, &people);
    let [waits, asked, other] = &people;
    let mut set = connection(&braze);
    set["pace"]["timeout_ms"] = 60_000.into();
    put(api, "braze", &set);
    // 0: refused; 1: held; 2: answered.
    let state = Arc::new(AtomicU32::new(0));
    let of = state.clone();
    braze.decide(move |path| {
        while path == EXPORT && of.load(Ordering::Relaxed) == 1 {
            sleep(Duration::from_millis(5));
        }
        if path == EXPORT && of.load(Ordering::Relaxed) == 0 { Fate::Refused(503, None) } else { Fate::Answered }
    });
    let by_external = |person: &Person| push(&json!({ "external_user_id": person.external_id }));
    api.currents(&[by_external(waits)]);
    until("it waits", || !api.read("/api/deliveries?kind=look_up&state=waiting")["items"][0].is_null());
    erase(api, &format!("external_id:{}", waits.external_id));
    state.store(1, Ordering::Relaxed);
    api.currents(&[by_external(asked), by_external(other)]);
    sleep(Duration::from_secs(3));
    erase(api, &format!("external_id:{}", asked.external_id));
    state.store(2, Ordering::Relaxed);
    until("the other is found", || api.find(&format!("email:{}", other.email)).is_some());
    until("nobody waits", || api.read("/api/connections/braze")["status"]["look_up"]["people"]["waiting"].is_null());
    for person in [waits, asked] {
        for reference in [
            format!("email:{}", person.email),
            format!("external_id:{}", person.external_id),
            format!("braze_id:{}", person.braze_id),
        ] {
            assert!(api.find(&reference).is_none(), "{reference} is back");
        }
        until("no call speaks of them", || !api.read("/api/deliveries").to_string().contains(&person.external_id));
    }
    // Who comes back is looked up again.
    api.currents(&[by_external(waits)]);
    until("they are found", || api.find(&format!("email:{}", waits.email)).is_some());
}

#[test]
fn profiles_that_only_an_address_leads_to_are_found_and_written_to() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    // Known by the address alone; by the address and one of two profiles that share it; and to nobody at Braze.
    let (alone, shared, unknown) = (Person::new("alone"), Person::new("shared"), Person::new("unknown"));
    let second = Person { email: shared.email.clone(), ..Person::new("second") };
    for person in [&alone, &shared, &second] {
        let (braze_id, email) = (person.braze_id.clone(), Some(person.email.clone()));
        braze.add(Profile { braze_id, email, ..Profile::default() });
    }
    let mut set = connection(&braze);
    set["look_up"] = json!({ "by_email": true });
    put(api, "braze", &set);
    let open = |person: &Person| {
        currents("users.messages.email.Open", now(), &json!({}), &json!({ "email_address": person.email }))
    };
    api.currents(&[open(&alone), shared.email_click(now()), open(&unknown)]);
    settled(api, &braze, &[alone.clone(), shared.clone(), second.clone()], Duration::from_secs(20));
    let one = api.prospect(&format!("braze_id:{}", shared.braze_id));
    assert_eq!(one["id"], api.prospect(&format!("braze_id:{}", second.braze_id))["id"]);
    let asked = |person: &Person| {
        braze.calls(EXPORT).iter().filter(|call| call.body["email_address"] == person.email.as_str()).count()
    };
    assert_eq!([asked(&alone), asked(&shared), asked(&unknown)], [1, 1, 1], "each address once");
    assert_eq!(api.read("/api/connections/braze")["status"]["look_up"]["people"]["unknown"], 1);
    assert_eq!((braze.complaints(), braze.written_twice()), (vec![], vec![]));

    // The list of calls has the addresses until their people are erased.
    let all = || api.read("/api/deliveries").to_string();
    assert!([&alone, &unknown].iter().all(|person| all().contains(&person.email)), "{}", all());
    for person in [&alone, &unknown] {
        erase(api, &format!("email:{}", person.email));
        until("no call speaks of them", || !all().contains(&person.email) && !all().contains(&person.braze_id));
    }
    assert!(all().contains(&shared.email));
}

#[test]
fn who_is_known_by_what_a_browser_said_is_looked_up_like_anybody_else() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = ["follows a link", "fills in a form"].map(|name| Person::new(&name.replace(' ', "-")));
    add(&braze, &people);
    let mut set = connection(&braze);
    set["look_up"] = json!({ "by_email": true });
    put(api, "braze", &set);
    api.collect(&uuid(), &[link_visit(now(), "https://shop.example/", &people[0].braze_id)]);
    api.collect(&uuid(), &[form(now(), "Contact", &people[1].email)]);
    until("the link leads to an address", || api.find(&format!("email:{}", people[0].email)).is_some());
    until("the address leads to a profile", || api.find(&format!("braze_id:{}", people[1].braze_id)).is_some());
    settled(api, &braze, &people, Duration::from_secs(20));
}

#[test]
fn an_id_that_braze_does_not_know_hides_no_other_of_the_same_person() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let person = Person::new("ada");
    let (braze_id, email) = (person.braze_id.clone(), Some(person.email.clone()));
    braze.add(Profile { braze_id, email, external_id: Some("another by now".to_owned()), ..Profile::default() });
    put(api, "braze", &connection(&braze));
    api.currents(&[push(&person.user())]);
    until("they are found", || api.find(&format!("email:{}", person.email)).is_some());
}

#[test]
fn an_answer_is_an_event_once_dated_by_when_it_was_learned() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let person = Person::new("ada");
    let attributes = |plan: &str| Map::from_iter([("plan".to_owned(), json!(plan))]);
    let (braze_id, external_id) = (person.braze_id.clone(), Some(person.external_id.clone()));
    braze.add(Profile { braze_id, external_id, attributes: attributes("pro"), ..Profile::default() });
    put(api, "braze", &connection(&braze));
    let reference = format!("external_id:{}", person.external_id);
    api.currents(&[push(&json!({ "external_user_id": person.external_id }))]);
    let learned = || {
        let of = |event: &Value| (event["kind"] == "other").then(|| event["at"].as_str().expect("a time").to_owned());
        api.timeline(&reference).iter().filter_map(of).collect::<Vec<_>>()
    };
    until("they are looked up", || {
        api.find(&reference).is_some_and(|it| it["attributes"]["braze.plan"]["value"] == "pro")
    });
    let first = learned();
    assert_eq!(first.len(), 1);
    again(api, &braze);
    again(api, &braze);
    assert_eq!(learned(), first, "nothing was learned");
    braze.change(&person.braze_id, |profile| profile.attributes.extend(attributes("max")));
    let before = rfc3339(now());
    again(api, &braze);
    until("it is learned", || api.prospect(&reference)["attributes"]["braze.plan"]["value"] == "max");
    let learned = learned();
    assert!(learned.len() == 2 && learned.contains(&first[0]) && learned.iter().any(|at| *at >= before), "{learned:?}");
}

#[test]
fn a_profile_that_braze_did_not_know_gets_everything_once_it_is_there() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let person = Person::new("ada");
    put(api, "braze", &connection(&braze));
    let by_external = || push(&json!({ "external_user_id": person.external_id }));
    api.currents(&[by_external()]);
    let status = || api.read("/api/connections/braze")["status"].clone();
    until("Braze does not know them", || status()["look_up"]["people"]["unknown"] == 1);
    assert_eq!((&status()["write_back"]["absent"], &status()["write_back"]["confirmed"]), (&json!(1), &json!(0)));
    let records = api.read("/api/connections/braze/records?state=absent");
    assert_eq!(records["items"][0]["record"], format!("external_id:{}", person.external_id));
    // They come to be there, and are heard of.
    add(&braze, std::slice::from_ref(&person));
    sleep(Duration::from_millis(600));
    api.currents(&[by_external()]);
    settled(api, &braze, std::slice::from_ref(&person), Duration::from_secs(20));
    assert_eq!((braze.written_twice(), braze.ignored()), (vec![], vec![]));
    until("it is confirmed", || status()["write_back"]["confirmed"] == 1);

    // A key that may not look anybody up writes by the ids there are.
    braze.allow("tracks-only-0123456789", &["users.track"]);
    let other = Person::new("bob");
    add(&braze, std::slice::from_ref(&other));
    let mut set = connection(&braze);
    set["api_key"] = "tracks-only-0123456789".into();
    put(api, "braze", &set);
    api.currents(&[push(&json!({ "external_user_id": other.external_id }))]);
    until("they are written to", || braze.attributes(&other.braze_id).contains_key("sw_lead_score"));
    // And once it may, finds out who they are, and writes nothing twice.
    put(api, "braze", &connection(&braze));
    settled(api, &braze, &[person, other], Duration::from_secs(20));
    assert_eq!((braze.written_twice(), braze.ignored()), (vec![], vec![]));
}

/// External ids alone, as pushes bring them.
fn pushed(api: &Api, people: &[Person]) {
    api.currents(
        &people.iter().map(|person| push(&json!({ "external_user_id": person.external_id }))).collect::<Vec<_>>(),
    );
}

fn identified(api: &Api, people: &[Person]) -> usize {
    people
        .iter()
        .filter(|person| api.prospect(&format!("external_id:{}", person.external_id))["email"] != Value::Null)
        .count()
}

#[test]
fn one_id_that_spoils_every_look_up_holds_up_nobody_and_is_not_written_to() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..60).map(|n| Person::new(&format!("spoilt{n:02}"))).collect();
    add(&braze, &people);
    let bad = &people[7];
    braze.spoil(&bad.external_id);
    put(api, "braze", &connection(&braze));
    pushed(api, &people);
    until("all others are found", || identified(api, &people) == people.len() - 1);
    let refused = || api.read("/api/deliveries?kind=look_up&state=refused")["items"].clone();
    until("it is seen to be refused", || refused()[0]["refused"].to_string().contains(&bad.external_id));
    until("nothing else is in the way", || {
        let status = &api.read("/api/connections/braze")["status"]["look_up"];
        status["trouble"].is_null() && status["people"]["waiting"] == 1 && status["people"]["failed"].is_null()
    });
    let told = braze.calls("/users/track").iter().any(|call| call.body.to_string().contains(&bad.external_id));
    assert!(!told, "Braze has not said that it has such a profile");
    braze.heal();
    change(api, "POST", "/api/connections/braze/sync?full=true", &Value::Null);
    until("it is found", || identified(api, &people) == people.len());
    settled(api, &braze, &people, LONG);
}

#[test]
fn a_page_in_brazes_place_is_an_outage_and_counts_against_nobody() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..40).map(|n| Person::new(&format!("page{n:02}"))).collect();
    add(&braze, &people);
    braze.decide(|_| Fate::Strayed);
    put(api, "braze", &connection(&braze));
    let (by_external_id, by_braze_id) = people.split_at(30);
    pushed(api, by_external_id);
    api.currents(&by_braze_id.iter().map(|person| person.email_click(now())).collect::<Vec<_>>());
    until("both ways have failed more often than a call of one is tried", || {
        ["/users/track", EXPORT].iter().all(|path| braze.calls(path).len() > 6)
    });
    let status = api.read("/api/connections/braze")["status"].clone();
    for way in ["write_back", "look_up"] {
        assert_eq!(status[way]["trouble"]["class"], "outage", "{status}");
    }
    assert_eq!((&status["write_back"]["confirmed"], &status["look_up"]["people"]["failed"]), (&json!(0), &Value::Null));
    let test = change(api, "POST", "/api/connections/braze/test", &Value::Null).expect(200);
    assert!(test["permissions"].as_array().expect("two").iter().all(|one| one["ok"] == false), "{test}");
    braze.decide(|_| Fate::Answered);
    let test = change(api, "POST", "/api/connections/braze/test", &Value::Null).expect(200);
    assert_eq!(test["ok"], true, "{test}");
    settled(api, &braze, &people, LONG);
    assert_eq!(identified(api, by_external_id), by_external_id.len());
    assert_eq!(braze.complaints(), Vec::<String>::new());
}
