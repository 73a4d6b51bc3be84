//! Deleting a crate, and taking that back. The record stays, with every version, index line and blob key that it has: a version has one
//! checksum for ever, so what comes back cannot be anything else than what went.
//!
//! A program that does not know deletions keeps the field as it keeps all unknown ones, and goes on showing the crate: delete when all
//! replicas run a version that does.

use super::{Change, Deletion, OpKind, Outcome, Record, WriteError};

impl Record {
    /// Takes the crate away from readers and publishers.
    ///
    /// # Errors
    /// The record is corrupt, or too large.
    pub fn delete(&mut self, change: &Change) -> Result<Outcome, WriteError> {
        if self.header.deleted.is_some() {
            return Ok(Outcome::Unchanged);
        }
        // What cannot be read could not be restored.
        self.index()?;
        let mut changed = self.clone();
        changed.header.deleted = Some(Deletion { by: change.actor.clone(), at: change.at });
        self.commit(changed, change, OpKind::Delete, None, &[])
    }

    /// Gives the crate back as it was.
    ///
    /// # Errors
    /// The record is corrupt, or too large.
    pub fn restore(&mut self, change: &Change) -> Result<Outcome, WriteError> {
        if self.header.deleted.is_none() {
            return Ok(Outcome::Unchanged);
        }
        self.index()?;
        let mut changed = self.clone();
        changed.header.deleted = None;
        self.commit(changed, change, OpKind::Restore, None, &[])
    }

    pub(super) fn check_not_deleted(&self) -> Result<(), WriteError> {
        match &self.header.deleted {
            Some(deletion) => Err(WriteError::Deleted { name: self.header.name.clone(), at: deletion.at }),
            None => Ok(()),
        }
    }
}
