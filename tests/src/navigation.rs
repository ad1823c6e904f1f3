//! What the tracker makes of moving about: links that say who they were made for, single-page sites, the back button,
//! ways out.

use crate::harness::site::Fate;
use crate::harness::{Browser, Site, eventually, shared, until};
use serde_json::{Value, json};

const ID: &str = "5fbd99bac125ca40511f2cb1";

/// A link: what is asked for, what the address bar shows then, and the URL and the claim that are sent.
type Link = (&'static str, &'static str, &'static str, Option<(&'static str, &'static str)>);

const BRAZE: Option<(&str, &str)> = Some(("braze_id", ID));

#[rustfmt::skip]
const LINKS: [Link; 24] = [
    // Nothing there: nothing touched, not an empty query, not an odd escape.
    ("/p?&b=%zz&&c#", "/p?&b=%zz&&c#", "/p?&b=%zz&&c#", None),
    ("/p?braze_id=5fbd99bac125ca40511f2cb1", "/p", "/p", BRAZE),
    ("/p?a=1&braze_id=5fbd99bac125ca40511f2cb1", "/p?a=1", "/p?a=1", BRAZE),
    ("/p?braze_id=5fbd99bac125ca40511f2cb1&a=1", "/p?a=1", "/p?a=1", BRAZE),
    ("/p?b=%20+&braze_id=5fbd99bac125ca40511f2cb1&a", "/p?b=%20+&a", "/p?b=%20+&a", BRAZE),
    // Upper case.
    ("/p?BRAZE_ID=5fbd99bac125ca40511f2cb1", "/p", "/p", BRAZE),
    // A name with escapes.
    ("/p?braze%5Fid=5fbd99bac125ca40511f2cb1", "/p", "/p", BRAZE),
    // Both: only braze_id, usable or not.
    ("/p?br_user_id=u7&braze_id=5fbd99bac125ca40511f2cb1#top", "/p#top", "/p#top", BRAZE),
    ("/p?br_user_id=u7&braze_id=", "/p", "/p", None),
    ("/p?br_user_id=u7", "/p", "/p", Some(("external_id", "u7"))),
    // Empty; Liquid that nobody rendered, as typed and as encoded; what stands for nobody.
    ("/p?br_user_id=&a=1", "/p?a=1", "/p?a=1", None),
    ("/p?braze_id={{${braze_id}}}", "/p", "/p", None),
    ("/p?br_user_id=%7B%7B%24%7Buser_id%7D%7D", "/p", "/p", None),
    ("/p?braze_id=undefined", "/p", "/p", None),
    // After the hash.
    ("/p#braze_id=5fbd99bac125ca40511f2cb1", "/p", "/p", BRAZE),
    ("/p?a=1#prices?braze_id=5fbd99bac125ca40511f2cb1", "/p?a=1#prices", "/p?a=1#prices", BRAZE),
    ("/p#/r?braze_id=5fbd99bac125ca40511f2cb1&tab=2", "/p#/r?tab=2", "/p#/r?tab=2", BRAZE),
    // Repeated: the first that is usable.
    ("/p?braze_id=null&braze_id=5fbd99bac125ca40511f2cb1&braze_id=f", "/p", "/p", BRAZE),
    // A second question mark.
    ("/p?a=b?braze_id=5fbd99bac125ca40511f2cb1", "/p?a=b", "/p?a=b", BRAZE),
    // Escapes are decoded, a plus is a plus, an escape that is none stays.
    ("/p?br_user_id=ada+b%40example.com%2F%C3%B6", "/p", "/p", Some(("external_id", "ada+b@example.com/ö"))),
    ("/p?br_user_id=50%&a=1", "/p?a=1", "/p?a=1", Some(("external_id", "50%"))),
    // The link's alias stays in the address bar; campaigns stay everywhere; secrets and addresses are not sent.
    ("/p?lid=ab12&utm_source=mail&braze_id=5fbd99bac125ca40511f2cb1", "/p?lid=ab12&utm_source=mail", "/p?utm_source=mail", BRAZE),
    ("/p?mail=ada@example.com&a=1#access_token=x", "/p?mail=ada@example.com&a=1#access_token=x", "/p?a=1", None),
    // Names that only look alike.
    ("/p?xbraze_id=1&braze_idx=2", "/p?xbraze_id=1&braze_idx=2", "/p?xbraze_id=1&braze_idx=2", None),
];

/// The page views of a site: URL, and the other members that are asked for.
fn views(site: &Site) -> Vec<Value> {
    site.events().into_iter().filter(|event| event["kind"] == "page_view").collect()
}

/// Has the page send an event of this name, and waits for it.
#[track_caller]
fn after(site: &Site, browser: &Browser, name: &str) {
    let call = format!("return !!window.wingbeat && (wingbeat('event', {{ name: '{name}' }}), true)");
    until("the tracker is there", || browser.try_run(&call) == Some(true.into()));
    site.heard_of(name);
}

fn page(site: &Site, attributes: &str, body: &str) -> String {
    format!("<!doctype html><title>A page</title>{}<h1>A page</h1>{body}", site.tag(attributes))
}

#[test]
fn links_say_who_they_were_made_for() {
    let site = Site::new(shared());
    site.put("/p", &page(&site, "", ""));
    let browser = Browser::open();
    for (place, (href, address, sent, claim)) in LINKS.into_iter().enumerate() {
        // A new document, even if only the part after the hash differs.
        browser.go("about:blank");
        browser.go(&format!("{}{href}", site.origin));
        until(&format!("{href} is viewed"), || views(&site).len() > place);
        let views = views(&site);
        let [.., view] = views.as_slice() else { panic!("no view of {href}") };
        assert_eq!(browser.address(), format!("{}{address}", site.origin), "{href}");
        assert_eq!(view["url"], format!("{}{sent}", site.origin), "{href}");
        let claimed =
            claim.map_or(Value::Null, |(kind, value)| json!([{ "type": kind, "value": value, "from": "url" }]));
        assert_eq!(view["identity"], claimed, "{href}");
        assert_eq!(view["referrer"], Value::Null, "{href}");
    }
    assert_eq!(views(&site).len(), LINKS.len());
    // An id over its limit identifies nobody; a URL over its limit loses its query.
    for (value, named) in [("x".repeat(987), true), ("x".repeat(988), false)] {
        let seen = views(&site).len();
        browser.go(&format!("{}/p?br_user_id={value}", site.origin));
        until("the long id is read", || views(&site).len() > seen);
        assert_eq!(views(&site)[seen]["identity"].is_array(), named, "{}", value.len());
    }
    let seen = views(&site).len();
    browser.go(&format!("{}/p?q={}", site.origin, "y".repeat(2048)));
    until("the long URL is sent", || views(&site).len() > seen);
    assert_eq!(views(&site)[seen]["url"], format!("{}/p", site.origin));
    assert_eq!(site.rejected(), [] as [Value; 0]);
}

/// What holds WebAssembly back until the page says `go()`.
const HELD: &str = "<script>const { instantiate } = WebAssembly; \
    WebAssembly.instantiate = (...given) => new Promise((go) => { window.go = go }).then(() => instantiate(...given))</script>";

#[test]
fn the_view_of_a_plain_address_does_not_wait_for_webassembly() {
    let site = Site::new(shared());
    site.put("/p", &format!("{HELD}{}", page(&site, "", "")));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    site.heard_of_views(1);
    assert_eq!(browser.visitor().map(Value::from), Some(site.batches()[0]["visitor"].clone()), "it is remembered");
    // The page goes on before it is there.
    browser.run("history.pushState({}, '', '/p/next?br_user_id=u7'); window.go()");
    after(&site, &browser, "then");
    let seen: Vec<Value> =
        views(&site).iter().map(|view| json!([view["url"], view["name"], view["referrer"]])).collect();
    let origin = &site.origin;
    let (first, next) = (format!("{origin}/p"), format!("{origin}/p/next"));
    assert_eq!(seen, [json!([first, "A page", ""]), json!([next, "A page", first])]);
    assert_eq!(browser.address(), next);
    let pages: std::collections::BTreeSet<String> = site
        .events()
        .iter()
        .map(|event| format!("{} {}", event["page"], browser.visitor().unwrap_or_default()))
        .collect();
    assert_eq!(pages.len(), 1);
    // Sent once, and acknowledged by that answer.
    let views = |batch: &Value| batch.to_string().matches("page_view").count();
    assert_eq!(site.batches().iter().map(views).sum::<usize>(), 2);
    let kept = "return Object.keys(localStorage).filter((key) => /^wb_.{36}$/.test(key)).length";
    until("nothing is kept", || browser.run(kept) == 0);

    // What is to be read in an address is for WebAssembly to read.
    browser.go(&format!("{origin}/p?utm_source=mail"));
    let began = std::time::Instant::now();
    until("a second has gone by", || began.elapsed().as_millis() > 1_000);
    assert_eq!(self::views(&site).len(), 2);
    browser.run("window.go()");
    site.heard_of_views(3);
    assert_eq!(self::views(&site)[2]["utm"], json!({ "source": "mail" }));
}

#[test]
fn a_view_that_was_refused_before_webassembly_is_there_is_sent_again_by_it() {
    let site = Site::new(shared());
    site.put("/p", &format!("{HELD}{}", page(&site, "", "")));
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    site.decide({
        let asked = asked.clone();
        move || {
            if asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                Fate::Refused(503, 0)
            } else {
                Fate::Arrives
            }
        }
    });
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    until("it is refused", || asked.load(std::sync::atomic::Ordering::SeqCst) >= 1);
    browser.run("window.go()");
    site.heard_of_views(1);

    // Unless consent was revoked in between: then nothing of it is left but that.
    site.decide(|| Fate::Refused(503, 0));
    browser.go(&format!("{}/p", site.origin));
    until("the tracker is there", || browser.try_run("return !!window.wingbeat?.on") == Some(true.into()));
    browser.run("wingbeat('consent', 'denied'); window.go()");
    site.decide(|| Fate::Arrives);
    let began = std::time::Instant::now();
    until("a second has gone by", || began.elapsed().as_millis() > 1_000);
    assert_eq!((views(&site).len(), browser.visitor().as_deref()), (1, Some("denied")));
    assert_eq!(browser.run("return Object.keys(localStorage).length"), 1);
}

