//! Crate and token records as documents: read from the store, kept in memory under the rules of [`crate::replicas`].
//!
//! A read is answered from memory while the lease holds; without one, from memory after the head was asked for; else by a GET that began
//! after the reader came, which all readers of the same key share. What is read is kept only if no write is under way on it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use super::RegistryError;
use super::audit::Entry;
use super::known::Known;
use super::marks::Marks;
use super::recent::Recent;
use crate::ambient::Entropy;
use crate::krate::record::OpId;
use crate::metrics::{Reads, Source};
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
    /// Whether the form in which a state is kept holds the document itself.
    const KEPT_WHOLE: bool;
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
    fn known(key: &Key, state: Option<&Versioned<Self>>) -> Result<Option<Known>, RegistryError>;
    /// Back from that form.
    fn from_known(known: &Known) -> Recalled<Self>;
}

/// What the form in which a state is kept says of the whole document.
pub(super) enum Recalled<D> {
    /// Here it is.
    Whole(Versioned<D>),
    /// There is none.
    Absent,
    /// There is one under this ETag, which only the store has whole.
    InStore(Etag),
}

/// Reads of documents that are under way.
type Fills = Flights<Key, Result<Option<Known>, RegistryError>>;

/// A document as it was under one ETag.
#[derive(Debug)]
pub(super) struct Versioned<D> {
    pub(super) etag: Etag,
    pub(super) document: Arc<D>,
    /// Length of the object, in bytes.
    pub(super) len: usize,
}

impl<D> Clone for Versioned<D> {
    fn clone(&self) -> Self {
        Self { etag: self.etag.clone(), document: self.document.clone(), len: self.len }
    }
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
pub(super) struct Documents {
    store: Arc<dyn Store>,
    replica: Arc<Replica<Known>>,
    entropy: Entropy,
    /// Marks that readers came across.
    pub(super) marks: Arc<Marks>,
    fills: Fills,
    recent: Arc<Recent>,
    reads: Reads,
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
            fills: Flights::new(share_late),
            recent: Arc::default(),
            reads: Reads::new(),
        }
    }

    /// The document as it is now, whole.
    pub(super) async fn read<D: Document>(
        &self,
        key: &Key,
        purpose: Purpose,
    ) -> Result<Option<Versioned<D>>, RegistryError> {
        let Some(known) = self.know::<D>(key, purpose).await? else { return Ok(None) };
        let state = match D::from_known(&known) {
            Recalled::Whole(state) => Some(state),
            Recalled::Absent => None,
            Recalled::InStore(etag) => match self.recent.find(key, &etag) {
                Some(state) => Some(state),
                None => {
                    self.reads.count(Source::Store);
                    present(self.fetch::<D>(key).await?)
                }
            },
        };
        if let Some(state) = &state {
            self.recent.remember(key, state);
        }
        Ok(state)
    }

    /// What memory may answer without waiting for anything.
    pub(super) fn know_at_once(&self, key: &Key) -> Option<Known> {
        if self.replica.rules().broken(Mutant::ValueBeforeClock) {
            return None;
        }
        match self.replica.look_up(key) {
            Lookup::Hit(known) => {
                self.reads.count(Source::Memory);
                Some(known)
            }
            Lookup::Miss | Lookup::Unproven => None,
        }
    }

    /// The document as it is now, in the form in which it is kept. `None`: there is none, and that is not kept.
    pub(super) async fn know<D: Document>(&self, key: &Key, purpose: Purpose) -> Result<Option<Known>, RegistryError> {
        // A later ticket than the real arrival is only stricter, and what is in memory needs none.
        let mut arrival = None;
        loop {
            if let Some(known) = self.look_up(key, purpose).await? {
                return Ok(Some(known));
            }
            let fill = || {
                let (store, replica, marks) = (self.store.clone(), self.replica.clone(), self.marks.clone());
                fill::<D>(store, replica, marks, self.recent.clone(), self.entropy.clone(), key.clone()).boxed()
            };
            let arrival = *arrival.get_or_insert_with(|| self.fills.arrive());
            if let Landed::Fresh(result) = self.fills.join(key, arrival, fill).await {
                self.reads.count(Source::Store);
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
                self.reads.count(Source::Memory);
                return Ok(Some(known));
            }
            Lookup::Miss => return Ok(None),
            Lookup::Unproven => {}
        }
        let tolerated = || purpose == Purpose::Index && self.replica.may_serve_unproven();
        let source = if self.replica.is_cut_off() && tolerated() {
            Source::Unproven
        } else {
            match self.replica.prove().await {
                Ok(()) => Source::Proven,
                Err(error) if error.kind().is_transient() && tolerated() => Source::Unproven,
                Err(error) => return Err(error.into()),
            }
        };
        self.reads.count(source);
        Ok(self.replica.recall(key))
    }

    /// The document as it lies in the store, marks and reservations too.
    pub(super) async fn fetch<D: Document>(&self, key: &Key) -> Result<Option<Versioned<D>>, RegistryError> {
        fetch(&*self.store, &self.entropy, key).await
    }

    /// Keeps a state that this process has committed since `generation`, if it may be kept.
    pub(super) fn keep<D: Document>(&self, key: &Key, state: &Versioned<D>, generation: u64) {
        self.recent.remember(key, state);
        // What cannot be kept was committed all the same; whoever reads it is told.
        if let Ok(Some(known)) = D::known(key, Some(state)) {
            keep(&self.replica, key, Some(state), &known, generation);
        }
    }
}

async fn fill<D: Document>(
    store: Arc<dyn Store>,
    replica: Arc<Replica<Known>>,
    marks: Arc<Marks>,
    recent: Arc<Recent>,
    entropy: Entropy,
    key: Key,
) -> Result<Option<Known>, RegistryError> {
    let generation = replica.generation();
    let state = fetch::<D>(&*store, &entropy, &key).await?;
    marks.note(&key, state.as_ref().and_then(|state| state.document.mark()), replica.time().now());
    let shown = present(state.clone());
    // Who publishes looks at the index first.
    if let Some(state) = &shown {
        recent.remember(&key, state);
    }
    let known = D::known(&key, shown.as_ref())?;
    if let Some(known) = &known {
        keep(&replica, &key, state.as_ref(), known, generation);
    }
    Ok(known)
}

/// `stored` is what lies in the store, and `known` what readers see of it.
fn keep<D: Document>(
    replica: &Replica<Known>,
    key: &Key,
    stored: Option<&Versioned<D>>,
    known: &Known,
    generation: u64,
) {
    let (rev, marked) = stored.map_or((0, false), |state| (state.document.rev(), state.document.mark().is_some()));
    let bytes = known.bytes();
    replica.keep(key, Candidate { rev, marked, generation, bytes, value: known.clone() });
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
    let etag = object.etag.clone();
    let object = object.bytes(D::BYTES_MAX).await?;
    let len = object.len();
    let document = D::decode(object).map_err(|reason| RegistryError::Broken { what: key.to_string(), reason })?;
    Ok(Some(Versioned { etag, document: Arc::new(document), len }))
}
