//! The one table of metrics: nothing is counted that is not in it, `/metrics` describes what it says, and the README carries a copy that
//! a test compares.

/// What Prometheus makes of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Seconds in buckets, with `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// The word that Prometheus has for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What Prometheus makes of it.
    pub kind: Kind,
    /// Its labels. Each has a closed set of values: never a crate, a user or a path.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub meaning: &'static str,
}

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], meaning: &'static str) -> Metric {
    Metric { name, kind, labels, meaning }
}

pub(super) const BUILD_INFO: Metric = metric(
    "supercargo_registry_build_info",
    Kind::Gauge,
    &["version", "commit"],
    "Always 1; the labels say which build this is.",
);
pub(super) const REQUESTS: Metric = metric(
    "supercargo_registry_requests_total",
    Kind::Counter,
    &["listener", "route", "outcome"],
    "Answered requests.",
);
pub(super) const REQUEST_DURATION: Metric = metric(
    "supercargo_registry_request_duration_seconds",
    Kind::Histogram,
    &["listener", "route"],
    "From the head of a request to the head of its answer.",
);
pub(super) const CONNECTIONS: Metric =
    metric("supercargo_registry_connections", Kind::Gauge, &["listener"], "Open connections.");
pub(super) const PANICS: Metric = metric(
    "supercargo_registry_panics_total",
    Kind::Counter,
    &[],
    "Requests that ended in a panic and were answered with 500.",
);
pub(super) const COMMITS: Metric = metric(
    "supercargo_registry_commits_total",
    Kind::Counter,
    &["operation", "outcome"],
    "Changes of crate and token records, by how they ended.",
);
pub(super) const COMMIT_ATTEMPTS: Metric = metric(
    "supercargo_registry_commit_attempts_total",
    Kind::Counter,
    &["operation", "outcome"],
    "Single conditional writes, by what the store said.",
);
pub(super) const HEAD_WRITES: Metric = metric(
    "supercargo_registry_head_writes_total",
    Kind::Counter,
    &["outcome"],
    "Conditional writes of the head, by what the store said.",
);
pub(super) const HEAD_EDITS: Metric = metric(
    "supercargo_registry_head_edits_total",
    Kind::Counter,
    &[],
    "Changes that those were to carry: more than writes when writers share them.",
);
pub(super) const CLEARS: Metric = metric(
    "supercargo_registry_clears_total",
    Kind::Counter,
    &["outcome"],
    "Waits for the other replicas before a commit: `acknowledged` or `outlasted`.",
);
pub(super) const AUDITS: Metric = metric(
    "supercargo_registry_audit_entries_total",
    Kind::Counter,
    &["outcome"],
    "Entries of the audit log after a change: `written`, or `failed` and left to `fsck --repair`.",
);
pub(super) const EVICTIONS: Metric =
    metric("supercargo_registry_evictions_total", Kind::Counter, &[], "Replicas that this one found silent.");
pub(super) const READS: Metric = metric(
    "supercargo_registry_reads_total",
    Kind::Counter,
    &["source"],
    "Look-ups of records: from `memory`, `proven` (memory, after a look at the head), the `store`, or `unproven`.",
);
pub(super) const KEPT_RECORDS: Metric = metric(
    "supercargo_registry_kept_records",
    Kind::Gauge,
    &["state"],
    "Records in memory: `found`, and `absent` for crates that are not there.",
);
pub(super) const KEPT_RECORD_BYTES: Metric = metric(
    "supercargo_registry_kept_record_bytes",
    Kind::Gauge,
    &[],
    "What the records in memory take, of `cache.index_bytes`.",
);
pub(super) const RECORD_EVICTIONS: Metric = metric(
    "supercargo_registry_record_evictions_total",
    Kind::Counter,
    &[],
    "Records that were dropped from memory for want of room.",
);
pub(super) const FILE_READS: Metric = metric(
    "supercargo_registry_file_reads_total",
    Kind::Counter,
    &["source"],
    "Downloads, by where the bytes come from: `memory`, the `disk`, the `store`, or the store by a `redirect`.",
);
pub(super) const KEPT_FILES: Metric =
    metric("supercargo_registry_kept_files", Kind::Gauge, &[], "Crate files in memory.");
pub(super) const KEPT_FILE_BYTES: Metric = metric(
    "supercargo_registry_kept_file_bytes",
    Kind::Gauge,
    &[],
    "What the crate files in memory take, of `cache.download_bytes`.",
);
pub(super) const FILE_EVICTIONS: Metric = metric(
    "supercargo_registry_file_evictions_total",
    Kind::Counter,
    &[],
    "Crate files that were dropped from memory for want of room.",
);
pub(super) const DISK_FILES: Metric =
    metric("supercargo_registry_disk_files", Kind::Gauge, &[], "Crate files on the disk of `cache.directory`.");
