//! One person, at any time: with the events and the attributes that were known then, and today's identity (contract, row 26).

use crate::attributes::EMAIL_DOMAIN;
use crate::partition::person::Stored;
use crate::scoring::{Attribute, Attributes, Explanation, Fold, Model, Occurrence, Standing, explain};

/// One person with all that scores rest on.
#[derive(Debug, Clone)]
pub struct Person {
    /// The e-mail, else the first identifier.
    pub name: String,
    /// By the engine's order.
    pub events: Vec<Stored>,
    /// How many events there are besides, too old to be scored.
    pub left_out: u64,
    /// The domain of the e-mail, which no event tells.
    pub(super) domain: Option<Attribute>,
    /// Whether they are one of the customer's own: recorded, never scored.
    pub(super) internal: bool,
    /// When the newest of everybody's events came in: from then on the past has ended, ms.
    pub(super) now: i64,
}

impl Person {
    /// The events known at a time. One that is dated ahead counts as soon as it is stored (contract, row 2), and for who
    /// asks about the past not before its own time (row 26).
    fn known(&self, at: i64) -> impl Iterator<Item = &Stored> {
        self.events.iter().filter(move |event| at >= self.now || event.at <= at)
    }

    /// The events known at a time as a model sees them.
    #[must_use]
    pub fn occurrences(&self, at: i64) -> Vec<Occurrence<'_>> {
        self.known(at).map(|event| event.occurrence(self.internal)).collect()
    }

    /// What was known of the person at a time: what the events until then have told.
    #[must_use]
    pub fn attributes(&self, at: i64) -> Attributes {
        let mut attributes = self.nothing_told();
        self.known(at).for_each(|event| attributes.learn(&event.body, event.at));
        attributes
    }

    /// What is known of the person without any event.
    #[must_use]
    pub fn nothing_told(&self) -> Attributes {
        Attributes(self.domain.iter().map(|domain| (EMAIL_DOMAIN.to_owned(), domain.clone())).collect())
    }

    /// Scores, tags, temperature and stage under a model at a time.
    #[must_use]
    pub fn standing(&self, model: &Model, at: i64) -> Standing {
        let mut fold = Fold::default();
        self.occurrences(at).iter().for_each(|o| fold.push(model, o, at));
        fold.standing(model, &self.attributes(at), at)
    }

    /// Why a score is what it is at a time; `None` if the model has no such score.
    #[must_use]
    pub fn explanation(&self, model: &Model, score: &str, at: i64) -> Option<Explanation> {
        explain(model, &self.occurrences(at), &self.attributes(at), score, at)
    }
}
