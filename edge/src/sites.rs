//! `GET` and `PUT /api/sites`: which pages may send.

use crate::directory::{self, Site};
use crate::error::{ApiError, Result};
use crate::{body, origin};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::{Value, json};
use worker::Env;
use worker::send::SendFuture;

const BODY_BYTES_MAX: usize = 64 * 1024;

pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let sites = directory::read(&env).await?.sites;
        Ok(Json(json!({ "items": sites, "next_cursor": null })))
    })
    .await
}

/// Takes `{"items": [{"key", "origins"}]}` and replaces all sites by it.
pub(crate) async fn put(State(env): State<Env>, body: Body) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let bytes = body::read(body, BODY_BYTES_MAX).await?;
        let request: Value =
            serde_json::from_slice(&bytes).map_err(|error| ApiError::invalid_json(error.to_string()))?;
        let items = request.get("items").and_then(Value::as_array);
        let items = items.ok_or_else(|| ApiError::invalid_field("/items", "`items` must be an array of sites"))?;
        let mut sites = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            sites.push(site(item, &format!("/items/{place}"))?);
        }
        directory::write_sites(&env, &sites).await?;
        Ok(Json(json!({ "items": sites, "next_cursor": null })))
    })
    .await
}

fn site(item: &Value, path: &str) -> Result<Site> {
    let site: Site =
        serde_json::from_value(item.clone()).map_err(|error| ApiError::invalid_field(path, error.to_string()))?;
    if site.key.is_empty() {
        return Err(ApiError::invalid_field(format!("{path}/key"), "a site needs a key"));
    }
    let bad = site.origins.iter().position(|origin| origin::host_of(origin).is_none());
    bad.map_or(Ok(site), |place| {
        let path = format!("{path}/origins/{place}");
        Err(ApiError::invalid_field(
            path,
            "an origin is scheme and host, and a port if need be: https://www.example.com",
        ))
    })
}
