//! A company's people together: what one partition says of them, and how the parts of all of them make the account
//! (contract, row 27). A company's people lie on any partition, so each adds up its own in a form that adds up further.

use super::person::Person;
use super::{Partition, decode};
use crate::account;
use crate::scoring::{Aggregate, Standing};
use crate::store::{Store, StoreError};
use minicbor::{Decode, Encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How many rows are read at a time.
const BLOCK: i64 = 400;
/// From cold to hot: what a median goes by.
const TEMPERATURES: [&str; 5] = ["frozen", "cold", "normal", "warm", "hot"];
/// Of how many the mean is in [`Aggregate::Top3Average`].
const TOP: usize = 3;

/// What some of a company's people come to.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct Company {
    /// How many people there are: active ones with an address there, not excluded.
    #[n(0)]
    people: u64,
    /// How many are excluded.
    #[n(1)]
    excluded: u64,
    #[n(2)]
    scores: BTreeMap<String, Values>,
    /// How many hold each tag.
    #[n(3)]
    tags: BTreeMap<String, u64>,
    #[n(4)]
    temperatures: BTreeMap<String, u64>,
    /// By which version of the model.
    #[n(5)]
    model_version: u64,
}

/// The values of one score.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
struct Values {
    #[n(0)]
    aggregate: Aggregate,
    #[n(1)]
    people: u64,
    /// In millionths: adding up in any order gives the same.
    #[n(2)]
    sum: i64,
    /// The highest, highest first.
    #[n(3)]
    top: Vec<i64>,
}

impl Values {
    fn merge(&mut self, other: Values) {
        self.aggregate = other.aggregate;
        self.people += other.people;
        self.sum = self.sum.saturating_add(other.sum);
        self.top.extend(other.top);
        self.top.sort_unstable_by(|one, other| other.cmp(one));
        self.top.truncate(TOP);
    }

    #[allow(clippy::cast_precision_loss)] // Values are at most 10^9: see the limits of models.
    fn value(&self) -> Option<f64> {
        let mean = |sum: i64, count: u64| libm::round(sum as f64 / count as f64) / 1e6;
        let first = self.top.first()?;
        Some(match self.aggregate {
            Aggregate::Max => *first as f64 / 1e6,
            Aggregate::Sum => self.sum as f64 / 1e6,
            Aggregate::Average => mean(self.sum, self.people),
            Aggregate::Top3Average => mean(self.top.iter().sum(), self.top.len() as u64),
        })
    }
}

impl Company {
    #[allow(clippy::cast_possible_truncation)]
    fn add(&mut self, standing: &Standing, aggregate: impl Fn(&str) -> Aggregate) {
        if standing.excluded.is_some() {
            self.excluded += 1;
            return;
        }
        self.people += 1;
        for (slug, score) in &standing.scores {
            let values = self.scores.entry(slug.clone()).or_default();
            let value = score.value.map(|value| libm::round(value * 1e6) as i64);
            let (people, sum, top) = (u64::from(value.is_some()), value.unwrap_or_default(), Vec::from_iter(value));
            values.merge(Values { aggregate: aggregate(slug), people, sum, top });
        }
        for tag in &standing.tags {
            *self.tags.entry(tag.clone()).or_default() += 1;
        }
        *self.temperatures.entry(standing.temperature.to_owned()).or_default() += 1;
    }

    /// Adds what another partition says.
    pub fn merge(&mut self, other: Company) {
        self.people += other.people;
        self.excluded += other.excluded;
        self.model_version = self.model_version.max(other.model_version);
        for (slug, values) in other.scores {
            self.scores.entry(slug).or_default().merge(values);
        }
        for (own, other) in [(&mut self.tags, other.tags), (&mut self.temperatures, other.temperatures)] {
            for (name, people) in other {
                *own.entry(name).or_default() += people;
            }
        }
    }

    /// The middle one of all, the colder of two.
    fn temperature(&self) -> Option<&'static str> {
        let mut left = self.people.checked_sub(1)? / 2;
        TEMPERATURES.into_iter().find(|level| {
            let people = self.temperatures.get(*level).copied().unwrap_or_default();
            let is_here = left < people;
            left = left.saturating_sub(people);
            is_here
        })
    }

    /// As the API shows it; `None` if there is nobody.
    #[must_use]
    pub fn document(&self, account: &str, as_of: i64) -> Option<Value> {
        let scores = self.scores.iter().map(|(slug, values)| {
            let word =
                Aggregate::WORDS.iter().find(|(_, aggregate)| *aggregate == values.aggregate).map(|(word, _)| *word);
            (slug.clone(), json!({ "value": values.value(), "aggregate": word }))
        });
        (self.people + self.excluded > 0).then(|| {
            json!({
                "account": account,
                "as_of": crate::time::show(as_of),
                "people": self.people,
                "excluded": self.excluded,
                "scores": scores.collect::<Map<_, _>>(),
                "tags": self.tags,
                "temperature": self.temperature(),
                "model_version": self.model_version,
            })
        })
    }
}

