//! Event files in, people out: identity is resolved by a partition in memory, the same as in the Worker; in what a
//! deployment has exported it is resolved already.

use super::document::Trouble;
use super::exported::{Exported, Exports};
use super::person::Person;
use super::terminal::Progress;
use crate::attributes::EMAIL_DOMAIN;
use crate::event::Record;
use crate::identity::policy::Policy;
use crate::key::{DeploymentKey, Identifier, KeyHash, KeyType, SlotMap};
use crate::partition::message::{Ask, Message};
use crate::partition::person::Person as Row;
use crate::partition::read::Target;
use crate::partition::{Partition, Reply, decode};
use crate::scoring::Model;
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
    /// Who was resolved here.
    rows: Vec<i64>,
    /// Who was resolved where they were exported.
    exported: Vec<Exported>,
    /// The time of the newest event, that at which it came in if that is known; ms since 1970 UTC.
    pub newest: i64,
    /// What could not be read: the file, the line, why.
    pub rejected: Vec<String>,
}

impl Population {
    /// Reads files of events, one JSON document a line: an event of `POST /api/events`, one of Braze Currents, or a
    /// batch `{"events": […]}` of either, or what is exported of events and prospects; `-` is the standard input.
    /// `internal` lists the customer's own addresses and domains.
    ///
    /// # Errors
    /// When a file cannot be read. An event that cannot is noted and left out.
    pub fn read(files: &[PathBuf], internal: &str, progress: &Progress) -> Result<Population, Trouble> {
        let mut lines = Lines::default();
        for path in files {
            let trouble = |error: std::io::Error| Trouble(format!("{}: {error}", path.display()));
            let input: Box<dyn BufRead> = if path == Path::new("-") {
                Box::new(BufReader::new(stdin()))
            } else {
                Box::new(BufReader::new(File::open(path).map_err(trouble)?))
            };
            for (line, text) in (1..).zip(input.lines()) {
                lines.place = format!("{}:{line}", path.display());
                lines.read(&text.map_err(trouble)?);
            }
        }
        let Lines { mut records, exports, mut rejected, .. } = lines;
        // In the order of time nobody is folded twice.
        records.sort_by_key(|record| record.at);
        let key = DeploymentKey::new(b"wingbeat");
        let policy = Policy::default().with_internal(internal);
        let model = Model::parse(UNSCORED).map_err(|_| Trouble("the model for reading".to_owned()))?;
        let slots = SlotMap { partitions: 1 };
        let mut partition = Partition::open(Native::in_memory()?, (0, slots), key.clone(), policy.clone(), model, 0)?;
        let newest = records.last().map(|record| record.at).max(exports.newest()).unwrap_or_default();
        let exported = exports.people(&policy, &key, newest);
        let bar = progress.bar("reading events", records.len());
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
        Ok(Population { partition, key, rows, exported, newest, rejected })
    }

    /// How many people there are, browsers of nobody among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.exported.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many people came from an export, and of how many of them there was a prospect's line.
    #[must_use]
    pub fn exported(&self) -> (usize, usize) {
        (self.exported.len(), self.exported.iter().filter(|exported| exported.is_described).count())
    }

