//! Owners: who may publish, yank and change the owners of a crate.

use super::authorise::actor;
use super::commit::{Commit, Decision, Shown};
use super::documents::Purpose;
use super::publish::write_error;
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::record::{Change, Outcome};
use crate::krate::{CrateName, Owner, Record};

impl Registry {
    /// The owners of a crate, in the order of their logins. Whoever may read the crate may read them.
    ///
    /// # Errors
    /// There is no such crate, or the caller may not see it; the store does not answer.
    pub async fn owners(&self, principal: &Principal, name: &CrateName) -> Result<Vec<Owner>, RegistryError> {
        let krate = self.known_crate(name, Purpose::Other).await?;
        Ok(self.authorise_existing(principal, Action::Read, name, krate.as_deref())?.owners().iter().cloned().collect())
    }

    /// Makes these users owners too.
    ///
    /// # Errors
    /// There is no such crate, the caller may not, there would be too many, the store fails.
    pub async fn add_owners(
        &self,
        principal: &Principal,
        name: &CrateName,
        owners: &[Owner],
    ) -> Result<(), RegistryError> {
        self.change_owners(principal, name, "owner_add", |record, change| {
            record.add_owners(owners, change).map_err(|error| write_error(error, name))
        })
        .await
    }

    /// These users are owners no more.
    ///
    /// # Errors
    /// There is no such crate, the caller may not, nobody would be left, the store fails.
    pub async fn remove_owners(
        &self,
        principal: &Principal,
        name: &CrateName,
        owners: &[Owner],
    ) -> Result<(), RegistryError> {
        self.change_owners(principal, name, "owner_remove", |record, change| {
            record.remove_owners(owners, change).map_err(|error| write_error(error, name))
        })
        .await
    }

    async fn change_owners(
        &self,
        principal: &Principal,
        name: &CrateName,
        operation: &'static str,
        change_record: impl Fn(&mut Record, &Change) -> Result<Outcome, RegistryError> + Send + Sync,
    ) -> Result<(), RegistryError> {
        self.check_ready()?;
        let change = Change { op: self.new_op(), actor: actor(principal)?.clone(), at: self.clock.now() };
        let commit = Commit {
            key: self.key(name),
            operation,
            what: format!("the crate `{name}`"),
            op: &change.op,
            shown: Shown::Committed,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |record: Option<&Record>| {
            let mut record = self.authorise_existing(principal, Action::ChangeOwners, name, record)?.clone();
            Ok(match change_record(&mut record, &change)? {
                Outcome::Changed => Decision::Write(record, ()),
                Outcome::Unchanged => Decision::Keep(()),
            })
        })
        .await
    }
}
