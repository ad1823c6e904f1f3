//! `GET /healthz`: whether all partitions answer. Asking them also wakes them: what a crash left undone goes on.

use crate::error::Result;
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use wingbeat_engine::partition::call::{Answer, Query};
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let partitions = Partitions::open(&env).await?;
        let answers = partitions.ask_all(Query::Health).await?;
        let lag = answers.iter().filter_map(|answer| match answer {
            Answer::Well { feed_lag } => Some(*feed_lag),
            _ => None,
        });
        Ok(Json(json!({
            "status": "ok",
            "version": env!("CARGO_PKG_VERSION"),
            "partitions": answers.len(),
            "feed_lag": lag.max().unwrap_or(0),
        })))
    })
    .await
}
