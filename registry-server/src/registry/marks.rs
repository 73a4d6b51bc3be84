//! Marks of writers that died. Readers are served the old state, but nobody may keep it in memory while the mark stands, so every read of
//! that record costs a call of the store until somebody writes it. Readers note the marks that they come across; whoever sweeps looks at
//! those again that have stood for longer than any writer lives.
//!
//! No listing, and nothing that a reader waits for. What a sweep does is an ordinary change through the one loop: should the writer live
//! after all, it is fenced off, and begins again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::commit::{Commit, Decision, Shown};
use super::documents::Document;
use super::{Registry, RegistryError};
use crate::access::TokenRecord;
use crate::ambient::Monotonic;
use crate::krate::Record;
use crate::krate::record::OpId;
use crate::store::Key;

/// How many marks are remembered: more than writers can die of within a few seconds. Further ones are noted by the next reader.
const NOTED_MAX: usize = 10_000;

/// The marks that readers came across.
#[derive(Debug, Default)]
pub(super) struct Marks(Mutex<BTreeMap<Key, Noted>>);

#[derive(Debug)]
struct Noted {
    mark: OpId,
    /// When this very mark was first seen.
    since: Duration,
}

impl Marks {
    /// What a read of the record has just found.
    pub(super) fn note(&self, key: &Key, mark: Option<&OpId>, now: Duration) {
        let mut noted = self.lock();
        match mark {
            None => {
                noted.remove(key);
            }
            Some(mark) if noted.get(key).is_some_and(|noted| noted.mark == *mark) => {}
            Some(mark) if noted.len() < NOTED_MAX || noted.contains_key(key) => {
                noted.insert(key.clone(), Noted { mark: mark.clone(), since: now });
            }
            Some(_) => {}
        }
    }

    /// Those that were first seen this long ago.
    fn older_than(&self, age: Duration, now: Duration) -> Vec<(Key, OpId)> {
        let noted = self.lock();
        let old = noted.iter().filter(|(_, noted)| now.saturating_sub(noted.since) >= age);
        old.map(|(key, noted)| (key.clone(), noted.mark.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// The records that readers here found marked, all of them by a mark that was first seen this long ago.
    pub fn marked_for(&self, age: Duration) -> Vec<(Key, OpId)> {
        self.documents.marks.older_than(age, self.replica.time().now())
    }

    /// The clock by which [`Registry::marked_for`] counts.
    pub fn time(&self) -> &Monotonic {
        self.replica.time()
    }

    /// Takes this mark away, if it still stands, as one more `rev` of the same state. Whether it did.
    ///
    /// # Errors
    /// The store fails, or the record is unreadable.
    pub async fn clear_mark(&self, key: &Key, mark: &OpId) -> Result<bool, RegistryError> {
        self.check_ready()?;
        let cleared = match key {
            Key::Crate(_) => self.sweep::<Record>(key, mark).await?,
            Key::Token(_) => self.sweep::<TokenRecord>(key, mark).await?,
            _ => false,
        };
        self.documents.marks.note(key, None, Duration::ZERO);
        Ok(cleared)
    }

    async fn sweep<D: Document>(&self, key: &Key, mark: &OpId) -> Result<bool, RegistryError> {
        let op = self.new_op();
        let commit = Commit {
            key: key.clone(),
            operation: "sweep",
            what: format!("{key}"),
            op: &op,
            shown: Shown::All,
            not_after: None,
            needs: None,
        };
        self.commit(commit, None, |state: Option<&D>| {
            let marked = state.filter(|state| state.mark() == Some(mark));
            Ok(match marked.and_then(|state| state.swept(op.clone())) {
                Some(swept) => Decision::Write(swept, true),
                None => Decision::Keep(false),
            })
        })
        .await
    }
}
