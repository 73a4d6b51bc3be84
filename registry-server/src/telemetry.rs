//! Logs: one subscriber per process, to standard error, for people or for machines.
//!
//! Every request is one event at its end, with closed fields: `request_id`, `method`, `route`, `status`, `millis`, and where
//! known `user` and `crate`. Never: a token, an `Authorization` header, a body, a query string.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log.filter is \"{filter}\", which is not a filter such as info or supercargo_registry=debug: {source}")]
    Filter {
        /// What was given.
        filter: String,
        /// What `tracing` says of it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a subscriber already.
    #[error("logging was already set up in this process")]
    Twice,
}

/// Checks the filter without installing anything.
///
/// # Errors
/// The filter does not parse.
pub fn check(log: &Log) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(&log.filter).map_err(|source| TelemetryError::Filter { filter: log.filter.clone(), source })
}

/// Installs the process's subscriber.
///
/// # Errors
/// The filter does not parse, or there is a subscriber already.
pub fn init(log: &Log) -> Result<(), TelemetryError> {
    // At `trace`, warp says every part of a path that it looks at; a token may stand there by mistake.
    let no_paths = "warp::filters::path=debug".parse().expect("a directive");
    let registry = tracing_subscriber::registry().with(check(log)?.add_directive(no_paths));
    let installed = match log.format {
        LogFormat::Text => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal())
                .with_target(false);
            registry.with(layer).try_init()
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    installed.map_err(|_| TelemetryError::Twice)
}
