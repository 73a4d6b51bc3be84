//! One condition for the bucket and one for each aspect. Pure.
//!
//! `True`: it is so. `False`: it is not, and someone should act. `Unknown`: the store lacks it, or it could not or should not be looked
//! at. So an alert on `False` never fires for what a store does not offer.

use std::collections::BTreeMap;

use super::failure::{Answer, Failure};
use super::plan::{Aspect, Standing, Stop};
use super::target::Target;
use crate::crd::bucket::{BucketOrigin, BucketSpec, BucketStatus, Management};
use crate::crd::conditions::{Finding, Truth};

/// The bucket exists, may be used, and S3 accepts the credentials.
pub const BUCKET_READY: &str = "BucketReady";
/// Versioning is enabled.
pub const BUCKET_VERSIONED: &str = "BucketVersioned";
/// Objects are encrypted by default.
pub const BUCKET_ENCRYPTED: &str = "BucketEncrypted";
/// The public access block is on.
pub const BUCKET_PRIVATE: &str = "BucketPrivate";
/// Our lifecycle rules are in force.
pub const BUCKET_LIFECYCLE: &str = "BucketLifecycle";
/// The bucket carries the tags.
pub const BUCKET_TAGGED: &str = "BucketTagged";

/// All condition types of this module, for a registry that has no bucket (any more).
pub const ALL: [&str; 6] =
    [BUCKET_READY, BUCKET_VERSIONED, BUCKET_ENCRYPTED, BUCKET_PRIVATE, BUCKET_LIFECYCLE, BUCKET_TAGGED];

const ASPECTS: [Aspect; 5] =
    [Aspect::Versioning, Aspect::Encryption, Aspect::PublicAccess, Aspect::Lifecycle, Aspect::Tags];

/// What a write came to. Success is proven by reading again, so only failures are kept.
pub type WriteFailures = BTreeMap<Aspect, Failure>;

/// The bucket may be used.
pub fn ready(target: &Target, origin: BucketOrigin) -> Finding {
    let (reason, how) = match origin {
        BucketOrigin::Adopted => ("Adopted", "was there and is used"),
        BucketOrigin::Created | BucketOrigin::Creating => ("Created", "was made by this object"),
    };
    Finding::new(BUCKET_READY, Truth::True, reason, format!("{} {how}", target.describe()))
}

/// The bucket is about to be made.
pub fn creating(target: &Target) -> Finding {
    Finding::new(BUCKET_READY, Truth::False, "Creating", format!("{} is being created", target.describe()))
}

/// The bucket is not used. `recorded` says where it was used last.
pub fn stopped(target: &Target, recorded: Option<&BucketStatus>, stop: &Stop) -> Finding {
    let bucket = target.describe();
    let place = |endpoint: Option<&str>| endpoint.unwrap_or("AWS S3").to_owned();
    let elsewhere = recorded.filter(|r| r.endpoint != target.endpoint).map(|r| place(r.endpoint.as_deref()));
    let (reason, message) = match stop {
        Stop::NotFound(a) => (
            "BucketNotFound",
            format!(
                "{bucket} does not exist (S3 answered {a}) and bucket.creationPolicy is Adopt. Create it, correct \
                 storage.s3.bucket, or set creationPolicy to AdoptOrCreate"
            ),
        ),
        Stop::AlreadyExists => (
            "AlreadyExists",
            format!(
                "{bucket} exists and was not made by this object, but bucket.creationPolicy is Create. Choose another \
                 storage.s3.bucket, or set creationPolicy to AdoptOrCreate. Nothing was changed in the bucket"
            ),
        ),
        Stop::Vanished(a) => {
            ("Vanished", elsewhere.map_or_else(|| vanished(&bucket, a), |place| moved(&bucket, &place, a)))
        }
    };
    Finding::new(BUCKET_READY, Truth::False, reason, message)
}

fn vanished(bucket: &str, answer: &Answer) -> String {
    format!(
        "{bucket} was in use and is gone (S3 answered {answer}). It is not created again by itself, since that would hide the loss \
         of every crate. Restore it; or, to begin with an empty registry, create the bucket yourself"
    )
}

fn moved(bucket: &str, place: &str, answer: &Answer) -> String {
    format!(
        "{bucket} does not exist (S3 answered {answer}); it was in use at {place} before storage.s3.endpoint was changed. It is not \
         created at the new endpoint by itself, since an empty bucket would hide every crate. Copy the bucket there, or set \
         storage.s3.endpoint back to {place}; or, to begin with an empty registry, create the bucket yourself"
    )
}

