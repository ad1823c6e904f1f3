//! How the scripts are served, and how a page pins a build of them.

use crate::harness::api::Api;
use crate::harness::{Answer, Browser, Site, shared, until};
use serde_json::json;

fn page(before: &str, tag: &str) -> String {
    format!("<!doctype html><title>A page</title><script>{before}</script>{tag}<h1>A page</h1>")
}

const SCRIPTS: [&str; 3] = ["wb.js", "bind.js", "sw.js"];

fn get(api: &Api, path: &str, headers: &[(&str, &str)]) -> Answer {
    api.send("GET", path, headers, None).expect("an answer")
}

/// The version that a served script's tag names.
fn version(script: &str) -> String {
    let answer = get(shared(), &format!("/{script}"), &[]);
    answer.header("etag").expect("a tag").trim_matches('"').to_owned()
}

#[test]
fn a_pinned_build_is_for_ever_and_only_itself() {
    let get = |path: &str| get(shared(), path, &[]);
    for script in SCRIPTS {
        let (latest, pinned) = (get(&format!("/{script}")), get(&format!("/{script}?v={}", version(script))));
        assert_eq!(pinned.body, latest.body);
        assert_eq!(latest.header("cache-control"), Some("public, max-age=300"));
        assert_eq!(pinned.header("cache-control"), Some("public, max-age=31536000, immutable"));
        for answer in [&latest, &pinned] {
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "integrity is checked with CORS only");
            assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        }
        for version in ["", "0", "000000000000000000000000", "../../secrets.json/xxxxxx", "%2e%2e%2fdemo%2findex.htm"] {
            get(&format!("/{script}?v={version}")).error(404);
        }
    }
    get(&format!("/sw.js?v={}", version("wb.js"))).error(404);
}

#[test]
fn who_takes_brotli_gets_what_the_build_has_packed() {
    let api = shared();
    let browser = Browser::open();
    browser.go(&format!("{}/demo/", api.base));
    let mut bytes = Vec::new();
    for script in SCRIPTS {
        for path in [format!("/{script}"), format!("/{script}?v={}", version(script))] {
            let plain = get(api, &path, &[]);
            for taken in ["br", "gzip, deflate, br, zstd", "gzip;q=0.5, BR; q=0.8"] {
                let packed = get(api, &path, &[("accept-encoding", taken)]);
                assert_eq!(packed.header("content-encoding"), Some("br"), "{taken}");
                assert!(packed.body.len() < plain.body.len(), "{path}: {} bytes", packed.body.len());
                for name in ["vary", "cache-control", "content-type", "access-control-allow-origin"] {
                    assert_eq!(packed.header(name), plain.header(name), "{name}");
                }
                assert_eq!(packed.header("vary"), Some("accept-encoding"));
                let known = packed.header("etag").expect("a tag");
                assert_ne!(Some(known), plain.header("etag"), "other bytes");
                let again = get(api, &path, &[("accept-encoding", taken), ("if-none-match", known)]);
                assert_eq!((again.status, again.header("vary")), (304, Some("accept-encoding")));
            }
            for taken in ["gzip", "br;q=0", "br ; q=0.000, gzip", "identity", "brotli", ""] {
                let answer = get(api, &path, &[("accept-encoding", taken)]);
                assert_eq!((answer.header("content-encoding"), answer.body.len()), (None, plain.body.len()), "{taken}");
            }

            // What a browser makes of it, and how much it has downloaded for that.
            let unpacked = browser.run(&format!(
                "return fetch('{path}', {{ cache: 'no-store' }}).then(async (answer) => [await answer.text(), \
                 answer.headers.get('content-encoding'), performance.getEntriesByName(answer.url)[0].encodedBodySize])"
            ));
            let packed = get(api, &path, &[("accept-encoding", "br")]).body.len();
            assert_eq!((&unpacked[1], &unpacked[2]), (&json!("br"), &json!(packed)), "{path}");
            // A byte order mark is no part of a text.
            assert!(
                unpacked[0] == plain.text().trim_start_matches('\u{feff}'),
                "{path} is another when it is unpacked"
            );
            bytes.push(packed);
        }
    }
    assert!(bytes[0] <= 10_000, "wb.js has {} bytes", bytes[0]);
    assert!(bytes[0] + bytes[2] <= 12_200, "wb.js and bind.js have {} bytes", bytes[0] + bytes[2]);
}

#[test]
fn a_page_may_demand_one_build_by_its_hash() {
    let site = Site::new(shared());
    let src = format!("{}/wb.js?v={}", site.worker, version("wb.js"));
    let tag = |integrity: &str| {
        site.tag(&format!("crossorigin integrity='{integrity}'")).replace(&format!("{}/wb.js", site.worker), &src)
    };
    let browser = Browser::open();
    browser.go(&site.put("/p", &page("", "")));
    let of_ours = integrity(&browser, &format!("fetch('{src}').then((answer) => answer.arrayBuffer())"));
    let of_another = integrity(&browser, "Promise.resolve(new Uint8Array(3))");
    browser.go(&site.put("/pinned", &page("", &tag(&of_ours))));
    site.heard_of_views(1);
    browser.go(&site.put("/other", &page("", &tag(&of_another))));
    assert_eq!(browser.run("return typeof wingbeat"), "undefined", "the browser refuses another");
    // The line of the site asks for no encoding, the browser itself does: the hash is of what it unpacks.
    let straight = tag(&of_ours).replace(&site.worker, &shared().base);
    browser.go(&site.put("/packed", &page("", &straight)));
    until("the tracker is there", || browser.try_run("return !!window.wingbeat?.on") == Some(true.into()));
}

