//! What a browser or a person refuses is neither sent nor stored, and the page can say why.

use crate::harness::{Browser, Site, eventually, shared, until};
use serde_json::{Value, json};

/// A page whose visitors' browsers say something before all else.
fn page(site: &Site, before: &str, attributes: &str) -> String {
    let queue = "window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments) }";
    format!(
        "<!doctype html><title>A page</title><script>{queue};{before}</script>{}<h1>A page</h1>",
        site.tag(attributes)
    )
}

const GPC: &str = "Object.defineProperty(navigator, 'globalPrivacyControl', { value: true })";
const DNT: &str = "Object.defineProperty(navigator, 'doNotTrack', { value: '1' })";

/// What `wingbeat('status')` returns, once the tracker is there.
#[track_caller]
fn status(browser: &Browser) -> Value {
    until("the tracker is there", || browser.try_run("return window.wingbeat?.on ?? false") == Some(true.into()));
    browser.run("return wingbeat('status')")
}

/// What storage keeps of the tracker: the names.
fn kept(browser: &Browser) -> Value {
    browser.run("return Object.keys(localStorage).filter((key) => key.startsWith('wb_') && key !== 'wb_theme')")
}

/// How often the page has asked the Worker to end its cookie.
fn asked_to_forget(browser: &Browser) -> Value {
    browser.run("return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/forget')).length")
}

/// The time in which a granted page has long sent its view: what has not been sent by then is held back.
fn wait(browser: &Browser) {
    let began = std::time::Instant::now();
    until("a second has gone by", || {
        browser.run("dispatchEvent(new Event('scroll'))");
        began.elapsed().as_millis() > 1_000
    });
}

#[test]
fn a_browser_that_asks_not_to_be_tracked_is_not_until_the_site_knows_better() {
    let browser = Browser::open();
    for (before, reason) in [(GPC, "gpc"), (DNT, "dnt")] {
        let site = Site::new(shared());
        site.put("/p", &page(&site, before, ""));
        browser.go(&format!("{}/p?br_user_id=u7&a=1", site.origin));
        assert_eq!(status(&browser), json!({ "consent": "denied", "reason": reason, "rejected": 0 }));
        browser.run("wingbeat('event', { name: 'held' })");
        browser.click("h1");
        wait(&browser);
        assert_eq!(browser.address(), format!("{}/p?a=1", site.origin), "cleaned all the same");
        assert_eq!((site.statuses(), kept(&browser)), (vec![], json!([])), "{reason}");

        browser.run("wingbeat('consent', 'granted')");
        until("the page view is sent", || site.events().iter().any(|event| event["kind"] == "page_view"));
        assert!(!site.events().iter().any(|event| event["name"] == "held"), "what was denied is not made up for");
        assert_eq!(status(&browser), json!({ "consent": "granted", "reason": "consent", "rejected": 0 }));

        // That is not the site's to remember: who asks no more is tracked again.
        browser.run("wingbeat('consent', 'denied')");
        until("nothing is kept, not even what the Worker owes", || kept(&browser) == json!([]));
        site.put("/says-so", &page(&site, &format!("{before}; wingbeat('consent', 'denied')"), ""));
        browser.go(&format!("{}/says-so", site.origin));
        assert_eq!(status(&browser), json!({ "consent": "denied", "reason": "consent", "rejected": 0 }));
        wait(&browser);
        assert_eq!((asked_to_forget(&browser), kept(&browser)), (json!(0), json!([])), "{reason}");
        browser.go(&site.put("/asks-no-more", &page(&site, "", "")));
        site.heard_of_views(2);
    }
}

#[test]
fn a_site_may_wait_for_consent() {
    let site = Site::new(shared());
    site.put("/p", &page(&site, "", "data-consent=wait"));
    let browser = Browser::open();
    browser.go(&format!("{}/p?br_user_id=u7", site.origin));
    assert_eq!(status(&browser), json!({ "consent": "pending", "reason": "wait", "rejected": 0 }));
    browser.run("wingbeat('event', { name: 'waited' })");
    wait(&browser);
    assert_eq!(browser.address(), format!("{}/p", site.origin));
    assert_eq!((site.statuses(), kept(&browser)), (vec![], json!([])));

    browser.run("wingbeat('consent', 'granted')");
    site.heard_of("waited");
    let kinds: Vec<Value> = site.events().iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["page_view", "custom"]);
    assert_eq!(site.events()[0]["identity"], json!([{ "type": "external_id", "value": "u7", "from": "url" }]));
}

