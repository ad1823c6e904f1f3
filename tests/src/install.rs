//! The ways to put the tracker on a page: a pinned build, a tag manager, in place of SalesWings' script.

use crate::harness::{Browser, Site, shared, until};
use serde_json::{Value, json};

fn page(before: &str, tag: &str) -> String {
    format!("<!doctype html><title>A page</title><script>{before}</script>{tag}<h1>A page</h1>")
}

/// The version that the served tracker's tag names.
fn version() -> String {
    let tag = shared().try_get("/wb.js").expect("an answer").header("etag").expect("a tag").to_owned();
    tag.trim_matches('"').to_owned()
}

#[test]
fn a_pinned_build_is_for_ever_and_only_itself() {
    let api = shared();
    let get = |path: &str| api.try_get(path).expect("an answer");
    let (latest, pinned) = (get("/wb.js"), get(&format!("/wb.js?v={}", version())));
    assert_eq!(pinned.body, latest.body);
    assert_eq!(latest.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(pinned.header("cache-control"), Some("public, max-age=31536000, immutable"));
    for answer in [&latest, &pinned] {
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "integrity is checked with CORS only");
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    }
    let known = [("if-none-match", pinned.header("etag").expect("a tag"))];
    assert_eq!(api.send("GET", "/wb.js", &known, None).expect("an answer").status, 304);
    for version in ["", "0", "000000000000000000000000", "../../secrets.json/xxxxxx", "%2e%2e%2fdemo%2findex.htm"] {
        get(&format!("/wb.js?v={version}")).error(404);
    }
    get(&format!("/sw.js?v={}", self::version())).error(404);
}

#[test]
fn a_page_may_demand_one_build_by_its_hash() {
    let site = Site::new(shared());
    let src = format!("{}/wb.js?v={}", site.worker, version());
    let tag = |integrity: &str| {
        site.tag(&format!("crossorigin integrity='{integrity}'")).replace(&format!("{}/wb.js", site.worker), &src)
    };
    let browser = Browser::open();
    browser.go(&site.put("/p", &page("", "")));
    let hash = |bytes: &str| {
        let script = format!(
            "return {bytes}.then((bytes) => crypto.subtle.digest('SHA-384', bytes)) \
             .then((hash) => 'sha384-' + btoa(String.fromCharCode(...new Uint8Array(hash))))"
        );
        browser.run(&script).as_str().expect("a hash").to_owned()
    };
    let of_ours = hash(&format!("fetch('{src}').then((answer) => answer.arrayBuffer())"));
    let of_another = hash("Promise.resolve(new Uint8Array(3))");
    browser.go(&site.put("/pinned", &page("", &tag(&of_ours))));
    site.heard_of_views(1);
    browser.go(&site.put("/other", &page("", &tag(&of_another))));
    assert_eq!(browser.run("return typeof wingbeat"), "undefined", "the browser refuses another");
}

#[test]
fn pages_made_for_saleswings_work_as_they_are() {
    let site = Site::new(shared());
    let before = format!(
        "window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; \
         sw('init', {{ pid: '{}', transport: 'post' }}); sw('trackPageviews', {{ trackHashChange: true }}); \
         sw('trackForms', {{ mode: 'submit' }}); sw('custom-event', {{ kind: 'Signup', data: 'Trial', values: {{ seats: 3 }} }})",
        shared().tokens.site
    );
    let tag = format!(
        "<script async src='{}/sw.js'></script><form id=f onsubmit='return false'><input type=email></form>",
        site.worker
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&before, &tag)));
    until("the queue is worked off", || site.events().iter().any(|event| event["name"] == "Signup"));
    browser.type_into("input", "ada@example.com\u{e007}");
    browser.run("sw('custom-event', { kind: 'Later', data: 'x' }); sw('enablePopups'); sw(); location.hash = 'two'");
    site.heard_of("Later");
    site.heard_of("f");
    site.heard_of_views(2);
    let mut told: Vec<Value> =
        site.events().iter().map(|event| json!([event["kind"], event["name"], event["properties"]])).collect();
    told.retain(|event| event[0] == "custom" || event[0] == "form_submit");
    assert_eq!(
        told,
        [
            json!(["custom", "Signup", { "seats": 3, "data": "Trial" }]),
            json!(["form_submit", "f", null]),
            json!(["custom", "Later", { "data": "x" }]),
        ]
    );
}

