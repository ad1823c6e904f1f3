//! A star that thousands share, as rows: the primary key is the rank, so that one more fact or browser costs its row, and
//! what follows from it one read of the first.

use super::{Claimed, Known, Star, browsers_listed, facts_listed};
use crate::identity::policy::Policy;
use crate::identity::{Fact, FactClass, Trust};
use crate::key::{KeyHash, KeyType};
use crate::partition::{Partition, decode, encode};
use crate::store::{Store, StoreError, Value};
use std::collections::BTreeMap;

/// How many facts and browsers a star has beside its key's other data, at most.
pub(in crate::partition) const INLINE: usize = 64;

// Classes of rows, in the order of ranks: facts, then browsers.
const FACT_UNRANKED: i64 = 3;
const BROWSER_STRONG: i64 = 4;
const BROWSER_PENDING: i64 = 7;
const BROWSER_UNRANKED: i64 = 8;

/// Left to itself SQLite takes the primary key, of which it knows one column, and reads all of the star.
const OF_OTHER: &str = "SELECT class, body FROM star INDEXED BY star_other WHERE k = ? AND other = ?";

/// What a change of a star needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::partition) enum Wanted {
    /// The fact with this other end, whatever its rank.
    Fact(KeyHash),
    /// The facts with these other ends, and the first in rank.
    Facts(Vec<KeyHash>),
    /// The same, what this browser introduces, and what it did before.
    Introduced(KeyHash, Vec<KeyHash>),
    /// This browser, and the first in rank.
    Browser(KeyHash),
    /// Everything: what an erasure goes through.
    All,
}

/// What was read of a star in rows: what differs at the end is written.
#[derive(Debug, Default)]
pub(in crate::partition) struct Part {
    facts: BTreeMap<Fact, Known>,
    claims: BTreeMap<KeyHash, Claimed>,
}

/// Class, time and other end: with the key itself the primary key.
type Place = (i64, i64, KeyHash);

fn fact_place(own: KeyHash, fact: Fact, known: &Known) -> Place {
    let class = match fact.class {
        FactClass::Explicit => 0,
        FactClass::Strong => 1,
        FactClass::Provisional => 2,
    };
    match known.since() {
        Some((at, _)) => (class, at, fact.other(own)),
        // Two facts may have the same other end.
        None => (FACT_UNRANKED, class, fact.other(own)),
    }
}

fn browser_place(claimed: &Claimed) -> Place {
    let browser = claimed.claims.browser;
    match claimed.claims.best() {
        Some((Trust::Strong, at, _)) => (BROWSER_STRONG, at, browser),
        Some((Trust::Medium, at, _)) => (BROWSER_STRONG + 1, at, browser),
        Some((Trust::Weak, at, _)) => (BROWSER_STRONG + 2, at, browser),
        None if claimed.claims.since.is_some() => (BROWSER_PENDING, 0, browser),
        None => (BROWSER_UNRANKED, 0, browser),
    }
}

impl<S: Store> Partition<S> {
    /// Completes a star by what is wanted of its rows, if it has any.
    pub(in crate::partition) fn read_star(
        &self,
        own: KeyHash,
        key_type: KeyType,
        star: &mut Star,
        wanted: &Wanted,
    ) -> Result<Part, StoreError> {
        let mut part = Part::default();
        if !star.in_rows {
            return Ok(part);
        }
        let policy = &self.policy;
        match wanted {
            Wanted::Fact(other) => self.read_others(own, &[*other], &mut part)?,
            Wanted::Facts(others) => self.read_ranked(own, key_type, policy, others, &mut part)?,
            Wanted::Introduced(browser, others) => {
                self.read_others(own, &[*browser], &mut part)?;
                let before = part.claims.values().flat_map(|claimed| &claimed.introduces);
                let others: Vec<KeyHash> = before.map(|fact| fact.other(own)).chain(others.iter().copied()).collect();
                self.read_ranked(own, key_type, policy, &others, &mut part)?;
            }
            Wanted::All => {
                self.read_rows("SELECT class, body FROM star WHERE k = ?", &[own.0.as_slice().into()], &mut part)?;
            }
            Wanted::Browser(browser) => {
                self.read_others(own, &[*browser], &mut part)?;
                self.read_first(own, (BROWSER_STRONG, BROWSER_PENDING), browsers_listed(policy), 1, &mut part)?;
            }
        }
        (star.facts, star.claims) = (part.facts.clone(), part.claims.clone());
        Ok(part)
    }

