//! The Registry: one Durable Object for what a deployment decides once and frontends remember.

use crate::directory::{Directory, Site};
use crate::sql::ObjectStore;
use wingbeat_engine::store::{Store, StoreError, Value};
use worker::{DurableObject, Env, Method, Request, Response, Result, State, durable_object};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Slot map and sites.
#[durable_object(fetch)]
pub struct Registry {
    store: ObjectStore,
}

impl DurableObject for Registry {
    fn new(state: State, _env: Env) -> Self {
        Registry { store: ObjectStore::of(&state) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let answer = match (request.method(), request.path().as_str()) {
            (Method::Get, "/directory") => {
                let url = request.url()?;
                let wanted = url.query_pairs().find(|(name, _)| name == "partitions").and_then(|(_, n)| n.parse().ok());
                self.directory(wanted.unwrap_or(1))
            }
            (Method::Put, "/sites") => {
                let sites = request.text().await?;
                self.write("sites", &sites).map(|()| sites)
            }
            _ => return Response::error("the registry has no such path", 404),
        };
        answer.map_or_else(|error| Response::error(error.to_string(), 500), Response::ok)
    }
}

impl Registry {
    /// The number of partitions of the first start is kept for ever: another one would look for keys where they are not.
    fn directory(&self, wanted: u16) -> std::result::Result<String, StoreError> {
        let partitions = match self.read("partitions")? {
            Some(text) => text.parse().map_err(|_| StoreError(format!("partitions {text:?}")))?,
            None => {
                self.write("partitions", &wanted.to_string())?;
                wanted
            }
        };
        let sites: Vec<Site> = match self.read("sites")? {
            Some(text) => serde_json::from_str(&text).map_err(|error| StoreError(error.to_string()))?,
            None => Vec::new(),
        };
        serde_json::to_string(&Directory { partitions, sites }).map_err(|error| StoreError(error.to_string()))
    }

    fn read(&self, name: &str) -> std::result::Result<Option<String>, StoreError> {
        self.store.exec(TABLE, &[])?;
        let rows = self.store.query("SELECT body FROM meta WHERE name = ?", &[Value::from(name)])?;
        rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    fn write(&self, name: &str, body: &str) -> std::result::Result<(), StoreError> {
        self.store.exec(TABLE, &[])?;
        self.store.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[Value::from(name), Value::from(body)]).map(drop)
    }
}
