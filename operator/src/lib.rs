//! The Supercargo operator: turns a `CargoRegistry` into Kubernetes objects and a configured bucket, and a
//! `CargoToken` into a Secret that Cargo can use.
//!
//! # Map, in reading order
//! | module | does | touches the world |
//! |---|---|---|
//! | [`crd`] | the custom resources: what a user may write, what we answer, conditions and their reasons | no |
//! | [`names`] | names, labels, annotations, field managers, finalizers | no |
//! | [`config`] | what the operator itself is told: flags and environment | no |
//! | [`context`] | what every reconcile is given: client, clock, randomness, recorder | holds the client |
//! | [`error`] | the one error of a reconcile, its retry class and metric label | no |
//! | [`backoff`] | failures in a row -> delay | no |
//! | [`controller`] | drives one reconcile function: watches, deadline, panics, backoff, drain | yes |
//! | [`finalizer`] | adds and removes a finalizer, safely against other writers | yes |
//! | [`registry`] | `CargoRegistry`: observe, validate, build, apply, report | some of it |
//! | [`bucket`] | a registry's bucket: read an aspect, compare, write it | yes |
//! | [`admin_api`] | client of a registry's internal listener | yes |
//! | [`token`] | `CargoToken`: mint, write the Secret, rotate, revoke | yes |
//! | [`runtime`] | starts the controllers and the HTTP server, stops them in order | yes |
//! | [`rights`] | every right in the cluster that we need, with its reason | no |
//! | [`check`] | is an installation complete? | yes |
//! | [`http`], [`health`] | `/livez`, `/readyz`, `/metrics` | yes |
//! | [`metrics`], [`telemetry`] | what is counted and logged | yes |
//!
//! # Invariants
//! - A pass over an object that has not changed sends no write to the API server.
//! - Status speaks only of what was applied: it is computed from `Resources<Applied>`.
//! - An object that carries one of our names but is not controlled by our `CargoRegistry` is never written or deleted.
//! - The value of a Secret is in no log line, event, condition, metric or error.
//! - Secrets are read by name; the operator holds no `list` or `watch` on them.
//!
//! # What must never be here
//! Business of Cargo's protocol (that is the registry's), state of our own (desired state is in Kubernetes), a write
//! that is not server-side apply (except finalizers, status, and taking out what others added), a wall clock or thread randomness outside `main`.

pub mod admin_api;
pub mod backoff;
pub mod bucket;
pub mod check;
pub mod config;
pub mod context;
pub mod controller;
pub mod crd;
pub mod error;
pub mod finalizer;
pub mod health;
pub mod http;
pub mod metrics;
pub mod names;
pub mod registry;
pub mod rights;
pub mod runtime;
pub mod telemetry;
pub mod token;
