//! What readers of the feed are told: which prospects changed, when and through what; and the lines that it is kept in.

use super::{Partition, encode};
use crate::key::KeyHash;
use crate::scoring::Standing;
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};

/// One line of the feed: what a commit has to tell. One sequence for all of it, so that nothing is told in another order
/// than it happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Line {
    /// By prospect in the order of `rev`.
    #[n(0)]
    pub(super) changes: Vec<Change>,
    /// Stages that were reached.
    #[n(1)]
    pub(super) reached: Vec<Reached>,
}

impl Line {
    pub(super) fn extend(&mut self, other: Line) {
        self.changes.extend(other.changes);
        self.reached.extend(other.reached);
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.reached.is_empty()
    }
}

/// What has become of a prospect.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Change {
    /// Whose prospect changed.
    #[n(0)]
    pub founder: KeyHash,
    /// Its `rev` since.
    #[n(1)]
    pub rev: u64,
    /// When, ms: the computed instant of what happened by itself, even if it was noticed later (contract, row 23); else
    /// when it was noticed.
    #[n(2)]
    pub at: i64,
    /// Through what.
    #[n(3)]
    pub cause: Cause,
    /// What is otherwise since, for what no event did; empty for events.
    #[n(4)]
    pub turned: Vec<Turned>,
    /// Where its cluster lives: whoever reads this finds the prospect by it, as the founder's own row may be another
    /// partition's.
    #[n(5)]
    pub home: KeyHash,
    /// Its row is no more: it has gone into another, to another partition, or for good. Which of them, whoever reads this
    /// finds out by asking for it: its id answers for ever.
    #[n(6)]
    pub gone: bool,
}

impl Change {
    /// That a prospect's row is no more; its `rev` above all that was told of it.
    pub(super) fn gone(founder: KeyHash, home: KeyHash, rev: u64, now: i64) -> Change {
        Change { founder, rev, at: now, cause: Cause::Merge, turned: Vec::new(), home, gone: true }
    }
}

/// A stage that was reached.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Reached {
    /// Whose prospect did.
    #[n(0)]
    pub(super) founder: KeyHash,
    /// Its `rev` since.
    #[n(1)]
    pub(super) rev: u64,
    /// When, ms: the computed instant.
    #[n(2)]
    pub(super) at: i64,
    /// Through what.
    #[n(3)]
    pub(super) cause: Cause,
    /// The stage's slug.
    #[n(4)]
    pub(super) stage: String,
    /// Where the prospect's cluster lives.
    #[n(5)]
    pub(super) home: KeyHash,
}

/// Through what a prospect changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Cause {
    /// An event, or what somebody said of identity.
    #[n(0)]
    Event,
    /// Time alone.
    #[n(1)]
    Time,
    /// Another version of the model.
    #[n(2)]
    Publish,
    /// Bringing together what was known already: people became one, or went to another partition.
    #[n(3)]
    Merge,
}

impl Cause {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Cause::Event => "event",
            Cause::Time => "time",
            Cause::Publish => "publish",
            Cause::Merge => "merge",
        }
    }
}

/// What can change by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Turned {
    /// The stage.
    #[n(0)]
    Stage,
    /// The temperature.
    #[n(1)]
    Temperature,
    /// A tag was gained or lost.
    #[n(2)]
    Tags,
    /// The band of a score.
    #[n(3)]
    Band,
    /// Points were taken for inactivity.
    #[n(4)]
    Inactivity,
    /// Whether, or why, nothing is scored.
    #[n(5)]
    Excluded,
}

impl Turned {
    /// Its name in the API.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Turned::Stage => "stage",
            Turned::Temperature => "temperature",
            Turned::Tags => "tags",
            Turned::Band => "band",
            Turned::Inactivity => "inactivity",
            Turned::Excluded => "excluded",
        }
    }

    /// What differs between two standings of one prospect, but for values.
    pub(super) fn between(before: &Standing, after: &Standing) -> Vec<Turned> {
        let bands =
            |standing: &Standing| standing.scores.iter().map(|(_, score)| score.band.clone()).collect::<Vec<_>>();
        let differences = [
            (Turned::Stage, before.stage != after.stage),
            (Turned::Temperature, before.temperature != after.temperature),
            (Turned::Tags, before.tags != after.tags),
            (Turned::Band, bands(before) != bands(after)),
            (Turned::Excluded, before.excluded != after.excluded),
        ];
        differences.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
    }
}

/// How long lines are kept, ms (DESIGN 2). Whoever has read nothing for longer is shown everybody again.
pub(super) const KEPT_MS: i64 = 30 * 86_400_000;
/// How many lines are forgotten at a time, and after how many new ones: deletes are billed like writes, and as seldom as
/// this they cost a commit a millisecond.
pub(super) const PRUNED_AT_A_TIME: i64 = 1_024;

impl<S: Store> Partition<S> {
    /// Writes the line of a commit, if it has anything to tell.
    pub(super) fn write_line(&self, line: &Line, now: i64) -> Result<(), StoreError> {
        if line.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO feed (at, body) VALUES (?, ?) RETURNING seq";
        let rows = self.store.query(sql, &[now.into(), Value::Blob(encode(line)?)])?;
        let seq = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        if seq % PRUNED_AT_A_TIME == 0 { self.forget_old_lines(seq, now) } else { Ok(()) }
    }

    /// Forgets the oldest lines, if all of them are old enough. The newest is never among them: numbers would begin anew.
    fn forget_old_lines(&self, newest: i64, now: i64) -> Result<(), StoreError> {
        // Twice: what came in while less was forgotten catches up.
        for _ in 0..2 {
            let sql = "SELECT seq, at FROM feed ORDER BY seq LIMIT 1 OFFSET ?";
            let rows = self.store.query(sql, &[(PRUNED_AT_A_TIME - 1).into()])?;
            let Some(row) = rows.first() else { return Ok(()) };
            let (last, at) = (row.integer(0)?, row.integer(1)?);
            if last >= newest || at >= now - KEPT_MS {
                return Ok(());
            }
            self.store.exec("DELETE FROM feed WHERE seq <= ?", &[last.into()])?;
        }
        Ok(())
    }
}
