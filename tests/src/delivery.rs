//! Nothing is lost and nothing is counted twice, whatever happens between a page and the Worker.
//!
//! `FAULT_EVENTS` (100) says how many events go through the script of faults, `FAULT_SEED` which faults they meet.

use crate::harness::events::id;
use crate::harness::site::Fate;
use crate::harness::{Browser, Instance, Site, eventually, shared, until};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

fn page(site: &Site) -> String {
    let queue = "window.wingbeat = window.wingbeat || function () { (wingbeat.q = wingbeat.q || []).push(arguments) }";
    format!("<!doctype html><title>A page</title><script>{queue}</script>{}<h1>A page</h1>", site.tag(""))
}

/// Waits until the tracker has begun: what the page tells it from then on is kept before the call returns.
#[track_caller]
fn begun(browser: &Browser) {
    let heard = "return new Promise((heard) => wingbeat('status', () => heard(true)))";
    until("the tracker has begun", || browser.try_run(heard) == Some(true.into()));
}

/// What happens to a batch: half of them are fine.
fn draw(rng: &mut Rng) -> Fate {
    match rng.u8(..100) {
        0..50 => Fate::Arrives,
        50..60 => Fate::Lost,
        60..75 => Fate::Unacknowledged,
        75..80 => Fate::Misreported([500, 502][rng.usize(..2)]),
        80..85 => Fate::Refused([500, 503][rng.usize(..2)], 0),
        85..90 => Fate::Refused([429, 503][rng.usize(..2)], 1),
        _ => Fate::Late(rng.u64(50..1_500)),
    }
}

#[test]
fn no_event_is_lost_and_none_is_there_twice() {
    let total = number("FAULT_EVENTS").unwrap_or(100);
    let seed = number("FAULT_SEED").unwrap_or(7);
    let mut rng = Rng::with_seed(seed);
    let mut instance = Instance::start();
    let site = Site::new(instance.api());
    let href = site.put("/p", &page(&site));
    let offline = Arc::new(AtomicBool::new(false));
    let fates: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    site.decide({
        let (offline, fates, rng) = (offline.clone(), fates.clone(), Mutex::new(rng.fork()));
        move || {
            let drawn = draw(&mut rng.lock().expect("a draw never fails"));
            let fate = if offline.load(Ordering::SeqCst) { Fate::Lost } else { drawn };
            let name = format!("{fate:?}").chars().take_while(|c| c.is_alphabetic()).collect();
            *fates.lock().expect("counting never fails").entry(name).or_insert(0) += 1;
            fate
        }
    });
    let browser = Browser::open();
    let began = Instant::now();
    let (mut made, mut loads, mut restarts, mut offline_for) = (0, 0, 0, 0);
    // Every so many events the runtime dies.
    let restart_every = (total / 5).max(60);
    while made < total {
        browser.go(&href);
        begun(&browser);
        loads += 1;
        for _ in 0..rng.u64(1..=8).min(total - made) {
            made += 1;
            browser.run(&format!("wingbeat('event', {{ name: 'e{made}' }})"));
            sleep(Duration::from_millis(rng.u64(..40)));
        }
        // Then it is left for the next, or:
        match rng.u8(..10) {
            0..2 => {
                browser.reload();
                begun(&browser);
                loads += 1;
            }
            2..5 => browser.close_tab(),
            5..8 => sleep(Duration::from_millis(rng.u64(..1_500))),
            8 if offline_for == 0 => {
                offline.store(true, Ordering::SeqCst);
                offline_for = rng.u64(1..=5);
            }
            _ => {}
        }
        if offline_for > 0 {
            offline_for -= 1;
            offline.store(offline_for > 0, Ordering::SeqCst);
        }
        if made / restart_every > restarts {
            restarts += 1;
            instance.kill_9();
            instance.restart();
            site.connect(instance.api());
        }
    }
    let script = began.elapsed();

    site.decide(|| Fate::Arrives);
    browser.go(&href);
    begun(&browser);
    loads += 1;
    let empty = "return Object.keys(localStorage).filter((key) => /^wb_.{36}$/.test(key)).length === 0";
    until("everything is acknowledged", || browser.run(empty) == json!(true));
    let visitor = eventually("the browser has a visitor", || browser.visitor());
    let api = instance.api();
    let timeline = api.timeline(&format!("visitor:{visitor}"));
    let mut times: BTreeMap<String, u64> = (1..=made).map(|n| (format!("[Custom Event tracked] e{n}"), 0)).collect();
    let mut ids = BTreeMap::new();
    for item in &timeline {
        *ids.entry(id(item)).or_insert(0) += 1;
        if item["kind"] == "custom" {
            *times.entry(item["name"].to_string().trim_matches('"').to_owned()).or_insert(0) += 1;
        }
    }
    let views = timeline.iter().filter(|item| item["kind"] == "page_view").count();
    let lost: Vec<&String> = times.iter().filter(|(_, times)| **times == 0).map(|(name, _)| name).collect();
    let double: Vec<&String> = times.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name).collect();
    println!(
        "seed {seed}: {made} events, {loads} page loads, {restarts} kills, {} s; batches {:?}; {} lost, {} double, {views} page views",
        script.as_secs(),
        fates.lock().expect("counting never fails"),
        lost.len(),
        double.len(),
    );
    assert!(lost.is_empty() && double.is_empty(), "seed {seed}: lost {lost:?}, double {double:?}");
    assert!(ids.values().all(|times| *times == 1), "seed {seed}");
    assert_eq!(views, loads, "seed {seed}");
    assert_eq!(api.prospect(&format!("visitor:{visitor}"))["events"], timeline.len());
    assert_eq!(site.rejected(), [] as [Value; 0]);
}

