//! What links between domains stand for, in the Registry's SQLite: for a minute, and until somebody asks.

use serde::{Deserialize, Serialize};
use wingbeat_engine::store::{Store, StoreError, Value};

/// How long a link can be redeemed: from the click until the other page has loaded its scripts, on a slow network too.
pub(crate) const KEPT_MS: i64 = 60_000;

/// By time, so that what nobody asks for is forgotten without looking at the rest.
const TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS link (hash TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS link_by_time ON link (at)",
];

/// A link that a visitor has followed from one of a site's domains to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The hash of what stands for it in the address, which is never written down.
    pub(crate) hash: String,
    /// The site's key.
    pub(crate) site: String,
    /// Who followed it.
    pub(crate) visitor: String,
    /// The origin of the page that it stands on.
    pub(crate) from: String,
    /// The origin that it leads to.
    pub(crate) to: String,
}

/// Keeps a link. The first of a name counts.
pub(crate) fn keep(store: &impl Store, link: &str, now: i64) -> Result<(), StoreError> {
    let read: Link = serde_json::from_str(link).map_err(|error| StoreError(error.to_string()))?;
    make_tables(store)?;
    store.exec("DELETE FROM link WHERE at < ?", &[(now - KEPT_MS).into()])?;
    let row = [Value::from(read.hash.as_str()), now.into(), Value::from(link)];
    store.exec("INSERT OR IGNORE INTO link VALUES (?, ?, ?)", &row).map(drop)
}

/// The link whose name has this hash, as it was kept, which is forgotten by that; `null` if there is none, or it was too
/// long ago.
pub(crate) fn take(store: &impl Store, hash: &str, now: i64) -> Result<String, StoreError> {
    make_tables(store)?;
    let rows = store.query("DELETE FROM link WHERE hash = ? RETURNING at, body", &[Value::from(hash)])?;
    let Some(row) = rows.first() else { return Ok("null".to_owned()) };
    if row.integer(0)? < now - KEPT_MS { Ok("null".to_owned()) } else { row.text(1).map(str::to_owned) }
}

fn make_tables(store: &impl Store) -> Result<(), StoreError> {
    TABLES.iter().try_for_each(|table| store.exec(table, &[]).map(drop))
}
