//! Bytes under keys, with conditional writes: all that the registry asks of object storage.
//!
//! Reading order: [`Key`] (the layout of the bucket), [`Store`] (the trait), then the adapters [`MemoryStore`] (tests),
//! [`FileStore`] (one directory, one process) and [`S3Store`]; [`proof`] is how a server finds out at start-up whether a store
//! keeps the promises below. `contract`, `faulty` and `s3_server` (feature `test-support`) hold every store to them in tests.
//!
//! What every adapter promises, what the contract suite checks and what the whole registry rests on:
//! - **Linearizable per key**: a get or list that begins after a put or delete has returned sees it, from any connection.
//! - **Conditions hold when the bytes land**, not when the request arrives: of any number of concurrent puts with the same
//!   condition exactly one is stored, and what is stored is the winner's body, whole.
//! - **ETags name versions**: a get pairs an ETag with the bytes it belongs to, and two different contents of a key never share one.
//!   (On S3 the same content may have the same ETag again: whoever needs more puts something unique into the content.)
//! - **A put that is cut in the middle stores nothing.**
//!
//! What must never exist here: object keys as strings outside [`Key`] (a prefix that the user configured is an adapter's own
//! affair), knowledge of what the bytes mean, the name `aws_sdk_s3` outside `s3/`, a delete that nobody asked for.

mod body;
pub mod clock;
#[cfg(feature = "test-support")]
pub mod contract;
mod digest;
mod error;
mod etag;
#[cfg(feature = "test-support")]
pub mod faulty;
pub mod file;
pub mod key;
mod memory;
mod prefix;
pub mod proof;
pub(crate) mod reading;
pub mod s3;
#[cfg(feature = "test-support")]
pub mod s3_server;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
pub use ulid::Ulid;

pub use self::body::{Body, Object, ObjectBody, Part, SpooledFile};
pub use self::digest::Sha256Digest;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::etag::Etag;
pub use self::file::FileStore;
pub use self::key::{AuditKey, CatalogFile, Key, KeyError, Prefix};
pub use self::memory::MemoryStore;
pub use self::prefix::{KeyPrefix, KeyPrefixError};
pub use self::s3::S3Store;

/// How many entries a page of a listing has at most. Every S3 server's limit.
pub const PAGE_ENTRIES_MAX: usize = 1000;

/// Object storage.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads an object, or learns that it still has the ETag that the caller knows.
    ///
    /// Repeated by the adapter where that is safe; an error is the final word.
    ///
    /// While a key is being overwritten some servers pair the *older* ETag and length with the newer bytes (never the other way round). A
    /// compare-and-swap with that ETag is refused, so nothing is lost; but the bytes may be cut off at the older length. Who decodes them
    /// has to notice, and read again.
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError>;

    /// Reads a part of an object; `None` if there is no such object. `part` counts bytes from the beginning and is not empty.
    ///
    /// For objects whose content never changes. Nobody can check the content of a part: what can be compared is the length of the whole object,
    /// which comes with it, and its ETag.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `Corrupt` if the object ends before the part does.
    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        // For stores around others, in tests; those that serve skip what stands before the part.
        match self.get(key, None).await? {
            Get::Found(object) => object.part(part).map(Some),
            Get::NotModified | Get::Missing => Ok(None),
        }
    }

    /// Stores an object whole, if `cond` holds. Conditional puts are sent once: see [`Put`].
    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put;

    /// Stores `first` without a condition, and then the second object, if `cond` holds: at no time, not even after a power cut, the second
    /// is there without the first.
    ///
    /// # Errors
    /// The first could not be stored; the second was not sent, and will not be. Otherwise the [`Put`] tells of the second, and the first is
    /// stored, but for `Unknown`, which may be about both.
    async fn put_after(&self, first: (&Key, Body), then: (&Key, Body), cond: Cond) -> Result<Put, StoreError> {
        // A store that can do better than one after the other says how.
        self.put(first.0, first.1, Cond::Any).await.unconditional(first.0)?;
        Ok(self.put(then.0, then.1, cond).await)
    }

    /// One page of the objects below `prefix`, in the byte order of their keys, after `after` (from the start if `None`).
    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError>;

    /// Deletes an object; success too if it was not there.
    async fn delete(&self, key: &Key) -> Result<(), StoreError>;

    /// A URL at which anybody may get this object until `valid` is over, without a credential. `None`: this store hands out none.
    async fn presign_get(&self, _key: &Key, _valid: Duration) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    /// The states that an object had before its current one (or before it was deleted), as far as the store still has them, the newest first.
    /// Nothing where the store keeps no history.
    async fn history(&self, _key: &Key) -> Result<Vec<Past>, StoreError> {
        Ok(Vec::new())
    }

    /// Reads one of those states.
    async fn get_past(&self, _key: &Key, _past: &Past) -> Result<Get, StoreError> {
        Ok(Get::Missing)
    }

    /// Where the bytes are, in words for logs and errors: "bucket `crates` at https://…", "directory /var/lib/…". No secrets.
    fn location(&self) -> String;
}

/// The answer to a get.
#[derive(Debug)]
pub enum Get {
    /// The object.
    Found(Object),
    /// The object still has the ETag that was given.
    NotModified,
    /// There is no such object.
    Missing,
}

