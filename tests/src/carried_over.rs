//! Ways other than links from one of a site's domains to another: forms, scripts, new windows (`www/bind.js`). And what
//! the page sees of it: nothing, even where it has broken what scripts rely on.

use crate::harness::browser::Kind;
use crate::harness::{Browser, Site, eventually, shared, until};
use crate::linked_domains::{Domains, ends, key_page, name_of_link, visit};
use serde_json::json;
use std::io::Write;

/// What stands on the shop's page, and what a person or the page does there. `TO` is the address on the other domain.
/// Those called `an address` are a script's own navigation.
const WAYS: [(&str, &str, &str); 11] = [
    ("a link", "<a id=go href='TO'>On</a>", ""),
    ("a form", "<form action='TO'><input name=q value=1><button id=go>On</button></form>", ""),
    (
        "a form that posts",
        "<form action='TO' method=post><input name=action value=1><button id=go>On</button></form>",
        "",
    ),
    ("a button's own address", "<form><button id=go formaction='TO' formmethod=post>On</button></form>", ""),
    ("a form that the page sends", "<form id=f action='TO'></form>", "document.forms.f.submit()"),
    ("a form that the page posts", "<form id=f method=post action='TO'></form>", "document.forms.f.submit()"),
    ("a form that the page requests", "<form id=f action='TO'></form>", "document.forms.f.requestSubmit()"),
    ("an address", "", "location = 'TO'"),
    ("an address that replaces the page's", "", "location.replace('TO')"),
    ("an opened window", "", "open('TO', '_self')"),
    ("a new window", "<button id=go onclick=\"window.open('TO')\">On</button>", ""),
];

#[test]
fn whichever_way_it_goes_it_is_one_visitor() {
    for kind in [Kind::Chromium, Kind::Firefox] {
        match Browser::open_as(kind, &json!({})) {
            Some(browser) => one_visitor(&browser),
            // Past the test runner, which shows nothing of a test that passes.
            None => {
                let _ = writeln!(std::io::stderr(), "ways in Firefox: SKIPPED, FIREFOX and GECKODRIVER are not set");
            }
        }
    }
}

fn one_visitor(browser: &Browser) {
    // The Worker is on another host than both: what is cleared below is all that the second domain knows.
    let domains = Domains::open_on("127.0.0.1");
    let to = format!("{}/pay", domains.checkout.origin);
    domains.checkout.put("/pay", &key_page(&domains.checkout, "", "", ""));
    let link = format!("data-link='{}'", domains.checkout.origin);
    for (way, html, script) in WAYS {
        let href = domains.shop.put("/p", &key_page(&domains.shop, &link, "", &html.replace("TO", &to)));
        let visitor = visit(&domains, browser, &href);
        // Where a browser does not say beforehand where a script leads to, it is another visitor.
        let says = browser.run("return 'sourceElement' in (window.NavigateEvent?.prototype ?? {})") == true;
        let is_told = says || !way.starts_with("an address");
        if script.is_empty() {
            browser.click("#go");
        } else {
            drop(browser.try_run(&script.replace("TO", &to)));
        }
        if way == "a new window" {
            browser.follow_new_tab();
        }
        ends(browser, if is_told { "linked" } else { "none" });
        domains.checkout.heard_of_views(1);
        let other = eventually("there is a visitor", || browser.visitor());
        assert_eq!(other == visitor, is_told, "{way}");
        let address = if way == "a form" { format!("{to}?q=1") } else { to.clone() };
        assert_eq!(browser.address().trim_end_matches('?'), address, "{way}");
        forget(browser, &domains.checkout);
    }
    assert!(!json!([domains.shop.batches(), domains.checkout.batches()]).to_string().contains("wb_link"));
}

#[test]
fn what_the_page_keeps_or_marks_is_not_carried() {
    let domains = Domains::open_on("127.0.0.1");
    let to = format!("{}/pay", domains.checkout.origin);
    domains.checkout.put("/pay", &key_page(&domains.checkout, "", "", ""));
    let link = format!("data-link='{}'", domains.checkout.origin);
    let browser = Browser::open();
    // The page sends it itself: what it reads from its form is what stands there.
    let form = format!("<form id=f action='{to}'><input name=q value=1><button id=go>On</button></form>");
    let html = format!(
        "{form}<script>document.forms.f.onsubmit = (event) => {{ event.preventDefault(); \
         window.read = [...new FormData(event.target)].join() + event.target.action }}</script>"
    );
    let overhear = "const own = fetch; window.asked = []; \
                    window.fetch = (url, ...rest) => { asked.push('' + url); return own(url, ...rest) }";
    visit(&domains, &browser, &domains.shop.put("/p", &key_page(&domains.shop, &link, overhear, &html)));
    browser.click("#go");
    assert_eq!(browser.run("return read"), format!("q,1{to}"));
    assert_eq!(
        browser.run("return asked.filter((url) => url.endsWith('/link'))"),
        json!([]),
        "nobody has gone anywhere"
    );
    for html in [format!("<a id=go data-wb-ignore href='{to}'>On</a>"), form.replace("id=f", "data-wb-ignore")] {
        visit(&domains, &browser, &domains.shop.put("/p", &key_page(&domains.shop, &link, "", &html)));
        browser.click("#go");
        ends(&browser, "none");
        assert_eq!(name_of_link(&browser), None, "{html}");
        forget(&browser, &domains.checkout);
    }
}

