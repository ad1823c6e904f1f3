//! What came from Braze Currents, counted by type and hour of receipt: what a gap in it is seen by.
//!
//! Counted where an event is stored, in the transaction that stores it, so that every one is counted as often as it came
//! and as new only once. One row per type and hour and commit (README, storage: rows written are what is paid for).

use super::message::EventElement;
use super::{Partition, decode, encode};
use crate::event::{Body, Source};
use crate::store::{Row, Store, StoreError, Value};
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// Ms of an hour.
pub const HOUR_MS: i64 = 3_600_000;
/// How long counts are kept, in hours: 90 days.
const KEEP_HOURS: i64 = 90 * 24;
/// What is counted of a type that can't be read, or is no name of a type.
pub const UNREADABLE: &str = "(unreadable)";
/// Longer than any type of Braze's.
const TYPE_BYTES_MAX: usize = 128;

/// How many events of a type came in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Counts {
    /// All of them, repeats too.
    #[n(0)]
    pub received: u64,
    /// Of these: were there already.
    #[n(1)]
    pub duplicate: u64,
    /// Of these: could not be read, and were not there before.
    #[n(2)]
    pub rejected: u64,
    /// Of the new ones: name no e-mail, and are of somebody of whom none was known then.
    #[n(3)]
    pub no_email: u64,
    /// Of the new ones: a machine's doing.
    #[n(4)]
    pub bot: u64,
}

impl Counts {
    /// Adds those of another partition.
    pub fn add(&mut self, other: &Counts) {
        self.received += other.received;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.no_email += other.no_email;
        self.bot += other.bot;
    }
}

/// The counts of one type in one hour.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hour {
    /// Hours since 1970 UTC.
    #[n(0)]
    pub hour: i64,
    /// Braze's type, as sent.
    #[n(1)]
    pub event_type: String,
    /// What came.
    #[n(2)]
    pub counts: Counts,
}

/// A batch that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Batch {
    /// The Braze workspace of its token; empty for the default one.
    #[n(0)]
    pub workspace: String,
    /// When, ms.
    #[n(1)]
    pub at: i64,
    /// New events.
    #[n(2)]
    pub accepted: u64,
    /// Events that were there already.
    #[n(3)]
    pub duplicates: u64,
    /// Events that could not be read.
    #[n(4)]
    pub dead_lettered: u64,
}

/// Which counts are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct Question {
    /// Only this type.
    #[n(0)]
    pub event_type: Option<String>,
    /// Only from this hour on.
    #[n(1)]
    pub since: Option<i64>,
    /// Only up to this hour, it too.
    #[n(2)]
    pub until: Option<i64>,
    /// Where the page before ended: hour and type.
    #[n(3)]
    pub behind: Option<(i64, String)>,
    /// How many.
    #[n(4)]
    pub limit: usize,
}

/// What one commit counts.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<String, Counts>);

impl Tally {
    /// An event of a request has found its place: was it new?
    pub(super) fn event(&mut self, body: &Body, is_new: bool) {
        let Some(counts) = self.of(body) else { return };
        counts.received += 1;
        counts.duplicate += u64::from(!is_new);
        counts.bot += u64::from(is_new && body.bot.is_some());
    }

    /// Nobody's e-mail is known for a new event.
    pub(super) fn without_email(&mut self, event: &EventElement) {
        if event.place.is_some()
            && !event.names_email
            && let Some(counts) = self.of(&event.body)
        {
            counts.no_email += 1;
        }
    }

    /// One that can't be read.
    pub(super) fn rejected(&mut self, source: Source, event_type: Option<&str>, is_new: bool) {
        if source == Source::Currents {
            let counts = self.0.entry(name(event_type).to_owned()).or_default();
            counts.received += 1;
            counts.rejected += u64::from(is_new);
            counts.duplicate += u64::from(!is_new);
        }
    }

    pub(super) fn extend(&mut self, other: Tally) {
        for (event_type, counts) in other.0 {
            self.0.entry(event_type).or_default().add(&counts);
        }
    }

