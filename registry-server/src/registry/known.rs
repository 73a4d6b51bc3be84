//! The forms in which records are kept in memory: ready to be served, and no larger than that takes.
//!
//! Of a crate: the object as it lies in the store, compressed, of which the index file is a part; what decides who may see it; and, once
//! somebody downloads, where the bytes of each version are. A parsed record would be ten times as large, and is needed by writers only.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use http::HeaderValue;

use super::RegistryError;
use super::documents::Versioned;
use super::files::FileId;
use crate::access::{Principal, TokenHash, TokenRecord};
use crate::krate::{CrateName, Owner, Record, Version};
use crate::store::{Etag, Key};

/// What the allocator adds to a piece of memory, in bytes, roughly.
const PIECE: usize = 16;
/// A node of a set of owners.
const OWNERS_NODE: usize = 11 * size_of::<Owner>() + 2 * PIECE;

/// What is kept in memory under a key.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// A crate.
    Crate(Arc<KnownCrate>),
    /// There is no such crate.
    NoCrate,
    /// A token. That there is none is not kept: anybody could fill the memory with tokens that never were.
    Token(Arc<KnownToken>),
}

impl Known {
    /// What it takes in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Crate(krate) => krate.bytes(),
            Self::NoCrate => 0,
            Self::Token(token) => token.bytes(),
        }
    }
}

/// A token as it was under one ETag, and whom it makes its bearer.
#[derive(Debug)]
pub(super) struct KnownToken {
    pub(super) state: Versioned<TokenRecord>,
    pub(super) principal: Principal,
}

impl KnownToken {
    pub(super) fn new(hash: TokenHash, state: &Versioned<TokenRecord>) -> Self {
        let state = Versioned { object: Bytes::copy_from_slice(&state.object), ..state.clone() };
        Self { principal: Principal::of_token(hash, &state.document), state }
    }

    fn bytes(&self) -> usize {
        // The object, the record that was read from it, and the bearer with its own copy of the grants.
        size_of::<Self>() + size_of::<TokenRecord>() + self.state.object.len() * 3 + 8 * PIECE
    }
}

/// A crate as it was under one ETag.
#[derive(Debug)]
pub(super) struct KnownCrate {
    etag: Etag,
    object: Bytes,
    index: Bytes,
    index_etag: HeaderValue,
    name: CrateName,
    owners: BTreeSet<Owner>,
    versions: usize,
    visible: bool,
    files: OnceLock<Box<[File]>>,
    /// The record, if somebody still has it.
    parsed: Weak<Record>,
}

/// One row of the table of files.
#[derive(Debug)]
struct File {
    version: Version,
    bytes: u64,
    /// `None`: not under the key where one would look for them; then the record itself is asked.
    id: Option<FileId>,
}

/// Where the bytes of a version are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// What they are known by.
    pub(super) id: FileId,
    /// How many there are.
    pub(super) len: u64,
    /// Their key, if it does not follow from all else.
    odd: Option<Key>,
}

impl KnownCrate {
    /// # Errors
    /// The ETag of its index cannot stand in a header.
    pub(super) fn new(state: &Versioned<Record>) -> Result<Self, RegistryError> {
        let record = &*state.document;
        // A copy: what was read may be a piece of something larger.
        let object = Bytes::copy_from_slice(&state.object);
        let index = object.slice(object.len() - record.index_gzip().len()..);
        let index_etag = HeaderValue::try_from(record.index_etag())
            .map_err(|error| broken(record.name(), format!("the ETag of its index is odd: {error}")))?;
        Ok(Self {
            etag: state.etag.clone(),
            object,
            index,
            index_etag,
            name: record.name().clone(),
            owners: record.owners().clone(),
            versions: record.versions().len(),
            visible: record.is_visible(),
            files: OnceLock::new(),
            parsed: Arc::downgrade(&state.document),
        })
    }

    /// The name as its first publisher spelled it.
    pub(super) fn name(&self) -> &CrateName {
        &self.name
    }

    /// Who owns it.
    pub(super) fn owners(&self) -> &BTreeSet<Owner> {
        &self.owners
    }

