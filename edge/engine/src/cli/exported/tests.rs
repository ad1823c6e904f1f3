//! A partition's own exports, scored by the command: the same values as the partition shows, now and in the past.

use super::*;
use crate::cli::backtest::Backtest;
use crate::cli::people::Population;
use crate::cli::terminal::Progress;
use crate::destinations::tables::{Format, Table};
use crate::event::Record;
use crate::key::{KeyType, SlotMap};
use crate::partition::Partition;
use crate::partition::export::{Export, Place, What};
use crate::partition::message::{Ask, Message};
use crate::partition::read::Target;
use crate::partition::view::Prospect;
use crate::scoring::{Model, TEMPERATURE};
use crate::sources::{collect, currents, events, patch};
use crate::store::native::Native;
use serde_json::json;
use std::path::PathBuf;

const DAY: i64 = 86_400_000;
const NOW: i64 = 1_767_225_600_000;
const INTERNAL: &str = "ourcompany.example";
const MODEL: &str = r#"{
  "scores": [
    { "slug": "interest", "main": true, "half_life_days": 10, "floor": 0, "cap": 120, "rules": [
      { "id": "page", "when": { "event": "page_view", "source": "tracker", "url": { "contains": "/pricing" } }, "points": 7 },
      { "id": "spring", "when": { "utm.campaign": "spring sale" }, "points": 11 },
      { "id": "click", "when": { "event_type": "users.messages.email.Click", "name": { "contains": "Spring" } }, "points": 13,
        "limit": { "times": 1, "per": "day" } },
      { "id": "scanned", "when": { "event": "email_open" }, "points": 3, "include_bots": true },
      { "id": "plan", "when": { "event": "custom", "property.plan": "pro" }, "points": 40 },
      { "id": "found", "when": { "referrer": { "contains": "search.example" } }, "points": 2 },
      { "id": "bounce", "when": { "event": "email_bounce" }, "set": 1 }],
      "inactivity": [{ "after_days": 14, "points": -5, "repeat": true }] },
    { "slug": "fit", "kind": "profile", "bands": { "A": 30, "B": 0 }, "rules": [
      { "id": "saas", "when": { "attribute": "industry", "equals": "SaaS" }, "points": 30 },
      { "id": "named", "when": { "attribute": "first_name", "exists": true }, "points": 5 },
      { "id": "ours", "when": { "attribute": "braze.plan", "equals": "gold" }, "points": 4 },
      { "id": "big", "when": { "attribute": "email_domain", "equals": "big.example" }, "points": 9 }] },
    { "slug": "outside", "kind": "external", "attribute": "ml" }],
  "tags": [{ "slug": "pricing", "when": { "event": "page_view", "url": { "contains": "/pricing" }, "within_days": 5 } }],
  "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "interest", "above": 30 }, "leave_below": 10 }],
  "exclude": { "any": [{ "attribute": "customer", "equals": true }, { "attribute": "email_domain", "equals": "rival.example" }] }
}"#;

fn partition() -> Partition<Native> {
    let (model, slots) = (Model::parse(MODEL).unwrap(), SlotMap { partitions: 1 });
    let policy = Policy::default().with_internal(INTERNAL);
    Partition::open(Native::in_memory().unwrap(), (0, slots), DeploymentKey::new(b"theirs"), policy, model, 1).unwrap()
}

fn take(partition: &mut Partition<Native>, record: Record, now: i64) {
    let key = DeploymentKey::new(b"theirs").hash(&record.rec);
    partition.apply(now, vec![Message { key, ask: Ask::Take(vec![record]) }]).unwrap();
}

/// An event through our own API, of the person with this address, so many days ago.
fn api(address: &str, days: f64, fields: &Value) -> Record {
    let at = NOW - (days * DAY as f64) as i64;
    let mut event = json!({ "id": format!("a{at}"), "at": at, "identity": [{ "type": "email", "value": address }] });
    event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    events::read(&event.to_string(), 0, "", &Policy::default()).unwrap()
}

