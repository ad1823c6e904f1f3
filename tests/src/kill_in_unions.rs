//! The runtime is killed in the middle of bringing people together across partitions, again and again. What was left in
//! the outboxes arrives by itself after a start; and when all that got no answer has been sent again, everybody is who
//! they are by the naive function of identity.

use crate::harness::api::currents_body;
use crate::harness::events::{currents, now, tracked};
use crate::harness::state::{deployment_key, undelivered};
use crate::harness::{Api, Instance, until};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use wingbeat_engine::event::Record;
use wingbeat_engine::identity::generate::Random;
use wingbeat_engine::identity::naive::{Input, NaiveProspect, World, naive};
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::identity::{EvidenceRef, FactClass, Reason};
use wingbeat_engine::key::{DeploymentKey, Identifier, KeyHash};
use wingbeat_engine::sources;

const CLIENTS: u32 = 6;
/// Requests of a round: enough that a kill comes in the midst of them.
const REQUESTS: u32 = 72;
const PEOPLE: u32 = 8;
const BROWSERS: u32 = 6;
/// All that happens does so within so many seconds, two hours of which are an introduction's window.
const SPAN_S: u32 = 6 * 3_600;

/// A small company's keys: each person may be known by several of a type, and nobody yet knows which belong together.
struct Company {
    /// What makes this round's people other people than any other's.
    name: String,
    start: i64,
    random: Random,
}

struct Request {
    body: Vec<u8>,
    is_from_browser: bool,
    acknowledged: bool,
}

impl Company {
    fn one_of(&mut self, person: u32, what: &str, how_many: u32) -> String {
        let n = self.random.below(how_many);
        format!("{what}{n}-{person}-{}", self.name)
    }

    fn at(&mut self) -> i64 {
        self.start + i64::from(self.random.below(SPAN_S)) * 1_000
    }

    fn request(&mut self) -> Request {
        if self.random.one_in(3) { self.visit() } else { self.batch() }
    }

    /// Braze reports some events, each with some of a person's keys; now and then with one of another person's.
    fn batch(&mut self) -> Request {
        let events: Vec<Value> = (0..=self.random.below(4)).map(|_| self.event()).collect();
        Request { body: currents_body(&events), is_from_browser: false, acknowledged: false }
    }

    fn event(&mut self) -> Value {
        let person = self.random.below(PEOPLE);
        let other = if self.random.one_in(12) { self.random.below(PEOPLE) } else { person };
        let at = self.at();
        let (braze_id, external_id) = (self.one_of(person, "b", 3), self.one_of(person, "x", 1));
        let mut user = json!({ "user_id": braze_id });
        if self.random.one_in(2) {
            user["external_user_id"] = external_id.into();
        }
        if self.random.one_in(6) {
            // Known by their own id only.
            user = json!({ "external_user_id": self.one_of(person, "x", 1) });
        }
        match self.random.below(8) {
            0 => {
                let survivor = self.one_of(person, "b", 3);
                currents(
                    "users.UserOrphan",
                    at,
                    &json!({ "user_id": braze_id }),
                    &json!({ "orphaned_by_id": survivor }),
                )
            }
            1 => {
                let phone = format!("+1555{:07}", u64::from(other) + self.random_phone_base());
                currents("users.messages.sms.InboundReceive", at, &user, &json!({ "user_phone_number": phone }))
            }
            2 => currents("users.behaviors.CustomEvent", at, &user, &json!({ "name": "visited the shop" })),
            _ => {
                let email = self.email(other);
                currents("users.messages.email.Click", at, &user, &json!({ "email_address": email }))
            }
        }
    }

    fn random_phone_base(&self) -> u64 {
        // Stable within the round: made of its name.
        let digits = self.name.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        digits % 9_000_000
    }

    fn email(&mut self, person: u32) -> String {
        format!("{}@example.com", self.one_of(person, "e", 2))
    }

    /// A browser's pages, links from mails and forms; some devices are several people's.
    fn visit(&mut self) -> Request {
        let browser = self.random.below(BROWSERS);
        let visitor = format!("v{browser}-{}", self.name);
        let mut events = Vec::new();
        for _ in 0..=self.random.below(3) {
            let person = if self.random.one_in(5) { self.random.below(PEOPLE) } else { browser };
            let at = self.at();
            let url = "https://shop.example/pricing";
            events.push(match self.random.below(4) {
                0 => tracked("page_view", at, json!({ "url": url, "name": "Prices" })),
                1 => {
                    let email = self.email(person);
                    let claim = json!([{ "type": "email", "value": email, "from": "form" }]);
                    tracked("form_submit", at, json!({ "url": url, "name": "demo", "human": "key", "identity": claim }))
                }
                _ => {
                    let braze_id = self.one_of(person, "b", 3);
                    let claim = json!([{ "type": "braze_id", "value": braze_id, "from": "url" }]);
                    let human = if self.random.one_in(4) { Value::Null } else { "pointer".into() };
                    tracked("page_view", at, json!({ "url": url, "name": "Prices", "human": human, "identity": claim }))
                }
            });
        }
        let body = json!({ "v": 1, "site": "", "visitor": visitor, "events": events });
        Request { body: body.to_string().into_bytes(), is_from_browser: true, acknowledged: false }
    }
}

