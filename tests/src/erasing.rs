//! Erasure: by a caller and by Braze, what goes, what stays, and that asking again asks for nothing more.

use crate::harness::events::{Person, currents, form, now, page_view, uuid};
use crate::harness::{Api, shared, until};
use serde_json::{Value, json};

const MINUTE: i64 = 60_000;

/// Has somebody erased, and waits until it is complete: the receipt's id.
fn erase(api: &Api, reference: &str, key: Option<&str>) -> String {
    let token = format!("Bearer {}", api.tokens.admin);
    let headers = [("authorization", token.as_str())].into_iter().chain(key.map(|key| ("idempotency-key", key)));
    let answer = api.send("DELETE", &format!("/api/prospects/{reference}"), &headers.collect::<Vec<_>>(), None);
    let answer = answer.expect("an answer").expect(202);
    let receipt = answer["erasure"].as_str().expect("a receipt").to_owned();
    until("the erasure is complete", || api.read(&format!("/api/erasures/{receipt}"))["status"] == "completed");
    receipt
}

fn receipt_of(erasure: &Value) -> String {
    format!("/api/erasures/{}", erasure["erasure"].as_str().expect("a receipt"))
}

#[test]
fn an_erasure_that_is_asked_for_again_by_its_key_is_the_same_and_takes_nobody_who_is_back() {
    let api = shared();
    let person = Person::new("ada");
    let by_email = format!("email:{}", person.email);
    api.currents(&[person.email_click(now() - 10 * MINUTE)]);
    let key = uuid();
    let receipt = erase(api, &by_email, Some(&key));
    assert!(api.find(&by_email).is_none());
    // Its answer was lost: there is nobody of that address, and still it has a receipt.
    assert_eq!(erase(api, &by_email, Some(&key)), receipt);
    // And she is back. (Braze's times are whole seconds: one of this second may be from before.)
    api.currents(&[person.email_click(now() + 1_000)]);
    assert_eq!(erase(api, &by_email, Some(&key)), receipt);
    assert_eq!(api.prospect(&by_email)["events"], 1);
    // Another key is another erasure; somebody else by the same key is a mistake.
    let token = format!("Bearer {}", api.tokens.admin);
    let headers = [("authorization", token.as_str()), ("idempotency-key", key.as_str())];
    let path = "/api/prospects/email:somebody@example.com";
    assert_eq!(api.send("DELETE", path, &headers, None).expect("an answer").expect(422)["error"]["code"], "conflict");
    assert_ne!(erase(api, &by_email, Some(&uuid())), receipt);
    assert!(api.find(&by_email).is_none());
}

#[test]
fn an_erasure_that_found_nobody_at_first_takes_all_that_has_come_since() {
    let api = shared();
    let (person, key) = (Person::new("ada"), uuid());
    let token = format!("Bearer {}", api.tokens.admin);
    let headers = [("authorization", token.as_str()), ("idempotency-key", key.as_str())];
    let by_email = format!("email:{}", person.email);
    api.send("DELETE", &format!("/api/prospects/{by_email}"), &headers, None).expect("an answer").expect(404);
    let visitor = uuid();
    api.currents(&[person.email_click(now())]);
    api.collect(&visitor, &[form(now(), "contact", &person.email)]);
    until("they are one", || api.prospect(&by_email)["events"] == 2);
    erase(api, &by_email, Some(&key));
    for reference in [by_email, format!("braze_id:{}", person.braze_id), format!("visitor:{visitor}")] {
        assert!(api.find(&reference).is_none(), "{reference}");
    }
}

