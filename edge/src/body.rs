//! Reading a request's body up to a limit.

use crate::error::{ApiError, Result};
use axum::body::{Body, Bytes};
use futures_util::StreamExt;

/// What is beyond the limit is read and thrown away up to here: a client that is cut off in the middle of sending sees a
/// broken connection instead of the 413 that says why.
const DISCARD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The body, or 413.
pub(crate) async fn read(body: Body, limit: usize) -> Result<Bytes> {
    let mut frames = body.into_data_stream();
    let (mut kept, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = frames.next().await {
        let frame = frame.map_err(|_| ApiError::invalid_json("the connection ended before the body did"))?;
        length = length.saturating_add(frame.len());
        if length <= limit {
            kept.extend_from_slice(&frame);
        } else if length > DISCARD_BYTES_MAX {
            break;
        } else {
            kept = Vec::new();
        }
    }
    if length > limit { Err(ApiError::too_large(limit)) } else { Ok(kept.into()) }
}
