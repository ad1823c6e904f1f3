//! A connection as its operator sees it: its key, its test, a dry run, and what a change of it does.

use crate::harness::braze::{Call, Fate};
use crate::harness::events::{Person, currents, now};
use crate::harness::{Api, Braze, Instance, until};
use crate::write_back::{KEY, add, change, clicks, connection, put, settled};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[test]
fn a_key_is_kept_from_every_answer_log_and_file() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    // The answer to a wrong key repeats it.
    let wrong = r#"9f9f9f9f-"dead\4bad-8bad/fedcba987654"#;
    let person = Person::new("ada");
    add(&braze, std::slice::from_ref(&person));
    let with_wrong = |mut connection: Value| {
        connection["api_key"] = wrong.into();
        connection
    };
    put(api, "braze", &with_wrong(connection(&braze)));
    api.currents(&clicks(std::slice::from_ref(&person), now()));
    until("the wrong key shows", || !api.read("/api/connections/braze")["status"]["write_back"]["trouble"].is_null());
    let tested = change(api, "POST", "/api/connections/braze/test", &json!({})).expect(200);
    assert_eq!(tested["ok"], false);
    let seen = [api.read("/api/connections").to_string(), api.read("/api/deliveries").to_string(), tested.to_string()];
    let seen = seen.into_iter().chain([instance.log()]).collect::<String>();
    // However it is quoted, its first part stands there by itself.
    assert!(seen.contains("Invalid API key: …7654") && !seen.contains("9f9f9f9f"), "{seen}");
    for file in walk(&instance.state()) {
        let bytes = std::fs::read(&file).expect("a file of the state");
        assert!(!bytes.windows(wrong.len()).any(|part| part == wrong.as_bytes()), "the key is in {}", file.display());
    }

    // Put right, it goes on by itself; and a key stays where it was given for.
    put(api, "braze", &connection(&braze));
    settled(api, &braze, std::slice::from_ref(&person), Duration::from_secs(20));
    let mut elsewhere = connection(&Braze::start("another"));
    elsewhere.as_object_mut().expect("an object").remove("api_key");
    let refused = change(api, "PUT", "/api/connections/braze", &elsewhere);
    assert_eq!((refused.status, &refused.error(400)["path"]), (400, &json!("/api_key")));
    let mut sdk = connection(&braze);
    sdk["rest_endpoint"] = "https://sdk.fra-02.braze.eu".into();
    let refused = change(api, "PUT", "/api/connections/braze", &sdk);
    assert!(refused.status == 400 && refused.text().contains("https://rest.fra-02.braze.eu"), "{}", refused.text());
}

pub(crate) fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn the_test_of_a_connection_names_what_the_key_may_not_and_leaves_no_trace() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    braze.allow(KEY, &["users.export.ids"]);
    put(api, "braze", &connection(&braze));
    let tested = change(api, "POST", "/api/connections/braze/test", &json!({})).expect(200);
    let permissions = &tested["permissions"];
    assert_eq!((&permissions[0]["ok"], &permissions[1]["ok"]), (&json!(true), &json!(false)), "{tested}");
    assert!(permissions[1]["message"].as_str().is_some_and(|words| words.contains("Access Denied")), "{tested}");
    braze.allow(KEY, &["users.export.ids", "users.track"]);
    assert_eq!(change(api, "POST", "/api/connections/braze/test", &json!({})).expect(200)["ok"], true);
    assert_eq!((braze.profiles(), braze.writes(), braze.complaints()), (vec![], vec![], vec![]));
}

