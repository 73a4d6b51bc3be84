//! How far a job is: numbers that the job counts up and somebody else looks at.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a job is at.
#[derive(Debug, Default)]
pub struct Progress {
    phase: Mutex<&'static str>,
    crates: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// A new phase begins.
    pub(super) fn enter(&self, phase: &'static str) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(super) fn krate(&self) {
        self.crates.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn blobs(&self, count: usize) {
        self.blobs.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(super) fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// One line for a person.
    pub fn line(&self) -> String {
        let phase = *self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        let [crates, blobs, bytes] =
            [&self.crates, &self.blobs, &self.bytes].map(|count| count.load(Ordering::Relaxed));
        let read = if bytes == 0 { String::new() } else { format!(", {} MiB read", bytes >> 20) };
        format!("{phase}: {crates} crates, {blobs} files{read}")
    }
}
