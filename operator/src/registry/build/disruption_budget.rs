//! How many replicas a node drain may take at once: one. A single replica has no budget, which would only block the drain.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::names::{ChildNames, selector};
use crate::registry::validate::ValidatedRegistry;

pub(super) fn build(registry: &ValidatedRegistry) -> Option<PodDisruptionBudget> {
    (registry.replicas > 1).then(|| PodDisruptionBudget {
        metadata: metadata(registry, ChildNames::of(&registry.name).main()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector { match_labels: Some(selector(&registry.name)), ..LabelSelector::default() }),
            // A replica that is broken must not keep its node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
