//! Changes of a record. Each checks everything first, then changes everything: on an error the record is as it was.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Map;

use super::{
    OPS_MAX, OWNERS_MAX, Op, OpId, OpKind, RECORD_BYTES_MAX, Record, RecordError, VersionRecord, gzip, versions,
};
use crate::krate::name::NameError;
use crate::krate::version::max_version;
use crate::krate::{Cksum, CrateName, IndexFile, Owner, Release, Version};

/// What a mark adds to a header, in bytes: a record at its limit must still take one.
const MARK_BYTES: usize = r#""mark":"00000000000000000000000000000000","#.len();

/// Who changes a record, when, under which identity.
#[derive(Debug, Clone)]
pub struct Change {
    /// Fresh for every change; the same when one change is tried again.
    pub op: OpId,
    /// The user who asked for it.
    pub actor: Owner,
    /// The time, from the caller's clock.
    pub at: Timestamp,
}

/// A version that is being published.
#[derive(Debug, Clone)]
pub struct NewVersion<'a> {
    /// What was checked.
    pub release: &'a Release,
    /// SHA-256 of the `.crate` file.
    pub cksum: Cksum,
    /// Length of the `.crate` file, in bytes.
    pub size: u64,
    /// The object key of the stored bytes, without the store's prefix.
    pub blob: String,
}

/// Whether a change was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a changed record must be written"]
pub enum Outcome {
    /// The record differs now: `rev` is one more, and it must be written.
    Changed,
    /// It was so already: nothing to write.
    Unchanged,
}

impl Record {
    /// Adds a version. [`Outcome::Unchanged`] if it is there with the same checksum: then nothing of `new` is kept.
    ///
    /// # Errors
    /// The name is reserved (for the first version) or spelled otherwise, the version or a twin of it is there with other
    /// bytes, the record would be too large, or is corrupt.
    pub fn insert_version(&mut self, new: &NewVersion<'_>, change: &Change) -> Result<Outcome, WriteError> {
        let version = new.release.version();
        if self.check_version(new)? == Outcome::Unchanged {
            return Ok(Outcome::Unchanged);
        }
        let before = self.index()?;
        let mut index = before.clone();
        index.insert(&new.release.entry(new.cksum, change.at)).map_err(RecordError::from)?;

        let mut changed = self.clone();
        let NewVersion { size, blob, .. } = new.clone();
        changed.versions.push(VersionRecord::new(version.clone(), blob, size, change.actor.clone(), change.at));
        let gzip = versions::grown(&self.index_gzip, before.as_bytes(), index.as_bytes(), index.lines().len());
        changed.set_index(index, gzip);
        if changed.max_version() == Some(version) {
            changed.header.about = new.release.about().clone();
        }
        self.commit(changed, change, OpKind::Publish, Some(version), &[])
    }

    /// Whether [`Record::insert_version`] would be a change, or why it would be refused, but for the size of the record.
    ///
    /// # Errors
    /// As there.
    pub fn check_version(&self, new: &NewVersion<'_>) -> Result<Outcome, WriteError> {
        let (name, version) = (new.release.name(), new.release.version());
        self.check_not_deleted()?;
        if self.is_vacant() {
            name.check_reserved()?;
        }
        if *name != self.header.name {
            let (name, asked) = (self.header.name.clone(), name.clone());
            return Err(WriteError::Spelling { name, asked });
        }
        Ok(self.same_version(version, new.cksum)?.unwrap_or(Outcome::Changed))
    }

    /// Looks for the version: is it there with these bytes?
    fn same_version(&self, version: &Version, cksum: Cksum) -> Result<Option<Outcome>, WriteError> {
        let Some(line) = self.index()?.twin_of(version) else { return Ok(None) };
        let (name, version, twin) = (self.header.name.clone(), version.clone(), line.vers.clone());
        if twin != version {
            Err(WriteError::Twin { name, version, twin })
        } else if line.cksum != cksum {
            Err(WriteError::Taken { name, version, cksum: line.cksum })
        } else {
            Ok(Some(Outcome::Unchanged))
        }
    }

    /// Yanks or unyanks a version.
    ///
    /// # Errors
    /// There is no such version, or the record is corrupt.
    pub fn set_yanked(&mut self, version: &Version, yanked: bool, change: &Change) -> Result<Outcome, WriteError> {
        let mut index = self.index()?.clone();
        match index.set_yanked(version, yanked) {
            None => Err(WriteError::NoVersion { name: self.header.name.clone(), version: version.clone() }),
            Some(false) => Ok(Outcome::Unchanged),
            Some(true) => {
                let mut changed = self.clone();
                let gzip = gzip::deflate(index.as_bytes());
                changed.set_index(index, gzip);
                let kind = if yanked { OpKind::Yank } else { OpKind::Unyank };
                self.commit(changed, change, kind, Some(version), &[])
            }
        }
    }

    /// Makes these users owners too.
    ///
    /// # Errors
    /// There would be more than [`OWNERS_MAX`], or the record is corrupt.
    pub fn add_owners(&mut self, owners: &[Owner], change: &Change) -> Result<Outcome, WriteError> {
        let added: BTreeSet<_> = owners.iter().filter(|owner| !self.header.owners.contains(*owner)).cloned().collect();
        let count = self.header.owners.len() + added.len();
        if count > OWNERS_MAX && !added.is_empty() {
            return Err(WriteError::TooManyOwners { name: self.header.name.clone(), count });
        }
        let mut changed = self.clone();
        changed.header.owners.extend(added.iter().cloned());
        self.commit_owners(changed, change, OpKind::OwnerAdd, added)
    }

