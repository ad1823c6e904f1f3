//! The feed, read by cursor: everybody first, then what changes, at least once, with the prospects as they are now.

use super::change::{Cause, Change};
use super::export::LAST_ROW;
use super::read::{Looked, Target, json};
use super::{Partition, decode, encode};
use crate::key::KeyHash;
use crate::store::{Row, Store, StoreError, Value};
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
    /// How many lines and notices are left after this.
    #[n(3)]
    pub behind: u64,
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
    /// It has reached a stage.
    #[n(3)]
    Reached {
        /// The stage's slug.
        #[n(0)]
        stage: String,
        /// When, ms: the computed instant.
        #[n(1)]
        at: i64,
        /// Through what.
        #[n(2)]
        cause: Cause,
        /// Itself as it is now, as JSON; `None` if it has gone elsewhere since.
        #[cbor(n(3), with = "minicbor::bytes")]
        prospect: Option<Vec<u8>>,
    },
}

/// A prospect that has gone into another, or was erased: kept for readers of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Notice {
    #[n(0)]
    pub(super) at: i64,
    #[n(1)]
    pub(super) prospect: KeyHash,
    /// `None`: it was erased, if it has reached nothing.
    #[n(2)]
    pub(super) into: Option<KeyHash>,
    /// It has reached a stage.
    #[cbor(n(3), default)]
    pub(super) reached: Option<Reached>,
}

/// A stage that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Reached {
    /// Its slug.
    #[n(0)]
    pub(super) stage: String,
    /// Where the prospect's cluster lives.
    #[n(1)]
    pub(super) home: KeyHash,
    /// Through what.
    #[n(2)]
    pub(super) cause: Cause,
}

/// How long lines and notices are kept, ms (DESIGN 2). Whoever has read nothing for longer is shown everybody again.
const KEPT_MS: i64 = 30 * 86_400_000;
/// How many lines are forgotten at a time, and after how many new ones: deletes are billed like writes, and as seldom as
/// this they cost a commit a millisecond.
const PRUNED_AT_A_TIME: i64 = 1_024;

impl<S: Store> Partition<S> {
    /// The last line of the feed.
    ///
    /// # Errors
    /// When the store fails.
    fn feed_end(&self) -> Result<i64, StoreError> {
        self.last("SELECT coalesce(max(seq), 0) FROM feed")
    }

    /// How many lines and notices there ever were: more than before means news.
    ///
    /// # Errors
    /// When the store fails.
    pub fn news(&self) -> Result<i64, StoreError> {
        Ok(self.feed_end()? + self.last_notice()?)
    }

    /// How many lines and notices a reader has not read.
    fn behind(&self, cursor: &Cursor) -> Result<u64, StoreError> {
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
        let first_notice = self.last("SELECT coalesce(min(seq), 0) FROM notice")?;
        let known =
            cursor.filter(|cursor| cursor.is_walking() || cursor.seq + 1 >= first && cursor.notice + 1 >= first_notice);
        match known {
            Some(cursor) if cursor.walk.is_none() => self.changes_after(cursor, limit, now),
            Some(cursor) => self.everybody(cursor, limit, now),
            // What changes from here on comes after the walk, even if the walk has shown it.
            None => self.everybody(&Cursor { walk: Some(-1), ..self.feed_now()? }, limit, now),
        }
    }

    /// Where somebody stands who has read all.
    pub(super) fn feed_now(&self) -> Result<Cursor, StoreError> {
        Ok(Cursor { walk: None, seq: self.feed_end()?, notice: self.last_notice()? })
    }

