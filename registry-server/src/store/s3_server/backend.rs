//! S3 operations over the objects.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::HeaderMap;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{
    CreateBucketInput, CreateBucketOutput, DeleteMarkerEntry, DeleteObjectInput, DeleteObjectOutput, ETag,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsV2Input, ListObjectsV2Output, Object, ObjectVersion, PutObjectInput,
    PutObjectOutput, StreamingBlob,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::objects::No;
use super::wire::ConnectionId;
use super::{Lie, Shared, locked};
use crate::store::{Cond, Etag, Refused, Sha256Digest};

/// The S3 operations that the registry and its tests use.
pub(super) struct Backend(pub(super) Arc<Shared>);

/// Who may sign.
pub(super) struct Keys(pub(super) Arc<Shared>);

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let keys = locked(&self.0.keys);
        let found = keys.iter().find(|(id, _)| id == access_key);
        found.map(|(_, secret)| SecretKey::from(secret.as_str())).ok_or_else(|| {
            s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
        })
    }
}

impl From<No> for s3s::S3Error {
    fn from(no: No) -> Self {
        match no {
            No::Bucket => s3_error!(NoSuchBucket, "The specified bucket does not exist"),
            No::Condition(Refused::Missing) => s3_error!(NoSuchKey, "The specified key does not exist."),
            No::Condition(Refused::Conflict) => s3_error!(ConditionalRequestConflict),
            No::Condition(Refused::Precondition) => {
                s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
            }
        }
    }
}

