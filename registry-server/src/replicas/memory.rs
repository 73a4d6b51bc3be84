//! Lease, entries and the newest head, under one lock: so an entry is looked up under the same lock under which the clock was asked and
//! under which notices are applied. Pure: nothing here waits.

use std::sync::Arc;
use std::time::Duration;

use super::entries::{Candidate, Entries};
use super::head::{Epoch, Head};
use super::lease::Lease;
use super::peers::{Ack, Notice};
use super::rules::{Mutant, Rules};
use crate::store::{Etag, Key};

/// A head as it lies in the store.
#[derive(Debug)]
pub struct Seen {
    /// The content.
    pub head: Head,
    /// Its ETag.
    pub etag: Etag,
}

/// What a look into memory finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup<V> {
    /// The state; it may be served.
    Hit(V),
    /// There is a state, and no lease.
    Unproven,
    /// Nothing.
    Miss,
}

/// Everything that a replica knows.
#[derive(Debug)]
pub struct Memory<V> {
    rules: Rules,
    /// The only process over its store: what it keeps is never stale, and it needs no lease.
    alone: bool,
    lease: Lease,
    entries: Entries<V>,
    newest: Option<Arc<Seen>>,
    registry: String,
}

impl<V: Clone> Memory<V> {
    /// Nothing known yet; room for `bytes_max` bytes of states, and for `announced_max` announcements.
    pub fn new(alone: bool, lease: Duration, bytes_max: usize, announced_max: usize, rules: Rules) -> Self {
        Self {
            rules,
            alone,
            lease: Lease::new(lease, rules),
            entries: Entries::new(bytes_max, announced_max, rules),
            newest: None,
            registry: String::new(),
        }
    }

    /// The lease.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The lease, to change it.
    pub fn lease_mut(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// What is kept, to change it.
    pub fn entries(&mut self) -> &mut Entries<V> {
        &mut self.entries
    }

    /// The newest head that was applied.
    pub fn newest(&self) -> Option<&Arc<Seen>> {
        self.newest.as_ref()
    }

    /// The id of the registry that is served.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Whether memory may be served at `now`.
    pub fn holds(&self, now: Duration) -> bool {
        self.alone || self.lease.holds(now)
    }

    /// First the clock, then the look-up.
    pub fn get(&mut self, key: &Key, now: Duration) -> Lookup<V> {
        let holds = self.holds(now);
        match self.entries.get(key) {
            Some(value) if holds => Lookup::Hit(value),
            Some(_) => Lookup::Unproven,
            None => Lookup::Miss,
        }
    }

    /// Keeps a state that was read or committed, if it may be kept.
    pub fn keep(&mut self, key: &Key, candidate: Candidate<V>) -> bool {
        self.entries.keep(key, candidate)
    }

    /// Applies a head. `false` if a newer one was applied before: then this one says nothing.
    pub fn observe(&mut self, seen: &Arc<Seen>, now: Duration) -> bool {
        let head = &seen.head;
        let before = self.newest.as_ref().map(|newest| (newest.head.rev, newest.head.seq));
        if before.is_some_and(|(rev, _)| rev > head.rev) {
            return false;
        }
        // The first head, or announcements were missed: nobody knows what is still true.
        if before.is_none_or(|(_, seq)| !head.continues(seq)) {
            self.entries.forget_all();
        }
        let applied = before.map_or(0, |(_, seq)| seq);
        for announced in head.ring.iter().filter(|announced| announced.seq > applied) {
            if let Some(key) = announced.key() {
                self.entries.announce(&key, announced.rev);
            }
        }
        self.lease.watch_evicting(head, now);
        self.newest = Some(seen.clone());
        true
    }

    /// Applies a head that was asked for at `stamp`, and takes it for a renewal if it is one. `false` if it is too old to say anything.
    pub fn observe_and_validate(&mut self, seen: &Arc<Seen>, stamp: Duration, now: Duration, jitter: f64) -> bool {
        let applied = self.observe(seen, now);
        if applied {
            self.lease.validate(&seen.head, stamp, now, jitter);
        }
        applied
    }

    /// This process is a member since some moment after `stamp`, as `seen` shows. A newer head may have been applied meanwhile; then it is
    /// the one that renews.
    pub fn joined(&mut self, epoch: Epoch, seen: &Arc<Seen>, stamp: Duration, now: Duration, jitter: f64) {
        let newest = self.observe(seen, now);
        self.lease.joined(epoch, stamp);
        if !newest && let Some(newest) = self.newest.clone() {
            self.lease.validate(&newest.head, stamp, now, jitter);
        }
    }

    /// Applies a notice, and says so if it is for this epoch.
    pub fn notice(&mut self, notice: &Notice) -> Option<Ack> {
        if let Some(key) = Key::parse(&notice.key)
            && !self.rules.broken(Mutant::AckBeforeApply)
        {
            self.entries.announce(&key, notice.rev);
        }
        let own = self.lease.epoch() == Some(&notice.epoch) || self.rules.broken(Mutant::EpochNotCompared);
        own.then(|| Ack { epoch: notice.epoch.clone(), seq: notice.seq })
    }

    /// Whether the id is the one of the registry that is served; if not, everything that is known is about another one, and is forgotten.
    pub fn serve_registry(&mut self, id: &str, now: Duration) -> bool {
        if self.registry == id {
            return true;
        }
        let first = self.registry.is_empty();
        id.clone_into(&mut self.registry);
        if !first {
            self.entries.forget_all();
            self.newest = None;
            self.lease.forget(now);
        }
        false
    }
}

#[cfg(test)]
mod tests;
