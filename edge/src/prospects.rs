//! `GET /api/prospects…`: people out (DESIGN 8; contract, section 2).

use crate::error::{ApiError, Result};
use crate::now_ms;
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64URL_NOPAD;
use minicbor::{Decode, Encode};
use serde::Serialize;
use serde_json::value::RawValue;
use wingbeat_engine::key::{DeploymentKey, Identifier, KeyHash, KeyType};
use wingbeat_engine::kinds::Kind;
use wingbeat_engine::partition::call::{self, Answer};
use wingbeat_engine::partition::list::{Comparison, Filter, List, Rank, Sort};
use wingbeat_engine::partition::read::{Position, Target};
use wingbeat_engine::partition::{decode, encode};
use worker::Env;
use worker::send::SendFuture;

/// A page of a list, as every list answers.
#[derive(Serialize)]
struct Page<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    items: Vec<&'p RawValue>,
    next_cursor: Option<String>,
}

/// Where a list goes on: at the same instant, in the same order.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
struct ListCursor {
    #[n(0)]
    as_of: i64,
    #[n(1)]
    sort: Sort,
    #[n(2)]
    descending: bool,
    #[n(3)]
    after: Rank,
}

/// `GET /api/prospects`
pub(crate) async fn list(State(env): State<Env>, parameters: Parameters) -> Result<Response> {
    SendFuture::new(async move {
        let (list, limit) = read_list(parameters, now_ms())?;
        let (as_of, sort, descending) = (list.as_of, list.sort.clone(), list.descending);
        // One more than asked for shows whether there is a next page.
        let listed = Partitions::open(&env).await?.list(List { limit: limit + 1, ..list }).await?;
        let mut listed = listed.ok_or_else(|| ApiError::invalid_field("/sort", "there is no such score"))?;
        let more = listed.len() > limit;
        listed.truncate(limit);
        let end = listed.last().filter(|_| more).map(|last| last.rank);
        let cursor = end.map(|after| seal(&ListCursor { as_of, sort, descending, after })).transpose()?;
        let items = listed.iter().map(|listed| raw(&listed.prospect)).collect::<Result<Vec<_>>>()?;
        let as_of = wingbeat_engine::time::show(as_of);
        json(&Page { as_of, items, next_cursor: cursor })
    })
    .await
}

