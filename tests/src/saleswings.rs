//! Pages that were made for SalesWings, with `sw.js` in place of its script.

use crate::harness::{Browser, Site, shared, until};
use serde_json::{Value, json};

/// A page that calls `sw` before its script comes, and writes down what the console is told.
fn page(site: &Site, calls: &str, attributes: &str, rest: &str) -> String {
    format!(
        "<!doctype html><title>A page</title><script>window.told = []; console.warn = (text) => told.push(text); \
         window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; {calls}</script>\
         <script async src='{}/sw.js' {attributes}></script><h1>A page</h1>{rest}",
        site.worker
    )
}

const FORM: &str = "<form id=f onsubmit='return false'><input type=email></form>";

#[test]
fn they_work_as_they_are() {
    let site = Site::new(shared());
    let calls = format!(
        "sw('init', {{ pid: '{}', transport: 'post', debug: false, clientSideCookie: 'true', cookieName: 'sw', cookiePath: '/' }}); \
         sw('trackPageviews', {{ trackHashChange: true, trackLocationChange: true }}); sw('trackForms', {{ mode: 'submit' }}); \
         sw('custom-event', {{ kind: 'Signup', data: 'Trial', values: {{ seats: 3, paid: false, plan: 'pro', bad: NaN, nested: {{}} }} }})",
        shared().tokens.site
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &calls, "", FORM)));
    until("the queue is worked off", || site.events().iter().any(|event| event["name"] == "Signup"));
    browser.type_into("input", "ada@example.com\u{e007}");
    browser.run("sw('custom-event', { kind: 'Later', data: 'x' }); sw(); location.hash = 'two'");
    site.heard_of("Later");
    site.heard_of("f");
    site.heard_of_views(2);
    let mut told: Vec<Value> =
        site.events().iter().map(|event| json!([event["kind"], event["name"], event["properties"]])).collect();
    told.retain(|event| event[0] == "custom" || event[0] == "form_submit");
    assert_eq!(
        told,
        [
            json!(["custom", "Signup", { "seats": 3, "paid": false, "plan": "pro", "data": "Trial" }]),
            json!(["form_submit", "f", null]),
            json!(["custom", "Later", { "data": "x" }]),
        ]
    );
    assert_eq!(browser.run("return told"), json!([]), "all of that is there");
}

#[test]
fn who_had_addresses_hashed_has_them_hashed() {
    let site = Site::new(shared());
    let calls = format!("sw('init', {{ pid: '{}', emailFormat: 'sha256' }}); sw('trackForms')", shared().tokens.site);
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &calls, "", FORM)));
    site.heard_of_views(1);
    browser.type_into("input", "Hashed@Example.com\u{e007}");
    site.heard_of("f");
    let form = site.events().into_iter().find(|event| event["kind"] == "form_submit").expect("just seen");
    let hash = "sha256:a552f92cec517d42d66471e033158c672445d078d54a1d4211791471bcb2148f";
    assert_eq!(form["identity"][0]["value"], hash);
    assert!(!json!(site.batches()).to_string().to_lowercase().contains("hashed@"));
}

#[test]
fn what_there_is_nothing_for_is_said_once() {
    let site = Site::new(shared());
    let calls = format!(
        "sw('init', {{ pid: '{}', cookieDomain: 'shop.example', binding: {{ mode: 'host', selector: 'iframe' }} }}); \
         sw('init', {{ pid: 'second' }}); sw('trackPageviews', {{ trackLocationChange: false }}); \
         sw('trackForms', {{ mode: 'blur', delay: 5 }}); sw('trackForms', {{ mode: 'blur' }}); sw('enablePopups', {{}}); \
         sw('custom-event', {{ kind: 'Another', pid: 'second' }}); sw('custom-event', {{ kind: 'Own', pid: '{0}' }})",
        shared().tokens.site
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &calls, "", "")));
    site.heard_of("Own");
    assert!(site.events().iter().all(|event| event["name"] != "Another"), "it is for another project");
    let told = browser.run("return told.map((text) => text.split('nothing here for ')[1])");
    assert_eq!(
        told,
        json!([
            "'binding' of sw('init') without trustedDomains",
            "'selector' of sw('init')",
            "'cookieDomain' of sw('init')",
            "a second project",
            "'trackLocationChange: false' of sw('trackPageviews')",
            "'mode: blur' of sw('trackForms')",
            "'delay' of sw('trackForms')",
            "sw('enablePopups')",
        ])
    );
}

#[test]
fn frames_are_bound_by_attributes_and_by_its_own_option() {
    let key = &shared().tokens.site;
    let init = |more: &str| format!("sw('init', {{ pid: '{key}', {more} }}); sw('custom-event', {{ kind: 'Signup' }})");
    let browser = Browser::open();
    for (calls, attributes, data) in [
        (init(""), "data-guests='https://forms.example'", json!({ "guests": "https://forms.example" })),
        (init("link: ''"), "", json!({ "link": "" })),
        (
            init("binding: { mode: 'auto', trustedDomains: ['shop.example', 'http://127.0.0.1:1'] }"),
            "",
            json!({ "guests": "https://shop.example,http://127.0.0.1:1", "host": "https://shop.example,http://127.0.0.1:1" }),
        ),
        (
            init("binding: { mode: 'guest', trustedDomains: 'shop.example' }"),
            "",
            json!({ "host": "https://shop.example" }),
        ),
    ] {
        let site = Site::new(shared());
        browser.go(&site.put("/p", &page(&site, &calls, attributes, "")));
        site.heard_of("Signup");
        assert_eq!(browser.run("return wingbeat('status').binding"), "none", "it says so, since it is bind.js");
        let mut found = browser.run("return { ...document.querySelector('script[src$=\"bind.js\"]').dataset }");
        found.as_object_mut().map(|found| found.remove("site"));
        assert_eq!(found, data, "{calls}");
        assert_eq!(browser.run("return told"), json!([]));
    }
}
