//! Who waits to be looked up, who was found, and who Braze does not know: a negative answer is kept for a while, so that
//! nobody is asked for again and again.

use super::export::Profile;
use crate::destinations::retry::BackOff;
use crate::store::{Row, Store, StoreError, Value};
use std::collections::{BTreeMap, BTreeSet};

const TABLES: &[&str] = &[
    // `due`: when to ask (again); NULL once there is nothing more to learn.
    "CREATE TABLE IF NOT EXISTS lookup (target TEXT PRIMARY KEY, state TEXT NOT NULL, due INTEGER,
       failures INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS lookup_due ON lookup (due) WHERE due IS NOT NULL",
];

/// The queue of one connection.
pub struct LookUps<'s, S: Store>(pub &'s S);

impl<S: Store> LookUps<'_, S> {
    /// Makes its tables.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(&self) -> Result<(), StoreError> {
        TABLES.iter().try_for_each(|sql| self.0.exec(sql, &[]).map(drop))
    }

    /// Has somebody looked up, if that was not done before.
    ///
    /// # Errors
    /// When the store fails.
    pub fn want(&self, target: &str, now: i64) -> Result<(), StoreError> {
        self.0
            .exec("INSERT OR IGNORE INTO lookup VALUES (?, 'waiting', ?, 0)", &[Value::from(target), now.into()])
            .map(drop)
    }

    /// Somebody's e-mail came by another way.
    ///
    /// # Errors
    /// When the store fails.
    pub fn need_not(&self, target: &str) -> Result<(), StoreError> {
        self.0.exec("DELETE FROM lookup WHERE target = ? AND due IS NOT NULL", &[Value::from(target)]).map(drop)
    }

    /// Whom to ask for now, who waits longest first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn due(&self, now: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        // External ids first: their answers name Braze ids, which then need no call of their own.
        let sql =
            "SELECT target FROM lookup WHERE due <= ? ORDER BY (target NOT LIKE 'external%'), due, target LIMIT ?";
        let rows = self.0.query(sql, &[now.into(), limit])?;
        rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
    }

    /// When somebody is next to be asked for, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn next_due(&self) -> Result<Option<i64>, StoreError> {
        let rows = self.0.query("SELECT due FROM lookup WHERE due IS NOT NULL ORDER BY due LIMIT 1", &[])?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    /// What came of asking for some: who has no e-mail, or is unknown to Braze, is asked for `again`, ms.
    ///
    /// # Errors
    /// When the store fails.
    pub fn answered(&self, asked: &[String], known: &[Profile], again: i64) -> Result<(), StoreError> {
        let mut named = BTreeSet::new();
        for profile in known {
            let (state, due) = if profile.has_email { ("found", None) } else { ("no_email", Some(again)) };
            for target in &profile.targets {
                named.insert(target.as_str());
                self.set(target, state, due)?;
            }
        }
        asked
            .iter()
            .filter(|target| !named.contains(target.as_str()))
            .try_for_each(|target| self.set(target, "unknown", Some(again)))
    }

    /// A call for one was refused: it is tried later, and given up with `again` when that has happened too often.
    ///
    /// # Errors
    /// When the store fails.
    pub fn refused(&self, target: &str, back_off: BackOff, again: i64, now: i64) -> Result<(), StoreError> {
        const ATTEMPTS_MAX: u32 = 5;
        let rows = self.0.query("SELECT failures FROM lookup WHERE target = ?", &[Value::from(target)])?;
        let failures = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        let failures = u32::try_from(failures).unwrap_or(u32::MAX).saturating_add(1);
        let (state, due) =
            if failures < ATTEMPTS_MAX { ("waiting", now + back_off.wait(failures, 0)) } else { ("failed", again) };
        let params = [Value::from(state), due.into(), i64::from(failures).into(), Value::from(target)];
        self.0.exec("UPDATE lookup SET state = ?, due = ?, failures = ? WHERE target = ?", &params).map(drop)
    }

    /// Asks for some again now, whom there is still something to learn of.
    ///
    /// # Errors
    /// When the store fails.
    pub fn try_again(&self, targets: &[String], now: i64) -> Result<(), StoreError> {
        let sql = "UPDATE lookup SET due = ?, failures = 0 WHERE target = ? AND due IS NOT NULL";
        targets.iter().try_for_each(|target| self.0.exec(sql, &[now.into(), Value::from(target.as_str())]).map(drop))
    }

    fn set(&self, target: &str, state: &str, due: Option<i64>) -> Result<(), StoreError> {
        let params = [Value::from(state), due.into(), Value::from(target)];
        self.0.exec("UPDATE lookup SET state = ?, due = ?, failures = 0 WHERE target = ?", &params).map(drop)
    }

    /// How many are in which state: `waiting`, `found`, `no_email`, `unknown`, `failed`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn counts(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows = self.0.query("SELECT state, count(*) FROM lookup GROUP BY state", &[])?;
        let read = |row: &Row| Ok((row.text(0)?.to_owned(), row.integer(1)?.unsigned_abs()));
        rows.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Record, Source};
    use crate::key::{Identifier, KeyType};
    use crate::kinds::Kind;
    use crate::store::native::Native;

    fn profile(targets: &[&str], has_email: bool) -> Profile {
        let body = Body::bare(Kind::Other, String::new(), Source::BrazeExport);
        let rec = Identifier::new(KeyType::BrazeId, "", "b").unwrap();
        let record = Record { rec, at: 1, id: "i".to_owned(), body, facts: Vec::new(), claims: Vec::new() };
        Profile { targets: targets.iter().map(|target| (*target).to_owned()).collect(), has_email, record }
    }

    #[test]
    fn everybody_is_asked_for_once_and_who_is_unknown_again_after_a_while() {
        let store = Native::in_memory().unwrap();
        let queue = LookUps(&store);
        queue.open().unwrap();
        for target in ["braze_id:1", "external_id:1", "external_id:2", "external_id:3"] {
            queue.want(target, 10).unwrap();
        }
        let due = queue.due(10, 50).unwrap();
        assert_eq!(due, ["external_id:1", "external_id:2", "external_id:3", "braze_id:1"]);
        // The answer names the Braze id: it needs no call any more.
        let known = [
            profile(&["external_id:1", "braze_id:1", "email:a@example.com"], true),
            profile(&["external_id:2"], false),
        ];
        queue.answered(&due[..3], &known, 1_000).unwrap();
        assert_eq!(queue.due(999, 50).unwrap(), Vec::<String>::new());
        queue.want("external_id:3", 500).unwrap();
        assert_eq!(queue.next_due(), Ok(Some(1_000)), "a negative answer is kept");
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:2", "external_id:3"]);
        let counts = queue.counts().unwrap();
        assert_eq!(
            counts.into_iter().map(|(state, n)| format!("{state} {n}")).collect::<Vec<_>>(),
            ["found 2", "no_email 1", "unknown 1"]
        );
        queue.need_not("external_id:2").unwrap();
        queue.need_not("external_id:1").unwrap();
        assert_eq!(queue.counts().unwrap().get("found"), Some(&2), "who was found stays found");
        assert_eq!(queue.due(1_000, 50).unwrap(), ["external_id:3"]);
    }

    #[test]
    fn who_cannot_be_asked_for_is_given_up_for_a_while() {
        let store = Native::in_memory().unwrap();
        let queue = LookUps(&store);
        queue.open().unwrap();
        queue.want("braze_id:x", 0).unwrap();
        for _ in 0..5 {
            queue.refused("braze_id:x", BackOff { first_ms: 10, max_ms: 10 }, 9_999, 0).unwrap();
        }
        assert_eq!((queue.next_due(), queue.counts().unwrap().get("failed")), (Ok(Some(9_999)), Some(&1)));
    }
}
