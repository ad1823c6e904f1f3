//! A prospect's row: the fold of the model over its events, kept up to date event by event and refolded when the set of
//! events, or their order, is another than before.

use super::change::{Cause, Change, Line, Reached};
use super::cluster::Cluster;
use super::message::{EventElement, Table};
use super::{Partition, decode, encode};
use crate::attributes::{EMAIL_DOMAIN, tells};
use crate::event::{Body, Source};
use crate::identity::policy::Policy;
use crate::key::{KeyHash, KeyType};
use crate::scoring::{Attribute, Attributes, Fold, Occurrence};
use crate::store::{Row, Store, StoreError, Value};
use minicbor::{Decode, Encode};
use std::collections::{BTreeMap, BTreeSet};

/// Times in SQL stay within what a double can hold exactly (facts on Workers, B.2, 3).
pub(super) const FIRST_MS: i64 = -9_007_199_254_740_991;
/// One past the last time that an event can have.
pub(super) const END_MS: i64 = 9_007_199_254_740_991;

/// A run of one key's events: a prospect is made of such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Span {
    /// The short number of the key that recorded them.
    #[n(0)]
    pub no: i64,
    /// That key.
    #[n(1)]
    pub rec: KeyHash,
    /// Whether it is a browser.
    #[n(2)]
    pub browser: bool,
    /// From this time on, ms.
    #[n(3)]
    pub from: i64,
    /// Until before this time, ms.
    #[n(4)]
    pub until: i64,
}

impl Span {
    /// All events of a key.
    #[must_use]
    pub fn whole(no: i64, rec: KeyHash, browser: bool) -> Span {
        Span { no, rec, browser, from: FIRST_MS, until: END_MS }
    }

    /// A browser's events by whose they are.
    #[must_use]
    pub fn by_table(table: &Table) -> Vec<(Span, KeyHash)> {
        let span = |(from, until)| Span { no: table.no, rec: table.browser, browser: true, from, until };
        times(table.browser, &table.epochs).map(|(time, owner)| (span(time), owner)).collect()
    }
}

/// A browser's time, ms, from when until before when, by whose it is: all of it is its own, unless anybody has any.
pub fn times(own: KeyHash, epochs: &[(i64, KeyHash)]) -> impl Iterator<Item = ((i64, i64), KeyHash)> {
    let first = epochs.first().map_or(own, |(_, owner)| *owner);
    let starts = [(FIRST_MS, first)].into_iter().chain(epochs.iter().skip(1).copied());
    let ends = epochs.iter().skip(1).map(|(at, _)| *at).chain([END_MS]);
    let times = starts.zip(ends).map(|((from, owner), until)| ((from, until), owner));
    times.filter(|((from, until), _)| from < until)
}

/// Why a prospect is folded anew though it is made of the same spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stale {
    /// There may be events that it has not been folded over.
    Events,
    /// What was told of it had too low a `rev`: it is told again, whatever it is.
    Told,
}

/// Who a prospect is, before its events are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Where its cluster lives; a browser's own prospect is at home there.
    pub home: KeyHash,
    /// Whose id the prospect bears.
    pub founder: KeyHash,
    /// The founder's short number: the row's key.
    pub no: i64,
    /// Which events are its own.
    pub spans: Vec<Span>,
    /// One of our own people's: recorded, never scored.
    pub internal: bool,
    /// The e-mail that it goes by.
    pub email: Option<Email>,
}

/// The e-mail that a prospect goes by.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Email {
    /// The plain address, or `sha256:` and the hash of one that we were never told.
    #[n(0)]
    pub address: String,
    /// The time of the evidence for it, ms.
    #[n(1)]
    pub at: i64,
    /// Who gave that.
    #[n(2)]
    pub source: Source,
}

