//! Writing JSON. Only what the wire format needs: an object, member by member, into one string.

use alloc::string::String;
use core::fmt::Write;

/// An object that is being written.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Object {
        Object(String::from("{"))
    }

    /// Adds a string.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Object {
        self.name(name);
        quote(&mut self.0, value);
        self
    }

    /// Adds a string, unless it is empty.
    #[must_use]
    pub fn text_unless_empty(self, name: &str, value: &str) -> Object {
        if value.is_empty() { self } else { self.text(name, value) }
    }

    /// Adds an integer.
    #[must_use]
    pub fn number(mut self, name: &str, value: u64) -> Object {
        self.name(name);
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    /// Adds a value that is JSON already.
    #[must_use]
    pub fn raw(mut self, name: &str, json: &str) -> Object {
        self.name(name);
        self.0.push_str(json);
        self
    }

    /// The text of the object.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    /// The text of the object; empty if it has no members.
    #[must_use]
    pub fn finish_unless_empty(self) -> String {
        if self.0.len() == 1 { String::new() } else { self.finish() }
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        quote(&mut self.0, name);
        self.0.push(':');
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
    &text[..end]
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\0'..='\x1f' => {
                out.push_str("\\u00");
                for nibble in [c as u32 >> 4, c as u32 & 15] {
                    out.push(char::from_digit(nibble, 16).unwrap_or('0'));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_escaped() {
        let json = Object::new().text("a\"b", "c\\d\"\n\u{1f}é\u{2028}😀").number("n", 1_767_225_600_123).raw("r", "[]");
        assert_eq!(json.finish(), "{\"a\\\"b\":\"c\\\\d\\\"\\u000a\\u001fé\u{2028}😀\",\"n\":1767225600123,\"r\":[]}");
    }

    #[test]
    fn empty_is_left_out() {
        assert_eq!(Object::new().finish(), "{}");
        assert_eq!(Object::new().text_unless_empty("a", "").finish_unless_empty(), "");
        assert_eq!(Object::new().text_unless_empty("a", "b").finish_unless_empty(), r#"{"a":"b"}"#);
    }

    #[test]
    fn cut_never_splits_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 99), "aé");
        assert_eq!(cut("", 0), "");
    }
}
