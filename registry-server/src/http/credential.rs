//! Credentials of the internal listener: what a mounted file holds, against what a request carries.

use std::path::{Path, PathBuf};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

/// A shorter credential could be guessed.
const CREDENTIAL_BYTES_MIN: usize = 16;
/// Larger files are something else.
const CREDENTIAL_BYTES_MAX: u64 = 4096;

/// A credential in a file that may change.
#[derive(Debug, Clone)]
pub struct FileCredential {
    file: PathBuf,
}

impl FileCredential {
    /// Checks that the file holds a credential now.
    ///
    /// # Errors
    /// The path and what is wrong.
    pub fn load(file: &Path) -> Result<Self, (PathBuf, String)> {
        let this = Self { file: file.to_owned() };
        match this.read() {
            Ok(_) => Ok(this),
            Err(reason) => Err((this.file, reason)),
        }
    }

    /// Reads the file, every time: requests are rare, and a rotated Secret holds at once.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(&self) -> Result<SecretString, String> {
        let len = std::fs::metadata(&self.file).map_err(|error| error.to_string())?.len();
        if len > CREDENTIAL_BYTES_MAX {
            return Err(format!("the file has {len} bytes, which cannot be a credential"));
        }
        let text = std::fs::read_to_string(&self.file).map_err(|error| error.to_string())?;
        let text = text.trim();
        if text.len() < CREDENTIAL_BYTES_MIN {
            return Err(format!(
                "the credential has {} characters; it needs at least {CREDENTIAL_BYTES_MIN}",
                text.len()
            ));
        }
        Ok(SecretString::from(text.to_owned()))
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the request carries the credential, as `Bearer`.
    pub(super) fn admits(&self, headers: &HeaderMap) -> Result<bool, String> {
        let expected = self.read()?;
        let given =
            headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.split_once(' '));
        Ok(given.is_some_and(|(scheme, given)| {
            scheme.eq_ignore_ascii_case("bearer")
                && bool::from(given.trim().as_bytes().ct_eq(expected.expose_secret().as_bytes()))
        }))
    }
}
