//! From the configuration to an open store.

use std::sync::Arc;

use crate::config::{self, Backend};
use crate::store::file::OpenError;
use crate::store::proof::Provable;
use crate::store::s3::{S3Config, S3ConfigError, S3Credentials, S3Timeouts};
use crate::store::{FileStore, MemoryStore, S3Store, Store};

/// An open store, and whether it has to be proven before it is used.
#[derive(Clone)]
pub enum Storage {
    /// Keeps its promises by construction: one process.
    Trusted(Arc<dyn Store>),
    /// Has to show that it keeps them.
    ToProve(Arc<dyn Provable>),
}

/// Why a store cannot be opened. Whether it can be reached is not known yet.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory.
    #[error(transparent)]
    File(#[from] OpenError),
    /// The S3 client.
    #[error(transparent)]
    S3(#[from] S3ConfigError),
}

impl Storage {
    /// Opens what the configuration names. Sends nothing to S3.
    ///
    /// # Errors
    /// The directory is in use or unusable; the S3 configuration is wrong.
    pub async fn open(storage: &config::Storage) -> Result<Self, StorageError> {
        Ok(match &storage.backend {
            Backend::Memory => Self::Trusted(Arc::new(MemoryStore::new())),
            Backend::File { directory } => Self::Trusted(Arc::new(FileStore::open(directory, storage.prefix.clone())?)),
            Backend::S3(s3) => Self::ToProve(Arc::new(S3Store::connect(s3_config(s3, storage)).await?)),
        })
    }

    /// The same to look at only: a directory has to exist, and another process may be writing to it.
    ///
    /// # Errors
    /// The directory cannot be read; the S3 configuration is wrong.
    pub async fn open_to_read(storage: &config::Storage) -> Result<Self, StorageError> {
        match &storage.backend {
            Backend::File { directory } => {
                Ok(Self::Trusted(Arc::new(FileStore::open_to_read(directory, storage.prefix.clone())?)))
            }
            Backend::S3(_) | Backend::Memory => Self::open(storage).await,
        }
    }

    /// Looks at what the configuration names without opening anything: the files and values of S3. A directory is made when it is opened,
    /// and memory is always there.
    ///
    /// # Errors
    /// The S3 configuration is wrong.
    pub fn check(storage: &config::Storage) -> Result<(), StorageError> {
        match &storage.backend {
            Backend::S3(s3) => Ok(S3Store::check(&s3_config(s3, storage))?),
            Backend::File { .. } | Backend::Memory => Ok(()),
        }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Trusted(store) => store.clone(),
            Self::ToProve(store) => store.clone(),
        }
    }

    /// Whether other processes may work on the same store.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::ToProve(_))
    }

    pub(super) fn provable(&self) -> Option<Arc<dyn Provable>> {
        match self {
            Self::Trusted(_) => None,
            Self::ToProve(store) => Some(store.clone()),
        }
    }
}

fn s3_config(s3: &config::S3, storage: &config::Storage) -> S3Config {
    let config::S3 { bucket, region, endpoint, public_endpoint, force_path_style, ca_bundle_file, credentials_dir } =
        s3.clone();
    S3Config {
        bucket,
        region,
        endpoint,
        public_endpoint,
        prefix: storage.prefix.clone(),
        force_path_style,
        ca_bundle_file,
        credentials: credentials_dir.map_or(S3Credentials::Ambient, S3Credentials::Directory),
        timeouts: S3Timeouts::default(),
    }
}
