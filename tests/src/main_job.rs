//! The main job: a person follows a link from a Braze mail, looks around, fills in a form; Braze reports what it knows;
//! sales sees one person with one story and a score that explains itself.

use crate::harness::api::items;
use crate::harness::events::{Person, now};
use crate::harness::snapshot::{explanation, millionths};
use crate::harness::{Browser, eventually, shared, until};
use serde_json::Value;

fn kinds(timeline: &[Value]) -> Vec<&str> {
    timeline.iter().map(|item| item["kind"].as_str().expect("a kind")).collect()
}

#[test]
fn a_link_a_form_and_a_mail_click_become_one_scored_person() {
    let api = shared();
    let person = Person::new("ada");
    let by_braze_id = format!("braze_id:{}", person.braze_id);
    let browser = Browser::open();

    // Ada follows the link in her mail and clicks into the page.
    browser.go(&format!("{}/demo/pricing?utm_source=mail&braze_id={}#plans", api.base, person.braze_id));
    until("the address bar is clean", || !browser.address().contains("braze_id"));
    assert_eq!(browser.address(), format!("{}/demo/pricing?utm_source=mail#plans", api.base));
    browser.click("h1");
    let first = eventually("the visit is hers", || api.find(&by_braze_id));
    let id = first["id"].as_str().expect("an id").to_owned();
    assert_eq!(first["identified"], false, "nobody has told us her address yet");
    until("the page view is in her timeline", || kinds(&api.timeline(&by_braze_id)).contains(&"page_view"));
    let visitor = browser.visitor().expect("the tracker has remembered the browser");
    let held = items(&api.prospect(&by_braze_id)["identifiers"]);
    assert!(held.iter().any(|key| key["type"] == "visitor" && key["value"] == visitor.as_str()), "{held:?}");
    assert_eq!(api.prospect(&format!("visitor:{visitor}"))["id"], id.as_str());

    // She asks for a demo.
    browser.click("nav a[href=contact]");
    browser.type_into("input[name=name]", "Ada Lovelace");
    browser.type_into("input[name=email]", &person.email);
    browser.click("form button");
    let identified =
        eventually("she is identified", || api.find(&by_braze_id).filter(|found| found["identified"] == true));
    assert_eq!(identified["id"], id.as_str(), "the same prospect, the same id");
    assert_eq!(identified["email"], person.email.as_str());
    assert_eq!(api.prospect(&format!("email:{}", person.email))["id"], id.as_str());
    assert!(
        browser.address().ends_with("/demo/thanks"),
        "the form was sent to the shop as well: {}",
        browser.address()
    );

    // Braze reports a click of hers, and with it that the id and the address are one person.
    let click = person.email_click(now());
    let counts = api.currents(std::slice::from_ref(&click));
    assert_eq!(
        (&counts["accepted"], &counts["duplicates"], &counts["dead_lettered"]),
        (&1.into(), &0.into(), &0.into())
    );

    // One person, one timeline, no identity in any address.
    let timeline = api.timeline(&id);
    for kind in ["page_view", "form_submit", "email_click"] {
        assert!(kinds(&timeline).contains(&kind), "{kind} is missing: {timeline:?}");
    }
    let times: Vec<&str> = timeline.iter().map(|item| item["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|newer, older| instant(newer) >= instant(older)), "newest first: {times:?}");
    let form = timeline.iter().find(|item| item["kind"] == "form_submit").expect("just seen");
    assert_eq!(form["name"], "[Form] request-demo");
    assert_eq!(form["points"]["engagement"], 20.0);
    let view = timeline.iter().rfind(|item| item["kind"] == "page_view").expect("just seen");
    assert_eq!(view["name"], "[Page view] Prices – Parcelwren");
    assert_eq!(view["url"], format!("{}/demo/pricing?utm_source=mail#plans", api.base));
    assert_eq!(view["points"]["engagement"], 5.0);
    let stored = Value::Array(timeline.clone()).to_string();
    assert!(!stored.contains("braze_id") && !stored.contains(&person.braze_id), "{stored}");
    for reference in [&by_braze_id, &format!("email:{}", person.email), &format!("visitor:{visitor}")] {
        assert_eq!(api.prospect(reference)["id"], id.as_str(), "{reference}");
    }

    // The score is what the three of them earned, and says so.
    let score = explanation(api, &id, "engagement");
    assert!(millionths(&score["value"]) > 0, "{score}");
    let parts = items(&score["parts"]);
    let earned = |rule: &str| {
        parts.iter().filter(|part| part["rule"] == rule).map(|part| millionths(&part["points"])).sum::<i64>()
    };
    assert_eq!((earned("pricing"), earned("demo"), earned("mail-click")), (5_000_000, 20_000_000, 5_000_000));
    let clicked = parts.iter().find(|part| part["rule"] == "mail-click").expect("just summed");
    assert_eq!(clicked["event"], click["id"]);
}

#[test]
fn braze_contradicting_the_form_separates_the_two_people_again() {
    // Ada forwards her mail to Ben, who follows her link and gives his own address: at first he is taken for her.
    // Then Braze says whose the id is.
    let api = shared();
    let (ada, ben) = (Person::new("ada"), Person::new("ben"));
    let browser = Browser::open();
    browser.go(&format!("{}/demo/contact?braze_id={}", api.base, ada.braze_id));
    browser.type_into("input[name=name]", "Ben");
    browser.type_into("input[name=email]", &ben.email);
    browser.click("form button");
    let by_email = format!("email:{}", ben.email);
    let introduced = eventually("the link introduces the address", || {
        api.find(&by_email)
            .filter(|found| found["id"] == api.find(&format!("braze_id:{}", ada.braze_id)).unwrap_or_default()["id"])
    });
    assert_eq!(introduced["email"], ben.email.as_str());

    api.currents(&[ada.email_click(now())]);

    let (of_ada, of_ben) = (api.prospect(&format!("braze_id:{}", ada.braze_id)), api.prospect(&by_email));
    assert_ne!(of_ada["id"], of_ben["id"]);
    assert_eq!((&of_ada["email"], &of_ben["email"]), (&ada.email.as_str().into(), &ben.email.as_str().into()));
    let of_ada = api.timeline(&format!("braze_id:{}", ada.braze_id));
    assert_eq!(kinds(&of_ada), ["email_click"], "the visit was Ben's");
    assert!(kinds(&api.timeline(&by_email)).contains(&"form_submit"));
    let refused = api.evidence(&by_email);
    let refused =
        refused.iter().find(|evidence| evidence["kind"] == "introduction").expect("what was refused stays visible");
    assert_eq!(refused["state"], "conflict");
    assert!(refused["reason"].is_string(), "{refused}");
}

#[test]
fn our_own_site_sets_a_first_party_cookie_and_the_browser_keeps_it() {
    let api = shared();
    let browser = Browser::open();
    browser.go(&format!("{}/demo/", api.base));
    let visitor = eventually("the tracker makes up a visitor", || browser.visitor());
    until("the cookie is set", || browser.cookies().contains(&("wb_v".to_owned(), visitor.clone())));
    let readable = browser.run("return document.cookie");
    assert_eq!(readable, "", "scripts cannot read it");

    // The next page is the same visitor's, even after a script has emptied the page's own storage.
    browser.run("localStorage.clear()");
    browser.go(&format!("{}/demo/pricing", api.base));
    until("the tracker takes over the cookie's visitor", || browser.visitor().as_ref() == Some(&visitor));
}

fn instant(time: &str) -> jiff::Timestamp {
    time.parse().expect("RFC 3339")
}
