//! `GET /api/model/properties`: the names of properties that events have brought, for whoever writes rules.

use crate::error::Result;
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::properties::{Properties, document, merge};
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let mut properties = Properties::new();
        for answer in Partitions::open(&env).await?.ask_all(Query::Properties).await? {
            if let Answer::Properties(own) = answer {
                merge(&mut properties, own);
            }
        }
        Ok(Json(json!({ "items": document(&properties), "next_cursor": null })))
    })
    .await
}
