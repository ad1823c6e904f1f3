//! The invariants of the protocol, asserted whenever rows of a partition have changed; those that hold only when nothing
//! is on its way, at rest. Each is named in what it says when it is broken.

use super::Check;
use super::census::{News, NodeRow, Piece, Rows, lost_by};
use super::disk::Disk;
use crate::event::Record;
use crate::identity::Fact;
use crate::identity::policy::Policy;
use crate::key::{KeyHash, SlotMap};
use crate::partition::Partition;
use crate::partition::cluster::Cluster;
use crate::partition::message::Flag;
use crate::partition::people::people;
use crate::partition::person::{Span, Subject};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

type Epochs = Vec<(i64, KeyHash)>;

/// Everything durable, and what it was before.
pub(super) struct Watch {
    rows: Vec<Rows>,
    /// Each key's root when pointers last changed.
    roots: BTreeMap<KeyHash, KeyHash>,
    /// What was said under each version.
    tables: BTreeMap<(KeyHash, u64), Epochs>,
    flags: BTreeMap<(Fact, KeyHash, u64), Flag>,
    /// The last `rev` that each partition's feed has told of each prospect, by founder.
    told: BTreeMap<(usize, KeyHash), u64>,
    /// The highest `rev` that a feed has told of each prospect, by founder, and how often.
    revs: BTreeMap<KeyHash, (u64, u32)>,
    /// Keys under which something was acknowledged.
    pub(super) known: Vec<KeyHash>,
}

impl Watch {
    pub(super) fn new(partitions: usize) -> Watch {
        Watch {
            rows: std::iter::repeat_with(Rows::default).take(partitions).collect(),
            roots: BTreeMap::new(),
            tables: BTreeMap::new(),
            flags: BTreeMap::new(),
            told: BTreeMap::new(),
            revs: BTreeMap::new(),
            known: Vec::new(),
        }
    }

    /// The partitions that have parcels to deliver.
    pub(super) fn undelivered(&self) -> Vec<u16> {
        let with_parcels = self.rows.iter().zip(0..).filter(|(rows, _)| !rows.outbox.is_empty());
        with_parcels.map(|(_, number)| number).collect()
    }

    /// Looks at a partition's rows, and checks all that must hold at any instant.
    pub(super) fn observe(&mut self, partition: &Partition<Disk>, number: usize, policy: &Policy) -> Check {
        let news = self.rows[number].refresh(partition.store()).map_err(|error| error.to_string())?;
        self.pointers_go_down(number, &news)?;
        self.together_for_ever(&news)?;
        self.nothing_is_lost(&news)?;
        self.one_authority(number, &news)?;
        self.revisions_grow(number, &news)?;
        if news.prospects {
            self.computed_from_rows_here(number, policy, &news)?;
        }
        Ok(())
    }

    /// I1: a pointer names a smaller key, and only ever a smaller one than before.
    fn pointers_go_down(&self, number: usize, news: &News) -> Check {
        for (key, before) in &news.pointers {
            let up = self.rows[number].nodes[key].up;
            let goes_down = up.is_some_and(|up| up < *key && before.is_none_or(|before| up <= before));
            check(goes_down, || format!("I1, pointers go down: {key:?} pointed at {before:?}, and now at {up:?}"))?;
        }
        Ok(())
    }

    /// I2: keys that were in one cluster are in one cluster for ever.
    fn together_for_ever(&mut self, news: &News) -> Check {
        if news.pointers.is_empty() {
            return Ok(());
        }
        let ups: BTreeMap<KeyHash, KeyHash> = self
            .rows
            .iter()
            .flat_map(|rows| rows.nodes.iter())
            .filter_map(|(key, node)| Some((*key, node.up?)))
            .collect();
        let roots: BTreeMap<KeyHash, KeyHash> =
            self.rows.iter().flat_map(|rows| rows.nodes.keys()).map(|key| (*key, root(&ups, *key))).collect();
        for (key, before) in &self.roots {
            let together = root(&ups, *key) == root(&ups, *before);
            check(together, || format!("I2, co-location only grows: {key:?} was under {before:?} and is so no more"))?;
        }
        self.roots = roots;
        Ok(())
    }

    /// I3: what is durable leaves a place only when the next place has it.
    fn nothing_is_lost(&self, news: &News) -> Check {
        for piece in &news.gone {
            check(self.holds(piece), || format!("I3, nothing durable is lost: {piece:?} is nowhere any more"))?;
        }
        Ok(())
    }

    /// I3: what was acknowledged is durable.
    pub(super) fn acknowledged(&mut self, key: KeyHash, record: &Record, policy: &Policy) -> Check {
        let node = self.rows.iter().find_map(|rows| rows.nodes.get(&key));
        let event = node.map(|node| Piece::Event((node.no, record.at, record.id.clone())));
        let durable = event.is_some_and(|event| self.holds(&event));
        check(durable, || format!("I3, what is acknowledged is durable: {record:?} is not"))?;
        // What is blocked is stored and nobody's.
        if !policy.is_blocked(&record.rec) {
            self.known.push(key);
        }
        Ok(())
    }

