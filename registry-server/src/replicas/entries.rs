//! What a replica keeps in memory, and what it must not: states of records by key, within a budget of bytes. Pure.
//!
//! An entry is never older than the last announcement of its key: a notice or a head drops it, and a read that began before is not
//! kept, because it is older than the announcement (`min_rev`) or because too much was announced meanwhile, or announcements were missed
//! (`generation`). A read that begins after an announcement was applied here needs neither: the record was marked before it was announced,
//! so the store shows the mark, or what was announced, or something newer. Whether an entry may be *used* is the lease's affair.
//!
//! That a record is *not* there is kept too, on a shelf of its own: whoever asks for names that never were takes their place from each
//! other, not from what is there.

use std::collections::HashMap;

use super::rules::{Mutant, Rules};
use super::shelf::Shelf;
use crate::store::Key;

/// The share of the budget that is for what is not there: one part in this many.
const ABSENT_SHARE: usize = 16;

/// States by key.
#[derive(Debug)]
pub struct Entries<V> {
    rules: Rules,
    found: Shelf<Key, V>,
    absent: Shelf<Key, V>,
    /// What was announced in this generation: older states are not kept.
    min_rev: HashMap<Key, u64>,
    /// So many announcements are remembered; with one more a new generation begins.
    announced_max: usize,
    /// Changes under way that no mark protects ([`Entries::hold`]): older states are not kept, however long that takes.
    held: HashMap<Key, u64>,
    generation: u64,
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
    /// What the value takes in memory, in bytes; 0 for a record that is not there.
    pub bytes: usize,
    /// The state.
    pub value: V,
}

/// What is kept, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// States, those of records that are not there included.
    pub entries: usize,
    /// Of these, how many say that there is no record.
    pub absent: usize,
    /// What all of them take, in bytes.
    pub bytes: usize,
    /// How many were dropped so far for want of room.
    pub evicted: u64,
}

impl<V: Clone> Entries<V> {
    /// Nothing, with room for `bytes_max`, and memory for `announced_max` announcements.
    pub fn new(bytes_max: usize, announced_max: usize, rules: Rules) -> Self {
        let absent = bytes_max / ABSENT_SHARE;
        Self {
            rules,
            found: Shelf::new(bytes_max - absent),
            absent: Shelf::new(absent),
            min_rev: HashMap::new(),
            announced_max,
            held: HashMap::new(),
            generation: 0,
        }
    }

    /// The state of a key.
    pub fn get(&mut self, key: &Key) -> Option<V> {
        self.found.get(key).or_else(|| self.absent.get(key))
    }

    /// The generation of a read that begins now.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Keeps a state, if it may be kept. Whether it was.
    pub fn keep(&mut self, key: &Key, candidate: Candidate<V>) -> bool {
        let Candidate { rev, marked, generation, bytes, value } = candidate;
        let announced = self.min_rev.get(key).max(self.held.get(key)).copied().unwrap_or(0);
        let older = rev < announced && !self.rules.broken(Mutant::NoMinRev);
        let marked = marked && !self.rules.broken(Mutant::MarkIgnored);
        let spoiled = generation != self.generation && !self.rules.broken(Mutant::GapKeepsFills);
        if older || marked || spoiled {
            return false;
        }
        let kept = self.found.rev(key).or_else(|| self.absent.rev(key));
        if kept.is_some_and(|kept| kept > rev) {
            return false;
        }
        let (shelf, other) =
            if rev == 0 { (&mut self.absent, &mut self.found) } else { (&mut self.found, &mut self.absent) };
        other.remove(key);
        shelf.insert(key, rev, bytes + text_bytes(key), value)
    }

    /// Forgets what is older than `rev`, and keeps nothing older from now on.
    pub fn announce(&mut self, key: &Key, rev: u64) {
        for shelf in [&mut self.found, &mut self.absent] {
            if shelf.rev(key).is_some_and(|kept| kept < rev) {
                shelf.remove(key);
            }
        }
        if let Some(announced) = self.min_rev.get_mut(key) {
            *announced = rev.max(*announced);
            return;
        }
        if self.min_rev.len() >= self.announced_max {
            // Only reads under way could still bring something older, and those are of the generation that ends.
            self.min_rev.clear();
            self.generation += 1;
        }
        self.min_rev.insert(key.clone(), rev);
    }

