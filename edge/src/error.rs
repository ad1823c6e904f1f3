//! Errors by whose fault they are: ours (5xx, logged) or the caller's (4xx that says what and where). One record's never
//! come here: they are kept aside, and the rest goes on.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wingbeat_engine::sources::EnvelopeError;

/// An answer other than the one asked for: `{"error":{"code","message","path"}}` (contract, row 40).
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// A JSON pointer into the body, or the name of a parameter with a slash before it.
    path: Option<String>,
}

/// What a handler answers.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into(), path: None }
    }

    pub(crate) fn invalid_json(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    pub(crate) fn invalid_field(path: impl Into<String>, message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::BAD_REQUEST, "invalid_field", message);
        ApiError { path: Some(path.into()), ..error }
    }

    pub(crate) fn unknown_parameter(name: &str) -> ApiError {
        let error =
            ApiError::new(StatusCode::BAD_REQUEST, "unknown_parameter", format!("there is no parameter `{name}` here"));
        ApiError { path: Some(format!("/{name}")), ..error }
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// By `Idempotency-Key`, something else was asked before (draft-ietf-httpapi-idempotency-key-header, 2.7).
    pub(crate) fn reused_key() -> ApiError {
        let message = "this `Idempotency-Key` was sent before with another request: take a new one";
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "conflict", message)
    }

    /// Says which part of the request is meant.
    pub(crate) fn at(self, path: impl Into<String>) -> ApiError {
        ApiError { path: Some(path.into()), ..self }
    }

    /// Says below which part of the request its path is.
    pub(crate) fn below(self, path: &str) -> ApiError {
        ApiError { path: Some(format!("{path}{}", self.path.unwrap_or_default())), ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    pub(crate) fn method_not_allowed() -> ApiError {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "not_found", "this path does not take that method")
    }

    pub(crate) fn too_large(limit: usize) -> ApiError {
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("the body has more than {limit} bytes"))
    }

    /// A body in an encoding that is not known here.
    pub(crate) fn unknown_encoding() -> ApiError {
        let error = ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_field",
            "the only Content-Encoding known here is gzip",
        );
        error.at("/content-encoding")
    }

    /// More comes at once than we can take: to be sent again later.
    pub(crate) fn overloaded(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// Something of ours failed. What it was is logged, never told: it may hold somebody's data.
    pub(crate) fn unavailable(what: &str, cause: impl std::fmt::Display) -> ApiError {
        worker::console_error!("{what}: {cause}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", format!("{what}: try again"))
    }

    /// Somebody is on the way from one partition to another, and will have arrived in a moment.
    pub(crate) fn settling() -> ApiError {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "settling",
            "this prospect is just being brought together: try again",
        )
    }

    /// A secret that this route needs is not set: the operator's to mend, and never a reason for 401 (facts on Braze, 1.4).
    pub(crate) fn not_configured(secret: &str) -> ApiError {
        worker::console_error!("{secret} is not set");
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("{secret} is not configured on this deployment"),
        )
    }
}

impl From<EnvelopeError> for ApiError {
    fn from(error: EnvelopeError) -> ApiError {
        let status = if error.code == "too_large" { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        ApiError { status, code: error.code, message: error.message, path: error.path.map(Into::into) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "code": self.code, "message": self.message, "path": self.path } });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
