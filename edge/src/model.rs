//! `GET /api/model`: the model that prospects are scored by, and its version.

use crate::auth::{self, Scope};
use crate::directory::{self, PublishedModel};
use crate::error::Result;
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>, headers: HeaderMap) -> Result<Json<PublishedModel>> {
    SendFuture::new(async move {
        auth::require(&env, &headers, Scope::Read).await?;
        Ok(Json(directory::read(&env).await?.model))
    })
    .await
}