    fn holds(&self, piece: &Piece) -> bool {
        self.rows.iter().any(|rows| rows.holds(piece))
    }

    /// I5: a cluster's and a browser's versions never go back, and one version says one thing everywhere.
    fn one_authority(&mut self, number: usize, news: &News) -> Check {
        let rows = &self.rows[number];
        for key in &news.keys {
            let no = rows.nodes[key].no;
            let other = rows.nodes.iter().find(|(other, node)| *other != key && counter(node.no) == counter(no));
            check(other.is_none(), || {
                format!("I5, one number for one key: {key:?} has that of {other:?}", other = other.map(|(key, _)| key))
            })?;
        }
        for (key, before) in &news.browsers {
            let (Some((version, _)), Some((now, _))) = (before, &rows.nodes[key].table) else { continue };
            check(now > version, || {
                format!("I5, versions grow: {key:?} has another table, and version {now} after {version}")
            })?;
        }
        for (key, before) in &news.clusters {
            let Some((_, now)) = rows.clusters.get(key) else { continue };
            let lost = before.as_ref().and_then(|before| lost_by(before, now));
            check(lost.is_none(), || format!("I5, versions grow: cluster {key:?} has gone back behind {lost:?}"))?;
            for table in now.tables.values() {
                let said = self.tables.entry((table.browser, table.version)).or_insert_with(|| table.epochs.clone());
                check(*said == table.epochs, || {
                    format!("I5, one authority: version {} of {:?}'s table is two tables", table.version, table.browser)
                })?;
            }
            for flag in now.flags.values() {
                let version = now.flag_versions.get(&flag.end).copied().unwrap_or_default();
                let said = self.flags.entry((flag.fact, flag.end, version)).or_insert_with(|| flag.clone());
                check(said == flag, || format!("I5, one authority: {said:?} and {flag:?}"))?;
            }
        }
        Ok(())
    }

    /// Within one feed, what is told of a prospect has a higher `rev` than all that was told of it before.
    fn revisions_grow(&mut self, number: usize, news: &News) -> Check {
        for change in &news.feed {
            let before = self.told.insert((number, change.founder), change.rev);
            let grows = before.is_none_or(|before| before < change.rev);
            check(grows, || format!("feed, revisions grow: {change:?} after {before:?}"))?;
            let (highest, times) = self.revs.entry(change.founder).or_default();
            *times = match change.rev.cmp(highest) {
                Ordering::Less => *times,
                Ordering::Equal => *times + 1,
                Ordering::Greater => 1,
            };
            *highest = change.rev.max(*highest);
        }
        Ok(())
    }

    /// I6: the prospects here are those, and those only, that follow from the rows here.
    fn computed_from_rows_here(&self, number: usize, policy: &Policy, news: &News) -> Check {
        let rows = &self.rows[number];
        if rows.clusters.values().any(|(_, cluster)| !cluster.is_whole()) {
            // Of what comes in parts nobody is shown.
            return Ok(());
        }
        for (key, _) in &news.clusters {
            let Some((_, cluster)) = rows.clusters.get(key) else { continue };
            let follow = people(cluster, policy).by_founder;
            check(follow == cluster.prospects, || {
                format!("I6, one partition's rows: {key:?} has {:?}, and {follow:?} follow", cluster.prospects)
            })?;
        }
        let of_clusters = rows.clusters.iter().flat_map(|(home, (_, cluster))| {
            let subject = |(founder, keys): (&KeyHash, _)| Subject::of(cluster, *home, *founder, keys, policy);
            cluster
                .prospects
                .iter()
                .filter_map(subject)
                .map(|subject| (subject.no, subject.founder, subject.spans, *home))
        });
        let is_anonymous = |node: &NodeRow| {
            node.table.as_ref().is_some_and(|(_, epochs)| epochs.is_empty()) && !policy.is_blocked(&node.ident)
        };
        let anonymous = rows.nodes.iter().filter(|(_, node)| is_anonymous(node));
        let anonymous = anonymous.map(|(own, node)| (node.no, *own, vec![Span::whole(node.no, *own, true)], *own));
        let mut there = BTreeSet::new();
        for (no, founder, spans, home) in of_clusters.chain(anonymous) {
            // While a table is on its way to some of those that it concerns, they count a browser's events by the one before.
            if spans.iter().any(|span| self.table_version(span.rec) > 0) {
                there.insert(no);
                continue;
            }
            let events: usize = spans.iter().map(|span| self.count(number, span)).sum();
            let person = rows.persons.get(&no).map(|(_, person)| person);
            if events == 0 {
                check(person.is_none(), || {
                    format!("I6, one partition's rows: {founder:?} is a prospect without events")
                })?;
                continue;
            }
            there.insert(no);
            let right = person.is_some_and(|person| {
                (person.founder, person.home, &person.spans) == (founder, home, &spans)
                    && person.events == events as u64
            });
            check(right, || {
                format!(
                    "I6, one partition's rows: {founder:?} has {events} events of {spans:?}, and its row is {person:?}"
                )
            })?;
        }
        let more = rows.persons.keys().find(|no| !there.contains(no));
        check(more.is_none(), || format!("I6, one partition's rows: nothing here makes {more:?} a prospect"))
    }

