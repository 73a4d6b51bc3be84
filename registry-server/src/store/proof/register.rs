//! Read, modify, compare-and-swap, by several at once: what the registry does all day. The sum must be the number of successes.
//!
//! Races put without reading. This finds stores whose reads pair the new ETag with the old bytes: a writer then replaces what it has never seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::bench::{Bench, Detail, Failed};
use crate::store::{Cond, Etag, Get, Key, Put, Store, StoreError};

/// What the workers were told.
#[derive(Debug, Default)]
pub(in crate::store) struct Told {
    /// Additions that were acknowledged.
    pub(in crate::store) acknowledged: Vec<String>,
    /// Additions whose answers were lost.
    pub(in crate::store) unknown: Vec<String>,
    /// The last error on the way.
    pub(in crate::store) error: Option<StoreError>,
}

impl Detail for Told {
    fn detail(&self) -> (super::Outcome, String) {
        (super::Outcome::Passed, format!("{} of them acknowledged, none lost", self.acknowledged.len()))
    }
}

pub(super) async fn register(bench: &Arc<Bench>) -> Result<Told, Failed> {
    let key = bench.key("register");
    let mut tasks = JoinSet::new();
    for worker in 0..bench.effort.register_workers {
        let store = Arc::clone(bench.connection(worker));
        tasks.spawn(work(store, key.clone(), worker, bench.effort.register_turns));
    }
    let mut told = Told::default();
    for one in tasks.join_all().await {
        told.acknowledged.extend(one.acknowledged);
        told.unknown.extend(one.unknown);
        told.error = told.error.or(one.error);
    }
    let history = Bench::read(bench.connection(0), &key).await?.map(|(_, bytes)| bytes).unwrap_or_default();
    check(&told, &history)?;
    match told.error {
        Some(err) if told.acknowledged.is_empty() => Err(err.into()),
        _ => Ok(told),
    }
}

/// Adds `turns` lines, one at a time, and gives up on one when another came first.
pub(in crate::store) async fn work<S: Store + ?Sized>(store: Arc<S>, key: Key, worker: usize, turns: usize) -> Told {
    let mut told = Told::default();
    for turn in 0..turns {
        let line = format!("{worker}.{turn}");
        let (cond, mut text) = match read(&*store, &key).await {
            Ok(Some((etag, bytes))) => (Cond::Matches(etag), bytes.to_vec()),
            Ok(None) => (Cond::Absent, Vec::new()),
            Err(err) => {
                told.error = Some(err);
                continue;
            }
        };
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
        match store.put(&key, text.into(), cond).await {
            Put::Stored(_) => told.acknowledged.push(line),
            Put::Refused(_) => {}
            Put::NotSent(err) => told.error = Some(err),
            Put::Unknown(err) => {
                told.unknown.push(line);
                told.error = Some(err);
            }
        }
    }
    told
}

async fn read<S: Store + ?Sized>(store: &S, key: &Key) -> Result<Option<(Etag, Bytes)>, StoreError> {
    match store.get(key, None).await? {
        Get::Found(object) => {
            let etag = object.etag.clone();
            Ok(Some((etag, object.bytes(1024 * 1024).await?)))
        }
        _ => Ok(None),
    }
}

/// Compares what the workers were told with what is there.
///
/// # Errors
/// An acknowledged line is missing, a line is there twice, or one that was refused.
pub(in crate::store) fn check(told: &Told, history: &[u8]) -> Result<(), Failed> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let history = std::str::from_utf8(history).unwrap_or_default();
    for line in history.lines() {
        *seen.entry(line).or_default() += 1;
    }
    let lost = told.acknowledged.iter().filter(|line| !seen.contains_key(line.as_str())).count();
    if lost > 0 {
        return Err(Failed::Broken(format!(
            "{lost} of {} acknowledged compare-and-swap writes are lost: a read gave the ETag of one version and the bytes of another, or two writes replaced the same version",
            told.acknowledged.len()
        )));
    }
    if let Some((line, count)) = seen.iter().find(|(_, count)| **count > 1) {
        return Err(Failed::Broken(format!("one compare-and-swap write ({line}) has been applied {count} times")));
    }
    let known = |line: &&str| told.acknowledged.iter().chain(&told.unknown).any(|told| told == line);
    match seen.keys().find(|line| !known(line)) {
        Some(line) => Err(Failed::Broken(format!("a compare-and-swap write ({line}) that it refused has been stored"))),
        None => Ok(()),
    }
}
