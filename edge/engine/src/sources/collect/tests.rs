use super::{EVENT_BYTES_MAX, EVENTS_MAX, Events, parse};
use crate::event::{Record, Source};
use crate::identity::Trust;
use crate::identity::policy::Policy;
use crate::key::KeyType;
use crate::kinds::{KINDS, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

const VISITOR: &str = "7b0c2c4e-0f5a-4d38-9d3b-5d2f4f1c9a10";

fn event(more: &Value) -> Value {
    let mut event = json!({ "id": "e-1", "at": 1_767_225_600_123_i64, "kind": "page_view", "page": "page-1" });
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn body(events: &[Value]) -> String {
    json!({ "v": 1, "site": "site-1", "visitor": VISITOR, "route": "r1", "events": events }).to_string()
}

fn read(events: &[Value]) -> Events {
    parse(body(events).as_bytes()).unwrap().events("", &Policy::default())
}

fn record(more: &Value) -> Record {
    let mut events = read(&[event(more)]);
    assert_eq!(events.rejected, []);
    events.records.pop().unwrap()
}

fn claims(more: &Value) -> Vec<(KeyType, String, Trust, Source, bool)> {
    let claims = record(more).claims.into_iter();
    claims.map(|c| (c.key.key_type(), c.key.value().to_owned(), c.trust, c.source, c.human)).collect()
}

#[test]
fn a_browser_that_is_blocked_is_nobody_s() {
    let text = body(&[event(&json!({})), event(&json!({ "id": "e-2" }))]);
    let policy = Policy::default().with_blocked(&format!("visitor:{VISITOR}")).unwrap();
    let events = parse(text.as_bytes()).unwrap().events("", &policy);
    let rejected: Vec<_> = events.rejected.iter().map(|rejected| (rejected.index, rejected.reason)).collect();
    assert_eq!((events.records, rejected), (vec![], vec![(0, "missing_field"), (1, "missing_field")]));
}

#[test]
fn a_batch_is_read() {
    let whole = event(&json!({
        "url": "https://shop.example/pricing?braze_id=1&a=2", "referrer": "https://m.example/?lid=1", "name": "Pricing",
        "utm": { "source": "mail", "term": null }, "properties": { "plan": "pro", "link": "https://a.example/?br_user_id=u" },
        "unknown": [1],
        "identity": [{ "type": "braze_id", "value": "5FBD99bac125ca40511f2cb1", "from": "url" }] }));
    let text = body(&[json!(5), whole]);
    let envelope = parse(text.as_bytes()).unwrap();
    assert_eq!(
        (envelope.site.as_str(), envelope.visitor.value(), envelope.route.as_deref()),
        ("site-1", VISITOR, Some("r1"))
    );
    let events = envelope.events("brand-b", &Policy::default());
    assert_eq!((events.places.as_slice(), events.rejected.len(), events.rejected[0].index), ([1].as_slice(), 1, 0));
    let record = &events.records[0];
    assert_eq!((&record.rec, record.at, record.id.as_str()), (&envelope.visitor, 1_767_225_600_123, "e-1"));
    assert_eq!(record.facts, []);
    let stored = &record.body;
    assert_eq!(
        (stored.kind, stored.name.as_str(), stored.source),
        (Kind::PageView, "[Page view] Pricing", Source::Tracker)
    );
    assert_eq!(stored.url.as_deref(), Some("https://shop.example/pricing?a=2"));
    assert_eq!(stored.referrer.as_deref(), Some("https://m.example/"));
    assert_eq!(stored.properties, r#"{"plan":"pro","link":"https://a.example/"}"#);
    assert_eq!((stored.utm.as_deref(), stored.page.as_deref()), (Some(r#"{"source":"mail"}"#), Some("page-1")));
    assert_eq!((stored.bot.as_deref(), stored.event_type.as_deref()), (None, None));
    let claim = &record.claims[0];
    assert_eq!(
        (&claim.browser, claim.key.scoped_type(), claim.key.value()),
        (&envelope.visitor, "braze_id@brand-b".to_owned(), "5fbd99bac125ca40511f2cb1")
    );
    assert_eq!(
        (claim.trust, claim.source, claim.page.as_str(), claim.human),
        (Trust::Weak, Source::Url, "page-1", false)
    );
    assert!(!format!("{stored:?}").contains("5fbd"), "identity is not stored in the event");
}

#[test]
fn wrong_envelopes() {
    let change = |field: &str, value: Value| {
        let mut body: Value = serde_json::from_str(&body(&[event(&json!({}))])).unwrap();
        body[field] = value;
        body.to_string()
    };
    let many = vec![event(&json!({})); EVENTS_MAX + 1];
    let cases = [
        (String::new(), "invalid_json", None),
        ("[]".to_owned(), "invalid_json", None),
        ("{".to_owned(), "invalid_json", None),
        (change("v", json!(2)), "invalid_field", Some("/v")),
        (change("v", json!("1")), "invalid_field", Some("/v")),
        (change("v", json!(null)), "invalid_field", Some("/v")),
        (change("site", json!(null)), "invalid_field", Some("/site")),
        (change("site", json!(7)), "invalid_field", Some("/site")),
        (change("visitor", json!(null)), "invalid_field", Some("/visitor")),
        (change("visitor", json!("ada@example.com")), "invalid_field", Some("/visitor")),
        (change("visitor", json!("0000-0000")), "invalid_field", Some("/visitor")),
        (change("events", json!(null)), "invalid_field", Some("/events")),
        (change("events", json!({})), "invalid_field", Some("/events")),
        (change("events", json!([])), "invalid_field", Some("/events")),
        (change("events", json!(many)), "too_large", Some("/events")),
        (change("x", json!("x".repeat(65_536))), "too_large", None),
    ];
    for (body, code, path) in cases {
        let error = parse(body.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.path.as_deref()), (code, path), "{}", body.get(..200).unwrap_or(&body));
    }
    assert!(parse(change("events", json!(&many[1..])).as_bytes()).is_ok());
    assert!(parse(&[b"{\"v\":\"".as_slice(), &[0xff], b"\"}"].concat()).is_err());
    assert_eq!(parse(change("route", json!(5)).as_bytes()).unwrap().route, None);
}

#[test]
fn every_reason_for_a_rejection() {
    let without = |field: &str| {
        let mut event = event(&json!({}));
        event.as_object_mut().unwrap().remove(field);
        event
    };
    let many: serde_json::Map<_, _> = (0..65).map(|n| (n.to_string(), json!(n))).collect();
    let large: serde_json::Map<_, _> = (0..17).map(|n| (n.to_string(), json!("x".repeat(1000)))).collect();
    let cases = [
        (json!("x"), "invalid_event"),
        (json!([1]), "invalid_event"),
        (without("id"), "missing_field"),
        (without("at"), "missing_field"),
        (without("kind"), "missing_field"),
        (without("page"), "missing_field"),
        (event(&json!({ "page": "" })), "missing_field"),
        (event(&json!({ "id": "" })), "invalid_id"),
        (event(&json!({ "id": "a b" })), "invalid_id"),
        (event(&json!({ "id": "x".repeat(65) })), "invalid_id"),
        (event(&json!({ "id": 5 })), "invalid_id"),
        (event(&json!({ "at": "2026-01-01" })), "invalid_time"),
        (event(&json!({ "at": 1.5 })), "invalid_time"),
        (event(&json!({ "at": 0 })), "invalid_time"),
        (event(&json!({ "at": -1 })), "invalid_time"),
        (event(&json!({ "at": 4_102_444_800_000_i64 })), "invalid_time"),
        (event(&json!({ "kind": "pageview" })), "unknown_kind"),
        (event(&json!({ "kind": "email_open" })), "unknown_kind"),
        (event(&json!({ "kind": 1 })), "invalid_event"),
        (event(&json!({ "url": 1 })), "invalid_event"),
        (event(&json!({ "properties": [] })), "invalid_event"),
        (event(&json!({ "utm": { "source": 1 } })), "invalid_event"),
        (event(&json!({ "identity": {} })), "invalid_event"),
        (event(&json!({ "url": "u".repeat(2049) })), "too_large"),
        (event(&json!({ "referrer": "u".repeat(2049) })), "too_large"),
        (event(&json!({ "name": "n".repeat(513) })), "too_large"),
        (event(&json!({ "page": "p".repeat(1025) })), "too_large"),
        (event(&json!({ "properties": { "a": "x".repeat(1025) } })), "too_large"),
        (event(&json!({ "properties": { "a": [{ "b": "x".repeat(1025) }] } })), "too_large"),
        (event(&json!({ "properties": { ("k".repeat(1025)): 1 } })), "too_large"),
        (event(&json!({ "properties": many })), "too_large"),
        (event(&json!({ "properties": large })), "too_large"),
        (event(&json!({ "utm": { "source": "x".repeat(1025) } })), "too_large"),
    ];
    for (event, reason) in cases {
        let events = read(&[event.clone(), self::event(&json!({}))]);
        let text = event.to_string();
        assert_eq!(events.rejected.len(), 1, "{}", &text[..text.len().min(200)]);
        assert_eq!((events.rejected[0].index, events.rejected[0].reason), (0, reason), "{:?}", events.rejected[0]);
        assert_eq!(events.places, [1]);
    }
}

#[test]
fn what_is_just_within_the_limits_is_taken() {
    let whole: serde_json::Map<_, _> = (0..64).map(|n| (n.to_string(), json!("é".repeat(60)))).collect();
    for more in [
        json!({ "url": format!("https://shop.example/{}", "u".repeat(2027)) }),
        json!({ "name": "n".repeat(512) }),
        json!({ "properties": { "a": "x".repeat(1024) } }),
        json!({ "properties": whole }),
        json!({ "id": "x".repeat(64), "at": 4_102_444_799_999_i64 }),
        json!({ "url": null, "referrer": null, "name": null, "properties": null, "utm": null, "identity": null, "human": null }),
    ] {
        assert!(event(&more).to_string().len() <= EVENT_BYTES_MAX);
        record(&more);
    }
}

/// As a page sends what it has cut: its title, a property.
#[test]
fn a_text_that_was_cut_within_a_character_is_taken() {
    let whole = event(&json!({ "name": "cut NAME", "properties": { "t": "ab" } })).to_string();
    let body =
        body(&[json!(0)]).replace("[0]", &format!("[{whole}]")).replace("NAME", "\\ud83d").replace("ab", "ab\\uD83D");
    let events = parse(body.as_bytes()).unwrap().events("", &Policy::default());
    assert_eq!(events.rejected, []);
    let stored = &events.records[0].body;
    assert_eq!(
        (stored.name.as_str(), stored.properties.as_str()),
        ("[Page view] cut \u{FFFD}", "{\"t\":\"ab\u{FFFD}\"}")
    );
}

#[test]
fn labels() {
    let cases = [
        (json!({ "name": "Pricing" }), "[Page view] Pricing"),
        (json!({ "name": " ", "url": "https://shop.example/a/b?x=1" }), "[Page view] /a/b"),
        (json!({ "url": "https://shop.example" }), "[Page view] /"),
        (json!({}), "[Page view] (unnamed)"),
        (json!({ "kind": "form_submit", "name": "Request a Demo" }), "[Form] Request a Demo"),
        (json!({ "kind": "form_submit", "url": "https://shop.example/contact" }), "[Form] /contact"),
        (json!({ "kind": "click_outbound", "name": "https://partner.example/a?b=1#c" }), "[Click] partner.example/a"),
        (
            json!({ "kind": "click_outbound", "properties": { "href": "https://partner.example/x" } }),
            "[Click] partner.example/x",
        ),
        (json!({ "kind": "download", "name": "https://shop.example/files/prices.pdf?v=2" }), "[Download] prices.pdf"),
        (json!({ "kind": "download", "name": "prices.pdf" }), "[Download] prices.pdf"),
        (json!({ "kind": "custom", "name": "trial_started" }), "[Custom Event tracked] trial_started"),
        (json!({ "kind": "engagement", "properties": { "seconds": 2, "scroll": 10 } }), "[Engagement] 2 s, 10 %"),
        (json!({ "kind": "engagement", "properties": { "seconds": 2.0, "scroll": null } }), "[Engagement] 2 s, 0 %"),
        (
            json!({ "kind": "identify", "identity": [{ "type": "email", "value": "ada@example.com", "from": "identify" }] }),
            "[Identify] email",
        ),
        (json!({ "kind": "identify" }), "[Identify] (unnamed)"),
    ];
    for (more, expected) in cases {
        assert_eq!(record(&more).body.name, expected);
    }
    let collected = KINDS.iter().filter(|row| row.collect).count();
    assert_eq!(collected, 7, "a kind that browsers may send has no label here");
}

#[test]
fn claims_by_origin() {
    let entry = |key_type: &str, value: &str, from: &str| json!({ "type": key_type, "value": value, "from": from });
    let form = json!({ "kind": "form_submit", "identity": [
        entry("email", " Ada@Example.com ", "form"), entry("phone", "+1 555 010 1234", "form"), entry("email", "ada@example.com", "form")] });
    assert_eq!(
        claims(&form),
        [
            (KeyType::Email, "ada@example.com".to_owned(), Trust::Medium, Source::Form, false),
            (KeyType::Phone, "+15550101234".to_owned(), Trust::Medium, Source::Form, false),
        ]
    );
    let mixed = json!({ "identity": [entry("external_id", "u1", "identify"), entry("email", "b@example.com", "link"), entry("br_user_id", "u2", "url")] });
    assert_eq!(
        claims(&mixed),
        [
            (KeyType::ExternalId, "u1".to_owned(), Trust::Medium, Source::Identify, false),
            (KeyType::Email, "b@example.com".to_owned(), Trust::Weak, Source::Link, false),
            (KeyType::ExternalId, "u2".to_owned(), Trust::Weak, Source::Url, false),
        ]
    );
    let unusable = json!({ "identity": [
        entry("braze_id", "{{${braze_id}}}", "url"), entry("email", "null", "form"), entry("external_id", "", "identify"),
        entry("visitor", "someone", "identify"), entry("segment_anonymous", "someone", "identify"), entry("email", "ada@example.com", "guess"),
        entry("nickname", "ada", "form"), { "type": "email", "value": 5, "from": "form" }, { "type": "email", "from": "form" }, 5, null ] });
    assert_eq!(claims(&unusable), []);
}

#[test]
fn a_braze_id_in_the_url_leaves_no_trace_of_the_other() {
    let other = |key_type: &str| json!({ "type": key_type, "value": "user-42", "from": "url" });
    for braze_id in [
        json!({ "type": "braze_id", "value": "5fbd99bac125ca40511f2cb1", "from": "url" }),
        json!({ "type": "braze_id", "value": "{{${braze_id}}}", "from": "url" }),
        json!({ "type": "braze_id", "value": "", "from": "url" }),
        json!({ "type": "braze_id", "from": "url" }),
    ] {
        for key_type in ["external_id", "br_user_id"] {
            for identity in [json!([braze_id, other(key_type)]), json!([other(key_type), braze_id])] {
                let record = record(
                    &json!({ "kind": "identify", "identity": identity, "url": "https://shop.example/?braze_id=5fbd&br_user_id=user-42" }),
                );
                let text = format!("{record:?}");
                assert!(!text.contains("user-42") && !text.contains("external_id"), "{text}");
            }
        }
    }
    // The address says it as well as the claims do.
    let address =
        json!({ "url": "https://shop.example/?BRAZE_ID=&br_user_id=user-42", "identity": [other("external_id")] });
    assert_eq!(claims(&address), []);
    let alone = json!({ "url": "https://shop.example/?br_user_id=user-42", "identity": [other("external_id")] });
    assert_eq!(claims(&alone).len(), 1);
    // From elsewhere it is evidence of its own.
    let both = json!({ "identity": [{ "type": "braze_id", "value": "5fbd", "from": "url" }, { "type": "external_id", "value": "user-42", "from": "identify" }] });
    assert_eq!(claims(&both).len(), 2);
}

#[test]
fn humans_show_by_five_signals() {
    let human = |signal: Value| {
        claims(&json!({ "human": signal, "identity": [{ "type": "braze_id", "value": "5fbd", "from": "url" }] }))[0].4
    };
    for signal in ["visible", "pointer", "key", "scroll", "touch"] {
        assert!(human(json!(signal)), "{signal}");
    }
    for none in [json!(null), json!(true), json!(""), json!("hover"), json!("Visible")] {
        assert!(!human(none));
    }
}

#[test]
fn a_machines_batch_is_marked() {
    let identity = json!([{ "type": "braze_id", "value": "5fbd", "from": "url" }]);
    let mut events = read(&[
        event(&json!({ "human": "visible", "identity": identity })),
        event(&json!({ "id": "e-2", "kind": "identify", "identity": identity })),
    ]);
    events.mark_bot("known_bot");
    let bots: Vec<_> = events.records.iter().map(|record| record.body.bot.as_deref()).collect();
    assert_eq!(bots, [Some("known_bot"), None]);
    assert!(events.records.iter().flat_map(|record| &record.claims).all(|claim| !claim.human));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            "\\PC{0,12}",
            "https://a\\.example/[?#&;=%0-9a-f]{0,12}",
            "(url|form|braze_id|email|custom|visible)"
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let names = "(type|value|from|seconds|href|a)";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((names, inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes).map(|envelope| envelope.events("", &Policy::default()));
    }

    #[test]
    fn any_event_is_taken_or_rejected(
        kind in proptest::sample::select(KINDS.iter().map(|row| row.slug).collect::<Vec<_>>()),
        fields in proptest::collection::vec(("(id|at|page|url|referrer|name|utm|properties|identity|human)", any_json()), 0..5),
    ) {
        let mut changed = event(&json!({ "kind": kind }));
        changed.as_object_mut().unwrap().extend(fields);
        let events = read(&[changed, event(&json!({}))]);
        prop_assert_eq!(events.records.len() + events.rejected.len(), 2);
        prop_assert_eq!(events.places.last(), Some(&1));
    }
}
