//! What Prometheus reads from `/metrics`: [`METRICS`] is the table of all there is. Every label has a closed set of values: never a
//! crate, a user or a path.

mod table;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use self::table::{
    AUDITS, BUILD_INFO, CATALOG_CHANGES, CATALOG_CRATES, CATALOG_PENDING, CLEARS, COMMIT_ATTEMPTS, COMMITS,
    COMPACTIONS, CONNECTIONS, DOWNLOADS_FLUSHED, DOWNLOADS_FOLDED, EVICTIONS, HEAD_EDITS, HEAD_WRITES, PANICS, READS,
    REQUEST_DURATION, REQUESTS, STORE_CALL_DURATION, STORE_CALLS, STORE_PROVEN,
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

/// Counts an answered request.
pub(crate) fn request(listener: &'static str, route: &'static str, status: StatusCode, took: Duration) {
    counter!(REQUESTS.name, "listener" => listener, "route" => route, "outcome" => outcome(status)).increment(1);
    histogram!(REQUEST_DURATION.name, "listener" => listener, "route" => route).record(took.as_secs_f64());
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

/// Counts a look-up of a record.
pub(crate) fn read(source: &'static str) {
    counter!(READS.name, "source" => source).increment(1);
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
fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        304 => "not_modified",
        200..=399 => "ok",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        400..=499 => "refused",
        503 => "unavailable",
        _ => "error",
    }
}
