//! The bytes of crate files that are often downloaded: in memory, or on a disk ([`super::disk`]), or else from the store. What lies under the key of a blob never changes, so nothing here
//! can be out of date; who may see it is decided before anybody asks here.
//!
//! Readers who want the same file at the same time share one read of the store. What is kept has the SHA-256 that the index names.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;

use super::RegistryError;
use super::blob::Blob;
use super::disk::{Disk, KeptOnDisk};
use crate::metrics::{self, FileReads, FileSource};
use crate::replicas::flights::{Flights, Landed};
use crate::replicas::shelf::Shelf;
use crate::store::{Key, ObjectBody, Sha256Digest, Store, Ulid};

/// What a file takes beside its bytes.
const OVERHEAD: usize = 64;

/// What is kept of crate files. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFiles {
    /// Memory for all together; 0 keeps none.
    pub bytes_max: usize,
    /// The largest that is kept in memory.
    pub file_bytes_max: u64,
    /// A disk for what memory is too small for.
    pub disk: Option<KeptOnDisk>,
}

impl Default for KeptFiles {
    fn default() -> Self {
        Self { bytes_max: 32 * 1024 * 1024, file_bytes_max: 1024 * 1024, disk: None }
    }
}

/// What a blob is known by: no two attempts to publish share it.
pub(super) type FileId = (Sha256Digest, Ulid);

/// The files of one store that are kept.
pub(super) struct Files {
    store: Arc<dyn Store>,
    file_bytes_max: u64,
    shelf: Arc<Mutex<Shelf<FileId, Bytes>>>,
    counts: FileReads,
    reads: Flights<FileId, Result<(Bytes, FileSource), RegistryError>>,
    disk: Option<Arc<Disk>>,
}

impl Files {
    pub(super) fn new(store: Arc<dyn Store>, kept: KeptFiles) -> Self {
        let KeptFiles { bytes_max, file_bytes_max, disk } = kept;
        let file_bytes_max = file_bytes_max.min(bytes_max as u64);
        // Late comers share a read: the bytes are the same for ever.
        let (shelf, reads) = (Arc::new(Mutex::new(Shelf::new(bytes_max))), Flights::new(true));
        let disk = disk.map(|kept| Arc::new(Disk::new(kept)));
        Self { store, file_bytes_max, shelf, reads, counts: FileReads::new(), disk }
    }

    /// Whether a file of this length may be kept.
    pub(super) fn keeps(&self, len: u64) -> bool {
        len <= self.file_bytes_max
    }

    /// The file, if it is kept.
    pub(super) fn at_once(&self, id: &FileId) -> Option<Bytes> {
        lock(&self.shelf).get(id)
    }

    /// The disk, to be kept open.
    pub(super) fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.as_ref()
    }

    /// The file, of `len` bytes, from memory, the disk or the store. Only for what [`Files::keeps`].
    ///
    /// # Errors
    /// The store does not answer, or has other bytes.
    pub(super) async fn get(&self, id: FileId, key: &Key, len: u64) -> Result<Bytes, RegistryError> {
        if let Some(bytes) = self.at_once(&id) {
            self.counts.count(FileSource::Memory);
            return Ok(bytes);
        }
        let (arrival, blob) = (self.reads.arrive(), self.blob(id, key, len));
        let begin = || {
            let (shelf, disk, blob) = (self.shelf.clone(), self.disk.clone(), blob.clone());
            async move {
                let (bytes, source) = fetch(disk.as_ref(), &blob).await?;
                lock(&shelf).insert(&id, 0, bytes.len() + OVERHEAD, bytes.clone());
                Ok((bytes, source))
            }
            .boxed()
        };
        let (bytes, source) = match self.reads.join(&id, arrival, begin).await {
            Landed::Fresh(result) => result?,
            Landed::Late => fetch(self.disk.as_ref(), &blob).await?,
        };
        self.counts.count(source);
        Ok(bytes)
    }

    /// A file, or a part of it, with constant memory: from the disk, or from the store and by the way onto the disk.
    ///
    /// # Errors
    /// The store does not answer, or has something else there.
    pub(super) async fn stream(
        &self,
        id: FileId,
        key: &Key,
        len: u64,
        part: Option<&Range<u64>>,
    ) -> Result<ObjectBody, RegistryError> {
        let blob = self.blob(id, key, len);
        if let Some(disk) = &self.disk {
            if let Some(reading) = disk.look(id.0, len).await {
                self.counts.count(FileSource::Disk);
                return Ok(reading.body(blob, part.cloned().unwrap_or(0..len)));
            }
            // Who wants a part has the rest already, and shall not wait for it.
            if part.is_none()
                && let Some(mut reading) = disk.follow(&blob)
                && reading.begins().await?
            {
                self.counts.count(FileSource::Store);
                return Ok(reading.body(blob, 0..len));
            }
        }
        self.counts.count(FileSource::Store);
        match part {
            Some(part) => blob.part(part.clone()).await,
            None => blob.whole().await,
        }
    }

    fn blob(&self, id: FileId, key: &Key, len: u64) -> Blob {
        Blob { store: self.store.clone(), key: key.clone(), sha256: id.0, len }
    }

    /// Counts a download.
    pub(super) fn count(&self, source: FileSource) {
        self.counts.count(source);
    }

    /// Tells the metrics what is kept.
    pub(super) fn report(&self) {
        let shelf = lock(&self.shelf);
        metrics::kept_files(shelf.len(), shelf.bytes(), shelf.evicted());
        drop(shelf);
        if let Some(disk) = &self.disk {
            disk.report();
        }
    }
}

