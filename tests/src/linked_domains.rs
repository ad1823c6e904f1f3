//! A visit that goes on on another of the site's domains is one visit (`www/bind.js`), and nobody can be led into somebody
//! else's by a link.

use crate::harness::browser::Kind;
use crate::harness::events::uuid;
use crate::harness::wait::{PATIENCE, within};
use crate::harness::{Api, Browser, Instance, Site, state, until};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;

/// A site on two domains, and a stranger's.
pub(crate) struct Domains {
    instance: Instance,
    pub(crate) shop: Site,
    pub(crate) checkout: Site,
    stranger: Site,
}

const KEY: &str = "several";

impl Domains {
    /// With the second domain on another host than the first, which is the Worker's: so its cookie is first-party there.
    fn open() -> Domains {
        Domains::open_on("localhost")
    }

    pub(crate) fn open_on(host: &str) -> Domains {
        let instance = Instance::start();
        let (shop, mut checkout, stranger) =
            (Site::new(instance.api()), Site::new(instance.api()), Site::new(instance.api()));
        checkout.origin = checkout.origin.replace("127.0.0.1", host);
        let site = json!({ "key": KEY, "origins": [shop.origin, checkout.origin] });
        let admin = format!("Bearer {}", instance.api().tokens.admin);
        let body = json!({ "items": [site, { "key": "other", "origins": [checkout.origin] }] }).to_string();
        let headers = [("authorization", admin.as_str())];
        instance.api().send("PUT", "/api/sites", &headers, Some(body.as_bytes())).expect("an answer").expect(200);
        Domains { instance, shop, checkout, stranger }
    }

    /// Where a link from a page of the shop leads to.
    fn put(&self, attributes: &str, before: &str) -> (String, String) {
        let to = format!("{}/pay?a=%20b#part", self.checkout.origin);
        let shop = page(&self.shop, &format!("data-link='https://else.example {}'", self.checkout.origin), before, &to);
        self.checkout.put("/pay", &page(&self.checkout, attributes, "", "#"));
        (self.shop.put("/p", &shop), to)
    }

    fn timeline(&self, visitor: &str) -> Vec<Value> {
        self.instance.api().timeline(&format!("visitor:{visitor}"))
    }
}

fn page(site: &Site, attributes: &str, before: &str, link: &str) -> String {
    key_page(site, attributes, before, &format!("<a href='{link}'>On</a>"))
}

/// A page of the site that both domains are of.
pub(crate) fn key_page(site: &Site, attributes: &str, before: &str, html: &str) -> String {
    format!(
        "<!doctype html><title>A page</title><script>{before}</script>\
         <script async src='{}/bind.js' data-site='{KEY}' {attributes}></script><h1>A page</h1>{html}",
        site.worker
    )
}

const GPC: &str = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })";

fn status(browser: &Browser) -> Value {
    browser.try_run("return window.wingbeat?.on ? wingbeat('status') : null").unwrap_or_default()
}

/// Opens a page of the shop, and waits until its view has been taken and the tracker listens: the view of a plain address
/// does not wait for that.
pub(crate) fn visit(domains: &Domains, browser: &Browser, href: &str) -> String {
    let views = || domains.shop.events().iter().filter(|event| event["kind"] == "page_view").count();
    let before = views();
    browser.go(href);
    domains.shop.heard_of_views(before + 1);
    listens(browser);
    browser.visitor().expect("a visitor")
}

/// Waits until what happens in the page is carried over.
pub(crate) fn listens(browser: &Browser) {
    until("the tracker listens", || {
        browser.run("return new Promise((on) => wingbeat('status', () => on(!!wingbeat.on)))") == true
    });
}

#[track_caller]
pub(crate) fn ends(browser: &Browser, binding: &str) {
    let mut seen = Value::Null;
    let found = within(PATIENCE, || {
        seen = status(browser);
        (seen["binding"] == binding).then_some(())
    });
    assert!(found.is_some(), "waited in vain for {binding} at {}: {seen}", browser.address());
}

fn visitors(site: &Site) -> Vec<Value> {
    site.batches().iter().map(|batch| batch["visitor"].clone()).collect()
}

