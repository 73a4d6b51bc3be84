//! The pods' identity: without any rights and without a mounted token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata;
use crate::names::ChildNames;
use crate::registry::validate::{Storage, ValidatedRegistry};

pub(super) fn build(registry: &ValidatedRegistry) -> Option<ServiceAccount> {
    given_name(registry).is_none().then(|| ServiceAccount {
        metadata: metadata(registry, ChildNames::of(&registry.name).main()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The ServiceAccount that the spec names, for workload identity.
pub(super) fn given_name(registry: &ValidatedRegistry) -> Option<&str> {
    match &registry.storage {
        Storage::S3(s3) => s3.spec.service_account_name.as_deref(),
        Storage::Volume(_) => None,
    }
}
