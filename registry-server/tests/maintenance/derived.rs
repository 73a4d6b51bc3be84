//! The catalog and the numbers of downloads: what is wrong with them is named, nothing that a user sees hangs on it, and what history has comes
//! back without counting anything twice.

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::ambient::{Entropy, Monotonic};
use supercargo_registry::catalog::Current;
use supercargo_registry::downloads::{Rules, Total};
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Code, Options, Report};
use supercargo_registry::maintenance::gc::{self, Grace};
use supercargo_registry::registry::{Compacted, Downloads, Folded, Query};
use supercargo_registry::store::{Key, Prefix, Store, list_all};
use tokio::time::advance;

use crate::{Place, clock, name, publish, replica};

const HOUR: Duration = Duration::from_secs(3600);
const REPAIR: Options = Options { deep: false, repair: true, accept_loss: false, now: None };

impl Place {
    async fn check(&self, options: Options) -> Report {
        fsck::run(&self.registry, options, &Progress::default()).await.expect("the store answers")
    }

    async fn collect(&self) {
        drop(gc::run(&self.registry, Grace::default(), false, &Progress::default()).await.unwrap());
    }

    /// Has a replica of its own write the list of crates.
    async fn compact(&self, seed: u64) {
        let registry = replica(&self.store, seed).await;
        let query = Query::new("", None, 1, 10).unwrap();
        registry.search(&self.ann, &query).await.unwrap();
        // What is read from the store is new to it, after a while.
        advance(HOUR).await;
        assert_eq!(registry.compact().await.unwrap(), Compacted::Stored);
    }

    async fn catalogs(&self) -> Vec<Key> {
        let all = list_all(self.store.inner(), &Prefix::Catalogs).await.unwrap();
        all.into_iter().map(|entry| entry.key).filter(|key| *key != Key::CatalogCurrent).collect()
    }

    fn downloads(&self, seed: u64) -> Downloads {
        let store: Arc<dyn Store> = self.store.clone();
        Downloads::new(store, clock(), Monotonic::tokio(), Entropy::seeded(seed), Rules::default())
    }

    /// All downloads that are in the total.
    async fn counted(&self) -> u64 {
        let total = Total::parse(&self.object(&Key::DownloadsTotal).await).unwrap();
        total.counts().unwrap().values().sum()
    }
}

fn found(report: &Report) -> Vec<(Code, &str, bool)> {
    report.problems.iter().map(|problem| (problem.code, problem.key.as_str(), problem.repaired)).collect()
}

