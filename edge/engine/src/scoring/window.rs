//! Windows of time: calendar windows of limits, and the sliding windows of `count` and `within_days`.

use super::DAY_MS;
use jiff::{Timestamp, tz::Offset};
use minicbor::{Decode, Encode};
use std::collections::VecDeque;

/// The UTC window that a limit counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    Day,
    /// From Monday 00:00 UTC.
    Week,
    /// A calendar month.
    Month,
    Ever,
}

impl Per {
    pub(super) const WORDS: [(&'static str, Per); 4] =
        [("day", Per::Day), ("week", Per::Week), ("month", Per::Month), ("ever", Per::Ever)];

    /// Its name in models.
    pub(super) fn word(self) -> &'static str {
        Per::WORDS.iter().find(|(_, per)| *per == self).map_or("", |(word, _)| word)
    }

    /// The number of the window that a time is in: grows with time.
    pub(super) fn window(self, at: i64) -> i64 {
        let day = at.div_euclid(DAY_MS);
        match self {
            Per::Day => day,
            // 1970-01-01 was a Thursday, three days after a Monday.
            Per::Week => (day + 3).div_euclid(7),
            Per::Month => match Timestamp::from_millisecond(at) {
                Ok(timestamp) => {
                    let date = Offset::UTC.to_datetime(timestamp).date();
                    i64::from(date.year()) * 12 + i64::from(date.month())
                }
                // Beyond the years that the calendar knows (-9999 to 9999), all time before is one month, and all after.
                Err(_) => i64::MAX.saturating_mul(at.signum()),
            },
            Per::Ever => 0,
        }
    }
}

/// The newest times of something, oldest first, at most as many as its reader can tell apart.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct Times(#[n(0)] VecDeque<i64>);

impl Times {
    /// Notes a time that is not before the newest. Beyond `most`, the oldest is let go of, and returned.
    pub(super) fn push(&mut self, at: i64, most: usize) -> Option<i64> {
        self.0.push_back(at);
        if self.0.len() > most { self.0.pop_front() } else { None }
    }

    /// How many are in `(t - window_ms, t]`.
    pub(super) fn within(&self, t: i64, window_ms: i64) -> u64 {
        let until = self.0.partition_point(|at| *at <= t);
        let from = self.0.partition_point(|at| *at <= t.saturating_sub(window_ms));
        until.saturating_sub(from) as u64
    }

    pub(super) fn oldest(&self) -> Option<i64> {
        self.0.front().copied()
    }

    pub(super) fn take_oldest(&mut self) -> Option<i64> {
        self.0.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn windows_change_at_their_utc_border() {
        let cases = [
            (Per::Day, "2026-03-01T00:00:00Z"),
            (Per::Week, "2026-11-16T00:00:00Z"), // a Monday
            (Per::Week, "1970-01-05T00:00:00Z"),
            (Per::Week, "1969-12-29T00:00:00Z"),
            (Per::Month, "2024-03-01T00:00:00Z"),
            (Per::Month, "2026-01-01T00:00:00Z"),
        ];
        for (per, border) in cases {
            let border = ms(border);
            assert_eq!(per.window(border), per.window(border - 1) + 1, "{per:?} {border}");
            assert_eq!(per.window(border), per.window(border + DAY_MS - 1), "{per:?} {border}");
        }
        assert_eq!(Per::Ever.window(ms("1999-01-01T00:00:00Z")), Per::Ever.window(ms("2026-01-01T00:00:00Z")));
        let months = [i64::MIN, ms("-009999-01-05T00:00:00Z"), ms("9999-12-20T00:00:00Z"), i64::MAX];
        assert!(months.map(|at| Per::Month.window(at)).is_sorted_by(|before, after| before < after));
        assert_eq!(Per::Week.window(ms("2026-11-16T00:00:00Z")), Per::Week.window(ms("2026-11-22T23:59:59.999Z")));
    }

    #[test]
    fn a_sliding_window_excludes_its_start_and_includes_its_end() {
        let mut times = Times::default();
        for at in [10, 20, 30] {
            assert_eq!(times.push(at, 3), None);
        }
        assert_eq!(times.within(30, 10), 1);
        assert_eq!(times.within(30, 11), 2);
        assert_eq!(times.within(29, 100), 2);
        assert_eq!(times.push(40, 3), Some(10));
    }
}
