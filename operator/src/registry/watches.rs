//! Watches over children, so that an edit or a deletion by hand is repaired within seconds. Metadata alone is enough to
//! know whose child it is. Secrets are not among them: watching needs the right to list, and that is the right to read all.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::api::PartialObjectMeta;
use kube_runtime::watcher;

use super::NAME;
use crate::context::Context;
use crate::controller::{Trigger, api, watch};
use crate::crd::registry::CargoRegistry;
use crate::names::{MANAGED_SELECTOR, REGISTRY_LABEL};

/// One trigger per kind of child.
pub(super) fn children(context: &Context, namespace: Option<&str>) -> Vec<Trigger<CargoRegistry>> {
    vec![
        of::<Deployment>(context, namespace, "Deployment"),
        of::<Service>(context, namespace, "Service"),
        of::<ConfigMap>(context, namespace, "ConfigMap"),
        of::<ServiceAccount>(context, namespace, "ServiceAccount"),
        of::<PersistentVolumeClaim>(context, namespace, "PersistentVolumeClaim"),
        of::<PodDisruptionBudget>(context, namespace, "PodDisruptionBudget"),
        of::<NetworkPolicy>(context, namespace, "NetworkPolicy"),
        of::<CronJob>(context, namespace, "CronJob"),
    ]
}

fn of<C>(context: &Context, namespace: Option<&str>, kind: &'static str) -> Trigger<CargoRegistry>
where
    C: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static,
{
    let api = api::<PartialObjectMeta<C>>(context, namespace);
    let ours = watcher::Config::default().labels(MANAGED_SELECTOR);
    watch::others(api, ours, NAME, kind, |child: &PartialObjectMeta<C>| {
        let meta = &child.metadata;
        watch::by_label(meta.namespace.as_deref(), meta.labels.as_ref(), REGISTRY_LABEL)
    })
}
