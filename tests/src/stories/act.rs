//! One thing that reaches an instance, kept so that it can be sent again.

use super::scene::Key;
use crate::harness::api::COLLECT;
use crate::harness::{Api, until};
use serde_json::{Value, json};

/// How a browser says what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manner {
    pub(crate) user_agent: &'static str,
    /// `Sec-Purpose`, if it is sent.
    pub(crate) purpose: Option<&'static str>,
}

const CHROME: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

impl Manner {
    /// An ordinary browser. Mail scanners look just like it.
    pub(crate) const PERSON: Manner = Manner { user_agent: CHROME, purpose: None };
    /// Chrome, which loads a page because somebody might want it.
    pub(crate) const PREFETCH: Manner = Manner { user_agent: CHROME, purpose: Some("prefetch;prerender") };
    /// A search engine, which runs scripts.
    pub(crate) const GOOGLEBOT: Manner = Manner {
        user_agent: "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/141.0.0.0 Safari/537.36",
        purpose: None,
    };
    /// A chat that looks at a link to show what is behind it.
    pub(crate) const SLACK: Manner =
        Manner { user_agent: "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", purpose: None };
}

/// One event, or one decision.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Browser { visitor: String, manner: Manner, event: Value },
    Braze(Value),
    Decision { id: String, decision: Decision },
}

/// What a person decides about people. References are keys: an instance that never showed an id understands them.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    Merge { keep: Key, other: Key },
    Separate { from: Key, keys: Vec<Key> },
    Erase { who: Key },
}

impl Act {
    pub(crate) fn is_decision(&self) -> bool {
        matches!(self, Act::Decision { .. })
    }

    /// Sends it by itself; it must be taken.
    #[track_caller]
    pub(crate) fn send(&self, api: &Api) {
        match self {
            Act::Browser { visitor, manner, event } => {
                send_browser(api, visitor, *manner, std::slice::from_ref(event));
            }
            Act::Braze(event) => send_braze(api, std::slice::from_ref(event)),
            Act::Decision { id, decision } => decision.send(api, id),
        }
    }
}

/// A request of the tracker's.
#[track_caller]
pub(crate) fn send_browser(api: &Api, visitor: &str, manner: Manner, events: &[Value]) {
    let body = api.collect_body(visitor, events);
    let mut headers = vec![
        ("content-type", "text/plain;charset=UTF-8"),
        ("origin", api.base.as_str()),
        ("user-agent", manner.user_agent),
    ];
    headers.extend(manner.purpose.map(|purpose| ("sec-purpose", purpose)));
    let answer = api.send("POST", COLLECT, &headers, Some(&body)).expect("an answer").expect(200);
    assert_eq!(answer["rejected"], json!([]));
}

/// A request of Braze's.
#[track_caller]
pub(crate) fn send_braze(api: &Api, events: &[Value]) {
    assert_eq!(api.currents(events)["dead_lettered"], 0);
}

impl Decision {
    #[track_caller]
    fn send(&self, api: &Api, id: &str) {
        let token = format!("Bearer {}", api.tokens.admin);
        let headers =
            [("authorization", token.as_str()), ("content-type", "application/json"), ("idempotency-key", id)];
        let send = |method: &str, path: &str, body: Option<Value>| {
            let body = body.map(|body| body.to_string().into_bytes());
            api.send(method, path, &headers, body.as_deref()).expect("an answer")
        };
        match self {
            Decision::Merge { keep, other } => {
                let reference = |key: &Key| format!("{}:{}", key.key_type, key.value);
                let body = json!({ "keep": reference(keep), "merge": [reference(other)] });
                assert!(send("POST", "/api/prospects/merge", Some(body)).expect(200)["items"].is_array());
            }
            Decision::Separate { from, keys } => {
                let keys: Vec<Value> = keys.iter().map(Key::json).collect();
                let path = format!("/api/prospects/{}/unmerge", from.reference());
                let answer = send("POST", &path, Some(json!({ "identifiers": keys }))).expect(200);
                assert!(answer["items"].is_array());
            }
            Decision::Erase { who } => {
                let answer = send("DELETE", &format!("/api/prospects/{}", who.reference()), None).expect(202);
                let receipt = format!("/api/erasures/{}", answer["erasure"].as_str().expect("a receipt"));
                until("the erasure is completed", || api.read(&receipt)["status"] == "completed");
            }
        }
    }
}