#[test]
fn campaigns_and_referrers_are_read() {
    let site = Site::new(shared());
    site.put(
        "/p",
        &page(&site, "", "<a id=next href='/q?utm_source=m%C3%A4il+shot&UTM_Medium=e&gclid=Cj0&fbclid=x'>Next</a>"),
    );
    site.put("/q", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p?br_user_id=u7", site.origin));
    after(&site, &browser, "first");
    browser.click("#next");
    after(&site, &browser, "second");
    until("both pages are reported", || views(&site).len() > 1);
    let views = views(&site);
    assert_eq!(views[1]["utm"], json!({ "source": "mäil shot", "medium": "e" }));
    assert_eq!(views[1]["properties"], json!({ "gclid": "Cj0", "fbclid": "x" }));
    assert_eq!(views[1]["referrer"], format!("{}/p", site.origin));
    assert_eq!(views[1]["name"], "A page");
}

#[test]
fn a_single_page_site_has_a_view_for_each_address() {
    let site = Site::new(shared());
    site.put("/p", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    after(&site, &browser, "start");
    // What routers do: the address, then the title. And what is no navigation: the same address, another anchor.
    browser.run(
        "history.pushState({}, '', '/p/one?br_user_id=u7'); document.title = 'One'; \
         history.replaceState({ kept: 1 }, '', location.href); \
         history.pushState({}, '', '#anchor'); ",
    );
    assert_eq!(browser.address(), format!("{}/p/one#anchor", site.origin));
    after(&site, &browser, "one");
    browser.run("history.replaceState({}, '', '/p/two'); document.title = 'Two'");
    after(&site, &browser, "two");
    browser.run("document.title = 'One again'; history.go(-1)");
    until("the address is the former", || browser.address().ends_with("/p/one"));
    after(&site, &browser, "back");
    let origin = &site.origin;
    let seen: Vec<Value> = views(&site)
        .iter()
        .map(|view| json!([view["url"], view["name"], view["referrer"], view["identity"]]))
        .collect();
    let claim = json!([{ "type": "external_id", "value": "u7", "from": "url" }]);
    assert_eq!(
        seen,
        [
            // It left before WebAssembly was there, which would leave out what is empty.
            json!([format!("{origin}/p"), "A page", "", null]),
            json!([format!("{origin}/p/one"), "One", format!("{origin}/p"), claim]),
            json!([format!("{origin}/p/two"), "Two", format!("{origin}/p/one"), null]),
            json!([format!("{origin}/p/one"), "One again", format!("{origin}/p/two"), null]),
        ]
    );
    // One page load, whatever the addresses.
    let pages: std::collections::BTreeSet<String> =
        site.events().iter().map(|event| event["page"].to_string()).collect();
    assert_eq!(pages.len(), 1);
}

/// Routers that use the Navigation API call neither `pushState` nor `replaceState`, and those that do may go by what it gives
/// back.
#[test]
fn each_way_to_another_address_is_a_view() {
    let site = Site::new(shared());
    let router = "<script>navigation.addEventListener('navigate', (event) => { \
        if (event.canIntercept && !event.hashChange) event.intercept({ async handler() { document.title = 'Arrived' } }) }); \
        const { pushState } = history; \
        history.pushState = function (...given) { pushState.apply(this, given); return 'pushed' }</script>";
    site.put("/p", &format!("{router}{}", page(&site, "", "")));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    after(&site, &browser, "start");
    browser.run("navigation.navigate('/p/one?br_user_id=u7')");
    until("the router is there", || browser.run("return document.title") == "Arrived");
    after(&site, &browser, "one");
    assert_eq!(browser.address(), format!("{}/p/one", site.origin));
    browser.run("navigation.navigate('/p/one#anchor'); navigation.updateCurrentEntry({ state: 1 }); History.prototype.pushState.call(history, 0, '', '/p/two')");
    after(&site, &browser, "two");
    assert_eq!(browser.run("return history.pushState({}, '', '/p/three')"), "pushed");
    after(&site, &browser, "three");
    browser.run("navigation.back()");
    until("the address is the former", || browser.address().ends_with("/p/two"));
    after(&site, &browser, "back");
    let seen: Vec<Value> = views(&site).iter().map(|view| view["url"].clone()).collect();
    assert_eq!(seen, ["/p", "/p/one", "/p/two", "/p/three", "/p/two"].map(|path| format!("{}{path}", site.origin)));
}

#[test]
fn another_anchor_is_a_view_only_if_the_site_says_so() {
    let site = Site::new(shared());
    let body = "<a href='#two'>Two</a>";
    site.put("/plain", &page(&site, "", body));
    site.put("/hash", &page(&site, "data-hash", body));
    let browser = Browser::open();
    for (path, expected) in [("/plain", 1), ("/hash", 2)] {
        browser.go(&format!("{}{path}", site.origin));
        after(&site, &browser, &format!("start {path}"));
        browser.click("a");
        after(&site, &browser, &format!("end {path}"));
        let of_path = |view: &&Value| view["url"].as_str().is_some_and(|url| url.contains(path));
        assert_eq!(views(&site).iter().filter(of_path).count(), expected, "{path}");
    }
}

#[test]
fn a_page_that_comes_back_is_viewed_again() {
    let site = Site::new(shared());
    let note = "<script>addEventListener('pageshow', (event) => { window.restored = event.persisted })</script>";
    site.put("/p", &page(&site, "", note));
    site.put("/q", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    after(&site, &browser, "first");
    browser.go(&format!("{}/q", site.origin));
    after(&site, &browser, "second");
    browser.back();
    assert_eq!(browser.run("return window.restored"), true, "the browser has kept the page");
    after(&site, &browser, "third");
    let urls: Vec<Value> = views(&site).iter().map(|view| view["url"].clone()).collect();
    assert_eq!(urls, ["/p", "/q", "/p"].map(|path| Value::from(format!("{}{path}", site.origin))));
    // And its timers, listeners and delivery still work.
    browser.click("h1");
    until("a click is noticed", || {
        site.events().iter().any(|event| event["human"] == "pointer" && event["page"] == views(&site)[0]["page"])
    });
}

/// As a browser says that loads a page before somebody clicks on a link to it.
#[test]
fn what_is_loaded_ahead_of_a_click_is_not_a_view_yet() {
    let site = Site::new(shared());
    let ahead = "<script>window.ahead = true; \
        Object.defineProperty(document, 'prerendering', { get: () => window.ahead })</script>";
    site.put("/p", &format!("{ahead}{}", page(&site, "", "")));
    let browser = Browser::open();
    browser.go(&format!("{}/p?br_user_id=u7", site.origin));
    until("the tracker is there", || browser.run("return window.wingbeat?.on ?? false") == true);
    browser.run("wingbeat('event', { name: 'ahead' })");
    let began = std::time::Instant::now();
    until("a second has gone by", || began.elapsed().as_millis() > 1_000);
    assert_eq!((site.statuses(), browser.visitor()), (vec![], None));
    browser.run("window.ahead = false; document.dispatchEvent(new Event('prerenderingchange'))");
    after(&site, &browser, "then");
    assert_eq!(browser.address(), format!("{}/p", site.origin));
    let kinds: Vec<Value> = site.events().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["page_view", "custom", "custom"]);
}

/// The tag may stand above the title, and the script in the browser's cache.
#[test]
fn a_page_view_waits_for_its_title() {
    let held = "<script>const { instantiate } = WebAssembly; const held = new Promise((go) => { window.go = go }); \
        WebAssembly.instantiate = (...given) => held.then(() => instantiate(...given))</script>";
    let site = Site::new(shared());
    let html = format!("<!doctype html>{held}{}<h1>A page</h1>", site.tag(""));
    let browser = Browser::open();
    browser.go(&site.put("/p", &html));
    until("the tracker is there", || browser.run("return window.wingbeat?.on ?? false") == true);
    browser.run("document.title = 'A late title'; window.go()");
    after(&site, &browser, "then");
    let names: Vec<Value> = views(&site).iter().map(|view| view["name"].clone()).collect();
    assert_eq!(names, ["A late title"]);
}

#[test]
fn ways_out_are_told() {
    let site = Site::new(shared());
    let links = "<div style='height: 3000px'></div>\
        <a id=inside href='/q'>Inside</a> <a id=out href='http://shop.localhost:1/a?br_user_id=u7&b=1' target=_blank>Out</a> \
        <a id=file href='/prices.pdf' target=_blank>Prices</a> <a id=named href='/q' download>Save</a> \
        <a id=ignored data-wb-ignore href='http://shop.localhost:1/' target=_blank>Ignored</a> \
        <a id=mail href='mailto:ada@example.com'>Mail</a>";
    // The links lead nowhere: what is told is told before.
    let stay = "<script>addEventListener('click', (event) => event.preventDefault())</script>";
    site.put("/p", &page(&site, "", &format!("{links}{stay}")));
    site.put("/q", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    after(&site, &browser, "start");
    for id in ["inside", "out", "file", "named", "ignored", "mail"] {
        browser.click(&format!("#{id}"));
    }
    after(&site, &browser, "clicked");
    let told: Vec<Value> = site
        .events()
        .iter()
        .filter(|event| ["click_outbound", "download"].contains(&event["kind"].as_str().unwrap_or_default()))
        .map(|event| json!([event["kind"], event["name"]]))
        .collect();
    let origin = &site.origin;
    assert_eq!(
        told,
        [
            json!(["click_outbound", "http://shop.localhost:1/a?b=1"]),
            json!(["download", format!("{origin}/prices.pdf")]),
            json!(["download", format!("{origin}/q")]),
        ]
    );
    // Reading is told on the way out: by a beacon, which nobody answers, so that the next page tells it again.
    let began = std::time::Instant::now();
    until("the page is read for a while", || {
        browser.run("dispatchEvent(new Event('scroll'))");
        began.elapsed().as_millis() > 2_500
    });
    browser.go(&format!("{origin}/q"));
    let read = eventually("the way out is told", || {
        let of = |event: &Value| event["kind"] == "engagement" && event["properties"]["seconds"].as_u64() >= Some(2);
        site.events().into_iter().find(of)
    });
    assert_eq!(read["url"], format!("{origin}/p"));
    assert!(read["properties"]["scroll"].as_u64() > Some(80), "{read}");
}

#[test]
fn events_of_the_sites_own_may_come_before_the_tracker() {
    let site = Site::new(shared());
    let early = "<script>window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments) };\
        wingbeat('event', { name: 'early', properties: { plan: 'pro', seats: 3, trial: true, tags: ['a'], at: null } });\
        wingbeat('identify', { email: 'Early@Example.com', crm_id: '003xx', visitor: 'no', nonsense: 'x' });</script>";
    site.put("/p", &format!("<!doctype html><title>A page</title>{early}{}<h1>A page</h1>", site.tag("")));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    after(&site, &browser, "late");
    let find = |kind: &str| site.events().into_iter().find(|event| event["kind"] == kind).expect(kind);
    // Batches may overtake one another.
    until("what came before, too", || site.events().len() >= 4);
    let mut kinds: Vec<Value> = site.events().iter().map(|event| event["kind"].clone()).collect();
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["custom", "custom", "identify", "page_view"]);
    let early = site.events().into_iter().find(|event| event["name"] == "early").expect("what came early");
    assert_eq!(early["properties"], json!({ "plan": "pro", "seats": 3, "trial": true, "tags": ["a"], "at": null }));
    assert_eq!(
        find("identify")["identity"],
        json!([
            { "type": "email", "value": "early@example.com", "from": "identify" },
            { "type": "crm_id", "value": "003xx", "from": "identify" }
        ])
    );
}
