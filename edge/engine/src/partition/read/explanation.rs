//! Why somebody's score is what it is, in pages.

use super::super::view::{Explanation, Notice, Part, Time};
use super::super::{Partition, encode};
use super::{Found, Looked, Target};
use crate::scoring::{self, explain_page};
use crate::store::{Store, StoreError};
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};

/// How many parts one answer has, at some 200 bytes each: an answer is made whole, in an isolate of 128 MB that others use,
/// too (Cloudflare's limit).
const PARTS_MAX: usize = 10_000;

/// Where the answer before ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartsCursor {
    #[n(0)]
    score: String,
    /// The time asked about, ms.
    #[n(1)]
    at: i64,
    /// When it was asked, ms: events dated after that counted then.
    #[n(2)]
    now: i64,
    /// How many parts came before.
    #[n(3)]
    from: usize,
    /// How many there were in all.
    #[n(4)]
    total: usize,
    #[n(5)]
    model_version: u64,
    /// When the last of the events came that the first answer was of, ms: those since are not counted.
    #[n(6)]
    until: i64,
}

/// It is not any more what the cursor is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed;

impl<S: Store> Partition<S> {
    /// Why a score is what it is, or was at a time: with today's identity, and without the events since (contract, row 26).
    /// Behind a cursor, at the time that the answer with that was of.
    ///
    /// # Errors
    /// When the store fails.
    pub fn explanation(
        &self,
        target: Target,
        score: &str,
        past: Option<i64>,
        behind: Option<&PartsCursor>,
        now: i64,
    ) -> Result<Looked<Result<Explanation, Changed>>, StoreError> {
        let begun = PartsCursor {
            score: score.to_owned(),
            at: past.unwrap_or(now),
            now,
            from: 0,
            total: 0,
            model_version: self.model_version,
            until: i64::MAX,
        };
        let is_other = behind.is_some_and(|behind| past.is_some_and(|past| past != behind.at));
        self.find(target)?.and_then(|found| {
            if is_other { Ok(Looked::Found(Err(Changed))) } else { self.explanation_of(&found, &begun, behind) }
        })
    }

    fn explanation_of(
        &self,
        found: &Found,
        begun: &PartsCursor,
        behind: Option<&PartsCursor>,
    ) -> Result<Looked<Result<Explanation, Changed>>, StoreError> {
        let PartsCursor { score, model_version, .. } = begun.clone();
        let PartsCursor { at, now, from, until, .. } = *behind.unwrap_or(begun);
        let person = &found.person;
        let mut events = self.events_of(&person.spans)?;
        // An event dated after now counts now (row 2): it is dropped for who asks about the past.
        events.retain(|event| event.rx <= until && (at >= now || event.at <= at));
        let until = until.min(events.iter().map(|event| event.rx).max().unwrap_or(until));
        let occurrences: Vec<_> = events.iter().map(|event| event.occurrence(person.internal)).collect();
        let attributes = person.attributes_by(&events);
        let page = from..from.saturating_add(PARTS_MAX);
        let Some(explained) = explain_page(&self.model, &occurrences, &attributes, &score, at, page.clone()) else {
            return Ok(Looked::Unknown);
        };
        let next = PartsCursor { score, at, now, from: page.end, total: explained.total, model_version, until };
        if behind.is_some_and(|behind| *behind != PartsCursor { from, ..next.clone() }) {
            return Ok(Looked::Found(Err(Changed)));
        }
        let more = (next.from < next.total).then(|| encode(&next)).transpose()?;
        let too_old = Some(self.policy.left_out(person.events)).filter(|left_out| *left_out > 0);
        let notices = too_old.map(|left_out| Notice::events(self.policy.scored(person.events), left_out));
        let crowded = explained.crowded.iter().map(Notice::disappearing_points);
        Ok(Looked::Found(Ok(Explanation {
            score: explained.score,
            value: explained.value,
            excluded: explained.excluded,
            at: Time(at),
            // Folded from the events, by the newest.
            model_version: self.model_version,
            parts: explained.parts.into_iter().map(Part::from).collect(),
            next_cursor: more.map(|cursor| BASE64URL_NOPAD.encode(&cursor)),
            notices: notices.into_iter().chain(crowded).collect(),
        })))
    }
}

impl From<scoring::Part> for Part {
    fn from(part: scoring::Part) -> Part {
        Part {
            kind: part.kind.slug(),
            rule: part.rule,
            event: part.event.map(|(_, _, id)| id),
            name: part.name,
            at: Time(part.at),
            points: part.points,
            factor: part.factor,
            contribution: part.contribution,
        }
    }
}
