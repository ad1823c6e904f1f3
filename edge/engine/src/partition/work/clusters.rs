//! What clusters are told, and how they come together.

use super::super::cluster::{Cluster, Merged};
use super::super::erasure::{self, Gone};
use super::super::message::{Ask, Element, EventElement, KeyInfo, Message, PIECE_BYTES, Seen, Table, in_pieces};
use super::super::person::{Span, Stale};
use super::super::{Outcome, RefusedUnion, encode};
use super::Work;
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};
use std::collections::BTreeSet;

/// By which table events of a browser are held where a newer one comes.
#[derive(Clone, Copy)]
pub(in crate::partition) enum Before<'t> {
    /// By this one.
    Table(&'t Table),
    /// By none: whoever did not know the browser has no events of it.
    Nothing,
    /// By one that is not known any more.
    Unknown,
}

impl<S: Store> Work<'_, S> {
    pub(super) fn put(&mut self, key: KeyHash, elements: Vec<Element>) -> Result<(), StoreError> {
        let is_browser = self.load(key)? && self.node(key)?.body.browser.is_some();
        let root = if is_browser { key } else { self.root(key)? };
        if !self.partition.holds(root) {
            // The cluster may have gone before it heard of this table: then the browser's events were left behind. (Only
            // when the browser itself says so: tables that go with events may be old, and would send others round again.)
            if let [Element::Table(table)] = elements.as_slice() {
                self.give_away(table, Before::Unknown, key)?;
            }
            self.pass_on(root, elements);
            return Ok(());
        }
        let (events, others): (Vec<_>, Vec<_>) = elements.into_iter().partition(|e| matches!(e, Element::Event(_)));
        for element in others {
            if is_browser {
                // A browser's own table is the only authority: what comes home with its events is older or the same.
                continue;
            }
            if let Element::Rev(rev) = &element
                && *rev > 0
                && *rev >= self.cluster(root)?.rev
            {
                // What came ahead of this was told with lower ones: whoever keeps the highest must be told again.
                self.stale.insert(root, Stale::Told);
            }
            let table = if let Element::Table(table) = &element { Some(table.clone()) } else { None };
            match &element {
                Element::Key(info) => {
                    self.welcome(info.k, root)?;
                    if !self.cluster(root)?.keys.contains_key(&info.k) {
                        self.recall_naming(root, info.k)?;
                    }
                }
                Element::Table(table) => self.recall(root, table.browser)?,
                Element::Decided(decided) => {
                    decided.left.iter().chain(&decided.right).try_for_each(|key| self.recall(root, *key))?;
                }
                _ => {}
            }
            let erased = if let Element::Key(info) = &element { info.erased.map(|at| (info.k, at)) } else { None };
            let known = erased.map(|(key, _)| self.cluster(root).map(|cluster| cluster.keys.get(&key).cloned()));
            let known = known.transpose()?.flatten();
            let of_key = matches!(element, Element::Key(_));
            if matches!(element, Element::Part(..)) {
                // Nobody has been folded since the first part came; what was told meanwhile, where they came from, had a
                // higher `rev`.
                self.stale.insert(root, Stale::Told);
            }
            let before =
                table.as_ref().map(|table| self.cluster(root).map(|here| here.tables.get(&table.browser).cloned()));
            let before = before.transpose()?.flatten();
            let merged = self.cluster(root)?.merge(element);
            // Which e-mail a prospect goes by is a matter of the evidence that its keys have.
            let structure = merged == Merged::Structure || (of_key && merged == Merged::Shown);
            if structure {
                self.restructured.insert(root);
                if let Some((key, at)) = erased {
                    self.delete_erased(key, at, root, known)?;
                }
            }
            let Some(table) = table else { continue };
            let Some(known) = self.cluster(root)?.tables.get(&table.browser).cloned() else { continue };
            if structure {
                self.give_away(&known, before.as_ref().map_or(Before::Nothing, Before::Table), root)?;
            } else if known.version > table.version {
                // It comes with another cluster, whose events are here by it.
                self.give_away(&known, Before::Table(&table), root)?;
            }
        }
        for element in events {
            if let Element::Event(event) = element {
                if !is_browser && !self.cluster(root)?.keys.contains_key(&event.rec) {
                    self.recall(root, event.rec)?;
                }
                self.place(root, is_browser, event)?;
            }
        }
        Ok(())
    }

    /// Sends elements on to where their cluster has gone. Events of a request that waits go back to whoever waits, with
    /// the tables that say whose they are.
    fn pass_on(&mut self, to: KeyHash, elements: Vec<Element>) {
        let waits = |element: &Element| matches!(element, Element::Event(event) if event.place.is_some());
        let (waiting, mut others): (Vec<_>, Vec<_>) = elements.into_iter().partition(waits);
        if !waiting.is_empty() {
            let tables = others.iter().filter(|element| matches!(element, Element::Table(_))).cloned();
            let elements = tables.chain(waiting).collect();
            self.onward.push(Message { key: to, ask: Ask::Put(elements) });
            others.retain(|element| !matches!(element, Element::Table(_)));
        }
        if !others.is_empty() {
            self.send(to, Ask::Put(others));
        }
    }

    /// After a browser's table has changed: events stored here that are somebody's elsewhere go there; those of others
    /// here are folded in there, whether they knew of them or not. Whose time is as it was before has heard of it: on a tablet
    /// that hundreds have used, each newcomer would else be told to all of them.
    pub(in crate::partition) fn give_away(
        &mut self,
        table: &Table,
        before: Before<'_>,
        here: KeyHash,
    ) -> Result<(), StoreError> {
        if self.partition.delete_gone(table.no, &table.gone)? {
            self.is_stale(here);
        }
        for (span, owner) in Span::by_table(table) {
            if let Before::Table(before) = before
                && before.gives_all((span.from, span.until), owner)
            {
                continue;
            }
            let home = if owner == table.browser { owner } else { self.root(owner)? };
            if home == here {
                continue;
            }
            if self.partition.holds(home) {
                if matches!(before, Before::Nothing) {
                    continue;
                }
                self.is_stale(home);
                if home == table.browser {
                    self.give_on(home, table)?;
                } else {
                    // It may go elsewhere before its own copy comes, and must take these events with it.
                    self.send(home, Ask::Put(vec![Element::Table(table.clone())]));
                }
                continue;
            }
            let events = self.partition.cut_events(&span)?;
            for mut piece in in_pieces(events.into_iter().map(Element::Event).collect(), PIECE_BYTES)? {
                piece.insert(0, Element::Table(table.clone()));
                self.send(home, Ask::Put(piece));
            }
        }
        Ok(())
    }

    /// After events of a browser have come home by a table: they may be somebody else's by the present one.
    fn give_on(&mut self, own: KeyHash, by: &Table) -> Result<(), StoreError> {
        let node = self.node(own)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let table = self.browser(own)?.table(own, no, &ident);
        if table.version > by.version { self.give_away(&table, Before::Table(by), own) } else { Ok(()) }
    }

    /// After a key has been erased: what was recorded under it until then goes. `known` is what it was.
    fn delete_erased(
        &mut self,
        key: KeyHash,
        at: i64,
        root: KeyHash,
        known: Option<KeyInfo>,
    ) -> Result<(), StoreError> {
        let Some(info) = self.cluster(root)?.keys.get(&key).cloned() else { return Ok(()) };
        let all = Span::whole(info.no, key, false);
        let gone = Gone { from: all.from, until: all.until, erased: at };
        if self.partition.delete_gone(info.no, &[gone])? {
            self.is_stale(root);
        }
        let first = self.partition.first_event(info.no)?;
        self.cluster(root)?.first_event_is(key, first);
        if let (Some(first), Some(known)) = (first, known)
            && !known.ident.is_erased()
            && !info.recorded
        {
            let seen = known.seen.map(|seen| Seen { at: first, ..seen });
            self.send(key, Ask::Remains(KeyInfo { seen, erased: Some(at), ..known }));
        }
        Ok(())
    }

    /// Stores an event where it belongs, or passes it on to there, together with the table that says so.
    fn place(&mut self, here: KeyHash, is_browser: bool, event: EventElement) -> Result<(), StoreError> {
        let table = if is_browser {
            let node = self.node(here)?;
            let (no, ident) = (node.no, node.body.ident.clone());
            Some(self.browser(here)?.table(here, no, &ident))
        } else {
            self.cluster(here)?.tables.get(&event.rec).cloned()
        };
        let erased =
            if is_browser { None } else { self.cluster(here)?.keys.get(&event.rec).and_then(|info| info.erased) };
        if table.as_ref().is_some_and(|table| table.is_gone(event.at, event.rx))
            || erased.is_some_and(|erased| erasure::is_before(erased, event.at, event.rx))
        {
            if let Some(place) = event.place {
                self.outcomes.insert(place, Outcome::Duplicate);
                self.intake.event(&event.body, false);
            }
            return Ok(());
        }
        let owner = table.as_ref().map_or(event.rec, |table| table.owner(event.at));
        // A key whose cluster is here may have sent its events ahead of what it is.
        let belongs = owner == here || (!is_browser && self.cluster(here)?.keys.contains_key(&owner));
        if !belongs {
            let elements = table.map(Element::Table).into_iter().chain([Element::Event(event)]).collect();
            if self.partition.holds(owner) {
                self.send(owner, Ask::Put(elements));
            } else {
                self.pass_on(owner, elements);
            }
            return Ok(());
        }
        let params = [
            Value::Integer(event.no),
            Value::Integer(event.at),
            Value::from(event.id.as_str()),
            Value::Integer(event.rx),
            Value::Blob(encode(&event.body)?),
        ];
        let stored = self.partition.store.exec("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?)", &params)? > 0;
        if let Some(place) = event.place {
            self.outcomes.insert(place, if stored { Outcome::Accepted } else { Outcome::Duplicate });
            self.intake.event(&event.body, stored);
        }
        if !stored {
            return Ok(());
        }
        if !is_browser
            && event.rec == owner
            && self.cluster(here)?.merge(Element::FirstEvent(owner, event.at)) == Merged::Structure
        {
            self.restructured.insert(here);
        }
        self.arrived.push((here, event));
        Ok(())
    }

    /// Goes to the root of the smaller key's cluster, and from there, with its size, to the larger key.
    pub(super) fn unite(&mut self, smaller: KeyHash, larger: KeyHash) -> Result<(), StoreError> {
        let root = self.root(smaller)?;
        let ask = if self.partition.holds(root) {
            let keys = self.cluster(root)?.keys.len();
            Message { key: larger, ask: Ask::Union(root, keys) }
        } else {
            Message { key: root, ask: Ask::Unite(larger) }
        };
        self.send_all([ask]);
        Ok(())
    }

    /// Points `x` at the smaller `y`, the root of a cluster of so many keys, and sends its cluster after it. When `x` has
    /// gone to `z` before, it is for the larger of `y` and `z` to point at the other: the larger key of the pair only
    /// ever gets smaller, so this ends.
    pub(super) fn union(&mut self, x: KeyHash, y: KeyHash, keys: usize) -> Result<(), StoreError> {
        match self.node(x)?.up {
            Some(z) if z == y => Ok(()),
            Some(z) if z > y => {
                self.send(z, Ask::Union(y, keys));
                Ok(())
            }
            Some(z) => {
                self.send(z, Ask::Unite(y));
                Ok(())
            }
            None => {
                let own_keys = self.cluster(x)?.keys.len();
                if own_keys + keys > self.partition.policy.cluster_keys as usize {
                    let largest = if own_keys >= keys { x } else { y };
                    self.refused.push(RefusedUnion { from: x, into: y, keys: own_keys + keys, largest });
                    return Ok(());
                }
                self.node(x)?.up = Some(y);
                let mut cluster = std::mem::take(self.cluster(x)?);
                for founder in std::mem::take(&mut cluster.prospects).into_keys() {
                    self.retire(founder, &mut cluster)?;
                }
                self.restructured.remove(&x);
                let was_stale = self.stale.remove(&x).is_some();
                let root = self.root(y)?;
                let events = if self.partition.holds(root) {
                    // Events are grouped by the key that recorded them: inside a partition they stay where they are. Those that
                    // were held by an older table than is known there are somebody's there without having come.
                    let there = &self.cluster(root)?.tables;
                    let is_older =
                        |table: &Table| there.get(&table.browser).is_some_and(|known| known.version > table.version);
                    if was_stale || cluster.tables.values().any(is_older) {
                        self.is_stale(root);
                    }
                    Vec::new()
                } else {
                    self.cut_cluster(&cluster)?
                };
                let bygone = self.move_bygone(x, root)?;
                let rev = Element::Rev(cluster.rev);
                let parts = in_pieces(cluster.into_elements(), self.partition.piece_bytes)?;
                let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
                for (number, mut part) in (0..).zip(parts) {
                    if count > 1 {
                        part.push(Element::Part(x, count, BTreeSet::from([number])));
                    }
                    self.send(y, Ask::Put(part));
                }
                for mut piece in in_pieces(bygone.into_iter().map(Element::Table).collect(), PIECE_BYTES)? {
                    // Never a table alone, which would be the browser's own word.
                    piece.push(rev.clone());
                    self.send(y, Ask::Put(piece));
                }
                for piece in in_pieces(events.into_iter().map(Element::Event).collect(), PIECE_BYTES)? {
                    self.send(y, Ask::Put(piece));
                }
                Ok(())
            }
        }
    }

    /// Shortens the way that a pointer begins. It is never made by a hint, and only ever decreases.
    pub(super) fn hint(&mut self, key: KeyHash, ahead: KeyHash) -> Result<(), StoreError> {
        if self.load(key)? {
            let node = self.node(key)?;
            node.up = node.up.map(|up| up.min(ahead));
        }
        Ok(())
    }

    /// Takes all events of a cluster that moves out of this partition.
    fn cut_cluster(&mut self, cluster: &Cluster) -> Result<Vec<EventElement>, StoreError> {
        let mut events = Vec::new();
        for info in cluster.keys.values() {
            events.extend(self.partition.cut_events(&Span::whole(info.no, info.k, false))?);
        }
        for table in cluster.tables.values() {
            for (span, owner) in Span::by_table(table) {
                if cluster.keys.contains_key(&owner) {
                    events.extend(self.partition.cut_events(&span)?);
                }
            }
        }
        Ok(events)
    }
}
