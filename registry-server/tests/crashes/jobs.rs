//! The same for what a server does by itself: adding up downloads, writing the catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::crates::{name, publish_plain, version};
use crate::support::replicas::{Room, at, replica_over};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::downloads::{Rules as DownloadRules, Total};
use supercargo_registry::registry::{Compacted, Downloads, Query, Registry};
use supercargo_registry::replicas::Rules;
use supercargo_registry::store::{Get, Key, MemoryStore, Prefix, Store, list_all};

use tokio_util::sync::CancellationToken;

use crate::clean::{collect, ends_clean};
use crate::mortal::{Fuse, MOMENTS, Mortal, STEPS_MAX, lives};
use crate::{before, member, mortal};

/// Kills a job at every step, at every moment, until it gets through.
pub(crate) async fn every_step_of(job: &str, crash: impl AsyncFn(Arc<Fuse>, usize) -> bool) {
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
    // The format of the store.
    drop(crate::support::registry_in(store.clone(), 6).await);
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
    assert_eq!(ends_clean(&store, &format!("step {steps} ({}), {:?}", fuse.last(), fuse.moment)).await, []);
    got_through
}

/// Whoever writes the catalog is killed; another replica finds every crate, and writes it.
async fn compaction_crash(fuse: Arc<Fuse>, steps: usize) -> bool {
    let (store, ann) = before().await;
    let (room, stop) = (Room::default(), CancellationToken::new());
    let _guard = stop.clone().drop_guard();
    let killed = mortal(&store, &room, &fuse, Rules::default(), &stop).await;
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
    let other = replica_over(store.clone(), Arc::new(room.clone()), at("b")).await;
    member(&other, &room, "b", &stop).await;
    assert_eq!(found(&other).await, ["old 1.0.0"], "{place}");
    publish_plain(&other, &ann, "new", "1.0.0").await.expect("no faults");
    // What was on the way has landed, and what failed is due again.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(700)).await;
        assert_eq!(found(&other).await, ["new 1.0.0", "old 1.0.0"], "{place}");
        other.compact().await.expect("no faults");
    }
    let third = replica_over(store.clone(), Arc::new(room.clone()), at("c")).await;
    assert_eq!(found(&third).await, ["new 1.0.0", "old 1.0.0"], "{place}");
    assert!(matches!(store.get(&Key::CatalogCurrent, None).await, Ok(Get::Found(_))), "{place}");
    other.finish_writes().await;
    assert_eq!(ends_clean(&store, &place).await, [], "{place}");
    collect(&*crate::support::registry_in(store.clone(), 8).await).await;
    let files = list_all(&*store, &Prefix::Catalogs).await.unwrap();
    assert!(files.len() <= 3, "{place}: `current`, its file and the one before: {files:?}");
    assert_eq!(ends_clean(&store, &place).await, [], "{place}");
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
