//! What an operator sets of a connection, and how it is kept: the key sealed, everything else as it is.

use crate::error::{ApiError, Result};
use crate::{config, seal};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wingbeat_engine::destinations::braze::answer::shown;
use wingbeat_engine::destinations::braze::host;
use wingbeat_engine::destinations::braze::settings::{BadSetting, LookUp, Pace, WriteBack};
use worker::Env;

/// The sort of connections that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Braze,
}

/// A connection without its secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Connection {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default = "yes")]
    pub(crate) on: bool,
    /// Deliveries are made up and shown, but not sent.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Whose external ids and Braze ids are meant; the default workspace is empty.
    #[serde(default)]
    pub(crate) workspace: String,
    pub(crate) rest_endpoint: String,
    #[serde(default)]
    pub(crate) write_back: WriteBack,
    #[serde(default)]
    pub(crate) look_up: LookUp,
    #[serde(default)]
    pub(crate) pace: Pace,
}

/// A connection as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) connection: Connection,
    sealed_key: String,
    /// All that is ever shown of the key.
    pub(crate) shown_key: String,
}

fn yes() -> bool {
    true
}

impl Connection {
    /// Whether everybody must be looked at again after this has become `self`.
    pub(crate) fn asks_otherwise_than(&self, before: &Connection) -> bool {
        (&self.workspace, &self.write_back, &self.look_up, self.on, self.dry_run)
            != (&before.workspace, &before.write_back, &before.look_up, before.on, before.dry_run)
    }
}

impl Kept {
    /// Reads what an operator has sent. The key may be left out where it is known and stays at its endpoint.
    pub(crate) fn read(env: &Env, id: &str, mut body: Value, before: Option<&Kept>) -> Result<Kept> {
        let object = body.as_object_mut().ok_or_else(|| ApiError::invalid_field("", "a connection is an object"))?;
        let key = object.remove("api_key");
        // What we show beside the settings may come back with them.
        object.remove("status");
        object.insert("id".to_owned(), id.into());
        let connection: Connection =
            serde_json::from_value(body).map_err(|error| ApiError::invalid_field("", error.to_string()))?;
        let endpoint = host::rest_endpoint(&connection.rest_endpoint, config::is_demo(env))
            .map_err(|bad| ApiError::invalid_field("/rest_endpoint", bad.to_string()))?;
        let at = |part: &'static str| {
            move |(path, message): BadSetting| ApiError::invalid_field(format!("{part}{path}"), message)
        };
        connection.write_back.check().map_err(at("/write_back"))?;
        connection.look_up.check().map_err(at("/look_up"))?;
        connection.pace.check().map_err(at("/pace"))?;
        let key = match key {
            None | Some(Value::Null) => None,
            // As it was shown: unchanged.
            Some(Value::String(key)) if before.is_some_and(|before| before.shown_key == key) => None,
            Some(Value::String(key)) if !key.trim().is_empty() && key.trim().bytes().all(|b| b.is_ascii_graphic()) => {
                Some(key.trim().to_owned())
            }
            Some(_) => return Err(ApiError::invalid_field("/api_key", "this is no key")),
        };
        let connection = Connection { rest_endpoint: endpoint, ..connection };
        match (key, before) {
            (Some(key), _) => Ok(Kept { sealed_key: seal::seal(env, id, &key)?, shown_key: shown(&key), connection }),
            (None, Some(before)) if before.connection.rest_endpoint == connection.rest_endpoint => {
                Ok(Kept { connection, ..before.clone() })
            }
            (None, Some(_)) => {
                let message = "give the key again: it goes to another endpoint than it was given for";
                Err(ApiError::invalid_field("/api_key", message))
            }
            (None, None) => Err(ApiError::invalid_field("/api_key", "a connection to Braze needs its REST API key")),
        }
    }

    /// The key in the clear, for the call that needs it.
    pub(crate) fn key(&self, env: &Env) -> Result<String> {
        seal::open(env, &self.connection.id, &self.sealed_key)
    }
}
