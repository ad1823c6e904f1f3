//! What was asked by an `Idempotency-Key`: the same key with something else is a mistake of the caller, not another
//! decision.

use super::Partition;
use crate::key::KeyHash;
use crate::store::{Store, StoreError, Value};

impl<S: Store> Partition<S> {
    /// Keeps what is asked by a key, if nothing was asked by it before.
    pub(super) fn once(&self, key: KeyHash, print: &[u8]) -> Result<(), StoreError> {
        let params = [Value::from(key.0.as_slice()), Value::from(print)];
        self.store.exec("INSERT OR IGNORE INTO once VALUES (?, ?)", &params).map(drop)
    }

    /// What was first asked by a key.
    ///
    /// # Errors
    /// When the store fails.
    pub fn asked_once(&self, key: KeyHash) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.store.query("SELECT body FROM once WHERE k = ?", &[Value::from(key.0.as_slice())])?;
        rows.first().map(|row| row.blob(0).map(<[u8]>::to_vec)).transpose()
    }
}