#[test]
fn a_dry_run_shows_the_exact_requests_and_sends_none() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = [Person::new("ada")];
    add(&braze, &people);
    let mut dry = connection(&braze);
    dry["dry_run"] = true.into();
    dry["write_back"] = json!({ "names": { "lead_score": "lead score" }, "stage": null });
    put(api, "braze", &dry);
    api.currents(&clicks(&people, now()));
    until("it is shown", || !api.read("/api/deliveries?state=dry_run")["items"][0].is_null());
    let preview = api.read("/api/connections/braze/preview");
    let object = &preview["items"][0]["body"]["attributes"][0];
    assert_eq!((&object["braze_id"], &object["_update_existing_only"]), (&json!(people[0].braze_id), &json!(true)));
    assert!(object["lead score"].is_number() && object["lead_stage"].is_null(), "{preview}");
    assert_eq!(
        (&preview["people"], &preview["profiles"], &preview["requests_to_go"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(&api.read("/api/deliveries")["items"][0]["request"]["body"], &preview["items"][0]["body"]);
    let status = &api.read("/api/connections/braze")["status"]["write_back"];
    assert_eq!((&status["shown_only"], &status["confirmed"]), (&json!(1), &json!(0)), "nothing was written: {status}");
    let records = api.read("/api/connections/braze/records?state=shown_only");
    assert_eq!(records["items"][0]["state"], "shown_only", "{records}");
    assert_eq!((braze.calls("/users/track"), braze.writes()), (vec![], vec![]));

    dry["dry_run"] = false.into();
    put(api, "braze", &dry);
    until("it is sent", || !braze.writes().is_empty());
    assert_eq!(&braze.calls("/users/track")[0].body, &preview["items"][0]["body"], "what was shown is what is sent");
    until("it is confirmed", || api.read("/api/connections/braze")["status"]["write_back"]["confirmed"] == 1);
}

#[test]
fn a_preview_shows_every_request_whole_page_by_page() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..180).map(|n| Person::new(&format!("dry{n}"))).collect();
    add(&braze, &people);
    people.chunks(90).for_each(|part| drop(api.currents(&clicks(part, now()))));
    let mut dry = connection(&braze);
    dry["dry_run"] = true.into();
    put(api, "braze", &dry);
    let shown = || api.read("/api/connections/braze")["status"]["write_back"]["shown_only"].clone();
    until("all are shown", || shown() == people.len());
    let objects = |bodies: &[Value]| -> Vec<Vec<Value>> {
        bodies.iter().map(|body| body["attributes"].as_array().expect("objects").clone()).collect()
    };
    let bodies = |items: &[Value]| items.iter().map(|item| item["body"].clone()).collect::<Vec<Value>>();
    let all = api.read("/api/connections/braze/preview");
    let all = (bodies(all["items"].as_array().expect("requests")), all["next_cursor"].clone());
    let paged = bodies(&api.pages("/api/connections/braze/preview?limit=1"));
    assert_eq!((&paged, &all.1), (&all.0, &Value::Null));
    let sizes: Vec<usize> = objects(&paged).iter().map(Vec::len).collect();
    assert_eq!(sizes, [75, 75, 30], "as many as fit, each");
    let about = |bodies: &[Value]| -> BTreeSet<String> {
        objects(bodies).concat().iter().map(|object| object["braze_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(about(&paged), people.iter().map(|person| person.braze_id.clone()).collect());
    let wrong = api.get("/api/connections/braze/preview?cursor=x");
    assert_eq!(wrong.error(400)["path"], "/cursor");

    dry["dry_run"] = false.into();
    put(api, "braze", &dry);
    until("all are told", || {
        shown() == 0 && api.read("/api/connections/braze")["status"]["write_back"]["confirmed"] == 180
    });
    let sent: Vec<Value> = braze.calls("/users/track").into_iter().map(|call| call.body).collect();
    let sorted =
        |bodies: &[Value]| -> BTreeSet<String> { objects(bodies).concat().iter().map(Value::to_string).collect() };
    assert_eq!(sorted(&sent), sorted(&paged), "what was shown is what is sent");
    assert_eq!(sent.len(), 3);
}

#[test]
fn names_of_nothing_and_attributes_of_two_are_refused() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let set = put(api, "braze", &connection(&braze));
    let mapping = |mapping: Value| change(api, "PUT", "/api/connections/braze/mapping", &mapping);
    let error = mapping(json!({ "names": { "lead_scroe": "x" } })).error(400);
    assert_eq!(error["path"], "/write_back/names/lead_scroe");
    assert!(error["message"].as_str().is_some_and(|words| words.contains("did you mean `lead_score`?")), "{error}");
    let error = mapping(json!({ "main_score_copy": "sw_fit" })).error(400);
    assert_eq!(error["path"], "/write_back/main_score_copy");
    assert_eq!(api.read("/api/connections/braze/mapping"), set["write_back"]);
    mapping(json!({ "names": { "lead_score": "x", "fit": null }, "main_score_copy": "sw_fit" })).expect(200);
}

/// Pace at which thirty attempts take seconds.
fn hurried(braze: &Braze) -> Value {
    let mut set = connection(braze);
    set["pace"]["retry_max_ms"] = 200.into();
    set
}

fn of_status(api: &Api, path: &str) -> Value {
    api.read("/api/connections/braze").pointer(&format!("/status/{path}")).cloned().unwrap_or_default()
}

/// What is shown of who fails by themselves.
fn refused_alone(api: &Api, kind: &str, status: u16, braze_id: &str) {
    let refused = api.read(&format!("/api/deliveries?kind={kind}&state=refused"));
    let newest = &refused["items"][0];
    assert_eq!(
        (&newest["status"], newest["targets"].to_string().contains(braze_id)),
        (&json!(status), true),
        "{newest}"
    );
    assert_eq!(newest["refused"][0]["target"], format!("braze_id:{braze_id}"), "{newest}");
}

#[test]
fn one_profile_that_cannot_be_written_to_holds_up_nobody() {
    holds_up_nobody(500, Braze::poison);
}

#[test]
fn one_profile_that_spoils_every_request_holds_up_nobody() {
    holds_up_nobody(400, Braze::spoil);
}

fn holds_up_nobody(status: u16, poisoned: impl Fn(&Braze, &str)) {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..20).map(|n| Person::new(&format!("written{n}"))).collect();
    add(&braze, &people);
    let (poison, others) = people.split_first().expect("somebody");
    poisoned(&braze, &poison.braze_id);
    put(api, "braze", &hurried(&braze));
    api.currents(&clicks(&people, now()));
    settled(api, &braze, others, Duration::from_secs(30));
    until("it is given up", || of_status(api, "write_back/stopped") == 1);
    assert_eq!(
        (of_status(api, "write_back/trouble"), of_status(api, "write_back/confirmed")),
        (Value::Null, json!(19))
    );
    let stopped = api.read("/api/connections/braze/records?state=stopped");
    assert_eq!(stopped["items"][0]["record"], format!("braze_id:{}", poison.braze_id));
    assert_eq!((&stopped["items"][0]["failures"], stopped["items"].as_array().map(Vec::len)), (&json!(30), Some(1)));
    refused_alone(api, "write_back", status, &poison.braze_id);
    let calls = braze.calls("/users/track").len();
    assert!(calls <= 30 + 20, "{calls} calls");
    // Whoever comes later waits for nothing.
    let late = [Person::new("late")];
    add(&braze, &late);
    api.currents(&clicks(&late, now()));
    settled(api, &braze, &late, Duration::from_secs(20));
    assert_eq!(braze.written_twice(), vec![]);
}

#[test]
fn what_refuses_everybody_is_nobodys_fault() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..20).map(|n| Person::new(&format!("told{n}"))).collect();
    add(&braze, &people);
    braze.decide(|path| if path == "/users/track" { Fate::Refused(400, None) } else { Fate::Answered });
    put(api, "braze", &hurried(&braze));
    api.currents(&clicks(&people, now()));
    // Longer than thirty attempts take.
    until("it shows", || of_status(api, "write_back/trouble")["failures"].as_u64() > Some(40));
    assert_eq!(of_status(api, "write_back/trouble")["class"], "refused");
    let records = api.read("/api/connections/braze/records");
    let failures = records["items"].as_array().expect("records").iter().map(|record| &record["failures"]);
    assert_eq!(failures.filter(|failures| **failures == 0).count(), 20, "{records}");
    braze.decide(|_| Fate::Answered);
    settled(api, &braze, &people, Duration::from_secs(30));
    assert_eq!(of_status(api, "write_back/trouble"), Value::Null);
}

