//! What `/collect` answers a browser: counts, who may read them, and the first-party cookie.

use crate::harness::api::COLLECT;
use crate::harness::events::{self, Person, link_visit, now, page_view, rfc3339, uuid};
use crate::harness::{Answer, Api, shared, snapshot};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;
use std::thread;

fn post(api: &Api, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    api.send("POST", COLLECT, headers, Some(body)).expect("an answer")
}

#[test]
fn a_batch_that_is_sent_again_changes_nothing() {
    let api = shared();
    let (person, visitor, at) = (Person::new("repeated"), uuid(), now());
    let batch = [
        link_visit(at - 3_000, "https://shop.example/pricing", &person.braze_id),
        page_view(at - 2_000, "https://shop.example/"),
        events::form(at - 1_000, "demo", &person.email),
    ];
    let counts =
        |answer: &Value| (answer["accepted"].as_u64(), answer["duplicates"].as_u64(), answer["rejected"].clone());
    let first = api.collect(&visitor, &batch);
    assert_eq!(counts(&first), (Some(3), Some(0), json!([])));
    assert_eq!(first["visitor"], visitor.as_str());
    let reference = format!("visitor:{visitor}");
    let at = rfc3339(now());
    let before = snapshot::of(api, [reference.as_str()], &at);

    assert_eq!(counts(&api.collect(&visitor, &batch)), (Some(0), Some(3), json!([])));
    for event in batch.iter().rev() {
        assert_eq!(counts(&api.collect(&visitor, std::slice::from_ref(event))), (Some(0), Some(1), json!([])));
    }
    // A repeat inside a batch, too.
    let fresh = page_view(now(), "https://shop.example/");
    assert_eq!(counts(&api.collect(&uuid(), &[fresh.clone(), fresh.clone()])), (Some(1), Some(1), json!([])));

    snapshot::assert_same(&snapshot::of(api, [reference.as_str()], &at), &before);
    // The same id at another time, or of another browser, is another event: nobody can suppress somebody else's.
    let mut later = batch[1].clone();
    later["at"] = now().into();
    assert_eq!(counts(&api.collect(&visitor, &[later])), (Some(1), Some(0), json!([])));
    assert_eq!(counts(&api.collect(&uuid(), &batch[1..2])), (Some(1), Some(0), json!([])));
}

#[test]
fn pages_of_the_site_may_read_the_answer() {
    let api = shared();
    for origin in ["http://localhost:1", "http://127.0.0.1:8080", "https://localhost", "http://[::1]:3000"] {
        for (status, body) in
            [(200, api.collect_body(&uuid(), &[page_view(now(), "https://shop.example/")])), (400, b"no json".to_vec())]
        {
            let answer = post(api, &[("origin", origin), ("content-type", "text/plain;charset=UTF-8")], &body);
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            assert_eq!(answer.header("vary").map(str::to_ascii_lowercase).as_deref(), Some("origin"));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    // Any content type is taken, and none.
    let body = api.collect_body(&uuid(), &[page_view(now(), "https://shop.example/")]);
    for content_type in [None, Some("application/json"), Some("application/x-www-form-urlencoded"), Some("nonsense")] {
        let headers: Vec<(&str, &str)> = [("origin", api.base.as_str())]
            .into_iter()
            .chain(content_type.map(|value| ("content-type", value)))
            .collect();
        assert_eq!(post(api, &headers, &body).status, 200, "{content_type:?}");
    }
}

#[test]
fn the_first_party_cookie_names_the_browser_and_never_whose_events_are() {
    let api = shared();
    let (visitor, of_cookie) = (uuid(), uuid());
    let body = api.collect_body(&visitor, &[page_view(now(), "https://shop.example/")]);
    let own = api.base.as_str();
    let same_site = [("origin", own), ("sec-fetch-site", "same-origin")];

    let answer = post(api, &same_site, &body);
    assert_eq!(answer.expect(200)["visitor"], visitor.as_str());
    let cookie = answer.header("set-cookie").expect("a cookie").to_owned();
    let mut parts: Vec<String> = cookie.split("; ").map(str::to_ascii_lowercase).collect();
    assert_eq!(parts.remove(0), format!("wb_v={visitor}"));
    for attribute in ["httponly", "secure", "samesite=lax", "max-age=34560000", "path=/"] {
        assert!(parts.iter().any(|part| part == attribute), "{attribute}: {cookie}");
    }

    // A browser that has the cookie of another visitor goes on as that one, but this event is still the body's.
    let sent = format!("theme=dark; wb_v={of_cookie}");
    let body = api.collect_body(&visitor, &[page_view(now(), "https://shop.example/")]);
    let answer = post(api, &[same_site.as_slice(), &[("cookie", sent.as_str())]].concat(), &body);
    assert_eq!(
        (&answer.expect(200)["accepted"], &answer.expect(200)["visitor"]),
        (&1.into(), &of_cookie.as_str().into())
    );
    assert!(answer.header("set-cookie").is_some_and(|cookie| cookie.starts_with(&format!("wb_v={of_cookie};"))));
    assert_eq!(api.timeline(&format!("visitor:{visitor}")).len(), 2);
    assert!(api.find(&format!("visitor:{of_cookie}")).is_none(), "nothing is claimed by a cookie");
    // A cookie that is no visitor's is overwritten.
    let answer = post(api, &[same_site.as_slice(), &[("cookie", "wb_v=<script>")]].concat(), &body);
    assert_eq!(answer.expect(200)["visitor"], visitor.as_str());

    // On another site it would be a third party's cookie: none is set, none is read.
    let foreign = [("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site"), ("cookie", sent.as_str())];
    let answer = post(api, &foreign, &body);
    assert_eq!(answer.expect(200)["visitor"], visitor.as_str());
    assert_eq!(answer.header("set-cookie"), None);
}

/// A commit serves many callers: one who goes away in the middle must not take the others' answers along.
#[test]
fn callers_who_hang_up_make_nobody_wait() {
    let api = shared();
    let address = api.base.strip_prefix("http://").expect("an address");
    let hang_up = || {
        let body = api.collect_body(&uuid(), &[page_view(now(), "https://shop.example/")]);
        let head = format!(
            "POST {COLLECT} HTTP/1.1\r\nhost: {address}\r\norigin: {}\r\ncontent-length: {}\r\n\r\n",
            api.base,
            body.len()
        );
        let mut connection = TcpStream::connect(address).expect("a connection");
        connection.write_all(&[head.as_bytes(), &body].concat()).expect("a request");
        // Dropped here: nobody is left to take the answer.
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..40).for_each(|_| hang_up()));
        }
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let answer = api.collect(&uuid(), &[page_view(now(), "https://shop.example/")]);
                    assert_eq!(answer["accepted"], 1);
                }
            });
        }
    });
}
