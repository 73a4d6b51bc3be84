//! The crate record: the one object that says all there is to know about one crate, and the only commit point.
//!
//! Three gzip members, one after the other: a header, which is one line of JSON; a line of JSON for each version; then **the sparse index
//! file byte for byte**. So `zcat` reads a record, the last member is served as it stands, and the bucket outlives this program. The last two
//! only grow while versions are published, so a publish costs what its own version costs, however many there are.
//! `op` stands first in the header and is random: no two states of a record have the same bytes, and a writer whose reply
//! was lost finds its own work. Keys that this version does not know are kept when a record is rewritten.
//!
//! Reading: [`Record::parse`] inflates the header alone; [`Record::index_gzip`] hands out the stored bytes of the
//! index; [`Record::index`] inflates and checks them. Changing ([`change`], `tombstone`, `recover`; `mark` is about writes under way): every change says whether it was one, adds one
//! to `rev` and an entry to `ops`, and checks the invariants first; a corrupt record is never written over.
//!
//! Must never exist: a second place that knows the form of a record; private data in the index lines.

pub mod change;
mod gzip;
mod header;
#[cfg(feature = "test-support")]
mod many;
mod mark;
mod op;
mod recover;
mod tombstone;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

pub use change::{Change, NewVersion, Outcome, WriteError};
pub use header::Deletion;
pub use op::{Op, OpId, OpIdError, OpKind};
pub use versions::VersionRecord;

use header::Header;
use versions::Versions;

use super::index::{self, IndexError};
use super::release::About;
use super::{Canonical, CrateName, IndexFile, Owner, Version};

/// Largest record, header and index lines inflated, in bytes: about 30,000 versions.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How many of the last changes a record keeps.
pub const OPS_MAX: usize = 64;
/// Most owners of a crate.
pub const OWNERS_MAX: usize = 256;

/// A crate record.
#[derive(Debug, Clone)]
pub struct Record {
    header: Header,
    versions: Versions,
    /// The last member as stored.
    index_gzip: Bytes,
    /// The last member inflated and checked, once somebody asked.
    index: OnceLock<Arc<IndexFile>>,
    /// What the index may inflate to.
    index_bytes_max: usize,
}

impl Record {
    /// A crate without versions, at `rev` 0: what the first publish of a name starts from. It is never stored so.
    #[must_use]
    pub fn new(name: CrateName, owners: BTreeSet<Owner>) -> Self {
        let index = IndexFile::default();
        let index_gzip = gzip::deflate(index.as_bytes());
        let header = Header::new(name, owners, index.etag());
        let index = OnceLock::from(Arc::new(index));
        Self { header, versions: Versions::none(), index_gzip, index, index_bytes_max: RECORD_BYTES_MAX }
    }

    /// Reads a record as stored. The index lines are inflated when they are asked for.
    ///
    /// # Errors
    /// [`RecordError`]: the object is corrupt, and how.
    pub fn parse(object: &Bytes) -> Result<Self, RecordError> {
        Self::parse_within(object, RECORD_BYTES_MAX)
    }

    fn parse_within(object: &Bytes, bytes_max: usize) -> Result<Self, RecordError> {
        let (header, rest) =
            gzip::inflate_first(object, bytes_max).map_err(|why| RecordError::Gzip { member: "header", why })?;
        let bytes_max = bytes_max - header.len();
        let object = object.slice(rest..);
        if object.is_empty() {
            return Err(RecordError::Ends { after: "header" });
        }
        let (versions, rest) = Versions::parse_first(&object, bytes_max)?;
        if rest == object.len() {
            return Err(RecordError::Ends { after: "list of versions" });
        }
        Ok(Self {
            header: Header::parse(&header)?,
            index_bytes_max: bytes_max - versions.len(),
            versions,
            index_gzip: object.slice(rest..),
            index: OnceLock::new(),
        })
    }

