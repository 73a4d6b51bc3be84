//! What a replica keeps in memory, and what it must not: states of records by key, within a budget of bytes. Pure.
//!
//! An entry is never older than the last announcement of its key: a notice or a head drops it, and a read that began before is not
//! kept, because it is older than the announcement (`min_rev`) or because a gap came in between (`generation`). Whether an entry may be
//! *used* is the lease's affair.

use std::collections::{HashMap, VecDeque};

use super::rules::{Mutant, Rules};
use crate::store::Key;

/// What a key and its bookkeeping take, in bytes, roughly.
const ENTRY_OVERHEAD: usize = 200;

/// States by key.
#[derive(Debug)]
pub struct Entries<V> {
    rules: Rules,
    kept: HashMap<Key, Entry<V>>,
    /// The keys in the order in which they came, to find one that nobody used lately (second chance).
    order: VecDeque<Key>,
    bytes: usize,
    bytes_max: usize,
    /// What was announced: older states are not kept.
    min_rev: HashMap<Key, u64>,
    generation: u64,
    evicted: u64,
}

#[derive(Debug)]
struct Entry<V> {
    rev: u64,
    bytes: usize,
    used: bool,
    value: V,
}

/// A state that somebody would like to keep.
#[derive(Debug)]
pub struct Candidate<V> {
    /// The record's `rev`, 0 for a record that is not there.
    pub rev: u64,
    /// Whether a write is under way on it.
    pub marked: bool,
    /// The generation in which the read (or the commit) began.
    pub generation: u64,
    /// What it takes in memory, in bytes.
    pub bytes: usize,
    /// The state.
    pub value: V,
}

impl<V: Clone> Entries<V> {
    /// Nothing, with room for `bytes_max`.
    pub fn new(bytes_max: usize, rules: Rules) -> Self {
        Self {
            rules,
            kept: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            min_rev: HashMap::new(),
            generation: 0,
            evicted: 0,
        }
    }

    /// The state of a key.
    pub fn get(&mut self, key: &Key) -> Option<V> {
        let entry = self.kept.get_mut(key)?;
        entry.used = true;
        Some(entry.value.clone())
    }

    /// The generation of a read that begins now.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Keeps a state, if it may be kept. Whether it was.
    pub fn keep(&mut self, key: &Key, candidate: Candidate<V>) -> bool {
        let Candidate { rev, marked, generation, bytes, value } = candidate;
        let announced = self.min_rev.get(key).copied().unwrap_or(0);
        let older = rev < announced && !self.rules.broken(Mutant::NoMinRev);
        let marked = marked && !self.rules.broken(Mutant::MarkIgnored);
        let spoiled = generation != self.generation && !self.rules.broken(Mutant::GapKeepsFills);
        let bytes = bytes + ENTRY_OVERHEAD;
        if older || marked || spoiled || bytes > self.bytes_max {
            return false;
        }
        if self.kept.get(key).is_some_and(|kept| kept.rev > rev) {
            return false;
        }
        let entry = Entry { rev, bytes, used: false, value };
        match self.kept.insert(key.clone(), entry) {
            Some(before) => self.bytes -= before.bytes,
            None => self.order.push_back(key.clone()),
        }
        self.bytes += bytes;
        self.make_room();
        true
    }

    /// Forgets what is older than `rev`, and keeps nothing older from now on.
    pub fn announce(&mut self, key: &Key, rev: u64) {
        let announced = self.min_rev.entry(key.clone()).or_insert(0);
        *announced = rev.max(*announced);
        if self.kept.get(key).is_some_and(|kept| kept.rev < rev)
            && let Some(dropped) = self.kept.remove(key)
        {
            self.bytes -= dropped.bytes;
        }
        self.tidy_order();
    }

    /// Forgets everything: nobody knows what was announced meanwhile. Reads under way are not kept either.
    pub fn forget_all(&mut self) {
        self.kept.clear();
        self.order.clear();
        self.bytes = 0;
        self.min_rev.clear();
        self.generation += 1;
    }

    /// Entries and bytes that are kept, and how many were dropped so far for want of room.
    pub fn size(&self) -> (usize, usize, u64) {
        (self.kept.len(), self.bytes, self.evicted)
    }

    fn make_room(&mut self) {
        while self.bytes > self.bytes_max {
            let Some(key) = self.order.pop_front() else { return };
            let Some(entry) = self.kept.get_mut(&key) else { continue };
            if std::mem::take(&mut entry.used) {
                self.order.push_back(key);
            } else {
                self.bytes -= entry.bytes;
                self.kept.remove(&key);
                self.evicted += 1;
            }
        }
    }

    /// Keys of dropped entries stay in the order until it is mostly made of them.
    fn tidy_order(&mut self) {
        if self.order.len() > 2 * self.kept.len() + 64 {
            let mut seen = std::collections::HashSet::new();
            let kept = &self.kept;
            self.order.retain(|key| kept.contains_key(key) && seen.insert(key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::krate(name).expect("a name")
    }

    fn at(rev: u64) -> Candidate<u64> {
        Candidate { rev, marked: false, generation: 0, bytes: 100, value: rev }
    }

    fn entries() -> Entries<u64> {
        Entries::new(1000, Rules::default())
    }

    #[test]
    fn what_was_announced_is_forgotten_and_not_kept_again() {
        let (mut entries, a) = (entries(), key("a"));
        assert!(entries.keep(&a, at(5)));
        entries.announce(&a, 5);
        assert_eq!(entries.get(&a), Some(5), "an announcement of what is known");
        entries.announce(&a, 6);
        assert_eq!(entries.get(&a), None);
        assert!(!entries.keep(&a, at(5)), "a read that began before");
        assert!(entries.keep(&a, at(6)));
        entries.announce(&a, 4);
        assert!(!entries.keep(&a, at(5)), "announcements come in any order");
    }

    #[test]
    fn a_marked_state_and_one_from_before_a_gap_are_not_kept() {
        let (mut entries, a) = (entries(), key("a"));
        assert!(!entries.keep(&a, Candidate { marked: true, ..at(5) }));
        entries.forget_all();
        assert!(!entries.keep(&a, at(9)));
        assert!(entries.keep(&a, Candidate { generation: 1, ..at(1) }));
        assert!(!entries.keep(&a, Candidate { generation: 1, ..at(0) }), "never backwards");
    }

    #[test]
    fn the_budget_holds_and_what_is_used_stays() {
        let mut entries = entries();
        for (rev, name) in [(1, "a"), (1, "b"), (1, "c")] {
            assert!(entries.keep(&key(name), at(rev)));
        }
        assert_eq!(entries.get(&key("a")), Some(1));
        assert!(entries.keep(&key("d"), at(1)));
        let present: Vec<_> = ["a", "b", "c", "d"].map(|name| entries.get(&key(name)).is_some()).into();
        assert_eq!(present, [true, false, true, true]);
        assert_eq!(entries.size(), (3, 900, 1));
        assert!(!entries.keep(&key("e"), Candidate { bytes: 2000, ..at(1) }), "larger than all there is");
        for _ in 0..500 {
            entries.announce(&key("a"), 9);
            entries.keep(&key("a"), at(9));
            entries.announce(&key("a"), 10);
            entries.keep(&key("a"), at(10));
        }
        assert!(entries.order.len() < 80, "{}", entries.order.len());
    }
}
