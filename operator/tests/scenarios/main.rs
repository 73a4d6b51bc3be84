//! One pass at a time against an API server that is a function: what is sent, what is not, what a user reads afterwards.
//!
//! The real API server's part (schema, defaulting, field ownership) is tested on a real one, elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]

mod bucket_origin;
mod controller;
mod drift;
mod fake_api;
#[path = "../bucket_requests/fake_s3.rs"]
#[allow(dead_code, reason = "the other suite uses more of it")]
mod fake_s3;
mod gauges;
mod registry;
mod soundness;
