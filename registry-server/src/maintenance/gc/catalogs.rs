//! Catalog files that do not count any more: each compaction leaves the one before it behind, and one that lost the race, or died, its own.

use std::time::Duration;

use futures::TryStreamExt;

use super::Gc;
use crate::catalog::file::CURRENT_BYTES_MAX;
use crate::catalog::{Current, is_surplus};
use crate::maintenance::survey::{self, Reading};
use crate::store::{Entry, Key, Prefix, StoreError};

impl Gc<'_> {
    /// Those that may go. `current` is read after the files are listed; while it cannot be read none may.
    pub(super) async fn surplus_catalogs(&self) -> Result<Vec<Entry>, StoreError> {
        let listed: Vec<Entry> = survey::entries(self.store.clone(), Prefix::Catalogs).try_collect().await?;
        let read = survey::read(&*self.store, &Key::CatalogCurrent, CURRENT_BYTES_MAX).await?;
        let Reading::Sound(stored) = read else { return Ok(Vec::new()) };
        let Ok(current) = Current::parse(&stored.bytes) else { return Ok(Vec::new()) };
        let is_surplus = |entry: &Entry| {
            let age = Duration::try_from(self.now.duration_since(entry.modified)).unwrap_or_default();
            matches!(entry.key, Key::Catalog(file) if is_surplus(file, age, &current))
        };
        Ok(listed.into_iter().filter(is_surplus).collect())
    }
}
