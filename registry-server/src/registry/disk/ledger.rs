//! Which files there are, what they take together, and which of them go first: the one that was not used for longest. Pure.
//!
//! `S` is whatever tells that a file is still the one that was checked.

use std::collections::{BTreeMap, HashMap};

use crate::store::Sha256Digest;

/// What file systems give out: a file takes whole blocks.
const BLOCK_BYTES: u64 = 4096;

/// Files within a budget of bytes.
#[derive(Debug)]
pub(super) struct Ledger<S> {
    files: HashMap<Sha256Digest, File<S>>,
    /// By their last use; those that can be read.
    order: BTreeMap<u64, Sha256Digest>,
    ticks: u64,
    bytes: u64,
    bytes_max: u64,
    evicted: u64,
}

#[derive(Debug)]
struct File<S> {
    len: u64,
    /// Tells it from an earlier file of the same content.
    born: u64,
    used: u64,
    readers: u32,
    state: State<S>,
}

#[derive(Debug)]
enum State<S> {
    /// Its room is taken; the bytes are on their way.
    Arriving,
    /// It can be read. `None`: nobody has looked at it since the start.
    Here(Option<S>),
    /// It is being deleted, and its room is somebody else's.
    Leaving,
}

/// Somebody reads a file: it is not deleted for want of room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) sha256: Sha256Digest,
    born: u64,
}

