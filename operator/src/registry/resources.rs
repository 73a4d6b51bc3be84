//! What each replica asks of its node, and what it may take: the spec's, and defaults for what it leaves out. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::model::Problem;
use super::{quantity, spool};
use crate::crd::registry::CargoRegistrySpec;

/// By default: (resource, request, limit). No limit of CPU: throttling would only make publishes slower.
const RESOURCES: [(&str, Option<&str>, Option<&str>); 3] = [
    ("cpu", Some("50m"), None),
    ("memory", Some("64Mi"), Some("256Mi")),
    // Its limit hangs on the size of crates.
    (spool::RESOURCE, Some("128Mi"), None),
];

/// Requests and limits.
pub(super) fn resources(
    spec: &CargoRegistrySpec,
    problems: &mut Vec<Problem>,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let given = spec.resources.clone().unwrap_or_default();
    let (mut requests, mut limits) = (given.requests, given.limits);
    let spool = spool::default_limit(spec.limits.crate_bytes_max).0;
    for (resource, request, limit) in RESOURCES {
        let explicit_limit = limits.get(resource).cloned();
        let limit = if resource == spool::RESOURCE { Some(spool.as_str()) } else { limit };
        if let (Some(limit), false) = (limit, limits.contains_key(resource)) {
            // A request above our default limit lifts it: the user asked for the room.
            let request = requests.get(resource).and_then(|q| quantity::nano(&q.0));
            let lifted = request.filter(|r| quantity::nano(limit).is_some_and(|l| *r > l)).and(requests.get(resource));
            limits.insert(resource.into(), lifted.cloned().unwrap_or_else(|| Quantity(limit.into())));
        }
        if let (Some(request), false) = (request, requests.contains_key(resource)) {
            // As Kubernetes does: a limit below our default request lowers it.
            let limit =
                explicit_limit.filter(|l| quantity::nano(&l.0).is_some_and(|l| Some(l) < quantity::nano(request)));
            requests.insert(resource.into(), limit.unwrap_or_else(|| Quantity(request.into())));
        }
    }
    for (field, map) in [("requests", &requests), ("limits", &limits)] {
        for (resource, amount) in map {
            if quantity::nano(&amount.0).is_none_or(|n| n < 0) {
                let message =
                    format!("resources.{field}.{resource}: {:?} is not a quantity such as 250m or 64Mi", amount.0);
                problems.push(Problem::new("InvalidSpec", message));
            }
        }
    }
    problems.extend(spool::problem(&limits, spec.limits.crate_bytes_max));
    (requests, limits)
}
