//! `GET` and `PUT /api/settings`: what the operator decides for the whole deployment.

use crate::body;
use crate::directory::{self, Settings};
use crate::error::{ApiError, Result};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::{Map, Value};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Settings>> {
    SendFuture::new(async move { Ok(Json(directory::read(&env).await?.settings)) }).await
}

/// Replaces them all.
pub(crate) async fn put(State(env): State<Env>, body: Body) -> Result<Json<Settings>> {
    SendFuture::new(async move {
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        // By way of an object: an array of values would be taken for the settings in their order.
        let object: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
        let settings: Settings = serde_json::from_value(object.into())
            .map_err(|error| ApiError::invalid_field("/subscription_groups", error.to_string()))?;
        directory::write_settings(&env, &settings).await?;
        Ok(Json(settings))
    })
    .await
}
