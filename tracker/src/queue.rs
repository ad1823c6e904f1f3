//! What waits to be sent: batches within the wire's limits, kept until they are acknowledged, retried with back-off.
//!
//! An event keeps the visitor that it was made under, because a repeat with another would be another event: when the
//! server's answer names a different one, only later events are made under that. So a batch is a run of one visitor's.

use crate::json::Object;
use alloc::{borrow::ToOwned, string::String, vec::Vec};

/// The most events in one body.
const BATCH_EVENTS_MAX: usize = 100;
/// The most bytes of events in one body: below the server's 64 KiB and the browsers' equal limit on `keepalive`, with
/// room for the envelope.
const BATCH_BYTES_MAX: usize = 60 * 1024;
/// The most events that are kept; the oldest of those not on their way leave first.
const EVENTS_MAX: usize = 500;
/// The first wait after a failure, in milliseconds; it doubles with each.
const BACK_OFF_MS: u32 = 1_000;
/// The longest wait of our own, in milliseconds.
const BACK_OFF_MS_MAX: u32 = 300_000;
/// The longest wait at the server's word, in milliseconds: a day.
const RETRY_AFTER_MS_MAX: f64 = 86_400_000.0;

#[derive(Debug)]
struct Waiting {
    visitor: String,
    json: String,
    /// The batch that it is on its way in.
    batch: Option<u32>,
}

/// A body to send. What it holds stays in the queue until [`Queue::answered`].
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// To be given back with the answer.
    pub number: u32,
    /// The body of the request.
    pub body: String,
}

/// The events of a page that the server has not acknowledged.
#[derive(Debug)]
pub struct Queue {
    site: String,
    /// From the last answer, given back to the server.
    route: String,
    waiting: Vec<Waiting>,
    batches: u32,
    /// How many events go into a batch: fewer after a 413.
    batch_events: usize,
    /// Failures since the last success.
    failures: u32,
    stopped: bool,
}

impl Queue {
    /// An empty queue.
    #[must_use]
    pub fn new(site: &str) -> Queue {
        Queue {
            site: site.to_owned(),
            route: String::new(),
            waiting: Vec::new(),
            batches: 0,
            batch_events: BATCH_EVENTS_MAX,
            failures: 0,
            stopped: false,
        }
    }

    /// Takes an event in.
    pub fn push(&mut self, visitor: &str, json: String) {
        if self.stopped {
            return;
        }
        if self.waiting.len() >= EVENTS_MAX {
            let oldest = self.waiting.iter().position(|event| event.batch.is_none()).unwrap_or(0);
            self.waiting.remove(oldest);
        }
        self.waiting.push(Waiting { visitor: visitor.to_owned(), json, batch: None });
    }

