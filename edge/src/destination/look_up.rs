//! People looked up in Braze: whoever the feed shows without an e-mail. What Braze knows becomes an event like any other.

use super::connection::Kept;
use super::deliveries::{Deliveries, Delivery};
use super::outgoing::post_json;
use super::{Shared, Work, fault};
use crate::now_ms;
use crate::partitions::Partitions;
use crate::timer::sleep;
use std::time::Duration;
use wingbeat_engine::destinations::braze::answer::{Heard, Outcome, redact};
use wingbeat_engine::destinations::braze::export::{self, Answer, IDS_MAX};
use wingbeat_engine::destinations::braze::queue::LookUps;
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::store::Store;
use worker::Result;

const DAY_MS: i64 = 86_400_000;
/// A wait for the budget that is not worth an alarm.
const SHORT_WAIT_MS: i64 = 2_000;

impl Shared {
    /// Asks for who is due until `deadline`, ms.
    pub(crate) async fn look_up(&self, kept: &Kept, deadline: i64) -> Result<Work> {
        let connection = &kept.connection;
        let mut work = Work::default();
        if !connection.look_up.on || connection.dry_run {
            return Ok(work);
        }
        while now_ms() < deadline {
            if self.looking.trouble(&self.store)?.is_some_and(|trouble| trouble.next_at > now_ms()) {
                return Ok(work);
            }
            let due = LookUps(&self.store).due(now_ms(), IDS_MAX).map_err(fault)?;
            let Some(ask) = export::ask(&due) else { return Ok(work) };
            if let Err(at) = self.looking.take(connection.look_up.per_second) {
                let wait = at - now_ms();
                if wait > SHORT_WAIT_MS {
                    return Ok(work);
                }
                sleep(Duration::from_millis(wait.max(1).unsigned_abs())).await;
                continue;
            }
            self.ask(kept, &ask, &mut work).await?;
        }
        work.more = true;
        Ok(work)
    }

    async fn ask(&self, kept: &Kept, ask: &export::Ask, work: &mut Work) -> Result<()> {
        let connection = &kept.connection;
        let key = kept.key(&self.env).map_err(|_| fault("the key could not be opened"))?;
        let url = format!("{}{}", connection.rest_endpoint, export::PATH);
        let timeout = Duration::from_millis(connection.pace.timeout_ms.unsigned_abs());
        let mut delivery =
            Delivery::new(self.looking.name(), &kept.shown_key, &url, ask.body.clone(), ask.targets.clone());
        work.requests += 1;
        let answer = match post_json(&url, &key, &ask.body.to_string(), timeout).await {
            Ok(reply) => {
                self.looking.heed(&reply.limits);
                delivery.status = Some(reply.status);
                let heard = Heard { status: reply.status, limits: reply.limits, body: &reply.body };
                export::read(&heard, &connection.workspace, &connection.write_back, now_ms(), &key)
            }
            Err(words) => {
                Answer::Not(Outcome::Later { class: Class::Outage, wait_ms: None, reason: redact(&words, &key) })
            }
        };
        let again = now_ms() + i64::from(connection.look_up.again_after_days) * DAY_MS;
        let queue = LookUps(&self.store);
        let trouble = self.looking.trouble(&self.store)?;
        delivery.attempt = trouble.as_ref().map_or(1, |trouble| trouble.failures + 1);
        let series = trouble.and_then(|trouble| trouble.delivery);
        let deliveries = Deliveries(&self.store);
        match answer {
            Answer::Known(profiles) => {
                // Durable at home before it is ticked off here: a crash between asks once more.
                let partitions =
                    Partitions::open(&self.env).await.map_err(|_| fault("the directory could not be read"))?;
                let records = profiles.iter().map(|profile| profile.record.clone()).collect();
                partitions
                    .take(records, Vec::new())
                    .await
                    .map_err(|_| fault("what Braze knows could not be stored"))?;
                work.done += profiles.len() as u64;
                // Not the answer itself: an erasure reaches what is known of people at home, not what is kept here.
                let with_email = profiles.iter().filter(|profile| profile.has_email).count();
                delivery.answer = Some(format!("{} profiles, {with_email} of them with an e-mail", profiles.len()));
                let noted = self.store.atomically(|| {
                    queue.answered(&ask.targets, &profiles, again)?;
                    deliveries.write(series, now_ms(), "delivered", &delivery)
                });
                noted.map_err(fault)?;
                self.looking.clear(&self.store)
            }
            Answer::Not(Outcome::Later { class, wait_ms, reason }) => {
                work.failed += 1;
                let trouble = self.looking.fail(&self.store, (class, wait_ms, reason), &connection.pace)?;
                self.looking.wait(&self.store, trouble, delivery)
            }
            Answer::Not(outcome) => {
                work.refused += ask.targets.len() as u64;
                if let Outcome::Refused(reason) = outcome {
                    delivery.refused = ask.targets.iter().map(|target| (target.clone(), reason.clone())).collect();
                    delivery.reason = Some(reason);
                }
                let back_off = connection.pace.back_off();
                let noted = self.store.atomically(|| {
                    ask.targets.iter().try_for_each(|target| queue.refused(target, back_off, again, now_ms()))?;
                    deliveries.write(series, now_ms(), "refused", &delivery).map(drop)
                });
                noted.map_err(fault)?;
                self.looking.clear(&self.store)
            }
        }
    }
}
