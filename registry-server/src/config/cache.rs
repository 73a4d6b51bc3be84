//! `cache.*` and `downloads.*`: what is kept in memory, and how crate files reach their users.

use super::sources::Values;

/// Memory for what the store could tell as well. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// For records.
    pub index_bytes: usize,
    /// For crate files; 0 keeps none.
    pub download_bytes: usize,
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
    Some(Cache { index_bytes: index_bytes?, download_bytes: download_bytes? })
}

pub(super) fn read_downloads(values: &mut Values) -> Option<Downloads> {
    let cached_file_bytes_max = values.parse("downloads.cached_file_bytes_max", |text| text.parse().ok());
    let redirect_above_bytes = values.parse("downloads.redirect_above_bytes", |text| text.parse().ok());
    Some(Downloads { cached_file_bytes_max: cached_file_bytes_max?, redirect_above_bytes: redirect_above_bytes? })
}
