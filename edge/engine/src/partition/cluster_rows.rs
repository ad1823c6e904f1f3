//! A cluster's rows: one, as long as that is small; what would make it large has rows of its own.

use super::cluster::Cluster;
use super::message::Table;
use super::work::{Before, Work};
use super::{Partition, decode, encode};
use crate::key::KeyHash;
use crate::store::{Row, Store, StoreError, Value};
use std::collections::BTreeSet;

/// How many tables that name nobody in it any more a cluster's row holds, at most.
pub(super) const BYGONE_INLINE: usize = 64;

/// The most bytes of a cluster in one row: half of what a row may have (2 MB).
const BYTES_A_ROW: usize = 1_000_000;

impl<S: Store> Partition<S> {
    /// A cluster, but for its bygone tables, and the bytes that are stored of it.
    pub(super) fn load_cluster(&self, root: KeyHash) -> Result<Option<(Cluster, Vec<u8>)>, StoreError> {
        let params = [Value::from(root.0.as_slice())];
        let rows = self.store.query("SELECT body FROM cluster WHERE k = ?", &params)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut bytes = row.blob(0)?.to_vec();
        if bytes.len() == BYTES_A_ROW {
            for row in self.store.query("SELECT body FROM cluster_more WHERE k = ? ORDER BY part", &params)? {
                bytes.extend_from_slice(row.blob(0)?);
            }
        }
        Ok(Some((decode(&bytes)?, bytes)))
    }

    /// Writes the bytes of a cluster, of which so many were stored before.
    pub(super) fn save_cluster(&self, root: KeyHash, body: &[u8], before: usize) -> Result<(), StoreError> {
        let k = || Value::from(root.0.as_slice());
        let (first, rest) = body.split_at(body.len().min(BYTES_A_ROW));
        self.store.exec("INSERT OR REPLACE INTO cluster VALUES (?, ?)", &[k(), Value::from(first)])?;
        if before >= BYTES_A_ROW {
            self.store.exec("DELETE FROM cluster_more WHERE k = ?", &[k()])?;
        }
        for (part, bytes) in (0..).zip(rest.chunks(BYTES_A_ROW)) {
            let params = [k(), Value::Integer(part), Value::from(bytes)];
            self.store.exec("INSERT INTO cluster_more VALUES (?, ?, ?)", &params)?;
        }
        Ok(())
    }

    /// Deletes a cluster that has gone elsewhere.
    pub(super) fn delete_cluster(&self, root: KeyHash) -> Result<(), StoreError> {
        for table in ["cluster", "cluster_more", "bygone"] {
            self.store.exec(&format!("DELETE FROM {table} WHERE k = ?"), &[Value::from(root.0.as_slice())])?;
        }
        Ok(())
    }

    fn bygone(&self, sql: &str, params: &[Value]) -> Result<Vec<Table>, StoreError> {
        let rows = self.store.query(&format!("SELECT body FROM bygone WHERE {sql}"), params)?;
        rows.iter().map(|row: &Row| decode(row.blob(0)?)).collect()
    }
}

