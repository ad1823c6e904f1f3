//! Reading JSON field by field, collecting every mistake with its place instead of stopping at the first.

use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::RangeInclusive;

/// The longest text in a model, in characters. Rules are read by people, and needles are kept in memory.
pub(super) const TEXT_CHARS_MAX: usize = 1024;

/// One mistake in a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelError {
    /// Where: a JSON pointer (RFC 6901) into the model; empty for the whole.
    pub path: String,
    /// What is wrong, in words for the person who wrote it.
    pub message: String,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl std::error::Error for ModelError {}

/// How many mistakes are told: nobody reads more, and a document may be wrong in every byte.
pub(super) const ERRORS_MAX: usize = 100;

/// The mistakes found so far, and what is summed up over the whole model.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: RefCell<Vec<ModelError>>,
    wild_chars: Cell<usize>,
}

impl Report {
    pub(super) fn error(&self, path: &str, message: impl Into<String>) {
        let mut errors = self.errors.borrow_mut();
        if errors.len() < ERRORS_MAX {
            errors.push(ModelError { path: path.to_owned(), message: message.into() });
        }
    }

    /// Notes how many characters the parts with `?` of one more pattern have.
    pub(super) fn note_wild_chars(&self, chars: usize) {
        self.wild_chars.set(self.wild_chars.get() + chars);
    }

    /// How many characters such parts have together.
    pub(super) fn wild_chars(&self) -> usize {
        self.wild_chars.get()
    }

    pub(super) fn into_errors(self) -> Vec<ModelError> {
        self.errors.into_inner()
    }
}

/// A pointer one step further: `~` and `/` in keys are escaped (RFC 6901).
pub(super) fn step(path: &str, key: impl fmt::Display) -> String {
    format!("{path}/{}", key.to_string().replace('~', "~0").replace('/', "~1"))
}

/// A JSON object under reading.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) path: &'a str,
    pub(super) fields: &'a Map<String, Value>,
    pub(super) report: &'a Report,
}

impl<'a> Object<'a> {
    /// The object that a value is; reported and `None` if it is something else.
    pub(super) fn new(value: &'a Value, path: &'a str, report: &'a Report) -> Option<Object<'a>> {
        let fields = value.as_object();
        if fields.is_none() {
            report.error(path, format!("must be an object, not {}", type_name(value)));
        }
        Some(Object { path, fields: fields?, report })
    }

    /// Reports every field that is not one of these.
    pub(super) fn only(&self, known: &[&str]) {
        self.only_but(known, &[]);
    }

    /// Reports every field that is neither one of these nor reported elsewhere.
    pub(super) fn only_but(&self, known: &[&str], elsewhere: &[&str]) {
        let is_known = |key: &str| known.contains(&key) || elsewhere.contains(&key);
        for key in self.fields.keys().filter(|key| !is_known(key)) {
            self.error(key, format!("unknown field{}", one_of(key, known.iter().copied())));
        }
    }

    pub(super) fn at(&self, key: &str) -> String {
        step(self.path, key)
    }

    pub(super) fn error(&self, key: &str, message: impl Into<String>) {
        self.report.error(&self.at(key), message);
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// Reports a field that this object must have and has not.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            self.report.error(self.path, format!("`{key}` is missing"));
        }
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Option<T> {
        let value = self.fields.get(key)?;
        let read = read(value);
        if read.is_none() {
            self.error(key, format!("must be {wanted}, not {}", type_name(value)));
        }
        read
    }

    /// A text of 1 to [`TEXT_CHARS_MAX`] characters.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.typed(key, "a text", Value::as_str)?;
        if text.is_empty() {
            self.error(key, "must not be empty");
        } else if text.chars().nth(TEXT_CHARS_MAX).is_some() {
            self.error(key, format!("must be at most {TEXT_CHARS_MAX} characters long"));
        } else {
            return Some(text);
        }
        None
    }

