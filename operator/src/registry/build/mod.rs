//! [`ValidatedRegistry`] -> [`Resources<Prepared>`]. Pure: the same registry always gives the same objects, byte for byte.

mod config_map;
mod deployment;
mod disruption_budget;
mod maintenance;
mod network_policy;
mod pod;
mod secret;
mod service;
mod service_account;
mod volume_claim;

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::model::{Prepared, Resources};
use super::validate::ValidatedRegistry;
use crate::names;

/// Everything that `registry` consists of in Kubernetes.
pub fn build(registry: &ValidatedRegistry) -> Resources<Prepared> {
    let config_map = config_map::build(registry);
    let internal_secret = secret::build(registry);
    Resources {
        service_account: service_account::build(registry),
        volume_claim: volume_claim::build(registry),
        public_service: service::public(registry),
        internal_service: service::internal(registry),
        network_policy: network_policy::build(registry),
        disruption_budget: disruption_budget::build(registry),
        deployment: deployment::build(registry, &config_map, &internal_secret),
        maintenance_policy: maintenance::network_policy(registry),
        fsck: maintenance::fsck(registry),
        gc: maintenance::gc(registry),
        config_map,
        internal_secret,
        stage: PhantomData,
    }
}

/// Metadata of an owned child.
fn metadata(registry: &ValidatedRegistry, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(registry.namespace.clone()),
        labels: Some(names::labels(&registry.name)),
        owner_references: Some(vec![registry.owner.clone()]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
pub(super) mod tests;
