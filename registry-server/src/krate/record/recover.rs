//! Going on from an earlier state of a record, because the newest was damaged, deleted or put back past this program.

use jiff::Timestamp;

use super::{Change, OpId, OpKind, Record, WriteError};

impl Record {
    /// When this record last went on from an earlier state of it, if it ever did: what a later state named may be wanted still.
    #[must_use]
    pub fn recovered_at(&self) -> Option<Timestamp> {
        // Programs from before the field wrote the change alone.
        let in_ops = self.header.ops.iter().rev().find(|op| op.kind == OpKind::Recover).map(|op| op.at);
        self.header.recovered_at.max(in_ops)
    }

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
        next.header.recovered_at = Some(change.at);
        // A change by its nature: there is nothing that it could leave as it was.
        let _changed = recovered.commit(next, change, OpKind::Recover, None, &[])?;
        Ok(recovered)
    }

    /// The same state with a `rev` above `rev_seen`, which was announced and never came, or was taken back past this program. It is no change, so
    /// `ops` says nothing of it; `op` is fresh all the same.
    #[must_use]
    pub fn caught_up(&self, rev_seen: u64, op: OpId, at: Timestamp) -> Self {
        let mut next = self.clone();
        next.header.rev = next.header.rev.max(rev_seen);
        next.header.recovered_at = Some(at);
        next.swept(op)
    }
}
