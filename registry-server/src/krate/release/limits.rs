//! How long what a crate says about itself may be. All of it goes into the crate's record, which is read at every request for the
//! crate, and into the memory of every replica that searches. The limits are several times those of crates.io, so that nothing
//! that is published there is refused here.

use crate::krate::manifest::PackedManifest;
use crate::krate::text::shown;

/// Longest `package.description`, in bytes.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Longest URL, path of a licence or SPDX expression, in bytes.
const TEXT_BYTES_MAX: usize = 2048;
/// Longest `package.links`, in bytes.
const LINKS_BYTES_MAX: usize = 256;
/// Most keywords, and most categories.
const WORDS_MAX: usize = 32;
/// Longest keyword or category, in bytes.
const WORD_BYTES_MAX: usize = 128;

/// Looks at everything of a manifest that has a limit here.
pub(super) fn check(manifest: &PackedManifest) -> Result<(), LimitError> {
    let texts = [
        ("package.description", &manifest.description, DESCRIPTION_BYTES_MAX),
        ("package.license", &manifest.license, TEXT_BYTES_MAX),
        ("package.license-file", &manifest.license_file, TEXT_BYTES_MAX),
        ("package.homepage", &manifest.homepage, TEXT_BYTES_MAX),
        ("package.documentation", &manifest.documentation, TEXT_BYTES_MAX),
        ("package.repository", &manifest.repository, TEXT_BYTES_MAX),
        ("package.links", &manifest.links, LINKS_BYTES_MAX),
    ];
    for (field, text, limit) in texts {
        let bytes = text.as_ref().map_or(0, String::len);
        if bytes > limit {
            return Err(LimitError::Text { field, bytes, limit });
        }
    }
    for (field, words) in [("package.keywords", &manifest.keywords), ("package.categories", &manifest.categories)] {
        if words.len() > WORDS_MAX {
            return Err(LimitError::Words { field, count: words.len() });
        }
        if let Some(word) = words.iter().find(|word| word.len() > WORD_BYTES_MAX) {
            return Err(LimitError::Word { field, word: shown(word), bytes: word.len() });
        }
    }
    Ok(())
}

/// A field of the packed `Cargo.toml` is above its limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A text.
    #[error("in the packed Cargo.toml, `{field}` has {bytes} bytes: at most {limit} are allowed; shorten it")]
    Text {
        /// Which field.
        field: &'static str,
        /// How long it is.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The number of keywords or categories.
    #[error("in the packed Cargo.toml, `{field}` has {count} entries: at most {WORDS_MAX} are allowed; leave some out")]
    Words {
        /// Which field.
        field: &'static str,
        /// How many there are.
        count: usize,
    },
    /// One keyword or category.
    #[error(
        "in the packed Cargo.toml, `{word}` in `{field}` has {bytes} bytes: at most {WORD_BYTES_MAX} are allowed; shorten it"
    )]
    Word {
        /// Which field.
        field: &'static str,
        /// Its beginning.
        word: String,
        /// How long it is.
        bytes: usize,
    },
}
