//! The writer's wait: between the announcement of a change and its commit, every member forgets its copy of the record.
//!
//! Flow: tell all members of the head that announces the change. Each is done when it acknowledges, when a later head does not show it any
//! more, or when a lease that it had at the announcement is over on any clock. Who is silent for long is evicted along the way, so that
//! the next writer need not wait for it.
//!
//! Assumes that whoever enters the head later applies the announcement before it serves anything from memory.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::head::Epoch;
use super::head_writes::{Announcement, Edit};
use super::peers::{Ack, Notice};
use super::rules::Mutant;
use super::{Replica, Seen};
use crate::metrics;
use crate::store::Key;

/// After this silence a member is evicted.
const SILENCE: Duration = Duration::from_millis(100);
/// The pause before a notice is brought again.
const NOTICE_AGAIN: Duration = Duration::from_millis(25);

/// What is waited for.
struct Clearing<'a> {
    key: &'a Key,
    rev: u64,
    announced: &'a Announcement,
    /// After this, counted from the announcement, every lease is over that was held then.
    longest: Duration,
}

impl<V: Clone + Send + Sync + 'static> Replica<V> {
    /// Returns when no replica can serve a state of `key` older than `rev` from memory. `before` is what this replica knew of the head when
    /// the change began; it is of no use, except to the test that shows so.
    pub async fn clear(&self, key: &Key, rev: u64, announced: &Announcement, before: Option<&Seen>) {
        self.forget_older(key, rev);
        let head = &announced.seen.head;
        let members = match before {
            Some(before) if self.settings.rules.broken(Mutant::MembersBeforeCas) => &before.head.members,
            None if self.settings.rules.broken(Mutant::MembersBeforeCas) => &Vec::new(),
            _ => &head.members,
        };
        let (mut waiting, longest) = {
            let memory = self.memory();
            let others = members.iter().filter(|member| !memory.lease().is_own(&member.epoch));
            let longest = others.clone().map(|member| memory.lease().outlasted_after(member.lease())).max();
            let waiting: BTreeMap<_, _> = others.map(|member| (member.epoch.clone(), member.address.clone())).collect();
            (waiting, longest.unwrap_or_default())
        };
        if waiting.is_empty() || self.settings.rules.broken(Mutant::CommitBeforeAcks) {
            return;
        }
        let outcome = self.hear(Clearing { key, rev, announced, longest }, &mut waiting).await;
        metrics::cleared(outcome);
    }

    /// Waits until nobody is left in `waiting`, or their leases are over. Which of the two.
    async fn hear(&self, clearing: Clearing<'_>, waiting: &mut BTreeMap<Epoch, String>) -> &'static str {
        let Clearing { key, rev, announced, longest } = clearing;
        let (peers, mut heard) = (waiting.len(), 0);
        let mut notices: FuturesUnordered<_> = waiting
            .iter()
            .map(|(epoch, address)| {
                let notice = Notice { epoch: epoch.clone(), seq: announced.seq, key: key.to_string(), rev };
                self.tell(address.clone(), notice)
            })
            .collect();
        let outlasted = self.ground.time.sleep_until(announced.at + longest);
        let silent = self.ground.time.sleep_until(announced.at + SILENCE);
        futures::pin_mut!(outlasted, silent);
        let mut is_silent = false;
        let mut evictions = FuturesUnordered::new();
        let mut heads = self.heads.subscribe();
        while !waiting.is_empty() {
            tokio::select! {
                biased;
                Some(ack) = notices.next() => {
                    if ack.seq == announced.seq && waiting.remove(&ack.epoch).is_some() {
                        heard += 1;
                    }
                }
                // An error says that some were missed; the newest is looked at all the same.
                _ = heads.recv() => self.strike_gone(announced, waiting),
                () = &mut silent, if !is_silent => {
                    is_silent = true;
                    if self.may_evict(peers, heard) {
                        evictions.extend(waiting.keys().map(|epoch| self.edit_head(Edit::Evict(epoch.clone()))));
                        metrics::evicted(waiting.len());
                        tracing::warn!(silent = waiting.len(), "replicas do not acknowledge notices; waiting for their leases to end");
                    }
                }
                Some(_) = evictions.next() => {}
                () = &mut outlasted => return "outlasted",
            }
        }
        "acknowledged"
    }

    fn may_evict(&self, peers: usize, heard: usize) -> bool {
        let memory = self.memory();
        memory.newest().is_some_and(|newest| memory.lease().may_evict(&newest.head, peers, heard))
    }

    /// A member that a later head does not show is done: it left, or its lease was outlasted by whoever removed it.
    fn strike_gone(&self, announced: &Announcement, waiting: &mut BTreeMap<Epoch, String>) {
        let newest = self.memory().newest().cloned();
        if let Some(newest) = newest.filter(|newest| newest.head.rev >= announced.seen.head.rev) {
            waiting.retain(|epoch, _| newest.head.member(epoch).is_some());
        }
    }

    /// Brings a notice again and again until it is acknowledged.
    async fn tell(&self, address: String, notice: Notice) -> Ack {
        loop {
            if !address.is_empty()
                && let Some(ack) = self.ground.peers.notify(&address, &notice).await
            {
                return ack;
            }
            self.ground.time.sleep(NOTICE_AGAIN).await;
        }
    }
}