/// Whoever is named is refused, and everybody else asked of again, in time and no more often than it takes to find out.
#[test]
fn somebody_refused_among_many_without_a_name_is_found() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..40).map(|n| Person::new(&format!("sent{n}"))).collect();
    add(&braze, &people);
    let ([unnamed, named], others) = (&people[..2], &people[2..]) else { panic!("forty") };
    for person in [unnamed, named] {
        braze.refuse(&person.braze_id, u32::MAX);
    }
    braze.name_no_place_of(&unnamed.braze_id);
    let mut set = hurried(&braze);
    set["pace"]["gap_ms"] = 1_000.into();
    set["pace"]["retry_max_ms"] = 60_000.into();
    put(api, "braze", &set);
    api.currents(&clicks(&people, now()));
    settled(api, &braze, others, Duration::from_secs(60));
    until("it is found", || {
        let failed = |record: &Value| record["failures"].as_u64() > Some(0);
        let records = api.read("/api/connections/braze/records?state=pending");
        let found = records["items"].as_array().expect("records").iter().filter(|record| failed(record)).count();
        found == 2 && of_status(api, "write_back/confirmed") == 38
    });
    let mut told: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for call in braze.calls("/users/track") {
        let objects = call.body["attributes"].as_array().cloned().unwrap_or_default();
        for object in objects {
            told.entry(object["braze_id"].as_str().expect("an id").to_owned()).or_default().push(call.at);
        }
    }
    for (who, at) in &told {
        let is_refused = [unnamed, named].iter().any(|person| person.braze_id == *who);
        assert!(is_refused || at.len() <= 7, "{who} {} times", at.len());
        let apart = at.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(Duration::MAX);
        // A second apart when they set out; a busy machine may hear of the first one late.
        assert!(apart >= Duration::from_millis(300), "{who} after {apart:?}");
    }
    assert!(braze.calls("/users/track").len() <= 25, "{}", braze.calls("/users/track").len());
}

