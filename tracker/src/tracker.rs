//! The tracker of one page load: what it knows, and what it does when the page, a person, a timer or the server acts.
//!
//! The exported functions are all that `host.js` calls. It never calls one inside another and catches what they throw.

use crate::event::Event;
use crate::identity::{Claim, TYPES, is_uuid};
use crate::json::Object;
use crate::queue::Queue;
use crate::{form, url, visitor};
use alloc::{string::String, vec::Vec};
use core::cell::RefCell;
use js_sys::{Date, Function, JSON, Math, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{Document, HtmlFormElement, VisibilityState, Window};

/// How long events wait for company before they are sent, in milliseconds.
const GATHER_MS: u32 = 50;
/// How long a page must be visible to pass for read by a human, in milliseconds.
const VISIBLE_MS: u32 = 2_000;
/// The reason of a wake-up that sends; any other is the number of a period of being visible.
const SEND: u32 = 0;

/// Input that only a person makes, if it is trusted, and what it is called on the wire. `scroll` is not among the
/// events because a script's or an anchor's scrolling is "trusted" too; the wheel is a person's. Scrolling with the
/// finger begins with `pointerdown`.
const INPUTS: [(&str, &str); 3] = [("pointerdown", "pointer"), ("keydown", "key"), ("wheel", "scroll")];

#[wasm_bindgen]
extern "C" {
    /// What `host.js` lends us.
    pub type Host;
    /// The site key.
    #[wasm_bindgen(method, getter)]
    fn site(this: &Host) -> String;
    /// Whether the browser asks not to be tracked.
    #[wasm_bindgen(method, getter)]
    fn refused(this: &Host) -> bool;
    /// Whether the browser is under automation.
    #[wasm_bindgen(method, getter)]
    fn automated(this: &Host) -> bool;
    /// The listener that calls `on`.
    #[wasm_bindgen(method, getter)]
    fn listener(this: &Host) -> Function;
    /// A random UUID.
    #[wasm_bindgen(method)]
    fn uuid(this: &Host) -> String;
    /// Calls `woke(reason)` after some milliseconds.
    #[wasm_bindgen(method)]
    fn wake(this: &Host, ms: u32, reason: u32);
    /// Posts a body; calls `answered(batch, …)` in the end.
    #[wasm_bindgen(method)]
    fn post(this: &Host, batch: u32, body: &str);
    /// Posts a body while the page goes away. There is no answer.
    #[wasm_bindgen(method)]
    fn beacon(this: &Host, body: &str);
    /// How far down the page one has seen, in percent.
    #[wasm_bindgen(method)]
    fn depth(this: &Host) -> u32;
}

struct Tracker {
    host: Host,
    window: Window,
    document: Document,
    queue: Queue,
    visitor: String,
    /// The id of this page load.
    page: String,
    /// When it began, in milliseconds since 1970.
    began: u64,
    /// What was claimed before a human was noticed: repeated when one is.
    claims: Vec<Claim>,
    /// How a human was noticed; empty if none was.
    human: &'static str,
    /// Whether the server has been told of the human.
    announced: bool,
    /// Counts the periods of being visible, so that a wake-up for one that ended is known as such.
    visible_period: u32,
    /// Whether a wake-up that sends is on its way.
    sending_soon: bool,
}

/// The one tracker of the page; none before `start`, or if the browser refused.
struct Shared(RefCell<Option<Tracker>>);
// SAFETY: WebAssembly without threads: `build.mjs` does not enable them.
unsafe impl Sync for Shared {}
static TRACKER: Shared = Shared(RefCell::new(None));

fn with(act: impl FnOnce(&mut Tracker)) {
    if let Some(tracker) = &mut *TRACKER.0.borrow_mut() {
        act(tracker);
    }
}

/// Begins: cleans the address bar, and unless the browser refuses, records the page view and listens.
#[wasm_bindgen]
pub fn start(host: Host) {
    let Some((window, document)) = web_sys::window().and_then(|window| Some((window.clone(), window.document()?))) else {
        return;
    };
    let href = window.location().href().unwrap_or_default();
    let landing = url::read(&href);
    if landing.address != href
        && let Ok(history) = window.history()
    {
        let state = history.state().unwrap_or(JsValue::NULL);
        // A sandboxed page may refuse; what we send is clean all the same.
        let _ = history.replace_state_with_url(&state, "", Some(&landing.address));
    }
    if host.refused() {
        return;
    }
    let visitor = visitor::recall(&window).unwrap_or_else(|| {
        let visitor = host.uuid();
        visitor::remember(&window, &visitor);
        visitor
    });
    let mut tracker = Tracker {
        queue: Queue::new(&host.site()),
        visitor,
        page: host.uuid(),
        began: now(),
        claims: landing.claim.into_iter().collect(),
        human: "",
        announced: false,
        visible_period: SEND,
        sending_soon: false,
        host,
        window,
        document,
    };
    tracker.record(&Event {
        kind: "page_view",
        url: &landing.sent,
        referrer: &url::sent(&tracker.document.referrer()),
        name: &tracker.document.title(),
        utm: &landing.utm,
        claims: &tracker.claims.clone(),
        ..Event::default()
    });
    tracker.send();
    tracker.listen();
    tracker.watch_visibility();
    *TRACKER.0.borrow_mut() = Some(tracker);
}

/// A call of the page: `wingbeat(name, argument)`.
#[wasm_bindgen]
pub fn command(name: &str, argument: &JsValue) {
    with(|tracker| match name {
        "event" => tracker.custom(argument),
        "identify" => tracker.identify(argument),
        _ => {}
    });
}

/// An event of the page that we listen to.
#[wasm_bindgen]
pub fn on(event: &web_sys::Event) {
    with(|tracker| {
        let kind = event.type_();
        match kind.as_str() {
            "submit" => tracker.submitted(event),
            "visibilitychange" => tracker.watch_visibility(),
            "pagehide" => tracker.leave(),
            _ if !event.is_trusted() => {}
            "pointerdown" if text(event, "pointerType").as_deref() == Some("touch") => tracker.input("touch"),
            input => {
                if let Some((_, human)) = INPUTS.iter().find(|(listened, _)| *listened == input) {
                    tracker.input(human);
                }
            }
        }
    });
}

/// A wake-up that was asked for.
#[wasm_bindgen]
pub fn woke(reason: u32) {
    with(|tracker| {
        if reason == SEND {
            tracker.sending_soon = false;
            tracker.send();
        } else if reason == tracker.visible_period {
            tracker.stayed_visible();
        }
    });
}

/// The server's answer to a batch: its status (0 for none), `Retry-After` in seconds (0 or NaN for none), the visitor
/// and the route that it names (empty for none).
#[wasm_bindgen]
pub fn answered(batch: u32, status: u16, retry_after: f64, visitor: String, route: &str) {
    with(|tracker| {
        if is_uuid(&visitor) && visitor != tracker.visitor {
            visitor::remember(&tracker.window, &visitor);
            tracker.visitor = visitor;
        }
        if let Some(ms) = tracker.queue.answered(batch, status, retry_after, route, Math::random()) {
            tracker.send_after(ms);
        }
    });
}

impl Tracker {
    /// Puts an event into the queue, with its id, its time and its page.
    fn record(&mut self, event: &Event<'_>) {
        let event = Event { id: &self.host.uuid(), at: now(), page: &self.page, ..*event };
        if let Some(json) = event.to_json() {
            self.queue.push(&self.visitor, json);
        }
    }

    /// Sends all that waits, now.
    fn send(&mut self) {
        while let Some(batch) = self.queue.next_batch() {
            self.host.post(batch.number, &batch.body);
        }
    }

    /// Sends after some milliseconds, or when we meant to anyway: a back-off is not cut short.
    fn send_after(&mut self, ms: u32) {
        if !self.sending_soon {
            self.sending_soon = true;
            self.host.wake(ms, SEND);
        }
    }

    /// The page goes away, perhaps for ever, perhaps to come back from the cache. What a beacon takes stays in the
    /// queue, because nobody answers; the server knows a repeat.
    fn leave(&mut self) {
        while let Some(batch) = self.queue.next_batch() {
            self.host.beacon(&batch.body);
        }
    }

    fn listen(&self) {
        let listener = self.host.listener();
        let options = web_sys::AddEventListenerOptions::new();
        options.set_capture(true);
        options.set_passive(true);
        // Capturing at the window: we hear of it before anything in the page can stop it.
        for kind in ["submit", "visibilitychange", "pagehide"].into_iter().chain(INPUTS.map(|(kind, _)| kind)) {
            let _ = self.window.add_event_listener_with_callback_and_add_event_listener_options(kind, &listener, &options);
        }
    }

    /// Trusted input. The first tells the server of a human and repeats what was claimed; then nobody listens to input.
    fn input(&mut self, human: &'static str) {
        if !self.announced {
            self.human = human;
            self.announce();
        }
    }

    /// The page was visible for [`VISIBLE_MS`] on end. Worth an event only if a claim waits for it.
    fn stayed_visible(&mut self) {
        if self.human.is_empty() {
            self.human = "visible";
            if !self.claims.is_empty() {
                self.announce();
            }
        }
    }

    fn announce(&mut self) {
        self.announced = true;
        let listener = self.host.listener();
        for (kind, _) in INPUTS {
            let _ = self.window.remove_event_listener_with_callback_and_bool(kind, &listener, true);
        }
        let seconds = (now().saturating_sub(self.began) + 500) / 1_000;
        let properties =
            Object::new().number("seconds", seconds).number("scroll", u64::from(self.host.depth())).finish();
        let claims = core::mem::take(&mut self.claims);
        self.record(&Event {
            kind: "engagement",
            human: self.human,
            properties: &properties,
            claims: &claims,
            ..Event::default()
        });
        self.send_after(GATHER_MS);
    }

    /// Starts to wait for [`VISIBLE_MS`] if the page is visible, else sends: a hidden page may never be heard of again.
    fn watch_visibility(&mut self) {
        self.visible_period += 1;
        if self.document.visibility_state() != VisibilityState::Visible {
            self.send();
        } else if !self.host.automated() {
            self.host.wake(VISIBLE_MS, self.visible_period);
        }
    }

    /// Records an event that makes claims; before a human was noticed they are kept, to be repeated then.
    fn record_claims(&mut self, event: &Event<'_>) {
        self.record(&Event { human: self.human, ..*event });
        if self.human.is_empty() {
            self.claims.extend_from_slice(event.claims);
        }
    }

    fn submitted(&mut self, event: &web_sys::Event) {
        let Some(form) = event.target().and_then(|target| target.dyn_into::<HtmlFormElement>().ok()) else { return };
        if form::is_ignored(&form) {
            return;
        }
        if event.is_trusted() {
            self.input("pointer");
        }
        let mut name = form::name(&form);
        if name.is_empty() {
            name = self.window.location().pathname().unwrap_or_default();
        }
        let (claims, properties) = form::answers(&self.document, &form).finish();
        self.record_claims(&Event {
            kind: "form_submit",
            url: &self.here(),
            name: &name,
            properties: &properties,
            claims: &claims,
            ..Event::default()
        });
        // The page is about to leave.
        self.send();
    }

    fn custom(&mut self, argument: &JsValue) {
        let Some(name) = text(argument, "name") else { return };
        let properties = Reflect::get(argument, &"properties".into()).ok().filter(JsValue::is_object);
        let properties = properties.and_then(|object| json(&object)).unwrap_or_default();
        self.record(&Event {
            kind: "custom",
            url: &self.here(),
            name: &name,
            properties: &properties,
            ..Event::default()
        });
        self.send_after(GATHER_MS);
    }

    fn identify(&mut self, argument: &JsValue) {
        let claims: Vec<Claim> = TYPES
            .into_iter()
            .filter_map(|key_type| Claim::new(key_type, &text(argument, key_type)?, "identify"))
            .collect();
        let Some(Claim { key_type, .. }) = claims.first() else { return };
        self.record_claims(&Event {
            kind: "identify",
            url: &self.here(),
            name: key_type,
            claims: &claims,
            ..Event::default()
        });
        self.send_after(GATHER_MS);
    }

    /// The address now, as it is sent.
    fn here(&self) -> String {
        url::sent(&self.window.location().href().unwrap_or_default())
    }
}

/// A member of an object as text, if it is text or a number.
fn text(object: &JsValue, name: &str) -> Option<String> {
    let value = Reflect::get(object, &name.into()).ok()?;
    value.as_string().or_else(|| value.as_f64().and_then(|_| json(&value)))
}

fn json(value: &JsValue) -> Option<String> {
    JSON::stringify(value).ok()?.as_string()
}

fn now() -> u64 {
    Date::now() as u64
}
