//! Scores in Braze: what the API shows is what Braze's profiles hold, whatever happens on the way, written no more often
//! than it changes; people looked up who came without an address.

use crate::harness::braze::{Fate, Profile};
use crate::harness::events::{Person, currents, now};
use crate::harness::wait::within;
use crate::harness::{Api, Braze, Instance, until};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(crate) const KEY: &str = "5b2d0c1e-7777-4a4a-9c9c-0123456789ab";
/// Five hundred people through every fault there is, on a busy machine.
const LONG: Duration = Duration::from_secs(240);

/// A connection to the stand-in, as fast as its settings allow.
pub(crate) fn connection(braze: &Braze) -> Value {
    json!({
        "kind": "braze", "name": "Braze", "rest_endpoint": braze.endpoint, "api_key": KEY,
        "pace": { "debounce_ms": 50, "coalesce_ms": 500, "gap_ms": 50, "retry_first_ms": 100, "retry_max_ms": 1_000,
                  "timeout_ms": 2_000, "requests_per_second": 100 },
    })
}

#[track_caller]
fn put(api: &Api, id: &str, connection: &Value) -> Value {
    change(api, "PUT", &format!("/api/connections/{id}"), connection).expect(200)
}

#[track_caller]
pub(crate) fn change(api: &Api, method: &str, path: &str, body: &Value) -> crate::harness::Answer {
    let token = format!("Bearer {}", api.tokens.admin);
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    api.send(method, path, &headers, Some(body.to_string().as_bytes())).expect("an answer")
}

/// Adds people to the stand-in, as Braze knows those who get its mail.
pub(crate) fn add(braze: &Braze, people: &[Person]) {
    for person in people {
        braze.add(Profile {
            braze_id: person.braze_id.clone(),
            external_id: Some(person.external_id.clone()),
            email: Some(person.email.clone()),
            ..Profile::default()
        });
    }
}

/// What Braze should hold of somebody, by what the API shows.
#[track_caller]
fn shown(api: &Api, model: &Value, person: &Person) -> Map<String, Value> {
    let prospect = api.prospect(&format!("braze_id:{}", person.braze_id));
    let name = |slug: &Value| {
        let tags = model["model"]["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().find(|tag| tag["slug"] == *slug).map_or(slug.clone(), |tag| tag["name"].clone())
    };
    let tags: Vec<Value> = prospect["tags"].as_array().expect("tags").iter().map(name).collect();
    let mut shown = Map::new();
    for (slug, score) in prospect["scores"].as_object().expect("scores") {
        let value = score["value"].as_f64().expect("nobody is excluded");
        let name = if slug == "engagement" { "sw_lead_score".to_owned() } else { format!("sw_{slug}") };
        shown.insert(name, ((value * 10.0).round() / 10.0).into());
    }
    shown.insert(
        "sw_predictive_score".into(),
        prospect["temperature"].as_str().expect("a temperature").to_uppercase().into(),
    );
    shown.insert("sw_tags".into(), tags.into());
    shown.insert("sw_last_active_at".into(), prospect["last_active_at"].clone());
    shown.insert("sw_session_count".into(), prospect["sessions"].clone());
    shown.insert("lead_stage".into(), prospect["stage"].clone());
    shown
}

/// Waits until Braze holds of everybody what the API shows.
#[track_caller]
fn settled(api: &Api, braze: &Braze, people: &[Person], patience: Duration) {
    let model = api.read("/api/model");
    let differing = || {
        let mut all =
            people.iter().map(|person| (person, shown(api, &model, person), braze.attributes(&person.braze_id)));
        all.find(|(_, shown, held)| shown != held).map(|(person, shown, held)| (person.email.clone(), shown, held))
    };
    if within(patience, || differing().is_none().then_some(())).is_none() {
        let (email, shown, held) = differing().expect("somebody differs");
        panic!("{email}: the API shows {shown:?}, Braze holds {held:?}\n{}", api.read("/api/connections"));
    }
}

pub(crate) fn clicks(people: &[Person], at: i64) -> Vec<Value> {
    people.iter().map(|person| person.email_click(at)).collect()
}

#[test]
fn braze_holds_what_the_api_shows_and_is_told_only_what_changed() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = ["ada", "bob", "cem"].map(Person::new).into();
    add(&braze, &people);
    // Somebody was there before the connection was.
    api.currents(&clicks(&people[..1], now()));
    let set = put(api, "braze", &connection(&braze));
    assert_eq!(set["api_key"], "…89ab", "the key is never shown again: {set}");
    api.currents(&clicks(&people[1..], now()));
    settled(api, &braze, &people, Duration::from_secs(20));

    let calls = braze.calls("/users/track").len();
    let before = braze.writes().len();
    // A minute later: another click, another time of the last activity, nothing else.
    let at = now() + 60_000;
    api.currents(&clicks(&people[..1], at));
    settled(api, &braze, &people, Duration::from_secs(20));
    let names: Vec<String> = braze.writes()[before..].iter().map(|write| write.name.clone()).collect();
    assert!(names.contains(&"sw_lead_score".to_owned()) && !names.contains(&"sw_tags".to_owned()), "{names:?}");
    assert_eq!(braze.calls("/users/track").len(), calls + 1);
    assert_eq!((braze.written_twice(), braze.complaints()), (vec![], vec![]));
    assert_eq!(braze.profiles().len(), 3, "nobody was made");

    // Erased here, they lose there what came from here.
    change(api, "DELETE", &format!("/api/prospects/braze_id:{}", people[2].braze_id), &json!({})).expect(202);
    until("the attributes go", || braze.attributes(&people[2].braze_id).is_empty());

    let deliveries = api.read("/api/deliveries?state=delivered");
    let newest = &deliveries["items"][0];
    assert_eq!(newest["request"]["body"], braze.calls("/users/track").last().expect("a call").body, "{newest}");
    assert_eq!(
        (&newest["status"], &newest["request"]["headers"]["authorization"]),
        (&json!(201), &json!("Bearer …89ab"))
    );
}

