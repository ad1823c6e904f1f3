//! The partition: a deterministic state machine over SQLite. It holds some slots: their keys, clusters, events and
//! prospects.
//!
//! [`Partition::apply`] is all that ever writes: one transaction for a call, one savepoint for a message, one feed row.
//! Messages go on to be worked off inside the call until none is left; a function of (what is stored, `now`, messages).
//!
//! - [`message`]: what is told, and the elements of clusters
//! - [`star`], [`browser`]: what a person key and a browser know of themselves
//! - [`cluster`], [`people`]: the unit of co-location, and who is one person in it; [`decision`]: what people decided
//! - [`erasure`]: forgetting a person
//! - [`work`]: one message and all that follows from it
//! - [`intake`]: what came from Currents, counted; [`dead`]: what could not be read
//! - [`person`]: a prospect's row and its fold over events; [`due`]: what happens to it without an event
//! - [`publish`]: versions of the model; [`backtest`]: what a draft would change, counted by [`tally`]
//! - [`properties`]: the names that events bring; [`company`]: a company's people together
//! - [`change`], [`feed`]: what readers of the feed are told, and reading it
//! - [`call`]: how it is called; [`read`], [`list`], [`view`], [`evidence`]: what is asked of it

#[cfg(test)]
mod against_the_definition;
mod answering;
pub mod backtest;
pub mod browser;
#[cfg(test)]
mod by_itself;
pub mod call;
pub mod change;
pub mod cluster;
mod cluster_rows;
#[cfg(test)]
mod coming_in;
pub mod company;
pub mod dead;
#[cfg(test)]
mod decided_stories;
pub mod decision;
pub mod due;
#[cfg(test)]
mod erasing;
pub mod erasure;
pub mod evidence;
#[cfg(test)]
mod evidence_laws;
pub mod export;
pub mod feed;
#[cfg(test)]
mod feed_reader;
#[cfg(test)]
mod hot_keys;
pub mod intake;
#[cfg(test)]
mod knowing;
mod letters;
pub mod list;
pub mod message;
mod once;
pub mod people;
pub mod person;
pub mod properties;
mod publish;
pub mod read;
#[cfg(test)]
mod reading;
pub mod schema;
#[cfg(test)]
mod several;
#[cfg(test)]
mod simulation;
mod stage;
pub mod star;
pub mod tally;
#[cfg(test)]
mod versions;
pub mod view;
mod work;

use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, KeyHash, SlotMap};
use crate::scoring::Model;
use crate::store::{Row, Store, StoreError, Value};
use message::Ask;
use message::Message;
use minicbor::{Decode, Encode};
use properties::Properties;
pub use publish::Progress;
use publish::Recompute;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use work::Work;

/// What one record of a `take` came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Outcome {
    /// It is stored.
    #[n(0)]
    Accepted,
    /// It was stored before: (rec, at, id) are equal.
    #[n(1)]
    Duplicate,
}

/// What a message came to.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Reply {
    /// What it asks is durable, but for what must go on.
    #[n(0)]
    Done {
        /// For records and events of a request that waits: their places in it, and what each came to.
        #[n(0)]
        outcomes: Vec<(usize, Outcome)>,
        /// Events of such a request that belong elsewhere: whoever waits sends them on, and counts them when they arrive.
        #[n(1)]
        onward: Vec<Message>,
    },
    /// Nothing of this message was kept: a fault of ours, to be logged and tried again.
    #[n(1)]
    Failed(#[n(0)] String),
}

/// Messages to another partition, durable with their cause until they are durable there.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    /// Its row in the outbox.
    pub id: i64,
    /// The partition that it is for.
    pub to: u16,
    /// What is said.
    pub messages: Vec<Message>,
}

/// Two clusters that were not made one, for their keys would have been too many: what is known of them stays where it is,
/// and is not brought together. Which facts are refused so depends on the order in which they came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedUnion {
    /// The root that would have gone.
    pub from: KeyHash,
    /// Where to.
    pub into: KeyHash,
    /// How many keys they have together.
    pub keys: usize,
    /// The one of the two that has more.
    pub largest: KeyHash,
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// One per message.
    pub replies: Vec<Reply>,
    /// What other partitions must be told: at least once, in any order.
    pub parcels: Vec<Parcel>,
    /// For the log: clusters that have reached their limit.
    pub refused: Vec<RefusedUnion>,
}

