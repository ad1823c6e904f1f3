//! What happens without an event: at the instant at which a prospect changes by itself it is brought up to date, and the
//! feed told. Only who is due is looked at, so the cost grows with what happens, not with people.

use super::change::{Cause, Change, Line, Turned};
use super::person::{Due, Person};
use super::publish::Work;
use super::{Partition, decode};
use crate::scoring::Model;
use crate::store::{Store, StoreError, Value};

/// How many changes of one prospect one round finds: after a long sleep the rest waits for the next one.
const CHANGES_A_ROUND: usize = 64;

/// How often a prospect is looked at to whom one thing happens: before it, at it, at what is due before and after, and when
/// it is stored.
const LOOKS_A_TURN: u64 = 5;

/// What a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// How many prospects were due.
    pub prospects: usize,
    /// How many changes the feed was told.
    pub changes: usize,
}

/// Something that happened by itself.
pub(super) struct Turn {
    at: i64,
    turned: Vec<Turned>,
}

impl Turn {
    pub(super) fn change(self, person: &Person, rev: u64) -> Change {
        let Person { founder, home, .. } = *person;
        Change { founder, rev, at: self.at, cause: Cause::Time, turned: self.turned, home, gone: false }
    }
}

impl Person {
    /// What happened by itself after `since` and up to `now`, and when there is more. No event may come between.
    pub(super) fn turns(&self, model: &Model, since: i64, now: i64) -> (Vec<Turn>, Option<i64>) {
        // From there on, it is folded anew first.
        let now = self.fold.ends().map_or(now, |ends| now.min(ends.saturating_sub(1)));
        let (mut turns, mut at) = (Vec::new(), since);
        let mut standing = self.fold.standing(model, &self.attributes, at);
        loop {
            let due = self.fold.due(model, &self.attributes, at);
            let Some(next) = due.filter(|due| *due <= now && turns.len() < CHANGES_A_ROUND) else {
                return (turns, due);
            };
            let after = self.fold.standing(model, &self.attributes, next);
            let mut turned = Turned::between(&standing, &after);
            let lapses = after.excluded.is_none() && self.fold.lapses(model, at, next);
            turned.extend(lapses.then_some(Turned::Inactivity));
            // It may be due without reason: see `Fold::due`.
            if !turned.is_empty() {
                turns.push(Turn { at: next, turned });
            }
            (standing, at) = (after, next);
        }
    }

    /// The last time before which nothing was due: of an event after it, all that happens by itself is told from there.
    pub(super) fn settled(&self, due: i64) -> i64 {
        self.fold.newest().map_or(due - 1, |(newest, _, _)| newest.max(due - 1))
    }
}

impl<S: Store> Partition<S> {
    /// The earliest time at which somebody changes by themselves, ms; it may have passed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let rows = self.store.query("SELECT due FROM person WHERE due IS NOT NULL ORDER BY due LIMIT 1", &[])?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    /// Brings prospects up to date whose time has come, at most so many, in one transaction. Fewer than that were due if
    /// fewer are answered.
    ///
    /// # Errors
    /// When the store fails: then nothing was kept.
    pub fn turn(&mut self, now: i64, limit: u32) -> Result<Round, StoreError> {
        self.store.atomically(|| {
            let sql = "SELECT no, due, state FROM person WHERE due <= ? ORDER BY due LIMIT ? + 0";
            let rows = self.store.query(sql, &[now.into(), i64::from(limit).into()])?;
            let (mut line, mut work) = (Line::default(), Work::default());
            for row in &rows {
                let (no, due) = (row.integer(0)?, row.integer(1)?);
                let person: Person = decode(row.blob(2)?)?;
                let is_old = person.model_version != self.model_version;
                // Events that it did not keep one by one happen now.
                let has_ended = person.fold.ends().is_some_and(|ends| ends <= due);
                let is_anew = is_old || has_ended;
                let steps =
                    if is_anew { self.steps_to_fold_anew(&person) } else { LOOKS_A_TURN * self.model.steps_a_look() };
                if !work.takes(steps) {
                    break;
                }
                line.extend(if is_anew {
                    self.fold_anew(no, &person, now, if is_old { Cause::Publish } else { Cause::Time })?
                } else {
                    self.turn_one(no, due, person, now)?
                });
            }
            self.write_line(&line, now)?;
            Ok(Round { prospects: rows.len(), changes: line.changes.len() })
        })
    }

    fn turn_one(&self, no: i64, due: i64, mut person: Person, now: i64) -> Result<Line, StoreError> {
        let (turns, next) = person.turns(&self.model, person.settled(due), now);
        let mut changed = Vec::with_capacity(turns.len());
        for turn in turns {
            person.rev += 1;
            changed.push(turn.change(&person, person.rev));
        }
        let reached = if changed.is_empty() {
            let params = [Value::from(next), no.into()];
            self.store.exec("UPDATE person SET due = ? WHERE no = ?", &params)?;
            Vec::new()
        } else {
            person.changed = now;
            self.save_person(no, &mut person, Due::Exactly(next), (now, Cause::Time))?
        };
        Ok(Line { changes: changed, reached })
    }
}
