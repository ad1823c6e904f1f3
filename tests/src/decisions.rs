//! What people decide about who is who: merging, separating, and that a mistake can be undone.

use crate::harness::api::{Answer, items};
use crate::harness::events::{Person, currents, form, link_visit, now, uuid};
use crate::harness::{Api, shared};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;

/// Somebody with two clicks in mails, a visit by a link and a form: two person keys and a browser.
struct Known {
    person: Person,
    visitor: String,
}

impl Known {
    fn sent(api: &Api, name: &str) -> Known {
        let known = Known { person: Person::new(name), visitor: uuid() };
        let (person, at) = (&known.person, now() - 60 * MINUTE);
        api.currents(&[person.email_click(at), person.email_click(at + MINUTE)]);
        let visits = [
            link_visit(at + 2 * MINUTE, "https://shop.example/pricing", &person.braze_id),
            form(at + 3 * MINUTE, "contact", &person.email),
        ];
        api.collect(&known.visitor, &visits);
        known
    }

    fn by_email(&self) -> String {
        format!("email:{}", self.person.email)
    }

    fn by_braze_id(&self) -> String {
        format!("braze_id:{}", self.person.braze_id)
    }

    fn by_visitor(&self) -> String {
        format!("visitor:{}", self.visitor)
    }

    fn identifier(&self) -> Value {
        json!({ "type": "email", "value": self.person.email })
    }

    /// What is the same for two people who did the same: everything but names, times and `rev`.
    fn essence(&self, api: &Api) -> Value {
        let prospect = api.prospect(&self.by_email());
        let types: Vec<&Value> =
            prospect["identifiers"].as_array().expect("a list").iter().map(|key| &key["type"]).collect();
        let kinds: Vec<Value> = api.timeline(&self.by_email()).iter().map(|item| item["kind"].clone()).collect();
        json!({
            "identifiers": types, "timeline": kinds, "events": prospect["events"], "sessions": prospect["sessions"],
            "stage": prospect["stage"], "temperature": prospect["temperature"], "tags": prospect["tags"],
        })
    }
}

fn score(prospect: &Value) -> f64 {
    prospect["scores"]["engagement"]["value"].as_f64().expect("a score")
}