    fn everybody(&self, cursor: &Cursor, limit: u32, now: i64) -> Result<Told, StoreError> {
        let after = cursor.walk.unwrap_or(-1);
        let rows = self.people_between(after, LAST_ROW, limit)?;
        let walks_on = rows.len() == limit as usize;
        let (mut items, mut last) = (Vec::with_capacity(rows.len()), None);
        for (no, person) in rows {
            last = Some(no);
            let founder = person.founder;
            if let Some(prospect) = self.show_person(person, now)? {
                let what = What::Changed { prospect: json(&prospect)?, at: None, cause: None };
                items.push(Item { founder, seq: cursor.seq, what });
            }
        }
        let cursor = Cursor { walk: last.filter(|_| walks_on), ..*cursor };
        let behind = self.behind(&cursor)?;
        // What changed during the walk comes after it.
        Ok(Told { items, more: walks_on || behind > 0, behind, cursor })
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
            last.extend(changes.into_iter().map(|change| (change.founder, (seq, change))));
        }
        let more = rest.peek().is_some() || rows.len() == limit;
        let mut changed: Vec<(KeyHash, (i64, Change))> = last.into_iter().collect();
        changed.sort_by_key(|(_, (seq, _))| *seq);
        let mut items = Vec::with_capacity(changed.len());
        let mut shown = BTreeSet::new();
        for (founder, (seq, change)) in changed {
            let mut target = Target::key(founder);
            target.at = change.home.unwrap_or(founder);
            // Who has gone elsewhere is told of there; who is no more has a notice.
            let Looked::Found(prospect) = self.prospect(target, now)? else { continue };
            if prospect.life_cycle == "active" && shown.insert(prospect.id.clone()) {
                let what = What::Changed { prospect: json(&prospect)?, at: Some(change.at), cause: Some(change.cause) };
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
            let Notice { at, prospect, into, reached } = decode(row.blob(1)?)?;
            let what = match (reached, into) {
                (Some(Reached { stage, home, cause }), _) => {
                    let mut target = Target::key(prospect);
                    target.at = home;
                    let found = self.prospect(target, now)?.found().filter(|found| found.id == prospect.prospect_id());
                    What::Reached { stage, at, cause, prospect: found.as_ref().map(json).transpose()? }
                }
                (None, Some(into)) => What::Merged(into, at),
                (None, None) => What::Deleted(at),
            };
            items.push(Item { founder: prospect, seq: notice, what });
        }
        let more = more || rows.len() == limit;
        let cursor = Cursor { walk: None, seq, notice };
        Ok(Told { items, more, behind: self.behind(&cursor)?, cursor })
    }

    /// Writes down what must not be lost.
    pub(super) fn note(&self, notice: &Notice) -> Result<(), StoreError> {
        let sql = "INSERT INTO notice (body) VALUES (?) RETURNING seq";
        let rows = self.store.query(sql, &[Value::Blob(encode(notice)?)])?;
        let seq = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        self.prune("notice", seq, notice.at, |body| Ok(decode::<Notice>(body)?.at))
    }

    /// Forgets the oldest lines of a table, if they are old enough, each time that so many new ones have come. The newest is
    /// never among them: numbers would begin anew.
    pub(super) fn prune(
        &self,
        table: &str,
        seq: i64,
        now: i64,
        time: impl Fn(&[u8]) -> Result<i64, StoreError>,
    ) -> Result<(), StoreError> {
        if seq % PRUNED_AT_A_TIME != 0 {
            return Ok(());
        }
        // Twice: what came in while less was pruned catches up.
        for _ in 0..2 {
            let sql = format!("SELECT seq, body FROM {table} ORDER BY seq LIMIT 1 OFFSET ?");
            let rows = self.store.query(&sql, &[(PRUNED_AT_A_TIME - 1).into()])?;
            let Some(row) = rows.first() else { return Ok(()) };
            let last = row.integer(0)?;
            if last >= seq || time(row.blob(1)?)? >= now - KEPT_MS {
                return Ok(());
            }
            self.store.exec(&format!("DELETE FROM {table} WHERE seq <= ?"), &[last.into()])?;
        }
        Ok(())
    }

    fn last_notice(&self) -> Result<i64, StoreError> {
        self.last("SELECT coalesce(max(seq), 0) FROM notice")
    }

