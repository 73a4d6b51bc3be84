//! Replicas in one process over one store, on a clock that a test may pause, and the way between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use supercargo_registry::access::{Principal, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::registry::{Registry, Replication, Storage};
use supercargo_registry::replicas::head::Head;
use supercargo_registry::replicas::{Ack, Notice, Peers, Settings};
use supercargo_registry::store::faulty::{Call, Faulty, Rates};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{Get, Key, MemoryStore, Store};
use tokio_util::sync::CancellationToken;

use super::crates::{audit, principal};

pub(crate) const LEASE: Duration = Duration::from_secs(2);

pub(crate) type TestStore = Arc<Faulty<MemoryStore>>;

/// Replicas in one process, by address; those that are deaf hear nothing.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Mutex<BTreeMap<String, (Weak<Registry>, bool)>>>);

impl Room {
    pub(crate) fn enter(&self, address: &str, registry: &Arc<Registry>) {
        self.0.lock().unwrap().insert(address.into(), (Arc::downgrade(registry), false));
    }

    pub(crate) fn deafen(&self, address: &str) {
        self.0.lock().unwrap().get_mut(address).expect("somebody is there").1 = true;
    }
}

#[async_trait]
impl Peers for Room {
    async fn notify(&self, address: &str, notice: &Notice) -> Option<Ack> {
        let (registry, deaf) = self.0.lock().unwrap().get(address)?.clone();
        tokio::time::sleep(Duration::from_millis(1)).await;
        if deaf {
            return None;
        }
        registry.upgrade()?.notice(notice).await
    }
}

/// The settings of a replica at an address.
pub(crate) fn at(address: &str) -> Settings {
    Settings { lease: LEASE, address: address.into(), ..Settings::default() }
}

/// A replica that has not begun to be a member.
pub(crate) async fn replica_over(store: Arc<dyn Provable>, peers: Arc<dyn Peers>, settings: Settings) -> Arc<Registry> {
    replica_by(Clock::system(), store, peers, settings).await
}

/// The same with a wall clock of its own.
pub(crate) async fn replica_by(
    clock: Clock,
    store: Arc<dyn Provable>,
    peers: Arc<dyn Peers>,
    settings: Settings,
) -> Arc<Registry> {
    let seed = settings.address.bytes().fold(0, |sum, byte| sum * 256 + u64::from(byte));
    let replication = Replication { settings, peers, time: Monotonic::tokio() };
    let storage = Storage::ToProve(store);
    let registry = Registry::replicated(&storage, Visibility::Public, replication, clock, Entropy::seeded(seed));
    assert!(registry.open_now().await.is_proven());
    Arc::new(registry)
}

/// Waits until a replica is a member, and keeps it one.
pub(crate) async fn join(registry: &Arc<Registry>) {
    tokio::spawn(registry.clone().keep_up(CancellationToken::new()));
    until(|| registry.standing().role == "member").await;
}

/// A store with faults on demand, and a registry over it.
pub(crate) struct Bench {
    pub(crate) store: TestStore,
    pub(crate) room: Room,
    /// Keeps nothing in memory, and is no member.
    pub(crate) registry: Arc<Registry>,
    /// May do everything.
    pub(crate) ann: Principal,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::seeded(0).await
    }

    /// `seed`: of what chance does to the calls of the store, when a test gives it something to do.
    pub(crate) async fn seeded(seed: u64) -> Self {
        let store = Arc::new(Faulty::new(MemoryStore::new(), seed, Rates::default()));
        let registry = super::registry_in(store.clone(), 1).await;
        let ann = principal(&registry, "ann").await;
        Self { store, room: Room::default(), registry, ann }
    }

    pub(crate) async fn replica(&self, address: &str) -> Arc<Registry> {
        self.replica_with(at(address)).await
    }

    /// A replica that is a member.
    pub(crate) async fn replica_with(&self, settings: Settings) -> Arc<Registry> {
        let registry = self.outsider(self.store.clone(), settings).await;
        join(&registry).await;
        registry
    }

    /// A replica that has not begun to be a member, with some way of its own to the store.
    pub(crate) async fn outsider(&self, store: Arc<dyn Provable>, settings: Settings) -> Arc<Registry> {
        let address = settings.address.clone();
        let registry = replica_over(store, Arc::new(self.room.clone()), settings).await;
        self.room.enter(&address, &registry);
        registry
    }

    /// What is in the store, with all invariants checked.
    pub(crate) async fn lines(&self) -> BTreeMap<String, Vec<(String, String, bool)>> {
        audit(self.store.inner()).await
    }

    /// How often a key below `key` was put.
    pub(crate) fn puts(&self, key: &str) -> usize {
        self.store.calls().iter().filter(|(call, on, _)| *call == Call::Put && on.starts_with(key)).count()
    }

    /// The calls to the store while `story` runs, but for what time makes: polls of the head, and entries of the audit log.
    pub(crate) async fn calls_of<T>(&self, story: impl Future<Output = T>) -> (T, Vec<String>) {
        let before = self.store.calls().len();
        let result = story.await;
        let word = |(call, key, _): &(Call, String, _)| {
            let section = key.split('/').nth(1).unwrap_or_default();
            format!("{call:?} {section}")
        };
        let timed = |call: &String| call == "Get head" || call == "Put audit";
        let calls = self.store.calls()[before..].iter().map(word).filter(|call| !timed(call)).collect();
        (result, calls)
    }

    pub(crate) async fn head(&self) -> Head {
        let Get::Found(object) = self.store.inner().get(&Key::Head, None).await.unwrap() else { panic!("no head") };
        Head::parse(&object.bytes(1 << 20).await.unwrap()).unwrap()
    }
}

/// Waits for something that needs no more than the steps of others.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never holds");
}