/// The most bytes of a parcel of several messages: a row of a Durable Object holds 2 MB.
const PARCEL_BYTES_MAX: usize = 1_000_000;

/// A partition over a store.
pub struct Partition<S: Store> {
    store: S,
    /// Which one this is, and how slots lie.
    number: u16,
    slots: SlotMap,
    key: DeploymentKey,
    policy: Policy,
    model: Model,
    model_version: u64,
    /// Earlier versions that some prospects are still folded by.
    former: BTreeMap<u64, Model>,
    recompute: Option<Recompute>,
    /// How far the last recomputation that ended was.
    recomputed: Progress,
    backtest: Option<backtest::Running>,
    properties: RefCell<Properties>,
    /// The last short number given; durable in `meta`.
    counter: Cell<i64>,
    /// How many facts and browsers a key's own row may hold before they get rows of their own.
    star_inline: usize,
    /// How many tables that name nobody in it any more a cluster's row may hold before they get rows of their own.
    bygone_inline: usize,
    /// How many bytes of a cluster that moves go into one message.
    piece_bytes: usize,
    /// The number of the last parcel. One that is gone must not be given again while somebody may still be delivering that
    /// parcel a second time: their answer would take the new one for delivered.
    last_parcel: Cell<i64>,
}

impl<S: Store> Partition<S> {
    /// Opens a store, bringing its schema up to date. A store that was opened before goes on with the model that it knows;
    /// `model` is what a new one begins with.
    ///
    /// # Errors
    /// When SQLite refuses, or the store was written by a newer release.
    pub fn open(
        store: S,
        (number, slots): (u16, SlotMap),
        key: DeploymentKey,
        policy: Policy,
        model: Model,
        model_version: u64,
    ) -> Result<Partition<S>, StoreError> {
        schema::migrate(&store)?;
        let counter = match store.query("SELECT body FROM meta WHERE name = 'counter'", &[])?.first() {
            Some(row) => decode(row.blob(0)?)?,
            None => 0,
        };
        let last_parcel = match store.query("SELECT id FROM outbox ORDER BY id DESC LIMIT 1", &[])?.first() {
            Some(row) => row.integer(0)?,
            None => 0,
        };
        let mut partition = Partition {
            store,
            number,
            slots,
            key,
            policy,
            model,
            model_version,
            former: BTreeMap::new(),
            recompute: None,
            recomputed: Progress::default(),
            backtest: None,
            properties: RefCell::default(),
            counter: Cell::new(counter),
            last_parcel: Cell::new(last_parcel),
            star_inline: star::rows::INLINE,
            bygone_inline: cluster_rows::BYGONE_INLINE,
            piece_bytes: message::PIECE_BYTES,
        };
        partition.load_versions()?;
        partition.load_backtest()?;
        partition.properties = RefCell::new(partition.load_properties()?);
        Ok(partition)
    }

    /// Applies messages in one transaction. Every reply stands for something durable once the store has committed.
    /// A message that fails is undone and answered so; the others go on.
    ///
    /// # Errors
    /// When the transaction as a whole failed: then nothing at all was kept.
    pub fn apply(&mut self, now: i64, messages: Vec<Message>) -> Result<Applied, StoreError> {
        let before = self.counter.get();
        let result = self.store.atomically(|| {
            let mut replies = Vec::with_capacity(messages.len());
            let (mut line, mut refused) = (change::Line::default(), Vec::new());
            let mut intake = intake::Tally::default();
            let mut outgoing = BTreeMap::<u16, Vec<Message>>::new();
            for message in messages {
                if let Ask::Take(records) = &message.ask {
                    self.note_properties(records, now)?;
                }
                let counter = self.counter.get();
                let done = self.store.atomically(|| Work::new(self, now).run(message));
                match done {
                    Ok(done) => {
                        line.extend(done.line);
                        refused.extend(done.refused);
                        intake.extend(done.intake);
                        for message in done.outgoing {
                            let messages = outgoing.entry(self.slots.partition_of(message.key)).or_default();
                            // Copies of an event that is ahead of its cluster, and goes round until that comes, arrive
                            // together before long: from here on they are one again.
                            if !messages.contains(&message) {
                                messages.push(message);
                            }
                        }
                        replies.push(Reply::Done { outcomes: done.outcomes, onward: done.onward });
                    }
                    Err(error) => {
                        self.counter.set(counter);
                        replies.push(Reply::Failed(error.to_string()));
                    }
                }
            }
            self.write_line(&line, now)?;
            if self.counter.get() != before {
                let body = Value::Blob(encode(&self.counter.get())?);
                self.store.exec("INSERT OR REPLACE INTO meta VALUES ('counter', ?)", &[body])?;
            }
            self.note_refused(&refused)?;
            self.write_intake(&intake, now)?;
            let mut parcels = Vec::with_capacity(outgoing.len());
            for (to, messages) in outgoing {
                self.post(to, messages, &mut parcels)?;
            }
            Ok(Applied { replies, parcels, refused })
        });
        if result.is_err() {
            self.counter.set(before);
            self.properties.replace(self.load_properties()?);
        }
        result
    }