    fn last(&self, sql: &str) -> Result<i64, StoreError> {
        self.store.query(sql, &[])?.first().map_or(Ok(0), |row: &Row| row.integer(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Record, Source};
    use crate::identity::policy::Policy;
    use crate::key::{DeploymentKey, Identifier, KeyType, SlotMap};
    use crate::kinds::Kind;
    use crate::partition::Partition;
    use crate::partition::message::{Ask, Message};
    use crate::scoring::Model;
    use crate::store::Value;
    use crate::store::native::Native;

    const NOW: i64 = 1_767_225_600_000;

    fn partition() -> Partition<Native> {
        let model = Model::parse(Model::SHIPPED).unwrap();
        let key = DeploymentKey::new(b"test");
        let store = Native::in_memory().unwrap();
        Partition::open(store, (0, SlotMap { partitions: 1 }), key, Policy::default(), model, 1).unwrap()
    }

    /// Somebody looks at a page, once more each time.
    fn view(partition: &mut Partition<Native>, who: u32, n: i64) {
        let rec = Identifier::new(KeyType::ExternalId, "", &format!("customer-{who}")).unwrap();
        let body = Body::bare(Kind::PageView, "[Page view] /".to_owned(), Source::Api);
        let key = DeploymentKey::new(b"test").hash(&rec);
        let record = Record { rec, at: NOW + n, id: format!("e{n}"), body, facts: Vec::new(), claims: Vec::new() };
        partition.apply(NOW + n, vec![Message { key, ask: Ask::Take(vec![record]) }]).unwrap();
    }

    /// Reads on until there is no more: who was told of, in order.
    fn read(partition: &Partition<Native>, cursor: &mut Option<Cursor>, limit: u32) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let page = partition.read_feed(cursor.as_ref(), limit, NOW).unwrap();
            told.extend(page.items.iter().map(|item| item.founder.prospect_id()));
            *cursor = Some(page.cursor);
            if !page.more {
                return told;
            }
        }
    }

    #[test]
    fn everybody_comes_first_then_each_change_and_nothing_is_missed_in_between() {
        let mut partition = partition();
        (0..25).for_each(|who| view(&mut partition, who, who.into()));
        let mut cursor = None;
        let page = partition.read_feed(None, 10, NOW).unwrap();
        assert!(page.more && page.cursor.is_walking());
        // Meanwhile somebody who was shown already changes, and somebody new comes.
        let first = page.items[0].founder.prospect_id();
        cursor.replace(page.cursor);
        (0..30).for_each(|who| view(&mut partition, who, 1_000 + i64::from(who)));
        let mut told: Vec<String> = page.items.iter().map(|item| item.founder.prospect_id()).collect();
        told.extend(read(&partition, &mut cursor, 10));
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 30);
        assert!(told[10..].contains(&first), "what changed during the walk comes after it");
        assert_eq!(read(&partition, &mut cursor, 10), Vec::<String>::new());
        assert_eq!(partition.behind(cursor.as_ref().unwrap()), Ok(0));

        for n in 0..5 {
            view(&mut partition, 7, 2_000 + n);
        }
        assert_eq!(partition.behind(cursor.as_ref().unwrap()), Ok(5));
        assert_eq!(read(&partition, &mut cursor, 10).len(), 1, "several changes of one are one, as it is now");
    }

    #[test]
    fn who_has_fallen_behind_what_is_kept_is_shown_everybody_again() {
        let mut partition = partition();
        let mut cursor = None;
        (0..3).for_each(|who| view(&mut partition, who, who.into()));
        read(&partition, &mut cursor, 10);
        (0..3).for_each(|who| view(&mut partition, who, 100 + i64::from(who)));
        let seq = partition.feed_end().unwrap();
        partition.store().exec("DELETE FROM feed WHERE seq < ?", &[Value::Integer(seq)]).unwrap();
        assert_eq!(read(&partition, &mut cursor, 10).len(), 3);
    }

    #[test]
    fn lines_of_a_month_ago_are_forgotten_and_whoever_has_not_read_them_is_shown_everybody() {
        let mut partition = partition();
        let lines = |partition: &Partition<Native>| partition.last("SELECT count(*) FROM feed").unwrap();
        let mut early = None;
        view(&mut partition, 1, 0);
        read(&partition, &mut early, 10);
        (1..PRUNED_AT_A_TIME * 2).for_each(|n| view(&mut partition, 1 + (n % 2) as u32, n));
        assert_eq!(lines(&partition), PRUNED_AT_A_TIME * 2, "younger than a month");
        let mut late = None;
        read(&partition, &mut late, 10);
        // A month later so many more come.
        (1..=PRUNED_AT_A_TIME).for_each(|n| view(&mut partition, 3, KEPT_MS + 10_000 + n));
        assert_eq!(lines(&partition), PRUNED_AT_A_TIME);
        assert_eq!(read(&partition, &mut late, 2_000).len(), 1, "who has read all but the newest is told of those");
        assert_eq!(read(&partition, &mut early, 10).len(), 3, "everybody");
    }
}
