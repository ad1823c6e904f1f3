//! `Idempotency-Key`: what makes a call the same when it is sent again.

use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::partitions::Partitions;
use axum::http::HeaderMap;
use data_encoding::BASE32_NOPAD;
use minicbor::{Decode, Encode};
use wingbeat_engine::key::KeyHash;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::message::{Ask, Message};
use wingbeat_engine::partition::{decode, encode};

const HEADER: &str = "idempotency-key";

/// An id of what is asked: the same for the same `Idempotency-Key` and the same call. Without one, every call is its own.
pub(crate) fn id(partitions: &Partitions<'_>, kind: char, headers: &HeaderMap, parts: &[&str]) -> String {
    let once = headers.get(HEADER).map_or_else(|| now_ms().to_string().into_bytes(), |key| key.as_bytes().to_vec());
    let mut text = once;
    for part in parts {
        text.push(0);
        text.extend_from_slice(part.as_bytes());
    }
    let hash = KeyHash::from_mac(&partitions.key().mac(&text));
    format!("{kind}_{}", BASE32_NOPAD.encode(&hash.0).to_ascii_lowercase())
}

/// Refuses an `Idempotency-Key` by which something else was asked before. Answers when it was first asked, ms; now,
/// without such a key.
pub(crate) async fn ask_once(partitions: &Partitions<'_>, headers: &HeaderMap, asked: &[&str]) -> Result<i64> {
    let now = now_ms();
    let Some(sent) = headers.get(HEADER) else { return Ok(now) };
    let key = key_of(partitions, b"idempotency-key\0", sent.as_bytes());
    let print = partitions.key().mac(asked.join("\0").as_bytes());
    let first = [print.as_slice(), &now.to_be_bytes()].concat();
    partitions.tell(Message { key, ask: Ask::Once(first) }).await?;
    // Of two at once one came first, and both ask who.
    match kept(partitions, key).await? {
        Some(first) => match first.strip_prefix(print.as_slice()) {
            // An earlier release did not note the time.
            Some(at) => Ok(at.try_into().map_or(now, i64::from_be_bytes)),
            None => Err(ApiError::reused_key()),
        },
        None => Err(lost()),
    }
}

/// Something that is asked for again, perhaps, and is then to come to what it came to at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call(Option<KeyHash>);

impl Call {
    /// By its `Idempotency-Key`; without one, every call is its own.
    pub(crate) fn of_caller(partitions: &Partitions<'_>, headers: &HeaderMap) -> Call {
        Call(headers.get(HEADER).map(|sent| key_of(partitions, b"idempotency-key outcome\0", sent.as_bytes())))
    }

    /// By the event that asks for it: its owner and its id.
    pub(crate) fn of_event(partitions: &Partitions<'_>, owner: KeyHash, id: &str) -> Call {
        Call(Some(key_of(partitions, b"event outcome\0", &[owner.0.as_slice(), id.as_bytes()].concat())))
    }

    /// What it came to when it was first asked for, if it was.
    pub(crate) async fn outcome<T: for<'b> Decode<'b, ()>>(self, partitions: &Partitions<'_>) -> Result<Option<T>> {
        let Some(key) = self.0 else { return Ok(None) };
        let read = |bytes: Vec<u8>| decode(&bytes).map_err(|error| ApiError::unavailable("an outcome was lost", error));
        kept(partitions, key).await?.map(read).transpose()
    }

    /// Keeps what it comes to: of two at once the first counts, and is what this answers. Hashes, times and the like: what
    /// is kept here outlives an erasure.
    pub(crate) async fn keep<T: Encode<()> + for<'b> Decode<'b, ()>>(
        self,
        partitions: &Partitions<'_>,
        outcome: T,
    ) -> Result<T> {
        let Some(key) = self.0 else { return Ok(outcome) };
        let bytes = encode(&outcome).map_err(|error| ApiError::unavailable("an outcome could not be kept", error))?;
        partitions.tell(Message { key, ask: Ask::Once(bytes) }).await?;
        self.outcome(partitions).await?.ok_or_else(lost)
    }
}

fn key_of(partitions: &Partitions<'_>, of: &[u8], sent: &[u8]) -> KeyHash {
    KeyHash::from_mac(&partitions.key().mac(&[of, sent].concat()))
}

async fn kept(partitions: &Partitions<'_>, key: KeyHash) -> Result<Option<Vec<u8>>> {
    match partitions.ask_owner(key, Query::AskedOnce(key)).await? {
        Answer::AskedOnce(kept) => Ok(kept),
        _ => Err(lost()),
    }
}

fn lost() -> ApiError {
    ApiError::unavailable("a partition failed", "it gave another answer than what was asked once")
}
