//! The forms in which records are kept in memory: ready to be served, and no larger than that takes.
//!
//! Of a crate: the index file as it lies in the store, compressed; what decides who may see it; and where the bytes of each version are, first in a few
//! bytes beside what the index says, then, once somebody downloads, in a table. The whole record would be more than twice as large, and parsed thirty
//! times; only writers need it, and they write what was written or read a moment ago, or ask the store.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;

use super::RegistryError;
use super::documents::Versioned;
use super::files::FileId;
use super::index::{INFLATED_AT_ONCE_MAX, inflate};
use crate::access::{Principal, TokenHash, TokenRecord};
use crate::krate::index::{IndexFile, IndexLine};
use crate::krate::record::VersionRecord;
use crate::krate::{CrateName, Owner, Record, Version};
use crate::store::{Etag, Key, Sha256Digest, Ulid};

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
        Self { principal: Principal::of_token(hash, &state.document), state: state.clone() }
    }

    fn bytes(&self) -> usize {
        // The record, and the bearer with its own copy of the grants; texts of both.
        size_of::<Self>() + size_of::<TokenRecord>() + self.state.len * 2 + 8 * PIECE
    }
}

/// A crate as it was under one ETag.
#[derive(Debug)]
pub(super) struct KnownCrate {
    etag: Etag,
    index: Bytes,
    index_etag: HeaderValue,
    name: CrateName,
    owners: BTreeSet<Owner>,
    visible: bool,
    /// Of each version, in their order, what the index does not say of its file. Empty if `files` was made at once.
    attempts: Box<[Attempt]>,
    files: OnceLock<Result<Box<[File]>, RegistryError>>,
}

/// What is needed to find the file of a version whose index line is known.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    ulid: [u8; 16],
    bytes: u64,
}

/// One row of the table of files.
#[derive(Debug)]
struct File {
    version: Version,
    bytes: u64,
    at: At,
}

