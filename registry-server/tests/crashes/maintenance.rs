//! The same for jobs over the whole store: sweeping marks, collecting garbage, putting back what was damaged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::access::{Principal, TokenRecord};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Options};
use supercargo_registry::maintenance::gc::{self, Grace};
use supercargo_registry::maintenance::sweep::{Pace, keep_swept};
use supercargo_registry::registry::Registry;
use supercargo_registry::replicas::Rules;
use supercargo_registry::store::{Body, Cond, Get, Key, MemoryStore, Prefix, Put, Sha256Digest, Store, Ulid, list_all};
use tokio_util::sync::CancellationToken;

use crate::clean::{collect, ends_clean};
use crate::jobs::every_step_of;
use crate::mortal::Fuse;
use crate::support::crates::{key, name, publish_plain, record_at, shown};
use crate::support::replicas::{Room, at, replica_over};
use crate::{OLD, before_in, lives, member, mortal, secret};

async fn plant(store: &MemoryStore, key: &Key, bytes: impl Into<bytes::Bytes>) {
    let put = store.put(key, Body::Bytes(bytes.into()), Cond::Any).await;
    assert!(matches!(put, Put::Stored(_)), "{put:?}");
}

async fn bytes_at(store: &MemoryStore, key: &Key) -> bytes::Bytes {
    let Get::Found(object) = store.get(key, None).await.unwrap() else { panic!("no {key}") };
    object.bytes(1 << 20).await.unwrap()
}

fn dead_writer() -> supercargo_registry::krate::record::OpId {
    "d".repeat(32).parse().expect("digits")
}

/// A replica that is started after the crash.
async fn restarted(store: &Arc<MemoryStore>, room: &Room, stop: &CancellationToken) -> Arc<Registry> {
    room.deafen("a");
    let registry = replica_over(store.clone(), Arc::new(room.clone()), at("b")).await;
    member(&registry, room, "b", stop).await;
    registry
}

