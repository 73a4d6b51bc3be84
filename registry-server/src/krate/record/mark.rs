//! Marks: what a writer leaves in a record while its write is under way, and what becomes of those whose writers died.

use std::collections::BTreeSet;

use super::{OpId, Record};
use crate::krate::{CrateName, Owner};

impl Record {
    /// The same state, under a mark: a write is under way, and nobody may keep this state in memory. `mark` is fresh for every
    /// marking, so that no two states have the same bytes.
    #[must_use]
    pub fn marked(&self, mark: OpId) -> Self {
        let mut marked = self.clone();
        marked.header.op = mark.clone();
        marked.header.mark = Some(mark);
        marked
    }

    /// A mark for a crate that is not there yet: it reserves the name while its first publish is under way, and reads as missing.
    #[must_use]
    pub fn reservation(&self, mark: OpId) -> Self {
        Self::new(self.header.name.clone(), self.header.owners.clone()).marked(mark)
    }

    /// The same state as one more `rev`, without the mark that a dead writer left: the writer has announced that `rev`, and nobody keeps an
    /// older state in memory. It is no change, so `ops` says nothing of it; `op` is fresh all the same. A reservation becomes a
    /// vacant record ([`Record::is_vacant`]), which can be kept in memory and reads as missing still.
    #[must_use]
    pub fn swept(&self, op: OpId) -> Self {
        let mut swept = self.clone();
        swept.header.op = op;
        swept.header.mark = None;
        swept.header.rev += 1;
        swept
    }

    /// A vacant record for somebody else, who spells the name in another way perhaps. Its `rev` goes on.
    ///
    /// # Panics
    /// If the crate has versions.
    #[must_use]
    pub fn claimed(&self, name: CrateName, owners: BTreeSet<Owner>) -> Self {
        assert!(self.is_vacant(), "a crate with versions belongs to its owners");
        let mut claimed = self.clone();
        claimed.header.name = name;
        claimed.header.owners = owners;
        claimed
    }
}
