//! Waiting for something to become true: looking again and again until a deadline, never for a fixed time.

use std::thread::sleep;
use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than anything here takes on a busy machine with two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is an answer; fails, naming what was waited for, if there is none in time.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, look).unwrap_or_else(|| panic!("waited {} s in vain: {what}", PATIENCE.as_secs()))
}

/// Looks until it is true; fails, naming what was waited for, if it is not in time.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || holds().then_some(()));
}

/// Looks until there is an answer, or the time is up.
pub(crate) fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(LOOK_EVERY);
    }
}