/// Somebody whose look-ups fail, alone in the queue until it shows as trouble, then five others.
fn one_fails(api: &Api, set: impl FnOnce(&Braze) -> Value) -> (Braze, Person) {
    let braze = Braze::start(KEY);
    let mut people: Vec<Person> = (0..6).map(|n| Person::new(&format!("asked{n}"))).collect();
    add(&braze, &people);
    let poison = people.remove(0);
    braze.poison(&poison.braze_id);
    let mut set = set(&braze);
    set["write_back"] = json!({ "on": false });
    put(api, "braze", &set);
    let push = |person: &Person| {
        currents("users.messages.pushnotification.Open", now(), &person.braze_user(), &json!({ "app_id": "a" }))
    };
    api.currents(&[push(&poison)]);
    until("it waits", || of_status(api, "look_up/trouble")["class"] == "outage");
    api.currents(&people.iter().map(push).collect::<Vec<Value>>());
    let is_found = |person: &Person| api.prospect(&format!("braze_id:{}", person.braze_id))["email"] == person.email;
    until("the others are found", || people.iter().all(is_found));
    until("nobody waits for it", || of_status(api, "look_up/trouble").is_null());
    (braze, poison)
}

#[test]
fn whoever_comes_while_somebody_cannot_be_looked_up_waits_for_nothing() {
    let instance = Instance::start();
    // Longer than the test is patient.
    let (braze, poison) = one_fails(instance.api(), |braze| {
        let mut set = connection(braze);
        set["pace"]["retry_first_ms"] = 600_000.into();
        set["pace"]["retry_max_ms"] = 600_000.into();
        set
    });
    until("its failure is its own", || braze.calls("/users/export/ids").len() == 7);
    refused_alone(instance.api(), "look_up", 500, &poison.braze_id);
    assert_eq!(of_status(instance.api(), "look_up/people"), json!({ "found": 5, "waiting": 1 }));
}

#[test]
fn who_cannot_be_looked_up_is_given_up_in_the_end() {
    let instance = Instance::start();
    let (braze, poison) = one_fails(instance.api(), hurried);
    until("it is given up", || of_status(instance.api(), "look_up/people") == json!({ "found": 5, "failed": 1 }));
    refused_alone(instance.api(), "look_up", 500, &poison.braze_id);
    let calls = braze.calls("/users/export/ids");
    let asked = calls.iter().filter(|call| call.body["braze_id"] == *poison.braze_id).count();
    assert!((30..60).contains(&asked) && calls.len() == asked + 5, "{asked} of {}", calls.len());
}

/// A stand-in whose next call of a path waits until it is let go; and what lets it go.
fn held_at(braze: &Braze, path: &'static str) -> Arc<AtomicBool> {
    let go = Arc::new(AtomicBool::new(false));
    let may_go = go.clone();
    braze.decide(move |asked| {
        while asked == path && !may_go.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5));
        }
        Fate::Answered
    });
    go
}

