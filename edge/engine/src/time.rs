//! Times on the wire: ms since 1970 UTC inside, RFC 3339 outside.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use jiff::fmt::temporal::Pieces;

/// By the calendar of UTC, which has the last day of the year 9999 to its end; `jiff::Timestamp` leaves out as much of it as
/// the largest offset takes.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// A time as shown; `None` outside the years -9999 to 9999.
#[must_use]
pub fn show(ms: i64) -> Option<String> {
    EPOCH.checked_add(SignedDuration::from_millis(ms)).ok().map(|time| format!("{time}Z"))
}

/// A time as written by a caller: RFC 3339, or ms since 1970.
#[must_use]
pub fn parse(text: &str) -> Option<i64> {
    let ms = text.parse::<i64>().ok().or_else(|| read(text))?;
    show(ms).is_some().then_some(ms)
}

fn read(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.offset()?.to_numeric_offset();
    let local = pieces.date().to_datetime(pieces.time()?).duration_since(EPOCH);
    i64::try_from((local - SignedDuration::from_secs(offset.seconds().into())).as_millis()).ok()
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
        for nothing in ["2026-01-01", "2026-01-01T00:00:00", "00:00:00Z", "2026-02-30T00:00:00Z", ""] {
            assert_eq!(parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_last_moment_of_four_digits_is_one() {
        let last = 253_402_300_799_999;
        assert_eq!(show(last).as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(parse("9999-12-31T23:59:59.999Z"), Some(last));
        assert_eq!(parse("9999-12-31T23:59:59Z"), Some(last - 999));
        assert_eq!((show(last + 1), parse("9999-12-31T23:59:59-01:00")), (None, None));
        assert_eq!(parse("1969-12-31T23:59:59.999Z"), Some(-1));
    }
}
