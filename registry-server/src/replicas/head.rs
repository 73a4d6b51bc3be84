//! `v1/head`: what changed last, and which replicas may serve from memory. Pure; replaced only by compare-and-swap.
//!
//! One line of JSON. `op` stands first and is random, so that no two states have the same bytes; `rev` grows by one with each state, so
//! that of two of them one can tell the newer.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::krate::record::OpId;
use crate::store::Key;

/// A head is not read beyond this, in bytes: thousands of members.
pub const HEAD_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// How many announcements a head keeps.
pub const RING_MAX: usize = 512;

/// One state of the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Identity of the write that made this state.
    pub op: OpId,
    /// Number of this state, from 1.
    pub rev: u64,
    /// The registry's id, from `v1/meta/format`: a restored bucket has another.
    pub registry: String,
    /// Number of the last announcement.
    pub seq: u64,
    /// The last announcements, oldest first, without a gap.
    pub ring: VecDeque<Announced>,
    /// The replicas that may hold records in memory.
    pub members: Vec<Member>,
    /// Fields of a later version.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// An announcement: whoever keeps an older state of this key has to forget it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, String, u64, OpId)", into = "(u64, String, u64, OpId)")]
pub struct Announced {
    /// Its number.
    pub seq: u64,
    /// The object key, without the store's prefix; it may be one that only a later version knows.
    pub key: String,
    /// The `rev` that the record is about to have.
    pub rev: u64,
    /// Identity of the announcement: the mark in the record.
    pub op: OpId,
}

impl Announced {
    /// The key, if this version knows it.
    pub fn key(&self) -> Option<Key> {
        Key::parse(&self.key)
    }
}

impl From<(u64, String, u64, OpId)> for Announced {
    fn from((seq, key, rev, op): (u64, String, u64, OpId)) -> Self {
        Self { seq, key, rev, op }
    }
}

impl From<Announced> for (u64, String, u64, OpId) {
    fn from(Announced { seq, key, rev, op }: Announced) -> Self {
        (seq, key, rev, op)
    }
}

/// A replica in the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which life of which process.
    pub epoch: Epoch,
    /// Where notices reach it.
    pub address: String,
    /// How long its lease is. All should have the same; while a new configuration is rolled out they have not.
    pub lease_millis: u64,
    /// Whether it may renew its lease.
    pub state: Standing,
}

impl Member {
    /// How long its lease is.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_millis)
    }
}

/// Whether a member may renew its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It may.
    Live,
    /// It may not, and is removed when its lease is over for certain.
    Evicting,
}

/// One membership of one process: 128 random bits, fresh for every attempt to join.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(String);

impl Epoch {
    /// A new one.
    pub fn generate(rng: &mut impl Rng) -> Self {
        Self(format!("{:032x}", rng.random::<u128>()))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Head {
    /// The state before the first, which is never stored.
    #[must_use]
    pub fn empty(registry: &str) -> Self {
        Self {
            op: "0".repeat(32).parse().expect("32 digits"),
            rev: 0,
            registry: registry.to_owned(),
            seq: 0,
            ring: VecDeque::new(),
            members: Vec::new(),
            extra: Map::new(),
        }
    }

    /// The next state, without any change yet.
    #[must_use]
    pub fn next(&self, op: OpId, registry: &str) -> Self {
        Self { op, rev: self.rev + 1, registry: registry.to_owned(), ..self.clone() }
    }

    /// Adds an announcement; of the oldest, those beyond `ring_max` go.
    pub fn announce(&mut self, key: &Key, rev: u64, op: OpId, ring_max: usize) {
        self.seq += 1;
        self.ring.push_back(Announced { seq: self.seq, key: key.to_string(), rev, op });
        let surplus = self.ring.len().saturating_sub(ring_max);
        self.ring.drain(..surplus);
    }

    /// The announcement with this identity, if the ring still has it.
    pub fn announced(&self, op: &OpId) -> Option<&Announced> {
        self.ring.iter().rev().find(|announced| announced.op == *op)
    }

    /// The member of this epoch.
    pub fn member(&self, epoch: &Epoch) -> Option<&Member> {
        self.members.iter().find(|member| member.epoch == *epoch)
    }

    /// Adds a live member.
    pub fn join(&mut self, epoch: Epoch, address: String, lease: Duration) {
        let lease_millis = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        self.members.push(Member { epoch, address, lease_millis, state: Standing::Live });
    }

    /// Takes the right to renew from a member. Whether anything changed.
    pub fn evict(&mut self, epoch: &Epoch) -> bool {
        let live = self.members.iter_mut().find(|member| member.epoch == *epoch && member.state == Standing::Live);
        live.map(|member| member.state = Standing::Evicting).is_some()
    }

    /// Removes a member. Whether anything changed.
    pub fn remove(&mut self, epoch: &Epoch) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.epoch != *epoch);
        self.members.len() != before
    }

