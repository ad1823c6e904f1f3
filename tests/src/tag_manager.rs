//! What `www/gtm/template.tpl` does: its own code, run by a page with the few functions that Google Tag Manager gives it.

use crate::harness::instance::root;
use crate::harness::{Browser, Site, shared, until};
use serde_json::{Value, json};

/// The functions that the template asks for, as <https://developers.google.com/tag-platform/tag-manager/templates/api>
/// describes them. A queue makes the function that fills it, unless there is one of that name.
const TAG_MANAGER: &str = "
    const gtm = {
        addConsentListener: (type, heard) => { window.consent = (granted) => heard(type, granted) },
        callInWindow: (name, ...given) => window[name](...given),
        createArgumentsQueue(name, queue) {
            const [owner, member] = queue.split('.');
            window[name] ??= function () { window[owner][member].push(arguments) };
            window[owner][member] ??= [];
            return window[name];
        },
        injectScript(src, done, failed) {
            const script = Object.assign(document.createElement('script'), { src, async: true, onload: done, onerror: failed });
            document.head.append(script);
        },
        isConsentGranted: () => window.granted ?? false,
        makeTableMap: (rows, name, value) => Object.fromEntries(rows.map((row) => [row[name], row[value]])),
    };
    window.ended = [];
    window.fire = (data) => new Function('require', 'data', code)((name) => gtm[name],
        { ...data, gtmOnSuccess: () => ended.push(true), gtmOnFailure: () => ended.push(false) });";

/// A page on which tags of these settings fire, one after the other.
fn page(site: &Site, tags: &[Value]) -> String {
    let template = std::fs::read_to_string(root().join("www/gtm/template.tpl")).expect("the template");
    let (_, code) = template.split_once("___SANDBOXED_JS_FOR_WEB_TEMPLATE___").expect("its code");
    let (code, _) = code.split_once("___WEB_PERMISSIONS___").expect("what is after it");
    let fire: String = tags.iter().map(|tag| format!("fire({tag});")).collect();
    let key = &shared().tokens.site;
    let fire = fire.replace("EDGE", &site.worker).replace("SITE_KEY", key);
    let form = "<form id=f onsubmit='return false'><input type=email></form>";
    format!(
        "<!doctype html><title>A page</title><h1>A page</h1>{form}<script>const code = {};{TAG_MANAGER}{fire}</script>",
        json!(code)
    )
}

fn load(more: &Value) -> Value {
    let mut tag = json!({ "does": "load", "edge": "EDGE", "site": "SITE_KEY" });
    for (name, value) in more.as_object().into_iter().flatten() {
        tag[name] = value.clone();
    }
    tag
}

#[test]
fn it_loads_the_tracker_and_sends_events_and_identities() {
    let site = Site::new(shared());
    let event = json!({ "does": "event", "eventName": "webinar", "members": [{ "name": "topic", "value": "leads" }] });
    let identify = json!({ "does": "identify", "members": [{ "name": "email", "value": "gtm@example.com" }] });
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &[event, load(&json!({})), identify])));
    site.heard_of("webinar");
    until("the identity is sent", || site.events().iter().any(|event| event["kind"] == "identify"));
    let events = site.events();
    let of_kind = |kind: &str| events.iter().find(|event| event["kind"] == kind).expect("one of this kind");
    assert_eq!(of_kind("custom")["properties"], json!({ "topic": "leads" }));
    assert_eq!(of_kind("identify")["identity"][0]["value"], "gtm@example.com");
    assert_eq!(of_kind("page_view")["name"], "A page");
    assert_eq!(browser.run("return ended"), json!([true, true, true]));
}

#[test]
fn it_waits_for_consent_and_stops_when_that_is_withdrawn() {
    let site = Site::new(shared());
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &[load(&json!({ "consent": true }))])));
    let consent = || browser.try_run("return wingbeat('status')?.consent ?? null");
    until("the tracker is there", || consent() == Some("pending".into()));
    assert_eq!(site.statuses(), [] as [u16; 0]);
    browser.run("consent(true)");
    site.heard_of_views(1);
    browser.run("consent(false)");
    assert_eq!(consent(), Some("denied".into()));
}

#[test]
fn it_hashes_addresses_if_it_is_told_to() {
    let site = Site::new(shared());
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &[load(&json!({ "hashes": true, "hash": true }))])));
    site.heard_of_views(1);
    browser.type_into("input", "Hashed@Example.com\u{e007}");
    site.heard_of("f");
    assert!(!json!(site.batches()).to_string().to_lowercase().contains("hashed@"));
    assert!(json!(site.batches()).to_string().contains("sha256:a552f92cec517d42"));
    browser.run("location.hash = 'two'");
    site.heard_of_views(2);
}

#[test]
fn it_goes_by_one_visitor_over_domains_if_it_is_told_to() {
    let site = Site::new(shared());
    let browser = Browser::open();
    // On the page that a link leads to: nothing is listed there.
    browser.go(&site.put("/p", &page(&site, &[load(&json!({ "binds": true }))])));
    site.heard_of_views(1);
    assert_eq!(browser.run("return wingbeat('status').binding"), "none", "it says so, since it is bind.js");
}

#[test]
fn it_loads_one_build_if_it_is_told_to() {
    let site = Site::new(shared());
    let version = |script: &str| {
        let answer = shared().try_get(script).expect("an answer");
        answer.header("etag").expect("a tag").trim_matches('"').to_owned()
    };
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, &[load(&json!({ "version": version("/sw.js") }))])));
    site.heard_of_views(1);
    let found = browser.run("return [...document.scripts].filter(({ src }) => src).map(({ src, integrity }) => [src, integrity.slice(0, 7)])");
    let address = |script: &str| format!("{}{script}?v={}", site.worker, version(script));
    assert_eq!(found, json!([[address("/sw.js"), ""], [address("/wb.js"), "sha384-"]]));
}
