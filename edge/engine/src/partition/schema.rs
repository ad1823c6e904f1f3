//! Tables of a partition, as numbered migrations. A migration that has run anywhere is never changed.
//!
//! Rows written are what a deployment pays for, so each table is chosen by what a write of it bills (README, storage):
//! few secondary indices, and small ones, `WITHOUT ROWID` wherever the key is not an integer, one packed `body` per row.
//! `no` is a key's short number: slot (12 bits) << 36 | counter, so that it stays under 2^53 and carries its slot.

use crate::store::{Store, StoreError, Value};

const MIGRATIONS: &[&[&str]] = &[FIRST, STARS, ERASURES, DUE, VERSIONS, INTAKE, LARGE_CLUSTERS, ONCE, ONE_FEED];

const FIRST: &[&str] = &[
    // A key: its short number; the pointer to the cluster it has gone to, and what it knows (facts and claims about a
    // person; claims, table and versions of a browser).
    "CREATE TABLE node (k BLOB PRIMARY KEY, no INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
    // Grouped by the key that recorded them: joining and separating people rewrites no event.
    "CREATE TABLE event (rec INTEGER, at INTEGER, id TEXT, rx INTEGER NOT NULL, body BLOB NOT NULL,
       PRIMARY KEY (rec, at, id)) STRICT, WITHOUT ROWID",
    // What facts ever linked, at its smallest key.
    "CREATE TABLE cluster (k BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
    // A prospect: order keys of up to four scores, and everything else packed. `due`: when something next changes by
    // itself.
    "CREATE TABLE person (no INTEGER PRIMARY KEY, a0 REAL, a1 REAL, a2 REAL, a3 REAL,
       active_at INTEGER, born INTEGER, due INTEGER, state BLOB NOT NULL) STRICT",
    // One row per commit that changed prospects.
    "CREATE TABLE feed (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    // What must not be lost to a reader who falls behind.
    "CREATE TABLE notice (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
    // Messages to other partitions, written with their cause.
    "CREATE TABLE outbox (id INTEGER PRIMARY KEY, dest INTEGER NOT NULL, body BLOB NOT NULL) STRICT",
    // Records that could not be read, by the keyed hash of their bytes: a repeat is the same row.
    "CREATE TABLE dead (k BLOB PRIMARY KEY, rx INTEGER NOT NULL, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
];

const STARS: &[&str] = &[
    // Facts and claims at a key that more share than its own row should hold: the primary key is their rank.
    "CREATE TABLE star (k BLOB, class INTEGER, at INTEGER, other BLOB, body BLOB NOT NULL,
       PRIMARY KEY (k, class, at, other)) STRICT, WITHOUT ROWID",
    // A secondary index: a message that comes again, or out of order, must find what it is about at another rank.
    "CREATE INDEX star_other ON star (k, other)",
];

const ERASURES: &[&str] = &[
    // Receipts: hashes and times, nothing of anybody.
    "CREATE TABLE erasure (id TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
    // For a key of another partition whose cluster is here: a key of ours in it. Without this, events that are here already
    // would be sent to that key's owner, to come back.
    "CREATE TABLE guest (k BLOB PRIMARY KEY, host BLOB NOT NULL) STRICT, WITHOUT ROWID",
];

/// What happens without an event.
const DUE: &[&str] = &[
    // Whose time has come, without a look at everybody: an entry only for who will change by themselves.
    "CREATE INDEX person_due ON person (due) WHERE due IS NOT NULL",
    // Everybody is looked at once: no earlier release noted when they are due.
    "UPDATE person SET due = 0",
    // Lines of the feed did not say when and through what; nothing has ever read them.
    "DELETE FROM feed",
];

/// Versions of the model.
const VERSIONS: &[&str] = &[
    // By which version a prospect is folded: while all are folded anew, lists go through each version by itself.
    "ALTER TABLE person ADD COLUMN model INTEGER NOT NULL DEFAULT 1",
    // Who crosses a stage under a draft, in (0) or out (1).
    "CREATE TABLE crossing (stage TEXT, way INTEGER, no INTEGER, body BLOB NOT NULL,
       PRIMARY KEY (stage, way, no)) STRICT, WITHOUT ROWID",
    // Names of properties that events had.
    "CREATE TABLE property (name TEXT PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
];

