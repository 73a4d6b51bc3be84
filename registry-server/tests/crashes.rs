//! kill -9 at every step of every change. A step is anything by which a process touches the world: a call of the store, a notice to another
//! replica, a wait. At its n-th step the process stops for ever: before the step, after it, or with its put still on the way, which lands
//! while others go on. Then the user, who has seen nothing but a broken connection, runs the command again on a process that has started since,
//! or on another replica. Every n is tried, until the command gets through.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use supercargo_registry::access::{Principal, TokenSecret, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic, Ticks};
use supercargo_registry::downloads::{Rules as DownloadRules, Total};
use supercargo_registry::registry::{Compacted, Downloads, Query, Registry, RegistryError, Replication, Storage};
use supercargo_registry::replicas::{Ack, Mode, Mutant, Notice, Peers, Rules, Settings};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Prefix, Put, Store, StoreError, list_all,
};
use support::crates::{audit, key, name, new_token, principal, publish_plain, record_at, shown, version};
use support::replicas::{LEASE, Room, replica_over, until};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// More steps than any command takes, notices to silent replicas included.
const STEPS_MAX: usize = 400;

/// When, about its last step, a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
    /// Before; but a put is on the way, and lands after this long.
    Late(Duration),
}

const MOMENTS: [Moment; 4] =
    [Moment::Before, Moment::After, Moment::Late(Duration::from_millis(1)), Moment::Late(Duration::from_secs(1))];

/// What holds a process to its number of steps.
struct Fuse {
    left: AtomicUsize,
    moment: Moment,
    last: Mutex<String>,
    burnt: Notify,
}

impl Fuse {
    /// A process that lives until the fuse is lit.
    fn unlit(moment: Moment) -> Arc<Self> {
        Arc::new(Self { left: AtomicUsize::new(usize::MAX), moment, last: Mutex::default(), burnt: Notify::new() })
    }

    /// The step at which it died.
    fn last(&self) -> String {
        self.last.lock().unwrap().clone()
    }

    fn light(&self, steps: usize) {
        self.left.store(steps, Ordering::SeqCst);
    }

