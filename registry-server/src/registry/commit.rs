//! The one loop that changes anything: read, decide, write if nobody was faster, and find out what happened.
//!
//! Flow, at most [`ATTEMPTS_MAX`] times: read the document, let the caller's closure decide on that state, replace it with the condition that
//! it is still the one that was read. One process alone does that in one step; replicas mark, clear, commit (`steps.rs`). Then:
//! - stored: done.
//! - somebody was faster: again, from the read on; the closure sees the new state.
//! - the store asks for patience: the same after a pause with jitter.
//! - nothing was written and nothing will be: an error.
//! - nobody knows whether our write landed, or will: again from the read on. If the document contains our operation it landed; if not, the
//!   same decision is put again under the same condition, of which at most one can hold. A read that does not show our operation
//!   proves nothing, so after an unknown outcome the loop never says that nothing was written, unless the document has moved on
//!   without us: then our condition can never hold again.
//!
//! A document under another writer's mark is waited for, a while; then its writer is taken for dead and the mark for ours, which fences it.
//! Writers of one document in one process take turns: they would only refuse each other.
//!
//! Guarantees: a document changes only through the closure's decision on the state that it replaces; an operation is
//! applied at most once; no path deletes. Assumes: documents contain their operation, so no two states have the same bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rand::RngExt;

use super::documents::{Document, Versioned, present};
use super::{Registry, RegistryError};
use crate::ambient::Entropy;
use crate::krate::record::OpId;
use crate::metrics;
use crate::store::{Body, Cond, Etag, Key, Store, StoreError};

/// How often a change is tried. With the pauses below about four seconds, well within Cargo's patience.
pub(super) const ATTEMPTS_MAX: u32 = 12;
/// The first pause is up to this long, each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often one and the same mark of another writer is waited for, and how long each time: up to half a second.
const MARK_WAITS_MAX: u32 = 12;
const MARK_WAIT_MIN: Duration = Duration::from_millis(10);
const MARK_WAIT_MAX: Duration = Duration::from_millis(60);
/// How often marks are waited for in all.
const WAITS_MAX: u32 = 60;

/// What a closure makes of the state that it is shown.
pub(super) enum Decision<D, T> {
    /// Replace it by this, and answer that.
    Write(D, T),
    /// Leave it, and answer that.
    Keep(T),
}

/// A change on its way.
pub(super) struct Commit<'a> {
    pub(super) key: Key,
    /// For metrics.
    pub(super) operation: &'static str,
    /// For the user: what is changed.
    pub(super) what: String,
    /// Identifies this change in the document, over all attempts.
    pub(super) op: &'a OpId,
    /// Which states the closure is shown.
    pub(super) shown: Shown,
    /// After this moment of the replica's clock nothing is committed any more: what the change names may be gone.
    pub(super) not_after: Option<Duration>,
    /// What the document will name.
    pub(super) needs: Option<&'a Needed>,
}

/// An object that a document names: it is in the store before the document is.
pub(super) struct Needed {
    key: Key,
    body: Body,
    stored: AtomicBool,
}

impl Needed {
    pub(super) fn new(key: Key, body: Body) -> Self {
        Self { key, body, stored: AtomicBool::new(false) }
    }

    /// Key and bytes, unless they are known to be in the store.
    pub(super) fn missing(&self) -> Option<(&Key, Body)> {
        (!self.stored.load(Ordering::Relaxed)).then(|| (&self.key, self.body.clone()))
    }

    pub(super) fn note_stored(&self) {
        self.stored.store(true, Ordering::Relaxed);
    }

    /// Stores it, unless it is there.
    pub(super) async fn store(&self, store: &dyn Store) -> Result<(), RegistryError> {
        let Some((key, body)) = self.missing() else { return Ok(()) };
        store.put(key, body, Cond::Any).await.unconditional(key)?;
        self.note_stored();
        Ok(())
    }
}

/// Which states a closure is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Committed ones, with or without a mark.
    Committed,
    /// Those that only reserve a key, too.
    All,
}

/// How one attempt to replace a state ended.
pub(super) enum Step {
    /// It is committed.
    Done,
    /// It is not, and never will be by this attempt: read and decide anew.
    Again,
    /// The same, after a pause.
    AgainLater,
    /// It may be, or become so as long as the document is under this ETag.
    Unclear(StoreError, Option<Etag>),
    /// It is not and never will be, and trying again makes no sense.
    Failed(RegistryError),
}

/// Whose turn it is to write a document, within this process.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    pub(super) fn of(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        turns.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::default();
        turns.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// How long another writer's mark is respected.
#[derive(Default)]
struct Patience {
    mark: Option<OpId>,
    waits: u32,
    waits_in_all: u32,
}

