//! The sparse index file of one crate: one line of JSON per version (Cargo book, "Registry index").
//!
//! Lines are written as crates.io writes them (`crates/crates_io_index/src/data.rs`), field for field and byte for byte:
//! `name, vers, deps, cksum, features, features2?, yanked, links?, rust_version?, pubtime, v?`. Once written, only the
//! value of `yanked` changes; everything else of a line, also fields that this program does not know, stays as it is.

mod entry;
mod file;

pub use entry::{CRATES_IO_INDEX, DependencyKind, IndexArtifact, IndexDependency, IndexEntry, pubtime};
pub use file::{IndexError, IndexFile, IndexLine, etag};
