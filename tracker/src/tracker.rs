//! The tracker of one page load: what it knows, and what it does when the page, a person, a timer or the server acts.
//! It touches the page only through [`Host`], so that it is tested without one.

use crate::event::Event;
use crate::field::Answers;
use crate::identity::{self, TYPES};
use crate::json::Object;
use crate::queue::Queue;
use crate::url::{self, Landing};
use alloc::string::String;

/// How long events wait for company before they are sent, in milliseconds.
const GATHER_MS: u32 = 50;

/// How long a page is read after the last sign of it, in milliseconds.
const READING_MS: u64 = 30_000;
/// The shortest time of reading that is worth an event on the way out, in milliseconds.
const ENGAGED_MS_MIN: u64 = 1_000;

/// The human signal of a page that was visible for 2 s on end in a browser not under automation. The others are
/// trusted input: `pointer`, `key`, `touch`, `scroll`.
const VISIBLE: &str = "visible";

/// What a person, or the site for them, said: nothing may be kept or sent.
pub const DENIED: u8 = 0;
/// Nothing yet: events wait in memory only.
pub const PENDING: u8 = 1;
/// Events may be kept and sent.
pub const GRANTED: u8 = 2;

/// What the tracker needs of the page.
pub trait Host {
    /// A random UUID.
    fn uuid(&self) -> String;
    /// A part of a URL without its escapes; what cannot be decoded stays as it is.
    fn decode(&self, text: &str) -> String;
    /// The document's title.
    fn title(&self) -> String;
    /// Milliseconds since 1970.
    fn now(&self) -> u64;
    /// Puts a URL into the address bar, changing nothing else of the history's entry.
    fn show_address(&self, url: &str);
    /// Asks the site's storage to keep an event, for [`Tracker::restore`] on another page; it may refuse.
    fn keep(&self, kept: &str);
    /// Deletes an event from it; `lost` if nobody has it now.
    fn drop(&self, lost: bool, kept: &str);
    /// Has [`Tracker::woke`] called after some milliseconds, and not at an earlier asked-for time.
    fn wake(&self, ms: u32);
    /// Posts a [`Batch`](crate::queue::Batch), which outlives the page; [`Tracker::answered`] is called in the end.
    fn post(&self, batch: u32, body: &str);
}

/// The tracker of one page load.
#[derive(Debug)]
pub struct Tracker<H> {
    host: H,
    queue: Queue,
    /// One of [`DENIED`], [`PENDING`], [`GRANTED`].
    consent: u8,
    /// Empty until consent is granted.
    visitor: String,
    /// The id of this page load.
    page: String,
    /// The last sign of activity, in milliseconds since 1970; [`u64::MAX`] while the page is hidden.
    active_at: u64,
    /// How long the page has been read, since that was last told, in milliseconds.
    engaged: u64,
    /// How far down it was seen, in percent.
    depth: u32,
    /// The address of the last page view, as it is sent; before the first, where one came from.
    url: String,
    /// A page view that waits for its title: single-page sites set it after the address.
    view: Option<Landing>,
    /// What was claimed before a human was noticed: repeated when one is.
    claims: String,
    /// What the call of `identify`, or the form, that is being read says.
    answers: Answers,
    /// How a human was noticed; empty if none was.
    human: String,
    /// Whether the server was told of the human.
    announced: bool,
    /// Whether a wake-up is on its way.
    waking: bool,
    /// If nothing may be sent before it, how long that was put off, in milliseconds; else 0.
    backing_off: u32,
}

impl<H: Host> Tracker<H> {
    /// A tracker that has not started.
    pub const fn new(host: H) -> Tracker<H> {
        Tracker {
            host,
            queue: Queue::new(),
            consent: DENIED,
            visitor: String::new(),
            page: String::new(),
            active_at: 0,
            engaged: 0,
            depth: 0,
            url: String::new(),
            view: None,
            claims: String::new(),
            answers: Answers::new(),
            human: String::new(),
            announced: false,
            waking: false,
            backing_off: 0,
        }
    }

