//! kill -9 at every step of every change. A step is anything by which a process touches the world: a call of the store, a notice to another
//! replica, a wait. At its n-th step the process stops for ever: before the step, after it, or with its put still on the way, which lands
//! while others go on. Then the user, who has seen nothing but a broken connection, runs the command again on a process that has started since,
//! or on another replica. Every n is tried, until the command gets through. After each, fsck finds nothing but what a dead process may leave, and
//! after a repair and the garbage collection nothing at all.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod clean;
mod jobs;
mod maintenance;
mod mortal;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use supercargo_registry::access::{Principal, TokenSecret, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::maintenance::fsck::Code;
use supercargo_registry::registry::{Registry, RegistryError, Replication, Storage};
use supercargo_registry::replicas::{Mutant, Rules, Settings};
use supercargo_registry::store::MemoryStore;
use support::crates::{audit, key, name, new_token, principal, publish_plain, record_at, shown, version};
use support::replicas::{LEASE, Room, at, replica_over, until};
use tokio_util::sync::CancellationToken;

use clean::ends_clean;
use mortal::{Fuse, MOMENTS, Moment, Mortal, STEPS_MAX, lives};

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

    /// Whether a crash may leave a file that nothing names.
    fn may_leave_files(self) -> bool {
        matches!(self, Self::PublishNew | Self::PublishVersion)
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
    before_in(MemoryStore::new()).await
}

async fn before_in(store: MemoryStore) -> (Arc<MemoryStore>, Principal) {
    let store = Arc::new(store);
    let registry = support::registry_in(store.clone(), 4).await;
    let ann = principal(&registry, "ann").await;
    publish_plain(&registry, &ann, "old", "1.0.0").await.expect("no faults");
    registry.add_owners(&ann, &name("old"), &["eve".parse().unwrap()]).await.expect("no faults");
    registry.put_token(secret(OLD).hash(), new_token()).await.expect("no faults");
    registry.finish_writes().await;
    (store, ann)
}

/// Makes it a member until `stop`.
async fn member(registry: &Arc<Registry>, room: &Room, address: &str, stop: &CancellationToken) {
    room.enter(address, registry);
    tokio::spawn(registry.clone().keep_up(stop.clone()));
    until(|| registry.standing().role == "member").await;
}

/// A member that dies when its fuse has burnt.
async fn mortal(
    store: &Arc<MemoryStore>,
    room: &Room,
    fuse: &Arc<Fuse>,
    rules: Rules,
    stop: &CancellationToken,
) -> Arc<Registry> {
    let world = Mortal::new(store, room, fuse);
    let settings = Settings { lease: LEASE, address: "a".into(), rules, ..Settings::default() };
    let replication =
        Replication { settings, peers: Arc::new(world.clone()), time: Monotonic::from_ticks(world.clone()) };
    let storage = Storage::ToProve(Arc::new(world));
    let entropy = Entropy::seeded(5);
    let registry = Registry::replicated(&storage, Visibility::Public, replication, Clock::system(), entropy);
    assert!(registry.open_now().await.is_proven());
    let registry = Arc::new(registry);
    member(&registry, room, "a", stop).await;
    registry
}

/// One crash. Whether the command got through before it.
async fn crash(command: Command, steps: usize, moment: Moment, with_peer: bool, rules: Rules) -> bool {
    let (store, ann) = before().await;
    let (room, stop) = (Room::default(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let peer = match with_peer {
        true => {
            let peer = replica_over(store.clone(), Arc::new(room.clone()), at("b")).await;
            member(&peer, &room, "b", &stop).await;
            // What it has shown is in its memory.
            assert_eq!(command.shows(&peer, &ann).await, 0);
            Some(peer)
        }
        false => None,
    };
    let fuse = Fuse::unlit(moment);
    let killed = mortal(&store, &room, &fuse, rules, &stop).await;
    let acknowledged = AtomicBool::new(false);
    let got_through = lives(&fuse, steps, async {
        command.run(&killed, &ann).await.unwrap_or_else(|error| panic!("{error:?}"));
        acknowledged.store(true, Ordering::SeqCst);
        // The entry of the audit log.
        killed.finish_writes().await;
    })
    .await;
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
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    assert!(seen == 1 || !acknowledged || peer.is_none(), "{place}: H: acknowledged, and not shown");
    audit(&*store).await;
    let restarted = replica_over(store.clone(), Arc::new(room.clone()), at("a")).await;
    member(&restarted, &room, "a", &stop).await;
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
    for registry in peer.iter().chain([&restarted]) {
        registry.finish_writes().await;
    }
    let left = ends_clean(&store, &place).await;
    assert!(command.may_leave_files() || !left.contains(&Code::Ghost), "{place}: {left:?}");
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
            is_noticed = AssertUnwindSafe(story).catch_unwind().await.is_err();
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
