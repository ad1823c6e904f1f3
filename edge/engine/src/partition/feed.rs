//! The feed, read by cursor: everybody first, then what changes, at least once, with the prospects as they are now.

use super::change::{Cause, Change};
use super::person::Person;
use super::read::{Looked, Target, json};
use super::{Partition, decode};
use crate::key::KeyHash;
use crate::store::{Row, Store, StoreError};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Where a reader stands in the feed of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// While everybody is read: the row that was read last. `None` since.
    #[n(0)]
    walk: Option<i64>,
    /// The line of the feed that was read last.
    #[n(1)]
    seq: i64,
    /// The notice that was read last.
    #[n(2)]
    notice: i64,
}

impl Cursor {
    /// Whether everybody is still being read for the first time.
    #[must_use]
    pub fn is_walking(&self) -> bool {
        self.walk.is_some()
    }
}

/// What a reader is told.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Told {
    /// In the order of the feed.
    #[n(0)]
    pub items: Vec<Item>,
    /// Where to go on.
    #[n(1)]
    pub cursor: Cursor,
    /// Whether there is more at once.
    #[n(2)]
    pub more: bool,
}

/// One thing that a reader is told.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Item {
    /// The founder of the prospect that it is about: its id.
    #[n(0)]
    pub founder: KeyHash,
    /// The line of the feed; the number of the notice of who has gone.
    #[n(1)]
    pub seq: i64,
    /// What it is.
    #[n(2)]
    pub what: What,
}

/// What has happened to a prospect.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum What {
    /// It is there, or is otherwise than before.
    #[n(0)]
    Changed {
        /// Itself as it is now, as JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        prospect: Vec<u8>,
        /// When it last changed, ms; `None` for who is shown because everybody is.
        #[n(1)]
        at: Option<i64>,
        /// Through what.
        #[n(2)]
        cause: Option<Cause>,
    },
    /// It has gone into another, ms.
    #[n(1)]
    Merged(#[n(0)] KeyHash, #[n(1)] i64),
    /// It was erased, ms.
    #[n(2)]
    Deleted(#[n(0)] i64),
}

/// A prospect that has gone into another, or was erased: kept for readers of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Notice {
    #[n(0)]
    pub(super) at: i64,
    #[n(1)]
    pub(super) prospect: KeyHash,
    /// `None`: it was erased.
    #[n(2)]
    pub(super) into: Option<KeyHash>,
}

impl<S: Store> Partition<S> {
    /// The last line of the feed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn feed_end(&self) -> Result<i64, StoreError> {
        self.last("SELECT coalesce(max(seq), 0) FROM feed")
    }

    /// How many lines and notices a reader has not read.
    ///
    /// # Errors
    /// When the store fails.
    pub fn behind(&self, cursor: &Cursor) -> Result<u64, StoreError> {
        let lines = self.feed_end()? - cursor.seq + self.last_notice()? - cursor.notice;
        Ok(lines.max(0).unsigned_abs())
    }

    /// What comes after a cursor; everybody, without one. About `limit` items at most: a commit's changes come together.
    ///
    /// # Errors
    /// When the store fails.
    pub fn read_feed(&self, cursor: Option<&Cursor>, limit: u32, now: i64) -> Result<Told, StoreError> {
        let first = self.last("SELECT coalesce(min(seq), 0) FROM feed")?;
        // What came after this cursor is kept no longer: everybody once more.
        let known = cursor.filter(|cursor| cursor.is_walking() || cursor.seq + 1 >= first);
        match known {
            Some(cursor) if cursor.walk.is_none() => self.changes_after(cursor, limit, now),
            Some(cursor) => self.everybody(cursor, limit, now),
            // What changes from here on comes after the walk, even if the walk has shown it.
            None => {
                let (seq, notice) = (self.feed_end()?, self.last_notice()?);
                self.everybody(&Cursor { walk: Some(-1), seq, notice }, limit, now)
            }
        }
    }

    fn everybody(&self, cursor: &Cursor, limit: u32, now: i64) -> Result<Told, StoreError> {
        let after = cursor.walk.unwrap_or(-1);
        let sql = "SELECT no, state FROM person WHERE no > ? ORDER BY no LIMIT ?";
        let rows = self.store.query(sql, &[after.into(), i64::from(limit).into()])?;
        let (mut items, mut last) = (Vec::with_capacity(rows.len()), None);
        for row in &rows {
            let person: Person = decode(row.blob(1)?)?;
            last = Some(row.integer(0)?);
            let founder = person.founder;
            if let Some(prospect) = self.show_person(person, now)? {
                let what = What::Changed { prospect: json(&prospect)?, at: None, cause: None };
                items.push(Item { founder, seq: cursor.seq, what });
            }
        }
        let more = rows.len() == limit as usize;
        Ok(Told { items, cursor: Cursor { walk: last.filter(|_| more), ..*cursor }, more })
    }

    fn changes_after(&self, cursor: &Cursor, limit: u32, now: i64) -> Result<Told, StoreError> {
        let limit = limit as usize;
        let rows = self.store.query(
            "SELECT seq, body FROM feed WHERE seq > ? ORDER BY seq LIMIT ?",
            &[cursor.seq.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        )?;
        // A prospect that changed several times is shown once, as it is now, where it changed last.
        let (mut last, mut seq) = (BTreeMap::new(), cursor.seq);
        let mut rest = rows.iter().peekable();
        while let Some(row) = rest.next_if(|_| last.len() < limit) {
            seq = row.integer(0)?;
            let changes: Vec<Change> = decode(row.blob(1)?)?;
            last.extend(changes.into_iter().map(|change| (change.founder, (seq, change.at, change.cause))));
        }
        let more = rest.peek().is_some() || rows.len() == limit;
        let mut changed: Vec<(KeyHash, (i64, i64, Cause))> = last.into_iter().collect();
        changed.sort_by_key(|(_, (seq, _, _))| *seq);
        let mut items = Vec::with_capacity(changed.len());
        let mut shown = BTreeSet::new();
        for (founder, (seq, at, cause)) in changed {
            // Who has gone elsewhere is told of there; who is no more has a notice.
            let Looked::Found(prospect) = self.prospect(Target::key(founder), now)? else { continue };
            if prospect.life_cycle == "active" && shown.insert(prospect.id.clone()) {
                let what = What::Changed { prospect: json(&prospect)?, at: Some(at), cause: Some(cause) };
                items.push(Item { founder, seq, what });
            }
        }
        let rows = self.store.query(
            "SELECT seq, body FROM notice WHERE seq > ? ORDER BY seq LIMIT ?",
            &[cursor.notice.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        )?;
        let mut notice = cursor.notice;
        for row in &rows {
            notice = row.integer(0)?;
            let Notice { at, prospect, into } = decode(row.blob(1)?)?;
            let what = into.map_or(What::Deleted(at), |into| What::Merged(into, at));
            items.push(Item { founder: prospect, seq: notice, what });
        }
        let more = more || rows.len() == limit;
        Ok(Told { items, cursor: Cursor { walk: None, seq, notice }, more })
    }

    fn last_notice(&self) -> Result<i64, StoreError> {
        self.last("SELECT coalesce(max(seq), 0) FROM notice")
    }

    fn last(&self, sql: &str) -> Result<i64, StoreError> {
        self.store.query(sql, &[])?.first().map_or(Ok(0), |row: &Row| row.integer(0))
    }
}