#[test]
fn memory_is_flat_over_ten_thousand_events() {
    let site = Site::new(shared());
    let note = "<script>const { instantiate } = WebAssembly; WebAssembly.instantiate = async (...given) => { \
        const made = await instantiate(...given); \
        window.memory = Object.values(made.instance.exports).find((one) => one instanceof WebAssembly.Memory); \
        return made }</script>";
    let href = site.put("/p", &page(&site).replace("<title>", &format!("{note}<title>")));
    // Acknowledged by the line itself, because this is about the page alone.
    site.decide(|| Fate::Refused(200, 0));
    let browser = Browser::open();
    browser.go(&href);
    begun(&browser);
    // Fewer at once than the queue holds, so that none is thrown away; then until all are acknowledged.
    let two_hundred = "for (let i = 0; i < 200; i += 1) wingbeat('event', { name: 'e', properties: { text: 'x'.repeat(i) } }); \
        return new Promise((done) => { const look = setInterval(() => { \
        if (Object.keys(localStorage).some((key) => /^wb_.{36}$/.test(key))) return; \
        clearInterval(look); done([memory.buffer.byteLength, performance.memory?.usedJSHeapSize ?? 0]) }, 20) })";
    let sizes: Vec<Value> = (0..50).map(|_| browser.run(two_hundred)).collect();
    println!("WebAssembly's and JavaScript's bytes after 1,000 and 10,000 events: {}, {}", sizes[4], sizes[49]);
    assert!(sizes[4][0].as_u64() > Some(0), "{}", sizes[4]);
    assert_eq!(sizes[4][0], sizes[49][0], "what WebAssembly has asked for");
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site));
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let browser = Browser::open();
    browser.go(&href);
    begun(&browser);
    site.heard_of_views(1);
    site.decide({
        let asked = asked.clone();
        move || {
            let mut asked = asked.lock().expect("noting never fails");
            asked.push(Instant::now());
            if asked.len() == 1 { Fate::Refused(503, 3) } else { Fate::Arrives }
        }
    });
    browser.run("wingbeat('event', { name: 'first' })");
    until("it is refused", || asked.lock().expect("noting never fails").len() == 1);
    // Neither another event nor its own impatience (half a second at first) nor a network that is back makes it ask sooner.
    browser.run("wingbeat('event', { name: 'second' }); dispatchEvent(new Event('online'))");
    site.heard_of("first");
    site.heard_of("second");
    let asked = asked.lock().expect("noting never fails");
    assert!(asked[1].duration_since(asked[0]) >= Duration::from_secs(3), "{asked:?}");
    assert_eq!(asked.len(), 2, "both in one batch");
}