#[test]
fn what_is_revoked_is_deleted() {
    let site = Site::new(shared());
    // What the site says before the tracker is there holds, too.
    site.put("/p", &page(&site, "wingbeat('consent', 'granted')", "data-consent=wait"));
    site.put("/never", &page(&site, "wingbeat('consent', 'denied')", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    until("the page view is sent", || !site.events().is_empty());
    // Nothing gets through, so that something is kept.
    site.decide(|| crate::harness::site::Fate::Lost);
    browser.run("wingbeat('event', { name: 'kept' }); localStorage.wb_theme = 1");
    assert_eq!(kept(&browser).as_array().map(Vec::len), Some(2), "{}", kept(&browser));
    browser.run("wingbeat('consent', 'denied')");
    until("nothing but that is kept", || kept(&browser) == json!(["wb_v"]));
    assert_eq!(browser.visitor().as_deref(), Some("denied"));
    assert_eq!(browser.run("return localStorage.wb_theme"), "1", "the site's own stays");
    site.decide(|| crate::harness::site::Fate::Arrives);
    wait(&browser);
    assert_eq!(asked_to_forget(&browser), 1);
    // The site says it again.
    browser.reload();
    site.heard_of_views(2);
    assert!(!site.events().iter().any(|event| event["name"] == "kept"));

    browser.run("localStorage.clear()");
    let sent = site.events().len();
    browser.go(&format!("{}/never", site.origin));
    assert_eq!(status(&browser)["consent"], "denied");
    wait(&browser);
    assert!(site.events().iter().skip(sent).all(|event| event["kind"] != "page_view"), "{:?}", site.events());
    assert_eq!((kept(&browser), browser.visitor().as_deref()), (json!(["wb_v"]), Some("denied")));
}

/// On the pages that are open, and those that come.
#[test]
fn a_refusal_holds_on_every_page_until_the_site_says_granted() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&href);
    site.put("/waits", &page(&site, "", "data-consent=wait"));
    browser.run("window.waits = open('/waits'); window.other = open(location.href)");
    site.heard_of_views(2);
    let visitor = browser.visitor().expect("a visitor");
    let of = |tab: &str| browser.try_run(&format!("return {tab}.wingbeat('status')")).unwrap_or_default();
    until("the tab that waits is there", || of("waits")["consent"] == "pending");
    // Nothing gets through, so that the other tab keeps something, too.
    site.decide(|| crate::harness::site::Fate::Lost);
    browser.run("other.wingbeat('event', { name: 'kept' })");
    let denied = json!({ "consent": "denied", "reason": "consent", "rejected": 0 });
    browser.run("wingbeat('consent', 'denied')");
    for tab in ["window", "other", "waits"] {
        until(&format!("{tab} is denied"), || of(tab) == denied);
    }
    site.decide(|| crate::harness::site::Fate::Arrives);
    browser.run("for (const tab of [window, other, waits]) tab.wingbeat('event', { name: 'later' })");
    wait(&browser);
    assert_eq!((kept(&browser), browser.visitor().as_deref()), (json!(["wb_v"]), Some("denied")));

    // On the next page, too, whatever its browser asks for.
    let sent = site.events().len();
    let remembered = json!({ "consent": "denied", "reason": "remembered", "rejected": 0 });
    for gpc in ["", GPC] {
        browser.go(&site.put("/next", &page(&site, gpc, "")));
        assert_eq!(status(&browser), remembered);
        browser.click("h1");
        wait(&browser);
        assert_eq!((asked_to_forget(&browser), browser.visitor().as_deref()), (json!(0), Some("denied")));
    }
    assert_eq!(site.events().len(), sent, "{:?}", site.events());

    browser.run("wingbeat('consent', 'granted'); wingbeat('event', { name: 'granted' })");
    site.heard_of("granted");
    assert_ne!(browser.visitor().expect("a visitor"), visitor);
    browser.go(&href);
    assert_eq!(status(&browser), json!({ "consent": "granted", "reason": "", "rejected": 0 }));
    site.heard_of_views(3);
    let unheard = |event: &&Value| event["name"] == "kept" || event["name"] == "later";
    assert_eq!(site.events().iter().filter(unheard).count(), 0);
}

