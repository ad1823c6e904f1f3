//! What is durable where: the rows of one partition as last looked at, and the pieces of knowledge that they hold.
//! The one place of the simulator that reads rows.

use crate::identity::Fact;
use crate::key::{Identifier, KeyHash};
use crate::partition::browser::Browser;
use crate::partition::change::{Change, Line};
use crate::partition::cluster::Cluster;
use crate::partition::decode;
use crate::partition::message::{Ask, Element, Message};
use crate::partition::person::Person;
use crate::partition::work::NodeBody;
use crate::store::{Row, Store, StoreError, Value};
use std::collections::{BTreeMap, BTreeSet};

/// An event by the number of its key, its time and its id.
pub(super) type EventRow = (i64, i64, String);

/// Whose a browser's events are, and the version of that.
pub(super) type VersionedTable = (u64, Vec<(i64, KeyHash)>);

/// A key's row.
pub(super) struct NodeRow {
    pub(super) bytes: Vec<u8>,
    pub(super) ident: Identifier,
    pub(super) no: i64,
    pub(super) up: Option<KeyHash>,
    /// Of browsers.
    pub(super) table: Option<VersionedTable>,
}

/// One partition's rows, and what they were decoded from.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) nodes: BTreeMap<KeyHash, NodeRow>,
    pub(super) clusters: BTreeMap<KeyHash, (Vec<u8>, Cluster)>,
    pub(super) outbox: BTreeMap<i64, (Vec<u8>, Vec<Message>)>,
    pub(super) events: BTreeSet<EventRow>,
    pub(super) persons: BTreeMap<i64, (Vec<u8>, Person)>,
    feed: i64,
}

/// What must not be lost: once durable, it is durable somewhere for ever, at this version or a higher one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// What a key is.
    Key(KeyHash),
    /// What an end says of its facts, with its version.
    Flags(KeyHash, u64, Vec<Fact>),
    /// A browser's time table.
    Table(KeyHash, u64),
    /// The browsers that claim a key, with the key's version.
    Claimants(KeyHash, u64),
    /// An event.
    Event(EventRow),
    /// The earliest event under a key.
    FirstEvent(KeyHash, i64),
    /// That a fact has been said, at one of its ends.
    Said(Fact, KeyHash),
    /// That a key's cluster must go to a smaller one.
    Union(KeyHash),
    /// What a person decided, by the decision's id.
    Decided(String),
}

impl Piece {
    /// Whether this is the other one, or has come after it.
    fn covers(&self, other: &Piece) -> bool {
        match (self, other) {
            (Piece::Flags(end, version, _), Piece::Flags(of, wanted, _)) => end == of && version >= wanted,
            (Piece::Table(browser, version), Piece::Table(of, wanted)) => browser == of && version >= wanted,
            (Piece::Claimants(key, version), Piece::Claimants(of, wanted)) => key == of && version >= wanted,
            (Piece::FirstEvent(key, at), Piece::FirstEvent(of, wanted)) => key == of && at <= wanted,
            (Piece::Flags(end, _, facts), Piece::Said(fact, at)) => end == at && facts.contains(fact),
            (one, other) => one == other,
        }
    }
}

fn pieces_of_element(element: &Element) -> Vec<Piece> {
    match element {
        Element::Key(info) => vec![Piece::Key(info.k)],
        Element::Flags(end, version, flags) => {
            vec![Piece::Flags(*end, *version, flags.iter().map(|flag| flag.fact).collect())]
        }
        Element::Table(table) => vec![Piece::Table(table.browser, table.version)],
        Element::Claimants(key, version, _) => vec![Piece::Claimants(*key, *version)],
        Element::Event(event) => vec![Piece::Event((event.no, event.at, event.id.clone()))],
        Element::Rev(_) | Element::Part(..) | Element::Told(..) => Vec::new(),
        Element::FirstEvent(key, at) => vec![Piece::FirstEvent(*key, *at)],
        Element::Decided(decided) => vec![Piece::Decided(decided.id.clone())],
    }
}

