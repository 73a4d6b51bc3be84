//! Reads all that a pass needs to know. Reads only, each by name: nothing is listed but the pods of a registry that is not well, and the Jobs
//! of one whose last check did not succeed.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::BoxFuture;
use futures::{FutureExt, TryFutureExt, try_join};
use k8s_openapi::ByteString;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, ServiceAccount};
use kube::api::{ListParams, ObjectList};
use kube::{Api, Client, Resource};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde::de::DeserializeOwned;

use super::digest::hash;
use super::model::{Listed, Live, Observed, PodTrouble, Problem, Referenced};
use crate::bucket::Credentials;
use crate::crd::registry::{CaBundle, CargoRegistrySpec, KeyReference, LocalReference};
use crate::error::{Error, Result};
use crate::names::{self, ChildNames};

/// Reads what `spec` points at and what bears our names.
///
/// # Errors
/// The API server did not answer, or refused. What is merely missing is part of the answer.
pub async fn observe(client: &Client, namespace: &str, name: &str, spec: &CargoRegistrySpec) -> Result<Observed> {
    let s3 = spec.storage.s3.as_ref();
    let (credentials, ca_bundle, service_account, live) = try_join!(
        credentials(client, namespace, s3.and_then(|s3| s3.credentials_secret_ref.as_ref())),
        ca_bundle(client, namespace, s3.and_then(|s3| s3.ca_bundle.as_ref())),
        service_account(client, namespace, s3.and_then(|s3| s3.service_account_name.as_deref())),
        live(client, namespace, name),
    )?;
    Ok(Observed { credentials, ca_bundle, service_account, live })
}

/// What is needed to reach the bucket, for a registry that is being deleted.
pub async fn observe_credentials(client: &Client, namespace: &str, spec: &CargoRegistrySpec) -> Result<Observed> {
    let s3 = spec.storage.s3.as_ref();
    let (credentials, ca_bundle) = try_join!(
        credentials(client, namespace, s3.and_then(|s3| s3.credentials_secret_ref.as_ref())),
        ca_bundle(client, namespace, s3.and_then(|s3| s3.ca_bundle.as_ref())),
    )?;
    Ok(Observed { credentials, ca_bundle, ..Observed::default() })
}

async fn live(client: &Client, namespace: &str, name: &str) -> Result<Live> {
    let names = ChildNames::of(name);
    let (config, internal, data) = (names.config(), names.internal(), names.data());
    let (maintenance, fsck, gc) = (names.maintenance(), names.fsck(), names.gc());
    let (
        service_account,
        config_map,
        internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        deployment,
        maintenance_policy,
        fsck,
        gc,
    ) = try_join!(
        get(client, namespace, names.main()),
        get(client, namespace, &config),
        get(client, namespace, &internal),
        get(client, namespace, &data),
        get(client, namespace, names.main()),
        get(client, namespace, &internal),
        get(client, namespace, names.main()),
        get(client, namespace, names.main()),
        get(client, namespace, names.main()),
        get(client, namespace, &maintenance),
        get_boxed(client, namespace, &fsck),
        get_boxed(client, namespace, &gc),
    )?;
    Ok(Live {
        service_account,
        config_map,
        internal_secret,
        volume_claim,
        public_service,
        internal_service,
        network_policy,
        disruption_budget,
        deployment,
        maintenance_policy,
        fsck,
        gc,
    })
}

/// On the heap: a dozen of these futures at once would be more than a stack holds.
fn get<'a, K>(client: &Client, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<K>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    async move {
        let found = api.get_opt(name).await;
        found.map_err(|e| Error::kube(format!("read {} {namespace}/{name}", K::kind(&())), e))
    }
    .boxed()
}

fn get_boxed<'a, K>(client: &Client, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Box<K>>>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    get(client, namespace, name).map_ok(|found| found.map(Box::new)).boxed()
}

async fn credentials(
    client: &Client,
    namespace: &str,
    reference: Option<&LocalReference>,
) -> Result<Referenced<Credentials>> {
    let Some(LocalReference { name }) = reference else { return Ok(Referenced::NotAsked) };
    let Some(secret) = get::<Secret>(client, namespace, name).await? else {
        let message = format!(
            "Secret {name} does not exist in namespace {namespace}; storage.s3.credentialsSecretRef names it. Create it with the keys \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        );
        return Ok(Referenced::Unusable(Problem::new("SecretNotFound", message)));
    };
    let data = secret.data.unwrap_or_default();
    Ok(match Credentials::from_secret(namespace, name, &data) {
        Ok(value) => Referenced::Found { value, hash: hash_of(&data) },
        Err(error) => Referenced::Unusable(Problem::new("SecretInvalid", error.to_string())),
    })
}

fn hash_of(data: &BTreeMap<String, ByteString>) -> String {
    hash(data.iter().flat_map(|(key, value)| [key.as_bytes(), value.0.as_slice()]))
}

async fn ca_bundle(client: &Client, namespace: &str, bundle: Option<&CaBundle>) -> Result<Referenced<Vec<u8>>> {
    let (kind, KeyReference { name, key }, keys) = match bundle {
        Some(CaBundle { secret_key_ref: Some(reference), .. }) => {
            let secret = get::<Secret>(client, namespace, &reference.name).await?;
            ("Secret", reference, secret.map(|s| bytes(s.data.unwrap_or_default())))
        }
        Some(CaBundle { config_map_key_ref: Some(reference), .. }) => {
            let map = get::<ConfigMap>(client, namespace, &reference.name).await?;
            let keys = map.map(|m| {
                let mut keys = bytes(m.binary_data.unwrap_or_default());
                keys.extend(m.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.into_bytes())));
                keys
            });
            ("ConfigMap", reference, keys)
        }
        _ => return Ok(Referenced::NotAsked),
    };
    let unusable = |reason, what: String| Ok(Referenced::Unusable(Problem::new(reason, what)));
    let Some(mut keys) = keys else {
        let what = format!("{kind} {name} does not exist in namespace {namespace}; storage.s3.caBundle names it");
        return unusable("CaBundleNotFound", what);
    };
    let Some(pem) = keys.remove(key) else {
        let has = keys.into_keys().collect::<Vec<_>>().join(", ");
        let what = format!("{kind} {name} has no key {key}, which storage.s3.caBundle names; it has: {has}");
        return unusable("CaBundleNotFound", what);
    };
    match CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => {
            Ok(Referenced::Found { hash: hash([pem.as_slice()]), value: pem })
        }
        Ok(_) => unusable("CaBundleInvalid", format!("key {key} of {kind} {name} holds no PEM certificate")),
        Err(_) => unusable("CaBundleInvalid", format!("key {key} of {kind} {name} is not PEM")),
    }
}

