//! Pages that break what scripts rely on, and browsers that refuse it: the tracker works or is silent, and the page
//! never hears of it.

use crate::harness::browser::Kind;
use crate::harness::site::Fate;
use crate::harness::wait::within;
use crate::harness::{Browser, Site, shared, until};
use serde_json::{Value, json};
use std::time::Duration;

/// Before all else: writes down every exception that reaches the page.
const LISTEN: &str = "window.errors = []; addEventListener('error', (event) => errors.push('' + event.message)); \
    addEventListener('unhandledrejection', (event) => errors.push('' + event.reason)); \
    window.wingbeat = function () { (wingbeat.q = wingbeat.q || []).push(arguments) };";

const FORM: &str = "<h1>A page</h1><form id=f onsubmit='return false'><input type=email><button>Send</button></form>";

fn page(site: &Site, before: &str) -> String {
    format!("<!doctype html><title>A page</title><script>{LISTEN}{before}</script>{}{FORM}", site.tag(""))
}

/// What a person does on a page, and the page's own code.
fn use_it(browser: &Browser, name: &str) {
    until("the tracker has been loaded", || browser.try_run("return !!window.wingbeat?.on") == Some(true.into()));
    browser.type_into("input", "ada@example.com");
    browser.click("button");
    browser.run(&format!("wingbeat('event', {{ name: '{name}' }}); history.pushState({{}}, '', '#/x')"));
}

#[track_caller]
fn assert_unnoticed(browser: &Browser, name: &str) {
    assert_eq!(browser.run("return window.errors"), json!([]), "{name}");
}

