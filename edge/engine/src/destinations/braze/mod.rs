//! Braze's REST interface (facts on Braze, sections 4 to 6).
//!
//! - [`host`]: which address a key belongs to
//! - [`settings`]: what is written, and under which names
//! - [`track`]: `/users/track`, scores written back
//! - [`answer`]: what its answers mean
//! - [`export`]: `/users/export/ids`, people looked up; [`queue`]: who waits for that
//! - [`erased`]: what is kept of requests, without who was erased since

pub mod answer;
pub mod erased;
pub mod export;
pub mod host;
pub mod queue;
pub mod settings;
pub mod track;
