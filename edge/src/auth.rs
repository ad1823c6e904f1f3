//! Who may: bearer tokens and their scopes.

use crate::config;
use crate::directory::{self, Token};
use crate::error::{ApiError, Result};
use crate::now_ms;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use worker::Env;
use worker::send::SendFuture;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Sending events of Braze Currents.
    Currents,
    /// Sending events of one's own.
    Events,
    /// Reading people.
    Read,
    /// Deciding about people.
    Write,
    /// Settings.
    Admin,
}

/// How old what is known of tokens may be for one to be refused by it, ms. Whoever guesses costs one look a second.
const FRESH_MS: i64 = 1_000;

/// Lets only requests with the right token through to a route.
pub(crate) async fn guard(State((env, scope)): State<(Env, Scope)>, request: Request, next: Next) -> Result<Response> {
    SendFuture::new(async move {
        require(&env, request.headers(), scope).await?;
        Ok(next.run(request).await)
    })
    .await
}

/// Lets a request with the right token pass.
///
/// The right secret not being set is our fault, told before the caller's token is looked at: a deployment that lost it
/// answers 503, on which Braze retries, and never 401, on which it gives up (facts on Braze, 1.4). Answers the token.
pub(crate) async fn require(env: &Env, headers: &HeaderMap, scope: Scope) -> Result<Token> {
    // The operator's own, which may do everything, is no token for Currents.
    let is_for = |token: &Token| {
        token.scopes.contains(&scope) && (scope != Scope::Currents || !token.scopes.contains(&Scope::Admin))
    };
    let of = |tokens: &[Token]| tokens.iter().any(is_for);
    let mut tokens = directory::read(env).await?.tokens;
    let unread = if scope == Scope::Currents { config::currents_tokens(env).unread } else { None };
    if !of(&tokens) {
        // Another isolate may have made the first one just now.
        tokens = directory::read_within(env, FRESH_MS).await?.tokens;
        if !of(&tokens) {
            let missing = if scope == Scope::Currents { "CURRENTS_TOKEN" } else { "ADMIN_TOKEN" };
            return Err(ApiError::not_configured(unread.unwrap_or(missing)));
        }
    }
    let Some(token) = bearer(headers) else {
        // What our secret can't be, a header may not be either.
        let asked = || ApiError::unauthorized("this needs the header `Authorization: Bearer <token>`");
        return Err(unread.map_or_else(asked, ApiError::not_configured));
    };
    let hash = HEXLOWER.encode(&Sha256::digest(token.as_bytes()));
    let good = |tokens: &[Token]| {
        let is_it =
            |known: &&Token| same(&known.sha256, &hash) && known.expires_at.is_none_or(|until| now_ms() < until);
        tokens.iter().find(is_it).cloned()
    };
    let (mut known, mut missing) = (good(&tokens), Vec::new());
    if known.is_none() {
        // It may have been made a moment ago, and Braze gives up on a 401.
        (tokens, missing) = directory::read_within(env, FRESH_MS).await.map(|known| (known.tokens, known.missing))?;
        known = good(&tokens);
    }
    // Further workspaces have tokens of their own: those say nothing of whether the first one's was lost.
    let is_lost = scope == Scope::Currents && !tokens.iter().any(|token| is_for(token) && token.workspace.is_empty());
    match known {
        Some(known) if known.scopes.contains(&scope) => {
            if let Some(id) = &known.id {
                directory::note_use(env, id).await;
            }
            Ok(known)
        }
        Some(_) => Err(ApiError::forbidden("this token is not for that")),
        None if let Some(unread) = unread => Err(ApiError::not_configured(unread)),
        None if scope == Scope::Currents && missing.contains(&hash) => {
            Err(ApiError::not_configured("CURRENTS_TOKEN or CURRENTS_TOKENS, where this token was before,"))
        }
        None if is_lost => Err(ApiError::not_configured("CURRENTS_TOKEN")),
        None => Err(ApiError::unauthorized("this token is not known here")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// In a time that does not depend on where they differ.
fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn the_scheme_is_read_in_any_case() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, token) in [("Bearer a.b==", Some("a.b==")), ("bearer x", Some("x")), ("Basic x", None), ("x", None)]
        {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer(&headers), token, "{value}");
        }
    }
}
