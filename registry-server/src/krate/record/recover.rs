//! Going on from an earlier state of a record, because the newest was damaged, deleted or put back past this program.

use super::{Change, OpId, OpKind, Record, WriteError};

impl Record {
    /// This state as the next one. Somebody may still know states that came after it, up to `rev_seen`: its `rev` is higher than theirs, so that
    /// it replaces them wherever they are kept in memory.
    ///
    /// # Errors
    /// The record is corrupt, or too large.
    pub fn recovered(&self, rev_seen: u64, change: &Change) -> Result<Self, WriteError> {
        self.index()?;
        let mut recovered = self.clone();
        let mut next = self.clone();
        next.header.rev = next.header.rev.max(rev_seen);
        // A change by its nature: there is nothing that it could leave as it was.
        let _changed = recovered.commit(next, change, OpKind::Recover, None, &[])?;
        Ok(recovered)
    }

    /// The same state with a `rev` above `rev_seen`, which was announced and never came, or was taken back past this program. It is no change, so
    /// `ops` says nothing of it; `op` is fresh all the same.
    #[must_use]
    pub fn caught_up(&self, rev_seen: u64, op: OpId) -> Self {
        let mut next = self.clone();
        next.header.rev = next.header.rev.max(rev_seen);
        next.swept(op)
    }
}
