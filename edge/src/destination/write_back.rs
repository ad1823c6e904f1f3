//! Scores to Braze: what the ledger has due, 75 objects at a time, until nothing is due or something is in the way.

use super::connection::{Connection, Kept};
use super::deliveries::{Deliveries, Delivery};
use super::outgoing::post_json;
use super::reading::when;
use super::{Shared, Work, fault};
use crate::now_ms;
use crate::timer::sleep;
use std::collections::BTreeMap;
use std::time::Duration;
use wingbeat_engine::destinations::braze::answer::{Heard, Outcome, message, of_track, redact};
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
    pub(crate) async fn write_back(&self, kept: &Kept, only_full: bool, deadline: i64) -> Result<Work> {
        let connection = &kept.connection;
        let mut work = Work::default();
        if !connection.write_back.on {
            return Ok(work);
        }
        while now_ms() < deadline {
            if self.writing.trouble(&self.store)?.is_some_and(|trouble| trouble.next_at > now_ms()) {
                return Ok(work);
            }
            let due = Ledger(&self.store).due(now_ms(), OBJECTS_MAX).map_err(fault)?;
            if due.is_empty() || only_full && due.len() < OBJECTS_MAX {
                return Ok(work);
            }
            if !connection.dry_run
                && let Err(at) = self.writing.take(connection.pace.requests_per_second.into())
            {
                let wait = at - now_ms();
                if wait > SHORT_WAIT_MS {
                    return Ok(work);
                }
                sleep(Duration::from_millis(wait.max(1).unsigned_abs())).await;
                continue;
            }
            self.send(kept, &due, &mut work).await?;
        }
        work.more = true;
        Ok(work)
    }

    async fn send(&self, kept: &Kept, due: &[Due], work: &mut Work) -> Result<()> {
        let connection = &kept.connection;
        let request = Request::of(due, &connection.write_back, self.objects_max.get());
        let due = due.get(..request.attributes.len()).unwrap_or_default();
        let url = format!("{}{}", connection.rest_endpoint, track::PATH);
        let (request_body, targets) = (request.body.clone(), request.attributes.clone());
        let mut delivery = Delivery::new(self.writing.name(), &kept.shown_key, &url, request_body, targets);
        if connection.dry_run {
            return self
                .store
                .atomically(|| {
                    due.iter().try_for_each(|due| Ledger(&self.store).hold(&due.target))?;
                    Deliveries(&self.store).write(None, now_ms(), "dry_run", &delivery).map(drop)
                })
                .map_err(fault);
        }
        let key = kept.key(&self.env).map_err(|_| fault("the key could not be opened"))?;
        let timeout = Duration::from_millis(connection.pace.timeout_ms.unsigned_abs());
        work.requests += 1;
        let reply = post_json(&url, &key, &request.body.to_string(), timeout).await;
        let outcome = match &reply {
            Ok(reply) => {
                self.writing.heed(&reply.limits);
                let heard = Heard { status: reply.status, limits: reply.limits, body: &reply.body };
                let words: String =
                    redact(&String::from_utf8_lossy(&reply.body), &key).chars().take(ANSWER_SHOWN).collect();
                (delivery.status, delivery.answer) = (Some(reply.status), Some(words));
                delivery.reason = (reply.status >= 300).then(|| message(&heard, &key));
                of_track(&heard, &request, &key)
            }
            Err(words) => Outcome::Later { class: Class::Outage, wait_ms: None, reason: redact(words, &key) },
        };
        match outcome {
            Outcome::Taken(refused) => self.taken(connection, due, &refused, delivery, work),
            Outcome::Refused(reason) if due.len() == 1 => {
                let refused = due.iter().map(|due| (due.target.clone(), reason.clone())).collect();
                self.taken(connection, due, &refused, delivery, work)
            }
            Outcome::Refused(reason) => {
                // Somebody in it is to blame who is not named: the halves tell.
                self.objects_max.set((due.len() / 2).max(1));
                let delivery = Delivery { reason: Some(reason), ..delivery };
                Deliveries(&self.store).write(None, now_ms(), "split", &delivery).map_err(fault).map(drop)
            }
            Outcome::Later { class, wait_ms, reason } => {
                work.failed += 1;
                let trouble = self.writing.fail(&self.store, (class, wait_ms, reason), &connection.pace)?;
                self.writing.wait(&self.store, trouble, delivery)
            }
        }
    }

    /// Some were taken and some refused.
    fn taken(
        &self,
        connection: &Connection,
        due: &[Due],
        refused: &BTreeMap<String, String>,
        delivery: Delivery,
        work: &mut Work,
    ) -> Result<()> {
        self.objects_max.set((self.objects_max.get() * 2).min(OBJECTS_MAX));
        work.refused += refused.len() as u64;
        work.done += (due.len() - refused.len().min(due.len())) as u64;
        let trouble = self.writing.trouble(&self.store)?;
        let state = match refused.len() {
            0 => "delivered",
            all if all == due.len() => "refused",
            _ => "partial",
        };
        let attempt = trouble.as_ref().map_or(1, |trouble| trouble.failures + 1);
        let refused_pairs = refused.iter().map(|(target, why)| (target.clone(), why.clone())).collect();
        let delivery = Delivery { attempt, refused: refused_pairs, ..delivery };
        let ledger = Ledger(&self.store);
        let noted = self.store.atomically(|| {
            for due in due {
                match refused.get(&due.target) {
                    None => ledger.confirm(due, when(connection))?,
                    Some(reason) => ledger.refuse(due, reason, connection.pace.back_off(), now_ms())?,
                }
            }
            let series = trouble.and_then(|trouble| trouble.delivery);
            Deliveries(&self.store).write(series, now_ms(), state, &delivery)?;
            self.writing.clear(&self.store).map_err(|error| StoreError(error.to_string()))
        });
        noted.map_err(fault)
    }
}
