//! Reading a request's body up to a limit.

use crate::error::{ApiError, Result};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};

/// The body, or 413.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
    // Of the two ways to fail, only the limit is the caller's; a connection that breaks off hears no answer anyway.
    to_bytes(body, limit).await.map_err(|_| ApiError::too_large(limit))
}