/// A route that is missing during a deployment, a sign-in page, a site's own page for whatever it does not know; and a
/// `Retry-After` that is a date.
#[test]
fn only_the_workers_own_answer_is_an_acknowledgement() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site));
    let browser = Browser::open();
    browser.go(&href);
    begun(&browser);
    site.heard_of_views(1);
    for fate in
        [Fate::Strayed(200), Fate::Strayed(404), Fate::Strayed(503), Fate::Refused(401, 0), Fate::Refused(404, 0)]
    {
        let answers = Arc::new(AtomicUsize::new(0));
        site.decide({
            let answers = answers.clone();
            move || if answers.fetch_add(1, Ordering::SeqCst) == 0 { fate } else { Fate::Arrives }
        });
        let name = format!("{fate:?}");
        browser.run(&format!("wingbeat('event', {{ name: '{name}' }})"));
        until(&format!("{name} was answered"), || answers.load(Ordering::SeqCst) > 0);
        browser.run("wingbeat('event', { name: 'the next' })");
        site.heard_of(&name);
    }
    let visitors: std::collections::BTreeSet<String> =
        site.batches().iter().map(|batch| batch["visitor"].to_string()).collect();
    assert_eq!(visitors.len(), 1, "{visitors:?}");
}

#[test]
fn waits_grow_while_the_server_is_out_of_order() {
    let site = Site::new(shared());
    // After the fourth answer its wait is from 4 to 8 s: on this page, without end.
    let endless = "const wait = setTimeout; window.setTimeout = (then, ms) => ms < 4000 ? wait(then, ms) : 0;";
    let href = site.put("/p", &page(&site).replacen("<script>", &format!("<script>{endless}"), 1));
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let browser = Browser::open();
    site.decide({
        let asked = asked.clone();
        move || {
            asked.lock().expect("noting never fails").push(Instant::now());
            // Not lost: on a connection that ends without an answer, the browser itself asks again.
            Fate::Refused(503, 0)
        }
    });
    browser.go(&href);
    until("it has asked four times", || asked.lock().expect("noting never fails").len() >= 4);
    let asked = asked.lock().expect("noting never fails");
    // From half of 1, 2 and 4 s to all of it.
    for (place, least) in [(0, 500), (1, 1_000), (2, 2_000)] {
        let waited = asked[place + 1].duration_since(asked[place]);
        assert!(waited >= Duration::from_millis(least), "{place}: {waited:?}");
    }
    site.decide(|| Fate::Arrives);
    browser.run("dispatchEvent(new Event('online'))");
    site.heard_of_views(1);
}

#[test]
fn what_one_tab_could_not_send_another_sends_and_both_together_once() {
    let site = Site::new(shared());
    let href = site.put("/p", &page(&site));
    let browser = Browser::open();
    let through = Arc::new(AtomicBool::new(false));
    let batches = Arc::new(AtomicUsize::new(0));
    site.decide({
        let (through, batches) = (through.clone(), batches.clone());
        move || {
            batches.fetch_add(1, Ordering::SeqCst);
            if through.load(Ordering::SeqCst) { Fate::Arrives } else { Fate::Unacknowledged }
        }
    });
    browser.go(&href);
    begun(&browser);
    browser.run("for (let n = 0; n < 250; n += 1) wingbeat('event', { name: 'n' + n })");
    // The Worker has all of it, and the tab does not know.
    site.heard_of("n249");
    browser.run("window.other = open(location.href)");
    through.store(true, Ordering::SeqCst);
    let empty = "return Object.keys(localStorage).filter((key) => /^wb_.{36}$/.test(key)).length === 0";
    until("everything is acknowledged", || browser.run(empty) == json!(true));
    until("the first tab has had its answer", || batches.load(Ordering::SeqCst) >= 6);
    let visitor = browser.visitor().expect("a visitor");
    let timeline = shared().timeline(&format!("visitor:{visitor}"));
    let events = timeline.iter().filter(|item| item["kind"] == "custom").count();
    assert_eq!(events, 250);
    assert!(site.batches().iter().all(|batch| batch["events"].as_array().is_some_and(|events| events.len() <= 100)));
}
