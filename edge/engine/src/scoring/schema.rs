//! The model's JSON Schema (draft 2020-12), made from the tables that models are read by: fields, operators, kinds,
//! sources, words, limits. It tells editors what may be written; [`Model::parse`](super::Model::parse) decides, and
//! knows more: that slugs are unique, stages rise, sums stay within limits.

use super::condition::CountTest;
use super::model::Aggregate;
use super::parse::{
    LABEL_CHARS_MAX, LABELS_MAX, MODEL_FIELDS, SCORES_MAX, STAGE_FIELDS, STAGE_QUESTIONS_MAX, STAGES_MAX, TAG_FIELDS,
    TAGS_MAX, TEMPERATURE_FIELDS,
};
use super::parse_condition::{COMBINATORS, COUNT_MAX, DAYS_MAX, FIELDS, HISTORY, SOURCES, TIMES};
use super::parse_operator::{EXISTS, GLOB_CHARS_MAX, LIST_MAX, OPERATORS, is_of_words};
use super::parse_score::{
    BAND_CHARS_MAX, BANDS_MAX, INACTIVITY_FIELDS, INACTIVITY_MAX, KindWord, LIMIT_FIELDS, LIMIT_TIMES, LIMITS_MAX,
    NUMBER_MAX, RESERVED, RULE_FIELDS, RULES_MAX, SHARED,
};
use super::reader::TEXT_CHARS_MAX;
use super::window::Per;
use crate::event::Source;
use crate::kinds::KINDS;
use serde_json::{Map, Value, json};

/// The JSON Schema of a model.
#[must_use]
pub fn schema() -> Value {
    let root = object(&MODEL_FIELDS, &["scores"], |field| match field {
        "tags" => list(&reference("tag"), TAGS_MAX),
        "scores" => {
            let mut scores = list(&reference("score"), SCORES_MAX);
            with(&mut scores, "minItems", json!(1));
            scores
        }
        "temperature" => temperature(),
        "stages" => stages(),
        "include" | "exclude" => reference("state"),
        _ => reference("text"),
    });
    let definitions = [
        ("text", json!({ "type": "string", "minLength": 1, "maxLength": TEXT_CHARS_MAX })),
        ("slug", json!({ "type": "string", "pattern": "^[a-z][a-z0-9_-]{0,63}$" })),
        ("labels", labels()),
        ("number", json!({ "type": "number", "minimum": -NUMBER_MAX, "maximum": NUMBER_MAX })),
        ("points", json!({ "$ref": "#/$defs/number", "not": { "const": 0 } })),
        ("days", json!({ "type": "number", "exclusiveMinimum": 0, "maximum": DAYS_MAX })),
        ("scalar", json!({ "type": ["string", "number", "boolean"], "maxLength": TEXT_CHARS_MAX })),
        ("operators", operators(None)),
        ("field", any_of([reference("scalar"), reference("operators")])),
        ("count", count()),
        ("event", event_condition(&[])),
        ("rule", event_condition(&["count", "within_days"])),
        ("history", history()),
        ("attributes", attributes("attributes")),
        ("state", any_of([reference("history"), attributes("state")])),
        ("tag", tag()),
        ("score", any_of(KindWord::WORDS.map(|(word, kind)| score(word, kind)))),
        ("limit", limit()),
    ];
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wingbeat scoring model",
        "$defs": definitions.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
    });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
    }
    schema
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn any_of(schemas: impl IntoIterator<Item = Value>) -> Value {
    json!({ "anyOf": schemas.into_iter().collect::<Vec<_>>() })
}

fn list(items: &Value, most: usize) -> Value {
    json!({ "type": "array", "maxItems": most, "items": items })
}

fn with(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = schema {
        fields.insert(key.to_owned(), value);
    }
}

/// A closed object.
fn object<'f>(fields: &[&'f str], required: &[&str], of: impl Fn(&'f str) -> Value) -> Value {
    let properties: Map<_, _> = fields.iter().map(|field| ((*field).to_owned(), of(field))).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn words<'w>(words: impl Iterator<Item = &'w str>) -> Value {
    json!({ "enum": words.collect::<Vec<_>>() })
}

/// The operators of a field; those that compare whole words take only words of a closed list, if there is one.
fn operators(closed: Option<&Value>) -> Value {
    let all = OPERATORS.iter().copied().chain([EXISTS]);
    let fields: Vec<&str> = all.filter(|name| closed.is_none() || is_of_words(name)).collect();
    let mut schema = object(&fields, &[], |name| operand(name, closed));
    with(&mut schema, "minProperties", json!(1));
    schema
}

