//! Writing JSON. Only what the wire format needs: an object, member by member, into one string.

use crate::identity::holds;
use alloc::string::String;

/// An object that is being written. What is empty is left out.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Object {
        Object(copy("{"))
    }

    /// Adds a string, unless it is empty.
    pub fn text(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.name(name);
            quote(&mut self.0, value);
        }
    }

    /// Adds an integer.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Not `write!`: the formatting machinery is half a kilobyte.
        let mut unit = 1;
        while value / unit > 9 {
            unit *= 10;
        }
        while unit > 0 {
            put(&mut self.0, b'0' + (value / unit % 10) as u8);
            unit /= 10;
        }
    }

    /// Adds an array of elements that are JSON already, with commas between them.
    pub fn array(&mut self, name: &str, elements: &str) {
        self.name(name);
        put(&mut self.0, b'[');
        self.0.push_str(elements);
        put(&mut self.0, b']');
    }

    /// Adds a value that is JSON already, unless it is empty.
    pub fn raw(&mut self, name: &str, json: &str) {
        if !json.is_empty() {
            self.name(name);
            self.0.push_str(json);
        }
    }

    /// Whether there is a member of this name. (A quote in a value has a backslash before it, so none looks like one.)
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let mut member = String::new();
        quote(&mut member, name);
        put(&mut member, b':');
        holds(&self.0, &member)
    }

    /// The text of the object.
    #[must_use]
    pub fn finish(mut self) -> String {
        put(&mut self.0, b'}');
        self.0
    }

    /// The text of the object; empty if it has no members.
    #[must_use]
    pub fn finish_unless_empty(self) -> String {
        if self.0.len() == 1 { String::new() } else { self.finish() }
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            put(&mut self.0, b',');
        }
        quote(&mut self.0, name);
        put(&mut self.0, b':');
    }
}

impl Default for Object {
    fn default() -> Object {
        Object::new()
    }
}

/// The longest beginning of `text` that has at most `limit` bytes and ends at a character.
#[must_use]
pub fn cut(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    part(text, 0, end)
}

/// What stands in a text from one byte up to another, or up to the end if that comes before; empty if one of them is within
/// a character. Each kind of range that `str::get` is called with brings code of its own.
#[must_use]
pub fn part(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to.min(text.len())).unwrap_or("")
}

fn quote(out: &mut String, text: &str) {
    put(out, b'"');
    for byte in text.bytes() {
        if byte < b' ' {
            out.push_str("\\u00");
            put(out, b'0' + byte / 16);
            let digit = byte & 15;
            put(out, digit + if digit > 9 { b'a' - 10 } else { b'0' });
            continue;
        }
        if byte == b'"' || byte == b'\\' {
            put(out, b'\\');
        }
        put(out, byte);
    }
    put(out, b'"');
}

/// A copy of a text. `to_owned` brings code of its own.
#[must_use]
pub fn copy(text: &str) -> String {
    let mut copy = String::new();
    copy.push_str(text);
    copy
}

/// A text with ASCII's letters in lower case.
#[must_use]
pub fn lower(text: &str) -> String {
    let mut lower = copy(text);
    lower.make_ascii_lowercase();
    lower
}

/// Adds a byte, all of a character of ASCII or the next of another: `push` and `chars`, which code and decode, are 600
/// bytes.
pub fn put(out: &mut String, byte: u8) {
    // SAFETY: whoever adds a byte beyond ASCII adds all of its character, as it stands in another string.
    unsafe { out.as_mut_vec() }.extend_from_slice(&[byte]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_escaped() {
        let mut json = Object::new();
        json.text("a\"b", "c\\d\"\n\u{1f}é\u{2028}😀");
        json.raw("r", "{}");
        json.array("s", "1,2");
        assert_eq!(json.finish(), "{\"a\\\"b\":\"c\\\\d\\\"\\u000a\\u001fé\u{2028}😀\",\"r\":{},\"s\":[1,2]}");
    }

    #[test]
    fn integers() {
        for value in [0, 9, 10, 1_767_225_600_123, u64::MAX] {
            let mut json = Object::new();
            json.number("n", value);
            assert_eq!(json.finish(), alloc::format!("{{\"n\":{value}}}"));
        }
    }

    #[test]
    fn empty_is_left_out() {
        let mut json = Object::new();
        json.text("a", "");
        assert_eq!(json.finish_unless_empty(), "");
        let mut json = Object::new();
        json.text("a", "b");
        assert_eq!(json.finish_unless_empty(), r#"{"a":"b"}"#);
    }

    #[test]
    fn knows_its_members() {
        let mut json = Object::new();
        json.text("a", "\"b\":");
        assert!(json.has("a"));
        assert!(!json.has("b"));
    }

    #[test]
    fn cut_never_splits_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 99), "aé");
        assert_eq!(cut("", 0), "");
    }
}
