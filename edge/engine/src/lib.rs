//! The engine of Wingbeat: who a visitor is, what they did, and what it is worth.
//!
//! Everything here is a function of its arguments. The engine performs no I/O but through the
//! [`store::Store`] port, reads no clock, draws no random numbers and knows nothing of Cloudflare:
//! `now` and ids come in as arguments (README, architecture, invariant 3).
//!
//! # Layout
//! - `cli` (feature `cli`): the `wingbeat` command, the one part that reads files and writes to a terminal.
//! - [`account`]: the company a prospect belongs to; [`attributes`]: what is told of a person.
//! - [`key`]: identifiers, their hygiene and keyed hashes; slots.
//! - [`kinds`]: the closed table of event kinds.
//! - [`event`]: what happened, as accepted from a source: [`event::Record`].
//! - [`sources`]: wire formats in. The only place that knows them.
//! - [`destinations`]: wire formats out, and what is where on the other side.
//! - [`identity`]: facts, claims, decisions, policy; the naive pure function that is the oracle.
//! - [`scoring`]: the model, its evaluation over events, explanation.
//! - [`store`]: the port to SQLite, and the native adapter.
//! - [`partition`]: the deterministic state machine over a store.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

/// The simulator's, and SQLite's under it: it takes seven tenths of the processor's time that it takes with glibc's.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod account;
pub mod attributes;
#[cfg(feature = "cli")]
pub mod cli;
pub mod destinations;
pub mod event;
pub mod identity;
pub mod key;
pub mod kinds;
pub mod partition;
pub mod scoring;
pub mod sources;
pub mod store;
pub mod time;
