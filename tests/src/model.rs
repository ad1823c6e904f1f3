//! The model over HTTP: drafts, backtests, versions; and what happens by itself, on the real runtime.

use crate::harness::api::{Answer, Api, items};
use crate::harness::events::{self, Person, now, rfc3339, uuid};
use crate::harness::snapshot::millionths;
use crate::harness::{Instance, eventually, shared, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

const DAY: i64 = 86_400_000;

fn change(api: &Api, method: &str, path: &str, body: &str) -> Answer {
    let token = format!("Bearer {}", api.tokens.admin);
    api.send(method, path, &[("authorization", &token)], Some(body.as_bytes())).expect("an answer")
}

#[track_caller]
fn save(api: &Api, model: &Value) {
    assert_eq!(change(api, "PUT", "/api/model/draft", &model.to_string()).expect(200), json!({ "draft": model }));
}

/// Saves and publishes a model; answers its version.
#[track_caller]
fn publish(api: &Api, model: &Value) -> u64 {
    save(api, model);
    let published = change(api, "POST", "/api/model/publish", "").expect(200);
    assert!(published["recompute"]["done"].is_u64() && published["recompute"]["total"].is_u64(), "{published}");
    published["version"].as_u64().expect("a version")
}

/// 60 points for a form, which lose half in so many seconds; a stage above 50 that is left below 35; always frozen.
fn cooling(half_life_seconds: f64) -> Value {
    json!({
        "scores": [{ "slug": "s", "half_life_days": half_life_seconds / 86_400.0,
            "rules": [{ "id": "form", "when": { "event": "form_submit" }, "points": 60 }] }],
        "temperature": { "hot": 900, "warm": 800, "normal": 700, "cold": 600 },
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": 50 }, "leave_below": 35 }],
    })
}

/// Whoever has sent so many forms at a time: the visitor, and the time at which the stage is left.
fn warm(api: &Api, forms: u8, half_life_seconds: f64) -> (String, i64) {
    let (visitor, at) = (uuid(), now());
    let sent: Vec<Value> =
        (0..forms).map(|_| events::tracked("form_submit", at, json!({ "name": "a form" }))).collect();
    assert_eq!(api.collect(&visitor, &sent)["accepted"], forms);
    let lasts = half_life_seconds * 1_000.0 * (60.0 * f64::from(forms) / 35.0).log2();
    #[allow(clippy::cast_possible_truncation)]
    let leaves = at + lasts as i64;
    (visitor, leaves)
}

/// Stage and `rev`. Looking at somebody changes neither.
fn standing(api: &Api, visitor: &str) -> (String, u64) {
    let prospect = api.prospect(&format!("visitor:{visitor}"));
    (prospect["stage"].as_str().expect("a stage").to_owned(), prospect["rev"].as_u64().expect("a rev"))
}

fn sleep_until(at: i64) {
    sleep(Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
}

/// By when the alarm must have done its work: it rings a second apart at most, and the machine may be busy.
const ALARM_WITHIN: i64 = 4_000;

#[test]
fn a_stage_is_left_by_cooling_down_with_nobody_visiting_and_over_a_crash() {
    let mut instance = Instance::start();
    let api = instance.api();
    assert_eq!(publish(api, &cooling(3.0)), 2);
    let (visitor, leaves) = warm(api, 1, 3.0);
    let (stage, rev) = standing(api, &visitor);
    assert_eq!(stage, "mql");
    sleep_until(leaves + ALARM_WITHIN);
    assert_eq!(standing(api, &visitor), ("lead".to_owned(), rev + 1), "the alarm has told it, once");

    // One cools down while nothing runs, the other after it runs again: local runtimes may forget alarms.
    assert_eq!(publish(api, &cooling(8.0)), 3);
    let cursor = changes(api, "").1;
    let (during, after) = (warm(api, 1, 8.0), warm(api, 3, 8.0));
    let revs = [&during, &after].map(|(visitor, _)| standing(api, visitor));
    assert!(revs.iter().all(|(stage, _)| stage == "mql"), "{revs:?}");
    instance.kill_9();
    sleep_until(during.1 + 100);
    instance.restart();
    let api = instance.api();
    sleep_until(after.1.max(now()) + ALARM_WITHIN);
    for ((visitor, _), (_, rev)) in [&during, &after].into_iter().zip(revs) {
        assert_eq!(standing(api, visitor), ("lead".to_owned(), rev + 1));
    }
    // Whoever reads only now is told at which instant, however late that was noticed.
    let read = changes(api, &cursor).0;
    for (visitor, leaves) in [during, after] {
        let id = api.prospect(&format!("visitor:{visitor}"))["id"].clone();
        let turns = read
            .iter()
            .filter(|item| item["prospect"]["id"] == id)
            .filter_map(|item| item["turned"].as_array())
            .flatten();
        let left: Vec<&Value> =
            turns.filter(|turn| turn["what"].as_array().is_some_and(|it| it.contains(&json!("stage")))).collect();
        let at = left.first().and_then(|turn| wingbeat_engine::time::parse(turn["at"].as_str()?));
        assert!(left.len() == 1 && at.is_some_and(|at| (at - leaves).abs() <= 1), "{leaves} {left:?}");
    }
}

/// All changes after a cursor, and where they end.
fn changes(api: &Api, cursor: &str) -> (Vec<Value>, String) {
    let (mut all, mut cursor) = (Vec::new(), cursor.to_owned());
    for _ in 0..100 {
        let from = if cursor.is_empty() { String::new() } else { format!("&cursor={cursor}") };
        let page = api.read(&format!("/api/changes?limit=200{from}"));
        let read = items(&page["items"]);
        cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
        if read.is_empty() {
            break;
        }
        all.extend(read);
    }
    (all, cursor)
}

/// Points without decay, so that a list after publishing can be held against the backtest to the last digit.
fn still(form: i64, click: i64, above: i64) -> Value {
    json!({
        "scores": [{ "slug": "s", "bands": { "A": 20, "B": 0 }, "rules": [
            { "id": "form", "when": { "event": "form_submit" }, "points": form },
            { "id": "click", "when": { "event": "email_click" }, "points": click }] }],
        "stages": [{ "slug": "lead" }, { "slug": "mql", "when": { "score": "s", "above": above } }],
    })
}

/// So many people, of whom the n-th has n % 8 clicks.
fn crowd(api: &Api, size: usize) -> Vec<Person> {
    let people: Vec<Person> = (0..size).map(|n| Person::new(&format!("crowd{n}"))).collect();
    let clicks: Vec<Value> = people
        .iter()
        .enumerate()
        .flat_map(|(n, person)| {
            (0..=n % 8).map(move |k| person.email_click(now() - 1_000 * i64::try_from(k).unwrap_or(0)))
        })
        .collect();
    for batch in clicks.chunks(500) {
        assert_eq!(api.currents(batch)["dead_lettered"], 0);
    }
    people
}

fn everybody(api: &Api) -> Vec<Value> {
    api.pages("/api/prospects?limit=200")
}

#[test]
fn publishing_does_what_the_backtest_said() {
    let instance = Instance::start();
    let api = instance.api();
    assert_eq!(change(api, "POST", "/api/model/backtest", "").error(409)["code"], "conflict");
    assert_eq!(api.get("/api/model/backtest").error(404)["code"], "not_found");
    assert_eq!(publish(api, &still(10, 5, 17)), 2);
    crowd(api, 300);
    for _ in 0..30 {
        api.collect(&uuid(), &[events::tracked("form_submit", now(), json!({ "name": "a form" }))]);
    }
    let before = everybody(api);
    save(api, &still(40, 7, 36));
    let begun = change(api, "POST", "/api/model/backtest", "").expect(200);
    assert_eq!(begun["progress"]["total"], 330);
    let said = eventually("the backtest ends", || {
        Some(api.read("/api/model/backtest")).filter(|status| status["state"] == "done")
    });
    assert_eq!(
        (&said["people"], &said["progress"]["done"], &said["model_version"]),
        (&json!(330), &json!(330), &json!(2))
    );
    assert_eq!(said["cost"]["events"], 1_372);
    assert!(said["cost"]["rows_written"].as_u64().is_some_and(|rows| rows >= 330), "{said}");
    let shown = |people: &[Value]| -> BTreeMap<String, (String, i64)> {
        let line = |person: &Value| {
            let stage = person["stage"].as_str().expect("a stage").to_owned();
            (person["id"].as_str().expect("an id").to_owned(), (stage, millionths(&person["scores"]["s"]["value"])))
        };
        people.iter().map(line).collect()
    };
    assert_eq!(shown(&everybody(api)), shown(&before), "a backtest changes nobody");

    // It is of this draft: not of another one, but again of this, whoever has saved it.
    save(api, &still(41, 7, 36));
    assert_eq!(api.read("/api/model/backtest")["state"], "outdated");
    assert_eq!(change(api, "DELETE", "/api/model/draft", "").status, 200);
    assert_eq!(api.read("/api/model/backtest")["state"], "outdated");
    save(api, &still(40, 7, 36));
    let current = api.read("/api/model/backtest");
    assert_eq!(
        (&current["state"], &current["draft_sha256"]),
        (&json!("done"), &api.read("/api/model")["draft_sha256"])
    );

    let published = change(api, "POST", "/api/model/publish", "{}").expect(200);
    assert_eq!(published["version"], 3);
    assert_eq!(published["backtest"], json!({ "id": said["id"], "as_of": said["as_of"] }));
    assert_eq!(api.read("/api/model/backtest")["state"], "outdated", "what it compared with is no more");
    // Who is looked up is shown by it at once, whoever's turn it is.
    assert!(
        before
            .iter()
            .step_by(29)
            .all(|person| { api.prospect(person["id"].as_str().expect("an id"))["model_version"] == 3 })
    );
    until("everybody is folded anew", || api.read("/api/model")["recompute"].is_null());
    let after = everybody(api);
    assert!(after.iter().all(|person| person["model_version"] == 3));
    let (before, after) = (shown(&before), shown(&after));
    let count =
        |people: &BTreeMap<String, (String, i64)>, stage: &str| people.values().filter(|(at, _)| at == stage).count();
    for stage in ["lead", "mql"] {
        assert_eq!(said["stages"][stage]["before"], count(&before, stage), "{said}");
        assert_eq!(said["stages"][stage]["after"], count(&after, stage), "{said}");
    }
    let moved = |from: &BTreeMap<String, (String, i64)>, to: &BTreeMap<String, (String, i64)>| -> BTreeSet<String> {
        from.iter().filter(|(id, (stage, _))| stage == "lead" && to[*id].0 == "mql").map(|(id, _)| id.clone()).collect()
    };
    for (way, expected) in [("in", moved(&before, &after)), ("out", moved(&after, &before))] {
        let all = api.pages(&format!("/api/model/backtest/crossings?stage=mql&way={way}&limit=7"));
        let ids: BTreeSet<String> = all.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect();
        assert_eq!((ids.len(), &ids), (all.len(), &expected), "{way}");
        assert_eq!(said["stages"]["mql"][way]["count"], expected.len(), "{way}");
        assert_eq!(items(&said["stages"]["mql"][way]["people"]).len(), expected.len().min(50), "{way}");
        for one in &all {
            let named = one["email"].as_str().is_some_and(|email| email.starts_with("crowd"));
            assert_eq!(named, way == "out", "those of the forms are anonymous: {one}");
            let id = one["id"].as_str().expect("an id");
            assert_eq!(one["score"], "s");
            assert_eq!(millionths(&one["before"]["value"]), before[id].1);
            assert_eq!(millionths(&one["after"]["value"]), after[id].1);
        }
    }
    assert_eq!((moved(&before, &after).len(), moved(&after, &before).len()), (30, 75), "{said}");
    let crossings = |stage: &str| api.get(&format!("/api/model/backtest/crossings?stage={stage}&way=in"));
    assert_eq!(crossings("lead").expect(200)["items"], json!([]), "where everybody begins nobody comes in");
    assert_eq!(crossings("mqll").error(400)["path"], "/stage");
    for (side, people) in [("before", &before), ("after", &after)] {
        let sum: i64 = people.values().map(|(_, value)| value).sum();
        let mean = millionths(&said["scores"]["s"][side]["mean"]);
        assert!((mean - sum / 330).abs() <= 1, "{side}: {mean}");
        let most = people.values().map(|(_, value)| *value).max();
        assert_eq!(Some(millionths(&said["scores"]["s"][side]["max"])), most);
    }
}

#[test]
fn events_flow_while_a_version_comes_and_every_answer_is_of_one_version() {
    let instance = Instance::start();
    let api = instance.api();
    publish(api, &still(10, 5, 17));
    let people = crowd(api, 400);
    let rename = |name: &str| {
        let mut model = still(10, 7, 22);
        model["scores"][0]["slug"] = name.into();
        model["stages"][1]["when"]["score"] = name.into();
        model
    };
    // By which version somebody is shown, whose scores must be those of that version.
    let version = |prospect: &Value| {
        let version = prospect["model_version"].as_u64().expect("a version");
        let scores: Vec<&String> =
            prospect["scores"].as_object().into_iter().flat_map(|scores| scores.keys()).collect();
        assert_eq!(
            scores,
            [if version == 2 {
                "s"
            } else if version % 2 == 1 {
                "odd"
            } else {
                "even"
            }],
            "{prospect}"
        );
        version
    };
    let (stop, sent) = (AtomicBool::new(false), std::sync::atomic::AtomicUsize::new(0));
    thread::scope(|scope| {
        for part in people.chunks(200) {
            let (stop, sent) = (&stop, &sent);
            scope.spawn(move || {
                for person in part.iter().cycle() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    assert_eq!(api.currents(&[person.email_click(now())])["accepted"], 1);
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for newest in 3..7 {
            let begun = sent.load(Ordering::SeqCst);
            assert_eq!(publish(api, &rename(if newest % 2 == 1 { "odd" } else { "even" })), newest);
            for person in people.iter().step_by(40) {
                assert_eq!(version(&api.prospect(&format!("email:{}", person.email))), newest);
            }
            for person in everybody(api) {
                assert!(version(&person) <= newest);
            }
            until("events flow", || sent.load(Ordering::SeqCst) > begun + 5);
        }
        stop.store(true, Ordering::SeqCst);
    });
    until("everybody is folded anew", || api.read("/api/model")["recompute"].is_null());
    let listed = everybody(api);
    assert!(listed.len() == 400 && listed.iter().all(|person| version(person) == 6));
    let events: u64 = listed.iter().map(|person| person["events"].as_u64().expect("a number")).sum();
    assert_eq!(events, 1_800 + sent.load(Ordering::SeqCst) as u64, "nothing is lost");
}

#[test]
fn drafts_are_checked_and_versions_are_kept() {
    let instance = Instance::start();
    let api = instance.api();
    let shipped = api.read("/api/model")["model"].clone();
    assert_eq!(change(api, "POST", "/api/model/publish", "").error(409)["code"], "conflict");

    // Every mistake with its place; nothing of it is kept.
    let bad = json!({ "scores": [{ "slug": "s", "rules": [{ "id": "r", "when": { "evnt": "page_view" }, "points": 5 }] }], "stage": [] });
    let refused = change(api, "PUT", "/api/model/draft", &bad.to_string()).expect(400);
    let errors = items(&refused["errors"]);
    let paths: Vec<&Value> = errors.iter().map(|error| &error["path"]).collect();
    assert_eq!(paths, ["/stage", "/scores/0/rules/0/when/evnt"], "{refused}");
    assert_eq!((&refused["error"]["code"], &refused["error"]["path"]), (&json!("invalid_field"), &json!("/stage")));
    assert!(refused["errors"][1]["message"].as_str().is_some_and(|words| words.contains("`event`")), "{refused}");
    assert_eq!(change(api, "PUT", "/api/model/draft", "{").expect(400)["error"]["code"], "invalid_json");
    assert_eq!(api.read("/api/model")["draft"], Value::Null);

    let mut draft = shipped.clone();
    draft["name"] = "More for prices".into();
    draft["author"] = "Ada".into();
    draft["scores"][0]["rules"][0]["tags"] = json!(["web"]);
    draft["scores"][0]["rules"][0]["points"] = 6.into();
    save(api, &draft);
    let seen = api.read("/api/model");
    assert_eq!((&seen["version"], &seen["draft"]), (&json!(1), &draft));
    assert_eq!(
        seen["changes"],
        json!([
            { "place": "scores/engagement/rules/pricing/points", "before": "5", "after": "6" },
            { "place": "scores/engagement/rules/pricing/tags", "before": null, "after": "[\"web\"]" },
            { "place": "name", "before": null, "after": "\"More for prices\"" },
            { "place": "author", "before": null, "after": "\"Ada\"" },
        ])
    );
    assert_eq!(publish(api, &draft), 2);
    assert_eq!(api.read("/api/model")["draft"], Value::Null, "what is published is no draft any more");
    // Back to what was, under the next number.
    let again = change(api, "POST", "/api/model/publish", r#"{"version": 1}"#).expect(200);
    assert_eq!((&again["version"], &again["backtest"]), (&json!(3), &Value::Null), "nobody has tested it");
    assert_eq!(api.read("/api/model")["model"], shipped);
    let versions = api.pages("/api/model/versions?limit=1");
    let numbers: Vec<&Value> = versions.iter().map(|version| &version["version"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!((&versions[1]["name"], &versions[1]["author"]), (&json!("More for prices"), &json!("Ada")));
    assert_eq!(api.read("/api/model/versions/2")["model"], draft);
    assert_eq!(api.get("/api/model/versions/4").error(404)["code"], "not_found");
    for (body, path) in [(r#"{"version": 9}"#, "/version"), (r#"{"version": "1"}"#, "/version"), (r#"{"x": 1}"#, "/x")]
    {
        assert_eq!(change(api, "POST", "/api/model/publish", body).error(400)["path"], path, "{body}");
    }
    // Only the draft that was meant.
    save(api, &draft);
    let meant = api.read("/api/model")["draft_sha256"].as_str().expect("a fingerprint").to_owned();
    let meant = json!({ "draft_sha256": meant }).to_string();
    save(api, &shipped);
    let refused = change(api, "POST", "/api/model/publish", &meant).error(409);
    assert!(refused["code"] == "conflict" && refused["message"].as_str().is_some_and(|it| it.contains("another")));
    assert_eq!(api.read("/api/model")["version"], 3);
    save(api, &draft);
    assert_eq!(change(api, "POST", "/api/model/publish", &meant).expect(200)["version"], 4);
    let both = r#"{"version": 1, "draft_sha256": "x"}"#;
    assert_eq!(change(api, "POST", "/api/model/publish", both).error(400)["path"], "/draft_sha256");
    let token = format!("Bearer {}", api.tokens.currents);
    for (method, path) in [("PUT", "/api/model/draft"), ("POST", "/api/model/publish"), ("POST", "/api/model/backtest")]
    {
        let answer = api.send(method, path, &[("authorization", &token)], Some(b"{}")).expect("an answer");
        assert_eq!(answer.error(403)["code"], "forbidden", "{path}");
        assert_eq!(api.send(method, path, &[], Some(b"{}")).expect("an answer").error(401)["code"], "unauthorized");
    }
}

#[test]
fn what_helps_to_write_a_model_is_served() {
    let api = shared();
    let templates = items(&api.read("/api/model/templates")["items"]);
    let names: Vec<&str> = templates.iter().filter_map(|template| template["name"].as_str()).collect();
    assert_eq!(names, ["Starter B2B", "Braze Canvas points", "Empty"]);
    assert!(templates.iter().all(|template| template["model"]["scores"].is_array()));
    assert!(api.read("/api/model/schema")["$defs"].is_object(), "a JSON Schema");

    let name = format!("flavour_{}", uuid().split('-').next().expect("a part"));
    let secret = Person::new("props");
    let properties = json!({ &name: "vanilla", "email": secret.email, "note_to": secret.email });
    api.collect(&uuid(), &[events::tracked("custom", now(), json!({ "name": "ice", "properties": properties }))]);
    let known = items(&api.read("/api/model/properties")["items"]);
    let found = |name: &str| known.iter().find(|property| property["name"] == name).cloned().unwrap_or_default();
    let flavour = found(&name);
    assert_eq!((&flavour["types"], &flavour["kinds"]), (&json!(["string"]), &json!(["custom"])));
    assert_eq!(flavour["count"], 1);
    // What one has sent alone may tell who it is. Of seventeen, two are in one partition.
    assert_eq!(flavour["samples"], json!([]));
    for _ in 0..17 {
        let again = events::tracked("custom", now(), json!({ "name": "ice", "properties": { &name: "vanilla" } }));
        api.collect(&uuid(), &[again]);
    }
    assert_eq!(found("email")["samples"], json!([]));
    assert!(!Value::Array(known).to_string().contains(&secret.email));

    // What is still to come can be added, and taken back; what was seen cannot.
    let coming = format!("coming_{name}");
    let added = json!({ "name": coming, "types": ["number"], "note": "from the shop, in spring" });
    let shown = change(api, "POST", "/api/model/properties", &added.to_string()).expect(201);
    let listed = |name: &str| {
        let known = items(&api.read("/api/model/properties")["items"]);
        known.into_iter().find(|property| property["name"] == name)
    };
    assert_eq!(listed(&coming), Some(shown.clone()));
    assert_eq!(
        (&shown["types"], &shown["note"], &shown["first_seen"]),
        (&json!(["number"]), &json!("from the shop, in spring"), &Value::Null)
    );
    assert!(shown["added_at"].is_string() && flavour["added_at"].is_null(), "{shown} {flavour}");
    let remove = |name: &str| change(api, "DELETE", &format!("/api/model/properties/{name}"), "").status;
    assert_eq!((remove(&coming), remove(&coming), remove(&name)), (204, 404, 404));
    let now_known = listed(&name).expect("it was seen");
    assert_eq!((listed(&coming), &now_known["samples"], &now_known["count"]), (None, &json!(["vanilla"]), &json!(18)));
    let refused = change(api, "POST", "/api/model/properties", r#"{"name": "a", "types": ["date"]}"#).error(400);
    assert_eq!(refused["path"], "/types/0");
}

#[test]
fn an_event_says_which_rules_it_matched_and_what_kept_it_from_others() {
    let api = shared();
    let visitor = uuid();
    let page = events::page_view(now(), "https://shop.example/prices");
    api.collect(&visitor, std::slice::from_ref(&page));
    let timeline = api.timeline(&format!("visitor:{visitor}"));
    let event = api.read(&format!("/api/events/{}", timeline[0]["ref"].as_str().expect("a reference")));
    assert_eq!((&event["id"], &event["kind"], &event["source"]), (&page["id"], &json!("page_view"), &json!("tracker")));
    assert_eq!(event["prospect"], api.prospect(&format!("visitor:{visitor}"))["id"]);
    let rules = items(&event["rules"]);
    let nearly = json!({ "score": "engagement", "rule": "pricing", "outcome": "nearly", "points": 5.0, "failed": {
        "path": "/scores/0/rules/0/when/url/contains", "condition": { "contains": "/pricing" },
        "found": "https://shop.example/prices" } });
    assert_eq!(rules, [nearly]);
    assert_eq!(api.get("/api/events/nonsense").error(404)["code"], "not_found");
}

#[test]
fn the_parts_of_five_hundred_people_add_up_now_and_a_week_ago() {
    let instance = Instance::start();
    let api = instance.api();
    let templates = items(&api.read("/api/model/templates")["items"]);
    publish(api, &templates[0]["model"]);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let end = now();
    let people: Vec<String> = (0..500).map(|_| uuid()).collect();
    for visitor in &people {
        let mut history = Vec::new();
        for _ in 0..random.usize(1..14) {
            let at = end - random.i64(0..60) * DAY - random.i64(0..DAY);
            history.push(match random.u8(0..6) {
                0 => events::tracked("form_submit", at, json!({ "name": "request-demo" })),
                1 => events::tracked("form_submit", at, json!({ "name": "webinar" })),
                2 => events::tracked("download", at, json!({ "url": "https://shop.example/a.pdf" })),
                3 => events::page_view(at, "https://shop.example/"),
                _ => events::page_view(at, "https://shop.example/pricing"),
            });
        }
        assert_eq!(api.collect(visitor, &history)["rejected"], json!([]));
    }
    let (mut parts, mut differ, mut warm) = (0, 0, 0);
    for visitor in &people {
        let mut values = Vec::new();
        let temperature = api.read(&format!("/api/prospects/visitor:{visitor}/explanation?score=temperature"));
        let warmth: i64 = items(&temperature["parts"]).iter().map(|part| millionths(&part["contribution"])).sum();
        assert_eq!(warmth, millionths(&temperature["value"]), "seed {seed}: {temperature}");
        warm += usize::from(warmth > 0);
        for at in [now(), now() - 7 * DAY] {
            let path = format!("/api/prospects/visitor:{visitor}/explanation?score=engagement&at={}", rfc3339(at));
            let explained = api.read(&path);
            let sum: i64 = items(&explained["parts"]).iter().map(|part| millionths(&part["contribution"])).sum();
            assert_eq!(sum, millionths(&explained["value"]), "seed {seed}: {explained}");
            parts += items(&explained["parts"]).len();
            values.push(millionths(&explained["value"]));
        }
        differ += usize::from(values[0] != values[1]);
    }
    assert!(parts > 3_000 && differ > 300 && warm > 300, "{parts} {differ} {warm}");
}
