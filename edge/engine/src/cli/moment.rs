//! Times as people write them in tests: `2026-11-02T09:00:00Z`, ms since 1970, or since the start of the story: `3d`,
//! `30d -1ms`, `1d 2h`.

use crate::time;

/// The unit's name and its ms.
const UNITS: [(&str, f64); 6] =
    [("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3_600e3), ("d", 86_400e3), ("w", 7.0 * 86_400e3)];

/// A time, ms since 1970 UTC; `start` is what `0d` means.
///
/// # Errors
/// In words, when it is none.
pub fn parse(text: &str, start: i64) -> Result<i64, String> {
    if let Some(at) = time::parse(text) {
        return Ok(at);
    }
    span(text).map(|ms| start.saturating_add(ms)).ok_or_else(|| {
        format!("`{text}` is no time: write `2026-11-02T09:00:00Z`, or a time since the start, as in `3d`, `30d -1ms`")
    })
}

/// A stretch of time in ms: `1ms`, `2d`, `1d 12h`.
#[must_use]
pub fn span(text: &str) -> Option<i64> {
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    words.map(term).sum()
}

fn term(word: &str) -> Option<i64> {
    let unit_at = word.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = word.split_at_checked(unit_at)?;
    let (_, ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let number: f64 = number.parse().ok()?;
    Some((number * ms).round() as i64)
}

/// A time since the start of a story, as it would be written: `30d -1ms`, `2d 3h`.
#[must_use]
pub fn since(at: i64, start: i64) -> String {
    let mut left = at.saturating_sub(start);
    if left == 0 {
        return "0d".to_owned();
    }
    let mut words = Vec::new();
    for (unit, ms) in UNITS.into_iter().rev().filter(|(unit, _)| *unit != "w") {
        let ms = ms as i64;
        let count = left / ms;
        if count != 0 {
            words.push(format!("{count}{unit}"));
            left -= count * ms;
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_since_the_start() {
        for (text, expected) in [
            ("0d", 1000),
            ("1ms", 1001),
            ("2d -1ms", 1000 + 2 * 86_400_000 - 1),
            ("1w 1d 1h 1m 1s", 1000 + 8 * 86_400_000 + 3_661_000),
            ("0.5d", 1000 + 43_200_000),
            ("-1d", 1000 - 86_400_000),
            ("1970-01-01T00:00:07Z", 7000),
            ("7", 7),
        ] {
            assert_eq!(parse(text, 1000), Ok(expected), "{text}");
        }
        for text in ["", "soon", "3 d", "3y", "d", "1d2h"] {
            assert!(parse(text, 0).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for text in ["0d", "3d", "2d 3h", "1d 4m 7s 9ms"] {
            assert_eq!(since(parse(text, 5).unwrap(), 5), text);
        }
        assert_eq!(since(parse("-1d -3ms", 5).unwrap(), 5), "-1d -3ms");
    }
}
