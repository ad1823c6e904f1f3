//! The feed, read by cursor: everybody first, then what changes, at least once, with the prospects as they are now.

use super::change::{Cause, Change, Line, Reached, Turned};
use super::export::LAST_ROW;
use super::read::{Looked, Target, json};
use super::view::Prospect;
use super::{Partition, decode};
use crate::key::KeyHash;
use crate::store::{Row, Store, StoreError};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// Where a reader stands in the feed of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Cursor {
    /// While everybody is read: the row that was read last. `None` since.
    #[n(0)]
    walk: Option<i64>,
    /// The line of the feed that was read last.
    #[n(1)]
    seq: i64,
}

impl Cursor {
    /// Everybody once more, and then what has changed since this cursor: who was erased meanwhile is told, too.
    #[must_use]
    pub fn again(self) -> Cursor {
        Cursor { walk: Some(-1), ..self }
    }

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
    /// How many lines are left after this.
    #[n(3)]
    pub behind: u64,
}

/// One thing that a reader is told.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Item {
    /// The founder of the prospect that it is about: its id.
    #[n(0)]
    pub founder: KeyHash,
    /// The line of the feed.
    #[n(1)]
    pub seq: i64,
    /// Its `rev` by that line.
    #[n(3)]
    pub rev: u64,
    /// What it is.
    #[n(2)]
    pub what: What,
}

/// What has happened to a prospect.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum What {
    /// It is otherwise than before: there, merged into another, or deleted.
    #[n(0)]
    Changed {
        /// What its id answers now, as JSON; `None` if another partition knows that.
        #[cbor(n(0), with = "minicbor::bytes")]
        prospect: Option<Vec<u8>>,
        /// When it last changed, ms; `None` for who is shown because everybody is.
        #[n(1)]
        at: Option<i64>,
        /// Through what.
        #[n(2)]
        cause: Option<Cause>,
        /// What turned by time alone, or by another version of the model, since the cursor: each at its computed instant,
        /// ms, however late it was noticed or is read (contract, row 23).
        #[n(3)]
        turned: Vec<(i64, Vec<Turned>)>,
    },
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
        /// What its id answers now, as JSON; `None` if another partition knows that.
        #[cbor(n(3), with = "minicbor::bytes")]
        prospect: Option<Vec<u8>>,
    },
}

impl Item {
    /// Whether another partition must be asked what the prospect's id answers.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        let (What::Changed { prospect, .. } | What::Reached { prospect, .. }) = &self.what;
        prospect.is_none()
    }

    /// Whom to ask for.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::id(self.founder).since(self.rev)
    }

    /// Fills in what another partition has answered; without that, nothing is left of it.
    ///
    /// # Errors
    /// Never in practice: memory is the only sink.
    pub fn learn(&mut self, answer: Option<Vec<u8>>) -> Result<(), StoreError> {
        let (What::Changed { prospect, .. } | What::Reached { prospect, .. }) = &mut self.what;
        *prospect = Some(match answer {
            Some(answer) => answer,
            None => json(&Prospect::hollow(self.founder.prospect_id(), self.rev, "deleted"))?,
        });
        Ok(())
    }
}

impl<S: Store> Partition<S> {
    /// The last line of the feed: another than before means news.
    ///
    /// # Errors
    /// When the store fails.
    pub fn feed_end(&self) -> Result<i64, StoreError> {
        self.last("SELECT coalesce(max(seq), 0) FROM feed")
    }

    /// How many lines a reader has not read.
    fn behind(&self, cursor: &Cursor) -> Result<u64, StoreError> {
        Ok((self.feed_end()? - cursor.seq).max(0).unsigned_abs())
    }

