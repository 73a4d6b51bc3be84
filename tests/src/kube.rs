//! A namespace per test on the cluster: applied to as a user applies, waited on by watch with a deadline,
//! removed at the end, and its objects, events and logs printed when the test fails.

use std::{fmt::Write as _, panic::AssertUnwindSafe, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::GroupVersionKind,
    discovery::{Scope, pinned_kind},
};
use kube_runtime::{WatchStreamExt, watcher::watch_object};
use serde::Deserialize;
use serde_json::{Value, json};

/// The field manager of everything that tests apply.
const FIELD_MANAGER: &str = "supercargo-tests";

/// A client for the cluster that `KUBECONFIG` names, or for that of `cargo dev up`.
///
/// One per test: its connections live on the test's own runtime.
pub async fn client() -> Result<Client> {
    // Whoever comes first installs it; all of the workspace use the same provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let file = std::env::var_os("KUBECONFIG").map_or_else(supercargo_dev::cluster::kubeconfig, Into::into);
    let no_cluster = "no cluster: `cargo dev test cluster` sets one up";
    let kubeconfig = Kubeconfig::read_from(file).context(no_cluster)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.context(no_cluster)?;
    Client::try_from(config).context(no_cluster)
}

/// A namespace that exists for one test.
#[derive(Clone)]
pub struct TestNamespace {
    client: Client,
    name: String,
}

/// Run `test` in a fresh namespace that enforces the `restricted` Pod Security Standard.
///
/// On failure, also by panic, everything one needs to understand it is printed. Then the namespace goes,
/// unless `SUPERCARGO_TEST_KEEP` is set.
pub async fn in_namespace<T>(topic: &str, test: T) -> Result<()>
where
    T: AsyncFnOnce(TestNamespace) -> Result<()>,
{
    let unique = std::process::id() % 100_000;
    let name = format!("t-{}-{unique}", topic.replace('_', "-").chars().take(50).collect::<String>());
    let namespace = shared_namespace(&name).await?;
    let outcome = AssertUnwindSafe(test(namespace.clone())).catch_unwind().await;
    if !matches!(outcome, Ok(Ok(()))) {
        eprintln!("{}", namespace.describe().await);
    }
    if std::env::var_os("SUPERCARGO_TEST_KEEP").is_none() {
        namespace.remove().await;
    }
    match outcome {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The namespace of this name, made if it is not there, which the caller does not remove.
pub async fn shared_namespace(name: &str) -> Result<TestNamespace> {
    let client = client().await?;
    let labels = json!({
        "supercargo-tests": "true",
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    Api::<Namespace>::all(client.clone())
        .patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object))
        .await
        .with_context(|| format!("making namespace {name}"))?;
    Ok(TestNamespace { client, name: name.to_owned() })
}

/// A handle on a namespace that is there, which the caller does not remove.
#[must_use]
pub fn shared_namespace_handle(client: &Client, name: &str) -> TestNamespace {
    TestNamespace { client: client.clone(), name: name.to_owned() }
}

impl TestNamespace {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The client of the test.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A typed handle on this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// `kubectl apply --server-side` of every document in `yaml`, in this namespace.
    ///
    /// # Errors
    /// The API server's own words, such as the message of a CEL rule.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        for document in serde_saphyr::from_multiple::<Value>(yaml).context("reading YAML of a test")? {
            self.apply_object(&document).await?;
        }
        Ok(())
    }

    /// `kubectl apply --server-side` of one object in this namespace.
    ///
    /// # Errors
    /// The API server's own words, such as the message of a CEL rule.
    pub async fn apply_object(&self, document: &Value) -> Result<()> {
        let kind = kind_of(document)?;
        let (api, name) = self.dynamic(&kind, document).await?;
        api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(document))
            .await
            .with_context(|| format!("applying {} {name}", kind.kind))?;
        Ok(())
    }

    /// Change fields of an object by a JSON merge patch, as `kubectl patch --type merge` does.
    pub async fn patch(&self, kind: &str, name: &str, change: &Value) -> Result<()> {
        self.objects(kind)
            .await?
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await
            .with_context(|| format!("patching {kind} {name}"))?;
        Ok(())
    }

    /// Delete an object; the deletion goes on in the background.
    pub async fn delete(&self, kind: &str, name: &str) -> Result<()> {
        self.objects(kind)
            .await?
            .delete(name, &DeleteParams::background())
            .await
            .with_context(|| format!("deleting {kind} {name}"))?;
        Ok(())
    }

    /// The object as JSON; `None` when it does not exist.
    pub async fn get(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let object = self.objects(kind).await?.get_opt(name).await?;
        object.map(serde_json::to_value).transpose().map_err(Into::into)
    }

    /// All objects of a kind here that carry the labels of `selector`, as JSON.
    pub async fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let found = self.objects(kind).await?.list(&ListParams::default().labels(selector)).await?;
        found.items.into_iter().map(|object| serde_json::to_value(object).map_err(Into::into)).collect()
    }

    /// Wait until `holds` of the object (`Value::Null` while it does not exist) and hand it over.
    ///
    /// # Errors
    /// After `deadline`, with `what` was waited for and what was last seen.
    pub async fn wait(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        deadline: Duration,
        mut holds: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let mut trouble = None;
        let mut stream = watch_object(self.objects(kind).await?, name).default_backoff().boxed();
        let outcome = tokio::time::timeout(deadline, async {
            while let Some(seen) = stream.next().await {
                match seen {
                    Ok(object) => {
                        last = object.map(serde_json::to_value).transpose()?.unwrap_or_default();
                        if holds(&last) {
                            return Ok(last.clone());
                        }
                    }
                    // The backoff of the stream tries again: an API server may be restarting.
                    Err(error) => trouble = Some(error),
                }
            }
            bail!("the watch of {kind} {name} ended")
        })
        .await;
        match outcome {
            Ok(result) => result,
            Err(_) => Err(anyhow!(
                "{kind} {name} in {}: waited {} s until {what}; last seen:\n{}{}",
                self.name,
                deadline.as_secs(),
                brief(&last),
                trouble.map(|error| format!("\nlast error of the watch: {error}")).unwrap_or_default(),
            )),
        }
    }

    async fn objects(&self, kind: &str) -> Result<Api<DynamicObject>> {
        let (resource, _) = pinned_kind(&self.client, &well_known(kind)?).await?;
        Ok(Api::namespaced_with(self.client.clone(), &self.name, &resource))
    }

    async fn dynamic(&self, kind: &GroupVersionKind, document: &Value) -> Result<(Api<DynamicObject>, String)> {
        let name =
            document.pointer("/metadata/name").and_then(Value::as_str).context("a manifest without metadata.name")?;
        let (resource, capabilities): (ApiResource, _) =
            pinned_kind(&self.client, kind).await.with_context(|| format!("the cluster does not serve {kind:?}"))?;
        let api = match capabilities.scope {
            Scope::Namespaced => Api::namespaced_with(self.client.clone(), &self.name, &resource),
            Scope::Cluster => Api::all_with(self.client.clone(), &resource),
        };
        Ok((api, name.to_owned()))
    }

    /// What a person would ask for after a failure: objects with their conditions, events, logs of the pods.
    pub async fn describe(&self) -> String {
        let mut text = format!("---- namespace {} ----\n", self.name);
        for kind in ["CargoRegistry", "CargoToken", "Deployment", "Service"] {
            for object in self.list(kind, "").await.unwrap_or_default() {
                let _ = writeln!(text, "{kind} {}", brief(&object));
            }
        }
        let events = self.api::<Event>().list(&ListParams::default()).await;
        for event in events.map(|list| list.items).unwrap_or_default() {
            let _ = writeln!(
                text,
                "event {} {} {}: {}",
                event.type_.unwrap_or_default(),
                event.involved_object.name.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                event.message.unwrap_or_default(),
            );
        }
        let pods = self.api::<Pod>();
        for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
            let status = serde_json::to_value(&pod.status).unwrap_or_default();
            let _ = writeln!(text, "pod {} {status}", pod.name_any());
            for previous in [true, false] {
                let tail = LogParams { tail_lines: Some(60), previous, ..LogParams::default() };
                if let Ok(log) = pods.logs(&pod.name_any(), &tail).await {
                    let _ = writeln!(text, "log of {} (previous: {previous})\n{log}", pod.name_any());
                }
            }
        }
        text
    }

    /// Delete what has finalizers first, while the operator is there to clear them, then the namespace.
    async fn remove(&self) {
        for kind in ["CargoToken", "CargoRegistry"] {
            for object in self.list(kind, "").await.unwrap_or_default() {
                let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
                let gone = async {
                    self.delete(kind, name).await?;
                    self.wait(kind, name, "it is gone", Duration::from_secs(60), Value::is_null).await
                };
                if let Err(error) = gone.await {
                    eprintln!("cleaning up {}: {error:#}", self.name);
                }
            }
        }
        let namespaces = Api::<Namespace>::all(self.client.clone());
        if let Err(error) = namespaces.delete(&self.name, &DeleteParams::background()).await {
            eprintln!("cleaning up {}: {error:#}", self.name);
        }
    }
}