/// The condition of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cond {
    /// None: for keys that no two writers share.
    Any,
    /// There is no object under the key (`If-None-Match: *`).
    Absent,
    /// The object has this ETag (`If-Match`).
    Matches(Etag),
}

/// How a put ended. Four cases, because a writer does four different things next. (Sources: the S3 user guide's "conditional
/// requests", and what servers were seen to do.)
///
/// The statuses are those of the request that was sent last. Conditional puts are sent exactly once: a second sending could be refused
/// because of the first, which landed although its answer was lost. Unconditional ones are repeated a few times.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a put may have failed, or its outcome be unknown"]
pub enum Put {
    /// 200: stored, and this is its ETag.
    Stored(Etag),
    /// The condition did not hold. Nothing was stored by this put, now or later. Read again and decide anew.
    Refused(Refused),
    /// Nothing was stored, and nothing will be, and the condition was not judged. Sending the same again is safe.
    ///
    /// - no connection: name not resolved, refused, TLS failed, connect time-out, or no credentials to sign with: `Unavailable` or `Denied`;
    /// - 401, 403: `Denied`. S3 checks signature and rights before anything else;
    /// - 404 with the code `NoSuchBucket`, 301, 307: `NoBucket`; any other 404 without `NoSuchKey`: `Rejected`;
    /// - 429, and 503 with the code `SlowDown`: `Throttled`. The request was turned away at the door;
    /// - any other 4xx, and 501: `Rejected` (`Corrupt` for `BadDigest` and its kin: the bytes did not arrive as they were sent;
    ///   `Unavailable` for `RequestTimeout`: they did not arrive in time).
    NotSent(StoreError),
    /// No one can tell: it may have been stored, or be stored *later*. Read the object and look for something that only this put
    /// wrote. Not finding it proves nothing until another conditional put on the key has succeeded.
    ///
    /// - the connection broke, or a deadline passed, after the first byte of the request was written;
    /// - 500, 502, 504 and any other 5xx, 503 without `SlowDown` among them: a proxy answers so although the server behind it goes on;
    /// - an answer that is not HTTP or S3, a success without an ETag.
    Unknown(StoreError),
}

impl Put {
    /// How a put without a condition ended, which may be repeated: stored, or perhaps not.
    ///
    /// # Errors
    /// It is not known to be stored.
    pub fn unconditional(self, key: &Key) -> Result<Etag, StoreError> {
        match self {
            Self::Stored(etag) => Ok(etag),
            Self::NotSent(error) | Self::Unknown(error) => Err(error),
            Self::Refused(refused) => {
                let text = format!("{key}: {refused:?} without a condition");
                Err(StoreError::new(StoreErrorKind::Rejected, text))
            }
        }
    }

    /// A closed set of words, for metrics and logs.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Stored(_) => "stored",
            Self::Refused(Refused::Precondition) => "precondition",
            Self::Refused(Refused::Conflict) => "conflict",
            Self::Refused(Refused::Missing) => "missing",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Which way a condition failed. Only [`Conflict`](Refused::Conflict) asks for other behaviour: a pause before the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// 412: the object is there (for [`Cond::Absent`]) or has another ETag (for [`Cond::Matches`]).
    Precondition,
    /// 409: another request on the same key was under way. It may or may not change the object.
    Conflict,
    /// 404 with the code `NoSuchKey`: [`Cond::Matches`], and there is no object.
    Missing,
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The objects whose keys are ours.
    pub entries: Vec<Entry>,
    /// The keys of objects that are not ours; they are left alone.
    pub foreign: Vec<String>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// The ETag that a get would answer with.
    pub etag: Etag,
    /// Length in bytes.
    pub len: u64,
    /// When it was stored, by the store's own clock ([`clock::now`]).
    pub modified: Timestamp,
}

/// An earlier state of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The store's own name for it.
    pub id: String,
    /// When it was stored, by the store's own clock.
    pub modified: Timestamp,
    /// Length in bytes.
    pub len: u64,
}

/// A place in a listing: the object key (without the configured prefix) after which to go on. Only a page makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

/// All objects below `prefix`. For listings that are known to be short or that must be complete; others go page by page.
pub async fn list_all(store: &dyn Store, prefix: &Prefix) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut after = None;
    loop {
        let page = store.list(prefix, after.as_ref()).await?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(entries),
        }
    }
}

#[async_trait]
impl<S: Store + ?Sized> Store for Arc<S> {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        (**self).get(key, if_none_match).await
    }

    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        (**self).get_part(key, part).await
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        (**self).put(key, body, cond).await
    }

    async fn put_after(&self, first: (&Key, Body), then: (&Key, Body), cond: Cond) -> Result<Put, StoreError> {
        (**self).put_after(first, then, cond).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        (**self).list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        (**self).delete(key).await
    }

    async fn presign_get(&self, key: &Key, valid: Duration) -> Result<Option<String>, StoreError> {
        (**self).presign_get(key, valid).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        (**self).history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        (**self).get_past(key, past).await
    }

    fn location(&self) -> String {
        (**self).location()
    }
}
