//! The version of a crate: semantic versioning, with Cargo's reading of build metadata.

use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest version, in bytes. Keeps `{name}-{version}.crate` below the 255 bytes that file systems allow.
pub const VERSION_BYTES_MAX: usize = 128;

/// A semantic version, ordered by precedence, then by build metadata (as `semver` does).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Version(semver::Version);

impl Version {
    /// Reads a version, such as `1.2.3-rc.1+build5`.
    ///
    /// # Errors
    /// [`VersionError`] with what is wrong and how a version looks.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > VERSION_BYTES_MAX {
            return Err(VersionError::TooLong { bytes: text.len() });
        }
        let version = semver::Version::parse(text)
            .map_err(|error| VersionError::Semver { version: text.to_owned(), why: error.to_string() })?;
        Ok(Self(version))
    }

    /// The order by precedence. Versions that differ in their build metadata only are equal in it: an index holds at most one of them
    /// (Cargo book, "Registry index").
    #[must_use]
    pub fn cmp_without_build(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }

    /// Whether the two differ at most in their build metadata, which makes them the same version to Cargo.
    #[must_use]
    pub fn is_twin_of(&self, other: &Self) -> bool {
        self.cmp_without_build(other).is_eq()
    }

    /// Whether it is a pre-release, such as `1.0.0-rc.1`.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// The version as the `semver` crate has it.
    #[must_use]
    pub const fn as_semver(&self) -> &semver::Version {
        &self.0
    }
}

/// The version to show for a crate: the newest that is neither yanked nor a pre-release; if there is none, the newest
/// pre-release that is not yanked; if all are yanked, the newest. The flag says "yanked". `None` without versions.
pub fn max_version<'a>(versions: impl IntoIterator<Item = (&'a Version, bool)>) -> Option<&'a Version> {
    versions
        .into_iter()
        .max_by_key(|(version, yanked)| (Reverse(*yanked), Reverse(version.is_prerelease()), *version))
        .map(|(version, _)| version)
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({})", self.0)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Longer than [`VERSION_BYTES_MAX`].
    #[error("the version is {bytes} characters long: at most {VERSION_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not a semantic version.
    #[error("`{version}` is not a semantic version ({why}): write it like `1.2.3`, see https://semver.org")]
    Semver {
        /// The text as given.
        version: String,
        /// What the parser says.
        why: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        for bad in ["", "1", "1.2", "v1.2.3", "1.2.3 ", "01.2.3", "1.2.3-", "1.2.3-01", "99999999999999999999.0.0"] {
            let error = Version::parse(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")) && error.contains("1.2.3"), "{error}");
        }
        let long = format!("1.0.0-{}", "a".repeat(VERSION_BYTES_MAX));
        assert!(Version::parse(&long).unwrap_err().to_string().contains("134 characters"));
        assert_eq!(v("1.2.3-rc.1+b5").to_string(), "1.2.3-rc.1+b5");
    }

    #[test]
    fn twins_differ_in_build_metadata_only() {
        assert!(v("1.0.7").is_twin_of(&v("1.0.7+extra")));
        assert!(v("1.0.7+a").is_twin_of(&v("1.0.7+b")));
        assert!(!v("1.0.7").is_twin_of(&v("1.0.7-rc.1")));
        assert!(!v("1.0.7-rc.1+x").is_twin_of(&v("1.0.7-rc.2+x")));
        assert!(v("1.0.7-rc.1+x").is_twin_of(&v("1.0.7-rc.1")));
    }

    #[test]
    fn the_version_to_show() {
        let max = |list: &[(&str, bool)]| {
            let list: Vec<_> = list.iter().map(|(text, yanked)| (v(text), *yanked)).collect();
            max_version(list.iter().map(|(version, yanked)| (version, *yanked))).map(ToString::to_string)
        };
        assert_eq!(max(&[]), None);
        assert_eq!(max(&[("0.9.0", false), ("0.10.0", false), ("0.2.0", false)]).unwrap(), "0.10.0");
        assert_eq!(max(&[("1.0.0", false), ("2.0.0-rc.1", false)]).unwrap(), "1.0.0");
        assert_eq!(max(&[("1.0.0", true), ("2.0.0-rc.1", false)]).unwrap(), "2.0.0-rc.1");
        assert_eq!(max(&[("1.0.0", false), ("2.0.0", true)]).unwrap(), "1.0.0");
        assert_eq!(max(&[("1.0.0", true), ("2.0.0-rc.1", true)]).unwrap(), "1.0.0");
    }
}