pub(super) const DISK_FILE_BYTES: Metric = metric(
    "supercargo_registry_disk_file_bytes",
    Kind::Gauge,
    &[],
    "What the crate files on the disk take, of `cache.disk_bytes`.",
);
pub(super) const DISK_EVICTIONS: Metric = metric(
    "supercargo_registry_disk_evictions_total",
    Kind::Counter,
    &[],
    "Crate files that were deleted from the disk for want of room.",
);
pub(super) const DISK_TROUBLES: Metric = metric(
    "supercargo_registry_disk_troubles_total",
    Kind::Counter,
    &["operation"],
    "What the disk did not do, so that the store had to: `open`, `read`, `write`, `delete`, or `content` that was damaged.",
);
pub(super) const STORE_CALLS: Metric = metric(
    "supercargo_registry_store_calls_total",
    Kind::Counter,
    &["call", "outcome"],
    "Calls of the store, by what it said; repeats by the S3 adapter are one call.",
);
pub(super) const STORE_CALL_DURATION: Metric = metric(
    "supercargo_registry_store_call_duration_seconds",
    Kind::Histogram,
    &["call"],
    "From a call of the store to the head of its answer.",
);
pub(super) const STORE_PROVEN: Metric = metric(
    "supercargo_registry_store_proven",
    Kind::Gauge,
    &[],
    "1 when the store has shown that it keeps its promises.",
);
pub(super) const CATALOG_CRATES: Metric =
    metric("supercargo_registry_catalog_crates", Kind::Gauge, &[], "Crates that search knows.");
pub(super) const CATALOG_PENDING: Metric = metric(
    "supercargo_registry_catalog_pending",
    Kind::Gauge,
    &[],
    "Crate records that search has to read again: announced and not committed yet, or damaged.",
);
pub(super) const CATALOG_CHANGES: Metric = metric(
    "supercargo_registry_catalog_changes",
    Kind::Gauge,
    &[],
    "Changes that the stored list of crates does not have yet, as far as this replica knows.",
);
pub(super) const DOWNLOADS_FLUSHED: Metric = metric(
    "supercargo_registry_downloads_flushed_total",
    Kind::Counter,
    &[],
    "Downloads that were counted by this process and are in the store.",
);
pub(super) const DOWNLOADS_FOLDED: Metric = metric(
    "supercargo_registry_downloads_folds_total",
    Kind::Counter,
    &["outcome"],
    "Attempts to add up downloads: `stored`, `not_due`, `nothing` to add, `overtaken` by another replica, `unclear`, or why not.",
);
pub(super) const COMPACTIONS: Metric = metric(
    "supercargo_registry_catalog_compactions_total",
    Kind::Counter,
    &["outcome"],
    "Attempts to write the list of crates for search to the store: `stored`, `overtaken` by another replica, `unclear`, or why not.",
);

/// Every metric there is, in the order in which the documentation shows them.
pub const METRICS: &[Metric] = &[
    BUILD_INFO,
    REQUESTS,
    REQUEST_DURATION,
    CONNECTIONS,
    PANICS,
    COMMITS,
    COMMIT_ATTEMPTS,
    HEAD_WRITES,
    HEAD_EDITS,
    CLEARS,
    EVICTIONS,
    AUDITS,
    READS,
    KEPT_RECORDS,
    KEPT_RECORD_BYTES,
    RECORD_EVICTIONS,
    FILE_READS,
    KEPT_FILES,
    KEPT_FILE_BYTES,
    FILE_EVICTIONS,
    DISK_FILES,
    DISK_FILE_BYTES,
    DISK_EVICTIONS,
    DISK_TROUBLES,
    STORE_CALLS,
    STORE_CALL_DURATION,
    STORE_PROVEN,
    CATALOG_CRATES,
    CATALOG_PENDING,
    CATALOG_CHANGES,
    COMPACTIONS,
    DOWNLOADS_FLUSHED,
    DOWNLOADS_FOLDED,
];

/// The table as GitHub Markdown, as it stands in the README.
pub fn markdown() -> String {
    let mut table = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, labels) = (metric.name, metric.kind.word(), labels.join(", "));
        table.push_str(&format!("| `{name}` | {kind} | {labels} | {} |\n", metric.meaning));
    }
    table
}
