//! One Cargo registry over a [`Store`]: publish, yank, owners, index, downloads, search, tokens. No HTTP here.
//!
//! - [`commit`]: the one loop that changes anything; everything that writes a record or a token goes through it.
//! - `publish`, `yank`, `owners`, `tokens`: one closure each over the state that it replaces.
//! - `index`, `download`, `search`: reads, each revalidated with the store, so that any number of replicas agree.
//! - `authorise`: from a token's text to a principal, and the one decision on every route.
//! - `storage`, `metered`, `format`, `readiness`: the open store, counted and timed, and what has to hold before the first request.
//! - `error`: why not, in a user's words.

mod authorise;
mod commit;
mod download;
mod error;
mod format;
mod index;
mod metered;
mod owners;
mod publish;
mod readiness;
mod search;
mod storage;
mod tokens;
mod yank;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::commit::Cache;
pub use self::download::Download;
pub use self::error::RegistryError;
pub use self::index::Index;
use self::metered::Metered;
pub use self::publish::{Published, Ticket, Upload};
pub use self::search::{Found, SearchHit};
pub use self::storage::{Storage, StorageError};
// What an upload is made of: whoever takes one in needs the words, not the store.
use crate::access::Visibility;
use crate::ambient::{Clock, Entropy};
use crate::krate::Record;
use crate::store::Store;
use crate::store::proof::{Provable, Verdict};
pub use crate::store::{Body, Sha256Digest, SpooledFile};

/// What crate records may take in memory, by a rough count, in bytes. A record is a few kilobytes; this holds thousands.
const RECORD_CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// A registry. Cheap to share behind an `Arc`; holds nothing that an answer depends on.
pub struct Registry {
    store: Arc<dyn Store>,
    provable: Option<Arc<dyn Provable>>,
    visibility: Visibility,
    clock: Clock,
    entropy: Entropy,
    records: Cache<Record>,
    readiness: watch::Sender<Verdict>,
    search: search::Catalog,
    /// Changes under way: they go on when their client goes away, and a drain waits for them.
    writes: TaskTracker,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("store", &self.store.location())
            .field("visibility", &self.visibility)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry in `storage`. [`Registry::open`] or [`Registry::keep_proven`] has to say that the store is fit before it answers anything.
    pub fn new(storage: &Storage, visibility: Visibility, clock: Clock, entropy: Entropy) -> Self {
        let records = Cache::builder()
            .max_capacity(RECORD_CACHE_BYTES)
            // A parsed record is larger than its object: headers are inflated, maps have overhead.
            .weigher(|_, state: &commit::Versioned<Record>| u32::try_from(state.len * 4 + 1024).unwrap_or(u32::MAX))
            .build();
        let readiness = watch::Sender::new(Verdict::proving());
        Self {
            store: Arc::new(Metered(storage.store())),
            provable: storage.provable(),
            visibility,
            clock,
            entropy,
            records,
            readiness,
            search: search::Catalog::default(),
            writes: TaskTracker::new(),
        }
    }

    /// Whether anonymous may read.
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Where everything is kept, for people.
    pub fn location(&self) -> String {
        self.store.location()
    }

    /// Runs a change to its end, also if the caller is dropped in the middle: a client that goes away must not leave it to chance at
    /// which await the change stops.
    pub(crate) async fn detached<T: Send + 'static>(
        self: &Arc<Self>,
        change: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, RegistryError> {
        match self.writes.spawn(tracing::Instrument::in_current_span(change)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => {
                    Err(RegistryError::Internal { text: "the change was stopped", reason: error.to_string() })
                }
            },
        }
    }

    /// Waits until no change is under way. New ones are not prevented: that is for the listeners.
    pub async fn finish_writes(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}
