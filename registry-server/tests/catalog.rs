//! What search knows of all crates, over one store and several replicas: what a start costs, what a change costs, and that no state of
//! the stored catalog makes a search wrong.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use supercargo_registry::access::{Principal, Verb, Visibility};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::catalog::Current;
use supercargo_registry::krate::Record;
use supercargo_registry::registry::{Compacted, Query, Registry, Replication, Storage};
use supercargo_registry::replicas::Settings;
use supercargo_registry::store::faulty::{Call, Fault, Faulty, Rates};
use supercargo_registry::store::{Body, Cond, Get, Key, MemoryStore, Prefix, Put, Store, list_all};
use tokio_util::sync::CancellationToken;

type TestStore = Arc<Faulty<MemoryStore>>;

struct Bench {
    store: TestStore,
    writer: Arc<Registry>,
    ann: Principal,
}

const RING: usize = 8;

impl Bench {
    async fn new(crates: &[&str]) -> Self {
        let store = Arc::new(Faulty::calm(MemoryStore::new()));
        let writer = replica(&store, 1).await;
        let token = support::mint(&writer, &Entropy::seeded(99), "ann", &Verb::ALL, &["*"]).await;
        let ann = writer.authenticate(&token).await.unwrap();
        let bench = Self { store, writer, ann };
        for name in crates {
            bench.publish(name, "1.0.0").await;
        }
        bench
    }

    async fn replica(&self, seed: u64) -> Arc<Registry> {
        replica(&self.store, seed).await
    }

    async fn publish(&self, name: &str, version: &str) {
        support::crates::publish_plain(&self.writer, &self.ann, name, version).await.unwrap();
    }

    /// `name version` of all crates that a replica finds.
    async fn found(&self, registry: &Arc<Registry>) -> Vec<String> {
        let query = Query::new("", None, 1, 100).unwrap();
        let found = registry.search(&self.ann, &query).await.unwrap();
        assert_eq!(found.total, found.hits.len());
        found.hits.iter().map(|hit| format!("{} {}", hit.row.name, hit.row.max_version)).collect()
    }

    /// The same, and the calls of the store that it took, but for entries of the audit log, which are written after earlier changes.
    async fn found_by(&self, registry: &Arc<Registry>) -> (Vec<String>, Vec<String>) {
        let before = self.store.calls().len();
        let found = self.found(registry).await;
        let calls = self.store.calls().split_off(before);
        let words = calls.iter().map(|(call, key, _)| format!("{call:?} {}", short(key)));
        (found, words.filter(|call| call != "Put audit").collect())
    }

    /// The current catalog, straight from the store.
    async fn current(&self) -> Option<Current> {
        let Get::Found(object) = self.store.inner().get(&Key::CatalogCurrent, None).await.unwrap() else { return None };
        Some(Current::parse(&object.bytes(1 << 20).await.unwrap()).unwrap())
    }

    async fn overwrite(&self, key: &Key, text: String) {
        let put = self.store.inner().put(key, Body::from(text.into_bytes()), Cond::Any).await;
        assert!(matches!(put, Put::Stored(_)), "{put:?}");
    }
}

/// The part of a key that tests compare.
fn short(key: &str) -> &str {
    match key.split('/').collect::<Vec<_>>().as_slice() {
        [_, "crate", _, name @ ..] => name.first().copied().unwrap_or("crates"),
        [_, "catalog", "current"] => "current",
        [_, "catalog", _] => "catalog",
        [_, rest @ ..] => rest[0],
        _ => key,
    }
}

async fn replica(store: &TestStore, seed: u64) -> Arc<Registry> {
    let settings = Settings { ring_max: RING, ..Settings::default() };
    let replication = Replication { settings, time: Monotonic::tokio(), ..Replication::default() };
    let storage = Storage::ToProve(store.clone());
    let entropy = Entropy::seeded(seed);
    let registry = Registry::replicated(&storage, Visibility::Private, replication, Clock::system(), entropy);
    while !registry.open_now().await.is_proven() {}
    Arc::new(registry)
}

