//! Tokens that were generated here, as the Registry keeps them: hashed, so that what a token is stands nowhere but with
//! whoever holds it.

use crate::auth::Scope;
use serde::{Deserialize, Serialize};
use wingbeat_engine::store::{Row, Store, StoreError, Value};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS token (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT, WITHOUT ROWID";
/// How many tokens for Currents one workspace may have at a time: one, and the one that takes its place.
const CURRENTS_VALID_MAX: usize = 2;
/// All of them are in every frontend's memory.
const TOKENS_MAX: usize = 200;

/// A token that was generated here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Generated {
    pub(crate) id: String,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
    /// All that is shown of it again.
    pub(crate) hint: String,
    /// For people.
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    /// The Braze workspace whose ids come with it; empty for the default one.
    pub(crate) workspace: String,
    /// ms.
    pub(crate) created_at: i64,
    /// ms. `None`: until it is revoked.
    pub(crate) expires_at: Option<i64>,
    /// ms, to the minute.
    pub(crate) last_used_at: Option<i64>,
}

impl Generated {
    fn is_valid(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|until| now < until)
    }
}

/// A token to be kept, and the one that it takes the place of.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) token: Generated,
    /// Its id, and until when it is good, ms.
    pub(crate) replaces: Option<(String, i64)>,
}

/// What came of an order.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ordered {
    Kept(Generated),
    /// There is no token to replace.
    Unknown,
    /// As many as may be are valid, or known.
    Full,
}

/// The tokens of the deployment.
pub(crate) struct Tokens<'s, S: Store>(pub(crate) &'s S);

impl<S: Store> Tokens<'_, S> {
    /// Newest first.
    pub(crate) fn all(&self) -> Result<Vec<Generated>, StoreError> {
        self.0.exec(TABLE, &[])?;
        let rows = self.0.query("SELECT body FROM token", &[])?;
        let mut all = rows.iter().map(read).collect::<Result<Vec<_>, StoreError>>()?;
        all.sort_by(|one, other| (other.created_at, &other.id).cmp(&(one.created_at, &one.id)));
        Ok(all)
    }

    /// Keeps a token. One that takes another's place is for the same things as that one, which is good for a while yet.
    pub(crate) fn keep(&self, order: Order) -> Result<Ordered, StoreError> {
        self.0.atomically(|| {
            let Order { mut token, replaces } = order;
            let (now, mut all, mut replaced) = (token.created_at, self.all()?, None);
            if let Some((id, until)) = replaces {
                let Some(old) = all.iter_mut().find(|old| old.id == id && old.is_valid(now)) else {
                    return Ok(Ordered::Unknown);
                };
                (token.scopes, token.workspace) = (old.scopes.clone(), old.workspace.clone());
                if token.name.is_empty() {
                    token.name.clone_from(&old.name);
                }
                old.expires_at = Some(old.expires_at.map_or(until, |known| known.min(until)));
                replaced = Some(old.clone());
            }
            let is_currents = token.scopes.contains(&Scope::Currents);
            let rivals = all.iter().filter(|other| {
                other.is_valid(now) && other.scopes.contains(&Scope::Currents) && other.workspace == token.workspace
            });
            if all.len() >= TOKENS_MAX || is_currents && rivals.count() >= CURRENTS_VALID_MAX {
                return Ok(Ordered::Full);
            }
            if let Some(old) = replaced {
                self.write(&old)?;
            }
            self.write(&token)?;
            Ok::<_, StoreError>(Ordered::Kept(token))
        })
    }

    /// Forgets a token. Answers whether there was one.
    pub(crate) fn revoke(&self, id: &str) -> Result<bool, StoreError> {
        self.0.exec(TABLE, &[])?;
        let rows = self.0.query("DELETE FROM token WHERE id = ? RETURNING id", &[Value::from(id)])?;
        Ok(!rows.is_empty())
    }

    /// Notes that a token was used, ms.
    pub(crate) fn used(&self, id: &str, at: i64) -> Result<(), StoreError> {
        match self.all()?.into_iter().find(|token| token.id == id) {
            Some(mut token) => {
                token.last_used_at = token.last_used_at.max(Some(at));
                self.write(&token)
            }
            None => Ok(()),
        }
    }

    fn write(&self, token: &Generated) -> Result<(), StoreError> {
        let body = serde_json::to_string(token).map_err(|error| StoreError(error.to_string()))?;
        let params = [Value::from(token.id.as_str()), Value::Text(body)];
        self.0.exec("INSERT OR REPLACE INTO token VALUES (?, ?)", &params).map(drop)
    }
}

fn read(row: &Row) -> Result<Generated, StoreError> {
    serde_json::from_str(row.text(0)?).map_err(|error| StoreError(error.to_string()))
}
