//! Membership and lease of this process, as a state machine. Pure: the time is an argument, on the process's own clock.
//!
//! Flow: a join is offered with a fresh epoch ([`Lease::offer`]); when a head shows it as live, [`Lease::joined`]; from then on every head
//! that shows the epoch as live renews the lease ([`Lease::validate`]), from the moment *before* it was asked for. A head that does not
//! ends the membership: solo, and a new join after a pause. [`Lease::leave`] is final.
//!
//! Guarantees: a lease holds only while every writer either has this process among the members that it clears, or waits longer than the
//! lease lasts. Assumes: the fastest clock among the replicas runs at most [`MARGIN`] as fast as the slowest. Caveat: a pause of the process
//! between the look at the clock and the answer is harmless; the read then took place at the look.

use std::collections::BTreeMap;
use std::time::Duration;

use super::head::{Epoch, Head, Standing};
use super::rules::{Mutant, Rules};

/// How much longer than a lease one waits to be sure that it is over on another's clock.
pub const MARGIN: f64 = 1.15;
/// A member for longer than this many leases is healthy, and begins again with the shortest pause. Also the longest pause, in leases.
const LEASES_HEALTHY: u32 = 60;

/// How many epochs that are over are remembered: more than can still stand in a head.
const PAST_MAX: usize = 16;

/// The state.
#[derive(Debug)]
pub struct Lease {
    rules: Rules,
    length: Duration,
    epoch: Option<Epoch>,
    /// Epochs that were offered in joins whose outcome is not known: nothing was ever served under them.
    offered: Vec<Epoch>,
    /// Epochs that are over: what this process keeps in memory is one memory, whatever the epoch.
    past: Vec<Epoch>,
    leaving: bool,
    validated_at: Option<Duration>,
    joined_at: Duration,
    pause: Duration,
    rejoin_at: Option<Duration>,
    /// When each evicting member's lease is over on any clock, by its first sight as such.
    evicting_until: BTreeMap<Epoch, Duration>,
}

impl Lease {
    /// Not a member yet; may join at once.
    pub fn new(length: Duration, rules: Rules) -> Self {
        Self {
            rules,
            length,
            epoch: None,
            offered: Vec::new(),
            past: Vec::new(),
            leaving: false,
            validated_at: None,
            joined_at: Duration::ZERO,
            pause: Duration::ZERO,
            rejoin_at: Some(Duration::ZERO),
            evicting_until: BTreeMap::new(),
        }
    }

    /// How long to wait until a lease of this length is over on any clock.
    pub fn outlasted_after(&self, length: Duration) -> Duration {
        length.mul_f64(if self.rules.broken(Mutant::NoMargin) { 1.0 } else { MARGIN })
    }

    /// How long it lasts.
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Whether memory may be served at `now`.
    pub fn holds(&self, now: Duration) -> bool {
        self.validated_at
            .is_some_and(|at| now.saturating_sub(at) <= self.length || self.rules.broken(Mutant::NoLeaseCheck))
    }

    /// The moment from which the last lease ran.
    pub fn validated_at(&self) -> Option<Duration> {
        self.validated_at
    }

    /// The membership, if there is one.
    pub fn epoch(&self) -> Option<&Epoch> {
        self.epoch.as_ref()
    }

    /// Whether this epoch is, or may have been, this process.
    pub fn is_own(&self, epoch: &Epoch) -> bool {
        self.epoch.as_ref() == Some(epoch) || self.offered.contains(epoch) || self.past.contains(epoch)
    }

    /// When to join, if it is time to join at all.
    pub fn join_at(&self) -> Option<Duration> {
        self.rejoin_at.filter(|_| self.epoch.is_none() && !self.leaving)
    }

    /// Puts a join into `next`: a fresh epoch, in place of earlier offers of this process. `None` if it is not to join.
    pub fn offer(&mut self, next: &mut Head, address: &str, fresh: Epoch) -> Option<Epoch> {
        if self.leaving || self.epoch.is_some() {
            return None;
        }
        let epoch = match self.offered.last() {
            Some(offered) if self.rules.broken(Mutant::JoinEpochReused) => offered.clone(),
            _ => fresh,
        };
        for offered in &self.offered {
            next.remove(offered);
        }
        if self.rules.broken(Mutant::JoinReplacesAddress) {
            next.members.retain(|member| member.address != address);
        }
        self.offered.push(epoch.clone());
        next.join(epoch.clone(), address.to_owned(), self.length);
        Some(epoch)
    }

