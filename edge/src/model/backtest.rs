//! `/api/model/backtest…`: what publishing the draft would change, over everybody's stored history as of one moment.

use crate::directory::{self, Published, PublishedModel};
use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::prospects::{open, seal};
use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use wingbeat_engine::partition::Progress;
use wingbeat_engine::partition::backtest::{Backtest, State as Stand, fingerprint};
use wingbeat_engine::partition::call::{Answer, Call, Query};
use wingbeat_engine::partition::tally::{Tally, Way};
use worker::Env;
use worker::send::SendFuture;

/// How many of those who cross a stage the status names itself; all are named page by page.
const NAMED: usize = 50;
/// Rows that publishing writes: each prospect's with the index of what is due, and per slice of 128 the feed's and the
/// cursor's.
const ROWS_A_PROSPECT: u64 = 2;
const SLICE: u64 = 128;
const ROWS_A_SLICE: u64 = 2;

/// `POST`: begins one of the draft as it is now; an earlier one is forgotten. Answers what `GET` answers.
pub(crate) async fn post(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let published = directory::published(&env).await?;
        let draft = published
            .draft
            .as_ref()
            .ok_or_else(|| ApiError::conflict("there is no draft to test: PUT /api/model/draft saves one"))?;
        let as_of = now_ms();
        // Unique among all that were begun: the clock of one frontend may repeat itself, the draft's time beside it.
        let id = format!("bt{as_of}-{}-{}", published.version, draft.saved_at);
        let partitions = Partitions::open(&env).await?;
        let begun = partitions.call_all(&Call::Backtest { id, as_of, draft: draft.model.to_string() }).await?;
        status(&partitions, begun, &published).await.map(Json)
    })
    .await
}

/// `GET`: how far the newest one is, and what it says.
pub(crate) async fn get(State(env): State<Env>) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let partitions = Partitions::open(&env).await?;
        let answers = partitions.ask_all(Query::Backtest).await?;
        // Not what this frontend remembers: whoever has changed the draft looks here next.
        let published = directory::published(&env).await?;
        status(&partitions, answers, &published).await.map(Json)
    })
    .await
}

/// All partitions' parts as one.
struct Whole {
    newest: Backtest,
    state: Stand,
    progress: Progress,
    tally: Tally,
}

/// The newest backtest, if it is done.
pub(super) async fn done(partitions: &Partitions<'_>) -> Result<Option<Backtest>> {
    let whole = whole(partitions.ask_all(Query::Backtest).await?).filter(|whole| whole.state == Stand::Done);
    Ok(whole.map(|whole| whole.newest))
}

/// A backtest as an answer names it, if what it says is what publishing did.
pub(super) fn said(done: &Backtest, published: &PublishedModel) -> Option<Value> {
    let is_of = done.is_of(published.version.saturating_sub(1), &fingerprint(&published.model.to_string()));
    is_of.then(|| json!({ "id": done.id, "as_of": wingbeat_engine::time::show(done.as_of) }))
}

fn whole(answers: Vec<Answer>) -> Option<Whole> {
    let count = answers.len();
    let mut parts: Vec<Backtest> = answers
        .into_iter()
        .filter_map(|answer| if let Answer::Backtest(part) = answer { part.map(|part| *part) } else { None })
        .collect();
    let newest = parts.iter().max_by_key(|part| part.as_of)?.clone();
    parts.retain(|part| part.id == newest.id);
    // One that not every partition has heard of can't be answered for: it must be begun again.
    let state = parts.iter().map(|part| part.state).max().unwrap_or(Stand::Outdated);
    let state = if parts.len() < count { Stand::Outdated } else { state };
    let (mut progress, mut tally) = (Progress::default(), Tally::default());
    for part in parts {
        progress.done += part.progress.done;
        progress.total += part.progress.total;
        tally.merge(part.tally);
    }
    Some(Whole { newest, state, progress, tally })
}

