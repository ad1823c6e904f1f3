//! Lists of prospects in exact order of a score, of last activity or of creation.
//!
//! Order keys are stored, values are not: with one half-life per score, time passing changes no order, and what it does
//! change (inactivity, expiry) only lowers a value below what its key says (README, storage). So the walk goes down the
//! keys, evaluates exactly at the time asked about, and stops when no later key can still reach the page.

use super::person::Person;
use super::view::Prospect;
use super::{Partition, decode, read};
use crate::account;
use crate::scoring::{Model, Standing};
use crate::store::{Store, StoreError, Value};
use minicbor::{Decode, Encode};

/// How many rows are read at a time.
const BLOCK: i64 = 400;

/// By what a list is ordered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Sort {
    /// A score's slug.
    #[n(0)]
    Score(#[n(0)] String),
    /// The model's main score.
    #[n(3)]
    Main,
    /// The newest activity.
    #[n(1)]
    LastActive,
    /// The earliest event.
    #[n(2)]
    Created,
}

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct List {
    /// The order.
    #[n(0)]
    pub sort: Sort,
    /// Largest first.
    #[n(1)]
    pub descending: bool,
    /// 1 to 200.
    #[n(2)]
    pub limit: usize,
    /// The time at which values are taken, ms.
    #[n(3)]
    pub as_of: i64,
    /// Where the page before ended.
    #[n(4)]
    pub after: Option<Rank>,
    /// Who is wanted.
    #[n(5)]
    pub filter: Filter,
}

/// All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Filter {
    /// Has an e-mail, or has none.
    #[n(0)]
    pub identified: Option<bool>,
    /// Holds each of these tags.
    #[n(1)]
    pub tags: Vec<String>,
    /// Is at this stage.
    #[n(2)]
    pub stage: Option<String>,
    /// Is this warm.
    #[n(3)]
    pub temperature: Option<String>,
    /// Belongs to this account.
    #[n(4)]
    pub account: Option<String>,
    /// (score, comparison, bound) on values at `as_of`.
    #[n(5)]
    pub scores: Vec<(String, Comparison, f64)>,
    /// Each word begins a word of e-mail, names or company, or the whole equals an identifier. Lower case.
    #[n(6)]
    pub query: Option<String>,
}

/// How a score is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Comparison {
    /// `>=`
    #[n(0)]
    Gte,
    /// `>`
    #[n(1)]
    Gt,
    /// `<=`
    #[n(2)]
    Lte,
    /// `<`
    #[n(3)]
    Lt,
}

/// Where a prospect stands in a list: by value, then by what breaks ties (the unclamped sum, the row). Larger comes
/// first, whichever way the list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Encode, Decode)]
pub struct Rank(#[n(0)] pub f64, #[n(1)] pub f64, #[n(2)] pub i64);

/// One entry of a partition's part of a list.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct Listed {
    /// For merging with other partitions' parts.
    #[n(0)]
    pub rank: Rank,
    /// The prospect as JSON.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub prospect: Vec<u8>,
}

