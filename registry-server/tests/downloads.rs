//! Downloads are counted once: processes that count, store and add up under simulated time, over a store that loses calls and answers, carries
//! them out hours later and lists what is out of date, while processes are killed at any step.
//!
//! A seed determines a run: `SUPERCARGO_SEED=17` replays one, `SUPERCARGO_SEEDS=10000` runs that many.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use supercargo_registry::access::Verb;
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::downloads::{Mutant, Rules, Total};
use supercargo_registry::krate::{CrateName, Version};
use supercargo_registry::registry::{Downloads, Folded, Storage};
use supercargo_registry::store::faulty::{Call, Fault, Faulty, Rates};
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Prefix, Put, Store, StoreError, list_all,
};
use support::client::send;
use tokio::time::Instant;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 40;
/// Within so many seeds a mutant must be caught.
const SEEDS_MAX: u64 = 500;
/// How many processes count at the same time.
const PROCESSES: usize = 3;
const LASTS: Duration = Duration::from_secs(6 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// A store whose listings leave out what they like, while it is rough.
#[derive(Clone)]
struct Stale {
    inner: Faulty<MemoryStore>,
    dice: Dice,
    rough: Arc<Mutex<bool>>,
}

impl Stale {
    fn is_rough(&self) -> bool {
        *self.rough.lock().unwrap()
    }

    /// The store with its faults, or without them when the weather is over.
    fn store(&self) -> &dyn Store {
        if self.is_rough() { &self.inner } else { self.inner.inner() }
    }
}

#[async_trait]
impl Store for Stale {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        self.store().get(key, if_none_match).await
    }
    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.store().put(key, body, cond).await
    }
    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let mut page = self.store().list(prefix, after).await?;
        if self.is_rough() && self.dice.one_in(3) {
            page.entries.retain(|_| !self.dice.one_in(5));
        }
        Ok(page)
    }
    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.store().delete(key).await
    }
    fn location(&self) -> String {
        "a store with old listings".into()
    }
}

#[derive(Clone)]
struct Dice(Arc<Mutex<StdRng>>);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    fn below(&self, bound: u64) -> u64 {
        self.0.lock().unwrap().random_range(0..bound)
    }

    fn one_in(&self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn up_to(&self, longest: Duration) -> Duration {
        longest.mul_f64(self.0.lock().unwrap().random())
    }
}

/// Every download is of a version of its own; whether it has to be in the total.
type Counted = Arc<Mutex<BTreeMap<String, bool>>>;

struct Process {
    number: usize,
    downloads: Arc<Downloads>,
    dice: Dice,
    counted: Counted,
}

impl Process {
    fn new(number: usize, store: &Stale, dice: &Dice, counted: &Counted, rules: Rules) -> Arc<Self> {
        let begun = Instant::now();
        // Clocks differ, by minutes.
        let offset = SignedDuration::from_secs(1_800_000_000 + dice.below(600) as i64);
        let elapsed = move || SignedDuration::try_from(begun.elapsed()).unwrap();
        let since = SignedDuration::from_secs(number as i64);
        let clock = Clock::from_fn(move || Timestamp::UNIX_EPOCH + offset + since + elapsed());
        let entropy = Entropy::seeded(dice.below(u64::MAX));
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let downloads = Arc::new(Downloads::new(store, clock, Monotonic::tokio(), entropy, rules));
        Arc::new(Self { number, downloads, dice: dice.clone(), counted: counted.clone() })
    }

    fn count(&self) {
        for _ in 0..self.dice.below(4) {
            let mut counted = self.counted.lock().unwrap();
            let version = format!("1.{}.{}", self.number, counted.len());
            let name: CrateName = ["a", "B-c", "d"][self.dice.below(3) as usize].parse().unwrap();
            self.downloads.count(&name, &version.parse::<Version>().unwrap());
            counted.insert(version, false);
        }
    }

