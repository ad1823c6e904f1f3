//! Scores to Braze: what the ledger has due, 75 objects at a time, until nothing is due or something is in the way.

use super::connection::{Connection, Kept};
use super::deliveries::{Deliveries, Delivery};
use super::outgoing::post_json;
use super::reading::when;
use super::{Shared, Work, fault};
use crate::now_ms;
use crate::timer::sleep;
use std::time::Duration;
use wingbeat_engine::destinations::braze::answer::{Heard, Outcome, Refused, message, of_track, redact, said};
use wingbeat_engine::destinations::braze::track::{self, OBJECTS_MAX, Request};
use wingbeat_engine::destinations::ledger::{Due, Ledger};
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::store::{Store, StoreError};
use worker::Result;

/// A wait for the budget that is not worth an alarm.
const SHORT_WAIT_MS: i64 = 2_000;
/// The longest answer that is kept for people to look at, characters.
const ANSWER_SHOWN: usize = 2_000;

impl Shared {
    /// Sends what is due until `deadline`, ms. `only_full`: more is being read, so that what does not fill a request waits
    /// for it.
    pub(crate) async fn write_back(&self, only_full: bool, deadline: i64) -> Result<Work> {
        let mut work = Work::default();
        while now_ms() < deadline {
            let can_write = |kept: &Kept| kept.connection.write_back.on && (kept.connection.dry_run || kept.has_key());
            let Some(kept) = self.active()?.filter(can_write) else { return Ok(work) };
            let connection = &kept.connection;
            if Ledger(&self.store).next_due().map_err(fault)?.is_none() {
                return self.writing.is_idle(&self.store).map(|()| work);
            }
            let due = self.next_to_tell()?;
            if due.is_empty() || only_full && due.len() < OBJECTS_MAX {
                return Ok(work);
            }
            let request = Request::of(&due, &connection.write_back, OBJECTS_MAX);
            let due = due.get(..request.covers).unwrap_or_default();
            if request.is_empty() {
                self.note_nothing_to_say(connection, due, &request)?;
                continue;
            }
            if connection.dry_run {
                self.show_only(&kept, due, &request)?;
                continue;
            }
            if let Err(at) = self.writing.take(connection.pace.requests_per_second.into()) {
                let wait = at - now_ms();
                if wait > SHORT_WAIT_MS {
                    return Ok(work);
                }
                sleep(Duration::from_millis(wait.max(1).unsigned_abs())).await;
                continue;
            }
            self.send(&kept, due, &request, &mut work).await?;
        }
        work.more = true;
        Ok(work)
    }

    /// Who is told by the next call: those for whom nobody else has to wait come first.
    fn next_to_tell(&self) -> Result<Vec<Due>> {
        for turn in self.writing.turns(&self.store)? {
            let most = turn.most.unwrap_or(OBJECTS_MAX).min(OBJECTS_MAX);
            let due = Ledger(&self.store).due_of(&turn.of, now_ms(), most).map_err(fault)?;
            if !due.is_empty() {
                return Ok(due);
            }
        }
        Ok(Vec::new())
    }

    /// What differs in the ledger is nothing that would be sent by the present settings: an event that nobody wants any
    /// more.
    fn note_nothing_to_say(&self, connection: &Connection, due: &[Due], request: &Request) -> Result<()> {
        let confirm = |due: &Due| {
            let holds = track::holds(due, request, &Refused::default());
            Ledger(&self.store).confirm(due, &holds, when(connection))
        };
        self.store.atomically(|| due.iter().try_for_each(confirm)).map_err(fault)
    }

    fn delivery(&self, kept: &Kept, due: &[Due], request: &Request) -> Delivery {
        let url = format!("{}{}", kept.connection.rest_endpoint, track::PATH);
        let targets = due.iter().map(|due| due.target.clone()).collect();
        let key = kept.shown_key.as_deref().unwrap_or_default();
        let mut delivery = Delivery::new(self.writing.name(), key, &url, request.body.clone(), targets);
        // What is removed because somebody was erased is not kept in what people see.
        let withdrawn: Vec<String> = due.iter().filter(|due| due.withdrawn).map(|due| due.target.clone()).collect();
        delivery.scrub(&withdrawn);
        delivery
    }