fn post(api: &Api, path: &str, key: Option<&str>, body: &Value) -> Answer {
    let token = format!("Bearer {}", api.tokens.admin);
    let mut headers = vec![("authorization", token.as_str()), ("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    api.send("POST", path, &headers, Some(body.to_string().as_bytes())).expect("an answer")
}

fn merge(api: &Api, keep: &str, other: &str) -> Vec<Value> {
    let body = json!({ "keep": keep, "merge": [other] });
    items(&post(api, "/api/prospects/merge", None, &body).expect(200)["items"])
}

fn unmerge(api: &Api, reference: &str, identifiers: &[Value]) -> Vec<Value> {
    let body = json!({ "identifiers": identifiers });
    items(&post(api, &format!("/api/prospects/{reference}/unmerge"), None, &body).expect(200)["items"])
}

fn states(api: &Api, reference: &str, kind: &str) -> Vec<(String, Value)> {
    let evidence = api.evidence(reference).into_iter().filter(|piece| piece["kind"] == kind);
    evidence.map(|piece| (piece["state"].as_str().expect("a state").to_owned(), piece["reason"].clone())).collect()
}

#[test]
fn a_mistaken_merge_can_be_undone_and_leaves_both_as_they_would_have_been() {
    let api = shared();
    let [ada, ben, twin_of_ada, twin_of_ben] = ["ada", "ben", "ada", "ben"].map(|name| Known::sent(api, name));
    let (ada_id, ben_id) = (api.prospect(&ada.by_email())["id"].clone(), api.prospect(&ben.by_email())["id"].clone());

    let merged = merge(api, &ada.by_email(), &ben.by_email());
    let [one] = merged.as_slice() else { panic!("one prospect, not {merged:?}") };
    assert_eq!(one["events"], 8);
    for reference in [ada.by_email(), ada.by_visitor(), ben.by_braze_id(), ben.by_email(), ben.by_visitor()] {
        assert_eq!(api.prospect(&reference)["id"], one["id"], "{reference}");
    }
    // One of the two ids has gone into the other, and says so.
    for id in [&ada_id, &ben_id] {
        let answer = api.prospect(id.as_str().expect("an id"));
        let expected = if *id == one["id"] { ("active", &Value::Null) } else { ("merged", &one["id"]) };
        assert_eq!((answer["life_cycle"].as_str().expect("a word"), &answer["merged_into"]), expected);
    }

    // Life goes on: fifty more of each, in mails and on the site, and of the twins.
    for known in [&ada, &ben, &twin_of_ada, &twin_of_ben] {
        // Whole seconds, as Braze's are, and no two at once: the order is the same for both.
        let at = (now() - 30 * MINUTE) / 1_000 * 1_000;
        let clicks: Vec<Value> = (0..30).map(|n| known.person.email_click(at + n * 2_000)).collect();
        api.currents(&clicks);
        let visits: Vec<Value> =
            (0..20).map(|n| form(at + n * 2_000 + 1_000, "contact", &known.person.email)).collect();
        api.collect(&known.visitor, &visits);
    }
    assert_eq!(api.prospect(&ben.by_email())["events"], 108);

    let braze_id = json!({ "type": "braze_id", "value": ben.person.braze_id });
    let apart = unmerge(api, &ada.by_email(), &[ben.identifier(), braze_id]);
    assert_eq!(apart.len(), 2, "{apart:?}");
    for (known, twin, id) in [(&ada, &twin_of_ada, &ada_id), (&ben, &twin_of_ben, &ben_id)] {
        assert_eq!(known.essence(api), twin.essence(api));
        let (one, other) = (api.prospect(&known.by_email()), api.prospect(&twin.by_email()));
        // The scores decay while this is read.
        assert!((score(&one) - score(&other)).abs() < 0.5, "{one} {other}");
        assert_eq!(one["id"], *id, "the id from before the merge is active again");
        assert_eq!(api.prospect(id.as_str().expect("an id"))["life_cycle"], "active");
        assert_eq!(api.prospect(&known.by_visitor())["id"], *id);
    }
    let reason = json!("a colleague has separated the two");
    assert!(states(api, &ada.by_email(), "decision").contains(&("active".to_owned(), reason)));
    assert!(states(api, &ada.by_email(), "fact").iter().any(|(state, _)| state == "undone"), "the merge is undone");
}

#[test]
fn what_was_separated_is_not_joined_by_the_same_event_again() {
    let api = shared();
    let person = Person::new("grace");
    let events = [
        person.email_click(now() - 9 * MINUTE),
        currents("users.behaviors.CustomEvent", now() - 8 * MINUTE, &person.braze_user(), &json!({ "name": "demo" })),
    ];
    api.currents(&events);
    let (by_email, by_id) = (format!("email:{}", person.email), format!("braze_id:{}", person.braze_id));
    let before = api.prospect(&by_email);
    let apart = unmerge(api, &by_id, &[json!({ "type": "email", "value": person.email })]);
    assert_eq!(apart.len(), 1, "nothing was recorded under the address: {apart:?}");
    assert_eq!(apart[0]["identified"], false);
    assert!(api.find(&by_email).is_none());

    api.currents(&events);
    api.currents(&[person.email_click(now() - 7 * MINUTE)]);
    assert!(api.find(&by_email).is_none());
    let prospect = api.prospect(&by_id);
    assert_eq!((&prospect["id"], &prospect["events"]), (&before["id"], &json!(3)));
    assert_eq!(states(api, &by_id, "fact"), [("undone".to_owned(), json!("a colleague has separated the two"))]);

    // A merge of the two lifts it, by either's reference.
    let visitor = uuid();
    api.collect(&visitor, &[form(now(), "contact", &person.email)]);
    let merged = merge(api, &by_email, &by_id);
    assert_eq!(merged.len(), 1);
    assert_eq!((&merged[0]["events"], &merged[0]["email"]), (&json!(4), &json!(person.email)));
}

/// A merge of the same two, the other way round.
fn the_other_way_round(ada: &Known, ben: &Known) -> Value {
    json!({ "keep": ben.by_email(), "merge": [ada.by_email()] })
}

#[test]
fn the_same_idempotency_key_decides_once() {
    let api = shared();
    let [ada, ben] = ["ada", "ben"].map(|name| Known::sent(api, name));
    let body = json!({ "keep": ada.by_email(), "merge": [ben.by_email()] });
    let key = uuid();
    let first = post(api, "/api/prospects/merge", Some(&key), &body).expect(200);
    assert_eq!(items(&first["items"]).len(), 1);
    let braze_id = json!({ "type": "braze_id", "value": ben.person.braze_id });
    let path = format!("/api/prospects/{}/unmerge", ada.by_email());
    let apart = json!({ "identifiers": [ben.identifier(), braze_id] });
    let unmerge_key = uuid();
    assert_eq!(items(&post(api, &path, Some(&unmerge_key), &apart).expect(200)["items"]).len(), 2);
    // Late copies of both change nothing any more, and answer as things are.
    let again = post(api, "/api/prospects/merge", Some(&key), &body).expect(200);
    assert_eq!(items(&again["items"]).len(), 2, "{again}");
    let again = post(api, &path, Some(&unmerge_key), &apart).expect(200);
    assert_eq!(items(&again["items"]).len(), 2, "{again}");
    // With another body it is a mistake, and decides nothing.
    for (path, body) in [("/api/prospects/merge", &the_other_way_round(&ada, &ben)), (path.as_str(), &apart)] {
        let error = post(api, path, Some(&key), body).expect(422);
        assert_eq!(error["error"]["code"], "conflict", "{error}");
    }
    assert_ne!(api.prospect(&ada.by_email())["id"], api.prospect(&ben.by_email())["id"]);
    // Another key is another decision.
    assert_eq!(items(&post(api, "/api/prospects/merge", Some(&uuid()), &body).expect(200)["items"]).len(), 1);
}

/// Whoever has the identifiers when it is sent again, perhaps by a proxy long after, is somebody else by then.
#[test]
fn a_separation_that_is_sent_again_separates_from_nobody_else() {
    let api = shared();
    let [first, second] = ["ada", "ben"].map(Person::new);
    let (visitor, at) = (uuid(), now() - 60 * MINUTE);
    api.collect(&visitor, &[form(at, "contact", &first.email), form(at + MINUTE, "contact", &second.email)]);
    let by_visitor = format!("visitor:{visitor}");
    let is_at_home = |person: &Person| api.prospect(&by_visitor)["email"] == json!(person.email);
    let latest = [&first, &second].into_iter().find(|person| is_at_home(person)).expect("it is one of theirs");
    let path = format!("/api/prospects/{by_visitor}/unmerge");
    let (key, body) = (uuid(), json!({ "identifiers": [{ "type": "visitor", "value": visitor }] }));
    post(api, &path, Some(&key), &body).expect(200);
    assert!(!is_at_home(latest), "{:?}", api.prospect(&by_visitor));
    let (apart, evidence) = (api.prospect(&by_visitor), api.evidence(&by_visitor));
    post(api, &path, Some(&key), &body).expect(200);
    assert_eq!((&api.prospect(&by_visitor)["id"], api.evidence(&by_visitor)), (&apart["id"], evidence));

    // Whom it left without an event answers as at first, too.
    let known = Known::sent(api, "kim");
    let path = format!("/api/prospects/{}/unmerge", known.by_email());
    let (key, body) = (uuid(), json!({ "identifiers": [known.identifier()] }));
    let ids = |answer: &Value| items(&answer["items"]).iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
    let answer = post(api, &path, Some(&key), &body).expect(200);
    assert_eq!(ids(&post(api, &path, Some(&key), &body).expect(200)), ids(&answer));
}

#[test]
fn several_are_merged_at_once_or_nobody_is() {
    let api = shared();
    let [ada, ben, kim] = ["ada", "ben", "kim"].map(|name| Known::sent(api, name));
    let id = |known: &Known| api.prospect(&known.by_email())["id"].clone();
    let nobody = format!("email:nobody.{}@example.com", uuid());
    let body = json!({ "keep": ada.by_email(), "merge": [ben.by_email(), nobody] });
    let error = post(api, "/api/prospects/merge", None, &body).expect(404);
    assert_eq!(error["error"]["path"], "/merge/1");
    assert_ne!(id(&ada), id(&ben));
    // What separates any of them from any other goes.
    merge(api, &ben.by_email(), &kim.by_email());
    let braze_id = json!({ "type": "braze_id", "value": kim.person.braze_id });
    assert_eq!(unmerge(api, &ben.by_email(), &[kim.identifier(), braze_id]).len(), 2);
    let body = json!({ "keep": ada.by_email(), "merge": [ben.by_email(), kim.by_email()] });
    let merged = post(api, "/api/prospects/merge", None, &body).expect(200);
    assert_eq!((items(&merged["items"]).len(), &merged["items"][0]["events"]), (1, &json!(12)), "{merged}");
    assert_eq!((id(&ada), id(&ben)), (id(&ben), id(&kim)));
}

#[test]
fn a_browser_can_be_given_to_a_person_and_taken_away() {
    let api = shared();
    let ada = Known::sent(api, "ada");
    let (visitor, at) = (uuid(), now() - MINUTE);
    let other_visitor = uuid();
    for visitor in [&visitor, &other_visitor] {
        api.collect(visitor, &[crate::harness::events::page_view(at, "https://shop.example/")]);
    }
    let anonymous = api.prospect(&format!("visitor:{visitor}"))["id"].clone();
    let merged = merge(api, &ada.by_email(), &format!("visitor:{visitor}"));
    assert_eq!((merged.len(), &merged[0]["events"]), (1, &json!(5)));
    assert_eq!(api.prospect(anonymous.as_str().expect("an id"))["merged_into"], merged[0]["id"]);

    let apart = unmerge(api, &ada.by_email(), &[json!({ "type": "visitor", "value": visitor })]);
    assert_eq!(apart.len(), 2, "{apart:?}");
    assert_eq!(api.prospect(&format!("visitor:{visitor}"))["id"], anonymous);
    assert_eq!(api.prospect(&ada.by_email())["events"], 4);

    // Of two browsers nobody knows whose they are, neither can be given to the other.
    let body = json!({ "keep": format!("visitor:{visitor}"), "merge": [format!("visitor:{other_visitor}")] });
    let error = post(api, "/api/prospects/merge", None, &body).expect(400);
    assert_eq!((&error["error"]["code"], &error["error"]["path"]), (&json!("invalid_field"), &json!("/merge/0")));
}

#[test]
fn wrong_decisions_are_refused_by_place() {
    let api = shared();
    let (ada, ben) = (Known::sent(api, "ada"), Known::sent(api, "ben"));
    let nobody = format!("email:nobody.{}@example.com", uuid());
    let unmerge = format!("/api/prospects/{}/unmerge", ada.by_email());
    let keep = ada.by_email();
    let all = [ada.identifier(), json!({ "type": "braze_id", "value": ada.person.braze_id })];
    let cases = [
        ("/api/prospects/merge", json!({ "keep": keep }), 400, "invalid_field", ""),
        ("/api/prospects/merge", json!([]), 400, "invalid_field", ""),
        ("/api/prospects/merge", json!({ "keep": keep, "merge": [] }), 400, "invalid_field", "/merge"),
        ("/api/prospects/merge", json!({ "keep": nobody, "merge": [keep] }), 404, "not_found", "/keep"),
        ("/api/prospects/merge", json!({ "keep": keep, "merge": [nobody] }), 404, "not_found", "/merge/0"),
        (&unmerge, json!({ "identifiers": [] }), 400, "invalid_field", "/identifiers"),
        (&unmerge, json!({ "identifiers": [ben.identifier()] }), 400, "invalid_field", "/identifiers/0"),
        (
            &unmerge,
            json!({ "identifiers": [{ "type": "shoe_size", "value": "44" }] }),
            400,
            "invalid_field",
            "/identifiers/0/type",
        ),
        (&unmerge, json!({ "identifiers": all }), 400, "invalid_field", "/identifiers"),
    ];
    for (path, body, status, code, place) in cases {
        let error = post(api, path, None, &body).expect(status);
        assert_eq!((&error["error"]["code"], &error["error"]["path"]), (&json!(code), &json!(place)), "{path} {body}");
    }
    let currents = format!("Bearer {}", api.tokens.currents);
    for (headers, status) in [(vec![("authorization", currents.as_str())], 403), (vec![], 401)] {
        let body = json!({ "keep": keep, "merge": [ben.by_email()] }).to_string();
        let answer = api.send("POST", "/api/prospects/merge", &headers, Some(body.as_bytes())).expect("an answer");
        assert_eq!(answer.status, status);
    }
    assert_ne!(api.prospect(&ada.by_email())["id"], api.prospect(&ben.by_email())["id"]);
}