    /// Whether someone who has applied everything up to `seq` can go on with this ring.
    pub fn continues(&self, seq: u64) -> bool {
        self.seq <= seq || self.ring.front().is_some_and(|first| first.seq <= seq + 1)
    }

    /// Reads a stored head.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let head: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if head.rev == 0 {
            return Err("its `rev` is 0".to_owned());
        }
        let last = head.ring.back().map_or(head.seq, |last| last.seq);
        let contiguous = head.ring.iter().zip(head.ring.iter().skip(1)).all(|(one, next)| one.seq + 1 == next.seq);
        if last != head.seq || !contiguous {
            return Err("its ring has a gap".to_owned());
        }
        Ok(head)
    }

    /// The bytes to store.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = serde_json::to_vec(self).expect("a head has string keys only");
        bytes.push(b'\n');
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(digit: u8) -> OpId {
        format!("{digit:032x}").parse().expect("digits")
    }

    fn key(name: &str) -> Key {
        Key::krate(name).expect("a name")
    }

    #[test]
    fn the_stored_form() {
        let mut head = Head::empty("r").next(op(1), "r");
        head.announce(&key("serde"), 7, op(2), 2);
        head.join(Epoch("e".into()), "10.0.0.1:8081".into(), Duration::from_secs(2));
        let expected = format!(
            "{{\"op\":\"{}\",\"rev\":1,\"registry\":\"r\",\"seq\":1,\"ring\":[[1,\"v1/crate/8b/serde\",7,\"{}\"]],\
             \"members\":[{{\"epoch\":\"e\",\"address\":\"10.0.0.1:8081\",\"lease_millis\":2000,\"state\":\"live\"}}]}}\n",
            op(1),
            op(2)
        );
        assert_eq!(String::from_utf8(head.to_bytes().to_vec()).expect("text"), expected);
        assert_eq!(Head::parse(expected.as_bytes()), Ok(head));
    }

    #[test]
    fn a_later_field_and_a_later_key_survive() {
        let text = format!(
            "{{\"op\":\"{}\",\"rev\":3,\"registry\":\"r\",\"seq\":1,\"ring\":[[1,\"v1/team/x\",7,\"{}\"]],\"members\":[],\"later\":[1]}}",
            op(1),
            op(2)
        );
        let head = Head::parse(text.as_bytes()).expect("readable");
        assert_eq!(head.ring[0].key(), None);
        let next = String::from_utf8(head.next(op(3), "r").to_bytes().to_vec()).expect("text");
        assert!(next.contains("\"later\":[1]") && next.contains("v1/team/x") && next.contains("\"rev\":4"), "{next}");
    }

    #[test]
    fn the_ring_forgets_and_says_who_can_go_on() {
        let mut head = Head::empty("r").next(op(1), "r");
        assert!(head.continues(0));
        for digit in 1..=5 {
            head.announce(&key("a"), u64::from(digit), op(digit), 3);
        }
        assert_eq!(head.ring.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((1..=6).map(|seq| head.continues(seq)).collect::<Vec<_>>(), [false, true, true, true, true, true]);
        assert!(head.announced(&op(3)).is_some() && head.announced(&op(2)).is_none());
        head.ring.remove(1);
        assert!(Head::parse(&head.to_bytes()).expect_err("a gap").contains("gap"));
    }

    #[test]
    fn members_are_evicted_once_and_removed_once() {
        let epoch = Epoch("e".into());
        let mut head = Head::empty("r");
        head.join(epoch.clone(), String::new(), Duration::ZERO);
        assert!(head.evict(&epoch) && !head.evict(&epoch));
        assert_eq!(head.member(&epoch).map(|member| member.state), Some(Standing::Evicting));
        assert!(head.remove(&epoch) && !head.remove(&epoch));
        assert!(!head.evict(&epoch));
    }
}
