//! `POST /forget`: the cookie that no script can reach ends when consent is withdrawn.

use crate::harness::site::Fate;
use crate::harness::{Browser, Site, shared, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn forget(origin: &str, fetch_site: &str) -> (u16, Option<String>, Option<String>) {
    let headers = [("origin", origin), ("sec-fetch-site", fetch_site), ("cookie", "wb_v=abc")];
    let answer = shared().send("POST", "/forget", &headers, None).expect("an answer");
    let header = |name: &str| answer.header(name).map(str::to_owned);
    (answer.status, header("set-cookie"), header("access-control-allow-origin"))
}

#[test]
fn a_browser_forgets_its_cookie_at_a_word_of_its_own_site_alone() {
    let own = shared().base.as_str();
    let (status, cookie, may_read) = forget(own, "same-origin");
    assert_eq!((status, may_read.as_deref()), (204, Some(own)));
    let cookie = cookie.expect("a cookie that has ended").to_ascii_lowercase();
    for part in ["wb_v=;", "max-age=0", "path=/", "httponly", "secure", "samesite=lax"] {
        assert!(cookie.contains(part), "{part}: {cookie}");
    }
    // On another site it is a third party's, and none of ours.
    assert_eq!(forget("http://127.0.0.1:8080", "cross-site"), (204, None, Some("http://127.0.0.1:8080".to_owned())));
    for stranger in ["https://evil.example", "null"] {
        assert_eq!(forget(stranger, "same-site"), (403, None, Some(stranger.to_owned())));
    }
}

#[test]
fn what_the_worker_has_not_heard_the_next_page_says() {
    let site = Site::new(shared());
    let lose = "const arrives = window.fetch; \
        window.fetch = (to, asked) => (/forget/.test(to) ? Promise.reject(new Error('lost')) : arrives(to, asked))";
    let page = format!("<!doctype html><title>A page</title>{}", site.tag(""));
    let browser = Browser::open();
    browser.go(&site.put("/p", &format!("{page}<script>{lose}</script>")));
    site.heard_of_views(1);
    browser.run("wingbeat('consent', 'denied')");
    // The site is away: the next page that is loaded, and no other, says it.
    for expected in [1, 0] {
        browser.go(&site.put("/q", &page));
        until("the tracker is there", || browser.try_run("return window.wingbeat?.on ?? false") == Some(true.into()));
        browser.run("return new Promise((heard) => wingbeat('status', heard))");
        let asked =
            "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/forget')).length";
        until("as often as it is owed", || browser.run(asked) == expected);
        until("nothing is owed", || browser.run("return localStorage.wb_owed ?? null").is_null());
        assert_eq!(browser.visitor().as_deref(), Some("denied"));
    }
}

#[test]
fn the_next_visit_is_another_visitors() {
    let mut site = Site::new(shared());
    // The Worker's own site, to a browser.
    site.origin = site.origin.replace("127.0.0.1", "localhost");
    let href = site.put("/p", &format!("<!doctype html><title>A page</title>{}", site.tag("")));
    let browser = Browser::open();
    browser.go(&href);
    site.heard_of_views(1);
    let visitor = browser.visitor().expect("a visitor");
    until("there is a cookie", || browser.cookies().contains(&("wb_v".to_owned(), visitor.clone())));
    let has_cookie = || browser.cookies().iter().any(|(name, _)| name == "wb_v");
    // A batch is on its way, and its answer would bring the cookie back.
    let batches = site.statuses().len();
    let asked = Arc::new(AtomicBool::new(false));
    site.decide({
        let asked = asked.clone();
        move || {
            asked.store(true, Ordering::SeqCst);
            Fate::Late(1_500)
        }
    });
    browser.run("wingbeat('event', { name: 'under way' })");
    until("it is on its way", || asked.load(Ordering::SeqCst));
    browser.run("wingbeat('consent', 'denied')");
    until("the cookie has ended", || !has_cookie());
    until("the batch has come", || site.statuses().len() > batches);
    let answered =
        "return performance.getEntriesByType('resource').filter(({ name }) => /(collect|forget)$/.test(name)).length";
    until("all is answered", || browser.run(answered) == 4);
    assert!(!has_cookie(), "{:?}", browser.cookies());
    // The next page has nothing to send, so that it stays so.
    browser.reload();
    until("the tracker is there", || browser.try_run("return window.wingbeat?.on ?? false") == Some(true.into()));
    assert_eq!(browser.run("return wingbeat('status').consent"), "denied");
    site.decide(|| Fate::Arrives);
    browser.run("wingbeat('consent', 'granted')");
    site.heard_of_views(2);
    let other = browser.visitor().expect("a visitor");
    assert_ne!(other, visitor);
    until("it has the cookie", || browser.cookies().contains(&("wb_v".to_owned(), other.clone())));
}
