//! A value as conditions look at it: prepared once for all that is asked of it, so that one question costs next to nothing
//! beside the value's size.

use super::operator::{Operand, same_number};
use super::parse_operator::LIST_MAX;
use serde_json::{Number, Value};
use std::cell::OnceCell;
use std::collections::BTreeSet;

/// How much of a text is looked at, in bytes: as much as an event of ours may have in all (contract, section 4). Braze's
/// may have more.
pub(super) const TEXT_BYTES_SEEN: usize = 16 * 1024;
/// In how much of it a part of a text is looked for, in bytes: the longest URL that is taken (contract, section 4). A
/// thousand conditions may look for one.
pub(super) const TEXT_BYTES_SEARCHED: usize = 2_048;
/// How many elements of a list are looked at: as many as a condition may list.
pub(super) const ELEMENTS_SEEN: usize = LIST_MAX;

/// The beginning of a text.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// A value looked at: texts are lower case, texts and lists cut.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    Text {
        lower: String,
        /// The number that it spells.
        spelt: OnceCell<Option<f64>>,
    },
    Number {
        number: Number,
        printed: OnceCell<String>,
    },
    Flag(bool),
    List {
        elements: Vec<Value>,
        sorted: OnceCell<Elements>,
    },
    /// Of an object nothing can be asked but whether it is there.
    Object,
}

impl Seen {
    pub(super) fn text(text: &str) -> Seen {
        Seen::Text { lower: beginning(text, TEXT_BYTES_SEEN).to_lowercase(), spelt: OnceCell::new() }
    }

    /// JSON; `None` for `null`, which is nothing.
    pub(super) fn json(value: Value) -> Option<Seen> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(flag) => Seen::Flag(flag),
            Value::Number(number) => Seen::Number { number, printed: OnceCell::new() },
            Value::String(text) => Seen::text(&text),
            Value::Array(mut elements) => {
                elements.truncate(ELEMENTS_SEEN);
                Seen::List { elements, sorted: OnceCell::new() }
            }
            Value::Object(_) => Seen::Object,
        })
    }

    /// A scalar as text.
    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Seen::Text { lower, .. } => Some(lower),
            Seen::Number { number, printed } => Some(printed.get_or_init(|| number_printed(number))),
            Seen::Flag(flag) => Some(flag_printed(*flag)),
            Seen::List { .. } | Seen::Object => None,
        }
    }

    /// The number that it is, or that its text spells.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Seen::Text { lower, spelt } => *spelt.get_or_init(|| number_spelt(lower)),
            Seen::Number { number, .. } => number.as_f64(),
            Seen::Flag(_) | Seen::List { .. } | Seen::Object => None,
        }
    }

    /// The elements of a list.
    pub(super) fn as_list(&self) -> Option<&Elements> {
        match self {
            Seen::List { elements, sorted } => Some(sorted.get_or_init(|| Elements::of(elements))),
            _ => None,
        }
    }
}

/// A scalar as text: a number prints as the shortest decimal that reads back the same (DESIGN 6).
pub(super) fn printed(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag_printed(*flag).to_owned()),
        Value::Number(number) => Some(number_printed(number)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn number_printed(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

fn flag_printed(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

/// The number that a text spells.
fn number_spelt(text: &str) -> Option<f64> {
    let text = text.trim();
    // `parse` would also take `inf` and `nan`.
    let number: f64 =
        text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')).then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}

/// The scalars of a list, in an order by which one is found without looking at each.
#[derive(Debug, PartialEq)]
pub(super) struct Elements {
    /// All as text, lower case.
    texts: BTreeSet<String>,
    /// The numbers, by their values as floats.
    numbers: Vec<(f64, Number)>,
}

impl Elements {
    fn of(elements: &[Value]) -> Elements {
        let lower = |element: &Value| Some(beginning(&printed(element)?, TEXT_BYTES_SEEN).to_lowercase());
        let number = |element: &Value| {
            let number = element.as_number()?;
            Some((number.as_f64()?, number.clone()))
        };
        let mut numbers: Vec<_> = elements.iter().filter_map(number).collect();
        numbers.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        Elements { texts: elements.iter().filter_map(lower).collect(), numbers }
    }

    /// Whether one of them equals an operand: numbers that print the same are the same.
    pub(super) fn contains(&self, operand: &Operand) -> bool {
        self.texts.contains(&operand.lower) || operand.number.as_ref().is_some_and(|own| self.contains_number(own))
    }

    fn contains_number(&self, own: &Number) -> bool {
        let Some(float) = own.as_f64() else { return false };
        let alike = self.numbers.iter().skip(self.numbers.partition_point(|(other, _)| *other < float));
        alike.take_while(|(other, _)| *other == float).any(|(_, other)| same_number(own, other))
    }
}