/// Three hundred people whom Braze knows, and a connection whose first call is under way.
fn under_way(api: &Api) -> (Braze, Vec<Person>, Value, Arc<AtomicBool>) {
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..300).map(|n| Person::new(&format!("many{n}"))).collect();
    add(&braze, &people);
    people.chunks(100).for_each(|batch| drop(api.currents(&clicks(batch, now()))));
    let go = held_at(&braze, "/users/track");
    let mut set = connection(&braze);
    set["pace"]["timeout_ms"] = 60_000.into();
    set["look_up"] = json!({ "on": false });
    set["write_back"] = json!({ "prefix": "a_" });
    put(api, "braze", &set);
    until("people are due", || {
        api.read("/api/connections/braze")["status"]["write_back"]["pending"].as_u64() > Some(75)
    });
    // The stand-in writes a call down when it is answered; this one is on its way by now.
    sleep(Duration::from_millis(300));
    (braze, people, set, go)
}

#[test]
fn other_names_count_from_the_next_call_on_and_nobody_keeps_the_old_ones() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, people, mut set, go) = under_way(api);
    set["write_back"] = json!({ "prefix": "b_" });
    put(api, "braze", &set);
    go.store(true, Ordering::Relaxed);
    until("all is confirmed", || {
        let status = &api.read("/api/connections/braze")["status"];
        status["loading"] == false
            && (&status["write_back"]["pending"], &status["write_back"]["confirmed"])
                == (&json!(0), &json!(people.len()))
    });
    for person in &people {
        let held = braze.attributes(&person.braze_id);
        assert!(held.contains_key("b_lead_score"), "{held:?}");
        assert!(!held.keys().any(|name| name.starts_with("a_")), "{held:?}");
    }
    let by_old = |call: &&Call| call.body["attributes"][0]["a_lead_score"].is_number();
    assert_eq!(braze.calls("/users/track").iter().filter(by_old).count(), 1, "the call that was under way");
    let backfill = &api.read("/api/connections/braze")["status"]["backfill"];
    assert_eq!(backfill["done"], backfill["total"], "{backfill}");
    assert!(backfill["total"].as_u64() >= Some(people.len() as u64), "{backfill}");
}

#[test]
fn a_pause_counts_after_the_call_that_is_under_way() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, people, mut set, go) = under_way(api);
    set["on"] = false.into();
    put(api, "braze", &set);
    go.store(true, Ordering::Relaxed);
    until("the call is answered", || !braze.calls("/users/track").is_empty());
    sleep(Duration::from_secs(2));
    assert_eq!(braze.calls("/users/track").len(), 1);
    set["on"] = true.into();
    put(api, "braze", &set);
    until("it goes on where it stood", || {
        people.iter().all(|person| braze.attributes(&person.braze_id).contains_key("a_lead_score"))
    });
    assert_eq!(braze.written_twice(), vec![]);
}

#[test]
fn another_account_is_told_everything_and_answers_of_the_first_count_nothing() {
    let instance = Instance::start();
    let api = instance.api();
    let (first, second) = (Braze::start(KEY), Braze::start(KEY));
    let people = ["ada", "bob"].map(Person::new);
    add(&first, &people);
    add(&second, &people);
    put(api, "braze", &connection(&first));
    api.currents(&clicks(&people[..1], now()));
    settled(api, &first, &people[..1], Duration::from_secs(20));
    // A call to the first is under way when the second takes its place.
    let go = held_at(&first, "/users/track");
    api.currents(&clicks(&people[1..], now()));
    until("it is on its way", || api.read("/api/connections/braze")["status"]["write_back"]["pending"] == 1);
    sleep(Duration::from_millis(1_000));
    put(api, "braze", &connection(&second));
    go.store(true, Ordering::Relaxed);
    settled(api, &second, &people, Duration::from_secs(20));
    assert_eq!(second.complaints(), Vec::<String>::new());

    // And a look-up in the second, when the first is back: what the second knows is not what the first would say.
    let stranger = Person::new("cem");
    add(&second, std::slice::from_ref(&stranger));
    let go = held_at(&second, "/users/export/ids");
    let push = currents("users.messages.pushnotification.Open", now(), &stranger.user(), &json!({ "app_id": "a" }));
    api.currents(&[push]);
    until("it waits", || api.read("/api/connections/braze")["status"]["look_up"]["people"]["waiting"] == 1);
    sleep(Duration::from_millis(1_000));
    put(api, "braze", &connection(&first));
    go.store(true, Ordering::Relaxed);
    until("the first has answered", || {
        api.read("/api/connections/braze")["status"]["look_up"]["people"]["unknown"].as_u64() == Some(1)
    });
    assert!(api.find(&format!("email:{}", stranger.email)).is_none(), "that was the other account's word");
    settled(api, &first, &people, Duration::from_secs(20));
    put(api, "braze", &connection(&second));
    settled(api, &second, &people, Duration::from_secs(20));

    // Another key at the same endpoint is the same account's, as far as anybody can say.
    let calls = second.calls("/users/track").len();
    second.allow("another-key-0123456789", &["users.track", "users.export.ids"]);
    let mut rotated = connection(&second);
    rotated["api_key"] = "another-key-0123456789".into();
    put(api, "braze", &rotated);
    change(api, "POST", "/api/connections/braze/sync?full=true", &json!({})).expect(202);
    until("everybody is read", || api.read("/api/connections/braze")["status"]["loading"] == false);
    sleep(Duration::from_millis(1_000));
    assert_eq!(second.calls("/users/track").len(), calls);
}