fn bytes(data: BTreeMap<String, ByteString>) -> BTreeMap<String, Vec<u8>> {
    data.into_iter().map(|(key, value)| (key, value.0)).collect()
}

async fn service_account(client: &Client, namespace: &str, name: Option<&str>) -> Result<Referenced<()>> {
    let Some(name) = name else { return Ok(Referenced::NotAsked) };
    Ok(match get::<ServiceAccount>(client, namespace, name).await? {
        Some(_) => Referenced::Found { value: (), hash: String::new() },
        None => {
            let what = format!(
                "ServiceAccount {name} does not exist in namespace {namespace}; storage.s3.serviceAccountName names it"
            );
            Referenced::Unusable(Problem::new("ServiceAccountNotFound", what))
        }
    })
}

/// Why pods of this registry do not run. Asked only while replicas are missing.
///
/// # Errors
/// The API server did not answer, or not with a list. That it refuses one is part of the answer.
pub async fn pod_troubles(client: &Client, namespace: &str, name: &str) -> Result<Listed<PodTrouble>> {
    let selector = names::selector_string(&names::selector(name));
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(&selector)).await;
    let pods = match listed(pods, namespace, "pods", || format!("list the pods of CargoRegistry {namespace}/{name}"))? {
        Listed::Found(pods) => pods,
        Listed::Refused(message) => return Ok(Listed::Refused(message)),
    };
    let mut troubles: Vec<_> = pods.iter().filter_map(trouble).collect();
    troubles.sort_by(|a, b| (a.reason, &a.pod).cmp(&(b.reason, &b.pod)));
    Ok(Listed::Found(troubles))
}

/// The Jobs of this registry's CronJobs. Asked only while the last check of its store has not succeeded.
///
/// # Errors
/// The API server did not answer, or not with a list. That it refuses one is part of the answer.
pub async fn maintenance_jobs(client: &Client, namespace: &str, name: &str) -> Result<Listed<Job>> {
    let selector = names::selector_string(&names::maintenance_labels(name));
    let api: Api<Job> = Api::namespaced(client.clone(), namespace);
    let jobs = api.list(&ListParams::default().labels(&selector)).await;
    listed(jobs, namespace, "jobs.batch", || format!("list the Jobs of CargoRegistry {namespace}/{name}"))
}

/// A right that is missing will not be there at the next try either: somebody has to grant it, and until then a pass goes on without.
fn listed<K: Clone>(
    answer: kube::Result<ObjectList<K>>,
    namespace: &str,
    resource: &str,
    action: impl FnOnce() -> String,
) -> Result<Listed<K>> {
    match answer {
        Ok(list) => Ok(Listed::Found(list.items)),
        Err(kube::Error::Api(answer)) if answer.is_forbidden() => Ok(Listed::Refused(format!(
            "the operator lacks the right to list {resource} in namespace {namespace}: upgrade the chart that it was installed with \
             to the operator's version ({})",
            answer.message
        ))),
        Err(error) => Err(Error::kube(action(), error)),
    }
}

/// The first reason why `pod` does not run; `None` while it runs or starts as it should.
fn trouble(pod: &Pod) -> Option<PodTrouble> {
    let status = pod.status.as_ref()?;
    let name = pod.metadata.name.clone()?;
    let told = |reason: &str, message: Option<&String>| {
        let message = message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {}", message.trim()));
        Some(PodTrouble { pod: name.clone(), reason: known_reason(reason), message })
    };
    for container in status.container_statuses.iter().flatten() {
        let Some(state) = &container.state else { continue };
        if let Some(waiting) = &state.waiting {
            match waiting.reason.as_deref() {
                None | Some("ContainerCreating" | "PodInitializing") => {}
                Some(reason) => {
                    // Why it crashed says more than that the kubelet backs off.
                    let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
                    return told(reason, last.and_then(|t| t.message.as_ref()).or(waiting.message.as_ref()));
                }
            }
        }
        if let Some(ended) = &state.terminated {
            return told(ended.reason.as_deref().unwrap_or("Terminated"), ended.message.as_ref());
        }
    }
    let unscheduled = status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    told(unscheduled.reason.as_deref().unwrap_or("Unschedulable"), unscheduled.message.as_ref())
}

/// The reasons that a condition may carry; the message has the word itself.
fn known_reason(reason: &str) -> &'static str {
    const KNOWN: [&str; 11] = [
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "OOMKilled",
        "RunContainerError",
        "SchedulingGated",
        "Unschedulable",
    ];
    KNOWN.into_iter().find(|known| *known == reason).unwrap_or("PodNotRunning")
}
