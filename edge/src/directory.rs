//! What frontends remember of the Registry for a while, so that it is never on the path of an event.

use crate::auth::Scope;
use crate::error::{ApiError, Result};
use crate::link_table::Link;
use crate::now_ms;
use crate::token_store::{Generated, Order, Ordered};
use crate::{config, origin};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::key::SlotMap;
use worker::{Env, Method, Request, RequestInit};

/// How long a frontend goes by what it knows.
const KEEP_MS: i64 = 60_000;

/// The slot map, sites, tokens and the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// How many partitions there are; recorded at the first start of a deployment.
    pub(crate) partitions: u16,
    /// What identifies nobody, as the operator listed it at the first start.
    #[serde(default)]
    pub(crate) blocked: String,
    /// The version of the slot map: 0 until the first slot is moved.
    pub(crate) map: u64,
    /// The sites that may send.
    pub(crate) sites: Vec<Site>,
    /// The tokens that are known, hashed.
    pub(crate) tokens: Vec<Token>,
    /// Tokens for Currents that were in the runtime's secrets before, and are no longer: their SHA-256 in hex.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    /// The model that prospects are scored by.
    pub(crate) model: PublishedModel,
    /// What the operator has set by the API.
    #[serde(default)]
    pub(crate) settings: Settings,
    /// Who is told of changes.
    #[serde(default)]
    pub(crate) connections: Vec<Outgoing>,
}

/// A connection, as far as partitions need to know it: whom to tell of news, and how soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    /// Its id.
    pub(crate) id: String,
    /// How long after the first news, ms.
    pub(crate) debounce_ms: i64,
}

/// A token, by its hash: what it is stands nowhere but with whoever holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// SHA-256 in hex.
    pub(crate) sha256: String,
    /// What it is for.
    pub(crate) scopes: Vec<Scope>,
    /// The Braze workspace whose ids come with it; empty for the default one.
    #[serde(default)]
    pub(crate) workspace: String,
    /// Of one that was generated here.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// Until when it is good, ms. `None`: for as long as it is known.
    #[serde(default)]
    pub(crate) expires_at: Option<i64>,
}

/// `GET` and `PUT /api/settings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// What Braze's subscription groups are called, by id: Currents does not say.
    #[serde(default)]
    pub(crate) subscription_groups: BTreeMap<String, String>,
}

/// One version of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublishedModel {
    /// Counts from 1.
    pub(crate) version: u64,
    /// As it was given.
    pub(crate) model: serde_json::Value,
}

/// The version in force, and the draft beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// Counts from 1.
    pub(crate) version: u64,
    /// As it was given.
    pub(crate) model: serde_json::Value,
    /// When, ms.
    pub(crate) published_at: i64,
    /// What is being worked on.
    pub(crate) draft: Option<Draft>,
}

/// A model that is being worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// When it was saved, ms.
    pub(crate) saved_at: i64,
    /// As it was given.
    pub(crate) model: serde_json::Value,
}

/// A property of events that whoever writes rules has added: its name is the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddedProperty {
    /// JSON types that its values will have.
    pub(crate) types: Vec<String>,
    /// For people.
    pub(crate) note: Option<String>,
    /// When, ms.
    pub(crate) added_at: i64,
}

/// A site that embeds the tracker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Site {
    /// Public: it stands in the page.
    pub(crate) key: String,
    /// Whose pages may send: `https://www.example.com`.
    pub(crate) origins: Vec<String>,
    /// Every page on the machine that it runs on may, too: `npm start` says so, a deployment does not.
    #[serde(default)]
    pub(crate) loopback: bool,
}

impl Site {
    /// Whether pages of an origin may send.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed == origin) || (self.loopback && origin::is_loopback(origin))
    }
}

impl Directory {
    /// How slots lie.
    pub(crate) fn slots(&self) -> SlotMap {
        SlotMap { partitions: self.partitions }
    }

    /// The policy that events are read under. A list that is wrong is refused where the first partition is opened.
    pub(crate) fn policy(&self) -> Policy {
        Policy::default().with_blocked(&self.blocked).unwrap_or_default()
    }

