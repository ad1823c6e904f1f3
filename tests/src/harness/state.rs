//! What is in an instance's state folder: the deployment key, and the SQLite files of its partitions.

use super::Instance;
use data_encoding::HEXLOWER;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use wingbeat_engine::key::DeploymentKey;
use wingbeat_engine::partition::call::Place;
use wingbeat_engine::partition::decode;

/// What all keyed hashes of this instance are made with.
pub(crate) fn deployment_key(instance: &Instance) -> DeploymentKey {
    let secrets = fs::read(instance.state().join("secrets.json")).expect("the secrets are there");
    let secrets: Value = serde_json::from_slice(&secrets).expect("they are JSON");
    let hex = secrets["DEPLOYMENT_KEY"].as_str().expect("a key");
    DeploymentKey::new(&HEXLOWER.decode(hex.as_bytes()).expect("the key is hex"))
}

/// The database of a partition, by its number.
pub(crate) fn partition(instance: &Instance, number: u16) -> PathBuf {
    let found = databases(instance, "wingbeat-partition").into_iter().find(|file| {
        let read = |connection: &Connection| {
            connection.query_row("SELECT body FROM meta WHERE name = 'place'", [], |row| row.get::<_, Vec<u8>>(0))
        };
        let place = read(&open(file)).optional().expect("the database can be read");
        place.is_some_and(|place| decode::<Place>(&place).expect("a place").number == number)
    });
    found.unwrap_or_else(|| panic!("there is no partition {number}"))
}

/// The Registry's database.
pub(crate) fn registry(instance: &Instance) -> PathBuf {
    databases(instance, "wingbeat-registry").pop().expect("there is a Registry")
}

/// How many parcels wait in the outboxes of all partitions, whether the instance runs or not.
pub(crate) fn undelivered(instance: &Instance) -> i64 {
    let count = |file: &PathBuf| {
        open(file).query_row("SELECT count(*) FROM outbox", [], |row| row.get::<_, i64>(0)).expect("an outbox")
    };
    databases(instance, "wingbeat-partition").iter().map(count).sum()
}

fn databases(instance: &Instance, namespace: &str) -> Vec<PathBuf> {
    let folder = instance.state().join("objects").join(namespace);
    let files = fs::read_dir(folder).expect("the objects' folder").map(|entry| entry.expect("an entry").path());
    // Beside them lies what the runtime itself knows of a namespace.
    files.filter(|file| is_database(file)).collect()
}

fn is_database(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".sqlite") && name != "metadata.sqlite"
}

fn open(file: &Path) -> Connection {
    Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the database opens")
}