/// The name of the link by which the page was come to, as its browser remembers it.
pub(crate) fn name_of_link(browser: &Browser) -> Option<String> {
    let asked = browser.run("return performance.getEntriesByType('navigation')[0].name");
    let (_, rest) = asked.as_str()?.split_once("wb_link=")?;
    rest.split(['&', '#']).next().map(str::to_owned)
}

#[test]
fn who_follows_a_link_to_another_domain_stays_one_visitor() {
    for kind in [Kind::Chromium, Kind::Firefox] {
        match Browser::open_as(kind, &json!({})) {
            Some(browser) => one_visitor(&browser),
            // Past the test runner, which shows nothing of a test that passes.
            None => {
                let _ = writeln!(std::io::stderr(), "domains in Firefox: SKIPPED, FIREFOX and GECKODRIVER are not set");
            }
        }
    }
}

fn one_visitor(browser: &Browser) {
    let mut domains = Domains::open();
    let (href, to) = domains.put("", "");
    let visitor = visit(&domains, browser, &href);
    browser.click("a");
    ends(browser, "linked");
    assert_eq!(browser.address(), to);
    assert_eq!(browser.visitor().as_ref(), Some(&visitor));
    domains.checkout.heard_of_views(1);
    assert!(visitors(&domains.checkout).iter().all(|other| *other == visitor.as_str()), "from the first page view on");
    // The Worker is of the second domain: its cookie goes by the same visitor.
    browser.run("wingbeat('event', { name: 'paid' })");
    domains.checkout.heard_of("paid");
    assert!(browser.cookies().contains(&("wb_v".to_owned(), visitor.clone())));
    let kinds: Vec<Value> = domains.timeline(&visitor).iter().map(|item| item["kind"].clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "page_view").count(), 2, "{kinds:?}");

    // Nothing of the link is in anything that was sent or stored, and it is as it was in its page.
    let name = name_of_link(browser).expect("the link had a name");
    let clicked = domains.shop.events().into_iter().find(|event| event["kind"] == "click_outbound");
    assert_eq!(clicked.map(|event| event["name"].clone()), Some(to.clone().into()));
    let sent = json!([domains.shop.batches(), domains.checkout.batches()]).to_string();
    assert!(!sent.contains("wb_link") && !sent.contains(&name), "{sent}");
    browser.back();
    assert_eq!(browser.run("return document.querySelector('a').getAttribute('href')"), to);
    domains.instance.stop();
    assert!(holds(&domains.instance.state(), &visitor), "the search of the files finds what is there");
    assert!(!holds(&domains.instance.state(), "wb_link") && !holds(&domains.instance.state(), &name));
}

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
fn who_is_known_on_the_other_domain_stays_who_they_are() {
    // By what scripts have stored, and by the cookie where that has been emptied.
    for (host, emptied) in [("127.0.0.1", ""), ("localhost", "localStorage.clear()")] {
        let domains = Domains::open_on(host);
        let (href, to) = domains.put("", "");
        let browser = Browser::open();
        browser.go(&to);
        domains.checkout.heard_of_views(1);
        let own = browser.visitor().expect("a visitor");
        browser.run(emptied);
        assert_ne!(visit(&domains, &browser, &href), own);
        browser.click("a");
        ends(&browser, "own");
        assert_eq!(browser.visitor().as_ref(), Some(&own), "{host}");
        domains.checkout.heard_of_views(2);
        assert!(visitors(&domains.checkout).iter().all(|visitor| *visitor == own.as_str()), "{host}");
    }
}