#[test]
fn who_cannot_be_looked_up_or_written_to_is_a_gap_that_shows() {
    let instance = Instance::start();
    let api = instance.api();
    assert_eq!(api.read("/api/connections")["gaps"][0]["code"], "no_connection");
    let braze = Braze::start(KEY);
    let people = ["ada", "bob"].map(Person::new);
    add(&braze, &people);
    let mut without_key = connection(&braze);
    without_key.as_object_mut().expect("an object").remove("api_key");
    assert_eq!(put(api, "braze", &without_key)["api_key"], Value::Null);
    let push = currents("users.messages.pushnotification.Open", now(), &people[1].user(), &json!({ "app_id": "a" }));
    api.currents(&[people[0].email_click(now()), push]);
    let gap = || api.read("/api/connections")["gaps"][0].clone();
    until("both show", || {
        let gap = gap();
        (&gap["people_to_look_up"], &gap["profiles_to_write"]) == (&json!(1), &json!(2))
    });
    assert_eq!((&gap()["code"], &gap()["connection"]), (&json!("no_key"), &json!("braze")));
    let status = &api.read("/api/connections/braze")["status"];
    for lane in ["write_back", "look_up"] {
        assert!(status[lane]["trouble"]["reason"].as_str().is_some_and(|words| words.contains("no key")), "{status}");
    }
    change(api, "POST", "/api/connections/braze/test", &json!({})).error(400);
    assert_eq!((braze.calls("/users/track"), braze.calls("/users/export/ids")), (vec![], vec![]));
    // It goes on from there once there is a key.
    put(api, "braze", &connection(&braze));
    settled(api, &braze, &people, Duration::from_secs(20));
    assert_eq!(api.read("/api/connections")["gaps"], json!([]));
    until("who came without an address is found", || api.find(&format!("email:{}", people[1].email)).is_some());
}

#[test]
fn who_is_erased_while_nothing_is_sent_loses_what_was_written_all_the_same() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = ["ada", "bob", "cem"].map(Person::new).into();
    add(&braze, &people);
    put(api, "braze", &connection(&braze));
    api.currents(&clicks(&people, now()));
    settled(api, &braze, &people, Duration::from_secs(20));
    let erase = |person: &Person| {
        let answer = change(api, "DELETE", &format!("/api/prospects/email:{}", person.email), &json!({})).expect(202);
        let receipt = format!("/api/erasures/{}", answer["erasure"].as_str().expect("a receipt"));
        until("the erasure is complete", || api.read(&receipt)["completed_at"].is_string());
    };
    let mut paused = connection(&braze);
    paused["on"] = false.into();
    put(api, "braze", &paused);
    erase(&people[0]);
    let deliveries = || api.read("/api/deliveries").to_string();
    until("nothing that is kept of calls names them", || !deliveries().contains(&people[0].braze_id));
    let calls = braze.calls("/users/track").len();
    api.currents(&clicks(&people[2..], now()));
    until("it is noted", || api.read("/api/connections/braze")["status"]["write_back"]["pending"] == 2);
    assert_eq!(braze.calls("/users/track").len(), calls, "and not sent");
    put(api, "braze", &connection(&braze));
    until("what was written goes after the pause", || braze.attributes(&people[0].braze_id).is_empty());
    // Everybody is to be read anew before the erasure was heard of.
    erase(&people[1]);
    change(api, "POST", "/api/connections/braze/sync?full=true", &json!({})).expect(202);
    until("what was written goes", || braze.attributes(&people[1].braze_id).is_empty());
    until("nothing is kept of them", || {
        let kept =
            ["/api/deliveries", "/api/connections/braze/records"].map(|path| api.read(path).to_string()).concat();
        kept.contains(&people[2].braze_id) && !people[..2].iter().any(|person| kept.contains(&person.braze_id))
    });
}