    /// The name of a partition's Durable Object. Renaming would lose every row.
    pub(crate) fn object_name(partition: u16) -> String {
        format!("partition-{partition}")
    }
}

thread_local! {
    /// Plain data: nothing that belongs to one request may be kept for another (facts on Workers, B.5).
    static KNOWN: RefCell<Option<(i64, Directory)>> = const { RefCell::new(None) };
    /// When this isolate last noted that a token is used, ms, by its id.
    static USED: RefCell<BTreeMap<String, i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// The directory, at most a minute old.
pub(crate) async fn read(env: &Env) -> Result<Directory> {
    let known = KNOWN.with_borrow(Clone::clone);
    if let Some((at, directory)) = known
        && now_ms() - at < KEEP_MS
    {
        return Ok(directory);
    }
    let text = call(env, Method::Get, &format!("directory?partitions={}", config::partitions(env)), None).await?;
    let directory: Directory =
        serde_json::from_str(&text).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    KNOWN.replace(Some((now_ms(), directory.clone())));
    Ok(directory)
}

/// The directory, at most so old.
pub(crate) async fn read_within(env: &Env, age_ms: i64) -> Result<Directory> {
    KNOWN.with_borrow_mut(|known| known.take_if(|(at, _)| now_ms() - *at > age_ms));
    read(env).await
}

/// The directory as it is now.
pub(crate) async fn read_anew(env: &Env) -> Result<Directory> {
    KNOWN.replace(None);
    read(env).await
}

/// Replaces the sites. Other isolates go by the old ones for up to a minute.
pub(crate) async fn write_sites(env: &Env, sites: &[Site]) -> Result<()> {
    let body = serde_json::to_string(sites).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    call(env, Method::Put, "sites", Some(body)).await?;
    KNOWN.replace(None);
    Ok(())
}

/// Notes a connection, or what is new of it.
pub(crate) async fn write_connection(env: &Env, connection: &Outgoing) -> Result<()> {
    let body =
        serde_json::to_string(connection).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    call(env, Method::Put, "connections", Some(body)).await?;
    KNOWN.replace(None);
    Ok(())
}

/// Forgets a connection.
pub(crate) async fn remove_connection(env: &Env, id: &str) -> Result<()> {
    call(env, Method::Delete, "connections", Some(id.to_owned())).await?;
    KNOWN.replace(None);
    Ok(())
}

/// The tokens that were generated here, newest first.
pub(crate) async fn generated_tokens(env: &Env) -> Result<Vec<Generated>> {
    read_answer(&call(env, Method::Get, "tokens", None).await?)
}

/// Keeps a token.
pub(crate) async fn keep_token(env: &Env, order: &Order) -> Result<Ordered> {
    let body = serde_json::to_string(order).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    let ordered = read_answer(&call(env, Method::Post, "tokens", Some(body)).await?)?;
    KNOWN.replace(None);
    Ok(ordered)
}

/// Forgets a token; other isolates go by it for up to a minute. Answers whether there was one.
pub(crate) async fn revoke_token(env: &Env, id: &str) -> Result<bool> {
    let known = read_answer(&call(env, Method::Delete, &format!("tokens?id={id}"), None).await?)?;
    KNOWN.replace(None);
    Ok(known)
}

/// Notes that a token is being used: once a minute, so that this is no write for each request.
pub(crate) async fn note_use(env: &Env, id: &str) {
    let now = now_ms();
    let last = USED.with_borrow(|used| used.get(id).copied());
    if last.is_some_and(|last| now - last < KEEP_MS) {
        return;
    }
    USED.with_borrow_mut(|used| used.insert(id.to_owned(), now));
    // It has been logged; the request goes on.
    let _ = call(env, Method::Post, &format!("used?id={id}&at={now}"), None).await;
}

/// The version in force and the draft, as they are now.
pub(crate) async fn published(env: &Env) -> Result<Published> {
    read_answer(&call(env, Method::Get, "model", None).await?)
}

/// Saves the draft, which has been read and found to be a model.
pub(crate) async fn save_draft(env: &Env, model: &str, now: i64) -> Result<()> {
    call(env, Method::Put, &format!("draft?at={now}"), Some(model.to_owned())).await.map(drop)
}

pub(crate) async fn delete_draft(env: &Env) -> Result<()> {
    call(env, Method::Delete, "draft", None).await.map(drop)
}

/// What is to become the next version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// The draft; if a fingerprint is given, only if it is of that.
    Draft(Option<String>),
    /// The content of an earlier version.
    Version(i64),
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Publishing {
    Done(PublishedModel),
    /// There is no such version, or no draft.
    Nothing,
    /// The draft is another than the one that was meant.
    AnotherDraft,
}

/// Makes the draft, or the content of an earlier version, the next version.
pub(crate) async fn publish(env: &Env, wanted: &Wanted, now: i64) -> Result<Publishing> {
    let body = serde_json::to_string(wanted).map_err(|error| ApiError::unavailable("nothing was published", error))?;
    let published = read_answer(&call(env, Method::Post, &format!("publish?at={now}"), Some(body)).await?)?;
    KNOWN.replace(None);
    Ok(published)
}

/// All versions, newest first, as the API shows them.
pub(crate) async fn versions(env: &Env) -> Result<Vec<serde_json::Value>> {
    read_answer(&call(env, Method::Get, "versions", None).await?)
}

/// One version with its content, as the API shows it.
pub(crate) async fn version(env: &Env, version: u64) -> Result<Option<serde_json::Value>> {
    read_answer(&call(env, Method::Get, &format!("version?version={version}"), None).await?)
}

/// The properties that were added, by name.
pub(crate) async fn added_properties(env: &Env) -> Result<BTreeMap<String, AddedProperty>> {
    read_answer(&call(env, Method::Get, "properties", None).await?)
}

/// Adds properties, each in the place of one of its name. Answers whether there was room.
pub(crate) async fn add_properties(env: &Env, added: &BTreeMap<String, AddedProperty>) -> Result<bool> {
    let body = serde_json::to_string(added).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    read_answer(&call(env, Method::Post, "properties", Some(body)).await?)
}

/// Takes back a property that was added. Answers whether there was one.
pub(crate) async fn remove_property(env: &Env, name: &str) -> Result<bool> {
    read_answer(&call(env, Method::Delete, "properties", Some(name.to_owned())).await?)
}

fn read_answer<T: for<'d> Deserialize<'d>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| ApiError::unavailable("the registry failed", error))
}

