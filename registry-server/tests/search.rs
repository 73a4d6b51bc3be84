//! Search over a store that is slow or damaged: nobody's impatience and nobody's broken record costs the others their answer.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use supercargo_registry::access::{Principal, Verb};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::registry::{Query, Registry, RegistryError};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Prefix, Put, Store, StoreError, StoreErrorKind,
};

/// A store whose records are read one by one, as the test lets them, and some of them never.
struct Slow {
    inner: Arc<MemoryStore>,
    reads: tokio::sync::Semaphore,
    broken: Mutex<BTreeMap<String, StoreErrorKind>>,
    calls: Mutex<Vec<String>>,
}

impl Slow {
    /// What was asked of the store since the last time: `list`, or the name of a crate.
    fn calls(&self) -> Vec<String> {
        let mut calls = std::mem::take(&mut *self.calls.lock().unwrap());
        calls.sort();
        calls
    }

    fn break_record(&self, name: &str, kind: StoreErrorKind) {
        self.broken.lock().unwrap().insert(name.to_owned(), kind);
    }
}

#[async_trait]
impl Store for Slow {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        let Key::Crate(name) = key else { return self.inner.get(key, if_none_match).await };
        self.reads.acquire().await.unwrap().forget();
        self.calls.lock().unwrap().push(name.as_str().to_owned());
        let broken = self.broken.lock().unwrap().get(name.as_str()).copied();
        if let Some(kind) = broken {
            return Err(StoreError::new(kind, format!("{key} is damaged")));
        }
        self.inner.get(key, if_none_match).await
    }
    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.inner.put(key, body, cond).await
    }
    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.calls.lock().unwrap().push("list".to_owned());
        self.inner.list(prefix, after).await
    }
    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
    fn location(&self) -> String {
        "a slow store".into()
    }
}

/// Only so that it counts as a store that others share; nobody proves it here.
#[async_trait]
impl Provable for Slow {
    async fn witness(&self, _number: usize) -> Result<Arc<dyn Provable>, StoreError> {
        Err(StoreError::new(StoreErrorKind::Unavailable, "a slow store has no witnesses".to_owned()))
    }
}

/// A fresh replica over a slow store with these crates.
async fn replica(crates: &[&str]) -> (Arc<Slow>, Arc<Registry>, Principal) {
    let memory = Arc::new(MemoryStore::new());
    let first = support::registry_in(memory.clone(), 1).await;
    let token = support::mint(&first, &Entropy::from_os(), "ann", &[Verb::Read, Verb::PublishNew], &["*"]).await;
    let ann = first.authenticate(&token).await.unwrap();
    for name in crates {
        support::crates::publish_plain(&first, &ann, name, "1.0.0").await.unwrap();
    }
    let reads = tokio::sync::Semaphore::new(0);
    let slow = Arc::new(Slow { inner: memory, reads, broken: Mutex::default(), calls: Mutex::default() });
    let registry = support::registry_in(slow.clone(), 2).await;
    (slow, registry, ann)
}

async fn total(registry: &Arc<Registry>, ann: &Principal) -> Result<usize, RegistryError> {
    registry.search(ann, &Query::new("", None, 1, 10).unwrap()).await.map(|found| found.total)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gives_up_does_not_stop_the_search_for_the_others() {
    let (slow, registry, ann) = replica(&["a", "b", "c"]).await;
    slow.reads.add_permits(1);
    let gave_up = tokio::time::timeout(Duration::from_secs(1), total(&registry, &ann)).await;
    assert!(gave_up.is_err(), "{gave_up:?}");
    slow.reads.add_permits(2);
    assert_eq!(total(&registry, &ann).await.unwrap(), 3);
    assert_eq!(slow.calls(), ["a", "b", "c", "list"], "every record was read once");
}

#[tokio::test(start_paused = true)]
async fn searches_at_the_same_time_share_what_is_read() {
    let (slow, registry, ann) = replica(&["a", "b"]).await;
    let search = || {
        let (registry, ann) = (registry.clone(), ann.clone());
        tokio::spawn(async move { total(&registry, &ann).await })
    };
    let first = search();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let others: Vec<_> = (0..20).map(|_| search()).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    slow.reads.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap(), 2);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), 2);
    }
    assert_eq!(slow.calls(), ["a", "b", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_harms_no_other() {
    for kind in [StoreErrorKind::TooLarge, StoreErrorKind::Corrupt, StoreErrorKind::Denied] {
        let (slow, registry, ann) = replica(&["a", "bad", "c"]).await;
        slow.reads.add_permits(100);
        slow.break_record("bad", kind);
        assert_eq!(total(&registry, &ann).await.unwrap(), 2, "{kind:?}");
        assert_eq!(slow.calls(), ["a", "bad", "c", "list"], "{kind:?}");
        // It is not read for every search, and it may be mended without a change.
        slow.broken.lock().unwrap().clear();
        assert_eq!(total(&registry, &ann).await.unwrap(), 2, "{kind:?}");
        assert!(slow.calls().is_empty(), "{kind:?}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(total(&registry, &ann).await.unwrap(), 3, "{kind:?}");
        assert_eq!(slow.calls(), ["bad"], "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_the_store_failed_is_not_read_again() {
    let (slow, registry, ann) = replica(&["a", "b", "z"]).await;
    slow.reads.add_permits(100);
    slow.break_record("z", StoreErrorKind::Unavailable);
    let error = total(&registry, &ann).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Store(error) if error.kind() == StoreErrorKind::Unavailable), "{error:?}");
    slow.calls();
    slow.broken.lock().unwrap().clear();
    assert_eq!(total(&registry, &ann).await.unwrap(), 3);
    assert_eq!(slow.calls(), ["list", "z"]);
}
