//! The Registry: one Durable Object for what a deployment decides once and frontends remember.

use crate::auth::Scope;
use crate::config;
use crate::directory::{
    AddedProperty, Directory, Draft, Outgoing, Published, PublishedModel, Publishing, Settings, Site, Token, Wanted,
};
use crate::link_table;
use crate::now_ms;
use crate::sql::ObjectStore;
use crate::token_store::Tokens;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use wingbeat_engine::partition::backtest::fingerprint;
use wingbeat_engine::scoring::Model;
use wingbeat_engine::store::{Row, Store, StoreError, Value};
use worker::{DurableObject, Env, Method, Request, Response, Result, State, durable_object};

/// Every version that was ever published.
const VERSIONS: &str =
    "CREATE TABLE IF NOT EXISTS model (version INTEGER PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL) STRICT";
const TABLE: &str = "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Of how many of the runtime's secrets it is remembered that they were tokens for Currents.
const SECRETS_REMEMBERED_MAX: usize = 200;
/// How many properties may be added by hand. With the longest names and notes that is 1 MB of a row of at most 2.
const PROPERTIES_MAX: usize = 500;

/// Slot map, sites, tokens, model; links between domains, for a minute each.
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
                let connection: Outgoing = request.json().await?;
                self.set_connection(&connection.id.clone(), Some(connection))
            }
            (Method::Delete, "/connections") => {
                let id = request.text().await?;
                self.set_connection(&id, None)
            }
            (Method::Get, "/tokens") => self.generated(),
            (Method::Post, "/tokens") => {
                let order = request.json().await?;
                Tokens(&self.store).keep(order).and_then(|ordered| serde_json::to_string(&ordered).map_err(failed))
            }
            (Method::Delete, "/tokens") => {
                let id = text(&request, "id")?;
                Tokens(&self.store).revoke(&id).map(|known| known.to_string())
            }
            (Method::Post, "/used") => {
                let (id, at) = (text(&request, "id")?, number(&request, "at")?);
                Tokens(&self.store).used(&id, at.unwrap_or_default()).map(|()| String::new())
            }
            (Method::Get, "/model") => self.published(),
            (Method::Put, "/draft") => {
                let (at, model) = (number(&request, "at")?, request.text().await?);
                let draft = format!("{{\"saved_at\":{},\"model\":{model}}}", at.unwrap_or_default());
                self.write("draft", &draft).map(|()| String::new())
            }
            (Method::Delete, "/draft") => self.forget("draft").map(|()| String::new()),
            (Method::Post, "/publish") => {
                let (at, wanted) = (number(&request, "at")?, request.json().await?);
                self.publish(&wanted, at.unwrap_or_default())
            }
            (Method::Get, "/versions") => self.versions(),
            (Method::Get, "/version") => self.version(number(&request, "version")?.unwrap_or_default()),
            (Method::Get, "/properties") => {
                self.properties().and_then(|added| serde_json::to_string(&added).map_err(failed))
            }
            (Method::Post, "/properties") => {
                let added = request.json().await?;
                self.add_properties(added).map(|fits| fits.to_string())
            }
            (Method::Delete, "/properties") => {
                let name = request.text().await?;
                self.remove_property(&name).map(|known| known.to_string())
            }
            (Method::Put, "/settings") => {
                let settings = request.text().await?;
                self.write("settings", &settings).map(|()| settings)
            }
            (Method::Put, "/link") => {
                let link = request.text().await?;
                link_table::keep(&self.store, &link, now_ms()).map(|()| String::new())
            }
            (Method::Delete, "/link") => {
                let hash = request.text().await?;
                link_table::take(&self.store, &hash, now_ms())
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
        // As the partitions keep it: what events are recorded under must not change under the same events sent again.
        let blocked = match self.read("blocked")? {
            Some(known) => known,
            None => {
                let wanted = config::blocked(&self.env);
                self.write("blocked", &wanted)?;
                wanted
            }
        };
        let map = match self.read("map")? {
            Some(text) => text.parse().map_err(|_| StoreError(format!("map {text:?}")))?,
            None => 0,
        };
        let connections = self.connections()?;
        let tokens = self.tokens()?;
        let directory = Directory {
            partitions,
            blocked,
            map,
            sites: self.sites()?,
            missing: self.missing(&tokens)?,
            tokens,
            model: self.model()?,
            settings: self.settings()?,
            connections,
        };
        serde_json::to_string(&directory).map_err(|error| StoreError(error.to_string()))
    }

    fn connections(&self) -> std::result::Result<Vec<Outgoing>, StoreError> {
        let text = self.read("connections")?.unwrap_or_else(|| "[]".to_owned());
        serde_json::from_str(&text).map_err(|error| StoreError(error.to_string()))
    }

    /// One by one, so that callers who set others at the same time lose nothing of each other's.
    fn set_connection(&self, id: &str, connection: Option<Outgoing>) -> std::result::Result<String, StoreError> {
        let mut connections = self.connections()?;
        connections.retain(|known| known.id != id);
        connections.extend(connection);
        connections.sort_by(|one, other| one.id.cmp(&other.id));
        let text = serde_json::to_string(&connections).map_err(|error| StoreError(error.to_string()))?;
        self.write("connections", &text).map(|()| text)
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

    /// The operator's tokens, hashed: the secrets themselves are the runtime's to keep. And those that were generated here.
    fn tokens(&self) -> std::result::Result<Vec<Token>, StoreError> {
        let of_admin = config::variable(&self.env, "ADMIN_TOKEN").map(|secret| Token {
            sha256: hash(&secret),
            scopes: vec![Scope::Admin, Scope::Read, Scope::Write, Scope::Events, Scope::Currents],
            ..Token::default()
        });
        let of_workspaces = config::currents_tokens(&self.env).known.into_iter().map(|(workspace, secret)| Token {
            sha256: hash(&secret),
            scopes: vec![Scope::Currents],
            workspace,
            ..Token::default()
        });
        let generated = Tokens(&self.store).all()?.into_iter().map(|token| Token {
            sha256: token.sha256,
            scopes: token.scopes,
            workspace: token.workspace,
            id: Some(token.id),
            expires_at: token.expires_at,
        });
        Ok(of_admin.into_iter().chain(of_workspaces).chain(generated).collect())
    }

    /// Which tokens for Currents the runtime's secrets have lost: whoever sends one of these is to go on trying.
    fn missing(&self, tokens: &[Token]) -> std::result::Result<Vec<String>, StoreError> {
        let is_secret = |token: &&Token| token.id.is_none() && !token.scopes.contains(&Scope::Admin);
        let now: Vec<&String> = tokens.iter().filter(is_secret).map(|token| &token.sha256).collect();
        let text = self.read("currents_secrets")?.unwrap_or_else(|| "[]".to_owned());
        let mut known: Vec<String> = serde_json::from_str(&text).map_err(failed)?;
        let new: Vec<String> = now.iter().filter(|hash| !known.contains(hash)).map(|hash| (*hash).clone()).collect();
        if !new.is_empty() {
            known.extend(new);
            known.drain(..known.len().saturating_sub(SECRETS_REMEMBERED_MAX));
            self.write("currents_secrets", &serde_json::to_string(&known).map_err(failed)?)?;
        }
        known.retain(|hash| !now.contains(&hash));
        Ok(known)
    }

    fn generated(&self) -> std::result::Result<String, StoreError> {
        serde_json::to_string(&Tokens(&self.store).all()?).map_err(failed)
    }

    fn settings(&self) -> std::result::Result<Settings, StoreError> {
        let text = self.read("settings")?;
        text.map_or_else(|| Ok(Settings::default()), |text| serde_json::from_str(&text))
            .map_err(|error| StoreError(error.to_string()))
    }

    /// The properties that were added for those who write rules.
    fn properties(&self) -> std::result::Result<BTreeMap<String, AddedProperty>, StoreError> {
        let text = self.read("properties")?;
        text.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(&text)).map_err(failed)
    }

    /// Adds some, if there is room.
    fn add_properties(&self, added: BTreeMap<String, AddedProperty>) -> std::result::Result<bool, StoreError> {
        let mut properties = self.properties()?;
        properties.extend(added);
        let fits = properties.len() <= PROPERTIES_MAX;
        if fits {
            self.write("properties", &serde_json::to_string(&properties).map_err(failed)?)?;
        }
        Ok(fits)
    }

    fn remove_property(&self, name: &str) -> std::result::Result<bool, StoreError> {
        let mut properties = self.properties()?;
        let known = properties.remove(name).is_some();
        if known {
            self.write("properties", &serde_json::to_string(&properties).map_err(failed)?)?;
        }
        Ok(known)
    }

    /// The newest version of the model; the shipped one is version 1, as it was at the first start.
    fn model(&self) -> std::result::Result<PublishedModel, StoreError> {
        let (version, _, text) = self.newest()?;
        serde_json::from_str(&text).map(|model| PublishedModel { version, model }).map_err(failed)
    }

    /// The newest version: its number, when it was published, and its text.
    fn newest(&self) -> std::result::Result<(u64, i64, String), StoreError> {
        self.store.exec(VERSIONS, &[])?;
        let rows = self.store.query("SELECT version, at, body FROM model ORDER BY version DESC LIMIT 1", &[])?;
        if let Some(row) = rows.first() {
            return Ok((row.integer(0)?.unsigned_abs(), row.integer(1)?, row.text(2)?.to_owned()));
        }
        let now = now_ms();
        self.add_version(1, now, Model::SHIPPED)?;
        Ok((1, now, Model::SHIPPED.to_owned()))
    }

    fn add_version(&self, version: u64, at: i64, text: &str) -> std::result::Result<(), StoreError> {
        let version = Value::Integer(i64::try_from(version).unwrap_or(i64::MAX));
        self.store.exec("INSERT INTO model VALUES (?, ?, ?)", &[version, at.into(), Value::from(text)]).map(drop)
    }

    /// The version in force and the draft.
    fn published(&self) -> std::result::Result<String, StoreError> {
        let (version, published_at, text) = self.newest()?;
        let draft = self.read("draft")?.map(|text| serde_json::from_str::<Draft>(&text)).transpose().map_err(failed)?;
        let model = serde_json::from_str(&text).map_err(failed)?;
        serde_json::to_string(&Published { version, model, published_at, draft }).map_err(failed)
    }

    /// Makes the draft, or the content of an earlier version, the next version.
    fn publish(&self, wanted: &Wanted, at: i64) -> std::result::Result<String, StoreError> {
        let done = self.store.atomically(|| {
            let (newest, _, _) = self.newest()?;
            let text = match wanted {
                Wanted::Version(version) => self.text_of(*version)?.map(|(_, text)| text),
                Wanted::Draft(_) => {
                    let draft = self.read("draft")?.map(|text| serde_json::from_str::<Draft>(&text)).transpose();
                    draft.map_err(failed)?.map(|draft| draft.model.to_string())
                }
            };
            let Some(text) = text else { return Ok(Publishing::Nothing) };
            if matches!(wanted, Wanted::Draft(Some(meant)) if *meant != fingerprint(&text)) {
                return Ok(Publishing::AnotherDraft);
            }
            if Model::parse(&text).is_err() {
                // It was a model when it was saved, or published: a later release takes no such any more.
                return Err(StoreError("what is to be published is no model to this release".to_owned()));
            }
            self.add_version(newest + 1, at, &text)?;
            if matches!(wanted, Wanted::Draft(_)) {
                self.forget("draft")?;
            }
            let model = serde_json::from_str(&text).map_err(failed)?;
            Ok(Publishing::Done(PublishedModel { version: newest + 1, model }))
        })?;
        serde_json::to_string(&done).map_err(failed)
    }

    fn text_of(&self, version: i64) -> std::result::Result<Option<(i64, String)>, StoreError> {
        self.newest()?;
        let rows = self.store.query("SELECT at, body FROM model WHERE version = ?", &[version.into()])?;
        rows.first().map(|row| Ok((row.integer(0)?, row.text(1)?.to_owned()))).transpose()
    }

    fn versions(&self) -> std::result::Result<String, StoreError> {
        self.newest()?;
        let rows = self.store.query("SELECT version, at, body FROM model ORDER BY version DESC", &[])?;
        let show = |row: &Row| {
            let mut shown = show(row.integer(0)?, row.integer(1)?, row.text(2)?)?;
            // A list of all contents would be larger than any answer should be.
            shown.remove("model");
            Ok(shown.into())
        };
        let items = rows.iter().map(show).collect::<std::result::Result<Vec<serde_json::Value>, StoreError>>()?;
        serde_json::to_string(&items).map_err(failed)
    }

    fn version(&self, version: i64) -> std::result::Result<String, StoreError> {
        let Some((at, text)) = self.text_of(version)? else { return Ok("null".to_owned()) };
        serde_json::to_string(&show(version, at, &text)?).map_err(failed)
    }

    fn read(&self, name: &str) -> std::result::Result<Option<String>, StoreError> {
        self.store.exec(TABLE, &[])?;
        let rows = self.store.query("SELECT body FROM meta WHERE name = ?", &[Value::from(name)])?;
        rows.first().map(|row| row.text(0).map(str::to_owned)).transpose()
    }

    fn forget(&self, name: &str) -> std::result::Result<(), StoreError> {
        self.store.exec(TABLE, &[])?;
        self.store.exec("DELETE FROM meta WHERE name = ?", &[Value::from(name)]).map(drop)
    }

    fn write(&self, name: &str, body: &str) -> std::result::Result<(), StoreError> {
        self.store.exec(TABLE, &[])?;
        self.store.exec("INSERT OR REPLACE INTO meta VALUES (?, ?)", &[Value::from(name), Value::from(body)]).map(drop)
    }
}

