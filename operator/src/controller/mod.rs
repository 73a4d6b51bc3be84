//! Drives one reconcile function: what every controller of this program has in common.
//!
//! # Flow
//! 1. The main watch fills a store and asks for a pass over each object that it lists or sees change; further
//!    [`Trigger`]s ask for passes when something else changed ([`watch`]).
//! 2. A pass runs with a deadline and a caught panic, never twice at once for the same object, at most
//!    `concurrency` at once.
//! 3. A failed pass is told to the user by [`Reconcile::failed`], counted, and tried again after the object's own
//!    delay; a pass that reaches its end resets that delay.
//! 4. When `stop` resolves no new pass begins; passes under way are awaited. The caller bounds that wait.
//!
//! # Guarantees
//! - A watch that fails delays itself alone: each has its own backoff, and its errors end here (kube's `Controller`
//!   shares one backoff between all of them).
//! - An object that does not parse harms nobody else; its user is told by condition and event.
//! - Every end of a pass is counted, whatever it was.
//!
//! # Caveats
//! A pass is cancelled at its next `.await` when the deadline strikes, so every step must be safe to cut short.

mod unparsable;
pub mod watch;

use std::any::Any;
use std::convert::Infallible;
use std::fmt::Debug;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use kube::core::DeserializeGuard;
use kube::{Api, Resource, ResourceExt};
use kube_runtime::controller::{self as kube_controller, Action, ReconcileRequest};
use kube_runtime::reflector::{self, ObjectRef, Store};
use kube_runtime::watcher;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::backoff::Backoffs;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::metrics;

/// What a controller is about. Implementations hold what must live from pass to pass.
pub trait Reconcile: Send + Sync + 'static {
    /// The kind whose spec is the wish.
    type Object: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// Name in logs, metrics and `/readyz`: the plural of the kind.
    const NAME: &'static str;

    /// One pass. Called for any reason or none; must be safe to cut short at any `.await`.
    fn reconcile(
        &self,
        object: Arc<Self::Object>,
        context: Arc<Context>,
    ) -> impl Future<Output = Result<Action>> + Send;

    /// Tells the user that a pass failed, after deadline and panic as well. Best effort; bounded to some seconds.
    fn failed(
        &self,
        object: Arc<Self::Object>,
        error: &Error,
        context: Arc<Context>,
    ) -> impl Future<Output = ()> + Send;

    /// The object is gone: forget what was kept about it. May be called more than once.
    fn gone(&self, _namespace: &str, _name: &str) {}
}

/// The object as the main watch delivers it: parsed, or its metadata with the reason why not.
pub type Guarded<K> = DeserializeGuard<K>;
/// Asks for a pass over an object.
pub type Request<K> = ReconcileRequest<Guarded<K>>;
/// A source of requests that never fails and never ends.
pub type Trigger<K> = BoxStream<'static, Request<K>>;
/// Read access to all objects of the main watch.
pub type Objects<K> = Store<Guarded<K>>;

/// How long [`Reconcile::failed`] may take.
const TELL_SECS_MAX: u64 = 10;

/// Runs `reconciler` over the objects of one namespace (`None`: the whole cluster) until `stop` resolves and the passes under
/// way have ended. `triggers` makes the further sources of requests; it may keep the store to map with.
pub async fn run<R: Reconcile>(
    reconciler: Arc<R>,
    context: Arc<Context>,
    namespace: Option<&str>,
    triggers: impl FnOnce(&Objects<R::Object>) -> Vec<Trigger<R::Object>>,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let watched = watch::Watched { controller: R::NAME, scope: namespace.map(str::to_owned) };
    context.health.expect(R::NAME, namespace);
    let (store, writer) = reflector::store();
    let main: Api<Guarded<R::Object>> = api(&context, namespace);
    let shared = Arc::new(Driver { reconciler, context: Arc::clone(&context), backoffs: Backoffs::default() });
    let gone = Arc::clone(&shared);
    let main = watch::main(main, writer, context, watched, move |namespace, name| gone.gone(namespace, name));
    let mut sources = vec![main];
    sources.extend(triggers(&store));

    let queue = stream::select_all(sources).take_until(Box::pin(stop)).map(Ok::<_, Infallible>);
    let driver = Arc::clone(&shared);
    let settings = kube_controller::Config::default().concurrency(shared.context.config.concurrency);
    kube_controller::applier(Driver::pass, Driver::after_failure, shared, store, queue, settings)
        .for_each(|outcome| async {
            match outcome {
                Ok(_) | Err(kube_controller::Error::ReconcilerFailed(..)) => {} // told by `pass`
                // The object was deleted between the request and the pass: nothing to do.
                // Its last pass may have ended after its deletion was seen, so what that pass left behind goes only now.
                Err(kube_controller::Error::ObjectNotFound(object)) => {
                    tracing::debug!(%object, "gone before its pass");
                    driver.gone(object.namespace.as_deref().unwrap_or_default(), &object.name);
                }
                Err(error) => tracing::error!(controller = R::NAME, %error, "controller queue failed"),
            }
        })
        .await;
}