/// Somebody whose scores Braze holds, and who may become a favourite.
fn ada(api: &Api, connection: impl FnOnce(&mut Value)) -> (Braze, Person) {
    let (braze, ada) = (Braze::start(KEY), Person::new("ada"));
    add(&braze, std::slice::from_ref(&ada));
    let mut set = self::connection(&braze);
    connection(&mut set);
    put(api, "braze", &set);
    api.currents(&clicks(std::slice::from_ref(&ada), now()));
    settled(api, &braze, std::slice::from_ref(&ada), Duration::from_secs(20));
    (braze, ada)
}

fn favorite(api: &Api, person: &Person, is: bool) {
    let path = format!("/api/prospects/braze_id:{}", person.braze_id);
    change(api, "PATCH", &path, &json!({ "favorite": if is { json!(true) } else { Value::Null } })).expect(200);
    // Read before anything can be sent.
    until("it shows", || api.prospect(&format!("braze_id:{}", person.braze_id))["favorite"] == is);
}

#[test]
fn what_a_lost_answer_may_have_written_is_put_right_though_it_is_wanted_no_more() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, ada) = ada(api, |_| ());
    braze.decide(|path| if path == "/users/track" { Fate::LostAfter } else { Fate::Answered });
    favorite(api, &ada, true);
    until("Braze holds it, and the answer is lost", || braze.attributes(&ada.braze_id).contains_key("sw_favorite"));
    favorite(api, &ada, false);
    braze.decide(|_| Fate::Answered);
    until("it is put right", || !braze.attributes(&ada.braze_id).contains_key("sw_favorite"));
}

#[test]
fn what_a_call_may_have_written_before_a_crash_is_put_right_though_it_is_wanted_no_more() {
    let mut instance = Instance::start();
    let (braze, ada) = ada(instance.api(), |set| set["pace"]["timeout_ms"] = 60_000.into());
    braze.decide(|path| if path == "/users/track" { Fate::TooLate(60_000) } else { Fate::Answered });
    favorite(instance.api(), &ada, true);
    until("Braze holds it, and has not answered", || braze.attributes(&ada.braze_id).contains_key("sw_favorite"));
    favorite(instance.api(), &ada, false);
    instance.kill_9();
    braze.decide(|_| Fate::Answered);
    instance.restart();
    until("it is put right", || !braze.attributes(&ada.braze_id).contains_key("sw_favorite"));
}

/// Calls are worked off in no order, and one that nobody answers may be the last.
#[test]
fn what_is_worked_off_after_its_answer_was_lost_overtakes_nothing() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, ada) = ada(api, |set| {
        set["pace"]["gap_ms"] = 4_000.into();
        set["pace"]["retry_first_ms"] = 1_000.into();
    });
    let said = || braze.calls("/users/track").len();
    // Her first values are a write, too.
    sleep(Duration::from_secs(4));
    let before = said();
    braze.decide(|path| if path == "/users/track" { Fate::LostAndLate(2_500) } else { Fate::Answered });
    api.currents(&clicks(std::slice::from_ref(&ada), now() + 1_000));
    until("a call is lost", || said() > before);
    braze.decide(|_| Fate::Answered);
    api.currents(&clicks(std::slice::from_ref(&ada), now() + 2_000));
    until("more is said", || said() > before + 1);
    sleep(Duration::from_secs(3));
    settled(api, &braze, std::slice::from_ref(&ada), Duration::from_secs(10));
}

