//! The scoring model: rules as data, their evaluation over events, and the explanation of every point.
//!
//! # Layout
//! - [`model`]: what a model is once read; `parse` and its `parse_…` read one from JSON through `reader`, which names
//!   the place of every mistake. [`schema`] says the same for editors, from the same tables.
//! - [`condition`], [`operator`], [`glob`], [`needle`]: conditions, compiled once; [`subject`], [`known`], [`seen`]: what they look
//!   at.
//! - [`fold`]: the state of one prospect under one model, [`ahead`] what future events add to it; [`balance`] is its
//!   arithmetic for one score. This
//!   arithmetic **is** the definition of a score: reading, explaining and refolding run the same code.
//! - [`template`]: models to begin with; [`difference`]: what two models differ in.
//! - [`standing`], [`due`], [`explain`], [`why`]: what the state means at a time, when that changes by itself, and why;
//!   what became of one event.
//!
//! # The order of things
//! Events are folded by (`at`, `id`, `rec`), rules of one event in the order of the model. Between events a score
//! changes by itself: points expire *before* the events of their millisecond, inactivity is noticed *after* them. An
//! event dated after the time asked about is taken as happening at that time (contract, section 1, row 2): it is
//! worth its points undecayed, and it is not yet among the events of a tag's window.
//!
//! A score of kind `external` is folded like any other: each word that an event says of its attribute (see
//! [`crate::attributes`]) discards what was before, as a `set` does; `outside` says which numbers it can be. Profile scores
//! and conditions look at attributes as they are now.
//!
//! Whatever is compared with a threshold (bands, stages, temperature) is the value as shown, rounded to 6 decimals: to
//! fewer where a sum is so large that a float would not tell them apart.

mod ahead;
mod balance;
mod condition;
mod difference;
mod due;
mod explain;
mod fold;
mod glob;
mod known;
mod model;
mod needle;
mod operator;
mod outside;
mod parse;
mod parse_condition;
mod parse_json;
mod parse_operator;
mod parse_score;
mod reader;
mod schema;
mod seen;
mod standing;
mod subject;
mod template;
mod why;
mod window;

#[cfg(test)]
mod tests;

pub use balance::EXPIRING_MAX;
pub use difference::{Difference, differences};
pub use explain::{Crowded, Explanation, Part, PartKind, TEMPERATURE, explain, explain_page, points_of};
pub use fold::Fold;
pub use model::{Aggregate, Model};
pub use outside::{EXTERNAL_MAX, beyond_range, is_beyond_range};
#[cfg(feature = "cli")]
pub(crate) use parse_condition::SOURCES;
pub use parse_condition::check_property_name;
pub(crate) use parse_json::{JsonError, read_json};
pub use reader::ModelError;
pub(crate) use reader::one_of;
pub use schema::schema;
pub use standing::{ScoreValue, Standing};
pub use template::{TEMPLATES, Template};
pub use why::{Failed, Outcome, Verdict, why};

use crate::event::{Body, Source};
use crate::key::KeyHash;
use minicbor::{Decode, Encode};
use std::collections::BTreeMap;

/// One event as a prospect's scoring sees it.
#[derive(Debug, Clone, Copy)]
pub struct Occurrence<'a> {
    /// When it happened, ms since 1970 UTC.
    pub at: i64,
    /// The sender's id.
    pub id: &'a str,
    /// The key that it was recorded under.
    pub rec: KeyHash,
    /// Whether `rec` names a browser: only browsers have sessions.
    pub browser: bool,
    /// Whether it was recorded under an address of the internal list: such events score nothing.
    pub internal: bool,
    /// What happened.
    pub body: &'a Body,
}

/// What is known of a prospect now, by name (`industry`, `email_domain`, `sf.…`, `braze.…`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Attributes(#[n(0)] pub BTreeMap<String, Attribute>);

/// One attribute: the value that the latest word gave it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attribute {
    /// The value as JSON text: types are kept. `null` is no value.
    #[n(0)]
    pub value: String,
    /// Who said so.
    #[n(1)]
    pub source: Source,
    /// When, ms since 1970 UTC.
    #[n(2)]
    pub at: i64,
}

impl Attributes {
    /// The value of this name; `None` if there is none, or `null`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<serde_json::Value> {
        let value: serde_json::Value = serde_json::from_str(&self.0.get(name)?.value).ok()?;
        (!value.is_null()).then_some(value)
    }
}

/// Milliseconds in a day: days are this long, wherever a model says `days` (contract, section 1, row 10).
pub(crate) const DAY_MS: i64 = 86_400_000;