    /// A dry run: what would be sent is shown, once.
    fn show_only(&self, kept: &Kept, due: &[Due], request: &Request) -> Result<()> {
        let delivery = self.delivery(kept, due, request);
        let noted = self.store.atomically(|| {
            due.iter().try_for_each(|due| Ledger(&self.store).hold(&due.target))?;
            Deliveries(&self.store).write(None, now_ms(), "dry_run", &delivery).map(drop)
        });
        noted.map_err(fault)
    }

    async fn send(&self, kept: &Kept, due: &[Due], request: &Request, work: &mut Work) -> Result<()> {
        let connection = &kept.connection;
        let mut delivery = self.delivery(kept, due, request);
        let key = kept.key(&self.env).map_err(|_| fault("the key could not be opened"))?;
        let timeout = Duration::from_millis(connection.pace.timeout_ms.unsigned_abs());
        work.requests += 1;
        let may_hold: Vec<_> = due.iter().map(|due| (due.target.clone(), track::doubtful(due))).collect();
        Ledger(&self.store).set_out(&may_hold).map_err(fault)?;
        let url = delivery.url.clone();
        let reply = post_json(&url, &key, &request.body.to_string(), timeout).await;
        let outcome = match &reply {
            Ok(reply) => {
                self.writing.heed(&reply.limits);
                let heard = Heard { status: reply.status, limits: reply.limits, body: &reply.body };
                let words: String = said(&reply.body, &key).chars().take(ANSWER_SHOWN).collect();
                (delivery.status, delivery.answer) = (Some(reply.status), Some(words));
                delivery.reason = (reply.status >= 300).then(|| message(&heard, &key));
                of_track(&heard, request, &key)
            }
            Err(words) => Outcome::Later { class: Class::Outage, wait_ms: None, reason: redact(words, &key) },
        };
        let noted = self.store.atomically(|| match &outcome {
            Outcome::Later { class: Class::Outage, .. } => Ledger(&self.store).doubt(when(connection)),
            Outcome::Partly { unclear, .. } => {
                let may_hold: Vec<_> = may_hold.into_iter().filter(|(target, _)| unclear.contains(target)).collect();
                Ledger(&self.store).set_out(&may_hold)?;
                Ledger(&self.store).doubt(when(connection))
            }
            Outcome::Later { .. } | Outcome::Refused(_) => Ledger(&self.store).came_back(),
            // With what it came to.
            Outcome::Taken(_) => Ok(()),
        });
        noted.map_err(fault)?;
        // The settings may be others by now.
        let is_trouble = matches!(outcome, Outcome::Later { .. } | Outcome::Refused(_));
        if !self.is_believed(kept, is_trouble)? {
            return Ok(());
        }
        match outcome {
            Outcome::Taken(refused) => self.taken(connection, (due, request), &refused, delivery, work),
            Outcome::Partly { refused, unclear, reason } => {
                let (unclear, clear): (Vec<Due>, Vec<Due>) =
                    due.iter().cloned().partition(|due| unclear.contains(&due.target));
                let pairs = pairs(&clear, &refused);
                work.refused += pairs.len() as u64;
                work.done += (clear.len() - pairs.len()) as u64;
                self.store.atomically(|| self.note_answer(connection, (&clear, request), &refused)).map_err(fault)?;
                let delivery = Delivery { refused: pairs, ..delivery };
                self.not_now(connection, &unclear, (Class::Refused, None, reason), delivery, work)
            }
            Outcome::Refused(reason) => self.not_now(connection, due, (Class::Refused, None, reason), delivery, work),
            Outcome::Later { class, wait_ms, reason } => {
                self.not_now(connection, due, (class, wait_ms, reason), delivery, work)
            }
        }
    }

