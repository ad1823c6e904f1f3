//! `GET /api/changes`: the change feed over all partitions, resumable, at least once (contract, row 36).

use crate::error::{ApiError, Result};
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::prospects::{json, open, seal};
use axum::extract::State;
use axum::response::Response;
use minicbor::{Decode, Encode};
use serde::Serialize;
use serde_json::value::RawValue;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::change::Cause;
use wingbeat_engine::partition::feed::{Cursor, What};
use wingbeat_engine::partition::read::Target;
use worker::Env;
use worker::send::SendFuture;

/// Where a reader stands in every partition's feed, and whose turn it is.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Position {
    #[n(0)]
    cursors: Vec<Option<Cursor>>,
    #[n(1)]
    next: u16,
}

/// The cursor of a reader who stands so in every partition's feed.
pub(crate) fn cursor(feeds: &[Cursor]) -> Result<String> {
    seal(&Position { cursors: feeds.iter().cloned().map(Some).collect(), next: 0 })
}

#[derive(Serialize)]
struct Page {
    items: Vec<Item>,
    next_cursor: String,
}

#[derive(Serialize)]
struct Item {
    id: String,
    seq: i64,
    #[serde(rename = "type")]
    kind: &'static str,
    /// The stage that was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    at: Option<String>,
    cause: Option<&'static str>,
    prospect: Box<RawValue>,
}

/// Without a cursor everybody comes first, then what changes; an empty page answers the cursor that it was asked with.
pub(crate) async fn list(State(env): State<Env>, parameters: Parameters) -> Result<Response> {
    SendFuture::new(async move {
        let mut parameters = parameters;
        let limit = parameters.limit()?;
        let before = parameters.text("cursor")?;
        let known: Option<Position> = match &before {
            Some(cursor) => Some(open(cursor).ok_or_else(|| {
                ApiError::invalid_field("/cursor", "`cursor` must be the `next_cursor` of the page before")
            })?),
            None => None,
        };
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let number = partitions.directory().partitions;
        let mut position = known.clone().unwrap_or(Position { cursors: Vec::new(), next: 0 });
        position.cursors.resize(number.into(), None);
        let mut items = Vec::new();
        for _ in 0..number {
            let partition = position.next % number.max(1);
            let Some(cursor) = position.cursors.get_mut(usize::from(partition)) else { break };
            let room = u32::try_from(limit.saturating_sub(items.len())).unwrap_or(0);
            let query = Query::Feed { cursor: cursor.clone(), limit: room };
            let Answer::Feed(told) = partitions.ask_one(partition, query).await? else {
                return Err(ApiError::unavailable("a partition failed", "it gave another answer than its feed"));
            };
            *cursor = Some(told.cursor);
            for mut item in told.items {
                if let What::Reached { prospect: prospect @ None, .. } = &mut item.what {
                    // It has gone to another partition since, or into somebody else.
                    let now = partitions.ask(Query::Prospect(Target::id(item.founder))).await?;
                    *prospect = if let Answer::Document(now) = now { Some(now) } else { None };
                }
                items.push(shown(partition, item.seq, &item.founder.prospect_id(), item.what)?);
            }
            if !told.more {
                position.next = (partition + 1) % number.max(1);
            }
            if items.len() >= limit {
                break;
            }
        }
        let next_cursor =
            match (before, items.is_empty() && known.is_some_and(|known| known.cursors == position.cursors)) {
                (Some(before), true) => before,
                _ => seal(&position)?,
            };
        json(&Page { items, next_cursor })
    })
    .await
}

fn shown(partition: u16, seq: i64, prospect: &str, what: What) -> Result<Item> {
    let gone = |life_cycle: &str, into: Option<String>| {
        serde_json::value::to_raw_value(
            &serde_json::json!({ "id": prospect, "life_cycle": life_cycle, "merged_into": into }),
        )
        .map_err(|error| ApiError::unavailable("a change could not be shown", error))
    };
    let show = wingbeat_engine::time::show;
    let mut stage = None;
    let (kind, at, cause, prospect) = match what {
        What::Changed { prospect, at, cause } => {
            let document = serde_json::from_slice(&prospect);
            let document = document.map_err(|error| ApiError::unavailable("a prospect could not be read", error))?;
            ("prospect.changed", at.and_then(show), cause.map(Cause::slug), document)
        }
        What::Merged(into, at) => ("prospect.merged", show(at), None, gone("merged", Some(into.prospect_id()))?),
        What::Reached { stage: reached, at, cause, prospect } => {
            stage = Some(reached);
            let document = match prospect {
                Some(prospect) => serde_json::from_slice(&prospect)
                    .map_err(|error| ApiError::unavailable("a prospect could not be read", error))?,
                None => gone("deleted", None)?,
            };
            ("stage.reached", show(at), Some(cause.slug()), document)
        }
        What::Deleted(at) => ("prospect.deleted", show(at), None, gone("deleted", None)?),
    };
    // The same line read again has the same id: of what is told twice a reader keeps one.
    let letter = if kind == "prospect.changed" { 'c' } else { 'n' };
    let id = format!("{letter}{partition}-{seq}-{}", prospect_key(&prospect));
    Ok(Item { id, seq, kind, stage, at, cause, prospect })
}

fn prospect_key(prospect: &RawValue) -> String {
    #[derive(serde::Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_str(prospect.get()).map(|Id { id }| id).unwrap_or_default()
}
