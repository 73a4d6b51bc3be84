//! Adds and removes a finalizer. A merge patch that carries the resourceVersion it is based on, so another writer's
//! finalizer is never lost: whoever comes second gets a conflict and tries again with what it then reads.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::{Error, Result};
use crate::names::FieldManager;

/// Whether `object` carries `finalizer`.
pub fn is_present<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.meta().finalizers.iter().flatten().any(|f| f == finalizer)
}

/// Makes sure that `object` carries `finalizer`; sends nothing when it does. Returns the object if it was written.
pub async fn add<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    if is_present(object, finalizer) {
        return Ok(None);
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.push(finalizer.to_owned());
    write(api, object, &finalizers).await.map(Some)
}

/// Makes sure that `object` does not carry `finalizer`; sends nothing when it does not. An object that is gone is fine.
/// Returns the object if it was written.
pub async fn remove<K>(api: &Api<K>, object: &K, finalizer: &str) -> Result<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    if !is_present(object, finalizer) {
        return Ok(None);
    }
    let mut finalizers = object.meta().finalizers.clone().unwrap_or_default();
    finalizers.retain(|f| f != finalizer);
    match write(api, object, &finalizers).await {
        Err(Error::Kube { source, .. }) if matches!(source.as_ref(), kube::Error::Api(s) if s.is_not_found()) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

async fn write<K>(api: &Api<K>, object: &K, finalizers: &[String]) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let what = format!("{} {}/{}", K::kind(&()), object.namespace().unwrap_or_default(), object.name_any());
    let patch = json!({
        "metadata": { "finalizers": finalizers, "resourceVersion": object.resource_version(), "uid": object.uid() }
    });
    let params = PatchParams { field_manager: Some(FieldManager::Finalizer.as_str().into()), ..PatchParams::default() };
    match api.patch(&object.name_any(), &params, &Patch::Merge(&patch)).await {
        Ok(written) => Ok(written),
        Err(kube::Error::Api(status)) if status.is_conflict() => Err(Error::Conflict { object: what }),
        Err(error) => Err(Error::kube(format!("change the finalizers of {what}"), error)),
    }
}