async fn compact(registry: &Arc<Registry>) -> Compacted {
    registry.compact().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_start_takes_three_requests_and_a_change_takes_one() {
    let names: Vec<String> = (0..20).map(|number| format!("crate-{number:02}")).collect();
    let bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(bench.found(&bench.writer).await.len(), 20);
    assert_eq!(compact(&bench.writer).await, Compacted::Stored);
    assert_eq!(compact(&bench.writer).await, Compacted::NotDue);

    let second = bench.replica(2).await;
    let (found, calls) = bench.found_by(&second).await;
    assert_eq!(found.len(), 20);
    assert_eq!(calls, ["Get current", "Get catalog", "Get head"]);

    bench.publish("crate-07", "2.0.0").await;
    bench.publish("new", "1.0.0").await;
    let (found, calls) = bench.found_by(&second).await;
    assert!(found.contains(&"crate-07 2.0.0".into()) && found.contains(&"new 1.0.0".into()), "{found:?}");
    assert_eq!(calls, ["Get head", "Get crate_07", "Get new"]);

    let third = bench.replica(3).await;
    let (same, calls) = bench.found_by(&third).await;
    assert_eq!(same, found, "the catalog, and the changes since");
    assert_eq!(calls, ["Get current", "Get catalog", "Get head", "Get crate_07", "Get new"]);
}

#[tokio::test(start_paused = true)]
async fn after_missed_changes_only_what_differs_is_read() {
    let bench = Bench::new(&["a", "b", "c"]).await;
    let second = bench.replica(2).await;
    bench.found(&second).await;
    assert_eq!(compact(&second).await, Compacted::Stored);
    bench.publish("c", "2.0.0").await;
    for number in 0..RING {
        bench.publish("b", &format!("2.0.{number}")).await;
    }
    let last = format!("b 2.0.{}", RING - 1);
    let expected = ["a 1.0.0", &last, "c 2.0.0"];
    for (registry, start) in
        [(second, vec!["Get head"]), (bench.replica(3).await, vec!["Get current", "Get catalog", "Get head"])]
    {
        let (found, calls) = bench.found_by(&registry).await;
        assert_eq!(found, expected);
        assert_eq!(calls, [start, vec!["Get head", "List crates", "Get b", "Get c"]].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn no_state_of_the_stored_catalog_makes_a_search_wrong() {
    for damage in ["file missing", "file damaged", "current damaged", "foreign", "later format"] {
        let bench = Bench::new(&["a", "b"]).await;
        bench.found(&bench.writer).await;
        assert_eq!(compact(&bench.writer).await, Compacted::Stored);
        let current = bench.current().await.unwrap();
        let (file, text) =
            (Key::Catalog(current.file().unwrap()), String::from_utf8(current.to_bytes().to_vec()).unwrap());
        match damage {
            "file missing" => bench.store.inner().delete(&file).await.unwrap(),
            "file damaged" => bench.overwrite(&file, "x".into()).await,
            "current damaged" => bench.overwrite(&Key::CatalogCurrent, "{".into()).await,
            "foreign" => {
                let foreign = text.replace(&current.registry, "other");
                bench.overwrite(&Key::CatalogCurrent, foreign).await;
            }
            _ => bench.overwrite(&Key::CatalogCurrent, text.replace("\"format\":1", "\"format\":9")).await,
        }
        let second = bench.replica(2).await;
        assert_eq!(bench.found(&second).await, ["a 1.0.0", "b 1.0.0"], "{damage}");
        assert_eq!(compact(&second).await, Compacted::Stored, "{damage}");
        let third = bench.replica(3).await;
        let (found, calls) = bench.found_by(&third).await;
        assert_eq!(
            (found.len(), calls),
            (2, ["Get current", "Get catalog", "Get head"].map(String::from).to_vec()),
            "{damage}"
        );
    }
}

/// The writer of a change dies between announcement and commit, and the commit lands a minute later.
#[tokio::test(start_paused = true)]
async fn a_commit_that_lands_late_is_found_by_those_who_loaded_the_catalog_before() {
    let bench = Bench::new(&["a"]).await;
    bench.store.script_pass(Call::Put, "v1/crate/");
    bench.store.script(Call::Put, "v1/crate/", Fault::Late(Duration::from_secs(60)));
    for _ in 0..7 {
        bench.store.script(Call::Put, "v1/crate/", Fault::NotSent);
    }
    let unclear = support::crates::publish_plain(&bench.writer, &bench.ann, "a", "2.0.0").await.unwrap_err();
    println!("{unclear:?}");
    let second = bench.replica(2).await;
    assert_eq!(bench.found(&second).await, ["a 1.0.0"]);
    let (_, calls) = bench.found_by(&second).await;
    assert_eq!(calls, ["Get head", "Get a"], "the commit may be there at any moment, until the mark is swept");
    assert_eq!(compact(&second).await, Compacted::Stored);
    assert_eq!(bench.current().await.unwrap().open, [("a".to_owned(), 2)]);
    let third = bench.replica(3).await;
    assert_eq!(bench.found(&third).await, ["a 1.0.0"]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    for registry in [second, third] {
        let (found, calls) = bench.found_by(&registry).await;
        assert_eq!((found, calls), (vec!["a 2.0.0".to_owned()], vec!["Get head".to_owned(), "Get a".to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_write_the_catalog_one_is_overtaken() {
    let bench = Bench::new(&["a"]).await;
    let second = bench.replica(2).await;
    bench.found(&bench.writer).await;
    bench.found(&second).await;
    let (one, two) = tokio::join!(compact(&bench.writer), compact(&second));
    let mut both = [one, two];
    both.sort_by_key(|compacted| *compacted == Compacted::Stored);
    assert_eq!(both, [Compacted::Overtaken, Compacted::Stored]);
    let current = bench.current().await.unwrap();
    assert_eq!(current.seq, 1);
    for registry in [&bench.writer, &second] {
        assert!(matches!(compact(registry).await, Compacted::NotDue | Compacted::Overtaken));
    }
    assert_eq!(bench.current().await.unwrap(), current);
}

#[tokio::test(start_paused = true)]
async fn the_catalog_never_goes_back() {
    let bench = Bench::new(&["a"]).await;
    let late = bench.replica(2).await;
    bench.found(&late).await;
    bench.publish("b", "1.0.0").await;
    bench.found(&bench.writer).await;
    assert_eq!(compact(&bench.writer).await, Compacted::Stored);
    let current = bench.current().await.unwrap();
    assert_eq!(compact(&late).await, Compacted::Overtaken, "it knows less than what is stored");
    assert_eq!(bench.current().await.unwrap(), current);
    assert_eq!(bench.found(&late).await, ["a 1.0.0", "b 1.0.0"]);
}

#[tokio::test(start_paused = true)]
async fn a_swap_whose_answer_is_lost_is_found_at_the_next_look() {
    for (fault, seq) in [(Fault::LostReply, 1), (Fault::LostRequest, 1), (Fault::Late(Duration::from_secs(30)), 1)] {
        let bench = Bench::new(&["a"]).await;
        bench.found(&bench.writer).await;
        bench.store.script(Call::Put, "current", fault);
        assert_eq!(compact(&bench.writer).await, Compacted::Unclear);
        assert_eq!(compact(&bench.writer).await, Compacted::NotDue, "not at once again");
        tokio::time::sleep(Duration::from_secs(61)).await;
        let again = compact(&bench.writer).await;
        let landed = if fault == Fault::LostRequest { Compacted::Stored } else { Compacted::Overtaken };
        assert_eq!(again, landed, "{fault:?}");
        assert_eq!(bench.current().await.unwrap().seq, seq, "{fault:?}");
        let second = bench.replica(2).await;
        assert_eq!(bench.found(&second).await, ["a 1.0.0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn enough_changes_or_old_ones_make_a_new_file() {
    let bench = Bench::new(&["a"]).await;
    bench.found(&bench.writer).await;
    assert_eq!(compact(&bench.writer).await, Compacted::Stored);
    bench.publish("b", "1.0.0").await;
    bench.found(&bench.writer).await;
    assert_eq!(compact(&bench.writer).await, Compacted::NotDue);
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    assert_eq!(compact(&bench.writer).await, Compacted::Stored);
    for number in 0..256 {
        bench.publish("c", &format!("1.0.{number}")).await;
        bench.found(&bench.writer).await;
    }
    assert_eq!(compact(&bench.writer).await, Compacted::Stored);
    assert_eq!(bench.current().await.unwrap().seq, 3);
}

/// With a lease a search asks the store nothing, sees what this replica acknowledged at once, and what somebody did of whom it gets no notice a poll later,
/// also when searches are all the traffic there is.
#[tokio::test(start_paused = true)]
async fn a_member_searches_in_memory_and_follows_the_others() {
    let bench = Bench::new(&["a"]).await;
    let member = bench.replica(2).await;
    let stop = CancellationToken::new();
    tokio::spawn(member.clone().keep_up(stop.clone()));
    while member.standing().role != "member" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.found(&member).await, ["a 1.0.0"]);
    let (_, calls) = bench.found_by(&member).await;
    assert_eq!(calls, [""; 0]);
    support::crates::publish_plain(&member, &bench.ann, "b", "1.0.0").await.unwrap();
    let (found, calls) = bench.found_by(&member).await;
    assert_eq!((found.len(), calls.len()), (2, 0), "{calls:?}");
    let searches = async {
        loop {
            let found = bench.found(&member).await;
            if found.contains(&"c 1.0.0".into()) {
                return tokio::time::Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let publish = async {
        bench.publish("c", "1.0.0").await;
        tokio::time::Instant::now()
    };
    let (seen, acknowledged) = tokio::join!(searches, publish);
    assert!(seen <= acknowledged + Duration::from_secs(2), "{:?}", seen - acknowledged);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn in_the_background_it_is_loaded_and_written_and_then_the_store_is_left_in_peace() {
    let bench = Bench::new(&["a", "b"]).await;
    let server = bench.replica(2).await;
    let stop = CancellationToken::new();
    let task = tokio::spawn(server.clone().keep_searchable(stop.clone()));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.current().await.expect("it was written").seq, 1);
    let before = bench.store.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let calls = bench.store.calls().split_off(before);
    assert!(calls.is_empty(), "{calls:?}");
    stop.cancel();
    task.await.unwrap();
}

/// Replicas that publish, search, write the catalog and are replaced, over a store that loses calls and answers, and carries some out late.
struct Story {
    bench: Bench,
    dice: StdRng,
    replicas: Vec<Arc<Registry>>,
    born: u64,
    /// The last version of each crate that anybody tried to publish, and the last that was acknowledged.
    versions: BTreeMap<&'static str, (u64, u64)>,
    searches: usize,
}

impl Story {
    async fn new(seed: u64) -> Self {
        let bench = Bench::new(&[]).await;
        let replicas = vec![bench.replica(2).await, bench.replica(3).await, bench.replica(4).await];
        let dice = StdRng::seed_from_u64(seed);
        let mut story = Self { bench, dice, replicas, born: 5, versions: BTreeMap::new(), searches: 0 };
        // The store throws dice of its own; other stories have other ones.
        for _ in 0..seed % 16 {
            story.bench.store.set_rates(Rates::rough());
            story.search(0).await;
        }
        story.bench.store.set_rates(Rates::rough());
        story
    }

    fn below(&mut self, bound: usize) -> usize {
        self.dice.random_range(0..bound)
    }

    async fn step(&mut self) -> Result<(), String> {
        let who = self.below(self.replicas.len());
        match self.below(10) {
            0..4 => self.publish(who).await,
            4..7 => {
                self.search(who).await;
                Ok(())
            }
            7 => {
                drop(self.replicas[who].compact().await);
                Ok(())
            }
            8 => {
                self.born += 1;
                self.replicas[who] = self.bench.replica(self.born).await;
                Ok(())
            }
            _ => {
                let millis = self.below(8000) as u64;
                tokio::time::sleep(Duration::from_millis(millis)).await;
                Ok(())
            }
        }
    }

    /// What a replica has acknowledged it shows.
    async fn publish(&mut self, who: usize) -> Result<(), String> {
        let name = ["a", "b-c", "Dd", "e", "f", "g"][self.below(6)];
        let (tried, acknowledged) = self.versions.entry(name).or_default();
        *tried += 1;
        let number = *tried;
        let registry = self.replicas[who].clone();
        if support::crates::publish_plain(&registry, &self.bench.ann, name, &format!("0.0.{number}")).await.is_err() {
            return Ok(());
        }
        *acknowledged = number;
        for _ in 0..20 {
            if let Some(found) = self.search(who).await {
                let shown = found.get(name).copied().unwrap_or(0);
                return if shown >= number {
                    Ok(())
                } else {
                    Err(format!("{name} 0.0.{number} was published, and 0.0.{shown} is found"))
                };
            }
        }
        Ok(())
    }

    /// The patch number of each crate that is found; `None` if the store did not answer.
    async fn search(&mut self, who: usize) -> Option<BTreeMap<String, u64>> {
        let query = Query::new("", None, 1, 100).unwrap();
        let found = self.replicas[who].search(&self.bench.ann, &query).await.ok()?;
        self.searches += 1;
        let number = |version: &str| version.rsplit('.').next().unwrap().parse().unwrap();
        Some(found.hits.iter().map(|hit| (hit.row.name.to_string(), number(&hit.row.max_version))).collect())
    }

    /// When the weather is over, all find the same: what is in the store.
    async fn end(mut self) -> Result<usize, String> {
        self.bench.store.set_rates(Rates::default());
        tokio::time::sleep(Duration::from_secs(120)).await;
        let mut records = BTreeMap::new();
        for entry in list_all(self.bench.store.inner(), &Prefix::Crates).await.unwrap() {
            let Get::Found(object) = self.bench.store.inner().get(&entry.key, None).await.unwrap() else { continue };
            let record = Record::parse(&object.bytes(1 << 24).await.unwrap()).unwrap();
            if let Some(version) = record.max_version().filter(|_| record.is_visible()) {
                records.insert(
                    record.name().to_string(),
                    version.to_string().rsplit('.').next().unwrap().parse().unwrap(),
                );
            }
        }
        self.born += 1;
        self.replicas.push(self.bench.replica(self.born).await);
        for who in 0..self.replicas.len() {
            let found = self.search(who).await.ok_or("the store is calm, and a search fails")?;
            if found != records {
                return Err(format!("replica {who} finds {found:?}, and there is {records:?}"));
            }
        }
        let lost: BTreeSet<_> = self
            .versions
            .iter()
            .filter(|(name, (_, last))| records.get(**name).copied().unwrap_or(0) < *last)
            .collect();
        if lost.is_empty() { Ok(self.searches) } else { Err(format!("lost: {lost:?}")) }
    }
}

#[test]
fn whatever_happens_search_finds_what_was_published() {
    let seeds = match std::env::var("SUPERCARGO_SEED") {
        Ok(seed) => seed.parse().unwrap()..seed.parse::<u64>().unwrap() + 1,
        Err(_) => 0..30,
    };
    let mut searches = 0;
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let result = runtime.block_on(async {
            let mut story = Story::new(seed).await;
            for _ in 0..60 {
                story.step().await?;
            }
            story.end().await
        });
        match result {
            Ok(done) => searches += done,
            Err(wrong) => panic!("SUPERCARGO_SEED={seed} replays this: {wrong}"),
        }
    }
    assert!(searches > 300, "a story without searches shows nothing: {searches}");
}
