//! What is asked for: words, an order, a page.

use memchr::memmem::Finder;

/// Longest text of a search, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most words of a search.
pub const WORDS_MAX: usize = 16;
/// Most hits on a page, as on crates.io.
pub const PER_PAGE_MAX: usize = 100;
/// A word of fewer bytes fits only where a word begins, or after a `-` or `_`: in the middle it would fit everywhere.
const ANYWHERE_BYTES_MIN: usize = 3;

/// The order of the hits. Those that are alike stand in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The best first: name, then keywords, categories, description; of equals the one with more downloads. Without words: by name.
    #[default]
    Relevance,
    /// By name.
    Alphabetic,
    /// The one with most downloads first.
    Downloads,
    /// The one that changed last first.
    RecentUpdates,
}

impl Sort {
    /// All orders, by the words of crates.io.
    pub const ALL: [(&'static str, Self); 4] = [
        ("relevance", Self::Relevance),
        ("alpha", Self::Alphabetic),
        ("downloads", Self::Downloads),
        ("recent-updates", Self::RecentUpdates),
    ];
}

/// A search.
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) words: Vec<Word>,
    /// The order of the hits.
    pub sort: Sort,
    /// How many hits are left out.
    pub skip: usize,
    /// How many are shown after those.
    pub take: usize,
}

/// A word that has to fit.
#[derive(Debug, Clone)]
pub(super) struct Word {
    pub(super) text: String,
    /// What is looked for in lines: the word, or for a short one the ways in which it may begin.
    finders: Vec<Finder<'static>>,
}

/// Why that is no search, in a user's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("the search is {bytes} bytes long: at most {TEXT_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More than [`WORDS_MAX`].
    #[error("the search has {words} words: at most {WORDS_MAX} are allowed")]
    TooManyWords {
        /// How many.
        words: usize,
    },
    /// No such order.
    #[error("there is no order `{0}`: `sort` is one of relevance, alpha, downloads, recent-updates")]
    Sort(String),
    /// Pages count from 1.
    #[error("there is no page 0: `page` counts from 1")]
    Page,
    /// No hits per page, or too many.
    #[error("`per_page` is {0}: it has to be from 1 to {PER_PAGE_MAX}")]
    PerPage(usize),
}

impl Query {
    /// A search for all words of `text`, on page `page` (from 1) of `per_page` hits each.
    ///
    /// # Errors
    /// [`QueryError`] says which limit it breaks.
    pub fn new(text: &str, sort: Option<&str>, page: usize, per_page: usize) -> Result<Self, QueryError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(QueryError::TooLong { bytes: text.len() });
        }
        let words: Vec<_> = words(text).map(Word::new).collect();
        if words.len() > WORDS_MAX {
            return Err(QueryError::TooManyWords { words: words.len() });
        }
        let sort = sort.map_or(Ok(Sort::default()), |name| {
            let known = Sort::ALL.iter().find(|(known, _)| *known == name);
            known.map(|(_, sort)| *sort).ok_or_else(|| QueryError::Sort(name.chars().take(32).collect()))
        })?;
        if !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(QueryError::PerPage(per_page));
        }
        let before = page.checked_sub(1).ok_or(QueryError::Page)?;
        Ok(Self { words, sort, skip: before.saturating_mul(per_page), take: per_page })
    }
}

impl Word {
    fn new(text: String) -> Self {
        let needles = if text.len() < ANYWHERE_BYTES_MIN {
            vec![format!("\n{text}"), format!("_{text}")]
        } else {
            vec![text.clone()]
        };
        let finders = needles.iter().map(|needle| Finder::new(needle).into_owned()).collect();
        Self { text, finders }
    }

    /// What is looked for, each in the whole of the lines.
    pub(super) fn finders(&self) -> &[Finder<'static>] {
        &self.finders
    }

    /// Whether it fits anywhere in lines, each of which begins with a line feed.
    pub(super) fn fits(&self, lines: &str) -> bool {
        self.finders.iter().any(|finder| finder.find(lines.as_bytes()).is_some())
    }
}

/// The words of a text, in the form in which they are compared: lower case, `-` as `_` (in names the two are one), without the punctuation
/// of a sentence around them.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(|word| {
        let bare = word.trim_matches(|c: char| ".,;:!?()[]{}<>\"'`".contains(c));
        let word = if bare.is_empty() { word } else { bare };
        word.to_lowercase().replace('-', "_")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_in_one_form() {
        let words: Vec<_> = words("  Foo-Bar, (C++)\n`no_std`. ... É").collect();
        assert_eq!(words, ["foo_bar", "c++", "no_std", "...", "é"]);
    }

    #[test]
    fn a_short_word_fits_where_a_word_begins() {
        let fits = |word: &str, lines: &str| Word::new(word.to_owned()).fits(lines);
        assert!(fits("io", "\na\ntokio_io") && fits("io", "\nio") && !fits("io", "\ntokio"));
        assert!(fits("oki", "\ntokio"));
    }

    #[test]
    fn limits_are_named() {
        let error = |text: &str, sort: Option<&str>, page: usize, per_page: usize| {
            Query::new(text, sort, page, per_page).expect_err(text).to_string()
        };
        assert!(error(&"x".repeat(257), None, 1, 10).contains("257 bytes long: at most 256"));
        assert!(error(&"x ".repeat(17), None, 1, 10).contains("17 words: at most 16"));
        assert!(error("", Some("stars"), 1, 10).contains("`stars`"));
        assert!(error("", None, 0, 10).contains("page 0"));
        assert!(error("", None, 1, 101).contains("101"));
        let query = Query::new("a b", Some("alpha"), 3, 20).expect("a search");
        assert_eq!((query.words.len(), query.sort, query.skip, query.take), (2, Sort::Alphabetic, 40, 20));
    }
}