impl<S: Store> Partition<S> {
    /// The first prospects of a list after a rank. `None` when there is no such score.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list(&self, list: &List) -> Result<Option<Vec<Listed>>, StoreError> {
        let list = &List { sort: self.named(&list.sort), ..list.clone() };
        if column(&list.sort, &self.model).is_none() {
            return Ok(None);
        }
        let mut best = Vec::<(Rank, Person)>::new();
        // While everybody is folded anew, each prospect is ranked by the version that it is shown under.
        for (version, model) in self.models() {
            self.walk(list, version, model, &mut best)?;
        }
        self.shown(best, list).map(Some)
    }

    /// Goes down the order of prospects that are folded by one version, keeping the best.
    fn walk(&self, list: &List, version: u64, model: &Model, best: &mut Vec<(Rank, Person)>) -> Result<(), StoreError> {
        // Who has no such score under their version comes last.
        let column = column(&list.sort, model).unwrap_or_else(|| "NULL".to_owned());
        // No index on it: one would bill a row for every scored event. A scan costs 35 ms for 625,000 prospects.
        let direction = if list.descending { ("<", "DESC") } else { (">", "ASC") };
        let sql = format!(
            "SELECT coalesce({column}, -1e300) AS k, no, state FROM person WHERE model = ? AND (k, no) {} (?, ?)
             ORDER BY k {}, no {} LIMIT {BLOCK}",
            direction.0, direction.1, direction.1
        );
        let version = Value::Integer(i64::try_from(version).unwrap_or(i64::MAX));
        let edge = if list.descending { f64::MAX } else { -f64::MAX };
        let mut from = (edge, 0);
        loop {
            let rows = self.store.query(&sql, &[version.clone(), Value::Real(from.0), Value::Integer(from.1)])?;
            for row in &rows {
                let key = row.real(0)?;
                from = (key, row.integer(1)?);
                let full = best.len() == list.limit;
                if let Some((worst, _)) = best.last().filter(|_| full)
                    && beyond(list, model, key).is_some_and(|bound| bound < worst.0)
                {
                    return Ok(());
                }
                let person: Person = decode(row.blob(2)?)?;
                let standing = person.fold.standing(model, &person.attributes, list.as_of);
                let rank = rank(list, &standing, &person, key, from.1);
                if list.after.is_some_and(|after| rank >= after)
                    || best.last().is_some_and(|(worst, _)| full && rank < *worst)
                {
                    continue;
                }
                if self.passes(&list.filter, &standing, &person, list.as_of)? {
                    let place = best.partition_point(|(other, _)| *other > rank);
                    best.insert(place, (rank, person));
                    best.truncate(list.limit);
                }
            }
            if i64::try_from(rows.len()).is_ok_and(|count| count < BLOCK) {
                return Ok(());
            }
        }
    }

    /// The order with its score named.
    fn named(&self, sort: &Sort) -> Sort {
        if *sort == Sort::Main { Sort::Score(self.model.main_score().to_owned()) } else { sort.clone() }
    }

    fn shown(&self, best: Vec<(Rank, Person)>, list: &List) -> Result<Vec<Listed>, StoreError> {
        let mut listed = Vec::with_capacity(best.len());
        for (rank, person) in best {
            if let Some(prospect) = self.show_person(person, list.as_of)? {
                listed.push(Listed { rank, prospect: read::json(&prospect)? });
            }
        }
        Ok(listed)
    }

    fn passes(&self, filter: &Filter, standing: &Standing, person: &Person, as_of: i64) -> Result<bool, StoreError> {
        let address = person.email.as_ref().map(|email| email.address.as_str());
        let account = address.and_then(account::of_email);
        let compare = |(slug, comparison, bound): &(String, Comparison, f64)| {
            let value = standing.scores.iter().find(|(known, _)| known == slug).and_then(|(_, score)| score.value);
            value.is_some_and(|value| match comparison {
                Comparison::Gte => value >= *bound,
                Comparison::Gt => value > *bound,
                Comparison::Lte => value <= *bound,
                Comparison::Lt => value < *bound,
            })
        };
        let cheap = filter.identified.is_none_or(|wanted| wanted == address.is_some())
            && filter.tags.iter().all(|tag| standing.tags.contains(tag))
            && filter.stage.as_ref().is_none_or(|stage| standing.stage.as_ref() == Some(stage))
            && filter.temperature.as_ref().is_none_or(|temperature| standing.temperature == temperature)
            && filter.account.as_ref().is_none_or(|wanted| account == Some(wanted))
            && filter.scores.iter().all(compare);
        match &filter.query {
            Some(query) if cheap => {
                let prospect = self.show_person(person.clone(), as_of)?;
                Ok(prospect.is_some_and(|prospect| answers(&prospect, query)))
            }
            _ => Ok(cheap),
        }
    }
}

/// The column that holds the keys of an order; `None` if the model has no such score among those that can be sorted by.
fn column(sort: &Sort, model: &Model) -> Option<String> {
    match sort {
        Sort::Score(slug) => match model.score_slugs().position(|known| known == slug) {
            Some(place @ 0..=3) => Some(format!("a{place}")),
            _ => None,
        },
        Sort::Main => None,
        Sort::LastActive => Some("active_at".to_owned()),
        Sort::Created => Some("born".to_owned()),
    }
}

/// The best first part of a rank that this key or a later one can still have; `None` when keys do not say.
fn beyond(list: &List, model: &Model, key: f64) -> Option<f64> {
    match &list.sort {
        // Keys are upper bounds: they say nothing of what is lowest.
        Sort::Score(slug) if list.descending => model.value_bound(slug, key, list.as_of),
        Sort::Score(_) | Sort::Main => None,
        Sort::LastActive | Sort::Created => Some(if list.descending { key } else { -key }),
    }
}

fn rank(list: &List, standing: &Standing, person: &Person, key: f64, no: i64) -> Rank {
    let sign = if list.descending { 1.0 } else { -1.0 };
    match &list.sort {
        Sort::Score(slug) => {
            let value = standing.scores.iter().find(|(known, _)| known == slug).and_then(|(_, score)| score.value);
            // Who is excluded has no score, and comes last either way.
            value.map_or(Rank(f64::NEG_INFINITY, 0.0, no), |value| Rank(sign * value, sign * key, no))
        }
        Sort::LastActive => time_rank(person.fold.last_active_at(), sign, no),
        Sort::Main | Sort::Created => time_rank(person.created_at(), sign, no),
    }
}

#[allow(clippy::cast_precision_loss)]
fn time_rank(at: Option<i64>, sign: f64, no: i64) -> Rank {
    at.map_or(Rank(f64::NEG_INFINITY, 0.0, no), |at| Rank(sign * at as f64, 0.0, no))
}

/// Whether a search finds this prospect (contract, row 31).
fn answers(prospect: &Prospect, query: &str) -> bool {
    let fields = [&prospect.email, &prospect.first_name, &prospect.last_name, &prospect.company];
    let text = fields.into_iter().flatten().map(|field| field.to_lowercase()).collect::<Vec<_>>().join(" ");
    let begins = |word: &str| {
        text.split(|c: char| c.is_whitespace())
            .flat_map(|token| [token, token.rsplit('@').next().unwrap_or(token)])
            .any(|token| token.starts_with(word))
    };
    query.split_whitespace().all(begins) || prospect.identifiers.iter().any(|own| own.value.to_lowercase() == query)
}
