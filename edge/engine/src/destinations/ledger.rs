//! What every record on the other side should hold, what it is known to hold, and when to try next.
//!
//! A record (a *target*: a Braze profile, later a Salesforce Lead) is brought from what was last confirmed to what is
//! wanted now, in absolute values: an attempt may be lost, repeated or overtaken, and the next one is still right. State
//! that a crash leaves is only ever "not confirmed yet".

mod names;
#[cfg(test)]
mod tests;
mod under_way;

use super::retry::{BackOff, RECORD_ATTEMPTS_MAX};
use crate::store::{Row, Store, StoreError, Value};
use serde_json::Map;

/// Values by name.
pub type Values = Map<String, serde_json::Value>;

const TABLES: &[&str] = &[
    // `due`: when it is to be sent; NULL when nothing is, or when it has been refused too often. `absent`: the other side
    // is not known to have it, so that nothing is sent, and nothing is held. `stale`: what is wanted is so by other settings
    // than the present ones, so that nothing is sent until it is noted anew. What neither is to hold anything nor does is
    // kept for its name: what was once sent to it speaks of the prospect. `absent` is 2 for a name that leads to a
    // target which another prospect has: it says what is not told there. `own`: the prospect has the target's own name.
    "CREATE TABLE IF NOT EXISTS target (target TEXT PRIMARY KEY, prospect TEXT NOT NULL, rev INTEGER NOT NULL,
       wanted TEXT NOT NULL, confirmed TEXT NOT NULL, changed_at INTEGER NOT NULL, sent_at INTEGER NOT NULL,
       due INTEGER, failures INTEGER NOT NULL, error TEXT, absent INTEGER NOT NULL, stale INTEGER NOT NULL,
       own INTEGER NOT NULL)
       STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS target_due ON target (due)
       WHERE due IS NOT NULL AND absent = 0 AND stale = 0",
    "CREATE INDEX IF NOT EXISTS target_prospect ON target (prospect)",
    under_way::TABLE,
];

/// A target that is to be told something.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// `type:value`.
    pub target: String,
    /// What it should hold.
    pub wanted: Values,
    /// What it is known to hold.
    pub confirmed: Values,
    /// When that was last otherwise, ms.
    pub changed_at: i64,
    /// How often it was refused with these values.
    pub failures: u32,
    /// It is nobody's any more: who it was of was erased.
    pub withdrawn: bool,
}

/// What is known of a target, as it is to be from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish<'w> {
    /// `type:value`.
    pub target: &'w str,
    /// Whose.
    pub prospect: &'w str,
    /// Of the prospect: of one prospect the highest counts.
    pub rev: u64,
    /// What it should hold. Nothing: what was told before is removed, and then it is forgotten.
    pub wanted: Values,
    /// The other side is not known to have it: nothing is sent until it is.
    pub absent: bool,
    /// The prospect has the target's own name: then no other that only something else leads there is told to it.
    pub own: bool,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Wished {
    /// It counts.
    Noted,
    /// It does not: another prospect has the target's own name.
    Anothers,
    /// It counts, in place of another prospect's, which has not the target's own name.
    InsteadOf(Displaced),
}

/// A wish that counts no more.
#[derive(Debug, Clone, PartialEq)]
pub struct Displaced {
    /// Whose.
    pub prospect: String,
    /// Of the prospect.
    pub rev: u64,
    /// What the target should have held.
    pub wanted: Values,
}

/// When what is wanted is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// ms.
    pub now: i64,
    /// What is not urgent waits for the next multiple of this, ms: so changes of one target, and of many, go together.
    pub coalesce_ms: i64,
    /// The least time between two writes to one target, ms. A call that nobody heard the end of is a write when it was given
    /// up: what is worked off without an order must not overtake what is said next (facts on Braze, section 4).
    pub gap_ms: i64,
}

/// How many targets there are, by what is the matter with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub all: u64,
    /// Waiting to be told something.
    pub pending: u64,
    /// Refused so often that a person must look, or other values come.
    pub stopped: u64,
    /// Known to hold what they should.
    pub confirmed: u64,
    /// Not known to be there.
    pub absent: u64,
    /// Shown by a dry run, and not sent.
    pub shown_only: u64,
    /// Names that lead to a target which another prospect has.
    pub not_theirs: u64,
}

/// The ledger of one connection.
pub struct Ledger<'s, S: Store>(pub &'s S);

