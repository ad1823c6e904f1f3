//! Wire formats in: what a source sends becomes [`crate::event::Record`]s. Nothing else knows these formats.
//!
//! Every reader is total: any bytes give records, refusals or an error, never a panic. One broken event never costs
//! its neighbours anything.
//!
//! - [`collect`]: batches of the tracker.
//! - [`events`]: our own event API; [`patch`]: what it says of a person.
//! - [`currents`]: Braze's Custom Currents Export.
//! - [`bot`]: what a request's headers say about who sent it.
//! - [`url_identity`]: identity parameters out of URLs.

pub mod bot;
pub mod collect;
pub mod currents;
pub mod events;
mod json;
pub mod patch;
pub mod url_identity;

use crate::event::Rejected;
use std::borrow::Cow;

/// A request that is refused as a whole; everything else is judged event by event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EnvelopeError {
    /// A code of the contract, section 3: `invalid_json` or `invalid_field` (400), `too_large` (413).
    pub code: &'static str,
    /// What is wrong, in words.
    pub message: String,
    /// Where, as a JSON pointer; `None` for the request as a whole.
    pub path: Option<Cow<'static, str>>,
}

impl EnvelopeError {
    fn not_an_object() -> EnvelopeError {
        EnvelopeError::json("the body is no JSON object")
    }

    fn json(message: impl Into<String>) -> EnvelopeError {
        EnvelopeError { code: "invalid_json", message: message.into(), path: None }
    }

    fn field(path: impl Into<Cow<'static, str>>, message: impl Into<String>) -> EnvelopeError {
        EnvelopeError { code: "invalid_field", message: message.into(), path: Some(path.into()) }
    }

    fn too_large(path: Option<&'static str>, message: impl Into<String>) -> EnvelopeError {
        EnvelopeError { code: "too_large", message: message.into(), path: path.map(Cow::Borrowed) }
    }
}

/// Why one event could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    reason: &'static str,
    detail: String,
}

impl Refusal {
    fn new(reason: &'static str, detail: impl Into<String>) -> Refusal {
        Refusal { reason, detail: detail.into() }
    }

    fn missing(field: &str) -> Refusal {
        Refusal::new("missing_field", format!("`{field}` is missing"))
    }

    fn at(self, index: usize) -> Rejected {
        Rejected { index, reason: self.reason, detail: self.detail }
    }
}

/// Event times are taken up to here: 2100-01-01 UTC in ms. Braze's own test events are dated 2034 (facts on Braze,
/// section 1.2), so "in the future" is no reason to refuse one; a time in the wrong unit is.
const AT_END: i64 = 4_102_444_800_000;

/// Whether an event may be dated so: after 1970 and before 2100.
fn is_plausible(at: i64) -> bool {
    0 < at && at < AT_END
}

/// Whether this is 1 to 64 of `A-Za-z0-9_-`, the form of ids on the wire.
fn is_wire_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
