//! The operator of the suite: one Deployment, installed by its chart, for all tests together.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};
use supercargo_dev::{cluster, process::Run, tools};

use crate::{
    kube::{TestNamespace, shared_namespace_handle},
    node,
};

/// Where it is installed.
pub const NAMESPACE: &str = "supercargo-system";
/// Its Deployment, and the name of its program.
pub const NAME: &str = "supercargo-operator";
/// The Helm release.
pub const RELEASE: &str = "supercargo";
/// Longest that it may take to be back.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// `kill -9` of its process.
pub async fn kill_9(client: &Client) -> Result<()> {
    let deployment = deployment(client).await?.context("the operator is not installed")?;
    let labels =
        deployment.spec.and_then(|spec| spec.selector.match_labels).context("a Deployment without selector")?;
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let found = pods.list(&ListParams::default().labels(&labels.join(","))).await?;
    let pod = found.items.into_iter().next().context("the operator has no pod")?;
    node::kill_9(&pod.uid().context("a pod without uid")?, NAME)
}

/// Wait until it is rolled out and available.
pub async fn is_available(client: &Client) -> Result<()> {
    handle(client)
        .wait("Deployment", NAME, "it is available and up to date", BACK_WITHIN, |object| {
            let number = |path: &str| object.pointer(path).and_then(serde_json::Value::as_u64);
            object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation")
                && number("/status/updatedReplicas") == number("/spec/replicas")
                && number("/status/replicas") == number("/spec/replicas")
                && number("/status/availableReplicas") == number("/spec/replicas")
        })
        .await?;
    Ok(())
}

/// Its Deployment; `None` when it is not installed.
pub async fn deployment(client: &Client) -> Result<Option<Deployment>> {
    Ok(Api::<Deployment>::namespaced(client.clone(), NAMESPACE).get_opt(NAME).await?)
}

/// `helm` on the release's namespace. What it printed, or an error with it.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    let program = tools::binary("helm").await?;
    let kubeconfig = std::env::var_os("KUBECONFIG").unwrap_or_else(|| cluster::kubeconfig().into());
    let output = Run::new(program)
        .env("KUBECONFIG", kubeconfig)
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .attempt()
        .await?;
    if !output.success() {
        bail!("helm {}: {}{}", arguments.join(" "), output.stdout, output.stderr);
    }
    Ok(output.stdout)
}

fn handle(client: &Client) -> TestNamespace {
    shared_namespace_handle(client, NAMESPACE)
}
