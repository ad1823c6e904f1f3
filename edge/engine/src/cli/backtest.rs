//! `wingbeat backtest`: what a draft would have made of stored history, beside the model in force.

use super::document::Trouble;
use super::people::Population;
use super::terminal::{BAD, FAINT, GOOD, Progress, STRONG, Table, counted, number, styled};
use crate::partition::tally::{Tally, Way, crossings};
use crate::scoring::{Model, Standing};
use crate::time;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// How many names are written for one crossing; the others are counted.
const NAMES: usize = 20;
/// The shares at which a distribution is shown, in percent.
const SHARES: [usize; 6] = [0, 25, 50, 75, 90, 100];

/// Both models over everybody, at one time.
#[derive(Debug, Default)]
pub struct Backtest {
    /// The time asked about, ms.
    at: i64,
    tally: Tally,
    /// Values by score: before and after. Excluded people have none.
    values: BTreeMap<String, [Vec<f64>; 2]>,
    /// Stages by slug: who crosses it in, and who out.
    crossings: BTreeMap<String, [Vec<String>; 2]>,
}

impl Backtest {
    /// Runs both models over everybody.
    ///
    /// # Errors
    /// When the database fails.
    pub fn run(models: [&Model; 2], people: &Population, at: i64, progress: &Progress) -> Result<Backtest, Trouble> {
        let mut test = Backtest { at, ..Backtest::default() };
        people.each(progress, |person| {
            let [before, after] = models.map(|model| person.standing(model, at));
            test.tally.add(&before, &after, person.occurrences(at).len() as u64);
            for (side, standing) in [&before, &after].into_iter().enumerate() {
                for (slug, score) in &standing.scores {
                    let sides = test.values.entry(slug.clone()).or_default();
                    if let (Some(values), Some(value)) = (sides.get_mut(side), score.value) {
                        values.push(value);
                    }
                }
            }
            test.cross(&person.name, &before, &after);
            Ok(())
        })?;
        Ok(test)
    }

    fn cross(&mut self, name: &str, before: &Standing, after: &Standing) {
        for (way, stage) in crossings(before, after) {
            if let Some(names) =
                self.crossings.entry(stage.to_owned()).or_default().get_mut(usize::from(way == Way::Out))
            {
                names.push(name.to_owned());
            }
        }
    }

    /// The comparison as JSON: what `GET /api/model/backtest` counts, and who crosses each stage.
    #[must_use]
    pub fn document(&self) -> Value {
        let crossings = self.crossings.iter().map(|(stage, [entering, leaving])| {
            let names = json!({ "in": entering, "out": leaving });
            (stage.clone(), names)
        });
        let mut document = Map::from_iter([
            ("at".to_owned(), time::show(self.at).into()),
            ("events".to_owned(), self.tally.events.into()),
        ]);
        document.extend(self.tally.document());
        document.insert("crossings".to_owned(), crossings.collect());
        Value::Object(document)
    }

    /// Writes the comparison.
    ///
    /// # Errors
    /// When the stream does not take it.
    pub fn write(&self, out: &mut dyn Write) -> Result<(), Trouble> {
        let Tally { people, changed, events, .. } = &self.tally;
        let of = |count: u64, one, many| counted(usize::try_from(count).unwrap_or(usize::MAX), one, many);
        let (people, events) = (of(*people, "person", "people"), of(*events, "event", "events"));
        writeln!(out, "{people}, {events}: {changed} would change\n")?;
        let shares = SHARES.map(|share| format!("{share} %"));
        let headings: Vec<&str> =
            ["score", "", "people"].into_iter().chain(shares.iter().map(String::as_str)).collect();
        let mut table = Table::new(&headings);
        for (slug, [before, after]) in &self.values {
            for (side, values) in [("before", before), ("after", after)] {
                if !values.is_empty() {
                    let row = [slug.clone(), side.to_owned(), values.len().to_string()];
                    table.push(row.into_iter().chain(distribution(values)).collect());
                }
            }
        }
        table.write(out)?;
        for (stage, [entering, leaving]) in &self.crossings {
            writeln!(out, "\n{}", styled(STRONG, format!("stage {stage}")))?;
            names(out, &styled(GOOD, "+"), entering)?;
            names(out, &styled(BAD, "-"), leaving)?;
        }
        Ok(())
    }
}

fn names(out: &mut dyn Write, mark: &str, names: &[String]) -> Result<(), Trouble> {
    for name in names.iter().take(NAMES) {
        writeln!(out, "{mark} {name}")?;
    }
    if names.len() > NAMES {
        writeln!(out, "{mark} {}", styled(FAINT, format!("and {} more", names.len() - NAMES)))?;
    }
    Ok(())
}

/// The values at the shares, by nearest rank.
fn distribution(values: &[f64]) -> Vec<String> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    SHARES.iter().filter_map(|share| sorted.get((last * share).div_ceil(100))).map(|value| number(*value)).collect()
}
