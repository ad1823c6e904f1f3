//! Who may: bearer tokens and their scopes.

use crate::config::secret;
use crate::error::{ApiError, Result};
use axum::http::{HeaderMap, header};
use subtle::ConstantTimeEq;
use worker::Env;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Sending events of Braze Currents.
    Currents,
    /// Reading people.
    Read,
    /// Settings.
    Admin,
}

/// Lets a request with the right token pass.
///
/// The right secret not being set is our fault, told before the caller's token is looked at: a deployment that lost it
/// answers 503, on which Braze retries, and never 401, on which it gives up (facts on Braze, 1.4).
pub(crate) fn require(env: &Env, headers: &HeaderMap, scope: Scope) -> Result<()> {
    let admin = secret(env, "ADMIN_TOKEN");
    let currents = secret(env, "CURRENTS_TOKEN");
    let (wanted, other) = match scope {
        Scope::Currents => (currents?, admin.ok()),
        Scope::Read | Scope::Admin => (admin?, currents.ok()),
    };
    let Some(token) = bearer(headers) else {
        return Err(ApiError::unauthorized("this needs the header `Authorization: Bearer <token>`"));
    };
    if same(token, &wanted) {
        return Ok(());
    }
    match (scope, other) {
        // The admin token has all scopes.
        (Scope::Currents, Some(admin)) if same(token, &admin) => Ok(()),
        (Scope::Read | Scope::Admin, Some(currents)) if same(token, &currents) => {
            Err(ApiError::forbidden("this token is for Currents events only"))
        }
        _ => Err(ApiError::unauthorized("this token is not known here")),
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
