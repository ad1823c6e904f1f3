//! A Durable Object has one alarm. Whatever it must wake up for shares it: the earliest time wins.

use crate::now_ms;
use std::cell::Cell;
use worker::{Result, Storage};

/// What the alarm is set to, as far as this life of the object knows.
#[derive(Default)]
pub(crate) struct Alarm {
    set: Cell<Option<i64>>,
}

impl Alarm {
    /// Whether it must be set anew to ring at a time (ms since 1970) at the latest.
    pub(crate) fn is_later_than(&self, at: i64) -> bool {
        self.set.get().is_none_or(|set| at < set)
    }

    /// Sets it so that it rings at a time at the latest. A row is billed for setting it, so it is never moved later: it
    /// rings, finds nothing, and is set to what comes next.
    pub(crate) async fn set_by(&self, storage: &Storage, at: i64) -> Result<()> {
        if !self.is_later_than(at) {
            return Ok(());
        }
        self.set.set(Some(at));
        let set = storage.set_alarm(at.saturating_sub(now_ms()).max(0)).await;
        if set.is_err() {
            self.set.set(None);
        }
        set
    }

    /// It has rung: it is set to nothing any more.
    pub(crate) fn has_rung(&self) {
        self.set.set(None);
    }

    /// Deletes all that is stored, and it with that, as `deleteAll` does since compatibility date 2026-02-24. Whoever took a
    /// deleted alarm for set would never set another one, so nothing else deletes either.
    pub(crate) async fn delete_with_all(&self, storage: &Storage) -> Result<()> {
        self.set.set(None);
        storage.delete_all().await
    }
}