    /// These users are owners no more.
    ///
    /// # Errors
    /// No owner would be left, or the record is corrupt.
    pub fn remove_owners(&mut self, owners: &[Owner], change: &Change) -> Result<Outcome, WriteError> {
        let mut changed = self.clone();
        let removed: BTreeSet<_> = owners.iter().filter(|owner| changed.header.owners.remove(owner)).cloned().collect();
        if changed.header.owners.is_empty() {
            return Err(WriteError::LastOwner { name: self.header.name.clone() });
        }
        self.commit_owners(changed, change, OpKind::OwnerRemove, removed)
    }

    fn commit_owners(
        &mut self,
        changed: Self,
        change: &Change,
        kind: OpKind,
        owners: BTreeSet<Owner>,
    ) -> Result<Outcome, WriteError> {
        if owners.is_empty() {
            return Ok(Outcome::Unchanged);
        }
        // The lines are not touched, but a record whose index is corrupt must not get a new `rev`.
        self.index()?;
        let owners: Vec<_> = owners.into_iter().collect();
        self.commit(changed, change, kind, None, &owners)
    }

    /// `gzip` is the member of `index`.
    pub(super) fn set_index(&mut self, index: IndexFile, gzip: Bytes) {
        let versions = index.lines().map(|line| (&line.vers, line.yanked));
        self.header.max_version = max_version(versions).cloned();
        self.header.index_etag = index.etag();
        self.index_gzip = gzip;
        self.index = OnceLock::from(Arc::new(index));
    }

    /// Takes over what was changed, as one more `rev`.
    pub(super) fn commit(
        &mut self,
        mut changed: Self,
        change: &Change,
        kind: OpKind,
        vers: Option<&Version>,
        owners: &[Owner],
    ) -> Result<Outcome, WriteError> {
        assert!(!self.contains(&change.op), "a change that is committed is not made again");
        let header = &mut changed.header;
        header.rev += 1;
        header.op = change.op.clone();
        // Whoever left a mark is overtaken by this write.
        header.mark = None;
        let surplus = (header.ops.len() + 1).saturating_sub(OPS_MAX);
        header.ops.drain(..surplus);
        header.ops.push(Op {
            op: change.op.clone(),
            kind,
            actor: change.actor.clone(),
            at: change.at,
            rev: header.rev,
            vers: vers.cloned(),
            owners: owners.to_vec(),
            extra: Map::new(),
        });
        let index = changed.index()?;
        debug_assert_eq!(
            changed.header.check_index(changed.versions.by_version(), index),
            Ok(()),
            "a change keeps all members together"
        );
        let bytes = changed.header.to_line().len() + changed.versions.len() + index.as_bytes().len();
        if bytes > RECORD_BYTES_MAX - MARK_BYTES {
            return Err(WriteError::TooLarge { name: self.header.name.clone(), bytes });
        }
        changed.index_bytes_max = RECORD_BYTES_MAX;
        *self = changed;
        Ok(Outcome::Changed)
    }
}

/// Why a change is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The record is corrupt: not the user's fault.
    #[error(transparent)]
    Corrupt(#[from] RecordError),
    /// The name of a new crate is reserved.
    #[error(transparent)]
    Reserved(#[from] NameError),
    /// The crate exists under another spelling.
    #[error(
        "this crate is named `{name}`: case, `-` and `_` do not make another name; set `package.name = \"{name}\"`, or \
             choose a name that differs in more than that from `{asked}`"
    )]
    Spelling {
        /// The name that it has.
        name: CrateName,
        /// The name that was asked for.
        asked: CrateName,
    },
    /// An administrator deleted the crate.
    #[error(
        "the crate `{name}` was deleted by an administrator at {at:.0}; its name stays taken, because its versions keep their \
             contents for ever: ask those who run this registry to restore it, or publish under another name"
    )]
    Deleted {
        /// The crate.
        name: CrateName,
        /// When.
        at: Timestamp,
    },
    /// The version is there with other bytes.
    #[error(
        "version {version} of `{name}` is published already, with other contents (SHA-256 {cksum}); a version never \
             changes: publish a new one"
    )]
    Taken {
        /// The crate.
        name: CrateName,
        /// The version.
        version: Version,
        /// The checksum that it has.
        cksum: Cksum,
    },
    /// A version is there that differs only in its build metadata.
    #[error(
        "version {version} of `{name}` is the same as {twin}, which is published already: what follows `+` does not \
             count; publish a new one"
    )]
    Twin {
        /// The crate.
        name: CrateName,
        /// The version asked for.
        version: Version,
        /// The version that is there.
        twin: Version,
    },
    /// No such version.
    #[error("`{name}` has no version {version}")]
    NoVersion {
        /// The crate.
        name: CrateName,
        /// The version asked for.
        version: Version,
    },
    /// Nobody would be left.
    #[error("`{name}` would have no owner left: add another one first (`cargo owner --add LOGIN {name}`)")]
    LastOwner {
        /// The crate.
        name: CrateName,
    },
    /// More than [`OWNERS_MAX`].
    #[error("`{name}` would have {count} owners: at most {OWNERS_MAX} are allowed")]
    TooManyOwners {
        /// The crate.
        name: CrateName,
        /// How many.
        count: usize,
    },
    /// More than [`RECORD_BYTES_MAX`].
    #[error("the record of `{name}` would have {bytes} bytes: at most {RECORD_BYTES_MAX} are possible")]
    TooLarge {
        /// The crate.
        name: CrateName,
        /// How many.
        bytes: usize,
    },
}
