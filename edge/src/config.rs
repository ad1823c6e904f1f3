//! What the operator has set: secrets and variables of the Worker.

use crate::error::{ApiError, Result};
use data_encoding::HEXLOWER_PERMISSIVE;
use wingbeat_engine::identity::policy::Policy;
use wingbeat_engine::key::DeploymentKey;
use worker::Env;

/// A variable or secret; `None` when it is not set, or empty.
pub(crate) fn variable(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string()).filter(|value| !value.is_empty())
}

/// A secret that a route cannot do without.
pub(crate) fn secret(env: &Env, name: &'static str) -> Result<String> {
    variable(env, name).ok_or_else(|| ApiError::not_configured(name))
}

/// The tokens for Currents that the operator has set.
pub(crate) struct CurrentsTokens {
    /// Workspace and token each; the default workspace is empty.
    pub(crate) known: Vec<(String, String)>,
    /// What is set and can't be read: a token that is not known here may be the one that was meant.
    pub(crate) unread: Option<&'static str>,
}

/// `CURRENTS_TOKEN`, and those of further Braze workspaces, `CURRENTS_TOKENS`.
pub(crate) fn currents_tokens(env: &Env) -> CurrentsTokens {
    let first = variable(env, "CURRENTS_TOKEN")
        .map_or(Some(Vec::new()), |text| bearer_token(&text).map(|token| vec![(String::new(), token.to_owned())]));
    let further = workspace_tokens(&variable(env, "CURRENTS_TOKENS").unwrap_or_default());
    let unread = match (&first, &further) {
        (None, _) => Some("CURRENTS_TOKEN (a token that can be sent)"),
        (_, None) => Some("CURRENTS_TOKENS (workspace=token, …)"),
        _ => None,
    };
    let known = first.into_iter().chain(further).flatten().collect();
    CurrentsTokens { known, unread }
}

/// What callers send as a bearer token; `None` if it can't be sent so. A line break at its end is of the command that set
/// the secret; quotes around it, white space within and what is not ASCII are no part of a token (RFC 6750, 2.1).
fn bearer_token(text: &str) -> Option<&str> {
    let token = text.trim();
    let is_quoted = ['"', '\''].iter().any(|quote| token.starts_with(*quote) && token.ends_with(*quote));
    (!token.is_empty() && !is_quoted && token.bytes().all(|byte| byte.is_ascii_graphic())).then_some(token)
}

/// `brand-b=token, brand-c=token`. A workspace may have several, while one is being replaced; the default one is `=token`.
fn workspace_tokens(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (workspace, token) = pair.trim().split_once('=')?;
        is_workspace(workspace).then_some((workspace.to_owned(), bearer_token(token)?.to_owned()))
    };
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

/// Whether this can be a Braze workspace's name here: empty for the default one.
pub(crate) fn is_workspace(name: &str) -> bool {
    name.len() <= WORKSPACE_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A workspace's name stands in the type of its ids, `external_id@brand-b`.
const WORKSPACE_BYTES_MAX: usize = 32;

/// The key of all keyed hashes: 32 bytes in hex. It can never change.
pub(crate) fn deployment_key(env: &Env) -> Result<DeploymentKey> {
    let hex = secret(env, "DEPLOYMENT_KEY")?;
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok().filter(|bytes| bytes.len() == 32);
    bytes
        .map(|bytes| DeploymentKey::new(&bytes))
        .ok_or_else(|| ApiError::not_configured("DEPLOYMENT_KEY (64 hex digits)"))
}

/// Whether demo pages are served, and loopback origins are the site's own: `npm start` says so, a deployment does not.
pub(crate) fn is_demo(env: &Env) -> bool {
    variable(env, "WINGBEAT_DEMO").is_some_and(|value| value == "1")
}

/// Whether a delete request of Braze erases the person here, too; else it is only shown in the timeline.
pub(crate) fn erases_on_request(env: &Env) -> bool {
    variable(env, "USER_DELETE_REQUESTS").is_none_or(|value| value != "flag")
}

/// How many partitions a new deployment starts with. The Registry keeps the number of the first start.
pub(crate) fn partitions(env: &Env) -> u16 {
    let wanted = variable(env, "PARTITIONS").and_then(|value| value.parse().ok()).unwrap_or(DEFAULT_PARTITIONS);
    wanted.clamp(1, PARTITIONS_MAX)
}

/// The policy that a new deployment starts with: the shipped one, who the customer's own people are, and what identifies
/// nobody. The error says what is wrong with a variable.
pub(crate) fn policy(env: &Env) -> std::result::Result<Policy, String> {
    let policy = Policy::default().with_internal(&variable(env, "INTERNAL_PEOPLE").unwrap_or_default());
    policy.with_blocked(&blocked(env)).map_err(|wrong| format!("BLOCKED_IDENTIFIERS: {wrong}"))
}

/// What identifies nobody, as the operator lists it for a new deployment.
pub(crate) fn blocked(env: &Env) -> String {
    variable(env, "BLOCKED_IDENTIFIERS").unwrap_or_default()
}

/// A batch of Currents is up to one call to each: fewer, busier objects commit more events at once.
const PARTITIONS_MAX: u16 = 256;

/// 16 objects hold 160 GB, and a batch of Currents is at most as many calls (README, limits).
const DEFAULT_PARTITIONS: u16 = 16;

/// The path below which every route works, from `PUBLIC_URL`: empty, or `/wb`.
pub(crate) fn base_path(env: &Env) -> String {
    let url = variable(env, "PUBLIC_URL").unwrap_or_default();
    let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    if path.is_empty() { String::new() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_workspaces() {
        let read = |text: &str| {
            let tokens = workspace_tokens(text)?;
            Some(tokens.iter().map(|(workspace, token)| format!("{workspace}:{token}")).collect::<Vec<_>>())
        };
        assert_eq!(read(""), Some(vec![]));
        let several = Some(vec!["brand-b:abc==".into(), "brand-b:def".into(), ":ghi".into()]);
        assert_eq!(read("brand-b=abc==, brand-b=def,=ghi,"), several);
        for wrong in ["abc", "Brand=abc", "brand b=abc", "brand-b=", "a=b, c", "x@y=abc", "a=\"b\"", "a=b c"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_that_can_be_sent() {
        for right in ["a.b-c_d~e+f/g==", "a!b", "a\"", "a\n", " a "] {
            assert_eq!(bearer_token(right), Some(right.trim()), "{right:?}");
        }
        for wrong in ["", " ", "\n", "a b", "a\nb", "a\u{7f}", "ключ", "\"a\"", "'a'", "\""] {
            assert_eq!(bearer_token(wrong), None, "{wrong:?}");
        }
    }
}