/// A version as the API shows it: with name, note and author, which are for people.
fn show(
    version: i64,
    at: i64,
    text: &str,
) -> std::result::Result<serde_json::Map<String, serde_json::Value>, StoreError> {
    let model: serde_json::Value = serde_json::from_str(text).map_err(failed)?;
    Ok(serde_json::Map::from_iter([
        ("version".to_owned(), version.into()),
        ("published_at".to_owned(), wingbeat_engine::time::show(at).into()),
        ("name".to_owned(), model.get("name").cloned().unwrap_or_default()),
        ("note".to_owned(), model.get("note").cloned().unwrap_or_default()),
        ("author".to_owned(), model.get("author").cloned().unwrap_or_default()),
        ("model".to_owned(), model),
    ]))
}

/// A number in the query of a request to this object.
fn number(request: &Request, name: &str) -> Result<Option<i64>> {
    Ok(request.url()?.query_pairs().find(|(known, _)| known == name).and_then(|(_, number)| number.parse().ok()))
}

fn text(request: &Request, name: &str) -> Result<String> {
    let url = request.url()?;
    let found = url.query_pairs().find(|(known, _)| known == name).map(|(_, text)| text.into_owned());
    Ok(found.unwrap_or_default())
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError(error.to_string())
}

pub(crate) fn hash(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}
