//! Names, labels, annotations, field managers and finalizers: every string that a person may grep for in a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use sha2::{Digest, Sha256};

/// Most that Kubernetes takes for the name of a CronJob.
const CRON_JOB_CHARACTERS_MAX: usize = 52;
/// Finalizer of a `CargoRegistry`, present only while `bucket.deletionPolicy: Delete` gives us something to do.
pub const REGISTRY_FINALIZER: &str = "supercargo.dev/registry";
/// Finalizer of a `CargoToken`: the token is revoked before the object goes.
pub const TOKEN_FINALIZER: &str = "supercargo.dev/token";

/// Names the registry that a child belongs to; the key by which watches map a child to its `CargoRegistry`.
pub const REGISTRY_LABEL: &str = "supercargo.dev/registry";
/// Names the `CargoToken` that a Secret was written for.
pub const TOKEN_LABEL: &str = "supercargo.dev/token";
/// `app.kubernetes.io/managed-by` of all we apply.
pub const MANAGED_BY: &str = "supercargo";
/// Selects what we apply, for watches.
pub const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=supercargo";

/// SHA-256 of the manifest as it was last applied; a difference means that our own wish changed.
pub const MANIFEST_HASH: &str = "supercargo.dev/manifest-hash";
/// On the pod template: SHA-256 of the rendered configuration, so that a change rolls out.
pub const CONFIG_HASH: &str = "supercargo.dev/config-hash";
/// On the pod template: SHA-256 of the S3 credentials.
pub const S3_CREDENTIALS_HASH: &str = "supercargo.dev/s3-credentials-hash";
/// On the pod template: SHA-256 of the CA bundle for the S3 endpoint.
pub const S3_CA_HASH: &str = "supercargo.dev/s3-ca-hash";
/// On the pod template: SHA-256 of the internal Secret.
pub const INTERNAL_HASH: &str = "supercargo.dev/internal-hash";
/// On the internal Secret: `sha256 notBefore notAfter` of the certificate in it, as we issued it.
pub const CERTIFICATE_ISSUED: &str = "supercargo.dev/certificate-issued";

/// Who owns a field, for server-side apply. One manager per purpose, so that one never takes away what another set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldManager {
    /// Children of a `CargoRegistry`.
    Registry,
    /// Secrets of a `CargoToken`.
    Token,
    /// `status` of our own kinds.
    Status,
    /// Finalizers of our own kinds.
    Finalizer,
}

impl FieldManager {
    /// The name that shows in `metadata.managedFields`.
    pub fn as_str(self) -> &'static str {
        match self {
            FieldManager::Registry => "supercargo/registry",
            FieldManager::Token => "supercargo/token",
            FieldManager::Status => "supercargo/status",
            FieldManager::Finalizer => "supercargo/finalizer",
        }
    }
}

/// The names of all objects that belong to the registry called `name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildNames {
    name: String,
}

impl ChildNames {
    /// For the `CargoRegistry` of this name.
    pub fn of(name: &str) -> ChildNames {
        ChildNames { name: name.to_owned() }
    }

    /// Deployment, public Service, ServiceAccount, PodDisruptionBudget and NetworkPolicy.
    pub fn main(&self) -> &str {
        &self.name
    }

    /// Service of the internal listener, and the Secret with its certificate and the admin credential.
    pub fn internal(&self) -> String {
        format!("{}-internal", self.name)
    }

    /// ConfigMap with `registry.toml`.
    pub fn config(&self) -> String {
        format!("{}-config", self.name)
    }

    /// NetworkPolicy of the pods that check and clean up the bucket.
    pub fn maintenance(&self) -> String {
        format!("{}-maintenance", self.name)
    }

    /// CronJob that checks the bucket.
    pub fn fsck(&self) -> String {
        self.cron_job("fsck")
    }

    /// CronJob that cleans it up.
    pub fn gc(&self) -> String {
        self.cron_job("gc")
    }

    /// A CronJob's name has fewer characters than a Service's, because its Jobs append a time to it. A registry's name that is too long
    /// is cut, and gets a digest of the whole.
    fn cron_job(&self, job: &str) -> String {
        let name = format!("{}-{job}", self.name);
        if name.len() <= CRON_JOB_CHARACTERS_MAX {
            return name;
        }
        let digest = hex::encode(Sha256::digest(self.name.as_bytes()));
        let kept = CRON_JOB_CHARACTERS_MAX - job.len() - 10;
        format!("{}-{}-{job}", self.name[..kept].trim_end_matches('-'), &digest[..8])
    }

