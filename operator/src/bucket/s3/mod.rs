//! The S3 client of the operator. Only this folder names `aws_sdk_s3`.
//!
//! What must never be here: a DELETE of a sub-resource (one store takes it for DeleteBucket), a DELETE or PUT of an object, an object's
//! contents, a presigned URL.

mod carried;
mod connect;
mod errors;
mod sub_resources;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

pub use carried::{CarriedEncryption, ForeignRules};

use super::failure::Failure;
use super::observed::{Observed, OurRule, Presence, Seen};
use super::plan::{Write, probe_rule_id, rule_id};
use super::target::Target;
use crate::crd::bucket::{BucketSpec, Management};
use errors::Told;

/// One bucket, with a client that reaches it. Requests have a deadline of their own.
#[derive(Clone, Debug)]
pub struct S3 {
    client: Client,
    target: Target,
    told: Told,
}

/// What keeps a bucket from being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// Objects.
    Objects,
    /// Old versions or delete markers.
    Versions,
    /// Uploads that are under way.
    Uploads,
}

impl S3 {
    /// Makes a client. Sends nothing, except to a credentials service with ambient credentials, later, when they are needed.
    ///
    /// # Errors
    /// [`Failure::Settings`] if the CA bundle or the endpoint cannot be used.
    pub async fn connect(target: &Target) -> Result<S3, Failure> {
        let client = connect::client(target).await?;
        Ok(S3 { client, target: target.clone(), told: Told::about(&target.credentials) })
    }

    /// Whether the bucket is there, by listing one key below the prefix: HEAD would say less when it is refused.
    pub async fn presence(&self) -> Result<Presence, Failure> {
        let request =
            self.client.list_objects_v2().bucket(&self.target.bucket).prefix(self.target.key_prefix()).max_keys(1);
        match request.send().await {
            Ok(page) => Ok(Presence::Present { empty: page.contents().is_empty() }),
            Err(error) => match self.told.failure(&error) {
                Failure::NoSuchBucket(answer) => Ok(Presence::Absent(answer)),
                failure => Err(failure),
            },
        }
    }

    /// Makes the bucket. One that these credentials own already is fine: a retried request finds its own bucket.
    pub async fn create(&self) -> Result<(), Failure> {
        // S3: "us-east-1" is the absence of a location constraint.
        let place = (self.target.region != "us-east-1").then(|| {
            let region = BucketLocationConstraint::from(self.target.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(region).build()
        });
        let request = self.client.create_bucket().bucket(&self.target.bucket).set_create_bucket_configuration(place);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.told.failure(&error) {
                Failure::AlreadyOwned(_) => Ok(()),
                failure => Err(failure),
            },
        }
    }

    /// Reads every sub-resource that the spec cares about, all at once. Writes nothing.
    pub async fn observe(&self, spec: &BucketSpec) -> Observed {
        let asked = |management| management != Management::Ignore;
        let tags_asked = asked(spec.tags.management) && !spec.tags.values.is_empty();
        let prefix = self.target.key_prefix();
        let ids = [rule_id(&prefix), probe_rule_id(&prefix)];
        let (versioning, encryption, public_access, lifecycle, tags) = tokio::join!(
            ask(asked(spec.versioning.management), self.versioning()),
            ask(asked(spec.encryption.management), self.encryption()),
            ask(asked(spec.public_access_block.management), self.public_access()),
            ask(asked(spec.lifecycle.management), self.lifecycle(&ids)),
            ask(tags_asked, self.tags()),
        );
        Observed { versioning, encryption, public_access, lifecycle, tags }
    }

    /// Sends one write. Where the server calls a document invalid that every S3 accepts, it lacks the feature.
    ///
    /// Some stores (MinIO) refuse a rule that only aborts uploads, and all rules with it. Then the others are sent alone: what is read
    /// afterwards shows what is missing.
    pub async fn write(&self, write: &Write) -> Result<(), Failure> {
        let outcome = self.put(write).await;
        match (outcome, write) {
            (Err(Failure::Refused(answer)), Write::Lifecycle(ours, foreign)) if answer.status == 400 => {
                let more = |rule: &&OurRule| rule.expire_days.is_some() || rule.noncurrent_days.is_some();
                let rest: Vec<OurRule> = ours.iter().filter(more).cloned().collect();
                if rest.is_empty() || rest.len() == ours.len() {
                    return Err(Failure::Unsupported(answer));
                }
                let again = self.put(&Write::Lifecycle(rest, foreign.clone())).await;
                again.map_err(|_| Failure::Unsupported(answer))
            }
            (Err(Failure::Refused(answer)), write) if write.is_fixed() && answer.status == 400 => {
                Err(Failure::Unsupported(answer))
            }
            (other, _) => other,
        }
    }

    /// What lies in the whole bucket, whatever the prefix.
    pub async fn content(&self) -> Result<Content, Failure> {
        let bucket = &self.target.bucket;
        let objects = self.client.list_objects_v2().bucket(bucket).max_keys(1).send().await;
        if !objects.map_err(|e| self.told.failure(&e))?.contents().is_empty() {
            return Ok(Content::Objects);
        }
        let versions = self.client.list_object_versions().bucket(bucket).max_keys(1).send().await;
        match versions.map_err(|e| self.told.failure(&e)) {
            Ok(page) if !page.versions().is_empty() || !page.delete_markers().is_empty() => {
                return Ok(Content::Versions);
            }
            Ok(_) | Err(Failure::Unsupported(_)) => {}
            Err(failure) => return Err(failure),
        }
        let uploads = self.client.list_multipart_uploads().bucket(bucket).max_uploads(1).send().await;
        match uploads.map_err(|e| self.told.failure(&e)) {
            Ok(page) if !page.uploads().is_empty() => Ok(Content::Uploads),
            Ok(_) | Err(Failure::Unsupported(_)) => Ok(Content::Nothing),
            Err(failure) => Err(failure),
        }
    }

    /// Deletes the bucket itself. S3 refuses unless it is empty.
    ///
    /// # Errors
    /// [`Failure::NotEmpty`], [`Failure::NoSuchBucket`] and what any request may meet.
    pub async fn delete(&self) -> Result<(), Failure> {
        let request = self.client.delete_bucket().bucket(&self.target.bucket);
        request.send().await.map(drop).map_err(|e| self.told.failure(&e))
    }
}

async fn ask<T>(asked: bool, read: impl Future<Output = Result<Option<T>, Failure>>) -> Seen<T> {
    if !asked {
        return Seen::NotAsked;
    }
    match read.await {
        Ok(Some(value)) => Seen::Set(value),
        Ok(None) | Err(Failure::NotSet(_)) => Seen::Unset,
        Err(Failure::Unsupported(answer)) => Seen::Unsupported(answer),
        Err(Failure::Denied(answer)) => Seen::Denied(answer),
        // The bucket itself answered a moment ago, so this store takes the sub-resource for something else.
        Err(Failure::NotS3(answer)) => Seen::Unsupported(answer),
        Err(failure) => Seen::Unclear(failure),
    }
}
