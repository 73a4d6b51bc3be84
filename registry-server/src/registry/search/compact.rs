//! Writes the catalog to the store when enough has changed: a new file, then `v1/catalog/current` by compare-and-swap.
//!
//! Any replica may do it, and whoever notices first does; one that loses leaves a file that does not count, and a crash between the two writes
//! does too. Nobody here deletes one: that is for the garbage collector, by [`crate::catalog::is_surplus`]. Whether a swap was stored whose
//! outcome nobody knows shows the next look at `current`.
//!
//! Guarantees: `seq` grows by one with each swap, and what `current` covers never goes back while the head is the same.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{Registry, RegistryError};
use crate::catalog::{Current, file};
use crate::krate::record::OpId;
use crate::metrics;
use crate::store::proof::Verdict;
use crate::store::{Body, CatalogFile, Cond, Etag, Key, Put};

/// So many changes are worth a new file.
const CHANGES_MAX: usize = 256;
/// So long a change waits for others.
const CHANGES_OLD: Duration = Duration::from_secs(10 * 60);
/// How often one looks whether there is something to do: between once and twice this, so that replicas seldom write at the same time.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause after an attempt that came to nothing.
const FAILED_AGAIN: Duration = Duration::from_secs(60);

/// What is known of the stored catalog.
#[derive(Debug, Default)]
pub(super) struct Compaction {
    stored: Option<Stored>,
    /// The state of `current` whose file cannot be used.
    unusable: Option<Etag>,
    /// Nothing is tried before.
    not_before: Duration,
}

/// `v1/catalog/current` as it was under an `ETag`.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) etag: Etag,
    /// `None` if it cannot be read: it counts for nobody, and is replaced as it lies there.
    pub(super) current: Option<Current>,
}

/// How a compaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compacted {
    /// Not enough has changed.
    NotDue,
    /// Another replica was faster.
    Overtaken,
    /// A new catalog counts.
    Stored,
    /// It may count, or not.
    Unclear,
}

impl Compacted {
    const fn label(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Overtaken => "overtaken",
            Self::Stored => "stored",
            Self::Unclear => "unclear",
        }
    }
}

impl Compaction {
    /// The table goes on from this.
    pub(super) fn resumed(&mut self, stored: Stored) {
        self.stored = Some(stored);
    }

    /// The file that this names is of no use.
    pub(super) fn refused(&mut self, etag: Etag) {
        self.unusable = Some(etag);
    }
}

impl Registry {
    /// Keeps search ready, and its catalog in the store fresh, until `stop`. Begins when the store is fit.
    pub async fn keep_searchable(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.wait_for(Verdict::is_proven).await;
            loop {
                let result = match self.refresh_since(Instant::now(), false).await {
                    Ok(()) => self.compact().await,
                    Err(error) => Err(error),
                };
                if let Err(error) = result {
                    tracing::warn!(cause = error.cause(), "the list of crates for search is not up to date: {error}");
                }
                let share: f64 = self.entropy.with(|rng| rng.random());
                self.replica.time().sleep(LOOK_EVERY.mul_f64(1.0 + share)).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Writes the catalog to the store if enough has changed.
    ///
    /// # Errors
    /// The store does not answer. The catalog that counts is the old one or the new one.
    pub async fn compact(self: &Arc<Self>) -> Result<Compacted, RegistryError> {
        let mut compaction = self.search.compaction.lock().await;
        let now = self.replica.time().now();
        if self.replica.is_alone() || compaction.not_before > now || !self.is_compaction_due(&compaction) {
            return Ok(Compacted::NotDue);
        }
        compaction.not_before = now + FAILED_AGAIN;
        let result = self.compact_now(&mut compaction).await;
        if matches!(result, Ok(Compacted::Stored | Compacted::Overtaken)) {
            compaction.not_before = Duration::ZERO;
        }
        metrics::compaction(result.as_ref().map_or_else(RegistryError::label, |compacted| compacted.label()));
        result
    }

    fn is_compaction_due(&self, compaction: &Compaction) -> bool {
        let rows = self.search.read().len();
        let state = self.search.state();
        let old = state.changed_at.is_some_and(|at| self.replica.time().now() >= at + CHANGES_OLD);
        let first = compaction.stored.is_none() && rows > 0;
        state.loaded && (first || state.changes >= CHANGES_MAX || (state.changes > 0 && old))
    }

    async fn compact_now(self: &Arc<Self>, compaction: &mut Compaction) -> Result<Compacted, RegistryError> {
        if self.overtaken(compaction).await? {
            return Ok(Compacted::Overtaken);
        }
        // After the look at `current`, so that nothing it covers is unknown here.
        self.refresh_since(Instant::now(), true).await?;
        let before = compaction.stored.as_ref().and_then(|stored| stored.current.as_ref());
        let (snapshot, covers, open, changes) = {
            let state = self.search.state();
            (self.search.read().snapshot(), state.follow.position().clone(), state.follow.open(), state.changes)
        };
        let registry = self.replica.registry();
        let file = CatalogFile { seq: before.map_or(0, |before| before.seq) + 1, attempt: self.new_ulid() };
        let op = self.entropy.with(OpId::generate);
        let next = Current::new(op, &registry, file, before, covers, open);
        let encoded = tokio::task::spawn_blocking(move || file::encode(&registry, &snapshot)).await;
        let bytes = encoded.map_err(std::io::Error::from).flatten().map_err(|error| no_file(&error))?;
        let key = Key::Catalog(file);
        self.store.put(&key, Body::Bytes(bytes), Cond::Any).await.unconditional(&key)?;
        let cond = compaction.stored.as_ref().map_or(Cond::Absent, |stored| Cond::Matches(stored.etag.clone()));
        match self.store.put(&Key::CatalogCurrent, Body::Bytes(next.to_bytes()), cond).await {
            Put::Stored(etag) => {
                self.search.state().compacted(changes);
                compaction.stored = Some(Stored { etag, current: Some(next) });
                Ok(Compacted::Stored)
            }
            Put::Refused(_) => Ok(Compacted::Overtaken),
            Put::NotSent(error) => Err(error.into()),
            // The next look tells.
            Put::Unknown(_) => Ok(Compacted::Unclear),
        }
    }

    /// Looks at `current` again. Whether another replica has replaced it by one that has what is known here.
    async fn overtaken(&self, compaction: &mut Compaction) -> Result<bool, RegistryError> {
        let known = compaction.stored.as_ref().map(|stored| &stored.etag);
        let Some(stored) = self.read_current(known).await? else { return Ok(false) };
        let usable = compaction.unusable.as_ref() != Some(&stored.etag);
        let covers = stored.current.as_ref().filter(|current| usable && current.registry == self.replica.registry());
        let covers = covers.map(|current| current.covers.seq);
        compaction.stored = Some(stored);
        let Some(covers) = covers else { return Ok(false) };
        let mut state = self.search.state();
        let missing = state.follow.position().seq.saturating_sub(covers);
        let known = state.changes.saturating_sub(usize::try_from(missing).unwrap_or(usize::MAX));
        state.compacted(known);
        Ok(missing == 0)
    }
}

fn no_file(reason: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Internal { text: "the list of crates for search could not be written", reason: reason.to_string() }
}

impl super::State {
    /// So many changes are in the stored catalog now.
    fn compacted(&mut self, changes: usize) {
        self.changes -= changes.min(self.changes);
        if self.changes == 0 {
            self.changed_at = None;
        }
    }
}
