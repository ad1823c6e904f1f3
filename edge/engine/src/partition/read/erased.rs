//! Whether an erasure has reached everything that it is about, and what an erased prospect's id answers.

use super::super::Partition;
use super::super::star::rows::Wanted;
use super::super::view::Prospect;
use super::{Looked, Target};
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};

impl<S: Store> Partition<S> {
    /// Whether nothing of a key from before a time, ms, is left: with its owner, with the browsers that claimed it, and
    /// in its cluster.
    ///
    /// # Errors
    /// When the store fails.
    pub fn is_erased(&self, target: Target, since: i64) -> Result<Looked<bool>, StoreError> {
        if let Some((node, _)) = self.load_node(target.member)? {
            if let Some(browser) = &node.body.browser {
                return Ok(Looked::Found(browser.has_forgotten_itself(since)));
            }
            let forgotten = node.body.erased.is_some_and(|erased| erased >= since);
            let (key_type, mut star) = (node.body.ident.key_type(), node.body.star);
            self.read_star(target.member, key_type, &mut star, &Wanted::All)?;
            if !forgotten || star.is_claimed_since_before(since) {
                return Ok(Looked::Found(false));
            }
        }
        let root = self.root(target.at)?;
        if !self.holds(root) {
            return Ok(Looked::Elsewhere(Target { at: root, ..target }));
        }
        let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
        let Some(info) = cluster.keys.get(&target.member) else { return Ok(Looked::Found(false)) };
        let tables_name_it = cluster.tables.values().any(|table| table.gives(target.member, since));
        let known = info.erased.is_some_and(|erased| erased >= since);
        let sql = "SELECT 1 FROM event WHERE rec = ? AND (at <= ? OR rx <= ?) LIMIT 1";
        let left = !self.store.query(sql, &[info.no, since, since].map(Value::Integer))?.is_empty();
        Ok(Looked::Found(known && !tables_name_it && !left))
    }

    /// Which of these persons' keys, all of them owned here, are somebody's: heard of, and not erased since. Who has found
    /// out something about a key elsewhere asks before storing it, or it would bring back who was erased meanwhile.
    ///
    /// # Errors
    /// When the store fails.
    pub fn known(&self, keys: &[KeyHash]) -> Result<Vec<KeyHash>, StoreError> {
        let mut known = Vec::with_capacity(keys.len());
        for key in keys {
            if self.load_node(*key)?.is_some_and(|(node, _)| !node.body.ident.is_erased()) {
                known.push(*key);
            }
        }
        Ok(known)
    }

    /// What the id of an erased prospect answers (contract, row 33). `Unknown` if nobody was erased.
    pub(super) fn deleted(&self, target: Target) -> Result<Looked<Prospect>, StoreError> {
        let Some(asked) = target.asked else { return Ok(Looked::Unknown) };
        let hollow = |rev: u64| Looked::Found(Prospect::hollow(asked.prospect_id(), rev.max(target.rev), "deleted"));
        if let Some((node, _)) = self.load_node(asked)?
            && let Some(browser) = &node.body.browser
        {
            return Ok(if browser.has_forgotten_itself(i64::MIN) { hollow(browser.rev) } else { Looked::Unknown });
        }
        let root = self.root(target.at)?;
        let cluster = self.load_cluster(root)?.map(|(cluster, _)| cluster).unwrap_or_default();
        let erased = cluster.keys.get(&asked).is_some_and(|info| info.erased.is_some());
        Ok(if erased { hollow(cluster.rev) } else { Looked::Unknown })
    }
}
