//! Pages that may not send are told so, by an answer that they may read, and send no more.

use crate::harness::wait::within;
use crate::harness::{Browser, Site, shared, until};
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the waits after one failure and after a second (half a second to three, together): a tracker that cannot
/// read its refusal would have tried again.
const NO_MORE_AFTER: Duration = Duration::from_secs(5);

fn page(site: &Site, key: &str) -> String {
    let worker = &site.worker;
    format!(
        "<!doctype html><title>A page</title><script async src='{worker}/wb.js' data-site='{key}'></script><h1>A page</h1>"
    )
}

#[track_caller]
fn gives_up(site: &Site, what: &str) {
    until(what, || !site.statuses().is_empty());
    assert_eq!(
        within(NO_MORE_AFTER, || (site.statuses().len() > 1).then_some(())),
        None,
        "{what}: {:?}",
        site.statuses()
    );
    assert_eq!(site.statuses(), [403], "{what}");
}

#[test]
fn a_page_of_an_unknown_site_gives_up() {
    let site = Site::new(shared());
    let browser = Browser::open();
    browser.go(&site.put("/p", &page(&site, "revoked")));
    gives_up(&site, "the key is refused");
    let kept = browser.run("return Object.keys(localStorage).filter((key) => /^wb_.{36}$/.test(key))");
    assert_eq!(kept, json!([]), "what was refused is not kept");
    browser.run("wingbeat('event', { name: 'later' })");
    assert_eq!(within(Duration::from_secs(2), || (site.statuses().len() > 1).then_some(())), None, "it has stopped");
}

#[test]
fn a_sandboxed_frame_gives_up() {
    let site = Site::new(shared());
    site.put("/inside", &page(&site, &shared().tokens.site));
    let browser = Browser::open();
    browser.go(&site.put("/outside", "<iframe sandbox='allow-scripts' src='/inside'></iframe>"));
    gives_up(&site, "the frame is refused");
    assert_eq!(site.events(), [] as [Value; 0]);
}

#[test]
fn every_refusal_can_be_read_by_whoever_is_refused() {
    let api = shared();
    let body = json!({ "v": 1, "site": "unknown", "visitor": "v", "events": [{}], "link": "0".repeat(32), "to": api.base, "from": api.base });
    let body = body.to_string();
    for path in ["/collect", "/link", "/link/redeem", "/forget"] {
        for origin in ["https://evil.example", "null"] {
            let answer = api.send("POST", path, &[("origin", origin)], Some(body.as_bytes())).expect("an answer");
            assert_eq!(answer.error(403)["code"], "forbidden", "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{path}");
            assert_eq!(answer.header("vary").map(str::to_ascii_lowercase).as_deref(), Some("origin"), "{path}");
            assert_eq!(answer.header("set-cookie"), None, "{path}");
        }
        let answer = api.send("POST", path, &[], Some(body.as_bytes())).expect("an answer");
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (403, None), "{path}");
    }
    // What cannot be read, and is too large, is told to strangers as well.
    for (status, body) in [(400, b"no json".to_vec()), (413, vec![b' '; 70_000])] {
        let answer =
            api.send("POST", "/collect", &[("origin", "https://evil.example")], Some(&body)).expect("an answer");
        answer.error(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://evil.example"));
    }
}