fn operand(operator: &str, closed: Option<&Value>) -> Value {
    let scalar = closed.cloned().unwrap_or_else(|| reference("scalar"));
    match operator {
        "equals" | "not_equals" => scalar,
        "contains" | "not_contains" if closed.is_some() => reference("text"),
        "contains" | "not_contains" => json!({ "$ref": "#/$defs/scalar", "minLength": 1 }),
        "glob" => json!({ "type": "string", "minLength": 1, "maxLength": GLOB_CHARS_MAX }),
        "in" => {
            let mut values = list(&scalar, LIST_MAX);
            with(&mut values, "minItems", json!(1));
            values
        }
        "gt" | "gte" | "lt" | "lte" => json!({ "type": "number" }),
        EXISTS if closed.is_some() => json!({ "const": true }),
        EXISTS => json!({ "type": "boolean" }),
        _ => reference("text"),
    }
}

fn count() -> Value {
    let number = json!({ "type": "integer", "minimum": 0, "maximum": COUNT_MAX });
    let mut schema = object(&CountTest::WORDS.map(|(word, _)| word), &[], |_| number.clone());
    with(&mut schema, "minProperties", json!(1));
    schema
}

/// One part of a condition: a field, a time, a combination of conditions of the same sort, or what is asked of history.
fn condition_field(field: &str, inside: &str) -> Value {
    match field {
        "event" => {
            let kinds = words(KINDS.iter().map(|row| row.slug));
            any_of([kinds.clone(), operators(Some(&kinds))])
        }
        "source" => {
            let sources = words(SOURCES.iter().filter(|s| **s != Source::Identify).map(|s| s.slug()));
            any_of([sources.clone(), operators(Some(&sources))])
        }
        "not" => reference(inside),
        "all" | "any" => {
            let mut conditions = list(&reference(inside), LIST_MAX);
            with(&mut conditions, "minItems", json!(1));
            conditions
        }
        "count" => reference("count"),
        "within_days" | "not_within_days" => reference("days"),
        "after" | "before" => {
            json!({ "type": "string", "pattern": "^-?\\d{4,6}-\\d\\d-\\d\\d($|[Tt ].*([Zz]|[+-]\\d\\d))" })
        }
        _ => reference("field"),
    }
}

/// A condition on one event, with these words of history at its top.
fn event_condition(history: &[&'static str]) -> Value {
    let fields: Vec<&str> = COMBINATORS.iter().chain(&FIELDS).chain(&TIMES).chain(history).copied().collect();
    let mut schema = object(&fields, &[], |field| condition_field(field, "event"));
    with(&mut schema, "patternProperties", json!({ "^(property|utm)\\..": reference("field") }));
    with(&mut schema, "minProperties", json!(1));
    schema
}

/// A question about all events of a person; an attribute may be asked beside it.
fn history() -> Value {
    let mut schema = event_condition(&HISTORY);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.extend(attribute_fields());
    }
    let asks: Vec<Value> =
        FIELDS.iter().chain(&TIMES).chain(&HISTORY).map(|field| json!({ "required": [field] })).collect();
    let parameter = json!({ "not": { "propertyNames": { "not": { "pattern": "^(property|utm)\\.." } } } });
    with(&mut schema, "anyOf", json!(asks.into_iter().chain([parameter]).collect::<Vec<_>>()));
    with(
        &mut schema,
        "not",
        json!({ "required": ["not_within_days"], "anyOf": [{ "required": ["count"] }, { "required": ["within_days"] }] }),
    );
    with(&mut schema, "dependentRequired", json!(needs_attribute()));
    with(&mut schema, "dependentSchemas", json!({ "attribute": needs_operator() }));
    schema
}

/// A condition on attributes, with combinations of a sort.
fn attributes(inside: &str) -> Value {
    let mut schema = object(&COMBINATORS, &[], |field| condition_field(field, inside));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.extend(attribute_fields());
    }
    with(&mut schema, "minProperties", json!(1));
    with(&mut schema, "dependentRequired", json!(needs_attribute()));
    with(&mut schema, "dependentSchemas", json!({ "attribute": needs_operator() }));
    schema
}

fn attribute_fields() -> impl Iterator<Item = (String, Value)> {
    let operators = OPERATORS.iter().copied().chain([EXISTS]).map(|name| (name.to_owned(), operand(name, None)));
    operators.chain([("attribute".to_owned(), reference("text"))])
}

fn needs_attribute() -> Map<String, Value> {
    OPERATORS.iter().copied().chain([EXISTS]).map(|name| (name.to_owned(), json!(["attribute"]))).collect()
}

fn needs_operator() -> Value {
    any_of(OPERATORS.iter().copied().chain([EXISTS]).map(|name| json!({ "required": [name] })))
}

/// Words of order.
fn labels() -> Value {
    list(&json!({ "type": "string", "minLength": 1, "maxLength": LABEL_CHARS_MAX }), LABELS_MAX)
}

