//! Logs to standard error, metrics for `/metrics`.

use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::metrics;

/// Installs the log subscriber.
///
/// # Errors
/// The filter does not parse; the text says where.
pub fn logs(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("--log-filter {filter:?}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).with_span_list(false).init(),
    }
    Ok(())
}

/// Installs the recorder of metrics.
///
/// # Errors
/// There is one already.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets(&metrics::BUCKETS_SECS)
        .context("histogram buckets")?
        .install_recorder()
        .context("cannot install the recorder of metrics")?;
    metrics::describe();
    Ok(handle)
}