#[test]
fn pages_made_for_saleswings_may_have_addresses_hashed() {
    let site = Site::new(shared());
    let before = format!(
        "window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; \
         sw('init', {{ pid: '{}', emailFormat: 'sha256' }}); sw('trackForms')",
        shared().tokens.site
    );
    let tag = format!(
        "<script async src='{}/sw.js'></script><form id=f onsubmit='return false'><input type=email></form>",
        site.worker
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&before, &tag)));
    site.heard_of_views(1);
    browser.type_into("input", "shield@example.com\u{e007}");
    site.heard_of("f");
    let told = json!(site.batches()).to_string();
    assert!(told.contains("sha256:") && !told.contains("shield@"), "{told}");
}

#[test]
fn a_page_that_takes_scripts_from_policies_only_is_given_one() {
    let site = Site::new(shared());
    let policy = [("content-security-policy", "require-trusted-types-for 'script'".to_owned())];
    let browser = Browser::open();
    for (script, attributes) in [("bind.js", ""), ("sw.js", "data-link=''")] {
        let seen = site.events().len();
        let tag = format!(
            "<script async src='{}/{script}' data-site='{}' {attributes}></script>",
            site.worker,
            shared().tokens.site
        );
        browser.go(&site.put_with(&format!("/{script}"), &page("", &tag), &policy));
        until(&format!("{script} loads the tracker"), || site.events().len() > seen);
    }
}

#[test]
fn pages_made_for_saleswings_may_have_guests_in_their_frames() {
    let site = Site::new(shared());
    let before = format!(
        "window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; sw('init', {{ pid: '{}' }}); \
         sw('custom-event', {{ kind: 'Signup' }})",
        shared().tokens.site
    );
    let tag = format!("<script async src='{}/sw.js' data-guests='https://forms.example'></script>", site.worker);
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&before, &tag)));
    site.heard_of("Signup");
    assert_eq!(browser.run("return wingbeat('status').binding"), "none", "it says so, since it is bind.js");
}

#[test]
fn what_a_tag_manager_loads_goes_by_one_visitor_over_domains_if_it_is_told_to() {
    let site = Site::new(shared());
    // What `www/gtm/template.tpl` does on the page that a link leads to: nothing is listed there.
    let before = format!(
        "window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; \
         sw('init', {{ pid: '{}', link: '', guests: '', host: '' }}); \
         const tag = document.createElement('script'); tag.async = true; tag.src = '{}/sw.js'; document.head.append(tag)",
        shared().tokens.site,
        site.worker
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&before, "")));
    site.heard_of_views(1);
    assert_eq!(browser.run("return wingbeat('status').binding"), "none", "it says so, since it is bind.js");
}

#[test]
fn what_a_tag_manager_loads_waits_for_consent_if_it_is_told_to() {
    let site = Site::new(shared());
    // What `www/gtm/template.tpl` does, in a tag manager's words.
    let before = format!(
        "window.sw = function () {{ (sw.q = sw.q || []).push(arguments) }}; \
         window.wingbeat = function () {{ (wingbeat.q = wingbeat.q || []).push(arguments) }}; \
         sw('init', {{ pid: '{}', consent: 'wait' }}); \
         const tag = document.createElement('script'); tag.async = true; tag.src = '{}/sw.js'; document.head.append(tag)",
        shared().tokens.site,
        site.worker
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&before, "")));
    until("the tracker is there", || {
        browser.try_run("return wingbeat('status')?.consent ?? null") == Some("pending".into())
    });
    assert_eq!(site.statuses(), [] as [u16; 0]);
    browser.run("wingbeat('consent', 'granted')");
    site.heard_of_views(1);
}
