//! The token: its form, how it is made, and the hash under which the bucket knows it.
//!
//! `scg_`, 43 characters drawn evenly from `0-9A-Za-z` (256 bits), then six characters: the CRC-32 (IEEE) of all that
//! stands before, in base 62, most significant digit first, padded with `0`. So rubbish and typing errors are refused
//! without a look into the store, and secret scanners find tokens by their form. Since the random part is long, a plain
//! SHA-256 is the right hash, as on crates.io.

use std::fmt;
use std::str::FromStr;

use rand::{CryptoRng, RngExt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// What every token starts with.
pub const TOKEN_PREFIX: &str = "scg_";
const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
/// Length of a token, in characters.
pub const TOKEN_CHARS: usize = TOKEN_PREFIX.len() + RANDOM_CHARS + CHECK_CHARS;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in the clear. Its memory is wiped when it is dropped; it has no `Display` and a `Debug` that hides it.
#[derive(Clone)]
pub struct TokenSecret(SecretString);

impl TokenSecret {
    /// Makes a new token.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut token = String::with_capacity(TOKEN_CHARS);
        token.push_str(TOKEN_PREFIX);
        token.extend((0..RANDOM_CHARS).map(|_| char::from(BASE62[rng.random_range(0..BASE62.len())])));
        let check = check_digits(&token);
        token.extend(check.map(char::from));
        let secret = Self(SecretString::from(token));
        debug_assert!(Self::parse(secret.expose()).is_ok(), "what is generated parses");
        secret
    }

    /// Reads a token as a client sends it: with or without the scheme `Bearer`, surrounding blanks ignored.
    ///
    /// # Errors
    /// It does not have the form of a token. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        Ok(Self(SecretString::from(checked(text)?.to_owned())))
    }

    /// The name under which the bucket knows this token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose())
    }

    /// The token in the clear: for the one answer that hands it out, and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(***)")
    }
}

/// The token in what a client sends, if it has the form of one.
fn checked(text: &str) -> Result<&str, TokenError> {
    let text = text.trim();
    let token = match text.split_once([' ', '\t']) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => text,
    };
    let random = token.strip_prefix(TOKEN_PREFIX).ok_or(TokenError::Prefix)?;
    if token.len() != TOKEN_CHARS {
        return Err(TokenError::Length { chars: token.chars().count() });
    }
    if !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(TokenError::Char);
    }
    let (body, check) = token.split_at(TOKEN_CHARS - CHECK_CHARS);
    if check.as_bytes() != check_digits(body) {
        return Err(TokenError::Check);
    }
    Ok(token)
}

fn check_digits(body: &str) -> [u8; CHECK_CHARS] {
    let mut left = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(left % 62) as usize];
        left /= 62;
    }
    debug_assert_eq!(left, 0, "62^6 is above 2^32");
    digits
}

/// Why a text is not a token. Says nothing of its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It starts otherwise.
    #[error("the token does not start with `{TOKEN_PREFIX}`: it is not a token of this registry")]
    Prefix,
    /// It is shorter or longer.
    #[error("the token has {chars} characters instead of {TOKEN_CHARS}: it was cut or something was added")]
    Length {
        /// Its length.
        chars: usize,
    },
    /// A character that no token has.
    #[error("the token has a character that no token has: only letters and digits follow `{TOKEN_PREFIX}`")]
    Char,
    /// The check digits are not those of the rest.
    #[error("the check digits of the token are wrong: it was mistyped or damaged")]
    Check,
}

/// SHA-256 of a whole token; its name in the bucket and in the admin API.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// The hash of the token in what a client sends, read as [`TokenSecret::parse`] does, without a copy of it.
    ///
    /// # Errors
    /// It does not have the form of a token. The error does not repeat it.
    pub fn of_token(text: &str) -> Result<Self, TokenError> {
        checked(text).map(Self::of)
    }

    /// A digest that is known to be one of a token.
    #[must_use]
    pub const fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The bytes of the digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({self})")
    }
}

impl FromStr for TokenHash {
    type Err = TokenHashError;

    fn from_str(text: &str) -> Result<Self, TokenHashError> {
        let mut digest = [0; 32];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) || hex::decode_to_slice(text, &mut digest).is_err() {
            return Err(TokenHashError);
        }
        Ok(Self(digest))
    }
}

impl Serialize for TokenHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not the hash of a token. It may be a token, so the error does not repeat it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the hash of a token: it must be 64 lower-case hexadecimal digits, the SHA-256 of the whole token")]
pub struct TokenHashError;

#[cfg(test)]
mod tests;
