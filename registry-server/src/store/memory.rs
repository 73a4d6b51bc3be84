//! A store in memory, for tests and for trying things out. One lock makes it trivially linearizable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::Instant;

use super::proof::Provable;
use super::{
    Body, Cond, Cursor, Entry, Etag, Get, Key, Object, ObjectBody, PAGE_ENTRIES_MAX, Page, Past, Prefix, Put, Refused,
    Store, StoreError,
};

/// Objects in a map. Gone with the process. Clones share them. Its clock is tokio's, which tests can pause, and begins in 1970.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    objects: Arc<Mutex<Objects>>,
}

#[derive(Debug)]
struct Objects {
    by_key: BTreeMap<String, Kept>,
    /// What was before, newest last, if that is wanted.
    past: Option<BTreeMap<String, Vec<Kept>>>,
    /// Counts writes, so that no ETag ever comes again.
    writes: u64,
    began: Instant,
}

#[derive(Debug)]
struct Kept {
    etag: Etag,
    bytes: Bytes,
    modified: Timestamp,
}

impl Kept {
    fn found(&self) -> Get {
        let body = ObjectBody::whole(self.bytes.clone());
        Get::Found(Object { etag: self.etag.clone(), len: self.bytes.len() as u64, body })
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self { by_key: BTreeMap::new(), past: None, writes: 0, began: Instant::now() }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that keeps every state of every object, as a bucket with versioning does.
    #[cfg(feature = "test-support")]
    pub fn with_history() -> Self {
        let store = Self::default();
        store.lock().past = Some(BTreeMap::new());
        store
    }

    /// Forgets the `count` newest states before the current one, as somebody does who deletes versions.
    #[cfg(feature = "test-support")]
    pub fn forget_newest(&self, key: &Key, count: usize) {
        let mut objects = self.lock();
        let states = objects.past.as_mut().and_then(|past| past.get_mut(&key.to_string()));
        if let Some(states) = states {
            states.truncate(states.len().saturating_sub(count));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects {
    fn put(&mut self, key: String, bytes: Bytes, cond: &Cond) -> Put {
        let current = self.by_key.get(&key).map(|kept| &kept.etag);
        if let Some(refused) = judge(cond, current) {
            return Put::Refused(refused);
        }
        self.writes += 1;
        let etag = Etag::new(&format!("{:08x}", self.writes));
        let modified = Timestamp::UNIX_EPOCH + self.began.elapsed();
        let before = self.by_key.insert(key.clone(), Kept { etag: etag.clone(), bytes, modified });
        self.remember(key, before);
        Put::Stored(etag)
    }

    fn remember(&mut self, key: String, before: Option<Kept>) {
        if let Some(past) = &mut self.past {
            past.entry(key).or_default().extend(before);
        }
    }

    fn past(&self, key: &Key) -> impl Iterator<Item = &Kept> {
        let states = self.past.as_ref().and_then(|past| past.get(&key.to_string()));
        states.into_iter().flatten().rev()
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
        for (text, Kept { etag, bytes, modified }) in below.by_ref().take(PAGE_ENTRIES_MAX) {
            let key = Key::parse(text).expect("every key in the map was written as a `Key`");
            page.entries.push(Entry { key, etag: etag.clone(), len: bytes.len() as u64, modified: *modified });
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
            Some(kept) if Some(&kept.etag) == if_none_match => Get::NotModified,
            Some(kept) => kept.found(),
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
        let mut objects = self.lock();
        let before = objects.by_key.remove(&key.to_string());
        objects.remember(key.to_string(), before);
        Ok(())
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        let objects = self.lock();
        let past =
            |kept: &Kept| Past { id: kept.etag.to_string(), modified: kept.modified, len: kept.bytes.len() as u64 };
        Ok(objects.past(key).map(past).collect())
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        let objects = self.lock();
        Ok(objects.past(key).find(|kept| kept.etag.as_str() == past.id).map_or(Get::Missing, Kept::found))
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
