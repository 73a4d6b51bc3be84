//! What happens between the deletion of a CargoRegistry and its end, while it carries our finalizer: the bucket is let go as
//! `bucket.deletionPolicy` says. Needs least: no valid spec, no image, no child. Children go by their owner reference; a
//! volume claim and a bucket that is not empty stay.

use std::time::Duration;

use kube::{Api, Resource, ResourceExt};
use kube_runtime::controller::Action;
use kube_runtime::events::EventType;

use super::model::Observed;
use super::validate::{bucket_spec, bucket_target};
use super::{observe, report};
use crate::bucket::release::{Released, release};
use crate::context::Context;
use crate::crd::conditions::{self, Finding, PROGRESSING, Truth};
use crate::crd::registry::CargoRegistry;
use crate::error::Result;
use crate::{finalizer, names};

/// How soon a store that does not answer is asked again.
const AGAIN: Duration = Duration::from_secs(15);

/// One pass over a registry that is being deleted. Safe to repeat.
pub(super) async fn cleanup(context: &Context, registry: &CargoRegistry) -> Result<Action> {
    if !finalizer::is_present(registry, names::REGISTRY_FINALIZER) {
        return Ok(Action::await_change());
    }
    let namespace = registry.namespace().unwrap_or_default();
    let observed = observe::observe_credentials(&context.client, &namespace, &registry.spec).await?;
    let (reason, note) = match let_go(context, registry, &observed).await {
        Released::Deleted(note) => ("BucketDeleted", note),
        Released::Kept(note) => ("BucketKept", note),
        Released::Later(why) => {
            let now = (context.now)();
            let generation = registry.metadata.generation.unwrap_or_default();
            let mut status = registry.status.clone().unwrap_or_default();
            let waiting = Finding::new(PROGRESSING, Truth::True, "Deleting", why);
            conditions::set(&mut status.conditions, waiting, now, generation);
            report::report(context, registry, &status).await?;
            return Ok(Action::requeue(AGAIN));
        }
    };
    tracing::info!(note, "{reason}");
    context.event(&registry.object_ref(&()), EventType::Normal, reason, "Delete", note).await;
    let api: Api<CargoRegistry> = Api::namespaced(context.client.clone(), &namespace);
    finalizer::remove(&api, registry, names::REGISTRY_FINALIZER).await?;
    Ok(Action::await_change())
}

async fn let_go(context: &Context, registry: &CargoRegistry, observed: &Observed) -> Released {
    let Some(target) = bucket_target(&registry.spec, observed) else {
        // Without its credentials, as when a whole namespace goes, waiting would only hold up the deletion.
        let problem = observed.credentials.problem().or(observed.ca_bundle.problem());
        let why = problem.map_or("there is no bucket", |problem| &problem.message);
        return Released::Kept(format!("{why}. The bucket stays"));
    };
    let now = (context.now)();
    let deleted_at = registry.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
    let recorded = registry.status.as_ref().and_then(|s| s.bucket.as_ref());
    release(bucket_spec(&registry.spec).deletion_policy, recorded, &target, deleted_at, now).await
}
