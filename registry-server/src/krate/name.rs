//! The name of a crate: what may be one, which names are the same, and where its index file lies.
//!
//! Syntax is crates.io's (`src/models/krate.rs`, `validate_crate_name`): ASCII, a letter first, letters, digits, `-` and
//! `_`, at most 64. Cargo itself would take any Unicode letter (`cargo_util_schemas::restricted_names`).
//! Of the reserved names those are kept that break somebody's build or checkout anywhere: Windows device names, the
//! crates of the Rust distribution, and keywords (as `cargo new` does). What crates.io reserves for its own past
//! (`ast`, `macros`, `collections`...) is free here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::text::shown;

/// Longest name, in bytes, as on crates.io.
pub const NAME_BYTES_MAX: usize = 64;

/// The name of a crate as its author spells it.
///
/// The syntax is checked; whether a *new* crate may be called so is [`CrateName::check_reserved`], so that a crate that
/// exists stays readable when the list of reserved names grows.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CrateName(String);

impl CrateName {
    /// Reads a name.
    ///
    /// # Errors
    /// [`NameError`] says which rule the name breaks.
    pub fn parse(name: &str) -> Result<Self, NameError> {
        // What nearly all names are, at once; the rest finds the words for what is wrong.
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let bytes = name.as_bytes();
        if (1..=NAME_BYTES_MAX).contains(&bytes.len()) && bytes[0].is_ascii_alphabetic() && bytes.iter().all(plain) {
            return Ok(Self(name.to_owned()));
        }
        let Some(first) = name.chars().next() else { return Err(NameError::Empty) };
        if let Some(char) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_".contains(*c)) {
            return Err(NameError::Char { name: shown(name), char });
        }
        if !first.is_ascii_alphabetic() {
            return Err(NameError::Start { name: shown(name), char: first });
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong { name: shown(name), bytes: name.len() });
        }
        Ok(Self(name.to_owned()))
    }

    /// Whether a new crate may have this name.
    ///
    /// # Errors
    /// One of the `Reserved…` variants of [`NameError`].
    pub fn check_reserved(&self) -> Result<(), NameError> {
        let canonical = self.canonical();
        let name = || self.0.clone();
        if WINDOWS_DEVICES.contains(&canonical.as_str()) {
            Err(NameError::ReservedWindows { name: name() })
        } else if RUST_DISTRIBUTION.contains(&canonical.as_str()) {
            Err(NameError::ReservedRust { name: name() })
        } else if KEYWORDS.contains(&canonical.as_str()) {
            Err(NameError::ReservedKeyword { name: name() })
        } else {
            Ok(())
        }
    }

    /// The name as its author spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What this name and all that count as the same have in common.
    #[must_use]
    pub fn canonical(&self) -> Canonical {
        let fold = |byte: char| if byte == '-' { '_' } else { byte.to_ascii_lowercase() };
        Canonical(self.0.chars().map(fold).collect())
    }

    /// Whether a request for `asked` means this crate: case is ignored, `-` and `_` are told apart, as on crates.io.
    /// Cargo tries both spellings for its hints and needs a 404 for the wrong one.
    #[must_use]
    pub fn answers_to(&self, asked: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&asked.0)
    }

    /// Where the index file lies below the index URL: `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcdef`, in lower case
    /// (Cargo book, "Index files").
    #[must_use]
    pub fn index_path(&self) -> String {
        let name = self.0.to_ascii_lowercase();
        match name.len() {
            1 | 2 => format!("{}/{name}", name.len()),
            3 => format!("3/{}/{name}", &name[..1]),
            _ => format!("{}/{}/{name}", &name[..2], &name[2..4]),
        }
    }

    /// The crate whose index file is asked for by this path, without leading slash. `None` if no crate's file lies
    /// there: the name breaks the rules, is not in lower case, or stands under a wrong prefix.
    #[must_use]
    pub fn from_index_path(path: &str) -> Option<Self> {
        let (prefix, name) = path.rsplit_once('/')?;
        if !name.is_ascii() || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let in_its_place = match name.len() {
            1 => prefix == "1",
            2 => prefix == "2",
            3 => prefix.strip_prefix("3/") == Some(&name[..1]),
            4.. => prefix.split_once('/') == Some((&name[..2], &name[2..4])),
            _ => false,
        };
        if in_its_place { Self::parse(name).ok() } else { None }
    }
}

impl fmt::Display for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CrateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CrateName({})", self.0)
    }
}

impl FromStr for CrateName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::parse(name)
    }
}

impl<'de> Deserialize<'de> for CrateName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&name).map_err(serde::de::Error::custom)
    }
}

/// The key form of a name: lower case, `-` written as `_`. `foo-bar`, `foo_bar` and `Foo_Bar` share one, and there is
/// one crate per canonical name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Canonical(String);

impl Canonical {
    /// Reads a canonical name back, such as the last part of an object key. `None` if it is not in canonical form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let canonical = CrateName::parse(text).ok()?.canonical();
        (canonical.0 == text).then_some(canonical)
    }

    /// The canonical name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canonical({})", self.0)
    }
}

/// Why a text is not the name of a crate, or not of a new one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the crate name is empty: set `package.name` in Cargo.toml")]
    Empty,
    /// Longer than [`NAME_BYTES_MAX`].
    #[error("the crate name `{name}` has {bytes} characters: choose one with at most {NAME_BYTES_MAX}")]
    TooLong {
        /// The name as given, or its beginning.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// The first character is not an ASCII letter.
    #[error("the crate name `{name}` starts with {char:?}: it must start with an ASCII letter")]
    Start {
        /// The name as given, or its beginning.
        name: String,
        /// Its first character.
        char: char,
    },
    /// A character that no name has.
    #[error("the crate name `{name}` has the character {char:?}: only ASCII letters, digits, `-` and `_` are allowed")]
    Char {
        /// The name as given, or its beginning.
        name: String,
        /// The first offending character.
        char: char,
    },
    /// A file of that name cannot be made on Windows.
    #[error(
        "the crate name `{name}` is reserved: Windows keeps it for a device, and a checkout would fail there; \
             choose another name"
    )]
    ReservedWindows {
        /// The name as given.
        name: String,
    },
    /// A crate of the Rust distribution, which would be hidden by it or hide it.
    #[error("the crate name `{name}` is reserved: Rust ships a crate of that name; choose another name")]
    ReservedRust {
        /// The name as given.
        name: String,
    },
    /// A keyword, which no `use` can name.
    #[error("the crate name `{name}` is reserved: it is a Rust keyword and no `use` can name it; choose another name")]
    ReservedKeyword {
        /// The name as given.
        name: String,
    },
}

/// From cargo's `is_windows_reserved` (`src/cargo/util/restricted_names.rs`) and crates.io, which adds `com0`, `lpt0`.
const WINDOWS_DEVICES: &[&str] = &[
    "con", "prn", "aux", "nul", "com0", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt0",
    "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// The crates that `rustc` finds without a dependency, in canonical form; `cargo new` warns of them or refuses.
const RUST_DISTRIBUTION: &[&str] = &["alloc", "core", "proc_macro", "std", "test"];

/// From cargo's `is_keyword`, in canonical form (so `Self` is `self`), with `gen` of edition 2024.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

#[cfg(test)]
mod tests;
