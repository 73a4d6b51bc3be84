//! A record that was damaged or deleted past this program comes back as an earlier state of it. Who found that state says so; here is how it
//! becomes the next one without anybody being shown two truths.
//!
//! A damaged object needs no mark, because it is one: nobody can keep in memory what nobody can read. So the change is announced, and every
//! replica forgets what it still knows, while readers go on being refused; then the very object that was found damaged is replaced. Where
//! there is no object the ordinary way is right as it stands.

use super::commit::{Commit, Decision, Shown, Step};
use super::publish::write_error;
use super::{Registry, RegistryError, administrator};
use crate::krate::Record;
use crate::krate::record::Change;
use crate::metrics;
use crate::store::key::CanonicalName;
use crate::store::{Etag, Key};

impl Registry {
    /// Makes `earlier` the state of a crate, in place of the `damaged` object, or of none (a name that is only reserved is none). States up to `rev_seen` may be known to somebody. The
    /// `rev` that it has then; `None`: somebody else wrote the record meanwhile.
    ///
    /// # Errors
    /// The store fails. What was announced and not written harms nobody.
    pub(crate) async fn recover_crate(
        &self,
        krate: &CanonicalName,
        damaged: Option<Etag>,
        earlier: &Record,
        rev_seen: u64,
    ) -> Result<Option<u64>, RegistryError> {
        self.check_ready()?;
        let change = Change { op: self.new_op(), actor: administrator(), at: self.clock.now() };
        let name = earlier.name();
        let recovered = |rev_seen| earlier.recovered(rev_seen, &change).map_err(|error| write_error(error, name));
        let commit = Commit {
            key: Key::Crate(krate.clone()),
            operation: "recover",
            what: format!("the crate `{name}`"),
            op: &change.op,
            shown: Shown::All,
            not_after: None,
            needs: None,
        };
        let Some(damaged) = damaged else {
            return self
                .commit(commit, None, |state: Option<&Record>| match state {
                    Some(state) if !state.is_vacant() => Ok(Decision::Keep(None)),
                    state => {
                        let record = recovered(rev_seen.max(state.map_or(0, Record::rev)))?;
                        let rev = record.rev();
                        Ok(Decision::Write(record, Some(rev)))
                    }
                })
                .await;
        };
        let record = recovered(rev_seen)?;
        let rev = record.rev();
        Ok(self.commit_over_damaged(&commit, damaged, record).await?.then_some(rev))
    }

    /// Has a record that lies behind what was announced of it catch up, so that it is kept in memory again, and no replica that knows a later state
    /// goes on showing it. The `rev` that it has then; `None`: it is not behind any more.
    ///
    /// # Errors
    /// The store fails, or the record is unreadable.
    pub(crate) async fn catch_up(&self, krate: &CanonicalName, announced: u64) -> Result<Option<u64>, RegistryError> {
        self.check_ready()?;
        let (op, at) = (self.new_op(), self.clock.now());
        let commit = Commit {
            key: Key::Crate(krate.clone()),
            operation: "recover",
            what: format!("the crate `{}`", krate.as_str()),
            op: &op,
            shown: Shown::Committed,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |state: Option<&Record>| {
            Ok(match state.filter(|state| state.rev() < announced) {
                Some(state) => {
                    let next = state.caught_up(announced, op.clone(), at);
                    let rev = next.rev();
                    Decision::Write(next, Some(rev))
                }
                None => Decision::Keep(None),
            })
        })
        .await
    }

    /// One attempt: whoever wants another looks again at what is there.
    async fn commit_over_damaged(
        &self,
        commit: &Commit<'_>,
        damaged: Etag,
        record: Record,
    ) -> Result<bool, RegistryError> {
        let turn = self.turns.of(&commit.key);
        let _turn = turn.lock().await;
        let entry = super::documents::Document::audit(&record, &commit.key, commit.op);
        let result = match self.replace_damaged(commit, damaged, record).await {
            Step::Done => {
                self.export(entry);
                Ok(true)
            }
            Step::Again => Ok(false),
            Step::AgainLater => Err(RegistryError::Contended { what: commit.what.clone() }),
            Step::Unclear(cause, _) => Err(RegistryError::Unclear { what: commit.what.clone(), cause }),
            Step::Failed(error) => Err(error),
        };
        self.note_change(&commit.key);
        metrics::commit(commit.operation, result.as_ref().map_or_else(RegistryError::label, |_| "ok"));
        result
    }
}
