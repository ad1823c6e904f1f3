//! Operators of conditions: what may be asked of one value.

use super::glob::Glob;
use super::parse_operator::LIST_MAX;
use serde_json::{Number, Value};
use std::borrow::Cow;

/// How much of a text is looked at, in bytes: as much as an event of ours may have in all (contract, section 4). Braze's
/// may have more. With as many conditions as a model may have, one event is 2^26 bytes to go through.
pub(super) const TEXT_BYTES_SEEN: usize = 16 * 1024;
/// How many elements of a list are looked at: as many as a condition may list.
pub(super) const ELEMENTS_SEEN: usize = LIST_MAX;

/// A text as conditions look at it: its beginning, lower case.
pub(super) fn seen(text: &str) -> String {
    text.get(..text.floor_char_boundary(TEXT_BYTES_SEEN)).unwrap_or_default().to_lowercase()
}

/// JSON as conditions look at it: its texts lower case, once for all questions; texts and lists cut.
pub(super) fn seen_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(seen(&text)),
        Value::Array(elements) => elements.into_iter().take(ELEMENTS_SEEN).map(seen_json).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, seen_json(value))).collect(),
        other => other,
    }
}

/// A value looked at, with texts in lower case ([`seen`]): fields are text; properties and attributes are JSON.
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
    Glob(Glob),
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
    /// Of a text: the number that prints so, if there is one.
    spelt: Option<Number>,
}

impl Operand {
    /// A string, number or boolean of a model; `None` for anything else.
    pub(super) fn new(value: &Value) -> Option<Operand> {
        let number = if let Value::Number(number) = value { Some(number.clone()) } else { None };
        let lower = printed(value)?.to_lowercase();
        let whole =
            || lower.parse::<i64>().ok().map(Number::from).or_else(|| lower.parse::<u64>().ok().map(Number::from));
        let spelt = whole().filter(|number| number_printed(number) == lower);
        let spelt = spelt.or_else(|| Number::from_f64(lower.parse().ok()?));
        let spelt = spelt.filter(|spelt| number.is_none() && number_printed(spelt) == lower);
        Some(Operand { lower, number, spelt })
    }

    fn equals(&self, seen: Seen<'_>) -> bool {
        match seen {
            // Numbers compare as numbers when both sides are (contract, section 1, row 15), else as text. A number is printed
            // only where it comes to that, since of a list each element may be asked.
            Seen::Json(Value::Number(number)) => match (&self.number, &self.spelt) {
                (Some(own), _) => same_number(own, number),
                (None, Some(spelt)) => same_number(spelt, number) && number_printed(number) == self.lower,
                (None, None) => false,
            },
            other => with_lower(other, |text| text == self.lower),
        }
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i64(), right.as_i64()) {
        // Whole numbers above 2^53 are distinct here and would not be as floats.
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}

/// A scalar as text: a number prints as the shortest decimal that reads back the same (DESIGN 6).
fn printed(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(flag) => Some(Cow::Owned(flag.to_string())),
        Value::Number(number) => Some(Cow::Owned(number_printed(number))),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_printed(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
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

/// What it is to look for a part of a text, in steps (see [`Operator::steps`]): measured beside a plain question, at 60 ns
/// natively. Of a text of 2 KB, the longest that a browser may send as an address, it is as much.
const STEPS_TO_FIND: usize = 2;
/// And to fit a pattern to one of some hundred bytes. To one of 2 KB it is 20.
const STEPS_TO_FIT: usize = 4;
/// How many values of a list are compared in a step.
const VALUES_A_STEP: usize = 16;

impl Operator {
    /// How much work it is to ask this of an event, in steps, of which a plain question, as whether two texts are equal, is
    /// one.
    pub(super) fn steps(&self) -> usize {
        match self {
            Operator::Contains(_) => STEPS_TO_FIND,
            Operator::Glob(_) => STEPS_TO_FIT,
            Operator::In(operands) => 1 + operands.len() / VALUES_A_STEP,
            Operator::Not(plain) => plain.steps(),
            Operator::Equals(_)
            | Operator::StartsWith(_)
            | Operator::EndsWith(_)
            | Operator::Compare(..)
            | Operator::Exists(_) => 1,
        }
    }

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
            Operator::Glob(pattern) => with_lower(value, |text| pattern.matches(text)),
            Operator::In(operands) => match value {
                Seen::Json(Value::Number(_)) => operands.iter().any(|operand| operand.equals(value)),
                other => with_lower(other, |text| operands.iter().any(|operand| operand.lower == text)),
            },
            Operator::Compare(compare, right) => number(value).is_some_and(|left| compare.holds(left, *right)),
            Operator::Exists(wanted) => *wanted,
            Operator::Not(plain) => !plain.holds(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn equals(operand: &Value, value: &Value) -> bool {
        Operator::Equals(Operand::new(operand).unwrap()).holds(Some(Seen::Json(&seen_json(value.clone()))))
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
        for (text, number) in
            [("-0", json!(-0.0)), ("18446744073709551615", json!(u64::MAX)), ("0.1", json!(0.1)), ("-7", json!(-7))]
        {
            assert!(equals(&json!(text), &number), "{text}");
        }
        for (text, number) in
            [("5.0", json!(5)), ("1e2", json!(100)), ("9007199254740993", json!(9_007_199_254_740_992_f64))]
        {
            assert!(!equals(&json!(text), &number), "{text}");
        }
        assert!(equals(&json!("1".to_owned() + &"0".repeat(20)), &json!(1e20)));
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
            Operator::Contains(Operand::new(&needle).unwrap()).holds(Some(Seen::Json(&seen_json(value))))
        };
        assert!(contains(json!("RED"), json!(["blue", "Red"])));
        assert!(!contains(json!("re"), json!(["red"])));
        assert!(contains(json!("re"), json!("Red")));
        assert!(contains(json!(7), json!([1, 7.0])));
        assert!(contains(json!(9), json!(49.9)));
        assert!(!contains(json!("a"), json!({"a": "a"})));
    }

    #[test]
    fn of_very_long_texts_and_lists_the_beginning_is_looked_at() {
        // Each of two bytes.
        let long = "É".repeat(16_384);
        assert_eq!(seen(&long), "é".repeat(8_192));
        assert_eq!(seen(&format!("x{long}")), format!("x{}", "é".repeat(8_191)));
        let list = json!({ "a": (0..=ELEMENTS_SEEN).collect::<Vec<_>>(), "b": long });
        let cut = seen_json(list);
        assert_eq!(cut["a"].as_array().map(Vec::len), Some(ELEMENTS_SEEN));
        assert_eq!(cut["b"].as_str().map(str::len), Some(16_384));
    }
}
