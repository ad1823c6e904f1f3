//! After a message has been worked off: bringing the prospects that it concerns up to date.

use super::super::cluster::Cluster;
use super::super::encode;
use super::super::feed::Notice;
use super::super::message::EventElement;
use super::super::people::people;
use super::super::person::{Span, Subject};
use super::Work;
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};
use std::collections::{BTreeMap, BTreeSet};

impl<S: Store> Work<'_, S> {
    /// Brings every prospect that this message concerns up to date.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        let restructured = std::mem::take(&mut self.restructured);
        let stale = std::mem::take(&mut self.stale);
        let mut arrived: BTreeMap<KeyHash, Vec<EventElement>> = BTreeMap::new();
        for (taker, event) in std::mem::take(&mut self.arrived) {
            // A cluster may have gone on since, and a table may have changed.
            let root = self.root(taker)?;
            arrived.entry(root).or_default().push(event);
        }
        let homes: BTreeSet<KeyHash> = restructured.iter().chain(&stale).chain(arrived.keys()).copied().collect();
        for home in homes.into_iter().filter(|home| self.partition.holds(*home)) {
            let events = arrived.remove(&home).unwrap_or_default();
            let is_stale = stale.contains(&home);
            if self.load(home)? && self.node(home)?.body.browser.is_some() {
                self.settle_browser(home, &events, is_stale)?;
            } else {
                self.settle_cluster(home, &events, is_stale || restructured.contains(&home), is_stale)?;
            }
        }
        for founder in std::mem::take(&mut self.retired) {
            let Some(into) = self.prospect_of(founder)?.filter(|into| *into != founder) else { continue };
            self.note(&Notice { at: self.now, prospect: founder, into: Some(into) })?;
        }
        Ok(())
    }

    /// Notes that a prospect was erased.
    pub(in super::super) fn note_deleted(&self, prospect: KeyHash, at: i64) -> Result<(), StoreError> {
        self.note(&Notice { at, prospect, into: None })
    }

    fn note(&self, notice: &Notice) -> Result<(), StoreError> {
        let params = [Value::Blob(encode(notice)?)];
        self.partition.store.exec("INSERT INTO notice (body) VALUES (?)", &params).map(drop)
    }

    /// A browser's own, anonymous prospect: there as long as nobody's claim governs its table.
    fn settle_browser(&mut self, own: KeyHash, events: &[EventElement], stale: bool) -> Result<(), StoreError> {
        let node = self.node(own)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let browser = self.browser(own)?;
        let last_rev = browser.rev;
        // All of its time while nobody's claim governs it; none once one does, but for what an erasure gave back to it.
        let spans = Span::by_table(&browser.table(own, no, &ident)).into_iter();
        let spans: Vec<Span> = spans.filter(|(_, owner)| *owner == own).map(|(span, _)| span).collect();
        if !spans.is_empty() {
            let subject = Subject { home: own, founder: own, no, spans, internal: false, email: None };
            // Its events may be away and on their way home again: then the row goes, and its `rev` must not.
            let before = if events.is_empty() { self.partition.load_person(no)? } else { None };
            let change = self.partition.bring_up_to_date(&subject, events, last_rev, stale, self.now)?;
            if let Some(person) = before
                && self.partition.load_person(no)?.is_none()
            {
                self.browser(own)?.rev = person.rev + 1;
            }
            self.changed.extend(change);
        } else if let Some(person) = self.partition.load_person(no)? {
            self.browser(own)?.rev = person.rev + 1;
            self.partition.delete_person(no)?;
            self.retired.insert(own);
        }
        Ok(())
    }

    fn settle_cluster(
        &mut self,
        root: KeyHash,
        events: &[EventElement],
        anew: bool,
        stale: bool,
    ) -> Result<(), StoreError> {
        let partition = self.partition;
        if !self.cluster(root)?.is_whole() {
            return Ok(());
        }
        let mut cluster = std::mem::take(self.cluster(root)?);
        if anew {
            let people = people(&cluster, &partition.policy).by_founder;
            let gone: Vec<KeyHash> =
                cluster.prospects.keys().filter(|founder| !people.contains_key(founder)).copied().collect();
            for founder in gone {
                self.retire(founder, &mut cluster)?;
            }
            cluster.prospects = people;
        }
        for (founder, keys) in &cluster.prospects {
            let here: Vec<EventElement> =
                events.iter().filter(|event| keys.contains(&cluster.owner(event))).cloned().collect();
            if !anew && here.is_empty() {
                continue;
            }
            let Some(subject) = Subject::of(&cluster, root, *founder, keys, &partition.policy) else { continue };
            if subject.email.is_none() {
                here.iter().for_each(|event| self.intake.without_email(event));
            }
            for change in partition.bring_up_to_date(&subject, &here, cluster.rev, stale, self.now)? {
                cluster.rev = cluster.rev.max(change.rev);
                self.changed.push(change);
            }
        }
        *self.cluster(root)? = cluster;
        Ok(())
    }

    pub(super) fn retire(&mut self, founder: KeyHash, cluster: &mut Cluster) -> Result<(), StoreError> {
        let Some(no) = cluster.keys.get(&founder).map(|info| info.no) else { return Ok(()) };
        // Time alone raises a prospect's `rev`, too, without a word to its cluster.
        let rev = self.partition.load_person(no)?.map_or(0, |person| person.rev);
        cluster.rev = cluster.rev.max(rev);
        self.partition.delete_person(no)?;
        self.retired.insert(founder);
        Ok(())
    }

    /// Which prospect a key belongs to now, by its founder.
    fn prospect_of(&mut self, key: KeyHash) -> Result<Option<KeyHash>, StoreError> {
        if !self.load(key)? {
            return Ok(None);
        }
        let node = self.node(key)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let key = match &node.body.browser {
            Some(browser) => browser.table(key, no, &ident).owner(i64::MAX),
            None => key,
        };
        let root = self.root(key)?;
        let cluster = self.cluster(root)?;
        Ok(cluster.prospects.iter().find(|(_, keys)| keys.contains(&key)).map(|(founder, _)| *founder))
    }
}
