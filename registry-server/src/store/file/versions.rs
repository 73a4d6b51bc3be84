//! ETags for files: a counter per process, bound to what the file system says of a file.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::store::{Etag, Key};

/// The ETags handed out so far.
///
/// Only this process writes the directory, so an ETag is a number that it gives a file when it first sees or writes it. That never repeats,
/// unlike a hash of the content, and costs no reading. The file's identity (inode, length, times) is remembered along with it: files that
/// somebody changed behind our back, say from a backup, get a new number instead of passing for the old ones. The number of opens
/// comes first, so that no ETag of an earlier process is given again.
///
/// Objects that are written once (crate files, entries of the audit log) are not remembered, for their number only grows: what the file
/// system says of them is their ETag.
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

    /// The ETag of the file at `key` that has this metadata; `text` is the key's. The caller holds the key's lock.
    pub(super) fn of(&self, key: &Key, text: &str, metadata: &Metadata) -> Etag {
        let identity = Identity::of(metadata);
        if is_written_once(key) {
            return identity.etag();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(text) {
            Some((seen, etag)) if *seen == identity => etag.clone(),
            _ => {
                let etag = self.fresh();
                known.insert(text.to_owned(), (identity, etag.clone()));
                etag
            }
        }
    }

    /// The ETag of the file that this process has just put at `key`. Always new: inode and times of a quick overwrite can repeat.
    pub(super) fn written(&self, key: &Key, text: &str, metadata: &Metadata) -> Etag {
        let identity = Identity::of(metadata);
        if is_written_once(key) {
            return identity.etag();
        }
        let etag = self.fresh();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(text.to_owned(), (identity, etag.clone()));
        etag
    }

    /// Forgets the key with this text, whose file is gone.
    pub(super) fn forget(&self, text: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(text);
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn fresh(&self) -> Etag {
        Etag::new(&format!("{:x}-{:x}", self.opens, self.given.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Whether the key is used for one content only: another attempt to write it would be of the same.
fn is_written_once(key: &Key) -> bool {
    matches!(key, Key::Blob { .. } | Key::Audit(_))
}

impl Identity {
    fn etag(&self) -> Etag {
        let Self { inode, len, modified, changed } = self;
        Etag::new(&format!("f-{inode:x}-{len:x}-{:x}.{:x}-{:x}.{:x}", modified.0, modified.1, changed.0, changed.1))
    }

    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