    fn read_ranked(
        &self,
        own: KeyHash,
        key_type: KeyType,
        policy: &Policy,
        others: &[KeyHash],
        part: &mut Part,
    ) -> Result<(), StoreError> {
        self.read_others(own, others, part)?;
        self.read_first(own, (0, FACT_UNRANKED - 1), facts_listed(key_type, policy), others.len(), part)
    }

    /// What a key has of some others, whatever its rank.
    fn read_others(&self, own: KeyHash, others: &[KeyHash], part: &mut Part) -> Result<(), StoreError> {
        for other in others {
            self.read_rows(OF_OTHER, &[own.0.as_slice().into(), other.0.as_slice().into()], part)?;
        }
        Ok(())
    }

    /// The first of a ranking, and as many more as may move up when as many are changed.
    fn read_first(
        &self,
        own: KeyHash,
        classes: (i64, i64),
        listed: usize,
        changed: usize,
        part: &mut Part,
    ) -> Result<(), StoreError> {
        let sql = "SELECT class, body FROM star WHERE k = ? AND class BETWEEN ? AND ?
                   ORDER BY class, at, other LIMIT ? + 0";
        let limit = i64::try_from(listed.saturating_add(changed)).unwrap_or(i64::from(i32::MAX));
        self.read_rows(sql, &[own.0.as_slice().into(), classes.0.into(), classes.1.into(), limit.into()], part)
    }

    fn read_rows(&self, sql: &str, params: &[Value], part: &mut Part) -> Result<(), StoreError> {
        for row in self.store.query(sql, params)? {
            if row.integer(0)? <= FACT_UNRANKED {
                let (fact, known) = decode(row.blob(1)?)?;
                part.facts.insert(fact, known);
            } else {
                let claimed: Claimed = decode(row.blob(1)?)?;
                part.claims.insert(claimed.claims.browser, claimed);
            }
        }
        Ok(())
    }

    /// Writes what has changed of a star in rows; one that has grown too large gets rows.
    pub(in crate::partition) fn write_star(
        &self,
        own: KeyHash,
        star: &mut Star,
        part: &Part,
    ) -> Result<(), StoreError> {
        if !star.in_rows && star.facts.len() + star.claims.len() <= self.star_inline {
            return Ok(());
        }
        star.in_rows = true;
        for (fact, known) in std::mem::take(&mut star.facts) {
            let before = part.facts.get(&fact);
            if before != Some(&known) {
                let before = before.map(|before| fact_place(own, fact, before));
                self.write_row(own, before, fact_place(own, fact, &known), encode(&(fact, known))?)?;
            }
        }
        for (browser, claimed) in std::mem::take(&mut star.claims) {
            let before = part.claims.get(&browser);
            if before != Some(&claimed) {
                self.write_row(own, before.map(browser_place), browser_place(&claimed), encode(&claimed)?)?;
            }
        }
        Ok(())
    }

    fn write_row(
        &self,
        own: KeyHash,
        before: Option<Place>,
        (class, at, other): Place,
        body: Vec<u8>,
    ) -> Result<(), StoreError> {
        let place = |(class, at, other): Place| -> Vec<Value> {
            vec![own.0.as_slice().into(), class.into(), at.into(), other.0.as_slice().into()]
        };
        if let Some(before) = before.filter(|before| *before != (class, at, other)) {
            let sql = "DELETE FROM star WHERE k = ? AND class = ? AND at = ? AND other = ?";
            self.store.exec(sql, &place(before))?;
        }
        let mut params = place((class, at, other));
        params.push(Value::Blob(body));
        // Not a replacement, which would bill the index again when only the body is another.
        let sql = "INSERT INTO star VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body";
        self.store.exec(sql, &params).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::native::Native;

    #[test]
    fn one_fact_of_a_hot_key_is_found_without_reading_the_others() {
        let store = Native::in_memory().unwrap();
        crate::partition::schema::migrate(&store).unwrap();
        let plan = store.query(&format!("EXPLAIN QUERY PLAN {OF_OTHER}"), &[0.into(), 0.into()]).unwrap();
        assert!(plan[0].text(3).unwrap().contains("INDEX star_other (k=? AND other=?)"), "{plan:?}");
    }
}
