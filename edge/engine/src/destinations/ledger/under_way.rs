//! The call that is being made: noted before it leaves, so that a crash before its answer is noted is a lost answer, and no
//! more.

use super::{Ledger, Values, When, text, values};
use crate::store::{Store, StoreError, Value};

pub(super) const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS under_way (no INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT";
/// One call at a time.
const NO: i64 = 1;

impl<S: Store> Ledger<'_, S> {
    /// A call is about to be made: what each target may hold besides, should nobody hear what came of it. One row,
    /// whatever it is about.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_out(&self, may_hold: &[(String, Values)]) -> Result<(), StoreError> {
        let body = serde_json::to_string(may_hold).map_err(|error| StoreError(error.to_string()))?;
        self.0.exec("INSERT OR REPLACE INTO under_way VALUES (?, ?)", &[NO.into(), Value::Text(body)]).map(drop)
    }

    /// What came of the call is known, and noted.
    ///
    /// # Errors
    /// When the store fails.
    pub fn came_back(&self) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM under_way", &[]).map(drop)
    }

    /// Nobody knows what came of the call that was under way, if one was: its targets may hold what it said, or what was
    /// confirmed before, so that they are told it again, even if what was there before is wanted by now. It may still be
    /// worked off, so that the gap is kept from now on.
    ///
    /// # Errors
    /// When the store fails.
    pub fn doubt(&self, when: When) -> Result<(), StoreError> {
        let rows = self.0.query("SELECT body FROM under_way", &[])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let may_hold: Vec<(String, Values)> =
            serde_json::from_str(row.text(0)?).map_err(|error| StoreError(format!("under way: {error}")))?;
        for (target, may_hold) in may_hold {
            let target = Value::from(target.as_str());
            let sql = "SELECT wanted, confirmed, due FROM target WHERE target = ? AND absent = 0";
            let rows = self.0.query(sql, std::slice::from_ref(&target))?;
            let Some(row) = rows.first() else { continue };
            let (wanted, mut confirmed) = (values(row, 0)?, values(row, 1)?);
            confirmed.extend(may_hold);
            // What went back while the call was under way waited for nothing any more.
            let due = match row.is_null(2) {
                true => (wanted != confirmed).then_some(when.now),
                false => Some(row.integer(2)?),
            };
            let due = due.map(|due| due.max(when.now + when.gap_ms));
            let sql = "UPDATE target SET confirmed = ?, due = ?, sent_at = ? WHERE target = ?";
            self.0.exec(sql, &[text(&confirmed), due.into(), when.now.into(), target])?;
        }
        self.came_back()
    }
}
