//! What Prometheus reads from `/metrics`: [`METRICS`] is the table of all there is. Every label has a closed set of values: never a
//! crate, a user or a path.

mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use self::table::{
    AUDITS, BUILD_INFO, CATALOG_CHANGES, CATALOG_CRATES, CATALOG_PENDING, CLEARS, COMMIT_ATTEMPTS, COMMITS,
    COMPACTIONS, CONNECTIONS, DISK_EVICTIONS, DISK_FILE_BYTES, DISK_FILES, DISK_TROUBLES, DOWNLOADS_FLUSHED,
    DOWNLOADS_FOLDED, EVICTIONS, FILE_EVICTIONS, FILE_READS, HEAD_EDITS, HEAD_WRITES, KEPT_FILE_BYTES, KEPT_FILES,
    KEPT_RECORD_BYTES, KEPT_RECORDS, PANICS, READS, RECORD_EVICTIONS, REQUEST_DURATION, REQUESTS, STORE_CALL_DURATION,
    STORE_CALLS, STORE_PROVEN,
};
pub use self::table::{Kind, METRICS, Metric, markdown};
use crate::build;

/// Seconds; from a cached 304 to a large upload over a slow line.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process's recorder once; later calls do nothing, so that several servers may live in one test process.
pub fn install() {
    HANDLE.get_or_init(|| {
        let handle = builder()
            .install_recorder()
            .inspect_err(|error| tracing::warn!(%error, "no metrics: the process has another recorder"))
            .ok()?;
        describe();
        Some(handle)
    });
}

fn builder() -> PrometheusBuilder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), DURATION_BUCKETS)
        .expect("the list of buckets is not empty")
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.meaning),
            Kind::Gauge => describe_gauge!(metric.name, metric.meaning),
            Kind::Histogram => describe_histogram!(metric.name, Unit::Seconds, metric.meaning),
        }
    }
    gauge!(BUILD_INFO.name, "version" => build::VERSION, "commit" => build::COMMIT).set(1.0);
}

/// The text for `/metrics`.
pub fn render() -> String {
    HANDLE.get().and_then(Option::as_ref).map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps histograms small; to be called every few seconds.
pub(crate) fn upkeep() {
    if let Some(handle) = HANDLE.get().and_then(Option::as_ref) {
        handle.run_upkeep();
    }
}

/// Counts the answers of one listener. Counters are looked up once per route and outcome, not per request.
pub(crate) struct Answers {
    listener: &'static str,
    routes: RwLock<HashMap<&'static str, Arc<RouteAnswers>>>,
}

struct RouteAnswers {
    duration: Histogram,
    outcomes: [OnceLock<Counter>; OUTCOMES.len()],
}

impl Answers {
    pub(crate) fn new(listener: &'static str) -> Self {
        Self { listener, routes: RwLock::default() }
    }

    /// Counts an answered request.
    pub(crate) fn count(&self, route: &'static str, status: StatusCode, took: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        let answers = known.unwrap_or_else(|| self.add(route));
        answers.duration.record(took.as_secs_f64());
        let (place, outcome) = outcome(status);
        let labels = (self.listener, route);
        let counter = answers.outcomes[place]
            .get_or_init(|| counter!(REQUESTS.name, "listener" => labels.0, "route" => labels.1, "outcome" => outcome));
        counter.increment(1);
    }

    fn add(&self, route: &'static str) -> Arc<RouteAnswers> {
        let duration = histogram!(REQUEST_DURATION.name, "listener" => self.listener, "route" => route);
        let answers = RouteAnswers { duration, outcomes: Default::default() };
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route).or_insert_with(|| Arc::new(answers)).clone()
    }
}

/// Counts a panic.
pub(crate) fn panicked() {
    counter!(PANICS.name).increment(1);
}

/// Counts an open connection until it is dropped.
pub(crate) struct OpenConnection(&'static str);

impl OpenConnection {
    pub(crate) fn new(listener: &'static str) -> Self {
        gauge!(CONNECTIONS.name, "listener" => listener).increment(1.0);
        Self(listener)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!(CONNECTIONS.name, "listener" => self.0).decrement(1.0);
    }
}

/// Counts the end of a change.
pub(crate) fn commit(operation: &'static str, outcome: &'static str) {
    counter!(COMMITS.name, "operation" => operation, "outcome" => outcome).increment(1);
}

/// Counts one conditional write.
pub(crate) fn commit_attempt(operation: &'static str, outcome: &'static str) {
    counter!(COMMIT_ATTEMPTS.name, "operation" => operation, "outcome" => outcome).increment(1);
}

/// Counts one conditional write of the head, and what it carries.
pub(crate) fn head_write(outcome: &'static str, edits: usize) {
    counter!(HEAD_WRITES.name, "outcome" => outcome).increment(1);
    counter!(HEAD_EDITS.name).increment(edits as u64);
}

/// Counts the end of a wait for the other replicas.
pub(crate) fn cleared(outcome: &'static str) {
    counter!(CLEARS.name, "outcome" => outcome).increment(1);
}

/// Counts silent replicas.
pub(crate) fn evicted(count: usize) {
    counter!(EVICTIONS.name).increment(count as u64);
}

/// Counts the end of an entry of the audit log.
pub(crate) fn audited(outcome: &'static str) {
    counter!(AUDITS.name, "outcome" => outcome).increment(1);
}

/// Where a look-up of a record was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Memory,
    Proven,
    Store,
    Unproven,
}

