//! The replicas.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{ConfigMap, PodTemplateSpec, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{metadata, pod};
use crate::names::{self, ChildNames};
use crate::registry::digest::hash;
use crate::registry::validate::{Storage, ValidatedRegistry};

/// Seconds without progress after which a rollout counts as stuck, and the registry as degraded.
const PROGRESS_DEADLINE_SECS: i32 = 180;

pub(super) fn build(registry: &ValidatedRegistry, config_map: &ConfigMap, internal: &Secret) -> Deployment {
    let selector = names::selector(&registry.name);
    Deployment {
        metadata: metadata(registry, ChildNames::of(&registry.name).main()),
        spec: Some(DeploymentSpec {
            replicas: Some(registry.replicas),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECS),
            strategy: Some(strategy(&registry.storage)),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(names::labels(&registry.name)),
                    annotations: Some(hashes(registry, config_map, internal)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::build(registry)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// A bucket takes any number of replicas, so a new one comes before an old one goes; a volume takes one process.
fn strategy(storage: &Storage) -> DeploymentStrategy {
    match storage {
        Storage::Volume(_) => DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None },
        Storage::S3(_) => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(1)),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        },
    }
}

/// What the pods read at their start, so that a change of it replaces them.
fn hashes(registry: &ValidatedRegistry, config_map: &ConfigMap, internal: &Secret) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    let config = config_map.data.iter().flatten().flat_map(|(key, text)| [key.as_bytes(), text.as_bytes()]);
    hashes.insert(names::CONFIG_HASH.to_owned(), hash(config));
    let internal = internal.data.iter().flatten().flat_map(|(key, value)| [key.as_bytes(), value.0.as_slice()]);
    hashes.insert(names::INTERNAL_HASH.to_owned(), hash(internal));
    if let Storage::S3(s3) = &registry.storage {
        let of_references = [(names::S3_CREDENTIALS_HASH, &s3.credentials_hash), (names::S3_CA_HASH, &s3.ca_hash)];
        for (annotation, value) in of_references {
            hashes.extend(value.clone().map(|value| (annotation.to_owned(), value)));
        }
    }
    hashes
}
