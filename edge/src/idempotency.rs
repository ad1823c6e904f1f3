//! `Idempotency-Key`: what makes a call the same when it is sent again.

use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::partitions::Partitions;
use axum::http::HeaderMap;
use data_encoding::BASE32_NOPAD;
use wingbeat_engine::key::KeyHash;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::message::{Ask, Message};

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
    let key = KeyHash::from_mac(&partitions.key().mac(&[b"idempotency-key\0", sent.as_bytes()].concat()));
    let print = partitions.key().mac(asked.join("\0").as_bytes());
    let first = [print.as_slice(), &now.to_be_bytes()].concat();
    partitions.tell(Message { key, ask: Ask::Once(first) }).await?;
    // Of two at once one came first, and both ask who.
    match partitions.ask_owner(key, Query::AskedOnce(key)).await? {
        Answer::AskedOnce(Some(first)) => match first.strip_prefix(print.as_slice()) {
            // An earlier release did not note the time.
            Some(at) => Ok(at.try_into().map_or(now, i64::from_be_bytes)),
            None => Err(ApiError::reused_key()),
        },
        _ => Err(ApiError::unavailable("a partition failed", "it gave another answer than what was asked once")),
    }
}
