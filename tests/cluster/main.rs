//! End to end: the operator installed by its chart, registries in pods, S3 in pods, the real Cargo on the host.
//!
//! Every test has a namespace, buckets and registries of its own, and all of them share the operator; so a test that
//! takes the operator away holds the others off meanwhile: see [`turns`]. `cargo dev test cluster` sets the stage.

mod api;
mod cargo;
mod conditions;
mod demo;
mod examples;
mod helm;
mod maintenance;
mod recovery;
mod serving;
mod turns;
mod waves;
