//! Values by key within a budget of bytes; what nobody used lately goes first (second chance). Pure.

use std::hash::Hash;

use indexmap::IndexMap;

/// Values by key, within a budget.
#[derive(Debug)]
pub(crate) struct Shelf<K, V> {
    kept: IndexMap<K, Kept<V>>,
    /// The next place to look at when room is needed.
    hand: usize,
    bytes: usize,
    bytes_max: usize,
    evicted: u64,
}

#[derive(Debug)]
struct Kept<V> {
    rev: u64,
    bytes: usize,
    used: bool,
    value: V,
}

impl<K: Hash + Eq + Clone, V: Clone> Shelf<K, V> {
    /// Nothing, with room for `bytes_max`.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { kept: IndexMap::new(), hand: 0, bytes: 0, bytes_max, evicted: 0 }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        let kept = self.kept.get_mut(key)?;
        kept.used = true;
        Some(kept.value.clone())
    }

    /// The `rev` of what is kept.
    pub(crate) fn rev(&self, key: &K) -> Option<u64> {
        self.kept.get(key).map(|kept| kept.rev)
    }

    /// Keeps a value that takes `bytes` with the text of its key, and makes room for it. `false`, and the one before is gone, if it is larger than all there is.
    pub(crate) fn insert(&mut self, key: &K, rev: u64, bytes: usize, value: V) -> bool {
        let bytes = bytes + overhead::<K, V>();
        self.remove(key);
        if bytes > self.bytes_max {
            return false;
        }
        self.bytes += bytes;
        self.make_room();
        self.kept.insert(key.clone(), Kept { rev, bytes, used: false, value });
        true
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(kept) = self.kept.swap_remove(key) {
            self.bytes -= kept.bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        // The memory too.
        self.kept = IndexMap::new();
        self.bytes = 0;
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many were dropped so far for want of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// At most two rounds: the first takes the second chances away.
    fn make_room(&mut self) {
        while self.bytes > self.bytes_max && !self.kept.is_empty() {
            self.hand %= self.kept.len();
            let (_, kept) = self.kept.get_index_mut(self.hand).expect("within the length");
            if std::mem::take(&mut kept.used) {
                self.hand += 1;
            } else {
                self.bytes -= kept.bytes;
                self.evicted += 1;
                // The last one takes its place, and is looked at next.
                self.kept.swap_remove_index(self.hand);
            }
        }
    }
}

/// What a key and its bookkeeping take, in bytes: its place in the map, of which a quarter is empty on average.
fn overhead<K, V>() -> usize {
    let place = size_of::<K>() + size_of::<Kept<V>>() + 2 * size_of::<usize>();
    place + place / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> String {
        name.to_owned()
    }

    #[test]
    fn the_budget_holds_and_what_is_used_stays() {
        let one = 100 + overhead::<String, u64>();
        let mut shelf: Shelf<String, u64> = Shelf::new(3 * one);
        for name in ["a", "b", "c"] {
            assert!(shelf.insert(&key(name), 1, 100, 1));
        }
        assert_eq!(shelf.get(&key("a")), Some(1));
        assert!(shelf.insert(&key("d"), 1, 100, 1));
        let present: Vec<_> = ["a", "b", "c", "d"].map(|name| shelf.rev(&key(name)).is_some()).into();
        assert_eq!(present, [true, false, true, true]);
        assert_eq!((shelf.len(), shelf.bytes(), shelf.evicted()), (3, 3 * one, 1));
        assert!(!shelf.insert(&key("c"), 2, 3 * one, 2), "larger than all there is");
        assert_eq!(shelf.get(&key("c")), None, "what it replaces is older, and goes");
        for name in ["a", "d"] {
            shelf.remove(&key(name));
        }
        assert_eq!((shelf.len(), shelf.bytes()), (0, 0));
    }

    #[test]
    fn all_used_is_as_none_used() {
        let one = 100 + overhead::<String, u64>();
        let mut shelf: Shelf<String, u64> = Shelf::new(10 * one);
        for number in 10..90 {
            assert!(shelf.insert(&key(&format!("k{number}")), 1, 100, number));
            for other in 10..=number {
                shelf.get(&key(&format!("k{other}")));
            }
        }
        assert_eq!((shelf.len(), shelf.evicted()), (10, 70));
        assert_eq!(shelf.get(&key("k89")), Some(89));
    }
}
