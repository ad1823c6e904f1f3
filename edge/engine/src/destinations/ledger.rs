//! What every record on the other side should hold, what it is known to hold, and when to try next.
//!
//! A record (a *target*: a Braze profile, later a Salesforce Lead) is brought from what was last confirmed to what is
//! wanted now, in absolute values: an attempt may be lost, repeated or overtaken, and the next one is still right. State
//! that a crash leaves is only ever "not confirmed yet".

use super::retry::{BackOff, RECORD_ATTEMPTS_MAX};
use crate::store::{Row, Store, StoreError, Value};
use serde_json::Map;

/// Values by name.
pub type Values = Map<String, serde_json::Value>;

const TABLES: &[&str] = &[
    // `due`: when it is to be sent; NULL when nothing is, or when it has been refused too often.
    "CREATE TABLE IF NOT EXISTS target (target TEXT PRIMARY KEY, prospect TEXT NOT NULL, rev INTEGER NOT NULL,
       wanted TEXT NOT NULL, confirmed TEXT NOT NULL, changed_at INTEGER NOT NULL, sent_at INTEGER NOT NULL,
       due INTEGER, failures INTEGER NOT NULL, error TEXT) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS target_due ON target (due) WHERE due IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS target_prospect ON target (prospect)",
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
}

/// When what is wanted is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// ms.
    pub now: i64,
    /// What is not urgent waits for the next multiple of this, ms: so changes of one target, and of many, go together.
    pub coalesce_ms: i64,
    /// The least time between two writes to one target, ms.
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
    ) -> Result<(), StoreError> {
        let sql =
            "SELECT prospect, rev, wanted, confirmed, changed_at, sent_at, due, failures FROM target WHERE target = ?";
        let rows = self.0.query(sql, &[Value::from(wish.target)])?;
        let Some(row) = rows.first() else {
            if wish.wanted.is_empty() {
                return Ok(());
            }
            let due = due(when, 0, urgent(&wish.wanted, &Values::new()));
            let params = [
                Value::from(wish.target),
                Value::from(wish.prospect),
                integer(wish.rev),
                text(&wish.wanted),
                Value::from("{}"),
                when.now.into(),
                0.into(),
                due.into(),
            ];
            return self.0.exec("INSERT INTO target VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, NULL)", &params).map(drop);
        };
        let (wanted, confirmed) = (values(row, 2)?, values(row, 3)?);
        let same_prospect = row.text(0)? == wish.prospect;
        if same_prospect && (row.integer(1)?.unsigned_abs() > wish.rev || wanted == wish.wanted) {
            return Ok(());
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
            "UPDATE target SET prospect = ?, rev = ?, wanted = ?, changed_at = ?, due = ?, failures = 0, error = NULL
                   WHERE target = ?";
        let params = [
            Value::from(wish.prospect),
            integer(wish.rev),
            text(&wish.wanted),
            changed_at.into(),
            due.into(),
            Value::from(wish.target),
        ];
        self.0.exec(sql, &params).map(drop)
    }

    /// The targets of a prospect.
    ///
    /// # Errors
    /// When the store fails.
    pub fn targets_of(&self, prospect: &str) -> Result<Vec<String>, StoreError> {
        let rows = self.0.query("SELECT target FROM target WHERE prospect = ?", &[Value::from(prospect)])?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// A target turns out to be what others are names of, too: it is forgotten, and if it was told anything, what the
    /// others were told may have been overwritten, so that they are told everything once more.
    ///
    /// # Errors
    /// When the store fails.
    pub fn replace(&self, old: &str, by: &[String], when: When) -> Result<(), StoreError> {
        let rows = self.0.query("SELECT confirmed FROM target WHERE target = ?", &[Value::from(old)])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let confirmed = values(row, 0)?;
        self.forget(old)?;
        if confirmed.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE target SET confirmed = '{}', due = ? WHERE target = ?";
        let due = Value::Integer(due(when, when.now, false));
        by.iter().try_for_each(|target| self.0.exec(sql, &[due.clone(), Value::from(target.as_str())]).map(drop))
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
        let sql = "SELECT target, wanted, confirmed, changed_at, failures FROM target WHERE due <= ? ORDER BY due, target LIMIT ?";
        self.read(sql, &[now.into(), integer(limit as u64)])
    }

    /// Who would be told something, whenever: for a dry run.
    ///
    /// # Errors
    /// When the store fails.
    pub fn differing(&self, limit: usize) -> Result<Vec<Due>, StoreError> {
        let sql =
            "SELECT target, wanted, confirmed, changed_at, failures FROM target WHERE wanted <> confirmed LIMIT ?";
        self.read(sql, &[integer(limit as u64)])
    }

    fn read(&self, sql: &str, params: &[Value]) -> Result<Vec<Due>, StoreError> {
        let read = |row: &Row| {
            Ok(Due {
                target: row.text(0)?.to_owned(),
                wanted: values(row, 1)?,
                confirmed: values(row, 2)?,
                changed_at: row.integer(3)?,
                failures: u32::try_from(row.integer(4)?).unwrap_or(u32::MAX),
            })
        };
        self.0.query(sql, params)?.iter().map(read).collect()
    }

    /// When somebody is next to be told something, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let rows = self.0.query("SELECT due FROM target WHERE due IS NOT NULL ORDER BY due LIMIT 1", &[])?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    /// A target has taken what it was sent: it holds what was wanted then.
    ///
    /// # Errors
    /// When the store fails.
    pub fn confirm(&self, sent: &Due, when: When) -> Result<(), StoreError> {
        let rows = self.0.query("SELECT wanted FROM target WHERE target = ?", &[Value::from(sent.target.as_str())])?;
        let Some(row) = rows.first() else { return Ok(()) };
        let wanted = values(row, 0)?;
        if wanted.is_empty() && sent.wanted.is_empty() {
            return self.forget(&sent.target);
        }
        let due = (wanted != sent.wanted).then(|| due(when, when.now, true));
        let sql = "UPDATE target SET confirmed = ?, sent_at = ?, due = ?, failures = 0, error = NULL WHERE target = ?";
        let params = [text(&sent.wanted), when.now.into(), due.into(), Value::from(sent.target.as_str())];
        self.0.exec(sql, &params).map(drop)
    }

    /// A target was refused, by itself: it is tried again later, [`RECORD_ATTEMPTS_MAX`] times.
    ///
    /// # Errors
    /// When the store fails.
    pub fn refuse(&self, sent: &Due, reason: &str, back_off: BackOff, now: i64) -> Result<(), StoreError> {
        let failures = sent.failures.saturating_add(1);
        let spread = sent.target.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let due = (failures < RECORD_ATTEMPTS_MAX).then(|| now + back_off.wait(failures, spread));
        let sql = "UPDATE target SET due = ?, failures = ?, error = ?, sent_at = ? WHERE target = ?";
        let params = [
            due.into(),
            i64::from(failures).into(),
            Value::from(reason),
            now.into(),
            Value::from(sent.target.as_str()),
        ];
        self.0.exec(sql, &params).map(drop)
    }

    /// Has everything that is not confirmed sent anew, whatever it waited for: these targets', or all.
    ///
    /// # Errors
    /// When the store fails.
    pub fn try_again(&self, targets: Option<&[String]>, now: i64) -> Result<(), StoreError> {
        let set = "UPDATE target SET due = ?, failures = 0, error = NULL WHERE wanted <> confirmed";
        let Some(targets) = targets else { return self.0.exec(set, &[now.into()]).map(drop) };
        let one = format!("{set} AND target = ?");
        targets.iter().try_for_each(|target| self.0.exec(&one, &[now.into(), Value::from(target.as_str())]).map(drop))
    }

    /// Sends nobody anything until something changes: what a dry run has shown is not shown again.
    ///
    /// # Errors
    /// When the store fails.
    pub fn hold(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("UPDATE target SET due = NULL WHERE target = ?", &[Value::from(target)]).map(drop)
    }

    /// How many there are.
    ///
    /// # Errors
    /// When the store fails.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let sql = "SELECT count(*), coalesce(sum(due IS NOT NULL), 0), coalesce(sum(due IS NULL AND failures > 0), 0) FROM target";
        let rows = self.0.query(sql, &[])?;
        let Some(row) = rows.first() else { return Ok(Counts::default()) };
        let count = |column| row.integer(column).map(i64::unsigned_abs);
        Ok(Counts { all: count(0)?, pending: count(1)?, stopped: count(2)? })
    }

    /// Targets for people to look at: `pending`, `stopped`, or all. From one after, in their order: `(target, prospect,
    /// wanted, confirmed, failures, error, due)`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn page(&self, state: Option<&str>, after: &str, limit: usize) -> Result<Vec<Row>, StoreError> {
        let filter = match state {
            Some("pending") => "AND due IS NOT NULL",
            Some("stopped") => "AND due IS NULL AND failures > 0",
            Some("confirmed") => "AND wanted = confirmed",
            _ => "",
        };
        let sql = format!(
            "SELECT target, prospect, wanted, confirmed, failures, error, due FROM target WHERE target > ? {filter}
             ORDER BY target LIMIT ?"
        );
        self.0.query(&sql, &[Value::from(after), integer(limit as u64)])
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::native::Native;
    use serde_json::json;

    const WHEN: When = When { now: 1_000_500, coalesce_ms: 60_000, gap_ms: 5_000 };
    const BACK_OFF: BackOff = BackOff { first_ms: 1_000, max_ms: 64_000 };

    fn map(value: serde_json::Value) -> Values {
        serde_json::from_value(value).unwrap()
    }

    fn wish(rev: u64, wanted: serde_json::Value) -> Wish<'static> {
        Wish { target: "braze_id:a", prospect: "p", rev, wanted: map(wanted) }
    }

    fn calm(_: &Values, _: &Values) -> bool {
        false
    }

    fn opened() -> Native {
        let store = Native::in_memory().unwrap();
        Ledger(&store).open().unwrap();
        store
    }

    #[test]
    fn a_change_waits_for_the_next_full_minute_and_an_urgent_one_for_nothing() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({ "x": 1 })), calm, WHEN).unwrap();
        assert_eq!(ledger.next_due(), Ok(Some(1_020_000)));
        assert_eq!(ledger.due(WHEN.now, 10).unwrap(), []);
        ledger.wish(&wish(2, json!({ "x": 2 })), |_, _| true, WHEN).unwrap();
        let due = ledger.due(WHEN.now, 10).unwrap();
        assert_eq!((due.len(), &due[0].wanted["x"]), (1, &json!(2)));
        // Another change does not put it off again.
        ledger.wish(&wish(3, json!({ "x": 3 })), calm, When { now: WHEN.now + 1, ..WHEN }).unwrap();
        assert_eq!(ledger.next_due(), Ok(Some(WHEN.now)));
    }

    #[test]
    fn what_was_confirmed_is_not_sent_again_and_what_comes_back_to_it_is_not_sent_at_all() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({ "x": 1, "y": 2 })), calm, WHEN).unwrap();
        let later = When { now: 1_020_000, ..WHEN };
        let due = ledger.due(later.now, 10).unwrap();
        ledger.confirm(&due[0], later).unwrap();
        ledger.wish(&wish(2, json!({ "y": 2, "x": 1 })), calm, later).unwrap();
        assert_eq!(ledger.next_due(), Ok(None));
        ledger.wish(&wish(3, json!({ "x": 9, "y": 2 })), calm, later).unwrap();
        assert_eq!(ledger.next_due(), Ok(Some(1_080_000)));
        ledger.wish(&wish(4, json!({ "x": 1, "y": 2 })), calm, later).unwrap();
        assert_eq!(ledger.next_due(), Ok(None));
        // The order of names is nobody's business.
        assert_eq!(ledger.differing(10).unwrap(), []);
        ledger.wish(&wish(5, json!({ "x": 3, "y": 2 })), |_, _| true, later).unwrap();
        assert_eq!(ledger.next_due(), Ok(Some(1_025_000)), "two writes to one target are apart");
    }

    #[test]
    fn what_changes_while_it_is_sent_is_sent_again() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
        let sent = ledger.due(WHEN.now, 1).unwrap().remove(0);
        ledger.wish(&wish(2, json!({ "x": 2 })), calm, WHEN).unwrap();
        ledger.confirm(&sent, When { now: WHEN.now + 10, ..WHEN }).unwrap();
        let next = ledger.due(WHEN.now + 10 + WHEN.gap_ms, 1).unwrap().remove(0);
        assert_eq!((&next.confirmed["x"], &next.wanted["x"]), (&json!(1), &json!(2)));
    }

    #[test]
    fn an_older_word_of_the_same_prospect_counts_nothing() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(5, json!({ "x": 5 })), calm, WHEN).unwrap();
        ledger.wish(&wish(4, json!({ "x": 4 })), calm, WHEN).unwrap();
        assert_eq!(ledger.differing(1).unwrap()[0].wanted["x"], 5);
        let other = Wish { prospect: "q", ..wish(1, json!({ "x": 1 })) };
        ledger.wish(&other, calm, WHEN).unwrap();
        assert_eq!(ledger.differing(1).unwrap()[0].wanted["x"], 1, "another prospect holds it now");
        assert_eq!((ledger.targets_of("p").unwrap().len(), ledger.targets_of("q").unwrap().len()), (0, 1));
    }

    #[test]
    fn a_refused_target_waits_longer_each_time_then_stops_until_its_values_change() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
        let (mut now, mut attempts) = (WHEN.now, 0);
        while let Some(at) = ledger.next_due().unwrap() {
            assert!(attempts == 0 || at > now);
            now = at;
            let sent = ledger.due(now, 1).unwrap().remove(0);
            ledger.refuse(&sent, "no", BACK_OFF, now).unwrap();
            attempts += 1;
        }
        assert_eq!(attempts, RECORD_ATTEMPTS_MAX);
        assert_eq!(ledger.counts(), Ok(Counts { all: 1, pending: 0, stopped: 1 }));
        ledger.try_again(Some(&["braze_id:a".to_owned()]), now).unwrap();
        assert_eq!(ledger.due(now, 1).unwrap()[0].failures, 0);
        let sent = ledger.due(now, 1).unwrap().remove(0);
        ledger.refuse(&Due { failures: RECORD_ATTEMPTS_MAX, ..sent }, "no", BACK_OFF, now).unwrap();
        ledger.wish(&wish(2, json!({ "x": 2 })), calm, When { now, ..WHEN }).unwrap();
        assert_eq!(ledger.counts(), Ok(Counts { all: 1, pending: 1, stopped: 0 }));
    }

    #[test]
    fn two_names_of_one_profile_become_one_that_is_told_everything() {
        let store = opened();
        let ledger = Ledger(&store);
        let told = |target: &str, wanted: serde_json::Value| {
            let wish = Wish { target, prospect: target, rev: 1, wanted: map(wanted) };
            ledger.wish(&wish, |_, _| true, WHEN).unwrap();
            let sent = ledger.due(WHEN.now, 1).unwrap().remove(0);
            ledger.confirm(&sent, WHEN).unwrap();
        };
        told("braze_id:a", json!({ "x": 2 }));
        told("external_id:a", json!({ "x": 1 }));
        ledger.replace("external_id:a", &["braze_id:a".to_owned()], WHEN).unwrap();
        let due = ledger.due(i64::MAX >> 11, 10).unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].target.as_str(), &due[0].wanted["x"], due[0].confirmed.len()), ("braze_id:a", &json!(2), 0));
        ledger.confirm(&due[0], WHEN).unwrap();
        ledger.replace("external_id:a", &["braze_id:a".to_owned()], WHEN).unwrap();
        assert_eq!(ledger.next_due(), Ok(None), "a name that was never used changes nothing");
    }

    #[test]
    fn what_is_wanted_no_more_is_removed_and_forgotten() {
        let store = opened();
        let ledger = Ledger(&store);
        ledger.wish(&wish(1, json!({})), calm, WHEN).unwrap();
        assert_eq!(ledger.counts(), Ok(Counts::default()), "nobody is told of who was never told anything");
        ledger.wish(&wish(1, json!({ "x": 1 })), |_, _| true, WHEN).unwrap();
        let sent = ledger.due(WHEN.now, 1).unwrap().remove(0);
        ledger.confirm(&sent, WHEN).unwrap();
        ledger.wish(&wish(2, json!({})), |_, _| true, WHEN).unwrap();
        let sent = ledger.due(WHEN.now + WHEN.gap_ms, 1).unwrap().remove(0);
        assert!(sent.wanted.is_empty() && !sent.confirmed.is_empty());
        ledger.confirm(&sent, WHEN).unwrap();
        assert_eq!(ledger.counts(), Ok(Counts::default()));
    }
}
