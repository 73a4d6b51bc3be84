//! What a bucket with versioning still has of earlier states of an object.

use aws_sdk_s3::types::ObjectVersion;
use jiff::Timestamp;

use super::answer::Failure;
use super::{S3Store, chunks};
use crate::store::{Etag, Get, Key, Object, ObjectBody, PAGE_ENTRIES_MAX, Past, StoreError};

impl S3Store {
    /// One page: versions of a key come newest first, and whoever wants an earlier state wants a late one.
    pub(super) async fn list_history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        let key = self.object_key(key);
        let request = self.request("ListObjectVersions", &key);
        let sent = self.send(&request, || {
            let list = self.client.list_object_versions().bucket(&self.config.bucket).prefix(&key);
            list.max_keys(PAGE_ENTRIES_MAX as i32).send()
        });
        let answer = match sent.await {
            Ok(answer) => answer,
            // Some servers do not know versions.
            Err(failure) if failure.status() == Some(501) => return Ok(Vec::new()),
            Err(failure) => return Err(failure.into_error()),
        };
        // A key comes before all others that begin with it. Without versioning, the one version of it is the current object.
        let own = answer.versions().iter().filter(|version| version.key() == Some(key.as_str()));
        let earlier = own.filter(|version| version.is_latest() != Some(true));
        Ok(earlier.filter_map(past).collect())
    }

    pub(super) async fn get_from_history(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        let key = self.object_key(key);
        let request = self.request("GetObject", &format!("{key}?versionId={}", past.id));
        let sent = self.send(&request, || {
            self.client.get_object().bucket(&self.config.bucket).key(&key).version_id(&past.id).send()
        });
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(failure) if failure.is_no_object() => return Ok(Get::Missing),
            Err(failure) => return Err(failure.into_error()),
        };
        let len = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(etag), Some(len)) = (answer.e_tag().map(Etag::new), len) else {
            return Err(Failure::incomplete(&request, "an ETag or a length").into_error());
        };
        Ok(Get::Found(Object { etag, len, body: ObjectBody::new(len, chunks(request, answer.body)) }))
    }
}

fn past(version: &ObjectVersion) -> Option<Past> {
    let at = version.last_modified()?;
    Some(Past {
        id: version.version_id()?.to_owned(),
        modified: Timestamp::new(at.secs(), at.subsec_nanos().cast_signed()).ok()?,
        len: u64::try_from(version.size()?).ok()?,
    })
}
