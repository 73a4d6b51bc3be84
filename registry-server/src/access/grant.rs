//! Verbs on crates.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::Verb;
use crate::krate::Canonical;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 128;

/// Verbs on the crates that any of the patterns matches. A pattern holds for every verb beside it, `Read` included.
///
/// Unknown fields are refused: one that a later version adds could narrow the grant, and must not be overlooked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What may be done.
    pub verbs: BTreeSet<Verb>,
    /// On which crates; left out means all.
    #[serde(default = "all_crates")]
    pub crates: Vec<CratePattern>,
}

fn all_crates() -> Vec<CratePattern> {
    vec![CratePattern::all()]
}

impl Grant {
    /// These verbs on all crates.
    #[must_use]
    pub fn on_all(verbs: impl IntoIterator<Item = Verb>) -> Self {
        Self { verbs: verbs.into_iter().collect(), crates: all_crates() }
    }

    /// Whether it gives this verb on this crate.
    #[must_use]
    pub fn allows(&self, verb: Verb, krate: &Canonical) -> bool {
        self.patterns(verb).iter().any(|pattern| pattern.matches(krate))
    }

    /// The crates on which it gives this verb.
    pub(super) fn patterns(&self, verb: Verb) -> &[CratePattern] {
        if self.verbs.contains(&verb) { &self.crates } else { &[] }
    }
}

/// A pattern on canonical crate names, with `*` for any characters, also none. `payments-*` matches `Payments_Core`.
#[derive(Clone, PartialEq, Eq)]
pub struct CratePattern {
    /// As the user wrote it.
    text: String,
    /// Lower case, `-` as `_`.
    canonical: String,
}

impl CratePattern {
    /// The pattern `*`.
    #[must_use]
    pub fn all() -> Self {
        Self { text: "*".to_owned(), canonical: "*".to_owned() }
    }

    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        if let Some(char) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_*".contains(*c)) {
            return Err(PatternError::Char { pattern: text.to_owned(), char });
        }
        if !text.starts_with(|first: char| first == '*' || first.is_ascii_alphabetic()) {
            return Err(PatternError::Start { pattern: text.to_owned() });
        }
        Ok(Self { text: text.to_owned(), canonical: text.to_ascii_lowercase().replace('-', "_") })
    }

    /// As the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches every name.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.canonical.bytes().all(|byte| byte == b'*')
    }

    /// Whether it matches. At most (length of pattern × length of name) steps.
    #[must_use]
    pub fn matches(&self, krate: &Canonical) -> bool {
        self.matches_canonical(krate.as_str())
    }

    /// The same for a canonical name that is known to be one.
    pub(super) fn matches_canonical(&self, name: &str) -> bool {
        let (pattern, name) = (self.canonical.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // Where to go on when the last `*` must take one character more: the place after it, and in the name.
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                p += 1;
                retry = Some((p, n));
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((after_star, taken)) = retry {
                p = after_star;
                n = taken + 1;
                retry = Some((after_star, n));
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Debug for CratePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CratePattern({})", self.text)
    }
}

impl fmt::Display for CratePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for CratePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl Serialize for CratePattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for CratePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing was given.
    #[error("a crate pattern is empty: write a crate name, or `*` for all crates")]
    Empty,
    /// Longer than [`PATTERN_BYTES_MAX`].
    #[error("a crate pattern is {bytes} characters long: at most {PATTERN_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A character that neither a crate name nor a pattern has.
    #[error(
        "the crate pattern `{pattern}` has the character {char:?}: only letters, digits, `-`, `_` and the wildcard \
             `*` are allowed"
    )]
    Char {
        /// The pattern as given.
        pattern: String,
        /// The first offending character.
        char: char,
    },
    /// No crate name starts so.
    #[error("the crate pattern `{pattern}` can match no crate: names start with a letter")]
    Start {
        /// The pattern as given.
        pattern: String,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::krate::CrateName;

    fn canonical(name: &str) -> Canonical {
        CrateName::parse(name).unwrap().canonical()
    }

    fn matches(pattern: &str, name: &str) -> bool {
        CratePattern::parse(pattern).unwrap().matches(&canonical(name))
    }

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("*", "a"),
            ("payments-*", "payments_x"),
            ("payments-*", "Payments-Core"),
            ("payments_*", "payments-"),
            ("*-sys", "z-sys"),
            ("a*b*c", "aXbYbZc"),
            ("foo-bar", "Foo_Bar"),
            ("**", "a"),
        ] {
            assert!(matches(pattern, name), "{pattern} must match {name}");
        }
        for (pattern, name) in
            [("payments-*", "payments"), ("a", "ab"), ("ab", "a"), ("a*b*c", "abcb"), ("*-sys", "sys"), ("a*a", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} must not match {name}");
        }
    }

    #[test]
    fn refusals() {
        let long = "a".repeat(PATTERN_BYTES_MAX + 1);
        for (pattern, part) in
            [("", "empty"), ("a?", "'?'"), ("a b", "' '"), ("1*", "start with"), ("-*", "start with"), (&long, "129")]
        {
            let error = CratePattern::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(part), "{pattern}: {error}");
        }
    }

    #[test]
    fn json() {
        let grant: Grant = serde_json::from_str(r#"{"verbs":["Yank","Read"],"crates":["A-*"]}"#).unwrap();
        assert!(grant.allows(Verb::Yank, &canonical("a_b")) && !grant.allows(Verb::Admin, &canonical("a_b")));
        assert_eq!(serde_json::to_string(&grant).unwrap(), r#"{"verbs":["Read","Yank"],"crates":["A-*"]}"#);
        let everywhere: Grant = serde_json::from_str(r#"{"verbs":["Read"]}"#).unwrap();
        assert_eq!(everywhere, Grant::on_all([Verb::Read]));
        let nowhere: Grant = serde_json::from_str(r#"{"verbs":["Read"],"crates":[]}"#).unwrap();
        assert!(!nowhere.allows(Verb::Read, &canonical("a")));
        for bad in [r#"{"verbs":["Write"]}"#, r#"{"verbs":[],"crate":["a"]}"#, r#"{"verbs":[],"crates":["a/b"]}"#] {
            assert!(serde_json::from_str::<Grant>(bad).is_err(), "{bad}");
        }
    }

    /// The plain definition of a match, exponential and obviously right.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => {
                by_definition(rest, name) || (!name.is_empty() && by_definition(pattern, &name[1..]))
            }
            ([p, rest @ ..], [n, others @ ..]) => p == n && by_definition(rest, others),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(pattern in "[ab*][ab*_]{0,7}", name in "[ab][ab_]{0,9}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn spelling_does_not_matter(name in "[a-cA-C][a-cA-C_-]{0,9}") {
            prop_assert!(matches(&name, &name));
            prop_assert!(matches(&name.to_uppercase().replace('_', "-"), &name));
            let tail = format!("*{}*", &name[1..]);
            prop_assert!(matches(&tail, &name));
        }
    }
}
