//! What a prospect holds: the sides of a decision, and what an erasure is about.

use super::super::Partition;
use super::super::decision::Decided;
use super::{Looked, Target};
use crate::key::{Identifier, KeyHash};
use crate::store::{Store, StoreError};
use minicbor::{Decode, Encode};

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
    /// The time of the latest decision around it, ms: a later one must be later.
    #[n(3)]
    pub last_decision: Option<i64>,
    /// The decision asked about, if it was made before.
    #[n(4)]
    pub decided: Option<Decided>,
}

impl<S: Store> Partition<S> {
    /// What a prospect holds, and whether a decision around it was made before.
    ///
    /// # Errors
    /// When the store fails.
    pub fn holdings(&self, target: Target, decision: &str) -> Result<Looked<Holdings>, StoreError> {
        self.find(target)?.and_then(|found| {
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
                    last_decision: None,
                    decided: None,
                }));
            };
            // Of what was erased nobody knows any more what it was: all such would be one.
            let ident = |key: &KeyHash| cluster.ident(*key).filter(|ident| !ident.is_erased()).cloned();
            let keys: Vec<Identifier> = found.keys.iter().filter_map(ident).collect();
            let founder = ident(&found.founder).or_else(|| keys.first().cloned());
            let Some(founder) = founder else { return Ok(Looked::Unknown) };
            let tables = cluster.tables.values();
            let own = tables.filter(|table| table.epochs.iter().any(|(_, key)| found.keys.contains(key)));
            Ok(Looked::Found(Holdings {
                founder,
                keys,
                browsers: own.map(|table| table.ident.clone()).filter(|ident| !ident.is_erased()).collect(),
                last_decision: cluster.decided.values().map(|decided| decided.at).max(),
                decided: cluster.decided.get(decision).cloned(),
            }))
        })
    }
}
