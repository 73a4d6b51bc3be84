//! `CargoRegistry`: observe -> validate -> build -> apply -> report.
//!
//! # Flow of a pass
//! 1. Being deleted: [`cleanup`], and nothing else.
//! 2. The finalizer is there exactly while `bucket.deletionPolicy` is `Delete`.
//! 3. First visit: conditions are written as `Unknown`, so that a user sees at once that somebody looks.
//! 4. [`observe`] reads what the spec points at and what bears our names; [`internal`] keeps or renews credential and certificate.
//! 5. [`validate`] gives a [`validate::ValidatedRegistry`] or problems for a person. With a problem nothing is written, neither
//!    in Kubernetes nor in the bucket.
//! 6. [`build`] makes the children, [`apply`] sends what differs; at the same time the bucket is looked at. Until status says who made
//!    the bucket, it comes first and the children wait.
//! 7. A replica is asked for its verdict on the store, the kubelet's complaints are read if replicas are missing, and the Jobs of the store's
//!    check if the last one did not succeed. Where the right to list these is missing, that is told, and the pass goes on.
//! 8. [`status`] computes, [`report`] writes if anything moved. The next pass comes by watch, or after the poll interval.
//!
//! # Guarantees
//! - Client-free: `model, validate, internal, build, diff, soundness, status`. A client have only `observe, apply, report, cleanup` and this file.
//! - `paused` and problems stop writes, not reports.
//! - Status is only written on the version of the object that it was computed from. A pass over a cache that lags is given up as a conflict.
//!
//! # Caveats
//! Secrets and ConfigMaps that the spec points at are read by name at every pass and not watched: a watch needs the right
//! to list all of them. So their changes are noticed within the poll interval.

pub mod apply;
pub mod base_url;
pub mod build;
pub mod cleanup;
pub mod diff;
pub mod digest;
pub mod disk_cache;
#[cfg(test)]
mod fixtures;
pub mod internal;
pub mod memory;
pub mod model;
pub mod observe;
pub mod quantity;
pub mod report;
mod resources;
pub mod soundness;
pub mod spool;
pub mod status;
pub mod validate;
pub mod watches;

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use kube::{Api, Resource, ResourceExt};
use kube_runtime::controller::Action;
use secrecy::SecretString;

use crate::admin_api::{AdminApi, Readiness};
use crate::bucket::{self, Buckets};
use crate::context::Context;
use crate::controller::{self, Reconcile};
use crate::crd::bucket::{BucketOrigin, BucketSpec, BucketStatus, CreationPolicy, DeletionPolicy, Management};
use crate::crd::conditions::{self, DEGRADED, Finding, PROGRESSING, READY, Truth};
use crate::crd::registry::{CargoRegistry, CargoRegistryStatus};
use crate::error::{Error, Result};
use crate::{finalizer, metrics, names};
use internal::Internal;
use model::{Listed, Live, Observed, PodTrouble, Verdict};
use status::{Pass, Progress};

/// Name of the controller in logs, metrics and `/readyz`.
pub const NAME: &str = "cargoregistries";

/// The CargoRegistry controller: what it keeps between passes.
pub struct Registries {
    internal_url: Box<dyn Fn(&str, &str) -> String + Send + Sync>,
    buckets: Buckets,
    known: Mutex<HashMap<(String, String), Known>>,
}

struct Known {
    uid: String,
    ready: bool,
}

impl Default for Registries {
    fn default() -> Self {
        Registries::reaching(|namespace, registry| names::internal_url(registry, namespace))
    }
}

/// Runs the controller over one namespace (`None`: the cluster) until `stop` resolves.
pub async fn run(context: Arc<Context>, namespace: Option<String>, stop: impl Future<Output = ()> + Send + 'static) {
    let registries = Arc::new(Registries::default());
    let triggers = {
        let (context, namespace) = (Arc::clone(&context), namespace.clone());
        move |_: &controller::Objects<CargoRegistry>| watches::children(&context, namespace.as_deref())
    };
    controller::run(registries, context, namespace.as_deref(), triggers, stop).await;
}

impl Reconcile for Registries {
    type Object = CargoRegistry;
    const NAME: &'static str = NAME;

