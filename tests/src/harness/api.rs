//! The HTTP interfaces, as callers use them.

use super::eventually;
use serde_json::{Value, json};
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// Longer than anything answers; a hanging request fails its test.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The three values of `.dev.vars`.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) admin: String,
    pub(crate) currents: String,
    pub(crate) site: String,
}

/// One instance's interfaces.
#[derive(Clone)]
pub(crate) struct Api {
    /// `http://localhost:<port>`
    pub(crate) base: String,
    pub(crate) tokens: Tokens,
    agent: Agent,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Api {
    pub(crate) fn new(port: u64, tokens: Tokens) -> Api {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_WITHIN)).max_redirects(0);
        Api { base: format!("http://localhost:{port}"), tokens, agent: config.build().into() }
    }

    /// Any request; fails only if there is no answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.body(body).expect("a valid request"))?,
            None => self.agent.run(request.body(()).expect("a valid request"))?,
        };
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
        Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
    }

    /// Reads a path, without a token.
    pub(crate) fn try_get(&self, path: &str) -> Result<Answer, ureq::Error> {
        self.send("GET", path, &[], None)
    }

    /// Reads a path of the API: again as long as somebody is just being brought together, as such an answer asks for.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        let token = format!("Bearer {}", self.tokens.admin);
        eventually("whoever is being brought together has been", || {
            let answer = self.send("GET", path, &[("authorization", &token)], None).expect("an answer");
            (!answer.is_settling()).then_some(answer)
        })
    }

    /// What a path of the API answers, which must be 200. Whoever was named in a link or a form is known where they are
    /// asked for once another partition has heard of it, shortly after the acknowledgement: until then that is a 404.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> Value {
        let known =
            eventually(&format!("{path} is known"), || Some(self.get(path)).filter(|answer| answer.status != 404));
        known.expect(200)
    }

    /// A prospect that must be there.
    #[track_caller]
    pub(crate) fn prospect(&self, reference: &str) -> Value {
        self.read(&format!("/api/prospects/{reference}"))
    }

    /// A prospect, if it is there.
    #[track_caller]
    pub(crate) fn find(&self, reference: &str) -> Option<Value> {
        let answer = self.get(&format!("/api/prospects/{reference}"));
        if answer.status == 404 { None } else { Some(answer.expect(200)) }
    }

    /// The whole timeline of a prospect, newest first.
    #[track_caller]
    pub(crate) fn timeline(&self, reference: &str) -> Vec<Value> {
        self.pages(&format!("/api/prospects/{reference}/timeline?limit=200"))
    }

    /// The evidence about a prospect.
    #[track_caller]
    pub(crate) fn evidence(&self, reference: &str) -> Vec<Value> {
        items(&self.read(&format!("/api/prospects/{reference}/identity"))["evidence"])
    }

    /// All items of a list, by its cursors. The path has parameters already.
    #[track_caller]
    pub(crate) fn pages(&self, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut page = self.read(path);
        loop {
            all.extend(items(&page["items"]));
            match page["next_cursor"].as_str() {
                Some(cursor) => page = self.read(&format!("{path}&cursor={cursor}")),
                None => return all,
            }
        }
    }

    /// Sends a body as Braze sends it.
    #[track_caller]
    pub(crate) fn post_currents(&self, body: &[u8]) -> Answer {
        self.try_post_currents(body).expect("an answer")
    }

    pub(crate) fn try_post_currents(&self, body: &[u8]) -> Result<Answer, ureq::Error> {
        let token = format!("Bearer {}", self.tokens.currents);
        let headers =
            [("authorization", token.as_str()), ("content-type", "application/json"), ("braze-currents-version", "1")];
        self.send("POST", CURRENTS, &headers, Some(body))
    }

    /// Sends a batch of Currents events, which must be taken: `{"accepted","duplicates","dead_lettered"}`.
    #[track_caller]
    pub(crate) fn currents(&self, events: &[Value]) -> Value {
        self.post_currents(&currents_body(events)).expect(200)
    }

    /// Sends a body as the tracker on a page of ours sends it.
    #[track_caller]
    pub(crate) fn post_collect(&self, body: &[u8]) -> Answer {
        self.try_post_collect(body).expect("an answer")
    }

    pub(crate) fn try_post_collect(&self, body: &[u8]) -> Result<Answer, ureq::Error> {
        let headers = [("content-type", "text/plain;charset=UTF-8"), ("origin", self.base.as_str())];
        self.send("POST", COLLECT, &headers, Some(body))
    }

    /// Sends a browser's events, which must be taken: `{"accepted","duplicates","rejected","visitor"}`.
    #[track_caller]
    pub(crate) fn collect(&self, visitor: &str, events: &[Value]) -> Value {
        self.post_collect(&self.collect_body(visitor, events)).expect(200)
    }

    /// The tracker's batch.
    pub(crate) fn collect_body(&self, visitor: &str, events: &[Value]) -> Vec<u8> {
        json!({ "v": 1, "site": self.tokens.site, "visitor": visitor, "events": events }).to_string().into_bytes()
    }
}

/// Where Braze sends.
pub(crate) const CURRENTS: &str = "/api/braze/currents/events";
/// Where the tracker sends.
pub(crate) const COLLECT: &str = "/collect";

/// Braze's batch.
pub(crate) fn currents_body(events: &[Value]) -> Vec<u8> {
    json!({ "events": events }).to_string().into_bytes()
}

/// The items of an array that must be one.
#[track_caller]
pub(crate) fn items(array: &Value) -> Vec<Value> {
    array.as_array().unwrap_or_else(|| panic!("not an array: {array}")).clone()
}

impl Answer {
    /// Whether somebody is on the way between two partitions.
    fn is_settling(&self) -> bool {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        self.status == 503 && body["error"]["code"] == "settling"
    }

    /// The body as JSON; the status must be this one.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text()))
    }

    /// The error of an answer that must be one: `{"error":{"code","message","path"}}` and nothing else.
    #[track_caller]
    pub(crate) fn error(&self, status: u16) -> Value {
        let body = self.expect(status);
        let error = &body["error"];
        let names: Vec<&String> = error.as_object().into_iter().flat_map(|error| error.keys()).collect();
        assert_eq!(names, ["code", "message", "path"], "{body}");
        assert!(error["code"].is_string() && error["message"].as_str().is_some_and(|words| words.len() > 5), "{body}");
        assert!(error["path"].is_null() || error["path"].as_str().is_some_and(|path| path.starts_with('/')), "{body}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
        error.clone()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
