//! The one place that replaces the head. Whoever needs a change of it queues an edit; whoever holds the baton writes all that are queued
//! in one compare-and-swap.
//!
//! After an unknown outcome the head is read: an announcement is recognised by its identity, a join by its epoch. Reading it as absent proves
//! nothing, but whatever is written next under the same condition excludes it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Replica;
use super::head::{Epoch, Head, Standing};
use super::memory::Seen;
use super::reads::HeadRead;
use super::rules::Mutant;
use crate::krate::record::OpId;
use crate::metrics;
use crate::store::{Body, Cond, Key, Put, Refused, StoreError, StoreErrorKind};

/// How often the head is tried.
const ATTEMPTS_MAX: u32 = 16;
/// The first pause is up to this long, each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A change of the head.
#[derive(Debug, Clone)]
pub(super) enum Edit {
    /// A record is about to change.
    Announce { key: Key, rev: u64, op: OpId },
    /// This process becomes a member.
    Join,
    /// A silent member may not renew any more.
    Evict(Epoch),
    /// A member whose lease is over goes.
    Remove(Epoch),
    /// This process is a member no more.
    Leave(Vec<Epoch>),
}

/// An announcement that is in the head.
#[derive(Debug, Clone)]
pub struct Announcement {
    /// The head that announces it.
    pub seen: Arc<Seen>,
    /// Its number.
    pub seq: u64,
    /// When this replica knew, on its clock.
    pub at: Duration,
}

/// Edits that wait for a writer, and the writer's baton.
#[derive(Debug, Default)]
pub(super) struct HeadWrites {
    queue: Mutex<Vec<Queued>>,
    baton: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Queued {
    edit: Edit,
    done: oneshot::Sender<Result<Announcement, StoreError>>,
}

impl HeadWrites {
    fn push(&self, edit: Edit) -> oneshot::Receiver<Result<Announcement, StoreError>> {
        let (done, result) = oneshot::channel();
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(Queued { edit, done });
        result
    }

