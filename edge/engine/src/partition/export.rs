//! Exports: everybody, or everybody's events, in pieces. Rows are walked by their numbers, so nothing is kept from one
//! piece to the next, and a piece costs what it holds.

use super::feed;
use super::person::Person;
use super::read::{Earned, Position, item, json};
use super::view::{ExportedEvent, Time};
use super::{Partition, decode, encode};
use crate::store::{Row, Store, StoreError};
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};

/// How many people one piece shows.
const PEOPLE_A_PIECE: usize = 100;
/// How many rows one piece looks at: with `since`, most are passed over.
const ROWS_A_PIECE: usize = 1_000;
/// How many events one piece has, about: one person's are read so many at a time.
const EVENTS_A_PIECE: usize = 500;
/// A piece ends when it has so many bytes: frontends hold several, of many requests, in 128 MB.
const BYTES_A_PIECE: usize = 500_000;

/// No row has a greater number: twelve bits of slot before 36 of a counter (schema), and a store's numbers are doubles.
pub(super) const LAST_ROW: i64 = (1 << 48) - 1;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum What {
    /// Prospects, as the API shows them.
    #[n(0)]
    People,
    /// Their events.
    #[n(1)]
    Events,
}

/// Which piece of an export is asked for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Export {
    /// Of people or events.
    #[n(0)]
    pub what: What,
    /// Where it begins.
    #[n(1)]
    pub from: Place,
    /// The last row of the export.
    #[n(2)]
    pub until: i64,
    /// Only people who have changed, or events that have come in, since this time, ms.
    #[n(3)]
    pub since: Option<i64>,
    /// The time at which values are taken, ms.
    #[n(4)]
    pub as_of: i64,
}

/// A place in the walk through all rows.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Place {
    /// The row that was read last; -1 before the first.
    #[n(0)]
    pub after: i64,
    /// In the middle of somebody's events: their row, and the event that was read last.
    #[n(1)]
    pub within: Option<(i64, Position)>,
}

impl Place {
    /// Before everything after a row.
    #[must_use]
    pub fn after(row: i64) -> Place {
        Place { after: row, within: None }
    }
}

/// A piece of an export.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Exported {
    /// In the order of rows; somebody's events newest first.
    #[n(0)]
    pub items: Vec<Item>,
    /// Where the next piece begins; `None` after the last.
    #[n(1)]
    pub next: Option<Place>,
}

/// One document of an export.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Item {
    /// When the prospect last changed, or the event came in, ms.
    #[n(0)]
    pub at: i64,
    /// As JSON.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub document: Vec<u8>,
}

/// How far so many people reach.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Stretch {
    /// How many there are.
    #[n(0)]
    pub people: u64,
    /// The row of the last.
    #[n(1)]
    pub last: Option<i64>,
    /// Where a reader of the feed stands who knows everything as it is now.
    #[n(2)]
    pub feed: feed::Cursor,
}

impl<S: Store> Partition<S> {
    /// How many people there are after a row, so many at most, and where the feed stands.
    ///
    /// # Errors
    /// When the store fails.
    pub fn stretch(&self, after: i64, people: u32) -> Result<Stretch, StoreError> {
        let sql = "SELECT count(*), max(no) FROM (SELECT no FROM person WHERE no > ? ORDER BY no LIMIT ? + 0)";
        let rows = self.store.query(sql, &[after.into(), i64::from(people).into()])?;
        let row = rows.first().ok_or_else(|| StoreError("a count answers a row".to_owned()))?;
        let last = if row.is_null(1) { None } else { Some(row.integer(1)?) };
        Ok(Stretch { people: row.integer(0)?.unsigned_abs(), last, feed: self.feed_now()? })
    }

