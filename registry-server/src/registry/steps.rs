//! One attempt to replace a document: in one step where one process is alone, and mark, announce, clear, commit among replicas.
//!
//! The mark says that a write is under way: from then on nobody keeps the record in memory, and what it held before is what readers see. The
//! announcement and the wait for the members make sure that nobody still serves it from memory. Then the last compare-and-swap, on the
//! ETag of the mark, is the commit: nothing is visible before it, and everything is visible everywhere after it. A writer that dies in
//! between leaves a mark, which harms nobody.

use std::sync::Arc;

use bytes::Bytes;

use super::commit::{Commit, Step};
use super::documents::{Document, Versioned, present};
use super::{Registry, RegistryError};
use crate::krate::record::OpId;
use crate::metrics;
use crate::replicas::Mutant;
use crate::store::{Body, Cond, Etag, Key, Put, Refused, StoreError};

/// How often one conditional put is sent, when the store asks for patience or its outcome is unknown.
const PUTS_MAX: u32 = 8;

impl Registry {
    /// Replaces what was read by `document`.
    pub(super) async fn replace<D: Document>(
        &self,
        commit: &Commit<'_>,
        stored: Option<&Versioned<D>>,
        document: D,
    ) -> Step {
        if self.replica.is_alone() {
            return self.replace_alone(commit, stored.map(|stored| &stored.etag), document).await;
        }
        if let Some(needed) = commit.needs
            && let Err(error) = needed.store(&*self.store).await
        {
            return Step::Failed(error);
        }
        // What the head was when we began; only the test of a broken rule uses it.
        let before = self.replica.newest();
        let mark = self.new_op();
        let marked = match self.mark(commit, stored, &document, &mark).await {
            Ok(etag) => etag,
            Err(step) => return step,
        };
        let announced = match self.replica.announce(&commit.key, document.rev(), &mark).await {
            Ok(announced) => announced,
            // The record is marked, and nothing but a mark will ever come of this attempt.
            Err(error) => return Step::Failed(error.into()),
        };
        let is_token = matches!(commit.key, Key::Token(_));
        if !(is_token && self.replica.rules().broken(Mutant::TokenNotCleared)) {
            self.replica.clear(&commit.key, document.rev(), &announced, before.as_deref()).await;
        }
        // With the mark in place: whoever deletes what nothing names leaves a marked record alone.
        if let Err(late) = self.check_in_time(commit) {
            return Step::Failed(late);
        }
        self.commit_marked(commit, marked, document).await
    }

    /// One process alone: what it keeps in memory is forgotten before the put, and what was read meanwhile is not kept.
    async fn replace_alone<D: Document>(&self, commit: &Commit<'_>, stored: Option<&Etag>, document: D) -> Step {
        self.replica.hold(&commit.key, document.rev());
        let generation = self.replica.generation();
        let cond = stored.map_or(Cond::Absent, |stored| Cond::Matches(stored.clone()));
        if let Err(late) = self.check_in_time(commit) {
            return Step::Failed(late);
        }
        let bytes = document.encode();
        let put = match self.put_with_needed(commit, &bytes, cond).await {
            Ok(put) => put,
            Err(error) => {
                self.replica.release(&commit.key);
                return Step::Failed(error.into());
            }
        };
        // What is unknown may land at any time, until another change of this record has.
        if !matches!(put, Put::Unknown(_)) {
            self.replica.release(&commit.key);
        }
        match put {
            Put::Stored(etag) => {
                self.keep_committed(commit, etag, document, bytes.len(), generation);
                Step::Done
            }
            Put::Refused(Refused::Precondition | Refused::Missing) => Step::Again,
            Put::Refused(Refused::Conflict) => Step::AgainLater,
            Put::NotSent(error) if error.kind().is_transient() => Step::AgainLater,
            Put::NotSent(error) => Step::Failed(error.into()),
            Put::Unknown(cause) => Step::Unclear(cause, stored.cloned()),
        }
    }

    /// Replaces an object that nobody can read, and that lies there under this ETag. It needs no mark, but the announcement an identity: see `recover`.
    pub(super) async fn replace_damaged<D: Document>(
        &self,
        commit: &Commit<'_>,
        damaged: Etag,
        document: D,
        announcement: &OpId,
    ) -> Step {
        if self.replica.is_alone() {
            return self.replace_alone(commit, Some(&damaged), document).await;
        }
        let announced = match self.replica.announce(&commit.key, document.rev(), announcement).await {
            Ok(announced) => announced,
            Err(error) => return Step::Failed(error.into()),
        };
        self.replica.clear(&commit.key, document.rev(), &announced, None).await;
        self.commit_marked(commit, damaged, document).await
    }

    fn check_in_time(&self, commit: &Commit<'_>) -> Result<(), RegistryError> {
        let is_late = commit.not_after.is_some_and(|not_after| self.replica.time().now() > not_after);
        if is_late {
            return Err(RegistryError::TooSlow(
                "storing this took more than an hour, and nothing was changed; repeat the command",
            ));
        }
        Ok(())
    }

