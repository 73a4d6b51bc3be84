//! The decisions, all pure: whether the bucket may be used or made, how each aspect stands, and what to write.
//!
//! Rules: what is unsupported, unreadable or not asked for gets no write; no write takes anything away from the bucket
//! that the spec does not name; nothing is ever deleted.

use std::collections::BTreeMap;
use std::fmt;

use super::failure::{Answer, Failure};
use super::findings;
use super::observed::{Encryption, Lifecycle, Observed, OurRule, Presence, PublicAccess, Seen, Versioning};
use super::s3::{CarriedEncryption, ForeignRules};
use crate::crd::bucket::{
    BucketOrigin, BucketSpec, BucketStatus, CreationPolicy, EncryptionAlgorithm, EncryptionSpec, LifecycleSpec,
    Management,
};

/// What to do about the bucket itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is there and may be used.
    Use(BucketOrigin),
    /// It has to be made: write [`BucketOrigin::Creating`] into status first, and come back.
    Announce,
    /// It was announced: make it.
    Create,
    /// Neither used nor made.
    Stop(Stop),
}

/// Why a bucket is neither used nor made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It does not exist and the policy is `Adopt`.
    NotFound(Answer),
    /// It exists, not by us, and the policy is `Create`.
    AlreadyExists,
    /// It was there before and is gone.
    Vanished(Answer),
}

/// Decides by policy, memory and what the store shows.
///
/// `recorded` counts only if it speaks of this very bucket: [`remembered_origin`] has compared.
pub fn decide(policy: CreationPolicy, recorded: Option<BucketOrigin>, presence: &Presence) -> Step {
    match (presence, recorded) {
        (Presence::Present { .. }, Some(origin @ (BucketOrigin::Created | BucketOrigin::Adopted))) => Step::Use(origin),
        // Announced, then a crash: an empty one is taken for ours. One with data in it was made by someone else meanwhile.
        (Presence::Present { empty: true }, Some(BucketOrigin::Creating)) => Step::Use(BucketOrigin::Created),
        (Presence::Present { .. }, _) if policy == CreationPolicy::Create => Step::Stop(Stop::AlreadyExists),
        (Presence::Present { .. }, _) => Step::Use(BucketOrigin::Adopted),
        (Presence::Absent(a), Some(BucketOrigin::Created | BucketOrigin::Adopted)) => {
            Step::Stop(Stop::Vanished(a.clone()))
        }
        (Presence::Absent(a), _) if policy == CreationPolicy::Adopt => Step::Stop(Stop::NotFound(a.clone())),
        (Presence::Absent(_), Some(BucketOrigin::Creating)) => Step::Create,
        (Presence::Absent(_), None) => Step::Announce,
    }
}

/// The origin that status holds for this bucket; a record of another bucket counts for nothing.
pub fn recorded_origin(recorded: Option<&BucketStatus>, name: &str, endpoint: Option<&str>) -> Option<BucketOrigin> {
    recorded.filter(|r| r.name == name && r.endpoint.as_deref() == endpoint).map(|r| r.origin)
}

/// The origin by which to [`decide`]. A bucket that is in use stays the same one when only its endpoint is spelled anew: an empty one of
/// the same name, made elsewhere, would hide every crate. One that was announced at another endpoint was never used and counts for nothing.
pub fn remembered_origin(recorded: Option<&BucketStatus>, name: &str, endpoint: Option<&str>) -> Option<BucketOrigin> {
    let here = recorded_origin(recorded, name, endpoint);
    let elsewhere = recorded.filter(|r| r.name == name && r.origin != BucketOrigin::Creating).map(|r| r.origin);
    here.or(elsewhere)
}

/// The aspects of a bucket, each with a condition of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// Object versioning.
    Versioning,
    /// Default encryption.
    Encryption,
    /// Public access block.
    PublicAccess,
    /// Our lifecycle rules.
    Lifecycle,
    /// Tags.
    Tags,
}

impl Aspect {
    /// Type of its condition.
    pub fn condition(self) -> &'static str {
        match self {
            Aspect::Versioning => findings::BUCKET_VERSIONED,
            Aspect::Encryption => findings::BUCKET_ENCRYPTED,
            Aspect::PublicAccess => findings::BUCKET_PRIVATE,
            Aspect::Lifecycle => findings::BUCKET_LIFECYCLE,
            Aspect::Tags => findings::BUCKET_TAGGED,
        }
    }

    /// How far the spec lets us go.
    pub fn management(self, spec: &BucketSpec) -> Management {
        match self {
            Aspect::Versioning => spec.versioning.management,
            Aspect::Encryption => spec.encryption.management,
            Aspect::PublicAccess => spec.public_access_block.management,
            Aspect::Lifecycle => spec.lifecycle.management,
            Aspect::Tags => spec.tags.management,
        }
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Aspect::Versioning => "versioning",
            Aspect::Encryption => "default encryption",
            Aspect::PublicAccess => "the public access block",
            Aspect::Lifecycle => "the lifecycle rules",
            Aspect::Tags => "tags",
        })
    }
}

