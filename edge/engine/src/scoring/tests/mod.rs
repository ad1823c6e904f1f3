//! Tests of the scoring module: the contract's sentences, and random histories against a naive reference.

mod contract;
mod cost;
mod edges;
mod explain;
mod history;
mod limits;
mod models;
mod naive;
mod random;
mod schema;
mod why;

use super::*;
use crate::kinds::Kind;

/// 2026-11-02T00:00:00Z, a Monday.
pub(super) const T0: i64 = 1_793_577_600_000;
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = DAY_MS;

/// An event with everything that an [`Occurrence`] borrows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) at: i64,
    pub(super) id: String,
    pub(super) rec: KeyHash,
    pub(super) browser: bool,
    pub(super) internal: bool,
    pub(super) body: Body,
}

impl Event {
    pub(super) fn new(at: i64, kind: Kind) -> Event {
        let body = Body::bare(kind, String::new(), Source::Tracker);
        Event { at, id: format!("e{at}"), rec: KeyHash([7; 16]), browser: true, internal: false, body }
    }

    /// A caller's word on attributes.
    pub(super) fn telling(at: i64, attributes: &serde_json::Value) -> Event {
        let mut event = Event::new(at, Kind::Identify);
        event.body.source = Source::Api;
        event.body.properties = serde_json::json!({ "attributes": attributes }).to_string();
        event
    }

    pub(super) fn id(mut self, id: &str) -> Event {
        id.clone_into(&mut self.id);
        self
    }

    pub(super) fn name(mut self, name: &str) -> Event {
        name.clone_into(&mut self.body.name);
        self
    }

    pub(super) fn url(mut self, url: &str) -> Event {
        self.body.url = Some(url.to_owned());
        self
    }

    pub(super) fn bot(mut self) -> Event {
        self.body.bot = Some("scanner".to_owned());
        self
    }

    pub(super) fn browser(mut self, number: u8) -> Event {
        self.rec = KeyHash([number; 16]);
        self
    }

    pub(super) fn occurrence(&self) -> Occurrence<'_> {
        let Event { at, id, rec, browser, internal, body } = self;
        Occurrence { at: *at, id, rec: *rec, browser: *browser, internal: *internal, body }
    }
}

/// A page view of `/pricing`.
pub(super) fn pricing(at: i64) -> Event {
    Event::new(at, Kind::PageView).url("https://shop.example/pricing")
}

pub(super) fn sorted(events: &[Event]) -> Vec<Occurrence<'_>> {
    let mut occurrences: Vec<_> = events.iter().map(Event::occurrence).collect();
    occurrences.sort_by_key(|o| (o.at, o.id, o.rec));
    occurrences
}

/// Folds events in order, as known at `now`.
pub(super) fn fold(model: &Model, events: &[Event], now: i64) -> Fold {
    let mut fold = Fold::default();
    sorted(events).iter().for_each(|o| fold.push(model, o, now));
    fold
}

/// The same with so few events kept one by one that are dated later than `now`.
pub(super) fn fold_keeping(most: usize, model: &Model, events: &[Event], now: i64) -> Fold {
    let mut fold = Fold::default();
    sorted(events).iter().for_each(|o| fold.push_keeping(most, model, o, now));
    fold
}

pub(super) fn standing(model: &Model, events: &[Event], now: i64) -> Standing {
    fold(model, events, now).standing(model, &Attributes::default(), now)
}

/// The value of the first score.
pub(super) fn value(model: &Model, events: &[Event], now: i64) -> f64 {
    standing(model, events, now).scores[0].1.value.unwrap()
}

pub(super) fn parse(json: &serde_json::Value) -> Model {
    Model::parse(&json.to_string()).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// A model with one behavior score of these rules and further fields.
pub(super) fn scoring(rules: serde_json::Value, mut fields: serde_json::Value) -> Model {
    fields["slug"] = "s".into();
    fields["rules"] = rules;
    let score = fields;
    parse(&serde_json::json!({ "scores": [score] }))
}

pub(super) fn attributes(pairs: &[(&str, &str, i64)]) -> Attributes {
    let attribute = |(name, value, at): &(&str, &str, i64)| {
        ((*name).to_owned(), Attribute { value: (*value).to_owned(), source: Source::Crm, at: *at })
    };
    Attributes(pairs.iter().map(attribute).collect())
}