/// Sweeps until no mark is left.
async fn swept(registry: &Arc<Registry>, ann: &Principal, store: &MemoryStore, token: &Key) {
    let pace = Pace { look_every: Duration::from_secs(1), dead_after: Duration::from_secs(2) };
    let stop = CancellationToken::new();
    let job = keep_swept(registry.clone(), pace, Entropy::seeded(9), stop.clone());
    let watch = async {
        loop {
            // Who reads comes across the marks.
            shown(registry, ann, "old").await;
            drop(registry.token(secret(OLD).hash()).await.expect("no faults"));
            let token = TokenRecord::parse(&bytes_at(store, token).await).unwrap();
            if record_at(store, &key("old")).await.mark().is_none() && token.mark.is_none() {
                return stop.cancel();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::join!(job, watch);
}

/// The marks of dead writers, and of whoever was about to clear them and died: another process clears them all.
async fn sweep_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, ann) = before_in(MemoryStore::new()).await;
    let token = Key::Token(Sha256Digest::from_bytes(*secret(OLD).hash().as_bytes()));
    let record = record_at(&*store, &key("old")).await;
    plant(&store, &key("old"), record.marked(dead_writer()).to_bytes()).await;
    let marked = TokenRecord::parse(&bytes_at(&store, &token).await).unwrap().marked(dead_writer());
    plant(&store, &token, marked.to_bytes()).await;
    let (room, stop) = (Room::default(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let killed = mortal(&store, &room, &fuse, Rules::default(), &stop).await;
    let got_through = lives(&fuse, steps, swept(&killed, &ann, &store, &token)).await;
    let place = format!("step {steps} ({}), {:?}", fuse.last(), fuse.moment);
    let other = restarted(&store, &room, &stop).await;
    // What was on the way has landed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    swept(&other, &ann, &store, &token).await;
    let after = record_at(&*store, &key("old")).await;
    assert!(after.rev() > record.rev(), "{place}: the dead writer may have announced the next");
    assert_eq!((after.ops(), after.index_etag()), (record.ops(), record.index_etag()), "{place}");
    assert!(other.authenticate(secret(OLD).expose()).await.is_ok(), "{place}");
    assert_eq!(ends_clean(&store, &place).await, [], "{place}");
    got_through
}

/// A file that nothing names.
async fn ghost(store: &MemoryStore, krate: &str, number: u128) -> Key {
    let bytes = Packed::new(krate, "9.0.0").krate();
    let digest = Sha256Digest::of(&bytes);
    let key = Key::blob(krate, &"9.0.0".parse().unwrap(), digest, Ulid::from_parts(1, number)).unwrap();
    plant(store, &key, bytes).await;
    key
}

async fn blobs(store: &MemoryStore) -> Vec<Key> {
    list_all(store, &Prefix::AllBlobs).await.unwrap().into_iter().map(|entry| entry.key).collect()
}

/// A garbage collection that is killed in its first or its second phase: what nothing names goes in the end, and is in the log; what is
/// named, or in doubt, stays.
async fn collection_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, ann) = before_in(MemoryStore::new()).await;
    let writer = crate::support::registry_in(store.clone(), 6).await;
    publish_plain(&writer, &ann, "under_way", "1.0.0").await.unwrap();
    writer.finish_writes().await;
    let named = blobs(&store).await;
    let ghosts = [ghost(&store, "old", 1).await, ghost(&store, "old", 2).await];
    let in_doubt = ghost(&store, "under_way", 3).await;
    let record = record_at(&*store, &key("under_way")).await;
    plant(&store, &key("under_way"), record.marked(dead_writer()).to_bytes()).await;
    let (room, stop) = (Room::default(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let killed = mortal(&store, &room, &fuse, Rules::default(), &stop).await;
    let got_through = lives(&fuse, steps, async {
        for _ in 0..2 {
            tokio::time::advance(Duration::from_secs(49 * 3600)).await;
            gc::run(&killed, Grace::default(), false, &Progress::default()).await.expect("no faults");
        }
    })
    .await;
    let place = format!("step {steps} ({}), {:?}", fuse.last(), fuse.moment);
    // What was on the way has landed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = blobs(&store).await;
    assert!(named.iter().chain([&in_doubt]).all(|key| left.contains(key)), "{place}: {left:?}");
    collect(&*crate::support::registry_in(store.clone(), 8).await).await;
    let left = blobs(&store).await;
    assert!(left.contains(&in_doubt) && !left.iter().any(|key| ghosts.contains(key)), "{place}: {left:?}");
    let mut log = String::new();
    for entry in list_all(&*store, &Prefix::Audits).await.unwrap() {
        log += std::str::from_utf8(&bytes_at(&store, &entry.key).await).unwrap();
    }
    assert!(ghosts.iter().all(|ghost| log.contains(&ghost.to_string())), "{place}: {log}");
    ends_clean(&store, &place).await;
    assert_eq!(blobs(&store).await, named, "{place}: the mark is cleared, and nothing is in doubt any more");
    got_through
}

/// Putting back a record that was damaged, one that was deleted, and a file, beside a replica that knows them: somebody else does the rest.
async fn restore_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, ann) = before_in(MemoryStore::with_history()).await;
    let writer = crate::support::registry_in(store.clone(), 6).await;
    for krate in ["gone", "file"] {
        publish_plain(&writer, &ann, krate, "1.0.0").await.unwrap();
    }
    writer.finish_writes().await;
    let (room, stop) = (Room::default(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let peer = replica_over(store.clone(), Arc::new(room.clone()), at("p")).await;
    member(&peer, &room, "p", &stop).await;
    assert_eq!(shown(&peer, &ann, "old").await, Some(1));
    let states = async || {
        let mut states = Vec::new();
        for krate in ["old", "gone", "file"] {
            let record = record_at(&*store, &key(krate)).await;
            states.push((record.index_etag().to_owned(), record.owners().clone()));
        }
        states
    };
    let whole = states().await;
    let revs = async || -> BTreeMap<&str, u64> {
        let mut revs = BTreeMap::new();
        for krate in ["old", "gone"] {
            revs.insert(krate, record_at(&*store, &key(krate)).await.rev());
        }
        revs
    };
    let before = revs().await;
    plant(&store, &key("old"), "by hand").await;
    store.delete(&key("gone")).await.unwrap();
    let file = blobs(&store).await.into_iter().find(|key| key.to_string().contains("/file/")).unwrap();
    plant(&store, &file, "by hand").await;

    let repair = async |registry: &Registry| {
        let options = Options { deep: true, repair: true, accept_loss: false, now: None };
        fsck::run(registry, options, &Progress::default()).await.expect("no faults")
    };
    let killed = mortal(&store, &room, &fuse, Rules::default(), &stop).await;
    let got_through = lives(&fuse, steps, async { assert_eq!(repair(&killed).await.left(), 0) }).await;
    let place = format!("step {steps} ({}), {:?}", fuse.last(), fuse.moment);
    room.deafen("a");
    let seen = peer.index(&ann, &name("old")).await;
    assert!(seen.is_ok() || !got_through, "{place}: {seen:?}");
    // What was on the way has landed, or lands in between.
    let other = crate::support::registry_in(store.clone(), 8).await;
    for wait in [Duration::ZERO, Duration::from_secs(5)] {
        tokio::time::sleep(wait).await;
        drop(repair(&other).await);
    }
    assert_eq!(repair(&other).await.problems, [], "{place}");
    other.finish_writes().await;
    for krate in ["old", "gone", "file"] {
        assert_eq!(shown(&peer, &ann, krate).await, Some(1), "{place}: {krate}");
    }
    assert_eq!(states().await, whole, "{place}");
    let after = revs().await;
    assert!(before.iter().all(|(krate, rev)| after[krate] > *rev), "{place}: {before:?}, {after:?}");
    ends_clean(&store, &place).await;
    got_through
}

#[tokio::test(start_paused = true)]
async fn sweeping_marks_killed_at_every_step() {
    every_step_of("the sweep", sweep_crash).await;
}

#[tokio::test(start_paused = true)]
async fn collecting_garbage_killed_at_every_step() {
    every_step_of("the garbage collection", collection_crash).await;
}

#[tokio::test(start_paused = true)]
async fn putting_back_what_was_damaged_killed_at_every_step() {
    every_step_of("fsck --repair", restore_crash).await;
}
