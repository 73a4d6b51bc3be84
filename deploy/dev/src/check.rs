//! What `cargo dev test` holds charts, CRDs and examples to, and how it runs a check and counts.
//!
//! [`charts`] renders and lints, [`manifests`] checks everything that is applied to a cluster against [`schemas`],
//! [`generated`] compares what is committed with what the operator's types say. [`Bench`] runs commands into logs, [`Tally`]
//! counts what they found.

mod bench;
pub(crate) mod charts;
pub(crate) mod generated;
pub(crate) mod manifests;
mod schemas;
mod tally;

pub(crate) use bench::{Bench, cargo};
pub(crate) use tally::Tally;