impl<S: Store> Partition<S> {
    /// What this partition's people of an account (a domain, in lower case) come to at a time, by the newest model.
    ///
    /// Looks at everybody, as a list does that is asked for an account: an index would bill a row for every event.
    ///
    /// # Errors
    /// When the store fails.
    pub fn company(&self, domain: &str, now: i64) -> Result<Company, StoreError> {
        let mut company = Company { model_version: self.model_version, ..Company::default() };
        let mut after = -1;
        loop {
            let sql = "SELECT no, state FROM person WHERE no > ? ORDER BY no LIMIT ? + 0";
            let rows = self.store.query(sql, &[after.into(), BLOCK.into()])?;
            for row in &rows {
                after = row.integer(0)?;
                let person: Person = decode(row.blob(1)?)?;
                let address = person.email.as_ref().map(|email| email.address.as_str());
                if address.and_then(account::of_email) != Some(domain) {
                    continue;
                }
                let is_old = person.model_version != self.model_version;
                let anew = if is_old { self.under_the_newest(after, &person, now)? } else { None };
                let person = anew.unwrap_or(person);
                let standing = person.fold.standing(&self.model, &person.attributes, now);
                company.add(&standing, |slug| self.model.account_aggregate(slug).unwrap_or_default());
            }
            if i64::try_from(rows.len()).is_ok_and(|count| count < BLOCK) {
                return Ok(company);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::ScoreValue;

    fn standing(value: f64, temperature: &'static str) -> Standing {
        let scores = ["max", "sum", "average", "top3_average"]
            .map(|slug| (slug.to_owned(), ScoreValue { value: Some(value), band: None }));
        Standing {
            scores: scores.into(),
            tags: if value > 15.0 { vec!["keen".to_owned()] } else { Vec::new() },
            temperature,
            stage: None,
            stages_entered: Vec::new(),
            excluded: None,
            order: [None; 4],
        }
    }

    fn aggregate(slug: &str) -> Aggregate {
        Aggregate::WORDS.into_iter().find(|(word, _)| *word == slug).map(|(_, aggregate)| aggregate).unwrap()
    }

    fn company(people: &[(f64, &'static str)]) -> Company {
        let mut company = Company::default();
        people.iter().for_each(|(value, temperature)| company.add(&standing(*value, temperature), aggregate));
        company
    }

    fn values(company: &Company) -> [Value; 4] {
        let document = company.document("example.com", 0).unwrap();
        ["max", "sum", "average", "top3_average"].map(|slug| document["scores"][slug]["value"].clone())
    }

    #[test]
    fn each_way_of_putting_scores_together() {
        let people = [(10.0, "cold"), (20.5, "hot"), (60.0, "hot"), (0.1, "frozen"), (0.2, "frozen")];
        let whole = company(&people);
        assert_eq!(values(&whole), [json!(60.0), json!(90.8), json!(18.16), json!(30.166_667)]);
        assert_eq!(values(&company(&people[..2])), [json!(20.5), json!(30.5), json!(15.25), json!(15.25)]);
        let document = whole.document("example.com", 0).unwrap();
        assert_eq!(
            (&document["people"], &document["tags"], &document["temperature"]),
            (&json!(5), &json!({ "keen": 2 }), &json!("cold"))
        );
        assert_eq!(document["scores"]["average"]["aggregate"], "average");
        // Of negative ones, too.
        assert_eq!(
            values(&company(&[(-5.0, "cold"), (-7.0, "cold")])),
            [json!(-5.0), json!(-12.0), json!(-6.0), json!(-6.0)]
        );
    }

    #[test]
    fn parts_of_several_partitions_are_the_whole_however_people_lie() {
        let people = [(10.0, "cold"), (20.0, "hot"), (60.0, "warm"), (0.1, "frozen"), (0.2, "normal"), (0.3, "hot")];
        let whole = company(&people);
        for split in 0..=people.len() {
            let (left, right) = people.split_at(split);
            let mut merged = company(right);
            merged.merge(company(left));
            assert_eq!(merged, whole, "{split}");
        }
    }

    #[test]
    fn the_middle_of_temperatures_is_the_colder_of_two() {
        for (levels, expected) in [
            (vec!["hot"], Some("hot")),
            (vec!["hot", "cold"], Some("cold")),
            (vec!["hot", "cold", "warm"], Some("warm")),
            (vec!["frozen", "cold", "warm", "hot"], Some("cold")),
            (vec![], None),
        ] {
            let people: Vec<_> = levels.iter().map(|level| (1.0, *level)).collect();
            assert_eq!(company(&people).temperature(), expected, "{levels:?}");
        }
        let mut none = company(&[]);
        assert_eq!(none.document("example.com", 0), None);
        none.add(&Standing { excluded: Some("a reason".to_owned()), ..standing(5.0, "hot") }, aggregate);
        let document = none.document("example.com", 0).unwrap();
        assert_eq!(
            (&document["people"], &document["excluded"], &document["temperature"]),
            (&json!(0), &json!(1), &Value::Null)
        );
    }
}