fn kinds_of(site: &Site, path: &str) -> Vec<String> {
    let of_page =
        |event: &&Value| event["url"].as_str().is_some_and(|url| url.starts_with(&format!("{}{path}", site.origin)));
    site.events().iter().filter(of_page).map(|event| event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Pages on which everything still works.
const WORKING: [(&str, &str); 9] = [
    (
        "frozen",
        "for (const type of [Object, Array, Function, String, Promise, History, HTMLFormElement, Element, Node, Event]) \
         { Object.freeze(type); Object.freeze(type.prototype) } Object.freeze(JSON); Object.freeze(history)",
    ),
    ("no-random-uuid", "delete Crypto.prototype.randomUUID; if (crypto.randomUUID) throw new Error('still there')"),
    ("no-beacon", "delete Navigator.prototype.sendBeacon"),
    ("no-streaming", "delete WebAssembly.instantiateStreaming; delete WebAssembly.compileStreaming"),
    ("odd-global", "window.wingbeat = 5"),
    ("old-prototypes", "Array.prototype.toJSON = function () { return 'spoilt' }; Object.prototype.extra = () => 1"),
    ("form-data-broken", "window.FormData = function () { throw new Error('no') }; window.XMLHttpRequest = undefined"),
    (
        "history-broken",
        "History.prototype.pushState = function () {}; history.replaceState = () => { throw new Error('no') }",
    ),
    (
        "tag-manager",
        "addEventListener('DOMContentLoaded', () => { const copy = document.createElement('script'), \
         tag = document.querySelector('script[data-site]'); copy.src = tag.src + '?again'; copy.async = true; \
         copy.dataset.site = tag.dataset.site; document.head.append(copy) })",
    ),
];

#[test]
fn pages_on_which_everything_still_works() {
    let site = Site::new(shared());
    let browser = Browser::open();
    for (name, before) in WORKING {
        browser.go(&site.put(&format!("/{name}"), &page(&site, before)));
        use_it(&browser, name);
        site.heard_of(name);
        until("the form is sent", || kinds_of(&site, &format!("/{name}")).iter().any(|kind| kind == "form_submit"));
        assert_unnoticed(&browser, name);
        let views = kinds_of(&site, &format!("/{name}")).iter().filter(|kind| *kind == "page_view").count();
        assert_eq!(views, 1, "{name}: however often it is loaded");
    }
    assert_eq!(site.rejected(), [] as [Value; 0]);
}

/// Pages on which nothing can be sent, or nothing works.
const SILENT: [(&str, &str); 4] = [
    ("fetch-throws", "window.fetch = () => { throw new Error('no') }"),
    ("fetch-rejects", "window.fetch = () => Promise.reject(new Error('no'))"),
    ("fetch-nonsense", "window.fetch = () => 5"),
    ("text-encoder-broken", "window.TextEncoder = function () { throw new Error('no') }"),
];

#[test]
fn what_cannot_be_sent_from_one_page_is_sent_from_the_next() {
    let site = Site::new(shared());
    let next = site.put("/next", &page(&site, ""));
    let browser = Browser::open();
    for (name, before) in SILENT {
        browser.go(&site.put(&format!("/{name}"), &page(&site, before)));
        use_it(&browser, name);
        browser.run("wingbeat('event', {}); wingbeat('nonsense'); wingbeat()");
        assert_unnoticed(&browser, name);
        browser.go(&next);
        if name.starts_with("fetch") {
            site.heard_of(name);
            until("the form is sent", || kinds_of(&site, &format!("/{name}")).iter().any(|kind| kind == "form_submit"));
        }
        assert_unnoticed(&browser, name);
    }
}

#[test]
fn without_webassembly_the_view_and_the_link_are_sent_still() {
    let site = Site::new(shared());
    let policy = |site: &Site| {
        let worker = &site.worker;
        vec![("content-security-policy", format!("script-src 'unsafe-inline' {worker}; connect-src {worker}"))]
    };
    let href = site.put_with("/csp", &page(&site, ""), &policy(&site));
    let browser = Browser::open();
    let more = "lid=x&utm_source=mail&password=hunter2&mail=ada%40example.com";
    browser.go(&format!("{href}?braze_id=5fbd99bac125ca40511f2cb1&{more}#access_token=s3cret"));
    until("the page view is sent", || kinds_of(&site, "/csp").iter().any(|kind| kind == "page_view"));
    use_it(&browser, "not recorded");
    until("the human is told", || site.events().iter().any(|event| event["human"] == "key"));
    let events = site.events();
    let claim = json!([{ "type": "braze_id", "value": "5fbd99bac125ca40511f2cb1", "from": "url" }]);
    for event in &events {
        assert_eq!(event["identity"], claim, "{event}");
    }
    // Which parameters are secret is for WebAssembly to tell.
    assert_eq!(events[0]["url"], href);
    assert_eq!(browser.address(), format!("{href}?{more}#/x"));
    let kinds: Vec<&Value> = events.iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["page_view", "engagement"], "no forms, no events");
    assert_unnoticed(&browser, "csp");
    let visitor = site.batches()[0]["visitor"].clone();
    assert_eq!(browser.visitor().map(Value::from), Some(visitor));

    // With the word that the policy needs, all of it works.
    let mut allowed = policy(&site);
    allowed[0].1 = allowed[0].1.replace("script-src", "script-src 'wasm-unsafe-eval'");
    browser.go(&site.put_with("/allowed", &page(&site, ""), &allowed));
    use_it(&browser, "allowed");
    site.heard_of("allowed");
}

#[test]
fn without_webassembly_consent_counts_all_the_same() {
    let site = Site::new(shared());
    let policy = |site: &Site| {
        let worker = &site.worker;
        vec![("content-security-policy", format!("script-src 'unsafe-inline' {worker}; connect-src {worker}"))]
    };
    let html = page(&site, "").replace("data-site", "data-consent=wait data-site");
    let href = site.put_with("/waits", &html, &policy(&site));
    let browser = Browser::open();
    browser.go(&format!("{href}?br_user_id=u7"));
    until("the address is cleaned", || browser.address() == href);
    browser.click("h1");
    assert_eq!((site.statuses(), browser.visitor()), (vec![], None));
    browser.run("wingbeat('consent', 'granted')");
    site.heard_of_views(1);
    assert_eq!(site.events()[0]["identity"], json!([{ "type": "external_id", "value": "u7", "from": "url" }]));
    browser.run("wingbeat('consent', 'denied')");
    assert_eq!(browser.visitor().as_deref(), Some("denied"), "revoked is deleted, and remembered");
    let sent = site.statuses().len();
    browser.click("h1");
    assert!(within(Duration::from_secs(1), || (site.statuses().len() > sent).then_some(())).is_none());
    assert_unnoticed(&browser, "waits");
    browser.go(&site.put_with("/next", &page(&site, ""), &policy(&site)));
    browser.click("h1");
    assert!(within(Duration::from_secs(1), || (site.statuses().len() > sent).then_some(())).is_none());
    assert_eq!(browser.run("return wingbeat('status').reason"), "remembered");
}

/// What breaks before, in, and after the start of the script: the page must not notice any of it.
#[test]
fn no_exception_reaches_the_page() {
    let site = Site::new(shared());
    let worker = &site.worker;
    let policy = [("content-security-policy", format!("script-src 'unsafe-inline' {worker}; connect-src {worker}"))];
    let browser = Browser::open();
    for (name, before) in [
        ("fetch-nonsense", "window.fetch = () => 5"),
        ("fetch-throws", "window.fetch = () => { throw new Error('no') }"),
        ("no-random", "Crypto.prototype.getRandomValues = () => { throw new Error('no') }"),
        ("no-title", "Object.defineProperty(document, 'title', { value: undefined })"),
        ("no-listeners", "EventTarget.prototype.addEventListener = () => { throw new Error('no') }"),
        ("no-regexp", "RegExp.prototype.test = () => { throw new Error('no') }"),
        ("odd-queue", "wingbeat.q = {}"),
        ("odd-call", "wingbeat.q = [null]"),
        ("no-url", "window.URL = undefined"),
        ("no-weak-map", "window.WeakMap = undefined"),
        (
            "no-catch",
            "Promise.prototype.catch = function () { return this }; \
             window.fetch = () => Promise.reject(new Error('no'))",
        ),
    ] {
        for (way, headers) in [("plain", &[][..]), ("csp", &policy[..])] {
            browser.go(&site.put_with(&format!("/{name}-{way}"), &page(&site, before), headers));
            browser.click("h1");
            assert!(within(Duration::from_millis(700), || None::<()>).is_none());
            assert_unnoticed(&browser, &format!("{name}, {way}"));
        }
    }
    // One that would break the driver, too, until it is asked for.
    browser.go(&site.put("/no-push", &page(&site, "")));
    until("the tracker has been loaded", || browser.run("return !!window.wingbeat?.on") == true);
    let thrown = browser.run(
        "const { push, includes } = Array.prototype; \
         Array.prototype.push = Array.prototype.includes = () => { throw new Error('no') }; \
         let thrown = ''; \
         try { wingbeat('event', { name: 'n' }); wingbeat('consent', 'granted'); history.pushState(0, '', '/no-push/x'); \
           document.querySelector('h1').click(); dispatchEvent(new Event('scroll')) } catch (error) { thrown += error } \
         Object.assign(Array.prototype, { push, includes }); \
         return thrown",
    );
    assert_eq!(thrown, "");
    assert_unnoticed(&browser, "no-push");
}

#[test]
fn a_policy_that_lets_nothing_out_is_obeyed_in_silence() {
    let site = Site::new(shared());
    let policy = format!("script-src 'unsafe-inline' 'wasm-unsafe-eval' {}; connect-src 'none'", site.worker);
    let browser = Browser::open();
    browser.go(&site.put_with("/shut", &page(&site, ""), &[("content-security-policy", policy)]));
    use_it(&browser, "shut in");
    assert_unnoticed(&browser, "shut");
    assert_eq!(site.statuses(), [] as [u16; 0]);
    browser.go(&site.put("/open", &page(&site, "")));
    site.heard_of("shut in");
}

#[test]
fn without_storage_each_page_is_a_visitor_of_its_own() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site, ""));
    // As "block all cookies" in the settings does.
    let blocked = json!({ "profile.default_content_setting_values.cookies": 2 });
    let browser = Browser::open_as(Kind::Chromium, &blocked).expect("Chromium");
    for name in ["one", "two"] {
        browser.go(&href);
        assert!(browser.try_run("return localStorage.length").is_none(), "storage is denied");
        use_it(&browser, name);
        site.heard_of(name);
        until("the form is sent", || kinds_of(&site, "/p").iter().any(|kind| kind == "form_submit"));
        assert_unnoticed(&browser, name);
    }
    let visitors: std::collections::BTreeSet<String> =
        site.batches().iter().map(|batch| batch["visitor"].to_string()).collect();
    assert_eq!(visitors.len(), 2);
}

