//! The objects: one map under one lock, so that every operation has its moment. Lies are told here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Lie;
use crate::store::memory::judge;
use crate::store::{Cond, Etag, Refused, Sha256Digest};

/// How long the lies that need a moment take it.
const MOMENT: Duration = Duration::from_millis(20);
/// From this size on a body is still on its way when another request comes.
const LARGE: usize = 1_000_000;
/// How long a large body waits for that other request.
const BODY_TAKES_MAX: Duration = Duration::from_secs(5);

/// All buckets.
#[derive(Debug)]
pub(super) struct Objects {
    lie: Lie,
    buckets: Mutex<BTreeMap<String, Bucket>>,
    /// For [`Lie::ChecksBeforeBody`]: how many puts of a key have passed their early check.
    passed: watch::Sender<BTreeMap<String, u64>>,
    /// For [`Lie::RacesAcrossNodes`]: who writes on each node.
    nodes: [tokio::sync::Mutex<()>; 2],
    began: Instant,
    /// Whether every state of a key is kept, and can be asked for.
    versioned: AtomicBool,
    /// How far the server's clock was put forward.
    ahead: Mutex<Duration>,
}

type Bucket = BTreeMap<String, Vec<Version>>;

/// One state of a key; the last in its list is the current one. Earlier ones are there for the lies.
#[derive(Debug, Clone)]
struct Version {
    /// `None`: deleted.
    content: Option<(Etag, Bytes)>,
    writer: u64,
    since: Instant,
    /// By the server's clock.
    modified: Duration,
}

/// An object in a listing.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) key: String,
    pub(super) etag: Etag,
    pub(super) len: usize,
    pub(super) modified: Duration,
}

/// A state of a key, in a listing of versions.
#[derive(Debug)]
pub(super) struct State {
    pub(super) key: String,
    pub(super) id: String,
    /// ETag and length; `None`: a deletion.
    pub(super) content: Option<(Etag, usize)>,
    pub(super) modified: Duration,
    pub(super) is_latest: bool,
}

/// An operation that was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    Bucket,
    Condition(Refused),
}

impl Objects {
    pub(super) fn new(lie: Lie, buckets: &[&str]) -> Self {
        let buckets = buckets.iter().map(|name| ((*name).to_owned(), Bucket::new())).collect();
        Self {
            lie,
            buckets: Mutex::new(buckets),
            passed: watch::Sender::default(),
            nodes: Default::default(),
            began: Instant::now(),
            versioned: AtomicBool::new(false),
            ahead: Mutex::default(),
        }
    }

    /// Keeps every state of every key from now on.
    pub(super) fn keep_versions(&self) {
        self.versioned.store(true, Ordering::Relaxed);
    }

