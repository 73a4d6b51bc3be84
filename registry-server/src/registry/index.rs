//! The index file of one crate, and the record behind it.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;

use super::audit::{self, Entry};
use super::authorise::absent;
use super::documents::{Document, Documents, Fills, Known, Purpose, Versioned};
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::record::{OpId, RECORD_BYTES_MAX};
use crate::krate::{CrateName, Record};
use crate::replicas::Mutant;
use crate::store::Key;

impl Document for Record {
    const BYTES_MAX: u64 = RECORD_BYTES_MAX as u64;

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

    fn known(state: Option<Versioned<Self>>) -> Option<Known> {
        Some(Known::Crate(state))
    }

    fn from_known(known: Known) -> Option<Versioned<Self>> {
        match known {
            Known::Crate(state) => state,
            Known::Token(_) => None,
        }
    }

    fn fills(documents: &Documents) -> &Fills<Self> {
        &documents.crates
    }
}

/// Above this, in bytes, an index file is not inflated; the largest on crates.io has 5 MB.
const LINES_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// An index file, as stored.
#[derive(Debug, Clone)]
pub struct Index {
    record: Arc<Record>,
}

impl Index {
    /// The strong `ETag` over the index lines, with its quotes; the same on all replicas.
    pub fn etag(&self) -> &str {
        self.record.index_etag()
    }

    /// The file, gzip, byte for byte as in the store.
    pub fn gzip(&self) -> &Bytes {
        self.record.index_gzip()
    }

    /// The file, inflated for a client that does not take gzip. Not kept: nearly all clients do.
    ///
    /// # Errors
    /// The stored file is damaged.
    pub async fn plain(&self) -> Result<Bytes, RegistryError> {
        let (gzip, what) = (self.gzip().clone(), format!("the crate `{}`", self.record.name()));
        let inflated = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            flate2::read::GzDecoder::new(&gzip[..]).take(LINES_BYTES_MAX).read_to_end(&mut lines).map(|_| lines)
        });
        match inflated.await {
            Ok(Ok(lines)) if (lines.len() as u64) < LINES_BYTES_MAX => Ok(lines.into()),
            Ok(Ok(_)) => Err(RegistryError::Broken {
                what,
                reason: format!("its index file is longer than {LINES_BYTES_MAX} bytes"),
            }),
            Ok(Err(error)) => {
                Err(RegistryError::Broken { what, reason: format!("its index file does not inflate: {error}") })
            }
            Err(error) => {
                Err(RegistryError::Internal { text: "the index file could not be inflated", reason: error.to_string() })
            }
        }
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

    /// The index file of a crate. `name` is as the path has it: case does not matter, `-` and `_` do.
    ///
    /// # Errors
    /// There is no such crate, or the caller may not see it; the store does not answer.
    pub async fn index(&self, principal: &Principal, name: &CrateName) -> Result<Index, RegistryError> {
        self.check_ready()?;
        let state = self.documents.read::<Record>(&self.key(name), Purpose::Index).await?;
        let record = state.as_ref().map(|state| &*state.document);
        let found = self.authorise_existing(principal, Action::Read, name, record)?;
        if !found.name().answers_to(name) {
            return Err(absent(name.as_str()));
        }
        let record = state.expect("a record was found").document;
        Ok(Index { record })
    }
}