#[test]
fn a_stage_that_changes_is_told_at_once_and_as_an_event() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = [Person::new("ada")];
    add(&braze, &people);
    let mut set = connection(&braze);
    set["write_back"] = json!({ "stage_event": true });
    put(api, "braze", &set);
    api.currents(&clicks(&people, now()));
    settled(api, &braze, &people, Duration::from_secs(20));
    assert_eq!(braze.events(), vec![], "the first stage is no change");
    // From now on what can wait waits for an hour.
    set["pace"]["coalesce_ms"] = 3_600_000.into();
    put(api, "braze", &set);
    api.currents(&(1..=5).map(|n| people[0].email_click(now() + n * 1_000)).collect::<Vec<_>>());
    api.currents(&(6..=11).map(|n| people[0].email_click(now() + n * 1_000)).collect::<Vec<_>>());
    until("the stage is told", || braze.attributes(&people[0].braze_id)["lead_stage"] == "mql");
    let events = braze.events();
    let [(who, event)] = &events[..] else { panic!("one event: {events:?}") };
    assert_eq!((who, &event["name"]), (&people[0].braze_id, &json!("lead_stage_changed")));
    assert_eq!((&event["properties"]["from"], &event["properties"]["to"]), (&json!("lead"), &json!("mql")));
    assert_eq!(braze.complaints(), Vec::<String>::new());
}

#[test]
fn a_key_is_kept_from_every_answer_log_and_file() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    // The answer to a wrong key repeats it.
    let wrong = "9f9f9f9f-dead-4bad-8bad-fedcba987654";
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
    assert!(seen.contains("Invalid API key: …7654") && !seen.contains(wrong), "{seen}");
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
    assert_eq!(&api.read("/api/deliveries")["items"][0]["request"]["body"], &preview["items"][0]["body"]);
    assert_eq!((braze.calls("/users/track"), braze.writes()), (vec![], vec![]));

    dry["dry_run"] = false.into();
    put(api, "braze", &dry);
    until("it is sent", || !braze.writes().is_empty());
    assert_eq!(&braze.calls("/users/track")[0].body, &preview["items"][0]["body"], "what was shown is what is sent");
}

