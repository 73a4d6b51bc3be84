//! How well one crate fits, as plainly as it can be said. [`super::base`] has to come to the same result.

use super::query::{Word, words};
use super::row::Row;

/// Where a word fits, the best place last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Place {
    Description = 1,
    Category,
    Keyword,
    /// Anywhere in the canonical name.
    Name,
    /// At its beginning.
    NameStart,
    /// It is the name.
    WholeName,
}

/// How well all words fit: the best place, then the sum of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Score(u16);

impl Score {
    /// With one more word, which fits at `place` (from 1).
    pub(super) fn and(self, place: u8) -> Self {
        let (best, sum) = (self.0 >> 8, self.0 & 0xff);
        Self(best.max(u16::from(place)) << 8 | (sum + u16::from(place)))
    }

    /// How many different ones there may be.
    pub(super) const COUNT: usize = (Place::WholeName as usize + 1) << 8;

    /// As a number that grows with it, below [`Score::COUNT`].
    pub(super) fn number(self) -> usize {
        usize::from(self.0)
    }

    pub(super) fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// The texts of a row in the form in which they are compared: lines of one word each, which begin with a line feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    name: String,
    /// The best place first.
    words: [(Place, String); 3],
}

impl Texts {
    pub(super) fn of(row: &Row) -> Self {
        let lines = |texts: &mut dyn Iterator<Item = &String>| {
            texts.flat_map(|text| words(text)).fold(String::new(), |lines, word| lines + "\n" + &word)
        };
        let words = [
            (Place::Keyword, lines(&mut row.keywords.iter())),
            (Place::Category, lines(&mut row.categories.iter())),
            (Place::Description, lines(&mut row.description.iter())),
        ];
        Self { name: format!("\n{}", row.canonical()), words }
    }

    /// The canonical name.
    pub(super) fn name(&self) -> &str {
        &self.name[1..]
    }

    /// All words but the name, each with its place.
    pub(super) fn words(&self) -> impl Iterator<Item = (Place, &str)> {
        self.words.iter().flat_map(|(place, lines)| lines.split('\n').skip(1).map(move |word| (*place, word)))
    }

    /// How well they fit; `None` if a word fits nowhere.
    pub(super) fn score(&self, words: &[Word]) -> Option<Score> {
        words.iter().try_fold(Score::default(), |score, word| Some(score.and(self.place(word)? as u8)))
    }

    fn place(&self, word: &Word) -> Option<Place> {
        let inside = || self.words.iter().find(|(_, lines)| word.fits(lines)).map(|(place, _)| *place);
        match () {
            () if self.name() == word.text => Some(Place::WholeName),
            () if self.name().starts_with(&word.text) => Some(Place::NameStart),
            () if word.fits(&self.name) => Some(Place::Name),
            () => inside(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::query::Query;
    use super::super::row::tests::row;
    use super::*;

    fn score(text: &str) -> Option<Score> {
        let row = row("Foo-Bar", "Reads CSV files; (fast)", &["parser"], &["encoding"]);
        Texts::of(&row).score(&Query::new(text, None, 1, 1).expect("a search").words)
    }

    #[test]
    fn the_name_comes_first_and_every_word_has_to_fit() {
        let order = ["csv", "encoding", "parser", "o-b", "foo_", "FOO-BAR"];
        let scores: Vec<_> = order.iter().map(|text| score(text).expect(text)).collect();
        assert!(scores.is_sorted() && scores.windows(2).all(|pair| pair[0] != pair[1]), "{scores:?}");
        assert_eq!(score("csv absent"), None);
        assert!(score("csv fast") < score("csv parser") && score("csv parser") < score("foo csv"));
        assert!(score("fast").is_some() && score("files;").is_some() && score("ast").is_some());
    }
}