/// One PUT of a sub-resource.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// Versioning `Enabled`.
    Versioning,
    /// The default encryption rule.
    Encryption(Encryption),
    /// All four switches on.
    PublicAccess,
    /// Our rules, and the rules of others as they were.
    Lifecycle(Vec<OurRule>, ForeignRules),
    /// The tags that were there, and ours.
    Tags(BTreeMap<String, String>),
}

impl Write {
    /// What it is about.
    pub fn aspect(&self) -> Aspect {
        match self {
            Write::Versioning => Aspect::Versioning,
            Write::Encryption(_) => Aspect::Encryption,
            Write::PublicAccess => Aspect::PublicAccess,
            Write::Lifecycle(..) => Aspect::Lifecycle,
            Write::Tags(_) => Aspect::Tags,
        }
    }

    /// Whether the document holds nothing that the user wrote: every S3 accepts it, so a server that calls it invalid lacks the feature.
    pub fn is_fixed(&self) -> bool {
        match self {
            Write::Versioning | Write::PublicAccess | Write::Lifecycle(..) => true,
            Write::Encryption(e) => e.kms_key_id.is_none(),
            Write::Tags(_) => false,
        }
    }
}

/// How an aspect of the live bucket compares to the spec.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// The spec says `Ignore`.
    Ignored,
    /// The spec asks for nothing.
    NothingAsked,
    /// As the spec wants it. The text says what is there.
    Holds(String),
    /// Not as the spec wants it.
    Differs {
        /// What is there.
        live: String,
        /// What to write, or why nothing can be written without harm.
        remedy: Result<Box<Write>, String>,
    },
    /// The store lacks it.
    Unsupported(Answer),
    /// It may not be read.
    Denied(Answer),
    /// It could not be read this time.
    Unclear(Failure),
}

impl Standing {
    /// Not as the spec wants it.
    pub fn differs(&self) -> bool {
        matches!(self, Standing::Differs { .. })
    }
}

/// Compares every aspect.
pub fn standings(spec: &BucketSpec, prefix: &str, observed: &Observed) -> Vec<(Aspect, Standing)> {
    vec![
        (Aspect::Versioning, compare(spec.versioning.management, &observed.versioning, versioning)),
        (
            Aspect::Encryption,
            compare(spec.encryption.management, &observed.encryption, |e| encryption(&spec.encryption, e)),
        ),
        (Aspect::PublicAccess, compare(spec.public_access_block.management, &observed.public_access, public_access)),
        (
            Aspect::Lifecycle,
            compare(spec.lifecycle.management, &observed.lifecycle, |l| lifecycle(&spec.lifecycle, prefix, l)),
        ),
        (Aspect::Tags, compare(spec.tags.management, &observed.tags, |t| tags(&spec.tags.values, t))),
    ]
}

/// The writes that bring the bucket to the spec: of aspects that are enforced, differ, and can be written without harm.
pub fn writes(spec: &BucketSpec, standings: &[(Aspect, Standing)]) -> Vec<Write> {
    standings
        .iter()
        .filter(|(aspect, _)| aspect.management(spec) == Management::Enforce)
        .filter_map(|(_, standing)| match standing {
            Standing::Differs { remedy: Ok(write), .. } => Some(write.as_ref().clone()),
            _ => None,
        })
        .collect()
}

fn compare<T>(management: Management, seen: &Seen<T>, judge: impl FnOnce(Option<&T>) -> Standing) -> Standing {
    match (management, seen) {
        (Management::Ignore, _) => Standing::Ignored,
        (_, Seen::NotAsked) => Standing::NothingAsked,
        (_, Seen::Set(live)) => judge(Some(live)),
        (_, Seen::Unset) => judge(None),
        (_, Seen::Unsupported(a)) => Standing::Unsupported(a.clone()),
        (_, Seen::Denied(a)) => Standing::Denied(a.clone()),
        (_, Seen::Unclear(f)) => Standing::Unclear(f.clone()),
    }
}

fn differs(live: impl Into<String>, write: Write) -> Standing {
    Standing::Differs { live: live.into(), remedy: Ok(Box::new(write)) }
}

fn versioning(live: Option<&Versioning>) -> Standing {
    match live {
        Some(Versioning::Enabled) => Standing::Holds("versioning is enabled".into()),
        Some(Versioning::Suspended) => differs("versioning is suspended", Write::Versioning),
        Some(Versioning::Other(word)) => {
            let why = format!("versioning is in state {word:?}, which this version of the operator does not know");
            Standing::Differs { live: why.clone(), remedy: Err(why) }
        }
        None => differs("versioning was never enabled", Write::Versioning),
    }
}

