//! The index file of one crate, and the record behind it.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

use super::audit::{self, Entry};
use super::authorise::absent;
use super::documents::{Document, Purpose, Recalled, Versioned};
use super::known::{Known, KnownCrate};
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::record::{OpId, RECORD_BYTES_MAX};
use crate::krate::{CrateName, Record};
use crate::replicas::Mutant;
use crate::store::Key;

impl Document for Record {
    const BYTES_MAX: u64 = RECORD_BYTES_MAX as u64;
    const KEPT_WHOLE: bool = false;

    fn decode(bytes: Bytes) -> Result<Self, String> {
        let record = Self::parse(&bytes).map_err(|error| error.to_string())?;
        // What a network or a disk turned over must not be kept, and served to everybody until the next change.
        record.check_index_bytes().map_err(|error| error.to_string())?;
        Ok(record)
    }

    fn encode(&self) -> Bytes {
        self.to_bytes()
    }

    fn contains(&self, op: &OpId) -> bool {
        Self::contains(self, op)
    }

    fn rev(&self) -> u64 {
        Self::rev(self)
    }

    fn mark(&self) -> Option<&OpId> {
        Self::mark(self)
    }

    fn audit(&self, _: &Key, op: &OpId) -> Option<Entry> {
        self.ops().iter().find(|done| done.op == *op).and_then(|op| audit::of_crate(self, op))
    }

    fn marked(before: Option<&Self>, next: &Self, mark: OpId) -> Self {
        before.map_or_else(|| next.reservation(mark.clone()), |before| before.marked(mark.clone()))
    }

    fn swept(&self, op: OpId) -> Option<Self> {
        Some(Self::swept(self, op))
    }

    fn known(_: &Key, state: Option<&Versioned<Self>>) -> Result<Option<Known>, RegistryError> {
        Ok(Some(match state {
            Some(state) => Known::Crate(Arc::new(KnownCrate::new(state)?)),
            None => Known::NoCrate,
        }))
    }

    fn from_known(known: &Known) -> Recalled<Self> {
        match known {
            Known::Crate(krate) => Recalled::InStore(krate.etag().clone()),
            Known::NoCrate | Known::Token(_) => Recalled::Absent,
        }
    }
}

/// Above this, in bytes, an index file is not inflated; the largest on crates.io has 5 MB.
const LINES_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Up to this length, in bytes, an index file is inflated where it is asked for; a longer one would hold up others.
pub(super) const INFLATED_AT_ONCE_MAX: usize = 4 * 1024;

/// An index file, as stored.
#[derive(Debug, Clone)]
pub struct Index {
    krate: Arc<KnownCrate>,
}

impl Index {
    /// The strong `ETag` over the index lines, with its quotes; the same on all replicas.
    pub fn etag(&self) -> &str {
        self.etag_value().to_str().expect("an ETag that was made from text")
    }

    /// The same, ready for a header.
    pub fn etag_value(&self) -> &HeaderValue {
        self.krate.index_etag()
    }

    /// The file, gzip, byte for byte as in the store.
    pub fn gzip(&self) -> &Bytes {
        self.krate.index()
    }

    /// The file, inflated for a client that does not take gzip. Not kept: nearly all clients do.
    ///
    /// # Errors
    /// The stored file is damaged.
    pub async fn plain(&self) -> Result<Bytes, RegistryError> {
        let gzip = self.gzip().clone();
        let inflated = if gzip.len() <= INFLATED_AT_ONCE_MAX {
            inflate(&gzip)
        } else {
            let task = tokio::task::spawn_blocking(move || inflate(&gzip));
            task.await.map_err(|error| RegistryError::Internal {
                text: "the index file could not be inflated",
                reason: error.to_string(),
            })?
        };
        inflated
            .map(Bytes::from)
            .map_err(|reason| RegistryError::Broken { what: format!("the crate `{}`", self.krate.name()), reason })
    }
}

pub(super) fn inflate(gzip: &[u8]) -> Result<Vec<u8>, String> {
    let mut lines = Vec::new();
    match flate2::read::GzDecoder::new(gzip).take(LINES_BYTES_MAX).read_to_end(&mut lines) {
        Ok(count) if (count as u64) < LINES_BYTES_MAX => Ok(lines),
        Ok(_) => Err(format!("its index file is longer than {LINES_BYTES_MAX} bytes")),
        Err(error) => Err(format!("its index file does not inflate: {error}")),
    }
}

impl Registry {
    /// The key of a crate's record.
    pub(super) fn key(&self, name: &CrateName) -> Key {
        let mut folded = name.canonical().as_str().to_owned();
        if self.replica.rules().broken(Mutant::NameNotFolded) && name.as_str().contains('-') {
            folded = folded.replace('_', "0");
        }
        Key::krate(&folded).expect("a canonical name is a key segment")
    }

    /// The record of a crate under any spelling, as it is now.
    pub(super) async fn record(&self, name: &CrateName) -> Result<Option<Versioned<Record>>, RegistryError> {
        self.check_ready()?;
        self.documents.read(&self.key(name), Purpose::Other).await
    }

    /// The same, in the form in which it is kept.
    pub(super) async fn known_crate(
        &self,
        name: &CrateName,
        purpose: Purpose,
    ) -> Result<Option<Arc<KnownCrate>>, RegistryError> {
        self.check_ready()?;
        match self.documents.know::<Record>(&self.key(name), purpose).await? {
            Some(Known::Crate(krate)) => Ok(Some(krate)),
            Some(Known::NoCrate | Known::Token(_)) | None => Ok(None),
        }
    }

    /// The same, if memory can tell.
    pub(super) fn known_crate_at_once(
        &self,
        name: &CrateName,
    ) -> Option<Result<Option<Arc<KnownCrate>>, RegistryError>> {
        if let Err(error) = self.check_ready() {
            return Some(Err(error));
        }
        match self.documents.know_at_once(&self.key(name))? {
            Known::Crate(krate) => Some(Ok(Some(krate))),
            Known::NoCrate => Some(Ok(None)),
            Known::Token(_) => None,
        }
    }

    /// The index file of a crate, if memory can tell. `name` is as the path has it: case does not matter, `-` and `_` do.
    ///
    /// # Errors
    /// As [`Registry::index`].
    pub fn index_at_once(&self, principal: &Principal, name: &CrateName) -> Option<Result<Index, RegistryError>> {
        let krate = self.known_crate_at_once(name)?;
        Some(krate.and_then(|krate| self.show(principal, name, krate)))
    }

    /// The index file of a crate, from memory or from the store.
    ///
    /// # Errors
    /// There is no such crate, or the caller may not see it; the store does not answer.
    pub async fn index(&self, principal: &Principal, name: &CrateName) -> Result<Index, RegistryError> {
        if let Some(answer) = self.index_at_once(principal, name) {
            return answer;
        }
        let krate = self.known_crate(name, Purpose::Index).await?;
        self.show(principal, name, krate)
    }

    fn show(
        &self,
        principal: &Principal,
        name: &CrateName,
        krate: Option<Arc<KnownCrate>>,
    ) -> Result<Index, RegistryError> {
        let found = self.authorise_existing(principal, Action::Read, name, krate.as_deref())?;
        if !found.name().answers_to(name) {
            return Err(absent(name.as_str()));
        }
        Ok(Index { krate: krate.expect("a crate was found") })
    }
}
