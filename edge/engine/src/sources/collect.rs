//! The tracker's batches: `POST /collect` (contract, section 4).
//!
//! Read in two steps, because the site key decides whether the events are looked at: [`parse`] opens the envelope,
//! [`Envelope::events`] reads what is in it. Everything here comes from a browser and is believed accordingly: it may
//! name person keys (claims), never join them.

mod event;
pub(super) mod labels;
#[cfg(test)]
mod tests;

use super::{EnvelopeError, Refusal, is_wire_id, json};
use crate::event::{Record, Rejected};
use crate::identity::policy::Policy;
use crate::key::{Identifier, KeyType};
use crate::kinds::Kind;
use serde_json::value::RawValue;

/// The longest request in bytes (64 KiB): what a browser lets a page send as a beacon.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// The most events in one request.
pub const EVENTS_MAX: usize = 100;
/// The longest event in bytes, as sent.
pub const EVENT_BYTES_MAX: usize = 16 * 1024;
/// The longest `url` and `referrer` in bytes.
pub const URL_BYTES_MAX: usize = 2_048;
/// The longest `name` in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// The most properties of an event, and the most campaign parameters.
pub const PROPERTIES_MAX: usize = 64;
/// The longest text in a property, a campaign parameter, or a `page`, in bytes.
pub const STRING_BYTES_MAX: usize = 1_024;

/// A request of the tracker's whose frame is in order; its events have not been looked at.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    /// The public key of the site.
    pub site: String,
    /// The browser: every event is recorded under it.
    pub visitor: Identifier,
    /// What our last answer told the tracker to send back, opaque here.
    pub route: Option<String>,
    events: Vec<&'a RawValue>,
}

/// The events of a request: every one is either a record or rejected. Repeats are told downstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Events {
    /// What was taken, in the order sent.
    pub records: Vec<Record>,
    /// For each record, its place in the request, from 0.
    pub places: Vec<usize>,
    /// What was not.
    pub rejected: Vec<Rejected>,
}

/// Opens a request.
///
/// # Errors
/// `invalid_json` for a body that is no JSON object; `invalid_field` for `v`, `site`, `visitor` or `events` missing or
/// of another type, an unknown `v`, a visitor that is no id, and no events; `too_large` for a body over
/// [`BODY_BYTES_MAX`] or more than [`EVENTS_MAX`] events.
pub fn parse(body: &[u8]) -> Result<Envelope<'_>, EnvelopeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(EnvelopeError::too_large(None, format!("the body has more than {BODY_BYTES_MAX} bytes")));
    }
    let members = str::from_utf8(body).ok().and_then(json::members).ok_or_else(EnvelopeError::not_an_object)?;
    let text = |name| {
        json::present(&members, name)
            .and_then(|value| serde_json::from_str::<String>(value.get()).ok())
            .filter(|text| !text.is_empty())
    };
    let version = json::present(&members, "v").and_then(|value| serde_json::from_str::<u64>(value.get()).ok());
    if version != Some(1) {
        return Err(EnvelopeError::field("/v", "`v` must be 1"));
    }
    let site = text("site").ok_or_else(|| EnvelopeError::field("/site", "`site` must be the site's key"))?;
    let visitor = text("visitor")
        .filter(|id| is_wire_id(id))
        .and_then(|id| Identifier::new(KeyType::Visitor, "", &id))
        .ok_or_else(|| EnvelopeError::field("/visitor", "`visitor` must be 1 to 64 of A-Z, a-z, 0-9, _ and -"))?;
    let events = json::present(&members, "events")
        .and_then(json::items)
        .ok_or_else(|| EnvelopeError::field("/events", "`events` must be an array"))?;
    if events.is_empty() {
        return Err(EnvelopeError::field("/events", "there are no events"));
    }
    if events.len() > EVENTS_MAX {
        return Err(EnvelopeError::too_large(Some("/events"), format!("there are more than {EVENTS_MAX} events")));
    }
    Ok(Envelope { site, visitor, route: text("route"), events })
}

impl Envelope<'_> {
    /// Reads the events. `workspace` is the Braze workspace that the site belongs to (the default one is empty). Those of a
    /// browser that the policy blocks are nobody's.
    #[must_use]
    pub fn events(&self, workspace: &str, policy: &Policy) -> Events {
        let is_blocked = policy.is_blocked(&self.visitor);
        let mut events = Events::default();
        for (index, raw) in self.events.iter().enumerate() {
            let read = if is_blocked {
                Err(Refusal::new("missing_field", "`visitor` is a value that identifies nobody here"))
            } else {
                event::read(raw.get(), &self.visitor, workspace)
            };
            match read {
                Ok(record) => {
                    events.records.push(record);
                    events.places.push(index);
                }
                Err(refusal) => events.rejected.push(refusal.at(index)),
            }
        }
        events
    }
}

impl Events {
    /// Marks everything as a machine's doing, for a reason that only the request's headers show ([`super::bot`]).
    ///
    /// A machine shows no human, whatever its script says: its weak claims stay pending.
    pub fn mark_bot(&mut self, reason: &str) {
        for record in &mut self.records {
            // `identify` is no activity and matches few rules: the table of kinds has no bot rule for it.
            if record.body.kind != Kind::Identify {
                record.body.bot = Some(reason.to_owned());
            }
            for claim in &mut record.claims {
                claim.human = false;
            }
        }
    }
}