/// The bucket could not be looked at, or could not be made. Nothing was changed in it, and the message says so.
pub fn failed(target: &Target, failure: &Failure) -> Finding {
    // Without credentials of its own the operator cannot look; the registry, which may have some, proves its store itself.
    let truth = if matches!(failure, Failure::NoCredentials(_)) { Truth::Unknown } else { Truth::False };
    let message = format!("{}: {}. Nothing was changed in the bucket", target.describe(), failure.tell(target));
    Finding::new(BUCKET_READY, truth, failure.reason(), message)
}

/// The aspects of a bucket that could not be looked at.
pub fn not_looked_at(spec: &BucketSpec) -> Vec<Finding> {
    let one = |aspect: Aspect| match aspect.management(spec) {
        Management::Ignore => ignored(aspect),
        _ => Finding::new(aspect.condition(), Truth::Unknown, "BucketNotReady", "not looked at: see BucketReady"),
    };
    ASPECTS.into_iter().map(one).collect()
}

/// The aspects of a bucket whose store answers so slowly that the time of the pass was over.
pub fn too_slow(spec: &BucketSpec, target: &Target) -> Vec<Finding> {
    let failure = Failure::TooSlow;
    let one = |aspect: Aspect| match aspect.management(spec) {
        Management::Ignore => ignored(aspect),
        _ => {
            let message = format!("{aspect} could not be settled: {}", failure.tell(target));
            Finding::new(aspect.condition(), Truth::Unknown, failure.reason(), message)
        }
    };
    ASPECTS.into_iter().map(one).collect()
}

/// One finding per aspect, from how it stands *after* the writes and what the writes answered.
pub fn judge(
    spec: &BucketSpec,
    target: &Target,
    after: &[(Aspect, Standing)],
    failures: &WriteFailures,
) -> Vec<Finding> {
    after
        .iter()
        .map(|(aspect, standing)| {
            let enforced = aspect.management(spec) == Management::Enforce;
            judge_one(*aspect, enforced, target, standing, failures.get(aspect))
        })
        .collect()
}

fn judge_one(
    aspect: Aspect,
    enforced: bool,
    target: &Target,
    standing: &Standing,
    failure: Option<&Failure>,
) -> Finding {
    let finding = |truth, reason, message: String| Finding::new(aspect.condition(), truth, reason, message);
    match standing {
        Standing::Ignored => ignored(aspect),
        Standing::NothingAsked => finding(Truth::Unknown, "NothingAsked", format!("the spec asks for no {aspect}")),
        Standing::Holds(live) => finding(Truth::True, if enforced { "Enforced" } else { "Observed" }, live.clone()),
        Standing::Unsupported(answer) => unsupported(aspect, answer),
        Standing::Denied(answer) => finding(
            Truth::Unknown,
            "Denied",
            format!("the credentials of {} may not read {aspect}: S3 answered {answer}", target.credentials.source()),
        ),
        Standing::Unclear(failure) => {
            finding(Truth::Unknown, failure.reason(), format!("{aspect} could not be read: {}", failure.tell(target)))
        }
        Standing::Differs { live, .. } if !enforced => {
            finding(Truth::False, "Drifted", format!("{live}; management is Observe, so nothing was changed"))
        }
        Standing::Differs { live, remedy: Err(why) } => finding(Truth::False, "Conflict", format!("{live}: {why}")),
        Standing::Differs { live, remedy: Ok(_) } => match failure {
            None | Some(Failure::NotKept) => finding(
                Truth::Unknown,
                Failure::NotKept.reason(),
                format!("{live}: {}. It is not sent again for an hour", Failure::NotKept.tell(target)),
            ),
            Some(Failure::Unsupported(answer)) => {
                let message = format!("{live}: the store does not offer {aspect}; it refused the change with {answer}");
                finding(Truth::Unknown, "Unsupported", message)
            }
            Some(failure) => finding(Truth::False, failure.reason(), format!("{live}: {}", failure.tell(target))),
        },
    }
}

fn ignored(aspect: Aspect) -> Finding {
    Finding::new(aspect.condition(), Truth::Unknown, "Ignored", "management is Ignore: neither read nor written")
}

fn unsupported(aspect: Aspect, answer: &Answer) -> Finding {
    let message = format!("the store does not offer {aspect}: it answered {answer}. Nothing was sent to change it");
    Finding::new(aspect.condition(), Truth::Unknown, "Unsupported", message)
}
