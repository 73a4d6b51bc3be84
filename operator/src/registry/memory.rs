//! What a registry may keep in memory: shares of the limit of its pod, at which the kernel would kill it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::quantity;

/// The resource whose limit is shared out.
const RESOURCE: &str = "memory";
/// Eighths of the limit: for records, and for crate files. The rest is for connections, uploads under way and the program itself.
const RECORDS: i64 = 3;
const FILES: i64 = 1;

/// Bytes of memory by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// For records of crates and tokens.
    pub index_bytes: i64,
    /// For crate files.
    pub download_bytes: i64,
}

/// The shares of a limit. `None`: there is no limit, and the registry's own defaults hold.
pub fn shares(limits: &BTreeMap<String, Quantity>) -> Option<Shares> {
    let limit = i64::try_from(quantity::nano(&limits.get(RESOURCE)?.0)? / 1_000_000_000).ok()?;
    let eighth = limit / 8;
    // A registry with no memory for records would not start.
    Some(Shares { index_bytes: (eighth * RECORDS).max(1), download_bytes: eighth * FILES })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_limit_is_left_to_everything_else() {
        let of = |text: &str| shares(&BTreeMap::from([(RESOURCE.to_owned(), Quantity(text.into()))]));
        let mib = |index: i64, downloads: i64| Shares { index_bytes: index << 20, download_bytes: downloads << 20 };
        assert_eq!(of("256Mi"), Some(mib(96, 32)));
        assert_eq!(of("2Gi"), Some(mib(768, 256)));
        assert_eq!(of("1"), Some(Shares { index_bytes: 1, download_bytes: 0 }));
        assert_eq!(shares(&BTreeMap::new()), None);
    }
}