/// Said on another page while this one is loaded ahead, or its WebAssembly is not ready.
#[test]
fn a_refusal_holds_on_a_page_that_has_not_begun() {
    let ahead = "window.ahead = true; Object.defineProperty(document, 'prerendering', { get: () => window.ahead })";
    let go = "window.ahead = false; document.dispatchEvent(new Event('prerenderingchange'))";
    let held = "const { instantiate } = WebAssembly; const held = new Promise((go) => { window.go = go }); \
        WebAssembly.instantiate = (...given) => held.then(() => instantiate(...given))";
    let site = Site::new(shared());
    let browser = Browser::open();
    for (path, before, go) in [("/ahead", ahead, go), ("/held?a=1", held, "window.go()")] {
        let (bare, _) = path.split_once('?').unwrap_or((path, ""));
        site.put(bare, &page(&site, before, ""));
        browser.go(&format!("{}{path}", site.origin));
        assert_eq!(status(&browser)["consent"], "granted", "{path}");
        browser.run(&format!("localStorage.wb_v = 'denied'; {go}"));
        until("it is denied", || status(&browser)["reason"] == "remembered");
        wait(&browser);
        assert_eq!((site.statuses(), browser.visitor().as_deref()), (vec![], Some("denied")), "{path}");
        browser.run("localStorage.clear()");
    }
}

#[test]
fn who_asks_not_to_be_tracked_and_was_may_refuse_for_all_pages() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site, &format!("{GPC}; wingbeat('consent', 'granted')"), ""));
    let browser = Browser::open();
    browser.go(&href);
    browser.run("window.other = open(location.href)");
    site.heard_of_views(2);
    browser.run("wingbeat('consent', 'denied')");
    let other = || browser.try_run("return other.wingbeat('status').consent");
    until("the other page is denied, too", || other() == Some("denied".into()));
    until("nothing is kept", || kept(&browser) == json!([]));
}

#[test]
fn a_page_that_comes_back_minds_what_was_refused_meanwhile() {
    let site = Site::new(shared());
    let note = "addEventListener('pageshow', (event) => { window.restored = event.persisted })";
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, note, "")));
    site.heard_of_views(1);
    browser.go(&site.put("/q", &page(&site, "", "")));
    site.heard_of_views(2);
    browser.run("wingbeat('consent', 'denied')");
    browser.back();
    assert_eq!(browser.run("return window.restored"), true, "the browser has kept the page");
    until("it is denied", || status(&browser)["consent"] == "denied");
    let sent = site.events().len();
    browser.run("wingbeat('event', { name: 'later' })");
    browser.click("h1");
    wait(&browser);
    assert_eq!(site.events().len(), sent, "{:?}", site.events());
}

#[test]
fn off_is_off() {
    let site = Site::new(shared());
    site.put("/script", &page(&site, "", "data-wb-off"));
    site.put("/page", &page(&site, "document.documentElement.setAttribute('data-wb-off', '')", ""));
    let browser = Browser::open();
    for path in ["/script", "/page"] {
        let href = format!("{}{path}?br_user_id=u7", site.origin);
        browser.go(&href);
        browser.click("h1");
        wait(&browser);
        assert_eq!(browser.address(), href, "not even the address is touched");
        assert_eq!(browser.run("return !!wingbeat.on"), false);
        assert_eq!((site.statuses(), kept(&browser)), (vec![], json!([])), "{path}");
    }
}

