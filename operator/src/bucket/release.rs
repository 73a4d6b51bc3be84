//! What becomes of a bucket when its CargoRegistry is deleted. It needs least and never empties anything.

use std::time::Duration;

use jiff::Timestamp;

use super::BUDGET;
use super::failure::Failure;
use super::plan;
use super::s3::{Content, S3};
use super::target::Target;
use crate::crd::bucket::{BucketOrigin, BucketStatus, DeletionPolicy};

/// How long a store that does not answer holds up the deletion of a CargoRegistry.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was decided and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The bucket is gone. The text is worth an event.
    Deleted(String),
    /// The bucket stays, for this reason. The text is worth an event.
    Kept(String),
    /// Not decided yet: try again. The text is worth a condition.
    Later(String),
}

/// Deletes the bucket if policy, record and emptiness allow it.
///
/// The order: a policy other than `Delete`, or a bucket that this object did not make, is kept without a request. Then it is proven
/// empty (objects, versions and delete markers, uploads), and S3 itself refuses DeleteBucket if that has changed meanwhile.
/// What cannot be decided because the store does not answer is tried again until five minutes after `deleted_at`; then the bucket stays.
pub async fn release(
    policy: DeletionPolicy,
    recorded: Option<&BucketStatus>,
    target: &Target,
    deleted_at: Timestamp,
    now: Timestamp,
) -> Released {
    if let Some(kept) = kept_without_looking(policy, recorded, target) {
        return Released::Kept(kept);
    }
    match tokio::time::timeout(BUDGET, try_delete(target)).await.unwrap_or(Err(Failure::TooSlow)) {
        Ok(released) => released,
        Err(failure) => undecided(target, &failure, deleted_at, now),
    }
}

/// Why the bucket stays whatever is in it. `None`: it has to be looked at.
pub fn kept_without_looking(
    policy: DeletionPolicy,
    recorded: Option<&BucketStatus>,
    target: &Target,
) -> Option<String> {
    let bucket = target.describe();
    if policy == DeletionPolicy::Retain {
        return Some(format!("{bucket} stays: bucket.deletionPolicy is Retain"));
    }
    match plan::recorded_origin(recorded, &target.bucket, target.endpoint.as_deref()) {
        Some(BucketOrigin::Created) => None,
        Some(BucketOrigin::Adopted) => Some(format!("{bucket} stays: it was there before this object")),
        Some(BucketOrigin::Creating) | None => {
            Some(format!("{bucket} stays: there is no record that this object made it"))
        }
    }
}

async fn try_delete(target: &Target) -> Result<Released, Failure> {
    let s3 = S3::connect(target).await?;
    let bucket = target.describe();
    let content = match s3.content().await {
        Err(Failure::NoSuchBucket(_)) => return Ok(Released::Deleted(format!("{bucket} was gone already"))),
        other => other?,
    };
    let holds = match content {
        Content::Nothing => match s3.delete().await {
            Ok(()) => return Ok(Released::Deleted(format!("deleted the empty {bucket}"))),
            Err(Failure::NoSuchBucket(_)) => return Ok(Released::Deleted(format!("{bucket} was gone already"))),
            Err(Failure::NotEmpty(_)) => "objects",
            Err(failure) => return Err(failure),
        },
        Content::Objects => "objects",
        Content::Versions => "old versions of objects",
        Content::Uploads => "uploads in progress",
    };
    Ok(Released::Kept(format!("{bucket} stays: it holds {holds}, and only an empty bucket is deleted")))
}

fn undecided(target: &Target, failure: &Failure, deleted_at: Timestamp, now: Timestamp) -> Released {
    let why = format!("{}: {}", target.describe(), failure.tell(target));
    let waited = Duration::try_from(now.duration_since(deleted_at)).unwrap_or_default();
    // What another try cannot change is not waited for.
    let final_word = matches!(
        failure,
        Failure::Denied(_) | Failure::Settings(_) | Failure::Refused(_) | Failure::Unsupported(_) | Failure::NotS3(_)
    );
    if final_word || waited >= PATIENCE {
        Released::Kept(format!("{why}. The bucket stays"))
    } else {
        Released::Later(format!(
            "{why}. Trying until {} s after the deletion, then the bucket stays",
            PATIENCE.as_secs()
        ))
    }
}