impl Subject {
    /// The prospect of some keys of a cluster.
    #[must_use]
    pub fn of(
        cluster: &Cluster,
        home: KeyHash,
        founder: KeyHash,
        keys: &BTreeSet<KeyHash>,
        policy: &Policy,
    ) -> Option<Subject> {
        let no = cluster.keys.get(&founder)?.no;
        let infos = keys.iter().filter_map(|key| cluster.keys.get(key));
        let mut spans: Vec<Span> = infos.clone().map(|info| Span::whole(info.no, info.k, false)).collect();
        for table in cluster.tables.values() {
            let own = Span::by_table(table).into_iter().filter(|(_, owner)| keys.contains(owner));
            spans.extend(own.map(|(span, _)| span));
        }
        spans.sort_unstable();
        // Time that is theirs by several claims is one span: how a table divides it may change, and is no news.
        spans.dedup_by(|next, last| {
            let follows = (next.no, next.from) == (last.no, last.until);
            if follows {
                last.until = next.until;
            }
            follows
        });
        let internal = infos.clone().any(|info| policy.is_internal(&info.ident));
        Some(Subject { home, founder, no, spans, internal, email: cluster.email(keys) })
    }
}

/// The packed part of a prospect's row.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Person {
    /// Whose id the prospect bears.
    #[n(0)]
    pub founder: KeyHash,
    /// Grows with every change.
    #[n(1)]
    pub rev: u64,
    /// The events that it was folded over.
    #[n(2)]
    pub spans: Vec<Span>,
    /// One of our own people's.
    #[n(3)]
    pub internal: bool,
    /// How many events it has, scored or not.
    #[n(4)]
    pub events: u64,
    /// What is known of the person, with source and time each.
    #[n(5)]
    pub attributes: Attributes,
    /// The model's state over the events.
    #[n(6)]
    pub fold: Fold,
    /// Which version of the model that is.
    #[n(7)]
    pub model_version: u64,
    /// The e-mail that it goes by.
    #[n(8)]
    pub email: Option<Email>,
    /// Where its cluster lives: the founder's own row may be another partition's.
    #[n(9)]
    pub home: KeyHash,
    /// When it was last otherwise than before, by the clock here, ms: no function of its events, and never compared. 0 in
    /// rows of earlier releases.
    #[cbor(n(10), default)]
    pub changed: i64,
    /// The stages that it was told to have reached and not left, and whether they were seen here: no function of its
    /// events either.
    #[cbor(n(11), default)]
    pub told: BTreeMap<String, bool>,
    /// When the earliest of its events happened, ms, where that is not among those that are scored.
    #[cbor(n(12), default)]
    pub left_out_since: Option<i64>,
}

/// When a prospect next changes by itself, as its row is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Due {
    /// The row has this, which is still to come: only an earlier time is written, since every write of it is billed twice
    /// (for the index), and a time that is too early only costs a look.
    AtLatest(Option<i64>),
    /// This, whatever the row has.
    Exactly(Option<i64>),
}

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// When it happened, ms.
    pub at: i64,
    /// The sender's id.
    pub id: String,
    /// The key that recorded it.
    pub rec: KeyHash,
    /// When we received it, ms.
    pub rx: i64,
    /// Whether that is a browser.
    pub browser: bool,
    /// What happened.
    pub body: Body,
}

impl Stored {
    /// The order in which events are folded.
    #[must_use]
    pub fn order(&self) -> (i64, &str, KeyHash) {
        (self.at, &self.id, self.rec)
    }

    /// As the model sees it.
    #[must_use]
    pub fn occurrence(&self, internal: bool) -> Occurrence<'_> {
        Occurrence { at: self.at, id: &self.id, rec: self.rec, browser: self.browser, internal, body: &self.body }
    }
}

impl Person {
    fn new(subject: &Subject, rev: u64, model_version: u64) -> Person {
        Person {
            founder: subject.founder,
            rev,
            spans: subject.spans.clone(),
            internal: subject.internal,
            events: 0,
            attributes: Attributes::default(),
            fold: Fold::default(),
            model_version,
            email: None,
            home: subject.home,
            changed: 0,
            told: BTreeMap::new(),
            left_out_since: None,
        }
    }

