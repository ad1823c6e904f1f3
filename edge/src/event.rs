//! `GET /api/events/{ref}`: where an event came from, what it earned, and what kept it from earning more.

use crate::error::{ApiError, Result};
use crate::parameters::Reference;
use crate::partitions::Partitions;
use crate::prospects::as_json;
use axum::extract::State;
use axum::response::Response;
use wingbeat_engine::partition::call::{Answer, Query};
use wingbeat_engine::partition::read::event;
use worker::Env;
use worker::send::SendFuture;

pub(crate) async fn get(State(env): State<Env>, Reference(reference): Reference) -> Result<Response> {
    SendFuture::new(async move {
        let unknown = || ApiError::not_found("there is no such event: `ref` is what a timeline says");
        let (target, position) = event::open(&reference).ok_or_else(unknown)?;
        match Partitions::open(&env).await?.ask(Query::Event { target, position }).await? {
            Answer::Document(bytes) => Ok(as_json(bytes)),
            _ => Err(unknown()),
        }
    })
    .await
}
