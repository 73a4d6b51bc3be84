//! `CargoRegistry`: one private Cargo registry over one bucket, or on one volume.
//!
//! Types and schema rules; no behaviour. Doc comments here are what `kubectl explain` shows. Every field works today.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::{BucketSpec, BucketStatus};
use super::maintenance::MaintenanceSpec;

/// What the registry shall be like.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "supercargo.dev",
    version = "v1alpha1",
    kind = "CargoRegistry",
    plural = "cargoregistries",
    singular = "cargoregistry",
    category = "cargo",
    namespaced,
    status = "CargoRegistryStatus",
    derive = "PartialEq",
    doc = "A private Cargo registry: equal, stateless replicas over one S3 bucket, or one replica on a volume. `cargo publish`, `add`, `build`, `yank`, `owner` and `search` work against it as against crates.io.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("size(self.metadata.name) <= 54 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name becomes that of Services: at most 54 characters, lower-case letters, digits and '-', beginning with a letter"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Index", type_ = "string", json_path = ".status.indexUrl"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desiredReplicas", priority = 1),
    printcolumn(name = "Bucket", type_ = "string", json_path = ".spec.storage.s3.bucket", priority = 1),
    printcolumn(name = "Visibility", type_ = "string", json_path = ".spec.access.visibility", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.bucket) || has(self.storage.s3)")
    .message("bucket configures the bucket of storage.s3; a registry on storage.volume has none"))]
#[x_kube(validation = Rule::new("!has(self.maintenance) || has(self.storage.s3)")
    .message("maintenance runs beside the replicas, and a volume has room for one process only: stop the registry (replicas: 0) and run `supercargo-registry fsck` or `gc` on the volume, or use storage.s3"))]
#[x_kube(validation = Rule::new("!has(self.cache) || has(self.storage.s3)")
    .message("cache keeps what lies in the bucket of storage.s3; on storage.volume everything is on a disk already"))]
#[x_kube(validation = Rule::new("!has(self.storage.volume) || !has(self.replicas) || self.replicas <= 1")
    .message("a registry on storage.volume has one replica; use storage.s3 for more"))]
pub struct CargoRegistrySpec {
    /// Where crates are kept: `s3` or `volume`, and for ever: a registry cannot move between the two by changing this field.
    pub storage: StorageSpec,
    /// How the bucket shall be configured, and what becomes of it at the end. Only with `storage.s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketSpec>,
    /// Number of equal replicas. Left out: 2 on `storage.s3`, 1 on `storage.volume`. 0 stops the registry and keeps everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// Image of the registry. Left out, the one that this operator was released with, so that upgrading the operator upgrades
    /// the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the kubelet pulls the image. Left out, as the operator was told (`IfNotPresent`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,
    /// CPU, memory and ephemeral storage of each replica. What is left out keeps its default: requests 50m, 64Mi and 128Mi, limits
    /// 256Mi of memory and 2Gi of ephemeral storage (uploads are spooled there; more if `limits.crateBytesMax` is above 256 MiB:
    /// eight times that), and no limit of CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Copies of crate files near the replicas, beside those in memory. Only with `storage.s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheSpec>,
    /// How Cargo reaches the registry.
    #[serde(default)]
    pub expose: ExposeSpec,
    /// Who may read without a token.
    #[serde(default)]
    pub access: AccessSpec,
    /// Upper bounds on what a client may send. What is left out keeps the registry's default.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// Jobs that check the bucket and clean it up: on by default, nightly. Only with `storage.s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceSpec>,
    /// While true the operator changes nothing for this registry, neither in Kubernetes nor in the bucket, but goes on reporting.
    /// Pods that run go on serving.
    #[serde(default)]
    pub paused: bool,
}

/// Copies of what lies in the bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheSpec {
    /// Room for crate files on the disk of each replica's node (an emptyDir), such as `20Gi`; at least 100Mi. Seven eighths of it are for
    /// files, and no file above an eighth of those is kept. What does not fit is read from the bucket. It comes on top of
    /// `resources.limits.ephemeral-storage` and of `resources.requests.ephemeral-storage` alike: the cache will be full, so the
    /// scheduler has to set all of it aside on each replica's node, or replicas are the first to be evicted when its disk runs short. Left
    /// out, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_size: Option<Quantity>,
}

/// Where crates are kept. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.s3) != has(self.volume)")
    .message("set exactly one of storage.s3 and storage.volume"))]
#[x_kube(validation = Rule::new("has(self.s3) == has(oldSelf.s3)")
    .message("a registry cannot change between storage.s3 and storage.volume: its crates would be left behind. Make another CargoRegistry"))]
pub struct StorageSpec {
    /// A bucket on S3 or a compatible server with conditional writes. Any number of replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
    /// A PersistentVolumeClaim, made as `NAME-data` and kept when this object is deleted. One replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeStorage>,
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.bucket == oldSelf.bucket && self.prefix == oldSelf.prefix")
    .message("bucket and prefix cannot change: the crates of this registry lie there. Make another CargoRegistry"))]
#[x_kube(validation = Rule::new("!(has(self.credentialsSecretRef) && has(self.serviceAccountName))")
    .message("set at most one of credentialsSecretRef and serviceAccountName"))]
