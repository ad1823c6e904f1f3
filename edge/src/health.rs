//! `GET /healthz`: whether all partitions answer. Asking them also wakes them: what a crash left undone goes on.

use crate::connections;
use crate::error::Result;
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wingbeat_engine::partition::call::{Answer, Query};
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let partitions = Partitions::open(&env).await?;
        let answers = partitions.ask_all(Query::Health).await?;
        let number = answers.len();
        let mut over_limit = BTreeSet::new();
        let (mut rows, mut transactions) = (0, 0);
        for answer in answers {
            if let Answer::Well { clusters_over_limit, rows_written, commits } = answer {
                // Several partitions may have been refused by one cluster.
                over_limit.extend(clusters_over_limit);
                rows += rows_written;
                transactions += commits;
            }
        }
        Ok(Json(json!({
            // Degraded: all is served, but for somebody the guarantee does not hold (README, identity).
            "status": if over_limit.is_empty() { "ok" } else { "degraded" },
            "version": env!("CARGO_PKG_VERSION"),
            "partitions": number,
            "feed_lag": connections::feed_lag(&env, &partitions.directory().connections).await,
            "clusters_over_limit": over_limit.len(),
            // Since the objects were loaded: what a deployment pays for (npm run bench).
            "rows_written": rows,
            "commits": transactions,
        })))
    })
    .await
}