    /// Whether anything waits that is not on its way.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.waiting.iter().any(|event| event.batch.is_none())
    }

    /// The next batch, oldest events first, all of one visitor; `None` if nothing waits.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let number = self.batches;
        let mut visitor = None;
        let mut events = String::from("[");
        let mut count = 0;
        for event in self.waiting.iter_mut().filter(|event| event.batch.is_none()) {
            let visitor = visitor.get_or_insert_with(|| event.visitor.clone());
            let full = count > 0 && events.len() + event.json.len() > BATCH_BYTES_MAX;
            if full || count == self.batch_events || event.visitor != *visitor {
                break;
            }
            if count > 0 {
                events.push(',');
            }
            events.push_str(&event.json);
            event.batch = Some(number);
            count += 1;
        }
        events.push(']');
        self.batches += 1;
        let body = Object::new()
            .number("v", 1)
            .text("site", &self.site)
            .text("visitor", &visitor?)
            .text_unless_empty("route", &self.route)
            .raw("events", &events)
            .finish();
        Some(Batch { number, body })
    }

    /// The server's answer to a batch: its status (0 for none), its `Retry-After` in seconds (0 or NaN for none), its
    /// route (empty for none), and a random number from 0 to 1. Returns the wait in milliseconds before the next
    /// batch, if any is due.
    pub fn answered(&mut self, number: u32, status: u16, retry_after: f64, route: &str, random: f64) -> Option<u32> {
        if !route.is_empty() {
            route.clone_into(&mut self.route);
        }
        let count = self.waiting.iter().filter(|event| event.batch == Some(number)).count();
        let keep = match status {
            403 => {
                self.stopped = true;
                self.waiting.clear();
                false
            }
            413 => {
                self.batch_events = (count / 2).max(1);
                count > 1
            }
            // No answer, too many requests, out of order for now.
            0 | 429 | 500.. => true,
            _ => {
                self.batch_events = BATCH_EVENTS_MAX;
                false
            }
        };
        if keep {
            for event in self.waiting.iter_mut().filter(|event| event.batch == Some(number)) {
                event.batch = None;
            }
        } else {
            self.waiting.retain(|event| event.batch != Some(number));
        }
        let failed = keep && status != 413;
        self.failures = if failed { self.failures + 1 } else { 0 };
        if !self.has_unsent() {
            return None;
        }
        if !failed {
            return Some(0);
        }
        // From half the wait to all of it, so that the pages of a site do not come back together.
        let doubled = BACK_OFF_MS.saturating_mul(1 << (self.failures - 1).min(16)).min(BACK_OFF_MS_MAX);
        let own = f64::from(doubled) * (1.0 + random) / 2.0;
        // `max` passes a NaN over.
        Some(own.max(retry_after * 1_000.0).min(RETRY_AFTER_MS_MAX) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(events: &[&str]) -> Queue {
        let mut queue = Queue::new("s");
        for event in events {
            queue.push("v1", (*event).to_owned());
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
        assert_eq!(batch.body, r#"{"v":1,"site":"s","visitor":"v1","events":[1,2]}"#);
        assert_eq!(queue.next_batch(), None);
        queue.push("v1", "3".to_owned());
        assert_eq!(queue.answered(batch.number, 200, 0.0, "r7", 0.0), Some(0));
        assert_eq!(bodies(&mut queue), [r#"{"v":1,"site":"s","visitor":"v1","route":"r7","events":[3]}"#]);
    }

    #[test]
    fn two_on_their_way_are_answered_each_for_itself() {
        let mut queue = queue(&["1"]);
        let first = queue.next_batch().unwrap();
        queue.push("v1", "2".to_owned());
        let second = queue.next_batch().unwrap();
        assert_eq!(queue.answered(second.number, 200, 0.0, "", 0.0), None);
        assert_eq!(queue.answered(first.number, 0, 0.0, "", 0.0), Some(500));
        assert_eq!(bodies(&mut queue), [r#"{"v":1,"site":"s","visitor":"v1","events":[1]}"#]);
    }

    #[test]
    fn events_keep_their_visitor() {
        let mut queue = queue(&["1"]);
        queue.push("v2", "2".to_owned());
        queue.push("v2", "3".to_owned());
        assert_eq!(
            bodies(&mut queue),
            [
                r#"{"v":1,"site":"s","visitor":"v1","events":[1]}"#,
                r#"{"v":1,"site":"s","visitor":"v2","events":[2,3]}"#
            ]
        );
    }

    #[test]
    fn batches_stay_within_the_limits() {
        let mut queue = queue(&["1"; 250]);
        let counts: Vec<usize> = bodies(&mut queue).iter().map(|body| body.matches(",1").count() + 1).collect();
        assert_eq!(counts, [100, 100, 50]);
        let long = "x".repeat(16 * 1024);
        let mut queue = self::queue(&[long.as_str(); 5]);
        let bodies = bodies(&mut queue);
        assert_eq!(bodies.len(), 2);
        assert!(bodies.iter().all(|body| body.len() <= 64 * 1024));
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let mut queue = queue(&["1"]);
        for wait in [500, 1_000, 2_000, 4_000] {
            let number = queue.next_batch().unwrap().number;
            assert_eq!(queue.answered(number, 503, 0.0, "", 0.0), Some(wait));
        }
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 429, 600.0, "", 1.0), Some(600_000));
        for _ in 0..40 {
            let number = queue.next_batch().unwrap().number;
            assert!(queue.answered(number, 0, f64::NAN, "", 1.0).unwrap() <= BACK_OFF_MS_MAX);
        }
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 200, 0.0, "", 1.0), None);
        queue.push("v1", "2".to_owned());
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 503, 0.0, "", 0.0), Some(500));
    }

    #[test]
    fn too_large_halves_until_a_single_event_is_removed() {
        let mut queue = queue(&["1", "2", "3"]);
        let batch = queue.next_batch().unwrap();
        assert_eq!(queue.answered(batch.number, 413, 0.0, "", 0.0), Some(0));
        let batch = queue.next_batch().unwrap();
        assert!(batch.body.contains("[1]"));
        assert_eq!(queue.answered(batch.number, 413, 0.0, "", 0.0), Some(0));
        let batch = queue.next_batch().unwrap();
        assert!(batch.body.contains("[2]"));
        assert_eq!(queue.answered(batch.number, 200, 0.0, "", 0.0), Some(0));
        assert!(queue.next_batch().unwrap().body.contains("[3]"));
    }

    #[test]
    fn unreadable_is_removed_and_forbidden_stops() {
        let mut queue = queue(&["1"]);
        let number = queue.next_batch().unwrap().number;
        assert_eq!(queue.answered(number, 400, 0.0, "", 0.0), None);
        queue.push("v1", "2".to_owned());
        let number = queue.next_batch().unwrap().number;
        queue.push("v1", "3".to_owned());
        assert_eq!(queue.answered(number, 403, 0.0, "", 0.0), None);
        queue.push("v1", "4".to_owned());
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn is_bounded() {
        let mut queue = queue(&["1"]);
        let first = queue.next_batch().unwrap();
        for i in 0..2 * EVENTS_MAX {
            queue.push("v1", alloc::format!("{i}"));
        }
        assert_eq!(queue.waiting.len(), EVENTS_MAX);
        assert_eq!(queue.waiting[0].batch, Some(first.number));
        assert_eq!(queue.waiting.last().unwrap().json, "999");
    }
}