/// Counts look-ups of records.
pub(crate) struct Reads([Counter; 4]);

impl Reads {
    pub(crate) fn new() -> Self {
        Self(["memory", "proven", "store", "unproven"].map(|source| counter!(READS.name, "source" => source)))
    }

    pub(crate) fn count(&self, source: Source) {
        self.0[source as usize].increment(1);
    }
}

/// Notes what is kept of records, and how many were dropped so far for want of room.
pub(crate) fn kept_records(found: usize, absent: usize, bytes: usize, evicted: u64) {
    gauge!(KEPT_RECORDS.name, "state" => "found").set(found as f64);
    gauge!(KEPT_RECORDS.name, "state" => "absent").set(absent as f64);
    gauge!(KEPT_RECORD_BYTES.name).set(bytes as f64);
    counter!(RECORD_EVICTIONS.name).absolute(evicted);
}

/// Where the bytes of a download come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSource {
    Memory,
    Disk,
    Store,
    Redirect,
}

/// Counts downloads by where their bytes come from.
pub(crate) struct FileReads([Counter; 4]);

impl FileReads {
    pub(crate) fn new() -> Self {
        Self(["memory", "disk", "store", "redirect"].map(|source| counter!(FILE_READS.name, "source" => source)))
    }

    pub(crate) fn count(&self, source: FileSource) {
        self.0[source as usize].increment(1);
    }
}

/// Notes what is kept of crate files, and how many were dropped so far for want of room.
pub(crate) fn kept_files(files: usize, bytes: usize, evicted: u64) {
    gauge!(KEPT_FILES.name).set(files as f64);
    gauge!(KEPT_FILE_BYTES.name).set(bytes as f64);
    counter!(FILE_EVICTIONS.name).absolute(evicted);
}

/// Notes what is kept of crate files on the disk, and how many were deleted so far for want of room.
pub(crate) fn disk_files(files: usize, bytes: u64, evicted: u64) {
    gauge!(DISK_FILES.name).set(files as f64);
    gauge!(DISK_FILE_BYTES.name).set(bytes as f64);
    counter!(DISK_EVICTIONS.name).absolute(evicted);
}

/// Counts what the disk did not do.
pub(crate) fn disk_trouble(operation: &'static str) {
    counter!(DISK_TROUBLES.name, "operation" => operation).increment(1);
}

/// Counts a call of the store.
pub(crate) fn store_call(call: &'static str, outcome: &'static str, took: Duration) {
    counter!(STORE_CALLS.name, "call" => call, "outcome" => outcome).increment(1);
    histogram!(STORE_CALL_DURATION.name, "call" => call).record(took.as_secs_f64());
}

/// Notes whether the store is proven.
pub(crate) fn store_proven(proven: bool) {
    gauge!(STORE_PROVEN.name).set(if proven { 1.0 } else { 0.0 });
}

/// Notes how many crates search knows, how many records it has to read again, and how many changes are not stored with the others yet.
pub(crate) fn catalog(crates: usize, pending: usize, changes: usize) {
    gauge!(CATALOG_CHANGES.name).set(changes as f64);
    gauge!(CATALOG_CRATES.name).set(crates as f64);
    gauge!(CATALOG_PENDING.name).set(pending as f64);
}

/// Counts downloads that are in the store now.
pub(crate) fn downloads_flushed(count: u64) {
    counter!(DOWNLOADS_FLUSHED.name).increment(count);
}

/// Counts an attempt to add up downloads.
pub(crate) fn downloads_folded(outcome: &'static str) {
    counter!(DOWNLOADS_FOLDED.name, "outcome" => outcome).increment(1);
}

/// Counts an attempt to write the list of crates for search.
pub(crate) fn compaction(outcome: &'static str) {
    counter!(COMPACTIONS.name, "outcome" => outcome).increment(1);
}

/// A closed set of words for what an answer means.
const OUTCOMES: [&str; 8] =
    ["ok", "not_modified", "unauthorized", "forbidden", "not_found", "refused", "unavailable", "error"];

fn outcome(status: StatusCode) -> (usize, &'static str) {
    let place = match status.as_u16() {
        304 => 1,
        200..=399 => 0,
        401 => 2,
        403 => 3,
        404 => 4,
        400..=499 => 5,
        503 => 6,
        _ => 7,
    };
    (place, OUTCOMES[place])
}
