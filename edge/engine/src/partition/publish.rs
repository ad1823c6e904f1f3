//! Versions of the model: a partition goes by the newest that it was told of, and folds everybody anew by it, a slice at a
//! time, while events go on. A prospect is shown under the version that it was folded by; whoever is looked up by
//! themselves, and whoever gets an event, is folded anew first.

use super::change::{Cause, Change, Line, Turned};
use super::person::{Due, Person};
use super::{Partition, decode, encode};
use crate::scoring::Model;
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};

/// The most prospects of one slice.
pub(super) const PEOPLE_A_SLICE: i64 = 128;
/// How many steps of work ([`Model::steps_an_event`], [`Model::steps_a_look`]) one slice has at most, unless one prospect
/// alone has more: some ten milliseconds, after which waiting events come in.
pub(super) const STEPS_A_SLICE: u64 = 250_000;

/// The work of a slice so far.
#[derive(Debug, Default)]
pub(super) struct Work(u64);

impl Work {
    /// Takes on one prospect of so many steps, if there is room for it. For the first one there is.
    pub(super) fn takes(&mut self, steps: u64) -> bool {
        let after = self.0.saturating_add(steps);
        let fits = self.0 == 0 || after <= STEPS_A_SLICE;
        if fits {
            self.0 = after;
        }
        fits
    }
}

/// How far something is that goes through all prospects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    /// How many are done.
    #[n(0)]
    pub done: u64,
    /// Of how many.
    #[n(1)]
    pub total: u64,
}

/// A recomputation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(super) struct Recompute {
    /// The row that was done last.
    #[n(0)]
    cursor: i64,
    #[n(1)]
    progress: Progress,
}

/// The name in `meta` of a version that some prospects may still be folded by.
fn former_name(version: u64) -> String {
    format!("model/{version}")
}

/// Reads a model that was read before.
pub(super) fn parse(text: &str) -> Result<Model, StoreError> {
    Model::parse(text).map_err(|errors| {
        StoreError(
            errors.iter().map(|error| format!("{}: {}", error.path, error.message)).collect::<Vec<_>>().join("; "),
        )
    })
}

impl<S: Store> Partition<S> {
    /// The newest version of the model that this partition was told of.
    #[must_use]
    pub fn model_version(&self) -> u64 {
        self.model_version
    }

    /// Loads what was durable of versions: the model in force (that which was given, if there is none yet), those before it
    /// that are still needed, and how far the recomputation is.
    pub(super) fn load_versions(&mut self) -> Result<(), StoreError> {
        match self.meta("model")? {
            Some(bytes) => {
                let (version, text): (u64, String) = decode(&bytes)?;
                (self.model, self.model_version) = (parse(&text)?, version);
            }
            None => self.set_meta("model", &(self.model_version, self.model.json()))?,
        }
        let rows = self.store.query("SELECT name, body FROM meta WHERE name LIKE 'model/%'", &[])?;
        for row in rows {
            let version = row.text(0)?.split_once('/').and_then(|(_, version)| version.parse().ok());
            let version: u64 = version.ok_or_else(|| StoreError("the name of a former model".to_owned()))?;
            self.former.insert(version, parse(&decode::<String>(row.blob(1)?)?)?);
        }
        self.recompute = self.meta("recompute")?.map(|bytes| decode(&bytes)).transpose()?;
        self.recomputed = self.meta("recomputed")?.map(|bytes| decode(&bytes)).transpose()?.unwrap_or_default();
        Ok(())
    }

    /// Takes over a newer version of the model, durably. One that is not newer changes nothing. Answers how far folding
    /// everybody anew is.
    ///
    /// # Errors
    /// When the text is no model, or the store fails: then nothing was kept.
    pub fn publish(&mut self, version: u64, text: &str) -> Result<Progress, StoreError> {
        if version <= self.model_version {
            return Ok(self.recomputing().unwrap_or_default());
        }
        let model = parse(text)?;
        let recompute = self.store.atomically(|| {
            let rows = self.store.query("SELECT count(*) FROM person", &[])?;
            let total = rows.first().map_or(Ok(0), |row| row.integer(0))?.unsigned_abs();
            self.set_meta("model", &(version, text))?;
            if total == 0 {
                self.store.exec("DELETE FROM meta WHERE name = 'recomputed'", &[])?;
                return Ok(None);
            }
            self.set_meta(&former_name(self.model_version), &self.model.json())?;
            let recompute = Recompute { cursor: -1, progress: Progress { done: 0, total } };
            self.set_meta("recompute", &recompute)?;
            Ok::<_, StoreError>(Some(recompute))
        })?;
        let before = std::mem::replace(&mut self.model, model);
        if recompute.is_some() {
            self.former.insert(self.model_version, before);
        } else {
            self.recomputed = Progress::default();
        }
        (self.model_version, self.recompute) = (version, recompute);
        Ok(self.recomputing().unwrap_or_default())
    }

    /// How far folding everybody anew is; `None` when it is done.
    #[must_use]
    pub fn recomputing(&self) -> Option<Progress> {
        self.recompute.map(|recompute| recompute.progress)
    }

    /// How far it was at its end: done with all. Of several partitions some are done sooner, and go on counting.
    #[must_use]
    pub fn recomputed(&self) -> Progress {
        self.recomputed
    }

