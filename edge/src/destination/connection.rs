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
    /// None is configured yet: everything is made up and waits.
    sealed_key: Option<String>,
    /// All that is ever shown of the key.
    pub(crate) shown_key: Option<String>,
}

/// What is the matter with a connection that can make no calls.
pub(crate) const NO_KEY: &str = "no key is configured: nobody is looked up, and nothing is written";

fn yes() -> bool {
    true
}

impl Connection {
    /// Whether everybody must be looked at again after this has become `self`.
    pub(crate) fn asks_otherwise_than(&self, before: &Connection) -> bool {
        self.is_another_account_than(before)
            || (&self.write_back, &self.look_up, self.dry_run) != (&before.write_back, &before.look_up, before.dry_run)
    }

    /// Whether the profiles on the other side are others than before, so that nothing is known of them.
    ///
    /// An endpoint is one of Braze's clusters, and the workspace says whose ids are meant: either means other profiles. A
    /// key belongs to one workspace of Braze, too, but neither it nor any answer of Braze says to which. So another key at
    /// the same endpoint is taken for the same account's, as after a rotation; for another account there is another
    /// connection.
    pub(crate) fn is_another_account_than(&self, before: &Connection) -> bool {
        (&self.rest_endpoint, &self.workspace) != (&before.rest_endpoint, &before.workspace)
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
            Some(Value::String(key)) if before.is_some_and(|before| before.shown_key.as_deref() == Some(&key)) => None,
            Some(Value::String(key)) if !key.trim().is_empty() && key.trim().bytes().all(|b| b.is_ascii_graphic()) => {
                Some(key.trim().to_owned())
            }
            Some(_) => return Err(ApiError::invalid_field("/api_key", "this is no key")),
        };
        let connection = Connection { rest_endpoint: endpoint, ..connection };
        match (key, before) {
            (Some(key), _) => {
                let sealed = seal::seal(env, id, &key)?;
                Ok(Kept { sealed_key: Some(sealed), shown_key: Some(shown(&key)), connection })
            }
            (None, Some(before))
                if before.sealed_key.is_none() || before.connection.rest_endpoint == connection.rest_endpoint =>
            {
                Ok(Kept { connection, ..before.clone() })
            }
            (None, Some(_)) => {
                let message = "give the key again: it goes to another endpoint than it was given for";
                Err(ApiError::invalid_field("/api_key", message))
            }
            (None, None) => Ok(Kept { sealed_key: None, shown_key: None, connection }),
        }
    }

    /// Whether calls can be made.
    pub(crate) fn has_key(&self) -> bool {
        self.sealed_key.is_some()
    }

    /// Whether an answer to a call of `before` can be believed now: not if it came from another account, nor, if it is
    /// `trouble`, if it may be the old key's.
    pub(crate) fn believes(&self, before: &Kept, trouble: bool) -> bool {
        !self.connection.is_another_account_than(&before.connection)
            && (!trouble || self.sealed_key == before.sealed_key)
    }

    /// The key in the clear, for the call that needs it.
    pub(crate) fn key(&self, env: &Env) -> Result<String> {
        let sealed = self.sealed_key.as_deref().ok_or_else(|| ApiError::invalid_field("/api_key", NO_KEY))?;
        seal::open(env, &self.connection.id, sealed)
    }
}