#[test]
fn status_says_how_many_events_the_server_has_refused() {
    let site = Site::new(shared());
    site.put("/p", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    assert_eq!(status(&browser), json!({ "consent": "granted", "reason": "", "rejected": 0 }));
    // A string over the wire's limit, and an event within it.
    browser.run("wingbeat('event', { name: 'long', properties: { text: 'x'.repeat(1025) } }); wingbeat('event', { name: 'fine' })");
    site.heard_of("fine");
    until("the refusal is told", || browser.run("return wingbeat('status').rejected") == json!(1));
    assert_eq!(browser.run("return new Promise((heard) => wingbeat('status', heard))")["rejected"], 1);
    until("neither is kept", || kept(&browser) == json!(["wb_v"]));
}

#[test]
fn status_says_how_many_events_never_left() {
    let site = Site::new(shared());
    site.put("/p", &page(&site, "", ""));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    site.heard_of_views(1);
    let mut lost = 0;
    let mut lose = |events: u64, script: &str| {
        lost += events;
        browser.run(script);
        until(script, || status(&browser)["rejected"] == lost);
    };
    lose(1, "wingbeat('event', { name: 'long', properties: { list: ['x'.repeat(17000)] } })");
    lose(1, "wingbeat('event', { name: 'circular', properties: window })");
    lose(1, "wingbeat('event', { name: 'no JSON', properties: { big: 1n } })");
    lose(1, "wingbeat('event', { title: 'nameless' })");
    browser.run("wingbeat('event', { name: 'without properties' })");
    site.heard_of("without properties");
    // Of those that wait the last 500 are kept.
    site.decide(|| crate::harness::site::Fate::Refused(503, 0));
    lose(20, "for (let n = 0; n < 520; n += 1) wingbeat('event', { name: 'n' + n })");
    assert_eq!(kept(&browser).as_array().map(Vec::len), Some(501), "with the visitor");
}

#[test]
fn a_site_may_have_addresses_hashed_before_they_leave_the_browser() {
    let site = Site::new(shared());
    let form = "<form id=f action='/q'><input type=email><input name=company><button>Send</button></form>";
    // The browser's own hashes may come after the page has gone: here they never come.
    let never = "crypto.subtle.digest = () => new Promise(() => {})";
    site.put("/p", &(page(&site, never, "data-email=sha256") + form));
    site.put("/q", &page(&site, "", "data-email=sha256"));
    let browser = Browser::open();
    browser.go(&format!("{}/p", site.origin));
    site.heard_of_views(1);
    let identify =
        "wingbeat('identify', { email: ' Hashed@Example.com', crm_id: '003yy' }); wingbeat('event', { name: 'after' })";
    browser.run(identify);
    site.heard_of("after");
    // The form leads to another page at once.
    browser.type_into("[type=email]", "Hashed@Example.com");
    browser.type_into("[name=company]", "Example Ltd");
    browser.click("button");
    let of_kind = |kind: &str| site.events().into_iter().find(|event| event["kind"] == kind);
    until("the form is sent", || of_kind("form_submit").is_some());
    let hash = "sha256:a552f92cec517d42d66471e033158c672445d078d54a1d4211791471bcb2148f";
    let identified = eventually("the call is sent", || of_kind("identify"));
    let names: Vec<Value> =
        identified["identity"].as_array().into_iter().flatten().map(|claim| claim["type"].clone()).collect();
    assert_eq!(names, ["email", "crm_id"], "in the order given");
    let form = of_kind("form_submit").expect("just seen");
    assert_eq!(form["properties"], json!({ "company": "Example Ltd" }));
    for event in [&identified, &form] {
        assert_eq!(event["identity"][0]["value"], hash, "{event}");
    }
    assert!(!json!(site.batches()).to_string().to_lowercase().contains("hashed@"));
    // Not at once: whoever is being joined is not to be read for a moment.
    let id = |reference: &str| {
        let answer = shared().get(&format!("/api/prospects/{reference}"));
        (answer.status == 200).then(|| answer.expect(200)["id"].clone())
    };
    let of_hash = eventually("the hash is somebody's", || id(&format!("email:{hash}")));
    until("it is the address's prospect", || id("email:hashed@example.com") == Some(of_hash.clone()));
}

/// Whatever the browser's own hashes say.
#[test]
fn a_hash_is_the_one_that_everybody_makes() {
    let site = Site::new(shared());
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, "", "data-email=sha256")));
    // One block of the hash, two although it would fit into one, just full, three, and beyond ASCII.
    let names = ["'a'", "'a'.repeat(21)", "'a'.repeat(22)", "'a'.repeat(26)", "'a'.repeat(64)", "'\u{e9}'.repeat(64)"];
    let expected = browser.run(&format!(
        "return Promise.all([{}].map(async (name) => {{ const email = name + '@' + 'example.com'.padStart(name.length + 11, 'b'); \
         wingbeat('identify', {{ email }}); \
         const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(email))); \
         return 'sha256:' + [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('') }}))",
        names.join(", ")
    ));
    let identified = |event: &Value| (event["kind"] == "identify").then(|| event["identity"][0]["value"].clone());
    let told = || site.events().iter().filter_map(identified).collect::<Vec<Value>>();
    until("all are told", || told().len() == names.len());
    assert!(told().iter().all(|hash| expected.as_array().is_some_and(|all| all.contains(hash))), "{:?}", told());
}
