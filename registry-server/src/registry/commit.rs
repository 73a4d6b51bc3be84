//! The one loop that changes anything: read, decide, write if nobody was faster, and find out what happened.
//!
//! Flow, at most [`ATTEMPTS_MAX`] times: read the document (revalidating what is cached), let the caller's closure decide
//! on that state, put with the condition that the state is still the one that was read. Then, by outcome:
//! - stored: done.
//! - refused, 412 or 404: somebody was faster. Again, from the read on: the closure sees the new state.
//! - refused, 409, or not sent because the store asks for patience: the same after a pause with jitter.
//! - not sent for another reason: an error; nothing was written.
//! - unknown: nobody knows whether our write landed, or will. Again from the read on: if the document contains our operation
//!   it landed; if not, the same decision is put again under the same condition, of which at most one can hold. A read that
//!   does not show our operation proves nothing, so after an unknown outcome the loop never says that nothing was written, unless
//!   the document has moved on without us: then our condition can never hold again.
//!
//! Guarantees: a document changes only through the closure's decision on the state that it replaces; an operation is
//! applied at most once; no path deletes. Assumes: documents contain their operation, so no two states have the same bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;

use super::{Registry, RegistryError};
use crate::krate::record::OpId;
use crate::metrics;
use crate::store::{Body, Cond, Etag, Get, Key, Put, Refused, StoreError};

/// How often a change is tried. With the pauses below about four seconds, well within Cargo's patience.
pub(super) const ATTEMPTS_MAX: u32 = 12;
/// The first pause is up to this long, each further one up to twice the last.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often one read is begun when the store cuts its answer.
const READS_MAX: u32 = 3;

/// An object that is changed by compare-and-swap.
pub(super) trait Document: Sized + Send + Sync + 'static {
    /// Above this, in bytes, an object is not read.
    const BYTES_MAX: u64;
    /// Reads an object; the text says what is wrong with it.
    fn decode(bytes: Bytes) -> Result<Self, String>;
    /// The object to store. Never the same bytes twice.
    fn encode(&self) -> Bytes;
    /// Whether this operation is in the document.
    fn contains(&self, op: &OpId) -> bool;
    /// Where the last known state is kept between reads, to be revalidated.
    fn cache(registry: &Registry) -> Option<&Cache<Self>>;
}

/// Last known states by key; never used without asking the store whether they still hold.
pub(super) type Cache<D> = moka::future::Cache<Key, Versioned<D>>;

/// A document as it was under one ETag.
#[derive(Debug)]
pub(super) struct Versioned<D> {
    pub(super) etag: Etag,
    pub(super) document: Arc<D>,
    /// The size of the object, in bytes.
    pub(super) len: u64,
}

impl<D> Clone for Versioned<D> {
    fn clone(&self) -> Self {
        Self { etag: self.etag.clone(), document: self.document.clone(), len: self.len }
    }
}

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
}

impl Registry {
    /// Reads a document, by asking the store whether the cached state still holds.
    pub(super) async fn read<D: Document>(&self, key: &Key) -> Result<Option<Versioned<D>>, RegistryError> {
        let mut reads = 0;
        loop {
            reads += 1;
            match self.read_once(key).await {
                Err(RegistryError::Store(error)) if error.kind().is_transient() && reads < READS_MAX => {
                    self.pause(reads).await
                }
                other => return other,
            }
        }
    }

