//! Scores from outside: the numbers that attributes hold.

use super::seen::Seen;
use crate::attributes;
use crate::event::Body;
use serde_json::Value;

/// The largest number that an attribute can give to a score, above and below 0: so far a float tells every millionth
/// apart, and what is shown adds up. A larger one gives no score, as a text does.
pub const EXTERNAL_MAX: f64 = 1e9;

/// The score that a value gives, if any.
pub(super) fn score_of(value: &Value) -> Option<f64> {
    number(value).filter(|number| number.abs() <= EXTERNAL_MAX)
}

fn number(value: &Value) -> Option<f64> {
    Seen::json(value.clone())?.as_number()
}

/// Whether a value is a number, or the text of one, that no score can be.
#[must_use]
pub fn is_beyond_range(value: &Value) -> bool {
    number(value).is_some_and(|number| number.abs() > EXTERNAL_MAX)
}

/// The attributes that an event tells with such a number, by name.
#[must_use]
pub fn beyond_range(body: &Body) -> Vec<String> {
    attributes::told(body).into_iter().filter(|(_, value)| is_beyond_range(value)).map(|(name, _)| name).collect()
}
