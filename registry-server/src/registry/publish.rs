//! Publish: bytes first, then the record by compare-and-swap. A crash between the two leaves an object that nothing names.

use std::collections::BTreeSet;
use std::time::Duration;

use std::borrow::Cow;

use super::authorise::actor;
use super::commit::{Commit, Decision, Needed, Shown};
use super::documents::Versioned;
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::record::{Change, NewVersion, Outcome, WriteError};
use crate::krate::{Cksum, CrateName, Owner, Record, Release};
use crate::replicas::Mutant;
use crate::store::{Body, Key, Sha256Digest};

/// How long a publish may take from the first byte that it stores to its commit. The garbage collection relies on it: a file that nothing names
/// may be deleted after two days, and must not be named after that.
const LASTS_MAX: Duration = Duration::from_secs(60 * 60);

/// What is known before the bytes of a crate are taken in: that the caller may publish under this name as things stand.
#[derive(Debug)]
pub struct Ticket {
    principal: Principal,
    state: Option<Versioned<Record>>,
}

/// A checked upload.
#[derive(Debug)]
pub struct Upload {
    /// What the checks found out.
    pub release: Release,
    /// The `.crate` file.
    pub body: Body,
    /// Its SHA-256.
    pub sha256: Sha256Digest,
}

/// A publish that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// For `warnings.other`: Cargo prints them.
    pub warnings: Vec<String>,
}

impl Registry {
    /// Whether the caller may publish under this name, before the upload is taken in. The commit decides again, on the
    /// state that it replaces.
    ///
    /// # Errors
    /// The caller may not, or the store does not answer.
    pub async fn may_publish(&self, principal: &Principal, name: &CrateName) -> Result<Ticket, RegistryError> {
        let state = self.record(name).await?;
        let record = state.as_ref().map(|state| &*state.document);
        self.authorise(principal, Action::Publish, name, publishers(record))?;
        Ok(Ticket { principal: principal.clone(), state })
    }

    /// Stores a version. The same bytes again by someone who may publish are a success and write nothing: Cargo does not repeat a
    /// publish whose answer was lost, its user does.
    ///
    /// # Errors
    /// The name or the version is taken, the caller may not, the store fails.
    pub async fn publish(&self, ticket: Ticket, upload: Upload) -> Result<Published, RegistryError> {
        let Ticket { principal, state } = ticket;
        let Upload { release, body, sha256 } = upload;
        let actor = actor(&principal)?;
        let change = Change { op: self.new_op(), actor: actor.clone(), at: self.clock.now() };
        let blob = self.blob_key(&release, sha256)?;
        let new = NewVersion {
            release: &release,
            cksum: Cksum::from_bytes(*sha256.as_bytes()),
            size: body.len(),
            blob: blob.to_string(),
        };
        let decide = |record: Option<&Record>| self.decide_publish(&principal, actor, record, &new, &change);

        // What is refused or there already costs no upload to the store.
        let record = self.base(&principal, actor, state.as_ref().map(|state| &*state.document), &release)?;
        if record.check_version(&new).map_err(|error| write_error(error, release.name()))? == Outcome::Unchanged {
            return Ok(Published { warnings: release.warnings().to_vec() });
        }
        let not_after = Some(self.replica.time().now() + LASTS_MAX);
        let needed = Needed::new(blob, body);
        let late = self.replica.rules().broken(Mutant::BlobAfterRecord);
        // Alone, bytes and record go to the disk together. Among replicas a slow upload is not what others wait for in their turn.
        if !late && !self.replica.is_alone() {
            needed.store(&*self.store).await?;
        }
        let what = format!("the crate `{}`", release.name());
        let commit = Commit {
            key: self.key(release.name()),
            operation: "publish",
            what,
            op: &change.op,
            shown: Shown::Committed,
            not_after,
            needs: (!late).then_some(&needed),
        };
        let published = self.commit(commit, Some(state), decide).await?;
        if late {
            needed.store(&*self.store).await?;
        }
        Ok(published)
    }

    /// The record that a version is added to, if the caller may.
    fn base<'r>(
        &self,
        principal: &Principal,
        actor: &Owner,
        record: Option<&'r Record>,
        release: &Release,
    ) -> Result<Cow<'r, Record>, RegistryError> {
        let name = release.name();
        self.authorise(principal, Action::Publish, name, publishers(record))?;
        Ok(match record {
            Some(record) if record.is_vacant() => Cow::Owned(record.claimed(name.clone(), [actor.clone()].into())),
            Some(record) => Cow::Borrowed(record),
            None => Cow::Owned(Record::new(name.clone(), [actor.clone()].into())),
        })
    }

    fn decide_publish(
        &self,
        principal: &Principal,
        actor: &Owner,
        record: Option<&Record>,
        new: &NewVersion<'_>,
        change: &Change,
    ) -> Result<Decision<Record, Published>, RegistryError> {
        let name = new.release.name();
        let mut record = self.base(principal, actor, record, new.release)?.into_owned();
        let published = Published { warnings: new.release.warnings().to_vec() };
        Ok(match record.insert_version(new, change).map_err(|error| write_error(error, name))? {
            Outcome::Changed => Decision::Write(record, published),
            Outcome::Unchanged => Decision::Keep(published),
        })
    }

    /// A key that no other attempt has: its last part is random.
    fn blob_key(&self, release: &Release, sha256: Sha256Digest) -> Result<Key, RegistryError> {
        Key::blob(release.name().canonical().as_str(), release.version().as_semver(), sha256, self.new_ulid())
            .map_err(|error| RegistryError::Invalid(error.to_string()))
    }
}

/// Who may publish to the crate; `None` if nobody has it.
fn publishers(record: Option<&Record>) -> Option<&BTreeSet<Owner>> {
    record.filter(|record| !record.is_vacant()).map(Record::owners)
}

/// A refused change of a record, in the registry's words.
pub(super) fn write_error(error: WriteError, name: &CrateName) -> RegistryError {
    let text = error.to_string();
    match error {
        WriteError::Corrupt(error) => {
            RegistryError::Broken { what: format!("the crate `{name}`"), reason: error.to_string() }
        }
        WriteError::NoVersion { .. } => RegistryError::NotFound(text),
        WriteError::Reserved(_) => RegistryError::Invalid(text),
        WriteError::TooLarge { .. } => RegistryError::TooLarge(text),
        _ => RegistryError::Conflict(text),
    }
}