    async fn read_once<D: Document>(&self, key: &Key) -> Result<Option<Versioned<D>>, RegistryError> {
        let cache = D::cache(self);
        let cached = match cache {
            Some(cache) => cache.get(key).await,
            None => None,
        };
        let object = match self.store.get(key, cached.as_ref().map(|cached| &cached.etag)).await? {
            Get::NotModified => return Ok(cached),
            Get::Missing => {
                if let Some(cache) = cache {
                    cache.invalidate(key).await;
                }
                return Ok(None);
            }
            Get::Found(object) => object,
        };
        let (etag, len) = (object.etag.clone(), object.len);
        let bytes = object.bytes(D::BYTES_MAX).await?;
        let document = D::decode(bytes).map_err(|reason| RegistryError::Broken { what: key.to_string(), reason })?;
        let state = Versioned { etag, document: Arc::new(document), len };
        if let Some(cache) = cache {
            cache.insert(key.clone(), state.clone()).await;
        }
        Ok(Some(state))
    }

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
        // Set after an unknown outcome: what the store said, what we would answer, and the state that our write would replace.
        let mut unclear: Option<Unclear<T>> = None;
        for attempt in 1..=ATTEMPTS_MAX {
            let state = match known.take() {
                Some(state) => state,
                None => match self.read::<D>(&commit.key).await {
                    Ok(state) => state,
                    Err(error) => return Err(unclear.map_or(error, |unclear| unclear.error(commit))),
                },
            };
            if let Some(unclear) =
                unclear.take_if(|_| state.as_ref().is_some_and(|state| state.document.contains(commit.op)))
            {
                metrics::commit_attempt(commit.operation, "found");
                return Ok(unclear.answer);
            }
            let etag = state.as_ref().map(|state| state.etag.clone());
            // The document has moved on without us, so our unclear write can never land.
            unclear.take_if(|unclear| unclear.replaces != etag);
            let (document, answer) = match decide(state.as_ref().map(|state| &*state.document))? {
                Decision::Keep(answer) => return Ok(answer),
                Decision::Write(document, answer) => (document, answer),
            };
            let cond = etag.clone().map_or(Cond::Absent, Cond::Matches);
            let put = self.put_document(commit, document, cond).await;
            match put {
                Put::Stored(_) => return Ok(answer),
                Put::Refused(Refused::Precondition | Refused::Missing) if attempt <= 2 => {}
                Put::Refused(_) => self.pause(attempt).await,
                Put::NotSent(error) if error.kind().is_transient() => self.pause(attempt).await,
                Put::NotSent(error) => {
                    return Err(unclear.map_or(RegistryError::Store(error), |unclear| unclear.error(commit)));
                }
                Put::Unknown(cause) => {
                    unclear = Some(Unclear { cause, answer, replaces: etag });
                    self.pause(attempt).await;
                }
            }
        }
        Err(unclear
            .map_or_else(|| RegistryError::Contended { what: commit.what.clone() }, |unclear| unclear.error(commit)))
    }

    async fn put_document<D: Document>(&self, commit: &Commit<'_>, document: D, cond: Cond) -> Put {
        let bytes = document.encode();
        let len = bytes.len() as u64;
        let put = self.store.put(&commit.key, Body::Bytes(bytes), cond).await;
        metrics::commit_attempt(commit.operation, label(&put));
        match &put {
            Put::Stored(etag) => {
                if let Some(cache) = D::cache(self) {
                    let state = Versioned { etag: etag.clone(), document: Arc::new(document), len };
                    cache.insert(commit.key.clone(), state).await;
                }
            }
            Put::NotSent(error) | Put::Unknown(error) => {
                tracing::warn!(key = %commit.key, operation = commit.operation, outcome = label(&put), %error, "a conditional write did not go through");
            }
            Put::Refused(_) => {}
        }
        put
    }

    /// Waits a random time up to a bound that doubles with each attempt.
    pub(super) async fn pause(&self, attempt: u32) {
        let most = PAUSE_MAX.min(PAUSE_FIRST * 2u32.saturating_pow(attempt.saturating_sub(1)));
        let share: f64 = self.entropy.with(|rng| rng.random());
        tokio::time::sleep(most.mul_f64(share)).await;
    }
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

fn label(put: &Put) -> &'static str {
    match put {
        Put::Stored(_) => "stored",
        Put::Refused(Refused::Precondition) => "precondition",
        Put::Refused(Refused::Conflict) => "conflict",
        Put::Refused(Refused::Missing) => "missing",
        Put::NotSent(_) => "not_sent",
        Put::Unknown(_) => "unknown",
    }
}
