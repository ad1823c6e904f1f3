//! Query parameters: known ones, each read once, unknown ones refused by name.

use crate::error::{ApiError, Result};
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

/// The parameters of one request.
pub(crate) struct Parameters(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters> {
        let pairs = Query::from_request_parts(parts, state).await;
        pairs.map(|Query(pairs)| Parameters(pairs)).map_err(|_| ApiError::invalid_field("", "the query is no text"))
    }
}

/// Lets only requests without parameters through to a route that takes none.
pub(crate) async fn none(parameters: Parameters, request: Request, next: Next) -> Result<Response> {
    parameters.none_left()?;
    Ok(next.run(request).await)
}

/// The `{ref}` of a path, percent-decoded as one segment.
pub(crate) struct Reference(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Reference {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Reference> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(text)| Reference(text))
            .map_err(|_| ApiError::invalid_field("/ref", "the reference is no UTF-8 text"))
    }
}

impl Parameters {
    /// Takes out a parameter; 400 if it was given twice.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        let mut values = self.all(name);
        if values.len() > 1 {
            return Err(ApiError::invalid_field(format!("/{name}"), format!("`{name}` was given more than once")));
        }
        Ok(values.pop())
    }

    /// Takes out all values of a parameter.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        self.extract(|known| known == name).into_iter().map(|(_, value)| value).collect()
    }

    /// Takes out all parameters whose name begins so.
    pub(crate) fn prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        self.extract(|known| known.starts_with(prefix))
    }

    fn extract(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.0).into_iter().partition(|(name, _)| wanted(name));
        self.0 = rest;
        taken
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str) -> Result<Option<bool>> {
        self.parsed(name, "`true` or `false`", |text| text.parse().ok())
    }

    /// `limit`: 1 to 200, 50 if absent (contract, row 30).
    pub(crate) fn limit(&mut self) -> Result<usize> {
        let within = |limit: &usize| (1..=200).contains(limit);
        Ok(self.parsed("limit", "a number from 1 to 200", |text| text.parse().ok().filter(within))?.unwrap_or(50))
    }

    /// A time, RFC 3339 or ms since 1970.
    pub(crate) fn time(&mut self, name: &str) -> Result<Option<i64>> {
        self.parsed(name, "a time in RFC 3339, such as 2026-01-31T12:00:00Z", wingbeat_engine::time::parse)
    }

    /// A parameter in some form; 400 that says which when it is not of it.
    pub(crate) fn parsed<T>(&mut self, name: &str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::invalid_field(format!("/{name}"), format!("`{name}` must be {form}"))),
        }
    }

    /// Refuses what is left.
    pub(crate) fn none_left(self) -> Result<()> {
        self.0.first().map_or(Ok(()), |(name, _)| Err(ApiError::unknown_parameter(name)))
    }
}
