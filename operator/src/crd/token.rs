//! `CargoToken`: a token for Cargo, in a Secret that a build can mount.
//!
//! Types only; the controller is [`crate::token`]. Doc comments here are what `kubectl explain` shows.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A token for one registry, written into a Secret that is ready to mount as `$CARGO_HOME`.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "supercargo.dev",
    version = "v1alpha1",
    kind = "CargoToken",
    plural = "cargotokens",
    singular = "cargotoken",
    category = "cargo",
    namespaced,
    status = "CargoTokenStatus",
    derive = "PartialEq",
    doc = "A token for one CargoRegistry of the same namespace. The operator makes it, hands its hash to the registry, writes it into a Secret (keys `token`, `config.toml`, `credentials.toml`) and revokes it when this object is deleted.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name of a CargoToken has at most 63 characters"),
    printcolumn(name = "Registry", type_ = "string", json_path = ".spec.registryRef.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
    selectable = ".spec.registryRef.name"
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.registryRef == oldSelf.registryRef")
    .message("registryRef cannot change: the old registry would keep the token. Make another CargoToken"))]
#[x_kube(validation = Rule::new("has(self.secretName) == has(oldSelf.secretName) && (!has(self.secretName) || self.secretName == oldSelf.secretName)")
    .message("secretName cannot change: builds mount it. Make another CargoToken"))]
pub struct CargoTokenSpec {
    /// The CargoRegistry that the token is for. Cannot change.
    pub registry_ref: RegistryReference,
    /// User that the registry sees: the owner of crates that the token publishes. Left out, the name of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._@+:/-]*$"))]
    pub user: Option<String>,
    /// What the token may do. Each entry allows its verbs on its crates.
    #[schemars(length(min = 1, max = 32))]
    pub grants: Vec<Grant>,
    /// Life time of a token, such as `720h` (Go duration, at least `10m`). After two thirds of it a new token is written into the Secret;
    /// the old one stays in force to its end. Left out, the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10m') && duration(self) <= duration('87600h')")
        .message("expiresAfter lies between 10m and 87600h (ten years)"))]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|ns))+$"))]
    pub expires_after: Option<Duration>,
    /// Name of the Secret. Left out, the name of this object. A Secret of that name that belongs to something else is
    /// left alone. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,
}

/// A CargoRegistry of the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistryReference {
    /// Name of the CargoRegistry.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// Verbs on crates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// What the token may do with these crates.
    #[schemars(length(min = 1, max = 6))]
    pub verbs: Vec<Verb>,
    /// Crate names or patterns with `*`, such as `payments-*`. `-` and `_` are the same. Left out, every crate.
    #[serde(default = "every_crate")]
    #[schemars(
        length(min = 1, max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z*][A-Za-z0-9_*-]*$"))
    )]
    pub crates: Vec<String>,
}

fn every_crate() -> Vec<String> {
    vec!["*".to_owned()]
}

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// See and download.
    Read,
    /// Publish a crate that does not exist yet; its user becomes the owner.
    PublishNew,
    /// Publish another version of a crate that the user owns.
    PublishUpdate,
    /// Yank and unyank versions of a crate that the user owns.
    Yank,
    /// Add and remove owners of a crate that the user owns.
    Owners,
    /// Count as an owner of the crate.
    Admin,
}

/// What the operator last saw of a token. Never the token itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CargoTokenStatus {
    /// `Registered`, `SecretWritten`, and their sum `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Secret that holds the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When the token in the Secret expires; left out if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Every token that was made for this object and may still be in force, oldest first. Written before the registry hears
    /// of it, so that none is ever forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issued: Vec<IssuedToken>,
}

/// A token that was made: its hash, never the token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuedToken {
    /// Hex SHA-256 of the token: the name that the registry knows it by.
    pub sha256: String,
    /// When it was made.
    pub issued_at: Time,
    /// Set when a newer token took its place in the Secret after two thirds of its life: it stays in force until this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_until: Option<Time>,
}
