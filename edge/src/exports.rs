//! `GET /api/exports/{prospects,events,scores,braze-cdi}`: everybody, streamed as NDJSON or CSV.
//!
//! Where an answer will end is settled before it begins, by counting rows, so that its head can name the cursor of the next
//! one. The lines then come piece by piece, as fast as they are read: an answer of any length holds one piece at a time.
//! One that breaks off is asked for once more by the cursor that it was asked with.

use crate::connections;
use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::parameters::Parameters;
use crate::partitions::Partitions;
use crate::prospects::{open, seal};
use crate::{changes, directory};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream;
use minicbor::{Decode, Encode};
use std::collections::VecDeque;
use wingbeat_engine::destinations::braze::settings::WriteBack;
use wingbeat_engine::destinations::braze::track::Names;
use wingbeat_engine::destinations::tables::{Format, Profiles, Table};
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::export::{Export, Exported, Place, Stretch};
use wingbeat_engine::partition::feed;
use worker::Env;
use worker::send::SendFuture;

/// How many people an answer has unless told otherwise, and at most: of a hundred people each, a partition is called once,
/// and a request may make a thousand such calls (facts on Workers).
const LIMIT: u32 = 1_000;
const LIMIT_MAX: u32 = 10_000;

/// The answer's head: where the next one begins (absent from the last), where `/api/changes` goes on from the beginning of
/// the whole export, and the time at which values are taken.
const NEXT_CURSOR: &str = "wingbeat-next-cursor";
const CHANGES_CURSOR: &str = "wingbeat-changes-cursor";
const AS_OF: &str = "wingbeat-as-of";

/// Where an export goes on.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct Position {
    #[n(0)]
    as_of: i64,
    #[n(1)]
    since: Option<i64>,
    /// The scores that have columns: those of the model when it began.
    #[n(2)]
    scores: Vec<String>,
    /// Where each feed stood when it began.
    #[n(3)]
    feeds: Vec<feed::Cursor>,
    #[n(4)]
    partition: u16,
    /// The row that was read last there; -1 before the first.
    #[n(5)]
    after: i64,
}

/// Rows of one partition: after one, until another.
struct Segment {
    partition: u16,
    from: Place,
    until: i64,
}

/// What is left of an answer.
struct Rest {
    env: Env,
    table: Table,
    format: Format,
    position: Position,
    segments: VecDeque<Segment>,
    /// The first line, if there is one to come.
    begins: bool,
}

