//! What became of one event.

use super::super::person::Stored;
use super::super::view::{self, Time};
use super::super::{Partition, decode, encode};
use super::{Found, Looked, Position, Target};
use crate::key::KeyHash;
use crate::scoring::{Verdict, points_of, why};
use crate::store::{Store, StoreError, Value};
use data_encoding::BASE64URL_NOPAD;

/// How a timeline names an event: whose it is, and its place there.
pub(super) fn seal(founder: KeyHash, event: &Stored) -> String {
    let position = Position { at: event.at, id: event.id.clone(), rec: event.rec };
    encode(&(founder, position)).map(|bytes| BASE64URL_NOPAD.encode(&bytes)).unwrap_or_default()
}

/// Reads what a timeline has named an event by.
#[must_use]
pub fn open(reference: &str) -> Option<(Target, Position)> {
    let bytes = BASE64URL_NOPAD.decode(reference.as_bytes()).ok()?;
    let (founder, position): (KeyHash, Position) = decode(&bytes).ok()?;
    Some((Target::id(founder), position))
}

impl<S: Store> Partition<S> {
    /// Where an event came from, and what every rule that it matched or nearly matched made of it.
    ///
    /// # Errors
    /// When the store fails.
    pub fn event(&self, target: Target, position: &Position, now: i64) -> Result<Looked<view::Event>, StoreError> {
        self.find(target)?.and_then(|found| {
            let event = self.event_of(&found, position, now)?;
            Ok(event.map_or(Looked::Unknown, Looked::Found))
        })
    }

    fn event_of(&self, found: &Found, position: &Position, now: i64) -> Result<Option<view::Event>, StoreError> {
        let person = &found.person;
        let scored = self.events_of(&person.spans)?;
        let wanted = (position.at, position.id.as_str(), position.rec);
        let place = scored.binary_search_by(|event| event.order().cmp(&wanted)).ok();
        let occurrences: Vec<_> = scored.iter().map(|event| event.occurrence(person.internal)).collect();
        let verdicts = place.map(|place| why(&self.model, &occurrences, &person.attributes, place, now));
        let points = place.and_then(|place| points_of(&self.model, &occurrences).get(place).cloned());
        let stored = match place.and_then(|place| scored.get(place)) {
            Some(event) => event.clone(),
            None => match self.one_event(found, position)? {
                Some(event) => event,
                None => return Ok(None),
            },
        };
        let rule = |verdict: Verdict| view::Rule {
            score: verdict.score,
            rule: verdict.rule,
            outcome: verdict.outcome.slug(),
            points: verdict.points,
            failed: verdict.failed.map(|failed| view::Failed {
                path: failed.path,
                condition: failed.condition,
                found: failed.found,
            }),
        };
        Ok(Some(view::Event {
            prospect: found.founder.prospect_id(),
            received_at: Time(stored.rx),
            referrer: stored.body.referrer.clone(),
            event_type: stored.body.event_type.clone(),
            is_scored: verdicts.is_some(),
            model_version: self.model_version,
            rules: verdicts.unwrap_or_default().into_iter().map(rule).collect(),
            item: super::item(found.founder, stored, points.unwrap_or_default()),
        }))
    }

    /// An event that is not among the newest, which are scored.
    fn one_event(&self, found: &Found, position: &Position) -> Result<Option<Stored>, StoreError> {
        for span in found.person.spans.iter().filter(|span| span.rec == position.rec) {
            let sql = "SELECT rx, body FROM event WHERE rec = ? AND at = ? AND id = ? AND at >= ? AND at < ?";
            let id = Value::from(position.id.as_str());
            let params = [span.no.into(), position.at.into(), id, span.from.into(), span.until.into()];
            if let Some(row) = self.store.query(sql, &params)?.first() {
                let Position { at, id, rec } = position.clone();
                let (rx, body) = (row.integer(0)?, decode(row.blob(1)?)?);
                return Ok(Some(Stored { at, id, rec, rx, browser: span.browser, body }));
            }
        }
        Ok(None)
    }
}
