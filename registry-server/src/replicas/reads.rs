//! What a reader does: look into memory under the lease; without one, ask for the head first.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;

use super::flights::Landed;
use super::head::{HEAD_BYTES_MAX, Head};
use super::rules::Mutant;
use super::{AVAILABLE_MAX, Lookup, Mode, Replica, Seen};
use crate::store::{Get, Key, StoreError, StoreErrorKind};

/// How long one read of the head may take; a lease is short, and the next attempt may be faster.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How often a reader without a lease asks for a head before it gives up.
const PROOFS_MAX: u32 = 8;
/// The format object is about a hundred bytes.
const FORMAT_BYTES_MAX: u64 = 64 * 1024;

/// What the store had for a head.
pub(super) enum HeadRead {
    /// The one whose ETag was given.
    Same,
    /// Another.
    Other(Arc<Seen>),
    /// None.
    Missing,
}

impl<V: Clone + Send + Sync + 'static> Replica<V> {
    /// Looks into memory: first the clock, then the look-up.
    pub fn look_up(&self, key: &Key) -> Lookup<V> {
        self.note_traffic();
        // Asked before the lock: waiting for it makes the lease look longer gone, never shorter.
        let now = self.ground.time.now();
        self.memory().get(key, now)
    }

    /// Whether memory may be served now: then the newest head is at most a lease old. Asking counts as traffic, which renews the lease.
    pub fn is_current(&self) -> bool {
        self.note_traffic();
        let now = self.ground.time.now();
        self.memory().holds(now)
    }

    /// What memory has, whatever the lease: for whoever has just proven it ([`Replica::prove`]), or may serve old states.
    pub fn recall(&self, key: &Key) -> Option<V> {
        self.memory().entries().get(key)
    }

    /// The wrong order, for a test: with a pause of the process in between, the state may be older than the lease.
    pub(crate) async fn recall_then_look_at_clock(&self, key: &Key) -> Option<V> {
        self.note_traffic();
        let found = self.recall(key);
        self.ground.time.sleep(Duration::ZERO).await;
        let now = self.ground.time.now();
        found.filter(|_| self.memory().holds(now))
    }

    /// Whether a state that is no longer certain may be served for an index file: the store cannot be reached, and the last proof is not
    /// too long ago.
    pub fn may_serve_unproven(&self) -> bool {
        let now = self.ground.time.now();
        let recent = |at| now.saturating_sub(at) <= AVAILABLE_MAX;
        self.settings.mode == Mode::Available && self.memory().lease().validated_at().is_some_and(recent)
    }

    /// Makes memory as new as the store was at some moment after this call: by a read of the head that begins after it, and that all who
    /// wait share. Renews the lease along the way, if there is a membership.
    ///
    /// # Errors
    /// The head cannot be read.
    pub async fn prove(self: &Arc<Self>) -> Result<(), StoreError> {
        let arrival = self.polls.arrive();
        for _ in 0..PROOFS_MAX {
            let poll = || {
                let this = self.clone();
                async move { this.poll().await }.boxed()
            };
            match self.polls.join(&(), arrival, poll).await {
                Landed::Fresh(Ok(true)) => return Ok(()),
                Landed::Fresh(Err(error)) => return Err(error),
                Landed::Fresh(Ok(false)) | Landed::Late => {}
            }
        }
        Err(StoreError::new(StoreErrorKind::Unavailable, "the head changed faster than it could be read"))
    }

    /// Whether the head could not be read a moment ago: so that in [`Mode::Available`] not every reader waits for that.
    pub fn is_cut_off(&self) -> bool {
        let failed_at = *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_some_and(|at| self.ground.time.now().saturating_sub(at) <= self.settings.lease)
    }

    async fn poll(&self) -> Result<bool, StoreError> {
        let result = self.poll_once().await;
        let failed_at = result.is_err().then(|| self.ground.time.now());
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = failed_at;
        result
    }

    /// Reads the head once and applies it. `false` if the answer is older than what is known already.
    async fn poll_once(&self) -> Result<bool, StoreError> {
        let known = self.memory().newest().cloned();
        let known_rev = known.as_ref().map(|seen| seen.head.rev);
        let before = self.ground.time.now();
        let read = self.read_head(known.as_deref()).await?;
        let now = self.ground.time.now();
        let stamp = if self.settings.rules.broken(Mutant::PollStampedAtEnd) { now } else { before };
        let seen = match (read, known) {
            (HeadRead::Same, Some(known)) => known,
            (HeadRead::Other(seen), _) => seen,
            // Nobody has ever announced anything.
            (HeadRead::Missing, None) => return Ok(true),
            (HeadRead::Same | HeadRead::Missing, _) => {
                self.check_identity(true).await?;
                return Ok(false);
            }
        };
        if self.is_odd(&seen.head, known_rev) && !self.check_identity(false).await? {
            return Ok(false);
        }
        let jitter = self.jitter();
        let applied = self.memory().observe_and_validate(&seen, stamp, now, jitter);
        self.tell_newest();
        Ok(applied)
    }

    pub(super) async fn read_head(&self, known: Option<&Seen>) -> Result<HeadRead, StoreError> {
        let read = async {
            let object = match self.ground.store.get(&Key::Head, known.map(|seen| &seen.etag)).await? {
                Get::NotModified => return Ok(HeadRead::Same),
                Get::Missing => return Ok(HeadRead::Missing),
                Get::Found(object) => object,
            };
            let etag = object.etag.clone();
            let head = Head::parse(&object.bytes(HEAD_BYTES_MAX).await?).map_err(|reason| {
                StoreError::new(StoreErrorKind::Corrupt, format!("the head (v1/head) cannot be read: {reason}"))
            })?;
            Ok(HeadRead::Other(Arc::new(Seen { head, etag })))
        };
        tokio::select! {
            biased;
            read = read => read,
            () = self.ground.time.sleep(HEAD_PATIENCE) => {
                Err(StoreError::new(StoreErrorKind::Unavailable, "the head (v1/head) could not be read in time"))
            }
        }
    }

    /// Whether a head can only be explained by a store that was put back to an older state. `known_rev`: what was known before it was
    /// asked for.
    pub(super) fn is_odd(&self, head: &Head, known_rev: Option<u64>) -> bool {
        head.registry != self.memory().registry() || known_rev.is_some_and(|known| known > head.rev)
    }

    /// Reads the registry's id again. `true` if it is still the same registry. `head_gone`: somebody deleted the head, which makes what
    /// is known as worthless as another registry does.
    pub(super) async fn check_identity(&self, head_gone: bool) -> Result<bool, StoreError> {
        let Get::Found(object) = self.ground.store.get(&Key::Format, None).await? else {
            return Err(StoreError::new(StoreErrorKind::Corrupt, "v1/meta/format is gone"));
        };
        let bytes = object.bytes(FORMAT_BYTES_MAX).await?;
        let id = serde_json::from_slice::<serde_json::Value>(&bytes)
            .ok()
            .and_then(|format| format.get("registry")?.as_str().map(str::to_owned))
            .ok_or_else(|| StoreError::new(StoreErrorKind::Corrupt, "v1/meta/format names no registry"))?;
        let now = self.ground.time.now();
        let mut memory = self.memory();
        if head_gone {
            memory.serve_registry("", now);
        }
        let same = memory.serve_registry(&id, now);
        if !same {
            tracing::warn!(
                registry = id,
                "another registry is behind the store now: everything in memory is forgotten"
            );
        }
        Ok(same)
    }

    fn note_traffic(&self) {
        if !self.busy.load(Ordering::Relaxed) && !self.busy.swap(true, Ordering::Relaxed) {
            self.woken.notify_one();
        }
    }
}