    /// The next piece of an export.
    ///
    /// # Errors
    /// When the store fails.
    pub fn export(&self, export: &Export) -> Result<Exported, StoreError> {
        let (mut items, mut bytes, mut looked) = (Vec::new(), 0, 0);
        let mut place = export.from.clone();
        let most = if export.what == What::People { PEOPLE_A_PIECE } else { EVENTS_A_PIECE };
        let since = export.since.unwrap_or(i64::MIN);
        while items.len() < most && bytes < BYTES_A_PIECE && looked < ROWS_A_PIECE {
            let Some((no, person)) = self.people_between(place.after, export.until, 1)?.pop() else {
                return Ok(Exported { items, next: None });
            };
            looked += 1;
            let within = place.within.take().filter(|(row, _)| *row == no).map(|(_, event)| event);
            place.after = no;
            if person.changed < since {
                continue;
            }
            let (found, end) = match export.what {
                What::People => (self.document(person, export.as_of)?, None),
                What::Events => self.events_since(&person, since, within.as_ref())?,
            };
            bytes += found.iter().map(|item| item.document.len()).sum::<usize>();
            items.extend(found);
            if let Some(end) = end {
                // There are more of theirs: the row comes once more.
                place = Place { after: no - 1, within: Some((no, end)) };
            }
        }
        Ok(Exported { items, next: Some(place) })
    }

    /// People by their rows: after one, until one, at most so many.
    pub(super) fn people_between(&self, after: i64, until: i64, limit: u32) -> Result<Vec<(i64, Person)>, StoreError> {
        let sql = "SELECT no, state FROM person WHERE no > ? AND no <= ? ORDER BY no LIMIT ? + 0";
        let rows = self.store.query(sql, &[after.into(), until.into(), i64::from(limit).into()])?;
        let read = |row: &Row| Ok((row.integer(0)?, decode(row.blob(1)?)?));
        rows.iter().map(read).collect()
    }

    /// Nobody's, of who is just on the way to another partition: the feed tells of them.
    fn document(&self, person: Person, as_of: i64) -> Result<Vec<Item>, StoreError> {
        let at = person.changed;
        let shown = self.show_person(person, as_of)?;
        shown.iter().map(|prospect| Ok(Item { at, document: json(prospect)? })).collect()
    }