    /// Cleans the address bar. Everything else waits for [`Tracker::consent`]. `view` is the page view, if it was made
    /// already, under the visitor that storage remembers, and `page` the page load's id in it; both empty if not. It is
    /// the first batch, if it may still be sent.
    pub fn start(&mut self, href: &str, referrer: &str, page: &str, view: &str) {
        self.url = self.read(referrer).sent;
        self.active_at = self.host.now();
        self.navigated(href);
        if !view.is_empty()
            && let Some(landing) = self.view.take()
        {
            self.url = landing.sent;
            self.page.push_str(page);
            self.queue.restore(view);
        }
    }

    /// The page has another address, or is back from the cache: it is cleaned, and is a page view as soon as the title
    /// has had time to follow it.
    pub fn navigated(&mut self, href: &str) {
        self.view();
        self.engagement(ENGAGED_MS_MIN, "");
        self.depth = 0;
        let landing = self.read(href);
        if landing.address != href {
            self.host.show_address(&landing.address);
        }
        self.view = Some(landing);
        self.send_soon();
    }

    /// What may be done with events: [`DENIED`], which also forgets what there is, [`PENDING`] or [`GRANTED`].
    /// `visitor` is the one that events are made under, empty unless it is granted.
    pub fn consent(&mut self, consent: u8, visitor: &str) {
        self.consent = consent;
        if consent == DENIED {
            self.queue.clear();
            self.claims.clear();
            self.visitor.clear();
            self.page.clear();
            return;
        }
        if self.page.is_empty() {
            self.page = self.host.uuid();
        }
        if consent == GRANTED && self.visitor.is_empty() {
            self.visitor.push_str(visitor);
            self.queue.name(&self.visitor, |kept| self.host.keep(kept));
        }
        self.view();
        self.send();
    }

    /// An event that storage kept.
    pub fn restore(&mut self, kept: &str) {
        self.queue.restore(kept);
        self.send_soon();
    }

    /// A sign that the page is read, and how far down it is seen, in percent.
    pub fn active(&mut self, depth: u32) {
        let now = self.host.now();
        self.engaged += now.saturating_sub(self.active_at).min(READING_MS);
        self.active_at = now;
        self.depth = self.depth.max(depth);
    }

    /// A human signal, and how far down the page is seen, in percent. The first trusted input is told to the server with
    /// what was claimed until then. Being visible is, only if a claim waits for it: it is not worth an event of its own.
    pub fn signal(&mut self, human: &str, depth: u32) {
        self.active(depth);
        self.view();
        let visible = human == VISIBLE;
        if self.announced || visible && !self.human.is_empty() {
            return;
        }
        self.human.clear();
        self.human.push_str(human);
        if self.consent == DENIED || visible && self.claims.is_empty() {
            return;
        }
        self.announced = true;
        let claims = core::mem::take(&mut self.claims);
        self.engagement(0, &claims);
        self.send_soon();
    }

    /// A click on a link to another host, or (`download`) to a file.
    pub fn click(&mut self, download: bool, href: &str) {
        let kind = if download { "download" } else { "click_outbound" };
        self.record(kind, &self.read(href).sent, "", "");
        self.send_soon();
    }

    /// An event of the site's own. `properties` is a JSON object, empty for none.
    pub fn event(&mut self, name: &str, properties: &str) {
        let properties = if properties.starts_with('{') { properties } else { "" };
        self.record("custom", name, properties, "");
        self.send_soon();
    }

    /// One member of what the site passes to `identify`.
    pub fn claim(&mut self, key_type: &str, value: &str) {
        if identity::among(key_type, TYPES) {
            self.answers.claim(key_type, value, "identify");
        }
    }

    /// The end of a call of `identify`.
    pub fn identify(&mut self) {
        let (claims, _) = self.answers.take();
        if !claims.is_empty() {
            self.record("identify", "", "", &claims);
            self.send_soon();
        }
    }

    /// One field of a form that is being submitted, what it is taken for, and its value, trimmed.
    pub fn field(&mut self, meaning: u8, value: &str) {
        self.answers.field(meaning, value);
    }

    /// The end of a form that is being submitted. Sent at once: the page is about to leave.
    pub fn submit(&mut self, name: &str) {
        let (claims, properties) = self.answers.take();
        self.record("form_submit", name, &properties, &claims);
        self.send();
    }