    /// These are told again later: by themselves, if it is their own trouble.
    fn not_now(
        &self,
        connection: &Connection,
        due: &[Due],
        (class, wait_ms, reason): (Class, Option<i64>, String),
        delivery: Delivery,
        work: &mut Work,
    ) -> Result<()> {
        work.failed += 1;
        let targets: Vec<String> = due.iter().map(|due| due.target.clone()).collect();
        let suspects = self.writing.suspects(&self.store);
        if class.may_be_somebodys() && self.store.atomically(|| suspects.failed(&targets)).map_err(fault)? {
            return self.failed_alone(connection, due, &reason, delivery, work);
        }
        let trouble = self.writing.fail(&self.store, (class, wait_ms, reason), &connection.pace)?;
        self.writing.wait(&self.store, trouble, delivery)
    }

    /// One fails by itself, as if Braze were out, while others pass: it is refused, and nobody else waits for it.
    fn failed_alone(
        &self,
        connection: &Connection,
        due: &[Due],
        reason: &str,
        delivery: Delivery,
        work: &mut Work,
    ) -> Result<()> {
        work.refused += due.len() as u64;
        let refused = delivery.targets.iter().map(|target| (target.clone(), reason.to_owned())).collect();
        let attempt = due.iter().map(|due| due.failures + 1).max().unwrap_or(1);
        let delivery = Delivery { refused, attempt, reason: Some(reason.to_owned()), ..delivery };
        let noted = self.store.atomically(|| {
            for due in due {
                Ledger(&self.store).fail_alone(due, reason, connection.pace.back_off(), when(connection))?;
            }
            Deliveries(&self.store).write(None, now_ms(), "refused", &delivery).map(drop)
        });
        noted.map_err(fault)
    }

    /// Some were taken and some refused.
    fn taken(
        &self,
        connection: &Connection,
        (due, request): (&[Due], &Request),
        refused: &Refused,
        delivery: Delivery,
        work: &mut Work,
    ) -> Result<()> {
        let pairs = pairs(due, refused);
        work.refused += pairs.len() as u64;
        work.done += (due.len() - pairs.len()) as u64;
        let trouble = self.writing.trouble(&self.store)?;
        let state = match pairs.len() {
            0 => "delivered",
            all if all == due.len() => "refused",
            _ => "partial",
        };
        let attempt = trouble.as_ref().map_or(1, |trouble| trouble.failures + 1);
        let mut delivery = Delivery { attempt, refused: pairs, ..delivery };
        let withdrawn: Vec<String> = due.iter().filter(|due| due.withdrawn).map(|due| due.target.clone()).collect();
        delivery.scrub(&withdrawn);
        let noted = self.store.atomically(|| {
            self.note_answer(connection, (due, request), refused)?;
            Ledger(&self.store).came_back()?;
            let targets: Vec<String> = due.iter().map(|due| due.target.clone()).collect();
            let series = self.writing.answered(&self.store, &targets)?;
            let attempt = if series.is_some() { delivery.attempt } else { 1 };
            let delivery = Delivery { attempt, ..delivery };
            Deliveries(&self.store).write(series, now_ms(), state, &delivery)?;
            self.writing.clear(&self.store).map_err(|error| StoreError(error.to_string()))
        });
        noted.map_err(fault)
    }

    /// What each of these has taken.
    fn note_answer(
        &self,
        connection: &Connection,
        (due, request): (&[Due], &Request),
        refused: &Refused,
    ) -> std::result::Result<(), StoreError> {
        let ledger = Ledger(&self.store);
        due.iter().try_for_each(|due| {
            let holds = track::holds(due, request, refused);
            match refused.reason(&due.target) {
                None => ledger.confirm(due, &holds, when(connection)),
                Some(reason) => ledger.refuse(due, &holds, reason, connection.pace.back_off(), when(connection)),
            }
        })
    }
}

/// Who of these was refused, and why.
fn pairs(due: &[Due], refused: &Refused) -> Vec<(String, String)> {
    due.iter().filter_map(|due| Some((due.target.clone(), refused.reason(&due.target)?.to_owned()))).collect()
}
