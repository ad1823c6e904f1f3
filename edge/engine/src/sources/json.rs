//! Reading JSON that others wrote: by parts, so that one broken event does not spoil its neighbours.

use super::url_identity;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The members of an object, each left as text. (A derived struct would also take an array, and refuse repeated names.)
pub(super) fn members(text: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(text).ok()
}

/// Appends a value as JSON, its numbers as they were sent: `1.10`, and integers of more than 64 bits to the last digit.
/// `sent` is the text that the value was read from. An object may have come as JSON in a string.
pub(super) fn write_as_sent(value: &Value, sent: Option<&RawValue>, to: &mut String) {
    // All other values are written as they were read.
    let Some(sent) = sent.filter(|_| has_float(value)) else {
        to.push_str(&value.to_string());
        return;
    };
    match value {
        Value::Number(_) => to.push_str(sent.get()),
        Value::Array(values) => {
            let sent = items(sent).unwrap_or_default();
            to.push('[');
            for (place, value) in values.iter().enumerate() {
                to.push_str(if place > 0 { "," } else { "" });
                write_as_sent(value, sent.get(place).copied(), to);
            }
            to.push(']');
        }
        Value::Object(object) => {
            let text = serde_json::from_str::<String>(sent.get()).ok();
            let text = without_lone_surrogates(text.as_deref().unwrap_or(sent.get()));
            let sent = members(&text).unwrap_or_default();
            write_members(object, &sent, to);
        }
        Value::Null | Value::Bool(_) | Value::String(_) => to.push_str(&value.to_string()),
    }
}

/// Appends an object as JSON, `sent` being the text of each member.
pub(super) fn write_members(object: &Map<String, Value>, sent: &BTreeMap<String, &RawValue>, to: &mut String) {
    to.push('{');
    for (place, (name, value)) in object.iter().enumerate() {
        to.push_str(if place > 0 { "," } else { "" });
        to.push_str(&Value::from(name.as_str()).to_string());
        to.push(':');
        write_as_sent(value, sent.get(name).copied(), to);
    }
    to.push('}');
}

/// Whether there is a number in it that may have been written otherwise than it would be by us: every integer of at most
/// 64 bits has one way to be written.
fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_float),
        Value::Object(object) => object.values().any(has_float),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// The items of an array, each left as text.
pub(super) fn items(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

/// JSON text with the replacement character, U+FFFD, for each half of a surrogate pair that stands alone. A script makes
/// such halves when it cuts a text within a character, `JSON.stringify` writes them as escapes (`\ud83d`), and no Rust text
/// can hold them.
///
/// Every source reads an event's text by this, before anything else is made of it: else the event could never be read.
pub(super) fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let half = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..=0xDFFF).contains(unit))
    };
    let mut mended = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        at += match (half(at), half(at + 6)) {
            (Some(..=0xDBFF), Some(0xDC00..)) => 12,
            (Some(_), _) => {
                mended.to_mut().replace_range(at..at + 6, "\\uFFFD");
                6
            }
            // Any other escape: its second character is not the first of another.
            (None, _) => 2,
        };
    }
    mended
}

/// A member that is there and not `null`: senders use the two alike.
pub(super) fn present<'a>(members: &BTreeMap<String, &'a RawValue>, name: &str) -> Option<&'a RawValue> {
    members.get(name).copied().filter(|value| value.get() != "null")
}

/// A field that is there and not `null`.
pub(super) fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A field in words, for labels: `None` where it says nothing, which includes the words `null` and `undefined` that
/// senders' templates make of nothing.
pub(super) fn words<'a>(object: &'a Map<String, Value>, name: &str) -> Option<Cow<'a, str>> {
    let text = match object.get(name)? {
        Value::Null => return None,
        Value::String(text) => Cow::Borrowed(text.trim()),
        Value::Number(number) => Cow::Owned(decimal(number)),
        other @ (Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Cow::Owned(other.to_string()),
    };
    (!matches!(&*text, "" | "null" | "undefined")).then_some(text)
}

/// Whether a flag is up: `true`, or the word.
pub(super) fn is_set(object: &Map<String, Value>, name: &str) -> bool {
    match object.get(name) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The shortest decimal that reads back as the same number, without an exponent: `49.9`, `2`.
pub(super) fn decimal(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    }
}

/// Takes identity parameters out of every URL in a value, at any depth.
pub(super) fn strip_identity(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(stripped) = url_identity::strip_text(text) {
                *text = stripped;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip_identity),
        Value::Object(object) => object.values_mut().for_each(strip_identity),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character() {
        for (text, expected) in [
            (r#""ab\ud83d""#, "ab\u{FFFD}"),
            (r#""\uDE00 \ud83d\u0041""#, "\u{FFFD} \u{FFFD}A"),
            (r#""\ud83d\ud83d\ude00\ude00""#, "\u{FFFD}\u{1F600}\u{FFFD}"),
            (r#""\\ud83d \\\ud83dé""#, r"\ud83d \�é"),
        ] {
            let read: String = serde_json::from_str(&without_lone_surrogates(text)).unwrap();
            assert_eq!(read, expected, "{text}");
        }
        for whole in [r#""\ud83d\ude00 \\ud83d é""#, r#""\"#, r#""\é"#, r#""\ud8"#] {
            assert!(matches!(without_lone_surrogates(whole), Cow::Borrowed(_)), "{whole}");
        }
    }
}
