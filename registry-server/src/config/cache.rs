//! `cache.*` and `downloads.*`: what is kept in memory and on a disk, and how crate files reach their users.

use std::path::PathBuf;

use super::sources::Values;

/// Memory and disk for what the store could tell as well. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// For records.
    pub index_bytes: usize,
    /// For crate files; 0 keeps none.
    pub download_bytes: usize,
    /// A disk for crate files.
    pub disk: Option<DiskCache>,
}

/// Crate files on a local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskCache {
    /// Where.
    pub directory: PathBuf,
    /// What they may take in all, in bytes.
    pub bytes: u64,
}

/// How crate files reach their users. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloads {
    /// The largest file that is kept in memory.
    pub cached_file_bytes_max: u64,
    /// Larger files are downloaded from the store itself, if it has a public endpoint.
    pub redirect_above_bytes: u64,
}

pub(super) fn read_cache(values: &mut Values) -> Option<Cache> {
    let index_bytes = values.parse("cache.index_bytes", |text| text.parse::<usize>().ok());
    if index_bytes == Some(0) {
        values.problem(values.place("cache.index_bytes"), "is 0, but has to be at least 1");
    }
    let download_bytes = values.parse("cache.download_bytes", |text| text.parse().ok());
    let disk = read_disk(values);
    Some(Cache { index_bytes: index_bytes?, download_bytes: download_bytes?, disk })
}

/// A cache that is configured and not used would be a surprise: over a directory or memory it would be a copy of the crates beside the crates.
fn read_disk(values: &mut Values) -> Option<DiskCache> {
    let bytes = values.parse("cache.disk_bytes", |text| text.parse::<u64>().ok());
    if bytes == Some(0) {
        values.problem(
            values.place("cache.disk_bytes"),
            "is 0, but has to be at least 1: without cache.directory there is no disk cache",
        );
    }
    let Some(directory) = values.text("cache.directory") else {
        if values.is_given("cache.disk_bytes") {
            values.problem(values.place("cache.disk_bytes"), "needs \"cache.directory\" too");
        }
        return None;
    };
    match values.text("storage.kind") {
        Some(kind) if kind != "s3" => values.problem(
            values.place("cache.directory"),
            format!("has no effect while storage.kind is \"{kind}\": only crates in a bucket are kept on a disk; leave it out"),
        ),
        _ => {}
    }
    Some(DiskCache { directory: directory.into(), bytes: bytes? })
}

pub(super) fn read_downloads(values: &mut Values) -> Option<Downloads> {
    let cached_file_bytes_max = values.parse("downloads.cached_file_bytes_max", |text| text.parse().ok());
    let redirect_above_bytes = values.parse("downloads.redirect_above_bytes", |text| text.parse().ok());
    Some(Downloads { cached_file_bytes_max: cached_file_bytes_max?, redirect_above_bytes: redirect_above_bytes? })
}
