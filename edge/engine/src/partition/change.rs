//! What readers of the feed are told: which prospects changed, when and through what.

use super::{Partition, decode, encode};
use crate::key::KeyHash;
use crate::scoring::Standing;
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};

/// One line of the feed.
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
    /// partition's. `None` in lines of earlier releases.
    #[cbor(n(5), default)]
    pub home: Option<KeyHash>,
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

impl<S: Store> Partition<S> {
    /// Writes the feed row of a commit, if anything changed.
    pub(super) fn feed(&self, changed: &[Change]) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let sql = "INSERT INTO feed (body) VALUES (?) RETURNING seq";
        let rows = self.store.query(sql, &[Value::Blob(encode(&changed)?)])?;
        let seq = rows.first().map_or(Ok(0), |row| row.integer(0))?;
        let now = changed.iter().map(|change| change.at).max().unwrap_or_default();
        self.prune("feed", seq, now, |body| {
            let changes: Vec<Change> = decode(body)?;
            Ok(changes.iter().map(|change| change.at).max().unwrap_or_default())
        })
    }
}
