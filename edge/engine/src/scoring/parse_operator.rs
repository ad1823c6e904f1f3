//! Reading operators: what a field of a condition is asked.

use super::glob::Glob;
use super::needle::Needle;
use super::operator::{Compare, Operand, Operator};
use super::reader::{Report, TEXT_CHARS_MAX, one_of, step, type_name};
use super::seen::Seen;
use serde_json::Value;

/// How many values `in`, `all` and `any` may list: nobody reads more.
pub(super) const LIST_MAX: usize = 1000;

/// The longest pattern, in characters.
pub(super) const GLOB_CHARS_MAX: usize = 256;
/// How many characters the parts of all patterns that have a `?` in them may have together, a part being what stands
/// between two stars: each is compared with each character of the 2 KB of a text that are looked through, so that all take
/// at most 2^20 comparisons at one event, one or two ms.
pub(super) const WILD_CHARS_MAX: usize = 512;

pub(super) const OPERATORS: [&str; 12] = [
    "equals",
    "not_equals",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "glob",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
];
pub(super) const EXISTS: &str = "exists";

/// The operators that a field takes whose values are words of a closed list: of such words none is a number.
pub(super) fn is_of_words(operator: &str) -> bool {
    !matches!(operator, "gt" | "gte" | "lt" | "lte")
}

/// Reports what asks a field of a closed list for what is no word of it: such a condition would never hold, or always.
pub(super) fn check_words(value: &Value, path: &str, report: &Report, what: &str, words: &[&str]) {
    let check_word = |path: &str, value: &Value| match value {
        Value::String(text) if !words.contains(&text.as_str()) => {
            report.error(path, format!("unknown {what} `{text}`{}", one_of(text, words.iter().copied())));
        }
        Value::Number(_) | Value::Bool(_) => report.error(
            path,
            format!(
                "must be a {what}, as in `{}`, not {}",
                words.first().copied().unwrap_or_default(),
                type_name(value)
            ),
        ),
        // Of what can be no operand, its operator tells.
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => {}
    };
    let check_part = |key: &str, path: &str, operand: &Value| {
        let quiet = Report::default();
        let plain = key.strip_prefix("not_").unwrap_or(key);
        let asked = operator(plain, operand, path, &quiet);
        if asked.is_some_and(|asked| !words.iter().any(|word| asked.holds(Some(&Seen::text(word))))) {
            let text = operand.as_str().map_or_else(|| operand.to_string(), |text| text.replace('*', ""));
            report.error(path, format!("fits no {what}{}", one_of(&text, words.iter().copied())));
        }
    };
    let Value::Object(operators) = value else { return check_word(path, value) };
    for (key, operand) in operators {
        let path = step(path, key);
        match (key.as_str(), operand) {
            ("in", Value::Array(list)) => {
                list.iter().enumerate().for_each(|(place, value)| check_word(&step(&path, place), value));
            }
            ("equals" | "not_equals", _) => check_word(&path, operand),
            (key, _) if OPERATORS.contains(&key) && is_of_words(key) => check_part(key, &path, operand),
            (key, _) if OPERATORS.contains(&key) => report.error(&path, format!("a {what} is a word, and no number")),
            (EXISTS, Value::Bool(false)) => report.error(&path, format!("every event has a {what}")),
            _ => {}
        }
    }
}

/// Reports a text that is too long to be looked for.
fn sized(text: &str, most: usize, path: &str, report: &Report) -> bool {
    let fits = text.chars().nth(most).is_none();
    if !fits {
        report.error(path, format!("must be at most {most} characters long"));
    }
    fits
}

/// What is asked of a field: a plain value means `equals`, an object holds operators that must all hold.
pub(super) fn field_operators(value: &Value, path: &str, report: &Report) -> Vec<Operator> {
    let Value::Object(fields) = value else {
        if value.as_str().is_some_and(|text| !sized(text, TEXT_CHARS_MAX, path, report)) {
            return Vec::new();
        }
        let Some(operand) = Operand::new(value) else {
            let hint = if value.is_array() { ", as in {\"in\": […]}" } else { "" };
            report.error(path, format!("must be a text, a number, true, false or an object of operators{hint}"));
            return Vec::new();
        };
        return vec![Operator::Equals(operand)];
    };
    if fields.is_empty() {
        report.error(path, "must hold at least one operator");
    }
    let read = |(key, operand): (&String, &Value)| operator(key, operand, &step(path, key), report);
    fields.iter().filter_map(read).collect()
}

/// One operator with its operand.
pub(super) fn operator(key: &str, operand: &Value, path: &str, report: &Report) -> Option<Operator> {
    let wrong = |wanted: &str| report.error(path, format!("must be {wanted}"));
    let most = if key == "glob" { GLOB_CHARS_MAX } else { TEXT_CHARS_MAX };
    if operand.as_str().is_some_and(|text| !sized(text, most, path, report)) {
        return None;
    }
    let scalar = || {
        Operand::new(operand).or_else(|| {
            wrong("a text, a number, true or false");
            None
        })
    };
    let needle = || match operand.as_str() {
        Some(text) if !text.is_empty() => Some(text.to_lowercase()),
        _ => {
            wrong("a text that is not empty");
            None
        }
    };
    let compare = |compare| match operand.as_f64() {
        Some(number) => Some(Operator::Compare(compare, number)),
        None => {
            wrong("a number");
            None
        }
    };
    let part = || match operand.as_str() {
        Some("") => {
            wrong("a text that is not empty");
            None
        }
        _ => scalar().map(|operand| {
            let needle = Needle::new(&operand.lower);
            Operator::Contains(operand, needle)
        }),
    };
    let negated = |plain: Operator| Operator::Not(Box::new(plain));
    match key {
        "equals" => scalar().map(Operator::Equals),
        "not_equals" => scalar().map(Operator::Equals).map(negated),
        "contains" => part(),
        "not_contains" => part().map(negated),
        "starts_with" => needle().map(Operator::StartsWith),
        "ends_with" => needle().map(Operator::EndsWith),
        "glob" => needle().map(|pattern| {
            let glob = Glob::new(&pattern);
            report.note_wild_chars(glob.wild_chars());
            Operator::Glob(glob)
        }),
        "in" => {
            let list = operand.as_array().filter(|list| !list.is_empty() && list.len() <= LIST_MAX);
            let long = |(place, value): (usize, &Value)| {
                value.as_str().is_some_and(|text| !sized(text, TEXT_CHARS_MAX, &step(path, place), report))
            };
            if list.is_some_and(|list| list.iter().enumerate().any(long)) {
                return None;
            }
            let operands: Option<Vec<_>> = list.and_then(|list| list.iter().map(Operand::new).collect());
            if operands.is_none() {
                wrong(&format!("a list of 1 to {LIST_MAX} texts, numbers, true or false"));
            }
            operands.map(Operator::In)
        }
        "gt" => compare(Compare::Gt),
        "gte" => compare(Compare::Gte),
        "lt" => compare(Compare::Lt),
        "lte" => compare(Compare::Lte),
        EXISTS => operand.as_bool().map(Operator::Exists).or_else(|| {
            wrong("true or false");
            None
        }),
        _ => {
            let words = OPERATORS.iter().copied().chain([EXISTS]);
            report.error(path, format!("unknown operator{}", one_of(key, words)));
            None
        }
    }
}