    /// The object to store.
    ///
    /// # Panics
    /// If the record was neither changed nor marked since [`Record::new`], or its header does not read back as itself.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        assert!(self.header.rev > 0 || self.header.mark.is_some(), "a crate without any change is not stored");
        let line = self.header.to_line();
        assert_eq!(Header::parse(&line).as_ref(), Ok(&self.header), "what is written reads back the same");
        [gzip::deflate(&line), self.versions.gzip().clone(), self.index_gzip.clone()].concat().into()
    }

    /// Whether the crate exists for readers.
    #[must_use]
    pub fn is_visible(&self) -> bool {
        !self.is_vacant() && self.header.deleted.is_none()
    }

    /// Whether nobody ever published the crate: a writer reserves the name, or died when it had. Its owners and the spelling of its name mean
    /// nothing then, and whoever may publish a new crate may have it.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.versions.by_version().is_empty()
    }

    /// If an administrator deleted the crate: who, and when.
    #[must_use]
    pub fn deletion(&self) -> Option<&Deletion> {
        self.header.deleted.as_ref()
    }

    /// The identity of the last write.
    #[must_use]
    pub fn op(&self) -> &OpId {
        &self.header.op
    }

    /// How many changes there were.
    #[must_use]
    pub fn rev(&self) -> u64 {
        self.header.rev
    }

    /// The identity of a write that is under way.
    #[must_use]
    pub fn mark(&self) -> Option<&OpId> {
        self.header.mark.as_ref()
    }

    /// The name as its first publisher spelled it.
    #[must_use]
    pub fn name(&self) -> &CrateName {
        &self.header.name
    }

    /// Its canonical form, under which the record is stored.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        self.header.name.canonical()
    }

    /// The owners; never empty.
    #[must_use]
    pub fn owners(&self) -> &BTreeSet<Owner> {
        &self.header.owners
    }

    /// What search and pages show: from the version that was the one to show when it was published.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.header.about
    }

    /// The version to show ([`super::version::max_version`]).
    #[must_use]
    pub fn max_version(&self) -> Option<&Version> {
        self.header.max_version.as_ref()
    }

    /// All versions with what their index lines do not say.
    #[must_use]
    pub fn versions(&self) -> &BTreeMap<Version, Arc<VersionRecord>> {
        self.versions.by_version()
    }

    /// The last [`OPS_MAX`] changes, oldest first.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.header.ops
    }

    /// Whether this change is among the last ones: then it was committed, whatever its writer was told.
    #[must_use]
    pub fn contains(&self, op: &OpId) -> bool {
        self.header.ops.iter().any(|done| done.op == *op)
    }

    /// The strong `ETag` of the index file, with its quotes.
    #[must_use]
    pub fn index_etag(&self) -> &str {
        &self.header.index_etag
    }

    /// The index file as stored: gzip, to be served as it stands. No copy is made.
    #[must_use]
    pub fn index_gzip(&self) -> &Bytes {
        &self.index_gzip
    }

    /// The index file, inflated and checked against the header at the first call.
    ///
    /// # Errors
    /// The index is corrupt, or does not go with the header.
    pub fn index(&self) -> Result<&IndexFile, RecordError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = IndexFile::parse(self.inflate_index()?)?;
        self.header.check_index(self.versions.by_version(), &index)?;
        Ok(self.index.get_or_init(|| Arc::new(index)))
    }

    /// Whether the bytes of the index, which are served as they lie there, are those that the header names. Much cheaper than
    /// [`Record::index`], and nothing is kept.
    ///
    /// # Errors
    /// They are damaged.
    pub fn check_index_bytes(&self) -> Result<(), RecordError> {
        if index::etag(&self.inflate_index()?) == self.header.index_etag {
            return Ok(());
        }
        Err(RecordError::Rule("its index is not the one that its header names".to_owned()))
    }

    fn inflate_index(&self) -> Result<Vec<u8>, RecordError> {
        let corrupt = |why| RecordError::Gzip { member: "index", why };
        let (lines, end) = gzip::inflate_first(&self.index_gzip, self.index_bytes_max).map_err(corrupt)?;
        if end != self.index_gzip.len() {
            return Err(RecordError::Trailing { bytes: self.index_gzip.len() - end });
        }
        Ok(lines)
    }
}

/// A stored record is corrupt. Only a person can mend it; nothing writes over it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A member does not inflate, or to too much.
    #[error("the crate record is corrupt: its {member} is not a sound gzip member: {why}")]
    Gzip {
        /// `header`, `list of versions` or `index`.
        member: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A member is missing.
    #[error("the crate record is corrupt: it ends after its {after}")]
    Ends {
        /// The last member that is there.
        after: &'static str,
    },
    /// The list of versions is not made of lines of JSON of this form.
    #[error("the crate record is corrupt: line {line} of its list of versions is not readable: {why}")]
    Versions {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It goes on after the index.
    #[error("the crate record is corrupt: {bytes} bytes follow its index")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The header is not one line of JSON of this form.
    #[error("the crate record is corrupt: its header is not readable: {0}")]
    Header(String),
    /// The header breaks one of its rules.
    #[error("the crate record is corrupt: {0}")]
    Rule(String),
    /// The index lines.
    #[error("the crate record is corrupt: {0}")]
    Index(#[from] IndexError),
}

#[cfg(test)]
mod tests;
