//! What a crate is: its name, its versions, its lines in the sparse index, its upload and the record that keeps it.
//!
//! Everything here is pure: bytes and values in, values and bytes out. No await, no client, no clock, no thread
//! random number generator; the only I/O is reading from a `Read` that the caller hands in ([`tarball`]).
//!
//! In reading order, which is also the order of dependencies:
//! - [`name`], [`version`], [`cksum`], [`owner`]: parse once, then trust the type;
//! - [`index`]: the sparse index file of one crate, byte for byte;
//! - [`publish_body`], [`metadata`]: what `cargo publish` sends;
//! - [`tarball`], [`platform`], [`manifest`]: the packed crate, opened under limits, and the `Cargo.toml` in it;
//! - [`release`]: upload and manifest agree, so this version may enter the index;
//! - [`record`]: the object in the bucket that holds all there is to know about one crate.
//!
//! Invariants kept here: one name per canonical name; one checksum per version for ever; versions are unique without
//! their build metadata; an index line never changes but for its `yanked` flag; `rev` grows by one per change.

pub mod cksum;
pub mod index;
pub mod manifest;
pub mod metadata;
pub mod name;
pub mod owner;
#[cfg(feature = "test-support")]
pub mod packed;
pub mod platform;
pub mod publish_body;
pub mod record;
pub mod release;
pub mod tarball;
mod text;
pub mod version;

pub use cksum::Cksum;
pub use index::{IndexEntry, IndexFile};
pub use name::{Canonical, CrateName};
pub use owner::Owner;
pub use record::Record;
pub use release::Release;
pub use version::Version;
