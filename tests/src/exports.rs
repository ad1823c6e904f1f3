//! Exports: everybody and everything once, whatever the pages, the same in both formats; what changes meanwhile is in the
//! feed from the cursor that they begin with; rows for Braze say what write-back says.

use crate::harness::events::{Person, form, id, now, page_view, rfc3339, uuid};
use crate::harness::{Api, Braze, Instance, until};
use crate::write_back::{KEY, add, change, clicks, connection};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One answer: its lines, and its head's cursors for the next one and for the feed.
struct Answered {
    lines: Vec<u8>,
    next: Option<String>,
    changes: String,
}

#[track_caller]
fn ask(api: &Api, path: &str) -> Answered {
    let answer = api.get(path);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let head = |name: &str| answer.header(name).map(str::to_owned);
    let changes = head("wingbeat-changes-cursor").expect("the feed's cursor");
    assert!(head("wingbeat-as-of").is_some());
    Answered { next: head("wingbeat-next-cursor"), changes, lines: answer.body }
}

/// All answers of an export one after the other, so many people each, `between` two of them something happening. The path
/// has parameters. Answers the lines and the feed's cursor.
#[track_caller]
fn export(api: &Api, path: &str, mut between: impl FnMut(usize)) -> (Vec<u8>, String) {
    let (mut lines, mut page) = (Vec::new(), ask(api, path));
    let changes = page.changes.clone();
    for answers in 1.. {
        lines.extend(page.lines);
        assert_eq!(page.changes, changes, "the cursor of the beginning");
        let Some(next) = page.next else { break };
        between(answers);
        page = ask(api, &format!("{path}&cursor={next}"));
    }
    (lines, changes)
}