/// Replaces the settings. Other isolates go by the old ones for up to a minute.
pub(crate) async fn write_settings(env: &Env, settings: &Settings) -> Result<()> {
    let body = serde_json::to_string(settings).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    call(env, Method::Put, "settings", Some(body)).await?;
    KNOWN.replace(None);
    Ok(())
}

/// Keeps what a link between two domains stands for, for [`crate::link_table::KEPT_MS`].
pub(crate) async fn keep_link(env: &Env, link: &Link) -> Result<()> {
    let body = serde_json::to_string(link).map_err(|error| ApiError::unavailable("the registry failed", error))?;
    call(env, Method::Put, "link", Some(body)).await.map(drop)
}

/// What a link stands for, by the hash of its name, once: then it is forgotten. `None` if there is no such, or none any
/// more.
pub(crate) async fn take_link(env: &Env, hash: &str) -> Result<Option<Link>> {
    read_answer(&call(env, Method::Delete, "link", Some(hash.to_owned())).await?)
}

async fn call(env: &Env, method: Method, path: &str, body: Option<String>) -> Result<String> {
    let failed = |cause: worker::Error| ApiError::unavailable("the registry failed", cause);
    let mut init = RequestInit::new();
    init.with_method(method).with_body(body.map(Into::into));
    let request = Request::new_with_init(&format!("https://registry/{path}"), &init).map_err(failed)?;
    let stub =
        env.durable_object("REGISTRY").and_then(|namespace| namespace.get_by_name("registry")).map_err(failed)?;
    let mut response = stub.fetch_with_request(request).await.map_err(failed)?;
    let text = response.text().await.map_err(failed)?;
    if response.status_code() != 200 {
        return Err(ApiError::unavailable("the registry failed", text));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_names() {
        assert_eq!(Directory::object_name(3), "partition-3");
    }
}
