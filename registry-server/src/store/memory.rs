//! A store in memory, for tests and for trying things out. One lock makes it trivially linearizable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::proof::Provable;
use super::{
    Body, Cond, Cursor, Entry, Etag, Get, Key, Object, ObjectBody, PAGE_ENTRIES_MAX, Page, Prefix, Put, Refused, Store,
    StoreError,
};

/// Objects in a map. Gone with the process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug, Default)]
struct Objects {
    by_key: BTreeMap<String, (Etag, Bytes)>,
    /// Counts writes, so that no ETag ever comes again.
    writes: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    fn put(&mut self, key: String, bytes: Bytes, cond: &Cond) -> Put {
        let current = self.by_key.get(&key).map(|(etag, _)| etag);
        if let Some(refused) = judge(cond, current) {
            return Put::Refused(refused);
        }
        self.writes += 1;
        let etag = Etag::new(&format!("{:08x}", self.writes));
        self.by_key.insert(key, (etag.clone(), bytes));
        Put::Stored(etag)
    }

    fn page(&self, prefix: &str, after: Option<&Cursor>) -> Page {
        let start = match after {
            Some(cursor) => Bound::Excluded(cursor.0.as_str()),
            None => Bound::Included(prefix),
        };
        let mut below =
            self.by_key.range::<str, _>((start, Bound::Unbounded)).take_while(|(k, _)| k.starts_with(prefix));
        let mut page = Page::default();
        let mut last = None;
        for (text, (etag, bytes)) in below.by_ref().take(PAGE_ENTRIES_MAX) {
            let key = Key::parse(text).expect("every key in the map was written as a `Key`");
            page.entries.push(Entry { key, etag: etag.clone(), len: bytes.len() as u64 });
            last = Some(text);
        }
        page.next = below.next().and(last).map(|text| Cursor(text.clone()));
        page
    }
}

/// Whether `cond` holds of an object that has the ETag `current` (`None`: no object). `Some`: how it fails.
pub(super) fn judge(cond: &Cond, current: Option<&Etag>) -> Option<Refused> {
    match (cond, current) {
        (Cond::Any, _) | (Cond::Absent, None) => None,
        (Cond::Absent, Some(_)) => Some(Refused::Precondition),
        (Cond::Matches(_), None) => Some(Refused::Missing),
        (Cond::Matches(wanted), Some(etag)) => (wanted != etag).then_some(Refused::Precondition),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        Ok(match self.lock().by_key.get(&key.to_string()) {
            None => Get::Missing,
            Some((etag, _)) if Some(etag) == if_none_match => Get::NotModified,
            Some((etag, bytes)) => Get::Found(Object {
                etag: etag.clone(),
                len: bytes.len() as u64,
                body: ObjectBody::whole(bytes.clone()),
            }),
        })
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::File(file) => {
                let mut bytes = Vec::new();
                // Blocks for a moment, which a store for tests may.
                match file.copy_to(&mut bytes) {
                    Ok(()) => bytes.into(),
                    Err(err) => return Put::NotSent(err),
                }
            }
        };
        self.lock().put(key.to_string(), bytes, &cond)
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        Ok(self.lock().page(&prefix.to_string(), after))
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.lock().by_key.remove(&key.to_string());
        Ok(())
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

#[async_trait]
impl Provable for MemoryStore {
    async fn witness(&self, _number: usize) -> Result<Arc<dyn Provable>, StoreError> {
        Ok(Arc::new(self.clone()))
    }

    fn is_shared(&self) -> bool {
        false
    }
}
