//! How a frontend calls a partition: the one place that knows both questions and answers. Bytes on the way, so that the
//! wire format is versioned by field numbers: old and new code run side by side while a deployment rolls out.

use super::backtest::Backtest;
use super::list::{List, Listed};
use super::message::Message;
use super::properties::Properties;
use super::read::{Looked, Position, Target, json};
use super::tally::Way;
use super::{Partition, Progress, Reply};
use crate::key::KeyHash;
use crate::kinds::Kind;
use crate::store::{Store, StoreError};
use minicbor::{Decode, Encode};

/// A call, with how its sender thinks that slots lie: a partition that is not the one meant must not answer.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Envelope {
    /// Which partition is meant.
    #[n(0)]
    pub partition: u16,
    /// Of how many.
    #[n(1)]
    pub of: u16,
    /// What for.
    #[n(2)]
    pub call: Call,
    /// The newest version of the model that the sender knows of; 0 of who knows none. A partition that is behind it
    /// answers [`Answer::Behind`] and nothing else.
    #[n(4)]
    pub model_version: u64,
}

/// What a partition is called for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Call {
    /// To apply messages; answered by [`Answer::Replies`] once they are durable.
    #[n(0)]
    Apply(#[n(0)] Vec<Message>),
    /// To read.
    #[n(1)]
    Ask(#[n(0)] Box<Query>),
    /// To go by a version of the model from now on; answered by [`Answer::Recompute`] once that is durable.
    #[n(2)]
    Publish {
        /// Which.
        #[n(0)]
        version: u64,
        /// As JSON.
        #[n(1)]
        model: String,
    },
    /// To begin a backtest; answered by [`Answer::Backtest`].
    #[n(3)]
    Backtest {
        /// The same for all partitions.
        #[n(0)]
        id: String,
        /// The time asked about, ms.
        #[n(1)]
        as_of: i64,
        /// As JSON.
        #[n(2)]
        draft: String,
    },
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Query {
    /// One prospect.
    #[n(0)]
    Prospect(#[n(0)] Target),
    /// Its activities, newest first.
    #[n(1)]
    Timeline {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Only these.
        #[n(1)]
        kind: Option<Kind>,
        /// Only those before this time, ms.
        #[n(2)]
        before: Option<i64>,
        /// Where the page before ended.
        #[n(3)]
        behind: Option<Position>,
        /// 1 to 200.
        #[n(4)]
        limit: usize,
    },
    /// Why a score is what it is.
    #[n(2)]
    Explanation {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Its slug; the main score if absent.
        #[n(1)]
        score: Option<String>,
        /// The time asked about, ms; now if absent.
        #[n(2)]
        at: Option<i64>,
    },
    /// Why these are one person.
    #[n(3)]
    Identity(#[n(0)] Target),
    /// The first prospects of a list.
    #[n(4)]
    List(#[n(0)] List),
    /// Records that could not be read, newest first: at most so many.
    #[n(5)]
    DeadLetters(#[n(0)] usize),
    /// Whether it is well.
    #[n(6)]
    Health,
    /// All claims of a browser, as evidence.
    #[n(7)]
    ClaimsOf(#[n(0)] KeyHash),
    /// How far folding everybody by the newest version of the model is.
    #[n(8)]
    Recompute,
    /// The newest backtest.
    #[n(9)]
    Backtest,
    /// Who crosses a stage in it.
    #[n(10)]
    Crossings {
        /// Its slug.
        #[n(0)]
        stage: String,
        /// In or out.
        #[n(1)]
        way: Way,
        /// Where the page before ended; -1 for the first.
        #[n(2)]
        after: i64,
        /// 1 to 200.
        #[n(3)]
        limit: usize,
    },
    /// The names of properties.
    #[n(11)]
    Properties,
    /// What became of an event.
    #[n(12)]
    Event {
        /// Whose.
        #[n(0)]
        target: Target,
        /// Which.
        #[n(1)]
        position: Position,
    },
}

impl Query {
    /// Whom it is about, if it is about somebody.
    pub fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Query::Prospect(target)
            | Query::Timeline { target, .. }
            | Query::Explanation { target, .. }
            | Query::Identity(target)
            | Query::Event { target, .. } => Some(target),
            Query::List(_)
            | Query::DeadLetters(_)
            | Query::Health
            | Query::ClaimsOf(_)
            | Query::Recompute
            | Query::Backtest
            | Query::Crossings { .. }
            | Query::Properties => None,
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Answer {
    /// One per message.
    #[n(0)]
    Replies(#[n(0)] Vec<Reply>),
    /// A document of the API, as JSON.
    #[n(1)]
    Document(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>),
    /// The items of a page as a JSON array, and where it ended if there are more.
    #[n(2)]
    Page {
        /// JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        items: Vec<u8>,
        /// For the next page.
        #[n(1)]
        end: Option<Position>,
    },
    /// A part of a list, to be merged with other partitions'.
    #[n(3)]
    List(#[n(0)] Vec<Listed>),
    /// Nobody of that name.
    #[n(4)]
    Unknown,
    /// No score of that slug.
    #[n(5)]
    NoSuchScore,
    /// Why these are one person, as JSON; and the browsers whose owners know of more claims.
    #[n(7)]
    Identity {
        /// JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        identity: Vec<u8>,
        /// To be asked by [`Query::ClaimsOf`].
        #[n(1)]
        browsers: Vec<KeyHash>,
    },
    /// Another partition knows more: ask it so.
    #[n(8)]
    Elsewhere(#[n(0)] Target),
    /// Whom it is about is on the way from one partition to another: ask again.
    #[n(9)]
    Settling,
    /// It is well: how far the slowest reader of its feed is behind, in rows.
    #[n(6)]
    Well {
        /// Rows.
        #[n(0)]
        feed_lag: u64,
    },
    /// The sender knows of a newer version of the model: tell this partition of it, and ask again.
    #[n(10)]
    Behind,
    /// How far folding everybody anew is; nothing to do, if it is done.
    #[n(11)]
    Recompute(#[n(0)] Option<Progress>),
    /// The newest backtest, if there was one.
    #[n(12)]
    Backtest(#[n(0)] Option<Box<Backtest>>),
    /// Who crosses a stage, as a JSON array; and where it ended if there may be more.
    #[n(13)]
    Crossings {
        /// JSON.
        #[cbor(n(0), with = "minicbor::bytes")]
        items: Vec<u8>,
        /// For the next page.
        #[n(1)]
        end: Option<i64>,
    },
    /// The names of properties.
    #[n(14)]
    Properties(#[n(0)] Properties),
}

impl<S: Store> Partition<S> {
    /// Answers a question.
    ///
    /// # Errors
    /// When the store fails.
    pub fn answer(&self, query: &Query, now: i64) -> Result<Answer, StoreError> {
        Ok(match query {
            Query::Prospect(target) => shown(self.prospect(*target, now)?, |prospect| document(&prospect))?,
            Query::Timeline { target, kind, before, behind, limit } => {
                let page = self.timeline(*target, *kind, *before, behind.as_ref(), *limit)?;
                shown(page, |page| Ok(Answer::Page { items: json(&page.items)?, end: page.end }))?
            }
            Query::Explanation { target, score, at } => {
                let score = score.as_deref().unwrap_or(self.model.main_score());
                if !self.model.score_slugs().any(|slug| slug == score) {
                    return Ok(Answer::NoSuchScore);
                }
                shown(self.explanation(*target, score, *at, now)?, |explanation| document(&explanation))?
            }
            Query::Identity(target) => shown(self.identity(*target)?, |(identity, browsers)| {
                Ok(Answer::Identity { identity: json(&identity)?, browsers })
            })?,
            Query::ClaimsOf(browser) => Answer::Page { items: json(&self.claims_of(*browser)?)?, end: None },
            Query::List(list) => match self.list(list)? {
                Some(listed) => Answer::List(listed),
                None => Answer::NoSuchScore,
            },
            Query::DeadLetters(limit) => Answer::Page { items: json(&self.dead_letters(*limit)?)?, end: None },
            Query::Event { target, position } => shown(self.event(*target, position, now)?, |event| document(&event))?,
            Query::Recompute => Answer::Recompute(self.recomputing()),
            Query::Backtest => Answer::Backtest(self.backtest().cloned().map(Box::new)),
            Query::Crossings { stage, way, after, limit } => {
                let (items, end) = self.crossings(stage, *way, *after, *limit)?;
                Answer::Crossings { items, end }
            }
            Query::Properties => Answer::Properties(self.properties.borrow().clone()),
            // Nothing reads feeds yet: destinations and the changes API will, by cursors that are kept here.
            Query::Health => Answer::Well { feed_lag: 0 },
        })
    }
}

fn document<T: serde::Serialize>(document: &T) -> Result<Answer, StoreError> {
    Ok(Answer::Document(json(document)?))
}

fn shown<T>(looked: Looked<T>, show: impl FnOnce(T) -> Result<Answer, StoreError>) -> Result<Answer, StoreError> {
    match looked {
        Looked::Found(found) => show(found),
        Looked::Elsewhere(target) => Ok(Answer::Elsewhere(target)),
        Looked::Settling => Ok(Answer::Settling),
        Looked::Unknown => Ok(Answer::Unknown),
    }
}
