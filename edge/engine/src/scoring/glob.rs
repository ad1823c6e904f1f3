//! Patterns in which `*` is any run of characters and `?` any one (contract, section 1, row 12).

use super::needle::Needle;
use super::seen::{TEXT_BYTES_SEARCHED, beginning};

/// A pattern, compiled: lower case, cut at its stars.
///
/// Matching takes each part where it first fits, so a text is gone through once, whatever the number of stars. A part
/// without `?` is searched for in linear time; one with `?` is tried at every character of the text, which is why
/// [`WILD_CHARS_MAX`](super::parse_operator::WILD_CHARS_MAX) bounds those. Parts between two stars are searched for in the
/// beginning of a long text ([`TEXT_BYTES_SEARCHED`]); what it begins and ends with is compared, however long it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glob {
    /// What the text begins with; all of it, if there is no star.
    first: Part,
    /// What comes between two stars, in order, and what the text ends with; `None` without a star.
    rest: Option<(Vec<Part>, Part)>,
}

/// What stands between two stars.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Plain(Needle),
    /// It has a `?` in it.
    Wild(Vec<char>),
}

/// How much was looked at, in bytes of text and comparisons of characters: tests hold matching to its bound.
type Steps = usize;

impl Part {
    fn new(text: &str) -> Part {
        if text.contains('?') { Part::Wild(text.chars().collect()) } else { Part::Plain(Needle::new(text)) }
    }

    /// The text behind it, if the text begins with it.
    fn strip_from<'t>(&self, text: &'t str, steps: &mut Steps) -> Option<&'t str> {
        match self {
            Part::Plain(part) => {
                *steps += part.text().len();
                text.strip_prefix(part.text())
            }
            Part::Wild(part) => {
                let mut rest = text.chars();
                let fits = part.iter().all(|wanted| {
                    *steps += 1;
                    rest.next().is_some_and(|found| *wanted == '?' || *wanted == found)
                });
                fits.then_some(rest.as_str())
            }
        }
    }

    /// The text behind the first place where it stands.
    fn skip_past<'t>(&self, text: &'t str, steps: &mut Steps) -> Option<&'t str> {
        match self {
            Part::Plain(part) => {
                let place = part.find(text);
                *steps += place.unwrap_or(text.len()) + part.text().len();
                text.get(place? + part.text().len()..)
            }
            Part::Wild(_) => text.char_indices().find_map(|(place, _)| self.strip_from(text.get(place..)?, steps)),
        }
    }

    /// Whether the text ends with it.
    fn ends(&self, text: &str, steps: &mut Steps) -> bool {
        match self {
            Part::Plain(part) => {
                *steps += part.text().len();
                text.ends_with(part.text())
            }
            Part::Wild(part) => {
                let last = text.char_indices().rev().nth(part.len() - 1).and_then(|(place, _)| text.get(place..));
                *steps += part.len();
                last.is_some_and(|last| self.strip_from(last, steps).is_some())
            }
        }
    }
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Glob {
        let Some((first, rest)) = pattern.split_once('*') else {
            return Glob { first: Part::new(pattern), rest: None };
        };
        let (between, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // Of several stars in a row one is enough.
        let between = between.split('*').filter(|part| !part.is_empty()).map(Part::new).collect();
        Glob { first: Part::new(first), rest: Some((between, Part::new(last))) }
    }

    /// How many characters its parts with `?` have.
    pub(super) fn wild_chars(&self) -> usize {
        let rest = self.rest.iter().flat_map(|(between, last)| between.iter().chain([last]));
        let length = |part: &Part| if let Part::Wild(chars) = part { chars.len() } else { 0 };
        [&self.first].into_iter().chain(rest).map(length).sum()
    }

    /// How many of its parts are searched for.
    pub(super) fn parts_searched(&self) -> usize {
        self.rest.as_ref().map_or(0, |(between, _)| between.len())
    }

    /// Whether it is the whole of a text, which is lower case.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.matches_in(text, &mut 0)
    }

    fn matches_in(&self, text: &str, steps: &mut Steps) -> bool {
        let Some(behind) = self.first.strip_from(text, steps) else { return false };
        let Some((between, last)) = &self.rest else { return behind.is_empty() };
        let searched = beginning(text, TEXT_BYTES_SEARCHED).len().saturating_sub(text.len() - behind.len());
        let (searched, unsearched) = behind.split_at(searched);
        let found = between.iter().try_fold(searched, |text, part| part.skip_past(text, steps));
        // What comes behind the last that was found.
        let behind = found.and_then(|found| behind.get(behind.len() - unsearched.len() - found.len()..));
        behind.is_some_and(|text| last.ends(text, steps))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_operator::{GLOB_CHARS_MAX, WILD_CHARS_MAX};
    use super::super::seen::TEXT_BYTES_SEEN;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        let cases = [
            ("*demo*", "request a demo", true),
            ("*demo*", "demo", true),
            ("demo", "request a demo", false),
            ("d?mo", "demo", true),
            ("d?mo", "dmo", false),
            ("d?mo", "demos", false),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("ab*ba", "aba", false),
            ("*?b*", "bb", true),
            ("*?b*", "ab", true),
            ("*?b*", "ba", false),
            ("*?", "é", true),
            ("a*?b", "ab", false),
            ("/p/*/x", "/p/1/2/x", true),
            ("[a]", "a", false),
            ("?", "é", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Glob::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }

    /// The definition: a star is nothing, or one character and a star.
    fn fits(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some(('*', rest)), None) => fits(rest, text),
            (Some(('*', rest)), Some((_, behind))) => fits(rest, text) || fits(pattern, behind),
            (Some((wanted, rest)), Some((found, behind))) => (*wanted == '?' || wanted == found) && fits(rest, behind),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_as_its_definition_says(pattern in "[ab?*é]{0,8}", text in "[abé]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), fits(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn what_is_looked_at_is_counted() {
        for (pattern, text, expected) in [
            ("abc", "abd", 3),
            ("ab*", "abx", 2),
            ("a?c", "abc", 3),
            ("a?c", "xbc", 1),
            ("*b*", "aab", 3),
            ("*bc*", "aaaa", 6),
            ("*?b*", "aab", 4),
            ("*bc", "abc", 2),
            // The last characters are found, then compared.
            ("*?c", "abc", 4),
        ] {
            let mut steps = 0;
            Glob::new(pattern).matches_in(text, &mut steps);
            assert_eq!(steps, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_text_is_gone_through_once_and_once_for_every_character_beside_a_question_mark() {
        let text = "a".repeat(TEXT_BYTES_SEEN);
        let plain = format!("*{}b", "a".repeat(GLOB_CHARS_MAX - 2));
        let many = "*a".repeat(GLOB_CHARS_MAX / 2 - 1) + "*b";
        let inner = format!("*{}b*", "a".repeat(GLOB_CHARS_MAX - 3));
        let wild = format!("*?{}b*", "a".repeat(GLOB_CHARS_MAX - 4));
        for pattern in [plain, many, inner, wild] {
            let glob = Glob::new(&pattern);
            let mut steps = 0;
            assert!(!glob.matches_in(&text, &mut steps), "{pattern}");
            let most = TEXT_BYTES_SEARCHED * (1 + glob.wild_chars()) + 2 * GLOB_CHARS_MAX;
            assert!(steps <= most, "{pattern}: {steps} steps, {most} are allowed");
        }
        // What a whole model's parts with `?` may take at one event.
        const { assert!(WILD_CHARS_MAX * TEXT_BYTES_SEARCHED <= 1 << 20) };
    }
}
