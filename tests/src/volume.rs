//! A PersistentVolume for one claim, on a directory of the node: the cluster of `cargo dev` has no provisioner.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use tempfile::TempDir;

use crate::kube::TestNamespace;

/// User and group that registries run as.
const OWNER: u32 = 65532;

/// A volume that waits for its claim. The directory goes with this value; the object is deleted in the background.
pub struct Volume {
    client: Client,
    name: String,
    _directory: TempDir,
}

/// Provide a volume for the claim of this name, which may not exist yet.
pub async fn provide(namespace: &TestNamespace, claim: &str) -> Result<Volume> {
    let directory = TempDir::with_prefix("supercargo-volume-").context("making a directory for a volume")?;
    // A hostPath is not handed over to the pod's group by the kubelet.
    std::os::unix::fs::chown(directory.path(), Some(OWNER), Some(OWNER))
        .context("giving the directory to the pod's user")?;
    let name = format!("{}-{claim}", namespace.name());
    let object = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace.name(), "name": claim},
            "hostPath": {"path": directory.path(), "type": "Directory"},
        },
    });
    Api::<PersistentVolume>::all(namespace.client().clone())
        .patch(&name, &PatchParams::apply("supercargo-tests").force(), &Patch::Apply(&object))
        .await
        .with_context(|| format!("making PersistentVolume {name}"))?;
    Ok(Volume { client: namespace.client().clone(), name, _directory: directory })
}

impl Drop for Volume {
    fn drop(&mut self) {
        let (client, name) = (self.client.clone(), self.name.clone());
        // Best effort: an object without a directory behind it harms nobody.
        tokio::spawn(
            async move { Api::<PersistentVolume>::all(client).delete(&name, &DeleteParams::background()).await },
        );
    }
}
