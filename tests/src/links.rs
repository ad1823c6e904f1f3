//! Links that name their reader: which parameters count, which values identify nobody, and that a machine which opens a
//! link proves nothing.

use crate::harness::api::items;
use crate::harness::events::{Person, now, page_view, uuid};
use crate::harness::instance::{Instance, shared_log};
use crate::harness::{Api, Browser, eventually, shared, until};
use serde_json::{Value, json};
use std::path::Path;

/// Opens a page of the shop and clicks into it, as a person does. Returns the browser's visitor once its page view and
/// its sign of life have been taken.
fn visit(api: &Api, browser: &Browser, page: &str) -> String {
    browser.go(&format!("{}/demo/{page}", api.base));
    browser.click("h1");
    let visitor = eventually("the tracker makes up a visitor", || browser.visitor());
    until("the page view and the human are reported", || {
        let known = api.find(&format!("visitor:{visitor}")).is_some();
        let kinds = || {
            api.timeline(&format!("visitor:{visitor}")).into_iter().map(|item| item["kind"].clone()).collect::<Vec<_>>()
        };
        known && ["page_view", "engagement"].iter().all(|kind| kinds().contains(&(*kind).into()))
    });
    visitor
}

/// That nobody at all is behind a browser: no person's key, and no evidence of one.
fn assert_anonymous(api: &Api, visitor: &str) {
    let reference = format!("visitor:{visitor}");
    let prospect = api.prospect(&reference);
    assert_eq!(prospect["identified"], false);
    let held = items(&prospect["identifiers"]);
    assert!(held.iter().all(|key| key["type"] == "visitor" && key["value"] == visitor), "{held:?}");
    assert_eq!(api.evidence(&reference), Vec::<Value>::new());
}

#[test]
fn br_user_id_is_the_customers_own_id() {
    let api = shared();
    let person = Person::new("grace");
    let browser = Browser::open();
    let visitor = visit(api, &browser, &format!("pricing?br_user_id={}", person.external_id));
    assert_eq!(browser.address(), format!("{}/demo/pricing", api.base));
    let prospect = api.prospect(&format!("external_id:{}", person.external_id));
    assert_eq!(prospect["id"], api.prospect(&format!("visitor:{visitor}"))["id"]);
    assert!(
        items(&prospect["identifiers"])
            .iter()
            .any(|key| key["type"] == "external_id" && key["value"] == person.external_id.as_str())
    );
    assert!(!Value::Array(api.timeline(&format!("visitor:{visitor}"))).to_string().contains("br_user_id"));
}

#[test]
fn with_both_parameters_nothing_at_all_remains_of_br_user_id() {
    // An instance of its own, because all of its files are searched.
    let mut instance = Instance::start();
    let person = Person::new("edsger");
    let browser = Browser::open();
    let link = format!("pricing?br_user_id={}&braze_id={}&plan=fleet", person.external_id, person.braze_id);
    let visitor = visit(instance.api(), &browser, &link);
    let api = instance.api();
    assert_eq!(browser.address(), format!("{}/demo/pricing?plan=fleet", api.base));

    let prospect = api.prospect(&format!("braze_id:{}", person.braze_id));
    assert_eq!(prospect["id"], api.prospect(&format!("visitor:{visitor}"))["id"], "braze_id counts");
    assert!(api.find(&format!("external_id:{}", person.external_id)).is_none());
    let of_visitor = format!("/api/prospects/visitor:{visitor}");
    for path in [
        &of_visitor,
        &format!("{of_visitor}/timeline"),
        &format!("{of_visitor}/identity"),
        &format!("{of_visitor}/explanation"),
        "/api/prospects",
        "/api/dead-letters",
    ] {
        let answer = api.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert!(!answer.text().contains(&person.external_id), "{path}: {}", answer.text());
        assert!(!answer.text().contains("br_user_id"), "{path}: {}", answer.text());
    }
    assert!(!browser.run("return JSON.stringify(localStorage)").to_string().contains(&person.external_id));
    instance.stop();
    assert!(holds(&instance.state(), &person.braze_id), "the search of the files finds what is there");
    assert!(!holds(&instance.state(), &person.external_id), "and nothing of br_user_id");
    assert!(!instance.log().contains(&person.external_id));
}