fn encryption(spec: &EncryptionSpec, live: Option<&Encryption>) -> Standing {
    let wanted = match (spec.algorithm, live) {
        (None, Some(live)) => return Standing::Holds(described(live)),
        (None | Some(EncryptionAlgorithm::AES256), _) => "AES256",
        (Some(EncryptionAlgorithm::KMS), _) => "aws:kms",
    };
    if let Some(live) = live
        && live.algorithm == wanted
        && (spec.kms_key_id.is_none() || spec.kms_key_id == live.kms_key_id)
    {
        return Standing::Holds(described(live));
    }
    let write = Write::Encryption(Encryption {
        algorithm: wanted.to_owned(),
        kms_key_id: spec.kms_key_id.clone(),
        carried: live.map_or_else(CarriedEncryption::default, |l| l.carried.clone()),
    });
    differs(live.map_or_else(|| "there is no default encryption".to_owned(), described), write)
}

fn described(live: &Encryption) -> String {
    match &live.kms_key_id {
        Some(key) => format!("default encryption is {} with key {key}", live.algorithm),
        None => format!("default encryption is {}", live.algorithm),
    }
}

fn public_access(live: Option<&PublicAccess>) -> Standing {
    match live {
        None => differs("there is no public access block", Write::PublicAccess),
        Some(&PublicAccess::BLOCKED) => Standing::Holds("the public access block has all four switches on".into()),
        Some(live) => {
            differs(format!("the public access block has {} off", live.open().join(", ")), Write::PublicAccess)
        }
    }
}

/// Id of the lifecycle rule for a registry whose keys begin with `prefix`.
pub fn rule_id(prefix: &str) -> String {
    format!("supercargo:{}", shown(prefix))
}

/// Id of the lifecycle rule for what the start-up proofs of that registry leave behind.
pub fn probe_rule_id(prefix: &str) -> String {
    format!("supercargo-probe:{}", shown(prefix))
}

fn shown(prefix: &str) -> &str {
    if prefix.is_empty() { "/" } else { prefix }
}

/// Below the registry's prefix: objects of its start-up proof. It deletes them itself; a crash, and versioning, leave some behind.
const PROBES: &str = "v1/probe/";
/// Days until those go. A proof takes seconds, and a day is the shortest that S3 knows.
const PROBE_DAYS: i32 = 1;

/// The rules that the bucket has to have.
pub fn wanted_rules(spec: &LifecycleSpec, prefix: &str) -> Vec<OurRule> {
    let whole = OurRule {
        id: rule_id(prefix),
        prefix: prefix.to_owned(),
        enabled: true,
        abort_days: Some(spec.abort_incomplete_multipart_upload_days),
        expire_days: None,
        noncurrent_days: spec.noncurrent_version_expiration_days,
        altered: false,
    };
    let probes = OurRule {
        id: probe_rule_id(prefix),
        prefix: format!("{prefix}{PROBES}"),
        abort_days: None,
        expire_days: Some(PROBE_DAYS),
        noncurrent_days: Some(PROBE_DAYS),
        ..whole.clone()
    };
    vec![whole, probes]
}

fn lifecycle(spec: &LifecycleSpec, prefix: &str, live: Option<&Lifecycle>) -> Standing {
    let wanted = wanted_rules(spec, prefix);
    let ours = |id: &str| live.and_then(|l| l.ours.iter().find(|rule| rule.id == id));
    let off: Vec<String> = wanted
        .iter()
        .filter_map(|wanted| match ours(&wanted.id) {
            Some(ours) if ours == wanted => None,
            Some(ours) => Some(format!("rule {:?} differs in {}", wanted.id, ours.differences(wanted).join(", "))),
            None => Some(format!("there is no rule {:?}", wanted.id)),
        })
        .collect();
    if off.is_empty() {
        let ids: Vec<String> = wanted.iter().map(|rule| format!("{:?}", rule.id)).collect();
        return Standing::Holds(format!("rules {} are in force", ids.join(" and ")));
    }
    let text = off.join(" and ");
    let foreign = live.map_or_else(ForeignRules::default, |l| l.foreign.clone());
    match foreign.not_carried() {
        [] => differs(text, Write::Lifecycle(wanted, foreign)),
        elements => Standing::Differs {
            live: text,
            remedy: Err(format!(
                "other rules of the bucket use {}, which this version of the operator cannot carry over, and S3 only replaces all \
                 rules at once. Add the rules yourself and set lifecycle.management to Observe",
                elements.join(", ")
            )),
        },
    }
}

fn tags(wanted: &BTreeMap<String, String>, live: Option<&BTreeMap<String, String>>) -> Standing {
    let empty = BTreeMap::new();
    let live = live.unwrap_or(&empty);
    let off: Vec<&str> =
        wanted.iter().filter(|(key, value)| live.get(*key) != Some(*value)).map(|(key, _)| key.as_str()).collect();
    if off.is_empty() {
        return Standing::Holds("the bucket carries the tags".into());
    }
    let mut all = live.clone();
    all.extend(wanted.clone());
    differs(format!("tags missing or different: {}", off.join(", ")), Write::Tags(all))
}

#[cfg(test)]
mod tests;
