//! A store in one directory, for one process: the embedded default, and the volume form on Kubernetes.
//!
//! Each object is one plain file at its key (`v1/crate/3f/serde`), so a backup is a copy and `zcat` reads a record. What it promises:
//! - a second process is refused by a lock ([`OpenError::InUse`] names the holder);
//! - a put is acknowledged when bytes and directory entry are on the disk (`fsync` on both), and in place by one `rename`: a crash leaves the old object or the
//!   new one (a crate file whose put was never acknowledged may be torn: its key is used once, and no record names it), and litter only in `.staging/`, which
//!   the next start sweeps. Entries of the audit log are left to the kernel, which writes them within half a minute: a power cut before that leaves them
//!   missing or empty, and `fsck --repair` writes them again from the records;
//! - conditions are judged under a lock on the key that is held until the file is in place.
//!
//! Blocking file operations run on tokio's blocking threads; one that has begun is carried through even if its caller goes away.

mod durable;
mod lock;
mod tree;
mod versions;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;

pub use self::lock::OpenError;
use self::tree::{Opened, Tree};
use super::body::check_part;
use super::proof::Provable;
use super::reading::pieces;
use super::{
    Body, Cond, Cursor, Etag, Get, Key, KeyPrefix, Object, ObjectBody, Page, Part, Prefix, Put, Store, StoreError,
    StoreErrorKind,
};

/// Objects up to this length are read in one go.
const WHOLE_BYTES_MAX: u64 = 256 * 1024;

/// Objects as files in a directory. Clones share the directory and its lock.
#[derive(Debug, Clone)]
pub struct FileStore {
    tree: Arc<Tree>,
}

impl FileStore {
    /// Opens `directory`, creating it if it does not exist. Keys lie below `prefix` in it.
    ///
    /// Blocks briefly on the file system: call it before serving.
    ///
    /// # Errors
    /// Another process holds the directory, or it cannot be created, read or written.
    pub fn open(directory: &Path, prefix: KeyPrefix) -> Result<Self, OpenError> {
        Ok(Self { tree: Arc::new(Tree::open(directory, prefix)?) })
    }

    /// Opens `directory` to look at it while another process may be writing to it: it has to exist, and every put and delete fails.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub fn open_to_read(directory: &Path, prefix: KeyPrefix) -> Result<Self, OpenError> {
        Ok(Self { tree: Arc::new(Tree::open_to_read(directory, prefix)?) })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let tree = Arc::clone(&self.tree);
        tokio::task::spawn_blocking(move || work(&tree)).await.map_err(|err| {
            StoreError::new(StoreErrorKind::Unavailable, format!("a file operation was abandoned: {err}"))
        })
    }
}

#[async_trait]
impl Store for FileStore {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let key = key.clone();
        let known = if_none_match.cloned();
        self.blocking(move |tree| {
            let Some(opened) = tree.read(&key)? else { return Ok(Get::Missing) };
            if Some(&opened.etag) == known.as_ref() {
                return Ok(Get::NotModified);
            }
            Ok(Get::Found(Object { etag: opened.etag.clone(), len: opened.len, body: body_of(opened)? }))
        })
        .await?
    }

    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        let key = key.clone();
        let Some(opened) = self.blocking(move |tree| tree.read(&key)).await?? else { return Ok(None) };
        check_part(&part, opened.len)?;
        Ok(Some(Part { etag: opened.etag, len: opened.len, body: stream(opened.file, part) }))
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let key = key.clone();
        match self.blocking(move |tree| tree.put(&key, &body, &cond)).await {
            Ok(put) => put,
            Err(err) => Put::Unknown(err),
        }
    }

    async fn put_after(&self, first: (&Key, Body), then: (&Key, Body), cond: Cond) -> Result<Put, StoreError> {
        let (first, then) = ((first.0.clone(), first.1), (then.0.clone(), then.1));
        match self.blocking(move |tree| tree.put_after((&first.0, &first.1), (&then.0, &then.1), &cond)).await {
            Ok(put) => put,
            Err(err) => Ok(Put::Unknown(err)),
        }
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let prefix = prefix.clone();
        let after = after.cloned();
        self.blocking(move |tree| tree.list(&prefix, after.as_ref())).await?
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        let key = key.clone();
        self.blocking(move |tree| tree.delete(&key)).await?
    }

    fn location(&self) -> String {
        format!("directory {}", self.tree.root().display())
    }
}

#[async_trait]
impl Provable for FileStore {
    async fn witness(&self, _number: usize) -> Result<Arc<dyn Provable>, StoreError> {
        Ok(Arc::new(self.clone()))
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn body_of(opened: Opened) -> Result<ObjectBody, StoreError> {
    let Opened { mut file, len, etag: _ } = opened;
    if len <= WHOLE_BYTES_MAX {
        let mut bytes = Vec::with_capacity(len as usize);
        file.read_to_end(&mut bytes).map_err(|err| read_error(&err))?;
        return Ok(ObjectBody::new(len, futures::stream::iter([Ok(Bytes::from(bytes))])));
    }
    Ok(stream(file, 0..len))
}

fn stream(file: File, part: Range<u64>) -> ObjectBody {
    ObjectBody::new(part.end - part.start, pieces(file, part).map_err(|err| read_error(&err)))
}

fn read_error(err: &std::io::Error) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, format!("cannot read an object's file: {err}"))
}
