//! Files in: JSON by the ending `.json`, YAML otherwise (of which JSON is a part).

use crate::scoring::{Model, ModelError};
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

/// Reads a file's text as something.
///
/// # Errors
/// With the line at fault.
pub fn read<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Trouble> {
    let trouble = |error: String| Trouble(format!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(text).map_err(|error| trouble(error.to_string()))
    } else {
        serde_saphyr::from_str(text).map_err(|error| trouble(error.to_string()))
    }
}

/// Reads a model from a file; what is wrong with the model itself is in the inner result.
///
/// # Errors
/// When the file cannot be read, or is neither JSON nor YAML.
pub fn model(path: &Path) -> Result<Result<Model, Vec<ModelError>>, Trouble> {
    let text = text(path)?;
    let value: Value = read(path, &text)?;
    Ok(Model::parse(&value.to_string()))
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