/// Whom a profile belongs to since was not meant. (Braze sends a batch again until it is answered, and so may we.)
#[test]
fn a_delete_request_that_is_sent_again_takes_nobody_else() {
    let api = shared();
    let [ada, ben] = ["ada", "ben"].map(Person::new);
    let by_email = |person: &Person| format!("email:{}", person.email);
    let at = (now() - 180 * MINUTE) / 1_000 * 1_000;
    api.currents(&[ada.email_click(at), ben.email_click(at), ben.email_click(at + MINUTE)]);
    let request = currents("users.UserDeleteRequest", at + 10 * MINUTE, &ada.braze_user(), &json!({}));
    let adas = api.prospect(&by_email(&ada))["id"].clone();
    api.currents(std::slice::from_ref(&request));
    assert!(api.find(&by_email(&ada)).is_none());
    // Nobody was told a receipt's id: it is listed.
    until("the receipt says that it is complete", || {
        let receipts = api.pages("/api/erasures?limit=3");
        let times: Vec<&str> = receipts.iter().filter_map(|receipt| receipt["requested_at"].as_str()).collect();
        assert!(times.len() == receipts.len() && times.is_sorted_by(|one, next| one >= next), "{times:?}");
        let hers: Vec<_> = receipts.iter().filter(|receipt| receipt["prospect"] == adas).collect();
        matches!(hers.as_slice(), [hers] if hers["status"] == "completed" && **hers == api.read(&receipt_of(hers)))
    });
    // The profile comes back with his address.
    let properties = json!({ "email_address": ben.email, "campaign_name": "Spring sale" });
    let back = currents("users.messages.email.Click", at + 60 * MINUTE, &ada.braze_user(), &properties);
    api.currents(&[back]);
    until("they are one", || api.prospect(&by_email(&ben))["events"] == 3);
    let before = api.prospect(&by_email(&ben));
    assert_eq!(api.currents(std::slice::from_ref(&request))["duplicates"], 1);
    assert_eq!(api.prospect(&by_email(&ben))["identifiers"], before["identifiers"]);
    assert_eq!(api.timeline(&by_email(&ben)).len(), 3);
    // Another request is about whose the profile is by then.
    api.currents(&[currents("users.UserDeleteRequest", at + 70 * MINUTE, &ada.braze_user(), &json!({}))]);
    assert!(api.find(&by_email(&ben)).is_none());
}

#[test]
fn a_delete_request_that_is_dated_ahead_takes_what_is_there_and_nothing_that_is_to_come() {
    let api = shared();
    let person = Person::new("ada");
    let by_email = format!("email:{}", person.email);
    api.currents(&[person.email_click(now() - MINUTE)]);
    let tomorrow = now() + 24 * 60 * MINUTE;
    api.currents(&[currents("users.UserDeleteRequest", tomorrow, &person.braze_user(), &json!({}))]);
    assert!(api.find(&by_email).is_none());
    // (Braze's times are whole seconds: one of this second may be from before.)
    api.currents(&[person.email_click(now() + 1_000)]);
    assert_eq!(api.prospect(&by_email)["events"], 1);
}

/// As it is with Braze, whose Currents come up to half an hour late.
#[test]
fn a_delete_request_that_comes_late_leaves_what_happened_since_and_whose_it_is() {
    let api = shared();
    let people = ["ada", "ben"].map(Person::new);
    let by_email = |person: &Person| format!("email:{}", person.email);
    for person in &people {
        let at = now() - 180 * MINUTE;
        api.currents(&[person.email_click(at)]);
        let visitor = uuid();
        let page = page_view(now() - 10 * MINUTE - 1_000, "https://shop.example/contact");
        api.collect(&visitor, &[page, form(now() - 10 * MINUTE, "contact", &person.email)]);
        api.currents(&[currents("users.UserDeleteRequest", now() - 20 * MINUTE, &person.braze_user(), &json!({}))]);
        let left = api.prospect(&by_email(person));
        assert_eq!((&left["email"], &left["events"]), (&json!(person.email), &json!(2)), "{left}");
        let values = left["identifiers"].as_array().expect("a list").iter().map(|known| &known["value"]);
        assert_eq!(values.collect::<Vec<&Value>>(), [&json!(person.email), &json!(visitor)], "{left}");
        assert!(api.find(&format!("braze_id:{}", person.braze_id)).is_none());
    }
    // They are two, and either can be merged with somebody and erased.
    let [ada, ben] = &people;
    let lead = Person::new("lead");
    api.currents(&[lead.email_click(now() - 60 * MINUTE)]);
    let body = json!({ "keep": by_email(&lead), "merge": [by_email(ada)] });
    let token = format!("Bearer {}", api.tokens.admin);
    let (headers, body) = ([("authorization", token.as_str())], body.to_string());
    api.send("POST", "/api/prospects/merge", &headers, Some(body.as_bytes())).expect("an answer").expect(200);
    assert_eq!(api.prospect(&by_email(ada))["id"], api.prospect(&by_email(&lead))["id"]);
    assert_ne!(api.prospect(&by_email(ben))["id"], api.prospect(&by_email(&lead))["id"]);
    for person in [ada, ben] {
        erase(api, &by_email(person), None);
        assert!(api.find(&by_email(person)).is_none());
    }
    assert!(api.find(&by_email(&lead)).is_none(), "she was the same");
}

