//! `PUT` and `DELETE /api/model/draft`: the model that is being worked on. Whatever is wrong with it is told at once.

use super::BODY_BYTES_MAX;
use crate::directory;
use crate::error::{ApiError, Result};
use crate::{body, now_ms};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use wingbeat_engine::scoring::Model;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn put(State(env): State<Env>, body: Body) -> Result<Response> {
    SendFuture::new(async move {
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let text = str::from_utf8(&bytes).map_err(|_| ApiError::invalid_json("the body is no UTF-8 text"))?;
        if let Err(errors) = Model::parse(text) {
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            let errors: Vec<Value> =
                errors.iter().map(|error| json!({ "path": error.path, "message": error.message })).collect();
            let first = errors.first().cloned().unwrap_or_default();
            let code = if is_json { "invalid_field" } else { "invalid_json" };
            let error = json!({ "code": code, "message": first.get("message"), "path": first.get("path") });
            return Ok((StatusCode::BAD_REQUEST, Json(json!({ "error": error, "errors": errors }))).into_response());
        }
        let model: Value = serde_json::from_str(text).map_err(|error| ApiError::invalid_json(error.to_string()))?;
        directory::save_draft(&env, text, now_ms()).await?;
        Ok(Json(json!({ "draft": model })).into_response())
    })
    .await
}

pub(crate) async fn delete(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        directory::delete_draft(&env).await?;
        Ok(Json(json!({ "draft": null })))
    })
    .await
}
