//! A store whose calls can be held: so that a process stands still between two of them for as long as a test likes.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use supercargo_registry::store::faulty::{Call, Faulty};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Past, Prefix, Put, Store, StoreError, StoreErrorKind,
};
use tokio::sync::Notify;

/// When a call is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Before it reaches the store.
    Before,
    /// On the way back.
    After,
}

/// The `nth` (from 1) call of this kind whose key contains this.
#[derive(Debug, Clone)]
struct Hold {
    when: When,
    call: Call,
    key: String,
    nth: usize,
}

/// Passes everything on, but for the one call that it holds.
#[derive(Clone)]
pub(crate) struct Held {
    inner: Arc<Faulty<MemoryStore>>,
    next: Arc<Mutex<Option<Hold>>>,
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
    denies: Denies,
}

/// What of the store's history the credentials do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denies {
    Nothing,
    Listing,
    Reading,
}

impl Held {
    /// Holds nothing yet.
    pub(crate) fn over(inner: &Arc<Faulty<MemoryStore>>) -> Self {
        let (next, reached, go_on) = (Arc::default(), Arc::default(), Arc::default());
        Self { inner: inner.clone(), next, reached, go_on, denies: Denies::Nothing }
    }

    /// Holds the `nth` (from 1) call of this kind whose key contains `key`, before it is made.
    pub(crate) fn at(inner: &Arc<Faulty<MemoryStore>>, call: Call, key: &str, nth: usize) -> Self {
        let held = Self::over(inner);
        *held.next.lock().unwrap() = Some(Hold { when: When::Before, call, key: key.to_owned(), nth });
        held
    }

    /// Holds the answer to the next read of a key that contains `key`.
    pub(crate) fn hold_answer(&self, key: &str) {
        *self.next.lock().unwrap() = Some(Hold { when: When::After, call: Call::Get, key: key.to_owned(), nth: 1 });
    }

    /// Holds nothing, and has no right to read the history.
    pub(crate) fn without_rights(inner: &Arc<Faulty<MemoryStore>>, denies: Denies) -> Self {
        Self { denies, ..Self::over(inner) }
    }

    fn check(&self, denied: Denies) -> Result<(), StoreError> {
        if self.denies == denied {
            return Err(StoreError::new(StoreErrorKind::Denied, "AccessDenied"));
        }
        Ok(())
    }

    /// Waits until it stands still.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn go_on(&self) {
        self.go_on.notify_one();
    }

    async fn pass(&self, when: When, call: Call, key: &str) {
        let held = self.next.lock().unwrap().take_if(|hold| {
            if (hold.when, hold.call) == (when, call) && key.contains(&hold.key) {
                hold.nth -= 1;
            }
            hold.nth == 0
        });
        if held.is_some() {
            self.reached.notify_one();
            self.go_on.notified().await;
        }
    }
}

#[async_trait]
impl Store for Held {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        self.pass(When::Before, Call::Get, &key.to_string()).await;
        let got = self.inner.get(key, if_none_match).await;
        self.pass(When::After, Call::Get, &key.to_string()).await;
        got
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.pass(When::Before, Call::Put, &key.to_string()).await;
        self.inner.put(key, body, cond).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.pass(When::Before, Call::List, &prefix.to_string()).await;
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.pass(When::Before, Call::Delete, &key.to_string()).await;
        self.inner.delete(key).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.check(Denies::Listing)?;
        self.inner.history(key).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.check(Denies::Reading)?;
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
