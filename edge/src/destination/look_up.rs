//! People looked up in Braze: whoever the feed shows without an e-mail. What Braze knows becomes an event like any other.

use super::connection::{Connection, Kept};
use super::deliveries::{Deliveries, Delivery};
use super::outgoing::post_json;
use super::reading::when;
use super::{Shared, Work, fault};
use crate::now_ms;
use crate::partitions::Partitions;
use crate::timer::sleep;
use std::time::Duration;
use wingbeat_engine::destinations::braze::answer::{Heard, Outcome, redact};
use wingbeat_engine::destinations::braze::export::{self, Answer, IDS_MAX, Profile};
use wingbeat_engine::destinations::braze::queue::{LookUps, UNKNOWN};
use wingbeat_engine::destinations::ledger::Ledger;
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::key::{Identifier, KeyHash, KeyType};
use wingbeat_engine::store::{Store, StoreError};
use worker::Result;

const DAY_MS: i64 = 86_400_000;
/// How targets begin that are asked for before they are written to.
pub(super) const EXTERNAL: &str = "external_id:";
/// A wait for the budget that is not worth an alarm.
const SHORT_WAIT_MS: i64 = 2_000;

impl Shared {
    /// Asks for who is due until `deadline`, ms.
    pub(crate) async fn look_up(&self, deadline: i64) -> Result<Work> {
        let mut work = Work::default();
        while now_ms() < deadline {
            let can_ask = |kept: &Kept| kept.connection.look_up.on && !kept.connection.dry_run && kept.has_key();
            let Some(kept) = self.active()?.filter(can_ask) else { return Ok(work) };
            if LookUps(&self.store).next_due().map_err(fault)?.is_none() {
                return self.looking.is_idle(&self.store).map(|()| work);
            }
            let due = self.next_to_ask()?;
            let Some(ask) = export::ask(&due) else { return Ok(work) };
            if let Err(at) = self.looking.take(kept.connection.look_up.per_second) {
                let wait = at - now_ms();
                if wait > SHORT_WAIT_MS {
                    return Ok(work);
                }
                sleep(Duration::from_millis(wait.max(1).unsigned_abs())).await;
                continue;
            }
            self.ask(&kept, &ask, &mut work).await?;
        }
        work.more = true;
        Ok(work)
    }

    /// Whom the next call may be about: those for whom nobody else has to wait come first.
    fn next_to_ask(&self) -> Result<Vec<String>> {
        for turn in self.looking.turns(&self.store)? {
            let most = turn.most.unwrap_or(IDS_MAX).min(IDS_MAX);
            let due = LookUps(&self.store).due_of(&turn.of, now_ms(), most).map_err(fault)?;
            if !due.is_empty() {
                return Ok(due);
            }
        }
        Ok(Vec::new())
    }

    async fn ask(&self, kept: &Kept, ask: &export::Ask, work: &mut Work) -> Result<()> {
        let connection = &kept.connection;
        let key = kept.key(&self.env).map_err(|_| fault("the key could not be opened"))?;
        let url = format!("{}{}", connection.rest_endpoint, export::PATH);
        let timeout = Duration::from_millis(connection.pace.timeout_ms.unsigned_abs());
        let shown_key = kept.shown_key.as_deref().unwrap_or_default();
        let mut delivery = Delivery::new(self.looking.name(), shown_key, &url, ask.body.clone(), ask.targets.clone());
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
        // The settings may be others by now.
        let is_trouble = matches!(answer, Answer::Not(_));
        if !self.is_believed(kept, is_trouble)? {
            return Ok(());
        }
        let again = now_ms() + i64::from(connection.look_up.again_after_days) * DAY_MS;
        let queue = LookUps(&self.store);
        let failures = self.looking.trouble(&self.store)?.map_or(0, |trouble| trouble.failures);
        let deliveries = Deliveries(&self.store);
        match answer {
            Answer::Known(profiles) => {
                let (here, profiles) = self.learn(kept, ask, profiles).await?;
                if !self.is_believed(kept, false)? {
                    return Ok(());
                }
                work.done += profiles.len() as u64;
                // Not the answer itself: an erasure reaches what is known of people at home, not what is kept here.
                let with_email = profiles.iter().filter(|profile| profile.has_email).count();
                delivery.answer = Some(format!("{} profiles, {with_email} of them with an e-mail", profiles.len()));
                let noted = self.store.atomically(|| {
                    self.place(connection, &here, &profiles)?;
                    queue.answered(&here, &profiles, again, now_ms())?;
                    // The feed is about to tell that these were erased.
                    let gone = ask.targets.iter().filter(|target| !here.contains(target));
                    gone.into_iter().try_for_each(|target| queue.put_off(target, again))?;
                    let series = self.looking.answered(&self.store, &ask.targets)?;
                    delivery.attempt = if series.is_some() { failures + 1 } else { 1 };
                    deliveries.write(series, now_ms(), "delivered", &delivery)
                });
                noted.map_err(fault)?;
                self.looking.clear(&self.store)
            }
            Answer::Not(outcome) => {
                let (class, wait_ms, reason) = match outcome {
                    Outcome::Later { class, wait_ms, reason } => (class, wait_ms, reason),
                    Outcome::Refused(reason) | Outcome::Partly { reason, .. } => (Class::Refused, None, reason),
                    Outcome::Taken(_) => (Class::Refused, None, String::new()),
                };
                work.failed += 1;
                if class == Class::Setup {
                    // Nobody is to wait for an answer that may never come.
                    Ledger(&self.store).take_for_there(EXTERNAL).map_err(fault)?;
                }
                let suspects = self.looking.suspects(&self.store);
                let failed = || self.store.atomically(|| suspects.failed(&ask.targets)).map_err(fault);
                if class.may_be_somebodys() && failed()? {
                    // By itself, while others pass: it is refused, and nobody else waits for it.
                    return self.refused(connection, ask, reason, delivery, work);
                }
                let trouble = self.looking.fail(&self.store, (class, wait_ms, reason), &connection.pace)?;
                self.looking.wait(&self.store, trouble, delivery)
            }
        }
    }

