//! Failures in a row -> delay. Each object has its own count, so a broken one neither waits for nor delays another.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);

/// Delay before trying again after `failures` failures in a row (at least 1). Doubles from half a second to a minute;
/// `jitter` in 0..=1 spreads it over its upper half, so that many objects that failed together do not return together.
pub fn delay(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// How often each object has failed in a row. One per controller.
#[derive(Debug)]
pub struct Backoffs<K> {
    failures: Mutex<HashMap<K, u32>>,
}

impl<K> Default for Backoffs<K> {
    fn default() -> Self {
        Backoffs { failures: Mutex::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash> Backoffs<K> {
    /// Counts one more failure of `key`. Returns the delay before its next pass, and whether it was well before.
    pub fn failed(&self, key: K, jitter: f64) -> (Duration, bool) {
        let mut map = self.lock();
        let count = map.entry(key).or_insert(0);
        *count = count.saturating_add(1);
        (delay(*count, jitter), *count == 1)
    }

    /// `key` reached the end of a pass, or is gone: its count starts anew. Returns whether it had failed before.
    pub fn succeeded(&self, key: &K) -> bool {
        self.lock().remove(key).is_some()
    }

    /// Number of objects whose last pass failed.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no object is waiting after a failure.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, u32>> {
        // A panic while the lock is held leaves counts, which are valid in any state.
        self.failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_a_limit() {
        let full: Vec<_> = (1..=9).map(|n| delay(n, 1.0).as_millis()).collect();
        assert_eq!(full, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(delay(u32::MAX, 1.0), LONGEST);
        assert_eq!(delay(0, 0.0), FIRST / 2);
    }

    #[test]
    fn jitter_stays_within_the_upper_half() {
        for jitter in [-1.0, 0.0, 0.3, 1.0, 9.0, f64::NAN] {
            let d = delay(4, if jitter.is_nan() { 0.0 } else { jitter });
            assert!(d >= Duration::from_secs(2) && d <= Duration::from_secs(4), "{jitter}: {d:?}");
        }
    }

    #[test]
    fn objects_do_not_share_a_count_and_success_resets() {
        let b = Backoffs::default();
        b.failed("a", 1.0);
        assert_eq!(b.failed("a", 1.0), (Duration::from_secs(1), false));
        assert_eq!(b.failed("b", 1.0), (Duration::from_millis(500), true));
        assert!(b.succeeded(&"a") && !b.succeeded(&"c"));
        assert_eq!(b.failed("a", 1.0), (Duration::from_millis(500), true));
        assert_eq!(b.len(), 2);
    }
}
