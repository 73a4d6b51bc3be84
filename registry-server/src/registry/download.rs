//! The bytes of one version: from memory, or streamed from the disk or the store.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::documents::Purpose;
use super::known::{KnownCrate, Place};
use super::{Registry, RegistryError};
use crate::access::{Action, Principal};
use crate::krate::{CrateName, Version};
use crate::metrics::FileSource;
use crate::store::ObjectBody;

/// How long a signed URL holds: for the client that is sent there now.
const PRESIGNED_FOR: Duration = Duration::from_secs(300);

/// A `.crate` file that the caller may have.
#[derive(Debug)]
pub struct Download {
    krate: Arc<KnownCrate>,
    version: Version,
    place: Place,
}

/// The bytes of a download.
#[derive(Debug)]
pub enum Content {
    /// In memory.
    Whole(Bytes),
    /// On their way from the disk or the store, or from both, one after the other.
    Stream(ObjectBody),
}

impl Download {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.place.len
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// SHA-256 in lower-case hexadecimal, as in the index.
    pub fn cksum(&self) -> String {
        self.place.id.0.to_string()
    }

    /// `{name}-{version}.crate`.
    pub fn file_name(&self) -> String {
        format!("{}-{}.crate", self.krate.name(), self.version)
    }
}

impl Registry {
    /// Finds the bytes of a version; of a yanked one too, as lock files need it.
    ///
    /// # Errors
    /// There is no such version, or the caller may not see it; the store does not answer.
    pub async fn download(
        &self,
        principal: &Principal,
        name: &CrateName,
        version: &Version,
    ) -> Result<Download, RegistryError> {
        let krate = self.known_crate(name, Purpose::Other).await?;
        if let Some(large) = krate.as_ref().filter(|krate| !krate.has_places()) {
            self.authorise_existing(principal, Action::Read, name, Some(&**large))?;
            large.make_places().await?;
        }
        self.find(principal, name, version, krate)
    }

    /// The same, if memory can tell.
    ///
    /// # Errors
    /// As [`Registry::download`].
    pub fn download_at_once(
        &self,
        principal: &Principal,
        name: &CrateName,
        version: &Version,
    ) -> Option<Result<Download, RegistryError>> {
        let krate = self.known_crate_at_once(name)?;
        if let Ok(Some(krate)) = &krate
            && !krate.has_places()
        {
            return None;
        }
        Some(krate.and_then(|krate| self.find(principal, name, version, krate)))
    }

    fn find(
        &self,
        principal: &Principal,
        name: &CrateName,
        version: &Version,
        krate: Option<Arc<KnownCrate>>,
    ) -> Result<Download, RegistryError> {
        let found = self.authorise_existing(principal, Action::Read, name, krate.as_deref())?;
        let Some(place) = found.place(version)? else {
            return Err(RegistryError::NotFound(format!("the crate `{}` has no version {version}", found.name())));
        };
        Ok(Download { krate: krate.expect("a crate was found"), version: version.clone(), place })
    }

    /// A URL at which the store itself hands out the bytes for the next minutes. `None`: it does not, or the
    /// caller `may` not be sent there.
    pub async fn presign(&self, download: &Download, may: impl FnOnce(&str) -> bool) -> Option<String> {
        let Download { krate, version, place } = download;
        let key = krate.key(version, place).ok()?;
        match self.store.presign_get(&key, PRESIGNED_FOR).await {
            Ok(url) => url.filter(|url| may(url)).inspect(|_| self.files.count(FileSource::Redirect)),
            Err(error) => {
                // The bytes can still be sent from here.
                tracing::warn!(%key, %error, "no URL could be signed for a download");
                None
            }
        }
    }

    /// The bytes, if they are in memory; all of them, or a part.
    pub fn content_at_once(&self, download: &Download, part: Option<&Range<u64>>) -> Option<Bytes> {
        let bytes = self.files.at_once(&download.place.id)?;
        self.files.count(FileSource::Memory);
        Some(cut(bytes, part))
    }

    /// The bytes, all of them or a part.
    ///
    /// # Errors
    /// The store does not answer, or has lost them.
    pub async fn content(&self, download: &Download, part: Option<&Range<u64>>) -> Result<Content, RegistryError> {
        if let Some(bytes) = self.content_at_once(download, part) {
            return Ok(Content::Whole(bytes));
        }
        let Download { krate, version, place } = download;
        let key = krate.key(version, place)?;
        let content = if self.files.keeps(place.len) {
            let whole = self.files.get(place.id, &key, place.len).await;
            whole.map(|bytes| Content::Whole(cut(bytes, part)))
        } else {
            self.files.stream(place.id, &key, place.len, part).await.map(Content::Stream)
        };
        content.map_err(|error| match error {
            RegistryError::Broken { reason, .. } => {
                RegistryError::Broken { what: format!("`{}` {version}", krate.name()), reason }
            }
            error => error,
        })
    }
}

fn cut(bytes: Bytes, part: Option<&Range<u64>>) -> Bytes {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    part.map_or_else(|| bytes.clone(), |part| bytes.slice(place(part.start)..place(part.end)))
}
