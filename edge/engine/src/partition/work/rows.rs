//! Rows that a message touches: loaded once, written at the end.

use super::super::browser::Browser;
use super::super::cluster::Cluster;
use super::super::encode;
use super::super::message::{Ask, Message};
use super::{Loaded, Node, Work};
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};

impl<S: Store> Work<'_, S> {
    pub(in crate::partition) fn send(&mut self, key: KeyHash, ask: Ask) {
        self.send_all([Message { key, ask }]);
    }

    pub(in crate::partition) fn send_all(&mut self, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            if !self.partition.holds(message.key) {
                self.outgoing.push(message);
            } else if matches!(message.ask, Ask::Union(..)) {
                self.unions.push_back(message);
            } else {
                self.queue.push_back(message);
            }
        }
    }

    /// Loads a key's row. Whether there is one.
    pub(in crate::partition) fn load(&mut self, key: KeyHash) -> Result<bool, StoreError> {
        if self.nodes.contains_key(&key) {
            return Ok(true);
        }
        let Some((node, stored)) = self.partition.load_node(key)? else { return Ok(false) };
        self.nodes.insert(key, Loaded { value: node, stored: Some(stored) });
        Ok(true)
    }

    pub(in crate::partition) fn node(&mut self, key: KeyHash) -> Result<&mut Node, StoreError> {
        self.load(key)?;
        let node = self.nodes.get_mut(&key).map(|loaded| &mut loaded.value);
        node.ok_or_else(|| StoreError(format!("key {key:?} has no row")))
    }

    pub(in crate::partition) fn browser(&mut self, key: KeyHash) -> Result<&mut Browser, StoreError> {
        let browser = self.node(key)?.body.browser.as_mut();
        browser.ok_or_else(|| StoreError(format!("key {key:?} is no browser")))
    }

    /// Where the cluster of a key lives, as far as that is known here.
    pub(super) fn root(&mut self, key: KeyHash) -> Result<KeyHash, StoreError> {
        let mut root = key;
        loop {
            let next = if self.load(root)? { self.node(root)?.up } else { self.host(root)? };
            let Some(next) = next else { return Ok(root) };
            root = next;
        }
    }

    /// A key of ours in whose cluster a key of another partition is.
    pub(super) fn host(&mut self, guest: KeyHash) -> Result<Option<KeyHash>, StoreError> {
        if self.partition.holds(guest) {
            return Ok(None);
        }
        if !self.hosts.contains_key(&guest) {
            let sql = "SELECT host FROM guest WHERE k = ?";
            let rows = self.partition.store.query(sql, &[Value::from(guest.0.as_slice())])?;
            let host = rows.first().map(|row| row.blob(0)).transpose()?;
            self.hosts.insert(guest, host.and_then(|host| host.try_into().ok()).map(KeyHash));
        }
        Ok(self.hosts.get(&guest).copied().flatten())
    }

    /// Notes that a key of another partition is in a cluster here.
    pub(super) fn welcome(&mut self, guest: KeyHash, host: KeyHash) -> Result<(), StoreError> {
        if self.partition.holds(guest) || self.host(guest)?.is_some() {
            return Ok(());
        }
        let params = [guest, host].map(|key| Value::from(key.0.as_slice()));
        self.partition.store.exec("INSERT OR REPLACE INTO guest VALUES (?, ?)", &params)?;
        self.hosts.insert(guest, Some(host));
        Ok(())
    }

    pub(in crate::partition) fn cluster(&mut self, root: KeyHash) -> Result<&mut Cluster, StoreError> {
        if !self.clusters.contains_key(&root) {
            let (value, stored) = match self.partition.load_cluster(root)? {
                Some((cluster, stored)) => (cluster, Some(stored)),
                None => (Cluster::default(), None),
            };
            self.clusters.insert(root, Loaded { value, stored });
        }
        let cluster = self.clusters.get_mut(&root).map(|loaded| &mut loaded.value);
        cluster.ok_or_else(|| StoreError(format!("cluster {root:?} was not loaded")))
    }

    /// Writes what has changed.
    pub(super) fn write(&self) -> Result<(), StoreError> {
        let store = &self.partition.store;
        for (key, loaded) in &self.nodes {
            let node = &loaded.value;
            let body = encode(&(node.up, &node.body))?;
            if loaded.stored.as_ref() != Some(&body) {
                let params = [Value::from(key.0.as_slice()), Value::Integer(node.no), Value::Blob(body)];
                store.exec("INSERT OR REPLACE INTO node VALUES (?, ?, ?)", &params)?;
            }
        }
        for (root, loaded) in &self.clusters {
            let gone = loaded.value == Cluster::default();
            let body = encode(&loaded.value)?;
            if gone && loaded.stored.is_some() {
                self.partition.delete_cluster(*root)?;
            } else if !gone && loaded.stored.as_ref() != Some(&body) {
                let before = loaded.stored.as_ref().map_or(0, Vec::len);
                self.partition.save_cluster(*root, &body, before)?;
            }
        }
        Ok(())
    }
}
