//! GET and PUT of the five sub-resources. There is no DELETE here, and there must never be one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, BuildError};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus, ExpirationStatus,
    LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration,
    PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging, VersioningConfiguration,
};

use super::super::failure::Failure;
use super::super::observed::{Encryption, Lifecycle, OurRule, PublicAccess, Versioning};
use super::super::plan::Write;
use super::S3;
use super::carried::{CarriedEncryption, ForeignRules, elements_not_carried};

/// `None` is "never set", where the server answers so with 200.
type Read<T> = Result<Option<T>, Failure>;

impl S3 {
    pub(super) async fn versioning(&self) -> Read<Versioning> {
        let got = self.client.get_bucket_versioning().bucket(&self.target.bucket).send().await;
        Ok(got.map_err(|e| self.told.failure(&e))?.status.map(|status| match status {
            BucketVersioningStatus::Enabled => Versioning::Enabled,
            BucketVersioningStatus::Suspended => Versioning::Suspended,
            other => Versioning::Other(other.as_str().to_owned()),
        }))
    }

    pub(super) async fn encryption(&self) -> Read<Encryption> {
        let got = self.client.get_bucket_encryption().bucket(&self.target.bucket).send().await;
        let configuration = got.map_err(|e| self.told.failure(&e))?.server_side_encryption_configuration;
        let rule = configuration.and_then(|c| c.rules.into_iter().next());
        Ok(rule.and_then(|rule| {
            let default = rule.apply_server_side_encryption_by_default?;
            Some(Encryption {
                algorithm: default.sse_algorithm.as_str().to_owned(),
                kms_key_id: default.kms_master_key_id.filter(|k| !k.is_empty()),
                carried: CarriedEncryption {
                    blocked: rule.blocked_encryption_types,
                    bucket_key: rule.bucket_key_enabled,
                },
            })
        }))
    }

    pub(super) async fn public_access(&self) -> Read<PublicAccess> {
        let got = self.client.get_public_access_block().bucket(&self.target.bucket).send().await;
        let configuration = got.map_err(|e| self.told.failure(&e))?.public_access_block_configuration;
        Ok(configuration.map(|c| PublicAccess {
            block_public_acls: c.block_public_acls.unwrap_or(false),
            ignore_public_acls: c.ignore_public_acls.unwrap_or(false),
            block_public_policy: c.block_public_policy.unwrap_or(false),
            restrict_public_buckets: c.restrict_public_buckets.unwrap_or(false),
        }))
    }

    pub(super) async fn lifecycle(&self, our_ids: &[String]) -> Read<Lifecycle> {
        let tap = BodyTap::default();
        let request = self.client.get_bucket_lifecycle_configuration().bucket(&self.target.bucket);
        let got = request.customize().interceptor(tap.clone()).send().await.map_err(|e| self.told.failure(&e))?;
        let not_carried = elements_not_carried(&tap.text());
        let is_ours = |rule: &LifecycleRule| rule.id.as_ref().is_some_and(|id| our_ids.contains(id));
        let (ours, rules): (Vec<_>, Vec<_>) = got.rules.unwrap_or_default().into_iter().partition(is_ours);
        let minimum_size = got.transition_default_minimum_object_size;
        Ok(Some(Lifecycle {
            ours: ours.iter().map(our_rule).collect(),
            foreign: ForeignRules { rules, minimum_size, not_carried },
        }))
    }

    pub(super) async fn tags(&self) -> Read<BTreeMap<String, String>> {
        let got = self.client.get_bucket_tagging().bucket(&self.target.bucket).send().await;
        let tags = got.map_err(|e| self.told.failure(&e))?.tag_set;
        Ok(Some(tags.into_iter().map(|tag| (tag.key, tag.value)).collect()))
    }