impl<S: Store> Ledger<'_, S> {
    /// Makes its tables.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(&self) -> Result<(), StoreError> {
        TABLES.iter().try_for_each(|sql| self.0.exec(sql, &[]).map(drop))
    }

    /// Notes what a target should hold. `urgent` decides, from what is wanted and what is confirmed, whether it is sent at
    /// once.
    ///
    /// # Errors
    /// When the store fails.
    pub fn wish(
        &self,
        wish: &Wish<'_>,
        urgent: impl Fn(&Values, &Values) -> bool,
        when: When,
    ) -> Result<Wished, StoreError> {
        let sql =
            "SELECT prospect, rev, wanted, confirmed, changed_at, sent_at, due, failures, absent, stale, own FROM target
                   WHERE target = ?";
        let rows = self.0.query(sql, &[Value::from(wish.target)])?;
        let [absent, own] = [wish.absent, wish.own].map(|is| Value::Integer(is.into()));
        let Some(row) = rows.first() else {
            // Who has the target's own name and nothing to tell keeps others from it.
            if wish.wanted.is_empty() && !wish.own {
                return Ok(Wished::Noted);
            }
            let due = due(when, 0, urgent(&wish.wanted, &Values::new()));
            let due = (!wish.wanted.is_empty()).then_some(due);
            let params = [
                Value::from(wish.target),
                Value::from(wish.prospect),
                integer(wish.rev),
                text(&wish.wanted),
                Value::from("{}"),
                when.now.into(),
                0.into(),
                due.into(),
                absent,
                own,
            ];
            let sql = "INSERT INTO target VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, ?, 0, ?)";
            return self.0.exec(sql, &params).map(|_| Wished::Noted);
        };
        let (wanted, confirmed) = (values(row, 2)?, values(row, 3)?);
        let (same_prospect, was_own) = (row.text(0)? == wish.prospect, row.integer(10)? != 0);
        let is_somebodys = !same_prospect && !row.text(0)?.is_empty();
        if is_somebodys && was_own && !wish.own {
            return Ok(Wished::Anothers);
        }
        let is_as_there = Value::Integer(row.integer(8)?) == absent && was_own == wish.own;
        let same = wanted == wish.wanted && is_as_there && row.integer(9)? == 0;
        if same_prospect && (row.integer(1)?.unsigned_abs() > wish.rev || same) {
            return Ok(Wished::Noted);
        }
        let (changed_at, sent_at, failures) = (row.integer(4)?, row.integer(5)?, row.integer(7)?);
        let waiting = if row.is_null(6) { None } else { Some(row.integer(6)?) };
        let told = wish.wanted == confirmed;
        let due = if told {
            None
        } else {
            let soonest = due(when, sent_at, urgent(&wish.wanted, &confirmed));
            // What waits goes out no later for having changed again; what was refused is tried afresh with other values.
            Some(waiting.filter(|_| failures == 0).map_or(soonest, |waiting| waiting.min(soonest)))
        };
        let changed_at = if wanted == wish.wanted { changed_at } else { when.now };
        let sql =
            "UPDATE target SET prospect = ?, rev = ?, wanted = ?, changed_at = ?, due = ?, failures = 0, error = NULL,
                   absent = ?, stale = 0, own = ? WHERE target = ?";
        let params = [
            Value::from(wish.prospect),
            integer(wish.rev),
            text(&wish.wanted),
            changed_at.into(),
            due.into(),
            absent,
            own,
            Value::from(wish.target),
        ];
        self.0.exec(sql, &params)?;
        if !is_somebodys || was_own || !wish.own || wanted.is_empty() {
            return Ok(Wished::Noted);
        }
        Ok(Wished::InsteadOf(Displaced {
            prospect: row.text(0)?.to_owned(),
            rev: row.integer(1)?.unsigned_abs(),
            wanted,
        }))
    }

    /// Forgets a target without telling it anything.
    fn forget(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM target WHERE target = ?", &[Value::from(target)]).map(drop)
    }

    /// Who is to be told now, who waits longest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due(&self, now: i64, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.due_of("1", now, limit)
    }

    /// Who of those for whom a condition in SQL holds is to be told now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due_of(&self, condition: &str, now: i64, limit: usize) -> Result<Vec<Due>, StoreError> {
        let sql = format!(
            "SELECT target, wanted, confirmed, changed_at, failures, prospect FROM target
             WHERE due <= ? AND absent = 0 AND stale = 0 AND {condition} ORDER BY due, target LIMIT ? + 0"
        );
        self.0.query(&sql, &[now.into(), integer(limit as u64)])?.iter().map(read).collect()
    }

    /// Who would be told something, whenever, in the order in which they would be: for a dry run. Behind one, by its
    /// `due` and target, if given.
    ///
    /// # Errors
    /// When the store fails.
    pub fn differing(&self, behind: Option<&(i64, String)>, limit: usize) -> Result<Vec<(i64, Due)>, StoreError> {
        // Who was shown, and is not sent anything, waits for nothing.
        let sql = "SELECT target, wanted, confirmed, changed_at, failures, prospect, coalesce(due, 0) FROM target
                   WHERE wanted <> confirmed AND absent = 0 AND stale = 0 AND (due IS NOT NULL OR failures = 0)
                     AND (coalesce(due, 0), target) > (?, ?) ORDER BY coalesce(due, 0), target LIMIT ? + 0";
        let (due, target) = behind.map_or((-1, ""), |(due, target)| (*due, target.as_str()));
        let rows = self.0.query(sql, &[due.into(), Value::from(target), integer(limit as u64)])?;
        rows.iter().map(|row| Ok((row.integer(6)?, read(row)?))).collect()
    }

    /// When somebody is next to be told something, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        self.next_due_of("1")
    }

    /// When somebody for whom a condition in SQL holds is next to be told something, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due_of(&self, condition: &str) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            "SELECT due FROM target WHERE due IS NOT NULL AND absent = 0 AND stale = 0 AND {condition}
             ORDER BY due LIMIT 1"
        );
        self.0.query(&sql, &[])?.first().map(|row| row.integer(0)).transpose()
    }

    /// A target has taken what it was sent, and `holds` this now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn confirm(&self, sent: &Due, holds: &Values, when: When) -> Result<(), StoreError> {
        let sql = "SELECT wanted, own FROM target WHERE target = ? AND absent = 0";
        let rows = self.0.query(sql, &[Value::from(sent.target.as_str())])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let wanted = values(row, 0)?;
        if wanted.is_empty() && holds.is_empty() && row.integer(1)? == 0 {
            return self.forget(&sent.target);
        }
        let due = (wanted != *holds).then(|| due(when, when.now, true));
        let sql = "UPDATE target SET confirmed = ?, sent_at = ?, due = ?, failures = 0, error = NULL WHERE target = ?";
        let params = [text(holds), when.now.into(), due.into(), Value::from(sent.target.as_str())];
        self.0.exec(sql, &params).map(drop)
    }

    /// A target was refused, by itself, and `holds` this now: it is tried again later, [`RECORD_ATTEMPTS_MAX`] times.
    ///
    /// # Errors
    /// When the store fails.
    pub fn refuse(
        &self,
        sent: &Due,
        holds: &Values,
        reason: &str,
        back_off: BackOff,
        when: When,
    ) -> Result<(), StoreError> {
        let (failures, due) = again(sent, back_off, when);
        let sql = "UPDATE target SET confirmed = ?, due = ?, failures = ?, error = ?, sent_at = ?
                   WHERE target = ? AND absent = 0";
        let params = [
            text(holds),
            due.into(),
            i64::from(failures).into(),
            Value::from(reason),
            when.now.into(),
            Value::from(sent.target.as_str()),
        ];
        self.0.exec(sql, &params).map(drop)
    }

    /// A target's calls fail, by themselves, and nobody knows what it holds: like [`Ledger::refuse`].
    ///
    /// # Errors
    /// When the store fails.
    pub fn fail_alone(&self, sent: &Due, reason: &str, back_off: BackOff, when: When) -> Result<(), StoreError> {
        let (failures, due) = again(sent, back_off, when);
        // It may have been worked off all the same.
        let sql = "UPDATE target SET due = ?, failures = ?, error = ?, sent_at = ? WHERE target = ? AND absent = 0";
        let failures = Value::from(i64::from(failures));
        let params = [due.into(), failures, Value::from(reason), when.now.into(), Value::from(sent.target.as_str())];
        self.0.exec(sql, &params).map(drop)
    }

    /// Has everything that is not confirmed sent anew, whatever it waited for but the gap: these targets', or all.
    ///
    /// # Errors
    /// When the store fails.
    pub fn try_again(&self, targets: Option<&[String]>, when: When) -> Result<(), StoreError> {
        let set = "UPDATE target SET due = max(?1, sent_at + ?2), failures = 0, error = NULL
                   WHERE wanted <> confirmed AND absent < 2";
        let (now, gap) = (Value::from(when.now), Value::from(when.gap_ms));
        let Some(targets) = targets else { return self.0.exec(set, &[now, gap]).map(drop) };
        let one = format!("{set} AND target = ?3");
        targets.iter().try_for_each(|target| {
            self.0.exec(&one, &[now.clone(), gap.clone(), Value::from(target.as_str())]).map(drop)
        })
    }

    /// The settings are others: nothing is sent but what is noted by them. What removes what is left of somebody erased goes by
    /// what was written, and is not concerned.
    ///
    /// # Errors
    /// When the store fails.
    pub fn make_stale(&self) -> Result<(), StoreError> {
        self.0.exec("UPDATE target SET stale = 1 WHERE prospect <> '' AND wanted <> '{}'", &[]).map(drop)
    }

    /// Sends nobody anything until something changes: what a dry run has shown is not shown again.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hold(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("UPDATE target SET due = NULL WHERE target = ?", &[Value::from(target)]).map(drop)
    }

    /// How many there are, but for those that only keep a name.
    ///
    /// # Errors
    /// When the store fails.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let states = ["pending", "stopped", "confirmed", "absent", "shown_only", "not_theirs"].map(Some);
        let sums = states.map(|state| format!("coalesce(sum({}), 0)", is_in(state))).join(", ");
        let rows = self.0.query(&format!("SELECT count(*), {sums} FROM target WHERE {}", is_in(None)), &[])?;
        let Some(row) = rows.first() else { return Ok(Counts::default()) };
        let count = |column| row.integer(column).map(i64::unsigned_abs);
        Ok(Counts {
            all: count(0)?,
            pending: count(1)?,
            stopped: count(2)?,
            confirmed: count(3)?,
            absent: count(4)?,
            shown_only: count(5)?,
            not_theirs: count(6)?,
        })
    }

    /// How many prospects would be told something, whenever.
    ///
    /// # Errors
    /// When the store fails.
    pub fn people_differing(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(DISTINCT prospect) FROM target WHERE wanted <> confirmed AND absent = 0";
        let rows = self.0.query(sql, &[])?;
        rows.first().map_or(Ok(0), |row| Ok(row.integer(0)?.unsigned_abs()))
    }

    /// Targets for people to look at: in one of the states of [`Counts`], or all. From one after, in their order: `(target,
    /// prospect, wanted, confirmed, failures, error, due, state)`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn page(&self, state: Option<&str>, after: &str, limit: usize) -> Result<Vec<Row>, StoreError> {
        let [pending, stopped, confirmed, absent, not_theirs] =
            ["pending", "stopped", "confirmed", "absent", "not_theirs"].map(|state| is_in(Some(state)));
        let sql = format!(
            "SELECT target, prospect, wanted, confirmed, failures, error, due,
               CASE WHEN {not_theirs} THEN 'not_theirs' WHEN {absent} THEN 'absent' WHEN {pending} THEN 'pending' WHEN {stopped} THEN 'stopped'
                 WHEN {confirmed} THEN 'confirmed' ELSE 'shown_only' END
             FROM target WHERE target > ? AND {} ORDER BY target LIMIT ? + 0",
            is_in(state)
        );
        self.0.query(&sql, &[Value::from(after), integer(limit as u64)])
    }
}

