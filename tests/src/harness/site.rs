//! A customer's website: pages of the test's own on another origin than the Worker, and, between them and the Worker, a
//! line that is listened to and can be cut.

use super::server::{Answered, Asked, serve};
use super::{Api, until};
use hyper::Response;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happens to a batch on its way to the Worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives, and so does the answer.
    Arrives,
    /// It never arrives.
    Lost,
    /// It arrives, but the answer does not.
    Unacknowledged,
    /// It arrives, but the browser is answered with this status.
    Misreported(u16),
    /// It never arrives, and the browser is answered with this status, and this `Retry-After` in seconds if it is not 0.
    Refused(u16, u16),
    /// It never arrives: something else answers, with this status, a page and a date to come again.
    Strayed(u16),
    /// It arrives, after so many milliseconds.
    Late(u64),
}

/// A page: its HTML and the headers that it is served with.
#[derive(Debug, Clone, Default)]
struct Page {
    html: String,
    headers: Vec<(&'static str, String)>,
}

/// The website.
pub(crate) struct Site {
    /// `http://127.0.0.1:<port>`: the origin of the pages.
    pub(crate) origin: String,
    /// `http://localhost:<port>`: the Worker, as the pages reach it.
    pub(crate) worker: String,
    shared: Arc<Shared>,
}

struct Batch {
    body: Value,
    status: u16,
    answer: Value,
}

type FateOf = dyn Fn() -> Fate + Send + Sync;

struct Shared {
    api: Mutex<Api>,
    pages: Mutex<HashMap<String, Page>>,
    fate: Mutex<Arc<FateOf>>,
    /// What arrived at `/collect`, oldest first.
    batches: Mutex<Vec<Batch>>,
}

impl Site {
    /// A website without pages, of this Worker.
    pub(crate) fn new(api: &Api) -> Site {
        let shared = Arc::new(Shared {
            api: Mutex::new(api.clone()),
            pages: Mutex::default(),
            fate: Mutex::new(Arc::new(|| Fate::Arrives)),
            batches: Mutex::default(),
        });
        let of_line = shared.clone();
        let line = serve(move |asked| of_line.pass(&asked));
        let of_pages = shared.clone();
        let pages = serve(move |asked| Some(of_pages.page(&asked)));
        Site { origin: format!("http://127.0.0.1:{pages}"), worker: format!("http://localhost:{line}"), shared }
    }