    async fn reconcile(&self, registry: Arc<CargoRegistry>, context: Arc<Context>) -> Result<Action> {
        if registry.meta().deletion_timestamp.is_some() {
            return cleanup::cleanup(&context, &registry).await;
        }
        // Every write of a pass to the object itself is based on the one before, and the first on what we were given.
        let mut registry = match keep_finalizer(&context, &registry).await? {
            Some(written) => written,
            None => Arc::unwrap_or_clone(registry),
        };
        if registry.status.as_ref().is_none_or(|status| status.conditions.is_empty()) {
            registry = report::report(&context, &registry, &first_visit(&registry, &context)).await?;
        }
        self.pass(registry, &context).boxed().await
    }

    async fn failed(&self, registry: Arc<CargoRegistry>, error: &Error, context: Arc<Context>) {
        let api: Api<CargoRegistry> =
            Api::namespaced(context.client.clone(), &registry.namespace().unwrap_or_default());
        // The pass may have written status itself, so take the object as it is now.
        let Ok(Some(live)) = api.get_opt(&registry.name_any()).await else { return };
        if live.uid() != registry.uid() {
            return;
        }
        let status = report::failed(&live, error, (context.now)());
        if let Err(error) = report::report(&context, &live, &status).await {
            tracing::warn!(%error, "status not written");
        }
    }

    fn gone(&self, namespace: &str, name: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.remove(&(namespace.to_owned(), name.to_owned())) {
            self.buckets.forget(&known.uid);
            metrics::registry_changed(Some(known.ready), None);
        }
    }
}

impl Registries {
    /// A controller that finds a registry's internal listener by `internal_url(namespace, name)`.
    pub fn reaching(internal_url: impl Fn(&str, &str) -> String + Send + Sync + 'static) -> Registries {
        Registries {
            internal_url: Box::new(internal_url),
            buckets: Buckets::default(),
            known: Mutex::new(HashMap::new()),
        }
    }

    async fn pass(&self, registry: CargoRegistry, context: &Context) -> Result<Action> {
        let (namespace, name) = (registry.namespace().unwrap_or_default(), registry.name_any());
        let uid = registry.uid().unwrap_or_default();
        let observed = observe::observe(&context.client, &namespace, &name, &registry.spec).boxed().await?;
        let own_secret = observed.live.internal_secret.as_ref().filter(|s| names::is_controlled_by(&s.metadata, &uid));
        let internal = internal::material(&name, &namespace, own_secret, (context.now)(), context.fill_random)?;

        let validated = validate::validate(&registry, &observed, &context.config, internal.clone());
        let may_write = validated.is_ok() && !registry.spec.paused;
        let settled = origin_is_settled(&registry);
        let bucket = self.bucket(registry, &observed, may_write, context).boxed();
        let children = async {
            match &validated {
                Ok(valid) if may_write => {
                    apply::apply(&context.client, build::build(valid), observed.live.clone()).boxed().await.map(Some)
                }
                _ => Ok(None),
            }
        };
        // Replicas write into a bucket as soon as it is there, so they have to wait until its maker is on record: after a crash in
        // between, a bucket with objects in it would be taken for somebody else's.
        let (bucket, applied) = if settled {
            futures::join!(bucket, children.boxed())
        } else {
            (Ok(bucket.await?), children.boxed().await)
        };
        let ((registry, bucket), applied) = (bucket?, applied?);
        let registry = &registry;
        let (resources, changes) =
            applied.map_or((None, Vec::new()), |(resources, changes)| (Some(resources), changes));
        report::changed(context, registry, "Applied", &changes).await;

        let progress = match (&resources, &validated) {
            (Some(resources), _) => Progress::Applied(resources),
            (None, Err(problems)) => Progress::Refused(problems, &observed.live),
            (None, Ok(_)) => Progress::Paused(&observed.live),
        };
        let (verdict, troubles) = self.ask_pods(registry, &progress, &observed.live, &internal, context).await?;
        let fsck = observed.live.fsck.as_deref().filter(|check| names::is_controlled_by(&check.metadata, &uid));
        let jobs = match fsck.filter(|check| soundness::is_open(check)) {
            Some(_) => observe::maintenance_jobs(&context.client, &namespace, &name).boxed().await?,
            None => Listed::default(),
        };
        let pass = Pass {
            registry,
            config: &context.config,
            progress,
            bucket: bucket.as_ref(),
            verdict: verdict.as_ref(),
            troubles: &troubles,
            fsck,
            jobs: &jobs,
        };
        let status = status::status_of(&pass, (context.now)());
        self.remember(&namespace, &name, uid, conditions::is_true(&status.conditions, READY));
        report::report(context, registry, &status).await?;
        Ok(Action::requeue(next_look(context, bucket.as_ref())))
    }