#[test]
fn without_consent_on_either_side_nothing_is_carried_over() {
    let domains = Domains::open();
    let (href, to) = domains.put("data-consent=wait", GPC);
    let browser = Browser::open();
    browser.go(&href);
    until("the tracker is there", || status(&browser)["consent"] == "denied");
    browser.click("a");
    until("the other page is there", || status(&browser)["consent"] == "pending");
    assert_eq!((browser.address(), name_of_link(&browser)), (to.clone(), None));

    // The page that is left may, the other waits, until somebody says yes.
    let (href, _) = domains.put("data-consent=wait", "");
    let visitor = visit(&domains, &browser, &href);
    browser.click("a");
    until("the other page is there", || status(&browser)["consent"] == "pending");
    assert!(name_of_link(&browser).is_some());
    assert_eq!(browser.address(), to, "cleaned all the same");
    browser.run("wingbeat('event', { name: 'meanwhile' })");
    browser.run("dispatchEvent(new Event('pointermove'))");
    assert_eq!((browser.visitor(), status(&browser)["binding"].clone()), (None, "pending".into()));
    assert_eq!(visitors(&domains.checkout), [] as [Value; 0]);
    browser.run("wingbeat('consent', 'granted'); wingbeat('event', { name: 'after' })");
    ends(&browser, "linked");
    domains.checkout.heard_of("meanwhile");
    domains.checkout.heard_of("after");
    domains.checkout.heard_of_views(1);
    assert!(visitors(&domains.checkout).iter().all(|other| *other == visitor.as_str()));
}

#[test]
fn who_has_refused_is_carried_nowhere_until_the_site_says_granted() {
    let domains = Domains::open();
    let (href, to) = domains.put("", "");
    let browser = Browser::open();
    browser.go(&to);
    domains.checkout.heard_of_views(1);
    browser.run("wingbeat('consent', 'denied')");
    let visitor = visit(&domains, &browser, &href);
    browser.click("a");
    until("the other page is there", || status(&browser)["reason"] == "remembered");
    assert!(name_of_link(&browser).is_some());
    assert_eq!(status(&browser)["binding"], "pending");
    assert_eq!(browser.visitor().as_deref(), Some("denied"));
    assert_eq!(domains.checkout.events().len(), 1, "{:?}", domains.checkout.events());
    browser.run("wingbeat('consent', 'granted')");
    ends(&browser, "linked");
    assert_eq!(browser.visitor(), Some(visitor));
}

#[test]
fn a_link_that_somebody_else_made_leads_nobody_astray() {
    let domains = Domains::open();
    let (_, to) = domains.put("", "");
    let (theirs, name) = (uuid(), "0123456789abcdef0123456789abcdef");
    // As good as the shop's own, but for the page that it stands on.
    follow(&domains, &theirs, name);
    let crafted = to.replace('#', &format!("&wb_link={name}#"));
    let bait = domains.stranger.put("/bait", &format!("<h1>Bait</h1><a href='{crafted}'>Win</a>"));
    let browser = Browser::open();
    browser.go(&bait);
    browser.click("a");
    ends(&browser, "refused");
    assert_eq!(browser.address(), to);
    domains.checkout.heard_of_views(1);
    assert!(visitors(&domains.checkout).iter().all(|visitor| *visitor != theirs.as_str()));

    // Nor does one that is opened without a page before it, as from a mail.
    follow(&domains, &theirs, "0123456789abcdef0123456789abcde0");
    let browser = Browser::open();
    browser.go(&crafted.replace("cdef#", "cde0#"));
    ends(&browser, "refused");
    domains.checkout.heard_of_views(2);
    assert!(visitors(&domains.checkout).iter().all(|visitor| *visitor != theirs.as_str()));
    // Nothing is carried to where the site is not.
    let html = page(&domains.shop, &format!("data-link='{}'", domains.stranger.origin), "", &bait);
    let href = domains.shop.put("/q", &html);
    visit(&domains, &browser, &href);
    browser.click("a");
    until("the stranger's page is there", || browser.address().contains("/bait"));
    let refused = browser.address();
    let (_, name) = refused.split_once("wb_link=").expect("the browser cannot know");
    assert_eq!(redeem(domains.instance.api(), KEY, &domains.shop.origin, &domains.stranger.origin, name).0, 403);
    assert_eq!(redeem(domains.instance.api(), KEY, &domains.shop.origin, &domains.checkout.origin, name), NOBODY);
}

/// What a page of the shop tells the Worker when a link of this name is followed.
fn follow(domains: &Domains, visitor: &str, name: &str) {
    let (api, shop, checkout) = (domains.instance.api(), &domains.shop.origin, &domains.checkout.origin);
    assert_eq!(tell(api, KEY, shop, checkout, visitor, name), 204);
}

fn tell(api: &Api, site: &str, from: &str, to: &str, visitor: &str, name: &str) -> u16 {
    let body = json!({ "site": site, "visitor": visitor, "to": to, "link": name }).to_string();
    api.send("POST", "/link", &[("origin", from)], Some(body.as_bytes())).expect("an answer").status
}