impl<S: Store> Work<'_, S> {
    /// Sees to it that a cluster knows the newest table of a browser that it was ever told.
    pub(super) fn recall(&mut self, root: KeyHash, browser: KeyHash) -> Result<(), StoreError> {
        if self.cluster(root)?.tables.contains_key(&browser) { Ok(()) } else { self.recall_newest(root, browser) }
    }

    fn recall_newest(&mut self, root: KeyHash, browser: KeyHash) -> Result<(), StoreError> {
        let params = [root, browser].map(|key| Value::from(key.0.as_slice()));
        let tables = self.partition.bygone("k = ? AND browser = ?", &params)?;
        self.remember(root, tables)
    }

    /// A key is new in a cluster: tables that came before it may name it.
    pub(super) fn recall_naming(&mut self, root: KeyHash, key: KeyHash) -> Result<(), StoreError> {
        let params = [root, key].map(|key| Value::from(key.0.as_slice()));
        let tables = self.partition.bygone("k = ? AND instr(body, ?) > 0", &params)?;
        self.remember(root, tables)
    }

    fn remember(&mut self, root: KeyHash, tables: Vec<Table>) -> Result<(), StoreError> {
        for table in tables {
            let browser = table.browser;
            self.recalled.insert((root, browser), table.clone());
            let cluster = self.cluster(root)?;
            let known = cluster.tables.get(&browser);
            if known.is_some_and(|known| known.version >= table.version) {
                continue;
            }
            let before = known.cloned();
            let matters = before.is_some() || table.epochs.iter().any(|(_, key)| cluster.keys.contains_key(key));
            cluster.tables.insert(browser, table.clone());
            if matters {
                self.restructured.insert(root);
                self.give_away(&table, before.as_ref().map_or(Before::Nothing, Before::Table), root)?;
            }
        }
        Ok(())
    }

    /// A cluster goes to another: so do its bygone tables. Answers those that must be sent after it.
    pub(super) fn move_bygone(&mut self, root: KeyHash, to: KeyHash) -> Result<Vec<Table>, StoreError> {
        self.recalled.retain(|(of, _), _| *of != root);
        if self.partition.holds(to) {
            let params = [to, root].map(|key| Value::from(key.0.as_slice()));
            if self.partition.store.exec("UPDATE OR IGNORE bygone SET k = ? WHERE k = ?", &params)? > 0 {
                let cluster = self.cluster(to)?;
                let keys: Vec<KeyHash> = cluster.keys.keys().copied().collect();
                let browsers: Vec<KeyHash> = cluster.tables.keys().copied().collect();
                keys.into_iter().try_for_each(|key| self.recall_naming(to, key))?;
                // One that came may be newer than the one that is known here.
                browsers.into_iter().try_for_each(|browser| self.recall_newest(to, browser))?;
            }
        }
        let params = [Value::from(root.0.as_slice())];
        let tables = self.partition.bygone("k = ?", &params)?;
        if !tables.is_empty() {
            self.partition.store.exec("DELETE FROM bygone WHERE k = ?", &params)?;
        }
        Ok(tables)
    }

    /// Gives tables that name nobody in their cluster rows of their own, once they are many.
    pub(super) fn put_bygone_by(&mut self) -> Result<(), StoreError> {
        let partition = self.partition;
        let exec = |sql: &str, (root, browser): (KeyHash, KeyHash), body: Option<Vec<u8>>| {
            let mut params = [root, browser].map(|key| Value::from(key.0.as_slice())).to_vec();
            params.extend(body.map(Value::Blob));
            partition.store.exec(sql, &params).map(drop)
        };
        let mut recalled = std::mem::take(&mut self.recalled);
        let roots: BTreeSet<KeyHash> = self.clusters.keys().copied().collect();
        for root in roots {
            let cluster = self.cluster(root)?;
            let mut bygone = cluster.bygone_tables();
            if bygone.len() <= partition.bygone_inline {
                bygone.clear();
            }
            for browser in bygone {
                let Some(table) = cluster.tables.remove(&browser) else { continue };
                if recalled.remove(&(root, browser)).as_ref() != Some(&table) {
                    exec("INSERT OR REPLACE INTO bygone VALUES (?, ?, ?)", (root, browser), Some(encode(&table)?))?;
                }
            }
        }
        // Those that the cluster's own row holds again.
        for place in recalled.into_keys() {
            exec("DELETE FROM bygone WHERE k = ? AND browser = ?", place, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::policy::Policy;
    use crate::key::{DeploymentKey, SlotMap};
    use crate::scoring::Model;
    use crate::store::native::Native;

    #[test]
    fn a_cluster_of_any_size_has_small_rows_and_reads_back() {
        let (store, model) = (Native::in_memory().unwrap(), Model::parse(Model::SHIPPED).unwrap());
        let key = DeploymentKey::new(b"wingbeat test deployment key 32b");
        let place = (0, SlotMap { partitions: 1 });
        let partition = Partition::open(store, place, key, Policy::default(), model, 1).unwrap();
        let root = KeyHash([1; 16]);
        let mut stored = 0;
        for keys in [10, 100_000, 50_000, 200_000, 3] {
            let mut cluster = Cluster::default();
            let firsts = (0..keys).map(|n: u128| (KeyHash(n.to_be_bytes()), 1_767_225_600_000));
            cluster.first_events.extend(firsts);
            let bytes = encode(&cluster).unwrap();
            partition.save_cluster(root, &bytes, stored).unwrap();
            stored = bytes.len();
            assert_eq!(partition.load_cluster(root).unwrap(), Some((cluster, bytes)));
            let sql =
                "SELECT max(length(body)) FROM (SELECT body FROM cluster UNION ALL SELECT body FROM cluster_more)";
            assert!(partition.store().query(sql, &[]).unwrap()[0].integer(0).unwrap() <= 1_000_000);
        }
        let more = partition.store().query("SELECT count(*) FROM cluster_more", &[]).unwrap();
        assert_eq!(more[0].integer(0).unwrap(), 0, "what a large one had is gone");
    }
}
