//! A record that was damaged or deleted past this program comes back as an earlier state of it. Who found that state says so; here is how it
//! becomes the next one without anybody being shown two truths.
//!
//! An object that no server can read needs no mark, because it is one: nobody keeps it in memory. So the change is announced, and every
//! replica forgets what it still knows, while readers go on being refused; then the very object that was found damaged is replaced. One that servers can
//! read, although it is not sound, they keep in memory like any other: it gets a mark like any other, and what replaces it a higher `rev` than its own. Where
//! there is no object the ordinary way is right as it stands.

use sha2::{Digest, Sha256};

use super::commit::{Commit, Decision, Shown, Step};
use super::documents::Versioned;
use super::publish::write_error;
use super::{Registry, RegistryError, administrator};
use crate::krate::Record;
use crate::krate::record::{Change, OpId};
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
        let write = |state: Option<&Record>| {
            let record = recovered(rev_seen.max(state.map_or(0, Record::rev)))?;
            let rev = record.rev();
            Ok(Decision::Write(record, Some(rev)))
        };
        let Some(damaged) = damaged else {
            return self
                .commit(commit, None, |state: Option<&Record>| match state {
                    Some(state) if !state.is_vacant() => Ok(Decision::Keep(None)),
                    state => write(state),
                })
                .await;
        };
        match self.documents.fetch::<Record>(&commit.key).await {
            Ok(Some(found)) if found.etag == damaged => {
                let found: Versioned<Record> = found;
                let state = unmarked(&found.document, &change.op);
                self.commit(commit, Some(Some(found)), |now: Option<&Record>| match now {
                    Some(now) if unmarked(now, &change.op) == state => write(Some(now)),
                    // Somebody has mended it, or deleted it.
                    _ => Ok(Decision::Keep(None)),
                })
                .await
            }
            Ok(_) => Ok(None),
            Err(RegistryError::Broken { .. }) => {
                let record = recovered(rev_seen)?;
                let rev = record.rev();
                Ok(self.commit_over_damaged(&commit, damaged, record).await?.then_some(rev))
            }
            Err(error) => Err(error),
        }
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
        let announcement = of_a_recovery(&self.new_op());
        let result = match self.replace_damaged(commit, damaged, record, &announcement).await {
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

/// The state as bytes, whatever mark is on it.
fn unmarked(state: &Record, any: &OpId) -> bytes::Bytes {
    state.marked(any.clone()).to_bytes()
}

/// Makes a fresh identity that of the announcement of a recovery. Should the recovery come to nothing, whoever tries again must not take what it
/// announced for a change that is lost.
fn of_a_recovery(fresh: &OpId) -> OpId {
    let (random, _) = fresh.as_str().split_at(RANDOM_DIGITS);
    format!("{random}{}", seal(random)).parse().expect("as many digits as before")
}

/// Whether this is the identity of the announcement of a recovery.
pub(crate) fn is_of_a_recovery(op: &OpId) -> bool {
    let (random, rest) = op.as_str().split_at(RANDOM_DIGITS);
    rest == seal(random)
}

/// How many digits of such an identity are random: half of them.
const RANDOM_DIGITS: usize = 16;

fn seal(random: &str) -> String {
    let digest = Sha256::new().chain_update("recovery").chain_update(random).finalize();
    hex::encode(&digest[..RANDOM_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::Entropy;

    #[test]
    fn an_announcement_of_a_recovery_is_told_from_others() {
        let fresh: Vec<OpId> = (0..100).map(|seed| Entropy::seeded(seed).with(OpId::generate)).collect();
        assert!(fresh.iter().all(|op| !is_of_a_recovery(op)));
        let sealed: std::collections::BTreeSet<_> = fresh.iter().map(of_a_recovery).collect();
        assert!(sealed.len() == fresh.len() && sealed.iter().all(is_of_a_recovery));
    }
}
