//! The three places where the two programs meet: the configuration that the operator renders, the admin API that it calls,
//! and the ports, paths and labels of its manifests. Plus what they share without sharing code: the form of a token.

mod admin;
mod config;
mod fixture;
mod manifests;
mod tokens;
