//! Yank and unyank: one flag of one index line.

use super::authorise::actor;
use super::commit::{Commit, Decision, Shown};
use super::publish::write_error;
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::record::{Change, Outcome};
use crate::krate::{CrateName, Record, Version};

impl Registry {
    /// Yanks a version, or takes that back. Success too if it was so already.
    ///
    /// # Errors
    /// There is no such version, the caller may not, the store fails.
    pub async fn set_yanked(
        &self,
        principal: &Principal,
        name: &CrateName,
        version: &Version,
        yanked: bool,
    ) -> Result<(), RegistryError> {
        self.check_ready()?;
        let change = Change { op: self.new_op(), actor: actor(principal)?.clone(), at: self.clock.now() };
        let operation = if yanked { "yank" } else { "unyank" };
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
            let mut record = self.authorise_existing(principal, Action::Yank, name, record)?.clone();
            Ok(match record.set_yanked(version, yanked, &change).map_err(|error| write_error(error, name))? {
                Outcome::Changed => Decision::Write(record, ()),
                Outcome::Unchanged => Decision::Keep(()),
            })
        })
        .await
    }
}
