//! Deleted crates: an administrator takes a crate away, or gives it back as it was. The record stays.

use super::authorise::absent;
use super::commit::{Commit, Decision, Shown};
use super::publish::write_error;
use super::{Registry, RegistryError, administrator};
use crate::krate::record::{Change, Deletion, Outcome};
use crate::krate::{CrateName, Owner, Record};

/// A crate as its administrators see it, deleted or not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CrateState {
    /// The name as its first publisher spelled it.
    pub name: CrateName,
    /// How many changes there were.
    pub rev: u64,
    /// The owners.
    pub owners: Vec<Owner>,
    /// How many versions there are.
    pub versions: usize,
    /// If it is deleted: by whom, and when.
    pub deleted: Option<Deletion>,
}

impl Registry {
    /// A crate, deleted or not. `None`: nobody ever published it.
    ///
    /// # Errors
    /// The store does not answer, or holds something unreadable.
    pub async fn crate_state(&self, name: &CrateName) -> Result<Option<CrateState>, RegistryError> {
        let state = self.record(name).await?.filter(|state| !state.document.is_vacant());
        Ok(state.map(|state| CrateState {
            name: state.document.name().clone(),
            rev: state.document.rev(),
            owners: state.document.owners().iter().cloned().collect(),
            versions: state.document.versions().len(),
            deleted: state.document.deletion().cloned(),
        }))
    }

    /// Deletes a crate: when this returns, it reads as missing everywhere, and nobody can publish under its name. Nothing of it is lost.
    /// Success too if it was deleted before.
    ///
    /// # Errors
    /// There is no such crate, the store fails.
    pub async fn delete_crate(&self, name: &CrateName) -> Result<(), RegistryError> {
        self.change_tombstone(name, "crate_delete", Record::delete).await
    }

    /// Gives a deleted crate back as it was. Success too if it is not deleted.
    ///
    /// # Errors
    /// There is no such crate, the store fails.
    pub async fn restore_crate(&self, name: &CrateName) -> Result<(), RegistryError> {
        self.change_tombstone(name, "crate_restore", Record::restore).await
    }

    async fn change_tombstone(
        &self,
        name: &CrateName,
        operation: &'static str,
        change_record: fn(&mut Record, &Change) -> Result<Outcome, crate::krate::record::WriteError>,
    ) -> Result<(), RegistryError> {
        self.check_ready()?;
        let change = Change { op: self.new_op(), actor: administrator(), at: self.clock.now() };
        let what = format!("the crate `{name}`");
        let commit = Commit {
            key: self.key(name),
            operation,
            what,
            op: &change.op,
            shown: Shown::Committed,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |record: Option<&Record>| {
            let Some(mut record) = record.filter(|record| !record.is_vacant()).cloned() else {
                return Err(absent(name.as_str()));
            };
            Ok(match change_record(&mut record, &change).map_err(|error| write_error(error, name))? {
                Outcome::Changed => Decision::Write(record, ()),
                Outcome::Unchanged => Decision::Keep(()),
            })
        })
        .await
    }
}
