//! Watches as sources of requests: each with its own backoff, its errors logged, counted and dropped.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::{Api, Resource, ResourceExt};
use kube_runtime::WatchStreamExt;
use kube_runtime::controller::{ReconcileReason, ReconcileRequest};
use kube_runtime::reflector::ObjectRef;
use kube_runtime::reflector::store::Writer;
use kube_runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;

use super::{Guarded, Request, Trigger, everything};
use crate::context::Context;
use crate::metrics;

/// Which controller a main watch is for, and over what.
pub(super) struct Watched {
    /// Its name.
    pub(super) controller: &'static str,
    /// The namespace; `None` is the cluster.
    pub(super) scope: Option<String>,
}

/// The watch of a controller's own kind: fills the store, keeps [`crate::health`] informed, and asks for a pass over each
/// object listed or changed. Requests for a list's objects wait until the list is complete: only then does the store
/// hold them, and an earlier request would find nothing and be lost.
pub(super) fn main<K>(
    api: Api<Guarded<K>>,
    writer: Writer<Guarded<K>>,
    context: Arc<Context>,
    watched: Watched,
    gone: impl Fn(&str, &str) + Send + 'static,
) -> Trigger<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let mut listed: Vec<Request<K>> = Vec::new();
    let health = Arc::clone(&context);
    let Watched { controller, scope } = watched;
    let failing_scope = scope.clone();
    watcher(api, everything())
        .modify(|object| object.managed_fields_mut().clear())
        .default_backoff()
        .reflect(writer)
        .filter_map(move |event| {
            let event = event.map_err(|error| {
                if kind_is_unknown(&error) {
                    health.health.crd_missing(controller, failing_scope.as_deref());
                }
                failed(controller, "main", &error);
            });
            std::future::ready(event.ok())
        })
        .flat_map(move |event| {
            let requests = match event {
                Event::Init => {
                    listed.clear();
                    Vec::new()
                }
                Event::InitApply(object) => {
                    listed.push(changed(&object));
                    Vec::new()
                }
                Event::InitDone => {
                    context.health.watching(controller, scope.as_deref());
                    std::mem::take(&mut listed)
                }
                Event::Apply(object) => vec![changed(&object)],
                Event::Delete(object) => {
                    gone(&object.namespace().unwrap_or_default(), &object.name_any());
                    Vec::new()
                }
            };
            stream::iter(requests)
        })
        .boxed()
}

/// Changes of objects of another kind, mapped to the objects of `K` that they concern. Watch metadata alone
/// (`Api<PartialObjectMeta<C>>`) where the map needs no more.
pub fn others<C, K, I>(
    api: Api<C>,
    config: watcher::Config,
    controller: &'static str,
    kind: &'static str,
    map: impl Fn(&C) -> I + Send + 'static,
) -> Trigger<K>
where
    C: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    K: Resource<DynamicType = ()> + 'static,
    I: IntoIterator<Item = Request<K>> + Send,
    I::IntoIter: Send + 'static,
{
    steady(watcher(api, config).default_backoff().touched_objects(), controller, kind)
        .flat_map(move |object| stream::iter(map(&object)))
        .boxed()
}

/// The request that `label` of a child asks for: a pass over the object that it names, in the child's namespace.
pub fn by_label<K>(
    namespace: Option<&str>,
    labels: Option<&BTreeMap<String, String>>,
    label: &str,
) -> Option<Request<K>>
where
    K: Resource<DynamicType = ()>,
{
    Some(super::request(namespace?, labels?.get(label)?))
}

/// Drops the errors of a stream that knows how to go on, after telling.
fn steady<T: Send + 'static>(
    stream: impl Stream<Item = watcher::Result<T>> + Send + 'static,
    controller: &'static str,
    kind: &'static str,
) -> BoxStream<'static, T> {
    stream
        .filter_map(move |item| std::future::ready(item.map_err(|error| failed(controller, kind, &error)).ok()))
        .boxed()
}

fn changed<K: Resource<DynamicType = ()>>(object: &Guarded<K>) -> Request<K> {
    ReconcileRequest { obj_ref: ObjectRef::from_obj(object), reason: ReconcileReason::ObjectUpdated }
}

fn failed(controller: &'static str, kind: &'static str, error: &watcher::Error) {
    metrics::watch_failed(controller, kind);
    tracing::warn!(controller, kind, %error, "watch failed; trying again");
}

fn kind_is_unknown(error: &watcher::Error) -> bool {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        _ => return false,
    };
    matches!(cause, kube::Error::Api(status) if status.is_not_found())
}
