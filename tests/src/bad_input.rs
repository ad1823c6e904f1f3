//! Bad input: whatever is sent, the answer says what was wrong and where, what is good is kept, and the server lives on.

use crate::harness::api::{COLLECT, CURRENTS, currents_body, items};
use crate::harness::events::{self, Person, now, page_view, tracked, uuid};
use crate::harness::{Answer, Api, Instance, shared};
use serde_json::{Value, json};

fn assert_well(api: &Api) {
    let health = api.try_get("/healthz").expect("an answer").expect(200);
    assert_eq!(health["status"], "ok");
}

/// Sends a tracker's batch as a page of some origin sends it.
fn collect_from(api: &Api, origin: Option<&str>, body: &[u8]) -> Answer {
    let headers: Vec<(&str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
    api.send("POST", COLLECT, &headers, Some(body)).expect("an answer")
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// A valid tracker's batch, with one member replaced, or left out for `None`.
fn envelope(api: &Api, name: &str, value: Option<Value>) -> Vec<u8> {
    let mut body: Value =
        serde_json::from_slice(&api.collect_body(&uuid(), &[page_view(now(), "https://shop.example/")])).expect("JSON");
    let members = body.as_object_mut().expect("an object");
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    body.to_string().into_bytes()
}

#[test]
fn collect_says_what_is_wrong_with_a_body() {
    let api = shared();
    for body in [&b""[..], b"hello", b"[]", b"null", b"{\"v\":1", b"\xff\xfe", b"{\"v\":1}{\"v\":1}"] {
        let error = api.post_collect(body).error(400);
        assert!(error["code"] == "invalid_json" || error["path"] == "/v", "{body:?}: {error}");
    }
    let wrong = [
        ("v", None),
        ("v", Some(json!(2))),
        ("v", Some(json!("1"))),
        ("site", None),
        ("site", Some(json!(7))),
        ("visitor", None),
        ("visitor", Some(json!(null))),
        ("visitor", Some(json!("no spaces"))),
        ("visitor", Some(json!("v".repeat(65)))),
        ("events", None),
        ("events", Some(json!({}))),
        ("events", Some(json!([]))),
        ("events", Some(json!("none"))),
    ];
    for (name, value) in wrong {
        let error = api.post_collect(&envelope(api, name, value.clone())).error(400);
        assert_eq!(
            (&error["code"], &error["path"]),
            (&"invalid_field".into(), &format!("/{name}").into()),
            "{value:?}"
        );
    }
    assert_well(api);
}

#[test]
fn pages_of_strangers_may_not_send() {
    let api = shared();
    let visitor = uuid();
    let body = api.collect_body(&visitor, &[page_view(now(), "https://shop.example/")]);
    let unknown_site = envelope(api, "site", Some(json!("not-a-site")));
    let own = api.base.as_str();
    for (what, origin, body) in [
        ("an unknown site", Some(own), &unknown_site),
        ("a foreign origin", Some("https://evil.example"), &body),
        ("an origin that looks like ours", Some("http://localhost.evil.example"), &body),
        ("a sandboxed page", Some("null"), &body),
        ("no origin", None, &body),
    ] {
        let answer = collect_from(api, origin, body);
        assert_eq!(answer.error(403)["code"], "forbidden", "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), origin, "{what}: it is to know that it is refused");
        assert_eq!(answer.header("set-cookie"), None, "{what}");
    }
    assert!(api.find(&format!("visitor:{visitor}")).is_none(), "nothing was stored");
    assert_well(api);
}

#[test]
fn tokens_open_what_they_are_for_and_nothing_else() {
    let api = shared();
    let event = Person::new("token").email_click(now());
    let body = currents_body(&[event]);
    let currents = |authorization: Option<&str>, body: &[u8]| {
        let headers: Vec<(&str, &str)> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        api.send("POST", CURRENTS, &headers, Some(body)).expect("an answer")
    };
    let wrong = [None, Some("Bearer wrong"), Some("Bearer "), Some("Bearer"), Some("Basic abc"), Some("")];
    for authorization in wrong {
        for body in [&body[..], b"", b"no json"] {
            assert_eq!(currents(authorization, body).error(401)["code"], "unauthorized", "{authorization:?}");
        }
        let headers: Vec<(&str, &str)> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        for path in ["/api/prospects", "/api/prospects/email:a%40example.com", "/api/dead-letters"] {
            let answer = api.send("GET", path, &headers, None).expect("an answer");
            assert_eq!(answer.error(401)["code"], "unauthorized", "{path} {authorization:?}");
        }
    }
    let currents_token = bearer(&api.tokens.currents);
    for path in ["/api/prospects", "/api/prospects/email:a%40example.com/timeline", "/api/dead-letters"] {
        let answer = api.send("GET", path, &[("authorization", &currents_token)], None).expect("an answer");
        assert_eq!(answer.error(403)["code"], "forbidden", "{path}");
    }
    // The site's key is public, and opens nothing.
    let site = bearer(&api.tokens.site);
    assert_eq!(api.send("GET", "/api/prospects", &[("authorization", &site)], None).expect("an answer").status, 401);
    // A token in the address is none: addresses end in logs.
    let answer = api.try_get(&format!("/api/prospects?token={}", api.tokens.admin)).expect("an answer");
    assert_eq!(answer.error(401)["code"], "unauthorized");
    // The right ones: Braze tries its credentials with an empty body; the admin token has all scopes.
    assert_eq!(
        currents(Some(&currents_token), b"").expect(200),
        json!({ "accepted": 0, "duplicates": 0, "dead_lettered": 0 })
    );
    assert_eq!(currents(Some(&bearer(&api.tokens.admin)), b"").status, 200);
    assert_well(api);
}

#[test]
fn currents_refuses_only_what_is_no_json_object() {
    let api = shared();
    for body in [&b"hello"[..], b"[]", b"7", b"\"events\"", b"{\"events\":[", b"null"] {
        assert_eq!(api.post_currents(body).error(400)["code"], "invalid_json", "{}", String::from_utf8_lossy(body));
    }
    for events in [json!({}), json!("x"), json!(7)] {
        let error = api.post_currents(json!({ "events": events }).to_string().as_bytes()).error(400);
        assert_eq!((&error["code"], &error["path"]), (&"invalid_field".into(), &"/events".into()));
    }
    // Whatever an event is, it is no reason to refuse its neighbours.
    let good = Person::new("neighbour").email_click(now());
    let broken = [
        json!(null),
        json!(7),
        json!("x"),
        json!([]),
        json!({}),
        json!({ "event_type": "users.behaviors.Purchase" }),
        json!({ "event_type": 1, "id": uuid(), "time": 1, "user": {}, "properties": {} }),
        events::currents("users.behaviors.CustomEvent", now(), &json!({}), &json!({ "name": "nobody's" })),
    ];
    let batch: Vec<Value> = std::iter::once(good).chain(broken.clone()).collect();
    assert_eq!(api.currents(&batch), json!({ "accepted": 1, "duplicates": 0, "dead_lettered": broken.len() }));
    // A type that Braze will add next year is kept.
    let person = Person::new("future");
    let event = events::currents("users.messages.hologram.Wave", now(), &person.user(), &json!({ "hands": 2 }));
    assert_eq!(api.currents(&[event])["accepted"], 1);
    assert_eq!(
        api.timeline(&format!("braze_id:{}", person.braze_id))[0]["name"],
        "[Other] users.messages.hologram.Wave"
    );
    assert_well(api);
}

#[test]
fn bodies_over_the_limit_are_refused() {
    let api = shared();
    let five_mb = vec![b' '; 5 * 1024 * 1024];
    let nine_mib = vec![b' '; 9 * 1024 * 1024];
    assert_eq!(api.post_collect(&five_mb).error(413)["code"], "too_large");
    assert_eq!(api.post_currents(&nine_mib).error(413)["code"], "too_large");
    // Just within and just over: 64 KiB and 100 events for the tracker, 8 MiB for Braze.
    let padded = |mut body: Vec<u8>, len: usize| {
        body.resize(len, b' ');
        body
    };
    let batch = api.collect_body(&uuid(), &[page_view(now(), "https://shop.example/")]);
    assert_eq!(api.post_collect(&padded(batch.clone(), 64 * 1024)).status, 200);
    assert_eq!(api.post_collect(&padded(batch, 64 * 1024 + 1)).error(413)["code"], "too_large");
    let probe = |len| api.post_currents(&padded(br#"{"events":[]}"#.to_vec(), len));
    assert_eq!(probe(8 * 1024 * 1024).status, 200);
    assert_eq!(probe(8 * 1024 * 1024 + 1).error(413)["code"], "too_large");
    let events: Vec<Value> = (0..101).map(|_| page_view(now(), "https://shop.example/")).collect();
    assert_eq!(api.post_collect(&api.collect_body(&uuid(), &events)).error(413)["code"], "too_large");
    assert_eq!(api.collect(&uuid(), &events[..100])["accepted"], 100);
    // The tracker must be able to read that its batch is too large, or it would send it for ever.
    assert_eq!(api.post_collect(&five_mb).header("access-control-allow-origin"), Some(api.base.as_str()));
    assert_well(api);
}

#[test]
fn single_bad_events_are_rejected_and_the_others_are_stored() {
    let api = shared();
    let visitor = uuid();
    let url = "https://shop.example/pricing";
    let with = |name: &str, value: Value| {
        let mut event = page_view(now(), url);
        event[name] = value;
        event
    };
    let without = |name: &str| {
        let mut event = page_view(now(), url);
        event.as_object_mut().expect("an object").remove(name);
        event
    };
    let properties: Value = (0..65).map(|n| (format!("p{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let bad = [
        (json!(7), "invalid_event"),
        (json!(null), "invalid_event"),
        (with("url", json!(7)), "invalid_event"),
        (with("properties", json!([])), "invalid_event"),
        (without("id"), "missing_field"),
        (without("at"), "missing_field"),
        (without("kind"), "missing_field"),
        (without("page"), "missing_field"),
        (with("id", json!("no spaces")), "invalid_id"),
        (with("id", json!("i".repeat(65))), "invalid_id"),
        (with("id", json!("")), "invalid_id"),
        (with("id", json!(7)), "invalid_id"),
        (with("at", json!("now")), "invalid_time"),
        (with("at", json!(1.5)), "invalid_time"),
        (with("at", json!(-1)), "invalid_time"),
        (with("at", json!(9.0e15)), "invalid_time"),
        (with("kind", json!("page-view")), "unknown_kind"),
        (with("kind", json!("purchase")), "unknown_kind"),
        (with("kind", json!("link_click")), "unknown_kind"),
        (with("url", json!(format!("{url}?{}", "x".repeat(2_048)))), "too_large"),
        (with("name", json!("n".repeat(513))), "too_large"),
        (with("properties", properties), "too_large"),
        (with("properties", json!({ "text": "x".repeat(1_025) })), "too_large"),
        (with("ignored", json!("x".repeat(16 * 1024))), "too_large"),
    ];
    // Good ones between them; one of them twice.
    let mut sent = Vec::new();
    let mut expected = Vec::new();
    for (event, reason) in &bad {
        sent.push(page_view(now(), url));
        expected.push((sent.len(), *reason));
        sent.push(event.clone());
    }
    sent.push(sent[0].clone());
    let answer = api.collect(&visitor, &sent);
    let rejected: Vec<(usize, String)> = items(&answer["rejected"])
        .iter()
        .map(|rejected| {
            (
                usize::try_from(rejected["index"].as_u64().expect("an index")).expect("small"),
                rejected["reason"].as_str().expect("a reason").to_owned(),
            )
        })
        .collect();
    assert_eq!(rejected.iter().map(|(index, reason)| (*index, reason.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!((&answer["accepted"], &answer["duplicates"]), (&bad.len().into(), &1.into()));
    assert_eq!(api.timeline(&format!("visitor:{visitor}")).len(), bad.len());
    // Limits are inclusive, and unknown fields are ignored.
    let mut largest = tracked(
        "page_view",
        now(),
        json!({ "name": "n".repeat(512), "properties": { "text": "x".repeat(1_024) }, "unknown": { "field": 1 } }),
    );
    largest["url"] = format!("{url}?{}", "x".repeat(2_048 - url.len() - 1)).into();
    assert_eq!(api.collect(&uuid(), &[largest])["accepted"], 1);
    assert_well(api);
}

#[test]
fn unknown_parameters_paths_and_methods_are_told_so() {
    let api = shared();
    let person = Person::new("path");
    api.currents(&[person.email_click(now())]);
    let prospect = format!("/api/prospects/braze_id:{}", person.braze_id);
    for path in [
        "/api/prospects".to_owned(),
        prospect.clone(),
        format!("{prospect}/timeline"),
        format!("{prospect}/explanation"),
        format!("{prospect}/identity"),
        "/api/dead-letters".to_owned(),
        "/api/model".to_owned(),
        "/api/model/versions".to_owned(),
        "/api/model/properties".to_owned(),
        "/api/settings".to_owned(),
        "/api/tokens".to_owned(),
    ] {
        let error = api.get(&format!("{path}?colour=blue")).error(400);
        assert_eq!(error["code"], "unknown_parameter", "{path}");
        assert!(error["message"].as_str().is_some_and(|words| words.contains("colour")), "{error}");
    }
    for (path, parameter) in [
        ("/api/prospects?limit=0", "limit"),
        ("/api/prospects?limit=201", "limit"),
        ("/api/prospects?limit=ten", "limit"),
        ("/api/prospects?limit=1&limit=2", "limit"),
        ("/api/prospects?sort=shoe_size", "sort"),
        ("/api/prospects?cursor=made-up", "cursor"),
        ("/api/prospects?identified=maybe", "identified"),
        ("/api/prospects?score.engagement.gte=lots", "score.engagement.gte"),
        (&format!("{prospect}/timeline?before=yesterday"), "before"),
        (&format!("{prospect}/timeline?kind=page-view"), "kind"),
        (&format!("{prospect}/timeline?limit=500"), "limit"),
        (&format!("{prospect}/explanation?score=shoe_size"), "score"),
        (&format!("{prospect}/explanation?at=never"), "at"),
        (&format!("{prospect}/explanation?cursor=x"), "cursor"),
    ] {
        let error = api.get(path).error(400);
        assert_eq!(
            (&error["code"], &error["path"]),
            (&"invalid_field".into(), &format!("/{parameter}").into()),
            "{path}"
        );
    }
    for path in ["/api/prospects?score.engagement.near=5", "/api/prospects?score.engagement=5"] {
        assert_eq!(api.get(path).error(400)["code"], "unknown_parameter", "{path}");
    }
    for path in [
        "/nothing",
        "/api",
        "/api/",
        "/api/nothing",
        "/collect/more",
        "/demo/nothing",
        "/demo/../Cargo.toml",
        "/demo/%2e%2e/wb.js",
        "/.dev.vars",
        "/wb.js/",
        "/api/prospects/braze_id:ffffffffffffffffffffffff",
        "/api/prospects/p000_nobody",
        "/api/prospects/email:nobody%40example.com/timeline",
    ] {
        assert_eq!(api.get(path).error(404)["code"], "not_found", "{path}");
    }
    for (method, path) in [
        ("GET", COLLECT),
        ("GET", CURRENTS),
        ("PUT", CURRENTS),
        ("POST", "/healthz"),
        ("DELETE", "/api/prospects"),
        ("POST", "/wb.js"),
        ("PATCH", "/api/dead-letters"),
    ] {
        let authorization = bearer(&api.tokens.admin);
        let answer = api.send(method, path, &[("authorization", &authorization)], None).expect("an answer");
        answer.error(405);
    }
    assert_well(api);
}

#[test]
fn references_and_parameters_that_are_no_text_are_told_so() {
    let api = shared();
    for path in [
        "/api/prospects/email:%FF%FE",
        "/api/prospects/%00",
        "/api/prospects/email:",
        "/api/prospects/:x",
        "/api/prospects/shoe:42",
        "/api/prospects/null/timeline",
    ] {
        let answer = api.get(path);
        assert!(answer.status == 400 || answer.status == 404, "{path}: {} {}", answer.status, answer.text());
        answer.error(answer.status);
    }
    for path in ["/api/prospects?q=%FF", "/api/prospects?q=%", "/api/prospects?=", "/api/prospects?%FF=1"] {
        let answer = api.get(path);
        assert!([200, 400].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        if answer.status == 400 {
            answer.error(400);
        }
    }
    assert_well(api);
}

/// A body that is good, what may be answered to a damaged one, and where it is sent.
type Door<'d> = (&'d [u8], &'d [u16], &'d dyn Fn(&[u8]) -> Answer);

#[test]
fn no_bytes_whatever_make_the_server_fail() {
    // On an instance of its own: most of what Braze "sends" here becomes a dead letter.
    const BODIES: usize = 200;
    let instance = Instance::start();
    let api = instance.api();
    let seed = std::env::var("FUZZ_SEED")
        .ok()
        .map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("FUZZ_SEED is a number"));
    println!("FUZZ_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let person = Person::new("fuzz");
    let tracker = api.collect_body(
        &uuid(),
        &[
            events::link_visit(now(), "https://shop.example/?x=1", &person.braze_id),
            events::form(now(), "demo", &person.email),
        ],
    );
    let braze = currents_body(&[
        person.email_click(now()),
        events::currents(
            "users.behaviors.Purchase",
            now(),
            &person.user(),
            &json!({ "price": 1.5, "product_id": "x", "currency": "EUR", "purchase_properties": "{}" }),
        ),
    ]);
    let identity =
        json!([{ "type": "email", "value": person.email }, { "type": "external_id", "value": person.external_id }]);
    let own = json!({ "events": [
        { "id": uuid(), "at": now(), "kind": "custom", "name": "Trial", "url": "https://shop.example/?x=1",
          "identity": identity, "properties": { "plan": "pro" } },
        { "at": events::rfc3339(now()), "kind": "identify", "identity": identity,
          "properties": { "attributes": { "industry": "SaaS", "employees": 250 } } } ] });
    let own = own.to_string().into_bytes();
    let known = Person::new("known");
    api.currents(&[known.email_click(now())]);
    let known = format!("/api/prospects/email:{}", known.email);
    let told = json!({ "favorite": true, "owner_email": "rep@example.com", "company": "Engines",
        "attributes": { "industry": "SaaS", "interests": ["tea", 7] } });
    let told = told.to_string().into_bytes();
    let admin = bearer(&api.tokens.admin);
    let call = |method: &str, path: &str, body: &[u8]| {
        api.send(method, path, &[("authorization", &admin)], Some(body)).expect("an answer")
    };
    let collect = |body: &[u8]| api.post_collect(body);
    let currents = |body: &[u8]| api.post_currents(body);
    let events = |body: &[u8]| call("POST", "/api/events", body);
    let patch = |body: &[u8]| call("PATCH", &known, body);
    let doors: [Door<'_>; 4] = [
        (&tracker, &[200, 400, 403, 413], &collect),
        (&braze, &[200, 400, 413], &currents),
        (&own, &[202, 207, 400, 413], &events),
        (&told, &[200, 400, 413], &patch),
    ];
    for n in 0..BODIES {
        for (valid, expected, send) in doors {
            let body = damaged(&mut rng, valid);
            let answer = send(&body);
            assert!(
                expected.contains(&answer.status),
                "FUZZ_SEED={seed}, body {n}: {} {}\n{}",
                answer.status,
                answer.text(),
                String::from_utf8_lossy(&body)
            );
            if answer.status >= 400 {
                answer.error(answer.status);
            }
        }
    }
    assert!(instance.runtime_lives());
    assert!(!instance.log().contains("panicked"), "{}", instance.log());
    assert_well(api);
    assert_eq!(api.post_collect(&tracker).status, 200);
    assert_eq!(api.post_currents(&braze).status, 200);
    // Whatever was stored can be shown.
    crate::harness::snapshot::of_everybody(api, &events::rfc3339(now()));
}

/// Random bytes, or a valid body with some bytes changed, left out, repeated or replaced by what breaks parsers.
fn damaged(rng: &mut fastrand::Rng, valid: &[u8]) -> Vec<u8> {
    const NASTY: [&[u8]; 14] = [
        b"null",
        b"{}",
        b"[]",
        b"\"\"",
        b"-1",
        b"1e999",
        b"9223372036854775808",
        b"\\u0000",
        b"\\ud800",
        b"\xff",
        b"\0",
        b"[[[[[[[[",
        b"\"__proto__\":",
        "\u{202e}🦊".as_bytes(),
    ];
    if rng.u8(..) < 40 {
        return (0..rng.usize(..600)).map(|_| rng.u8(..)).collect();
    }
    let mut body = valid.to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(..body.len().max(1)).min(body.len());
        let to = (at + rng.usize(..12)).min(body.len());
        match rng.u8(..5) {
            0 => body.get_mut(at..to).into_iter().flatten().for_each(|byte| *byte = rng.u8(..)),
            1 => drop(body.drain(at..to)),
            2 => {
                let again = body.get(at..to).unwrap_or_default().to_vec();
                body.splice(at..at, again);
            }
            3 => drop(body.splice(at..to, rng.choice(NASTY).expect("there are some").iter().copied())),
            _ => {
                // In the place of a whole value, so that the body stays JSON more often.
                let colon =
                    body.iter().enumerate().skip(at).find(|(_, byte)| **byte == b':').map(|(place, _)| place + 1);
                let end = colon.and_then(|from| {
                    body.iter()
                        .enumerate()
                        .skip(from)
                        .find(|(_, byte)| matches!(byte, b',' | b'}'))
                        .map(|(place, _)| place)
                });
                if let (Some(from), Some(end)) = (colon, end) {
                    body.splice(from..end, rng.choice(NASTY).expect("there are some").iter().copied());
                }
            }
        }
    }
    body
}