/// Whether any file of a folder contains a text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(&path).expect("a file");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn values_that_were_never_filled_in_identify_nobody() {
    let api = shared();
    // `{{${braze_id}}}` as a browser encodes it, and as it stands in the mail.
    let values = [
        "%7B%7B%24%7Bbraze_id%7D%7D",
        "{{${braze_id}}}",
        "",
        "null",
        "undefined",
        "00000000-0000-0000-0000-000000000000",
    ];
    let browser = Browser::open();
    for value in values {
        let visitor = visit(api, &browser, &format!("pricing?braze_id={value}"));
        assert_eq!(browser.address(), format!("{}/demo/pricing", api.base), "{value}");
        assert_anonymous(api, &visitor);
    }
}

#[test]
fn an_unusable_braze_id_still_keeps_br_user_id_out() {
    let api = shared();
    let person = Person::new("barbara");
    let browser = Browser::open();
    for link in [
        format!("pricing?braze_id=&br_user_id={}", person.external_id),
        format!("pricing?br_user_id={}&braze_id=null", person.external_id),
    ] {
        let visitor = visit(api, &browser, &link);
        assert_eq!(browser.address(), format!("{}/demo/pricing", api.base));
        assert_anonymous(api, &visitor);
        assert!(api.find(&format!("external_id:{}", person.external_id)).is_none());
    }
}

#[test]
fn without_a_sign_of_a_human_the_claim_stays_pending() {
    let api = shared();
    let person = Person::new("alan");
    let browser = Browser::open();
    browser.go(&format!("{}/demo/pricing?braze_id={}", api.base, person.braze_id));
    let visitor = eventually("the tracker makes up a visitor", || browser.visitor());
    let reference = format!("visitor:{visitor}");
    eventually("the page view arrives", || api.find(&reference));
    // Under automation being visible proves nothing. Without it, two seconds would.
    let began = std::time::Instant::now();
    until("the page has been visible for 3 s", || began.elapsed().as_secs() >= 3);

    let evidence = api.evidence(&reference);
    let [claim] = evidence.as_slice() else { panic!("one claim: {evidence:?}") };
    assert_eq!(
        (&claim["kind"], &claim["state"], &claim["trust"], &claim["source"]),
        (&"claim".into(), &"pending".into(), &"weak".into(), &"url".into())
    );
    assert_eq!((&claim["from"]["type"], &claim["from"]["value"]), (&"visitor".into(), &visitor.as_str().into()));
    assert_eq!((&claim["to"]["type"], &claim["to"]["value"]), (&"braze_id".into(), &person.braze_id.as_str().into()));
    assert!(claim["reason"].is_string(), "{claim}");
    assert!(api.find(&format!("braze_id:{}", person.braze_id)).is_none(), "nobody has followed the link yet");

    // A script of the page moving, scrolling and clicking is no human either.
    browser.run("document.querySelector('h1').click(); scrollTo(0, 500); dispatchEvent(new PointerEvent('pointerdown', { bubbles: true })); dispatchEvent(new KeyboardEvent('keydown'))");
    assert_eq!(api.evidence(&reference)[0]["state"], "pending");

    browser.click("h1");
    until("a click makes it active", || api.evidence(&reference)[0]["state"] == "active");
    assert_eq!(api.prospect(&format!("braze_id:{}", person.braze_id))["id"], api.prospect(&reference)["id"]);
}

#[test]
fn the_server_takes_identity_out_of_addresses_whoever_sends_them() {
    let api = shared();
    let (person, visitor) = (Person::new("ken"), uuid());
    let secret = &person.external_id;
    let url = format!(
        "https://shop.example/pricing?br_user_id={secret}&plan=fleet&next=https%3A%2F%2Fshop.example%2F%3Fbraze_id%3D{secret}"
    );
    let mut view = page_view(now(), &url);
    view["referrer"] = format!("https://mail.example/?braze_id={secret}").into();
    view["properties"] = json!({ "link": format!("https://shop.example/?BR_USER_ID={secret}") });
    assert_eq!(api.collect(&visitor, &[view])["accepted"], 1);
    let [item] = api.timeline(&format!("visitor:{visitor}")).try_into().expect("one event");
    let item: Value = item;
    assert!(!item.to_string().contains(secret.as_str()), "{item}");
    assert!(item["url"].as_str().is_some_and(|url| url.contains("plan=fleet")), "{item}");
    assert!(!shared_log().contains(secret.as_str()), "nor in the log");
}