async fn count(downloads: &Downloads, times: usize) {
    for _ in 0..times {
        downloads.count(&name("krate"), &"1.0.0".parse().unwrap());
    }
    downloads.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_catalog_that_cannot_be_used_is_named_and_written_anew() {
    let place = Place::new().await;
    for krate in ["alpha", "beta"] {
        publish(&place.registry, &place.ann, krate, "1.0.0").await.unwrap();
    }
    place.registry.finish_writes().await;
    place.compact(2).await;
    let report = place.check(Options::default()).await;
    assert_eq!((found(&report), report.counts.catalog_crates), (vec![], 2));

    let current = place.object(&Key::CatalogCurrent).await;
    let file = Key::Catalog(Current::parse(&current).unwrap().file().unwrap());
    let bytes = place.object(&file).await;
    let foreign = String::from_utf8(current.to_vec()).unwrap().replace("\"registry\":\"", "\"registry\":\"f");
    for (seed, (damaged, damage, named)) in [
        (&Key::CatalogCurrent, Some(b"by hand".to_vec()), &Key::CatalogCurrent),
        (&Key::CatalogCurrent, Some(foreign.into_bytes()), &file),
        (&file, Some(bytes[..bytes.len() / 2].to_vec()), &file),
        (&file, None, &file),
    ]
    .into_iter()
    .enumerate()
    {
        match damage {
            Some(damage) => place.plant(damaged, damage).await,
            None => place.store.inner().delete(damaged).await.unwrap(),
        }
        let report = place.check(REPAIR).await;
        let expected = [(Code::CatalogUnreadable, named.to_string())];
        let found: Vec<_> = report.problems.iter().map(|problem| (problem.code, problem.key.clone())).collect();
        assert_eq!(found, expected, "{:#?}", report.problems);
        place.compact(10 + seed as u64).await;
        assert_eq!(place.check(Options::default()).await.problems, [], "a server that starts writes it anew");
        place.plant(&Key::CatalogCurrent, current.clone()).await;
        place.plant(&file, bytes.clone()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn catalog_files_that_do_not_count_any_more_go() {
    let place = Place::new().await;
    for round in 1..=4 {
        publish(&place.registry, &place.ann, "krate", &format!("1.{round}.0")).await.unwrap();
        place.compact(round + 1).await;
    }
    let lost = place.catalogs().await;
    assert_eq!(lost.len(), 4);
    advance(46 * HOUR).await;
    for _ in 0..2 {
        place.collect().await;
        advance(HOUR).await;
    }
    place.collect().await;
    assert_eq!(place.catalogs().await, lost[2..], "the one that counts, and the one before");
    let current = place.object(&Key::CatalogCurrent).await;
    for damage in [b"by hand".to_vec(), current.to_vec()] {
        place.plant(&Key::CatalogCurrent, damage).await;
        for _ in 0..3 {
            advance(49 * HOUR).await;
            place.collect().await;
        }
        assert_eq!(place.catalogs().await, lost[2..], "nobody knows which counts, or they do");
    }
    assert_eq!(place.check(Options::default()).await.counts.catalog_crates, 1);
}

#[tokio::test(start_paused = true)]
async fn damaged_downloads_are_named_and_come_back_and_none_counts_twice() {
    let place = Place::with_history().await;
    place.registry.finish_writes().await;
    let (one, two) = (place.downloads(1), place.downloads(2));
    count(&one, 1).await;
    count(&two, 10).await;
    assert_eq!(one.fold().await.unwrap(), Folded::Stored(2));
    count(&one, 100).await;
    count(&one, 1000).await;
    count(&one, 10_000).await;
    let deltas = async || {
        let listed = list_all(place.store.inner(), &Prefix::DownloadsDeltas).await.unwrap();
        listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
    };
    let report = place.check(Options::default()).await;
    assert_eq!((found(&report), report.counts.downloads_deltas), (vec![], 5));

    let all = deltas().await;
    let of_one = |wanted| {
        let is = |key: &&Key| matches!(key, Key::DownloadsDelta { number, .. } if *number == wanted);
        all.iter().find(is).expect("a delta").clone()
    };
    place.plant(&Key::DownloadsTotal, "by hand").await;
    place.plant(&of_one(3), "by hand").await;
    place.store.inner().delete(&of_one(2)).await.unwrap();
    advance(2 * HOUR).await;
    two.fold().await.expect_err("nobody writes over it");
    let report = place.check(Options::default()).await;
    let total = Key::DownloadsTotal.to_string();
    let mut unreadable = [of_one(3).to_string(), total.clone()];
    unreadable.sort();
    let expected: Vec<_> = unreadable.iter().map(|key| (Code::DownloadsUnreadable, key.as_str(), false)).collect();
    assert_eq!(found(&report), expected, "without the total nobody knows of gaps");
    let report = place.check(REPAIR).await;
    let missing = of_one(2).to_string();
    let unreadable = unreadable.iter().map(|key| (Code::DownloadsUnreadable, key.as_str(), true));
    let expected: Vec<_> = unreadable.chain([(Code::DownloadsMissing, missing.as_str(), true)]).collect();
    assert_eq!(found(&report), expected, "with it they come back, too: {report:#?}");
    assert_eq!(place.check(Options::default()).await.problems, []);
    assert_eq!(two.fold().await.unwrap(), Folded::Stored(3));
    assert_eq!(place.counted().await, 11_111);

    // The total is put back to the state before the deltas above were added, of which some are deleted already.
    advance(2 * HOUR).await;
    two.fold().await.unwrap();
    assert_eq!(deltas().await, [] as [Key; 0]);
    count(&two, 100_000).await;
    place.store.inner().delete(&Key::DownloadsTotal).await.unwrap();
    let report = place.check(REPAIR).await;
    assert_eq!(found(&report), [(Code::DownloadsMissing, total.as_str(), true)]);
    advance(2 * HOUR).await;
    assert_eq!(one.fold().await.unwrap(), Folded::Stored(1));
    assert_eq!(place.counted().await, 111_111);
}

#[tokio::test(start_paused = true)]
async fn all_deltas_that_are_missing_come_back_at_once() {
    let place = Place::with_history().await;
    place.registry.finish_writes().await;
    let one = place.downloads(1);
    for number in 0..7 {
        count(&one, 1 << number).await;
    }
    let all = list_all(place.store.inner(), &Prefix::DownloadsDeltas).await.unwrap();
    for lost in [0, 1, 3, 4] {
        place.store.inner().delete(&all[lost].key).await.unwrap();
    }
    let report = place.check(REPAIR).await;
    let codes: Vec<_> = report.problems.iter().map(|problem| (problem.code, problem.repaired)).collect();
    assert_eq!(codes, [(Code::DownloadsMissing, true); 4], "{report:#?}");
    assert_eq!(place.check(Options::default()).await.problems, [], "nothing is found later");
    // And one that history has not is left over, not hidden.
    place.store.inner().delete(&all[2].key).await.unwrap();
    place.store.inner().forget_newest(&all[2].key, 1);
    for _ in 0..2 {
        let report = place.check(REPAIR).await;
        assert_eq!(found(&report), [(Code::DownloadsMissing, all[2].key.to_string().as_str(), false)]);
    }
    assert_eq!(one.fold().await.unwrap(), Folded::Stored(2));
    assert_eq!(place.counted().await, 3);
}