    /// The wake-up that was asked for.
    pub fn woke(&mut self) {
        self.waking = false;
        self.backing_off = 0;
        self.view();
        self.send();
    }

    /// Sends all that waits, now, unless the server asked for patience.
    pub fn send(&mut self) {
        while self.consent == GRANTED
            && self.backing_off == 0
            && let Some(batch) = self.queue.next_batch()
        {
            self.host.post(batch.number, &batch.body);
        }
    }

    /// The page is hidden or goes away, perhaps for ever; how far down it is seen, in percent. What it does not hear the
    /// answer to is sent again by the next page; the server knows a repeat.
    pub fn leave(&mut self, depth: u32) {
        self.active(depth);
        self.active_at = u64::MAX;
        self.view();
        self.engagement(ENGAGED_MS_MIN, "");
        self.send();
    }

    /// The server's answer to a batch: its status (0 for none), `Retry-After` in seconds (0 for none), a random number
    /// below 256, the visitor that it names (empty for none).
    pub fn answered(&mut self, batch: u32, status: u32, retry_after: u32, random: u32, visitor: &str) {
        if self.consent != GRANTED {
            return;
        }
        if !visitor.is_empty() {
            self.visitor.clear();
            self.visitor.push_str(visitor);
        }
        let host = &self.host;
        let wait = self.queue.answered(batch, status, retry_after, random, |lost, kept| host.drop(lost, kept));
        if status == 403 {
            // The site or its origin is unknown: nothing more leaves this page.
            self.consent(DENIED, "");
        } else if let Some(ms) = wait
            // In place of a sooner one: a back-off is not cut short, by what another batch was answered neither.
            && ms >= self.backing_off
        {
            self.waking = true;
            self.backing_off = ms;
            self.host.wake(ms);
        }
    }

    fn read(&self, url: &str) -> Landing {
        url::read(url, |text| self.host.decode(text))
    }

    /// The page view that waits for its title.
    fn view(&mut self) {
        if self.consent != DENIED
            && let Some(landing) = self.view.take()
        {
            let referrer = core::mem::replace(&mut self.url, landing.sent);
            let mut event = self.open("page_view", &self.host.title());
            event.address("referrer", &referrer);
            event.object("utm", &landing.utm);
            event.object("properties", &landing.clicks);
            self.close(event, &landing.claim);
        }
    }

    /// Tells how long the page has been read, unless that was less than some milliseconds.
    fn engagement(&mut self, least: u64, claims: &str) {
        if self.engaged >= least {
            let mut properties = Object::new();
            properties.number("seconds", (self.engaged + 500) / 1_000);
            properties.number("scroll", u64::from(self.depth));
            self.engaged = 0;
            self.record("engagement", "", &properties.finish(), claims);
        }
    }

    fn record(&mut self, kind: &str, name: &str, properties: &str, claims: &str) {
        if self.consent != DENIED {
            self.view();
            let mut event = self.open(kind, name);
            event.object("properties", properties);
            self.close(event, claims);
        }
    }

    fn open(&self, kind: &str, name: &str) -> Event {
        let mut event = Event::new(kind, &self.host.uuid(), self.host.now(), &self.page, &self.human);
        event.address("url", &self.url);
        event.name(name);
        event
    }

    /// Puts an event into the queue. What it claims before a human was noticed is kept, to be repeated then.
    fn close(&mut self, event: Event, claims: &str) {
        let host = &self.host;
        let json = event.finish(claims);
        if json.is_empty() {
            host.drop(true, "");
        } else {
            let kept = self.queue.push(&self.visitor, &json, |kept| host.drop(true, kept));
            if self.consent == GRANTED {
                host.keep(kept);
            }
        }
        if self.human.is_empty() {
            identity::join(&mut self.claims, claims);
        }
    }

    /// Sends soon, or when we meant to anyway.
    fn send_soon(&mut self) {
        if !self.waking {
            self.waking = true;
            self.host.wake(GATHER_MS);
        }
    }
}

#[cfg(test)]
mod tests;