    /// Stores everything; what was counted before has to be in the total from then on.
    fn confirm(&self) {
        let own = format!("1.{}.", self.number);
        let mut counted = self.counted.lock().unwrap();
        counted.iter_mut().filter(|(version, _)| version.starts_with(&own)).for_each(|(_, stored)| *stored = true);
    }

    async fn counts(self: Arc<Self>) {
        loop {
            self.count();
            // Now and then nobody downloads anything for hours.
            let longest = if self.dice.one_in(25) { 300 * MINUTE } else { 6 * MINUTE };
            tokio::time::sleep(self.dice.up_to(longest)).await;
            // The delta under way, and what was counted since.
            if self.downloads.flush().await.is_ok() && self.downloads.flush().await.is_ok() {
                self.confirm();
            }
        }
    }

    async fn adds_up(self: Arc<Self>) {
        loop {
            tokio::time::sleep(self.dice.up_to(80 * MINUTE)).await;
            _ = self.downloads.fold().await;
        }
    }
}

/// What was wrong at the end, and how many downloads were counted.
async fn story(seed: u64, rules: Rules) -> (Vec<String>, usize) {
    let dice = Dice::new(seed);
    let faulty = Faulty::new(MemoryStore::new(), seed, Rates { delay_max: Duration::from_secs(5), ..Rates::rough() });
    let store = Stale { inner: faulty.clone(), dice: dice.clone(), rough: Arc::new(Mutex::new(true)) };
    let counted = Counted::default();
    let mut number = 0;
    let mut begin = || {
        number += 1;
        let process = Process::new(number, &store, &dice, &counted, rules);
        let tasks = [tokio::spawn(process.clone().counts()), tokio::spawn(process.clone().adds_up())];
        (process, tasks)
    };
    let mut alive: Vec<_> = (0..PROCESSES).map(|_| begin()).collect();
    let until = Instant::now() + LASTS;
    while Instant::now() < until {
        tokio::time::sleep(dice.up_to(40 * MINUTE)).await;
        match dice.below(4) {
            0 => {
                let victim = dice.below(PROCESSES as u64) as usize;
                let (_, tasks) = std::mem::replace(&mut alive[victim], begin());
                tasks.iter().for_each(tokio::task::JoinHandle::abort);
            }
            1 => faulty.script(Call::Put, "downloads/delta", Fault::Late(dice.up_to(240 * MINUTE))),
            2 => faulty.script(Call::Put, "downloads/total", Fault::Late(dice.up_to(150 * MINUTE))),
            _ => faulty.script(Call::Put, "downloads/total", Fault::LostReply),
        }
    }
    alive.iter().flat_map(|(_, tasks)| tasks).for_each(tokio::task::JoinHandle::abort);
    *store.rough.lock().unwrap() = false;
    for (process, _) in &alive {
        process.downloads.finish().await;
        process.confirm();
    }
    // Whatever is late lands now; then it is added up until nothing is left.
    tokio::time::sleep(300 * MINUTE).await;
    let last = Process::new(0, &store, &dice, &counted, rules);
    for _ in 0..4 {
        let folded = last.downloads.fold().await;
        assert!(
            !matches!(folded, Ok(Folded::Overtaken | Folded::Unclear) | Err(_)),
            "nobody else is there: {folded:?}"
        );
        tokio::time::sleep(90 * MINUTE).await;
    }
    let counted = counted.lock().unwrap().clone();
    (check(&faulty, &counted).await, counted.len())
}

