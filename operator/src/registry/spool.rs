//! How much room uploads have while they are checked: the emptyDir of the pod, and what the registry is told of it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::model::Problem;
use super::quantity;

/// The resource whose limit bounds the emptyDir.
pub const RESOURCE: &str = "ephemeral-storage";
const MIB: i64 = 1 << 20;
/// The limit while crates are not larger than an eighth of it.
const DEFAULT_MIB: i64 = 2048;
/// What the registry takes if `limits.crateBytesMax` is left out.
const CRATE_BYTES_DEFAULT: i64 = 10 * MIB;
/// Crates of the largest size that may be on their way at once.
const CRATES_AT_ONCE: i64 = 8;
/// Beside uploads: logs, which count against the same limit.
const MARGIN: i64 = 128 * MIB;

/// The limit of [`RESOURCE`] if the spec names none: room for some of the largest crates at once.
pub fn default_limit(crate_bytes_max: Option<i64>) -> Quantity {
    let needed = crate_bytes_max.unwrap_or_default().saturating_mul(CRATES_AT_ONCE) / MIB;
    if needed <= DEFAULT_MIB { Quantity("2Gi".into()) } else { Quantity(format!("{needed}Mi")) }
}

/// What the registry may spool at most: less than the limit, at which the kubelet would evict the pod.
pub fn bytes_max(limits: &BTreeMap<String, Quantity>) -> Option<i64> {
    let limit = i64::try_from(quantity::nano(&limits.get(RESOURCE)?.0)? / 1_000_000_000).ok()?;
    Some(limit - MARGIN.min(limit / 4))
}

/// A limit that holds not even one crate of the largest size: the registry would refuse to start.
pub fn problem(limits: &BTreeMap<String, Quantity>, crate_bytes_max: Option<i64>) -> Option<Problem> {
    let (room, one) = (bytes_max(limits)?, crate_bytes_max.unwrap_or(CRATE_BYTES_DEFAULT));
    (room < one).then(|| {
        let given = limits.get(RESOURCE).map_or("", |limit| limit.0.as_str());
        let message = format!(
            "resources.limits.{RESOURCE} is {given}, which leaves {room} bytes for uploads, and limits.crateBytesMax is {one}. \
             Raise the first (or leave it out) or lower the second"
        );
        Problem::new("InvalidSpec", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> BTreeMap<String, Quantity> {
        BTreeMap::from([(RESOURCE.to_owned(), Quantity(text.into()))])
    }

    #[test]
    fn the_default_holds_several_of_the_largest_crates() {
        for (crate_mib, expected) in [(None, "2Gi"), (Some(10), "2Gi"), (Some(256), "2Gi"), (Some(512), "4096Mi")] {
            assert_eq!(default_limit(crate_mib.map(|n| n * MIB)).0, expected, "{crate_mib:?}");
        }
    }

    #[test]
    fn the_registry_stays_below_the_limit() {
        assert_eq!(bytes_max(&limits("2Gi")), Some(1920 * MIB));
        assert_eq!(bytes_max(&limits("100Mi")), Some(75 * MIB));
    }

    #[test]
    fn a_limit_below_one_crate_is_told() {
        assert_eq!(problem(&limits("2Gi"), Some(512 * MIB)), None);
        assert!(problem(&limits("8Mi"), None).is_some() && problem(&limits("16Mi"), None).is_none());
        let told = problem(&limits("512Mi"), Some(512 * MIB)).expect("a problem").message;
        assert!(told.contains("512Mi") && told.contains("crateBytesMax"), "{told}");
    }
}
