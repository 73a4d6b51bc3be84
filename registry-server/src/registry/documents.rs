//! Crate and token records as documents: read from the store, kept in memory under the rules of [`crate::replicas`].
//!
//! A read is answered from memory while the lease holds; without one, from memory after the head was asked for; else by a GET that began
//! after the reader came, which all readers of the same key share. What is read is kept only if no write is under way on it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::RegistryError;
use super::audit::Entry;
use super::marks::Marks;
use crate::access::TokenRecord;
use crate::ambient::Entropy;
use crate::krate::Record;
use crate::krate::record::OpId;
use crate::metrics;
use crate::replicas::entries::Candidate;
use crate::replicas::flights::{Flights, Landed};
use crate::replicas::{Lookup, Mutant, Replica};
use crate::store::{Etag, Get, Key, Store};

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
    /// The entry of the audit log for this operation, if the document still knows it.
    fn audit(&self, key: &Key, op: &OpId) -> Option<Entry>;
    /// How many changes there were; 0 while the first is under way, and then the document reads as missing.
    fn rev(&self) -> u64;
    /// The identity of a write that is under way.
    fn mark(&self) -> Option<&OpId>;
    /// The state `before` (if there is one) with a mark: `next` is about to replace it.
    fn marked(before: Option<&Self>, next: &Self, mark: OpId) -> Self;
    /// The state without the mark that a dead writer left, as one more `rev`. `None`: this mark is left to the next writer.
    fn swept(&self, op: OpId) -> Option<Self>;
    /// The form in which a state is kept in memory. `None`: it is not worth keeping.
    fn known(state: Option<Versioned<Self>>) -> Option<Known>;
    /// Back from that form.
    fn from_known(known: Known) -> Option<Versioned<Self>>;
    /// The reads under way.
    fn fills(documents: &Documents) -> &Fills<Self>;
}

/// Reads of documents that are under way.
pub(super) type Fills<D> = Flights<Key, Result<Option<Versioned<D>>, RegistryError>>;

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

/// What is kept in memory under a key.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// A crate's record, or that there is none.
    Crate(Option<Versioned<Record>>),
    /// A token's record. That there is none is not kept: anybody could fill the memory with tokens that never were.
    Token(Versioned<TokenRecord>),
}

/// What a look-up is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To serve an index file, which may be a little old if the registry is told so.
    Index,
    /// Anything else, above all deciding who may do what.
    Other,
}

/// The documents of one store, and what this process knows of them.
#[derive(Debug)]
pub(super) struct Documents {
    store: Arc<dyn Store>,
    replica: Arc<Replica<Known>>,
    entropy: Entropy,
    /// Marks that readers came across.
    pub(super) marks: Arc<Marks>,
    pub(super) crates: Fills<Record>,
    pub(super) tokens: Fills<TokenRecord>,
}

impl std::fmt::Debug for dyn Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.location())
    }
}

/// What readers see of a stored document: the first write of one is not visible before it is committed.
pub(super) fn present<D: Document>(stored: Option<Versioned<D>>) -> Option<Versioned<D>> {
    stored.filter(|state| state.document.rev() > 0)
}

impl Documents {
    pub(super) fn new(store: Arc<dyn Store>, replica: Arc<Replica<Known>>, entropy: Entropy) -> Self {
        let share_late = replica.rules().broken(Mutant::LateReaderShares);
        Self {
            store,
            replica,
            entropy,
            marks: Arc::default(),
            crates: Flights::new(share_late),
            tokens: Flights::new(share_late),
        }
    }

    /// The document as it is now.
    pub(super) async fn read<D: Document>(
        &self,
        key: &Key,
        purpose: Purpose,
    ) -> Result<Option<Versioned<D>>, RegistryError> {
        let fills = D::fills(self);
        // A later ticket than the real arrival is only stricter, and what is in memory needs none.
        let mut arrival = None;
        loop {
            if let Some(known) = self.look_up(key, purpose).await? {
                return Ok(D::from_known(known));
            }
            let fill = || {
                let (store, replica, marks) = (self.store.clone(), self.replica.clone(), self.marks.clone());
                fill::<D>(store, replica, marks, self.entropy.clone(), key.clone()).boxed()
            };
            let arrival = *arrival.get_or_insert_with(|| fills.arrive());
            if let Landed::Fresh(result) = fills.join(key, arrival, fill).await {
                metrics::read("store");
                return result;
            }
        }
    }

