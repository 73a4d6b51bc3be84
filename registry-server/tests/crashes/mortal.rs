//! A process that dies at its n-th step: what holds it to that number, and the store, the way to others and the clock that count.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::replicas::Room;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use supercargo_registry::ambient::Ticks;
use supercargo_registry::replicas::{Ack, Notice, Peers};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Past, Prefix, Put, Store, StoreError,
};
use tokio::sync::Notify;

/// More steps than any command takes, notices to silent replicas included.
pub(crate) const STEPS_MAX: usize = 400;

/// When, about its last step, a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
    /// Before; but a put is on the way, and lands after this long.
    Late(Duration),
}

pub(crate) const MOMENTS: [Moment; 4] =
    [Moment::Before, Moment::After, Moment::Late(Duration::from_millis(1)), Moment::Late(Duration::from_secs(1))];

/// What holds a process to its number of steps.
pub(crate) struct Fuse {
    left: AtomicUsize,
    pub(crate) moment: Moment,
    last: Mutex<String>,
    burnt: Notify,
}

impl Fuse {
    /// A process that lives until the fuse is lit.
    pub(crate) fn unlit(moment: Moment) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(usize::MAX), moment, last: Mutex::default(), burnt: Notify::new() })
    }

    /// The step at which it died.
    pub(crate) fn last(&self) -> String {
        self.last.lock().unwrap().clone()
    }

    pub(crate) fn light(&self, steps: usize) {
        self.left.store(steps, Ordering::SeqCst);
    }

    /// Takes a step, or dies. A dead process takes no further step.
    pub(crate) async fn step<T>(&self, what: impl FnOnce() -> String, step: impl Future<Output = T>) -> T {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(1) => {
                *self.last.lock().unwrap() = what();
                if self.moment == Moment::After {
                    step.await;
                }
                self.left.store(0, Ordering::SeqCst);
                self.burnt.notify_one();
                std::future::pending().await
            }
            Ok(_) => {
                let result = step.await;
                // Its process may have died meanwhile, at another of its steps.
                if self.left.load(Ordering::SeqCst) == 0 { std::future::pending().await } else { result }
            }
            Err(_) => std::future::pending().await,
        }
    }
}

/// The world of one process that may die.
#[derive(Clone)]
pub(crate) struct Mortal {
    store: Arc<MemoryStore>,
    room: Room,
    fuse: Arc<Fuse>,
    born: tokio::time::Instant,
}

impl Mortal {
    pub(crate) fn new(store: &Arc<MemoryStore>, room: &Room, fuse: &Arc<Fuse>) -> Self {
        Self { store: store.clone(), room: room.clone(), fuse: fuse.clone(), born: tokio::time::Instant::now() }
    }
}

#[async_trait]
impl Store for Mortal {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        self.fuse.step(|| format!("get {key}"), self.store.get(key, if_none_match)).await
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let Moment::Late(after) = self.fuse.moment else {
            return self.fuse.step(|| format!("put {key}"), self.store.put(key, body, cond)).await;
        };
        let (store, on_its_way) = (self.store.clone(), key.clone());
        let (late, late_cond) = (body.clone(), cond.clone());
        let what = || {
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                drop(store.put(&on_its_way, late, late_cond).await);
            });
            format!("put {key}")
        };
        self.fuse.step(what, self.store.put(key, body, cond)).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.fuse.step(|| format!("list {prefix}"), self.store.list(prefix, after)).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.fuse.step(|| format!("delete {key}"), self.store.delete(key)).await
    }

    async fn history(&self, key: &Key) -> Result<Vec<Past>, StoreError> {
        self.fuse.step(|| format!("history of {key}"), self.store.history(key)).await
    }

    async fn get_past(&self, key: &Key, past: &Past) -> Result<Get, StoreError> {
        self.fuse.step(|| format!("get {key} as it was"), self.store.get_past(key, past)).await
    }

    fn location(&self) -> String {
        "the store of a process that may die".into()
    }
}

#[async_trait]
impl Provable for Mortal {
    async fn witness(&self, _: usize) -> Result<Arc<dyn Provable>, StoreError> {
        panic!("nobody proves it")
    }
}

#[async_trait]
impl Peers for Mortal {
    async fn notify(&self, address: &str, notice: &Notice) -> Option<Ack> {
        self.fuse.step(|| format!("notice to {address}"), self.room.notify(address, notice)).await
    }
}

impl Ticks for Mortal {
    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let fuse = self.fuse.clone();
        async move { fuse.step(|| format!("wait of {duration:?}"), tokio::time::sleep(duration)).await }.boxed()
    }
}

/// Runs something until it ends or its process dies. Whether it got through.
pub(crate) async fn lives(fuse: &Fuse, steps: usize, work: impl Future<Output = ()>) -> bool {
    fuse.light(steps);
    let got_through = tokio::select! {
        biased;
        () = work => true,
        () = fuse.burnt.notified() => false,
    };
    // Nothing of the process happens any more.
    fuse.left.store(0, Ordering::SeqCst);
    got_through
}