    /// When the earliest of its events happened, scored or not, ms (contract, row 35).
    #[must_use]
    pub fn created_at(&self) -> Option<i64> {
        self.left_out_since.or(self.fold.created_at())
    }

    /// What was known when only these of its events were, in their order.
    pub(super) fn attributes_by(&self, events: &[Stored]) -> Attributes {
        let mut attributes = Attributes::default();
        events.iter().for_each(|event| attributes.learn(&event.body, event.at));
        let domain = self.attributes.0.get_key_value(EMAIL_DOMAIN);
        attributes.0.extend(domain.map(|(name, domain)| (name.clone(), domain.clone())));
        attributes
    }

    /// Who it is, as it was last settled.
    pub(super) fn subject(&self, no: i64) -> Subject {
        Subject {
            home: self.home,
            founder: self.founder,
            no,
            spans: self.spans.clone(),
            internal: self.internal,
            email: self.email.clone(),
        }
    }

    /// The domain of the e-mail is an attribute, so that models may ask for it.
    pub(super) fn set_email(&mut self, email: Option<Email>) {
        self.attributes.0.remove(EMAIL_DOMAIN);
        if let Some((email, (_, domain))) =
            email.as_ref().and_then(|email| Some((email, email.address.rsplit_once('@')?)))
        {
            let value = serde_json::Value::from(domain).to_string();
            let attribute = Attribute { value, source: email.source, at: email.at };
            self.attributes.0.insert(EMAIL_DOMAIN.to_owned(), attribute);
        }
        self.email = email;
    }
}