    /// Takes a step, or dies. A dead process takes no further step.
    async fn step<T>(&self, what: impl FnOnce() -> String, step: impl Future<Output = T>) -> T {
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
struct Mortal {
    store: Arc<MemoryStore>,
    room: Room,
    fuse: Arc<Fuse>,
    born: tokio::time::Instant,
}

impl Mortal {
    fn new(store: &Arc<MemoryStore>, room: &Room, fuse: &Arc<Fuse>) -> Self {
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

/// What a user does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    PublishNew,
    PublishVersion,
    Yank,
    AddOwner,
    RemoveOwner,
    CreateToken,
    RevokeToken,
}

const COMMANDS: [Command; 7] = [
    Command::PublishNew,
    Command::PublishVersion,
    Command::Yank,
    Command::AddOwner,
    Command::RemoveOwner,
    Command::CreateToken,
    Command::RevokeToken,
];

fn secret(number: u64) -> TokenSecret {
    Entropy::seeded(number).with(TokenSecret::generate)
}

/// The token that a command makes, and the one that is there.
const MADE: u64 = 501;
const OLD: u64 = 502;

impl Command {
    async fn run(self, registry: &Registry, ann: &Principal) -> Result<(), RegistryError> {
        let old = name("old");
        let owner = |user: &str| [user.parse().unwrap()];
        match self {
            Self::PublishNew => publish_plain(registry, ann, "new", "1.0.0").await.map(drop),
            Self::PublishVersion => publish_plain(registry, ann, "old", "1.1.0").await.map(drop),
            Self::Yank => registry.set_yanked(ann, &old, &version("1.0.0"), true).await,
            Self::AddOwner => registry.add_owners(ann, &old, &owner("bob")).await,
            Self::RemoveOwner => registry.remove_owners(ann, &old, &owner("eve")).await,
            Self::CreateToken => registry.put_token(secret(MADE).hash(), new_token()).await.map(drop),
            Self::RevokeToken => registry.revoke_token(secret(OLD).hash()).await,
        }
    }

    /// What a registry shows of it: 0 before, 1 after.
    async fn shows(self, registry: &Registry, ann: &Principal) -> usize {
        let token = async |number| registry.authenticate(secret(number).expose()).await.is_ok();
        let owners = async || registry.owners(ann, &name("old")).await.unwrap();
        let owns = async |user: &str| owners().await.iter().any(|owner| owner.to_string() == user);
        match self {
            Self::PublishNew => shown(registry, ann, "new").await.unwrap_or(0),
            Self::PublishVersion => shown(registry, ann, "old").await.expect("it is there") - 1,
            Self::Yank => {
                let index = registry.index(ann, &name("old")).await.unwrap().plain().await.unwrap();
                usize::from(String::from_utf8_lossy(&index).contains("\"yanked\":true"))
            }
            Self::AddOwner => usize::from(owns("bob").await),
            Self::RemoveOwner => usize::from(!owns("eve").await),
            Self::CreateToken => usize::from(token(MADE).await),
            Self::RevokeToken => usize::from(!token(OLD).await),
        }
    }

    /// The crate whose record has grown by one operation in the end.
    fn krate(self) -> Option<(&'static str, u64)> {
        match self {
            Self::PublishNew => Some(("new", 1)),
            Self::CreateToken | Self::RevokeToken => None,
            _ => Some(("old", 3)),
        }
    }
}

/// A registry with a crate `old` of ann's and eve's, and a token.
async fn before() -> (Arc<MemoryStore>, Principal) {
    let store = Arc::new(MemoryStore::new());
    let registry = support::registry_in(store.clone(), 4).await;
    let ann = principal(&registry, "ann").await;
    publish_plain(&registry, &ann, "old", "1.0.0").await.expect("no faults");
    registry.add_owners(&ann, &name("old"), &["eve".parse().unwrap()]).await.expect("no faults");
    registry.put_token(secret(OLD).hash(), new_token()).await.expect("no faults");
    (store, ann)
}

async fn member(registry: &Arc<Registry>, room: &Room, address: &str) {
    room.enter(address, registry);
    tokio::spawn(registry.clone().keep_up(CancellationToken::new()));
    until(|| registry.standing().role == "member").await;
}

/// A member that dies when its fuse has burnt.
async fn mortal(store: &Arc<MemoryStore>, room: &Room, fuse: &Arc<Fuse>, rules: Rules) -> Arc<Registry> {
    let world = Mortal::new(store, room, fuse);
    let settings = Settings { lease: LEASE, address: "a".into(), rules, ..Settings::default() };
    let replication =
        Replication { settings, peers: Arc::new(world.clone()), time: Monotonic::from_ticks(world.clone()) };
    let storage = Storage::ToProve(Arc::new(world));
    let entropy = Entropy::seeded(5);
    let registry = Registry::replicated(&storage, Visibility::Public, replication, Clock::system(), entropy);
    assert!(registry.open_now().await.is_proven());
    let registry = Arc::new(registry);
    member(&registry, room, "a").await;
    registry
}

/// One crash. Whether the command got through before it.
async fn crash(command: Command, steps: usize, moment: Moment, with_peer: bool, rules: Rules) -> bool {
    let (store, ann) = before().await;
    let room = Room::default();
    let peer = match with_peer {
        true => {
            let peer = replica_over(store.clone(), Arc::new(room.clone()), "b", Mode::Strict).await;
            member(&peer, &room, "b").await;
            // What it has shown is in its memory.
            assert_eq!(command.shows(&peer, &ann).await, 0);
            Some(peer)
        }
        false => None,
    };
    let fuse = Fuse::unlit(moment);
    let killed = mortal(&store, &room, &fuse, rules).await;
    let work = async { command.run(&killed, &ann).await.unwrap_or_else(|error| panic!("{error:?}")) };
    let got_through = lives(&fuse, steps, work).await;
    room.deafen("a");
    let step = fuse.last();
    if matches!(moment, Moment::Late(_)) && !got_through && !step.starts_with("put") {
        // Nothing was on the way, so this is the crash before the step.
        return false;
    }
    let place = format!("{command:?}, step {steps} ({step}), {moment:?}, peer: {with_peer}");
    drop(killed);

    let seen = match &peer {
        Some(peer) => command.shows(peer, &ann).await,
        None => 0,
    };
    assert!(seen == 1 || !got_through || peer.is_none(), "{place}: H: acknowledged, and not shown");
    audit(&*store).await;
    let restarted = replica_over(store.clone(), Arc::new(room.clone()), "a", Mode::Strict).await;
    member(&restarted, &room, "a").await;
    let again = match &peer {
        Some(peer) if steps.is_multiple_of(2) => peer,
        _ => &restarted,
    };
    let repeat = tokio::time::timeout(Duration::from_secs(30), command.run(again, &ann)).await;
    repeat.unwrap_or_else(|_| panic!("{place}: the repeated command hangs")).unwrap_or_else(|error| {
        panic!("{place}: the repeated command: {error:?}");
    });
    // What was on the way has landed.
    for wait in [Duration::ZERO, Duration::from_secs(5)] {
        tokio::time::sleep(wait).await;
        for registry in peer.iter().chain([&restarted]) {
            assert_eq!(command.shows(registry, &ann).await, 1, "{place}: E: after {wait:?}");
        }
        let lines = audit(&*store).await;
        assert_eq!(lines["old"].len(), 1 + usize::from(command == Command::PublishVersion), "{place}: {lines:?}");
    }
    if let Some((krate, rev)) = command.krate() {
        let record = record_at(&*store, &key(krate)).await;
        assert_eq!((record.rev(), record.mark()), (rev, None), "{place}: done once, and no mark is left");
    }
    got_through
}

async fn every_step(command: Command) {
    let mut crashes = 0;
    for with_peer in [false, true] {
        for moment in MOMENTS {
            let mut steps = 1;
            while !crash(command, steps, moment, with_peer, Rules::default()).await {
                steps += 1;
                assert!(steps < STEPS_MAX, "{command:?} never gets through");
            }
            // The mark, the head, the commit at the least.
            assert!(steps > 3, "{command:?} got through in {steps} steps: what was counted?");
            crashes += steps - 1;
        }
    }
    println!("{command:?}: {crashes} crashes");
}

/// Runs something until it ends or its process dies. Whether it got through.
async fn lives(fuse: &Fuse, steps: usize, work: impl Future<Output = ()>) -> bool {
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

/// Kills a job at every step, at every moment, until it gets through.
async fn every_step_of(job: &str, crash: impl AsyncFn(Arc<Fuse>, usize) -> bool) {
    for moment in MOMENTS {
        let mut steps = 1;
        while !crash(Fuse::unlit(moment), steps).await {
            steps += 1;
            assert!(steps < STEPS_MAX, "{job} never gets through");
        }
        assert!(steps > 2, "{job} got through in {steps} steps: what was counted?");
        println!("{job}, {moment:?}: {} crashes", steps - 1);
    }
}

/// The wall clock, by the hour.
fn clock(hour: &Arc<AtomicUsize>) -> Clock {
    let hour = hour.clone();
    Clock::from_fn(move || {
        let hours = i64::try_from(hour.load(Ordering::SeqCst)).expect("few");
        jiff::Timestamp::from_second(1_800_000_000 + hours * 3600).expect("a time")
    })
}

fn downloads(store: Arc<dyn Store>, hour: &Arc<AtomicUsize>, seed: u64) -> Downloads {
    Downloads::new(store, clock(hour), Monotonic::tokio(), Entropy::seeded(seed), DownloadRules::default())
}

/// Downloads of three processes; whoever adds them up is killed, somebody else does it later, and everything was counted once.
async fn fold_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, hour) = (Arc::new(MemoryStore::new()), Arc::new(AtomicUsize::new(0)));
    for process in 1..=3 {
        let counting = downloads(store.clone(), &hour, process);
        for _ in 0..process {
            counting.count(&name("old"), &version("1.0.0"));
        }
        counting.flush().await.expect("no faults");
    }
    let mortal = Mortal::new(&store, &Room::default(), &fuse);
    let killed = downloads(Arc::new(mortal), &hour, 7);
    let got_through = lives(&fuse, steps, async {
        // The second time it deletes what the total names.
        for _ in 0..2 {
            killed.fold().await.expect("no faults");
            hour.fetch_add(2, Ordering::SeqCst);
        }
    })
    .await;
    let others = downloads(store.clone(), &hour, 8);
    for _ in 0..3 {
        hour.fetch_add(2, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(5)).await;
        others.fold().await.expect("no faults");
    }
    let Get::Found(object) = store.get(&Key::DownloadsTotal, None).await.unwrap() else { panic!("there is no total") };
    let total = Total::parse(&object.bytes(1 << 20).await.unwrap()).unwrap().counts().unwrap();
    assert_eq!(total.values().copied().collect::<Vec<_>>(), [6], "step {steps} ({}), {:?}", fuse.last(), fuse.moment);
    let left = list_all(&*store, &Prefix::DownloadsDeltas).await.unwrap();
    assert!(left.is_empty(), "step {steps} ({}), {:?}: {left:?}", fuse.last(), fuse.moment);
    got_through
}

/// Whoever writes the catalog is killed; another replica finds every crate, and writes it.
async fn compaction_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, ann) = before().await;
    let room = Room::default();
    let killed = mortal(&store, &room, &fuse, Rules::default()).await;
    let found = async |registry: &Arc<Registry>| {
        let query = Query::new("", None, 1, 10).expect("a query");
        let found = registry.search(&ann, &query).await.expect("no faults");
        found.hits.iter().map(|hit| format!("{} {}", hit.row.name, hit.row.max_version)).collect::<Vec<_>>()
    };
    let got_through = lives(&fuse, steps, async {
        found(&killed).await;
        assert_eq!(killed.compact().await.expect("no faults"), Compacted::Stored);
    })
    .await;
    room.deafen("a");
    let place = format!("step {steps} ({}), {:?}", fuse.last(), fuse.moment);
    let other = replica_over(store.clone(), Arc::new(room.clone()), "b", Mode::Strict).await;
    member(&other, &room, "b").await;
    assert_eq!(found(&other).await, ["old 1.0.0"], "{place}");
    publish_plain(&other, &ann, "new", "1.0.0").await.expect("no faults");
    // What was on the way has landed, and what failed is due again.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(700)).await;
        assert_eq!(found(&other).await, ["new 1.0.0", "old 1.0.0"], "{place}");
        other.compact().await.expect("no faults");
    }
    let third = replica_over(store.clone(), Arc::new(room.clone()), "c", Mode::Strict).await;
    assert_eq!(found(&third).await, ["new 1.0.0", "old 1.0.0"], "{place}");
    assert!(matches!(store.get(&Key::CatalogCurrent, None).await, Ok(Get::Found(_))), "{place}");
    got_through
}

