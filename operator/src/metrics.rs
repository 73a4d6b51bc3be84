//! The operator's own metrics. Labels come from closed sets, never from objects.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const RECONCILES: &str = "supercargo_operator_reconcile_total";
const ERRORS: &str = "supercargo_operator_reconcile_errors_total";
const SECONDS: &str = "supercargo_operator_reconcile_seconds";
const ACTIVE: &str = "supercargo_operator_active_workers";
const IN_BACKOFF: &str = "supercargo_operator_objects_in_backoff";
const WATCH_ERRORS: &str = "supercargo_operator_watch_errors_total";
const WRITES: &str = "supercargo_operator_writes_total";
const REGISTRIES: &str = "supercargo_operator_registries";

/// Histograms' buckets in seconds, from a pass that changes nothing to one that waits for S3.
pub const BUCKETS_SECS: [f64; 10] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 60.0];

/// Gives each metric its help text. Once, after a recorder is installed.
pub fn describe() {
    describe_counter!(RECONCILES, "Passes that ended, by controller and outcome (ok, error)");
    describe_counter!(
        ERRORS,
        "Passes that failed, by controller and kind of error; panic and deadline are two of them"
    );
    describe_histogram!(SECONDS, "Time of one pass");
    describe_gauge!(ACTIVE, "Passes under way");
    describe_gauge!(IN_BACKOFF, "Objects whose last pass failed and that wait for the next one");
    describe_counter!(WATCH_ERRORS, "Watches that failed, by controller and watched kind");
    describe_gauge!(REGISTRIES, "CargoRegistry objects, by whether they are Ready");
    describe_counter!(WRITES, "Writes sent to the API server, by controller and kind; an idle operator sends none");
}

/// A pass begins; dropping the result says that it ended.
pub fn reconcile_begun(controller: &'static str) -> Active {
    gauge!(ACTIVE, "controller" => controller).increment(1.0);
    Active { controller }
}

/// One pass under way.
#[must_use = "dropping it says that the pass ended"]
pub struct Active {
    controller: &'static str,
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!(ACTIVE, "controller" => self.controller).decrement(1.0);
    }
}

/// A pass ended, with the label of its error if it failed.
pub fn reconcile_ended(controller: &'static str, took: Duration, error: Option<&'static str>) {
    let outcome = if error.is_none() { "ok" } else { "error" };
    counter!(RECONCILES, "controller" => controller, "outcome" => outcome).increment(1);
    histogram!(SECONDS, "controller" => controller).record(took.as_secs_f64());
    if let Some(error) = error {
        counter!(ERRORS, "controller" => controller, "error" => error).increment(1);
    }
}

/// One more object waits after a failure. Counted up and down, as one controller may run over several namespaces.
pub fn backoff_begun(controller: &'static str) {
    gauge!(IN_BACKOFF, "controller" => controller).increment(1.0);
}

/// An object does not wait any more.
pub fn backoff_ended(controller: &'static str) {
    gauge!(IN_BACKOFF, "controller" => controller).decrement(1.0);
}

/// A watch failed and will be tried again.
pub fn watch_failed(controller: &'static str, kind: &'static str) {
    counter!(WATCH_ERRORS, "controller" => controller, "kind" => kind).increment(1);
}

/// A write was sent to the API server.
pub fn write_sent(controller: &'static str, kind: &'static str) {
    counter!(WRITES, "controller" => controller, "kind" => kind).increment(1);
}

/// A registry serves or does not (`None`: it is not there), and how it was before. Counted up and down, as several namespaces may be
/// looked after, each with a count of its own.
pub fn registry_changed(before: Option<bool>, after: Option<bool>) {
    for (label, ready) in [("true", true), ("false", false)] {
        let count = |state: Option<bool>| if state == Some(ready) { 1.0 } else { 0.0 };
        gauge!(REGISTRIES, "ready" => label).increment(count(after) - count(before));
    }
}