#[test]
fn a_delete_request_of_braze_erases_what_is_from_before_it() {
    let api = shared();
    let (person, at) = (Person::new("alan"), (now() - 10 * MINUTE) / 1_000 * 1_000);
    let click = person.email_click(at);
    let request = currents("users.UserDeleteRequest", at + MINUTE, &person.braze_user(), &json!({}));
    let by_email = format!("email:{}", person.email);
    api.currents(std::slice::from_ref(&click));
    let id = api.prospect(&by_email)["id"].as_str().expect("an id").to_owned();

    // In one batch with what it is about, in this order or the other, and sent twice: nothing of the person is left.
    for batch in [[request.clone(), click.clone()], [click, request]] {
        assert_eq!(api.currents(&batch)["dead_lettered"], 0);
        assert!(api.find(&by_email).is_none(), "the address is forgotten");
        assert!(api.find(&format!("braze_id:{}", person.braze_id)).is_none());
        assert_eq!(api.prospect(&id)["life_cycle"], "deleted");
    }

    // Who comes back begins anew.
    api.currents(&[person.email_click(at + 2 * MINUTE)]);
    assert_eq!(api.prospect(&by_email)["events"], 1);
}

#[test]
fn an_erasure_takes_events_that_could_not_be_read_but_name_the_person() {
    let api = shared();
    let people = ["grace", "alan", "ada"].map(Person::new);
    // No time: by address, by profile, and by an address inside a link.
    let unreadable = |person: &Person| {
        let user = json!({ "user_id": person.braze_id });
        let url = format!("https://shop.example/?mail={}", person.email);
        [
            json!({ "id": uuid(), "event_type": "users.messages.email.Click", "user": {},
                "properties": { "email_address": person.email.to_uppercase() } }),
            json!({ "id": uuid(), "event_type": "users.messages.email.Click", "user": user }),
            json!({ "id": uuid(), "event_type": "users.messages.email.Click", "properties": { "url": url } }),
        ]
    };
    let left = |person: &Person| {
        let letters = api.pages("/api/dead-letters?limit=200");
        let raw = letters.iter().filter_map(|letter| letter["raw"].as_str()).map(str::to_lowercase);
        raw.filter(|raw| raw.contains(&person.email) || raw.contains(&person.braze_id)).count()
    };
    for person in &people {
        // In a batch each, so that they are kept in several partitions.
        for event in unreadable(person) {
            assert_eq!(api.currents(&[event])["dead_lettered"], 1);
        }
        api.currents(&[person.email_click(now() - MINUTE)]);
        assert_eq!(left(person), 3);
    }

    let [by_us, by_braze, stays] = &people;
    let token = format!("Bearer {}", api.tokens.admin);
    let path = format!("/api/prospects/email:{}", by_us.email);
    api.send("DELETE", &path, &[("authorization", token.as_str())], None).expect("an answer").expect(202);
    assert_eq!(left(by_us), 0);
    api.currents(&[currents("users.UserDeleteRequest", now(), &by_braze.user(), &json!({}))]);
    assert_eq!(left(by_braze), 0);
    assert_eq!(left(stays), 3, "of others nothing goes");
}
