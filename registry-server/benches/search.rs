//! How long a search takes and how much memory a crate takes, in lists of crates that are shaped like crates.io's: names of one to three
//! words, descriptions of about ninety characters from a vocabulary with few common words and many rare ones, up to five keywords.
//!
//! `cargo bench -p supercargo-registry --bench search` prints a table; the lists are the same every time. Times are those of the processor, so that what
//! else the machine does matters little.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it prints figures, and says no by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::time::{ClockId, clock_gettime};
use supercargo_registry::catalog::{Base, Query, Row, Table, file};
use supercargo_registry::krate::{Canonical, CrateName};
use supercargo_registry::store::Etag;

const COMMON: [&str; 60] = [
    "a",
    "for",
    "rust",
    "the",
    "and",
    "library",
    "of",
    "to",
    "in",
    "with",
    "simple",
    "implementation",
    "crate",
    "an",
    "from",
    "api",
    "async",
    "client",
    "bindings",
    "parser",
    "data",
    "fast",
    "macro",
    "server",
    "your",
    "types",
    "tool",
    "utilities",
    "derive",
    "support",
    "using",
    "file",
    "web",
    "http",
    "command-line",
    "json",
    "based",
    "on",
    "macros",
    "that",
    "is",
    "generate",
    "wrapper",
    "code",
    "rust.",
    "format",
    "no_std",
    "cli",
    "framework",
    "serde",
    "time",
    "tokio",
    "safe",
    "generic",
    "protocol",
    "type",
    "by",
    "interface",
    "small",
    "provides",
];

/// A word: the lower its number, the more common.
fn word(rng: &mut StdRng, vocabulary: usize) -> String {
    // Zipf's law, roughly: the logarithm of the rank is spread evenly.
    let rank = (vocabulary as f64).powf(rng.random::<f64>()) as usize;
    if rank <= COMMON.len() { COMMON[rank - 1].to_owned() } else { made_up(rank) }
}

fn made_up(number: usize) -> String {
    const SYLLABLES: [&str; 20] = [
        "ba", "cor", "de", "fin", "gra", "hel", "in", "jo", "kel", "lu", "mor", "net", "os", "pra", "qui", "ro", "sta",
        "ter", "un", "vex",
    ];
    let mut rest = number;
    let mut word = String::new();
    while rest > 0 {
        word.push_str(SYLLABLES[rest % SYLLABLES.len()]);
        rest /= SYLLABLES.len();
    }
    word
}

fn crates(count: usize) -> BTreeMap<Canonical, Row> {
    let mut rng = StdRng::seed_from_u64(11);
    let vocabulary = count + 20_000;
    let mut rows = BTreeMap::new();
    while rows.len() < count {
        let parts = rng.random_range(1..=3);
        let name: Vec<_> = (0..parts).map(|_| word(&mut rng, vocabulary).replace('.', "")).collect();
        let Ok(name) = CrateName::parse(&name.join(if rng.random_bool(0.8) { "-" } else { "_" })) else { continue };
        let words = rng.random_range(4..=22);
        let description: Vec<_> = (0..words).map(|_| word(&mut rng, vocabulary)).collect();
        let etag = format!("{:032x}", rng.random::<u128>());
        let keywords = rng.random_range(0..=5);
        let row = Row {
            name: name.clone(),
            rev: rng.random_range(1..300),
            etag: Etag::new(&etag),
            owners: vec![made_up(rng.random_range(100..40_000)).parse().unwrap()],
            max_version: format!("{}.{}.{}", rng.random_range(0..3), rng.random_range(0..30), rng.random_range(0..20)),
            description: Some(description.join(" ")),
            keywords: (0..keywords).map(|_| word(&mut rng, 5_000)).collect(),
            categories: (0..rng.random_range(0..=2)).map(|_| format!("{}-tools", word(&mut rng, 90))).collect(),
            updated_at: Timestamp::from_second(1_600_000_000 + rng.random_range(0..150_000_000)).unwrap(),
        };
        rows.insert(name.canonical(), row);
    }
    rows
}

/// Time that this thread had the processor.
struct Used(Duration);

impl Used {
    fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Self(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

/// The median and the worst of many.
fn timed(table: &Table, query: &Query, readable: Option<&dyn Fn(&str) -> bool>) -> (Duration, Duration, usize) {
    let mut total = 0;
    let mut times: Vec<_> = (0..101)
        .map(|_| {
            let begun = Used::now();
            total = table.search(query, readable).total;
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[50], times[100], total)
}

fn main() {
    for count in [5_000, 150_000] {
        let rows = crates(count);
        let begun = Used::now();
        let base = Base::build(rows.values().cloned());
        let (built, memory) = (begun.elapsed(), base.memory());
        println!("{count} crates: {} bytes each in memory, built in {built:.0?}", memory / count);
        let mut table = Table::from(base);
        let begun = Used::now();
        let stored = file::encode("r", &table.snapshot()).unwrap();
        let (encoded, begun) = (begun.elapsed(), Used::now());
        file::decode(&stored, "r").unwrap();
        let decoded = begun.elapsed();
        println!("  {} kB stored, written in {encoded:.0?}, read in {decoded:.0?}", stored.len() / 1000);
        // As many that have changed since as there ever are.
        for row in rows.values().step_by(count / (64 + count / 128) + 1) {
            table.put(row.clone());
        }
        let name = rows.values().nth(count / 2).unwrap().name.to_string();
        let every_third = |name: &str| name.len().is_multiple_of(3);
        let all = |text, sort, page| (text, sort, page, false);
        for (text, sort, page, some) in [
            all("", "relevance", 1),
            all("", "relevance", 50),
            all("", "downloads", 1),
            all(&name, "relevance", 1),
            all("serde", "relevance", 1),
            all("json parser", "relevance", 1),
            all("async http client", "relevance", 1),
            all("rust", "relevance", 1),
            all("a", "relevance", 1),
            all("e", "relevance", 1),
            all("ter", "relevance", 1),
            all("nothing-like-it", "relevance", 1),
            ("", "relevance", 1, true),
            ("rust", "relevance", 1, true),
        ] {
            let query = Query::new(text, Some(sort), page, if text == "rust" { 100 } else { 10 }).unwrap();
            let (median, worst, total) = timed(&table, &query, if some { Some(&every_third) } else { None });
            let who = if some { "may read a third" } else { "may read all" };
            println!("  {median:>9.1?} (worst {worst:>9.1?}) {total:>7} hits  {text:?} by {sort}, page {page}, {who}");
        }
    }
}
