//! What is measured, by kind.

pub(crate) mod downloads;
pub(crate) mod fetch;
pub(crate) mod index;
pub(crate) mod memory;
pub(crate) mod publish;
pub(crate) mod s3;
pub(crate) mod search;
