//! The volume form's data. Without an owner: Kubernetes must not delete crates because a CargoRegistry was deleted. A new
//! CargoRegistry of the same name finds it again by its labels.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements};

use super::metadata;
use crate::names::ChildNames;
use crate::registry::validate::{Storage, ValidatedRegistry};

pub(super) fn build(registry: &ValidatedRegistry) -> Option<PersistentVolumeClaim> {
    let Storage::Volume(volume) = &registry.storage else { return None };
    let mut metadata = metadata(registry, &ChildNames::of(&registry.name).data());
    metadata.owner_references = None;
    Some(PersistentVolumeClaim {
        metadata,
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: volume.storage_class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), volume.size.clone())].into()),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
