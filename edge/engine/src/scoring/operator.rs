//! Operators of conditions: what may be asked of one value.

use super::glob::Glob;
use super::needle::Needle;
use super::seen::{Seen, TEXT_BYTES_SEARCHED, beginning, printed};
use serde_json::{Number, Value};

/// One question, compiled: needles are lower case.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operator {
    Equals(Operand),
    Contains(Operand, Needle),
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
    pub(super) lower: String,
    pub(super) number: Option<Number>,
}

impl Operand {
    /// A string, number or boolean of a model; `None` for anything else.
    pub(super) fn new(value: &Value) -> Option<Operand> {
        let number = if let Value::Number(number) = value { Some(number.clone()) } else { None };
        Some(Operand { lower: printed(value)?.to_lowercase(), number })
    }

    /// Numbers compare as numbers when both sides are (contract, section 1, row 15), else as text.
    fn equals(&self, seen: &Seen) -> bool {
        match (&self.number, seen) {
            (Some(own), Seen::Number { number, .. }) => same_number(own, number),
            _ => seen.as_text().is_some_and(|text| text == self.lower),
        }
    }
}

pub(super) fn same_number(left: &Number, right: &Number) -> bool {
    match (left.as_i64(), right.as_i64()) {
        // Whole numbers above 2^53 are distinct here and would not be as floats.
        (Some(left), Some(right)) => left == right,
        _ => left.as_f64() == right.as_f64(),
    }
}

/// What it is to look for a part of a text, in steps (see [`Operator::steps`]): as measured in most texts. In one made for
/// it, whose every place begins like the part, it is up to twenty times that ([`TEXT_BYTES_SEARCHED`]).
const STEPS_TO_FIND: usize = 2;
/// And to fit a part of a pattern.
const STEPS_TO_FIT: usize = 4;
/// How many values of a list are compared in a step.
const VALUES_A_STEP: usize = 16;

impl Operator {
    /// How much work it is to ask this of an event, in steps, of which a plain question, as whether two texts are equal, is
    /// one.
    pub(super) fn steps(&self) -> usize {
        match self {
            Operator::Contains(..) => STEPS_TO_FIND,
            Operator::Glob(glob) => STEPS_TO_FIT * glob.parts_searched().max(1),
            Operator::In(operands) => 1 + operands.len() / VALUES_A_STEP,
            Operator::Not(plain) => plain.steps(),
            Operator::Equals(_)
            | Operator::StartsWith(_)
            | Operator::EndsWith(_)
            | Operator::Compare(..)
            | Operator::Exists(_) => 1,
        }
    }

    /// Whether it looks for one of a list's elements, which are sorted for that.
    pub(super) fn asks_elements(&self) -> bool {
        match self {
            Operator::Contains(..) => true,
            Operator::Not(plain) => plain.asks_elements(),
            _ => false,
        }
    }