impl Request {
    /// Whether it was acknowledged; what is neither that nor a way of saying "again" fails the test.
    fn send(&self, api: &Api) -> bool {
        let answer =
            if self.is_from_browser { api.try_post_collect(&self.body) } else { api.try_post_currents(&self.body) };
        let Ok(answer) = answer else { return false };
        if answer.status == 503 {
            return false;
        }
        let counts = answer.expect(200);
        let refused = [&counts["rejected"], &counts["dead_lettered"]];
        assert!(refused.iter().all(|none| none.is_null() || **none == 0 || **none == json!([])), "{counts}");
        true
    }

    /// What its events are to the engine.
    fn records(&self) -> Vec<Record> {
        if self.is_from_browser {
            sources::collect::parse(&self.body).expect("a tracker's batch").events("", &Policy::default()).records
        } else {
            sources::currents::parse(&self.body, "", &BTreeMap::new()).expect("a batch of Braze's").records
        }
    }
}

/// Everything in order, by clients side by side; a client gives up at the first request without an answer.
fn send(api: &Api, requests: &mut [Request], acknowledged: &AtomicUsize) {
    let mut shares: Vec<Vec<&mut Request>> = (0..CLIENTS).map(|_| Vec::new()).collect();
    for (n, request) in requests.iter_mut().enumerate() {
        shares[n % CLIENTS as usize].push(request);
    }
    thread::scope(|scope| {
        for share in shares {
            scope.spawn(move || {
                for request in share {
                    request.acknowledged = request.send(api);
                    if !request.acknowledged {
                        break;
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
}

/// As the API shows it: the same for the same evidence.
fn evidence_id(evidence: &EvidenceRef) -> String {
    match evidence {
        EvidenceRef::Fact(fact) => {
            let class = match fact.class {
                FactClass::Explicit => 'e',
                FactClass::Strong => 's',
                FactClass::Provisional => 'p',
            };
            format!("f{class}_{}_{}", HEXLOWER.encode(&fact.a.0), HEXLOWER.encode(&fact.b.0))
        }
        EvidenceRef::Claim { browser, key, trust, page } => {
            format!("c_{}_{}_{}_{page}", HEXLOWER.encode(&browser.0), HEXLOWER.encode(&key.0), trust.slug())
        }
    }
}

fn concerns(evidence: &EvidenceRef, prospect: &NaiveProspect) -> bool {
    match evidence {
        EvidenceRef::Fact(fact) => prospect.keys.contains(&fact.a) || prospect.keys.contains(&fact.b),
        EvidenceRef::Claim { key, browser, .. } => prospect.keys.contains(key) || prospect.keys.contains(browser),
    }
}

/// What the API shows of everybody is what the naive function says.
fn compare(api: &Api, key: &DeploymentKey, world: &World, identifiers: &BTreeSet<Identifier>, context: &str) {
    let mut ids: BTreeMap<KeyHash, &String> = BTreeMap::new();
    let evidence: BTreeMap<String, (&str, Option<&str>)> = world
        .evidence
        .iter()
        .map(|(evidence, (state, reason))| (evidence_id(evidence), (state.slug(), reason.map(Reason::words))))
        .collect();
    for (id, prospect) in &world.prospects {
        ids.extend(prospect.keys.iter().map(|key| (*key, id)));
        let shown = api.prospect(id);
        assert_eq!((&shown["id"], &shown["life_cycle"]), (&json!(id), &json!("active")), "{context}");
        let timeline = api.timeline(id);
        let events: BTreeSet<&str> = timeline.iter().map(|item| item["id"].as_str().expect("an id")).collect();
        let expected: BTreeSet<&str> = prospect.events.iter().map(|(_, _, id)| id.as_str()).collect();
        assert_eq!(events, expected, "{context}: the timeline of {id}");
        assert_eq!((timeline.len(), &shown["events"]), (expected.len(), &json!(expected.len())), "{context}: {id}");

        // What a browser claimed of other people is shown as far as its owner knows; their own pages know better.
        let is_of_others = |evidence: &&EvidenceRef| match evidence {
            EvidenceRef::Claim { key, .. } => !prospect.keys.contains(key),
            EvidenceRef::Fact(_) => false,
        };
        let of_others: BTreeSet<String> = world.evidence.keys().filter(is_of_others).map(evidence_id).collect();
        let mut states = BTreeMap::new();
        let evidence_of = api.evidence(id);
        for piece in &evidence_of {
            let id = piece["id"].as_str().expect("an id");
            let state = (piece["state"].as_str().expect("a state"), piece["reason"].as_str());
            if !of_others.contains(id) {
                assert_eq!(evidence.get(id), Some(&state), "{context}: {piece}");
            }
            assert_eq!(states.insert(id, state), None, "{context}: {piece} twice");
        }
        for expected in world.evidence.keys().filter(|evidence| concerns(evidence, prospect)) {
            assert!(states.contains_key(evidence_id(expected).as_str()), "{context}: {id} does not show {expected:?}");
        }
    }
    for identifier in identifiers {
        let reference = format!("{}:{}", identifier.key_type().slug(), identifier.value().replace('+', "%2B"));
        let owner = match world.tables.get(&key.hash(identifier)).and_then(|table| table.last()) {
            Some((_, owner)) => *owner,
            None => key.hash(identifier),
        };
        let found = api.find(&reference).map(|prospect| prospect["id"].clone());
        assert_eq!(found, ids.get(&owner).map(|id| json!(id)), "{context}: {reference}");
    }
}

/// Every identifier that records name.
fn identifiers(records: &[Record]) -> BTreeSet<Identifier> {
    let of_record = |record: &Record| {
        let facts = record.facts.iter().map(|fact| fact.other.clone());
        let claims = record.claims.iter().map(|claim| claim.key.clone());
        std::iter::once(record.rec.clone()).chain(facts).chain(claims).collect::<Vec<_>>()
    };
    records.iter().flat_map(of_record).collect()
}

#[test]
fn killed_in_the_midst_of_unions_everybody_is_who_the_naive_function_says() {
    let rounds: u32 =
        std::env::var("WINGBEAT_KILLS").ok().map_or(8, |kills| kills.parse().expect("WINGBEAT_KILLS is a number"));
    let seed =
        std::env::var("WINGBEAT_SEED").ok().map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a seed"));
    let mut instance = Instance::start();
    assert_eq!(instance.api().try_get("/healthz").expect("an answer").expect(200)["partitions"], 4);
    let key = deployment_key(&instance);
    let (mut in_flight, mut joined, mut everybody) = (0, 0, BTreeSet::new());
    for round in 0..rounds {
        let context = format!("WINGBEAT_SEED={seed}, round {round}");
        let mut company = Company {
            name: format!("{round}-{seed:x}"),
            start: now() - 86_400_000,
            random: Random(seed.wrapping_add(u64::from(round))),
        };
        let mut requests: Vec<Request> = (0..REQUESTS).map(|_| company.request()).collect();
        let site = instance.api().tokens.site.clone();
        for request in requests.iter_mut().filter(|request| request.is_from_browser) {
            let mut body: Value = serde_json::from_slice(&request.body).expect("JSON");
            body["site"] = site.as_str().into();
            request.body = body.to_string().into_bytes();
        }

        // Killed after some answers, and some more time.
        let acknowledged = AtomicUsize::new(0);
        let kill_after = company.random.below(REQUESTS * 3 / 4) as usize;
        let pause = Duration::from_micros(company.random.below(8_000).into());
        thread::scope(|scope| {
            let (api, requests, acknowledged) = (instance.api().clone(), &mut requests, &acknowledged);
            let clients = scope.spawn(move || send(&api, requests, acknowledged));
            until("the load is under way", || {
                acknowledged.load(Ordering::SeqCst) >= kill_after || clients.is_finished()
            });
            thread::sleep(pause);
            instance.kill_9();
        });
        let left = undelivered(&instance);
        in_flight += u32::from(left > 0);

        // Nobody sends anything: what is left arrives by itself.
        instance.restart();
        until("what was left in the outboxes arrives", || undelivered(&instance) == 0);

        // What got no answer is sent again, and some of the rest, as the tracker and Braze do.
        let unanswered = requests.iter().filter(|request| !request.acknowledged).count();
        println!("{context}: {} answered, {unanswered} not, {left} parcels left", requests.len() - unanswered);
        let api = instance.api();
        let mut again: Vec<&mut Request> = requests.iter_mut().collect();
        company.random.shuffle(&mut again);
        for request in again {
            if !request.acknowledged || company.random.one_in(6) {
                request.acknowledged = request.send(api);
                assert!(request.acknowledged, "{context}: a running instance takes it");
            }
        }
        until("nothing is on its way any more", || undelivered(&instance) == 0);

        let records: Vec<Record> = requests.iter().flat_map(Request::records).collect();
        let set: Vec<Input> = records.iter().cloned().map(Input::Record).collect();
        let world = naive(&key, &Policy::default(), &set);
        compare(api, &key, &world, &identifiers(&records), &context);
        joined += world.prospects.values().filter(|prospect| prospect.keys.len() > 1).count();
        everybody.extend(world.prospects.into_keys());
    }
    let listed = instance.api().pages("/api/prospects?sort=created_at&limit=200");
    let listed: BTreeSet<String> = listed.iter().map(|shown| shown["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(listed, everybody, "nobody else is there");
    println!("{rounds} kills, {in_flight} of them with parcels in an outbox; {joined} people of several keys");
    assert!(joined > rounds as usize, "the load brings people together");
    assert!(in_flight > 0, "some kills came between a commit and its delivery");
}