/// `GET /api/prospects/{ref}`
pub(crate) async fn one(
    State(env): State<Env>,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<Response> {
    document(env, reference, parameters, |target, _| Ok(call::Query::Prospect(target))).await
}

/// `GET /api/prospects/{ref}/explanation`
pub(crate) async fn explanation(
    State(env): State<Env>,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<Response> {
    document(env, reference, parameters, |target, parameters| {
        let behind = parameters.parsed("cursor", "the `next_cursor` of the answer before", open)?;
        let (score, at) = (parameters.text("score")?, parameters.time("at")?);
        Ok(call::Query::Explanation { target, score, at, behind })
    })
    .await
}

/// `GET /api/prospects/{ref}/identity`
pub(crate) async fn identity(
    State(env): State<Env>,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<Response> {
    document(env, reference, parameters, |target, _| Ok(call::Query::Identity(target))).await
}

/// `GET /api/prospects/{ref}/timeline`
pub(crate) async fn timeline(
    State(env): State<Env>,
    Reference(reference): Reference,
    parameters: Parameters,
) -> Result<Response> {
    SendFuture::new(async move {
        let mut parameters = parameters;
        let kind = parameters.parsed("kind", "a kind of event, such as page_view", Kind::from_slug)?;
        let before = parameters.time("before")?;
        let behind: Option<Position> = parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
        let limit = parameters.limit()?;
        parameters.none_left()?;
        let partitions = Partitions::open(&env).await?;
        let target = target(partitions.key(), &reference)?;
        let query = call::Query::Timeline { target, kind, before, behind, limit };
        match partitions.ask(query).await? {
            Answer::Page { items, end } => {
                let items: Vec<&RawValue> = serde_json::from_slice(&items)
                    .map_err(|error| ApiError::unavailable("a timeline could not be read", error))?;
                json(&Page { as_of: None, items, next_cursor: end.as_ref().map(seal).transpose()? })
            }
            _ => Err(unknown(&reference)),
        }
    })
    .await
}

/// One document about one prospect.
async fn document(
    env: Env,
    reference: String,
    parameters: Parameters,
    query: impl FnOnce(Target, &mut Parameters) -> Result<call::Query>,
) -> Result<Response> {
    SendFuture::new(async move {
        let partitions = Partitions::open(&env).await?;
        let target = target(partitions.key(), &reference)?;
        let mut parameters = parameters;
        let query = query(target, &mut parameters)?;
        parameters.none_left()?;
        match partitions.ask(query).await? {
            Answer::Document(bytes) => Ok(as_json(bytes)),
            Answer::Identity(gathering) => json(&partitions.gather(*gathering).await?),
            Answer::NoSuchScore => Err(ApiError::invalid_field("/score", "there is no such score")),
            Answer::Changed => Err(ApiError::invalid_field(
                "/cursor",
                "the explanation is another one by now, or was of another `score` or `at`: begin again, without a cursor",
            )),
            _ => Err(unknown(&reference)),
        }
    })
    .await
}

/// What a `ref` is: a prospect's id, or `type:value`.
pub(crate) enum Named {
    /// By the key that founded it.
    Id(KeyHash),
    /// An identifier.
    Key(Identifier),
}

/// Reads a `ref`.
pub(crate) fn named(reference: &str) -> Result<Named> {
    if let Some(id) = KeyHash::from_prospect_id(reference) {
        return Ok(Named::Id(id));
    }
    let Some((key_type, value)) = reference.split_once(':') else { return Err(unknown(reference)) };
    let (slug, workspace) = key_type.split_once('@').unwrap_or((key_type, ""));
    let Some(key_type) = KeyType::from_slug(slug) else {
        return Err(ApiError::invalid_field(
            "/ref",
            "a reference is a prospect's id, or a type of identifier, a colon and its value",
        ));
    };
    // A value that can be no identifier is nobody's.
    Identifier::new(key_type, workspace, value).map(Named::Key).ok_or_else(|| unknown(reference))
}

/// Whom a `ref` means.
pub(crate) fn target(key: &DeploymentKey, reference: &str) -> Result<Target> {
    Ok(match named(reference)? {
        Named::Id(id) => Target::id(id),
        Named::Key(identifier) => Target::key(key.hash(&identifier)),
    })
}

/// The reference itself is not repeated: it may be somebody's address, and errors end in logs.
pub(crate) fn unknown(_reference: &str) -> ApiError {
    ApiError::not_found("there is no such prospect")
}

fn read_list(mut parameters: Parameters, now: i64) -> Result<(List, usize)> {
    let limit = parameters.limit()?;
    let sort = parameters.text("sort")?;
    let cursor: Option<ListCursor> = parameters.parsed("cursor", "the `next_cursor` of the page before", open)?;
    let (descending, sort) = match sort {
        Some(sort) => {
            let (descending, name) = sort.strip_prefix('-').map_or((false, sort.as_str()), |name| (true, name));
            let sort = match name {
                "last_active_at" => Sort::LastActive,
                "created_at" => Sort::Created,
                score => Sort::Score(score.to_owned()),
            };
            (descending, sort)
        }
        None => match &cursor {
            Some(cursor) => (cursor.descending, cursor.sort.clone()),
            None => (true, Sort::Main),
        },
    };
    if cursor.as_ref().is_some_and(|cursor| (cursor.descending, &cursor.sort) != (descending, &sort)) {
        return Err(ApiError::invalid_field("/cursor", "this cursor belongs to a list in another order"));
    }
    let scores = parameters.prefixed("score.").into_iter().map(|(name, value)| comparison(&name, &value));
    let filter = Filter {
        scores: scores.collect::<Result<_>>()?,
        identified: parameters.boolean("identified")?,
        tags: parameters.all("tag"),
        stage: parameters.text("stage")?,
        temperature: parameters.text("temperature")?,
        account: parameters.text("account")?.map(|account| account.to_lowercase()),
        query: parameters.text("q")?.map(|query| query.to_lowercase()).filter(|query| !query.trim().is_empty()),
    };
    parameters.none_left()?;
    let as_of = cursor.as_ref().map_or(now, |cursor| cursor.as_of);
    let after = cursor.map(|cursor| cursor.after);
    Ok((List { sort, descending, limit, as_of, after, filter }, limit))
}

/// `score.<slug>.gte=50`
fn comparison(name: &str, value: &str) -> Result<(String, Comparison, f64)> {
    let parts = name.strip_prefix("score.").and_then(|rest| rest.rsplit_once('.'));
    let comparison = parts.and_then(|(slug, operator)| {
        let comparison = match operator {
            "gte" => Comparison::Gte,
            "gt" => Comparison::Gt,
            "lte" => Comparison::Lte,
            "lt" => Comparison::Lt,
            _ => return None,
        };
        Some((slug.to_owned(), comparison))
    });
    let (slug, comparison) = comparison.ok_or_else(|| ApiError::unknown_parameter(name))?;
    let bound = value.parse().ok().filter(|bound: &f64| bound.is_finite());
    let bound =
        bound.ok_or_else(|| ApiError::invalid_field(format!("/{name}"), format!("`{name}` must be a number")))?;
    Ok((slug, comparison, bound))
}

/// Cursors are opaque: their form may change.
pub(crate) fn seal<T: Encode<()>>(position: &T) -> Result<String> {
    let bytes = encode(position).map_err(|error| ApiError::unavailable("a cursor could not be made", error))?;
    Ok(BASE64URL_NOPAD.encode(&bytes))
}

pub(crate) fn open<T: for<'b> Decode<'b, ()>>(cursor: &str) -> Option<T> {
    let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok()?;
    decode(&bytes).ok()
}

fn raw(bytes: &[u8]) -> Result<&RawValue> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::unavailable("a prospect could not be read", error))
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Response> {
    serde_json::to_vec(value)
        .map(as_json)
        .map_err(|error| ApiError::unavailable("an answer could not be written", error))
}

pub(crate) fn as_json(bytes: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, bytes).into_response()
}
