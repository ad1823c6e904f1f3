//! Tokens that are generated here: shown once, kept as hashes, replaced without a moment in which Braze is turned away,
//! and good for nothing once revoked.

use crate::connections::walk;
use crate::harness::api::{CURRENTS, currents_body};
use crate::harness::events::{Person, currents, now};
use crate::harness::{Answer, Api, Braze, Instance, until};
use crate::write_back::{KEY as BRAZE_KEY, change, connection};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const KEY: &str = "1f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What a caller with a token is answered.
fn call(api: &Api, token: &str, method: &str, path: &str, body: Option<&[u8]>) -> Answer {
    let bearer = format!("Bearer {token}");
    api.send(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body)
        .expect("an answer")
}

/// Braze looking whether its token is good.
fn probe(api: &Api, token: &str) -> u16 {
    call(api, token, "POST", CURRENTS, Some(b"")).status
}

#[track_caller]
fn make(api: &Api, wanted: &Value) -> Value {
    change(api, "POST", "/api/tokens", wanted).expect(201)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

#[test]
fn a_token_for_currents_is_replaced_without_a_moment_in_which_none_is_good() {
    let mut instance = Instance::start();
    let old = make(instance.api(), &json!({ "name": "Currents", "scopes": ["currents"] }));
    let (old_id, old_secret) = (text(&old, "id"), text(&old, "token"));
    assert!(old_secret.len() > 40 && old_secret.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{old}");
    assert_eq!((probe(instance.api(), &old_secret), &old["expires_at"]), (200, &Value::Null));

    // It takes the old one's place, and its scopes; that one is good for a week yet.
    let new = make(instance.api(), &json!({ "replaces": old_id }));
    let new_secret = text(&new, "token");
    assert_eq!((&new["scopes"], &new["name"]), (&json!(["currents"]), &json!("Currents")));
    let listed = instance.api().read("/api/tokens");
    let of: BTreeMap<String, &Value> =
        listed["items"].as_array().expect("items").iter().map(|token| (text(token, "id"), token)).collect();
    let until_then: jiff::Timestamp = text(of[&old_id], "expires_at").parse().expect("a time");
    let days = (until_then.as_millisecond() - now()) / 86_400_000;
    assert!((6..=7).contains(&days), "{days} days");
    assert!(of[&old_id]["last_used_at"].is_string() && of[&text(&new, "id")]["last_used_at"].is_null(), "{listed}");
    for secret in [&old_secret, &new_secret] {
        assert_eq!(probe(instance.api(), secret), 200, "both are good");
        assert!(!listed.to_string().contains(secret.as_str()), "shown once");
    }
    let third = change(instance.api(), "POST", "/api/tokens", &json!({ "scopes": ["currents"] }));
    assert_eq!(third.error(409)["code"], "conflict", "two at a time");
    let refused = change(instance.api(), "POST", "/api/tokens", &json!({ "replaces": text(&new, "id") }));
    assert_eq!(refused.error(409)["code"], "conflict");
    let listed = instance.api().read("/api/tokens");
    let kept = listed["items"].as_array().expect("items").iter().find(|token| token["id"] == new["id"]);
    assert_eq!(kept.map(|token| &token["expires_at"]), Some(&Value::Null), "what is refused changes nothing");
    let other = make(instance.api(), &json!({ "scopes": ["currents"], "workspace": "brand-c" }));
    assert_eq!(probe(instance.api(), &text(&other, "token")), 200, "of another workspace");

    // What is on disk is worth nothing; and it is there after a crash.
    instance.kill_9();
    for file in walk(&instance.state()) {
        let bytes = std::fs::read(&file).expect("a file of the state");
        let held = bytes.windows(old_secret.len()).any(|part| part == old_secret.as_bytes());
        assert!(!held, "the token is in {}", file.display());
    }
    instance.restart();
    let api = instance.api();
    assert_eq!((probe(api, &old_secret), probe(api, &new_secret)), (200, 200));

    let revoked = |id: &str| change(api, "DELETE", &format!("/api/tokens/{id}"), &Value::Null).status;
    assert_eq!((revoked(&old_id), revoked(&old_id), revoked("none")), (204, 404, 404));
    assert_eq!((probe(api, &old_secret), probe(api, &new_secret)), (401, 200));
    assert_eq!(probe(api, &api.tokens.currents), 200, "the operator's own is none of these");
    let gone = change(api, "POST", "/api/tokens", &json!({ "replaces": old_id }));
    assert_eq!(gone.error(404)["path"], "/replaces");
}

#[test]
fn a_token_is_good_for_what_it_is_for_and_as_long_as_it_is_for() {
    let instance = Instance::start();
    let api = instance.api();
    let reader = text(&make(api, &json!({ "name": "Warehouse", "scopes": ["read"] })), "token");
    let status = |token: &str, method: &str, path: &str| call(api, token, method, path, None).status;
    assert_eq!(status(&reader, "GET", "/api/prospects"), 200);
    assert_eq!((status(&reader, "GET", "/api/tokens"), probe(api, &reader)), (403, 403));
    let short = text(&make(api, &json!({ "replaces": id_of(api, "Warehouse"), "overlap_days": 0.000_03 })), "token");
    until("the old one has expired", || status(&reader, "GET", "/api/prospects") == 401);
    assert_eq!(status(&short, "GET", "/api/prospects"), 200);
    for (wrong, path) in [
        (json!({}), "/scopes"),
        (json!({ "scopes": ["everything"] }), "/scopes"),
        (json!({ "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z" }), "/expires_at"),
    ] {
        assert_eq!(change(api, "POST", "/api/tokens", &wrong).error(400)["path"], path, "{wrong}");
    }
}

/// The newest token of a name.
fn id_of(api: &Api, name: &str) -> String {
    let listed = api.read("/api/tokens");
    let found = listed["items"].as_array().expect("items").iter().find(|token| token["name"] == name);
    text(found.expect("a token of that name"), "id")
}

#[test]
fn a_deployment_that_has_lost_its_token_asks_braze_to_come_again() {
    let instance = Instance::start_with(KEY, &[("CURRENTS_TOKEN", ""), ("CURRENTS_TOKENS", "brand-b=token-b")]);
    let api = instance.api();
    assert_eq!(probe(api, "token-b"), 200, "another workspace has its own");
    for token in [api.tokens.currents.as_str(), "wrong"] {
        let answer = call(api, token, "POST", CURRENTS, Some(b""));
        assert_eq!(
            (answer.error(503)["code"].clone(), answer.header("retry-after")),
            (json!("unavailable"), Some("1"))
        );
    }
    let made = make(api, &json!({ "scopes": ["currents"] }));
    assert_eq!((probe(api, &text(&made, "token")), probe(api, "wrong")), (200, 401));
}

#[test]
fn a_token_that_nobody_can_send_is_our_fault_not_brazes() {
    let mut instance = Instance::start_with(KEY, &[("CURRENTS_TOKEN", " a-token\n")]);
    let api = instance.api();
    assert_eq!((probe(api, "a-token"), probe(api, "wrong")), (200, 401), "ends are no part of it");
    // Another good one says nothing of the one that was meant.
    let made = text(&make(api, &json!({ "scopes": ["currents"] })), "token");
    for (malformed, sent) in [("\"new-token\"", "new-token"), ("new token", "new token"), ("ключ", "new-token")] {
        instance.stop();
        instance.restart_with(&[("CURRENTS_TOKEN", malformed)]);
        let api = instance.api();
        let answer = call(api, sent, "POST", CURRENTS, Some(b""));
        assert_eq!(
            (answer.error(503)["code"].clone(), answer.header("retry-after")),
            (json!("unavailable"), Some("1")),
            "{malformed}"
        );
        assert_eq!(probe(api, &made), 200, "{malformed}");
    }
}

#[test]
fn each_workspace_hears_of_its_own_people_only() {
    let instance = Instance::start_with(KEY, &[("CURRENTS_TOKENS", "brand-b=token-b")]);
    let api = instance.api();
    let made = text(&make(api, &json!({ "scopes": ["currents"], "workspace": "brand-c" })), "token");
    // One customer number, three people.
    let tokens = [("", api.tokens.currents.as_str()), ("brand-b", "token-b"), ("brand-c", made.as_str())];
    let brands: Vec<(Person, Braze)> = tokens.iter().map(|_| (Person::new("brand"), Braze::start(BRAZE_KEY))).collect();
    for ((workspace, token), (person, braze)) in tokens.iter().zip(&brands) {
        crate::write_back::add(braze, std::slice::from_ref(person));
        let mut set = connection(braze);
        set["workspace"] = (*workspace).into();
        let id = if workspace.is_empty() { "default" } else { workspace };
        change(api, "PUT", &format!("/api/connections/{id}"), &set).expect(200);
        let user = json!({ "user_id": person.braze_id, "external_user_id": "customer-1" });
        let click = json!({ "email_address": person.email, "campaign_name": "News" });
        let body = currents_body(&[currents("users.messages.email.Click", now(), &user, &click)]);
        assert_eq!(call(api, token, "POST", CURRENTS, Some(&body)).expect(200)["accepted"], 1);
    }
    for ((workspace, _), (person, braze)) in tokens.iter().zip(&brands) {
        until("its Braze is told", || !braze.attributes(&person.braze_id).is_empty());
        let at = if workspace.is_empty() { String::new() } else { format!("@{workspace}") };
        assert_eq!(api.prospect(&format!("external_id{at}:customer-1"))["email"], person.email.as_str());
        let told: Vec<String> = braze.writes().iter().map(|write| write.braze_id.clone()).collect();
        assert!(told.iter().all(|id| *id == person.braze_id), "{workspace}: {told:?}");
        assert_eq!(braze.complaints(), Vec::<String>::new());
    }
}
