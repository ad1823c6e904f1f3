//! `/api/model…`: the model that people are scored by, its draft and its versions.
//!
//! - [`draft`]: the one being worked on; [`backtest`]: what it would change
//! - [`versions`]: publishing it, and those that were
//! - [`properties`]: what events bring that rules may ask for; here: what helps to write one

pub(crate) mod backtest;
pub(crate) mod draft;
pub(crate) mod properties;
pub(crate) mod versions;

use crate::directory;
use crate::error::{ApiError, Result};
use crate::partitions::Partitions;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use wingbeat_engine::partition::Progress;
use wingbeat_engine::partition::backtest::fingerprint;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::scoring::{EXTERNAL_MAX, Model, TEMPLATES, differences, schema};
use worker::Env;
use worker::send::SendFuture;

/// A model is at most 1 MiB; a little more is read, so that its own error says so.
const BODY_BYTES_MAX: usize = (1 << 20) + (1 << 16);

/// `GET /api/model`: the version in force, how far everybody is folded by it, the draft and what it changes.
pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        // Not what this frontend remembers: whoever has published looks here next.
        let published = directory::published(&env).await?;
        let recompute = recompute(&Partitions::open(&env).await?).await?;
        let changes = published.draft.as_ref().map(|draft| differences(&published.model, &draft.model));
        Ok(Json(json!({
            "version": published.version,
            "published_at": wingbeat_engine::time::show(published.published_at),
            "model": published.model,
            "recompute": recompute.map(shown),
            "draft_saved_at": published.draft.as_ref().and_then(|draft| wingbeat_engine::time::show(draft.saved_at)),
            "draft_sha256": published.draft.as_ref().map(|draft| fingerprint(&draft.model.to_string())),
            "draft": published.draft.map(|draft| draft.model),
            "changes": changes,
        })))
    })
    .await
}

/// Which of the attributes that are told with numbers beyond [`EXTERNAL_MAX`] the model takes a score from. The registry is
/// asked only where there are such.
pub(crate) async fn scored_of(env: &Env, mut beyond: BTreeSet<String>) -> Result<BTreeSet<String>> {
    if !beyond.is_empty() {
        let published = directory::published(env).await?;
        let model = Model::parse(&published.model.to_string())
            .map_err(|_| ApiError::unavailable("the model could not be read", published.version))?;
        beyond.retain(|name| model.attributes_scored().any(|scored| scored == name));
    }
    Ok(beyond)
}

/// What is wrong with them.
pub(crate) fn beyond_range() -> String {
    format!("is a score: it must be a number from -{EXTERNAL_MAX} to {EXTERNAL_MAX}")
}

/// `GET /api/model/schema`: the JSON Schema of a model, for editors.
pub(crate) async fn schema_of_models() -> Json<Value> {
    Json(schema())
}

/// `GET /api/model/templates`: models to begin with.
pub(crate) async fn templates() -> Result<Json<Value>> {
    let mut items = Vec::with_capacity(TEMPLATES.len());
    for template in TEMPLATES {
        let model: Value = serde_json::from_str(template.json)
            .map_err(|error| ApiError::unavailable("a template could not be read", error))?;
        items.push(json!({
            "slug": template.slug,
            "name": template.name,
            "description": template.description,
            "model": model,
        }));
    }
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

/// How far folding everybody by the version in force is, over all partitions; `None` when all are done.
async fn recompute(partitions: &Partitions<'_>) -> Result<Option<Progress>> {
    let (progress, is_running) = add_up(&partitions.ask_all(Query::Recompute).await?);
    Ok(is_running.then_some(progress))
}

/// How far all partitions are together, and whether any is not done. Those that are go on counting until then.
fn add_up(answers: &[Answer]) -> (Progress, bool) {
    let (mut sum, mut is_running) = (Progress::default(), false);
    for answer in answers {
        let (Answer::Recompute(progress) | Answer::Recomputed(progress)) = answer else { continue };
        sum.done += progress.done;
        sum.total += progress.total;
        is_running |= matches!(answer, Answer::Recompute(_));
    }
    (sum, is_running)
}

fn shown(progress: Progress) -> Value {
    json!({ "done": progress.done, "total": progress.total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_is_done_goes_on_counting_until_all_are() {
        let (running, done) = (
            |done| Answer::Recompute(Progress { done, total: 900 }),
            |total| Answer::Recomputed(Progress { done: total, total }),
        );
        for (answers, expected) in [
            ([running(0), running(100)], (100, 1_800, true)),
            ([running(896), running(800)], (1_696, 1_800, true)),
            ([done(900), running(800)], (1_700, 1_800, true)),
            ([done(900), done(900)], (1_800, 1_800, false)),
        ] {
            let (Progress { done, total }, is_running) = add_up(&answers);
            assert_eq!((done, total, is_running), expected);
        }
    }
}
