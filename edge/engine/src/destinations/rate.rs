//! How often a destination may be asked: our own budget, and what the other side says is left of theirs.

/// What an answer's headers say of the other side's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Requests left in the present window.
    pub remaining: Option<i64>,
    /// When the window ends: epoch seconds, or seconds from now. Braze's pages disagree, so size decides (facts on Braze,
    /// section 6).
    pub reset: Option<i64>,
    /// Seconds to wait after a 429.
    pub retry_after: Option<i64>,
}

/// The longest that a header makes us wait, ms: limits are by the hour.
const WAIT_MAX_MS: i64 = 3_600_000;
/// Above this, a reset is a time, not a span.
const EPOCH_SECONDS_FROM: i64 = 1_000_000_000;

impl Limits {
    /// When the window ends, ms since 1970.
    #[must_use]
    pub fn resets_at(&self, now: i64) -> Option<i64> {
        let reset = self.reset.filter(|reset| *reset >= 0)?;
        let at =
            if reset > EPOCH_SECONDS_FROM { reset.saturating_mul(1_000) } else { now + reset.saturating_mul(1_000) };
        Some(at.clamp(now, now + WAIT_MAX_MS))
    }

    /// How long a 429 asks to wait, ms. At least a second: a client that hammers while it is told to wait is shut out.
    #[must_use]
    pub fn wait_ms(&self) -> Option<i64> {
        self.retry_after.map(|seconds| seconds.saturating_mul(1_000).clamp(1_000, WAIT_MAX_MS))
    }
}

/// Calls per second, evenly: at most one second's worth may come together, and none do right after a start, so that a
/// crash never grants a second helping.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    per_second: f64,
    tokens: f64,
    /// When `tokens` was true, ms.
    at: i64,
    /// Nothing until then, ms: the other side said so.
    closed_until: i64,
}

impl Budget {
    /// A budget that begins empty.
    #[must_use]
    pub fn new(per_second: f64, now: i64) -> Budget {
        Budget { per_second, tokens: 0.0, at: now, closed_until: 0 }
    }

    /// Another rate from now on.
    pub fn set_rate(&mut self, per_second: f64) {
        self.per_second = per_second;
    }

    /// Takes one call out.
    ///
    /// # Errors
    /// When there is none left: the time, ms since 1970, from which there is one.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    pub fn take(&mut self, now: i64) -> Result<(), i64> {
        if now < self.closed_until {
            return Err(self.closed_until);
        }
        let earned = now.saturating_sub(self.at).max(0) as f64 * self.per_second / 1_000.0;
        self.tokens = (self.tokens + earned).min(self.per_second.max(1.0));
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = libm::ceil((1.0 - self.tokens) * 1_000.0 / self.per_second.max(0.001));
        Err(now.saturating_add(wait as i64).saturating_add(1))
    }

    /// Heeds what an answer said.
    pub fn heed(&mut self, limits: &Limits, now: i64) {
        if limits.remaining == Some(0)
            && let Some(at) = limits.resets_at(now)
        {
            self.closed_until = self.closed_until.max(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_no_faster_than_the_rate_not_even_after_a_long_pause() {
        let mut budget = Budget::new(40.0, 0);
        let (mut now, mut taken) = (0, Vec::new());
        while now < 3_000 {
            match budget.take(now) {
                Ok(()) => taken.push(now),
                Err(at) => {
                    assert!(at > now);
                    now = at;
                }
            }
        }
        for start in 0..2_000 {
            let within = taken.iter().filter(|at| (start..start + 1_000).contains(*at)).count();
            assert!(within <= 41, "{within} calls in the second from {start} ms");
        }
        assert!(taken.len() > 100, "the rate is made use of: {}", taken.len());
        let after_a_pause = (0..).take_while(|_| budget.take(1_000_000).is_ok()).count();
        assert_eq!(after_a_pause, 40);
    }

    #[test]
    fn a_window_without_calls_left_closes_until_it_ends_however_that_is_told() {
        let now = 1_800_000_000_500;
        for (reset, expected) in
            [(30, now + 30_000), (1_800_000_060, 1_800_000_060_000), (9_999_999_999, now + 3_600_000)]
        {
            let mut budget = Budget::new(10.0, 0);
            budget.heed(&Limits { remaining: Some(0), reset: Some(reset), retry_after: None }, now);
            assert_eq!(budget.take(now), Err(expected), "{reset}");
            assert_eq!(budget.take(expected), Ok(()));
        }
        let mut budget = Budget::new(10.0, 0);
        budget.heed(&Limits { remaining: Some(1), reset: Some(30), retry_after: None }, now);
        assert_eq!(budget.take(now), Ok(()));
    }

    #[test]
    fn retry_after_is_obeyed_within_reason() {
        let wait = |seconds| Limits { retry_after: Some(seconds), ..Limits::default() }.wait_ms();
        assert_eq!([wait(0), wait(7), wait(i64::MAX)], [Some(1_000), Some(7_000), Some(3_600_000)]);
        assert_eq!(Limits::default().wait_ms(), None);
    }
}
