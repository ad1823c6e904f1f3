//! `GET /api/sources/currents`: what came from Braze, by type and hour, so that a gap is seen; and the last batch.

use crate::error::{ApiError, Result};
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::prospects::{open, seal};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::intake::{Batch, Counts, HOUR_MS, Question};
use wingbeat_engine::time;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>, mut parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let limit = parameters.limit()?;
        let question = Question {
            event_type: parameters.text("type")?,
            since: parameters.time("since")?.map(|ms| ms.div_euclid(HOUR_MS)),
            until: parameters.time("until")?.map(|ms| ms.div_euclid(HOUR_MS)),
            behind: parameters.parsed("cursor", "the `next_cursor` of the page before", open)?,
            // One more tells whether there is another page.
            limit: limit + 1,
        };
        parameters.none_left()?;
        let mut rows: BTreeMap<(Reverse<i64>, String), Counts> = BTreeMap::new();
        let mut last: Vec<Batch> = Vec::new();
        for answer in Partitions::open(&env).await?.ask_all(Query::Intake(question)).await? {
            let Answer::Intake { hours, last: noted } = answer else {
                return Err(ApiError::unavailable("a partition failed", "it gave another answer than counts"));
            };
            for hour in hours {
                rows.entry((Reverse(hour.hour), hour.event_type)).or_default().add(&hour.counts);
            }
            last.extend(noted);
        }
        let more = rows.len() > limit;
        let page: Vec<_> = rows.into_iter().take(limit).collect();
        let end = page.last().filter(|_| more).map(|((Reverse(hour), event_type), _)| (*hour, event_type.clone()));
        let items: Vec<Value> =
            page.into_iter().map(|((Reverse(hour), name), counts)| item(hour, &name, &counts)).collect();
        last.sort_by_key(|batch| Reverse(batch.at));
        let last: Vec<Value> = last.iter().map(batch).collect();
        Ok(Json(json!({
            "items": items,
            "next_cursor": end.as_ref().map(seal).transpose()?,
            "last_batch": last.first(),
            "last_batches": last,
        })))
    })
    .await
}

fn item(hour: i64, event_type: &str, counts: &Counts) -> Value {
    json!({
        "hour": time::show(hour.saturating_mul(HOUR_MS)),
        "type": event_type,
        "received": counts.received,
        "duplicate": counts.duplicate,
        "rejected": counts.rejected,
        "no_email": counts.no_email,
        "bot": counts.bot,
    })
}

fn batch(batch: &Batch) -> Value {
    json!({
        "workspace": batch.workspace,
        "at": time::show(batch.at),
        "received": batch.accepted + batch.duplicates + batch.dead_lettered,
        "accepted": batch.accepted,
        "duplicates": batch.duplicates,
        "dead_lettered": batch.dead_lettered,
    })
}