#[test]
fn what_waited_and_is_wanted_no_more_is_no_trouble_any_more() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, ada) = ada(api, |_| ());
    let trouble = || api.read("/api/connections/braze")["status"]["write_back"]["trouble"].clone();
    braze.decide(|path| if path == "/users/track" { Fate::Refused(429, Some(3_600)) } else { Fate::Answered });
    favorite(api, &ada, true);
    until("it waits", || trouble()["class"] == "quota");
    favorite(api, &ada, false);
    until("nothing waits", || trouble().is_null());
    let moot = api.read("/api/deliveries?state=moot");
    assert_eq!((&moot["items"][1], &moot["items"][0]["next_attempt_at"]), (&Value::Null, &Value::Null), "{moot}");
    assert_eq!(moot["items"][0]["status"], 429, "{moot}");
}

/// What waits when a connection is deleted is awaited no more: its alarm is gone, and the next one's is set.
#[test]
fn a_connection_that_was_deleted_while_it_waited_works_when_it_is_made_again() {
    let instance = Instance::start();
    let api = instance.api();
    let (braze, ada) = ada(api, |_| ());
    let status = || api.read("/api/connections/braze")["status"].clone();
    braze.decide(|path| if path == "/users/track" { Fate::Refused(429, Some(1)) } else { Fate::Answered });
    favorite(api, &ada, true);
    until("it waits", || status()["write_back"]["trouble"]["class"] == "quota");
    assert_eq!(change(api, "DELETE", "/api/connections/braze", &json!({})).status, 204);
    // Until after the time that it would have been tried again at.
    sleep(Duration::from_secs(2));
    braze.decide(|_| Fate::Answered);
    put(api, "braze", &connection(&braze));
    until("it is loaded", || status()["loading"] == false);
    until("Braze is told", || braze.attributes(&ada.braze_id).contains_key("sw_favorite"));
}

#[test]
fn deliveries_of_all_connections_are_read_in_pages_newest_first() {
    let instance = Instance::start();
    let api = instance.api();
    let (first, ada) = ada(api, |_| ());
    let second = Braze::start(KEY);
    add(&second, std::slice::from_ref(&ada));
    put(api, "another", &connection(&second));
    settled(api, &second, std::slice::from_ref(&ada), Duration::from_secs(20));
    for n in 0..6 {
        let is = n % 2 == 0;
        favorite(api, &ada, is);
        until("both are told", || {
            [&first, &second].iter().all(|braze| braze.attributes(&ada.braze_id).contains_key("sw_favorite") == is)
        });
    }
    until("all is at rest", || {
        ["braze", "another"].iter().all(|id| {
            let status = &api.read(&format!("/api/connections/{id}"))["status"];
            (&status["write_back"]["pending"], &status["write_back"]["trouble"]) == (&json!(0), &Value::Null)
        })
    });
    let all = api.read("/api/deliveries?limit=200");
    let all = all["items"].as_array().expect("items").clone();
    assert!(all.len() >= 12, "{all:?}");
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    for _ in 0..=all.len() {
        let page = api.read(&format!("/api/deliveries?limit=3{cursor}"));
        paged.extend(page["items"].as_array().expect("items").clone());
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(paged, all);
    let at = |delivery: &Value| wingbeat_engine::time::parse(delivery["at"].as_str()?);
    assert!(all.iter().all(|delivery| at(delivery).is_some()) && all.is_sorted_by_key(|it| Reverse(at(it))), "{all:?}");
    for (bad, path) in [
        ("state=gone", "/state"),
        ("kind=mail", "/kind"),
        ("cursor=3", "/cursor"),
        ("cursor=9223372036854775807.braze.1", "/cursor"),
    ] {
        let answer = change(api, "GET", &format!("/api/deliveries?{bad}"), &Value::Null);
        assert_eq!((answer.status, &answer.error(400)["path"]), (400, &json!(path)));
    }
}

#[test]
fn connections_that_are_set_at_once_are_all_there() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let set = connection(&braze);
    std::thread::scope(|scope| {
        for n in 0..6 {
            let set = &set;
            scope.spawn(move || put(api, &format!("braze-{n}"), set));
        }
    });
    let listed = api.read("/api/connections");
    let ids: Vec<&str> = listed["items"].as_array().expect("items").iter().filter_map(|it| it["id"].as_str()).collect();
    assert_eq!(ids, ["braze-0", "braze-1", "braze-2", "braze-3", "braze-4", "braze-5"]);
}
