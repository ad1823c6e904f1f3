//! Event files in, people out: identity is resolved by a partition in memory, the same as in the Worker.

use super::document::Trouble;
use super::terminal::Progress;
use crate::event::Record;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyType, SlotMap};
use crate::partition::message::{Ask, Message};
use crate::partition::person::{Person as Row, Stored};
use crate::partition::read::Target;
use crate::partition::{Partition, Reply, decode};
use crate::scoring::{Attributes, Fold, Model, Occurrence};
use crate::sources::{currents, events};
use crate::store::native::Native;
use crate::store::{Store, StoreError};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::{Path, PathBuf};

/// As many messages as one transaction takes in the Worker.
const MESSAGES: usize = 256;
/// While events are read nobody is scored: the models asked about come later.
const UNSCORED: &str = r#"{"scores": [{"slug": "none"}]}"#;

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble(format!("the database in memory: {error}"))
    }
}

/// Everybody in some files of events.
pub struct Population {
    partition: Partition<Native>,
    key: DeploymentKey,
    rows: Vec<i64>,
    /// The time of the newest event, ms since 1970 UTC.
    pub newest: i64,
    /// How many events were taken; repeats are one.
    pub events: usize,
    /// What could not be read: the file, the line, why.
    pub rejected: Vec<String>,
}

/// One person with all that scores rest on.
pub struct Person {
    /// The e-mail, else the first identifier.
    pub name: String,
    /// By the engine's order.
    pub events: Vec<Stored>,
    /// What is known.
    pub attributes: Attributes,
    /// How many events there are besides, too old to be scored.
    pub left_out: u64,
    internal: bool,
}

impl Person {
    /// The events as a model sees them, up to a time.
    #[must_use]
    pub fn occurrences(&self, until: i64) -> Vec<Occurrence<'_>> {
        let known = self.events.iter().filter(|event| event.at <= until);
        known.map(|event| event.occurrence(self.internal)).collect()
    }

    /// The state under a model at a time.
    #[must_use]
    pub fn fold(&self, model: &Model, at: i64) -> Fold {
        let mut fold = Fold::default();
        self.occurrences(at).iter().for_each(|o| fold.push(model, o, at));
        fold
    }
}

impl Population {
    /// Reads files of events, one JSON document a line: an event of `POST /api/events`, one of Braze Currents, or a
    /// batch `{"events": […]}` of either; `-` is the standard input.
    ///
    /// # Errors
    /// When a file cannot be read. An event that cannot is noted and left out.
    pub fn read(files: &[PathBuf], progress: &Progress) -> Result<Population, Trouble> {
        let (mut records, mut rejected) = (Vec::new(), Vec::new());
        for path in files {
            let trouble = |error: std::io::Error| Trouble(format!("{}: {error}", path.display()));
            let input: Box<dyn BufRead> = if path == Path::new("-") {
                Box::new(BufReader::new(stdin()))
            } else {
                Box::new(BufReader::new(File::open(path).map_err(trouble)?))
            };
            for (line, text) in (1..).zip(input.lines()) {
                let reject = |why: &str| rejected.push(format!("{}:{line}: {why}", path.display()));
                read_line(&text.map_err(trouble)?, &mut records, reject);
            }
        }
        // In the order of time nobody is folded twice.
        records.sort_by_key(|record| record.at);
        let key = DeploymentKey::new(b"wingbeat");
        let model = Model::parse(UNSCORED).map_err(|_| Trouble("the model for reading".to_owned()))?;
        let store = Native::in_memory()?;
        let mut partition =
            Partition::open(store, (0, SlotMap { partitions: 1 }), key.clone(), Policy::default(), model, 0)?;
        let newest = records.last().map_or(0, |record| record.at);
        let events = records.len();
        let bar = progress.bar("reading events", events);
        let mut records = records.into_iter();
        loop {
            let take = |record: Record| Message { key: key.hash(&record.rec), ask: Ask::Take(vec![record]) };
            let messages: Vec<Message> = records.by_ref().take(MESSAGES).map(take).collect();
            if messages.is_empty() {
                break;
            }
            bar.inc(messages.len() as u64);
            for reply in partition.apply(newest, messages)?.replies {
                if let Reply::Failed(why) = reply {
                    rejected.push(why);
                }
            }
        }
        bar.finish_and_clear();
        let rows = partition.store().query("SELECT no FROM person ORDER BY no", &[])?;
        let rows = rows.iter().map(|row| row.integer(0)).collect::<Result<_, _>>()?;
        Ok(Population { partition, key, rows, newest, events, rejected })
    }

