//! Records that were read or written a moment ago, whole: who looks at a crate's index often publishes the next version soon, and then the writer
//! needs no other read.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::documents::{Document, Versioned};
use crate::store::{Etag, Key};

/// How many are held.
const RECENT_MAX: usize = 16;
/// Of how many bytes as stored, in all; parsed they take some ten times as much. A larger one is not held.
const RECENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The last ones, oldest first, each as it was last seen.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<One>>);

#[derive(Debug)]
struct One {
    key: Key,
    etag: Etag,
    len: usize,
    document: Arc<dyn Any + Send + Sync>,
}

impl Recent {
    /// Holds a document for a while.
    pub(super) fn remember<D: Document>(&self, key: &Key, state: &Versioned<D>) {
        if D::KEPT_WHOLE {
            return;
        }
        let mut recent = self.lock();
        recent.retain(|other| other.key != *key);
        if state.len > RECENT_BYTES_MAX {
            return;
        }
        let document = state.document.clone();
        recent.push_back(One { key: key.clone(), etag: state.etag.clone(), len: state.len, document });
        while recent.len() > RECENT_MAX || recent.iter().map(|one| one.len).sum::<usize>() > RECENT_BYTES_MAX {
            recent.pop_front();
        }
    }

    /// The document as it was under this ETag, if it is still held.
    pub(super) fn find<D: Document>(&self, key: &Key, etag: &Etag) -> Option<Versioned<D>> {
        let (etag, len, document) = {
            let recent = self.lock();
            let found = recent.iter().find(|one| one.key == *key && one.etag == *etag)?;
            (found.etag.clone(), found.len, found.document.clone())
        };
        Some(Versioned { etag, len, document: document.downcast().ok()? })
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<One>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
