//! What clients may conclude: once a state was shown or acknowledged, nobody is shown an older one. States are numbered by their commits, so
//! this is linearizability per record, exactly.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// By record: the newest state that a finished request has shown or acknowledged.
#[derive(Clone, Default)]
pub(crate) struct Floors(Arc<Mutex<BTreeMap<String, u64>>>);

impl Floors {
    /// What a request that begins now must not fall behind.
    pub(crate) fn at(&self, record: &str) -> u64 {
        self.0.lock().unwrap().get(record).copied().unwrap_or(0)
    }

    /// A request that ends now has shown this state. Whether nobody had seen it before.
    pub(crate) fn raise(&self, record: &str, state: u64) -> bool {
        let mut floors = self.0.lock().unwrap();
        let floor = floors.entry(record.to_owned()).or_default();
        let is_new = state > *floor;
        *floor = state.max(*floor);
        is_new
    }
}

/// What happened in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    pub(crate) reads: u64,
    pub(crate) downloads: u64,
    pub(crate) failed_reads: u64,
    pub(crate) writes: u64,
    /// By what was said to the user.
    pub(crate) failed_writes: BTreeMap<&'static str, u64>,
    pub(crate) heads: u64,
    pub(crate) sweeps: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.violations.extend(other.violations.iter().cloned());
        self.reads += other.reads;
        self.downloads += other.downloads;
        self.failed_reads += other.failed_reads;
        self.writes += other.writes;
        for (label, count) in &other.failed_writes {
            *self.failed_writes.entry(label).or_default() += count;
        }
        self.heads += other.heads;
        self.sweeps += other.sweeps;
    }
}
