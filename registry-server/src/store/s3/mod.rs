//! A store in a bucket of an S3-compatible server. The only folder that names `aws_sdk_s3`.
//!
//! What differs from the SDK's defaults, and why:
//! - conditional puts are sent once: the SDK would send them again after a lost reply, and take the 412 for its own success as a defeat;
//! - no CRC trailers: some servers refuse them, some store them. Bytes are covered by the signature, files by `x-amz-checksum-sha256`, so that a
//!   cut upload never becomes an object (servers exist that publish half a body that nothing covers);
//! - every attempt has a deadline that grows with the body, and a download may not stand still;
//! - credentials from a directory are read again every few seconds, and once more when S3 refuses them.

mod answer;
mod client;
mod config;
mod credentials;
mod halves;
mod history;
mod part;
mod presign;
mod rules;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, Length, SdkBody};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::oneshot;

use self::answer::Failure;
pub use self::config::{S3Config, S3ConfigError, S3Credentials, S3Timeouts};
use self::credentials::DirectoryCredentials;
pub use self::rules::{S3Mutant, S3Rules};
use super::proof::{EtagDialect, Provable};
use super::{
    Body, Cond, Cursor, Entry, Etag, Get, Key, Object, ObjectBody, PAGE_ENTRIES_MAX, Page, Part, Past, Prefix, Put,
    Sha256Digest, Store, StoreError, StoreErrorKind,
};

/// A bucket, reached over connections of its own. Clones share them.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    /// As others reach the server, to sign URLs for them.
    public: Option<Client>,
    config: Arc<S3Config>,
    directory: Option<DirectoryCredentials>,
    /// Whether ETags go into conditions without quotes; shared with the witnesses. See [`EtagDialect`].
    bare_etags: Arc<AtomicBool>,
    rules: S3Rules,
}

impl S3Store {
    /// Sets a client up. Sends nothing to S3 (ambient credentials may be looked for): whether the bucket is there and keeps its promises is the
    /// business of [`super::proof`].
    ///
    /// # Errors
    /// What can be judged from the configuration and the files it names.
    pub async fn connect(config: S3Config) -> Result<Self, S3ConfigError> {
        config.check()?;
        let directory = config.credentials.directory();
        let client = Box::pin(client::build(&config, directory.as_ref(), 0)).await?;
        let public = config
            .public_endpoint
            .as_ref()
            .map(|endpoint| Client::from_conf(client.config().to_builder().endpoint_url(endpoint).build()));
        Ok(Self {
            client,
            public,
            config: Arc::new(config),
            directory,
            bare_etags: Arc::default(),
            rules: S3Rules::default(),
        })
    }

