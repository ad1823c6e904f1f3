//! Times on the wire: ms since 1970 UTC inside, RFC 3339 outside.

use jiff::Timestamp;

/// A time as shown; `None` outside the years that RFC 3339 can write.
#[must_use]
pub fn show(ms: i64) -> Option<String> {
    Timestamp::from_millisecond(ms).ok().map(|time| time.to_string())
}

/// A time as written by a caller: RFC 3339, or ms since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let ms = text.parse::<i64>().ok().or_else(|| text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond))?;
    show(ms).is_some().then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        assert_eq!(show(1_767_225_600_123).as_deref(), Some("2026-01-01T00:00:00.123Z"));
        assert_eq!(parse("2026-01-01T01:00:00.123+01:00"), Some(1_767_225_600_123));
        assert_eq!(parse("1767225600123"), Some(1_767_225_600_123));
        assert_eq!(parse("yesterday"), None);
        assert_eq!(parse("99999999999999999"), None);
    }
}
