//! What was read from a bucket, in our own words. Nothing here decides.

use std::collections::BTreeMap;

use super::failure::{Answer, Failure};
use super::s3::{CarriedEncryption, ForeignRules};

/// Whether the bucket is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is, and may be listed.
    Present {
        /// Nothing lies below the registry's prefix.
        empty: bool,
    },
    /// It is not.
    Absent(Answer),
}

/// One sub-resource as the store showed it.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen<T> {
    /// Not looked at: the spec says `Ignore`, or asks for nothing.
    NotAsked,
    /// It is set to this.
    Set(T),
    /// It was never set.
    Unset,
    /// The store does not have it, or answers as if it did not. Nothing is ever sent for it then: one store executes
    /// `DELETE ?publicAccessBlock`, which it does not know, as DeleteBucket.
    Unsupported(Answer),
    /// The credentials may not read it.
    Denied(Answer),
    /// It could not be read this time.
    Unclear(Failure),
}

/// Versioning state of a bucket; one that never had it is [`Seen::Unset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// New versions are kept.
    Enabled,
    /// Old versions stay, new ones are not kept.
    Suspended,
    /// A word that S3 did not have when this was written.
    Other(String),
}

/// Default encryption of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Encryption {
    /// S3's word: `AES256`, `aws:kms`, `aws:kms:dsse`.
    pub algorithm: String,
    /// The KMS key, if one is named.
    pub kms_key_id: Option<String>,
    /// What else the rule says, sent back as it was.
    pub carried: CarriedEncryption,
}

/// The four switches of the public access block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccess {
    /// Requests that would set a public ACL are refused.
    pub block_public_acls: bool,
    /// Public ACLs that exist have no effect.
    pub ignore_public_acls: bool,
    /// Bucket policies that would make it public are refused.
    pub block_public_policy: bool,
    /// A public policy that exists lets nobody else in.
    pub restrict_public_buckets: bool,
}

impl PublicAccess {
    /// All four on.
    pub const BLOCKED: PublicAccess = PublicAccess {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    /// Names of the switches that are off.
    pub fn open(self) -> Vec<&'static str> {
        [
            (self.block_public_acls, "BlockPublicAcls"),
            (self.ignore_public_acls, "IgnorePublicAcls"),
            (self.block_public_policy, "BlockPublicPolicy"),
            (self.restrict_public_buckets, "RestrictPublicBuckets"),
        ]
        .into_iter()
        .filter_map(|(on, name)| (!on).then_some(name))
        .collect()
    }
}

/// The lifecycle configuration: our rules, and those of others.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// The rules that carry ids of ours.
    pub ours: Vec<OurRule>,
    /// All other rules, sent back as they were.
    pub foreign: ForeignRules,
}

/// A lifecycle rule of ours. Equal means that nothing needs to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurRule {
    /// Its id: it names the registry's prefix, so that several registries share a bucket.
    pub id: String,
    /// Keys it holds for.
    pub prefix: String,
    /// Whether it is in force.
    pub enabled: bool,
    /// Days after which incomplete uploads are removed.
    pub abort_days: Option<i32>,
    /// Days after which objects themselves are removed. Only ever below the prefix of the start-up proof.
    pub expire_days: Option<i32>,
    /// Days after which versions that are not current are removed.
    pub noncurrent_days: Option<i32>,
    /// It does something more, which we never wrote.
    pub altered: bool,
}

impl OurRule {
    /// What is not as in `wanted`, in the words of S3's lifecycle document. Empty if and only if they are equal.
    pub fn differences(&self, wanted: &OurRule) -> Vec<&'static str> {
        [
            ("ID", self.id == wanted.id),
            ("Filter.Prefix", self.prefix == wanted.prefix),
            ("Status", self.enabled == wanted.enabled),
            ("AbortIncompleteMultipartUpload", self.abort_days == wanted.abort_days),
            ("Expiration", self.expire_days == wanted.expire_days),
            ("NoncurrentVersionExpiration", self.noncurrent_days == wanted.noncurrent_days),
            ("actions of others", self.altered == wanted.altered),
        ]
        .into_iter()
        .filter_map(|(element, equal)| (!equal).then_some(element))
        .collect()
    }
}

/// All sub-resources.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// `?versioning`
    pub versioning: Seen<Versioning>,
    /// `?encryption`
    pub encryption: Seen<Encryption>,
    /// `?publicAccessBlock`
    pub public_access: Seen<PublicAccess>,
    /// `?lifecycle`
    pub lifecycle: Seen<Lifecycle>,
    /// `?tagging`
    pub tags: Seen<BTreeMap<String, String>>,
}