    /// Keeps which clusters have reached their limit, each once, however often they are asked to grow.
    fn note_refused(&self, refused: &[RefusedUnion]) -> Result<(), StoreError> {
        if refused.is_empty() {
            return Ok(());
        }
        let mut clusters = self.clusters_over_limit()?;
        clusters.extend(refused.iter().map(|refused| refused.largest));
        let body = Value::Blob(encode(&clusters)?);
        self.store.exec("INSERT OR REPLACE INTO meta VALUES ('over_limit', ?)", &[body]).map(drop)
    }

    /// The clusters that were refused to grow here, by their roots at that time: they hold at least half the limit.
    ///
    /// # Errors
    /// When the store fails.
    pub fn clusters_over_limit(&self) -> Result<BTreeSet<KeyHash>, StoreError> {
        match self.store.query("SELECT body FROM meta WHERE name = 'over_limit'", &[])?.first() {
            Some(row) => decode(row.blob(0)?),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Puts messages for another partition into the outbox, in as many parcels as rows can hold.
    fn post(&self, to: u16, mut messages: Vec<Message>, parcels: &mut Vec<Parcel>) -> Result<(), StoreError> {
        let body = encode(&messages)?;
        if body.len() > PARCEL_BYTES_MAX && messages.len() > 1 {
            let rest = messages.split_off(messages.len() / 2);
            self.post(to, messages, parcels)?;
            return self.post(to, rest, parcels);
        }
        let id = self.last_parcel.get() + 1;
        self.last_parcel.set(id);
        let params = [Value::Integer(id), Value::Integer(to.into()), Value::Blob(body)];
        self.store.exec("INSERT INTO outbox (id, dest, body) VALUES (?, ?, ?)", &params)?;
        parcels.push(Parcel { id, to, messages });
        Ok(())
    }

    /// Parcels that have not arrived, oldest first: what a crash or a lost answer has left.
    ///
    /// # Errors
    /// When the store fails.
    pub fn undelivered(&self, limit: u32) -> Result<Vec<Parcel>, StoreError> {
        let rows = self
            .store
            .query("SELECT id, dest, body FROM outbox ORDER BY id LIMIT ? + 0", &[Value::Integer(limit.into())])?;
        let read = |row: &Row| {
            let to = u16::try_from(row.integer(1)?).map_err(|error| StoreError(error.to_string()))?;
            Ok(Parcel { id: row.integer(0)?, to, messages: decode(row.blob(2)?)? })
        };
        rows.iter().map(read).collect()
    }

    /// Forgets a parcel that is durable where it was for.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delivered(&mut self, id: i64) -> Result<(), StoreError> {
        self.store.exec("DELETE FROM outbox WHERE id = ?", &[Value::Integer(id)]).map(drop)
    }

    /// Whether a key's slot is here.
    fn holds(&self, key: KeyHash) -> bool {
        self.slots.partition_of(key) == self.number
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Lets go of everything but the store.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }
}

/// Packs a value for a column or a message.
///
/// # Errors
/// Never in practice: memory is the only sink.
pub fn encode<T: Encode<()>>(value: &T) -> Result<Vec<u8>, StoreError> {
    minicbor::to_vec(value).map_err(|error| StoreError(format!("encode: {error}")))
}

/// Unpacks what [`encode`] packed. Fields that a newer release added are passed over.
///
/// # Errors
/// When the bytes are no such value.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, StoreError> {
    minicbor::decode(bytes).map_err(|error| StoreError(format!("decode: {error}")))
}