impl<S: Store> Partition<S> {
    /// Folds new events into a prospect, or refolds it when they are not all newer than what it has, or when it is made
    /// of other events than before. Answers what the feed is told.
    pub(super) fn bring_up_to_date(
        &self,
        subject: &Subject,
        new: &[EventElement],
        (rev_floor, told): (u64, &BTreeSet<String>),
        stale: Option<Stale>,
        now: i64,
    ) -> Result<Line, StoreError> {
        let row = self.load_row(subject.no)?;
        let mut rev = row.as_ref().map_or(rev_floor, |(person, _)| person.rev.max(rev_floor));
        let mut events: Vec<Stored> = new.iter().map(|event| stored_of(event, subject)).collect();
        events.sort_by(|one, other| one.order().cmp(&other.order()));
        // The alarm may be late: what happened by itself before these events comes first.
        let known_due = row.as_ref().and_then(|(_, due)| *due);
        let overdue = known_due.filter(|due| *due <= now);
        let mut changed = Vec::new();
        if let (Some((person, _)), Some(due)) = (&row, overdue)
            && person.model_version == self.model_version
        {
            let until = events.first().map_or(now, |first| now.min(first.at - 1));
            for turn in person.turns(&self.model, person.settled(due), until).0 {
                rev += 1;
                changed.push(turn.change(person, rev));
            }
        }
        let is_new = row.is_none();
        let is_in_doubt = stale == Some(Stale::Events) && overdue.is_none();
        let stored = row.as_ref().filter(|_| is_in_doubt).map(|(person, _)| person.clone());
        let known_home = row.as_ref().map(|(person, _)| person.home);
        let known_told = row.as_ref().map(|(person, _)| person.told.clone()).unwrap_or_default();
        let same = row.map(|(person, _)| person).filter(|person| {
            stale.is_none()
                && person.spans == subject.spans
                && (person.home, person.founder) == (subject.home, subject.founder)
                && person.internal == subject.internal
                && person.model_version == self.model_version
        });
        let mut person = match same {
            Some(person) if events.is_empty() && person.email == subject.email => return Ok(Line::default()),
            Some(mut person)
                if self.policy.left_out(person.events) == self.policy.left_out(person.events + events.len() as u64)
                    && events
                        .first()
                        .is_none_or(|first| person.fold.takes(first.order()))
                    // Taken away by an old table, and back by a newer one.
                    && !events.iter().any(|event| person.fold.awaits(event.order()))
                    // What is told of attributes is told in order, by events that are dated ahead, too.
                    && events
                        .iter()
                        .find(|event| tells(&event.body))
                        .is_none_or(|first| person.fold.last().is_none_or(|last| last < first.order())) =>
            {
                for event in &events {
                    person.fold.push(&self.model, &event.occurrence(subject.internal), now);
                    person.attributes.learn(&event.body, event.at);
                }
                person.events += events.len() as u64;
                person
            }
            _ => match self.refold(subject, now)? {
                Some(person) => person,
                None => {
                    self.delete_person(subject.no)?;
                    changed.extend(known_home.map(|home| Change::gone(subject.founder, home, rev + 1, now)));
                    return Ok(Line { changes: changed, ..Line::default() });
                }
            },
        };
        person.set_email(subject.email.clone());
        person.told = known_told;
        person.inherit(told);
        if let Some(stored) = stored {
            (person.rev, person.changed) = (stored.rev, stored.changed);
            if person == stored {
                // Nothing had come that it did not know of.
                return Ok(Line::default());
            }
        }
        rev += 1;
        (person.rev, person.changed) = (rev, now);
        let (founder, home) = (subject.founder, subject.home);
        changed.push(Change { founder, rev, at: now, cause: Cause::Event, turned: Vec::new(), home, gone: false });
        let due = if let Some(due) = overdue {
            let (turns, next) = person.turns(&self.model, person.settled(due), now);
            for turn in turns {
                person.rev += 1;
                changed.push(turn.change(&person, person.rev));
            }
            Due::Exactly(next)
        } else if is_new {
            Due::Exactly(person.fold.due(&self.model, &person.attributes, now))
        } else {
            Due::AtLatest(known_due)
        };
        let cause = if new.is_empty() { Cause::Merge } else { Cause::Event };
        let reached = self.save_person(subject.no, &mut person, due, (now, cause))?;
        Ok(Line { changes: changed, reached })
    }

    /// The fold of a prospect from nothing. `None` when it has no events: then it is none.
    pub(super) fn refold(&self, subject: &Subject, now: i64) -> Result<Option<Person>, StoreError> {
        let mut person = Person::new(subject, 0, self.model_version);
        for event in self.events_of(&subject.spans)? {
            person.fold.push(&self.model, &event.occurrence(subject.internal), now);
            person.attributes.learn(&event.body, event.at);
        }
        person.events = self.count_events(&subject.spans)?;
        if self.policy.left_out(person.events) > 0 {
            person.left_out_since = self.first_event_of(&subject.spans)?;
        }
        Ok((person.events > 0).then_some(person))
    }

    /// The newest events of some spans that count for scores (`events_scored`), oldest first.
    pub(crate) fn events_of(&self, spans: &[Span]) -> Result<Vec<Stored>, StoreError> {
        let limit = self.policy.events_scored as usize;
        let mut events = Vec::new();
        for span in spans {
            events.extend(self.events_before(span, (END_MS, ""), i64::from(self.policy.events_scored))?);
            if events.len() > 2 * limit {
                newest(&mut events, limit);
            }
        }
        if events.len() >= limit {
            let scored = self.policy.scored(self.count_events(spans)?);
            newest(&mut events, usize::try_from(scored).unwrap_or(limit));
        } else {
            newest(&mut events, limit);
        }
        Ok(events)
    }

