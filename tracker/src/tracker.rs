//! The tracker of one page load: what it knows, and what it does when the page, a person, a timer or the server acts.
//! It touches the page only through [`Host`], so that it is tested without one.

use crate::event::Event;
use crate::field::Answers;
use crate::identity::{self, TYPES, Words};
use crate::json::Object;
use crate::queue::{Batch, Queue};
use crate::url::{self, Landing};
use alloc::{borrow::ToOwned, string::String};

/// How long events wait for company before they are sent, in milliseconds.
const GATHER_MS: u32 = 50;

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
    /// A random number below 256.
    fn random(&self) -> u32;
    /// Puts a URL into the address bar, changing nothing else of the history's entry.
    fn show_address(&self, url: &str);
    /// Asks the site's storage to remember the visitor; it may refuse.
    fn remember(&self, visitor: &str);
    /// Asks the site's storage to keep an event, for [`Tracker::restore`] on another page; it may refuse.
    fn keep(&self, kept: &str);
    /// Deletes an event from it.
    fn drop(&self, kept: &str);
    /// Has [`Tracker::woke`] called after some milliseconds, and not at an earlier asked-for time.
    fn wake(&self, ms: u32);
    /// Posts a body; [`Tracker::answered`] is called in the end.
    fn post(&self, batch: u32, body: &str);
    /// Posts a body while the page goes away. There is no answer; [`Tracker::answered`] says so if the page comes back.
    fn beacon(&self, batch: u32, body: &str);
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
    /// When it began, in milliseconds since 1970.
    began: u64,
    /// The address of the last page view, as it is sent; before the first, where one came from.
    url: String,
    /// A page view that waits for its title: single-page sites set it after the address.
    view: Option<Landing>,
    /// What was claimed before a human was noticed: repeated when one is.
    claims: String,
    /// What the call of `identify`, or the form, that is being read says.
    answers: Answers,
    /// The name and content of the last form.
    form: String,
    /// How a human was noticed; empty if none was.
    human: String,
    /// Whether the server was told of the human.
    announced: bool,
    /// Whether a wake-up is on its way.
    waking: bool,
    /// Whether nothing may be sent before it.
    backing_off: bool,
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
            began: 0,
            url: String::new(),
            view: None,
            claims: String::new(),
            answers: Answers::new(),
            form: String::new(),
            human: String::new(),
            announced: false,
            waking: false,
            backing_off: false,
        }
    }

    /// Cleans the address bar. Everything else waits for [`Tracker::consent`].
    pub fn start(&mut self, site: &str, href: &str, referrer: &str) {
        self.queue.set_site(site);
        self.url = self.read(referrer).sent;
        self.began = self.host.now();
        self.navigated(href);
    }

    /// Another address, which the tracker cleans and is a page view; of what stands on the page as long as the title
    /// is not there yet, the address counts.
    pub fn navigated(&mut self, href: &str) {
        self.view();
        let landing = self.read(href);
        if landing.address != href {
            self.host.show_address(&landing.address);
        }
        self.view = Some(landing);
        self.send_soon();
    }

    /// What may be done with events: [`DENIED`], which also forgets what there is, [`PENDING`] or [`GRANTED`].
    /// `visitor` is what storage remembers, empty if nothing.
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
            if visitor.is_empty() {
                self.adopt(&self.host.uuid());
            } else {
                self.visitor.push_str(visitor);
            }
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

    /// A human signal, and how far down the page one has seen, in percent. The first trusted input is told to the
    /// server with what was claimed until then. Being visible is, only if a claim waits for it: it is not worth an
    /// event of its own.
    pub fn signal(&mut self, human: &str, depth: u32) {
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
        let mut properties = Object::new();
        properties.number("seconds", (self.host.now().saturating_sub(self.began) + 500) / 1_000);
        properties.number("scroll", u64::from(depth));
        let claims = core::mem::take(&mut self.claims);
        self.record("engagement", "", &properties.finish(), &claims);
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
        if let Some(key_type) = Words(TYPES).find(|known| *known == key_type) {
            self.answers.claim(key_type, value, "identify");
        }
    }

    /// The end of a call of `identify`.
    pub fn identify(&mut self) {
        let first = self.answers.first();
        let (claims, _) = self.answers.take();
        if !claims.is_empty() {
            self.record("identify", first, "", &claims);
            self.send_soon();
        }
    }

    /// One field of a form that is being submitted, what it is taken for, and its value, trimmed.
    pub fn field(&mut self, meaning: u8, value: &str) {
        self.answers.field(meaning, value);
    }

    /// The end of a form that is being submitted, by a person or by the page's code (`scripted`), which often does so
    /// after it has checked what the person submitted: the same again is no submission of its own. Sent at once: the
    /// page is about to leave.
    pub fn submit(&mut self, name: &str, scripted: bool) {
        let (claims, properties) = self.answers.take();
        let mut form = name.to_owned();
        form.push_str(&claims);
        form.push_str(&properties);
        if scripted && form == self.form {
            return;
        }
        self.form = form;
        self.record("form_submit", name, &properties, &claims);
        self.send();
    }

    /// The wake-up that was asked for.
    pub fn woke(&mut self) {
        self.waking = false;
        self.backing_off = false;
        self.view();
        self.send();
    }

    /// Sends all that waits, now, unless the server asked for patience.
    pub fn send(&mut self) {
        while let Some(batch) = self.next_batch() {
            self.host.post(batch.number, &batch.body);
        }
    }

    /// The page goes away, perhaps for ever. What a beacon takes stays in the queue, because nobody answers, and is
    /// sent again by the next page, or by this should it come back from the cache; the server knows a repeat.
    pub fn leave(&mut self) {
        self.view();
        while let Some(batch) = self.next_batch() {
            self.host.beacon(batch.number, &batch.body);
        }
    }

    /// The server's answer to a batch: its status (0 for none), `Retry-After` in seconds (0 for none), the visitor and
    /// the route that it names (empty for none).
    pub fn answered(&mut self, batch: u32, status: u32, retry_after: u32, visitor: &str, route: &str) {
        if self.consent != GRANTED {
            return;
        }
        if !visitor.is_empty() && visitor != self.visitor {
            self.adopt(visitor);
        }
        let host = &self.host;
        let wait = self.queue.answered(batch, status, retry_after, route, host.random(), |kept| host.drop(kept));
        if let Some(ms) = wait {
            // In place of a sooner one: a back-off is not cut short.
            self.waking = true;
            self.backing_off = ms > 0;
            self.host.wake(ms);
        }
    }

    fn read(&self, url: &str) -> Landing {
        url::read(url, |text| self.host.decode(text))
    }

    fn adopt(&mut self, visitor: &str) {
        self.host.remember(visitor);
        self.visitor.clear();
        self.visitor.push_str(visitor);
    }

    fn next_batch(&mut self) -> Option<Batch> {
        if self.consent == GRANTED && !self.backing_off { self.queue.next_batch() } else { None }
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
            self.close(event, &landing.claim);
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
        let json = event.finish(claims);
        if !json.is_empty() {
            let host = &self.host;
            let kept = self.queue.push(&self.visitor, &json, |kept| host.drop(kept));
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
mod tests {
    use super::*;
    use alloc::{format, vec::Vec};
    use core::cell::{Cell, RefCell};

    /// A page that writes down what it is told; ids are `id1`, `id2`, …, the clock stands until it is moved.
    #[derive(Default)]
    struct Page {
        ids: Cell<u32>,
        now: Cell<u64>,
        title: RefCell<String>,
        told: RefCell<Vec<String>>,
        kept: RefCell<Vec<String>>,
    }

    impl Host for Page {
        fn uuid(&self) -> String {
            self.ids.set(self.ids.get() + 1);
            format!("id{}", self.ids.get())
        }

        fn decode(&self, text: &str) -> String {
            url::tests::decode(text)
        }

        fn title(&self) -> String {
            self.title.borrow().clone()
        }

        fn now(&self) -> u64 {
            self.now.get()
        }

        fn random(&self) -> u32 {
            0
        }

        fn show_address(&self, url: &str) {
            self.told.borrow_mut().push(format!("address {url}"));
        }

        fn remember(&self, visitor: &str) {
            self.told.borrow_mut().push(format!("remember {visitor}"));
        }

        fn keep(&self, kept: &str) {
            self.kept.borrow_mut().push(kept.to_owned());
        }

        fn drop(&self, kept: &str) {
            self.kept.borrow_mut().retain(|other| other != kept);
        }

        fn wake(&self, ms: u32) {
            self.told.borrow_mut().push(format!("wake {ms}"));
        }

        fn post(&self, batch: u32, body: &str) {
            self.told.borrow_mut().push(format!("post {batch} {body}"));
        }

        fn beacon(&self, batch: u32, body: &str) {
            self.told.borrow_mut().push(format!("beacon {batch} {body}"));
        }
    }

    const BRAZE_ID: &str = r#"{"type":"braze_id","value":"5fbd99bac125ca40511f2cb1","from":"url"}"#;

    /// What the page was told since it was last asked.
    fn told(tracker: &Tracker<Page>) -> Vec<String> {
        tracker.host.told.take()
    }

    /// A tracker whose page view was sent and acknowledged.
    fn started(href: &str) -> Tracker<Page> {
        let mut tracker = Tracker::new(Page::default());
        tracker.start("s", href, "");
        tracker.consent(GRANTED, "v1");
        tracker.answered(1, 200, 0, "", "");
        tracker.woke();
        told(&tracker);
        tracker
    }

    #[test]
    fn the_page_view_goes_at_once() {
        let mut tracker = Tracker::new(Page::default());
        tracker.host.now.set(1_767_225_600_123);
        tracker.start(
            "s",
            "https://x.example/p?braze_id=5fbd99bac125ca40511f2cb1&utm_source=mail",
            "https://y.example/?br_user_id=7",
        );
        tracker.host.title.borrow_mut().push_str("Pricing");
        tracker.consent(GRANTED, "");
        assert_eq!(
            told(&tracker),
            [
                "address https://x.example/p?utm_source=mail".to_owned(),
                "wake 50".to_owned(),
                "remember id2".to_owned(),
                format!(
                    "post 1 {}{BRAZE_ID}]}}]}}",
                    concat!(
                        r#"{"v":1,"site":"s","visitor":"id2","events":[{"id":"id3","at":1767225600123,"kind":"page_view","#,
                        r#""page":"id1","url":"https://x.example/p?utm_source=mail","name":"Pricing","#,
                        r#""referrer":"https://y.example/","utm":{"source":"mail"},"identity":["#
                    )
                ),
            ]
        );
    }

    #[test]
    fn denied_means_that_only_the_address_is_cleaned() {
        let mut tracker = Tracker::new(Page::default());
        tracker.start("s", "https://x.example/?br_user_id=7", "");
        tracker.consent(DENIED, "");
        tracker.signal("key", 0);
        tracker.event("n", "");
        tracker.submit("f", false);
        tracker.woke();
        tracker.leave();
        assert_eq!(told(&tracker), ["address https://x.example/", "wake 50"]);
        assert_eq!(tracker.host.ids.get(), 0);
        // Once granted it begins, with the page that one is on.
        tracker.consent(GRANTED, "");
        let posts = told(&tracker);
        assert!(posts[1].contains("page_view") && posts[1].contains("external_id"), "{posts:?}");
        assert!(!posts[1].contains("custom"), "{posts:?}");
    }

    #[test]
    fn pending_events_wait_in_memory() {
        let mut tracker = Tracker::new(Page::default());
        tracker.start("s", "https://x.example/", "");
        tracker.consent(PENDING, "");
        tracker.event("n", "");
        tracker.woke();
        tracker.leave();
        assert_eq!(told(&tracker), ["wake 50"]);
        assert_eq!(tracker.host.kept.borrow().len(), 0);
        tracker.consent(GRANTED, "v1");
        let posts = told(&tracker);
        assert!(posts[0].contains(r#""visitor":"v1""#) && posts[0].contains("page_view"), "{posts:?}");
        assert!(posts[0].contains("custom"), "{posts:?}");
        assert_eq!(tracker.host.kept.borrow().len(), 2);

        let mut tracker = Tracker::new(Page::default());
        tracker.start("s", "https://x.example/", "");
        tracker.consent(PENDING, "");
        tracker.event("n", "");
        tracker.consent(DENIED, "");
        tracker.consent(GRANTED, "");
        tracker.event("later", "");
        tracker.woke();
        let posts = told(&tracker).join("");
        assert!(posts.contains("later") && !posts.contains(r#""n""#), "{posts}");
    }

    #[test]
    fn another_address_is_a_page_view() {
        let mut tracker = started("https://x.example/");
        tracker.navigated("https://x.example/a?br_user_id=7");
        tracker.host.title.borrow_mut().push('A');
        assert_eq!(told(&tracker), ["address https://x.example/a", "wake 50"]);
        tracker.navigated("https://x.example/b");
        tracker.host.title.replace("B".to_owned());
        tracker.event("n", "");
        tracker.woke();
        let posts = told(&tracker);
        let views: Vec<&str> = posts[0].split(r#""kind":"#).collect();
        assert_eq!(views.len(), 4, "{posts:?}");
        assert!(views[1].contains(r#""url":"https://x.example/a","name":"A","referrer":"https://x.example/","identity":[{"type":"external_id""#));
        assert!(views[2].contains(r#""url":"https://x.example/b","name":"B","referrer":"https://x.example/a"}"#));
        assert!(views[3].starts_with(r#""custom""#) && views[3].contains(r#""url":"https://x.example/b""#));
    }

    #[test]
    fn kept_until_acknowledged() {
        let mut tracker = started("https://x.example/");
        assert_eq!(tracker.host.kept.borrow().len(), 0);
        tracker.event("n", "");
        tracker.restore(r#"v0{"id":"e0"}"#);
        assert_eq!(tracker.host.kept.borrow().len(), 1);
        tracker.woke();
        told(&tracker);
        tracker.answered(2, 503, 0, "", "");
        assert_eq!(tracker.host.kept.borrow().len(), 1);
        tracker.woke();
        tracker.answered(4, 200, 0, "", "");
        assert_eq!(tracker.host.kept.borrow().len(), 0);
    }

    #[test]
    fn the_first_trusted_input_repeats_the_claims() {
        let mut tracker = started("https://x.example/?braze_id=5fbd99bac125ca40511f2cb1");
        tracker.host.now.set(2_499);
        tracker.signal("key", 10);
        tracker.signal("pointer", 20);
        tracker.signal("visible", 20);
        assert_eq!(told(&tracker), ["wake 50"]);
        tracker.woke();
        let told = told(&tracker);
        assert_eq!(told.len(), 1);
        assert!(
            told[0]
                .contains(r#""kind":"engagement","page":"id1","human":"key","url":"https://x.example/","properties":{"seconds":2,"scroll":10}"#)
        );
        assert!(told[0].ends_with(&format!(r#""identity":[{BRAZE_ID}]}}]}}"#)));
        assert_eq!(told[0].matches("engagement").count(), 1);
    }

    #[test]
    fn visible_is_told_only_if_a_claim_waits() {
        let mut tracker = started("https://x.example/?braze_id=5fbd99bac125ca40511f2cb1");
        tracker.signal("visible", 0);
        tracker.signal("key", 0);
        tracker.send();
        let posts = told(&tracker);
        assert!(posts[1].contains(r#""human":"visible""#) && posts[1].contains(BRAZE_ID), "{posts:?}");
        assert!(!posts[1].contains("\"key\""), "{posts:?}");

        let mut tracker = started("https://x.example/");
        tracker.signal("visible", 0);
        assert_eq!(told(&tracker), [""; 0]);
        tracker.claim("email", "ada@example.com");
        tracker.identify();
        tracker.signal("key", 0);
        tracker.send();
        let posts = told(&tracker);
        assert!(posts[1].contains(r#""kind":"identify","page":"id1","human":"visible""#), "{posts:?}");
        assert!(posts[1].contains(r#""kind":"engagement","page":"id1","human":"key""#), "{posts:?}");
        assert_eq!(posts[1].matches("identity").count(), 1);
    }

    #[test]
    fn identify_takes_person_keys_only() {
        let mut tracker = started("https://x.example/");
        tracker.claim("visitor", "7b0c2c4e-1111-4222-8333-444455556666");
        tracker.claim("name", "Ada");
        tracker.claim("email", "no address");
        tracker.identify();
        assert_eq!(told(&tracker), [""; 0]);
        tracker.claim("crm_id", "003");
        tracker.claim("email", "Ada@example.com");
        tracker.identify();
        tracker.woke();
        let posts = told(&tracker);
        assert!(
            posts[1].contains(concat!(
                r#""kind":"identify","page":"id1","url":"https://x.example/","name":"crm_id","identity":["#,
                r#"{"type":"crm_id","value":"003","from":"identify"},{"type":"email","value":"ada@example.com","from":"identify"}]"#
            )),
            "{posts:?}"
        );
        // Made before a human was noticed, so repeated then.
        tracker.signal("pointer", 0);
        tracker.send();
        assert!(told(&tracker)[1].contains(r#"[{"type":"crm_id","value":"003""#));
    }

    #[test]
    fn a_form_goes_at_once_with_what_it_says() {
        let mut tracker = started("https://x.example/?br_user_id=7#a");
        tracker.signal("pointer", 0);
        tracker.field(crate::field::EMAIL_BY_NAME, "Ada@example.com");
        tracker.field(crate::field::PROPERTY, "Ada");
        tracker.submit("Request a Demo", false);
        let posts = told(&tracker);
        assert!(
            posts[1].contains(concat!(
                r#""kind":"form_submit","page":"id1","human":"pointer","url":"https://x.example/#a","name":"Request a Demo","#,
                r#""properties":{"first_name":"Ada"},"identity":[{"type":"email","value":"ada@example.com","from":"form"}]"#
            )),
            "{posts:?}"
        );
        // What one form said, the next does not.
        tracker.submit("Search", false);
        assert!(told(&tracker)[0].ends_with(r#""name":"Search"}]}"#));
    }

    #[test]
    fn what_code_submits_again_was_submitted_once() {
        let mut tracker = started("https://x.example/");
        let mut submit = |email: &str, scripted| {
            tracker.field(crate::field::EMAIL_BY_TYPE, email);
            tracker.submit("f", scripted);
            told(&tracker).len()
        };
        assert_eq!(submit("ada@example.com", false), 1);
        assert_eq!(submit("ada@example.com", true), 0);
        assert_eq!(submit("bob@example.com", true), 1);
        assert_eq!(submit("bob@example.com", false), 1);
    }

    #[test]
    fn properties_are_an_object_or_nothing() {
        let mut tracker = started("https://x.example/");
        for properties in ["", "\"text\"", "[1]", "7"] {
            tracker.event("n", properties);
        }
        tracker.event("n", r#"{"a":1}"#);
        tracker.woke();
        let posts = told(&tracker);
        assert_eq!(posts[1].matches("properties").count(), 1);
        assert!(posts[1].contains(r#""properties":{"a":1}"#));
        assert_eq!(posts[1].matches(r#""kind":"custom""#).count(), 5);
    }

    #[test]
    fn a_back_off_is_not_cut_short() {
        let mut tracker = started("https://x.example/");
        tracker.event("first", "");
        tracker.send();
        told(&tracker);
        tracker.answered(2, 503, 0, "", "");
        tracker.event("second", "");
        tracker.submit("third", false);
        tracker.leave();
        assert_eq!(told(&tracker), ["wake 500"]);
        tracker.woke();
        let posts = told(&tracker);
        assert!(posts[0].contains("first") && posts[0].contains("second"), "{posts:?}");
        tracker.answered(3, 200, 0, "", "");
        assert_eq!(told(&tracker), [""; 0]);
    }

    #[test]
    fn another_visitor_is_of_later_events() {
        let mut tracker = started("https://x.example/");
        tracker.event("first", "");
        tracker.send();
        told(&tracker);
        tracker.answered(2, 503, 0, "v2", "");
        tracker.event("second", "");
        assert_eq!(told(&tracker), ["remember v2", "wake 500"]);
        tracker.woke();
        let posts = told(&tracker);
        assert!(posts[0].contains(r#""visitor":"v1""#) && posts[0].contains("first"), "{posts:?}");
        assert!(posts[1].contains(r#""visitor":"v2""#) && posts[1].contains("second"), "{posts:?}");
    }

    #[test]
    fn what_a_beacon_takes_stays() {
        let mut tracker = started("https://x.example/");
        tracker.event("last", "");
        tracker.leave();
        let beacons = told(&tracker);
        assert!(beacons[1].starts_with("beacon 2 ") && beacons[1].contains("last"), "{beacons:?}");
        tracker.leave();
        assert_eq!(told(&tracker), [""; 0]);
        tracker.answered(2, 0, 0, "", "");
        tracker.woke();
        let posts = told(&tracker);
        assert!(posts[1].starts_with("post 3 ") && posts[1].contains("last"), "{posts:?}");
    }
}
