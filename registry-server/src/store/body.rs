//! Bytes on their way into a store and out of it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::ops::Range;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tempfile::TempPath;
use tokio::sync::OwnedSemaphorePermit;

use super::{Etag, Sha256Digest, StoreError, StoreErrorKind};

/// What a put stores. Cloning is cheap: the same bytes may have to be sent again.
#[derive(Debug, Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in a temporary file, for what is too large to be held.
    File(SpooledFile),
}

/// A temporary file with known length and digest. It is deleted when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct SpooledFile {
    file: Arc<Kept>,
    len: u64,
    sha256: Sha256Digest,
}

/// What goes with the last clone, in this order.
#[derive(Debug)]
struct Kept {
    path: TempPath,
    /// The file's share of the space for spooled files.
    _space: Option<OwnedSemaphorePermit>,
}

impl SpooledFile {
    /// Takes a file that is complete and will not be written any more, with its length in bytes and the digest computed while it
    /// was written. A store sends the digest along, so that a file that changed or an upload that was cut never becomes an object.
    pub fn new(path: TempPath, len: u64, sha256: Sha256Digest) -> Self {
        Self::within(None, path, len, sha256)
    }

    /// As [`new`](Self::new); `space` is given back when the file is deleted.
    pub fn within(space: Option<OwnedSemaphorePermit>, path: TempPath, len: u64, sha256: Sha256Digest) -> Self {
        Self { file: Arc::new(Kept { path, _space: space }), len, sha256 }
    }

    /// Where the bytes are, for as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the bytes and makes sure that they are still what was spooled. Blocks.
    pub(super) fn copy_to(&self, to: &mut impl Write) -> Result<(), StoreError> {
        let fail = |err: io::Error| {
            let message = format!("cannot copy the spooled upload {}: {err}", self.path().display());
            StoreError::new(StoreErrorKind::Unavailable, message)
        };
        let mut from = File::open(self.path()).map_err(fail)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = from.read(&mut buffer).map_err(fail)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            to.write_all(&buffer[..count]).map_err(fail)?;
        }
        if Sha256Digest::from_bytes(digest.finalize().into()) == self.sha256 {
            return Ok(());
        }
        let message = format!("the spooled upload {} changed after it was written", self.path().display());
        Err(StoreError::new(StoreErrorKind::Corrupt, message))
    }

    /// The digest of the bytes.
    pub const fn sha256(&self) -> Sha256Digest {
        self.sha256
    }
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(file) => file.len,
        }
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<SpooledFile> for Body {
    fn from(file: SpooledFile) -> Self {
        Self::File(file)
    }
}

/// An object that was found. `etag`, `len` and `body` belong to one version of it.
#[derive(Debug)]
pub struct Object {
    /// The version that was read.
    pub etag: Etag,
    /// Length in bytes.
    pub len: u64,
    /// The bytes.
    pub body: ObjectBody,
}

/// A part of an object that was found.
#[derive(Debug)]
pub struct Part {
    /// The version that was read.
    pub etag: Etag,
    /// Length of the whole object in bytes.
    pub len: u64,
    /// The bytes of the part.
    pub body: ObjectBody,
}

impl Object {
    /// A part of it. What stands before is read and dropped, and nothing is read behind it.
    pub(super) fn part(self, part: Range<u64>) -> Result<Part, StoreError> {
        check_part(&part, self.len)?;
        Ok(Part { etag: self.etag, len: self.len, body: self.body.part(part) })
    }

    /// Reads the whole object, if it is not longer than `bytes_max`.
    ///
    /// # Errors
    /// `TooLarge` before anything is read; `Unavailable` when the body ends early.
    pub async fn bytes(self, bytes_max: u64) -> Result<Bytes, StoreError> {
        if self.len > bytes_max {
            let message = format!("the object has {} bytes, and the limit here is {bytes_max}", self.len);
            return Err(StoreError::new(StoreErrorKind::TooLarge, message));
        }
        self.body.bytes().await
    }
}

