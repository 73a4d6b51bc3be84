//! Who owns a crate: the login that `cargo owner` shows and takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

/// Longest login, in bytes.
pub const OWNER_BYTES_MAX: usize = 128;

/// A login: the user a token stands for, and what `cargo owner --list` prints.
///
/// Letters, digits and `. _ - @ + : /` (so that mail addresses and `group:name` forms fit), first a letter or digit, at
/// most [`OWNER_BYTES_MAX`] bytes. Compared exactly: `Ann` and `ann` are two logins.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Owner(String);

impl Owner {
    /// Reads a login.
    ///
    /// # Errors
    /// [`OwnerError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, OwnerError> {
        let Some(first) = text.chars().next() else { return Err(OwnerError::Empty) };
        if text.len() > OWNER_BYTES_MAX {
            return Err(OwnerError::TooLong { bytes: text.len() });
        }
        if let Some(char) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"._-@+:/".contains(*c)) {
            return Err(OwnerError::Char { login: text.to_owned(), char });
        }
        if !first.is_ascii_alphanumeric() {
            return Err(OwnerError::Start { login: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The login as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The numeric id that Cargo demands in an owners list (`crates/crates-io/lib.rs`, `User::id`). The first four bytes
    /// of the login's SHA-256, so it is the same on every replica and for ever; Cargo shows it nowhere.
    #[must_use]
    pub fn id(&self) -> u32 {
        let digest: [u8; 32] = Sha256::digest(self.0.as_bytes()).into();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.0)
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a login.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OwnerError {
    /// Nothing was given.
    #[error("the login is empty: give a user name")]
    Empty,
    /// Longer than [`OWNER_BYTES_MAX`].
    #[error("the login is {bytes} bytes long: at most {OWNER_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that no login has.
    #[error("the login `{login}` has the character {char:?}: letters, digits and `. _ - @ + : /` are allowed")]
    Char {
        /// The login as given.
        login: String,
        /// The first offending character.
        char: char,
    },
    /// The first character is punctuation.
    #[error("the login `{login}` must start with a letter or a digit")]
    Start {
        /// The login as given.
        login: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins() {
        for good in ["ci", "ann.b", "x@y.z", "github:org:team", "system/ns/name", "0"] {
            assert_eq!(Owner::parse(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(OWNER_BYTES_MAX + 1);
        for (bad, part) in
            [("", "empty"), ("-a", "start with"), ("a b", "' '"), ("é", "'é'"), ("a\n", "\\n"), (&long, "129 bytes")]
        {
            let error = Owner::parse(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{bad:?}: {error}");
        }
        assert_eq!(Owner::parse(&long[1..]).unwrap().as_str().len(), OWNER_BYTES_MAX);
    }

    #[test]
    fn ids_never_change() {
        assert_eq!(Owner::parse("ci").unwrap().id(), 0x1b15_8839);
    }
}
