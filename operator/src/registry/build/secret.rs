//! `NAME-internal`: the admin credential and the certificate of the internal listener.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;

use super::metadata;
use crate::names::{CERTIFICATE_ISSUED, ChildNames};
use crate::registry::validate::ValidatedRegistry;

pub(super) fn build(registry: &ValidatedRegistry) -> Secret {
    let mut metadata = metadata(registry, &ChildNames::of(&registry.name).internal());
    metadata.annotations =
        Some(BTreeMap::from([(CERTIFICATE_ISSUED.to_owned(), registry.internal.issued().to_owned())]));
    Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        data: Some(registry.internal.data().clone()),
        ..Secret::default()
    }
}
