//! The tool box of Supercargo: what `cargo dev …` runs, and what end-to-end tests use to get a cluster.
//!
//! In reading order:
//! - [`cli`]: the commands; how one is added;
//! - [`cluster`]: a real Kubernetes cluster in namespaces of this machine: `up`, `down`, what remains;
//! - [`images`]: the product's images, from Containerfiles, with a tag per content;
//! - [`tools`]: Kubernetes, Helm, S3 servers and linters, built once at pinned versions;
//! - [`host`]: what has to be installed;
//! - `demo`: the whole product shown from nothing; `test`, `check`, `crds`: what has to hold, and what is generated;
//! - [`process`], [`progress`], [`paths`], `lock`: running programs, telling people, places, one at a time.
//!
//! Order: `paths, progress, process, lock -> host -> tools -> images -> cluster -> crds, demo, check -> test -> cli`; a file uses
//! only what stands left of it.
//!
//! Invariants: results go to standard output and everything else to standard error; what takes longer than two seconds is
//! seen; what was built once under a hash is never built again. This crate knows clusters and images, never the insides of
//! registries or of the operator.

mod check;
pub mod cli;
pub mod cluster;
mod crds;
mod demo;
pub mod host;
pub mod images;
mod lock;
pub mod paths;
pub mod process;
pub mod progress;
mod test;
pub mod tools;