#[test]
fn five_hundred_people_come_through_outage_storms_refusals_and_a_kill() {
    let mut instance = Instance::start();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = (0..500).map(|n| Person::new(&format!("lead{n}"))).collect();
    add(&braze, &people);
    let outage = outage();
    // A back-off as it is to an outage of an hour by the settings that are shipped: a minute at most.
    let retry_max = (outage / 60).max(Duration::from_secs(1));
    let mut set = connection(&braze);
    set["pace"]["coalesce_ms"] = COALESCE_MS.into();
    set["pace"]["retry_max_ms"] = milliseconds(retry_max).into();
    put(instance.api(), "braze", &set);

    // All is well.
    let began = Instant::now();
    for batch in people.chunks(100) {
        instance.api().currents(&clicks(batch, now()));
    }
    settled(instance.api(), &braze, &people, LONG);
    assert!(ok_calls(&braze) <= fewest(began), "{} calls", ok_calls(&braze));

    // Another model: everybody's score is another, nothing decays.
    let mut model = instance.api().read("/api/model")["model"].clone();
    model["scores"][0].as_object_mut().expect("a score").remove("half_life_days");
    for rule in model["scores"][0]["rules"].as_array_mut().expect("rules") {
        if rule["id"] == "mail-click" {
            rule["points"] = 7.into();
        }
    }
    let (before, calls, began) = (braze.writes().len(), ok_calls(&braze), Instant::now());
    change(instance.api(), "PUT", "/api/model/draft", &model).expect(200);
    change(instance.api(), "POST", "/api/model/publish", &json!({})).expect(200);
    settled(instance.api(), &braze, &people, LONG);
    let names: BTreeSet<String> = braze.writes()[before..].iter().map(|write| write.name.clone()).collect();
    assert_eq!(names, BTreeSet::from(["sw_lead_score".to_owned()]), "only what changed");
    assert!(ok_calls(&braze) - calls <= fewest(began), "{} calls", ok_calls(&braze) - calls);

    // Nobody answers, then only by 5xx; meanwhile everybody does something, twice.
    let answers = Arc::new(AtomicU32::new(0));
    let how = answers.clone();
    braze.decide(move |_| match how.load(Ordering::Relaxed) {
        0 => Fate::LostBefore,
        503 => Fate::Refused(503, None),
        _ => Fate::Answered,
    });
    let (before, answered, asked) = (braze.writes().len(), ok_calls(&braze), braze.calls("/users/track").len());
    let began = Instant::now();
    for batch in people.chunks(100) {
        instance.api().currents(&clicks(batch, now() + 60_000));
    }
    until("the outage shows", || {
        let status = instance.api().read("/api/connections/braze");
        status["status"]["write_back"]["trouble"]["class"] == "outage"
    });
    answers.store(503, Ordering::Relaxed);
    for batch in people.chunks(50) {
        instance.api().currents(&clicks(batch, now() + 120_000));
        sleep(outage / 10);
    }
    let waiting = instance.api().read("/api/deliveries?state=waiting");
    assert!(waiting["items"][0]["next_attempt_at"].is_string(), "{waiting}");
    assert_eq!(braze.writes().len(), before);
    // The waits double from a tenth of a second, and the longest ones are spread down by a quarter.
    let (in_vain, lasted) = (braze.calls("/users/track").len() - asked, began.elapsed());
    let most = 20 + milliseconds(lasted) / (milliseconds(retry_max) * 3 / 4);
    assert!(in_vain as u64 <= most, "{in_vain} calls in vain within {lasted:?}, at most {most} by the back-off");
    let began = Instant::now();
    answers.store(200, Ordering::Relaxed);
    settled(instance.api(), &braze, &people, LONG);
    assert!(braze.writes().len() > before);
    let calls = ok_calls(&braze) - answered;
    println!(
        "an outage of {lasted:?}: {in_vain} calls in vain, {calls} after it, level again in {:?}",
        began.elapsed()
    );
    assert!(calls <= fewest(began), "what waited for the outage goes in full requests: {calls} calls");

    // 429 with and without a header, requests lost after they were worked off, answers that come too late, twenty people
    // refused for a while; and the runtime is killed in the midst of it.
    let count = Arc::new(AtomicU32::new(0));
    braze.decide(move |_| match count.fetch_add(1, Ordering::Relaxed) % 7 {
        0 => Fate::Refused(429, Some(1)),
        2 => Fate::Refused(429, None),
        3 => Fate::LostAfter,
        5 => Fate::TooLate(2_500),
        _ => Fate::Answered,
    });
    people.iter().take(20).for_each(|person| braze.refuse(&person.braze_id, 2));
    let answered = ok_calls(&braze);
    for batch in people.chunks(100) {
        instance.api().currents(&clicks(batch, now() + 180_000));
    }
    until("some have arrived", || ok_calls(&braze) > answered);
    instance.kill_9();
    instance.restart();
    settled(instance.api(), &braze, &people, LONG);

    until("all is confirmed", || {
        let status = &instance.api().read("/api/connections/braze")["status"]["write_back"];
        (&status["pending"], &status["confirmed"]) == (&json!(0), &json!(500))
    });

    // Only the request whose answer was on its way when the runtime died may have been made again.
    let twice = braze.written_twice();
    let people_twice: BTreeSet<&str> = twice.iter().map(|write| write.braze_id.as_str()).collect();
    assert!(
        people_twice.len() <= 75,
        "{} people of {} writes were told twice",
        people_twice.len(),
        braze.writes().len()
    );
    assert_eq!(braze.complaints(), Vec::<String>::new());
    assert_eq!(braze.profiles().len(), 500, "nobody was made");
}

/// How long the outage lasts: `WINGBEAT_OUTAGE_SECONDS`, or just long enough to be one.
fn outage() -> Duration {
    let wanted = std::env::var("WINGBEAT_OUTAGE_SECONDS").ok();
    Duration::from_secs(wanted.map_or(2, |seconds| seconds.parse().expect("WINGBEAT_OUTAGE_SECONDS is a number")))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("a number")
}

/// What is not urgent goes out so often, ms.
const COALESCE_MS: u64 = 3_000;

/// The calls that telling five hundred people something takes: full ones, and one that is not each time.
fn fewest(began: Instant) -> usize {
    let times = began.elapsed().as_millis() / u128::from(COALESCE_MS) + 2;
    500_usize.div_ceil(75) + usize::try_from(times).expect("a number")
}

fn ok_calls(braze: &Braze) -> usize {
    braze.calls("/users/track").iter().filter(|call| call.status == 201).count()
}

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
    // 900 by external ids, 50 a call as they came; the first hundred by either id.
    assert!(calls.len() <= 20 + 2 * 10 + 100, "{} calls", calls.len());
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
