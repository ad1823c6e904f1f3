//! The Registry: one Durable Object for what a deployment decides once and frontends remember.

use crate::auth::Scope;
use crate::config;
use crate::directory::{Directory, PublishedModel, Site, Token};
use crate::sql::ObjectStore;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use wingbeat_engine::scoring::Model;
use wingbeat_engine::store::{Store, StoreError, Value};
use worker::{DurableObject, Env, Method, Request, Response, Result, State, durable_object};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Slot map, sites, tokens, model.
#[durable_object(fetch)]
pub struct Registry {
    store: ObjectStore,
    env: Env,
}

impl DurableObject for Registry {
    fn new(state: State, env: Env) -> Self {
        Registry { store: ObjectStore::of(&state), env }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let answer = match (request.method(), request.path().as_str()) {
            (Method::Get, "/directory") => {
                let url = request.url()?;
                let wanted = url.query_pairs().find(|(name, _)| name == "partitions").and_then(|(_, n)| n.parse().ok());
                match wanted {
                    Some(wanted) => self.directory(wanted),
                    None => Err(StoreError("a frontend asks with the number of partitions to start with".to_owned())),
                }
            }
            (Method::Put, "/sites") => {
                let sites = request.text().await?;
                self.write("sites", &sites).map(|()| sites)
            }
            (Method::Put, "/connections") => {
                let connections = request.text().await?;
                self.write("connections", &connections).map(|()| connections)
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
        let map = match self.read("map")? {
            Some(text) => text.parse().map_err(|_| StoreError(format!("map {text:?}")))?,
            None => 0,
        };
        let connections = match self.read("connections")? {
            Some(text) => serde_json::from_str(&text).map_err(|error| StoreError(error.to_string()))?,
            None => Vec::new(),
        };
        let directory =
            Directory { partitions, map, sites: self.sites()?, tokens: self.tokens(), model: self.model()?, connections };
        serde_json::to_string(&directory).map_err(|error| StoreError(error.to_string()))
    }

    /// The sites that were set, and the one of the deployment's own key.
    fn sites(&self) -> std::result::Result<Vec<Site>, StoreError> {
        let mut sites: Vec<Site> = match self.read("sites")? {
            Some(text) => serde_json::from_str(&text).map_err(|error| StoreError(error.to_string()))?,
            None => Vec::new(),
        };
        let loopback = config::is_demo(&self.env);
        if let Some(key) = config::variable(&self.env, "SITE_KEY") {
            match sites.iter_mut().find(|site| site.key == key) {
                Some(own) => own.loopback = loopback,
                None => sites.push(Site { key, origins: Vec::new(), loopback }),
            }
        }
        Ok(sites)
    }

    /// The operator's tokens, hashed: the secrets themselves are the runtime's to keep.
    fn tokens(&self) -> Vec<Token> {
        let secrets = [
            ("ADMIN_TOKEN", vec![Scope::Admin, Scope::Read, Scope::Write, Scope::Currents]),
            ("CURRENTS_TOKEN", vec![Scope::Currents]),
        ];
        let known = secrets.into_iter().filter_map(|(name, scopes)| {
            let secret = config::variable(&self.env, name)?;
            Some(Token { sha256: HEXLOWER.encode(&Sha256::digest(secret.as_bytes())), scopes })
        });
        known.collect()
    }

    /// The newest version of the model; the shipped one is version 1, as it was at the first start.
    fn model(&self) -> std::result::Result<PublishedModel, StoreError> {
        let text = match self.read("model")? {
            Some(text) => text,
            None => {
                let shipped = format!("{{\"version\":1,\"model\":{}}}", Model::SHIPPED);
                self.write("model", &shipped)?;
                shipped
            }
        };
        serde_json::from_str(&text).map_err(|error| StoreError(error.to_string()))
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
