//! Whose a target is and whether it is there at all: targets that turn out to be two names of one, that the other side does
//! not have, or whose prospect is erased.

use super::{Displaced, Ledger, When, due, integer, text, values};
use crate::store::{Row, Store, StoreError, Value};

/// `absent` of a name that leads to a target which another prospect has.
const ANOTHERS: i64 = 2;

impl<S: Store> Ledger<'_, S> {
    /// Somebody was erased: their targets are nobody's from now on, and lose whatever they may hold, even if only an answer
    /// that was lost would have confirmed it: at once, but for the gap, lest it is overtaken. Answers the targets.
    ///
    /// # Errors
    /// When the store fails.
    pub fn withdraw(&self, prospect: &str, when: When) -> Result<Vec<String>, StoreError> {
        let rows = self.0.query(
            "SELECT target, wanted, confirmed, absent, sent_at FROM target WHERE prospect = ?",
            &[Value::from(prospect)],
        )?;
        let mut targets = Vec::with_capacity(rows.len());
        for row in &rows {
            let target = row.text(0)?;
            let mut held = values(row, 2)?;
            if row.integer(3)? == 0 {
                held.extend(values(row, 1)?);
            }
            if held.is_empty() {
                self.forget(target)?;
            } else {
                let sql =
                    "UPDATE target SET prospect = '', rev = 0, wanted = '{}', confirmed = ?, changed_at = ?, due = ?,
                           failures = 0, error = NULL, absent = 0, stale = 0, own = 0 WHERE target = ?";
                let due = due(when, row.integer(4)?, true);
                self.0.exec(sql, &[text(&held), when.now.into(), due.into(), Value::from(target)])?;
            }
            targets.push(target.to_owned());
        }
        Ok(targets)
    }

    /// A target is not used as long as its prospect has these others, and may be another name of one of them: if it was
    /// told anything, what the others were told may have been overwritten, so that they are told everything once more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn give_way(&self, old: &str, prospect: &str, by: &[String], when: When) -> Result<(), StoreError> {
        let rows = self.0.query("SELECT confirmed FROM target WHERE target = ?", &[Value::from(old)])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let confirmed = values(row, 0)?;
        self.keep_name(old, prospect)?;
        if confirmed.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE target SET confirmed = '{}', due = ? WHERE target = ?";
        let due = Value::Integer(due(when, when.now, false));
        by.iter().try_for_each(|target| self.0.exec(sql, &[due.clone(), Value::from(target.as_str())]).map(drop))
    }

    /// Who has a target's own name, if anybody is known to.
    ///
    /// # Errors
    /// When the store fails.
    pub fn holder(&self, target: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT prospect FROM target WHERE target = ? AND own = 1 AND prospect <> ''";
        let rows = self.0.query(sql, &[Value::from(target)])?;
        rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    /// A name leads to a target that is another prospect's: it is shown with what is not told there. If it was told anything
    /// before, that may have overwritten what the target was told.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_anothers(&self, name: &str, target: &str, not_told: &Displaced, when: When) -> Result<(), StoreError> {
        let Displaced { prospect, rev, wanted } = not_told;
        if wanted.is_empty() {
            return self.give_way(name, prospect, &[target.to_owned()], when);
        }
        let sql = "SELECT prospect, wanted, absent, confirmed FROM target WHERE target = ?";
        if let Some(row) = self.0.query(sql, &[Value::from(name)])?.first() {
            let is_shown = row.integer(2)? == ANOTHERS && row.text(0)? == prospect;
            if is_shown && values(row, 1)? == *wanted {
                return Ok(());
            }
            if !values(row, 3)?.is_empty() {
                self.give_way(name, prospect, &[target.to_owned()], when)?;
            }
        }
        let params = [
            Value::from(name),
            Value::from(prospect.as_str()),
            integer(*rev),
            text(wanted),
            when.now.into(),
            ANOTHERS.into(),
        ];
        let sql = "INSERT OR REPLACE INTO target VALUES (?, ?, ?, ?, '{}', ?, 0, NULL, 0, NULL, ?, 0, 0)";
        self.0.exec(sql, &params).map(drop)
    }

    /// A name leads to no target that is another prospect's, or no more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_nobody_elses(&self, name: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM target WHERE target = ? AND absent = ?";
        self.0.exec(sql, &[Value::from(name), ANOTHERS.into()]).map(drop)
    }

    /// A target turns out to be another name of a second one: what it was told, that one holds. If that is another
    /// prospect's by its own name, this one is not told to it from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_also(&self, old: &str, new: &str, when: When) -> Result<(), StoreError> {
        let sql = "SELECT prospect, rev, wanted, confirmed, changed_at, sent_at, due, own FROM target WHERE target = ?";
        let rows = self.0.query(sql, &[Value::from(old)])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let (prospect, wanted, confirmed) = (row.text(0)?, values(row, 2)?, values(row, 3)?);
        if old == new || wanted.is_empty() && confirmed.is_empty() {
            return Ok(());
        }
        // What waits goes out when it would have gone.
        let waits = |row: &Row| if row.is_null(6) { Ok(i64::MAX) } else { row.integer(6) };
        let others = self.0.query(sql, &[Value::from(new)])?;
        if let Some(other) = others.first()
            && other.integer(7)? != 0
            && !["", prospect].contains(&other.text(0)?)
        {
            let not_told = Displaced { prospect: prospect.to_owned(), rev: row.integer(1)?.unsigned_abs(), wanted };
            return self.is_anothers(old, new, &not_told, when);
        }
        if let Some(other) = others.first() {
            // Of what both were told, what came last is there.
            let (mut first, last) = match row.integer(5)? > other.integer(5)? {
                true => (values(other, 3)?, confirmed),
                false => (confirmed, values(other, 3)?),
            };
            first.extend(last);
            let sent_at = row.integer(5)?.max(other.integer(5)?);
            let waits = waits(row)?.min(waits(other)?).min(due(when, 0, false)).max(sent_at + when.gap_ms);
            let due = (values(other, 2)? != first).then_some(waits);
            let sql = "UPDATE target SET confirmed = ?, due = ?, sent_at = ? WHERE target = ?";
            self.0.exec(sql, &[text(&first), due.into(), sent_at.into(), Value::from(new)])?;
        } else {
            let due = (wanted != confirmed).then_some(waits(row)?.min(due(when, 0, false)));
            let params = [
                Value::from(new),
                Value::from(prospect),
                row.integer(1)?.into(),
                text(&wanted),
                text(&confirmed),
                row.integer(4)?.into(),
                row.integer(5)?.into(),
                due.into(),
            ];
            self.0.exec("INSERT INTO target VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, 0, 0, 0)", &params)?;
        }
        self.keep_name(old, prospect)
    }

    /// The other side has a target.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_there(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("UPDATE target SET absent = 0 WHERE target = ? AND absent = 1", &[Value::from(target)]).map(drop)
    }

    /// The other side has no such target: whatever it seemed to take, it does not hold.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_not_there(&self, target: &str, now: i64) -> Result<(), StoreError> {
        let sql = "UPDATE target SET absent = 1, confirmed = '{}', due = ?, failures = 0, error = NULL
                   WHERE target = ? AND wanted <> '{}'";
        self.0.exec(sql, &[now.into(), Value::from(target)])?;
        self.0.exec("DELETE FROM target WHERE target = ? AND wanted = '{}'", &[Value::from(target)]).map(drop)
    }

    /// Nobody can say whether these are there, whose names begin so: they are told as if they were.
    ///
    /// # Errors
    /// When the store fails.
    pub fn take_for_there(&self, prefix: &str) -> Result<(), StoreError> {
        let sql = "UPDATE target SET absent = 0 WHERE absent = 1 AND substr(target, 1, length(?1)) = ?1";
        self.0.exec(sql, &[Value::from(prefix)]).map(drop)
    }

    /// A target is not to hold anything, and nothing is known of what it does.
    fn keep_name(&self, target: &str, prospect: &str) -> Result<(), StoreError> {
        let sql =
            "UPDATE target SET prospect = ?1, wanted = '{}', confirmed = '{}', due = NULL, failures = 0, error = NULL,
                   absent = 0, stale = 0 WHERE target = ?2 AND (prospect <> ?1 OR wanted <> '{}' OR confirmed <> '{}')";
        self.0.exec(sql, &[Value::from(prospect), Value::from(target)]).map(drop)
    }

    /// Forgets everybody: what was confirmed was another account's word.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_all(&self) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM target", &[])?;
        self.came_back()
    }
}