    /// Everybody, one after the other.
    ///
    /// # Errors
    /// When the database fails, or whoever is told fails.
    pub fn each(
        &self,
        progress: &Progress,
        mut tell: impl FnMut(&Person) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let bar = progress.bar("scoring people", self.len());
        for no in &self.rows {
            tell(&self.person(&self.row(*no)?)?)?;
            bar.inc(1);
        }
        for exported in &self.exported {
            tell(&exported.person)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// One person by an identifier (`email:ada@example.com`), or by the id of an exported prospect.
    ///
    /// # Errors
    /// When it is neither, or nobody's.
    pub fn find(&self, who: &str) -> Result<Person, Trouble> {
        let nobody = || Trouble(format!("nobody is `{who}`"));
        if KeyHash::from_prospect_id(who).is_some() {
            let exported = self.exported.iter().find(|exported| exported.id == who);
            return exported.map(|exported| exported.person.clone()).ok_or_else(nobody);
        }
        let identifier = who.split_once(':').and_then(|(key_type, value)| identifier(key_type, value));
        let identifier = identifier
            .ok_or_else(|| Trouble(format!("`{who}` is no identifier: write it as in `email:ada@example.com`")))?;
        let key = self.key.hash(&identifier);
        if let Some(exported) = self.exported.iter().find(|exported| exported.keys.contains(&key)) {
            return Ok(exported.person.clone());
        }
        let id = self.partition.prospect(Target::key(key), self.newest)?.found().ok_or_else(nobody)?.id;
        for no in &self.rows {
            let row = self.row(*no)?;
            if row.founder.prospect_id() == id {
                return self.person(&row);
            }
        }
        Err(nobody())
    }

    fn row(&self, no: i64) -> Result<Row, Trouble> {
        let rows = self.partition.store().query("SELECT state FROM person WHERE no = ?", &[no.into()])?;
        let row = rows.first().ok_or_else(|| Trouble("a person has gone".to_owned()))?;
        Ok(decode(row.blob(0)?)?)
    }

    fn person(&self, row: &Row) -> Result<Person, Trouble> {
        let prospect = self.partition.prospect(Target::id(row.founder), self.newest)?.found();
        let named = prospect.and_then(|prospect| {
            let first = prospect.identifiers.first().map(|first| format!("{}:{}", first.key_type, first.value));
            prospect.email.or(first)
        });
        let name = named.unwrap_or_else(|| row.founder.prospect_id());
        let events = self.partition.events_of(&row.spans)?;
        let left_out = row.events.saturating_sub(events.len() as u64);
        let domain = row.attributes.0.get(EMAIL_DOMAIN).cloned();
        Ok(Person { name, events, left_out, domain, internal: row.internal, now: self.newest })
    }
}

/// An identifier as callers write it: `external_id`, or `external_id@workspace`, and its value.
pub(super) fn identifier(scoped_type: &str, value: &str) -> Option<Identifier> {
    let (slug, workspace) = scoped_type.split_once('@').unwrap_or((scoped_type, ""));
    Identifier::new(KeyType::from_slug(slug)?, workspace, value)
}

/// What the lines of some files say.
#[derive(Default)]
struct Lines {
    /// The file and the line that is read.
    place: String,
    records: Vec<Record>,
    exports: Exports,
    rejected: Vec<String>,
}

impl Lines {
    fn reject(&mut self, why: &str) {
        self.rejected.push(format!("{}: {why}", self.place));
    }

    fn read(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let members: BTreeMap<String, &RawValue> = match serde_json::from_str(line) {
            Ok(members) => members,
            Err(error) => return self.reject(&error.to_string()),
        };
        if let Some(taken) = self.exports.take(line, &members) {
            return taken.unwrap_or_else(|why| self.reject(&why));
        }
        let items: Vec<&RawValue> = match members.get("events").map(|events| serde_json::from_str(events.get())) {
            None => return self.read_event(line),
            Some(Ok(items)) => items,
            Some(Err(error)) => return self.reject(&error.to_string()),
        };
        items.into_iter().for_each(|item| self.read_event(item.get()));
    }

    fn read_event(&mut self, text: &str) {
        let fields: Value = serde_json::from_str(text).unwrap_or_default();
        if fields.get("event_type").is_none() || fields.get("kind").is_some() {
            match events::read(text, 0, "", &Policy::default()) {
                Ok(record) => self.records.push(record),
                Err(rejected) => self.reject(&format!("{}: {}", rejected.reason, rejected.detail)),
            }
            return;
        }
        match currents::parse(format!("{{\"events\":[{text}]}}").as_bytes(), "", &BTreeMap::new()) {
            Ok(batch) => {
                self.records.extend(batch.records);
                batch.dead.iter().for_each(|dead| self.reject(&format!("{}: {}", dead.reason, dead.detail)));
            }
            Err(error) => self.reject(&error.to_string()),
        }
    }
}
