//! What waits to be sent: batches within the wire's limits, kept until they are acknowledged, retried with back-off.
//!
//! An event keeps the visitor that it was made under, because a repeat with another would be another event: when the
//! server's answer names a different one, only later events are made under that. So a batch is a run of one visitor's.
//!
//! Storage keeps each event under a key of its own, so that tabs write beside each other and not over each other. What
//! another tab has on its way is sent twice; the server knows a repeat by its id.

use crate::json::{Object, copy, part, put};
use alloc::{string::String, vec::Vec};

/// The most events in one body.
const BATCH_EVENTS_MAX: usize = 100;
/// The most bytes of events in one body: below the server's 64 KiB and the browsers' equal limit on `keepalive`, with
/// room for the envelope.
const BATCH_BYTES_MAX: usize = 60 * 1024;
/// The most events that are kept; the oldest of those not on their way leave first.
const EVENTS_MAX: usize = 500;
/// The most bytes that are kept: a tenth of what browsers give a site's storage.
const BYTES_MAX: usize = 512 * 1024;
/// The most bytes of one of them: the wire's limit on an event, and the visitor.
const KEPT_BYTES_MAX: usize = 16 * 1024 + 64;
/// The first wait after a failure, in milliseconds; it doubles with each.
const BACK_OFF_MS: u32 = 1_000;
/// The longest wait of our own, in milliseconds.
const BACK_OFF_MS_MAX: u32 = 300_000;
/// The longest wait at the server's word, in seconds: a day.
const RETRY_AFTER_S_MAX: u32 = 86_400;

#[derive(Debug)]
struct Waiting {
    /// What storage keeps: the visitor, then the event as JSON.
    kept: String,
    /// The length of the visitor, in bytes; 0 while none may be made.
    visitor: usize,
    /// The number of the batch that it is on its way in; 0 for none.
    batch: u32,
}

/// A body to send. What it holds stays in the queue until [`Queue::answered`].
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// To be given back with the answer. Never 0.
    pub number: u32,
    /// The body of the request, but for what is the same in all: the version and the site.
    pub body: String,
}