/// The condition of a state: each target that does not only keep a name is in one.
fn is_in(state: Option<&str>) -> &'static str {
    match state {
        Some("absent") => "absent = 1",
        Some("not_theirs") => "absent = 2 AND wanted <> '{}'",
        Some("pending") => "absent = 0 AND (due IS NOT NULL OR stale = 1)",
        Some("stopped") => "absent = 0 AND stale = 0 AND due IS NULL AND failures > 0",
        Some("confirmed") => {
            "absent = 0 AND stale = 0 AND due IS NULL AND failures = 0 AND wanted = confirmed AND wanted <> '{}'"
        }
        Some("shown_only") => "absent = 0 AND stale = 0 AND due IS NULL AND failures = 0 AND wanted <> confirmed",
        _ => "(wanted <> '{}' OR confirmed <> '{}')",
    }
}

/// How often a target has failed by itself, now that it did once more, and when it is tried again, ms, if it is.
fn again(sent: &Due, back_off: BackOff, when: When) -> (u32, Option<i64>) {
    let failures = sent.failures.saturating_add(1);
    let spread = sent.target.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let wait = || back_off.wait(failures, spread).max(when.gap_ms);
    (failures, (failures < RECORD_ATTEMPTS_MAX).then(|| when.now + wait()))
}

fn read(row: &Row) -> Result<Due, StoreError> {
    Ok(Due {
        target: row.text(0)?.to_owned(),
        wanted: values(row, 1)?,
        confirmed: values(row, 2)?,
        changed_at: row.integer(3)?,
        failures: u32::try_from(row.integer(4)?).unwrap_or(u32::MAX),
        withdrawn: row.text(5)?.is_empty(),
    })
}

fn due(when: When, sent_at: i64, urgent: bool) -> i64 {
    let grid = when.coalesce_ms.max(1);
    let soon = if urgent { when.now } else { (when.now.div_euclid(grid) + 1) * grid };
    soon.max(sent_at + when.gap_ms)
}

fn values(row: &Row, column: usize) -> Result<Values, StoreError> {
    serde_json::from_str(row.text(column)?).map_err(|error| StoreError(format!("values: {error}")))
}

/// The same text for the same values, whatever order they came in: SQL compares it.
fn text(values: &Values) -> Value {
    let mut sorted: Vec<_> = values.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(other.0));
    let sorted: Values = sorted.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Value::Text(serde_json::Value::Object(sorted).to_string())
}

fn integer(number: u64) -> Value {
    Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}