async fn status(partitions: &Partitions<'_>, answers: Vec<Answer>, published: &Published) -> Result<Value> {
    let whole = whole(answers).ok_or_else(|| ApiError::not_found("no backtest was begun yet"))?;
    let Whole { newest, state, progress, tally } = whole;
    let draft = published.draft.as_ref().map(|draft| fingerprint(&draft.model.to_string()));
    let is_current = draft.is_some_and(|draft| newest.is_of(published.version, &draft));
    let state = if is_current { state } else { Stand::Outdated };
    let mut document = tally.document();
    if let Some(stages) = document.get_mut("stages").and_then(Value::as_object_mut) {
        name_crossers(partitions, stages).await?;
    }
    let cost = json!({
        "prospects": progress.total,
        "events": tally.events,
        "rows_written": progress.total * ROWS_A_PROSPECT + progress.total.div_ceil(SLICE) * ROWS_A_SLICE,
    });
    let mut status = Map::from_iter([
        ("id".to_owned(), newest.id.into()),
        ("state".to_owned(), state.slug().into()),
        ("as_of".to_owned(), wingbeat_engine::time::show(newest.as_of).into()),
        ("model_version".to_owned(), newest.model_version.into()),
        ("draft_sha256".to_owned(), newest.draft.into()),
        ("progress".to_owned(), json!({ "done": progress.done, "total": progress.total })),
        ("cost".to_owned(), cost),
    ]);
    status.extend(document);
    Ok(Value::Object(status))
}

/// Beside the number of people who cross a stage, the first of them.
async fn name_crossers(partitions: &Partitions<'_>, stages: &mut Map<String, Value>) -> Result<()> {
    for (stage, counts) in stages {
        let Some(counts) = counts.as_object_mut() else { continue };
        for (name, way) in [("in", Way::In), ("out", Way::Out)] {
            let count = counts.get(name).and_then(Value::as_u64).unwrap_or_default();
            let (people, next_cursor) =
                if count == 0 { (Vec::new(), None) } else { page(partitions, stage, way, (0, -1), NAMED).await? };
            counts.insert(name.to_owned(), json!({ "count": count, "people": people, "next_cursor": next_cursor }));
        }
    }
    Ok(())
}

/// `GET …/crossings?stage=mql&way=in`: who crosses a stage, all of them.
pub(crate) async fn crossings(State(env): State<Env>, mut parameters: Parameters) -> Result<Json<Value>> {
    SendFuture::new(async move {
        let missing = |name: &str| ApiError::invalid_field(format!("/{name}"), format!("`{name}` is missing"));
        let stage = parameters.text("stage")?.ok_or_else(|| missing("stage"))?;
        let way = parameters.parsed("way", "`in` or `out`", Way::from_slug)?.ok_or_else(|| missing("way"))?;
        let limit = parameters.limit()?;
        let after: Option<(u16, i64)> = parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let (items, next_cursor) = page(&partitions, &stage, way, after.unwrap_or((0, -1)), limit).await?;
        if items.is_empty() {
            check_stage(&env, &stage).await?;
        }
        Ok(Json(json!({ "items": items, "next_cursor": next_cursor })))
    })
    .await
}

/// Whether the model or its draft has such a stage: one that nobody crosses is no mistake.
async fn check_stage(env: &Env, stage: &str) -> Result<()> {
    let published = directory::published(env).await?;
    let models = [Some(&published.model), published.draft.as_ref().map(|draft| &draft.model)];
    let stages = models.into_iter().flatten().filter_map(|model| model.get("stages")?.as_array()).flatten();
    let known: BTreeSet<&str> = stages.filter_map(|stage| stage.get("slug")?.as_str()).collect();
    if known.contains(stage) {
        return Ok(());
    }
    let known: Vec<&str> = known.into_iter().collect();
    let message = format!("there is no stage `{stage}`; there are: {}", known.join(", "));
    Err(ApiError::invalid_field("/stage", message))
}

/// One page, from one partition after the other.
async fn page(
    partitions: &Partitions<'_>,
    stage: &str,
    way: Way,
    after: (u16, i64),
    limit: usize,
) -> Result<(Vec<Value>, Option<String>)> {
    let (mut people, mut after) = (Vec::new(), after);
    while after.0 < partitions.directory().partitions {
        let left = limit - people.len();
        if left == 0 {
            return Ok((people, Some(seal(&after)?)));
        }
        let query = Query::Crossings { stage: stage.to_owned(), way, after: after.1, limit: left };
        let Answer::Crossings { items, end } = partitions.ask_one(after.0, query).await? else {
            return Err(ApiError::unavailable("a partition failed", "it gave another answer than crossings"));
        };
        let items: Vec<Value> = serde_json::from_slice(&items)
            .map_err(|error| ApiError::unavailable("crossings could not be read", error))?;
        people.extend(items);
        after = end.map_or((after.0 + 1, -1), |end| (after.0, end));
    }
    Ok((people, None))
}
