//! The token itself: `scg_`, 43 characters drawn evenly from base 62, and six that check the rest.
//!
//! The registry has the same form on its side (`supercargo-registry`, `access/token.rs`); the two programs share no code, and a test of
//! the workspace holds them together. Pure: randomness is an argument.

use k8s_openapi::ByteString;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

const PREFIX: &str = "scg_";
const RANDOM_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const CHARS: usize = PREFIX.len() + RANDOM_CHARS + CHECK_CHARS;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A token in the clear. `Debug` hides it; there is no `Display`.
#[derive(Clone)]
pub struct Token(SecretString);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

impl Token {
    /// Makes a token of random bytes: 256 bits of it.
    pub fn mint(fill_random: impl Fn(&mut [u8])) -> Token {
        // 248 is the largest multiple of 62 in a byte: a larger value would favour the first digits, and is drawn again.
        const EVEN: u8 = 248;
        let mut text = String::with_capacity(CHARS);
        text.push_str(PREFIX);
        let mut drawn = [0; 64];
        while text.len() < PREFIX.len() + RANDOM_CHARS {
            fill_random(&mut drawn);
            let room = PREFIX.len() + RANDOM_CHARS - text.len();
            let digits = drawn.iter().filter(|byte| **byte < EVEN).take(room);
            text.extend(digits.map(|byte| char::from(BASE62[usize::from(byte % 62)])));
        }
        text.push_str(&check_digits(&text));
        Token(SecretString::from(text))
    }

    /// Reads a token out of a Secret. `None` if it does not have the form of one, so that it cannot be ours.
    pub fn from_secret(value: &ByteString) -> Option<Token> {
        let text = std::str::from_utf8(&value.0).ok()?;
        let well_formed = text.len() == CHARS
            && text.strip_prefix(PREFIX).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric()))
            && text[CHARS - CHECK_CHARS..] == check_digits(&text[..CHARS - CHECK_CHARS]);
        well_formed.then(|| Token(SecretString::from(text.to_owned())))
    }

    /// Hex SHA-256: the name that the registry knows it by.
    pub fn sha256(&self) -> String {
        hex::encode(Sha256::digest(self.expose().as_bytes()))
    }

    /// The token in the clear, for the Secret and for nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

fn check_digits(body: &str) -> String {
    let mut left = crc32fast::hash(body.as_bytes());
    let mut digits = [b'0'; CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(left % 62) as usize];
        left /= 62;
    }
    digits.map(char::from).iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_the_registry_takes() {
        let token = Token::mint(|bytes| bytes.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8));
        // `access/token.rs` of the registry parses exactly this; 0xF8 and above would have been skipped.
        assert_eq!(token.expose().len(), 53);
        assert!(token.expose().starts_with("scg_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"), "{}", token.expose());
        let same = Token::from_secret(&ByteString(token.expose().as_bytes().to_vec())).expect("well formed");
        assert_eq!(same.sha256(), token.sha256());
    }

    #[test]
    fn bytes_that_would_favour_a_digit_are_drawn_again() {
        use std::cell::Cell;
        let calls = Cell::new(0);
        let token = Token::mint(|bytes| {
            bytes.fill(if calls.get() == 0 { 255 } else { 61 });
            calls.set(calls.get() + 1);
        });
        assert_eq!((calls.get(), &token.expose()[4..47]), (2, "z".repeat(43).as_str()));
    }

    #[test]
    fn what_was_altered_is_not_ours() {
        let token = Token::mint(|bytes| bytes.fill(7));
        let good = token.expose().to_owned();
        for bad in [good.replace('7', "8"), good[..52].to_owned(), format!("{good}\n"), "hunter2".into(), String::new()]
        {
            assert!(Token::from_secret(&ByteString(bad.clone().into_bytes())).is_none(), "{bad:?}");
        }
        assert_eq!(format!("{token:?}"), "Token(***)");
    }
}