    /// All states of the keys below `prefix` in S3's order: by key, the newest first. Deletions are among them.
    pub(super) fn states(&self, bucket: &str, prefix: &str) -> Result<Vec<State>, No> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or(No::Bucket)?;
        let below = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let states = below.flat_map(|(key, versions)| {
            let latest = versions.len() - 1;
            versions.iter().enumerate().rev().map(move |(number, version)| State {
                key: key.clone(),
                id: self.version_id(number),
                content: version.content.as_ref().map(|(etag, bytes)| (etag.clone(), bytes.len())),
                modified: version.modified,
                is_latest: number == latest,
            })
        });
        Ok(states.collect())
    }

    /// One state of a key, unless it is a deletion.
    pub(super) fn state(&self, bucket: &str, key: &str, id: &str) -> Result<Option<(Etag, Bytes)>, No> {
        let buckets = self.lock();
        let versions = buckets.get(bucket).ok_or(No::Bucket)?.get(key).map_or(&[][..], Vec::as_slice);
        let found = versions.iter().enumerate().find(|(number, _)| self.version_id(*number) == id);
        Ok(found.and_then(|(_, version)| version.content.clone()))
    }

    /// Without versioning there is one version, and this is its name on AWS.
    fn version_id(&self, number: usize) -> String {
        if self.versioned.load(Ordering::Relaxed) { format!("v{number}") } else { "null".to_owned() }
    }

    /// Puts the server's clock forward.
    pub(super) fn advance(&self, by: Duration) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// The server's clock, counted from 1970.
    fn time(&self) -> Duration {
        self.began.elapsed() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn lie(&self) -> Lie {
        self.lie
    }

    /// What must be true when the head of a put has arrived; only a lie looks so early.
    pub(super) fn check_early(&self, bucket: &str, key: &str, cond: &Cond) -> Result<(), No> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or(No::Bucket)?;
        match self.lie {
            Lie::ChecksBeforeBody => {
                refuse(cond, current(objects, key).map(|(etag, _)| etag))?;
                self.passed.send_modify(|passed| *passed.entry(key.to_owned()).or_default() += 1);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A large body takes its time, and others come meanwhile: without a race the lie would not show.
    async fn await_another(&self, key: &str) {
        let mut passed = self.passed.subscribe();
        let another = passed.wait_for(|passed| passed.get(key).is_some_and(|count| *count > 1));
        let _ = tokio::time::timeout(BODY_TAKES_MAX, another).await;
    }

    /// Stores an object whose body is complete.
    pub(super) async fn put(
        &self,
        bucket: &str,
        key: &str,
        bytes: Bytes,
        cond: &Cond,
        writer: u64,
    ) -> Result<Etag, No> {
        // As on AWS, the ETag is a digest of the content: equal contents share one.
        let etag = Etag::new(&Sha256Digest::of(&bytes).to_string()[..32]);
        let cond = match (self.lie, cond) {
            (Lie::IgnoresConditions | Lie::ChecksBeforeBody, _) | (Lie::IgnoresIfMatch, Cond::Matches(_)) => &Cond::Any,
            _ => cond,
        };
        if self.lie == Lie::ChecksBeforeBody && bytes.len() >= LARGE {
            self.await_another(key).await;
        }
        if matches!(self.lie, Lie::ChecksThenWrites | Lie::RacesAcrossNodes) {
            let _alone_on_its_node = match self.lie {
                Lie::RacesAcrossNodes => Some(self.nodes[usize::from(writer % 2 == 1)].lock().await),
                _ => None,
            };
            refuse(cond, current(self.lock().get(bucket).ok_or(No::Bucket)?, key).map(|(etag, _)| etag))?;
            tokio::time::sleep(MOMENT).await;
            self.write(bucket, key, Some((etag.clone(), bytes)), &Cond::Any, writer)?;
            return Ok(etag);
        }
        if self.lie == Lie::EtagBeforeBytes {
            // The ETag and the condition are judged at one moment, the bytes follow at another.
            let old = current(self.lock().get(bucket).ok_or(No::Bucket)?, key).map(|(_, bytes)| bytes.clone());
            self.write(bucket, key, Some((etag.clone(), old.unwrap_or_default())), cond, writer)?;
            tokio::time::sleep(MOMENT).await;
            self.write_if_still(bucket, key, &etag, bytes);
            return Ok(etag);
        }
        self.write(bucket, key, Some((etag.clone(), bytes)), cond, writer)?;
        Ok(etag)
    }

    pub(super) fn delete(&self, bucket: &str, key: &str, writer: u64) -> Result<(), No> {
        self.write(bucket, key, None, &Cond::Any, writer)
    }

    /// What a get by `reader` sees.
    pub(super) fn get(&self, bucket: &str, key: &str, reader: u64) -> Result<Option<(Etag, Bytes)>, No> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or(No::Bucket)?;
        let lag = if let Lie::StaleReads(lag) = self.lie { lag } else { Duration::ZERO };
        Ok(objects.get(key).and_then(|versions| seen(versions, reader, lag)))
    }

    /// What a listing by `reader` sees: keys below `prefix` and after `after`, with ETag, length and date.
    pub(super) fn list(&self, bucket: &str, prefix: &str, after: Option<&str>, reader: u64) -> Result<Vec<Listed>, No> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).ok_or(No::Bucket)?;
        let lag = if let Lie::StaleLists(lag) = self.lie { lag } else { Duration::ZERO };
        let below = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let rest = below.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let found = rest.filter_map(|(key, versions)| {
            let (etag, bytes) = seen(versions, reader, lag)?;
            let modified = versions.last()?.modified;
            Some(Listed { key: key.clone(), etag, len: bytes.len(), modified })
        });
        Ok(found.collect())
    }

    pub(super) fn has_bucket(&self, bucket: &str) -> bool {
        self.lock().contains_key(bucket)
    }

    /// `false`: it was there.
    pub(super) fn create_bucket(&self, bucket: &str) -> bool {
        let mut buckets = self.lock();
        let fresh = !buckets.contains_key(bucket);
        buckets.entry(bucket.to_owned()).or_default();
        fresh
    }

    pub(super) fn drop_bucket(&self, bucket: &str) {
        self.lock().remove(bucket);
    }

    pub(super) fn peek(&self, bucket: &str, key: &str) -> Option<Bytes> {
        current(self.lock().get(bucket)?, key).map(|(_, bytes)| bytes.clone())
    }

    pub(super) fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = self.lock();
        let objects = buckets.get(bucket).into_iter().flatten();
        objects
            .filter(|(_, versions)| versions.last().is_some_and(|v| v.content.is_some()))
            .map(|(k, _)| k.clone())
            .collect()
    }

    pub(super) fn plant(&self, bucket: &str, key: &str, bytes: Bytes) {
        let etag = Etag::new(&Sha256Digest::of(&bytes).to_string()[..32]);
        // The bucket is there unless a test dropped it, and then it wants no object.
        let _ = self.write(bucket, key, Some((etag, bytes)), &Cond::Any, 0);
    }

    fn write(
        &self,
        bucket: &str,
        key: &str,
        content: Option<(Etag, Bytes)>,
        cond: &Cond,
        writer: u64,
    ) -> Result<(), No> {
        let mut buckets = self.lock();
        let objects = buckets.get_mut(bucket).ok_or(No::Bucket)?;
        refuse(cond, current(objects, key).map(|(etag, _)| etag))?;
        let version = Version { content, writer, since: Instant::now(), modified: self.time() };
        let versions = objects.entry(key.to_owned()).or_default();
        versions.push(version);
        let kept = self.versioned.load(Ordering::Relaxed);
        if !kept && !matches!(self.lie, Lie::StaleReads(_) | Lie::StaleLists(_)) {
            // Nobody looks at earlier ones.
            versions.drain(..versions.len() - 1);
        }
        Ok(())
    }

    fn write_if_still(&self, bucket: &str, key: &str, etag: &Etag, bytes: Bytes) {
        let mut buckets = self.lock();
        let last = buckets.get_mut(bucket).and_then(|objects| objects.get_mut(key)).and_then(|v| v.last_mut());
        if let Some((current, content)) = last.and_then(|version| version.content.as_mut()).filter(|(e, _)| e == etag) {
            debug_assert_eq!(current, etag);
            *content = bytes;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(cond: &Cond, current: Option<&Etag>) -> Result<(), No> {
    judge(cond, current).map_or(Ok(()), |refused| Err(No::Condition(refused)))
}

fn current<'a>(objects: &'a Bucket, key: &str) -> Option<(&'a Etag, &'a Bytes)> {
    objects.get(key)?.last()?.content.as_ref().map(|(etag, bytes)| (etag, bytes))
}

/// The newest version that `reader` wrote itself or that is older than `lag`.
fn seen(versions: &[Version], reader: u64, lag: Duration) -> Option<(Etag, Bytes)> {
    let visible = |version: &&Version| version.writer == reader || version.since.elapsed() >= lag;
    versions.iter().rev().find(visible)?.content.clone()
}