impl<S: Clone> Ledger<S> {
    /// Nothing, with room for `bytes_max`.
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { files: HashMap::new(), order: BTreeMap::new(), ticks: 0, bytes: 0, bytes_max, evicted: 0 }
    }

    /// Takes in a file that was there at the start; the least recently used first.
    pub(super) fn found(&mut self, sha256: Sha256Digest, len: u64) {
        self.add(sha256, len, State::Here(None));
    }

    /// What has to be deleted until the budget holds: after the start, with another budget.
    pub(super) fn trim(&mut self) -> Vec<Sha256Digest> {
        self.make_room(0).unwrap_or_default()
    }

    /// Takes room for a file that is to arrive: before it does, the files that are given back have to be deleted. `None`: it is there already, or there is no room
    /// without files that somebody reads.
    pub(super) fn reserve(&mut self, sha256: Sha256Digest, len: u64) -> Option<Vec<Sha256Digest>> {
        if self.files.contains_key(&sha256) {
            return None;
        }
        let leaving = self.make_room(room(len))?;
        self.add(sha256, len, State::Arriving);
        Some(leaving)
    }

    /// The file can be read from now on.
    pub(super) fn arrived(&mut self, sha256: &Sha256Digest, seal: S) {
        if let Some(file) = self.files.get_mut(sha256)
            && matches!(file.state, State::Arriving)
        {
            file.state = State::Here(Some(seal));
            self.order.insert(file.used, *sha256);
        }
    }

    /// The file did not arrive, and nothing of it is left.
    pub(super) fn abandon(&mut self, sha256: &Sha256Digest) {
        if let Some(file) = self.files.get(sha256)
            && matches!(file.state, State::Arriving)
        {
            self.bytes -= room(file.len);
            self.files.remove(sha256);
        }
    }

    /// Begins to read a file that is there, or on its way. The seal, if it was checked.
    pub(super) fn read(&mut self, sha256: &Sha256Digest) -> Option<(Reader, Option<S>)> {
        self.ticks += 1;
        let file = self.files.get_mut(sha256)?;
        let seal = match &file.state {
            State::Arriving => None,
            State::Here(seal) => {
                self.order.remove(&file.used);
                self.order.insert(self.ticks, *sha256);
                seal.clone()
            }
            State::Leaving => return None,
        };
        file.used = self.ticks;
        file.readers += 1;
        Some((Reader { sha256: *sha256, born: file.born }, seal))
    }

    /// Whether the file can be read.
    pub(super) fn has(&self, sha256: &Sha256Digest) -> bool {
        self.files.get(sha256).is_some_and(|file| matches!(file.state, State::Here(_)))
    }

    /// The seal of the file that the reader has, if it was checked.
    pub(super) fn sealed(&self, reader: &Reader) -> Option<S> {
        match &self.files.get(&reader.sha256).filter(|file| file.born == reader.born)?.state {
            State::Here(seal) => seal.clone(),
            State::Arriving | State::Leaving => None,
        }
    }

    /// The reader has seen that the file is good.
    pub(super) fn seal(&mut self, reader: &Reader, seal: S) {
        if let Some(file) = self.of(reader)
            && let State::Here(sealed) = &mut file.state
        {
            *sealed = Some(seal);
        }
    }

    /// The reader has seen that the file is bad: it has to be deleted. `false`: somebody else sees to that.
    pub(super) fn condemn(&mut self, reader: &Reader) -> bool {
        let Some(file) = self.of(reader) else { return false };
        if !matches!(file.state, State::Here(_)) {
            return false;
        }
        file.state = State::Leaving;
        let (len, used) = (file.len, file.used);
        self.order.remove(&used);
        self.bytes -= room(len);
        true
    }

    /// The reader has done.
    pub(super) fn release(&mut self, reader: &Reader) {
        if let Some(file) = self.of(reader) {
            file.readers -= 1;
        }
    }

    /// A file that had to be deleted is.
    pub(super) fn gone(&mut self, sha256: &Sha256Digest) {
        if self.files.get(sha256).is_some_and(|file| matches!(file.state, State::Leaving)) {
            self.files.remove(sha256);
        }
    }

    /// A file that had to be deleted could not be: it goes on taking room, and is looked at again before it is served.
    pub(super) fn stayed(&mut self, sha256: &Sha256Digest) {
        if let Some(file) = self.files.get_mut(sha256)
            && matches!(file.state, State::Leaving)
        {
            file.state = State::Here(None);
            self.bytes += room(file.len);
            self.order.insert(file.used, *sha256);
        }
    }

    /// How many files there are, what they take in bytes, and how many were deleted so far for want of room.
    pub(super) fn size(&self) -> (usize, u64, u64) {
        (self.files.len(), self.bytes, self.evicted)
    }

    fn of(&mut self, reader: &Reader) -> Option<&mut File<S>> {
        self.files.get_mut(&reader.sha256).filter(|file| file.born == reader.born)
    }

    fn add(&mut self, sha256: Sha256Digest, len: u64, state: State<S>) {
        self.ticks += 1;
        if matches!(state, State::Here(_)) {
            self.order.insert(self.ticks, sha256);
        }
        self.files.insert(sha256, File { len, born: self.ticks, used: self.ticks, readers: 0, state });
        self.bytes += room(len);
    }

    /// Marks what has to leave so that `wanted` bytes more fit. `None`, and nothing is marked: that cannot be.
    fn make_room(&mut self, wanted: u64) -> Option<Vec<Sha256Digest>> {
        let (mut left, mut leaving) = (self.bytes, Vec::new());
        for (used, sha256) in &self.order {
            if left + wanted <= self.bytes_max {
                break;
            }
            let file = &self.files[sha256];
            if file.readers == 0 {
                left -= room(file.len);
                leaving.push((*used, *sha256));
            }
        }
        if left + wanted > self.bytes_max {
            return None;
        }
        self.bytes = left;
        self.evicted += leaving.len() as u64;
        for (used, sha256) in &leaving {
            self.order.remove(used);
            if let Some(file) = self.files.get_mut(sha256) {
                file.state = State::Leaving;
            }
        }
        Some(leaving.into_iter().map(|(_, sha256)| sha256).collect())
    }
}