/// The API of kind `K` in one namespace, or in all of them.
pub fn api<K>(context: &Context, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    }
}

struct Driver<R: Reconcile> {
    reconciler: Arc<R>,
    context: Arc<Context>,
    backoffs: Backoffs<ObjectRef<Guarded<R::Object>>>,
}

impl<R: Reconcile> Driver<R> {
    fn pass(object: Arc<Guarded<R::Object>>, driver: Arc<Driver<R>>) -> BoxFuture<'static, Result<Action>> {
        let span = tracing::info_span!(
            "reconcile",
            controller = R::NAME,
            namespace = object.namespace().unwrap_or_default(),
            name = object.name_any(),
        );
        async move {
            let outcome = match &object.0 {
                Ok(parsed) => driver.guarded(Arc::new(parsed.clone())).await,
                Err(invalid) => unparsable::report::<R::Object>(&driver.context, invalid).await,
            };
            if outcome.is_ok() && driver.backoffs.succeeded(&ObjectRef::from_obj(object.as_ref())) {
                metrics::backoff_ended(R::NAME);
            }
            outcome
        }
        .instrument(span)
        .boxed()
    }

    async fn guarded(&self, object: Arc<R::Object>) -> Result<Action> {
        let deadline = self.context.config.reconcile_deadline();
        let begun = Instant::now();
        let active = metrics::reconcile_begun(R::NAME);
        let pass = self.reconciler.reconcile(Arc::clone(&object), Arc::clone(&self.context));
        let outcome = match tokio::time::timeout(deadline, AssertUnwindSafe(pass).catch_unwind()).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Err(Error::Panic(panic_text(panic.as_ref()))),
            Err(_) => Err(Error::Deadline(deadline)),
        };
        drop(active);
        metrics::reconcile_ended(R::NAME, begun.elapsed(), outcome.as_ref().err().map(Error::label));
        match &outcome {
            Ok(_) => tracing::debug!(millis = begun.elapsed().as_millis(), "reconciled"),
            Err(error) if error.is_conflict() => tracing::info!(%error, "pass given up"),
            Err(error) => {
                tracing::warn!(%error, kind = error.label(), "pass failed");
                let tell = self.reconciler.failed(object, error, Arc::clone(&self.context));
                let tell = AssertUnwindSafe(tell).catch_unwind();
                if !matches!(tokio::time::timeout(Duration::from_secs(TELL_SECS_MAX), tell).await, Ok(Ok(()))) {
                    tracing::warn!("could not tell the user that the pass failed");
                }
            }
        }
        outcome
    }

    fn after_failure(object: Arc<Guarded<R::Object>>, _: &Error, driver: Arc<Driver<R>>) -> Action {
        let (delay, was_well) = driver.backoffs.failed(ObjectRef::from_obj(object.as_ref()), driver.context.jitter());
        if was_well {
            metrics::backoff_begun(R::NAME);
        }
        Action::requeue(delay)
    }

    /// Forgets an object that is gone. Safe to repeat.
    fn gone(&self, namespace: &str, name: &str) {
        if self.backoffs.succeeded(&ObjectRef::new(name).within(namespace)) {
            metrics::backoff_ended(R::NAME);
        }
        self.reconciler.gone(namespace, name);
    }
}

/// What a panic said. Panic messages are ours or a library's, never a Secret's value.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// A request for a pass over `name` because something else changed.
pub fn request<K>(namespace: &str, name: &str) -> Request<K>
where
    K: Resource<DynamicType = ()>,
{
    ReconcileRequest::from(ObjectRef::new(name).within(namespace))
}

/// A watch over everything, as each main watch is configured.
pub(crate) fn everything() -> watcher::Config {
    watcher::Config::default()
}