    /// The bucket, looked at and brought to the spec; only looked at if nothing may be written. `None` without a bucket to look at.
    /// What becomes known of its origin is written into status at once; the object as it is then is returned too.
    async fn bucket(
        &self,
        mut registry: CargoRegistry,
        observed: &Observed,
        may_write: bool,
        context: &Context,
    ) -> Result<(CargoRegistry, Option<bucket::Outcome>)> {
        let Some(target) = validate::bucket_target(&registry.spec, observed) else { return Ok((registry, None)) };
        let spec = validate::bucket_spec(&registry.spec);
        let spec = if may_write { spec } else { looking_only(spec) };
        let uid = registry.uid().unwrap_or_default();
        let begun = tokio::time::Instant::now();
        loop {
            let recorded = registry.status.as_ref().and_then(|status| status.bucket.as_ref());
            let request = bucket::Request { uid: &uid, spec: &spec, target: &target, recorded };
            let left = context.config.bucket_budget().saturating_sub(begun.elapsed());
            let outcome = self.buckets.reconcile_within(left, request, (context.now)()).await;
            // Before anything else, events too: that it is about to be made, and that it was made, must not be lost.
            let news = outcome.status.as_ref().filter(|status| recorded != Some(*status));
            let written = match news {
                Some(status) => Some(record_bucket(context, &registry, status).await?),
                None => None,
            };
            report::changed(context, &registry, "BucketChanged", &outcome.changes).await;
            match written {
                Some(written) if outcome.next_check.is_zero() => registry = written,
                written => return Ok((written.unwrap_or(registry), Some(outcome))),
            }
        }
    }

    /// What a replica says of its store, and why replicas are missing.
    async fn ask_pods(
        &self,
        registry: &CargoRegistry,
        progress: &Progress<'_>,
        live: &Live,
        internal: &Internal,
        context: &Context,
    ) -> Result<(Option<Verdict>, Listed<PodTrouble>)> {
        let deployment = match progress {
            Progress::Applied(resources) => Some(&resources.deployment),
            Progress::Refused(_, live) | Progress::Paused(live) => live.deployment.as_ref(),
        };
        let uid = registry.uid().unwrap_or_default();
        let Some(deployment) = deployment.filter(|d| names::is_controlled_by(&d.metadata, &uid)) else {
            return Ok((None, Listed::default()));
        };
        let status = deployment.status.clone().unwrap_or_default();
        if status.replicas.unwrap_or_default() == 0 {
            return Ok((None, Listed::default()));
        }
        let (namespace, name) = (registry.namespace().unwrap_or_default(), registry.name_any());
        let troubles = async {
            let missing = status.available_replicas.unwrap_or_default() < validate::replicas(&registry.spec);
            if missing {
                observe::pod_troubles(&context.client, &namespace, &name).await
            } else {
                Ok(Listed::default())
            }
        };
        // The Secret that pods have read is the live one, if it is there; a new one trusts the old certificate too.
        let secret = live.internal_secret.as_ref().and_then(|s| s.data.as_ref()).unwrap_or(internal.data());
        let credential = secret.get(internal::ADMIN_TOKEN).map(|b| String::from_utf8_lossy(&b.0).into_owned());
        let url = (self.internal_url)(&namespace, &name);
        let verdict = verdict(url, internal, SecretString::from(credential.unwrap_or_default()));
        let (verdict, troubles) = futures::join!(verdict.boxed(), troubles.boxed());
        Ok((Some(verdict), troubles?))
    }

