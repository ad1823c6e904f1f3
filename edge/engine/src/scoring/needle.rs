//! A text to be looked for in others.

use memchr::memmem::Finder;

/// A text, prepared once: looking for it takes time in proportion to the text looked through at most, whatever the two are.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    text: String,
    /// Some 300 bytes: beside them other operators are small.
    finder: Box<Finder<'static>>,
}

impl PartialEq for Needle {
    fn eq(&self, other: &Needle) -> bool {
        self.text == other.text
    }
}

impl Needle {
    pub(super) fn new(text: &str) -> Needle {
        Needle { text: text.to_owned(), finder: Box::new(Finder::new(text).into_owned()) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where it first stands.
    pub(super) fn find(&self, text: &str) -> Option<usize> {
        self.finder.find(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_alike_by_their_texts() {
        assert_eq!(Needle::new("pricing"), Needle::new("pricing"));
        assert_ne!(Needle::new("pricing"), Needle::new("prices"));
    }
}
