//! A scenario as text, one input a line: what a failing seed prints, and what a named test holds.

use super::scenario::{Fault, Scenario};
use crate::event::{ClaimInput, FactInput, Record, Source};
use crate::identity::generate::record;
use crate::identity::naive::Input;
use crate::identity::{Decision, Trust};
use crate::key::{Identifier, KeyType};
use std::fmt;

const TRUSTS: [Trust; 3] = [Trust::Weak, Trust::Medium, Trust::Strong];
/// Those that generated claims have.
const SOURCES: [Source; 2] = [Source::Url, Source::Form];

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "partitions {}", self.partitions)?;
        writeln!(f, "schedule {}", self.schedule)?;
        for fault in &self.faults {
            writeln!(f, "fault {fault:?}")?;
        }
        for input in &self.inputs {
            match input {
                Input::Record(record) => writeln!(f, "{}", record_line(record))?,
                Input::Decision(Decision::Separate { id, at, left, right }) => {
                    writeln!(f, "separate {id} {at}{} from{}", names(left), names(right))?;
                }
                Input::Decision(Decision::Merge { id, at, keep, other, lifts }) => {
                    let (keep, other, (left, right)) = (name(keep), name(other), lifts);
                    writeln!(f, "merge {id} {at} {keep} {other} lifts{} from{}", names(left), names(right))?;
                }
            }
        }
        Ok(())
    }
}

fn record_line(record: &Record) -> String {
    let mut line = format!("record {} {} {}", record.id, record.at, name(&record.rec));
    for FactInput { other, explicit } in &record.facts {
        line.push_str(&format!(" {} {}", if *explicit { "merges" } else { "is" }, name(other)));
    }
    for ClaimInput { browser, key, trust, source, page, human } in &record.claims {
        let (browser, key, shown) = (name(browser), name(key), if *human { "human" } else { "-" });
        line.push_str(&format!(" claims {browser} {key} {} {} {page} {shown}", trust.slug(), source.slug()));
    }
    line
}

fn name(identifier: &Identifier) -> String {
    format!("{}:{}", identifier.key_type().slug(), identifier.value())
}

fn names(identifiers: &[Identifier]) -> String {
    identifiers.iter().map(|identifier| format!(" {}", name(identifier))).collect()
}

impl Scenario {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn read(text: &str) -> Scenario {
        let mut scenario = Scenario { partitions: 1, faults: [].into(), schedule: 0, inputs: Vec::new() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["partitions", n] => scenario.partitions = n.parse().unwrap(),
                ["schedule", seed] => scenario.schedule = seed.parse().unwrap(),
                ["fault", fault] => {
                    scenario.faults.extend(Fault::ALL.into_iter().filter(|known| format!("{known:?}") == *fault));
                }
                ["record", id, at, rec, rest @ ..] => {
                    scenario.inputs.push(Input::Record(read_record(id, at, rec, rest)));
                }
                ["separate", id, at, sides @ ..] => {
                    let (left, right) = read_sides(sides);
                    let (id, at) = ((*id).to_owned(), at.parse().unwrap());
                    scenario.inputs.push(Input::Decision(Decision::Separate { id, at, left, right }));
                }
                ["merge", id, at, keep, other, "lifts", sides @ ..] => {
                    let (id, at, lifts) = ((*id).to_owned(), at.parse().unwrap(), read_sides(sides));
                    let (keep, other) = (identifier(keep), identifier(other));
                    scenario.inputs.push(Input::Decision(Decision::Merge { id, at, keep, other, lifts }));
                }
                other => panic!("no line of a scenario: {other:?}"),
            }
        }
        scenario
    }
}

fn read_record(id: &str, at: &str, rec: &str, mut rest: &[&str]) -> Record {
    let mut made = record(&identifier(rec), at.parse().unwrap(), id.to_owned());
    loop {
        rest = match rest {
            [] => return made,
            [word @ ("is" | "merges"), other, rest @ ..] => {
                made.facts.push(FactInput { other: identifier(other), explicit: *word == "merges" });
                rest
            }
            ["claims", browser, key, trust, source, page, shown, rest @ ..] => {
                made.claims.push(ClaimInput {
                    browser: identifier(browser),
                    key: identifier(key),
                    trust: TRUSTS.into_iter().find(|known| known.slug() == *trust).unwrap(),
                    source: SOURCES.into_iter().find(|known| known.slug() == *source).unwrap(),
                    page: (*page).to_owned(),
                    human: *shown == "human",
                });
                rest
            }
            other => panic!("no part of a record: {other:?}"),
        };
    }
}

fn read_sides(words: &[&str]) -> (Vec<Identifier>, Vec<Identifier>) {
    let middle = words.iter().position(|word| *word == "from").unwrap();
    let read = |words: &[&str]| words.iter().map(|word| identifier(word)).collect();
    (read(&words[..middle]), read(&words[middle + 1..]))
}

fn identifier(name: &str) -> Identifier {
    let (key_type, value) = name.split_once(':').unwrap();
    Identifier::new(KeyType::from_slug(key_type).unwrap(), "", value).unwrap()
}
