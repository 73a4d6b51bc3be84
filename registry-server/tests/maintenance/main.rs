//! Jobs over the whole store, scenario by scenario: dead writers' marks, deleted crates, the audit log, the check, the garbage collection.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod derived;
mod fsck;
mod gc;
mod later;
mod restore;
mod sweep;
mod tombstones;

use std::sync::Arc;

use supercargo_registry::access::{Principal, Verb, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::krate::metadata::PublishMetadata;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::krate::record::OpId;
use supercargo_registry::krate::release::OwnIndexUrls;
use supercargo_registry::krate::tarball::{TarballLimits, Unpacked};
use supercargo_registry::krate::{CrateName, Record, Release};
use supercargo_registry::registry::{Registry, RegistryError, Replication, Storage, Upload};
use supercargo_registry::store::faulty::{Call, Faulty};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{Body, Cond, Get, Key, MemoryStore, Put, Sha256Digest, Store};
use tokio_util::sync::CancellationToken;

/// A store in memory, with faults when a test wants them, and one replica over it.
struct Place {
    store: Arc<Faulty<MemoryStore>>,
    registry: Arc<Registry>,
    ann: Principal,
}

impl Place {
    async fn new() -> Self {
        Self::over(MemoryStore::new()).await
    }

    /// The same over a store that keeps every state of every object.
    async fn with_history() -> Self {
        Self::over(MemoryStore::with_history()).await
    }

    async fn over(store: MemoryStore) -> Self {
        drop(clock());
        let store = Arc::new(Faulty::calm(store));
        let registry = replica(&store, 1).await;
        let ann = user(&registry, "ann").await;
        Self { store, registry, ann }
    }

    /// How often the record of a crate was read from the store while `story` ran.
    async fn reads_of(&self, krate: &str, story: impl Future<Output = ()>) -> usize {
        let count = || {
            let calls = self.store.calls();
            calls.iter().filter(|(call, at, _)| *call == Call::Get && *at == key(krate).to_string()).count()
        };
        let before = count();
        story.await;
        count() - before
    }

    async fn record(&self, krate: &str) -> Record {
        Record::parse(&self.object(&key(krate)).await).expect("a readable record")
    }

    async fn object(&self, key: &Key) -> bytes::Bytes {
        let Get::Found(object) = self.store.inner().get(key, None).await.unwrap() else { panic!("no {key}") };
        object.bytes(1 << 24).await.unwrap()
    }

    /// Puts something into the store past the registry.
    async fn plant(&self, key: &Key, bytes: impl Into<bytes::Bytes>) {
        let put = self.store.inner().put(key, Body::Bytes(bytes.into()), Cond::Any).await;
        assert!(matches!(put, Put::Stored(_)), "{put:?}");
    }
}

/// A clock that goes with tokio's, as that of the store does.
fn clock() -> Clock {
    thread_local! {
        static BEGAN: std::cell::OnceCell<tokio::time::Instant> = const { std::cell::OnceCell::new() };
    }
    // The same for all replicas of a test, which has a thread of its own.
    let began = BEGAN.with(|began| *began.get_or_init(tokio::time::Instant::now));
    Clock::from_fn(move || jiff::Timestamp::UNIX_EPOCH + began.elapsed())
}

async fn replica(store: &Arc<Faulty<MemoryStore>>, seed: u64) -> Arc<Registry> {
    replica_on(Faulty::clone(store), seed).await
}

/// A replica that is a member.
async fn replica_on(store: impl Provable, seed: u64) -> Arc<Registry> {
    let storage = Storage::ToProve(Arc::new(store));
    let replication = Replication { time: Monotonic::tokio(), ..Replication::default() };
    let (clock, entropy) = (clock(), Entropy::seeded(seed));
    let registry = Arc::new(Registry::replicated(&storage, Visibility::Public, replication, clock, entropy));
    assert!(registry.open_now().await.is_proven());
    tokio::spawn(registry.clone().keep_up(CancellationToken::new()));
    for _ in 0..100_000 {
        if registry.standing().role == "member" {
            return registry;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never becomes a member");
}

async fn user(registry: &Registry, login: &str) -> Principal {
    let token = support::mint(registry, &Entropy::from_os(), login, &Verb::ALL, &["*"]).await;
    registry.authenticate(&token).await.expect("a good token")
}

/// A user without the verb `Admin`, who has to own what he changes.
async fn plain_user(registry: &Registry, login: &str) -> Principal {
    use Verb::{Owners, PublishNew, PublishUpdate, Read, Yank};
    let verbs = [Read, PublishNew, PublishUpdate, Yank, Owners];
    let token = support::mint(registry, &Entropy::from_os(), login, &verbs, &["*"]).await;
    registry.authenticate(&token).await.expect("a good token")
}

fn name(text: &str) -> CrateName {
    text.parse().expect("a name")
}

fn key(krate: &str) -> Key {
    Key::krate(name(krate).canonical().as_str()).expect("a name")
}

fn op(digit: u8) -> OpId {
    format!("{digit:032x}").parse().expect("digits")
}

fn upload(packed: &Packed) -> Upload {
    let krate = packed.krate();
    let (metadata, name, version) =
        PublishMetadata::parse(packed.metadata.to_string().as_bytes()).expect("good metadata");
    let limits = TarballLimits { unpacked_bytes_max: 1 << 20, entries_max: 100 };
    let unpacked = Unpacked::open(&krate[..], krate.len() as u64, &name, &version, &limits).expect("a good tarball");
    let release = Release::check(&metadata, &unpacked, &OwnIndexUrls::default()).expect("they agree");
    Upload { release, sha256: Sha256Digest::of(&krate), body: Body::from(krate) }
}

async fn publish(registry: &Registry, user: &Principal, krate: &str, version: &str) -> Result<(), RegistryError> {
    let ticket = registry.may_publish(user, &name(krate)).await?;
    registry.publish(ticket, upload(&Packed::new(krate, version))).await.map(drop)
}

/// The index lines of a crate; `None`: there is no such crate.
async fn index(registry: &Registry, krate: &str) -> Option<String> {
    match registry.index(&Principal::Anonymous, &name(krate)).await {
        Ok(index) => Some(String::from_utf8(index.plain().await.expect("it inflates").to_vec()).expect("text")),
        Err(RegistryError::NotFound(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}