    fn take(&self) -> Vec<Queued> {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<V: Clone + Send + Sync + 'static> Replica<V> {
    /// Announces that the record under `key` is about to have `rev`. `op` is fresh.
    ///
    /// # Errors
    /// The head cannot be replaced. It may be later.
    pub async fn announce(&self, key: &Key, rev: u64, op: &OpId) -> Result<Announcement, StoreError> {
        self.edit_head(Edit::Announce { key: key.clone(), rev, op: op.clone() }).await
    }

    /// Has an edit written, together with those of others.
    pub(super) async fn edit_head(&self, edit: Edit) -> Result<Announcement, StoreError> {
        loop {
            let mut result = self.writes.push(edit.clone());
            tokio::select! {
                biased;
                written = &mut result => match written {
                    Ok(written) => return written,
                    // Whoever wrote for us was stopped in the middle. An edit can be recognised, so it is safe to begin again.
                    Err(_) => continue,
                },
                baton = self.writes.baton.lock() => {
                    self.write_queued().await;
                    drop(baton);
                }
            }
            // Ours was in the queue, or had been taken by the writer before us: either way it is answered now.
            if let Ok(written) = result.await {
                return written;
            }
        }
    }

    /// Writes everything that is queued, and what comes while it tries.
    async fn write_queued(&self) {
        let mut batch = Vec::new();
        // While the lease holds, the newest known head is seldom out of date.
        let mut base = {
            let now = self.ground.time.now();
            let memory = self.memory();
            memory.newest().filter(|_| memory.holds(now)).cloned().map(Some)
        };
        let mut last = StoreError::new(StoreErrorKind::Throttled, "others kept replacing the head");
        for attempt in 1..=ATTEMPTS_MAX {
            batch.extend(self.writes.take());
            let on = match base.take() {
                Some(on) => on,
                None => match self.read_for_edit(&mut batch).await {
                    Ok(on) => on,
                    Err(error) if error.kind().is_transient() => {
                        last = error;
                        self.pause_before(attempt).await;
                        continue;
                    }
                    Err(error) => return fail(batch, &error),
                },
            };
            if batch.is_empty() {
                return;
            }
            match self.replace_head(on.as_deref(), &mut batch).await {
                Put::Stored(_) => return,
                Put::Refused(Refused::Precondition | Refused::Missing) => {
                    if attempt > 2 {
                        self.pause_before(attempt - 2).await;
                    }
                }
                Put::Refused(Refused::Conflict) => self.pause_before(attempt).await,
                Put::NotSent(error) if !error.kind().is_transient() => return fail(batch, &error),
                Put::NotSent(error) | Put::Unknown(error) => {
                    last = error;
                    self.pause_before(attempt).await;
                }
            }
        }
        fail(batch, &last);
    }

    /// Reads the head to write on, and answers those whose edit it shows already.
    async fn read_for_edit(&self, batch: &mut Vec<Queued>) -> Result<Option<Arc<Seen>>, StoreError> {
        let known_rev = self.memory().newest().map(|seen| seen.head.rev);
        let stamp = self.ground.time.now();
        let seen = match self.read_head(None).await? {
            HeadRead::Other(seen) => seen,
            HeadRead::Same | HeadRead::Missing => {
                if known_rev.is_some() {
                    self.check_identity(true).await?;
                }
                return Ok(None);
            }
        };
        if self.is_odd(&seen.head, known_rev) {
            self.check_identity(false).await?;
        }
        let now = self.ground.time.now();
        let jitter = self.jitter();
        self.memory().observe_and_validate(&seen, stamp, now, jitter);
        self.tell_newest();
        for queued in std::mem::take(batch) {
            match self.shown(&seen, &queued.edit, stamp, now) {
                Some(seq) => drop(queued.done.send(Ok(Announcement { seen: seen.clone(), seq, at: now }))),
                None => batch.push(queued),
            }
        }
        Ok(Some(seen))
    }

    /// Whether a head shows that an edit is done.
    fn shown(&self, seen: &Arc<Seen>, edit: &Edit, stamp: Duration, now: Duration) -> Option<u64> {
        let head = &seen.head;
        match edit {
            Edit::Announce { op, .. } => head.announced(op).map(|announced| announced.seq),
            Edit::Join => {
                let jitter = self.jitter();
                let mut memory = self.memory();
                let epoch = memory.lease().accepted(head)?;
                memory.joined(epoch, seen, stamp, now, jitter);
                Some(head.seq)
            }
            Edit::Evict(epoch) => {
                let live = head.member(epoch).is_some_and(|member| member.state == Standing::Live);
                (!live).then_some(head.seq)
            }
            Edit::Remove(epoch) => head.member(epoch).is_none().then_some(head.seq),
            Edit::Leave(epochs) => epochs.iter().all(|epoch| head.member(epoch).is_none()).then_some(head.seq),
        }
    }

    /// One compare-and-swap with all edits of the batch, which is answered if it is stored.
    async fn replace_head(&self, on: Option<&Seen>, batch: &mut Vec<Queued>) -> Put {
        let (next, joining, seqs) = self.compose(on, batch);
        let cond = on.map_or(Cond::Absent, |on| Cond::Matches(on.etag.clone()));
        let before = self.ground.time.now();
        let put = self.ground.store.put(&Key::Head, Body::Bytes(next.to_bytes()), cond).await;
        metrics::head_write(put.label(), batch.len());
        if let Put::Stored(etag) = &put {
            let now = self.ground.time.now();
            let jitter = self.jitter();
            let seen = Arc::new(Seen { head: next, etag: etag.clone() });
            let mut memory = self.memory();
            memory.observe(&seen, now);
            if let Some(epoch) = joining {
                let late = self.settings.rules.broken(Mutant::JoinStampedAtEnd);
                memory.joined(epoch, &seen, if late { now } else { before }, now, jitter);
            }
            drop(memory);
            self.tell_newest();
            for (queued, seq) in batch.drain(..).zip(seqs) {
                // Whoever asked may have gone; the edit is done all the same.
                drop(queued.done.send(Ok(Announcement { seen: seen.clone(), seq, at: now })));
            }
        }
        put
    }

    /// The next head; the epoch that it offers, if it does; and the number that each edit got.
    fn compose(&self, on: Option<&Seen>, batch: &[Queued]) -> (Head, Option<Epoch>, Vec<u64>) {
        let op = self.ground.entropy.with(OpId::generate);
        let mut memory = self.memory();
        let empty = Head::empty(memory.registry());
        let mut next = on.map_or(&empty, |on| &on.head).next(op, memory.registry());
        let mut joining = None;
        let mut seqs = Vec::with_capacity(batch.len());
        for queued in batch {
            match &queued.edit {
                Edit::Announce { key, rev, op } => next.announce(key, *rev, op.clone(), self.settings.ring_max),
                Edit::Join => {
                    let fresh = self.ground.entropy.with(Epoch::generate);
                    joining = memory.lease_mut().offer(&mut next, &self.settings.address, fresh);
                }
                // Whether that changes anything does not matter: if not, somebody else was faster.
                Edit::Evict(epoch) if self.settings.rules.broken(Mutant::EvictAtOnce) => _ = next.remove(epoch),
                Edit::Evict(epoch) => _ = next.evict(epoch),
                Edit::Remove(epoch) => _ = next.remove(epoch),
                Edit::Leave(epochs) => next.members.retain(|member| !epochs.contains(&member.epoch)),
            }
            seqs.push(next.seq);
        }
        (next, joining, seqs)
    }

    /// Waits a random time up to a bound that doubles with each attempt.
    async fn pause_before(&self, attempt: u32) {
        let most = PAUSE_MAX.min(PAUSE_FIRST * 2u32.saturating_pow(attempt.saturating_sub(1)));
        self.ground.time.sleep(most.mul_f64(self.jitter())).await;
    }
}

fn fail(batch: Vec<Queued>, error: &StoreError) {
    for queued in batch {
        drop(queued.done.send(Err(error.clone())));
    }
}