fn lock(shelf: &Mutex<Shelf<FileId, Bytes>>) -> MutexGuard<'_, Shelf<FileId, Bytes>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A whole file, checked, and where it comes from.
async fn fetch(disk: Option<&Arc<Disk>>, blob: &Blob) -> Result<(Bytes, FileSource), RegistryError> {
    let Some(disk) = disk else { return Ok((blob.bytes().await?, FileSource::Store)) };
    if let Some(bytes) = disk.read(blob.sha256, blob.len).await {
        return Ok((bytes, FileSource::Disk));
    }
    let bytes = blob.bytes().await?;
    disk.keep(blob.sha256, bytes.clone());
    Ok((bytes, FileSource::Store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Body, Cond, MemoryStore};

    fn blob(number: u8, bytes: &'static [u8]) -> (FileId, Key, Bytes) {
        let (sha256, attempt) = (Sha256Digest::of(bytes), Ulid::from_parts(1, number.into()));
        let version = "1.0.0".parse().expect("a version");
        let key = Key::blob("a", &version, sha256, attempt).expect("a key");
        ((sha256, attempt), key, Bytes::from_static(bytes))
    }

    async fn store(blobs: &[&(FileId, Key, Bytes)]) -> Arc<MemoryStore> {
        let store = MemoryStore::new();
        for (_, key, bytes) in blobs {
            let put = store.put(key, Body::Bytes(bytes.clone()), Cond::Any).await;
            assert_eq!(put.label(), "stored");
        }
        Arc::new(store)
    }

    #[tokio::test]
    async fn a_file_is_read_once_and_then_kept() {
        let (id, key, bytes) = blob(1, b"some bytes");
        let store = store(&[&(id, key.clone(), bytes.clone())]).await;
        let files = Files::new(store.clone(), KeptFiles::default());
        assert_eq!(files.at_once(&id), None);
        let len = bytes.len() as u64;
        assert_eq!(files.get(id, &key, len).await.expect("read"), bytes);
        store.delete(&key).await.expect("deleted");
        assert_eq!(files.at_once(&id), Some(bytes.clone()), "without the store");
        assert_eq!(files.get(id, &key, len).await.expect("kept"), bytes);
    }

    #[tokio::test]
    async fn what_is_not_what_the_index_names_is_neither_served_nor_kept() {
        let (id, key, bytes) = blob(1, b"some bytes");
        let (_, _, other) = blob(1, b"same length");
        let store = store(&[&(id, key.clone(), other.slice(..bytes.len()))]).await;
        let files = Files::new(store.clone(), KeptFiles::default());
        let len = bytes.len() as u64;
        for wrong in [len, len + 1] {
            let error = files.get(id, &key, wrong).await.expect_err("other bytes");
            assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
        }
        assert_eq!(files.at_once(&id), None);
        store.delete(&key).await.expect("deleted");
        assert!(files.get(id, &key, len).await.is_err(), "missing");
    }

    #[tokio::test]
    async fn the_budget_holds() {
        let blobs = [blob(1, &[1; 1000]), blob(2, &[2; 1000]), blob(3, &[3; 1000])];
        let store = store(&blobs.iter().collect::<Vec<_>>()).await;
        let files = Files::new(store, KeptFiles { bytes_max: 2900, file_bytes_max: 5000, disk: None });
        assert!(files.keeps(2900) && !files.keeps(2901), "no file is larger than all the room");
        for (id, key, bytes) in &blobs {
            assert_eq!(files.get(*id, key, 1000).await.expect("read"), *bytes);
        }
        let kept: Vec<_> = blobs.iter().map(|(id, ..)| files.at_once(id).is_some()).collect();
        assert_eq!(kept, [false, true, true]);
        assert!(!Files::new(Arc::new(MemoryStore::new()), KeptFiles { bytes_max: 0, ..KeptFiles::default() }).keeps(1));
    }
}
