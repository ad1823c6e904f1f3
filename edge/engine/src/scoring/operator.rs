//! Operators of conditions: what may be asked of one value.

use serde_json::{Number, Value};
use std::str::Chars;

/// A value looked at: text fields are lower case already; properties and attributes are JSON.
#[derive(Debug, Clone, Copy)]
pub(super) enum Seen<'a> {
    Lower(&'a str),
    Json(&'a Value),
}

/// One question, compiled: needles are lower case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    Equals(Operand),
    Contains(Operand),
    StartsWith(String),
    EndsWith(String),
    Glob(String),
    In(Vec<Operand>),
    Compare(Compare, f64),
    Exists(bool),
    Not(Box<Operator>),
}

/// How numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Gt,
    Gte,
    Lt,
    Lte,
    Equals,
}

impl Compare {
    pub(super) fn holds<T: PartialOrd + Copy>(self, left: T, right: T) -> bool {
        match self {
            Compare::Gt => left > right,
            Compare::Gte => left >= right,
            Compare::Lt => left < right,
            Compare::Lte => left <= right,
            Compare::Equals => left == right,
        }
    }
}

/// What a value is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    lower: String,
    number: Option<Number>,
}

impl Operand {
    /// A string, number or boolean of a model; `None` for anything else.
    pub(super) fn new(value: &Value) -> Option<Operand> {
        let number = if let Value::Number(number) = value { Some(number.clone()) } else { None };
        Some(Operand { lower: printed(value)?, number })
    }

    fn equals(&self, seen: Seen<'_>) -> bool {
        // Numbers compare as numbers when both sides are (contract, section 1, row 15), else as text.
        if let (Some(left), Seen::Json(Value::Number(right))) = (&self.number, seen) {
            return same_number(left, right);
        }
        with_lower(seen, |text| text == self.lower)
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i64(), right.as_i64()) {
        // Whole numbers above 2^53 are distinct here and would not be as floats.
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}

/// A scalar as text, lower case: a number prints as the shortest decimal that reads back the same (DESIGN 6).
fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if number.is_f64() => number.as_f64().map(|float| float.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Asks something of the value's text; false for what has none.
fn with_lower(seen: Seen<'_>, ask: impl FnOnce(&str) -> bool) -> bool {
    match seen {
        Seen::Lower(text) => ask(text),
        Seen::Json(value) => printed(value).is_some_and(|text| ask(&text)),
    }
}

/// The number that a value is, or that its text spells.
pub(super) fn number(seen: Seen<'_>) -> Option<f64> {
    let spelt = |text: &str| {
        let text = text.trim();
        // `parse` would also take `inf` and `nan`.
        text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')).then(|| text.parse().ok())?
    };
    match seen {
        Seen::Json(Value::Number(number)) => number.as_f64(),
        Seen::Json(Value::String(text)) => spelt(text),
        Seen::Lower(text) => spelt(text),
        Seen::Json(_) => None,
    }
    .filter(|number: &f64| number.is_finite())
}

impl Operator {
    /// Whether it holds of a value; `None` is a missing field (contract, section 1, row 13).
    pub(super) fn holds(&self, seen: Option<Seen<'_>>) -> bool {
        let Some(value) = seen else {
            return match self {
                Operator::Exists(wanted) => !wanted,
                Operator::Not(plain) => !plain.holds(None),
                _ => false,
            };
        };
        match self {
            Operator::Equals(operand) => operand.equals(value),
            Operator::Contains(operand) => match value {
                Seen::Json(Value::Array(elements)) => elements.iter().any(|e| operand.equals(Seen::Json(e))),
                _ => with_lower(value, |text| text.contains(&operand.lower)),
            },
            Operator::StartsWith(needle) => with_lower(value, |text| text.starts_with(needle.as_str())),
            Operator::EndsWith(needle) => with_lower(value, |text| text.ends_with(needle.as_str())),
            Operator::Glob(pattern) => with_lower(value, |text| glob(pattern, text)),
            Operator::In(operands) => operands.iter().any(|operand| operand.equals(value)),
            Operator::Compare(compare, right) => number(value).is_some_and(|left| compare.holds(left, *right)),
            Operator::Exists(wanted) => *wanted,
            Operator::Not(plain) => !plain.holds(seen),
        }
    }
}

/// Whether the whole text matches a pattern in which `*` is any run of characters and `?` any one.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // Behind the last star: the pattern after it, and the text that it has not taken yet. Only the last star ever
    // needs to take more, so this is at most |pattern| x |text| steps.
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let mut after = pattern.clone();
        match after.next() {
            Some('*') => {
                star = Some((after.clone(), text.clone()));
                pattern = after;
                continue;
            }
            Some(wanted) => {
                let mut rest = text.clone();
                if rest.next().is_some_and(|found| wanted == '?' || wanted == found) {
                    (pattern, text) = (after, rest);
                    continue;
                }
            }
            None if text.as_str().is_empty() => return true,
            None => {}
        }
        let Some((behind, taken)) = &mut star else { return false };
        if taken.next().is_none() {
            return false;
        }
        (pattern, text) = (behind.clone(), taken.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn globs() {
        let cases = [
            ("*demo*", "request a demo", true),
            ("*demo*", "demo", true),
            ("demo", "request a demo", false),
            ("d?mo", "demo", true),
            ("d?mo", "dmo", false),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("/p/*/x", "/p/1/2/x", true),
            ("[a]", "a", false),
            ("?", "é", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn equals(operand: &Value, value: &Value) -> bool {
        Operator::Equals(Operand::new(operand).unwrap()).holds(Some(Seen::Json(value)))
    }

    #[test]
    fn numbers_compare_as_numbers_when_both_sides_are_and_else_as_their_shortest_text() {
        assert!(equals(&json!(5), &json!(5.0)));
        assert!(equals(&json!("49.9"), &json!(49.9)));
        assert!(equals(&json!("5"), &json!(5.0)));
        assert!(equals(&json!(49.9), &json!("49.9")));
        assert!(!equals(&json!(49.9), &json!("49.90")));
        assert!(!equals(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
        assert!(equals(&json!("9007199254740993"), &json!(9_007_199_254_740_993_i64)));
        assert!(equals(&json!(true), &json!(true)));
        assert!(equals(&json!("TRUE"), &json!(true)));
        assert!(!equals(&json!("a"), &json!(["a"])));
        let over = |value: Value| Operator::Compare(Compare::Gt, 100.0).holds(Some(Seen::Json(&value)));
        assert!(over(json!(120)) && over(json!("120")) && over(json!(" 1e3 ")));
        assert!(!over(json!(100)) && !over(json!("many")) && !over(json!("inf")) && !over(json!([120])));
    }

    #[test]
    fn arrays_contain_by_element_and_text_by_part() {
        let contains = |needle: Value, value: Value| {
            Operator::Contains(Operand::new(&needle).unwrap()).holds(Some(Seen::Json(&value)))
        };
        assert!(contains(json!("RED"), json!(["blue", "Red"])));
        assert!(!contains(json!("re"), json!(["red"])));
        assert!(contains(json!("re"), json!("Red")));
        assert!(contains(json!(7), json!([1, 7.0])));
        assert!(contains(json!(9), json!(49.9)));
        assert!(!contains(json!("a"), json!({"a": "a"})));
    }
}
