//! URLs that carry their own right to one object for a while: SigV4 in the query.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;

use super::{S3Store, answer};
use crate::store::{Key, StoreError, StoreErrorKind};

impl S3Store {
    /// Signs with the public endpoint; nothing is sent.
    pub(super) async fn presign(&self, key: &Key, valid: Duration) -> Result<Option<String>, StoreError> {
        let Some(public) = &self.public else { return Ok(None) };
        let key = self.object_key(key);
        let fail = |error: &(dyn std::error::Error + 'static)| {
            let message = format!("{}: {}", self.request("a signed URL for", &key), answer::causes(error));
            StoreError::new(StoreErrorKind::Denied, message)
        };
        let config = PresigningConfig::expires_in(valid).map_err(|error| fail(&error))?;
        let get = public.get_object().bucket(&self.config.bucket).key(&key);
        let signed = Box::pin(get.presigned(config)).await.map_err(|error| fail(&error))?;
        Ok(Some(signed.uri().to_owned()))
    }
}
