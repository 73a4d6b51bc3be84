//! Search: from memory, after what has changed is read again.
//!
//! What search knows is a [`catalog`](crate::catalog). It is loaded from the store once (`load`), follows the changes that the head announces and
//! those of this process (`refresh`), and is written to the store again when enough has changed (`compact`). A process that is alone
//! over its store keeps no catalog there: its records are next to it.
//!
//! A search shows every change that was acknowledged before it came: this process knows its own, and of those of others a notice comes before
//! the commit, or the lease ends, and without a lease the head is asked for first. Searches that come while records are read share that; it goes on when its client goes away. One damaged record harms nobody
//! else: search leaves it out, and looks again after a minute.

mod compact;
mod load;
mod refresh;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::Instant;

pub use self::compact::Compacted;
use self::compact::Compaction;
use super::{Registry, RegistryError};
use crate::access::{Principal, Reader};
use crate::catalog::{Follow, Table};
pub use crate::catalog::{Found, Hit, Query, QueryError};
use crate::krate::Canonical;
use crate::metrics;
use crate::replicas::Notice;
use crate::store::{Etag, Key};

/// How long a search waits for a catalog that is being loaded. Cargo gives up after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// What search knows of all crates.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// Held while a refresh runs: there is one at a time.
    last: Arc<tokio::sync::Mutex<Option<Refresh>>>,
    state: Mutex<State>,
    table: RwLock<Table>,
    compaction: tokio::sync::Mutex<Compaction>,
}

#[derive(Debug, Default)]
struct State {
    /// All crates are in the table.
    loaded: bool,
    /// The stored catalog is in the table, or there is none that can be used: it is asked for once.
    stored_read: bool,
    follow: Follow,
    /// Records that search does not show, as they were when they were read.
    hidden: BTreeMap<Canonical, Etag>,
    /// A new base is being built.
    rebasing: bool,
    /// Rows that changed since the stored catalog, and when the first did.
    changes: usize,
    changed_at: Option<Duration>,
}

/// A refresh that has ended.
#[derive(Debug)]
struct Refresh {
    /// It holds for all searches that arrived before it began.
    begun: Instant,
    result: Result<(), RegistryError>,
}

impl Registry {
    /// The crates that fit all words of `query` and that the caller may read.
    ///
    /// # Errors
    /// The store does not answer, or the catalog is not there yet.
    pub async fn search(self: &Arc<Self>, principal: &Principal, query: &Query) -> Result<Found, RegistryError> {
        self.check_ready()?;
        if !self.is_catalog_current() {
            let refreshed = tokio::time::timeout(PATIENCE, self.refresh_since(Instant::now(), true));
            refreshed.await.map_err(|_| {
                RegistryError::NotReady(
                    "it is still reading its list of crates; repeat the command in a few seconds".into(),
                )
            })??;
        }
        let reader = Reader::new(principal, self.visibility, self.clock.now());
        let may_read = |name: &str| reader.may_read(name);
        let readable: Option<&dyn Fn(&str) -> bool> = if reader.reads_all() { None } else { Some(&may_read) };
        Ok(self.search.read().search(query, readable))
    }

    /// Shows these numbers of downloads from now on, by canonical name. Waits for the list of crates.
    pub(super) async fn show_sums(self: &Arc<Self>, sums: &HashMap<String, u64>) -> Result<(), RegistryError> {
        self.refresh_since(Instant::now(), false).await?;
        self.search.set_downloads(sums);
        Ok(())
    }

    fn tell_catalog_size(&self) {
        let crates = self.search.read().len();
        let state = self.search.state();
        // Who is alone stores no list.
        let changes = if self.replica.is_alone() { 0 } else { state.changes };
        metrics::catalog(crates, state.follow.pending(), changes);
    }

    /// Whether nothing has to be read before a search.
    fn is_catalog_current(&self) -> bool {
        // First the lease, then the head: in the other order a change between the two would be missed.
        if !self.replica.is_current() {
            return false;
        }
        let (head, now) = (self.replica.newest(), self.replica.time().now());
        let state = self.search.state();
        state.loaded && state.follow.is_current(head.as_ref().map(|seen| &seen.head), now)
    }

    /// Makes sure that a refresh has begun after `arrived`, and ended well.
    async fn refresh_since(self: &Arc<Self>, arrived: Instant, for_search: bool) -> Result<(), RegistryError> {
        // In turn: whoever waits here while a refresh runs begins the next, and those behind find that it began after them.
        let mut last = self.search.last.clone().lock_owned().await;
        if last.as_ref().is_none_or(|last| last.begun <= arrived) {
            let registry = self.clone();
            let refresh = async move {
                let begun = Instant::now();
                let result = registry.refresh(for_search).await;
                *last = Some(Refresh { begun, result });
                last
            };
            // The lock goes along: this request may be given up, the refresh is not.
            last = tokio::spawn(tracing::Instrument::in_current_span(refresh)).await.map_err(|error| {
                RegistryError::Internal { text: "the search was stopped", reason: error.to_string() }
            })?;
        }
        last.as_ref().map_or(Ok(()), |last| last.result.clone())
    }

    /// Another process is about to commit a change. To be called when memory has forgotten the record, and before the answer.
    pub(super) fn note_notice(&self, notice: &Notice) {
        if let Some(Key::Crate(name)) = Key::parse(&notice.key)
            && let Some(name) = Canonical::parse(name.as_str())
        {
            self.search.state().follow.noticed(name, notice.rev);
        }
    }

    /// A record was changed by this process, or may have been: before that is acknowledged.
    pub(super) fn note_change(&self, key: &Key) {
        if let Key::Crate(name) = key
            && let Some(name) = Canonical::parse(name.as_str())
        {
            self.search.state().follow.note_own(name);
        }
    }
}

impl Catalog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows these numbers of downloads from now on, by canonical name.
    fn set_downloads(&self, sums: &HashMap<String, u64>) {
        self.write().set_downloads(|name| sums.get(name).copied().unwrap_or(0));
    }
}