const NOBODY: (u16, Value) = (200, Value::Null);

fn redeem(api: &Api, site: &str, from: &str, to: &str, name: &str) -> (u16, Value) {
    let body = json!({ "site": site, "from": from, "link": name }).to_string();
    let headers = [("origin", to), ("sec-fetch-site", "cross-site")];
    let answer = api.send("POST", "/link/redeem", &headers, Some(body.as_bytes())).expect("an answer");
    let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
    (answer.status, said["visitor"].clone())
}

#[test]
fn a_link_is_good_once_for_a_minute_and_on_its_own_way() {
    let mut domains = Domains::open();
    let (shop, checkout) = (domains.shop.origin.clone(), domains.checkout.origin.clone());
    let api = domains.instance.api();
    let stranger = "http://stranger.example";
    let names: Vec<String> = (0..8).map(|n| format!("{n:032x}")).collect();
    for name in &names {
        follow(&domains, &format!("visitor-{name}"), name);
    }
    // Somebody else's visitor under a name that is taken counts for nothing.
    assert_eq!(tell(api, KEY, &shop, &checkout, "another", &names[0]), 204);
    let visitor = |n: usize| (200, Value::from(format!("visitor-{}", names[n])));
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[0]), visitor(0));
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[0]), NOBODY, "once");
    for (n, site, from, to) in [(1, "other", &shop, &checkout), (2, KEY, &checkout, &checkout), (3, KEY, &shop, &shop)]
    {
        assert_eq!(redeem(api, site, from, to, &names[n]), NOBODY, "{site} {from} {to}");
        assert_eq!(redeem(api, KEY, &shop, &checkout, &names[n]), NOBODY, "what went astray is spent");
    }
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[4].replace('4', "f")), NOBODY, "another name");
    assert_eq!(redeem(api, KEY, &shop, stranger, &names[4]).0, 403);
    assert_eq!(redeem(api, "unknown", &shop, &checkout, &names[4]).0, 403);
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[4]), visitor(4), "who may not ask spends nothing");
    for (site, from, to) in [(KEY, stranger, &*checkout), (KEY, &*shop, stranger), ("other", &*shop, &*checkout)] {
        assert_eq!(tell(api, site, from, to, "v", &"f".repeat(32)), 403, "{site} {from} {to}");
    }
    for (visitor, name) in [("v", "short"), ("v", &*"g".repeat(32)), ("a;b", &*"f".repeat(32)), ("", &*"f".repeat(32))]
    {
        assert_eq!(tell(api, KEY, &shop, &checkout, visitor, name), 400, "{visitor} {name}");
    }

    for path in ["/link", "/link/redeem"] {
        let send = |body: &str| api.send("POST", path, &[("origin", &shop)], Some(body.as_bytes())).expect("an answer");
        let body = |name: &str| {
            let mut body = json!({ "site": KEY, "visitor": "v", "from": shop, "to": checkout, "link": names[7] });
            body[name] = 7.into();
            body.to_string()
        };
        for name in ["site", if path == "/link" { "to" } else { "from" }, "link"] {
            assert_eq!(send(&body(name)).error(400)["path"], format!("/{name}"));
        }
        assert_eq!(send("").error(400)["code"], "invalid_json");
        assert_eq!(send("[]").error(400)["path"], "/site");
        assert_eq!(send(&" ".repeat(5_000)).error(413)["code"], "too_large");
    }
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[7]), visitor(7), "none of these has spent it");

    // A minute later, which is written into the file instead of being waited for.
    domains.instance.stop();
    let file = rusqlite::Connection::open(state::registry(&domains.instance)).expect("the database opens");
    let aged = file.execute("UPDATE link SET at = at - 60001 WHERE body LIKE ?", [format!("%visitor-{}%", names[5])]);
    assert_eq!(aged, Ok(1));
    drop(file);
    domains.instance.restart();
    let api = domains.instance.api();
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[5]), NOBODY, "too late");
    assert_eq!(redeem(api, KEY, &shop, &checkout, &names[6]), visitor(6), "in time");
}
