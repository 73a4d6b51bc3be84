//! The part of a bucket that belongs to one registry.

use std::fmt;

/// The longest configured prefix, in bytes: with the longest key it stays far below S3's 1024.
const PREFIX_BYTES_MAX: usize = 400;

/// The configured key prefix: empty, or segments each followed by a slash (`teams/payments/`). Several registries can share a
/// bucket below different prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KeyPrefix(String);

/// Why a text is not a prefix, in the words of whoever configured it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the storage prefix `{prefix}` {problem}")]
pub struct KeyPrefixError {
    prefix: String,
    problem: &'static str,
}

impl KeyPrefix {
    /// Parses `teams/payments` or `teams/payments/`; the empty text is the whole bucket.
    ///
    /// # Errors
    /// A leading or double slash, a segment that begins with a dot (it would be hidden, or climb, on a file system), characters beyond
    /// `[A-Za-z0-9._-]` (the ones that no S3 server or proxy rewrites), more than 400 bytes.
    pub fn parse(text: &str) -> Result<Self, KeyPrefixError> {
        let refuse = |problem| Err(KeyPrefixError { prefix: text.to_owned(), problem });
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.len() > PREFIX_BYTES_MAX {
            return refuse("is longer than 400 characters");
        }
        for segment in text.strip_suffix('/').unwrap_or(text).split('/') {
            if segment.is_empty() {
                return refuse("begins with a slash or has two in a row");
            }
            if segment.starts_with('.') {
                return refuse("has a part that begins with a dot");
            }
            if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) {
                return refuse("has a character other than letters, digits, `.`, `_`, `-` and `/`");
            }
        }
        let slash = if text.ends_with('/') { "" } else { "/" };
        Ok(Self(format!("{text}{slash}")))
    }

    /// The prefix, empty or with its final slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_parsed_once() {
        for (text, expected) in [
            ("", Some("")),
            ("a", Some("a/")),
            ("a/", Some("a/")),
            ("teams/pay-ments_2.0", Some("teams/pay-ments_2.0/")),
            ("/a", None),
            ("/", None),
            ("a//b", None),
            ("a//", None),
            ("../b", None),
            ("a/.hidden", None),
            ("a b", None),
            ("a+b", None),
            ("ä", None),
        ] {
            let parsed = KeyPrefix::parse(text);
            assert_eq!(parsed.as_ref().ok().map(KeyPrefix::as_str), expected, "{text:?}: {parsed:?}");
        }
        assert!(KeyPrefix::parse(&"x".repeat(401)).is_err());
    }
}