    /// PersistentVolumeClaim of the volume form.
    pub fn data(&self) -> String {
        format!("{}-data", self.name)
    }
}

/// DNS names under which pods of the cluster reach the internal Service; the first one is how the operator does.
pub fn internal_dns_names(registry: &str, namespace: &str) -> Vec<String> {
    let service = ChildNames::of(registry).internal();
    vec![
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        format!("{service}.{namespace}"),
        service,
    ]
}

/// Base URL of a registry's internal listener, without a trailing slash.
pub fn internal_url(registry: &str, namespace: &str) -> String {
    format!("https://{}.{namespace}.svc:{INTERNAL_PORT}", ChildNames::of(registry).internal())
}

/// Port that the public listener binds inside the pod.
pub const PUBLIC_PORT: u16 = 8080;
/// Port of the internal listener, in the pod and on its Service.
pub const INTERNAL_PORT: u16 = 8081;
/// Port of the public Service.
pub const SERVICE_PORT: u16 = 80;

/// Labels of every child of the registry called `name`.
pub fn labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(name);
    labels.insert("app.kubernetes.io/component".into(), "registry".into());
    labels.insert("app.kubernetes.io/managed-by".into(), MANAGED_BY.into());
    labels
}

/// The immutable part, which selects a registry's pods.
pub fn selector(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".into(), "supercargo-registry".into()),
        ("app.kubernetes.io/instance".into(), name.to_owned()),
        (REGISTRY_LABEL.into(), name.to_owned()),
    ])
}

/// Selects the pods that check and clean up a registry's bucket. Its own pods, which Services lead to, are others.
pub fn maintenance_labels(name: &str) -> BTreeMap<String, String> {
    let mut labels = selector(name);
    labels.insert("app.kubernetes.io/name".into(), "supercargo-registry-maintenance".into());
    labels
}

/// `a=b,c=d`, as `status.selector` and list calls want it.
pub fn selector_string(selector: &BTreeMap<String, String>) -> String {
    selector.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
}

/// Controller reference to `owner`, so that Kubernetes deletes the child with it. `None` while `owner` has no UID,
/// that is before the API server has seen it.
pub fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> Option<OwnerReference> {
    owner.controller_owner_ref(&())
}

/// Whether `child` is controlled by the object with this UID.
pub fn is_controlled_by(child: &ObjectMeta, uid: &str) -> bool {
    child.owner_references.iter().flatten().any(|o| o.controller == Some(true) && o.uid == uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cron_jobs_fit_and_differ() {
        assert_eq!(
            (ChildNames::of("company").fsck(), ChildNames::of("company").gc()),
            ("company-fsck".into(), "company-gc".into())
        );
        let names: Vec<_> = ["a", "b"].map(|last| format!("{}{last}", "n".repeat(53))).into_iter().collect();
        let jobs: std::collections::BTreeSet<_> =
            names.iter().flat_map(|name| [ChildNames::of(name).fsck(), ChildNames::of(name).gc()]).collect();
        assert_eq!(jobs.len(), 4, "{jobs:?}");
        assert!(jobs.iter().all(|job| job.len() <= 52), "{jobs:?}");
    }

    #[test]
    fn no_service_takes_a_maintenance_pod_for_a_replica() {
        let (pod, replicas) = (maintenance_labels("company"), selector("company"));
        assert!(replicas.iter().any(|(key, value)| pod.get(key) != Some(value)));
    }

    #[test]
    fn the_selector_is_part_of_the_labels() {
        let labels = labels("company");
        for (key, value) in selector("company") {
            assert_eq!(labels.get(&key), Some(&value), "{key}");
        }
    }

    #[test]
    fn the_url_uses_a_name_of_the_certificate() {
        let host = internal_dns_names("company", "demo").remove(0);
        assert_eq!(internal_url("company", "demo"), format!("https://{host}:8081"));
    }

    #[test]
    fn a_plain_owner_is_not_a_controller() {
        let mut meta = ObjectMeta::default();
        let mut owner = OwnerReference { uid: "u".into(), ..OwnerReference::default() };
        meta.owner_references = Some(vec![owner.clone()]);
        assert!(!is_controlled_by(&meta, "u"));
        owner.controller = Some(true);
        meta.owner_references = Some(vec![owner]);
        assert!(is_controlled_by(&meta, "u") && !is_controlled_by(&meta, "v"));
    }
}
