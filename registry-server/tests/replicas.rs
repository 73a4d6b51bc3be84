//! Replicas over one store, scenario by scenario: what a change waits for, what memory may serve, what a fault costs. (Chance and time are the
//! simulation's.)

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use supercargo_registry::access::{Grant, NewToken, Principal, TokenSecret, Verb, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::krate::metadata::PublishMetadata;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::krate::record::OpId;
use supercargo_registry::krate::release::OwnIndexUrls;
use supercargo_registry::krate::tarball::{TarballLimits, Unpacked};
use supercargo_registry::krate::{CrateName, Record, Release};
use supercargo_registry::registry::{Registry, RegistryError, Replication, Storage, Upload};
use supercargo_registry::replicas::head::Head;
use supercargo_registry::replicas::{Ack, Mode, Notice, Peers, Settings};
use supercargo_registry::store::faulty::{Call, Faulty};
use supercargo_registry::store::{Body, Cond, Get, Key, MemoryStore, Put, Sha256Digest, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(2);

type TestStore = Arc<Faulty<MemoryStore>>;

/// Replicas in one process, by address; those that are deaf hear nothing.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<BTreeMap<String, (Weak<Registry>, bool)>>>);

impl Room {
    fn deafen(&self, address: &str) {
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

struct Bench {
    store: TestStore,
    room: Room,
    ann: Principal,
}

impl Bench {
    async fn new() -> Self {
        let store = Arc::new(Faulty::calm(MemoryStore::new()));
        let registry = support::registry_in(store.clone(), 1).await;
        let ann = principal(&registry, "ann").await;
        Self { store, room: Room::default(), ann }
    }

    async fn replica(&self, address: &str) -> Arc<Registry> {
        self.replica_with(address, Mode::Strict).await
    }

    /// A replica that is a member.
    async fn replica_with(&self, address: &str, mode: Mode) -> Arc<Registry> {
        let settings = Settings { lease: LEASE, address: address.into(), mode, ..Settings::default() };
        let replication = Replication { settings, peers: Arc::new(self.room.clone()), time: Monotonic::tokio() };
        let storage = Storage::ToProve(self.store.clone());
        let seed = u64::from(address.bytes().next().expect("a letter"));
        let entropy = Entropy::seeded(seed);
        let registry =
            Arc::new(Registry::replicated(&storage, Visibility::Public, replication, Clock::system(), entropy));
        assert!(registry.open_now().await.is_proven());
        self.room.0.lock().unwrap().insert(address.into(), (Arc::downgrade(&registry), false));
        tokio::spawn(registry.clone().keep_up(CancellationToken::new()));
        until(|| registry.standing().role == "member").await;
        registry
    }

    fn calls(&self) -> Vec<(Call, String)> {
        self.store.calls().into_iter().map(|(call, key, _)| (call, key)).collect()
    }

    /// The calls to the store while `story` runs, but for what time makes: polls of the head, and entries of the audit log.
    async fn calls_of<T>(&self, story: impl Future<Output = T>) -> (T, Vec<String>) {
        let before = self.calls().len();
        let result = story.await;
        let word = |(call, key): &(Call, String)| {
            let section = key.split('/').nth(1).unwrap_or_default();
            format!("{call:?} {section}")
        };
        let calls =
            self.calls()[before..].iter().map(word).filter(|call| call != "Get head" && call != "Put audit").collect();
        (result, calls)
    }

    async fn head(&self) -> Head {
        let Get::Found(object) = self.store.inner().get(&Key::Head, None).await.unwrap() else { panic!("no head") };
        Head::parse(&object.bytes(1 << 20).await.unwrap()).unwrap()
    }
}

/// Waits for something that needs no more than the steps of others.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never holds");
}

async fn principal(registry: &Registry, user: &str) -> Principal {
    let token = support::mint(registry, &Entropy::from_os(), user, &Verb::ALL, &["*"]).await;
    registry.authenticate(&token).await.expect("a good token")
}

fn name(text: &str) -> CrateName {
    text.parse().expect("a name")
}

fn key(text: &str) -> Key {
    Key::krate(text).expect("a name")
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

/// How many versions a replica shows; `None`: it knows no such crate.
async fn lines(registry: &Registry, krate: &str) -> Option<usize> {
    match registry.index(&Principal::Anonymous, &name(krate)).await {
        Ok(index) => {
            let text = index.plain().await.expect("it inflates");
            Some(text.iter().filter(|byte| **byte == b'\n').count())
        }
        Err(RegistryError::NotFound(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

async fn record(store: &TestStore, krate: &str) -> (Record, supercargo_registry::store::Etag) {
    let Get::Found(object) = store.inner().get(&key(krate), None).await.unwrap() else { panic!("no {krate}") };
    let etag = object.etag.clone();
    (Record::parse(&object.bytes(1 << 24).await.unwrap()).unwrap(), etag)
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_served_without_the_store_and_missing_crates_too() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let story = async {
        for _ in 0..10 {
            assert_eq!(lines(&a, "krate").await, Some(1));
        }
    };
    assert_eq!(bench.calls_of(story).await.1, [""; 0], "who published knows");
    let story = async {
        for _ in 0..10 {
            assert_eq!(lines(&a, "absent").await, None);
        }
    };
    assert_eq!(bench.calls_of(story).await.1, ["Get crate"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_costs_four_puts_and_waits_for_nobody_who_answers() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    let began = Instant::now();
    let (result, calls) = bench.calls_of(publish(&a, &bench.ann, "krate", "1.1.0")).await;
    result.unwrap();
    assert_eq!(calls, ["Put blob", "Put crate", "Put head", "Put crate"]);
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_costs_one_lease_once() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    bench.room.deafen("b");
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    let took = began.elapsed();
    assert!((LEASE..LEASE * 2).contains(&took), "{took:?}");
    assert_eq!(lines(&b, "krate").await, Some(2), "solo, after asking for the head");
    until(|| b.standing().role == "solo").await;
    tokio::time::sleep(LEASE / 2).await;
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.2.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_waited_for_by_nobody() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    bench.room.deafen("b");
    b.leave().await;
    assert_eq!(bench.head().await.members.len(), 1);
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_share_writes_of_the_head() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    bench.store.set_rates(supercargo_registry::store::faulty::Rates {
        delay_max: Duration::from_millis(10),
        ..Default::default()
    });
    let before = bench.head().await.seq;
    let names = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
    let all = futures::future::join_all(names.map(|krate| publish(&a, &bench.ann, krate, "1.0.0")));
    let (results, calls) = bench.calls_of(all).await;
    results.into_iter().for_each(|result| result.unwrap());
    let heads = calls.iter().filter(|call| *call == "Put head").count();
    assert!((1..6).contains(&heads), "{heads} writes of the head for 8 changes");
    assert_eq!(bench.head().await.seq, before + 8);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_refused_everywhere_when_the_call_returns() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    let secret = Entropy::seeded(5).with(TokenSecret::generate);
    let new = NewToken {
        user: "ci".parse().unwrap(),
        description: String::new(),
        grants: vec![Grant::on_all([Verb::Read])],
        expires_at: None,
    };
    a.put_token(secret.hash(), new).await.unwrap();
    b.authenticate(secret.expose()).await.unwrap();
    assert_eq!(bench.calls_of(b.authenticate(secret.expose())).await.1, [""; 0], "from memory");
    a.revoke_token(secret.hash()).await.unwrap();
    let error = b.authenticate(secret.expose()).await.unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_writers_mark_harms_nobody_and_the_next_writer_takes_it_over() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let mark: OpId = "12".repeat(16).parse().unwrap();
    let (before, etag) = record(&bench.store, "krate").await;
    let marked = Body::from(before.marked(mark).to_bytes());
    assert!(matches!(bench.store.inner().put(&key("krate"), marked, Cond::Matches(etag)).await, Put::Stored(_)));
    let story = async {
        assert_eq!((lines(&b, "krate").await, lines(&b, "krate").await), (Some(1), Some(1)));
    };
    assert_eq!(bench.calls_of(story).await.1, ["Get crate", "Get crate"], "served, and not kept");
    let began = Instant::now();
    publish(&b, &bench.ann, "krate", "1.1.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let (after, _) = record(&bench.store, "krate").await;
    assert_eq!((after.rev(), after.mark()), (2, None));
    assert_eq!(lines(&a, "krate").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_dead_writer_reserved_is_free() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "other", "1.0.0").await.unwrap();
    let mark: OpId = "12".repeat(16).parse().unwrap();
    let reserved = Record::new(name("Free-Name"), ["ann".parse().unwrap()].into()).reservation(mark);
    let put = bench.store.inner().put(&key("free_name"), Body::from(reserved.to_bytes()), Cond::Absent).await;
    assert!(matches!(put, Put::Stored(_)));
    assert_eq!(lines(&a, "Free-Name").await, None);
    let bob = principal(&a, "bob").await;
    publish(&a, &bob, "free_name", "1.0.0").await.unwrap();
    assert_eq!(lines(&a, "free_name").await, Some(1));
    let (record, _) = record(&bench.store, "free_name").await;
    assert_eq!(record.owners().iter().map(ToString::to_string).collect::<Vec<_>>(), ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn cut_off_from_the_store_strict_answers_nothing_and_available_index_files_for_a_while() {
    let bench = Bench::new().await;
    let (strict, available) = (bench.replica("s").await, bench.replica_with("v", Mode::Available).await);
    publish(&strict, &bench.ann, "krate", "1.0.0").await.unwrap();
    for registry in [&strict, &available] {
        assert_eq!(lines(registry, "krate").await, Some(1));
    }
    bench.store.set_down(true);
    assert_eq!(lines(&strict, "krate").await, Some(1), "the lease holds");
    tokio::time::sleep(LEASE * 2).await;
    let refused = |result: Result<_, RegistryError>| matches!(result, Err(RegistryError::Store(_)));
    assert!(refused(strict.index(&bench.ann, &name("krate")).await.map(drop)));
    assert_eq!(lines(&available, "krate").await, Some(1));
    assert!(refused(available.owners(&bench.ann, &name("krate")).await.map(drop)), "nothing but index files");
    assert!(refused(available.set_yanked(&bench.ann, &name("krate"), &"1.0.0".parse().unwrap(), true).await));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(refused(available.index(&bench.ann, &name("krate")).await.map(drop)));
    bench.store.set_down(false);
    for registry in [&strict, &available] {
        assert_eq!(lines(registry, "krate").await, Some(1), "healed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_replica_asks_nothing_and_is_fresh_at_once() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    tokio::time::sleep(LEASE * 2).await;
    let before = bench.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bench.calls().len(), before, "nothing happens when nobody asks");
    assert_eq!(bench.calls_of(lines(&b, "krate")).await, (Some(1), vec![]), "memory, after asking for the head");
    assert_eq!(b.standing().role, "member");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_was_put_back_empties_the_memory() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    let objects = [Key::Format, Key::Head, key("krate")];
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let mut saved = Vec::new();
    for key in &objects {
        let Get::Found(object) = bench.store.inner().get(key, None).await.unwrap() else { panic!("no {key}") };
        saved.push(object.bytes(1 << 20).await.unwrap());
    }
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    assert_eq!(lines(&a, "krate").await, Some(2));

    // The backup, under a new id, as the documentation says.
    let mut format: serde_json::Value = serde_json::from_slice(&saved[0]).unwrap();
    format["registry"] = "restored".into();
    saved[0] = serde_json::to_vec(&format).unwrap().into();
    for (key, bytes) in objects.iter().zip(saved) {
        assert!(matches!(bench.store.inner().put(key, Body::Bytes(bytes), Cond::Any).await, Put::Stored(_)));
    }
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(lines(&a, "krate").await, Some(1));
    publish(&a, &bench.ann, "krate", "1.2.0").await.unwrap();
    assert_eq!((lines(&a, "krate").await, bench.head().await.registry.as_str()), (Some(2), "restored"));
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_the_ring_holds_while_a_replica_slept_empty_its_memory() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    // It is not a member, and hears nothing, while others announce more than the ring holds.
    tokio::time::sleep(LEASE * 2).await;
    let mut head = bench.head().await;
    head.members.clear();
    for number in 0..600u64 {
        let op: OpId = format!("{number:032x}").parse().unwrap();
        head = head.next(op.clone(), &head.registry.clone());
        head.announce(&key(&format!("k{number}")), 1, op, 512);
    }
    assert!(matches!(
        bench.store.inner().put(&Key::Head, Body::Bytes(head.to_bytes()), Cond::Any).await,
        Put::Stored(_)
    ));
    assert_eq!(a.standing().entries, 1);
    let (shown, calls) = bench.calls_of(lines(&a, "krate")).await;
    assert_eq!((shown, calls), (Some(1), vec!["Get crate".to_owned()]), "read again");
}