#[track_caller]
fn ndjson(lines: &[u8]) -> Vec<Value> {
    let text = str::from_utf8(lines).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Rows by the names in the first line.
#[track_caller]
fn csv(lines: &[u8]) -> Vec<BTreeMap<String, String>> {
    csv::Reader::from_reader(lines).deserialize().map(|row| row.expect("a row of as many cells as columns")).collect()
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

/// Thirty who click in mails, one of them with a name full of what CSV is made of; and ten anonymous browsers.
fn crowd(api: &Api) -> Vec<Person> {
    let people: Vec<Person> = (0..30).map(|n| Person::new(&format!("export{n}"))).collect();
    api.currents(&clicks(&people, now()));
    let name = "=1+1,\"Contact\"\nus; ünïcode";
    api.collect(&uuid(), &[form(now(), name, &people[0].email)]);
    for _ in 0..10 {
        api.collect(&uuid(), &[page_view(now(), "https://shop.example/a"), page_view(now(), "https://shop.example/b")]);
    }
    people
}

#[test]
fn everybody_and_every_event_is_exported_once_whatever_the_pages_and_the_format() {
    let instance = Instance::start();
    let api = instance.api();
    let people = crowd(api);
    let listed = api.pages("/api/prospects?limit=200");
    let expected: BTreeMap<&str, u64> =
        listed.iter().map(|one| (text(one, "id"), one["rev"].as_u64().unwrap())).collect();
    assert_eq!(expected.len(), 40);

    for limit in [1, 7, 40, 1_000] {
        let (lines, _) = export(api, &format!("/api/exports/prospects?limit={limit}"), |_| ());
        let exported = ndjson(&lines);
        let revs = exported.iter().map(|one| (text(one, "id"), one["rev"].as_u64().unwrap())).collect();
        assert_eq!((exported.len(), &expected), (40, &revs), "by {limit}");
    }
    let (lines, _) = export(api, "/api/exports/prospects?limit=7&format=csv", |_| ());
    let rows = csv(&lines);
    let by_id: BTreeMap<&str, &BTreeMap<String, String>> = rows.iter().map(|row| (row["id"].as_str(), row)).collect();
    assert_eq!((rows.len(), by_id.len()), (40, 40), "one line of names, over all answers");
    let ada = api.prospect(&format!("braze_id:{}", people[1].braze_id));
    let row = by_id[text(&ada, "id")];
    assert_eq!(
        (&row["email"], &row["identified"], &row["first_name"]),
        (&people[1].email, &"true".to_owned(), &String::new())
    );
    let score: f64 = row["score.engagement"].parse().expect("a number");
    assert!((score - ada["scores"]["engagement"]["value"].as_f64().unwrap()).abs() < 0.1, "{row:?}");
    assert_eq!(serde_json::from_str::<Value>(&row["identifiers"]).expect("JSON"), ada["identifiers"]);

    let (lines, _) = export(api, "/api/exports/events?limit=11", |_| ());
    let events = ndjson(&lines);
    let keys: BTreeSet<&str> = events.iter().map(|event| text(event, "key")).collect();
    assert_eq!((events.len(), keys.len()), (30 + 1 + 20, 51));
    for prospect in &listed {
        let reference = text(prospect, "id");
        let own: Vec<&Value> = events.iter().filter(|event| event["prospect"] == reference).collect();
        let timeline = api.timeline(reference);
        let fields = ["ref", "id", "at", "kind", "name", "url", "source", "bot", "properties", "points"];
        let of = |event: &Value| fields.map(|field| event[field].clone());
        assert_eq!(own.into_iter().map(of).collect::<Vec<_>>(), timeline.iter().map(of).collect::<Vec<_>>());
    }
    let (lines, _) = export(api, "/api/exports/events?limit=11&format=csv", |_| ());
    let rows = csv(&lines);
    assert_eq!(rows.iter().map(|row| row["key"].as_str()).collect::<BTreeSet<_>>(), keys);
    let form = rows.iter().find(|row| row["kind"] == "form_submit").expect("the form");
    assert!(form["name"].ends_with("=1+1,\"Contact\"\nus; ünïcode"), "as it is: {form:?}");

    let scores = ndjson(&export(api, "/api/exports/scores?limit=7", |_| ()).0);
    let own = scores.iter().find(|row| row["braze_ids"][0] == people[1].braze_id.as_str()).expect("a row");
    assert_eq!((scores.len(), text(own, "score"), text(own, "email")), (80, "engagement", people[1].email.as_str()));
    assert!(
        own["value"].as_f64().is_some_and(|value| (value - score).abs() < 0.1) && own["updated_at"].is_string(),
        "{own}"
    );

    for (wrong, path) in [
        ("prospects?limit=0", "/limit"),
        ("prospects?format=xml", "/format"),
        ("prospects?cursor=abc", "/cursor"),
        ("prospects?since=yesterday", "/since"),
        ("prospects?by_email=true", "/by_email"),
        ("braze-cdi?connection=none", "/connection"),
    ] {
        let error = api.get(&format!("/api/exports/{wrong}"));
        let status = if path == "/connection" { 404 } else { 400 };
        assert_eq!(error.error(status)["path"], path, "{wrong}");
    }
    api.get("/api/exports/secrets").error(404);
    assert_eq!(api.try_get("/api/exports/prospects").expect("an answer").status, 401);
}

#[test]
fn an_export_and_the_feed_from_its_cursor_have_no_gap_whatever_happens_in_between() {
    let instance = Instance::start();
    let api = instance.api();
    let people = crowd(api);
    let late: Vec<Person> = (0..12).map(|n| Person::new(&format!("late{n}"))).collect();
    // While it runs: new people, old ones who do something, browsers that turn out to be somebody's, so that people move
    // between partitions and into one another.
    let (lines, changes) = export(api, "/api/exports/prospects?limit=3", |answers| {
        let Some(new) = late.get(answers) else { return };
        api.currents(&[new.email_click(now()), people[answers].email_click(now())]);
        api.collect(
            &uuid(),
            &[page_view(now(), "https://shop.example/c"), form(now(), "Contact", &people[30 - answers].email)],
        );
    });
    let mut known: BTreeMap<String, Value> =
        ndjson(&lines).into_iter().map(|one| (text(&one, "id").to_owned(), one)).collect();
    assert!(known.len() >= 40, "{}", known.len());
    let mut cursor = changes;
    loop {
        let page = api.read(&format!("/api/changes?limit=200&cursor={cursor}"));
        let items = page["items"].as_array().expect("items");
        if items.is_empty() {
            break;
        }
        for item in items.iter().filter(|item| !item["prospect"].is_null()) {
            let (reference, prospect) = (text(&item["prospect"], "id").to_owned(), &item["prospect"]);
            if item["type"] != "prospect.changed" {
                known.remove(&reference);
            } else if known.get(&reference).is_none_or(|known| known["rev"].as_u64() <= prospect["rev"].as_u64()) {
                known.insert(reference, prospect.clone());
            }
        }
        cursor = text(&page, "next_cursor").to_owned();
    }
    let state = |one: &Value| (one["rev"].clone(), one["events"].clone(), one["email"].clone());
    let now_listed = api.pages("/api/prospects?limit=200");
    let expected: BTreeMap<&str, _> = now_listed.iter().map(|one| (text(one, "id"), state(one))).collect();
    let found: BTreeMap<&str, _> = known.iter().map(|(id, one)| (id.as_str(), state(one))).collect();
    assert_eq!(found, expected);
}

#[test]
fn rows_for_braze_say_what_write_back_says_and_only_what_has_changed_since() {
    let instance = Instance::start();
    let api = instance.api();
    let braze = Braze::start(KEY);
    let people: Vec<Person> = ["ada", "bob", "cem"].map(Person::new).into();
    add(&braze, &people);
    let mut set = connection(&braze);
    set["write_back"] = json!({ "prefix": "lead " });
    change(api, "PUT", "/api/connections/braze", &set).expect(200);
    api.currents(&clicks(&people, now()));
    // Known by an address alone, and not at all.
    let form_filled = Person::new("dee");
    api.collect(&uuid(), &[form(now(), "Contact", &form_filled.email)]);
    api.collect(&uuid(), &[page_view(now(), "https://shop.example/")]);
    until("all is told", || {
        people.iter().all(|person| braze.attributes(&person.braze_id).contains_key("lead lead_score"))
    });

    let rows = |query: &str| {
        csv(&export(api, &format!("/api/exports/braze-cdi?format=csv&connection=braze{query}"), |_| ()).0)
    };
    let payload = |row: &BTreeMap<String, String>| -> Map<String, Value> {
        serde_json::from_str(&row["PAYLOAD"]).expect("an object")
    };
    let all = rows("");
    let ids: BTreeSet<&str> = all.iter().map(|row| row["BRAZE_ID"].as_str()).collect();
    assert_eq!((all.len(), ids), (3, people.iter().map(|person| person.braze_id.as_str()).collect()));
    for row in &all {
        let mut payload = payload(row);
        let without = ["lead favorite", "lead lead_owner"].map(|name| payload.shift_remove(name));
        assert_eq!(without, [Some(Value::Null), Some(Value::Null)], "what has no value is named all the same");
        assert_eq!(payload, braze.attributes(&row["BRAZE_ID"]), "as write-back has told");
        assert_eq!((row["EXTERNAL_ID"].as_str(), row["EMAIL"].as_str()), ("", ""), "each names its profile once");
    }
    let names: Vec<String> =
        csv::Reader::from_reader(&export(api, "/api/exports/braze-cdi?format=csv&limit=1", |_| ()).0[..])
            .headers()
            .expect("names")
            .iter()
            .map(str::to_owned)
            .collect();
    assert_eq!(names, ["UPDATED_AT", "EXTERNAL_ID", "BRAZE_ID", "EMAIL", "PAYLOAD"]);
    let by_email = rows("&by_email=true");
    assert!(by_email.iter().any(|row| row["EMAIL"] == form_filled.email && row["BRAZE_ID"].is_empty()), "{by_email:?}");

    // From the newest of everybody on: nobody, until somebody changes. (Somebody may yet, by what is still on its way.)
    let since_the_newest = || {
        let scores = ndjson(&export(api, "/api/exports/scores?limit=7", |_| ()).0);
        let newest = scores.iter().map(|row| text(row, "updated_at").to_owned()).max().expect("a row");
        rfc3339(newest.parse::<jiff::Timestamp>().expect("a time").as_millisecond() + 1)
    };
    until("nobody has changed since", || rows(&format!("&since={}", since_the_newest())).is_empty());
    let since = since_the_newest();
    let click = people[1].email_click(now() + 60_000);
    api.currents(std::slice::from_ref(&click));
    let changed = rows(&format!("&since={since}"));
    assert_eq!(changed.iter().map(|row| row["BRAZE_ID"].as_str()).collect::<Vec<_>>(), [people[1].braze_id.as_str()]);
    let events = ndjson(&export(api, &format!("/api/exports/events?since={since}"), |_| ()).0);
    assert_eq!(events.iter().map(|event| text(event, "id").to_owned()).collect::<Vec<_>>(), [id(&click)]);

    // Braze keeps what a row does not name: what is taken back is said, and of who is excluded everything is.
    let ada = &people[0];
    let row_of = || rows("").into_iter().find(|row| row["BRAZE_ID"] == ada.braze_id).expect("a row");
    let patch = |body: Value| {
        change(api, "PATCH", &format!("/api/prospects/braze_id:{}", ada.braze_id), &body).expect(200);
    };
    patch(json!({ "favorite": true, "owner_email": "owner@example.com" }));
    let given = json!([true, "owner@example.com"]);
    until("it is there", || {
        json!([payload(&row_of())["lead favorite"], payload(&row_of())["lead lead_owner"]]) == given
    });
    patch(json!({ "favorite": false, "owner_email": null }));
    let taken = json!([null, null]);
    until("it goes", || json!([payload(&row_of())["lead favorite"], payload(&row_of())["lead lead_owner"]]) == taken);
    assert_eq!(payload(&row_of())["lead predictive_score"], braze.attributes(&ada.braze_id)["lead predictive_score"]);
}
