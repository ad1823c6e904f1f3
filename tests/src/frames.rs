//! A form in a frame belongs to whoever looks at the page around it (`www/bind.js`), if both pages say that they may.

use crate::harness::browser::Kind;
use crate::harness::{Browser, Site, eventually, shared, until};
use serde_json::{Value, json};
use std::io::Write;

/// A page and another origin's page in a frame of it.
struct Frames {
    host: Site,
    guest: Site,
}

impl Frames {
    fn new() -> Frames {
        let (host, mut guest) = (Site::new(shared()), Site::new(shared()));
        // Another site than the page around it, to a browser.
        guest.origin = guest.origin.replace("127.0.0.1", "localhost");
        Frames { host, guest }
    }

    /// Puts both pages with attributes of their scripts; returns where the outer one is.
    fn put(&self, host: &str, guest: &str) -> String {
        let form = "<form id=f onsubmit='return false'><input type=email><button>Send</button></form>";
        let inner = self.guest.put("/form", &format!("{}{form}", page(&self.guest, guest)));
        let outer = format!("{}<iframe width=600 height=300 src='{inner}'></iframe>", page(&self.host, host));
        self.host.put("/p", &outer)
    }

    /// Both with each other's origins.
    fn put_both(&self, host: &str, guest: &str) -> String {
        self.put(&format!("{} {host}", self.guests()), &format!("{} {guest}", self.hosts()))
    }

    fn guests(&self) -> String {
        format!("data-guests='https://else.example, {}'", self.guest.origin)
    }

    fn hosts(&self) -> String {
        format!("data-host='{} https://else.example'", self.host.origin)
    }

    fn visitors_of_guest(&self) -> Vec<Value> {
        self.guest.batches().iter().map(|batch| batch["visitor"].clone()).collect()
    }
}

fn page(site: &Site, attributes: &str) -> String {
    let key = &shared().tokens.site;
    format!(
        "<!doctype html><title>A page</title><h1>A page</h1>\
         <script async src='{}/bind.js' data-site='{key}' {attributes}></script>",
        site.worker
    )
}

#[track_caller]
fn ends(browser: &Browser, binding: &str) {
    let asked = "return window.wingbeat?.on ? wingbeat('status').binding : null";
    until(&format!("it ends {binding}"), || browser.try_run(asked) == Some(binding.into()));
}

#[track_caller]
fn send_form(browser: &Browser, email: &str) {
    browser.type_into("input", email);
    browser.click("button");
}

#[test]
fn a_form_in_a_frame_is_of_whoever_looks_at_the_page_around_it() {
    for kind in [Kind::Chromium, Kind::Firefox] {
        match Browser::open_as(kind, &json!({})) {
            Some(browser) => one_visitor(&browser),
            // Past the test runner, which shows nothing of a test that passes.
            None => {
                let _ = writeln!(std::io::stderr(), "frames in Firefox: SKIPPED, FIREFOX and GECKODRIVER are not set");
            }
        }
    }
}

