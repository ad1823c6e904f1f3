//! Tests of rules: given this model, these events expect these scores at these times.
//!
//! ```yaml
//! model: ../model.yaml            # a file beside this one, or a model itself; `shipped` is the one of a new deployment
//! start: 2026-11-02T00:00:00Z     # what `0d` means; this Monday if not given
//! cases:
//!   - name: three pricing pages a day earn points
//!     events:
//!       - { at: 9h, kind: page_view, url: https://shop.example/pricing, times: 4 }
//!     expect:
//!       - { at: 9h 3ms, score: 15, why: { pricing: 15 }, tags: [pricing], temperature: normal, stage: lead }
//! ```
//!
//! - Events are those of `POST /api/events`, or of Braze Currents (those with `event_type` and no `kind`). `id` and
//!   `identity` may be left out: a case is about one person, and its events are in the order listed where their times
//!   are equal. `times` and `every` repeat an event. `received` is when it became known, if that is not when it
//!   happened: only then may an event be dated later than the time asked about.
//! - `attributes` are known from the start, or from when they say (`{value, at}`); an event of kind `identify` tells more of
//!   them (`properties: {attributes: {…}}`). The latest word counts.
//! - `at` in an expectation: only events known by then count. Nothing is expected of what is not mentioned; `tags` and
//!   `why` must be complete where they are mentioned.
//! - `with` changes the model for one case, `with_score` its main score, both as JSON merge patches (RFC 7396).

use super::document::{self, Trouble};
use super::moment;
use crate::event::{Record, Source};
use crate::identity::policy::Policy;
use crate::scoring::{Attribute, Attributes, Model};
use crate::sources::{currents, events};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// 2026-11-02, a Monday and the second day of a month.
const START: &str = "2026-11-02T00:00:00Z";

