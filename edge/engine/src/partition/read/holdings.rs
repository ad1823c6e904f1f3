//! What a prospect holds: the sides of a decision, and what an erasure is about.

use super::super::Partition;
use super::super::cluster::Cluster;
use super::super::decision::Decided;
use super::{Found, Looked, Target};
use crate::key::{Identifier, KeyHash};
use crate::store::{Store, StoreError};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// A prospect's keys as they stand.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Holdings {
    /// Whose id it bears: a browser for an anonymous one.
    #[n(0)]
    pub founder: Identifier,
    /// Its person keys; none for an anonymous one.
    #[n(1)]
    pub keys: Vec<Identifier>,
    /// The browsers whose events are its own at some time.
    #[n(2)]
    pub browsers: Vec<Identifier>,
    /// Whether it is a prospect that can be shown: something has happened under one of its keys.
    #[n(3)]
    pub is_somebody: bool,
    /// The time of the latest decision around it, ms: a later one must be later.
    #[n(4)]
    pub last_decision: Option<i64>,
    /// The decision asked about, if it was made before.
    #[n(5)]
    pub decided: Option<Decided>,
}

impl<S: Store> Partition<S> {
    /// What a prospect holds, and whether a decision around it was made before. A key that is nobody's, because nothing has
    /// happened under it (an address that was separated from the profile that Currents reports under), can be decided about
    /// and erased all the same.
    ///
    /// # Errors
    /// When the store fails.
    pub fn holdings(&self, target: Target, decision: &str) -> Result<Looked<Holdings>, StoreError> {
        match self.find(target)? {
            Looked::Unknown => self.held_by_nobody(target, decision),
            looked => looked.and_then(|found| self.held(&found, decision)),
        }
    }

    fn held(&self, found: &Found, decision: &str) -> Result<Looked<Holdings>, StoreError> {
        let Some(cluster) = &found.cluster else {
            let Some((node, _)) = self.load_node(found.founder)? else { return Ok(Looked::Unknown) };
            if node.body.ident.is_erased() {
                return Ok(Looked::Unknown);
            }
            let (founder, browsers) = (node.body.ident.clone(), vec![node.body.ident]);
            return Ok(Looked::Found(Holdings {
                founder,
                keys: Vec::new(),
                browsers,
                is_somebody: true,
                last_decision: None,
                decided: None,
            }));
        };
        Ok(cluster.held(found.founder, &found.keys, decision).map_or(Looked::Unknown, Looked::Found))
    }

    /// What a key holds that is known here and has no events: it was named, not more.
    fn held_by_nobody(&self, target: Target, decision: &str) -> Result<Looked<Holdings>, StoreError> {
        let root = self.root(target.at)?;
        // An id is a prospect's, or was; a browser that leads to a key has somebody's events.
        if target.asked.is_some() || target.via.is_some() || !self.holds(root) {
            return Ok(Looked::Unknown);
        }
        let Some((cluster, _)) = self.load_cluster(root)? else { return Ok(Looked::Unknown) };
        let prospect = cluster.prospects.iter().find(|(_, keys)| keys.contains(&target.member));
        let held = prospect.and_then(|(founder, keys)| cluster.held(*founder, keys, decision));
        Ok(held.map_or(Looked::Unknown, |held| Looked::Found(Holdings { is_somebody: false, ..held })))
    }
}

impl Cluster {
    /// What a prospect of it holds, if anything is known of that any more.
    fn held(&self, founder: KeyHash, keys: &BTreeSet<KeyHash>, decision: &str) -> Option<Holdings> {
        // Of what was erased nobody knows any more what it was: all such would be one.
        let ident = |key: &KeyHash| self.ident(*key).filter(|ident| !ident.is_erased()).cloned();
        let idents: Vec<Identifier> = keys.iter().filter_map(ident).collect();
        let tables = self.tables.values();
        let own = tables.filter(|table| table.epochs.iter().any(|(_, key)| keys.contains(key)));
        Some(Holdings {
            founder: ident(&founder).or_else(|| idents.first().cloned())?,
            keys: idents,
            browsers: own.map(|table| table.ident.clone()).filter(|ident| !ident.is_erased()).collect(),
            is_somebody: true,
            last_decision: self.decided.values().map(|decided| decided.at).max(),
            decided: self.decided.get(decision).cloned(),
        })
    }
}
