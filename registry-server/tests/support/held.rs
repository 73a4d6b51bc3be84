//! A store whose calls can be held: so that a process stands still between two of them for as long as a test likes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use supercargo_registry::store::faulty::{Call, Faulty};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Past, Prefix, Put, Store, StoreError,
};
use tokio::sync::Notify;

/// Passes everything on, but for the one call that it holds.
#[derive(Clone)]
pub(crate) struct Held {
    inner: Arc<Faulty<MemoryStore>>,
    next: Arc<Mutex<Option<(Call, String, usize)>>>,
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl Held {
    /// Holds the `nth` (from 1) call of this kind whose key contains `key`, before it is made.
    pub(crate) fn at(inner: &Arc<Faulty<MemoryStore>>, call: Call, key: &str, nth: usize) -> Self {
        let next = Arc::new(Mutex::new(Some((call, key.to_owned(), nth))));
        Self { inner: inner.clone(), next, reached: Arc::default(), go_on: Arc::default() }
    }

    /// Waits until it stands still.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }

    async fn pass(&self, call: Call, key: &str) {
        let held = {
            let mut next = self.next.lock().unwrap();
            match &mut *next {
                Some((wanted, part, nth)) if *wanted == call && key.contains(part.as_str()) => {
                    *nth -= 1;
                    *nth == 0
                }
                _ => false,
            }
        };
        if held {
            *self.next.lock().unwrap() = None;
            self.reached.notify_one();
            self.go_on.notified().await;
        }
    }
}

#[async_trait]
impl Store for Held {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        self.pass(Call::Get, &key.to_string()).await;
        self.inner.get(key, if_none_match).await
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.pass(Call::Put, &key.to_string()).await;
        self.inner.put(key, body, cond).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.pass(Call::List, &prefix.to_string()).await;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.pass(Call::Delete, &key.to_string()).await;
        self.inner.delete(key).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.inner.history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.inner.get_past(key, past).await
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[async_trait]
impl Provable for Held {
    async fn witness(&self, _: usize) -> Result<Arc<dyn Provable>, StoreError> {
        Ok(Arc::new(self.clone()))
    }
}