    /// Whether it exists for readers.
    pub(super) fn is_visible(&self) -> bool {
        self.visible
    }

    /// The index file as stored, gzip.
    pub(super) fn index(&self) -> &Bytes {
        &self.index
    }

    /// Its strong ETag, with quotes.
    pub(super) fn index_etag(&self) -> &HeaderValue {
        &self.index_etag
    }

    /// The whole record.
    ///
    /// # Errors
    /// It is not readable, although it was.
    pub(super) fn state(&self) -> Result<Versioned<Record>, RegistryError> {
        let document = match self.parsed.upgrade() {
            Some(record) => record,
            None => Arc::new(Record::parse(&self.object).map_err(|error| broken(&self.name, error.to_string()))?),
        };
        Ok(Versioned { etag: self.etag.clone(), document, object: self.object.clone() })
    }

    /// Where the bytes of a version are. `None`: there is no such version.
    ///
    /// # Errors
    /// The record is broken.
    pub(super) fn place(&self, version: &Version) -> Result<Option<Place>, RegistryError> {
        let files = match self.files.get() {
            Some(files) => files,
            None => {
                let state = self.state()?;
                self.files.get_or_init(|| files_of(&state.document))
            }
        };
        let Ok(found) = files.binary_search_by(|file| file.version.cmp(version)) else { return Ok(None) };
        let File { bytes: len, id, .. } = files[found];
        Ok(Some(match id {
            Some(id) => Place { id, len, odd: None },
            None => self.odd_place(version, len)?,
        }))
    }

    /// The key of what lies at `place`.
    ///
    /// # Errors
    /// No key can be made of it: a defect.
    pub(super) fn key(&self, version: &Version, place: &Place) -> Result<Key, RegistryError> {
        if let Some(key) = &place.odd {
            return Ok(key.clone());
        }
        let (sha256, attempt) = place.id;
        Key::blob(self.name.canonical().as_str(), version.as_semver(), sha256, attempt)
            .map_err(|error| broken(&self.name, error.to_string()))
    }

    fn odd_place(&self, version: &Version, len: u64) -> Result<Place, RegistryError> {
        let state = self.state()?;
        let blob = state.document.versions().get(version).map(|stored| stored.blob.as_str()).unwrap_or_default();
        match Key::parse(blob) {
            Some(Key::Blob { krate, version, sha256, attempt }) => {
                let id = (sha256, attempt);
                Ok(Place { id, len, odd: Some(Key::Blob { krate, version, sha256, attempt }) })
            }
            Some(_) => Err(broken(&self.name, format!("`{blob}` is not the key of a crate file"))),
            None => Err(broken(&self.name, format!("`{blob}` is not an object key"))),
        }
    }

    /// The table of files is counted from the beginning: it comes with the first download.
    fn bytes(&self) -> usize {
        let owners: usize = self.owners.iter().map(|owner| owner.as_str().len() + PIECE).sum();
        let owner_nodes = self.owners.len().div_ceil(8) * OWNERS_NODE;
        let texts = self.etag.as_str().len() + self.index_etag.len() + self.name.as_str().len() + 3 * PIECE;
        let files = self.versions * size_of::<File>() + PIECE;
        size_of::<Self>() + 2 * PIECE + self.object.len() + PIECE + owners + owner_nodes + texts + files
    }
}

fn files_of(record: &Record) -> Box<[File]> {
    let canonical = record.canonical();
    let id = |version: &Version, blob: &str| match Key::parse(blob)? {
        Key::Blob { krate, version: of, sha256, attempt }
            if krate.as_str() == canonical.as_str() && of.version() == *version.as_semver() =>
        {
            Some((sha256, attempt))
        }
        _ => None,
    };
    let file = |(version, stored): (&Version, &Arc<crate::krate::record::VersionRecord>)| File {
        version: version.clone(),
        bytes: stored.size,
        id: id(version, &stored.blob),
    };
    record.versions().iter().map(file).collect()
}

fn broken(name: &CrateName, reason: String) -> RegistryError {
    RegistryError::Broken { what: format!("the crate `{name}`"), reason }
}