    pub(super) async fn put(&self, write: &Write) -> Result<(), Failure> {
        let bucket = &self.target.bucket;
        match write {
            Write::Versioning => {
                let wanted = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
                let request = self.client.put_bucket_versioning().bucket(bucket).versioning_configuration(wanted);
                request.send().await.map(drop).map_err(|e| self.told.failure(&e))
            }
            Write::Encryption(wanted) => {
                let wanted = encryption_document(wanted).map_err(built)?;
                let request =
                    self.client.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(wanted);
                request.send().await.map(drop).map_err(|e| self.told.failure(&e))
            }
            Write::PublicAccess => {
                let wanted = PublicAccessBlockConfiguration::builder()
                    .block_public_acls(true)
                    .ignore_public_acls(true)
                    .block_public_policy(true)
                    .restrict_public_buckets(true)
                    .build();
                let request =
                    self.client.put_public_access_block().bucket(bucket).public_access_block_configuration(wanted);
                request.send().await.map(drop).map_err(|e| self.told.failure(&e))
            }
            Write::Lifecycle(ours, foreign) => {
                let mut rules = foreign.rules.clone();
                for rule in ours {
                    rules.push(rule_document(rule).map_err(built)?);
                }
                let wanted = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().map_err(built)?;
                let request = self
                    .client
                    .put_bucket_lifecycle_configuration()
                    .bucket(bucket)
                    .set_transition_default_minimum_object_size(foreign.minimum_size.clone())
                    .lifecycle_configuration(wanted);
                request.send().await.map(drop).map_err(|e| self.told.failure(&e))
            }
            Write::Tags(tags) => {
                let tags: Result<Vec<Tag>, BuildError> =
                    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
                let wanted = Tagging::builder().set_tag_set(Some(tags.map_err(built)?)).build().map_err(built)?;
                let request = self.client.put_bucket_tagging().bucket(bucket).tagging(wanted);
                request.send().await.map(drop).map_err(|e| self.told.failure(&e))
            }
        }
    }
}

fn built(error: BuildError) -> Failure {
    Failure::Settings(format!("the request cannot be built: {error}"))
}

fn our_rule(rule: &LifecycleRule) -> OurRule {
    let filter_prefix = rule.filter.as_ref().and_then(|f| f.prefix.clone());
    #[expect(deprecated, reason = "some stores answer with the old form of what they were given in the new one")]
    let old_prefix = rule.prefix.clone();
    let other_filter = rule.filter.as_ref().is_some_and(|f| {
        f.tag.is_some() || f.and.is_some() || f.object_size_greater_than.is_some() || f.object_size_less_than.is_some()
    });
    let expiry = rule.noncurrent_version_expiration.as_ref();
    let expiration = rule.expiration.as_ref();
    OurRule {
        id: rule.id.clone().unwrap_or_default(),
        prefix: filter_prefix.or(old_prefix).unwrap_or_default(),
        enabled: rule.status == ExpirationStatus::Enabled,
        abort_days: rule.abort_incomplete_multipart_upload.as_ref().and_then(|a| a.days_after_initiation),
        expire_days: expiration.and_then(|e| e.days),
        noncurrent_days: expiry.and_then(|e| e.noncurrent_days),
        altered: other_filter
            || expiration.is_some_and(|e| e.date.is_some() || e.expired_object_delete_marker == Some(true))
            || rule.transitions.as_ref().is_some_and(|t| !t.is_empty())
            || rule.noncurrent_version_transitions.as_ref().is_some_and(|t| !t.is_empty())
            || expiry.is_some_and(|e| e.newer_noncurrent_versions.is_some()),
    }
}

fn rule_document(rule: &OurRule) -> Result<LifecycleRule, BuildError> {
    LifecycleRule::builder()
        .id(&rule.id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(&rule.prefix).build())
        .set_abort_incomplete_multipart_upload(
            rule.abort_days.map(|days| AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build()),
        )
        // Expiry in days also takes the delete markers away that it leaves in a bucket with versions.
        .set_expiration(rule.expire_days.map(|days| LifecycleExpiration::builder().days(days).build()))
        .set_noncurrent_version_expiration(
            rule.noncurrent_days.map(|days| NoncurrentVersionExpiration::builder().noncurrent_days(days).build()),
        )
        .build()
}

fn encryption_document(wanted: &Encryption) -> Result<ServerSideEncryptionConfiguration, BuildError> {
    let default = ServerSideEncryptionByDefault::builder()
        .sse_algorithm(ServerSideEncryption::from(wanted.algorithm.as_str()))
        .set_kms_master_key_id(wanted.kms_key_id.clone())
        .build()?;
    // A bucket key spares a KMS call per object; only KMS knows it.
    let bucket_key = (wanted.algorithm == "aws:kms").then(|| wanted.carried.bucket_key.unwrap_or(true));
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(default)
        .set_bucket_key_enabled(bucket_key)
        .set_blocked_encryption_types(wanted.carried.blocked.clone())
        .build();
    ServerSideEncryptionConfiguration::builder().rules(rule).build()
}

/// Keeps the body of an answer, so that what the SDK's types would drop can be seen.
#[derive(Clone, Debug, Default)]
struct BodyTap(Arc<Mutex<Vec<u8>>>);

impl BodyTap {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while it is held")).into_owned()
    }
}

impl Intercept for BodyTap {
    fn name(&self) -> &'static str {
        "BodyTap"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(bytes) = context.response().body().bytes() {
            *self.0.lock().expect("no panic while it is held") = bytes.to_vec();
        }
        Ok(())
    }
}
