//! After a message has been worked off: bringing the prospects that it concerns up to date.

use super::super::change::Change;
use super::super::cluster::Cluster;
use super::super::message::{Ask, Element, EventElement, Message, Table};
use super::super::people::people;
use super::super::person::{Person, Span, Stale, Subject};
use super::Work;
use crate::key::KeyHash;
use crate::store::{Store, StoreError};
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
        let homes: BTreeSet<KeyHash> = restructured.iter().chain(stale.keys()).chain(arrived.keys()).copied().collect();
        let mut clusters = Vec::new();
        for home in homes.into_iter().filter(|home| self.partition.holds(*home)) {
            if self.load(home)? && self.node(home)?.body.browser.is_some() {
                let events = arrived.remove(&home).unwrap_or_default();
                self.settle_browser(home, &events, stale.get(&home).copied())?;
            } else {
                clusters.push(home);
            }
        }
        // After browsers: what was told of them goes with their events.
        for home in clusters {
            let events = arrived.remove(&home).unwrap_or_default();
            let stale = stale.get(&home).copied();
            self.settle_cluster(home, &events, stale.is_some() || restructured.contains(&home), stale)?;
        }
        Ok(())
    }

    /// A browser's own, anonymous prospect: there as long as nobody's claim governs its table.
    fn settle_browser(
        &mut self,
        own: KeyHash,
        events: &[EventElement],
        stale: Option<Stale>,
    ) -> Result<(), StoreError> {
        let node = self.node(own)?;
        let (no, ident) = (node.no, node.body.ident.clone());
        let browser = self.browser(own)?;
        let last_rev = browser.rev;
        // All of its time while nobody's claim governs it; none once one does, but for what an erasure gave back to it.
        let table = browser.table(own, no, &ident);
        let spans = Span::by_table(&table).into_iter();
        let mut spans: Vec<Span> = spans.filter(|(_, owner)| *owner == own).map(|(span, _)| span).collect();
        if self.partition.policy.is_blocked(&ident) {
            // Stored, and nobody's.
            spans.clear();
        }
        if !spans.is_empty() {
            let subject = Subject { home: own, founder: own, no, spans, internal: false, email: None };
            let line =
                self.partition.bring_up_to_date(&subject, events, (last_rev, &BTreeSet::new()), stale, self.now)?;
            // Its events may be away and on their way home again: then the row goes, and its `rev` must not.
            if let Some(gone) = line.changes.last().filter(|change| change.gone) {
                self.browser(own)?.rev = gone.rev;
            }
            self.line.extend(line);
        } else if let Some(person) = self.dismiss(no)? {
            self.browser(own)?.rev = person.rev + 1;
            self.hand_over(own, &table, &person)?;
        }
        Ok(())
    }

    /// Which stages an anonymous prospect was told to have reached, for those whose its events are now.
    fn hand_over(&mut self, own: KeyHash, table: &Table, person: &Person) -> Result<(), StoreError> {
        let told = person.stages_told();
        let owners: BTreeSet<KeyHash> = table.epochs.iter().map(|(_, owner)| *owner).collect();
        for owner in owners.into_iter().filter(|_| !told.is_empty()) {
            let root = if self.partition.holds(owner) { self.root(owner)? } else { owner };
            if self.partition.holds(root) {
                self.cluster(root)?.merge(Element::Told(own, told.clone()));
            } else {
                // Ahead of the table, by which its events are told of.
                let ask = Ask::Put(vec![Element::Told(own, told.clone())]);
                self.outgoing.insert(0, Message { key: root, ask });
            }
        }
        Ok(())
    }

    fn settle_cluster(
        &mut self,
        root: KeyHash,
        events: &[EventElement],
        anew: bool,
        stale: Option<Stale>,
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
        let mut settled = BTreeSet::new();
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
            let told = cluster.told_of(keys);
            let stages = told.values().flatten().cloned().collect();
            let line = partition.bring_up_to_date(&subject, &here, (cluster.rev, &stages), stale, self.now)?;
            if let Some(last) = line.changes.last() {
                cluster.rev = cluster.rev.max(last.rev);
                if !last.gone {
                    settled.extend(told.into_keys());
                }
            }
            self.line.extend(line);
        }
        cluster.told.retain(|founder, _| !settled.contains(founder));
        *self.cluster(root)? = cluster;
        Ok(())
    }

    pub(super) fn retire(&mut self, founder: KeyHash, cluster: &mut Cluster) -> Result<(), StoreError> {
        let Some(no) = cluster.keys.get(&founder).map(|info| info.no) else { return Ok(()) };
        if let Some(person) = self.dismiss(no)? {
            // Time alone raises a prospect's `rev`, too, without a word to its cluster.
            cluster.rev = cluster.rev.max(person.rev + 1);
            if !person.told.is_empty() {
                cluster.told.entry(founder).or_default().extend(person.stages_told());
            }
        }
        Ok(())
    }

    /// Deletes a prospect's row, if there is one, and tells the feed with the next `rev`. Answers what it held.
    fn dismiss(&mut self, no: i64) -> Result<Option<Person>, StoreError> {
        let Some(person) = self.partition.load_person(no)? else { return Ok(None) };
        self.partition.delete_person(no)?;
        self.line.changes.push(Change::gone(person.founder, person.home, person.rev + 1, self.now));
        Ok(Some(person))
    }
}
