//! Scores in Braze: what the API shows is what Braze's profiles hold, whatever happens on the way, written no more often
//! than it changes.

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
pub(crate) const LONG: Duration = Duration::from_secs(240);

/// A connection to the stand-in, as fast as its settings allow.
pub(crate) fn connection(braze: &Braze) -> Value {
    json!({
        "kind": "braze", "name": "Braze", "rest_endpoint": braze.endpoint, "api_key": KEY,
        "pace": { "debounce_ms": 50, "coalesce_ms": 500, "gap_ms": 50, "retry_first_ms": 100, "retry_max_ms": 1_000,
                  "timeout_ms": 2_000, "requests_per_second": 100 },
    })
}

#[track_caller]
pub(crate) fn put(api: &Api, id: &str, connection: &Value) -> Value {
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
fn shown(api: &Api, model: &Value, reference: &str) -> Map<String, Value> {
    // Who is not found yet holds what no profile does.
    let Some(prospect) = api.find(reference) else { return Map::from_iter([("nobody".to_owned(), json!(reference))]) };
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
pub(crate) fn settled(api: &Api, braze: &Braze, people: &[Person], patience: Duration) {
    let model = api.read("/api/model");
    let differing = || {
        let mut all = people.iter().map(|person| {
            (person, shown(api, &model, &format!("braze_id:{}", person.braze_id)), braze.attributes(&person.braze_id))
        });
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

    let deliveries = api.read("/api/deliveries?state=delivered");
    let newest = &deliveries["items"][0];
    assert_eq!(newest["request"]["body"], braze.calls("/users/track").last().expect("a call").body, "{newest}");
    assert_eq!(
        (&newest["status"], &newest["request"]["headers"]["authorization"]),
        (&json!(201), &json!("Bearer …89ab"))
    );

    // Erased here, they lose there what came from here, and nothing that is kept here speaks of them.
    change(api, "DELETE", &format!("/api/prospects/braze_id:{}", people[2].braze_id), &json!({})).expect(202);
    until("the attributes go", || braze.attributes(&people[2].braze_id).is_empty());
    until("the calls do not speak of them", || {
        let all = api.read("/api/deliveries").to_string();
        all.contains(&people[0].braze_id) && !all.contains(&people[2].braze_id)
    });
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

/// Two people here, one profile in Braze: a colleague has separated them, so that what Braze says joins them no more.
#[test]
fn a_profile_is_told_of_who_has_its_braze_id_and_whoever_else_is_led_there_is_shown() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let ada = Person::new("ada");
    add(&braze, std::slice::from_ref(&ada));
    put(api, "braze", &connection(&braze));
    let clicked = |n: i64| {
        let mut click = ada.email_click(now() + n * 1_000);
        click["user"]["external_user_id"] = Value::Null;
        api.currents(&[click]);
    };
    let asks = |id: &str| {
        let identity = json!([{ "type": "external_id", "value": ada.external_id }]);
        let event = json!({ "id": id, "at": now(), "kind": "form_submit", "name": "demo", "identity": identity });
        change(api, "POST", "/api/events", &event).expect(202);
    };
    clicked(0);
    asks("first");
    // Braze says that the two are one, and a colleague that they are not.
    let both = format!("braze_id:{}", ada.braze_id);
    until("they are one", || api.prospect(&both)["identifiers"].to_string().contains(&ada.external_id));
    let part = json!({ "identifiers": [{ "type": "external_id", "value": ada.external_id }] });
    change(api, "POST", &format!("/api/prospects/{both}/unmerge"), &part).expect(200);
    for n in 1..4 {
        asks(&format!("again-{n}"));
        let others = || api.read("/api/connections/braze/records?state=not_theirs")["items"].clone();
        let found = within(Duration::from_secs(20), || others().as_array().and_then(|items| items.first().cloned()));
        let record = found.unwrap_or_else(|| panic!("{}", api.read("/api/connections/braze/records")));
        assert_eq!(record["record"], format!("external_id:{}", ada.external_id), "{record}");
        assert!(record["error"].as_str().is_some_and(|words| words.contains(&ada.braze_id)), "{record}");
        clicked(n);
        settled(api, &braze, std::slice::from_ref(&ada), Duration::from_secs(20));
    }
    assert_eq!(braze.complaints(), Vec::<String>::new());
    // One again, they are one in the records, too.
    let merge = json!({ "keep": both, "merge": [format!("external_id:{}", ada.external_id)] });
    change(api, "POST", "/api/prospects/merge", &merge).expect(200);
    until("it is theirs", || api.read("/api/connections/braze")["status"]["write_back"]["not_theirs"] == 0);
    settled(api, &braze, std::slice::from_ref(&ada), Duration::from_secs(20));
}

/// How somebody is known here and in Braze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// By a Braze id and an address.
    Mailed,
    /// By the external id alone; Braze knows no address.
    External,
    /// By the external id alone, until Braze tells the address.
    ExternalWithAddress,
    /// By an external id and a Braze id that came together.
    Both,
    /// By an address and two Braze ids.
    TwoProfiles,
    /// By an address alone, which leads to the profile.
    Address,
    /// By an external id, a Braze id and an address that is somebody else's, too.
    SharedAddress,
    /// By an external id that Braze does not know.
    Unknown,
}

const SORTS: [Sort; 8] = [
    Sort::Mailed,
    Sort::External,
    Sort::ExternalWithAddress,
    Sort::Both,
    Sort::TwoProfiles,
    Sort::Address,
    Sort::SharedAddress,
    Sort::Unknown,
];

/// One of the five hundred.
struct Lead {
    sort: Sort,
    person: Person,
    /// The Braze ids of all profiles.
    profiles: Vec<String>,
}

impl Lead {
    fn new(n: usize, braze: &Braze) -> Lead {
        let sort = SORTS[n % SORTS.len()];
        let mut person = Person::new(&format!("lead{n}"));
        if sort == Sort::SharedAddress {
            // Of two of these each.
            person.email = format!("team{}.{}@example.com", n / (2 * SORTS.len()), braze.endpoint.len());
        }
        let second = Person::new("second");
        let has_external = !matches!(sort, Sort::Mailed | Sort::TwoProfiles | Sort::Address);
        let has_address = !matches!(sort, Sort::External | Sort::Both);
        let profiles = match sort {
            Sort::Unknown => vec![],
            Sort::TwoProfiles => vec![person.braze_id.clone(), second.braze_id],
            _ => vec![person.braze_id.clone()],
        };
        for (place, braze_id) in profiles.iter().enumerate() {
            braze.add(Profile {
                braze_id: braze_id.clone(),
                external_id: (has_external && place == 0).then(|| person.external_id.clone()),
                email: has_address.then(|| person.email.clone()),
                ..Profile::default()
            });
        }
        Lead { sort, person, profiles }
    }

    /// What it is found by in the API.
    fn reference(&self) -> String {
        match self.sort {
            // Of two external ids that share an address, one may be nobody's: no prospect holds both.
            Sort::Mailed | Sort::TwoProfiles | Sort::SharedAddress => format!("braze_id:{}", self.person.braze_id),
            Sort::Address => format!("email:{}", self.person.email),
            _ => format!("external_id:{}", self.person.external_id),
        }
    }

    /// What it does: a click each, as Braze tells of it.
    fn acts(&self, at: i64) -> Vec<Value> {
        let click = |user: &Value, properties: &Value| currents("users.messages.email.Click", at, user, properties);
        let mailed = json!({ "email_address": self.person.email, "campaign_name": "Spring sale" });
        let pushed = json!({ "campaign_name": "News", "app_id": "a" });
        let push = |user: &Value| currents("users.messages.pushnotification.Open", at, user, &pushed);
        match self.sort {
            Sort::Mailed => vec![self.person.email_click(at)],
            Sort::External | Sort::ExternalWithAddress | Sort::Unknown => {
                vec![push(&json!({ "external_user_id": self.person.external_id }))]
            }
            Sort::Both => vec![push(&self.person.user())],
            Sort::TwoProfiles => self.profiles.iter().map(|id| click(&json!({ "user_id": id }), &mailed)).collect(),
            Sort::Address => vec![click(&json!({}), &mailed)],
            Sort::SharedAddress => vec![click(&self.person.user(), &mailed)],
        }
    }
}

/// Waits until every profile holds of its lead what the API shows.
#[track_caller]
fn level(api: &Api, braze: &Braze, leads: &[Lead]) {
    let model = api.read("/api/model");
    let differing = || {
        leads.iter().find_map(|lead| {
            let shown = shown(api, &model, &lead.reference());
            let held = lead.profiles.iter().map(|braze_id| braze.attributes(braze_id)).find(|held| *held != shown)?;
            Some((lead.sort, lead.reference(), shown, held))
        })
    };
    if within(LONG, || differing().is_none().then_some(())).is_none() {
        panic!("{:?}\n{}", differing().expect("somebody differs"), api.read("/api/connections"));
    }
}

#[test]
fn one_change_of_stage_is_one_event_however_often_the_attributes_beside_it_are_refused() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people = ["ada", "bob"].map(Person::new);
    add(&braze, &people);
    let mut set = connection(&braze);
    set["write_back"] = json!({ "stage_event": true });
    put(api, "braze", &set);
    api.currents(&clicks(&people, now()));
    settled(api, &braze, &people, Duration::from_secs(20));
    // Of one the attributes are refused for a while, of the other the event.
    braze.refuse_in("attributes", &people[0].braze_id, 4);
    braze.refuse_in("events", &people[1].braze_id, 4);
    let many = |person: &Person| (1..=11).map(|n| person.email_click(now() + n * 1_000)).collect::<Vec<_>>();
    api.currents(&people.iter().flat_map(many).collect::<Vec<_>>());
    settled(api, &braze, &people, Duration::from_secs(30));
    until("all is told", || {
        let status = &api.read("/api/connections/braze")["status"]["write_back"];
        (&status["pending"], &status["confirmed"]) == (&json!(0), &json!(2))
    });
    let mut told: Vec<String> = braze.events().into_iter().map(|(whose, _)| whose).collect();
    told.sort();
    let mut both = people.each_ref().map(|person| person.braze_id.clone());
    both.sort();
    assert_eq!(told, both, "one event each");
    assert_eq!((braze.written_twice(), braze.complaints()), (vec![], vec![]));
}

#[test]
fn five_hundred_people_come_through_outage_storms_refusals_and_a_kill() {
    let mut instance = Instance::start();
    let braze = Braze::start(KEY);
    let leads: Vec<Lead> = (0..500).map(|n| Lead::new(n, &braze)).collect();
    let profiles: usize = leads.iter().map(|lead| lead.profiles.len()).sum();
    let acts = |leads: &[Lead], at: i64| leads.iter().flat_map(|lead| lead.acts(at)).collect::<Vec<Value>>();
    let outage = outage();
    // A back-off as it is to an outage of an hour by the settings that are shipped: a minute at most.
    let retry_max = (outage / 60).max(Duration::from_secs(1));
    let mut set = connection(&braze);
    set["look_up"] = json!({ "by_email": true, "per_second": 40 });
    set["pace"]["coalesce_ms"] = COALESCE_MS.into();
    set["pace"]["retry_max_ms"] = milliseconds(retry_max).into();
    put(instance.api(), "braze", &set);

    // All is well.
    let began = Instant::now();
    for batch in leads.chunks(80) {
        instance.api().currents(&acts(batch, now()));
    }
    level(instance.api(), &braze, &leads);
    let nobody_waits = |instance: &Instance| {
        instance.api().read("/api/connections/braze")["status"]["look_up"]["people"]["waiting"].is_null()
    };
    assert!(within(LONG, || nobody_waits(&instance).then_some(())).is_some(), "everybody is looked up");
    level(instance.api(), &braze, &leads);
    assert!(ok_calls(&braze) <= fewest(profiles, began), "{} calls", ok_calls(&braze));
    assert_eq!(braze.written_twice(), vec![]);

    // Another model: everybody's score is another, nothing decays.
    let mut model = instance.api().read("/api/model")["model"].clone();
    let score = model["scores"][0].as_object_mut().expect("a score");
    score.remove("half_life_days");
    let rules = score["rules"].as_array_mut().expect("rules");
    for rule in rules.iter_mut().filter(|rule| rule["id"] == "mail-click") {
        rule["points"] = 7.into();
    }
    rules.push(json!({ "id": "push", "when": { "event": "push_open" }, "points": 3 }));
    let (before, calls, began) = (braze.writes().len(), ok_calls(&braze), Instant::now());
    change(instance.api(), "PUT", "/api/model/draft", &model).expect(200);
    change(instance.api(), "POST", "/api/model/publish", &json!({})).expect(200);
    level(instance.api(), &braze, &leads);
    let names: BTreeSet<String> = braze.writes()[before..].iter().map(|write| write.name.clone()).collect();
    assert_eq!(names, BTreeSet::from(["sw_lead_score".to_owned()]), "only what changed");
    assert!(ok_calls(&braze) - calls <= fewest(profiles, began), "{} calls", ok_calls(&braze) - calls);

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
    for batch in leads.chunks(80) {
        instance.api().currents(&acts(batch, now() + 60_000));
    }
    until("the outage shows", || {
        let status = instance.api().read("/api/connections/braze");
        status["status"]["write_back"]["trouble"]["class"] == "outage"
    });
    answers.store(503, Ordering::Relaxed);
    for batch in leads.chunks(50) {
        instance.api().currents(&acts(batch, now() + 120_000));
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
    level(instance.api(), &braze, &leads);
    assert!(braze.writes().len() > before);
    let calls = ok_calls(&braze) - answered;
    println!(
        "an outage of {lasted:?}: {in_vain} calls in vain, {calls} after it, level again in {:?}",
        began.elapsed()
    );
    assert!(calls <= fewest(profiles, began), "what waited for the outage goes in full requests: {calls} calls");
    assert_eq!(braze.written_twice(), vec![]);

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
    leads.iter().flat_map(|lead| &lead.profiles).take(20).for_each(|braze_id| braze.refuse(braze_id, 2));
    let answered = ok_calls(&braze);
    for batch in leads.chunks(80) {
        instance.api().currents(&acts(batch, now() + 180_000));
    }
    until("some have arrived", || ok_calls(&braze) > answered);
    instance.kill_9();
    instance.restart();
    level(instance.api(), &braze, &leads);

    let unknown = leads.iter().filter(|lead| lead.sort == Sort::Unknown).count();
    until("all is confirmed", || {
        let status = &instance.api().read("/api/connections/braze")["status"]["write_back"];
        let counts = ["pending", "confirmed", "absent"].map(|state| status[state].as_u64());
        counts == [0, profiles, unknown].map(|count| Some(count as u64))
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
    assert_eq!((braze.complaints(), braze.ignored()), (vec![], vec![]), "nothing was written to nobody");
    assert_eq!(braze.profiles().len(), profiles, "nobody was made");
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

/// The calls that telling so many profiles something takes: full ones, and one that is not each time.
fn fewest(profiles: usize, began: Instant) -> usize {
    let times = began.elapsed().as_millis() / u128::from(COALESCE_MS) + 2;
    profiles.div_ceil(75) + usize::try_from(times).expect("a number")
}

fn ok_calls(braze: &Braze) -> usize {
    braze.calls("/users/track").iter().filter(|call| call.status == 201).count()
}