/// Under which key the bytes of a version are.
#[derive(Debug, Clone)]
enum At {
    /// Where one would look for them.
    Usual(FileId),
    /// Elsewhere; boxed, since there are none in practice.
    Odd(Box<Key>),
    /// What the record says of it is no key.
    Unreadable(Box<str>),
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
        // A copy: what was read is a piece of something larger.
        let index = Bytes::copy_from_slice(record.index_gzip());
        let index_etag = HeaderValue::try_from(record.index_etag())
            .map_err(|error| broken(record.name(), format!("the ETag of its index is odd: {error}")))?;
        let all = files_of(record);
        let usual = |file: &File| match file.at {
            At::Usual((_, ulid)) => Some(Attempt { ulid: ulid.to_bytes(), bytes: file.bytes }),
            At::Odd(_) | At::Unreadable(_) => None,
        };
        let (attempts, files) = match all.iter().map(usual).collect() {
            Some(attempts) => (attempts, OnceLock::new()),
            None => (Box::default(), OnceLock::from(Ok(all))),
        };
        Ok(Self {
            etag: state.etag.clone(),
            index,
            index_etag,
            name: record.name().clone(),
            owners: record.owners().clone(),
            visible: record.is_visible(),
            attempts,
            files,
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

    /// The ETag of the record.
    pub(super) fn etag(&self) -> &Etag {
        &self.etag
    }

    /// Whether [`KnownCrate::place`] holds up nobody else: the table is there, or soon made.
    pub(super) fn has_places(&self) -> bool {
        self.files.get().is_some() || self.index.len() <= INFLATED_AT_ONCE_MAX
    }

    /// Makes the table of a large crate where nobody is held up.
    ///
    /// # Errors
    /// The process ends.
    pub(super) async fn make_places(self: &Arc<Self>) -> Result<(), RegistryError> {
        let krate = self.clone();
        let made = tokio::task::spawn_blocking(move || _ = krate.files());
        made.await.map_err(|error| RegistryError::Internal {
            text: "the crate's files could not be looked up",
            reason: error.to_string(),
        })
    }

    /// The table; made once, whoever asks.
    fn files(&self) -> Result<&[File], RegistryError> {
        self.files.get_or_init(|| self.files_of_index()).as_deref().map_err(Clone::clone)
    }

    /// Where the bytes of a version are. `None`: there is no such version.
    ///
    /// # Errors
    /// The record is broken.
    pub(super) fn place(&self, version: &Version) -> Result<Option<Place>, RegistryError> {
        let files = self.files()?;
        let Ok(found) = files.binary_search_by(|file| file.version.cmp(version)) else { return Ok(None) };
        let File { bytes: len, ref at, .. } = files[found];
        match at {
            At::Usual(id) => Ok(Some(Place { id: *id, len, odd: None })),
            At::Odd(key) => match **key {
                Key::Blob { sha256, attempt, .. } => {
                    Ok(Some(Place { id: (sha256, attempt), len, odd: Some(Key::clone(key)) }))
                }
                _ => Err(broken(&self.name, format!("`{key}` is not the key of a crate file"))),
            },
            At::Unreadable(text) => Err(broken(&self.name, format!("`{text}` is not an object key"))),
        }
    }

    /// The table of files, from the index and what it does not say.
    fn files_of_index(&self) -> Result<Box<[File]>, RegistryError> {
        let lines = inflate(&self.index).map_err(|why| broken(&self.name, why))?;
        let index = IndexFile::parse(lines).map_err(|error| broken(&self.name, error.to_string()))?;
        let mut lines: Vec<_> = index.lines().collect();
        lines.sort_unstable_by(|one, other| one.vers.cmp(&other.vers));
        if lines.len() != self.attempts.len() {
            let (lines, versions) = (lines.len(), self.attempts.len());
            return Err(broken(&self.name, format!("it has {versions} versions, and {lines} in its index")));
        }
        let file = |(line, attempt): (&IndexLine, &Attempt)| {
            let id = (Sha256Digest::from_bytes(*line.cksum.as_bytes()), Ulid::from_bytes(attempt.ulid));
            File { version: line.vers.clone(), bytes: attempt.bytes, at: At::Usual(id) }
        };
        Ok(lines.into_iter().zip(&*self.attempts).map(file).collect())
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

    /// The table of files is counted from the beginning: it comes with the first download.
    fn bytes(&self) -> usize {
        let owners: usize = self.owners.iter().map(|owner| owner.as_str().len() + PIECE).sum();
        let owner_nodes = self.owners.len().div_ceil(8) * OWNERS_NODE;
        let texts = self.etag.as_str().len() + self.index_etag.len() + self.name.as_str().len() + 3 * PIECE;
        let versions =
            self.attempts.len().max(self.files.get().map_or(0, |files| files.as_ref().map_or(0, |files| files.len())));
        let files = versions * (size_of::<Attempt>() + size_of::<File>()) + 2 * PIECE;
        size_of::<Self>() + 2 * PIECE + self.index.len() + PIECE + owners + owner_nodes + texts + files
    }
}

fn files_of(record: &Record) -> Box<[File]> {
    let canonical = record.canonical();
    let at = |version: &Version, blob: &str| {
        if let Some(usual) = Key::parse_blob_of(blob, canonical.as_str(), version.as_semver()) {
            return At::Usual(usual);
        }
        Key::parse(blob).map_or_else(|| At::Unreadable(blob.into()), |key| At::Odd(Box::new(key)))
    };
    let file = |(version, stored): (&Version, &Arc<VersionRecord>)| File {
        version: version.clone(),
        bytes: stored.size,
        at: at(version, &stored.blob),
    };
    record.versions().iter().map(file).collect()
}

fn broken(name: &CrateName, reason: String) -> RegistryError {
    RegistryError::Broken { what: format!("the crate `{name}`"), reason }
}