    fn remember(&self, namespace: &str, name: &str, uid: String, ready: bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert((namespace.to_owned(), name.to_owned()), Known { uid, ready });
        metrics::registry_changed(before.map(|known| known.ready), Some(ready));
    }
}

/// The time to the next pass if no watch asks for one: the poll interval, spread a little, or the bucket's wish if that is sooner.
fn next_look(context: &Context, bucket: Option<&bucket::Outcome>) -> Duration {
    let poll = context.config.poll_interval().mul_f64(0.9 + 0.2 * context.jitter());
    bucket.map_or(poll, |outcome| poll.min(outcome.next_check.max(Duration::from_secs(1))))
}

async fn verdict(url: String, internal: &Internal, credential: SecretString) -> Verdict {
    let answer = match AdminApi::new(url, internal.trusted(), credential) {
        Ok(api) => api.readyz().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(readiness) => verdict_of(&readiness),
        Err(error) => Verdict::Silent(error.to_string()),
    }
}

fn verdict_of(readiness: &Readiness) -> Verdict {
    let Some(store) = &readiness.store else {
        return if readiness.ready { Verdict::Proven } else { Verdict::Proving };
    };
    let why = || [store.step.as_deref(), store.message.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    match store.verdict.as_str() {
        "Proven" => Verdict::Proven,
        "Proving" => Verdict::Proving,
        "Refused" => Verdict::Refused(why()),
        "Unreachable" => Verdict::Unreachable(why()),
        other => Verdict::Silent(format!("a replica said {other:?}, which this operator does not know")),
    }
}

/// The bucket's spec with which nothing is ever written.
fn looking_only(mut spec: BucketSpec) -> BucketSpec {
    spec.creation_policy = CreationPolicy::Adopt;
    for management in [
        &mut spec.versioning.management,
        &mut spec.encryption.management,
        &mut spec.public_access_block.management,
        &mut spec.lifecycle.management,
        &mut spec.tags.management,
    ] {
        if *management == Management::Enforce {
            *management = Management::Observe;
        }
    }
    spec
}

/// Whether status says who made the bucket that the spec names, or there is none to make.
fn origin_is_settled(registry: &CargoRegistry) -> bool {
    let recorded = registry.status.as_ref().and_then(|status| status.bucket.as_ref());
    registry.spec.storage.s3.as_ref().is_none_or(|s3| {
        recorded.is_some_and(|recorded| recorded.name == s3.bucket && recorded.origin != BucketOrigin::Creating)
    })
}

async fn record_bucket(context: &Context, registry: &CargoRegistry, bucket: &BucketStatus) -> Result<CargoRegistry> {
    let visited = first_visit(registry, context);
    let status = registry.status.clone().filter(|s| !s.conditions.is_empty()).unwrap_or(visited);
    report::report(context, registry, &CargoRegistryStatus { bucket: Some(bucket.clone()), ..status }).await
}

/// The finalizer is there exactly while there is something for it to do: a bucket that may have to be deleted.
/// Returns the object if it was written.
async fn keep_finalizer(context: &Context, registry: &CargoRegistry) -> Result<Option<CargoRegistry>> {
    let wanted = registry.spec.storage.s3.is_some()
        && validate::bucket_spec(&registry.spec).deletion_policy == DeletionPolicy::Delete;
    let namespace = registry.namespace().unwrap_or_default();
    let api: Api<CargoRegistry> = Api::namespaced(context.client.clone(), &namespace);
    if wanted {
        finalizer::add(&api, registry, names::REGISTRY_FINALIZER).await
    } else {
        finalizer::remove(&api, registry, names::REGISTRY_FINALIZER).await
    }
}

/// Conditions before anything is known.
fn first_visit(registry: &CargoRegistry, context: &Context) -> CargoRegistryStatus {
    let generation = registry.metadata.generation.unwrap_or_default();
    let mut status = registry.status.clone().unwrap_or_default();
    for type_ in [READY, PROGRESSING, DEGRADED] {
        let finding =
            Finding::new(type_, Truth::Unknown, "Reconciling", "the operator has begun to look at this object");
        conditions::set(&mut status.conditions, finding, (context.now)(), generation);
    }
    status.observed_generation = Some(generation);
    status
}