    /// Puts a mark on the state that was read. Its ETag, or how the attempt ends.
    async fn mark<D: Document>(
        &self,
        commit: &Commit<'_>,
        stored: Option<&Versioned<D>>,
        document: &D,
        mark: &OpId,
    ) -> Result<Etag, Step> {
        let before = present(stored.cloned());
        let bytes = D::marked(before.as_ref().map(|state| &*state.document), document, mark.clone()).encode();
        let replaces = stored.map(|stored| &stored.etag);
        let mut unknown = false;
        for attempt in 1..=PUTS_MAX {
            let cond = replaces.map_or(Cond::Absent, |etag| Cond::Matches(etag.clone()));
            match self.put(commit, &bytes, cond).await {
                Put::Stored(etag) => return Ok(etag),
                Put::Refused(Refused::Precondition | Refused::Missing) if !unknown => return Err(Step::Again),
                Put::Refused(Refused::Precondition | Refused::Missing) => {}
                Put::Refused(Refused::Conflict) if !unknown => return Err(Step::AgainLater),
                Put::NotSent(error) if !unknown && error.kind().is_transient() => return Err(Step::AgainLater),
                Put::NotSent(error) if !error.kind().is_transient() => return Err(Step::Failed(error.into())),
                Put::Refused(Refused::Conflict) | Put::NotSent(_) => self.pause(attempt).await,
                Put::Unknown(_) => {
                    unknown = true;
                    self.pause(attempt).await;
                }
            }
            let now = self.documents.fetch::<D>(&commit.key).await.map_err(Step::Failed)?;
            if let Some(now) = now.as_ref().filter(|now| now.document.mark() == Some(mark)) {
                return Ok(now.etag.clone());
            }
            if now.as_ref().map(|now| &now.etag) != replaces {
                return Err(Step::Again);
            }
        }
        Err(Step::AgainLater)
    }

    /// The commit point: replaces the state that lies there under the ETag `marked`.
    async fn commit_marked<D: Document>(&self, commit: &Commit<'_>, marked: Etag, document: D) -> Step {
        let bytes = document.encode();
        let generation = self.replica.generation();
        let mut unknown: Option<StoreError> = None;
        let mut last = None;
        for attempt in 1..=PUTS_MAX {
            match self.put(commit, &bytes, Cond::Matches(marked.clone())).await {
                Put::Stored(etag) => {
                    self.keep_committed(commit, etag, document, bytes.len(), generation);
                    return Step::Done;
                }
                // Our mark was taken over: whoever did so has fenced us.
                Put::Refused(Refused::Precondition | Refused::Missing) if unknown.is_none() => return Step::Again,
                Put::Refused(Refused::Precondition | Refused::Missing) => {
                    if self.replica.rules().broken(Mutant::RefusedAfterUnknown) {
                        return Step::Failed(RegistryError::Contended { what: commit.what.clone() });
                    }
                }
                Put::Refused(Refused::Conflict) => {
                    self.pause(attempt).await;
                    continue;
                }
                Put::NotSent(error) if error.kind().is_transient() => {
                    last = Some(error);
                    self.pause(attempt).await;
                    continue;
                }
                Put::NotSent(error) => return self.given_up(commit, unknown, Some(error)),
                Put::Unknown(error) => {
                    unknown = Some(error);
                    self.pause(attempt).await;
                }
            }
            match self.documents.fetch::<D>(&commit.key).await {
                Ok(Some(now)) if now.document.contains(commit.op) => {
                    metrics::commit_attempt(commit.operation, "found");
                    return Step::Done;
                }
                // Moved on without us: our put can never land.
                Ok(now) if now.as_ref().map(|now| &now.etag) != Some(&marked) => return Step::Again,
                // Nobody knows: the same put again is safe, for at most one can land.
                Ok(_) | Err(_) => {}
            }
        }
        self.given_up(commit, unknown, last)
    }

    fn given_up(&self, commit: &Commit<'_>, unknown: Option<StoreError>, last: Option<StoreError>) -> Step {
        Step::Failed(match (unknown, last) {
            (Some(cause), _) => RegistryError::Unclear { what: commit.what.clone(), cause },
            (None, Some(error)) => error.into(),
            (None, None) => RegistryError::Contended { what: commit.what.clone() },
        })
    }

    /// Puts the document, and what it names before it if that is not in the store. An error: that could not be stored.
    async fn put_with_needed(&self, commit: &Commit<'_>, bytes: &Bytes, cond: Cond) -> Result<Put, StoreError> {
        let Some((needed, first)) = commit.needs.and_then(|needed| Some((needed, needed.missing()?))) else {
            return Ok(self.put(commit, bytes, cond).await);
        };
        let then = (&commit.key, Body::Bytes(bytes.clone()));
        let put = self.tell_put(commit, self.store.put_after(first, then, cond).await?);
        if !matches!(put, Put::Unknown(_)) {
            needed.note_stored();
        }
        Ok(put)
    }

    async fn put(&self, commit: &Commit<'_>, bytes: &Bytes, cond: Cond) -> Put {
        self.tell_put(commit, self.store.put(&commit.key, Body::Bytes(bytes.clone()), cond).await)
    }

    fn tell_put(&self, commit: &Commit<'_>, put: Put) -> Put {
        let outcome = put.label();
        metrics::commit_attempt(commit.operation, outcome);
        if let Put::NotSent(error) | Put::Unknown(error) = &put {
            tracing::warn!(key = %commit.key, operation = commit.operation, outcome, %error, "a conditional write did not go through");
        }
        put
    }

    fn keep_committed<D: Document>(&self, commit: &Commit<'_>, etag: Etag, document: D, len: usize, generation: u64) {
        let state = Versioned { etag, document: Arc::new(document), len };
        self.documents.keep(&commit.key, &state, generation);
    }
}
