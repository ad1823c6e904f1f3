//! What a partition answers to each question.

use super::Partition;
use super::call::{Answer, Query};
use super::read::explanation::Changed;
use super::read::{Looked, json};
use crate::scoring::TEMPERATURE;
use crate::store::{Store, StoreError};

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
            Query::Explanation { target, score, at, behind } => {
                let score = score.as_deref().unwrap_or(self.model.main_score());
                if score != TEMPERATURE && !self.model.score_slugs().any(|slug| slug == score) {
                    return Ok(Answer::NoSuchScore);
                }
                let explanation = self.explanation(*target, score, *at, behind.as_ref(), now)?;
                shown(explanation, |explained| match explained {
                    Ok(explanation) => document(&explanation),
                    Err(Changed) => Ok(Answer::Changed),
                })?
            }
            Query::Identity(target) => {
                shown(self.identity(*target)?, |gathering| Ok(Answer::Identity(Box::new(gathering))))?
            }
            Query::Evidence(questions) => {
                let told = questions.iter().map(|question| self.tell(question));
                Answer::Told(told.collect::<Result<_, StoreError>>()?)
            }
            Query::Erasure(id) => self.erasure(id)?.map_or(Answer::Unknown, Answer::Erasure),
            Query::Erasures(limit, behind) => Answer::Erasures(self.erasures(behind.as_ref(), *limit)?),
            Query::AskedOnce(key) => Answer::AskedOnce(self.asked_once(*key)?),
            Query::Erased { target, since } => {
                shown(self.is_erased(*target, *since)?, |erased| Ok(Answer::Erased(erased)))?
            }
            Query::Known(keys) => Answer::Known(self.known(keys)?),
            Query::Holdings { target, decision } => {
                shown(self.holdings(*target, decision)?, |holdings| Ok(Answer::Holdings(Box::new(holdings))))?
            }
            Query::List(list) => match self.list(list)? {
                Some(listed) => Answer::List(listed),
                None => Answer::NoSuchScore,
            },
            Query::DeadLetters(limit, behind) => Answer::DeadLetters(self.dead_letters(behind.as_ref(), *limit)?),
            Query::DeadLetter(id) => Answer::DeadLetters(self.dead_letter(id)?.into_iter().collect()),
            Query::Intake(question) => Answer::Intake { hours: self.intake(question)?, last: self.last_batches()? },
            Query::Feed { cursor, limit } => Answer::Feed(self.read_feed(cursor.as_ref(), *limit, now)?),
            Query::Stretch(after, people) => Answer::Stretch(self.stretch(*after, *people)?),
            Query::Export(export) => Answer::Exported(self.export(export)?),
            Query::Event { target, position } => shown(self.event(*target, position, now)?, |event| document(&event))?,
            Query::Recompute => match self.recomputing() {
                Some(progress) => Answer::Recompute(progress),
                None => Answer::Recomputed(self.recomputed()),
            },
            Query::Backtest => Answer::Backtest(self.backtest().cloned().map(Box::new)),
            Query::Crossings { stage, way, after, limit } => {
                let (items, end) = self.crossings(stage, *way, *after, *limit)?;
                Answer::Crossings { items, end }
            }
            Query::Company { domain, as_of } => Answer::Company(Box::new(self.company(domain, *as_of)?)),
            Query::Properties => Answer::Properties(self.properties.borrow().clone()),
            Query::Health => {
                Answer::Well { clusters_over_limit: self.clusters_over_limit()?, rows_written: 0, commits: 0 }
            }
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
