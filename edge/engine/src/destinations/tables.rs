//! What an export looks like: a line of JSON or of CSV for each prospect, event, score, or profile in Braze.

use super::braze::settings::WriteBack;
use super::braze::track::{Names, managed, targets, wanted};
use super::prospect::Prospect;
use crate::partition::export::{Item, What};
use crate::time;
use serde_json::{Map, Value};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180, with the names of the columns in the first line. What is neither text, number nor boolean is JSON.
    Csv,
}

/// What a line is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Table {
    /// A prospect, as the API shows it.
    Prospects,
    /// An event, as in a timeline, with whose it is.
    Events,
    /// A score of a prospect, with what it is known by elsewhere.
    Scores,
    /// A profile in Braze: a row of a Cloud Data Ingestion sync of attributes.
    CloudDataIngestion(Box<Profiles>),
}

/// Which profiles are told what.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    /// Whose ids are meant; the default workspace is empty.
    pub workspace: String,
    /// The attributes' names, and which there are.
    pub settings: WriteBack,
    /// What of the model they show.
    pub names: Names,
    /// Whoever is known by nothing but an address has a row, too.
    pub by_email: bool,
}

/// A document that could not be read, or a line that could not be written: never in practice.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// JSON.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// CSV.
    #[error("csv: {0}")]
    Csv(#[from] csv::Error),
}

const PROSPECT: [&str; 21] = [
    "id",
    "rev",
    "identified",
    "email",
    "first_name",
    "last_name",
    "company",
    "owner_email",
    "favorite",
    "temperature",
    "stage",
    "account",
    "tags",
    "identifiers",
    "attributes",
    "excluded",
    "sessions",
    "events",
    "created_at",
    "last_active_at",
    "model_version",
];
const EVENT: [&str; 15] = [
    "key",
    "prospect",
    "ref",
    "id",
    "at",
    "received_at",
    "kind",
    "name",
    "url",
    "referrer",
    "source",
    "event_type",
    "bot",
    "points",
    "properties",
];
const SCORE: [&str; 9] =
    ["prospect", "email", "external_ids", "braze_ids", "score", "value", "band", "model_version", "updated_at"];
/// As Braze names them (Cloud Data Ingestion, table setup).
const PROFILE: [&str; 5] = ["UPDATED_AT", "EXTERNAL_ID", "BRAZE_ID", "EMAIL", "PAYLOAD"];
/// Begins the name of a column that is a score's value.
const SCORE_OF: &str = "score.";

impl Table {
    /// What partitions are asked for.
    #[must_use]
    pub fn what(&self) -> What {
        if *self == Table::Events { What::Events } else { What::People }
    }

    /// The names of CSV's columns, `scores` being the slugs that the model had when the export began.
    #[must_use]
    pub fn columns(&self, scores: &[String]) -> Vec<String> {
        let own = |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        match self {
            Table::Prospects => {
                let scores = scores.iter().map(|slug| format!("{SCORE_OF}{slug}")).collect();
                [own(&PROSPECT), scores].concat()
            }
            Table::Events => own(&EVENT),
            Table::Scores => own(&SCORE),
            Table::CloudDataIngestion(_) => own(&PROFILE),
        }
    }

    /// Appends the first line, if the format has one.
    ///
    /// # Errors
    /// Never in practice: memory is the only sink.
    pub fn begin(&self, format: Format, scores: &[String], lines: &mut Vec<u8>) -> Result<(), TableError> {
        if format == Format::Csv {
            csv::Writer::from_writer(lines).write_record(self.columns(scores))?;
        }
        Ok(())
    }

    /// Appends the lines of a document.
    ///
    /// # Errors
    /// When the document is not what a partition shows.
    pub fn write(&self, format: Format, scores: &[String], item: &Item, lines: &mut Vec<u8>) -> Result<(), TableError> {
        if format == Format::Ndjson && matches!(self, Table::Prospects | Table::Events) {
            lines.extend_from_slice(&item.document);
            lines.push(b'\n');
            return Ok(());
        }
        let columns = self.columns(scores);
        for row in self.rows(item)? {
            match format {
                Format::Ndjson => {
                    serde_json::to_writer(&mut *lines, &row)?;
                    lines.push(b'\n');
                }
                Format::Csv => {
                    csv::Writer::from_writer(&mut *lines)
                        .write_record(columns.iter().map(|column| cell(value(&row, column))))?;
                }
            }
        }
        Ok(())
    }