/// Events of a browser; of somebody, where the last fills in a form.
fn browser(visitor: &str, events: &[Value]) -> Vec<Record> {
    let body = json!({ "v": 1, "site": "s", "visitor": visitor, "events": events }).to_string();
    let read = collect::parse(body.as_bytes()).unwrap().events("", &Policy::default());
    assert_eq!(read.rejected, []);
    read.records
}

/// An event of Braze Currents, so many days ago.
fn braze(address: &str, event_type: &str, days: i64, properties: Value) -> Record {
    let mut properties = properties;
    properties["email_address"] = address.into();
    let event = json!({ "id": format!("c{days}"), "event_type": event_type, "time": (NOW - days * DAY) / 1000,
        "user": { "user_id": "5fbd99bac125ca40511f2cb1" }, "properties": properties });
    let batch = currents::parse(json!({ "events": [event] }).to_string().as_bytes(), "", &BTreeMap::new()).unwrap();
    assert!(batch.dead.is_empty());
    batch.records.into_iter().next().unwrap()
}

/// A company's worth of stories: who is known, who was, who is not to be scored, and whose clock is wrong.
fn stories() -> Vec<Record> {
    let identify = |attributes: Value| json!({ "kind": "identify", "properties": { "attributes": attributes } });
    let view = |id: &str, days: i64, url: &str| {
        json!({ "id": id, "at": NOW - days * DAY, "kind": "page_view", "page": "p", "url": url,
            "referrer": "https://search.example/", "utm": { "campaign": "spring sale" } })
    };
    let spring = "https://shop.example/pricing?utm_campaign=spring+sale";
    let form = json!({ "id": "f", "at": NOW - 4 * DAY, "kind": "form_submit", "page": "p", "human": "pointer", "name": "Demo",
        "url": "https://shop.example/demo?utm_campaign=spring%20sale", "properties": { "first_name": "Ada" },
        "identity": [{ "type": "email", "value": "ada@big.example", "from": "form" }] });
    let patched = patch::parse(br#"{"attributes": {"industry": null, "customer": true}}"#).unwrap();
    let bob = Identifier::new(KeyType::Email, "", "bob@example.com").unwrap();
    let looked_up = json!({ "attributes": { "plan": "gold" } });
    let body =
        Body { properties: looked_up.to_string(), ..Body::bare(Kind::Other, "Braze".to_owned(), Source::BrazeExport) };
    let mut opened = braze("ada@big.example", "users.messages.email.Open", 6, json!({ "campaign_name": "Spring" }));
    opened.body.bot = Some("machine open".to_owned());
    let click =
        |days| braze("ada@big.example", "users.messages.email.Click", days, json!({ "campaign_name": "Spring" }));
    let all = [
        browser("visitor-1", &[view("v1", 9, spring), view("v2", 3, spring), form]),
        browser("visitor-2", &[view("v3", 2, spring)]),
        vec![
            click(8),
            click(6),
            opened,
            api("ada@big.example", 7.0, &identify(json!({ "industry": "SaaS", "ml": 12.5 }))),
            api("ada@big.example", 1.0, &identify(json!({ "industry": "Steel" }))),
            api("ada@big.example", 0.5, &json!({ "kind": "custom", "name": "Trial", "properties": { "plan": "Pro" } })),
            // The same time and id under two keys of one person.
            api("bob@example.com", 20.0, &json!({ "kind": "custom", "name": "One", "properties": { "plan": "pro" } })),
            api(
                "bob@example.com",
                20.0,
                &json!({ "kind": "email_bounce", "identity": [
                { "type": "external_id", "value": "7" }, { "type": "email", "value": "bob@example.com" }] }),
            ),
            api("bob@example.com", 19.0, &identify(json!({ "industry": "SaaS", "ml": "much" }))),
            Record { rec: bob.clone(), at: NOW - 18 * DAY, id: "look".to_owned(), body, facts: vec![], claims: vec![] },
            patched.record(bob, NOW - 5 * DAY, "patch".to_owned()),
            api("eve@rival.example", 3.0, &json!({ "kind": "custom", "properties": { "plan": "pro" } })),
            api("own@ourcompany.example", 3.0, &json!({ "kind": "custom", "properties": { "plan": "pro" } })),
            // By a clock that is wrong.
            api("tom@example.com", -30.0, &json!({ "kind": "custom", "properties": { "plan": "pro" } })),
            api("tom@example.com", 30.0, &json!({ "kind": "page_view", "url": "https://shop.example/pricing" })),
        ],
    ];
    all.into_iter().flatten().collect()
}

/// Lines as the API streams them.
fn lines(partition: &Partition<Native>, table: &Table) -> Vec<u8> {
    let (mut lines, mut from) = (Vec::new(), Place::after(-1));
    loop {
        let export = Export { what: table.what(), from, until: i64::MAX, since: None, as_of: NOW };
        let piece = partition.export(&export).unwrap();
        piece.items.iter().for_each(|item| table.write(Format::Ndjson, &[], item, &mut lines).unwrap());
        let Some(next) = piece.next else { return lines };
        from = next;
    }
}

fn read(name: &str, lines: &[u8], internal: &str) -> Population {
    let path: PathBuf = std::env::temp_dir().join(format!("wingbeat-exported-{}-{name}", std::process::id()));
    std::fs::write(&path, lines).unwrap();
    let people = Population::read(std::slice::from_ref(&path), internal, &Progress::hidden());
    std::fs::remove_file(&path).unwrap();
    people.unwrap()
}

fn prospects(partition: &Partition<Native>) -> Vec<Prospect> {
    let items = partition
        .export(&Export { what: What::People, from: Place::after(-1), until: i64::MAX, since: None, as_of: NOW })
        .unwrap()
        .items;
    let id = |document: &[u8]| serde_json::from_slice::<Value>(document).unwrap()["id"].as_str().unwrap().to_owned();
    let founder = |id: String| Target::id(KeyHash::from_prospect_id(&id).unwrap());
    items.iter().map(|item| partition.prospect(founder(id(&item.document)), NOW).unwrap().found().unwrap()).collect()
}

#[test]
fn what_is_exported_has_the_values_that_the_partition_shows() {
    let mut partition = partition();
    // The later half comes in first.
    let records = stories();
    let (first, second) = records.split_at(records.len() / 2);
    second.iter().for_each(|record| take(&mut partition, record.clone(), NOW - 2_000));
    first.iter().for_each(|record| take(&mut partition, record.clone(), NOW - 1_000));
    let model = Model::parse(MODEL).unwrap();
    let both = [lines(&partition, &Table::Events), lines(&partition, &Table::Prospects)].concat();
    let people = read("all", &both, INTERNAL);
    assert_eq!((people.rejected.as_slice(), people.newest), ([].as_slice(), NOW - 1_000));
    let prospects = prospects(&partition);
    assert_eq!((people.len(), people.exported()), (prospects.len(), (prospects.len(), prospects.len())));
    let mut shown = BTreeMap::new();
    for prospect in prospects {
        let person = people.find(&prospect.id).unwrap();
        let standing = person.standing(&model, NOW);
        let values = standing.scores.into_iter().map(|(slug, score)| (slug, json!([score.value, score.band])));
        let expected = prospect.scores.iter().map(|(slug, score)| (slug.clone(), json!([score.value, score.band])));
        let who = prospect.email.clone().unwrap_or_else(|| "nobody".to_owned());
        assert_eq!(values.collect::<BTreeMap<_, _>>(), expected.collect(), "{who}");
        assert_eq!(
            (standing.tags, standing.temperature, standing.stage, standing.excluded),
            (prospect.tags, prospect.temperature, prospect.stage, prospect.excluded.clone()),
            "{who}"
        );
        let known = person.attributes(NOW).0.into_iter().map(|(name, known)| (name, known.value));
        let expected = prospect.attributes.iter().map(|(name, known)| (name.clone(), known.value.get().to_owned()));
        assert_eq!(known.collect::<BTreeMap<_, _>>(), expected.collect(), "{who}");
        for at in [NOW, NOW - DAY / 2, NOW - 2 * DAY, NOW - 5 * DAY, NOW - 6 * DAY - 1, NOW - 19 * DAY, NOW - 40 * DAY]
        {
            for score in model.score_slugs().chain([TEMPERATURE]) {
                let founder = Target::id(KeyHash::from_prospect_id(&prospect.id).unwrap());
                let explained = partition.explanation(founder, score, Some(at), None, NOW).unwrap().found().unwrap();
                let explained = explained.unwrap();
                let found = person.explanation(&model, score, at).unwrap();
                assert_eq!(
                    (found.value, &found.excluded),
                    (explained.value, &explained.excluded),
                    "{who}, {score}, {at}"
                );
                let parts = found.parts.into_iter().map(|part| json!(crate::partition::view::Part::from(part)));
                assert_eq!(
                    parts.collect::<Vec<_>>(),
                    explained.parts.iter().map(|part| json!(part)).collect::<Vec<_>>()
                );
            }
        }
        shown.insert(who, (person.standing(&model, NOW).scores[0].1.value, prospect.excluded));
    }
    // What the stories are there for.
    let shown = |who: &str| shown[who].clone();
    assert_eq!(shown("bob@example.com"), (None, Some("customer equals true".to_owned())));
    assert_eq!(shown("eve@rival.example"), (None, Some(r#"email_domain equals "rival.example""#.to_owned())));
    assert_eq!((shown("own@ourcompany.example").0, shown("tom@example.com").0.unwrap() > 39.0), (Some(0.0), true));
    assert!(shown("ada@big.example").0.unwrap() > 60.0 && shown("nobody").0.unwrap() > 15.0);
    assert_eq!(people.find("email:ada@big.example").unwrap().name, "ada@big.example");
    assert_eq!(people.find("braze_id:5fbd99bac125ca40511f2cb1").unwrap().name, "ada@big.example");
    assert_eq!(people.find("visitor:visitor-2").unwrap().name, "visitor:visitor-2");
}

#[test]
fn of_events_with_one_time_and_id_the_key_that_recorded_them_decides_the_order() {
    let mut partition = partition();
    // Whether the bounce comes first or the trial is another matter for each.
    for n in 0..32 {
        let address = format!("person-{n}@example.com");
        let custom = json!({ "kind": "custom", "properties": { "plan": "pro" } });
        let both =
            json!([{ "type": "external_id", "value": format!("customer-{n}") }, { "type": "email", "value": address }]);
        take(&mut partition, api(&address, 1.0, &custom), NOW);
        take(&mut partition, api(&address, 1.0, &json!({ "kind": "email_bounce", "identity": both })), NOW);
    }
    let people = read("order", &lines(&partition, &Table::Events), "");
    let model = Model::parse(MODEL).unwrap();
    let mut differs = std::collections::BTreeSet::new();
    for prospect in prospects(&partition) {
        let found = people.find(&prospect.id).unwrap().standing(&model, NOW).scores[0].1.value;
        assert_eq!(found, prospect.scores["interest"].value, "{:?}", prospect.email);
        differs.insert(found.map(f64::to_bits));
    }
    assert_eq!((people.len(), differs.len()), (32, 2));
}

#[test]
fn a_backtest_of_what_is_exported_counts_what_the_partitions_does() {
    let mut partition = partition();
    stories().into_iter().for_each(|record| take(&mut partition, record, NOW - 1_000));
    let draft = MODEL.replace(r#""points": 40"#, r#""points": 20"#).replace(r#""above": 30"#, r#""above": 60"#);
    partition.begin_backtest("b", NOW, &draft).unwrap();
    while partition.is_backtesting() {
        partition.backtest_slice().unwrap();
    }
    let tally = &partition.backtest().unwrap().tally;
    let both = [lines(&partition, &Table::Prospects), lines(&partition, &Table::Events)].concat();
    let models = [MODEL, &draft].map(|model| Model::parse(model).unwrap());
    let people = read("backtest", &both, INTERNAL);
    let backtest = Backtest::run([&models[0], &models[1]], &people, NOW, &Progress::hidden()).unwrap();
    let mut document = backtest.document();
    let found = document.as_object_mut().unwrap();
    assert_eq!(found.remove("at"), Some("2026-01-01T00:00:00Z".into()));
    assert_eq!(found.remove("events"), Some(tally.events.into()));
    let crossings = found.remove("crossings").unwrap();
    assert_eq!(*found, tally.document());
    assert_eq!(crossings["mql"], json!({ "in": [], "out": ["tom@example.com"] }));
}

#[test]
fn without_lines_of_prospects_only_what_events_tell_is_known() {
    let mut partition = partition();
    stories().into_iter().for_each(|record| take(&mut partition, record, NOW - 1_000));
    let events = lines(&partition, &Table::Events);
    let people = read("events", &events, INTERNAL);
    assert_eq!(people.exported(), (people.len(), 0));
    let model = Model::parse(MODEL).unwrap();
    for prospect in prospects(&partition) {
        let person = people.find(&prospect.id).unwrap();
        let standing = person.standing(&model, NOW);
        let is_known_by_domain = prospect.email.as_ref().is_some_and(|email| {
            ["big.example", "rival.example", INTERNAL].iter().any(|domain| email.ends_with(domain))
        });
        let same = (standing.scores.iter()).all(|(slug, score)| prospect.scores[slug].value == score.value);
        assert_eq!((person.name, same), (prospect.id, !is_known_by_domain), "{:?}", prospect.email);
    }
    assert!(people.find("email:ada@big.example").is_err());
}

#[test]
fn a_later_line_of_an_event_says_whose_it_is_and_a_bad_one_is_named() {
    let mut partition = partition();
    let trial = |days| api("bob@example.com", days, &json!({ "kind": "custom", "properties": { "plan": "pro" } }));
    (1..=3).for_each(|days| take(&mut partition, trial(f64::from(days)), NOW));
    let lines = String::from_utf8(lines(&partition, &Table::Events)).unwrap();
    let moved = lines.replace("\"prospect\":\"p", "\"prospect\":\"q");
    let wrong = lines.lines().next().unwrap().replace("\"key\":\"", "\"key\":\"!");
    let people = read("later", format!("{lines}{moved}{wrong}\n").as_bytes(), "");
    assert_eq!(people.len(), 1);
    assert!(people.rejected[0].ends_with(":7: `key` is none that an export has"), "{:?}", people.rejected);
    let mut names = Vec::new();
    people
        .each(&Progress::hidden(), |person| {
            names.push((person.name.chars().next().unwrap(), person.events.len()));
            Ok(())
        })
        .unwrap();
    assert_eq!(names, [('q', 3)]);
}

#[test]
fn campaigns_are_read_as_the_tracker_does() {
    for (url, expected) in [
        (
            "https://x.example/?utm_source=mail&UTM_Campaign=spring+sale%21%2B&utm_source=second&utm_=x&utm_term=#utm_id=7",
            Some(r#"{"source":"mail","campaign":"spring sale!+","id":"7"}"#),
        ),
        ("/?a=b?utm_source=mail", Some(r#"{"source":"mail"}"#)),
        ("https://x.example/?utm=1", None),
        ("https://x.example/utm_source=1", None),
    ] {
        assert_eq!(campaign(url).as_deref(), expected, "{url}");
    }
}
