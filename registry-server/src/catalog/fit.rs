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

    /// As a number that grows with it.
    pub(super) fn number(self) -> u64 {
        u64::from(self.0)
    }

    pub(super) fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// The texts of a row in the form in which they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Texts {
    pub(super) name: String,
    /// The words of keywords, categories and description, each with its place.
    pub(super) words: Vec<(Place, String)>,
}

impl Texts {
    pub(super) fn of(row: &Row) -> Self {
        let lists = [(Place::Keyword, &row.keywords), (Place::Category, &row.categories)];
        let listed = lists.into_iter().flat_map(|(place, texts)| texts.iter().map(move |text| (place, text.as_str())));
        let all = listed.chain(row.description.iter().map(|text| (Place::Description, text.as_str())));
        let words = all.flat_map(|(place, text)| words(text).map(move |word| (place, word))).collect();
        Self { name: row.canonical().as_str().to_owned(), words }
    }

    /// How well they fit; `None` if a word fits nowhere.
    pub(super) fn score(&self, words: &[Word]) -> Option<Score> {
        words.iter().try_fold(Score::default(), |score, word| Some(score.and(self.place(word)? as u8)))
    }

    fn place(&self, word: &Word) -> Option<Place> {
        let inside = || self.words.iter().filter(|(_, text)| word.fits(text.as_bytes())).map(|(place, _)| *place).max();
        match () {
            () if self.name == word.text => Some(Place::WholeName),
            () if self.name.starts_with(&word.text) => Some(Place::NameStart),
            () if word.fits(self.name.as_bytes()) => Some(Place::Name),
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
