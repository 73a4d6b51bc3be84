//! All randomness of a run, from one seed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Shared dice: the order of the throws is the order of events, which the seed determines.
#[derive(Clone)]
pub(crate) struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// From 0 to `n - 1`.
    pub(crate) fn below(&self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.lock().unwrap().random_range(0..n) }
    }

    pub(crate) fn index(&self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("small")
    }

    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Between 0 and 1.
    pub(crate) fn share(&self) -> f64 {
        self.0.lock().unwrap().random()
    }

    pub(crate) fn up_to(&self, duration: Duration) -> Duration {
        duration.mul_f64(self.share())
    }

    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from + 1))
    }
}