    /// The version of a browser's table; 0 while nobody has claimed it, and for a person key.
    fn table_version(&self, rec: KeyHash) -> u64 {
        let node = self.rows.iter().find_map(|rows| rows.nodes.get(&rec));
        node.and_then(|node| node.table.as_ref()).map_or(0, |(version, _)| *version)
    }

    fn count(&self, number: usize, span: &Span) -> usize {
        let range = (span.no, span.from, String::new())..(span.no, span.until, String::new());
        self.rows[number].events.range(range).count()
    }

    // At rest -----------------------------------------------------------------------------------------------------

    pub(super) fn at_rest(&self, slots: SlotMap) -> Check {
        check(self.undelivered().is_empty(), || "the outbox empties: it has not".to_owned())?;
        let all = || {
            self.rows.iter().enumerate().flat_map(|(number, rows)| rows.clusters.iter().map(move |row| (number, row)))
        };
        for (number, (root, (_, cluster))) in all() {
            let holder = usize::from(slots.partition_of(*root));
            check(number == holder, || format!("I4: cluster {root:?} is in {number}, not {holder}"))?;
            self.smallest_is_root(*root, cluster)?;
        }
        for (number, rows) in self.rows.iter().enumerate() {
            for (no, at, id) in &rows.events {
                let elsewhere =
                    self.rows[number + 1..].iter().any(|rows| rows.events.contains(&(*no, *at, id.clone())));
                check(!elsewhere, || format!("I7, each event once: {id} at {at} is stored twice"))?;
                self.with_its_owner(number, slots, *no, *at)?;
            }
            for (_, person) in rows.persons.values() {
                // Whoever keeps the highest has what is true.
                let told = self.revs.get(&person.founder).copied();
                check(told == Some((person.rev, 1)), || {
                    format!(
                        "feed, the last is the highest: {:?} rests at {}, and was told {told:?}",
                        person.founder, person.rev
                    )
                })?;
            }
        }
        Ok(())
    }

    /// I4: at rest the root of a cluster is its smallest key, and both ends of what may join are in one cluster.
    fn smallest_is_root(&self, root: KeyHash, cluster: &Cluster) -> Check {
        let smallest = cluster.keys.keys().next();
        check(smallest == Some(&root), || format!("I4, the root is the smallest: {root:?} holds {smallest:?}"))?;
        for key in cluster.keys.keys() {
            let known = self.root_of(*key);
            check(known == root, || {
                format!("I4, the root is the smallest: {root:?} holds {key:?}, whose root is {known:?}")
            })?;
        }
        for flag in cluster.flags.values().filter(|flag| flag.admitted) {
            let other = flag.fact.other(flag.end);
            let clusters = self.rows.iter().flat_map(|rows| rows.clusters.values());
            let admits = |(_, there): &&(Vec<u8>, Cluster)| {
                there.flags.get(&(flag.fact, other)).is_some_and(|flag| flag.admitted)
            };
            let both = clusters.filter(admits).count() > 0;
            check(!both || self.root_of(other) == root, || {
                format!("I4, what may join is together: {:?} is not", flag.fact)
            })?;
        }
        Ok(())
    }

    /// I7: at rest an event is in the partition that holds the cluster of its owner under the newest table.
    fn with_its_owner(&self, number: usize, slots: SlotMap, no: i64, at: i64) -> Check {
        let nodes = self.rows.iter().flat_map(|rows| rows.nodes.iter());
        let Some((rec, node)) = nodes.into_iter().find(|(_, node)| node.no == no) else {
            return Err(format!("I7, each event is its key's: nobody has number {no}"));
        };
        let owner = node.table.as_ref().and_then(|(_, epochs)| {
            epochs.iter().rev().find(|(from, _)| *from <= at).or(epochs.first()).map(|(_, owner)| *owner)
        });
        let home = if node.table.is_some() && owner.is_none() { *rec } else { self.root_of(owner.unwrap_or(*rec)) };
        let holder = usize::from(slots.partition_of(home));
        check(number == holder, || {
            format!("I7, each event with its owner: one of {rec:?} is in {number}, not {holder}")
        })
    }

    /// Every key that has a row.
    pub(super) fn named(&self) -> impl Iterator<Item = KeyHash> {
        self.rows.iter().flat_map(|rows| rows.nodes.keys().copied())
    }

    fn root_of(&self, key: KeyHash) -> KeyHash {
        self.roots.get(&key).copied().unwrap_or(key)
    }
}

/// Short numbers are a slot and a counter: the counter alone must tell keys apart.
fn counter(no: i64) -> i64 {
    no & ((1 << 36) - 1)
}

fn root(ups: &BTreeMap<KeyHash, KeyHash>, key: KeyHash) -> KeyHash {
    let mut root = key;
    while let Some(up) = ups.get(&root) {
        root = *up;
    }
    root
}

fn check(holds: bool, broken: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(broken()) }
}
