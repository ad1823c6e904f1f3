//! `PATCH /api/prospects/{ref}`: attributes, names, owner and favourite of a person, as a caller knows them.

use crate::decisions::holdings;
use crate::error::{ApiError, Result};
use crate::parameters::{Parameters, Reference};
use crate::partitions::Partitions;
use crate::prospects::{Named, as_json, named, unknown};
use crate::{body, idempotency, model};
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use wingbeat_engine::key::Identifier;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::read::Target;
use wingbeat_engine::partition::read::holdings::Holdings;
use wingbeat_engine::sources::patch::{BODY_BYTES_MAX, parse};
use worker::Env;
use worker::send::SendFuture;

/// Answers the prospect as it is then.
pub(crate) async fn patch(
    State(env): State<Env>,
    headers: HeaderMap,
    Reference(reference): Reference,
    parameters: Parameters,
    body: Body,
) -> Result<Response> {
    SendFuture::new(async move {
        parameters.none_left()?;
        let patch = parse(&body::read(body, BODY_BYTES_MAX).await?)?;
        if let Some(name) = model::scored_of(&env, patch.beyond_range()).await?.first() {
            let path = format!("/attributes/{}", name.replace('~', "~0").replace('/', "~1"));
            return Err(ApiError::invalid_field(path, model::beyond_range()));
        }
        let partitions = Partitions::open(&env).await?;
        let text = patch.text();
        let asked = ["patch", reference.as_str(), text.as_str()];
        // Dated before it is known who is meant: what is erased meanwhile stays so.
        let at = idempotency::ask_once(&partitions, &headers, &asked).await?;
        let held = holdings(&partitions, &reference, "").await?;
        if !held.is_somebody {
            return Err(unknown(&reference));
        }
        let rec = recorded_under(&partitions, &reference, held)?;
        let target = Target::key(partitions.key().hash(&rec));
        if !patch.is_empty() {
            let id = idempotency::id(&partitions, 'p', &headers, &asked);
            partitions.take(vec![patch.record(rec, at, id)], Vec::new()).await?;
        }
        match partitions.ask(Query::Prospect(target)).await? {
            Answer::Document(bytes) => Ok(as_json(bytes)),
            _ => Err(unknown(&reference)),
        }
    })
    .await
}

/// The key of a prospect that it is recorded under: the person's that was named, so that it stays with that after a
/// separation; otherwise the one whose id the prospect bears.
fn recorded_under(partitions: &Partitions<'_>, reference: &str, held: Holdings) -> Result<Identifier> {
    let hash = |ident: &Identifier| partitions.key().hash(ident);
    let asked = match named(reference)? {
        Named::Key(ident) => Some(hash(&ident)),
        Named::Id(_) => None,
    };
    let as_named = held.keys.iter().find(|key| Some(hash(key)) == asked).cloned();
    let mut keys = as_named.into_iter().chain([held.founder]).chain(held.keys).chain(held.browsers);
    keys.find(|key| !key.is_erased()).ok_or_else(|| unknown(reference))
}