async fn check(store: &Faulty<MemoryStore>, counted: &BTreeMap<String, bool>) -> Vec<String> {
    let Get::Found(object) = store.inner().get(&Key::DownloadsTotal, None).await.unwrap() else {
        return vec!["there is no total".into()];
    };
    let total = Total::parse(&object.bytes(1 << 24).await.unwrap()).unwrap();
    let counts: BTreeMap<_, _> =
        total.counts().unwrap().into_iter().map(|((_, version), count)| (version, count)).collect();
    let mut wrong = Vec::new();
    for (version, stored) in counted {
        match (counts.get(version).copied().unwrap_or(0), stored) {
            (1, _) | (0, false) => {}
            (count, _) => wrong.push(format!("{version} was counted {count} times (stored for certain: {stored})")),
        }
    }
    let unknown = counts.keys().filter(|version| !counted.contains_key(*version));
    wrong.extend(unknown.map(|version| format!("{version} was never downloaded")));
    let left = list_all(store.inner(), &Prefix::DownloadsDeltas).await.unwrap();
    wrong.extend(left.iter().map(|entry| format!("{} was never deleted", entry.key)));
    wrong
}

fn run(seed: u64, rules: Rules) -> (Vec<String>, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(story(seed, rules))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn every_download_is_counted_once() {
    let seeds = match number("SUPERCARGO_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SUPERCARGO_SEEDS").unwrap_or(SEEDS),
    };
    let mut all = 0;
    for seed in seeds {
        let (wrong, counted) = run(seed, Rules::default());
        assert!(wrong.is_empty(), "SUPERCARGO_SEED={seed} replays this:\n{}", wrong.join("\n"));
        all += counted;
    }
    assert!(all > 100, "a simulation in which nothing happens shows nothing: {all}");
}

#[test]
fn every_broken_rule_is_noticed() {
    for mutant in Mutant::ALL {
        let found = (0..SEEDS_MAX).find_map(|seed| {
            let (wrong, _) = run(seed, Rules::without(mutant));
            wrong.first().map(|wrong| (seed, wrong.clone()))
        });
        let (seed, wrong) = found.unwrap_or_else(|| panic!("{mutant:?} was not noticed in {SEEDS_MAX} seeds"));
        println!("{mutant:?}: seed {seed}: {wrong}");
    }
}

/// One server counts and stops; the next adds up at its start, and search shows it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_downloaded_shows_in_search() {
    let config = support::config("[storage]\nkind = \"memory\"\n");
    let storage = Storage::open(&config.storage).await.unwrap();
    let server = support::TestServer::with(&config, &storage).await;
    let token = server.token_with("ann", &[Verb::Read, Verb::PublishNew], &["*"]).await;
    let ann = server.registry().authenticate(&token).await.unwrap();
    for name in ["foo-bar", "other"] {
        support::crates::publish_plain(server.registry(), &ann, name, "1.0.0").await.unwrap();
    }
    let ask = |address, method: &'static str, path: &'static str, etag: &'static str| {
        let request = http::Request::builder().method(method).uri(path).header("authorization", &token);
        send(address, request.header("if-none-match", etag), "")
    };
    let path = "/api/v1/crates/Foo_Bar/1.0.0/download";
    let public = server.running.public;
    for (method, path, etag, status) in [
        ("GET", path, "\"x\"", 200),
        ("GET", path, "\"x\"", 200),
        ("HEAD", path, "\"x\"", 200),
        ("GET", path, "*", 304),
        ("GET", "/api/v1/crates/foo-bar/9.9.9/download", "\"x\"", 404),
    ] {
        assert_eq!(ask(public, method, path, etag).await.status, status, "{method} {path} {etag}");
    }
    server.stop().await;

    let server = support::TestServer::with(&config, &storage).await;
    let shown = async {
        loop {
            let found = ask(server.running.public, "GET", "/api/v1/crates?q=", "").await.json();
            let counts: Vec<_> =
                found["crates"].as_array().unwrap().iter().map(|hit| hit["downloads"].clone()).collect();
            if counts != [0, 0] {
                return counts;
            }
            tokio::task::yield_now().await;
        }
    };
    let counts = tokio::time::timeout(Duration::from_secs(60), shown).await.expect("it is added up at the start");
    assert_eq!(counts, [2, 0]);
    server.stop().await;
}
