//! Segments of a path. Cargo fills in names and versions as they are, so the `+` of build metadata arrives raw; a proxy in between
//! may have written it as `%2B`.

use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::krate::{CrateName, Version};
use crate::registry::RegistryError;

/// One segment, percent-decoded once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment(String);

impl FromStr for Segment {
    type Err = std::str::Utf8Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(percent_decode_str(text).decode_utf8()?.into_owned()))
    }
}

impl Segment {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The segment as the name of a crate. What breaks the rules cannot exist.
    pub(super) fn name(&self) -> Result<CrateName, RegistryError> {
        CrateName::parse(&self.0).map_err(|error| RegistryError::NotFound(error.to_string()))
    }

    /// The segment as a version. What is none cannot exist.
    pub(super) fn version(&self) -> Result<Version, RegistryError> {
        Version::parse(&self.0).map_err(|error| RegistryError::NotFound(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plus_is_a_plus_however_it_arrives() {
        for text in ["1.0.0+b.1", "1.0.0%2Bb.1", "1.0.0%2bb.1"] {
            let version = text.parse::<Segment>().expect("valid").version().expect("a version");
            assert_eq!(version.to_string(), "1.0.0+b.1", "{text}");
        }
        assert!("%FF".parse::<Segment>().is_err());
        let climbing: Segment = "..%2F..".parse().expect("UTF-8");
        assert!(climbing.name().is_err());
    }
}