/// Has a domain know the visitor no more, from a page without the tracker: it takes on whom the Worker's answer names,
/// and that may still be on its way.
fn forget(browser: &Browser, domain: &Site) {
    browser.go(&domain.put("/plain", "<!doctype html><title>Plain</title>"));
    browser.run("localStorage.clear()");
}

#[test]
fn the_name_leaves_any_address_and_nothing_else_does() {
    let site = Site::new(shared());
    let browser = Browser::open();
    for (path, query, rest) in [
        ("/p", "?wb_link=1", ""),
        ("/p", "?a=%20b&wb_link=1&c#d", "?a=%20b&c#d"),
        ("//shop.example/p", "?wb_link=1&a=/", "?a=/"),
    ] {
        let tag = format!("<script src='{}/bind.js' data-site='{}'></script>", site.worker, shared().tokens.site);
        browser.go(&format!("{}{query}", site.put(path, &tag)));
        assert_eq!(browser.address(), format!("{}{path}{rest}", site.origin));
    }
}

/// As pages do that write into it, or print it.
#[test]
fn a_window_is_opened_without_an_address() {
    let site = Site::new(shared());
    let tag = format!(
        "<script src='{}/bind.js' data-site='{}' data-link='https://else.example'></script>",
        site.worker,
        shared().tokens.site
    );
    let browser = Browser::open();
    browser.go(&site.put("/p", &tag));
    let preceded =
        "return window.wingbeat?.on ? new Promise((on) => wingbeat('status', () => on(!('prototype' in open)))) : 1";
    until("ways out are seen", || browser.run(preceded) == false);
    for given in ["''", "'', 'PRINT', 'width=200'", "0", "false", "null", ""] {
        let open = format!("const opened = open({given}); opened.close(); return opened !== window");
        assert_eq!(browser.run(&open), true, "open({given})");
    }
}

/// Before all else: writes down every exception that reaches the page.
const LISTEN: &str = "window.errors = []; addEventListener('error', (event) => errors.push('' + event.message)); \
    addEventListener('unhandledrejection', (event) => errors.push('' + event.reason));";

#[test]
fn a_page_that_has_broken_what_scripts_rely_on_sees_nothing_of_it() {
    let domains = Domains::open_on("127.0.0.1");
    let to = format!("{}/pay", domains.checkout.origin);
    let link = format!("data-link='{}'", domains.checkout.origin);
    let html = format!("<a id=go href='{to}'>On</a><form id=f action='{to}'></form>");
    let act = "addEventListener('click', (event) => event.preventDefault()); document.querySelector('#go').click(); \
               addEventListener('submit', (event) => event.preventDefault(), true); document.forms.f.requestSubmit(); \
               return new Promise((done) => setTimeout(() => done(errors), 200))";
    let browser = Browser::open();
    // Once the tracker is there and knows its visitor: what it does about such pages itself is told elsewhere.
    for broken in [
        "window.fetch = () => 5",
        "window.fetch = () => { throw new Error('no') }",
        "window.fetch = () => Promise.reject(new Error('no'))",
        "crypto.getRandomValues = () => { throw new Error('no') }",
        "window.URL = undefined",
        "Event.prototype.composedPath = () => { throw new Error('no') }",
    ] {
        let href = domains.shop.put("/p", &key_page(&domains.shop, &link, LISTEN, &html));
        visit(&domains, &browser, &href);
        browser.run(broken);
        assert_eq!(browser.run(act), json!([]), "{broken}");
    }
    // From the beginning.
    for broken in [
        "window.fetch = () => 5",
        "window.URL = undefined",
        "window.wingbeat = { q: {} }",
        "window.wingbeat = { q: [null] }",
    ] {
        browser.go(&domains.shop.put("/p", &key_page(&domains.shop, &link, &format!("{LISTEN}{broken}"), &html)));
        until("the script has run", || {
            browser.run("return performance.getEntriesByType('resource').some(({ name }) => name.includes('bind.js'))")
                == true
        });
        assert_eq!(browser.run(act), json!([]), "{broken}");
    }
}