/// `GET /api/exports/{table}`
pub(crate) async fn get(State(env): State<Env>, Path(table): Path<String>, parameters: Parameters) -> Result<Response> {
    SendFuture::new(async move {
        let mut parameters = parameters;
        let format = parameters.parsed("format", "`ndjson` or `csv`", format)?.unwrap_or(Format::Ndjson);
        let within = |limit: &u32| (1..=LIMIT_MAX).contains(limit);
        let limit = parameters
            .parsed("limit", "a number of people from 1 to 10000", |text| text.parse().ok().filter(within))?;
        let known: Option<Position> = parameters.parsed("cursor", "the cursor of the answer before", open)?;
        let since = parameters.time("since")?;
        if since.is_some() && known.as_ref().is_some_and(|known| known.since != since) {
            return Err(ApiError::invalid_field("/since", "this cursor belongs to an export since another time"));
        }
        let table = read_table(&env, &table, &mut parameters).await?;
        parameters.none_left()?;
        let begins = known.is_none();
        let partitions = Partitions::open(&env).await?;
        let (position, segments, next) = plan(&partitions, known, since, limit.unwrap_or(LIMIT)).await?;
        let head = [
            (AS_OF, wingbeat_engine::time::show(position.as_of)),
            (CHANGES_CURSOR, Some(changes::cursor(&position.feeds)?)),
            (NEXT_CURSOR, next.as_ref().map(seal).transpose()?),
        ];
        let rest = Rest { env, table, format, position, segments, begins };
        let pieces = stream::try_unfold(rest, |rest| SendFuture::new(rest.piece()));
        let mut response = Body::from_stream(pieces).into_response();
        let content = match format {
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in head {
            let value = value.map(HeaderValue::try_from).transpose();
            let value = value.map_err(|error| ApiError::unavailable("an answer could not be written", error))?;
            headers.extend(value.map(|value| (header::HeaderName::from_static(name), value)));
        }
        Ok(response)
    })
    .await
}

fn format(text: &str) -> Option<Format> {
    match text {
        "ndjson" => Some(Format::Ndjson),
        "csv" => Some(Format::Csv),
        _ => None,
    }
}

async fn read_table(env: &Env, name: &str, parameters: &mut Parameters) -> Result<Table> {
    match name {
        "prospects" => Ok(Table::Prospects),
        "events" => Ok(Table::Events),
        "scores" => Ok(Table::Scores),
        "braze-cdi" => {
            let connection = parameters.text("connection")?;
            let (workspace, settings) = match connection {
                Some(id) => connections::write_back(env, &id).await?,
                None => (String::new(), WriteBack::default()),
            };
            let names = Names::of(&directory::read(env).await?.model.model);
            let by_email = parameters.boolean("by_email")?.unwrap_or(false);
            Ok(Table::CloudDataIngestion(Box::new(Profiles { workspace, settings, names, by_email })))
        }
        _ => Err(ApiError::not_found("there are exports of prospects, events, scores and braze-cdi")),
    }
}

/// Settles which rows an answer has, and where the next one begins.
async fn plan(
    partitions: &Partitions<'_>,
    known: Option<Position>,
    since: Option<i64>,
    limit: u32,
) -> Result<(Position, VecDeque<Segment>, Option<Position>)> {
    let number = partitions.directory().partitions;
    let (first, after) = known.as_ref().map_or((0, -1), |known| (known.partition, known.after));
    let stretches = (first..number).map(|partition| async move {
        let after = if partition == first { after } else { -1 };
        match partitions.ask_one(partition, Query::Stretch(after, limit)).await? {
            Answer::Stretch(stretch) => Ok((partition, after, stretch)),
            _ => Err(ApiError::unavailable("a partition failed", "it gave another answer than how many it has")),
        }
    });
    let stretches: Vec<(u16, i64, Stretch)> = try_join_all(stretches).await?;
    let position = known.unwrap_or_else(|| Position {
        as_of: now_ms(),
        since,
        scores: scores(&partitions.directory().model.model),
        feeds: stretches.iter().map(|(.., stretch)| stretch.feed.clone()).collect(),
        partition: 0,
        after: -1,
    });
    let (mut segments, mut left, mut next) = (VecDeque::new(), u64::from(limit), None);
    for (partition, after, stretch) in stretches {
        let stretch = if stretch.people > left {
            // Fewer than it was asked about: where they end is another row.
            let fewer = u32::try_from(left).unwrap_or(limit);
            match partitions.ask_one(partition, Query::Stretch(after, fewer)).await? {
                Answer::Stretch(stretch) => stretch,
                _ => return Err(ApiError::unavailable("a partition failed", "it gave another answer before")),
            }
        } else {
            stretch
        };
        let Some(until) = stretch.last else { continue };
        left = left.saturating_sub(stretch.people);
        segments.push_back(Segment { partition, from: Place::after(after), until });
        if left == 0 {
            // Whether there is anybody behind the last is seen by the next answer.
            next = Some(Position { partition, after: until, ..position.clone() });
            break;
        }
    }
    Ok((position, segments, next))
}

fn scores(model: &serde_json::Value) -> Vec<String> {
    let scores = model.get("scores").and_then(serde_json::Value::as_array).into_iter().flatten();
    scores.filter_map(|score| score.get("slug")?.as_str()).map(str::to_owned).collect()
}

impl Rest {
    /// The next lines, and what is left then. An error breaks the answer off: no reader takes it for whole.
    async fn piece(mut self) -> std::io::Result<Option<(Vec<u8>, Rest)>> {
        let mut lines = Vec::new();
        if std::mem::take(&mut self.begins) {
            self.table.begin(self.format, &self.position.scores, &mut lines).map_err(broken)?;
        }
        while lines.is_empty() {
            let Some(segment) = self.segments.front_mut() else { return Ok(None) };
            let export = Export {
                what: self.table.what(),
                from: segment.from.clone(),
                until: segment.until,
                since: self.position.since,
                as_of: self.position.as_of,
            };
            let partition = segment.partition;
            let Exported { items, next } = ask(&self.env, partition, export).await.map_err(broken)?;
            match next {
                Some(place) => segment.from = place,
                None => drop(self.segments.pop_front()),
            }
            for item in &items {
                self.table.write(self.format, &self.position.scores, item, &mut lines).map_err(broken)?;
            }
        }
        Ok(Some((lines, self)))
    }
}

async fn ask(env: &Env, partition: u16, export: Export) -> std::result::Result<Exported, String> {
    let partitions = Partitions::open(env).await.map_err(|error| error.message().to_owned())?;
    match partitions.ask_one(partition, Query::Export(export)).await {
        Ok(Answer::Exported(exported)) => Ok(exported),
        Ok(_) => Err("a partition gave another answer than a piece of an export".to_owned()),
        Err(error) => Err(error.message().to_owned()),
    }
}

fn broken(error: impl std::fmt::Display) -> std::io::Error {
    std::io::Error::other(error.to_string())
}
