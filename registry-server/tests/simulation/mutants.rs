//! Every rule has a fault that breaks the promises without it: each is broken here in turn, and the checks have to notice.

use supercargo_registry::replicas::{Mutant, Rules};

use crate::wire::Weather;
use crate::world::{Setting, run};

/// How often a mutant shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// Within a few seeds: part of every test run.
    Often,
    /// Within [`SEEDS_MAX`] seeds, or a few times as many: for the soak.
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
];

/// The first seed that shows the mutant, and what it shows. The seldom ones are given more time, and rough weather now and then.
pub(crate) fn hunt((mutant, shows): (Mutant, Shows), seeds: u64) -> Option<(u64, String)> {
    let often = Setting { rules: Rules::without(mutant), ..Setting::default() };
    (0..seeds).find_map(|seed| {
        let setting = match shows {
            Shows::Often => often,
            Shows::Seldom => {
                let weather = if seed % 5 == 2 { Weather::rough() } else { Weather::default() };
                Setting { weather, lasts: often.lasts * 3 / 2, ..often }
            }
        };
        let report = run(seed, setting);
        report.violations.first().map(|violation| (seed, violation.clone()))
    })
}
