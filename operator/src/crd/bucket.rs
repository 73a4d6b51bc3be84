//! `spec.bucket` and `status.bucket` of a CargoRegistry: what the bucket has to be like, and what was made of it.
//!
//! Types only. What they mean is decided in [`crate::bucket::plan`], and sent by [`crate::bucket`].
//! Doc comments here are what `kubectl explain` shows.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the operator treats the bucket that `storage.s3` names.
///
/// Every aspect is first read and only written when it differs; what is left out here is never loosened on the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketSpec {
    /// Whether the bucket has to exist (`Adopt`), has to be made by this object (`Create`), or either (`AdoptOrCreate`,
    /// the default). A bucket that was there once and is gone is never silently replaced by an empty one, nor is one made
    /// under the same name when `storage.s3.endpoint` changes.
    #[serde(default)]
    pub creation_policy: CreationPolicy,
    /// What happens to the bucket when this object is deleted. `Retain` (default) leaves it alone. `Delete` removes it
    /// only if this object created it and it is empty: no object under any prefix, no old version of one, no delete
    /// marker, no upload in progress. In a versioned bucket a deleted object leaves a version and a delete marker, so a
    /// bucket whose listing is empty may still not be. The operator never empties a bucket; an operator's bucket is only
    /// empty if no registry ever wrote to it, or if someone removed all of that.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Object versioning: what is overwritten or deleted by accident can be brought back.
    #[serde(default)]
    pub versioning: VersioningSpec,
    /// Default encryption at rest.
    #[serde(default)]
    pub encryption: EncryptionSpec,
    /// The public access block: no ACL and no bucket policy can make the bucket public.
    #[serde(default)]
    pub public_access_block: PublicAccessBlockSpec,
    /// Two lifecycle rules: one for the keys of this registry, one for what its start-up proofs leave behind. Rules of others in
    /// the bucket stay.
    #[serde(default)]
    pub lifecycle: LifecycleSpec,
    /// Tags on the bucket. Tags of others on the bucket stay.
    #[serde(default)]
    pub tags: TagsSpec,
}

/// Where the bucket may come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CreationPolicy {
    /// The bucket has to exist. The operator never makes one.
    Adopt,
    /// The bucket must not exist before: this object makes it.
    Create,
    /// An existing bucket is used; if there is none, it is made.
    #[default]
    AdoptOrCreate,
}

/// What becomes of the bucket when its CargoRegistry is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// The bucket and all in it stay.
    #[default]
    Retain,
    /// The bucket is removed if this object created it and it is empty; otherwise it stays.
    Delete,
}

/// How far the operator goes for one aspect of the bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Management {
    /// Read it, and write it when it differs.
    #[default]
    Enforce,
    /// Read it and report what differs. Never write.
    Observe,
    /// Neither read nor write it.
    Ignore,
}

/// Object versioning of the bucket. Wanted: `Enabled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersioningSpec {
    /// `Enforce` (default), `Observe` or `Ignore`.
    #[serde(default)]
    pub management: Management,
}

/// Default encryption of the bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.kmsKeyId) || (has(self.algorithm) && self.algorithm == 'KMS')")
    .message("kmsKeyId needs algorithm: KMS"))]
pub struct EncryptionSpec {
    /// `Enforce` (default), `Observe` or `Ignore`.
    #[serde(default)]
    pub management: Management,
    /// The default algorithm of the bucket: `AES256` (keys held by the store) or `KMS` (`aws:kms`). Left out, any
    /// encryption that the bucket has is right, and `AES256` is set only where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<EncryptionAlgorithm>,
    /// Key id, alias or ARN of the KMS key. Left out with `algorithm: KMS`, the store's own default key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub kms_key_id: Option<String>,
}

/// Algorithms of default encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EncryptionAlgorithm {
    /// `AES256`: keys held by the store.
    AES256,
    /// `aws:kms`: a key of a key management service.
    KMS,
}

/// Public access block of the bucket. Wanted: all four switches on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicAccessBlockSpec {
    /// `Enforce` (default), `Observe` or `Ignore`.
    #[serde(default)]
    pub management: Management,
}

/// The lifecycle rules of this registry. The first holds for keys below `storage.s3.prefix` only and never deletes a current object. The
/// second holds for keys below `v1/probe/` there, which the registry writes and deletes when it starts: what remains of them,
/// old versions and delete markers too, goes after a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleSpec {
    /// `Enforce` (default), `Observe` or `Ignore`.
    #[serde(default)]
    pub management: Management,
    /// Days after which an upload in parts that was never completed is removed.
    #[serde(default = "default_abort_days")]
    #[schemars(range(min = 1, max = 36500))]
    pub abort_incomplete_multipart_upload_days: i32,
    /// Days after which an overwritten or deleted version is removed for good. Left out, versions are kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 36500))]
    pub noncurrent_version_expiration_days: Option<i32>,
}

fn default_abort_days() -> i32 {
    7
}

impl Default for LifecycleSpec {
    fn default() -> Self {
        Self {
            management: Management::default(),
            abort_incomplete_multipart_upload_days: default_abort_days(),
            noncurrent_version_expiration_days: None,
        }
    }
}

/// Tags that the bucket has to carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TagsSpec {
    /// `Enforce` (default), `Observe` or `Ignore`.
    #[serde(default)]
    pub management: Management,
    /// Tag keys and values, at most 50 on a bucket. A tag that is taken out here stays on the bucket.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 50))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) >= 1 && size(k) <= 128 && !k.startsWith('aws:') && size(self[k]) <= 256)")
        .message("a tag key has 1 to 128 characters and does not start with aws:, a tag value has at most 256"))]
    pub values: BTreeMap<String, String>,
}

/// The bucket as this object made or found it: the operator's memory, so that it never recreates a lost bucket and never
/// deletes one that it did not make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// Name of the bucket.
    pub name: String,
    /// Endpoint it was reached at; left out for AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region it was asked for in.
    pub region: String,
    /// Whether it was found or made.
    pub origin: BucketOrigin,
}

/// Where the bucket came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BucketOrigin {
    /// It did not exist and this object is about to make it. Written before the bucket is made, so that a crash between
    /// the two leaves no bucket whose maker is unknown.
    Creating,
    /// This object made it.
    Created,
    /// It was there before.
    Adopted,
}