    /// The newest events of one span that come before (at, id), newest first.
    pub(super) fn events_before(
        &self,
        span: &Span,
        before: (i64, &str),
        limit: i64,
    ) -> Result<Vec<Stored>, StoreError> {
        let sql = "SELECT at, id, rx, body FROM event WHERE rec = ? AND at >= ? AND (at, id) < (?, ?)
                   ORDER BY at DESC, id DESC LIMIT ? + 0";
        let (at, id) = before.min((span.until, ""));
        let params = [span.no.into(), span.from.into(), at.into(), Value::from(id), limit.into()];
        self.store.query(sql, &params)?.iter().map(|row| read_event(row, span)).collect()
    }

    /// Takes the events of a span out of this partition, oldest first.
    pub(super) fn cut_events(&self, span: &Span) -> Result<Vec<EventElement>, StoreError> {
        let range = [Value::Integer(span.no), Value::Integer(span.from), Value::Integer(span.until)];
        let sql = "SELECT at, id, rx, body FROM event WHERE rec = ? AND at >= ? AND at < ?";
        let read = |row: &Row| {
            let (at, id, rx) = (row.integer(0)?, row.text(1)?.to_owned(), row.integer(2)?);
            Ok(EventElement {
                rec: span.rec,
                no: span.no,
                at,
                id,
                rx,
                body: decode(row.blob(3)?)?,
                place: None,
                names_email: false,
            })
        };
        let events = self.store.query(sql, &range)?.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        if !events.is_empty() {
            self.store.exec("DELETE FROM event WHERE rec = ? AND at >= ? AND at < ?", &range)?;
        }
        Ok(events)
    }

    fn count_events(&self, spans: &[Span]) -> Result<u64, StoreError> {
        let mut count = 0;
        for span in spans {
            let sql = "SELECT count(*) FROM event WHERE rec = ? AND at >= ? AND at < ?";
            let params = [Value::Integer(span.no), Value::Integer(span.from), Value::Integer(span.until)];
            for row in self.store.query(sql, &params)? {
                count += row.integer(0)?.unsigned_abs();
            }
        }
        Ok(count)
    }

    /// The time of the earliest event of some spans, ms.
    fn first_event_of(&self, spans: &[Span]) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT at FROM event WHERE rec = ? AND at >= ? AND at < ? ORDER BY at LIMIT 1";
        let mut first = None;
        for Span { no, from, until, .. } in spans {
            let rows = self.store.query(sql, &[(*no).into(), (*from).into(), (*until).into()])?;
            let at = rows.first().map(|row| row.integer(0)).transpose()?;
            first = first.into_iter().chain(at).min();
        }
        Ok(first)
    }

    /// The time of the earliest event under a key, ms.
    pub(super) fn first_event(&self, number: i64) -> Result<Option<i64>, StoreError> {
        let rows = self.store.query("SELECT at FROM event WHERE rec = ? ORDER BY at LIMIT 1", &[number.into()])?;
        rows.first().map(|row| row.integer(0)).transpose()
    }

    pub(super) fn load_person(&self, no: i64) -> Result<Option<Person>, StoreError> {
        Ok(self.load_row(no)?.map(|(person, _)| person))
    }

    /// A prospect, and when it is due.
    fn load_row(&self, no: i64) -> Result<Option<(Person, Option<i64>)>, StoreError> {
        let rows = self.store.query("SELECT state, due FROM person WHERE no = ?", &[Value::Integer(no)])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let due = if row.is_null(1) { None } else { Some(row.integer(1)?) };
        Ok(Some((decode(row.blob(0)?)?, due)))
    }

    pub(super) fn delete_person(&self, no: i64) -> Result<(), StoreError> {
        self.store.exec("DELETE FROM person WHERE no = ?", &[Value::Integer(no)]).map(drop)
    }

    /// Stores a prospect, and tells which stages it has reached, through what.
    pub(super) fn save_person(
        &self,
        no: i64,
        person: &mut Person,
        due: Due,
        (now, cause): (i64, Cause),
    ) -> Result<Vec<Reached>, StoreError> {
        let standing = person.fold.standing(&self.model, &person.attributes, now);
        let reached = person.reach(&standing.stages_entered, cause);
        let [a0, a1, a2, a3] = standing.order;
        let due = match due {
            Due::Exactly(due) => Some(due),
            Due::AtLatest(known) => {
                let next = person.fold.due(&self.model, &person.attributes, now);
                next.is_some_and(|next| known.is_none_or(|known| next < known)).then_some(next)
            }
        };
        let mut params = vec![
            Value::Integer(no),
            Value::from(a0),
            Value::from(a1),
            Value::from(a2),
            Value::from(a3),
            Value::from(person.fold.last_active_at()),
            Value::from(person.created_at()),
            Value::Integer(i64::try_from(person.model_version).unwrap_or(i64::MAX)),
            Value::Blob(encode(person)?),
        ];
        // An update that names an indexed column is billed for the index, too, even if the value stays.
        let sql = if let Some(due) = due {
            params.push(Value::from(due));
            "INSERT INTO person (no, a0, a1, a2, a3, active_at, born, model, state, due)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (no) DO UPDATE SET a0 = excluded.a0, a1 = excluded.a1, a2 = excluded.a2, a3 = excluded.a3,
               active_at = excluded.active_at, born = excluded.born, model = excluded.model, state = excluded.state, due = excluded.due"
        } else {
            "INSERT INTO person (no, a0, a1, a2, a3, active_at, born, model, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (no) DO UPDATE SET a0 = excluded.a0, a1 = excluded.a1, a2 = excluded.a2, a3 = excluded.a3,
               active_at = excluded.active_at, born = excluded.born, model = excluded.model, state = excluded.state"
        };
        self.store.exec(sql, &params)?;
        Ok(reached)
    }
}