    /// A call is refused: whoever it was about waits by themselves, and is given up for a while in the end.
    fn refused(
        &self,
        connection: &Connection,
        ask: &export::Ask,
        reason: String,
        delivery: Delivery,
        work: &mut Work,
    ) -> Result<()> {
        work.refused += ask.targets.len() as u64;
        let refused = ask.targets.iter().map(|target| (target.clone(), reason.clone())).collect();
        let delivery = Delivery { refused, reason: Some(reason), ..delivery };
        let again = now_ms() + i64::from(connection.look_up.again_after_days) * DAY_MS;
        let noted = self.store.atomically(|| {
            for target in &ask.targets {
                LookUps(&self.store).refused(target, connection.pace.back_off(), again, now_ms())?;
            }
            Deliveries(&self.store).write(None, now_ms(), "refused", &delivery).map(drop)
        });
        noted.map_err(fault)
    }

    /// Stores at home what is news, durably, before it is ticked off here: a crash between asks once more. Who was erased
    /// since they were asked for is not brought back: answers who of the asked is still here, and their profiles.
    async fn learn(
        &self,
        kept: &Kept,
        ask: &export::Ask,
        mut profiles: Vec<Profile>,
    ) -> Result<(Vec<String>, Vec<Profile>)> {
        let partitions = Partitions::open(&self.env).await.map_err(|_| fault("the directory could not be read"))?;
        let hash = |target: &String| {
            let (key_type, value) = target.split_once(':')?;
            let identifier = Identifier::new(KeyType::from_slug(key_type)?, &kept.connection.workspace, value)?;
            Some((partitions.key().hash(&identifier), target.clone()))
        };
        let asked: Vec<(KeyHash, String)> = ask.targets.iter().filter_map(hash).collect();
        let known = partitions.known(asked.iter().map(|(key, _)| *key).collect()).await;
        let known = known.map_err(|_| fault("it could not be found out who is still here"))?;
        let here = asked.into_iter().filter(|(key, _)| known.contains(key)).map(|(_, target)| target);
        let here: Vec<String> = here.collect();
        profiles.retain(|profile| here.iter().any(|target| profile.targets.contains(target)));
        let news = LookUps(&self.store).news(&profiles).map_err(fault)?;
        let records: Vec<_> = news.into_iter().map(|profile| profile.record.clone()).collect();
        if !records.is_empty() {
            let stored = partitions.take(records, Vec::new()).await;
            stored.map_err(|_| fault("what Braze knows could not be stored"))?;
        }
        Ok((here, profiles))
    }

    /// What an answer means to the ledger: which targets are there, and which are names of one profile.
    fn place(
        &self,
        connection: &Connection,
        asked: &[String],
        profiles: &[Profile],
    ) -> std::result::Result<(), StoreError> {
        let (ledger, queue) = (Ledger(&self.store), LookUps(&self.store));
        for profile in profiles {
            for target in &profile.targets {
                if queue.known(target)?.is_some_and(|known| known.state == UNKNOWN) {
                    // What was sent while nobody of that name was there has gone nowhere.
                    ledger.is_not_there(target, now_ms())?;
                }
            }
            for target in profile.targets.iter().filter(|target| target.starts_with(EXTERNAL)) {
                ledger.is_also(target, &profile.own, when(connection))?;
            }
            ledger.is_there(&profile.own)?;
        }
        let unknown = asked.iter().filter(|target| !profiles.iter().any(|profile| profile.targets.contains(*target)));
        unknown.into_iter().try_for_each(|target| ledger.is_not_there(target, now_ms()))
    }
}