/// The bytes of an object as a stream of chunks, which yields exactly `len` bytes or an error: a cut answer is never taken for a
/// short object. After an error it ends.
///
/// `Send + Sync`, as a warp reply wants it.
pub struct ObjectBody {
    // `Sync` without a lock: the stream is only ever reached through `get_mut`.
    chunks: Mutex<BoxStream<'static, Result<Bytes, StoreError>>>,
    remaining: u64,
    done: bool,
}

/// Whether an object of `len` bytes has that part.
pub(super) fn check_part(part: &Range<u64>, len: u64) -> Result<(), StoreError> {
    if part.end <= len {
        return Ok(());
    }
    let message = format!("the object has {len} bytes, and bytes {} to {} are wanted", part.start, part.end);
    Err(StoreError::new(StoreErrorKind::Corrupt, message))
}

impl ObjectBody {
    /// A body of `len` bytes that arrive in `chunks`.
    pub fn new(len: u64, chunks: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static) -> Self {
        Self { chunks: Mutex::new(chunks.boxed()), remaining: len, done: false }
    }

    /// A body that is in memory already.
    pub fn whole(bytes: Bytes) -> Self {
        Self::new(bytes.len() as u64, futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))))
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// `Unavailable` when it ends early.
    pub async fn bytes(mut self) -> Result<Bytes, StoreError> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await.transpose()? else { return Ok(first) };
        // The length is what the store claims, so memory is taken as the bytes arrive, not on its word.
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.freeze())
    }

    fn part(self, part: Range<u64>) -> Self {
        let len = part.end - part.start;
        let chunks = futures::stream::unfold((self, part, 0), |(mut body, part, mut at)| async move {
            while at < part.end {
                let chunk = match body.next().await? {
                    Ok(chunk) => chunk,
                    Err(error) => return Some((Err(error), (body, 0..0, 0))),
                };
                let (begins, ends) = (at, at + chunk.len() as u64);
                at = ends;
                if ends > part.start {
                    let (from, to) = (part.start.max(begins) - begins, part.end.min(ends) - begins);
                    return Some((Ok(chunk.slice(from as usize..to as usize)), (body, part, at)));
                }
            }
            None
        });
        Self::new(len, chunks)
    }

    fn check(&mut self, chunk: Option<Result<Bytes, StoreError>>) -> Option<Result<Bytes, StoreError>> {
        let cut = |what: String| Some(Err(StoreError::new(StoreErrorKind::Unavailable, what)));
        match chunk {
            Some(Ok(bytes)) if bytes.len() as u64 > self.remaining => {
                cut(format!("the store sent {} bytes too many", bytes.len() as u64 - self.remaining))
            }
            Some(Ok(bytes)) => {
                self.remaining -= bytes.len() as u64;
                Some(Ok(bytes))
            }
            None if self.remaining > 0 => {
                cut(format!("the store's answer ended {} bytes before the end of the object", self.remaining))
            }
            other => other,
        }
    }
}

impl Stream for ObjectBody {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let chunks = self.chunks.get_mut().unwrap_or_else(PoisonError::into_inner);
        let chunk = std::task::ready!(chunks.poll_next_unpin(cx));
        let item = self.check(chunk);
        self.done = !matches!(item, Some(Ok(_)));
        Poll::Ready(item)
    }
}

impl fmt::Debug for ObjectBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectBody").field("remaining", &self.remaining).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    #[tokio::test]
    async fn a_part_is_cut_out_of_whatever_chunks_come() {
        let all: Vec<u8> = (0..10).collect();
        for size in 1..=10 {
            for start in 0..10 {
                for end in start + 1..=10 {
                    let chunks: Vec<_> = all.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
                    let body = ObjectBody::new(10, futures::stream::iter(chunks));
                    let part: Vec<Bytes> = body.part(start as u64..end as u64).try_collect().await.expect("a part");
                    assert_eq!(part.concat(), all[start..end], "{start}..{end} in chunks of {size}");
                }
            }
        }
    }
}
