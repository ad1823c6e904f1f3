//! Records that could not be read: kept aside with the reason, shown, and taken away when a later reading succeeds.

use super::message::DeadLetter;
use super::read::Position;
use super::{Partition, decode, encode};
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};
use data_encoding::HEXLOWER;
use minicbor::{Decode, Encode};

/// What a letter is known by: the keyed hash of its bytes, so that a repeat is the same letter wherever it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct LetterId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 32]);

impl LetterId {
    /// As the API shows it: hex.
    #[must_use]
    pub fn show(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    /// From what the API shows.
    #[must_use]
    pub fn parse(text: &str) -> Option<LetterId> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(LetterId)
    }

    /// The key by whose owner it is kept.
    #[must_use]
    pub fn key(&self) -> KeyHash {
        KeyHash::from_mac(&self.0)
    }
}

/// A letter as kept.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Kept {
    /// What it is known by.
    #[n(0)]
    pub id: LetterId,
    /// When it came first, ms.
    #[n(1)]
    pub at: i64,
    /// What it says, and why it could not be read.
    #[n(2)]
    pub letter: DeadLetter,
    /// Whether more of it is kept than is shown here.
    #[n(3)]
    pub cut: bool,
}

impl Kept {
    /// How it stands in the list: newest first, by (time, id).
    #[must_use]
    pub fn position(&self) -> Position {
        Position { at: self.at, id: self.id.show(), rec: self.id.key() }
    }
}

/// How much of a letter a list shows, in bytes: letters may have a megabyte each.
const SHOWN_BYTES: usize = 64 * 1024;

impl<S: Store> Partition<S> {
    /// Keeps a letter. Whether it is new.
    pub(super) fn bury(&self, letter: &DeadLetter, now: i64) -> Result<bool, StoreError> {
        let digest = self.key.mac(letter.raw.as_bytes());
        let params = [Value::from(digest.as_slice()), Value::Integer(now), Value::Blob(encode(letter)?)];
        Ok(self.store.exec("INSERT OR IGNORE INTO dead VALUES (?, ?, ?)", &params)? > 0)
    }

    /// Forgets a letter: it has been read.
    pub(super) fn exhume(&self, id: &LetterId) -> Result<(), StoreError> {
        self.store.exec("DELETE FROM dead WHERE k = ?", &[Value::from(id.0.as_slice())]).map(drop)
    }

    /// A letter, whole.
    ///
    /// # Errors
    /// When the store fails.
    pub fn dead_letter(&self, id: &LetterId) -> Result<Option<Kept>, StoreError> {
        let rows = self.store.query("SELECT rx, body FROM dead WHERE k = ?", &[Value::from(id.0.as_slice())])?;
        let read = |row: &crate::store::Row| {
            Ok(Kept { id: *id, at: row.integer(0)?, letter: decode(row.blob(1)?)?, cut: false })
        };
        rows.first().map(read).transpose()
    }

    /// The letters behind a position, newest first; the beginning of those that are long.
    ///
    /// # Errors
    /// When the store fails.
    pub fn dead_letters(&self, behind: Option<&Position>, limit: usize) -> Result<Vec<Kept>, StoreError> {
        let first = (super::person::END_MS, Vec::new());
        let (at, id) =
            behind.map_or(first, |behind| (behind.at, HEXLOWER.decode(behind.id.as_bytes()).unwrap_or_default()));
        let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = self.store.query(
            "SELECT k FROM dead WHERE rx < ? OR (rx = ? AND k > ?) ORDER BY rx DESC, k LIMIT ? + 0",
            &[at.into(), at.into(), Value::Blob(id), limit],
        )?;
        let mut letters = Vec::with_capacity(rows.len());
        // One by one: together they may have more than an object's memory.
        for row in &rows {
            let id = row.blob(0)?.try_into().map(LetterId).map_err(|_| StoreError("a letter's id".to_owned()))?;
            letters.extend(self.dead_letter(&id)?.map(shown));
        }
        Ok(letters)
    }
}

fn shown(kept: Kept) -> Kept {
    let raw = &kept.letter.raw;
    if raw.len() <= SHOWN_BYTES {
        return kept;
    }
    let end = (0..=SHOWN_BYTES).rev().find(|end| raw.is_char_boundary(*end)).unwrap_or_default();
    let raw = raw.get(..end).unwrap_or_default().to_owned();
    Kept { letter: DeadLetter { raw, ..kept.letter }, cut: true, ..kept }
}
