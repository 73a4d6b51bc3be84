//! What the tests of both programs together stand on: a real Cargo with a home of its own, scratch
//! workspaces, a namespace per test on a real cluster, buckets on a real S3 server.
//!
//! This is the only crate that sees both programs. Its targets, from the weakest rung to the strongest:
//!
//! | target | needs | run by |
//! |---|---|---|
//! | `tidy` | the sources | `cargo test` |
//! | `contract` | both libraries in one process | `cargo test` |
//! | `conformance` | the installed `cargo` against a registry in this process | `cargo test` |
//! | `s3` | real S3 servers on loopback | `cargo dev test s3` |
//! | `cluster` | the cluster of `cargo dev up`, the operator installed by its chart | `cargo dev test cluster` |
//!
//! `bench/` is no test: `cargo dev bench` runs it.
//!
//! In reading order:
//! - [`cargo`]: run Cargo as a developer would, and keep what it said;
//! - [`scratch`]: packages and workspaces written to a temporary directory;
//! - [`local`]: a registry in this process;
//! - [`conformance`]: what every Cargo must be able to do with a registry, wherever that runs;
//! - [`kube`]: a namespace of one's own, waiting by watch, and what to print when a test fails;
//! - [`s3`]: buckets, and the S3 servers inside the cluster; [`s3_host`]: S3 servers on loopback;
//! - [`fault_proxy`]: what a network does between them and a registry;
//! - [`registry`]: `CargoRegistry` and `CargoToken` objects and how the host reaches what they make;
//! - [`operator`]: the operator of the suite, and Helm;
//! - [`volume`]: a volume for a claim;
//! - [`http`]: plain requests;
//! - [`node`]: processes of pods, to be killed by tests.
//!
//! Invariants: no test sleeps to synchronise; every wait has a deadline and says what it last saw;
//! every namespace and process a test made is gone when it ends, unless `SUPERCARGO_TEST_KEEP` is set.

#![allow(clippy::print_stderr, reason = "a failing test tells what it saw")]

pub mod cargo;
pub mod conformance;
pub mod fault_proxy;
pub mod http;
pub mod kube;
pub mod local;
pub mod node;
pub mod operator;
pub mod registry;
pub mod s3;
pub mod s3_host;
pub mod scratch;
pub mod volume;