    /// Forgets what is older than `rev`, of a record that is about to be replaced without a mark: until [`Entries::release`] the store may
    /// still show the state before, and that is not kept.
    pub fn hold(&mut self, key: &Key, rev: u64) {
        self.announce(key, rev);
        self.held.insert(key.clone(), rev);
    }

    /// The outcome of the change is known: whatever is read from now on is as new as that.
    pub fn release(&mut self, key: &Key) {
        if let Some(rev) = self.held.remove(key) {
            self.announce(key, rev);
        }
    }

    /// Forgets everything: nobody knows what was announced meanwhile. Reads under way are not kept either.
    pub fn forget_all(&mut self) {
        self.found.clear();
        self.absent.clear();
        self.min_rev.clear();
        self.generation += 1;
    }

    /// What is kept.
    pub fn size(&self) -> Size {
        let (found, absent) = (&self.found, &self.absent);
        Size {
            entries: found.len() + absent.len(),
            absent: absent.len(),
            bytes: found.bytes() + absent.bytes(),
            evicted: found.evicted() + absent.evicted(),
        }
    }
}

/// What the text of a key takes, in bytes.
fn text_bytes(key: &Key) -> usize {
    match key {
        Key::Crate(name) => name.as_str().len() + 2 * size_of::<usize>(),
        _ => 0,
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

    fn absent() -> Candidate<u64> {
        Candidate { bytes: 0, ..at(0) }
    }

    fn entries() -> Entries<u64> {
        Entries::new(100_000, 4, Rules::default())
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
        assert!(!entries.keep(&a, Candidate { generation: 1, ..absent() }), "never backwards");
    }

    #[test]
    fn what_is_announced_is_remembered_for_a_while_and_no_read_slips_through_at_the_end_of_it() {
        let (mut entries, a) = (entries(), key("a"));
        let begun = entries.generation();
        entries.announce(&a, 6);
        for name in ["b", "c", "d", "b", "e"] {
            entries.announce(&key(name), 2);
        }
        assert!(entries.min_rev.len() <= 4, "{:?}", entries.min_rev);
        assert!(!entries.min_rev.contains_key(&a), "what is under test");
        assert!(!entries.keep(&a, Candidate { generation: begun, ..at(5) }), "a read that began before");
        // One that began after the announcement was applied sees a mark, or what was announced.
        assert!(entries.keep(&a, Candidate { generation: entries.generation(), ..at(6) }));
        assert!(entries.keep(&key("f"), Candidate { generation: entries.generation(), ..at(1) }));
        entries.announce(&key("g"), 1);
        assert_eq!(entries.get(&key("f")), Some(1), "what is kept stays when announcements are forgotten");
    }

    #[test]
    fn a_change_without_a_mark_holds_its_key_however_much_is_announced_meanwhile() {
        let (mut entries, a) = (entries(), key("a"));
        assert!(entries.keep(&a, at(5)));
        entries.hold(&a, 6);
        assert_eq!(entries.get(&a), None);
        for number in 0..20 {
            entries.announce(&key(&format!("k{number}")), 1);
        }
        let late = Candidate { generation: entries.generation(), ..at(5) };
        assert!(!entries.keep(&a, late), "a read that began after the announcement, and before the put");
        let begun = entries.generation();
        entries.release(&a);
        assert!(!entries.keep(&a, Candidate { generation: begun, ..at(5) }), "the same, and ended after the put");
        assert!(entries.keep(&a, Candidate { generation: entries.generation(), ..at(6) }));
    }

    #[test]
    fn what_is_not_there_has_a_share_of_its_own() {
        let mut entries = Entries::new(16 * 1024, 4, Rules::default());
        for number in 0..20 {
            assert!(entries.keep(&key(&format!("there{number}")), at(1)));
        }
        for number in 0..500 {
            assert!(entries.keep(&key(&format!("never{number}")), absent()));
        }
        let size = entries.size();
        assert!((2..20).contains(&size.absent) && size.bytes < 16 * 1024, "{size:?}");
        assert!((0..20).all(|number| entries.get(&key(&format!("there{number}"))).is_some()), "{size:?}");
        assert_eq!(entries.get(&key("never499")), Some(0));
        // A crate that comes to be moves over.
        entries.announce(&key("never499"), 1);
        assert_eq!(entries.get(&key("never499")), None);
        assert!(entries.keep(&key("never499"), at(1)));
        assert_eq!(entries.size().absent, size.absent - 1);
    }
}