pub struct S3Storage {
    /// Name of the bucket. Cannot change.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub bucket: String,
    /// Region that requests are signed for.
    #[serde(default = "default_region")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub region: String,
    /// URL of an S3-compatible server, such as `https://minio.storage.svc:9000`. Left out, AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+$')")
        .message("an endpoint is http:// or https:// with a host, without a path, a user or a trailing slash"))]
    pub endpoint: Option<String>,
    /// URL of the same server as developers and CI jobs reach it. If it is set, crate files above 1 MiB are downloaded there, by a signed URL that
    /// holds for minutes, and not through the registry. It needs a host and port of its own: Cargo would send its token along to that of the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+$')")
        .message("an endpoint is http:// or https:// with a host, without a path, a user or a trailing slash"))]
    pub public_endpoint: Option<String>,
    /// Put in front of every key, such as `teams/payments`, so that a bucket can be shared. Cannot change.
    #[serde(default)]
    #[schemars(
        length(max = 400),
        regex(pattern = r"^([A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?)?$")
    )]
    pub prefix: String,
    /// Address the bucket in the path instead of the host name; most compatible servers want it.
    #[serde(default)]
    pub force_path_style: bool,
    /// PEM certificates to trust for the endpoint, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// Secret of the same namespace with the keys `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if the credentials are
    /// temporary, `AWS_SESSION_TOKEN`. A change is rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_secret_ref: Option<LocalReference>,
    /// ServiceAccount of the same namespace that the pods run as, for workload identity. Left out, one is made without any rights,
    /// and the credentials come from the Secret or from the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub service_account_name: Option<String>,
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

/// Certificates in PEM form, in a Secret or a ConfigMap of the same namespace. Exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.configMapKeyRef)")
    .message("set exactly one of caBundle.secretKeyRef and caBundle.configMapKeyRef"))]
pub struct CaBundle {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<KeyReference>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<KeyReference>,
}

/// One key of an object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Key in it.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A volume for a registry without object storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)")
    .message("storageClassName cannot change: Kubernetes does not move a volume"))]
pub struct VolumeStorage {
    /// Size of the volume, such as `10Gi`. May grow where the storage class allows it, never shrink.
    pub size: Quantity,
    /// StorageClass of the volume. Left out, the cluster's default. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// When the kubelet pulls the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start of a pod.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: it must have been loaded into the node.
    Never,
}

/// Requests and limits of the container of each replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSpec {
    /// What is set aside for it: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    /// What it may use at most: `cpu`, `memory`, `ephemeral-storage`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
}

/// How Cargo reaches the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposeSpec {
    /// Base URL that people configure, such as `https://cargo.example.com`; the index is then `sparse+https://cargo.example.com/index/`.
    /// Left out, the registry answers with the host that each request was made to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/?#@ ]+(/[^?# ]*[^/?# ])?$')")
        .message("a URL here is http:// or https:// with a host, without a user, a query or a trailing slash"))]
    #[x_kube(validation = Rule::new("!self.endsWith('.git')").message("a URL here does not end in .git, which Cargo takes for a git index"))]
    pub url: Option<String>,
    /// The public Service.
    #[serde(default)]
    pub service: ServiceSpec,
}

/// The public Service, port 80.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.nodePort) || self.type != 'ClusterIP'")
    .message("nodePort needs type: NodePort or LoadBalancer"))]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Port on every node. Left out, Kubernetes picks one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Annotations of the Service, for load balancers and DNS.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Kind of the public Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Reachable within the cluster.
    #[default]
    ClusterIP,
    /// Also on a port of every node.
    NodePort,
    /// Also through a load balancer of the platform.
    LoadBalancer,
}

/// Who may read without a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// `Private` (default): every request needs a token. `Public`: anyone may read, search and download; writing needs a token.
    #[serde(default)]
    pub visibility: Visibility,
}

/// Who may read without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Visibility {
    /// Nobody.
    #[default]
    Private,
    /// Anyone who reaches the registry.
    Public,
}

/// Upper bounds on what a client may send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitsSpec {
    /// Largest `.crate` that may be published, in bytes; 10485760 (10 MiB) if left out, at most 536870912 (512 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 536_870_912))]
    pub crate_bytes_max: Option<i64>,
    /// Largest sum of the sizes of the files in a `.crate`, in bytes; 536870912 (512 MiB) if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 1_099_511_627_776_i64))]
    pub unpacked_bytes_max: Option<i64>,
    /// Most files and directories in a `.crate`; 20000 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub entries_max: Option<i64>,
    /// Most open connections per replica; 4096 if left out. Further ones wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: Option<i64>,
    /// Seconds that a client may take to send a request's body; 300 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub body_read_seconds: Option<i64>,
    /// Seconds that requests under way are given to finish when a pod stops; 25 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 600))]
    pub drain_seconds: Option<i64>,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CargoRegistryStatus {
    /// `Ready` sums up: at least one replica serves. `Progressing`: a change is being rolled out. `Degraded`: something needs a
    /// person. One more for each aspect of the bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What goes into `.cargo/config.toml` as `registries.NAME.index`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_url: Option<String>,
    /// Base URL of the registry, for `/me` and the web API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
    /// Image that replicas are to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Replicas that exist; for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas that serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Replicas that are to be, `spec.replicas` or its default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Label selector of the pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The bucket as it was found or made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketStatus>,
}