/// What a file takes on a disk.
fn room(len: u64) -> u64 {
    len.next_multiple_of(BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> Sha256Digest {
        Sha256Digest::of(&[number])
    }

    /// Room for `blocks`, with files 1 to `files` of one block each.
    fn ledger(blocks: u64, files: u8) -> Ledger<&'static str> {
        let mut ledger = Ledger::new(blocks * BLOCK_BYTES);
        for number in 1..=files {
            assert_eq!(ledger.reserve(id(number), 1), Some(vec![]));
            ledger.arrived(&id(number), "good");
        }
        ledger
    }

    fn present(ledger: &Ledger<&'static str>, files: u8) -> Vec<u8> {
        (1..=files).filter(|number| ledger.has(&id(*number))).collect()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut ledger = ledger(3, 3);
        let (reader, seal) = ledger.read(&id(1)).expect("it is there");
        assert_eq!(seal, Some("good"));
        ledger.release(&reader);
        assert_eq!(ledger.reserve(id(4), BLOCK_BYTES), Some(vec![id(2)]));
        assert_eq!(present(&ledger, 4), [1, 3], "the one that arrives cannot be read yet");
        assert_eq!(ledger.reserve(id(5), 3 * BLOCK_BYTES), None, "but it has its room");
        assert_eq!(ledger.reserve(id(5), BLOCK_BYTES + 1), Some(vec![id(3), id(1)]), "two blocks");
    }

    #[test]
    fn what_is_read_or_arriving_stays() {
        let mut ledger = ledger(3, 2);
        assert_eq!(ledger.reserve(id(3), 1), Some(vec![]));
        assert_eq!(ledger.reserve(id(3), 1), None, "it is on its way already");
        let readers = [1, 2].map(|number| ledger.read(&id(number)).expect("it is there").0);
        assert_eq!(ledger.reserve(id(4), 1), None);
        assert_eq!(present(&ledger, 4), [1, 2], "nothing was marked");
        ledger.release(&readers[0]);
        assert_eq!(ledger.reserve(id(4), 1), Some(vec![id(1)]));
        assert_eq!(ledger.size(), (4, 3 * BLOCK_BYTES, 1), "the one that leaves takes nothing");
        ledger.abandon(&id(3));
        assert_eq!(ledger.reserve(id(5), 1), Some(vec![]), "what did not arrive gives its room back");
    }

    #[test]
    fn a_file_that_could_not_be_deleted_takes_its_room_again() {
        let mut ledger = ledger(2, 2);
        assert_eq!(ledger.reserve(id(3), 1), Some(vec![id(1)]));
        assert_eq!(ledger.read(&id(1)), None, "it is leaving");
        assert_eq!(ledger.reserve(id(1), 1), None, "and not gone");
        ledger.abandon(&id(3));
        ledger.stayed(&id(1));
        assert_eq!(ledger.size().1, 2 * BLOCK_BYTES);
        assert_eq!(ledger.read(&id(1)).expect("it is there").1, None, "to be looked at");
        ledger.gone(&id(1));
        assert!(ledger.has(&id(1)), "only what leaves can be gone");
    }

    #[test]
    fn a_bad_file_leaves_once_and_its_readers_do_not_count_for_the_next() {
        let mut ledger = ledger(2, 1);
        let [one, two] = [(); 2].map(|()| ledger.read(&id(1)).expect("it is there").0);
        assert!(ledger.condemn(&one) && !ledger.condemn(&two));
        assert_eq!((ledger.read(&id(1)), ledger.size().1), (None, 0));
        ledger.gone(&id(1));
        assert_eq!(ledger.reserve(id(1), 1), Some(vec![]));
        ledger.arrived(&id(1), "better");
        ledger.release(&one);
        ledger.release(&two);
        let (reader, seal) = ledger.read(&id(1)).expect("it is there");
        assert_eq!(seal, Some("better"));
        ledger.seal(&one, "of another");
        ledger.release(&reader);
        assert_eq!(ledger.read(&id(1)).expect("it is there").1, Some("better"));
    }

    #[test]
    fn what_was_there_at_the_start_is_cut_down_to_the_budget() {
        let mut ledger: Ledger<&str> = Ledger::new(2 * BLOCK_BYTES);
        for number in 1..=4 {
            ledger.found(id(number), 5);
        }
        assert_eq!(ledger.trim(), [id(1), id(2)]);
        assert_eq!(ledger.size().1, 2 * BLOCK_BYTES);
        assert_eq!(ledger.read(&id(3)).expect("it is there").1, None, "nobody has looked at it");
        assert_eq!(ledger.reserve(id(9), 3 * BLOCK_BYTES), None, "larger than all there is");
    }
}