    /// A page of somebody's events that have come in since, and where it ended if there are more.
    fn events_since(
        &self,
        person: &Person,
        since: i64,
        behind: Option<&Position>,
    ) -> Result<(Vec<Item>, Option<Position>), StoreError> {
        let (events, end) = self.page_of_events(person, None, None, behind, EVENTS_A_PIECE)?;
        let show = |(event, points): Earned| {
            let key = Position { at: event.at, id: event.id.clone(), rec: event.rec };
            let (at, referrer, event_type) = (event.rx, event.body.referrer.clone(), event.body.event_type.clone());
            let document = json(&ExportedEvent {
                key: BASE64URL_NOPAD.encode(&encode(&key)?),
                prospect: person.founder.prospect_id(),
                item: item(person.founder, event, points),
                received_at: Time(at),
                referrer,
                event_type,
            })?;
            Ok(Item { at, document })
        };
        let events = events.into_iter().filter(|(event, _)| event.rx >= since);
        Ok((events.map(show).collect::<Result<_, StoreError>>()?, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Body, Record, Source};
    use crate::identity::policy::Policy;
    use crate::key::{DeploymentKey, Identifier, KeyType, SlotMap};
    use crate::kinds::Kind;
    use crate::partition::message::{Ask, Message};
    use crate::scoring::Model;
    use crate::store::native::Native;
    use serde_json::Value;
    use std::collections::BTreeSet;

    const NOW: i64 = 1_767_225_600_000;

    fn partition() -> Partition<Native> {
        let model = Model::parse(Model::SHIPPED).unwrap();
        let key = DeploymentKey::new(b"test");
        let store = Native::in_memory().unwrap();
        Partition::open(store, (0, SlotMap { partitions: 1 }), key, Policy::default(), model, 1).unwrap()
    }

    /// Somebody looks at so many pages, which come in at a time.
    fn view(partition: &mut Partition<Native>, who: u32, pages: i64, now: i64) {
        let rec = Identifier::new(KeyType::ExternalId, "", &format!("customer-{who}")).unwrap();
        let record = |n: i64| {
            let body = Body::bare(Kind::PageView, "[Page view] /".to_owned(), Source::Api);
            let id = format!("{now}-{n}");
            Record { rec: rec.clone(), at: NOW + n, id, body, facts: Vec::new(), claims: Vec::new() }
        };
        let key = DeploymentKey::new(b"test").hash(&rec);
        let ask = Ask::Take((0..pages).map(record).collect());
        partition.apply(now, vec![Message { key, ask }]).unwrap();
    }

    /// All pieces: the documents, and how many pieces there were.
    fn export(partition: &Partition<Native>, what: What, since: Option<i64>) -> (Vec<Value>, usize) {
        let (mut all, mut pieces, mut from) = (Vec::new(), 0, Place::after(-1));
        loop {
            let piece = partition.export(&Export { what, from, until: LAST_ROW, since, as_of: NOW }).unwrap();
            pieces += 1;
            all.extend(piece.items.iter().map(|item| serde_json::from_slice::<Value>(&item.document).unwrap()));
            match piece.next {
                Some(next) => from = next,
                None => return (all, pieces),
            }
        }
    }

    fn keys(events: &[Value]) -> BTreeSet<&str> {
        events.iter().map(|event| event["key"].as_str().unwrap()).collect()
    }

    #[test]
    fn everybody_and_every_event_come_once_however_many_one_person_has() {
        let mut partition = partition();
        (0..250).for_each(|who| view(&mut partition, who, 2, NOW));
        view(&mut partition, 99, 1_700, NOW + 1);
        let (people, pieces) = export(&partition, What::People, None);
        let ids: BTreeSet<&str> = people.iter().map(|person| person["id"].as_str().unwrap()).collect();
        assert_eq!((people.len(), ids.len(), pieces), (250, 250, 3));
        let (events, pieces) = export(&partition, What::Events, None);
        assert_eq!((events.len(), keys(&events).len()), (2_200, 2_200));
        assert!(pieces >= 4, "{pieces} pieces");
        assert_eq!(events[0]["received_at"], "2026-01-01T00:00:00Z");
        // The same stretch in two.
        let first = partition.stretch(-1, 100).unwrap();
        let rest = partition.stretch(first.last.unwrap(), 1_000).unwrap();
        assert_eq!((first.people, rest.people), (100, 150));
        assert_eq!(partition.stretch(rest.last.unwrap(), 10).unwrap().last, None);
    }

    #[test]
    fn what_has_changed_since_is_who_did_something_since_and_what() {
        let mut partition = partition();
        (0..9).for_each(|who| view(&mut partition, who, 3, NOW));
        view(&mut partition, 4, 2, NOW + 1_000);
        let (people, _) = export(&partition, What::People, Some(NOW + 1));
        assert_eq!((people.len(), &people[0]["events"]), (1, &5.into()));
        let (events, _) = export(&partition, What::Events, Some(NOW + 1));
        assert!(events.len() == 2 && events.iter().all(|event| event["prospect"] == people[0]["id"]), "{events:?}");
        assert_eq!(export(&partition, What::Events, Some(NOW + 1_001)).0, Vec::<Value>::new());
    }

    #[test]
    fn a_place_within_somebody_who_has_gone_is_no_place_within_the_next() {
        let mut partition = partition();
        (0..2).for_each(|who| view(&mut partition, who, 600, NOW));
        let until = LAST_ROW;
        let export = |partition: &Partition<Native>, from| {
            partition.export(&Export { what: What::Events, from, until, since: None, as_of: NOW }).unwrap()
        };
        let next = export(&partition, Place::after(-1)).next.unwrap();
        let (gone, _) = next.within.clone().unwrap();
        partition.delete_person(gone).unwrap();
        let (mut left, mut from) = (0, Some(next));
        while let Some(place) = from {
            let piece = export(&partition, place);
            (left, from) = (left + piece.items.len(), piece.next);
        }
        assert_eq!(left, 600, "all of the other's");
    }
}
