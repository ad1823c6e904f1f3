//! The Worker: HTTP in, HTTP out, and thin shells around the engine. Only this crate knows that Cloudflare exists.
//!
//! # Layout
//! - [`frontend`]: the routes, stateless
//! - [`collect`], [`currents`], [`events`]: events in; [`intake`], [`dead_letters`]: what came and what could not be read
//! - [`link`]: one visitor over several domains; [`origin`], [`cookie`]: what pages' requests share
//! - [`prospects`], [`event`], [`accounts`]: people out; [`patch`]: what is told of them; [`decisions`]: what people decide about them;
//!   [`erasures`]; [`idempotency`]: calls that come again
//! - [`model`]: the rules; [`health`], [`settings`], [`sites`], [`assets`]
//! - [`changes`]: the feed out; [`exports`]: everybody out; [`connections`]: where people are told to, and [`destination`]: the objects that do it
//! - [`tokens`]: tokens that are generated here, and [`token_store`], where they are kept
//! - [`error`], [`auth`], [`config`]: what every route shares
//! - [`partitions`]: calling partitions, and merging what they answer
//! - [`directory`]: what frontends remember of the Registry
//! - [`partition_do`], [`registry_do`]: the Durable Objects; [`alarm`]: the one that each has; [`sql`]: their SQLite
//!   behind the engine's port; [`seal`]: secrets at rest
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod accounts;
mod alarm;
mod assets;
mod auth;
mod body;
mod changes;
mod collect;
mod config;
mod connections;
mod cookie;
mod currents;
mod dead_letters;
mod decisions;
mod destination;
mod directory;
mod erasures;
mod error;
mod event;
mod events;
mod exports;
mod feed;
mod frontend;
mod health;
mod held;
mod idempotency;
mod intake;
mod link;
mod link_table;
mod model;
mod origin;
mod parameters;
mod partition_do;
mod partitions;
mod patch;
mod prospects;
mod registry_do;
mod seal;
mod settings;
mod sites;
mod sql;
mod timer;
mod token_store;
mod tokens;

use tower_service::Service;
use worker::{Context, Env, HttpRequest};

/// Every request that reaches the Worker.
#[worker::event(fetch)]
async fn fetch(
    request: HttpRequest,
    env: Env,
    _context: Context,
) -> worker::Result<axum::http::Response<axum::body::Body>> {
    Ok(frontend::router(env).call(request).await?)
}

/// Now, ms since 1970 UTC. In production it does not advance while code runs (facts on Workers, B.6).
#[allow(clippy::cast_possible_truncation)]
fn now_ms() -> i64 {
    js_sys::Date::now() as i64
}