#[tokio::test(start_paused = true)]
async fn adding_up_downloads_killed_at_every_step() {
    every_step_of("the fold", fold_crash).await;
}

#[tokio::test(start_paused = true)]
async fn writing_the_catalog_killed_at_every_step() {
    every_step_of("the compaction", compaction_crash).await;
}

/// The checks see a crash that does harm: without one of the rules some step is one too many.
#[tokio::test(start_paused = true)]
async fn a_crash_that_does_harm_is_noticed() {
    for (mutant, command) in [
        (Mutant::BlobAfterRecord, Command::PublishVersion),
        (Mutant::CommitBeforeAcks, Command::Yank),
        (Mutant::TokenNotCleared, Command::RevokeToken),
    ] {
        let mut is_noticed = false;
        for steps in 1..30 {
            // A check that does not hold panics.
            let story = crash(command, steps, Moment::After, true, Rules::without(mutant));
            is_noticed = tokio::spawn(story).await.is_err();
            if is_noticed {
                break;
            }
        }
        assert!(is_noticed, "{mutant:?}: every {command:?} that was killed looked good");
    }
}

macro_rules! killed_at_every_step {
    ($($test:ident => $command:ident,)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $test() {
            every_step(Command::$command).await;
        })+

        #[test]
        fn no_command_is_left_out() {
            assert_eq!(COMMANDS, [$(Command::$command),+]);
        }
    };
}

killed_at_every_step! {
    publish_of_a_new_crate_killed_at_every_step => PublishNew,
    publish_of_a_version_killed_at_every_step => PublishVersion,
    yank_killed_at_every_step => Yank,
    a_new_owner_killed_at_every_step => AddOwner,
    an_owner_less_killed_at_every_step => RemoveOwner,
    a_new_token_killed_at_every_step => CreateToken,
    a_revocation_killed_at_every_step => RevokeToken,
}
