//! One Cargo registry over a [`Store`]: publish, yank, owners, index, downloads, search, tokens. No HTTP here.
//!
//! - `documents`: crate and token records, read from memory or from the store. `known`: the forms in which they are kept in memory; `recent`: the last ones,
//!   whole. `files`: the same for the bytes of crates; `disk`: those on a disk; `blob`: where they are in the store.
//! - [`commit`]: the one loop that changes anything; everything that writes a record or a token goes through it. `steps`: one attempt of it.
//! - `publish`, `yank`, `owners`, `tokens`, `tombstones`: one closure each over the state that it replaces.
//! - `downloads`: counts them.
//! - `index`, `download`, `search`: reads; [`crate::replicas`] makes any number of replicas agree.
//! - `audit`: who did what, written down after the answer.
//! - `marks`: what dead writers left. `recover`: a record that was damaged goes on from an earlier state.
//! - `authorise`: from a token's text to a principal, and the one decision on every route.
//! - `storage`, `metered`, `format`, `readiness`: the open store, counted and timed, and what has to hold before the first request.
//! - `error`: why not, in a user's words.

pub(crate) mod audit;
mod authorise;
mod blob;
mod commit;
mod disk;
mod documents;
mod download;
mod downloads;
mod error;
mod files;
mod format;
mod index;
mod known;
mod marks;
mod metered;
mod owners;
mod publish;
mod readiness;
mod recent;
mod recover;
mod search;
mod steps;
mod storage;
mod tokens;
mod tombstones;
mod yank;

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::commit::{Turns, pause};
pub use self::disk::KeptOnDisk;
use self::documents::Documents;
pub use self::download::{Content, Download};
pub use self::downloads::{Downloads, Folded};
pub use self::error::RegistryError;
use self::files::Files;
pub use self::files::KeptFiles;
pub use self::index::Index;
use self::known::Known;
use self::metered::Metered;
pub use self::publish::{Published, Ticket, Upload};
pub(crate) use self::recover::is_of_a_recovery;
pub use self::search::{Compacted, Found, Hit, Query, QueryError};
pub use self::storage::{Storage, StorageError};
pub use self::tombstones::CrateState;
// What an upload is made of: whoever takes one in needs the words, not the store.
use crate::access::Visibility;
use crate::ambient::{Clock, Entropy, Monotonic};
use crate::krate::Owner;
use crate::metrics;
use crate::replicas::{Ack, Ground, NoPeers, Notice, Peers, Replica, Settings, Standing};
use crate::store::Store;
use crate::store::proof::{Provable, Verdict};
pub use crate::store::{Body, Sha256Digest, SpooledFile};

/// The user in the name of whom the admin credential acts.
fn administrator() -> Owner {
    Owner::parse("admin").expect("a login")
}

/// A registry's part among equal ones.
#[derive(Clone)]
pub struct Replication {
    /// What it is told.
    pub settings: Settings,
    /// The way to the others.
    pub peers: Arc<dyn Peers>,
    /// The clock of its leases.
    pub time: Monotonic,
}

impl Default for Replication {
    /// One that nobody can reach.
    fn default() -> Self {
        Self { settings: Settings::default(), peers: Arc::new(NoPeers), time: Monotonic::system() }
    }
}

/// A registry. Cheap to share behind an `Arc`; what it holds is forgotten before it could be wrong.
pub struct Registry {
    store: Arc<dyn Store>,
    provable: Option<Arc<dyn Provable>>,
    visibility: Visibility,
    clock: Clock,
    entropy: Entropy,
    replica: Arc<Replica<Known>>,
    documents: Documents,
    files: Files,
    turns: Turns,
    readiness: watch::Sender<Verdict>,
    search: search::Catalog,
    downloads: Downloads,
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
    /// A registry in `storage`. [`Registry::open`] or [`Registry::keep_proven`] has to say that the store is fit before it answers anything;
    /// [`Registry::keep_up`] makes it serve from memory.
    pub fn new(storage: &Storage, visibility: Visibility, clock: Clock, entropy: Entropy) -> Self {
        Self::replicated(storage, visibility, Replication::default(), clock, entropy)
    }

    /// The same, told about its part among others.
    pub fn replicated(
        storage: &Storage,
        visibility: Visibility,
        replication: Replication,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        let Replication { settings, peers, time } = replication;
        let store: Arc<dyn Store> = Arc::new(Metered(storage.store()));
        let alone = !storage.is_shared();
        let ground = Ground { store: store.clone(), alone, peers, time, entropy: entropy.clone() };
        let replica = Replica::new(ground, settings);
        let downloads =
            Downloads::new(store.clone(), clock.clone(), replica.time().clone(), entropy.clone(), Default::default());
        Self {
            downloads,
            documents: Documents::new(store.clone(), replica.clone(), entropy.clone()),
            files: Files::new(store.clone(), KeptFiles::default()),
            store,
            provable: storage.provable(),
            visibility,
            clock,
            entropy,
            replica,
            turns: Turns::default(),
            readiness: watch::Sender::new(Verdict::proving()),
            search: search::Catalog::default(),
            writes: TaskTracker::new(),
        }
    }

    /// The store, for jobs over all of it.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The randomness, for the same.
    pub(crate) fn entropy(&self) -> &Entropy {
        &self.entropy
    }

    /// The same, told what to keep of crate files.
    #[must_use]
    pub fn keeping(self, kept: KeptFiles) -> Self {
        Self { files: Files::new(self.store.clone(), kept), ..self }
    }

    /// Opens the disk that crate files are kept on, if there is one; what cannot be opened is tried again until `stop`.
    pub async fn keep_disk(self: Arc<Self>, stop: CancellationToken) {
        if let Some(disk) = self.files.disk() {
            disk.clone().keep_open(stop).await;
        }
    }

    /// Keeps this registry a member of those that serve from memory, until `stop`. Begins when the store is fit.
    pub async fn keep_up(self: Arc<Self>, stop: CancellationToken) {
        if stop.run_until_cancelled(self.wait_for(Verdict::is_proven)).await.is_some() {
            self.replica.clone().keep_up(stop).await;
        }
    }

    /// Leaves the others for good: they do not wait for this registry any more. Reads go on, at the store's speed.
    pub async fn leave(&self) {
        self.replica.leave().await;
    }

    /// Applies a notice from another replica; the acknowledgement, if it is for this one.
    pub async fn notice(&self, notice: &Notice) -> Option<Ack> {
        let ack = self.replica.notice(notice);
        // After memory has forgotten the record: whoever reads it for a search must find the mark. Before the answer: after it the change may be
        // committed, and then a search here has to show it.
        self.note_notice(notice);
        ack
    }

    /// How this registry stands among the others.
    pub fn standing(&self) -> Standing {
        self.replica.standing()
    }

    /// Tells the metrics what is kept in memory; to be called every few seconds.
    pub(crate) fn report_kept(&self) {
        let size = self.replica.size();
        self.files.report();
        metrics::kept_records(size.entries - size.absent, size.absent, size.bytes, size.evicted);
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

    /// Waits until no change is under way, and what was changed is in the audit log. New ones are not prevented: that is for the listeners.
    pub async fn finish_writes(&self) {
        self.writes.close();
        self.writes.wait().await;
    }
}
