//! Many rows, packed: their stored lines, their names in order, and for every word that occurs in them the rows where it does.
//!
//! A search looks for its words in the list of all different words, which is a few megabytes for 150,000 crates, not in the texts. A word has no
//! white space, so it is in a text exactly if it is in one of the text's words: the result is that of [`super::fit`].

use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem::Finder;

use super::fit::{Place, Score, Texts};
use super::query::Word;
use super::row::Row;

/// Rows that do not change.
#[derive(Debug, Default)]
pub struct Base {
    /// The stored lines, with their ends.
    lines: Arena,
    /// The canonical names, in order, each after a line feed.
    names: Arena,
    /// Seconds of the last changes.
    updated: Vec<i64>,
    /// All words that occur, each after a line feed.
    words: Arena,
    /// For each word the rows with it: the distance from the row before and the place in two bits, as a number of seven bits per byte.
    rows: Arena,
}

/// Byte strings one after the other.
#[derive(Debug, Default)]
struct Arena {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arena {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    /// The same after a line feed, which no word contains.
    fn push_line(&mut self, text: &str) {
        self.bytes.push(b'\n');
        self.push(text.as_bytes());
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn get(&self, index: usize) -> &[u8] {
        &self.bytes[self.start(index)..self.ends[index]]
    }

    /// Calls `found` with each line in which `word` fits, at least once.
    fn each_with(&self, word: &Word, mut found: impl FnMut(usize)) {
        word.finders().iter().for_each(|finder| self.each_of(finder, &mut found));
    }

    fn each_of(&self, finder: &Finder<'_>, found: &mut impl FnMut(usize)) {
        let mut next = 0;
        for place in finder.find_iter(&self.bytes) {
            if next > 0 && place < self.ends[next - 1] {
                continue;
            }
            // Most hits are close to the one before.
            let index = if place < self.ends[next] {
                next
            } else {
                next + 1 + self.ends[next + 1..].partition_point(|end| *end <= place)
            };
            found(index);
            next = index + 1;
            if next == self.len() {
                return;
            }
        }
    }

    fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

impl Base {
    /// Packs rows, which come in the order of their canonical names, each once.
    pub fn build(rows: impl IntoIterator<Item = Row>) -> Self {
        let mut base = Self::default();
        let mut numbers: HashMap<Box<str>, u32> = HashMap::new();
        // (word, row, place); sorted by row because that is how they come.
        let mut places: Vec<(u32, u32, u8)> = Vec::new();
        for (number, row) in rows.into_iter().enumerate() {
            let number = u32::try_from(number).expect("fewer than four billion crates");
            let texts = Texts::of(&row);
            base.lines.push(&row.to_line());
            base.names.push_line(texts.name());
            base.updated.push(row.updated_at.as_second());
            for (place, word) in texts.words() {
                let of_word = match numbers.get(word) {
                    Some(number) => *number,
                    None => {
                        base.words.push_line(word);
                        let of_word = u32::try_from(numbers.len()).expect("fewer than four billion words");
                        numbers.insert(word.into(), of_word);
                        of_word
                    }
                };
                places.push((of_word, number, place as u8));
            }
        }
        drop(numbers);
        base.pack(places);
        base
    }

    fn pack(&mut self, mut places: Vec<(u32, u32, u8)>) {
        places.sort_unstable();
        let mut place = places.iter().copied().peekable();
        for word in 0..self.words.len() {
            let mut before = 0;
            while let Some((_, row, mut best)) = place.next_if(|(of, ..)| *of as usize == word) {
                while let Some((.., better)) = place.next_if(|(of, same, _)| *of as usize == word && *same == row) {
                    best = better;
                }
                write_number(&mut self.rows.bytes, u64::from(row - before) << 2 | u64::from(best));
                before = row;
            }
            self.rows.push(&[]);
        }
        self.updated.shrink_to_fit();
        for arena in [&mut self.lines, &mut self.names, &mut self.words, &mut self.rows] {
            arena.shrink();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it takes in memory, in bytes.
    pub fn memory(&self) -> usize {
        let arenas = [&self.lines, &self.names, &self.words, &self.rows];
        arenas.iter().map(|arena| arena.memory()).sum::<usize>() + self.updated.capacity() * size_of::<i64>()
    }

    /// A row.
    pub fn row(&self, index: usize) -> Row {
        Row::parse(self.lines.get(index)).expect("it was written by `Row::to_line`")
    }

    /// Its stored form.
    pub fn line(&self, index: usize) -> &[u8] {
        self.lines.get(index)
    }

    /// Its canonical name.
    pub fn name(&self, index: usize) -> &str {
        str::from_utf8(&self.names.get(index)[1..]).expect("names are ASCII")
    }

    /// When it changed last, in seconds.
    pub(super) fn updated(&self, index: usize) -> i64 {
        self.updated[index]
    }

    /// The row with this canonical name, or where it would stand.
    pub(super) fn find(&self, name: &str) -> Result<usize, usize> {
        let at = self.lower_bound(|known| known < name);
        if at < self.len() && self.name(at) == name { Ok(at) } else { Err(at) }
    }

    /// Where the row with this canonical name stands, or would stand.
    pub(super) fn place(&self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|place| place)
    }

    fn lower_bound(&self, is_before: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if is_before(self.name(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// How well each row fits; nothing where a word fits nowhere.
    pub(super) fn scores(&self, words: &[Word]) -> Vec<Score> {
        let mut scores = vec![Score::default(); self.len()];
        for (number, word) in words.iter().enumerate() {
            let places = self.places(word);
            for (score, place) in scores.iter_mut().zip(places) {
                let fitted = number == 0 || score.is_some();
                *score = if fitted && place > 0 { score.and(place) } else { Score::default() };
            }
        }
        scores
    }

    /// The best place of a word in each row, 0 where it is nowhere.
    fn places(&self, word: &Word) -> Vec<u8> {
        let mut places = vec![0; self.len()];
        self.words.each_with(word, |index| self.mark(index, &mut places));
        self.names.each_with(word, |row| places[row] = Place::Name as u8);
        let starting = self.starting_with(&word.text);
        places[starting.clone()].fill(Place::NameStart as u8);
        if let Ok(whole) = self.find(&word.text) {
            places[whole] = Place::WholeName as u8;
        }
        places
    }

    fn starting_with(&self, text: &str) -> Range<usize> {
        let from = self.lower_bound(|name| name < text);
        from..self.lower_bound(|name| name < text || name.starts_with(text))
    }

    /// Notes the rows of a word.
    fn mark(&self, word: usize, places: &mut [u8]) {
        let mut bytes = self.rows.get(word);
        let mut row = 0;
        while let Some(number) = read_number(&mut bytes) {
            row += usize::try_from(number >> 2).expect("a row");
            let place = &mut places[row];
            *place = (*place).max((number & 3) as u8);
        }
    }
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::query::Query;
    use super::super::row::tests::row;
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut bytes = Vec::new();
        let numbers = [0, 1, 127, 128, 300, u64::from(u32::MAX) << 2, u64::MAX];
        numbers.iter().for_each(|number| write_number(&mut bytes, *number));
        let mut rest = &bytes[..];
        let read: Vec<_> = std::iter::from_fn(|| read_number(&mut rest)).collect();
        assert_eq!(read, numbers);
    }

    proptest! {
        /// The packed form finds what the plain one finds.
        #[test]
        fn the_packed_form_finds_what_the_plain_one_finds(
            texts in prop::collection::btree_map("[ab][ab_]{0,4}", ("[ab ]{0,8}", "[ab]{0,3}", "[ab]{0,3}"), 0..12),
            text in "[ab_-]{1,4}( [ab]{1,3})?",
        ) {
            let rows: Vec<_> =
                texts.iter().map(|(name, (about, keyword, category))| row(name, about, &[keyword], &[category])).collect();
            let words = Query::new(&text, None, 1, 1).expect("a search").words;
            let plain: Vec<_> =
                rows.iter().map(|row| Texts::of(row).score(&words).unwrap_or_default()).collect();
            let base = Base::build(rows.clone());
            prop_assert_eq!(base.scores(&words), plain);
            let back: Vec<_> = (0..base.len()).map(|index| base.row(index)).collect();
            prop_assert_eq!(back, rows);
        }
    }
}
