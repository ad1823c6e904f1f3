//! `GET /api/changes`: the change feed over all partitions, resumable, at least once (contract, row 36).

use crate::error::{ApiError, Result};
use crate::feed;
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::prospects::{json, open, seal};
use axum::extract::State;
use axum::response::Response;
use minicbor::{Decode, Encode};
use serde::Serialize;
use serde_json::value::RawValue;
use wingbeat_engine::partition::change::{Cause, Turned};
use wingbeat_engine::partition::feed::{Cursor, What};
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
    /// What happened to it by itself, or by another version of the model, since the page before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    turned: Vec<Turn>,
    prospect: Box<RawValue>,
}

#[derive(Serialize)]
struct Turn {
    /// The computed instant.
    at: String,
    what: Vec<&'static str>,
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
        feed::begin(&partitions, &mut position.cursors).await?;
        let mut items = Vec::new();
        for _ in 0..number {
            let partition = position.next % number.max(1);
            let Some(cursor) = position.cursors.get_mut(usize::from(partition)) else { break };
            let room = u32::try_from(limit.saturating_sub(items.len())).unwrap_or(0);
            let told = feed::read(&partitions, partition, cursor.clone(), room).await?;
            *cursor = Some(told.cursor);
            items.extend(told.items.into_iter().map(|item| shown(partition, item)).collect::<Result<Vec<_>>>()?);
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

fn shown(partition: u16, item: wingbeat_engine::partition::feed::Item) -> Result<Item> {
    let show = wingbeat_engine::time::show;
    let seq = item.seq;
    let fault = |error| ApiError::unavailable("a change could not be shown", error);
    let document = |prospect: Option<Vec<u8>>| {
        let document: Box<RawValue> = serde_json::from_slice(&prospect.unwrap_or_default()).map_err(fault)?;
        let head: Head = serde_json::from_str(document.get()).map_err(fault)?;
        Ok::<_, ApiError>((document, head))
    };
    // The same line read again has the same ids: of what is told twice a reader keeps one.
    let id = item.founder.prospect_id();
    Ok(match item.what {
        What::Reached { stage, at, cause, prospect } => {
            let (prospect, _) = document(prospect)?;
            let id = format!("n{partition}-{seq}-{stage}-{id}");
            Item {
                id,
                seq,
                kind: "stage.reached",
                stage: Some(stage),
                at: show(at),
                cause: Some(cause.slug()),
                turned: Vec::new(),
                prospect,
            }
        }
        What::Changed { prospect, at, cause, turned } => {
            let (prospect, head) = document(prospect)?;
            let (kind, cause) = match head.life_cycle.as_str() {
                "merged" => ("prospect.merged", None),
                "deleted" => ("prospect.deleted", None),
                _ => ("prospect.changed", cause.map(Cause::slug)),
            };
            let id = format!("c{partition}-{seq}-{id}");
            let turned = turned.into_iter().filter_map(|(at, what)| {
                Some(Turn { at: show(at)?, what: what.into_iter().map(Turned::slug).collect() })
            });
            Item { id, seq, kind, stage: None, at: at.and_then(show), cause, turned: turned.collect(), prospect }
        }
    })
}

/// What of a prospect's document says what has become of it.
#[derive(serde::Deserialize)]
struct Head {
    life_cycle: String,
}