    /// Whether it holds of a value; `None` is a missing field (contract, section 1, row 13).
    pub(super) fn holds(&self, seen: Option<&Seen>) -> bool {
        let Some(value) = seen else {
            return match self {
                Operator::Exists(wanted) => !wanted,
                Operator::Not(plain) => !plain.holds(None),
                _ => false,
            };
        };
        let text = |ask: &dyn Fn(&str) -> bool| value.as_text().is_some_and(ask);
        match self {
            Operator::Equals(operand) => operand.equals(value),
            Operator::Contains(operand, needle) => match value.as_list() {
                Some(elements) => elements.contains(operand),
                None => text(&|text| needle.find(beginning(text, TEXT_BYTES_SEARCHED)).is_some()),
            },
            Operator::StartsWith(needle) => text(&|text| text.starts_with(needle.as_str())),
            Operator::EndsWith(needle) => text(&|text| text.ends_with(needle.as_str())),
            Operator::Glob(pattern) => text(&|text| pattern.matches(text)),
            Operator::In(operands) => operands.iter().any(|operand| operand.equals(value)),
            Operator::Compare(compare, right) => value.as_number().is_some_and(|left| compare.holds(left, *right)),
            Operator::Exists(wanted) => *wanted,
            Operator::Not(plain) => !plain.holds(seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_operator::operator;
    use super::super::reader::Report;
    use super::super::seen::{ELEMENTS_SEEN, TEXT_BYTES_SEEN};
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn equals(operand: &Value, value: &Value) -> bool {
        Operator::Equals(Operand::new(operand).unwrap()).holds(Seen::json(value.clone()).as_ref())
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
        let over = |value: Value| Operator::Compare(Compare::Gt, 100.0).holds(Seen::json(value).as_ref());
        assert!(over(json!(120)) && over(json!("120")) && over(json!(" 1e3 ")));
        assert!(!over(json!(100)) && !over(json!("many")) && !over(json!("inf")) && !over(json!([120])));
    }

    #[test]
    fn arrays_contain_by_element_and_text_by_part() {
        let contains = |needle: Value, value: Value| {
            let operand = Operand::new(&needle).unwrap();
            let needle = Needle::new(&operand.lower);
            Operator::Contains(operand, needle).holds(Seen::json(value).as_ref())
        };
        assert!(contains(json!("RED"), json!(["blue", "Red"])));
        assert!(!contains(json!("re"), json!(["red"])));
        assert!(contains(json!("re"), json!("Red")));
        assert!(contains(json!(7), json!([1, 7.0])));
        assert!(contains(json!(9), json!(49.9)));
        assert!(!contains(json!("a"), json!({"a": "a"})));
    }

    proptest! {
        #[test]
        fn a_list_contains_what_one_of_its_elements_equals(
            picks in prop::collection::vec(0..SCALARS, 0..8),
            operand in 0..SCALARS,
        ) {
            let elements: Vec<Value> = picks.into_iter().map(scalar).collect();
            let operand = Operand::new(&scalar(operand)).unwrap();
            let needle = Needle::new(&operand.lower);
            let list = Seen::json(Value::Array(elements.clone()));
            let expected = elements.iter().any(|element| operand.equals(&Seen::json(element.clone()).unwrap()));
            prop_assert_eq!(Operator::Contains(operand, needle).holds(list.as_ref()), expected, "{:?}", elements);
        }
    }

    const SCALARS: usize = 16;

    /// Values that are nearly the same.
    fn scalar(place: usize) -> Value {
        json!([
            0,
            -0.0,
            "0",
            "-0",
            5,
            5.0,
            "5",
            "5.0",
            "Five",
            "five",
            true,
            "TRUE",
            9_007_199_254_740_992_i64,
            9_007_199_254_740_992_f64,
            9_007_199_254_740_993_i64,
            u64::MAX
        ])[place]
            .clone()
    }

    #[test]
    fn a_part_is_looked_for_in_the_beginning_of_a_very_long_text_and_the_rest_is_compared_whole() {
        let holds = |key: &str, operand: &str, text: &str| {
            let operator = operator(key, &json!(operand), "", &Report::default()).unwrap();
            operator.holds(Seen::json(json!(text)).as_ref())
        };
        let long = |before: usize, behind: usize| format!("{}/Part{}", "é".repeat(before / 2), "z".repeat(behind));
        for (key, operand) in [("contains", "/part"), ("glob", "*/part*"), ("glob", "*/p?rt*")] {
            let last = TEXT_BYTES_SEARCHED - 6;
            assert!(holds(key, operand, &long(last, 1)), "{key}");
            assert!(holds(key, operand, &long(last, 5_000)), "{key}");
            assert!(!holds(key, operand, &long(last + 2, 5_000)), "{key}");
        }
        for (key, operand) in [("ends_with", "/partz"), ("glob", "*/partz"), ("glob", "*é*/p?rtz")] {
            assert!(holds(key, operand, &long(6_000, 1)), "{key}");
            assert!(!holds(key, operand, &long(6_000, 2)), "{key}");
        }
        assert!(holds("equals", &"é".repeat(1_024), &"É".repeat(1_024)) && !holds("equals", "a", &"a".repeat(5_000)));
        assert!(holds("starts_with", &"é".repeat(1_024), &"É".repeat(5_000)));
    }

    #[test]
    fn of_extremely_long_texts_and_lists_the_beginning_is_looked_at() {
        let long = "É".repeat(TEXT_BYTES_SEEN);
        assert_eq!(Seen::text(&long), Seen::text(&"é".repeat(TEXT_BYTES_SEEN / 2)));
        assert_eq!(Seen::text(&format!("x{long}")), Seen::text(&format!("x{}", "é".repeat(TEXT_BYTES_SEEN / 2 - 1))));
        let list = |last: usize| Seen::json((0..=last).collect()).unwrap();
        assert_eq!(list(ELEMENTS_SEEN), list(ELEMENTS_SEEN - 1));
    }
}