fn stored_of(event: &EventElement, subject: &Subject) -> Stored {
    let browser = subject.spans.iter().any(|span| span.browser && span.rec == event.rec);
    Stored { at: event.at, id: event.id.clone(), rec: event.rec, rx: event.rx, browser, body: event.body.clone() }
}

fn read_event(row: &Row, span: &Span) -> Result<Stored, StoreError> {
    let (at, id, rx, body) = (row.integer(0)?, row.text(1)?.to_owned(), row.integer(2)?, decode(row.blob(3)?)?);
    Ok(Stored { at, id, rec: span.rec, rx, browser: span.browser, body })
}

/// Keeps the newest events, oldest first.
fn newest(events: &mut Vec<Stored>, limit: usize) {
    events.sort_by(|one, other| one.order().cmp(&other.order()));
    let surplus = events.len().saturating_sub(limit);
    events.drain(..surplus);
}

impl Cluster {
    /// Whose an event of this cluster is.
    #[must_use]
    pub fn owner(&self, event: &EventElement) -> KeyHash {
        self.tables.get(&event.rec).map_or(event.rec, |table| table.owner(event.at))
    }

    /// The e-mail that some keys go by: the one with the latest strong, else latest evidence (contract, row 35). One
    /// without strong evidence has no other beside it: only servers join two.
    #[must_use]
    pub fn email(&self, keys: &BTreeSet<KeyHash>) -> Option<Email> {
        let emails =
            keys.iter().filter_map(|key| self.keys.get(key)).filter(|info| info.ident.key_type() == KeyType::Email);
        let evidenced = emails.filter_map(|info| {
            let flags = self.flags.values().filter(|flag| flag.end == info.k);
            let facts = flags.filter_map(|flag| Some((flag.at, flag.source?)));
            let strong = facts.chain(info.seen.map(|seen| (seen.at, seen.source))).max();
            let claimed = self.claimed(info.k).map(|(_, at, source)| (at, source));
            Some((strong.is_some(), strong.or(claimed)?, info))
        });
        let (_, (at, source), info) = evidenced.max_by_key(|(strong, evidence, info)| (*strong, *evidence, info.k))?;
        Some(Email { address: info.ident.value().to_owned(), at, source })
    }
}
