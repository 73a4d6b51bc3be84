//! Records that were read or written a moment ago, whole: who looks at a crate's index often publishes the next version soon, and then the writer
//! needs no other read.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::documents::{Document, Versioned};

/// How many are held.
const RECENT_MAX: usize = 16;
/// Of how many bytes as stored, in all; parsed they take some ten times as much.
const RECENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The last ones, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<One>>);

#[derive(Debug)]
struct One {
    bytes: usize,
    /// Held for whoever still knows it ([`super::known::Known`] does, weakly).
    document: Arc<dyn Any + Send + Sync>,
}

impl Recent {
    /// Holds a document for a while.
    pub(super) fn remember<D: Document>(&self, state: &Versioned<D>) {
        if D::KEPT_WHOLE {
            return;
        }
        let (bytes, document) = (state.len, state.document.clone() as Arc<dyn Any + Send + Sync>);
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|other| !Arc::ptr_eq(&other.document, &document));
        recent.push_back(One { bytes, document });
        while recent.len() > RECENT_MAX || recent.iter().map(|one| one.bytes).sum::<usize>() > RECENT_BYTES_MAX {
            recent.pop_front();
        }
    }
}
