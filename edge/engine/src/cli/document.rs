//! Files in: JSON by the ending `.json`, YAML otherwise (of which JSON is a part).

use crate::scoring::{JsonError, Model, ModelError, read_json};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt;
use std::fs;
use std::path::Path;

/// What keeps a command from being done at all: a file that cannot be read, a word that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble(pub String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Trouble {}

/// The text of a file.
///
/// # Errors
/// When it cannot be read.
pub fn text(path: &Path) -> Result<String, Trouble> {
    fs::read_to_string(path).map_err(|error| Trouble(format!("{}: {error}", path.display())))
}

/// Reads a file's text as something. A field that is named twice is an error in either format.
///
/// # Errors
/// With the line at fault.
pub fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Trouble> {
    let trouble = |error: String| Trouble(format!("{}: {error}", path.display()));
    if is_json(path) {
        let value = read_json(text).map_err(|JsonError { path, message }| match path {
            Some(path) => trouble(format!("{path}: {message}")),
            None => trouble(message),
        })?;
        serde_json::from_value(value).map_err(|error| trouble(error.to_string()))
    } else {
        serde_saphyr::from_str(text).map_err(|error| trouble(in_words(&error)))
    }
}

fn is_given_twice(error: &serde_saphyr::Error) -> bool {
    matches!(error.without_snippet(), serde_saphyr::Error::DuplicateMappingKey { .. })
}

/// What is wrong with YAML, for whoever wrote it: of a name given twice the library speaks to programmers.
fn in_words(error: &serde_saphyr::Error) -> String {
    let message = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match error.without_snippet() {
        serde_saphyr::Error::DuplicateMappingKey { key, .. } => {
            let name = key.as_ref().map_or_else(String::new, |key| format!("`{key}` "));
            let place = error
                .location()
                .map_or_else(String::new, |at| format!(" at line {} column {}", at.line(), at.column()));
            format!("{name}is given twice in one object{place}")
        }
        _ => message,
    }
}

/// Whether a file is a test and no model: it names the one and has the others. A name given twice is for whoever reads the
/// file as what it is.
///
/// # Errors
/// When it cannot be read.
pub fn is_test(path: &Path) -> Result<bool, Trouble> {
    let text = text(path)?;
    let trouble = |error: String| Trouble(format!("{}: {error}", path.display()));
    let document: Value = if is_json(path) {
        serde_json::from_str(&text).map_err(|error| trouble(error.to_string()))?
    } else {
        let lenient = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
        serde_saphyr::from_str_with_options(&text, lenient).map_err(|error| trouble(in_words(&error)))?
    };
    Ok(["model", "cases"].iter().any(|name| document.get(name).is_some()))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Reads a model from a file; what is wrong with the model itself is in the inner result.
///
/// # Errors
/// When the file cannot be read, or is neither JSON nor YAML.
pub fn model(path: &Path) -> Result<Result<Model, Vec<ModelError>>, Trouble> {
    let text = text(path)?;
    if is_json(path) {
        // As the server reads it. What is no JSON at all is no mistake in a model.
        let is_json = read_json(&text).err().is_none_or(|error| error.path.is_some());
        return if is_json { Ok(Model::parse(&text)) } else { read::<Value>(path, &text).map(|_| Model::parse(&text)) };
    }
    let value: Value = match serde_saphyr::from_str(&text) {
        Ok(value) => value,
        Err(error) if is_given_twice(&error) => {
            return Ok(Err(vec![ModelError { path: String::new(), message: in_words(&error) }]));
        }
        Err(error) => return Err(Trouble(format!("{}: {}", path.display(), in_words(&error)))),
    };
    let mut read = Model::parse(&value.to_string());
    if let Err(errors) = &mut read {
        errors.iter_mut().for_each(|error| say_what_yaml_made(&value, error));
    }
    Ok(read)
}

/// Where a text is wanted and something else stands, it was written without quotes, and YAML has words for other things:
/// `n` and `off` are `false`, `1e3` is a number, `~` is `null`.
fn say_what_yaml_made(document: &Value, error: &mut ModelError) {
    let made =
        document.pointer(&error.path).filter(|value| matches!(value, Value::Bool(_) | Value::Number(_) | Value::Null));
    if let Some(made) = made.filter(|_| error.message.starts_with("must be a text, not ")) {
        error.message.push_str(&format!("; YAML has made `{made}` of it: put it into quotes"));
    }
}

/// A model that must be sound.
///
/// # Errors
/// Like [`model`], and when the model has mistakes.
pub fn sound_model(path: &Path) -> Result<Model, Trouble> {
    model(path)?.map_err(|errors| Trouble(format!("{}: {}", path.display(), mistakes(&errors))))
}

/// Mistakes, one a line.
#[must_use]
pub fn mistakes(errors: &[ModelError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}