fn tag() -> Value {
    object(&TAG_FIELDS, &["slug", "when"], |field| match field {
        "slug" => reference("slug"),
        "color" => json!({ "type": "string", "pattern": "^#[0-9A-Fa-f]{6}$" }),
        "when" => reference("state"),
        "include_bots" => json!({ "type": "boolean" }),
        _ => reference("text"),
    })
}

fn score(word: &str, kind: KindWord) -> Value {
    let fields: Vec<&str> = SHARED.iter().chain(kind.fields()).copied().collect();
    let required: &[&str] = if matches!(kind, KindWord::Behavior) { &["slug"] } else { &["slug", "kind"] };
    object(&fields, required, |field| match field {
        "slug" => json!({ "$ref": "#/$defs/slug", "not": { "enum": RESERVED } }),
        "tags" => reference("labels"),
        "kind" => json!({ "const": word }),
        "main" => json!({ "type": "boolean" }),
        "floor" | "cap" => reference("number"),
        "half_life_days" => reference("days"),
        "account_aggregate" => words(Aggregate::WORDS.iter().map(|(word, _)| *word)),
        "bands" => json!({ "type": "object", "maxProperties": BANDS_MAX, "additionalProperties": reference("number"),
            "propertyNames": { "minLength": 1, "maxLength": BAND_CHARS_MAX } }),
        "rules" => list(&rule(kind), RULES_MAX),
        "inactivity" => list(&inactivity(), INACTIVITY_MAX),
        _ => reference("text"),
    })
}

fn rule(kind: KindWord) -> Value {
    let of = |field: &str| match field {
        "when" if matches!(kind, KindWord::Profile) => reference("attributes"),
        "when" => reference("rule"),
        "tags" => reference("labels"),
        "points" => reference("points"),
        "set" => reference("number"),
        "limit" => any_of([reference("limit"), list(&reference("limit"), LIMITS_MAX)]),
        "include_bots" => json!({ "type": "boolean" }),
        _ => reference("text"),
    };
    if matches!(kind, KindWord::Profile) {
        let fields = RULE_FIELDS.iter().filter(|field| !["set", "limit", "include_bots"].contains(field));
        return object(&fields.copied().collect::<Vec<_>>(), &["id", "when", "points"], of);
    }
    let mut schema = object(&RULE_FIELDS, &["id", "when"], of);
    with(&mut schema, "oneOf", json!([{ "required": ["points"] }, { "required": ["set"] }]));
    schema
}

fn limit() -> Value {
    object(&LIMIT_FIELDS, &LIMIT_FIELDS, |field| match field {
        "times" => json!({ "type": "integer", "minimum": LIMIT_TIMES.start(), "maximum": LIMIT_TIMES.end() }),
        _ => words(Per::WORDS.iter().map(|(word, _)| *word)),
    })
}

fn inactivity() -> Value {
    object(&INACTIVITY_FIELDS, &["after_days", "points"], |field| match field {
        "after_days" => json!({ "type": "number", "minimum": 1, "maximum": DAYS_MAX }),
        "points" => json!({ "type": "number", "minimum": -NUMBER_MAX, "exclusiveMaximum": 0 }),
        _ => json!({ "type": "boolean" }),
    })
}

fn temperature() -> Value {
    let threshold = json!({ "type": "number", "minimum": 0, "maximum": NUMBER_MAX });
    object(&TEMPERATURE_FIELDS, &[], |field| match field {
        "half_life_days" => reference("days"),
        "cold" => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": NUMBER_MAX }),
        "weights" => {
            let activities: Vec<&str> = KINDS.iter().filter(|row| row.activity).map(|row| row.slug).collect();
            object(&activities, &[], |_| threshold.clone())
        }
        "note" => reference("text"),
        _ => threshold.clone(),
    })
}

/// The first stage has no conditions, the others have.
fn stages() -> Value {
    let line = object(&["score", "above"], &["score", "above"], |field| match field {
        "score" => reference("slug"),
        _ => reference("number"),
    });
    let mut lines = list(&line, STAGE_QUESTIONS_MAX);
    with(&mut lines, "minItems", json!(1));
    let when = any_of([line, object(&["all"], &["all"], |_| lines.clone())]);
    let of = |field: &str| match field {
        "slug" => reference("slug"),
        "tags" => reference("labels"),
        "when" => when.clone(),
        "leave_below" => reference("number"),
        _ => reference("text"),
    };
    let first: Vec<&str> = STAGE_FIELDS.into_iter().filter(|field| !["when", "leave_below"].contains(field)).collect();
    json!({ "type": "array", "maxItems": STAGES_MAX, "prefixItems": [object(&first, &["slug"], of)],
        "items": object(&STAGE_FIELDS, &["slug", "when"], of) })
}