/// The events of a page that the server has not acknowledged.
#[derive(Debug)]
pub struct Queue {
    waiting: Vec<Waiting>,
    batches: u32,
    /// How many events go into a batch: fewer after a 413.
    batch_events: usize,
    /// Failures since the last success.
    failures: u32,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "const, for the static tracker")]
    pub const fn new() -> Queue {
        Queue { waiting: Vec::new(), batches: 0, batch_events: BATCH_EVENTS_MAX, failures: 0 }
    }

    /// Takes an event in and returns what storage is to keep of it. `visitor` is empty while none may be made. `drop` is
    /// called with what leaves in its place.
    pub fn push(&mut self, visitor: &str, json: &str, drop: impl Fn(&str)) -> &str {
        let mut bytes = json.len();
        for event in &self.waiting {
            bytes += event.kept.len();
        }
        while self.waiting.len() >= EVENTS_MAX || bytes > BYTES_MAX && !self.waiting.is_empty() {
            let oldest = self.waiting.iter().position(|event| event.batch == 0).unwrap_or(0);
            let dropped = self.waiting.remove(oldest).kept;
            bytes -= dropped.len();
            drop(&dropped);
        }
        let mut kept = copy(visitor);
        kept.push_str(json);
        self.add(kept, visitor.len())
    }

    /// Takes back what storage kept, if it can be an event of ours.
    pub fn restore(&mut self, kept: &str) {
        if let Some(visitor) = kept.bytes().position(|byte| byte == b'{')
            && self.waiting.len() < EVENTS_MAX
            && kept.len() <= KEPT_BYTES_MAX
        {
            self.add(copy(kept), visitor);
        }
    }

    fn add(&mut self, kept: String, visitor: usize) -> &str {
        self.waiting.push(Waiting { kept, visitor, batch: 0 });
        self.waiting.last().map_or("", |event| &event.kept)
    }

    /// Gives the events that have none a visitor. `keep` is called with what storage is to keep.
    pub fn name(&mut self, visitor: &str, keep: impl Fn(&str)) {
        for event in &mut self.waiting {
            event.kept.insert_str(0, visitor);
            event.visitor = visitor.len();
            keep(&event.kept);
        }
    }

    /// Forgets all events.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The next batch, oldest events first, all of one visitor; `None` if nothing waits, or as much is on its way as
    /// may be.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let number = self.batches + 1;
        let mut visitor = "";
        let mut events = String::new();
        let mut count = 0;
        let mut bytes = 0;
        for event in &mut self.waiting {
            bytes += event.kept.len();
            if event.batch > 0 {
                continue;
            }
            if count == self.batch_events || bytes > BATCH_BYTES_MAX {
                break;
            }
            let of = part(&event.kept, 0, event.visitor);
            if count > 0 {
                if of != visitor {
                    break;
                }
                put(&mut events, b',');
            }
            events.push_str(part(&event.kept, event.visitor, usize::MAX));
            visitor = of;
            event.batch = number;
            count += 1;
        }
        if count == 0 {
            return None;
        }
        self.batches = number;
        let mut body = Object::new();
        body.text("visitor", visitor);
        body.array("events", &events);
        Some(Batch { number, body: body.finish() })
    }

    /// The server's answer to a batch: its status (0 for none), its `Retry-After` in seconds (0 for none), and a random
    /// number below 256. `drop` is called with what storage need not keep any more, and whether that is lost. Returns the wait in milliseconds
    /// before the next batch, if any is due.
    pub fn answered(
        &mut self,
        number: u32,
        status: u32,
        retry_after: u32,
        random: u32,
        drop: impl Fn(bool, &str),
    ) -> Option<u32> {
        let mut count = 0;
        for event in &self.waiting {
            count += usize::from(event.batch == number);
        }
        // Whatever else is answered is not the Worker's word on these events.
        let failed = !matches!(status, 200 | 400 | 403 | 413);
        let too_large = status == 413;
        self.batch_events = if too_large { count / 2 } else { BATCH_EVENTS_MAX }.max(1);
        let keep = failed || too_large && count > 1;
        let mut unsent = false;
        let mut at = 0;
        while let Some(event) = self.waiting.get_mut(at) {
            if event.batch != number {
                unsent |= event.batch == 0;
                at += 1;
            } else if keep {
                event.batch = 0;
            } else {
                drop(status != 200, &self.waiting.remove(at).kept);
            }
        }
        self.failures = if failed { self.failures + 1 } else { 0 };
        if !unsent {
            return None;
        }
        if !failed {
            return Some(0);
        }
        // From half the wait to all of it, so that the pages of a site do not come back together.
        let half = (BACK_OFF_MS << (self.failures - 1).min(9)).min(BACK_OFF_MS_MAX) / 2;
        Some((half + half * random / 256).max(retry_after.min(RETRY_AFTER_S_MAX) * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned;

    fn queue(events: &[&str]) -> Queue {
        let mut queue = Queue::new();
        for event in events {
            queue.push("v1", event, |_| ());
        }
        queue
    }

    fn bodies(queue: &mut Queue) -> Vec<String> {
        core::iter::from_fn(|| queue.next_batch().map(|batch| batch.body)).collect()
    }

    #[test]
    fn a_batch_is_removed_when_acknowledged_and_not_before() {
        let mut queue = queue(&["1", "2"]);
        let batch = queue.next_batch().unwrap();
        assert_eq!(batch.body, r#"{"visitor":"v1","events":[1,2]}"#);
        assert_eq!(queue.next_batch(), None);
        queue.push("v1", "3", |_| ());
        assert_eq!(queue.answered(batch.number, 200, 0, 0, |_, _| ()), Some(0));
        assert_eq!(bodies(&mut queue), [r#"{"visitor":"v1","events":[3]}"#]);
    }

    #[test]
    fn two_on_their_way_are_answered_each_for_itself() {
        let mut queue = queue(&["1"]);
        let first = queue.next_batch().unwrap();
        queue.push("v1", "2", |_| ());
        let second = queue.next_batch().unwrap();
        assert_eq!(queue.answered(second.number, 200, 0, 0, |_, _| ()), None);
        assert_eq!(queue.answered(first.number, 0, 0, 0, |_, _| ()), Some(500));
        assert_eq!(bodies(&mut queue), [r#"{"visitor":"v1","events":[1]}"#]);
    }

    #[test]
    fn events_keep_their_visitor() {
        let mut queue = queue(&["1"]);
        queue.push("v2", "2", |_| ());
        queue.push("v2", "3", |_| ());
        assert_eq!(bodies(&mut queue), [r#"{"visitor":"v1","events":[1]}"#, r#"{"visitor":"v2","events":[2,3]}"#]);
    }

    #[test]
    fn batches_stay_within_the_limits() {
        let mut queue = queue(&["1"; 250]);
        let counts: Vec<usize> = bodies(&mut queue).iter().map(|body| body.matches(",1").count() + 1).collect();
        assert_eq!(counts, [100, 100, 50]);
        let long = "x".repeat(16 * 1024);
        let mut queue = self::queue(&[long.as_str(); 5]);
        // One at a time: the browser's limit is on all that is on its way.
        let first = queue.next_batch().unwrap();
        assert!(first.body.len() <= 64 * 1024);
        assert_eq!(queue.next_batch(), None);
        assert_eq!(queue.answered(first.number, 200, 0, 0, |_, _| ()), Some(0));
        assert_eq!(queue.next_batch().unwrap().body.matches(&long).count(), 2);
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let mut queue = queue(&["1"]);
        for wait in [500, 1_000, 2_000, 4_000] {
            let number = queue.next_batch().unwrap().number;
            assert_eq!(queue.answered(number, 503, 0, 0, |_, _| ()), Some(wait));
        }
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 429, 600, 255, |_, _| ()), Some(600_000));
        for _ in 0..40 {
            let number = queue.next_batch().unwrap().number;
            assert!(queue.answered(number, 0, 0, 255, |_, _| ()).unwrap() <= BACK_OFF_MS_MAX);
        }
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 200, 0, 255, |_, _| ()), None);
        queue.push("v1", "2", |_| ());
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 503, 0, 0, |_, _| ()), Some(500));
    }

    #[test]
    fn too_large_halves_until_a_single_event_is_removed() {
        let mut queue = queue(&["1", "2", "3"]);
        let batch = queue.next_batch().unwrap();
        assert_eq!(queue.answered(batch.number, 413, 0, 0, |_, _| ()), Some(0));
        let batch = queue.next_batch().unwrap();
        assert!(batch.body.contains("[1]"));
        assert_eq!(queue.answered(batch.number, 413, 0, 0, |_, _| ()), Some(0));
        let batch = queue.next_batch().unwrap();
        assert!(batch.body.contains("[2]"));
        assert_eq!(queue.answered(batch.number, 200, 0, 0, |_, _| ()), Some(0));
        assert!(queue.next_batch().unwrap().body.contains("[3]"));
    }

    #[test]
    fn what_the_server_refuses_is_removed_and_lost() {
        let lost = core::cell::RefCell::new(Vec::new());
        let mut queue = queue(&["1"]);
        for (number, status) in [400, 403, 413, 200].into_iter().enumerate() {
            assert_eq!(queue.next_batch().unwrap().number as usize, number + 1);
            assert_eq!(queue.answered(number as u32 + 1, status, 0, 0, |is, _| lost.borrow_mut().push(is)), None);
            queue.push("v1", "1", |_| ());
        }
        assert_eq!(lost.take(), [true, true, true, false]);
    }

    #[test]
    fn storage_keeps_what_is_not_acknowledged() {
        let dropped = core::cell::RefCell::new(Vec::new());
        let drop = |_, kept: &str| dropped.borrow_mut().push(kept.to_owned());
        let mut queue = Queue::new();
        assert_eq!(queue.push("", "{1}", |_| ()), "{1}");
        let kept = core::cell::RefCell::new(Vec::new());
        queue.name("v1", |event| kept.borrow_mut().push(event.to_owned()));
        assert_eq!(kept.take(), ["v1{1}"]);
        queue.restore("v0{0}");
        queue.restore("no event");
        queue.restore(&["v0{", &"x".repeat(KEPT_BYTES_MAX)].concat());
        let first = queue.next_batch().unwrap();
        assert_eq!(first.body, r#"{"visitor":"v1","events":[{1}]}"#);
        let second = queue.next_batch().unwrap();
        assert_eq!(second.body, r#"{"visitor":"v0","events":[{0}]}"#);
        assert_eq!(queue.next_batch(), None);
        queue.answered(first.number, 503, 0, 0, drop);
        assert_eq!(dropped.take(), [""; 0]);
        queue.answered(second.number, 200, 0, 0, drop);
        assert_eq!(dropped.take(), ["v0{0}"]);
    }

    #[test]
    fn is_bounded_in_bytes() {
        let long = "x".repeat(16 * 1024);
        let mut queue = queue(&[]);
        let dropped = core::cell::Cell::new(0);
        for _ in 0..40 {
            queue.push("v1", &long, |_| dropped.set(dropped.get() + 1));
        }
        assert!(queue.waiting.len() * long.len() <= BYTES_MAX);
        assert_eq!(queue.waiting.len() + dropped.get(), 40);
        queue.clear();
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn is_bounded() {
        let mut queue = queue(&["1"]);
        let first = queue.next_batch().unwrap();
        for i in 0..2 * EVENTS_MAX {
            queue.push("v1", &alloc::format!("{i}"), |_| ());
        }
        assert_eq!(queue.waiting.len(), EVENTS_MAX);
        assert_eq!(queue.waiting[0].batch, first.number);
        assert_eq!(queue.waiting.last().unwrap().kept, "v1999");
    }
}