    /// How many people there are, browsers of nobody among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Everybody, one after the other.
    ///
    /// # Errors
    /// When the database fails, or whoever is told fails.
    pub fn each(
        &self,
        progress: &Progress,
        mut tell: impl FnMut(Person) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let bar = progress.bar("scoring people", self.len());
        for no in &self.rows {
            tell(self.person(self.row(*no)?)?)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// One person by an identifier (`email:ada@example.com`).
    ///
    /// # Errors
    /// When it is no identifier, or nobody's.
    pub fn find(&self, who: &str) -> Result<Person, Trouble> {
        let identifier =
            who.split_once(':').and_then(|(key_type, value)| Identifier::new(KeyType::from_slug(key_type)?, "", value));
        let identifier = identifier
            .ok_or_else(|| Trouble(format!("`{who}` is no identifier: write it as in `email:ada@example.com`")))?;
        let nobody = || Trouble(format!("nobody is `{who}`"));
        let target = Target::key(self.key.hash(&identifier));
        let id = self.partition.prospect(target, self.newest)?.found().ok_or_else(nobody)?.id;
        for no in &self.rows {
            let row = self.row(*no)?;
            if row.founder.prospect_id() == id {
                return self.person(row);
            }
        }
        Err(nobody())
    }

    fn row(&self, no: i64) -> Result<Row, Trouble> {
        let rows = self.partition.store().query("SELECT state FROM person WHERE no = ?", &[no.into()])?;
        let row = rows.first().ok_or_else(|| Trouble("a person has gone".to_owned()))?;
        Ok(decode(row.blob(0)?)?)
    }

    fn person(&self, row: Row) -> Result<Person, Trouble> {
        let prospect = self.partition.prospect(Target::id(row.founder), self.newest)?.found();
        let named = prospect.and_then(|prospect| {
            let first = prospect.identifiers.first().map(|first| format!("{}:{}", first.key_type, first.value));
            prospect.email.or(first)
        });
        let name = named.unwrap_or_else(|| row.founder.prospect_id());
        let events = self.partition.events_of(&row.spans)?;
        let left_out = row.events.saturating_sub(events.len() as u64);
        Ok(Person { name, events, attributes: row.attributes, left_out, internal: row.internal })
    }
}

/// A line's records.
fn read_line(line: &str, records: &mut Vec<Record>, mut reject: impl FnMut(&str)) {
    if line.trim().is_empty() {
        return;
    }
    let members: BTreeMap<String, &RawValue> = match serde_json::from_str(line) {
        Ok(members) => members,
        Err(error) => return reject(&error.to_string()),
    };
    let items: Vec<&RawValue> = match members.get("events").map(|events| serde_json::from_str(events.get())) {
        None => return read_event(line, records, &mut reject),
        Some(Ok(items)) => items,
        Some(Err(error)) => return reject(&error.to_string()),
    };
    for item in items {
        read_event(item.get(), records, &mut reject);
    }
}

fn read_event(text: &str, records: &mut Vec<Record>, reject: &mut impl FnMut(&str)) {
    let fields: Value = serde_json::from_str(text).unwrap_or_default();
    if fields.get("event_type").is_none() || fields.get("kind").is_some() {
        match events::read(text, 0, "") {
            Ok(record) => records.push(record),
            Err(rejected) => reject(&format!("{}: {}", rejected.reason, rejected.detail)),
        }
        return;
    }
    match currents::parse(format!("{{\"events\":[{text}]}}").as_bytes(), "", &BTreeMap::new()) {
        Ok(batch) => {
            records.extend(batch.records);
            batch.dead.iter().for_each(|dead| reject(&format!("{}: {}", dead.reason, dead.detail)));
        }
        Err(error) => reject(&error.to_string()),
    }
}
