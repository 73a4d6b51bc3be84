//! The SHA-256 of a `.crate` file, as an index line carries it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// SHA-256 of the `.crate` bytes. Written as 64 **lower-case** hexadecimal digits, since Cargo compares the string
/// (`src/cargo/sources/registry/download.rs`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cksum([u8; 32]);

impl Cksum {
    /// The checksum of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A checksum that was computed while the bytes streamed by.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The 32 bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Cksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Cksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cksum({self})")
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 checksum: it must be 64 lower-case hexadecimal digits")]
pub struct CksumError(String);

impl FromStr for Cksum {
    type Err = CksumError;

    fn from_str(text: &str) -> Result<Self, CksumError> {
        let refuse = || CksumError(text.chars().take(80).collect());
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| refuse())?;
        Ok(Self(digest))
    }
}

impl Serialize for Cksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_64_lower_case_digits() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Cksum::of(b"").to_string(), empty);
        assert_eq!(empty.parse::<Cksum>().unwrap(), Cksum::of(b""));
        for wrong in ["", "e3b0", &empty.to_uppercase(), &empty[1..], &format!("{empty}0"), &empty.replace('e', "g")] {
            let error = wrong.parse::<Cksum>().unwrap_err();
            assert!(error.to_string().contains("64 lower-case"), "{wrong}: {error}");
        }
    }
}
