//! One way of calling out: its budget, and what is the matter with it at present. Each endpoint has its own, so that a
//! missing permission for one holds up nothing else.

use super::deliveries::{Deliveries, Delivery};
use super::fault;
use crate::now_ms;
use crate::sql::ObjectStore;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use wingbeat_engine::destinations::braze::settings::Pace;
use wingbeat_engine::destinations::rate::{Budget, Limits};
use wingbeat_engine::destinations::retry::Class;
use wingbeat_engine::destinations::suspects::{Suspects, Turn};
use wingbeat_engine::store::{Store, StoreError, Value};
use worker::Result;

/// What keeps a lane waiting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    pub(crate) class: Class,
    pub(crate) reason: String,
    /// In a row.
    pub(crate) failures: u32,
    /// Since when, ms.
    pub(crate) since: i64,
    /// When it is tried again, ms.
    pub(crate) next_at: i64,
    /// The delivery that shows it.
    pub(crate) delivery: Option<i64>,
}

/// A way of calling out.
pub(crate) struct Lane {
    name: &'static str,
    budget: RefCell<Budget>,
    /// Until when the budget is used up, ms.
    held: Cell<i64>,
}

impl Lane {
    pub(crate) fn new(name: &'static str) -> Lane {
        Lane { name, budget: RefCell::new(Budget::new(1.0, now_ms())), held: Cell::new(0) }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Takes a call out of the budget. `Err`: when there is one, ms.
    pub(crate) fn take(&self, per_second: f64) -> std::result::Result<(), i64> {
        let mut budget = self.budget.borrow_mut();
        budget.set_rate(per_second);
        let taken = budget.take(now_ms());
        self.held.set(taken.err().unwrap_or(0));
        taken
    }

    /// From when on it may be used, ms.
    pub(crate) fn free_at(&self, store: &ObjectStore) -> Result<i64> {
        let trouble = self.trouble(store)?.map_or(0, |trouble| trouble.next_at);
        Ok(trouble.max(self.held.get()))
    }

    /// Until when its budget is used up, ms.
    pub(crate) fn held_until(&self) -> i64 {
        self.held.get()
    }

    pub(crate) fn heed(&self, limits: &Limits) {
        self.budget.borrow_mut().heed(limits, now_ms());
    }

    pub(crate) fn trouble(&self, store: &ObjectStore) -> Result<Option<Trouble>> {
        let rows = store.query("SELECT body FROM meta WHERE name = ?", &[Value::from(self.name)]).map_err(fault)?;
        rows.first().map(|row| serde_json::from_str(row.text(0).map_err(fault)?).map_err(fault)).transpose()
    }

    /// Whoever fails by themselves.
    pub(crate) fn suspects<'s>(&self, store: &'s ObjectStore) -> Suspects<'s, ObjectStore> {
        Suspects { store, lane: self.name }
    }

    /// Of whom the next call may be: of nobody while trouble is waited out, unless it may be somebody's own.
    pub(crate) fn turns(&self, store: &ObjectStore) -> Result<Vec<Turn>> {
        let trouble = self.trouble(store)?.filter(|trouble| trouble.next_at > now_ms());
        match trouble {
            Some(trouble) if !trouble.class.may_be_somebodys() => Ok(Vec::new()),
            trouble => self.suspects(store).turns(trouble.is_some()).map_err(fault),
        }
    }

    /// Who, as a condition in SQL, need not wait for trouble that may be others' own; none: everybody waits, until
    /// [`Lane::free_at`].
    pub(crate) fn not_accused(&self, store: &ObjectStore) -> Result<Option<String>> {
        let may_be_somebodys = self.trouble(store)?.is_some_and(|trouble| trouble.class.may_be_somebodys());
        if may_be_somebodys { self.suspects(store).not_accused().map_err(fault) } else { Ok(None) }
    }

    /// It is as it was before any trouble.
    pub(crate) fn clear(&self, store: &ObjectStore) -> Result<()> {
        self.suspects(store).acquit().map_err(fault)?;
        store.exec("DELETE FROM meta WHERE name = ?", &[Value::from(self.name)]).map_err(fault).map(drop)
    }

    /// Nothing is left that waits for it: what was no setting's fault is no trouble any more, and its delivery has nothing
    /// to deliver.
    pub(crate) fn is_idle(&self, store: &ObjectStore) -> Result<()> {
        let Some(trouble) = self.trouble(store)?.filter(|trouble| trouble.class != Class::Setup) else {
            return Ok(());
        };
        let deliveries = Deliveries(store);
        let noted = store.atomically(|| {
            if let Some(id) = trouble.delivery
                && let Some(delivery) = deliveries.get(id)?
            {
                deliveries.write(Some(id), now_ms(), "moot", &Delivery { next_at: None, ..delivery })?;
            }
            self.clear(store).map_err(|error| StoreError(error.to_string()))
        });
        noted.map_err(fault)
    }

    /// A call about these was answered. Answers the delivery that the answer belongs to, if it ended a series of failures: not
    /// one that may be others' own, which is shown for itself.
    pub(crate) fn answered(
        &self,
        store: &ObjectStore,
        targets: &[String],
    ) -> std::result::Result<Option<i64>, StoreError> {
        let trouble = self.trouble(store).map_err(|error| StoreError(error.to_string()))?;
        let is_somebodys = self.suspects(store).not_accused()?.is_some();
        self.suspects(store).passed(targets)?;
        let Some(id) = trouble.and_then(|trouble| trouble.delivery) else { return Ok(None) };
        let deliveries = Deliveries(store);
        let Some(waiting) = deliveries.get(id)? else { return Ok(None) };
        if !is_somebodys || targets.iter().any(|target| waiting.targets.contains(target)) {
            return Ok(Some(id));
        }
        deliveries.write(Some(id), now_ms(), "split", &Delivery { next_at: None, ..waiting })?;
        Ok(None)
    }

    /// One more failure: what the trouble is from now on, before it is kept.
    pub(crate) fn fail(
        &self,
        store: &ObjectStore,
        (class, wait_ms, reason): (Class, Option<i64>, String),
        pace: &Pace,
    ) -> Result<Trouble> {
        let before = self.trouble(store)?;
        let now = now_ms();
        let failures = before.as_ref().map_or(0, |before| before.failures).saturating_add(1);
        // What a person must put right is tried rarely from the start.
        let waits = if class == Class::Setup { failures.saturating_add(5) } else { failures };
        let wait = wait_ms.unwrap_or_else(|| pace.back_off().wait(waits, now.unsigned_abs()));
        let since = before.as_ref().map_or(now, |before| before.since);
        Ok(Trouble { class, reason, failures, since, next_at: now + wait, delivery: before.and_then(|it| it.delivery) })
    }

    /// The series of attempts goes on later: what the trouble is, and the delivery that shows it.
    pub(crate) fn wait(&self, store: &ObjectStore, trouble: Trouble, delivery: Delivery) -> Result<()> {
        let delivery = Delivery {
            attempt: trouble.failures,
            next_at: Some(trouble.next_at),
            reason: Some(trouble.reason.clone()),
            ..delivery
        };
        let noted = store.atomically(|| {
            let id = Deliveries(store).write(trouble.delivery, now_ms(), "waiting", &delivery)?;
            let trouble = Trouble { delivery: Some(id), ..trouble };
            self.keep(store, &trouble).map_err(|error| StoreError(error.to_string()))
        });
        noted.map_err(fault)
    }

    pub(crate) fn keep(&self, store: &ObjectStore, trouble: &Trouble) -> Result<()> {
        let body = serde_json::to_string(trouble).map_err(fault)?;
        let params = [Value::from(self.name), Value::Text(body)];
        store.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", &params).map_err(fault).map(drop)
    }
}