    /// The offered epoch that `head` shows as live: a join whose reply was lost.
    pub fn accepted(&self, head: &Head) -> Option<Epoch> {
        let live = |epoch: &&Epoch| head.member(epoch).is_some_and(|member| member.state == Standing::Live);
        self.offered.iter().rev().find(live).cloned()
    }

    /// `epoch` is a member since some moment after `stamp`. The head that showed it has been applied.
    pub fn joined(&mut self, epoch: Epoch, stamp: Duration) {
        if self.leaving || self.epoch.is_some() {
            return;
        }
        self.offered.clear();
        self.epoch = Some(epoch);
        self.joined_at = stamp;
        self.rejoin_at = None;
        self.validated_at = Some(stamp);
    }

    /// Takes note of a head that was asked for at `stamp` and has been applied. `jitter` is between 0 and 1.
    pub fn validate(&mut self, head: &Head, stamp: Duration, now: Duration, jitter: f64) {
        if self.leaving && !self.rules.broken(Mutant::LeaveCasFirst) && !self.rules.broken(Mutant::LeaveRevalidates) {
            return;
        }
        let Some(epoch) = &self.epoch else {
            if self.rules.broken(Mutant::ServesBeforeJoined) && !self.leaving {
                self.validated_at = Some(stamp);
            }
            return;
        };
        let renews = |standing| standing == Standing::Live || self.rules.broken(Mutant::EvictingRenews);
        if head.member(epoch).is_some_and(|member| renews(member.state)) {
            self.validated_at = self.validated_at.max(Some(stamp));
        } else if !self.leaving {
            self.solo(now, jitter);
        }
    }

    /// Membership is over; the next one begins after a pause that doubles while memberships stay short.
    fn solo(&mut self, now: Duration, jitter: f64) {
        // The old epoch may still stand in the head as evicting; it is another's to remove, when its lease is over for certain.
        self.past.extend(self.epoch.take());
        let surplus = self.past.len().saturating_sub(PAST_MAX);
        self.past.drain(..surplus);
        self.validated_at = None;
        let healthy = now.saturating_sub(self.joined_at) > self.length * LEASES_HEALTHY;
        self.pause = if healthy || self.pause.is_zero() {
            self.length
        } else {
            (self.pause * 2).min(self.length * LEASES_HEALTHY)
        };
        self.rejoin_at = Some(now + self.pause + self.pause.mul_f64(jitter / 4.0));
    }

    /// Never serves from memory under a lease again. The epochs to take out of the head.
    pub fn leave(&mut self) -> Vec<Epoch> {
        self.leaving = true;
        if !self.rules.broken(Mutant::LeaveCasFirst) {
            self.validated_at = None;
        }
        self.epoch.iter().chain(&self.offered).cloned().collect()
    }

    /// The last step of leaving.
    pub fn left(&mut self) {
        self.validated_at = None;
        self.epoch = None;
        self.offered.clear();
    }

    /// Another registry is behind the store now: the membership was in the old one.
    pub fn forget(&mut self, now: Duration) {
        self.epoch = None;
        self.offered.clear();
        self.validated_at = None;
        self.evicting_until.clear();
        self.rejoin_at = Some(now);
    }

    /// Takes note of who is evicting in `head`, at `now`.
    pub fn watch_evicting(&mut self, head: &Head, now: Duration) {
        self.evicting_until
            .retain(|epoch, _| head.member(epoch).is_some_and(|member| member.state == Standing::Evicting));
        for member in head.members.iter().filter(|member| member.state == Standing::Evicting) {
            let until = now + self.outlasted_after(member.lease());
            self.evicting_until.entry(member.epoch.clone()).or_insert(until);
        }
    }

    /// The evicting member whose lease is over first, and when.
    pub fn next_removal(&self) -> Option<(Epoch, Duration)> {
        let (epoch, until) = self.evicting_until.iter().min_by_key(|(_, until)| **until)?;
        Some((epoch.clone(), *until))
    }

    /// Whether this replica may say that another is silent: it is itself a live member, and it has heard somebody, unless there is
    /// nobody else to hear. Who hears nobody is the suspect.
    pub fn may_evict(&self, head: &Head, peers: usize, heard: usize) -> bool {
        let live = |epoch: &Epoch| head.member(epoch).is_some_and(|member| member.state == Standing::Live);
        !self.leaving && self.epoch.as_ref().is_some_and(live) && (peers == 1 || heard > 0)
    }
}

#[cfg(test)]
mod tests;