fn pieces_of(message: &Message) -> Vec<Piece> {
    match &message.ask {
        Ask::Put(elements) => elements.iter().flat_map(pieces_of_element).collect(),
        Ask::RankFact(ranked) => vec![Piece::Said(ranked.fact, message.key)],
        Ask::Union(..) => vec![Piece::Union(message.key)],
        Ask::Unite(larger) => vec![Piece::Union(*larger)],
        Ask::Heed(decided, ident) if !ident.key_type().is_browser() => vec![Piece::Decided(decided.id.clone())],
        Ask::Take(_)
        | Ask::Decide(_)
        | Ask::Heed(..)
        | Ask::Introduce(_)
        | Ask::FactAdmitted(..)
        | Ask::RankClaims(..)
        | Ask::ClaimsAdmitted(..)
        | Ask::Hint(_)
        | Ask::Erase(_)
        | Ask::EraseKey(_)
        | Ask::Remains(_)
        | Ask::ForgetFact(..)
        | Ask::SayAgain(_)
        | Ask::ForgetKey(..)
        | Ask::Erased(_)
        | Ask::Bury(_)
        | Ask::Exhume(_)
        | Ask::NoteBatch(_)
        | Ask::ForgetLetters(_)
        | Ask::Once(_)
        | Ask::MakeClaim(..) => Vec::new(),
    }
}

fn pieces_of_cluster(cluster: &Cluster) -> Vec<Piece> {
    cluster.clone().into_elements().iter().flat_map(pieces_of_element).collect()
}

/// What has changed since the last look.
#[derive(Default)]
pub(super) struct News {
    /// Keys whose pointer was set or moved, with what it was.
    pub(super) pointers: Vec<(KeyHash, Option<KeyHash>)>,
    /// New keys.
    pub(super) keys: Vec<KeyHash>,
    /// Browsers' rows that changed, with the table that was.
    pub(super) browsers: Vec<(KeyHash, Option<VersionedTable>)>,
    /// Clusters' rows that changed, with what was.
    pub(super) clusters: Vec<(KeyHash, Option<Cluster>)>,
    /// What rows no longer hold that are gone, or have become an acknowledged parcel.
    pub(super) gone: Vec<Piece>,
    /// Rows of the feed.
    pub(super) feed: Vec<Change>,
    /// Whether anything changed of what prospects are made of.
    pub(super) prospects: bool,
}

impl Rows {
    /// Reads what has changed.
    pub(super) fn refresh<S: Store>(&mut self, store: &S) -> Result<News, StoreError> {
        let mut news = News::default();
        self.read_nodes(store, &mut news)?;
        self.read_clusters(store, &mut news)?;
        self.read_outbox(store, &mut news)?;
        self.read_events(store, &mut news)?;
        self.read_persons(store, &mut news)?;
        for row in store.query("SELECT seq, body FROM feed WHERE seq > ? ORDER BY seq", &[Value::Integer(self.feed)])? {
            self.feed = row.integer(0)?;
            news.feed.extend(decode::<Line>(row.blob(1)?)?.changes);
        }
        Ok(news)
    }

    fn read_nodes<S: Store>(&mut self, store: &S, news: &mut News) -> Result<(), StoreError> {
        for row in store.query("SELECT k, no, body FROM node", &[])? {
            let (key, bytes) = (key_of(&row)?, row.blob(2)?);
            let before = self.nodes.get(&key);
            if before.is_some_and(|before| before.bytes == bytes) {
                continue;
            }
            let (up, body): (Option<KeyHash>, NodeBody) = decode(bytes)?;
            let no = row.integer(1)?;
            let table = body.browser.as_ref().map(|browser| table(browser, key, no, &body));
            match before {
                None => news.keys.push(key),
                Some(before) if before.table != table => news.browsers.push((key, before.table.clone())),
                Some(_) => {}
            }
            let up_before = before.and_then(|before| before.up);
            if up_before != up {
                news.pointers.push((key, up_before));
            }
            news.prospects = true;
            self.nodes.insert(key, NodeRow { bytes: bytes.to_vec(), ident: body.ident, no, up, table });
        }
        Ok(())
    }

    fn read_clusters<S: Store>(&mut self, store: &S, news: &mut News) -> Result<(), StoreError> {
        let mut there = BTreeSet::new();
        let mut bygone: BTreeMap<KeyHash, Vec<Vec<u8>>> = BTreeMap::new();
        for row in store.query("SELECT k, body FROM bygone", &[])? {
            bygone.entry(key_of(&row)?).or_default().push(row.blob(1)?.to_vec());
        }
        for row in store.query("SELECT k, body FROM cluster", &[])? {
            let (key, bytes) = (key_of(&row)?, row.blob(1)?);
            there.insert(key);
            let tables = bygone.remove(&key).unwrap_or_default();
            let all = [bytes, tables.concat().as_slice()].concat();
            if self.clusters.get(&key).is_some_and(|(before, _)| *before == all) {
                continue;
            }
            let mut cluster: Cluster = decode(bytes)?;
            for table in &tables {
                cluster.merge(Element::Table(decode(table)?));
            }
            let before = self.clusters.insert(key, (all, cluster));
            news.clusters.push((key, before.map(|(_, cluster)| cluster)));
        }
        if !bygone.is_empty() {
            return Err(StoreError("tables are left of a cluster that has gone".to_owned()));
        }
        news.prospects |= !news.clusters.is_empty();
        self.clusters.retain(|key, (_, cluster)| {
            if !there.contains(key) {
                news.gone.extend(pieces_of_cluster(cluster));
                news.prospects = true;
            }
            there.contains(key)
        });
        Ok(())
    }

