//! ETags for files: a counter per process, bound to what the file system says of a file.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::Etag;

/// The ETags handed out so far.
///
/// Only this process writes the directory, so an ETag is a number that it gives a file when it first sees or writes it. That never repeats,
/// unlike a hash of the content, and costs no reading. The file's identity (inode, length, times) is remembered along with it: files that
/// somebody changed behind our back, say from a backup, get a new number instead of passing for the old ones. The number of opens
/// comes first, so that no ETag of an earlier process is given again.
#[derive(Debug)]
pub(super) struct Versions {
    opens: u64,
    given: AtomicU64,
    known: Mutex<HashMap<String, (Identity, Etag)>>,
}

/// What tells two files at one path apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Versions {
    pub(super) fn new(opens: u64) -> Self {
        Self { opens, given: AtomicU64::new(0), known: Mutex::default() }
    }

    /// The ETag of the file at `key` that has this metadata. The caller holds the key's lock.
    pub(super) fn of(&self, key: &str, metadata: &Metadata) -> Etag {
        let identity = Identity::of(metadata);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(key) {
            Some((seen, etag)) if *seen == identity => etag.clone(),
            _ => {
                let etag = self.fresh();
                known.insert(key.to_owned(), (identity, etag.clone()));
                etag
            }
        }
    }

    /// The ETag of the file that this process has just put at `key`. Always new: inode and times of a quick overwrite can repeat.
    pub(super) fn written(&self, key: &str, metadata: &Metadata) -> Etag {
        let etag = self.fresh();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key.to_owned(), (Identity::of(metadata), etag.clone()));
        etag
    }

    /// Forgets `key`, whose file is gone.
    pub(super) fn forget(&self, key: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn fresh(&self) -> Etag {
        Etag::new(&format!("{:x}-{:x}", self.opens, self.given.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
