//! Records that fail by themselves, told apart from an outage.
//!
//! A 5xx, or no answer, is an outage, and everybody's: nothing is held against any record. But there are records whose calls
//! alone fail so, and one of them must not keep the others waiting. So who was in a call that failed goes behind all others,
//! and in calls of half the size. While every failing call of a series was about the same records, these are *accused*, and
//! others are tried without a wait: if they fail, too, nobody is accused any more. When a call passes, the series is over;
//! who was accused, or was among those that failed for the second time in a row, goes in small calls from then on. Who
//! fails alone so is a refused record, and the connection goes on without it. After an outage calls are full again.

use crate::store::{Row, Store, StoreError, Value};

// `missed`: how many failing calls of the present series were about it; of the target that has no name, how many there
// were. `half`: half the size of the last of them. `share`: how many such may go into one call, whatever passes; 0: as many
// as fit, ANY: the same, but it has failed before.
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS suspect (lane TEXT NOT NULL, target TEXT NOT NULL, missed INTEGER NOT NULL,
    half INTEGER NOT NULL, share INTEGER NOT NULL, PRIMARY KEY (lane, target)) STRICT, WITHOUT ROWID";
/// More than any call takes.
const ANY: i64 = 1_000;

/// The suspects of one way of calling out.
pub struct Suspects<'s, S: Store> {
    /// Where they are kept.
    pub store: &'s S,
    /// The way's name: no quotes in it.
    pub lane: &'static str,
}

/// Of whom the next call may be, and of how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// A condition in SQL on the column `target`.
    pub of: String,
    /// How many, at most; none: as many as a call takes.
    pub most: Option<usize>,
}