    /// The tracker's script tag, with more attributes.
    pub(crate) fn tag(&self, attributes: &str) -> String {
        let site = lock(&self.shared.api).tokens.site.clone();
        format!(r#"<script async src="{}/wb.js" data-site="{site}" {attributes}></script>"#, self.worker)
    }

    /// Puts a page at a path (a query does not count), and returns its address.
    pub(crate) fn put(&self, path: &str, html: &str) -> String {
        self.put_with(path, html, &[])
    }

    /// Puts a page at a path, served with headers.
    pub(crate) fn put_with(&self, path: &str, html: &str, headers: &[(&'static str, String)]) -> String {
        let page = Page { html: html.to_owned(), headers: headers.to_vec() };
        lock(&self.shared.pages).insert(path.to_owned(), page);
        format!("{}{path}", self.origin)
    }

    /// Decides what happens to each batch from now on.
    pub(crate) fn decide(&self, fate: impl Fn() -> Fate + Send + Sync + 'static) {
        *lock(&self.shared.fate) = Arc::new(fate);
    }

    /// Connects the line to another instance.
    pub(crate) fn connect(&self, api: &Api) {
        *lock(&self.shared.api) = api.clone();
    }

    /// The batches that the Worker has answered with 200: each `/collect` body, oldest first.
    pub(crate) fn batches(&self) -> Vec<Value> {
        lock(&self.shared.batches).iter().filter(|batch| batch.status == 200).map(|batch| batch.body.clone()).collect()
    }

    /// The statuses of all answers of the Worker to `/collect`.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        lock(&self.shared.batches).iter().map(|batch| batch.status).collect()
    }

    /// The events that the Worker has refused, and why.
    pub(crate) fn rejected(&self) -> Vec<Value> {
        let batches = lock(&self.shared.batches);
        batches.iter().flat_map(|batch| batch.answer["rejected"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// All events that the Worker has taken, each once, as they happened: batches overtake one another.
    pub(crate) fn events(&self) -> Vec<Value> {
        let mut events: Vec<Value> = Vec::new();
        for batch in self.batches() {
            for event in batch["events"].as_array().into_iter().flatten() {
                if !events.iter().any(|known| known["id"] == event["id"]) {
                    events.push(event.clone());
                }
            }
        }
        events.sort_by_key(|event| event["at"].as_i64());
        events
    }

    /// Waits for so many page views.
    #[track_caller]
    pub(crate) fn heard_of_views(&self, count: usize) {
        let views = || self.events().iter().filter(|event| event["kind"] == "page_view").count();
        until(&format!("{count} page views arrive"), || views() >= count);
    }

    /// Waits for a custom event of this name: what the page did before has been sent by then, or never will be.
    #[track_caller]
    pub(crate) fn heard_of(&self, name: &str) {
        until(&format!("the event {name} arrives"), || self.events().iter().any(|event| event["name"] == name));
    }
}

impl Shared {
    fn pass(&self, asked: &Asked) -> Option<Answered> {
        let path = asked.uri().path_and_query().map_or("/", |path| path.as_str());
        let is_batch = asked.uri().path().ends_with("/collect") && asked.method() == "POST";
        let fate = lock(&self.fate).clone();
        let fate = if is_batch { fate() } else { Fate::Arrives };
        match fate {
            Fate::Lost => return None,
            Fate::Refused(status, retry_after) => return Some(refusal(asked, status, retry_after)),
            Fate::Strayed(status) => {
                let mut page = refusal(asked, status, 0);
                *page.body_mut() = b"<!doctype html><title>Shop</title>".to_vec();
                page.headers_mut()
                    .insert("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT".parse().expect("a valid value"));
                return Some(page);
            }
            Fate::Late(ms) => std::thread::sleep(std::time::Duration::from_millis(ms)),
            Fate::Arrives | Fate::Unacknowledged | Fate::Misreported(_) => {}
        }
        let headers: Vec<(&str, &str)> = asked
            .headers()
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "host" | "connection" | "content-length" | "accept-encoding"))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
            .collect();
        let api = lock(&self.api).clone();
        let body = (!asked.body().is_empty()).then_some(asked.body().as_slice());
        let answer = api.send(asked.method().as_str(), path, &headers, body).ok()?;
        if is_batch {
            let json = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or_default();
            let batch = Batch { body: json(asked.body()), status: answer.status, answer: json(&answer.body) };
            lock(&self.batches).push(batch);
        }
        match fate {
            Fate::Unacknowledged => return None,
            Fate::Misreported(status) => return Some(refusal(asked, status, 0)),
            Fate::Arrives | Fate::Lost | Fate::Refused(..) | Fate::Strayed(_) | Fate::Late(_) => {}
        }
        let mut answered = Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            if !matches!(name.as_str(), "connection" | "content-length" | "transfer-encoding") {
                answered = answered.header(name, value);
            }
        }
        Some(answered.body(answer.body).expect("a valid answer"))
    }

    fn page(&self, asked: &Asked) -> Answered {
        let Some(page) = lock(&self.pages).get(asked.uri().path()).cloned() else {
            return Response::builder().status(404).body(Vec::new()).expect("a valid answer");
        };
        let mut answered = Response::builder().header("content-type", "text/html; charset=utf-8");
        for (name, value) in &page.headers {
            answered = answered.header(*name, value);
        }
        answered.body(page.html.into_bytes()).expect("a valid answer")
    }
}

/// An answer that the page may read, as the Worker's are.
fn refusal(asked: &Asked, status: u16, retry_after: u16) -> Answered {
    let mut answered = Response::builder()
        .status(status)
        .header("access-control-allow-credentials", "true")
        .header("access-control-expose-headers", "retry-after");
    if let Some(origin) = asked.headers().get("origin") {
        answered = answered.header("access-control-allow-origin", origin);
    }
    if retry_after > 0 {
        answered = answered.header("retry-after", retry_after);
    }
    answered.body(b"{}".to_vec()).expect("a valid answer")
}

fn lock<T: ?Sized>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