const INTAKE: &[&str] = &[
    // What came from Currents, by hour of receipt (since 1970) and type.
    "CREATE TABLE intake (hour INTEGER, type TEXT, received INTEGER NOT NULL, duplicate INTEGER NOT NULL,
       rejected INTEGER NOT NULL, no_email INTEGER NOT NULL, bot INTEGER NOT NULL,
       PRIMARY KEY (hour, type)) STRICT, WITHOUT ROWID",
];

const LARGE_CLUSTERS: &[&str] = &[
    // What a cluster's row has no room for: the rest of its bytes, in order.
    "CREATE TABLE cluster_more (k BLOB, part INTEGER, body BLOB NOT NULL, PRIMARY KEY (k, part)) STRICT, WITHOUT ROWID",
    // Time tables that name nobody in a cluster any more: a guard against older copies of them, looked up by browser.
    "CREATE TABLE bygone (k BLOB, browser BLOB, body BLOB NOT NULL, PRIMARY KEY (k, browser)) STRICT, WITHOUT ROWID",
];

const ONCE: &[&str] = &[
    // By the keyed hash of an `Idempotency-Key`, that of what was first asked by it.
    "CREATE TABLE once (k BLOB PRIMARY KEY, body BLOB NOT NULL) STRICT, WITHOUT ROWID",
];

/// Notices have become part of the feed's lines: read by themselves, they were told in another order than it happened.
const ONE_FEED: &[&str] = &[
    // When a line was written, ms: by this it is forgotten, whatever the times of what it tells.
    "ALTER TABLE feed ADD COLUMN at INTEGER NOT NULL DEFAULT 0",
    // An empty line in place of the newest: numbers go on, and whoever had not read it is shown everybody again.
    "DELETE FROM feed WHERE seq < (SELECT max(seq) FROM feed)",
    "UPDATE feed SET seq = seq + 1, body = x'828080'",
    "DROP TABLE notice",
];

/// Brings a store to the newest schema. Answers the number of migrations that it now has.
///
/// # Errors
/// When SQLite refuses, or the store was written by a newer release than this.
pub fn migrate<S: Store>(store: &S) -> Result<usize, StoreError> {
    let tables = store.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'meta'", &[])?;
    let done = if tables.is_empty() { 0 } else { schema_number(store)? };
    if done > MIGRATIONS.len() {
        return Err(StoreError(format!("schema {done} is newer than this release, which knows {}", MIGRATIONS.len())));
    }
    for (number, statements) in MIGRATIONS.iter().enumerate().skip(done) {
        store.atomically(|| {
            for statement in *statements {
                store.exec(statement, &[])?;
            }
            let number = (number + 1).to_string();
            let body = Value::Blob(number.into_bytes());
            store.exec("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", &[body])?;
            Ok::<(), StoreError>(())
        })?;
    }
    Ok(MIGRATIONS.len())
}

fn schema_number<S: Store>(store: &S) -> Result<usize, StoreError> {
    let rows = store.query("SELECT body FROM meta WHERE name = 'schema'", &[])?;
    let row = rows.first().ok_or_else(|| StoreError("meta has no schema number".into()))?;
    let text = String::from_utf8_lossy(row.blob(0)?).into_owned();
    text.parse().map_err(|_| StoreError(format!("schema number {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::native::Native;

    #[test]
    fn migrating_twice_changes_nothing_and_a_newer_store_is_refused() {
        let store = Native::in_memory().unwrap();
        assert_eq!(migrate(&store), migrate(&store));
        store.exec("UPDATE meta SET body = ? WHERE name = 'schema'", &[Value::Blob(b"99".to_vec())]).unwrap();
        assert!(migrate(&store).unwrap_err().to_string().contains("newer"));
    }
}