    /// Looks at everything that the configuration names without sending anything; also at the credentials of a mounted Secret, which a
    /// server reads when it needs them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(config: &S3Config) -> Result<(), S3ConfigError> {
        config.check()?;
        client::check(config)?;
        match &config.credentials {
            S3Credentials::Directory(path) => {
                credentials::check(path).map_err(|problem| S3ConfigError::Credentials { path: path.clone(), problem })
            }
            S3Credentials::Ambient => Ok(()),
        }
    }

    /// The same with a rule broken, for a test.
    #[cfg(feature = "test-support")]
    #[must_use]
    pub fn without(self, mutant: S3Mutant) -> Self {
        Self { rules: S3Rules::without(mutant), ..self }
    }

    fn object_key(&self, key: &Key) -> String {
        format!("{}{key}", self.config.prefix)
    }

    /// An ETag as this server wants it in a condition.
    fn in_condition(&self, etag: &Etag) -> String {
        if self.bare_etags.load(Ordering::Relaxed) { etag.to_string() } else { format!("\"{etag}\"") }
    }

    fn request(&self, operation: &str, key: &str) -> String {
        format!("{operation} `{key}` in bucket `{}` at {}", self.config.bucket, self.config.endpoint_label())
    }

    /// Sends, and once more if the server refused credentials that have been replaced in the meantime.
    async fn send<T, E, F>(&self, request: &str, send: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        // On the heap: the SDK's futures are too large to be carried around by ours.
        let failure = match Box::pin(send()).await {
            Ok(answer) => return Ok(answer),
            Err(err) => Failure::of(request, err),
        };
        match &self.directory {
            Some(directory) if failure.blames_credentials() && directory.reload().await => {
                Box::pin(send()).await.map_err(|err| Failure::of(request, err))
            }
            _ => Err(failure),
        }
    }

    async fn put_body(&self, key: &Key, body: &Body, cond: &Cond) -> Put {
        let key = self.object_key(key);
        let request = self.request("PutObject", &key);
        let (payload, checksum) = match payload(body).await {
            Ok(payload) => payload,
            Err(err) => return Put::NotSent(err),
        };
        let conditional = *cond != Cond::Any;
        let repeat = !conditional || self.rules.broken(S3Mutant::ConditionalPutRepeated);
        let sent = self.send(&request, || {
            let payload = payload.try_clone().expect("bytes and files can be read again");
            let put = self.put_request(&key, cond, ByteStream::new(payload)).set_checksum_sha256(checksum.clone());
            put.customize().config_override(client::for_put(&self.config, body.len(), repeat)).send()
        });
        match sent.await {
            Ok(answer) => stored(&request, answer.e_tag()),
            Err(failure) => failure.into_put(conditional),
        }
    }

    fn put_request(&self, key: &str, cond: &Cond, body: ByteStream) -> PutObjectFluentBuilder {
        let put = self.client.put_object().bucket(&self.config.bucket).key(key).body(body);
        match cond {
            Cond::Any => put,
            Cond::Absent => put.if_none_match("*"),
            Cond::Matches(etag) => put.if_match(self.in_condition(etag)),
        }
    }

    /// `Ok(None)`: not one of our keys.
    fn entry(&self, request: &str, object: &aws_sdk_s3::types::Object) -> Result<Option<Entry>, StoreError> {
        let text = object.key().and_then(|key| key.strip_prefix(self.config.prefix.as_str()));
        let Some(key) = text.and_then(Key::parse) else { return Ok(None) };
        let len = object.size().and_then(|len| u64::try_from(len).ok());
        let modified =
            object.last_modified().and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos().cast_signed()).ok());
        let (Some(etag), Some(len), Some(modified)) = (object.e_tag(), len, modified) else {
            // To leave it out would be to say that it does not exist.
            let message = format!("{request}: S3 listed `{key}` without an ETag, a length or a date");
            return Err(StoreError::new(StoreErrorKind::Rejected, message));
        };
        Ok(Some(Entry { key, etag: Etag::new(etag), len, modified }))
    }
}

#[async_trait]
impl Store for S3Store {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let key = self.object_key(key);
        let request = self.request("GetObject", &key);
        let sent = self.send(&request, || {
            let get = self.client.get_object().bucket(&self.config.bucket).key(&key);
            get.set_if_none_match(if_none_match.map(|etag| self.in_condition(etag))).send()
        });
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(failure) => {
                return match failure.status() {
                    Some(304) => Ok(Get::NotModified),
                    _ if failure.is_no_object() => Ok(Get::Missing),
                    _ => Err(failure.into_error()),
                };
            }
        };
        let etag = answer.e_tag().map(Etag::new);
        let len = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(etag), Some(len)) = (etag, len) else {
            return Err(Failure::incomplete(&request, "an ETag or a length").into_error());
        };
        // Some servers ignore If-None-Match on a get.
        if if_none_match == Some(&etag) {
            return Ok(Get::NotModified);
        }
        Ok(Get::Found(Object { etag, len, body: ObjectBody::new(len, chunks(request, answer.body)) }))
    }

    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        self.part(key, part).await
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.put_body(key, &body, &cond).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let prefix = format!("{}{prefix}", self.config.prefix);
        let request = self.request("ListObjectsV2", &prefix);
        let after = after.map(|cursor| format!("{}{}", self.config.prefix, cursor.0));
        let sent = self.send(&request, || {
            let list = self.client.list_objects_v2().bucket(&self.config.bucket).prefix(&prefix);
            list.max_keys(PAGE_ENTRIES_MAX as i32).set_start_after(after.clone()).send()
        });
        let answer = sent.await.map_err(Failure::into_error)?;
        let mut page = Page::default();
        for object in answer.contents() {
            match self.entry(&request, object)? {
                Some(entry) => page.entries.push(entry),
                None => page.foreign.extend(
                    object.key().and_then(|key| key.strip_prefix(self.config.prefix.as_str())).map(str::to_owned),
                ),
            }
        }
        if answer.is_truncated() == Some(true) {
            let last = answer.contents().last().and_then(|object| object.key());
            let cursor = last.and_then(|key| key.strip_prefix(self.config.prefix.as_str())).filter(|key| {
                // A page that does not advance would be asked for again for ever.
                after.as_deref().is_none_or(|after| format!("{}{key}", self.config.prefix).as_str() > after)
            });
            let Some(cursor) = cursor else {
                return Err(Failure::incomplete(&request, "entries, but said that more follow").into_error());
            };
            page.next = Some(Cursor(cursor.to_owned()));
        }
        Ok(page)
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let key = self.object_key(key);
        let request = self.request("DeleteObject", &key);
        let sent = self.send(&request, || self.client.delete_object().bucket(&self.config.bucket).key(&key).send());
        match sent.await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_no_object() => Ok(()),
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn presign_get(&self, key: &Key, valid: Duration) -> Result<Option<String>, StoreError> {
        self.presign(key, valid).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.list_history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.get_from_history(key, past).await
    }

    fn location(&self) -> String {
        let prefix = self.config.prefix.as_str();
        let below = if prefix.is_empty() { String::new() } else { format!(" below `{prefix}`") };
        format!("bucket `{}`{below} at {}", self.config.bucket, self.config.endpoint_label())
    }
}

