//! What Prometheus reads from `/metrics`. Every label has a closed set of values: never a crate, a user or a path.
//!
//! | metric | labels | meaning |
//! |---|---|---|
//! | `supercargo_registry_build_info` | `version`, `commit` | always 1 |
//! | `supercargo_registry_requests_total` | `listener`, `route`, `outcome` | answered requests |
//! | `supercargo_registry_request_duration_seconds` | `listener`, `route` | from the head of the request to the head of the answer |
//! | `supercargo_registry_connections` | `listener` | open connections |
//! | `supercargo_registry_panics_total` | | requests that ended in a panic and were answered with 500 |
//! | `supercargo_registry_commits_total` | `operation`, `outcome` | changes of crate and token records |
//! | `supercargo_registry_commit_attempts_total` | `operation`, `outcome` | single conditional writes, with what the store said |
//! | `supercargo_registry_head_writes_total` | `outcome` | conditional writes of the head, with what the store said |
//! | `supercargo_registry_head_edits_total` | | changes that those were to carry: more than writes when writers share them |
//! | `supercargo_registry_clears_total` | `outcome` | waits for the other replicas before a commit: `acknowledged` or `outlasted` |
//! | `supercargo_registry_evictions_total` | | replicas that this one found silent |
//! | `supercargo_registry_reads_total` | `source` | record look-ups: `memory`, `proven` (memory after asking for the head), `store`, `unproven` |
//! | `supercargo_registry_store_proven` | | 1 when the store has shown that it keeps its promises |

use std::sync::OnceLock;
use std::time::Duration;

use http::StatusCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::build;

/// Seconds; from a cached 304 to a large upload over a slow line.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the process's recorder once; later calls do nothing, so that several servers may live in one test process.
pub fn install() {
    HANDLE.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), DURATION_BUCKETS)
            .expect("the list of buckets is not empty");
        let handle = builder
            .install_recorder()
            .inspect_err(|error| tracing::warn!(%error, "no metrics: the process has another recorder"))
            .ok()?;
        describe_counter!("supercargo_registry_requests_total", "Answered requests.");
        describe_histogram!(
            "supercargo_registry_request_duration_seconds",
            Unit::Seconds,
            "From the head of a request to the head of its answer."
        );
        describe_gauge!("supercargo_registry_connections", "Open connections.");
        describe_counter!(
            "supercargo_registry_panics_total",
            "Requests that ended in a panic and were answered with 500."
        );
        describe_counter!(
            "supercargo_registry_commits_total",
            "Changes of crate and token records, by how they ended."
        );
        describe_counter!(
            "supercargo_registry_commit_attempts_total",
            "Single conditional writes, by what the store said."
        );
        describe_counter!(
            "supercargo_registry_head_writes_total",
            "Conditional writes of the head, by what the store said."
        );
        describe_counter!("supercargo_registry_head_edits_total", "Changes that writes of the head were to carry.");
        describe_counter!(
            "supercargo_registry_clears_total",
            "Waits for the other replicas before a commit, by how they ended."
        );
        describe_counter!("supercargo_registry_evictions_total", "Replicas that this one found silent.");
        describe_counter!("supercargo_registry_reads_total", "Look-ups of records, by where the answer came from.");
        describe_gauge!("supercargo_registry_store_proven", "1 when the store has shown that it keeps its promises.");
        describe_gauge!("supercargo_registry_build_info", "Always 1; the labels say which build this is.");
        gauge!("supercargo_registry_build_info", "version" => build::VERSION, "commit" => build::COMMIT).set(1.0);
        Some(handle)
    });
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
    counter!("supercargo_registry_requests_total", "listener" => listener, "route" => route, "outcome" => outcome(status)).increment(1);
    histogram!("supercargo_registry_request_duration_seconds", "listener" => listener, "route" => route)
        .record(took.as_secs_f64());
}

/// Counts a panic.
pub(crate) fn panicked() {
    counter!("supercargo_registry_panics_total").increment(1);
}

/// Counts an open connection until it is dropped.
pub(crate) struct OpenConnection(&'static str);

impl OpenConnection {
    pub(crate) fn new(listener: &'static str) -> Self {
        gauge!("supercargo_registry_connections", "listener" => listener).increment(1.0);
        Self(listener)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        gauge!("supercargo_registry_connections", "listener" => self.0).decrement(1.0);
    }
}

/// Counts the end of a change.
pub(crate) fn commit(operation: &'static str, outcome: &'static str) {
    counter!("supercargo_registry_commits_total", "operation" => operation, "outcome" => outcome).increment(1);
}

/// Counts one conditional write.
pub(crate) fn commit_attempt(operation: &'static str, outcome: &'static str) {
    counter!("supercargo_registry_commit_attempts_total", "operation" => operation, "outcome" => outcome).increment(1);
}

/// Counts one conditional write of the head, and what it carries.
pub(crate) fn head_write(outcome: &'static str, edits: usize) {
    counter!("supercargo_registry_head_writes_total", "outcome" => outcome).increment(1);
    counter!("supercargo_registry_head_edits_total").increment(edits as u64);
}

/// Counts the end of a wait for the other replicas.
pub(crate) fn cleared(outcome: &'static str) {
    counter!("supercargo_registry_clears_total", "outcome" => outcome).increment(1);
}

/// Counts silent replicas.
pub(crate) fn evicted(count: usize) {
    counter!("supercargo_registry_evictions_total").increment(count as u64);
}

/// Counts a look-up of a record.
pub(crate) fn read(source: &'static str) {
    counter!("supercargo_registry_reads_total", "source" => source).increment(1);
}

/// Notes whether the store is proven.
pub(crate) fn store_proven(proven: bool) {
    gauge!("supercargo_registry_store_proven").set(if proven { 1.0 } else { 0.0 });
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