    fn read_outbox<S: Store>(&mut self, store: &S, news: &mut News) -> Result<(), StoreError> {
        let mut before = std::mem::take(&mut self.outbox);
        for row in store.query("SELECT id, body FROM outbox", &[])? {
            let (id, bytes) = (row.integer(0)?, row.blob(1)?);
            let known = before.remove(&id).filter(|(known, _)| known == bytes);
            let parcel = match known {
                Some(known) => known,
                None => (bytes.to_vec(), decode(bytes)?),
            };
            self.outbox.insert(id, parcel);
        }
        news.gone.extend(before.values().flat_map(|(_, messages)| messages).flat_map(pieces_of));
        Ok(())
    }

    fn read_events<S: Store>(&mut self, store: &S, news: &mut News) -> Result<(), StoreError> {
        let rows = store.query("SELECT rec, at, id FROM event", &[])?;
        let same = rows.len() == self.events.len();
        let mut now = BTreeSet::new();
        for row in rows {
            now.insert((row.integer(0)?, row.integer(1)?, row.text(2)?.to_owned()));
        }
        if !same || now != self.events {
            news.gone.extend(self.events.difference(&now).cloned().map(Piece::Event));
            news.prospects = true;
            self.events = now;
        }
        Ok(())
    }

    fn read_persons<S: Store>(&mut self, store: &S, news: &mut News) -> Result<(), StoreError> {
        let mut before = std::mem::take(&mut self.persons);
        for row in store.query("SELECT no, state FROM person", &[])? {
            let (no, bytes) = (row.integer(0)?, row.blob(1)?);
            let known = before.remove(&no).filter(|(known, _)| known == bytes);
            let person = match known {
                Some(known) => known,
                None => {
                    news.prospects = true;
                    (bytes.to_vec(), decode(bytes)?)
                }
            };
            self.persons.insert(no, person);
        }
        news.prospects |= !before.is_empty();
        Ok(())
    }

    /// Whether a piece is durable here.
    pub(super) fn holds(&self, piece: &Piece) -> bool {
        let in_a_row = match piece {
            Piece::Event(event) => self.events.contains(event),
            Piece::Union(key) => self.nodes.get(key).is_some_and(|node| node.up.is_some()),
            piece => self.clusters.values().any(|(_, cluster)| cluster_holds(cluster, piece)),
        };
        in_a_row
            || self
                .outbox
                .values()
                .flat_map(|(_, messages)| messages)
                .any(|message| pieces_of(message).iter().any(|held| held.covers(piece)))
    }
}

/// Whether a cluster holds a piece, at this version or a higher one.
pub(super) fn cluster_holds(cluster: &Cluster, piece: &Piece) -> bool {
    match piece {
        Piece::Key(key) => cluster.keys.contains_key(key),
        Piece::Flags(end, version, _) => cluster.flag_versions.get(end).is_some_and(|known| known >= version),
        Piece::Said(fact, end) => cluster.flags.contains_key(&(*fact, *end)),
        Piece::Table(browser, version) => cluster.tables.get(browser).is_some_and(|table| table.version >= *version),
        Piece::Claimants(key, version) => cluster.claimants.get(key).is_some_and(|(known, _)| known >= version),
        Piece::FirstEvent(key, at) => cluster.first_events.get(key).is_some_and(|first| first <= at),
        Piece::Decided(id) => cluster.decided.contains_key(id),
        Piece::Event(_) | Piece::Union(_) => false,
    }
}

/// What a cluster held that it does not hold any more.
pub(super) fn lost_by(before: &Cluster, now: &Cluster) -> Option<Piece> {
    pieces_of_cluster(before).into_iter().find(|piece| !cluster_holds(now, piece) && !matches!(piece, Piece::Event(_)))
}

fn table(browser: &Browser, key: KeyHash, no: i64, body: &NodeBody) -> VersionedTable {
    let table = browser.table(key, no, &body.ident);
    (table.version, table.epochs)
}

fn key_of(row: &Row) -> Result<KeyHash, StoreError> {
    row.blob(0)?.try_into().map(KeyHash).map_err(|_| StoreError("a key of another length".to_owned()))
}
