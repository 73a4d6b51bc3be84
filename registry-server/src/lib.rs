//! One Cargo registry over HTTP, with all its state in object storage.
//!
//! Reading order, which is also the order of dependencies (a module uses only what stands above it):
//!
//! - [`krate`]: what a crate, a version, an index line, a crate record is; pure.
//! - [`access`]: who may do what, one decision for every route; pure.
//! - [`rules`]: rules that tests break one at a time, to see that something notices.
//! - [`store`]: bytes under keys with conditional writes; S3, a directory, memory, faults.
//! - [`ambient`]: the clocks and the randomness, as values.
//! - [`replicas`]: equal replicas that serve from memory: the head, leases, notices.
//! - [`catalog`]: what search knows of all crates, and how it finds; pure.
//! - [`downloads`]: how downloads are counted once each; pure.
//! - [`config`]: what the process is told; one table of keys.
//! - [`registry`]: publish, yank, owners, reads, tokens over a store; the one compare-and-swap loop.
//! - [`maintenance`]: jobs over the whole store, beside the requests.
//! - [`http`]: Cargo's protocol and the admin API as warp filters; status codes and texts.
//! - [`server`]: listeners, TLS, limits, drain.
//! - [`cli`]: the commands of the binary.
//! - [`telemetry`], [`metrics`], [`build`]: what an operator of the process sees.
//!
//! `krate` and `access` do not know `store`, and `store` does not know what a crate is; `http` never sees `store`.
//!
//! Invariants, kept by `registry`:
//! A: nothing is in an index whose bytes are not stored.
//! B: a (canonical name, version) has one sha256 for ever.
//! C: one name per canonical name.
//! D: a record's `rev` grows by one per commit, and by more when a damaged record goes on from an earlier state.
//! E: per crate, reads and writes on all replicas are linearizable: what one request has shown or acknowledged, no later one contradicts.
//! F: what was not acknowledged is either committed, and then visible everywhere, or never will be, once its writer's deadline has passed.
//! G: no failure path deletes anything.
//! H: an acknowledged write is in the store; losing every process loses none.
//! I: authorisation is one decision, the same on index, search, API and downloads.
//!
//! What must never exist here: state outside the store that an answer depends on; a retry of a conditional write by anybody but
//! the one loop; a key built anywhere but in [`store`]; a token in a log, an error or a metric; a wall clock or a random
//! number that was not handed in.

pub mod access;
pub mod ambient;
pub mod build;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod downloads;
pub mod http;
pub mod krate;
pub mod maintenance;
pub mod metrics;
pub mod registry;
pub mod replicas;
pub mod rules;
pub mod server;
pub mod store;
pub mod telemetry;
