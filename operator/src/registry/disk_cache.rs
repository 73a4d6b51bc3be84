//! Crate files on the node's disk: the emptyDir of a replica, what the registry is told of it, and the request and the limit that count it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::model::Problem;
use super::{quantity, spool};

const MIB: i64 = 1 << 20;
/// Less holds no crate of the usual size beside another.
const MIN: i64 = 100 * MIB;

/// What the registry may keep there: an eighth less than the emptyDir has, at whose size the kubelet would evict the pod.
pub fn bytes_max(size: &Quantity) -> Option<i64> {
    bytes(size).map(|bytes| bytes - bytes / 8)
}

/// The requests or the limits of a replica that has this emptyDir beside everything else that they are for. Both grow: a cache is full most of
/// the time, and under disk pressure the kubelet evicts those first who use more than they requested.
pub fn with_room(amounts: &BTreeMap<String, Quantity>, size: &Quantity) -> BTreeMap<String, Quantity> {
    let mut amounts = amounts.clone();
    let sum =
        amounts.get(spool::RESOURCE).and_then(bytes).zip(bytes(size)).map(|(amount, room)| amount.saturating_add(room));
    if let Some(sum) = sum {
        let text = if sum % MIB == 0 { format!("{}Mi", sum / MIB) } else { sum.to_string() };
        amounts.insert(spool::RESOURCE.to_owned(), Quantity(text));
    }
    amounts
}

/// A size that is none, or too small to be of use.
pub fn problem(size: &Quantity) -> Option<Problem> {
    let message = match bytes(size) {
        Some(bytes) if bytes >= MIN => return None,
        Some(_) => format!("cache.diskSize is {}: give at least 100Mi, or leave it out for no cache on a disk", size.0),
        None => format!("cache.diskSize: {:?} is not a quantity such as 20Gi", size.0),
    };
    Some(Problem::new("InvalidSpec", message))
}

fn bytes(quantity: &Quantity) -> Option<i64> {
    i64::try_from(quantity::nano(&quantity.0)? / 1_000_000_000).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity(text.into())
    }

    #[test]
    fn the_room_comes_on_top() {
        let limits = |text: &str| BTreeMap::from([(spool::RESOURCE.to_owned(), quantity(text))]);
        assert_eq!(with_room(&limits("2Gi"), &quantity("8Gi")), limits("10240Mi"));
        assert_eq!(with_room(&BTreeMap::new(), &quantity("8Gi")), BTreeMap::new(), "no limit stays none");
        assert_eq!(bytes_max(&quantity("8Gi")), Some(7 << 30));
    }

    #[test]
    fn a_size_is_a_quantity_and_of_use() {
        for (text, fits) in
            [("100Mi", true), ("20Gi", true), ("99Mi", false), ("0", false), ("-1Gi", false), ("much", false)]
        {
            let problem = problem(&quantity(text));
            assert_eq!(problem.is_none(), fits, "{text}");
            assert!(problem.is_none_or(|problem| problem.message.contains(text)), "{text}");
        }
    }
}