/// Status and reason of the condition `kind` of an object, such as `("False", "StoreRefused", "…")`, when it is there.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == kind)?;
    Some((found["status"].as_str()?, found["reason"].as_str()?, found["message"].as_str().unwrap_or_default()))
}

/// Whether the condition `kind` is `True` for the generation that the object has now.
#[must_use]
pub fn is_true(object: &Value, kind: &str) -> bool {
    let observed = object.pointer("/status/observedGeneration");
    let current = object.pointer("/metadata/generation");
    condition(object, kind).is_some_and(|(status, ..)| status == "True") && (observed.is_none() || observed == current)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeOf {
    api_version: String,
    kind: String,
}

fn kind_of(document: &Value) -> Result<GroupVersionKind> {
    let found = TypeOf::deserialize(document).context("a manifest without apiVersion and kind")?;
    let (group, version) = found.api_version.split_once('/').unwrap_or(("", &found.api_version));
    Ok(GroupVersionKind::gvk(group, version, &found.kind))
}

fn well_known(kind: &str) -> Result<GroupVersionKind> {
    let (group, version) = match kind {
        "CargoRegistry" | "CargoToken" => ("supercargo.dev", "v1alpha1"),
        "Deployment" => ("apps", "v1"),
        "CronJob" | "Job" => ("batch", "v1"),
        "NetworkPolicy" => ("networking.k8s.io", "v1"),
        "PodDisruptionBudget" => ("policy", "v1"),
        "ConfigMap" | "PersistentVolumeClaim" | "Pod" | "Secret" | "Service" | "ServiceAccount" => ("", "v1"),
        other => bail!("tests do not know the kind {other}"),
    };
    Ok(GroupVersionKind::gvk(group, version, kind))
}

/// An object without the noise: name, spec, status.
fn brief(object: &Value) -> String {
    if object.is_null() {
        return "no such object".to_owned();
    }
    let short = json!({
        "name": object.pointer("/metadata/name"),
        "generation": object.pointer("/metadata/generation"),
        "deletionTimestamp": object.pointer("/metadata/deletionTimestamp"),
        "spec": object.get("spec"),
        "status": object.get("status"),
    });
    serde_json::to_string_pretty(&short).unwrap_or_default()
}
