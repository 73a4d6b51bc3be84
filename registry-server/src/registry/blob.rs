//! Where the bytes of one crate file are in the store, and how long they have to be.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::RegistryError;
use crate::store::{Get, Key, ObjectBody, Sha256Digest, Store};

/// A crate file in the store.
#[derive(Clone)]
pub(super) struct Blob {
    pub(super) store: Arc<dyn Store>,
    pub(super) key: Key,
    pub(super) sha256: Sha256Digest,
    pub(super) len: u64,
}

impl Blob {
    /// All of it, with nothing but its length checked.
    ///
    /// # Errors
    /// The store does not answer, or has something else there.
    pub(super) async fn whole(&self) -> Result<ObjectBody, RegistryError> {
        let found = match self.store.get(&self.key, None).await? {
            Get::Found(object) => Some((object.len, object.body)),
            Get::NotModified | Get::Missing => None,
        };
        self.of_right_length(found)
    }

    /// A part of it, of which nobody can check more than the length of the whole.
    ///
    /// # Errors
    /// As [`Blob::whole`].
    pub(super) async fn part(&self, part: Range<u64>) -> Result<ObjectBody, RegistryError> {
        let found = self.store.get_part(&self.key, part).await?;
        self.of_right_length(found.map(|part| (part.len, part.body)))
    }

    /// All of it in memory, with the SHA-256 that it should have.
    ///
    /// # Errors
    /// As [`Blob::whole`].
    pub(super) async fn bytes(&self) -> Result<Bytes, RegistryError> {
        let bytes = self.whole().await?.bytes().await?;
        if Sha256Digest::of(&bytes) != self.sha256 {
            return Err(self.has_other_bytes());
        }
        // A piece of its own: what was read may be a part of something larger.
        Ok(Bytes::copy_from_slice(&bytes))
    }

    /// What is said of bytes that do not have the SHA-256 that they should have.
    pub(super) fn has_other_bytes(&self) -> RegistryError {
        broken(format!("the object {} does not have the SHA-256 in its key", self.key))
    }

    fn of_right_length(&self, found: Option<(u64, ObjectBody)>) -> Result<ObjectBody, RegistryError> {
        let Self { key, len, .. } = self;
        match found {
            Some((there, body)) if there == *len => Ok(body),
            Some((there, _)) => Err(broken(format!("the object {key} has {there} bytes instead of {len}"))),
            None => Err(broken(format!("the object {key} is missing from the store"))),
        }
    }
}

fn broken(reason: String) -> RegistryError {
    RegistryError::Broken { what: "the crate file".to_owned(), reason }
}