impl<S: Store> Suspects<'_, S> {
    /// Makes the table.
    ///
    /// # Errors
    /// When the store fails.
    pub fn open(&self) -> Result<(), StoreError> {
        self.store.exec(TABLE, &[]).map(drop)
    }

    /// Whose turn it is, one after the other until somebody is due. `waits`: a failure is being waited out, so that only
    /// others than the accused are tried, if there are accused.
    ///
    /// # Errors
    /// When the store fails.
    pub fn turns(&self, waits: bool) -> Result<Vec<Turn>, StoreError> {
        let calls = self.calls_failed()?;
        // min() of one that is 0 says nothing.
        let size = format!("min(iif(half = 0, {ANY}, half), iif(share = 0, {ANY}, share))");
        let last = format!("lane = '{}' AND target <> '' AND (missed > 0 OR share % {ANY} <> 0)", self.lane);
        let sql = format!("SELECT missed, {size} FROM suspect WHERE {last} GROUP BY 1, 2 ORDER BY 1, 2 DESC");
        let rows = self.store.query(&sql, &[])?;
        let read = |row: &Row| Ok((row.integer(0)?, row.integer(1)?));
        let groups = rows.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        let is_accused = |missed: i64| calls > 0 && missed == calls;
        if waits && !groups.iter().any(|(missed, _)| is_accused(*missed)) {
            return Ok(Vec::new());
        }
        let others = match groups.is_empty() {
            true => "1".to_owned(),
            false => format!("target NOT IN (SELECT target FROM suspect WHERE {last})"),
        };
        let mut turns = vec![Turn { of: others, most: None }];
        for (missed, most) in groups.into_iter().filter(|(missed, _)| !(waits && is_accused(*missed))) {
            let of = format!(
                "target IN (SELECT target FROM suspect WHERE {last} AND missed = {missed} AND {size} = {most})"
            );
            turns.push(Turn { of, most: usize::try_from(most).ok() });
        }
        Ok(turns)
    }

    /// Others than the accused, as a condition in SQL on the column `target`; none while nobody is accused.
    ///
    /// # Errors
    /// When the store fails.
    pub fn not_accused(&self) -> Result<Option<String>, StoreError> {
        let calls = self.calls_failed()?;
        let accused = format!(
            "SELECT target FROM suspect WHERE lane = '{}' AND target <> '' AND missed = {calls} AND missed > 0",
            self.lane
        );
        let rows = self.store.query(&format!("{accused} LIMIT 1"), &[])?;
        Ok((!rows.is_empty()).then(|| format!("target NOT IN ({accused})")))
    }

    /// A call failed as in an outage. Answers whether it did so by itself: its only target has failed alone before, while
    /// others passed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn failed(&self, targets: &[String]) -> Result<bool, StoreError> {
        if let [alone] = targets {
            let sql = "SELECT 1 FROM suspect WHERE lane = ? AND target = ? AND share = 1";
            if !self.store.query(sql, &[Value::from(self.lane), Value::from(alone.as_str())])?.is_empty() {
                return Ok(true);
            }
        }
        let half = i64::try_from(targets.len() / 2).unwrap_or(ANY).max(1);
        for target in targets.iter().map(String::as_str).chain([""]) {
            let sql = "INSERT INTO suspect VALUES (?, ?, 1, ?, 0)
                       ON CONFLICT DO UPDATE SET missed = missed + 1, half = excluded.half";
            self.store.exec(sql, &[Value::from(self.lane), Value::from(target), half.into()])?;
        }
        Ok(false)
    }

    /// A call was answered: nothing is held against whoever it was about, and the series of failures is over. Answers
    /// whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    pub fn passed(&self, targets: &[String]) -> Result<bool, StoreError> {
        let rows = self.store.query("SELECT 1 FROM suspect WHERE lane = ? LIMIT 1", &[Value::from(self.lane)])?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.forget(targets)?;
        let calls = self.calls_failed()?;
        let sql = format!(
            "UPDATE suspect SET share = iif(share = 0 AND missed < ?2, {ANY}, half)
             WHERE lane = ?1 AND target <> '' AND missed > 0"
        );
        self.store.exec(&sql, &[Value::from(self.lane), calls.into()])?;
        self.acquit()?;
        Ok(calls > 0)
    }

    /// The series of failures is over, for another reason than an answer.
    ///
    /// # Errors
    /// When the store fails.
    pub fn acquit(&self) -> Result<(), StoreError> {
        let lane = [Value::from(self.lane)];
        self.store.exec("UPDATE suspect SET missed = 0, half = 0 WHERE lane = ?", &lane)?;
        self.store.exec("DELETE FROM suspect WHERE lane = ? AND share = 0", &lane).map(drop)
    }

    /// Forgets targets: nothing is held against them.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget(&self, targets: &[String]) -> Result<(), StoreError> {
        targets.iter().try_for_each(|target| {
            let params = [Value::from(self.lane), Value::from(target.as_str())];
            self.store.exec("DELETE FROM suspect WHERE lane = ? AND target = ?", &params).map(drop)
        })
    }

    /// Forgets all.
    ///
    /// # Errors
    /// When the store fails.
    pub fn forget_all(&self) -> Result<(), StoreError> {
        self.store.exec("DELETE FROM suspect WHERE lane = ?", &[Value::from(self.lane)]).map(drop)
    }

    /// How many calls of the present series failed.
    fn calls_failed(&self) -> Result<i64, StoreError> {
        let sql = "SELECT missed FROM suspect WHERE lane = ? AND target = ''";
        let rows = self.store.query(sql, &[Value::from(self.lane)])?;
        rows.first().map_or(Ok(0), |row| row.integer(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::native::Native;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn name(n: usize) -> String {
        format!("braze_id:{n:02}")
    }

    /// An endpoint, and who waits to be told something by calls of at most eight.
    struct World {
        store: Native,
        waiting: BTreeSet<String>,
        /// Who failed alone.
        alone: BTreeSet<String>,
        /// Whether failures are being waited out.
        in_trouble: bool,
        /// Calls made, and how often a failure was waited out.
        calls: usize,
        waits: usize,
    }

    impl World {
        fn new(people: usize) -> World {
            let store = Native::in_memory().unwrap();
            store.exec("CREATE TABLE waiting (target TEXT PRIMARY KEY)", &[]).unwrap();
            let waiting = (0..people).map(name).collect();
            let alone = BTreeSet::new();
            let world = World { store, waiting, alone, in_trouble: false, calls: 0, waits: 0 };
            world.suspects().open().unwrap();
            world
        }

        fn suspects(&self) -> Suspects<'_, Native> {
            Suspects { store: &self.store, lane: "write_back" }
        }

        fn next(&self, waits: bool) -> Vec<String> {
            self.store.exec("DELETE FROM waiting", &[]).unwrap();
            for target in self.waiting.difference(&self.alone) {
                self.store.exec("INSERT INTO waiting VALUES (?)", &[Value::from(target.as_str())]).unwrap();
            }
            let due = |turn: &Turn| -> Vec<String> {
                let most = turn.most.unwrap_or(8).min(8);
                let sql = format!("SELECT target FROM waiting WHERE {} ORDER BY target LIMIT {most}", turn.of);
                self.store.query(&sql, &[]).unwrap().iter().map(|row| row.text(0).unwrap().to_owned()).collect()
            };
            let turns = self.suspects().turns(waits).unwrap();
            turns.iter().map(due).find(|due| !due.is_empty()).unwrap_or_default()
        }

        /// Makes the next call, after the wait if there is nobody to be tried meanwhile. `false`: nobody is left.
        fn call(&mut self, fails: impl Fn(&[String]) -> bool) -> bool {
            let mut due = self.next(self.in_trouble);
            if due.is_empty() && self.in_trouble {
                self.waits += 1;
                due = self.next(false);
            }
            if due.is_empty() {
                return false;
            }
            self.calls += 1;
            if !fails(&due) {
                self.waiting.retain(|target| !due.contains(target));
                self.suspects().passed(&due).unwrap();
                self.in_trouble = false;
            } else if self.suspects().failed(&due).unwrap() {
                self.alone.extend(due);
            } else {
                self.in_trouble = true;
            }
            true
        }
    }

    #[test]
    fn one_that_fails_by_itself_is_found_among_many_and_nobody_else_waits_for_it() {
        for poison in 0..40 {
            let mut world = World::new(40);
            let fails = |due: &[String]| due.contains(&name(poison));
            while world.call(fails) && world.calls < 100 {}
            assert_eq!(world.alone, BTreeSet::from([name(poison)]));
            assert_eq!(world.waiting, world.alone, "all others are told");
            assert!(world.calls <= 16 && world.waits <= 4, "{poison}: {} calls, {} waits", world.calls, world.waits);
        }
    }

    #[test]
    fn who_comes_while_it_is_waited_for_one_is_tried_at_once() {
        let mut world = World::new(1);
        let fails = |due: &[String]| due.contains(&name(0));
        for _ in 0..5 {
            world.call(fails);
        }
        assert_eq!((world.waits, world.alone.len()), (4, 0), "with nobody else, it could be an outage");
        world.waiting.insert(name(1));
        world.call(fails);
        assert_eq!((world.waits, world.waiting.contains(&name(1))), (4, false));
        world.call(fails);
        assert_eq!((world.waits, world.alone.len()), (4, 1));
    }

    #[test]
    fn an_outage_is_nobodys_fault_and_ends_in_full_calls() {
        let mut world = World::new(40);
        for _ in 0..30 {
            world.call(|_| true);
        }
        assert!(world.waits >= 28, "after two calls nobody is tried before the wait is over: {}", world.waits);
        world.calls = 0;
        while world.call(|_| false) {}
        assert_eq!((world.calls, world.alone.len()), (6, 0), "a last one of few, and full ones");
        // One call lost is no outage, and costs no more than that it is made in parts.
        let mut world = World::new(40);
        world.call(|_| true);
        while world.call(|_| false) {}
        assert!(world.calls <= 8 && world.alone.is_empty(), "{}", world.calls);
    }

    #[test]
    fn who_is_erased_is_no_suspect_any_more() {
        let mut world = World::new(2);
        world.call(|_| true);
        world.suspects().forget(&[name(0), name(1)]).unwrap();
        assert_eq!(world.suspects().not_accused().unwrap(), None);
        world.in_trouble = false;
        world.call(|_| true);
        world.suspects().acquit().unwrap();
        assert_eq!(world.suspects().turns(false).unwrap().len(), 1);
    }

    proptest! {
        #[test]
        fn whoever_fails_by_themselves_all_others_are_told(
            poison in proptest::collection::btree_set(0..40_usize, 0..5),
            lost in proptest::collection::vec(any::<bool>(), 0..30),
        ) {
            let poison: BTreeSet<String> = poison.into_iter().map(name).collect();
            let mut world = World::new(40);
            while world.calls < 300 {
                let is_lost = lost.get(world.calls).copied().unwrap_or(false);
                // Others come again and again, so that it shows when the endpoint is there.
                if world.calls > lost.len() && !poison.is_empty() && world.calls.is_multiple_of(3) {
                    world.waiting.insert(name(50 + world.calls));
                }
                let before = world.alone.clone();
                if !world.call(|due| is_lost || due.iter().any(|target| poison.contains(target))) {
                    break;
                }
                if is_lost {
                    // Tried again later, as whoever fails alone is.
                    world.alone = before;
                }
            }
            let left: BTreeSet<String> =
                world.waiting.iter().filter(|target| **target < name(40)).cloned().collect();
            prop_assert_eq!(&left, &poison);
            prop_assert_eq!(&world.alone, &poison);
        }
    }
}
