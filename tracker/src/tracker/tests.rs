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
    lost: Cell<u32>,
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

    fn show_address(&self, url: &str) {
        self.told.borrow_mut().push(format!("address {url}"));
    }

    fn keep(&self, kept: &str) {
        self.kept.borrow_mut().push(kept.to_owned());
    }

    fn drop(&self, lost: bool, kept: &str) {
        self.lost.set(self.lost.get() + u32::from(lost));
        self.kept.borrow_mut().retain(|other| other != kept);
    }

    fn wake(&self, ms: u32) {
        self.told.borrow_mut().push(format!("wake {ms}"));
    }

    fn post(&self, batch: u32, body: &str) {
        self.told.borrow_mut().push(format!("post {batch} {body}"));
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
    tracker.start(href, "", "", "");
    tracker.consent(GRANTED, "v1");
    tracker.answered(1, 200, 0, 0, "");
    tracker.woke();
    told(&tracker);
    tracker
}

#[test]
fn the_page_view_goes_at_once() {
    let mut tracker = Tracker::new(Page::default());
    tracker.host.now.set(1_767_225_600_123);
    tracker.start(
        "https://x.example/p?braze_id=5fbd99bac125ca40511f2cb1&utm_source=mail",
        "https://y.example/?br_user_id=7",
        "",
        "",
    );
    tracker.host.title.borrow_mut().push_str("Pricing");
    tracker.consent(GRANTED, "v1");
    assert_eq!(
        told(&tracker),
        [
            "address https://x.example/p?utm_source=mail".to_owned(),
            "wake 50".to_owned(),
            format!(
                "post 1 {}{BRAZE_ID}]}}]}}",
                concat!(
                    r#"{"visitor":"v1","events":[{"id":"id2","at":1767225600123,"kind":"page_view","#,
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
    tracker.start("https://x.example/?br_user_id=7", "", "", "");
    tracker.consent(DENIED, "");
    tracker.signal("key", 0);
    tracker.event("n", "");
    tracker.submit("f");
    tracker.woke();
    tracker.leave(0);
    assert_eq!(told(&tracker), ["address https://x.example/", "wake 50"]);
    assert_eq!(tracker.host.ids.get(), 0);
    // Once granted it begins, with the page that one is on.
    tracker.consent(GRANTED, "v1");
    let posts = told(&tracker);
    assert!(posts[0].contains("page_view") && posts[0].contains("external_id"), "{posts:?}");
    assert!(!posts[0].contains("custom"), "{posts:?}");
}

#[test]
fn pending_events_wait_in_memory() {
    let mut tracker = Tracker::new(Page::default());
    tracker.start("https://x.example/", "", "", "");
    tracker.consent(PENDING, "");
    tracker.event("n", "");
    tracker.woke();
    tracker.leave(0);
    assert_eq!(told(&tracker), ["wake 50"]);
    assert_eq!(tracker.host.kept.borrow().len(), 0);
    tracker.consent(GRANTED, "v1");
    let posts = told(&tracker);
    assert!(posts[0].contains(r#""visitor":"v1""#) && posts[0].contains("page_view"), "{posts:?}");
    assert!(posts[0].contains("custom"), "{posts:?}");
    assert_eq!(tracker.host.kept.borrow().len(), 2);

    let mut tracker = Tracker::new(Page::default());
    tracker.start("https://x.example/", "", "", "");
    tracker.consent(PENDING, "");
    tracker.event("n", "");
    tracker.consent(DENIED, "");
    tracker.consent(GRANTED, "v1");
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
    assert!(views[1].contains(
        r#""url":"https://x.example/a","name":"A","referrer":"https://x.example/","identity":[{"type":"external_id""#
    ));
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
    tracker.answered(2, 503, 0, 0, "");
    assert_eq!(tracker.host.kept.borrow().len(), 1);
    tracker.woke();
    tracker.answered(4, 200, 0, 0, "");
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
fn the_way_out_tells_how_long_it_was_read() {
    let mut tracker = started("https://x.example/");
    let engagement = |tracker: &Tracker<Page>| {
        told(tracker)
            .join("")
            .split(r#""kind":"engagement""#)
            .skip(1)
            .map(|rest| rest.split_once("properties\":").unwrap().1.split_once('}').unwrap().0.to_owned())
            .collect::<Vec<_>>()
    };
    // Ten seconds, then ten minutes of which 30 s count.
    tracker.host.now.set(10_000);
    tracker.active(60);
    tracker.host.now.set(610_000);
    tracker.active(40);
    tracker.leave(20);
    assert_eq!(engagement(&tracker), [r#"{"seconds":40,"scroll":60"#]);
    // Not what it was hidden.
    tracker.host.now.set(700_000);
    tracker.leave(20);
    assert_eq!(engagement(&tracker), [""; 0]);
    tracker.host.now.set(701_000);
    tracker.active(20);
    tracker.host.now.set(703_400);
    tracker.active(20);
    tracker.navigated("https://x.example/b");
    tracker.leave(30);
    assert_eq!(engagement(&tracker), [r#"{"seconds":2,"scroll":60"#]);
    tracker.host.now.set(705_000);
    tracker.signal("key", 30);
    tracker.host.now.set(707_000);
    tracker.leave(30);
    assert_eq!(engagement(&tracker), [r#"{"seconds":0,"scroll":30"#, r#"{"seconds":2,"scroll":30"#]);
}

#[test]
fn clicks_tell_where_they_lead() {
    let mut tracker = started("https://x.example/");
    tracker.click(false, "https://y.example/a?br_user_id=7&b=1");
    tracker.click(true, "https://x.example/prices.pdf");
    tracker.woke();
    let posts = told(&tracker).join("");
    assert!(posts.contains(
        r#""kind":"click_outbound","page":"id1","url":"https://x.example/","name":"https://y.example/a?b=1"}"#
    ));
    assert!(posts.contains(
        r#""kind":"download","page":"id1","url":"https://x.example/","name":"https://x.example/prices.pdf"}"#
    ));
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
            r#""kind":"identify","page":"id1","url":"https://x.example/","identity":["#,
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
    tracker.submit("Request a Demo");
    let posts = told(&tracker);
    assert!(
        posts[1].contains(concat!(
            r#""kind":"form_submit","page":"id1","human":"pointer","url":"https://x.example/#a","name":"Request a Demo","#,
            r#""properties":{"first_name":"Ada"},"identity":[{"type":"email","value":"ada@example.com","from":"form"}]"#
        )),
        "{posts:?}"
    );
    // What one form said, the next does not.
    tracker.submit("Search");
    assert!(told(&tracker)[0].ends_with(r#""name":"Search"}]}"#));
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
    tracker.answered(2, 503, 0, 0, "");
    tracker.event("second", "");
    tracker.submit("third");
    tracker.leave(0);
    assert_eq!(told(&tracker), ["wake 500"]);
    tracker.woke();
    let posts = told(&tracker);
    assert!(posts[0].contains("first") && posts[0].contains("second"), "{posts:?}");
    tracker.answered(3, 200, 0, 0, "");
    assert_eq!(told(&tracker), [""; 0]);
}

#[test]
fn what_the_server_asked_for_holds_when_an_earlier_batch_is_acknowledged() {
    let mut tracker = started("https://x.example/");
    tracker.event("first", "");
    tracker.send();
    tracker.event("second", "");
    tracker.send();
    told(&tracker);
    tracker.answered(3, 503, 30, 0, "");
    tracker.answered(2, 200, 0, 0, "");
    tracker.event("third", "");
    tracker.leave(0);
    assert_eq!(told(&tracker), ["wake 30000"]);
    tracker.woke();
    let posts = told(&tracker);
    assert!(posts[0].contains("second") && posts[0].contains("third"), "{posts:?}");
}

#[test]
fn what_is_lost_is_said() {
    let mut tracker = started("https://x.example/");
    let too_long = ["{\"a\":\"", &"x".repeat(16 * 1024), "\"}"].concat();
    tracker.event("long", &too_long);
    assert_eq!(tracker.host.lost.get(), 1);
    for _ in 0..502 {
        tracker.event("n", "");
    }
    assert_eq!((tracker.host.lost.get(), tracker.host.kept.borrow().len()), (3, 500));
    tracker.send();
    tracker.answered(2, 200, 0, 0, "");
    assert_eq!(tracker.host.lost.get(), 3, "what arrives is not");
    tracker.answered(3, 400, 0, 0, "");
    assert_eq!(tracker.host.lost.get(), 103);
}

#[test]
fn who_is_refused_stops() {
    let mut tracker = started("https://x.example/");
    tracker.event("first", "");
    tracker.send();
    tracker.event("second", "");
    told(&tracker);
    tracker.answered(2, 403, 0, 0, "");
    tracker.event("third", "");
    tracker.woke();
    tracker.leave(0);
    assert_eq!(told(&tracker), [""; 0]);
    let kept = tracker.host.kept.borrow();
    assert!(kept.len() == 1 && kept[0].contains("second"), "for the next page: {kept:?}");
}

#[test]
fn another_visitor_is_of_later_events() {
    let mut tracker = started("https://x.example/");
    tracker.event("first", "");
    tracker.send();
    told(&tracker);
    tracker.answered(2, 503, 0, 0, "v2");
    tracker.event("second", "");
    assert_eq!(told(&tracker), ["wake 500"]);
    tracker.woke();
    let posts = told(&tracker);
    assert!(posts[0].contains(r#""visitor":"v1""#) && posts[0].contains("first"), "{posts:?}");
    assert!(posts[1].contains(r#""visitor":"v2""#) && posts[1].contains("second"), "{posts:?}");
}

#[test]
fn what_leaves_with_the_page_stays_until_it_is_acknowledged() {
    let mut tracker = started("https://x.example/");
    tracker.event("last", "");
    tracker.leave(0);
    let posts = told(&tracker);
    assert!(posts[1].starts_with("post 2 ") && posts[1].contains("last"), "{posts:?}");
    tracker.leave(0);
    assert_eq!(told(&tracker), [""; 0]);
    // The page is back, and the answer was lost.
    tracker.answered(2, 0, 0, 0, "");
    tracker.woke();
    let posts = told(&tracker);
    assert!(posts[1].starts_with("post 3 ") && posts[1].contains("last"), "{posts:?}");
}

/// The page view that left before the tracker was there.
const AHEAD: &str = r#"{"id":"e0","at":7,"kind":"page_view","page":"p0","url":"https://x.example/a"}"#;

#[test]
fn a_page_view_that_was_made_already_is_the_first_batch_and_kept_like_any() {
    let mut tracker = Tracker::new(Page::default());
    tracker.start("https://x.example/a", "", "p0", AHEAD);
    tracker.consent(GRANTED, "v1");
    let body = format!(r#"post 1 {{"visitor":"v1","events":[{AHEAD}]}}"#);
    assert_eq!(told(&tracker), ["wake 50".to_owned(), body.clone()]);
    assert_eq!(*tracker.host.kept.borrow(), [format!("v1{AHEAD}")]);
    // The same again until somebody has it.
    tracker.answered(1, 0, 0, 0, "");
    tracker.woke();
    assert_eq!(told(&tracker), ["wake 500".to_owned(), body.replace("post 1", "post 2")]);
    tracker.answered(2, 200, 0, 0, "");
    assert_eq!(tracker.host.kept.borrow().len(), 0);
    // What follows is of the same page load, and comes from the same address.
    tracker.navigated("https://x.example/b");
    tracker.woke();
    let posts = told(&tracker).join("");
    assert!(posts.contains(r#""page":"p0","url":"https://x.example/b","referrer":"https://x.example/a""#), "{posts}");
}

#[test]
fn a_page_view_that_was_made_already_is_forgotten_if_consent_was_revoked_meanwhile() {
    let mut tracker = Tracker::new(Page::default());
    tracker.start("https://x.example/a", "", "p0", AHEAD);
    tracker.consent(DENIED, "");
    tracker.consent(GRANTED, "v1");
    tracker.event("n", "");
    tracker.woke();
    let posts = told(&tracker).join("");
    assert!(posts.contains(r#""kind":"custom""#) && !posts.contains("e0") && !posts.contains("p0"), "{posts}");
    assert!(!tracker.host.kept.borrow().iter().any(|kept| kept.contains("e0")));
}