    /// What comes after a cursor; everybody, without one. About `limit` items at most: a commit's changes come together.
    ///
    /// Who reads several partitions begins with all of them, by a `limit` of 0, before reading on in any: of somebody who has
    /// gone from one to another, one tells where the other stands.
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
            None => self.everybody(&Cursor { walk: Some(-1), ..self.feed_now()? }, limit, now),
        }
    }

    /// Where somebody stands who has read all.
    pub(super) fn feed_now(&self) -> Result<Cursor, StoreError> {
        Ok(Cursor { walk: None, seq: self.feed_end()? })
    }

    fn everybody(&self, cursor: &Cursor, limit: u32, now: i64) -> Result<Told, StoreError> {
        let after = cursor.walk.unwrap_or(-1);
        let rows = self.people_between(after, LAST_ROW, limit)?;
        let walks_on = rows.len() == limit as usize;
        let (mut items, mut last) = (Vec::with_capacity(rows.len()), None);
        for (no, person) in rows {
            last = Some(no);
            let (founder, rev) = (person.founder, person.rev);
            // Who is on the way here is asked for, until they have come.
            let prospect = self.show_person(person, now)?.as_ref().map(json).transpose()?;
            let what = What::Changed { prospect, at: None, cause: None, turned: Vec::new() };
            items.push(Item { founder, seq: cursor.seq, rev, what });
        }
        let cursor = Cursor { walk: last.or(cursor.walk).filter(|_| walks_on), ..*cursor };
        let behind = self.behind(&cursor)?;
        // What changed during the walk comes after it.
        Ok(Told { items, more: walks_on || behind > 0, behind, cursor })
    }

    fn changes_after(&self, cursor: &Cursor, limit: u32, now: i64) -> Result<Told, StoreError> {
        let limit = limit as usize;
        let rows = self.store.query(
            "SELECT seq, body FROM feed WHERE seq > ? ORDER BY seq LIMIT ? + 0",
            &[cursor.seq.into(), i64::try_from(limit).unwrap_or(i64::MAX).into()],
        )?;
        let (mut reached, mut last, mut seq) = (Vec::new(), BTreeMap::new(), cursor.seq);
        let mut turns = BTreeMap::<KeyHash, Vec<(i64, Vec<Turned>)>>::new();
        let mut rest = rows.iter().peekable();
        while let Some(row) = rest.next_if(|_| reached.len() + last.len() < limit) {
            seq = row.integer(0)?;
            let line: Line = decode(row.blob(1)?)?;
            reached.extend(line.reached.into_iter().map(|reached| (seq, reached)));
            for mut change in line.changes {
                let turned = std::mem::take(&mut change.turned);
                if !turned.is_empty() {
                    turns.entry(change.founder).or_default().push((change.at, turned));
                }
                last.insert(change.founder, (seq, change));
            }
        }
        let more = rest.peek().is_some() || rows.len() == limit;
        let mut items = Vec::with_capacity(reached.len() + last.len());
        for (seq, Reached { founder, rev, at, cause, stage, home }) in reached {
            let prospect = self.of_id((founder, rev), home, now)?.found().as_ref().map(json).transpose()?;
            let what = What::Reached { stage, at, cause, prospect };
            items.push(Item { founder, seq, rev, what });
        }
        // A prospect that changed several times is told of once, as it is now, where it changed last; but what happened to it
        // meanwhile by itself is told nowhere else.
        for (founder, (seq, Change { rev, at, cause, home, gone, .. })) in last {
            let looked = self.of_id((founder, rev), home, now)?;
            // Whoever has gone since has a line of their own that says so; who is on the way here may have none to come.
            let is_there = match &looked {
                Looked::Found(prospect) => prospect.life_cycle == "active",
                Looked::Settling => true,
                Looked::Elsewhere(_) | Looked::Unknown => false,
            };
            if gone || is_there {
                let prospect = looked.found().as_ref().map(json).transpose()?;
                let turned = turns.remove(&founder).unwrap_or_default();
                let what = What::Changed { prospect, at: Some(at), cause: Some(cause), turned };
                items.push(Item { founder, seq, rev, what });
            }
        }
        // Stages before the change with which they came.
        items.sort_by_key(|item| item.seq);
        let cursor = Cursor { walk: None, seq };
        Ok(Told { items, more, behind: self.behind(&cursor)?, cursor })
    }

    /// What the id of a prospect answers, as far as it is known here.
    fn of_id(&self, (founder, rev): (KeyHash, u64), home: KeyHash, now: i64) -> Result<Looked<Prospect>, StoreError> {
        let mut target = Target::id(founder).since(rev);
        target.at = home;
        self.prospect(target, now)
    }

    fn last(&self, sql: &str) -> Result<i64, StoreError> {
        self.store.query(sql, &[])?.first().map_or(Ok(0), |row: &Row| row.integer(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::{KEPT_MS, PRUNED_AT_A_TIME};
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
    use std::collections::BTreeSet;

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