impl Backend {
    /// The condition of a put, from the headers as they came.
    fn cond(&self, headers: &HeaderMap) -> S3Result<Cond> {
        let lie = self.0.objects.lie();
        let cond = match (header(headers, "if-none-match"), header(headers, "if-match")) {
            (None, None) => Cond::Any,
            (Some("*"), None) => Cond::Absent,
            // The quotes are part of the comparison here, so a quoted one never holds.
            (None, Some(etag)) if lie == Lie::BareEtags && etag.starts_with('"') => {
                Cond::Matches(Etag::new("quotes never match"))
            }
            (None, Some(etag)) => Cond::Matches(Etag::new(etag)),
            _ => {
                return Err(s3_error!(
                    NotImplemented,
                    "A header you provided implies functionality that is not implemented"
                ));
            }
        };
        if lie == Lie::RefusesConditions && cond != Cond::Any {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        Ok(cond)
    }

    /// The whole body. Cut ones are refused, and so are those that nothing covers.
    async fn body(&self, body: Option<StreamingBlob>, headers: &HeaderMap) -> S3Result<Bytes> {
        let checksum = header(headers, "x-amz-checksum-sha256");
        let covered = checksum.is_some() || header(headers, "x-amz-content-sha256") != Some("UNSIGNED-PAYLOAD");
        let keeps_cut = self.0.objects.lie() == Lie::KeepsCutBodies;
        if !covered && !keeps_cut {
            return Err(s3_error!(InvalidRequest, "this body is covered by neither the signature nor a checksum"));
        }
        let mut all = BytesMut::new();
        let mut body = body;
        while let Some(chunk) = match &mut body {
            Some(body) => body.next().await,
            None => None,
        } {
            match chunk {
                Ok(chunk) => all.extend_from_slice(&chunk),
                Err(_) if keeps_cut && !covered => break,
                Err(err) => return Err(s3_error!(IncompleteBody, "{err}")),
            }
        }
        let announced = header(headers, "content-length").and_then(|len| len.parse::<usize>().ok());
        if announced.is_some_and(|len| len != all.len()) && (covered || !keeps_cut) {
            return Err(s3_error!(IncompleteBody));
        }
        if checksum.is_some_and(|sum| sum != BASE64.encode(Sha256Digest::of(&all).as_bytes())) {
            return Err(s3_error!(BadDigest, "The SHA256 you specified did not match the calculated checksum."));
        }
        Ok(all.freeze())
    }
}

#[async_trait]
impl S3 for Backend {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let connection = connection(&req.extensions);
        let cond = self.cond(&req.headers)?;
        let input = req.input;
        self.0.objects.check_early(&input.bucket, &input.key, &cond)?;
        let bytes = self.body(input.body, &req.headers).await?;
        let etag = self.0.objects.put(&input.bucket, &input.key, bytes, &cond, connection).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(strong(&etag)), ..Default::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let (bucket, key) = (&req.input.bucket, &req.input.key);
        let found = match &req.input.version_id {
            Some(id) => self.0.objects.state(bucket, key, id)?.ok_or(s3s::S3ErrorCode::NoSuchVersion),
            None => self.0.objects.get(bucket, key, connection(&req.extensions))?.ok_or(s3s::S3ErrorCode::NoSuchKey),
        };
        let (etag, bytes) =
            found.map_err(|code| s3s::S3Error::with_message(code, "The specified key does not exist."))?;
        let known = header(&req.headers, "if-none-match");
        if known.is_some_and(|known| known == format!("\"{etag}\"") || known == etag.as_str()) {
            return Err(s3_error!(NotModified));
        }
        let total = bytes.len();
        let (bytes, content_range) = match req.input.range {
            // A real server sends a part, and says which.
            Some(range) if self.0.objects.lie() != Lie::IgnoresRange => {
                let part = range.check(total as u64)?;
                let said = format!("bytes {}-{}/{total}", part.start, part.end - 1);
                (bytes.slice(part.start as usize..part.end as usize), Some(said))
            }
            _ => (bytes, None),
        };
        let output = GetObjectOutput {
            content_range,
            content_length: i64::try_from(bytes.len()).ok(),
            e_tag: Some(strong(&etag)),
            body: Some(StreamingBlob::from(s3s::Body::from(bytes))),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let connection = connection(&req.extensions);
        let input = req.input;
        let prefix = input.prefix.clone().unwrap_or_default();
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref());
        let mut found = self.0.objects.list(&input.bucket, &prefix, after, connection)?;
        let max = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(1000).min(1000);
        let truncated = found.len() > max;
        found.truncate(max);
        let last = found.last().map(|listed| listed.key.clone());
        let contents = found.into_iter().map(|listed| Object {
            e_tag: Some(strong(&listed.etag)),
            key: Some(listed.key),
            size: i64::try_from(listed.len).ok(),
            last_modified: Some((std::time::UNIX_EPOCH + listed.modified).into()),
            ..Default::default()
        });
        let contents: Vec<Object> = contents.collect();
        let output = ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            key_count: i32::try_from(contents.len()).ok(),
            max_keys: i32::try_from(max).ok(),
            contents: Some(contents),
            is_truncated: Some(truncated),
            next_continuation_token: last.filter(|_| truncated),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let prefix = req.input.prefix.clone().unwrap_or_default();
        let (mut versions, mut delete_markers) = (Vec::new(), Vec::new());
        let mut found = self.0.objects.states(&req.input.bucket, &prefix)?;
        let max = usize::try_from(req.input.max_keys.unwrap_or(1000)).unwrap_or(1000).min(1000);
        let truncated = found.len() > max;
        found.truncate(max);
        for state in found {
            let (key, version_id, is_latest) = (Some(state.key), Some(state.id), Some(state.is_latest));
            let last_modified = Some((std::time::UNIX_EPOCH + state.modified).into());
            match state.content {
                Some((etag, len)) => versions.push(ObjectVersion {
                    e_tag: Some(strong(&etag)),
                    size: i64::try_from(len).ok(),
                    key,
                    version_id,
                    is_latest,
                    last_modified,
                    ..Default::default()
                }),
                None => delete_markers.push(DeleteMarkerEntry {
                    key,
                    version_id,
                    is_latest,
                    last_modified,
                    ..Default::default()
                }),
            }
        }
        let output = ListObjectVersionsOutput {
            name: Some(req.input.bucket),
            prefix: Some(prefix),
            is_truncated: Some(truncated),
            versions: Some(versions),
            delete_markers: Some(delete_markers),
            ..Default::default()
        };
        Ok(S3Response::new(output))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.objects.delete(&req.input.bucket, &req.input.key, connection(&req.extensions))?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        if self.0.objects.create_bucket(&req.input.bucket) {
            return Ok(S3Response::new(CreateBucketOutput::default()));
        }
        Err(s3_error!(BucketAlreadyOwnedByYou))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        if self.0.objects.has_bucket(&req.input.bucket) {
            return Ok(S3Response::new(HeadBucketOutput::default()));
        }
        Err(s3_error!(NoSuchBucket))
    }
}

fn strong(etag: &Etag) -> ETag {
    ETag::Strong(etag.to_string())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn connection(extensions: &http::Extensions) -> u64 {
    extensions.get::<ConnectionId>().map_or(0, |id| id.0)
}