    /// What memory may answer, at once or after asking for the head.
    async fn look_up(&self, key: &Key, purpose: Purpose) -> Result<Option<Known>, RegistryError> {
        if self.replica.rules().broken(Mutant::ValueBeforeClock) {
            return Ok(self.replica.recall_then_look_at_clock(key).await);
        }
        match self.replica.look_up(key) {
            Lookup::Hit(known) => {
                metrics::read("memory");
                return Ok(Some(known));
            }
            Lookup::Miss => return Ok(None),
            Lookup::Unproven => {}
        }
        let tolerated = || purpose == Purpose::Index && self.replica.may_serve_unproven();
        let source = if self.replica.is_cut_off() && tolerated() {
            "unproven"
        } else {
            match self.replica.prove().await {
                Ok(()) => "proven",
                Err(error) if error.kind().is_transient() && tolerated() => "unproven",
                Err(error) => return Err(error.into()),
            }
        };
        metrics::read(source);
        Ok(self.replica.recall(key))
    }

    /// The document as it lies in the store, marks and reservations too.
    pub(super) async fn fetch<D: Document>(&self, key: &Key) -> Result<Option<Versioned<D>>, RegistryError> {
        fetch(&*self.store, &self.entropy, key).await
    }

    /// Keeps a state that this process has committed, or read, since `generation`, if it may be kept.
    pub(super) fn keep<D: Document>(&self, key: &Key, state: Option<Versioned<D>>, generation: u64) {
        keep(&self.replica, key, state, generation);
    }
}

async fn fill<D: Document>(
    store: Arc<dyn Store>,
    replica: Arc<Replica<Known>>,
    marks: Arc<Marks>,
    entropy: Entropy,
    key: Key,
) -> Result<Option<Versioned<D>>, RegistryError> {
    let generation = replica.generation();
    let state = fetch::<D>(&*store, &entropy, &key).await?;
    marks.note(&key, state.as_ref().and_then(|state| state.document.mark()), replica.time().now());
    keep(&replica, &key, state.clone(), generation);
    Ok(present(state))
}

fn keep<D: Document>(replica: &Replica<Known>, key: &Key, state: Option<Versioned<D>>, generation: u64) {
    let (rev, marked, bytes) = state.as_ref().map_or((0, false, 0), |state| {
        // A parsed record is larger than its object: headers are inflated, maps have overhead.
        let bytes = usize::try_from(state.len).unwrap_or(usize::MAX / 8).saturating_mul(4);
        (state.document.rev(), state.document.mark().is_some(), bytes)
    });
    if let Some(value) = D::known(present(state)) {
        replica.keep(key, Candidate { rev, marked, generation, bytes, value });
    }
}

async fn fetch<D: Document>(
    store: &dyn Store,
    entropy: &Entropy,
    key: &Key,
) -> Result<Option<Versioned<D>>, RegistryError> {
    let mut reads = 0;
    loop {
        reads += 1;
        match fetch_once(store, key).await {
            Err(RegistryError::Store(error)) if error.kind().is_transient() && reads < READS_MAX => {
                super::pause(entropy, reads).await;
            }
            other => return other,
        }
    }
}

async fn fetch_once<D: Document>(store: &dyn Store, key: &Key) -> Result<Option<Versioned<D>>, RegistryError> {
    let Get::Found(object) = store.get(key, None).await? else { return Ok(None) };
    let (etag, len) = (object.etag.clone(), object.len);
    let bytes = object.bytes(D::BYTES_MAX).await?;
    let document = D::decode(bytes).map_err(|reason| RegistryError::Broken { what: key.to_string(), reason })?;
    Ok(Some(Versioned { etag, document: Arc::new(document), len }))
}