/// How often `times` may repeat an event: ten times as many as are scored of anybody.
const TIMES_MAX: i64 = 100_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "note")]
    _note: Option<String>,
    model: Value,
    start: Option<String>,
    cases: Vec<CaseSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseSpec {
    name: String,
    #[serde(default, rename = "note")]
    _note: Option<String>,
    with: Option<Value>,
    with_score: Option<Value>,
    /// The person is one of the customer's own.
    #[serde(default)]
    internal: bool,
    #[serde(default)]
    attributes: BTreeMap<String, Value>,
    #[serde(default)]
    events: Vec<Map<String, Value>>,
    expect: Vec<ExpectSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectSpec {
    at: Value,
    score: Option<f64>,
    #[serde(default)]
    scores: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    bands: BTreeMap<String, Option<String>>,
    tags: Option<Vec<String>>,
    temperature: Option<String>,
    stage: Option<String>,
    excluded: Option<String>,
    why: Option<BTreeMap<String, f64>>,
    #[serde(default, deserialize_with = "present")]
    next_change: Option<Option<Value>>,
    active: Option<Value>,
}

/// Tells `null` from nothing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Value>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A file of tests, ready to be run.
#[derive(Debug)]
pub struct Suite {
    /// What `0d` means, ms since 1970 UTC.
    pub start: i64,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// One story.
#[derive(Debug)]
pub struct Case {
    /// For people.
    pub name: String,
    /// The model, changed for this case.
    pub model: Model,
    /// Whether the person is one of the customer's own.
    pub internal: bool,
    /// What is known of the person.
    pub attributes: Attributes,
    /// What happened.
    pub events: Vec<Happened>,
    /// What is expected, in the order of the file.
    pub expect: Vec<Expect>,
}

/// One event of a story.
#[derive(Debug, Clone)]
pub struct Happened {
    /// When it became known, ms.
    pub received: i64,
    /// The event.
    pub record: Record,
}

/// What is expected at a time; `None` is nothing in particular.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// The time asked about, ms.
    pub at: i64,
    /// Values as shown, by slug; `None` for an excluded person.
    pub scores: BTreeMap<String, Option<f64>>,
    /// Letters, by slug.
    pub bands: BTreeMap<String, Option<String>>,
    /// All of them.
    pub tags: Option<Vec<String>>,
    /// The word.
    pub temperature: Option<String>,
    /// The slug.
    pub stage: Option<String>,
    /// The reason.
    pub excluded: Option<String>,
    /// What the main score is made of: the sum of contributions per rule, `inactivity`, `floor`, `cap` and `external`.
    pub why: Option<BTreeMap<String, f64>>,
    /// When something changes by itself, if ever.
    pub next_change: Option<Option<i64>>,
    /// When the newest activity was.
    pub active: Option<i64>,
}

impl Suite {
    /// Reads a file of tests.
    ///
    /// # Errors
    /// With the case at fault.
    pub fn read(path: &Path) -> Result<Suite, Trouble> {
        let file: File = document::read(path, &document::text(path)?)?;
        let trouble = |message: String| Trouble(format!("{}: {message}", path.display()));
        // A test that asks nothing would pass whatever the rules are.
        if file.cases.is_empty() {
            return Err(trouble("`cases` is empty: there is nothing to test".to_owned()));
        }
        let start = moment::parse(file.start.as_deref().unwrap_or(START), 0).map_err(trouble)?;
        let model = match &file.model {
            Value::String(name) if name == "shipped" => {
                serde_json::from_str(Model::SHIPPED).map_err(|error| trouble(error.to_string()))?
            }
            Value::String(name) => {
                let model_path = path.parent().unwrap_or(Path::new("")).join(name);
                document::read(&model_path, &document::text(&model_path)?)?
            }
            inline => inline.clone(),
        };
        let cases = file.cases.into_iter().map(|case| {
            let name = case.name.clone();
            read_case(case, &model, start).map_err(|message| trouble(format!("case `{name}`: {message}")))
        });
        Ok(Suite { start, cases: cases.collect::<Result<_, _>>()? })
    }
}

fn read_case(case: CaseSpec, model: &Value, start: i64) -> Result<Case, String> {
    if case.expect.is_empty() {
        return Err("`expect` is empty: the case would pass whatever the rules are".to_owned());
    }
    let mut model = model.clone();
    if let Some(patch) = &case.with {
        merge(&mut model, patch);
    }
    if let Some(patch) = &case.with_score {
        let scores = model.get_mut("scores").and_then(Value::as_array_mut).ok_or("the model has no `scores`")?;
        let is_main = |score: &Value| score.get("main").and_then(Value::as_bool).unwrap_or_default();
        let main = scores.iter().position(is_main).unwrap_or_default();
        merge(scores.get_mut(main).ok_or("the model has no scores")?, patch);
    }
    let model =
        Model::parse(&model.to_string()).map_err(|errors| format!("the model:{}", document::mistakes(&errors)))?;
    let attributes = case.attributes.into_iter().map(|(name, value)| Ok((name, read_attribute(&value, start)?)));
    let attributes = Attributes(attributes.collect::<Result<_, String>>()?);
    let mut happened = tellings(&model, &attributes)?;
    for fields in case.events {
        read_event(fields, start, &mut happened)?;
    }
    let main = model.main_score().to_owned();
    let expect = case.expect.into_iter().map(|expect| read_expect(expect, &main, start)).collect::<Result<_, _>>()?;
    Ok(Case { name: case.name, model, internal: case.internal, attributes, events: happened, expect })
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (key, change) in changes {
            if change.is_null() {
                fields.remove(key);
            } else {
                merge(fields.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
    }
}

fn read_time(value: &Value, start: i64) -> Result<i64, String> {
    match value {
        Value::String(text) => moment::parse(text, start),
        other => other.as_i64().ok_or_else(|| format!("{other} is no time")),
    }
}

/// One event, or as many as `times` says.
fn read_event(mut fields: Map<String, Value>, start: i64, happened: &mut Vec<Happened>) -> Result<(), String> {
    let at =
        fields.remove("at").or_else(|| fields.get("time").map(|time| json!(time.as_i64().unwrap_or_default() * 1000)));
    let at = read_time(&at.ok_or("an event needs `at`")?, start)?;
    let times =
        fields.remove("times").map_or(Some(1), |times| times.as_i64()).filter(|times| (0..=TIMES_MAX).contains(times));
    let times = times.ok_or_else(|| format!("`times` must be a whole number up to {TIMES_MAX}"))?;
    let every = fields.remove("every").unwrap_or_else(|| json!("1ms"));
    let every = every.as_str().and_then(moment::span).ok_or("`every` must be a stretch of time, as in `1d`")?;
    let received = fields.remove("received").map(|received| read_time(&received, start)).transpose()?;
    for nth in 0..times {
        let at = at.saturating_add(every.saturating_mul(nth));
        // Ids decide the order of one millisecond: that of the file.
        let id = format!("e{:06}", happened.len());
        let record = read_record(fields.clone(), at, &id)?;
        happened.push(Happened { received: received.unwrap_or(record.at), record });
    }
    Ok(())
}

fn read_record(mut fields: Map<String, Value>, at: i64, id: &str) -> Result<Record, String> {
    fields.entry("id").or_insert_with(|| json!(id));
    if fields.contains_key("event_type") && !fields.contains_key("kind") {
        // Currents tells times in seconds.
        fields.entry("time").or_insert_with(|| json!(at.div_euclid(1000)));
        fields.entry("user").or_insert_with(|| json!({ "external_user_id": "somebody" }));
        let body = json!({ "events": [fields] }).to_string();
        let batch = currents::parse(body.as_bytes(), "", &BTreeMap::new()).map_err(|error| error.to_string())?;
        if let Some(dead) = batch.dead.first() {
            return Err(format!("event {body}: {}: {}", dead.reason, dead.detail));
        }
        return batch.records.into_iter().next().ok_or_else(|| format!("no event in {body}"));
    }
    fields.insert("at".to_owned(), json!(at));
    fields.entry("identity").or_insert_with(|| json!([{ "type": "visitor", "value": "somebody" }]));
    let text = Value::Object(fields).to_string();
    events::read(&text, 0, "", &Policy::default())
        .map_err(|rejected| format!("event {text}: {}: {}", rejected.reason, rejected.detail))
}

/// A plain value, or `{value, at, source}`; `at` is the start if not given.
fn read_attribute(value: &Value, start: i64) -> Result<Attribute, String> {
    let mut attribute = Attribute { value: value.to_string(), source: Source::Crm, at: start };
    if let Value::Object(fields) = value
        && let Some(value) = fields.get("value")
    {
        attribute.value = value.to_string();
        if let Some(at) = fields.get("at") {
            attribute.at = read_time(at, start)?;
        }
    }
    Ok(attribute)
}

/// What was told of attributes whose numbers are scores, as the events that told it.
fn tellings(model: &Model, attributes: &Attributes) -> Result<Vec<Happened>, String> {
    let told = model.attributes_scored().filter_map(|name| Some((name, attributes.0.get(name)?)));
    let happened = told.enumerate().map(|(nth, (name, attribute))| {
        let value: Value = serde_json::from_str(&attribute.value).map_err(|error| error.to_string())?;
        let fields = json!({ "kind": "identify", "properties": { "attributes": { name: value } } });
        let fields = fields.as_object().cloned().unwrap_or_default();
        let record = read_record(fields, attribute.at, &format!("a{nth:06}"))?;
        Ok(Happened { received: attribute.at, record })
    });
    happened.collect()
}

fn read_expect(spec: ExpectSpec, main: &str, start: i64) -> Result<Expect, String> {
    let mut scores = spec.scores;
    if let Some(score) = spec.score {
        scores.insert(main.to_owned(), Some(score));
    }
    let next_change = match spec.next_change {
        Some(Some(at)) => Some(Some(read_time(&at, start)?)),
        Some(None) => Some(None),
        None => None,
    };
    let expect = Expect {
        at: read_time(&spec.at, start)?,
        scores,
        bands: spec.bands,
        tags: spec.tags,
        temperature: spec.temperature,
        stage: spec.stage,
        excluded: spec.excluded,
        why: spec.why,
        next_change,
        active: spec.active.map(|at| read_time(&at, start)).transpose()?,
    };
    if expect == (Expect { at: expect.at, ..Expect::default() }) {
        return Err(format!("expects nothing at {}", spec.at));
    }
    Ok(expect)
}