    fn rows(&self, item: &Item) -> Result<Vec<Map<String, Value>>, TableError> {
        match self {
            Table::Prospects | Table::Events => Ok(vec![serde_json::from_slice(&item.document)?]),
            Table::Scores => {
                let document: Map<String, Value> = serde_json::from_slice(&item.document)?;
                let prospect: Prospect = serde_json::from_slice(&item.document)?;
                let scores = document.get("scores").and_then(Value::as_object).into_iter().flatten();
                Ok(scores.map(|(slug, score)| scored(item.at, &prospect, slug, score)).collect())
            }
            Table::CloudDataIngestion(profiles) => {
                let prospect: Prospect = serde_json::from_slice(&item.document)?;
                Ok(profiles.rows(item.at, &prospect))
            }
        }
    }
}

impl Profiles {
    /// One row a profile. Braze keeps what a row does not name, so that what has no value (any more) is `null`: all of it, of
    /// somebody who is not to be told of.
    fn rows(&self, at: i64, prospect: &Prospect) -> Vec<Map<String, Value>> {
        let mut payload = wanted(prospect, &self.names, &self.settings);
        // By an address Braze may make a profile: not to hold nothing.
        let by_email = self.by_email && !payload.is_empty();
        for name in managed(&self.names, &self.settings) {
            payload.entry(name).or_insert(Value::Null);
        }
        if payload.is_empty() {
            return Vec::new();
        }
        let payload = Value::Object(payload).to_string();
        let mut targets = targets(prospect, &self.workspace);
        if let Some(address) = prospect.plain_email().filter(|_| by_email && targets.is_empty()) {
            targets.push(format!("email:{address}"));
        }
        let row = |target: &String| {
            let (key_type, id) = target.split_once(':')?;
            // Each row names its profile in one way only, whatever else is known of it.
            let id = |of: &str| if of == key_type { Value::from(id) } else { Value::Null };
            let values =
                [time::show(at).into(), id("external_id"), id("braze_id"), id("email"), payload.clone().into()];
            Some(PROFILE.iter().map(|name| (*name).to_owned()).zip(values).collect())
        };
        targets.iter().filter_map(row).collect()
    }
}

fn scored(at: i64, prospect: &Prospect, slug: &str, score: &Value) -> Map<String, Value> {
    // Of every workspace: the API's own names for them say which.
    let ids = |key_type: &str| -> Value {
        let of = |identifier: &&super::prospect::Identifier| identifier.key_type.split('@').next() == Some(key_type);
        prospect.identifiers.iter().filter(of).map(|identifier| identifier.value.as_str()).collect()
    };
    let values = [
        prospect.id.as_str().into(),
        prospect.email.as_deref().into(),
        ids("external_id"),
        ids("braze_id"),
        slug.into(),
        score.get("value").cloned().unwrap_or_default(),
        score.get("band").cloned().unwrap_or_default(),
        prospect.model_version.into(),
        time::show(at).into(),
    ];
    SCORE.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

/// What a row has in a column.
fn value<'r>(row: &'r Map<String, Value>, column: &str) -> Option<&'r Value> {
    match column.strip_prefix(SCORE_OF) {
        Some(slug) => row.get("scores")?.get(slug)?.get("value"),
        None => row.get(column),
    }
}

/// As it stands in a line of CSV. Values are never altered, not even those that a spreadsheet would take for formulas:
/// what is loaded elsewhere must be what is here (README, exports).
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::prospect::tests::ada;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_for_braze_names_what_has_no_value_too() {
        let names = Names::of(&json!({ "scores": [{ "slug": "engagement", "main": true }, { "slug": "gone" }] }));
        let settings: WriteBack = serde_json::from_value(json!({ "names": { "tags": null } })).unwrap();
        let profiles = Profiles { workspace: String::new(), settings, names, by_email: true };
        let payloads = |prospect: &Prospect| -> Vec<Map<String, Value>> {
            let rows = profiles.rows(0, prospect);
            rows.iter().map(|row| serde_json::from_str(row["PAYLOAD"].as_str().unwrap()).unwrap()).collect()
        };
        let favorite = Prospect { favorite: true, owner_email: None, ..ada() };
        let payload = &payloads(&favorite)[0];
        assert_eq!(payload["sw_favorite"], true);
        assert_eq!((payload.get("sw_lead_owner"), payload.get("sw_gone")), (Some(&Value::Null), Some(&Value::Null)));
        assert_eq!(payload.get("sw_tags"), None, "it is not ours to set");
        let not = Prospect { favorite: false, ..favorite };
        assert_eq!(payloads(&not)[0].get("sw_favorite"), Some(&Value::Null));
        let excluded = Prospect { excluded: Some("a colleague".into()), ..not };
        let payload = &payloads(&excluded)[0];
        assert!(payload.contains_key("sw_lead_score") && payload.values().all(Value::is_null), "{payload:?}");
        let by_address = Prospect { identifiers: Vec::new(), ..excluded };
        assert_eq!(payloads(&by_address), Vec::new(), "nobody is made to hold nothing");
    }
}
