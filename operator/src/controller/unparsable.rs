//! An object that the API server stores but this operator cannot read: written under another version of the CRD, or
//! with a value that the schema should have refused.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use kube::discovery::ApiResource;
use kube::{Api, Resource};
use kube_runtime::controller::Action;
use kube_runtime::events::EventType;
use serde_json::json;

use crate::context::Context;
use crate::crd::conditions::{self, Finding, READY, Truth};
use crate::error::{Error, Result};
use crate::names::FieldManager;

/// Sets `Ready=False` with reason `InvalidObject` and what the parser said, unless it is already so; then waits for a change.
pub(super) async fn report<K>(context: &Context, invalid: &InvalidObject) -> Result<Action>
where
    K: Resource<DynamicType = ()>,
{
    let (Some(namespace), Some(name)) = (&invalid.metadata.namespace, &invalid.metadata.name) else {
        return Ok(Action::await_change());
    };
    let what = format!("{} {namespace}/{name}", K::kind(&()));
    let message = format!("this operator cannot read the object: {}", invalid.error);
    tracing::warn!(error = invalid.error, "object cannot be read");

    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), namespace, &ApiResource::erase::<K>(&()));
    let Some(live) = api.get_opt(name).await.map_err(|e| Error::kube(format!("read {what}"), e))? else {
        return Ok(Action::await_change());
    };
    let before: Vec<Condition> = serde_json::from_value(live.data["status"]["conditions"].clone()).unwrap_or_default();
    let mut after = before.clone();
    let generation = live.metadata.generation.unwrap_or_default();
    conditions::set(
        &mut after,
        Finding::new(READY, Truth::False, "InvalidObject", &message),
        (context.now)(),
        generation,
    );
    if after != before {
        let patch = json!({ "status": { "conditions": after, "observedGeneration": generation } });
        let params =
            PatchParams { field_manager: Some(FieldManager::Status.as_str().into()), ..PatchParams::default() };
        api.patch_status(name, &params, &Patch::Merge(&patch))
            .await
            .map_err(|e| Error::kube(format!("write the status of {what}"), e))?;
        let about = live.object_ref(&ApiResource::erase::<K>(&()));
        context.event(&about, EventType::Warning, "InvalidObject", "Reconcile", message).await;
    }
    Ok(Action::await_change())
}
