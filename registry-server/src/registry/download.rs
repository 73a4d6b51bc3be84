//! The bytes of one version, streamed.

use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::{CrateName, Version};
use crate::store::{Get, Key, ObjectBody};

/// A `.crate` file on its way.
#[derive(Debug)]
pub struct Download {
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 in lower-case hexadecimal, as in the index.
    pub cksum: String,
    /// `{name}-{version}.crate`.
    pub file_name: String,
    /// The bytes.
    pub body: ObjectBody,
}

impl Registry {
    /// Opens the bytes of a version; yanked ones too, as lock files need them.
    ///
    /// # Errors
    /// There is no such version, or the caller may not see it; the store does not answer, or has lost the bytes.
    pub async fn download(
        &self,
        principal: &Principal,
        name: &CrateName,
        version: &Version,
    ) -> Result<Download, RegistryError> {
        let state = self.record(name).await?;
        let record = state.as_ref().map(|state| &*state.document);
        let record = self.authorise_existing(principal, Action::Read, name, record)?;
        let Some(stored) = record.versions().get(version) else {
            return Err(RegistryError::NotFound(format!("the crate `{}` has no version {version}", record.name())));
        };
        let broken = |reason: String| RegistryError::Broken { what: format!("`{}` {version}", record.name()), reason };
        let key = Key::parse(&stored.blob).ok_or_else(|| broken(format!("`{}` is not an object key", stored.blob)))?;
        let Key::Blob { sha256, .. } = &key else {
            return Err(broken(format!("`{}` is not the key of a crate file", stored.blob)));
        };
        let cksum = sha256.to_string();
        let Get::Found(object) = self.store.get(&key, None).await? else {
            return Err(broken(format!("the object {key} is missing from the store")));
        };
        if object.len != stored.size {
            return Err(broken(format!("the object {key} has {} bytes instead of {}", object.len, stored.size)));
        }
        Ok(Download {
            len: object.len,
            cksum,
            file_name: format!("{}-{version}.crate", record.name()),
            body: object.body,
        })
    }
}