    /// Folds the next slice of prospects anew, in one transaction. Answers how far it is; `None` when it is done.
    ///
    /// # Errors
    /// When the store fails: then nothing was kept.
    pub fn recompute(&mut self, now: i64) -> Result<Option<Progress>, StoreError> {
        let Some(before) = self.recompute else { return Ok(None) };
        let mut at_the_end = self.recomputed;
        let after = self.store.atomically(|| {
            let sql = "SELECT no, model, state FROM person WHERE no > ? ORDER BY no LIMIT ? + 0";
            let rows = self.store.query(sql, &[before.cursor.into(), PEOPLE_A_SLICE.into()])?;
            let (mut after, mut work, mut line) = (before, Work::default(), Line::default());
            // A slice that is not full is the last, unless it ends early.
            let mut is_last = i64::try_from(rows.len()).is_ok_and(|count| count < PEOPLE_A_SLICE);
            for row in &rows {
                let no = row.integer(0)?;
                if row.integer(1)?.unsigned_abs() != self.model_version {
                    let person: Person = decode(row.blob(2)?)?;
                    if !work.takes(self.steps_to_fold_anew(&person)) {
                        is_last = false;
                        break;
                    }
                    line.extend(self.fold_anew(no, &person, now, Cause::Publish)?);
                }
                after.cursor = no;
                after.progress.done += 1;
            }
            after.progress.total = after.progress.total.max(after.progress.done);
            self.write_line(&line, now)?;
            if is_last {
                self.store.exec("DELETE FROM meta WHERE name = 'recompute' OR name LIKE 'model/%'", &[])?;
                // Who was to be folded anew may have gone meanwhile.
                let total = after.progress.total;
                at_the_end = Progress { done: total, total };
                self.set_meta("recomputed", &at_the_end)?;
                return Ok(None);
            }
            self.set_meta("recompute", &after)?;
            Ok::<_, StoreError>(Some(after))
        })?;
        if after.is_none() {
            self.former.clear();
        }
        (self.recompute, self.recomputed) = (after, at_the_end);
        Ok(self.recomputing())
    }

    /// How much work folding a prospect anew is at most, in steps.
    pub(super) fn steps_to_fold_anew(&self, person: &Person) -> u64 {
        /// After it: at what has changed, at when it is due, and at what is stored.
        const LOOKS: u64 = 3;
        let events = self.events_scored(person).saturating_mul(self.model.steps_an_event());
        let before = self.model_of(person.model_version).steps_a_look();
        events.saturating_add(before + LOOKS * self.model.steps_a_look())
    }

    /// How many events of a prospect folding it anew goes through.
    pub(super) fn events_scored(&self, person: &Person) -> u64 {
        person.events.min(u64::from(self.policy.events_scored))
    }

    /// Folds a prospect by the model in force, and stores it so.
    pub(super) fn fold_anew(&self, no: i64, person: &Person, now: i64, cause: Cause) -> Result<Line, StoreError> {
        let Some(mut anew) = self.under_the_newest(no, person, now)? else {
            self.delete_person(no)?;
            let changes = vec![Change::gone(person.founder, person.home, person.rev + 1, now)];
            return Ok(Line { changes, reached: Vec::new() });
        };
        (anew.rev, anew.changed) = (person.rev + 1, now);
        let until = person.fold.ends().map_or(now, |ends| now.min(ends.saturating_sub(1)));
        let before = person.fold.standing(self.model_of(person.model_version), &person.attributes, until);
        let after = anew.fold.standing(&self.model, &anew.attributes, now);
        let due = Due::Exactly(anew.fold.due(&self.model, &anew.attributes, now));
        anew.told.clone_from(&person.told);
        let reached = self.save_person(no, &mut anew, due, (now, cause))?;
        let (founder, rev, home) = (anew.founder, anew.rev, anew.home);
        let turned = Turned::between(&before, &after);
        let change = Change { founder, rev, at: now, cause, turned, home, gone: false };
        Ok(Line { changes: vec![change], reached })
    }

    /// A prospect folded by the model in force; `None` if it has no events any more.
    pub(super) fn under_the_newest(&self, no: i64, person: &Person, now: i64) -> Result<Option<Person>, StoreError> {
        let Some(mut anew) = self.refold(&person.subject(no), now)? else { return Ok(None) };
        anew.rev = person.rev;
        anew.set_email(person.email.clone());
        Ok(Some(anew))
    }

    /// The model of a version that prospects here may have been folded by.
    pub(super) fn model_of(&self, version: u64) -> &Model {
        self.former.get(&version).unwrap_or(&self.model)
    }

    /// Every version that prospects here may have been folded by.
    pub(super) fn models(&self) -> impl Iterator<Item = (u64, &Model)> {
        std::iter::once((self.model_version, &self.model))
            .chain(self.former.iter().map(|(version, model)| (*version, model)))
    }

    pub(super) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.store.query("SELECT body FROM meta WHERE name = ?", &[Value::from(name)])?;
        rows.first().map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
    }

    pub(super) fn set_meta<T: Encode<()>>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let params = [Value::from(name), Value::Blob(encode(value)?)];
        self.store.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", &params).map(drop)
    }
}