    /// `true` or `false`; absent is `false`.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.typed(key, "true or false", Value::as_bool).unwrap_or_default()
    }

    /// A number in a range.
    pub(super) fn number(&self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let number = self.typed(key, "a number", Value::as_f64)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.error(key, format!("must be a number from {} to {}", range.start(), range.end()));
        None
    }

    /// A whole number in a range.
    pub(super) fn whole(&self, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let number = self.typed(key, &wanted, Value::as_f64)?;
        let whole = number as u32;
        if f64::from(whole) == number && range.contains(&whole) {
            return Some(whole);
        }
        self.error(key, format!("must be {wanted}"));
        None
    }

    /// A list of at most so many elements, each with its path; absent is empty.
    pub(super) fn list(&self, key: &str, most: usize) -> Vec<(String, &'a Value)> {
        let list = self.typed(key, "a list", Value::as_array).map_or(&[][..], Vec::as_slice);
        if list.len() > most {
            self.error(key, format!("has {} elements; {most} are allowed", list.len()));
            return Vec::new();
        }
        let path = self.at(key);
        list.iter().enumerate().map(|(place, value)| (step(&path, place), value)).collect()
    }

    /// One word of a closed list.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let list = words.iter().map(|(word, _)| *word);
            self.error(key, format!("unknown word `{text}`{}", one_of(text, list)));
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A slug: what stands for a thing in the API, in columns and in lists.
    pub(super) fn slug(&self, key: &str) -> Option<&'a str> {
        self.require(key);
        let text = self.text(key)?;
        let well_formed = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
        if !well_formed {
            self.error(key, "must be 1 to 64 of a-z, 0-9, `_` and `-`, starting with a letter");
        }
        well_formed.then_some(text)
    }
}

pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// `; did you mean `…`?` if one of the words is near, else nothing.
pub(super) fn did_you_mean<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> String {
    nearest(written, words).map(|word| format!("; did you mean `{word}`?")).unwrap_or_default()
}

/// The nearest word, or the list of all of them.
pub(crate) fn one_of<'w>(written: &str, words: impl Iterator<Item = &'w str> + Clone) -> String {
    match nearest(written, words.clone()) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => format!("; it must be one of {}", words.collect::<Vec<_>>().join(", ")),
    }
}

/// The word with the fewest differences, if they are few for its length.
fn nearest<'w>(written: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    // What people get wrong besides letters: `half-life-days`, `Page_View`, `page view`.
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let written: String = plain(written).chars().take(64).collect();
    words
        .map(|word| (distance(&written, &plain(word)), word))
        .filter(|(distance, word)| {
            // Or it is a word cut short: `half_life`.
            *distance <= (word.len() / 3).max(1) || written.len() > 3 && plain(word).starts_with(&written)
        })
        .min()
        .map(|(_, word)| word)
}

/// Levenshtein's distance, in which two neighbours that changed places are one difference.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    let (mut row_before, mut a_before) = (Vec::new(), None);
    for (place, a) in left.chars().enumerate() {
        let mut before = place + 1;
        let mut next = vec![before];
        let mut b_before = None;
        for (column, ((b, above_left), above)) in right.iter().zip(&row).zip(row.iter().skip(1)).enumerate() {
            before = (above + 1).min(before + 1).min(above_left + usize::from(a != *b));
            let swapped = (a_before == Some(*b) && b_before == Some(a)).then(|| row_before.get(column.wrapping_sub(1)));
            if let Some(Some(two_before)) = swapped {
                before = before.min(two_before + 1);
            }
            b_before = Some(*b);
            next.push(before);
        }
        a_before = Some(a);
        row_before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (left, right, expected) in [
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("same", "same", 0),
            ("abcd", "xabcd", 1),
            ("abcdef", "defabc", 6),
            ("naem", "name", 1),
            ("ab", "ba", 1),
            ("abc", "ca", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn suggestions_are_near_or_absent() {
        let words = ["page_view", "purchase", "limit"];
        assert_eq!(nearest("Page-View", words.into_iter()), Some("page_view"));
        assert_eq!(nearest("purchse", words.into_iter()), Some("purchase"));
        assert_eq!(nearest("colour", words.into_iter()), None);
        // A third of the word may differ, in short ones one letter; or it is cut short, to four letters at least.
        for (written, word, near) in [
            ("pxxx_view", "page_view", true),
            ("pxxx_vxew", "page_view", false),
            ("on", "in", true),
            ("of", "in", false),
            ("half", "half_life_days", true),
            ("hal", "half_life_days", false),
            ("life", "half_life_days", false),
        ] {
            assert_eq!(nearest(written, [word].into_iter()).is_some(), near, "{written} {word}");
        }
        assert_eq!(nearest("limiz", ["limits", "limit"].into_iter()), Some("limit"), "the nearest of two");
    }

    #[test]
    fn pointers_escape() {
        assert_eq!(step("/a", "b/c~d"), "/a/b~1c~0d");
    }
}