/// The hash of some bytes, as pages name it.
fn integrity(browser: &Browser, bytes: &str) -> String {
    let script = format!(
        "return {bytes}.then((bytes) => crypto.subtle.digest('SHA-384', bytes)) \
         .then((hash) => 'sha384-' + btoa(String.fromCharCode(...new Uint8Array(hash))))"
    );
    browser.run(&script).as_str().expect("a hash").to_owned()
}

/// What the scripts on a page were loaded from, and by which hash.
fn loaded(browser: &Browser) -> Vec<(String, String)> {
    let all = browser
        .run("return [...document.scripts].filter(({ src }) => src).map(({ src, integrity }) => [src, integrity])");
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    all.as_array().into_iter().flatten().map(|script| (text(&script[0]), text(&script[1]))).collect()
}

#[test]
fn who_pins_what_loads_the_tracker_pins_the_tracker() {
    let site = Site::new(shared());
    let browser = Browser::open();
    browser.go(&site.put("/blank", &page("", "")));
    let key = &shared().tokens.site;
    let address = |script: &str| format!("{}/{script}?v={}", site.worker, version(script));
    let ways: [(&str, &str, &[&str]); 3] =
        [("bind.js", "", &["wb.js"]), ("sw.js", "", &["wb.js"]), ("sw.js", "data-link=''", &["bind.js", "wb.js"])];
    for (views, (script, attributes, others)) in ways.into_iter().enumerate() {
        let src = address(script);
        let hash = |src: &str| integrity(&browser, &format!("fetch('{src}').then((answer) => answer.arrayBuffer())"));
        let mut expected = vec![(src.clone(), hash(&src))];
        expected.extend(others.iter().map(|other| (address(other), hash(&address(other)))));
        let tag = format!(
            "<script async src='{src}' integrity='{}' crossorigin data-site='{key}' {attributes}></script>",
            expected[0].1
        );
        browser.go(&site.put("/p", &page("", &tag)));
        site.heard_of_views(views + 1);
        let mut found = loaded(&browser);
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{script} {attributes}");
        browser.go(&format!("{}/blank", site.origin));
    }
}

/// The served loaders beside a tracker of somebody else's.
#[test]
fn what_is_pinned_takes_no_other_tracker() {
    let site = Site::new(shared());
    for script in ["bind.js", "sw.js"] {
        site.put(&format!("/{script}"), &get(shared(), &format!("/{script}"), &[]).text());
    }
    site.put("/wb.js", "window.tampered = true");
    let browser = Browser::open();
    for script in ["bind.js", "sw.js"] {
        for (query, taken) in [("", json!(true)), ("?v=0", json!(null))] {
            let tag = format!("<script async src='/{script}{query}' data-site='s'></script>");
            browser.go(&site.put("/p", &page("", &tag)));
            until("the tracker has been tried", || loaded(&browser).len() == 2);
            let ended = "const [, tag] = document.scripts; return new Promise((ended) => { \
                         if (performance.getEntriesByType('resource').some(({ name }) => name.includes('/wb.js'))) setTimeout(() => ended(window.tampered ?? null), 300); \
                         else ended('not yet') })";
            until("it has ended", || browser.run(ended) != "not yet");
            assert_eq!(browser.run(ended), taken, "{script}{query}");
        }
    }
}

#[test]
fn pages_that_trust_no_text_as_a_script_load_the_tracker() {
    let site = Site::new(shared());
    let listen = "window.errors = []; addEventListener('error', (event) => errors.push('' + event.message)); \
                  addEventListener('unhandledrejection', (event) => errors.push('' + event.reason))";
    let (key, worker) = (&shared().tokens.site, &site.worker);
    let browser = Browser::open();
    let mut views = 0;
    for (script, attributes, policy, comes) in [
        ("bind.js", "data-link='https://x.example'", "", true),
        ("bind.js", "", "trusted-types wingbeat;", true),
        ("bind.js", "", "trusted-types another;", false),
        ("sw.js", "", "trusted-types wingbeat-sw;", true),
        ("sw.js", "data-link=''", "trusted-types wingbeat wingbeat-sw;", true),
        ("sw.js", "", "trusted-types another;", false),
    ] {
        let policy = format!(
            "require-trusted-types-for 'script'; {policy} \
             script-src 'unsafe-inline' 'wasm-unsafe-eval' {worker}; connect-src {worker}"
        );
        let tag = format!("<script async src='{worker}/{script}' data-site='{key}' {attributes}></script>");
        browser.go(&site.put_with("/p", &page(listen, &tag), &[("content-security-policy", policy.clone())]));
        if comes {
            views += 1;
            site.heard_of_views(views);
        } else {
            until("the script has run", || browser.run("return typeof window.wingbeat") == "function");
        }
        assert_eq!(browser.run("return window.errors"), json!([]), "{script} {policy}");
    }
}
