//! What can go wrong with a delivery, and how long to wait before it is tried again.

use serde::{Deserialize, Serialize};

/// How often one record is tried with the same values before it waits for a person (or for other values).
pub const RECORD_ATTEMPTS_MAX: u32 = 30;

/// Whose trouble it is, which decides what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Nobody answered, or a 5xx: the whole connection waits, longer each time. Counts against no record.
    Outage,
    /// A request was refused, in whole or in part, and not said whose objects are to blame: whoever was in it waits, goes in
    /// smaller ones, and everybody waits if these are all refused, too. Counts against no record until others pass.
    Refused,
    /// 429, or our own budget: the whole connection waits for as long as it is told. Counts against no record.
    Quota,
    /// The key, a permission or the address is wrong: everything waits, and a person is told. Tried again rarely, since
    /// what is wrong may be put right on the other side.
    Setup,
    /// One record was refused: it waits by itself, [`RECORD_ATTEMPTS_MAX`] times at most. The others go on.
    Record,
}

impl Class {
    /// Whether it may be the trouble of single records alone.
    #[must_use]
    pub fn may_be_somebodys(self) -> bool {
        matches!(self, Class::Outage | Class::Refused)
    }
}

/// Waiting times that double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure, ms.
    pub first_ms: i64,
    /// The longest, ms.
    pub max_ms: i64,
}

impl BackOff {
    /// How long to wait after so many failures in a row, ms. `spread`, any number, takes up to a quarter off it, so that
    /// what failed together does not come back together.
    #[must_use]
    pub fn wait(&self, failures: u32, spread: u64) -> i64 {
        let doublings = failures.saturating_sub(1).min(40);
        let whole = self.first_ms.saturating_mul(1 << doublings).min(self.max_ms).max(1);
        let off = whole / 4 * i64::try_from(spread % 1_000).unwrap_or(0) / 1_000;
        whole - off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_spread_down_by_a_quarter_at_most() {
        let back_off = BackOff { first_ms: 1_000, max_ms: 60_000 };
        let waits: Vec<_> = (1..=8).map(|failures| back_off.wait(failures, 0)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(back_off.wait(u32::MAX, 0), 60_000);
        for spread in 0..2_000 {
            let wait = back_off.wait(7, spread);
            assert!((45_000..=60_000).contains(&wait), "{wait}");
        }
    }
}
