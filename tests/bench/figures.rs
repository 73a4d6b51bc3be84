//! Times as people read them: median and the worst of a hundred.

use std::{fmt, time::Duration};

/// Times of one kind of work.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// One more.
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// In seconds; NaN if there are none.
    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share).round() as usize).map_or(f64::NAN, Duration::as_secs_f64)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.median() * 1e3, self.quantile(0.99) * 1e3);
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms (n = {})", self.0.len())
    }
}