#[async_trait]
impl Provable for S3Store {
    async fn witness(&self, number: usize) -> Result<Arc<dyn Provable>, StoreError> {
        let client = Box::pin(client::build(&self.config, self.directory.as_ref(), number))
            .await
            .map_err(|err| StoreError::new(StoreErrorKind::Rejected, err.to_string()))?;
        Ok(Arc::new(Self { client, ..self.clone() }))
    }

    fn etag_dialects(&self) -> &'static [EtagDialect] {
        &[EtagDialect::Quoted, EtagDialect::Bare]
    }

    fn speak(&self, dialect: EtagDialect) {
        self.bare_etags.store(dialect == EtagDialect::Bare, Ordering::Relaxed);
    }

    async fn put_stalled(
        &self,
        key: &Key,
        bytes: Bytes,
        cond: Cond,
        handed_over: oneshot::Sender<()>,
        go_on: BoxFuture<'static, ()>,
    ) -> Option<Put> {
        let key = self.object_key(key);
        let request = self.request("PutObject", &key);
        let checksum = checksum_header(Sha256Digest::of(&bytes));
        let len = bytes.len() as u64;
        let put = self.put_request(&key, &cond, halves::body(bytes, handed_over, go_on)).checksum_sha256(checksum);
        let put = put.content_length(i64::try_from(len).expect("the proof's bodies are small"));
        let sent = Box::pin(put.customize().config_override(client::for_put(&self.config, len, false)).send()).await;
        Some(match sent {
            Ok(answer) => stored(&request, answer.e_tag()),
            Err(err) => Failure::of(&request, err).into_put(cond != Cond::Any),
        })
    }
}

/// The payload of a put, and the digest to send along.
async fn payload(body: &Body) -> Result<(SdkBody, Option<String>), StoreError> {
    match body {
        // The signature covers bytes in memory, so they need no other digest.
        Body::Bytes(bytes) => Ok((SdkBody::from(bytes.clone()), None)),
        Body::File(file) => {
            let opened = ByteStream::read_from().path(file.path()).length(Length::Exact(file.len())).build().await;
            let stream = opened.map_err(|err| {
                let message = format!("cannot read the spooled upload {}: {err}", file.path().display());
                StoreError::new(StoreErrorKind::Unavailable, message)
            })?;
            Ok((stream.into_inner(), Some(checksum_header(file.sha256()))))
        }
    }
}

fn stored(request: &str, etag: Option<&str>) -> Put {
    match etag {
        Some(etag) => Put::Stored(Etag::new(etag)),
        None => Put::Unknown(Failure::incomplete(request, "an ETag").into_error()),
    }
}

/// The value of `x-amz-checksum-sha256`.
fn checksum_header(digest: Sha256Digest) -> String {
    BASE64.encode(digest.as_bytes())
}

fn chunks(request: String, body: ByteStream) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
    futures::stream::unfold((request, body), |(request, mut body)| async move {
        let chunk = body.next().await?;
        let chunk = chunk.map_err(|err| {
            let message = format!("{request}: the answer broke off: {}", answer::causes(&err));
            StoreError::new(StoreErrorKind::Unavailable, message)
        });
        Some((chunk, (request, body)))
    })
}

#[cfg(test)]
mod tests;
