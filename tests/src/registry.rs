//! `CargoRegistry` and `CargoToken` objects as users write them, and the way from the host to what they make.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::{ResourceExt, api::ListParams};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    cargo::Toolchain,
    conformance::Subject,
    kube::{TestNamespace, condition, is_true},
    s3::{ROOT_KEY, ROOT_SECRET, Server, Store},
};

/// Longest that anything on the cluster may take before a test gives up on it. Two cores carry the cluster, the
/// tests and sometimes a compiler: this is for hangs, not for measuring.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A `CargoRegistry` on a bucket of the suite's good S3 server, with the Secret `s3` for its credentials.
#[must_use]
pub fn on_bucket(name: &str, bucket: &str) -> Value {
    json!({
        "apiVersion": "supercargo.dev/v1alpha1",
        "kind": "CargoRegistry",
        "metadata": {"name": name},
        "spec": {"storage": {"s3": {
            "bucket": bucket,
            "region": "us-east-1",
            "endpoint": Server::Honest.endpoint(),
            "forcePathStyle": true,
            "credentialsSecretRef": {"name": "s3"},
        }}},
    })
}

/// A Secret with S3 credentials.
#[must_use]
pub fn s3_secret(name: &str, access_key: &str, secret_key: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
    })
}

/// A `CargoToken` that may do everything on the registry.
#[must_use]
pub fn token_for_all(name: &str, registry: &str) -> Value {
    let verbs = ["Read", "PublishNew", "PublishUpdate", "Yank", "Owners"];
    token_with(name, registry, &json!([{"verbs": verbs}]))
}

/// A `CargoToken` with these grants.
#[must_use]
pub fn token_with(name: &str, registry: &str, grants: &Value) -> Value {
    json!({
        "apiVersion": "supercargo.dev/v1alpha1",
        "kind": "CargoToken",
        "metadata": {"name": name},
        "spec": {"registryRef": {"name": registry}, "grants": grants},
    })
}

/// A registry that was seen to be `Ready`.
#[derive(Clone)]
pub struct Running {
    /// The namespace it is in.
    pub namespace: TestNamespace,
    /// Its name.
    pub name: String,
    /// `http://` and the ClusterIP of its public Service.
    pub base: String,
}

/// Apply what it takes for the registry `name` on a fresh bucket of this topic, with `change` made to the
/// `CargoRegistry`, and wait until it is ready.
pub async fn start(namespace: &TestNamespace, name: &str, change: impl FnOnce(&mut Value)) -> Result<Running> {
    Store::of(Server::Honest).await?;
    let mut object = on_bucket(name, namespace.name());
    change(&mut object);
    namespace.apply_object(&s3_secret("s3", ROOT_KEY, ROOT_SECRET)).await?;
    namespace.apply_object(&object).await?;
    ready(namespace, name).await
}

/// Wait until the registry is `Ready` and answers on its Service.
pub async fn ready(namespace: &TestNamespace, name: &str) -> Result<Running> {
    namespace.wait("CargoRegistry", name, "Ready is True", PATIENCE, |object| is_true(object, "Ready")).await?;
    let service = namespace.api::<Service>().get(name).await?;
    let ip =
        service.spec.and_then(|spec| spec.cluster_ip).with_context(|| format!("Service {name} has no ClusterIP"))?;
    connectable(&format!("{ip}:80")).await?;
    Ok(Running { namespace: namespace.clone(), name: name.to_owned(), base: format!("http://{ip}") })
}

/// Wait until the condition `kind` of the registry has this status and reason, and hand over its message.
pub async fn says(namespace: &TestNamespace, name: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
    let what = format!("{kind} is {status} with reason {reason}");
    let object = namespace
        .wait("CargoRegistry", name, &what, PATIENCE, |object| {
            condition(object, kind).is_some_and(|(is, why, _)| is == status && why == reason)
        })
        .await?;
    let (.., message) = condition(&object, kind).context("the condition that was just there")?;
    Ok(message.to_owned())
}

impl Running {
    /// The index URL as the host reaches it, with `sparse+`.
    #[must_use]
    pub fn index(&self) -> String {
        format!("sparse+{}/index/", self.base)
    }

    /// Have a token that may do everything made, and see the registry as its owner does.
    pub async fn subject(&self, toolchain: Toolchain) -> Result<Subject> {
        self.namespace.apply_object(&token_for_all("developer", &self.name)).await?;
        let token = self.token("developer").await?;
        Ok(Subject { registry: self.name.clone(), index: self.index(), token, toolchain })
    }

    /// The token of a `CargoToken` that was applied, once it is ready.
    pub async fn token(&self, name: &str) -> Result<String> {
        self.namespace.wait("CargoToken", name, "Ready is True", PATIENCE, |object| is_true(object, "Ready")).await?;
        self.secret_text(name, "token").await
    }

    /// One key of a Secret, as text.
    pub async fn secret_text(&self, secret: &str, key: &str) -> Result<String> {
        let object = self.namespace.api::<Secret>().get(secret).await?;
        let bytes = object
            .data
            .and_then(|mut data| data.remove(key))
            .with_context(|| format!("Secret {secret} has no key {key}"))?;
        Ok(String::from_utf8(bytes.0)?)
    }

    /// Its pods, those that are being deleted left out.
    pub async fn pods(&self) -> Result<Vec<Pod>> {
        let selector = format!("supercargo.dev/registry={}", self.name);
        let found = self.namespace.api::<Pod>().list(&ListParams::default().labels(&selector)).await?;
        Ok(found.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect())
    }

    /// Wait until this many pods are available, none is left over, and the newest template runs.
    pub async fn rolled_out(&self, replicas: u64) -> Result<()> {
        let complete = |object: &Value| {
            let count = |field: &str| object.pointer(&format!("/status/{field}")).and_then(Value::as_u64).unwrap_or(0);
            object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation")
                && ["replicas", "updatedReplicas", "availableReplicas"].iter().all(|field| count(field) == replicas)
        };
        let what = format!("{replicas} replicas are rolled out");
        self.namespace.wait("Deployment", &self.name, &what, PATIENCE, complete).await?;
        Ok(())
    }

    /// The name and uid of some pod that serves.
    pub async fn some_pod(&self) -> Result<(String, String)> {
        let pod = self.pods().await?.into_iter().next().context("the registry has no pod")?;
        Ok((pod.name_any(), pod.uid().context("a pod without uid")?))
    }
}

/// Wait until something listens: `Ready` may precede the service proxy's rules by a moment, for which there is nothing to watch.
pub async fn connectable(address: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        match tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            refused if begun.elapsed() > PATIENCE => bail!("nothing listens on {address}: {refused:?}"),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
