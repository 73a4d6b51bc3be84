//! The first filling of the table: from the stored catalog, which takes three requests whatever the number of crates, or from all records.

use std::sync::Arc;

use super::super::{Registry, RegistryError};
use super::compact::Stored;
use crate::catalog::file::{CURRENT_BYTES_MAX, FILE_BYTES_MAX};
use crate::catalog::{Base, Current, Table, file};
use crate::store::{Etag, Get, Key, StoreError, StoreErrorKind};

/// How often a stored catalog is asked for.
const READS_MAX: u32 = 3;

impl Registry {
    /// Fills the table. What was read stays, also if the rest cannot be read now.
    pub(super) async fn load(self: &Arc<Self>) -> Result<(), RegistryError> {
        let may_resume = !self.replica.is_alone() && !std::mem::replace(&mut self.search.state().stored_read, true);
        if may_resume && self.resume().await {
            // What was announced since the catalog was written is in the head, or there is a gap.
            self.replica.prove().await?;
        } else {
            self.compare().await?;
        }
        self.search.state().loaded = true;
        tracing::info!(crates = self.search.read().len(), "search knows all crates");
        Ok(())
    }

    /// Goes on from the stored catalog. Whether there is one that can be used.
    async fn resume(&self) -> bool {
        let mut reads = 0;
        let problem = loop {
            reads += 1;
            match self.read_stored().await {
                Ok(Some((stored, current, base))) => {
                    self.search.state().follow.resume(&current);
                    *self.search.write() = Table::from(base);
                    self.search.compaction.lock().await.resumed(stored);
                    return true;
                }
                Ok(None) => return false,
                Err(error) if error.kind().is_transient() && reads < READS_MAX => self.pause(reads).await,
                Err(error) => break error,
            }
        };
        tracing::warn!(%problem, "the stored catalog cannot be used; search reads the crate records");
        false
    }

    async fn read_stored(&self) -> Result<Option<(Stored, Current, Base)>, StoreError> {
        let Some(stored) = self.read_current(None).await? else { return Ok(None) };
        let read = match &stored.current {
            Some(current) => self.read_base(current).await.map(|base| Some((current.clone(), base))),
            None => Ok(None),
        };
        match read {
            Ok(read) => Ok(read.map(|(current, base)| (stored, current, base))),
            Err(error) => {
                self.search.compaction.lock().await.refused(stored.etag);
                Err(error)
            }
        }
    }

    async fn read_base(&self, current: &Current) -> Result<Base, StoreError> {
        let key = Key::Catalog(current.file().expect("checked when it was read"));
        let corrupt = |reason: String| StoreError::new(StoreErrorKind::Corrupt, format!("{key}: {reason}"));
        let registry = self.replica.registry();
        if current.registry != registry {
            return Err(corrupt(format!("it belongs to the registry {}", current.registry)));
        }
        let Get::Found(object) = self.store.get(&key, None).await? else {
            return Err(corrupt("it is missing".to_owned()));
        };
        let bytes = object.bytes(FILE_BYTES_MAX).await?;
        let decoded = tokio::task::spawn_blocking(move || file::decode(&bytes, &registry)).await;
        decoded.unwrap_or_else(|error| Err(error.to_string())).map_err(corrupt)
    }

    /// `v1/catalog/current`, if it is there and is not the state that is known.
    pub(super) async fn read_current(&self, known: Option<&Etag>) -> Result<Option<Stored>, StoreError> {
        let Get::Found(object) = self.store.get(&Key::CatalogCurrent, known).await? else { return Ok(None) };
        let etag = object.etag.clone();
        let current = Current::parse(&object.bytes(CURRENT_BYTES_MAX).await?);
        let current = current.inspect_err(|reason| {
            tracing::warn!(key = %Key::CatalogCurrent, reason, "the stored catalog cannot be used");
        });
        Ok(Some(Stored { etag, current: current.ok() }))
    }
}
