//! `Idempotency-Key`: what makes a call the same when it is sent again.

use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::partitions::Partitions;
use axum::http::{HeaderMap, HeaderValue};
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
    let key = key_of(partitions, b"idempotency-key\0", sent);
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

/// What a call with an `Idempotency-Key` came to when it was first made; nothing for one without.
pub(crate) async fn outcome<T: for<'b> Decode<'b, ()>>(
    partitions: &Partitions<'_>,
    headers: &HeaderMap,
) -> Result<Option<T>> {
    let Some(sent) = headers.get(HEADER) else { return Ok(None) };
    let kept = kept(partitions, key_of(partitions, OUTCOME, sent)).await?;
    let read = |bytes: Vec<u8>| decode(&bytes).map_err(|error| ApiError::unavailable("an outcome was lost", error));
    kept.map(read).transpose()
}

/// Keeps what such a call comes to, before it does: of two at once the first counts, and is what this answers.
pub(crate) async fn keep<T: Encode<()> + for<'b> Decode<'b, ()>>(
    partitions: &Partitions<'_>,
    headers: &HeaderMap,
    outcome: T,
) -> Result<T> {
    let Some(sent) = headers.get(HEADER) else { return Ok(outcome) };
    let bytes = encode(&outcome).map_err(|error| ApiError::unavailable("an outcome could not be kept", error))?;
    let key = key_of(partitions, OUTCOME, sent);
    partitions.tell(Message { key, ask: Ask::Once(bytes) }).await?;
    self::outcome(partitions, headers).await?.ok_or_else(lost)
}

const OUTCOME: &[u8] = b"idempotency-key outcome\0";

fn key_of(partitions: &Partitions<'_>, of: &[u8], sent: &HeaderValue) -> KeyHash {
    KeyHash::from_mac(&partitions.key().mac(&[of, sent.as_bytes()].concat()))
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
