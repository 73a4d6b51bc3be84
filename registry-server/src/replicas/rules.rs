//! The rules of this module, each with the way to break it: a test that breaks one has to see the simulation notice.

/// The rules that hold.
pub type Rules = crate::rules::Rules<Mutant>;

/// One rule broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A writer commits without waiting for the acknowledgements.
    CommitBeforeAcks,
    /// A marked record is kept in memory.
    MarkIgnored,
    /// A reader takes the result of a read that had begun before it came.
    LateReaderShares,
    /// A silent member is removed at once.
    EvictAtOnce,
    /// A notice is acknowledged first and applied later.
    AckBeforeApply,
    /// A notice for another epoch is acknowledged.
    EpochNotCompared,
    /// A head validates who has not joined.
    ServesBeforeJoined,
    /// A writer clears the members that it knew before its announcement.
    MembersBeforeCas,
    /// A head that shows the own epoch as evicting validates.
    EvictingRenews,
    /// A record older than what was announced is kept in memory.
    NoMinRev,
    /// A join removes the member with the same address.
    JoinReplacesAddress,
    /// A lease runs from the end of the read of the head.
    PollStampedAtEnd,
    /// First the look-up, then the clock.
    ValueBeforeClock,
    /// Without a lease, a head that was asked for before the reader came is good enough.
    SoloOnOlderHead,
    /// A gap in the ring does not spoil the reads under way.
    GapKeepsFills,
    /// Who leaves goes out of the head first and stops serving then.
    LeaveCasFirst,
    /// Who is leaving still takes a head for a lease.
    LeaveRevalidates,
    /// A lease is outlasted by the length of a lease, without a margin for clocks.
    NoMargin,
    /// The lease of a join runs from its end.
    JoinStampedAtEnd,
    /// An epoch is offered again after an attempt whose outcome is unknown.
    JoinEpochReused,
    /// The clock is not asked.
    NoLeaseCheck,
    /// A writer whose reply was lost takes 412 for a refusal.
    RefusedAfterUnknown,
    /// A token is changed without clearing it from memories.
    TokenNotCleared,
    /// A record is committed before its blob is stored.
    BlobAfterRecord,
    /// Spellings of one name with `-` and `_` are different records.
    NameNotFolded,
}