fn one_visitor(browser: &Browser) {
    let frames = Frames::new();
    browser.go(&frames.put_both("", ""));
    frames.host.heard_of_views(1);
    let visitor = browser.visitor().expect("a visitor");
    browser.enter_frame();
    ends(browser, "guest");
    let email = format!("ada.{visitor}@example.com");
    send_form(browser, &email);
    until("the form is sent", || frames.guest.events().iter().any(|event| event["kind"] == "form_submit"));
    assert!(frames.visitors_of_guest().iter().all(|other| *other == visitor.as_str()), "from the first page view on");
    let id = |reference: &str| shared().find(reference).map(|prospect| prospect["id"].clone());
    let of_form = eventually("the form has somebody", || id(&format!("email:{email}")));
    until("both are one", || id(&format!("visitor:{visitor}")) == Some(of_form.clone()));
    let kinds: Vec<Value> =
        shared().timeline(&format!("email:{email}")).iter().map(|item| item["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "page_view").count(), 2, "{kinds:?}");
    let sent = json!([frames.host.batches(), frames.guest.batches()]);
    let urls: Vec<String> = sent
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|batches| batches.as_array().cloned().unwrap_or_default())
        .flat_map(|batch| batch["events"].as_array().cloned().unwrap_or_default())
        .map(|event| format!("{} {}", event["url"], event["referrer"]))
        .collect();
    assert!(urls.len() >= 3 && urls.iter().all(|url| !url.contains(&visitor)), "{urls:?}");
}

#[test]
fn who_is_not_listed_learns_and_tells_nothing() {
    let browser = Browser::open();
    let frames = Frames::new();
    let (guests, hosts) = (frames.guests(), frames.hosts());
    let (no_guest, no_host) = ("data-guests='https://else.example'", "data-host='https://else.example'");
    // A page that the frame does not know, and a frame that the page does not know.
    for (place, (host, guest)) in [(&*guests, no_host), (no_guest, &*hosts)].into_iter().enumerate() {
        browser.go(&frames.put(host, guest));
        // Answers of those who may not: of the page around it, in the first case, and of the frame itself.
        let answer = format!("postMessage({{ wingbeat: 'granted', visitor: '{NOBODYS}' }}, '*')");
        if place == 0 {
            browser.run(&format!("setInterval(() => document.querySelector('iframe').contentWindow.{answer}, 100)"));
        }
        frames.host.heard_of_views(place + 1);
        let visitor = browser.visitor().expect("a visitor");
        browser.enter_frame();
        browser.run(&answer);
        browser.run("window.told = []; addEventListener('message', ({ data }) => told.push(data.visitor))");
        ends(&browser, "refused");
        send_form(&browser, "ada@example.com");
        until("the form is sent", || {
            let forms = frames.guest.events().iter().filter(|event| event["kind"] == "form_submit").count();
            forms == place + 1
        });
        if place == 1 {
            assert_eq!(browser.run(&format!("return told.includes('{visitor}')")), false, "{host}, {guest}");
        }
        let alone = frames.visitors_of_guest();
        for no in [visitor.as_str(), NOBODYS] {
            assert!(alone.iter().all(|other| *other != no), "{host}, {guest}: {alone:?}");
        }
    }
}

const NOBODYS: &str = "7b0c2c4e-1111-4222-8333-444455556666";

#[test]
fn a_frame_waits_for_the_consent_that_the_page_around_it_waits_for() {
    let frames = Frames::new();
    let browser = Browser::open();
    browser.go(&frames.put_both("data-consent=wait", ""));
    browser.enter_frame();
    ends(&browser, "pending");
    send_form(&browser, "grace@example.com");
    browser.leave_frame();
    assert_eq!(frames.guest.statuses(), [] as [u16; 0]);
    browser.run("wingbeat('consent', 'granted')");
    let visitor = eventually("there is a visitor", || browser.visitor());
    until("the form is sent", || frames.guest.events().iter().any(|event| event["kind"] == "form_submit"));
    assert!(frames.visitors_of_guest().iter().all(|other| *other == visitor.as_str()));
}

#[test]
fn who_leaves_before_the_answer_is_not_forgotten() {
    let frames = Frames::new();
    let form = "<form id=f action='/thanks'><input type=email><button>Send</button></form>";
    let inner = frames.guest.put("/form", &format!("{}{form}", page(&frames.guest, &frames.hosts())));
    frames.guest.put("/thanks", "<h1>Thanks</h1>");
    // Nobody answers: the frame would wait five seconds.
    let href = frames.host.put("/p", &format!("<h1>A page</h1><iframe width=600 height=300 src='{inner}'></iframe>"));
    let browser = Browser::open();
    browser.go(&href);
    browser.enter_frame();
    until("the tracker listens", || {
        browser.try_run("return window.wingbeat?.on ? new Promise((on) => wingbeat('status', () => on(1))) : 0")
            == Some(1.into())
    });
    send_form(&browser, "ada@example.com");
    until("the form is sent", || frames.guest.events().iter().any(|event| event["kind"] == "form_submit"));
    frames.guest.heard_of_views(1);
}

#[test]
fn a_frame_without_webassembly_is_by_itself() {
    let frames = Frames::new();
    let href = frames.put_both("", "");
    let worker = &frames.guest.worker;
    let policy = format!("script-src 'unsafe-inline' {worker}; connect-src {worker}");
    let inner = page(&frames.guest, &frames.hosts());
    frames.guest.put_with("/form", &inner, &[("content-security-policy", policy)]);
    let browser = Browser::open();
    browser.go(&href);
    frames.guest.heard_of_views(1);
    browser.enter_frame();
    ends(&browser, "refused");
}

#[test]
fn a_frame_stops_and_goes_on_with_the_page_around_it() {
    let frames = Frames::new();
    let browser = Browser::open();
    browser.go(&frames.put_both("", ""));
    browser.enter_frame();
    ends(&browser, "guest");
    frames.guest.heard_of_views(1);
    let in_page = |script: &str| {
        browser.leave_frame();
        browser.run(script);
        browser.enter_frame();
    };
    in_page("wingbeat('consent', 'denied')");
    ends(&browser, "pending");
    let sent = frames.guest.statuses().len();
    send_form(&browser, "grace@example.com");
    browser.run("return new Promise((on) => setTimeout(on, 500))");
    assert_eq!(frames.guest.statuses().len(), sent, "{:?}", frames.guest.events());
    assert_eq!(browser.visitor(), None);
    in_page("wingbeat('consent', 'granted')");
    ends(&browser, "guest");
    // Another visitor's; what was denied is not made up for.
    browser.click("button");
    let sent = || -> Vec<Value> {
        let forms = |batch: &Value| batch["events"].to_string().contains("form_submit");
        frames.guest.batches().into_iter().filter(forms).collect()
    };
    until("the form is sent", || !sent().is_empty());
    assert_eq!(sent().len(), 1, "{:?}", sent());
    let visitor = sent()[0]["visitor"].as_str().map(str::to_owned);
    browser.leave_frame();
    assert_eq!(browser.visitor(), visitor);
}

#[test]
fn what_one_of_them_refuses_is_not_bound() {
    let browser = Browser::open();
    // The page around it is denied: so is the frame. It is off: the frame is by itself.
    for (host, before, binding) in [
        ("", "wingbeat('consent', 'denied')", "pending"),
        ("data-wb-off", "", "refused"),
        ("data-consent=wait", "wingbeat('consent', 'denied')", "pending"),
    ] {
        let frames = Frames::new();
        let queue = "window.wingbeat = function () { (wingbeat.q = wingbeat.q || []).push(arguments) }";
        let href = frames.put_both(host, "");
        let html = format!("<script>{queue};{before}</script>");
        frames.host.put(
            "/q",
            &format!(
                "{html}{}<iframe width=600 height=300 src='{}/form'></iframe>",
                page(&frames.host, &format!("{} {host}", frames.guests())),
                frames.guest.origin
            ),
        );
        browser.go(&href.replace("/p", "/q"));
        browser.enter_frame();
        ends(&browser, binding);
        send_form(&browser, "edsger@example.com");
        if binding == "refused" {
            until("the form is sent", || frames.guest.events().iter().any(|event| event["kind"] == "form_submit"));
        } else {
            // Longer than it would wait for an answer, and no longer than it is there.
            let began = std::time::Instant::now();
            until("six seconds have gone by", || began.elapsed().as_secs() >= 6);
            browser.leave_frame();
            browser.run("document.querySelector('iframe').remove()");
            assert_eq!(frames.guest.statuses(), [] as [u16; 0], "{host} {before}");
        }
        assert_eq!(frames.host.statuses(), [] as [u16; 0], "{host} {before}");
    }
    // The frame is: it asks nobody, and sends nothing.
    let frames = Frames::new();
    let href = frames.put_both("", "");
    let inner = page(&frames.guest, &frames.hosts());
    let gpc = "<script>Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })</script>";
    frames.guest.put("/form", &format!("{gpc}{inner}"));
    browser.go(&href);
    frames.host.heard_of_views(1);
    let visitor = browser.visitor().expect("a visitor");
    browser.enter_frame();
    until("the tracker is there", || {
        browser.try_run("return window.wingbeat?.on ? wingbeat('status').consent : null") == Some("denied".into())
    });
    browser.run("dispatchEvent(new Event('pointermove'))");
    assert_eq!(browser.run("return Object.keys(localStorage)"), json!([]));
    assert_eq!(frames.guest.statuses(), [] as [u16; 0]);
    // Until somebody says yes there.
    browser.run("wingbeat('consent', 'granted')");
    ends(&browser, "guest");
    assert_eq!(browser.visitor(), Some(visitor));
    frames.guest.heard_of_views(1);
}
