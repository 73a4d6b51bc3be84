//! What a token may do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One right. The words are the same in a CargoToken, in the admin API, in the bucket and on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Verb {
    /// See a crate: index, search, download, owners.
    Read,
    /// Publish a crate that does not exist yet, and own it.
    PublishNew,
    /// Publish further versions of a crate.
    PublishUpdate,
    /// Yank and unyank.
    Yank,
    /// Change the owners.
    Owners,
    /// Act on crates of others. Gives no other verb: it stands in for being an owner.
    Admin,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 6] =
        [Self::Read, Self::PublishNew, Self::PublishUpdate, Self::Yank, Self::Owners, Self::Admin];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::PublishNew => "PublishNew",
            Self::PublishUpdate => "PublishUpdate",
            Self::Yank => "Yank",
            Self::Owners => "Owners",
            Self::Admin => "Admin",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = VerbError;

    fn from_str(text: &str) -> Result<Self, VerbError> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.as_str() == text)
            .ok_or_else(|| VerbError(text.chars().take(40).collect()))
    }
}

/// No such verb.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a verb: use Read, PublishNew, PublishUpdate, Yank, Owners or Admin")]
pub struct VerbError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_everywhere() {
        for verb in Verb::ALL {
            assert_eq!(verb.as_str().parse::<Verb>().unwrap(), verb);
            assert_eq!(serde_json::to_string(&verb).unwrap(), format!("\"{verb}\""));
            assert!(VerbError(String::new()).to_string().contains(verb.as_str()));
        }
        assert!("read".parse::<Verb>().unwrap_err().to_string().contains("`read` is not a verb"));
    }
}
