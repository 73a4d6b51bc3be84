//! The only place that writes status, and the events that go with it. Events are best effort.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use kube_runtime::events::EventType;
use serde_json::json;

use crate::context::Context;
use crate::crd::conditions::{self, DEGRADED, READY};
use crate::crd::registry::{CargoRegistry, CargoRegistryStatus};
use crate::error::{Error, Result};
use crate::metrics;
use crate::names::FieldManager;

/// Writes `status` if it differs from what `registry` holds, and tells by event what turned good or bad. Returns the object as it
/// is then, on which the next write of the same pass has to be based.
///
/// # Errors
/// [`Error::Conflict`] if someone else wrote the object after it was read, which a pass over a cache that lags meets as well: status is
/// also memory (who made the bucket), and an older one must never replace a newer one. An object that is gone meanwhile is fine.
pub async fn report(
    context: &Context,
    registry: &CargoRegistry,
    status: &CargoRegistryStatus,
) -> Result<CargoRegistry> {
    if registry.status.as_ref() == Some(status) {
        return Ok(registry.clone());
    }
    let (namespace, name) = (registry.namespace().unwrap_or_default(), registry.name_any());
    let api: Api<CargoRegistry> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({
        "apiVersion": CargoRegistry::api_version(&()),
        "kind": CargoRegistry::kind(&()),
        // The UID: a status must never land on a new object of the same name.
        "metadata": { "name": name, "uid": registry.uid(), "resourceVersion": registry.resource_version() },
        "status": status,
    });
    let params = PatchParams::apply(FieldManager::Status.as_str()).force();
    metrics::write_sent(super::NAME, "CargoRegistry/status");
    let written = match api.patch_status(&name, &params, &Patch::Apply(&patch)).await {
        Ok(written) => written,
        Err(kube::Error::Api(answer)) if answer.is_not_found() => return Ok(registry.clone()),
        Err(kube::Error::Api(answer)) if answer.is_conflict() => {
            return Err(Error::Conflict { object: format!("CargoRegistry {namespace}/{name}") });
        }
        Err(error) => return Err(Error::kube(format!("write the status of CargoRegistry {namespace}/{name}"), error)),
    };
    transitions(context, registry, status).await;
    Ok(written)
}

/// One event for each of the conditions that people act on, when its status or reason moved.
async fn transitions(context: &Context, registry: &CargoRegistry, status: &CargoRegistryStatus) {
    let empty = Vec::new();
    let before = registry.status.as_ref().map_or(&empty, |s| &s.conditions);
    let mut told = None;
    for (type_, good) in [(READY, "True"), (DEGRADED, "False")] {
        let Some(now) = conditions::get(&status.conditions, type_) else { continue };
        let then = conditions::get(before, type_);
        let moved = then.is_none_or(|then| (&then.status, &then.reason) != (&now.status, &now.reason));
        // That nothing is known yet is no news, nor that what was never degraded is not.
        let was_bad = then.is_some_and(|then| then.status != good && then.status != "Unknown");
        let no_news = now.status == "Unknown" || (type_ == DEGRADED && now.status == good && !was_bad);
        if moved && !no_news && told != Some(&now.message) {
            let kind = if now.status == good { EventType::Normal } else { EventType::Warning };
            context.event(&registry.object_ref(&()), kind, &now.reason, "Reconcile", now.message.clone()).await;
            told = Some(&now.message);
        }
    }
}

/// Tells what was changed in the cluster or in the bucket.
pub async fn changed(context: &Context, registry: &CargoRegistry, reason: &str, changes: &[String]) {
    if changes.is_empty() {
        return;
    }
    let note = changes.join(", ");
    tracing::info!(changes = note, "{reason}");
    context.event(&registry.object_ref(&()), EventType::Normal, reason, "Reconcile", note).await;
}

/// The status of an object whose pass failed: as it was, with the failure in `Degraded`, and in `Ready` if that was not good.
pub fn failed(registry: &CargoRegistry, error: &Error, now: Timestamp) -> CargoRegistryStatus {
    use conditions::{Finding, Truth};
    let generation = registry.metadata.generation.unwrap_or_default();
    let mut status = registry.status.clone().unwrap_or_default();
    let message = format!("the last pass failed and is tried again: {error}");
    if !conditions::is_true(&status.conditions, READY) {
        conditions::set(
            &mut status.conditions,
            Finding::new(READY, Truth::False, error.reason(), &message),
            now,
            generation,
        );
    }
    conditions::set(
        &mut status.conditions,
        Finding::new(DEGRADED, Truth::True, error.reason(), message),
        now,
        generation,
    );
    status.observed_generation = Some(generation);
    status
}