#[test]
fn a_full_storage_degrades_quietly() {
    let site = Site::new(shared());
    let fill = "localStorage.wb_v = '7b0c2c4e-1111-4222-8333-444455556666'; \
        for (let size = 1 << 22; size >= 1; size >>= 1) try { while (true) \
        localStorage['f' + Math.random()] = 'x'.repeat(size) } catch {}";
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, fill)));
    use_it(&browser, "full");
    site.heard_of("full");
    until("the form is sent", || kinds_of(&site, "/p").iter().any(|kind| kind == "form_submit"));
    // A failure is got over from memory.
    site.decide({
        let failed = std::sync::atomic::AtomicBool::new(false);
        move || if failed.swap(true, std::sync::atomic::Ordering::SeqCst) { Fate::Arrives } else { Fate::Lost }
    });
    browser.run("wingbeat('event', { name: 'again' })");
    site.heard_of("again");
    assert_unnoticed(&browser, "full");
    assert_eq!(site.batches()[0]["visitor"], "7b0c2c4e-1111-4222-8333-444455556666");
}

#[test]
fn a_frame_without_an_origin_is_refused_and_gives_up() {
    let site = Site::new(shared());
    site.put("/inside", &page(&site, ""));
    let frame =
        "<iframe sandbox='allow-scripts allow-forms' width=600 height=300 src='/inside?br_user_id=u7'></iframe>";
    let browser = Browser::open();
    browser.go(&site.put("/outside", frame));
    browser.enter_frame();
    until("the Worker refuses its batch", || site.statuses().contains(&403));
    use_it(&browser, "refused");
    assert_unnoticed(&browser, "sandbox");
    // Batches may have been on their way while the first was refused.
    until("it gives up", || {
        let sent = site.statuses().len();
        use_it(&browser, "once more");
        within(Duration::from_secs(1), || (site.statuses().len() > sent).then_some(())).is_none()
    });
    assert!(site.statuses().iter().all(|status| *status == 403), "{:?}", site.statuses());
    assert_eq!(site.events(), [] as [Value; 0]);
}