    fn of(&mut self, body: &Body) -> Option<&mut Counts> {
        let is_currents = body.source == Source::Currents;
        is_currents.then(|| self.0.entry(name(body.event_type.as_deref()).to_owned()).or_default())
    }
}

/// What a type is counted as: whoever holds a token can send anything for one.
fn name(event_type: Option<&str>) -> &str {
    let is_name = |name: &&str| {
        (1..=TYPE_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    event_type.filter(is_name).unwrap_or(UNREADABLE)
}

impl<S: Store> Partition<S> {
    /// Writes what a commit has counted.
    pub(super) fn write_intake(&self, tally: &Tally, now: i64) -> Result<(), StoreError> {
        if tally.0.is_empty() {
            return Ok(());
        }
        let hour = now.div_euclid(HOUR_MS);
        if self.store.query("SELECT hour FROM intake WHERE hour >= ? LIMIT 1", &[hour.into()])?.is_empty() {
            self.store.exec("DELETE FROM intake WHERE hour < ?", &[(hour - KEEP_HOURS).into()])?;
        }
        for (event_type, counts) in &tally.0 {
            let count = |count: u64| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
            let Counts { received, duplicate, rejected, no_email, bot } = *counts;
            let mut params = vec![hour.into(), Value::from(event_type.as_str())];
            params.extend([received, duplicate, rejected, no_email, bot].map(count));
            self.store.exec(
                "INSERT INTO intake VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hour, type) DO UPDATE SET
                   received = received + excluded.received, duplicate = duplicate + excluded.duplicate,
                   rejected = rejected + excluded.rejected, no_email = no_email + excluded.no_email,
                   bot = bot + excluded.bot",
                &params,
            )?;
        }
        Ok(())
    }

    /// Counts, newest hour first, by type.
    ///
    /// # Errors
    /// When the store fails.
    pub fn intake(&self, question: &Question) -> Result<Vec<Hour>, StoreError> {
        let (hour, event_type) = question.behind.clone().unwrap_or((i64::from(i32::MAX), String::new()));
        let mut sql = "SELECT hour, type, received, duplicate, rejected, no_email, bot FROM intake
            WHERE hour >= ? AND hour <= ? AND (hour < ? OR (hour = ? AND type > ?))"
            .to_owned();
        let until = question.until.unwrap_or(i64::from(i32::MAX));
        let mut params: Vec<Value> = vec![question.since.unwrap_or(0).into(), until.into(), hour.into(), hour.into()];
        params.push(Value::from(event_type.as_str()));
        if let Some(only) = &question.event_type {
            sql.push_str(" AND type = ?");
            params.push(Value::from(only.as_str()));
        }
        sql.push_str(" ORDER BY hour DESC, type LIMIT ? + 0");
        params.push(Value::Integer(i64::try_from(question.limit).unwrap_or(i64::MAX)));
        self.store.query(&sql, &params)?.iter().map(read).collect()
    }

    /// Keeps the last batch of its workspace.
    pub(super) fn note_batch(&self, batch: &Batch) -> Result<(), StoreError> {
        let name = format!("{BATCH}{}", batch.workspace);
        let params = [Value::from(name.as_str()), Value::Blob(encode(batch)?)];
        self.store.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", &params).map(drop)
    }

    /// The last batches of the workspaces that are noted here.
    ///
    /// # Errors
    /// When the store fails.
    pub fn last_batches(&self) -> Result<Vec<Batch>, StoreError> {
        let rows = self
            .store
            .query("SELECT body FROM meta WHERE name GLOB ? ORDER BY name", &[format!("{BATCH}*").as_str().into()])?;
        rows.iter().map(|row| decode(row.blob(0)?)).collect()
    }
}

/// What the rows of `meta` are called that hold them, before the workspace.
const BATCH: &str = "batch:";

fn read(row: &Row) -> Result<Hour, StoreError> {
    let count = |column| row.integer(column).map(i64::unsigned_abs);
    let counts =
        Counts { received: count(2)?, duplicate: count(3)?, rejected: count(4)?, no_email: count(5)?, bot: count(6)? };
    Ok(Hour { hour: row.integer(0)?, event_type: row.text(1)?.to_owned(), counts })
}
