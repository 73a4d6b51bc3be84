//! Every rule has a fault that breaks the promises without it: each is broken here in turn, and the checks have to notice.

use supercargo_registry::replicas::{Mutant, Rules};

use crate::seeds::over;
use crate::world::Setting;

/// How often a mutant shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Within a few seeds: part of every test run.
    Often,
    /// Within [`SEEDS_MAX`] seeds, or a few times as many: for the soak. For some of these another test has the schedule that shows them every
    /// time: `tests/scenarios.rs` names it.
    Seldom,
}

/// Within so many seeds a mutant must be caught; a seldom one within five times as many.
pub(crate) const SEEDS_MAX: u64 = 500;

pub(crate) const MUTANTS: &[(Mutant, Shows)] = &[
    (Mutant::CommitBeforeAcks, Shows::Often),
    (Mutant::MarkIgnored, Shows::Often),
    (Mutant::LateReaderShares, Shows::Often),
    (Mutant::EvictAtOnce, Shows::Often),
    (Mutant::AckBeforeApply, Shows::Often),
    (Mutant::EpochNotCompared, Shows::Often),
    (Mutant::ServesBeforeJoined, Shows::Often),
    (Mutant::MembersBeforeCas, Shows::Often),
    (Mutant::EvictingRenews, Shows::Often),
    (Mutant::NoMinRev, Shows::Often),
    (Mutant::JoinReplacesAddress, Shows::Often),
    (Mutant::PollStampedAtEnd, Shows::Seldom),
    (Mutant::ValueBeforeClock, Shows::Often),
    (Mutant::SoloOnOlderHead, Shows::Seldom),
    (Mutant::GapKeepsFills, Shows::Seldom),
    (Mutant::LeaveCasFirst, Shows::Seldom),
    (Mutant::LeaveRevalidates, Shows::Seldom),
    (Mutant::NoMargin, Shows::Seldom),
    (Mutant::JoinStampedAtEnd, Shows::Seldom),
    (Mutant::JoinEpochReused, Shows::Seldom),
    (Mutant::NoLeaseCheck, Shows::Often),
    (Mutant::RefusedAfterUnknown, Shows::Seldom),
    (Mutant::TokenNotCleared, Shows::Often),
    (Mutant::BlobAfterRecord, Shows::Often),
    (Mutant::NameNotFolded, Shows::Often),
];

/// Of the seeds below `seeds` one that shows the mutant, and what it shows. The seldom ones are given more time.
pub(crate) fn hunt((mutant, shows): (Mutant, Shows), seeds: u64) -> Option<(u64, String)> {
    let setting = |seed| {
        let setting = Setting { rules: Rules::without(mutant), ..Setting::of(seed) };
        match shows {
            Shows::Often => setting,
            Shows::Seldom => Setting { lasts: setting.lasts * 3 / 2, ..setting },
        }
    };
    let mut shown = None;
    over(0..seeds, setting, |seed, report| {
        shown = report.violations.first().map(|violation| (seed, violation.clone()));
        shown.is_none()
    });
    shown
}