impl Patience {
    /// Whether to wait once more for the writer of this mark.
    fn waits_for(&mut self, mark: &OpId) -> bool {
        if self.mark.as_ref() != Some(mark) {
            self.mark = Some(mark.clone());
            self.waits = 0;
        }
        self.waits += 1;
        self.waits_in_all += 1;
        self.waits <= MARK_WAITS_MAX && self.waits_in_all <= WAITS_MAX
    }
}

impl Registry {
    /// Runs the loop. `known` is a state that was read just now, if there is one: it saves the first read.
    pub(super) async fn commit<D: Document, T>(
        &self,
        commit: Commit<'_>,
        known: Option<Option<Versioned<D>>>,
        mut decide: impl FnMut(Option<&D>) -> Result<Decision<D, T>, RegistryError> + Send,
    ) -> Result<T, RegistryError>
    where
        T: Send,
    {
        let result = self.attempts(&commit, known, &mut decide).await;
        self.note_change(&commit.key);
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.label(),
        };
        metrics::commit(commit.operation, outcome);
        result
    }

    async fn attempts<D: Document, T: Send>(
        &self,
        commit: &Commit<'_>,
        mut known: Option<Option<Versioned<D>>>,
        decide: &mut (impl FnMut(Option<&D>) -> Result<Decision<D, T>, RegistryError> + Send),
    ) -> Result<T, RegistryError> {
        let turn = self.turns.of(&commit.key);
        let _turn = match turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                // What was read before others had their turns is out of date.
                known = None;
                turn.lock().await
            }
        };
        // Set after an unknown outcome: what the store said, what we would answer, and the state that our write would replace.
        let mut unclear: Option<Unclear<T>> = None;
        let mut patience = Patience::default();
        let mut attempt = 0;
        while attempt < ATTEMPTS_MAX {
            let stored = match known.take() {
                Some(state) => state,
                None => match self.documents.fetch::<D>(&commit.key).await {
                    Ok(state) => state,
                    Err(error) => return Err(unclear.map_or(error, |unclear| unclear.error(commit))),
                },
            };
            if let Some(unclear) =
                unclear.take_if(|_| stored.as_ref().is_some_and(|state| state.document.contains(commit.op)))
            {
                metrics::commit_attempt(commit.operation, "found");
                self.export(stored.as_ref().and_then(|state| state.document.audit(&commit.key, commit.op)));
                return Ok(unclear.answer);
            }
            let etag = stored.as_ref().map(|state| state.etag.clone());
            // The document has moved on without us, so our unclear write can never land.
            unclear.take_if(|unclear| unclear.replaces != etag);
            let state = if commit.shown == Shown::All { stored.clone() } else { present(stored.clone()) };
            let (document, answer) = match decide(state.as_ref().map(|state| &*state.document))? {
                Decision::Keep(answer) => return Ok(answer),
                Decision::Write(document, answer) => (document, answer),
            };
            if let Some(mark) = stored.as_ref().and_then(|stored| stored.document.mark())
                && patience.waits_for(mark)
            {
                self.wait_for_mark().await;
                continue;
            }
            attempt += 1;
            let entry = document.audit(&commit.key, commit.op);
            match self.replace(commit, stored.as_ref(), document).await {
                Step::Done => {
                    self.export(entry);
                    return Ok(answer);
                }
                Step::Again => {}
                Step::AgainLater => self.pause(attempt).await,
                Step::Failed(error) => return Err(unclear.map_or(error, |unclear| unclear.error(commit))),
                Step::Unclear(cause, replaces) => {
                    unclear = Some(Unclear { cause, answer, replaces });
                    self.pause(attempt).await;
                }
            }
        }
        Err(unclear
            .map_or_else(|| RegistryError::Contended { what: commit.what.clone() }, |unclear| unclear.error(commit)))
    }

    async fn wait_for_mark(&self) {
        let share: f64 = self.entropy.with(|rng| rng.random());
        tokio::time::sleep(MARK_WAIT_MIN + (MARK_WAIT_MAX - MARK_WAIT_MIN).mul_f64(share)).await;
    }

    /// Waits a random time up to a bound that doubles with each attempt.
    pub(super) async fn pause(&self, attempt: u32) {
        pause(&self.entropy, attempt).await;
    }
}

/// Waits a random time up to a bound that doubles with each attempt.
pub(super) async fn pause(entropy: &Entropy, attempt: u32) {
    let most = PAUSE_MAX.min(PAUSE_FIRST * 2u32.saturating_pow(attempt.saturating_sub(1)));
    let share: f64 = entropy.with(|rng| rng.random());
    tokio::time::sleep(most.mul_f64(share)).await;
}

struct Unclear<T> {
    cause: StoreError,
    answer: T,
    replaces: Option<Etag>,
}

impl<T> Unclear<T> {
    fn error(self, commit: &Commit<'_>) -> RegistryError {
        RegistryError::Unclear { what: commit.what.clone(), cause: self.cause }
    }
}
