//! What the steps share: connections, keys, bodies, and the report.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::{Effort, Outcome, Provable, StepReport, Verdict};
use crate::store::{Etag, Get, Key, Prefix, Put, StoreError, StoreErrorKind, Ulid, list_all};

/// The longest body that the proof reads back.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// After a proof that broke off, how long its last puts are given to land before they are looked for.
const LANDING: Duration = Duration::from_millis(500);

/// Why a step did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// The store broke a promise, in the words for a person.
    Broken(String),
    /// The store could not be asked.
    Unreachable(StoreError),
}

impl From<StoreError> for Failed {
    fn from(err: StoreError) -> Self {
        match err.kind() {
            // It answered, and will not do what is needed, or does it wrongly.
            StoreErrorKind::Rejected | StoreErrorKind::Corrupt | StoreErrorKind::TooLarge => {
                Self::Broken(format!("it does not take a request that the registry needs: {err}"))
            }
            StoreErrorKind::Unavailable
            | StoreErrorKind::Throttled
            | StoreErrorKind::Denied
            | StoreErrorKind::NoBucket => Self::Unreachable(err),
        }
    }
}

/// A step did not pass; the bench knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Broken,
    Unreachable,
}

/// Going on after a broken promise.
pub(super) trait OrBroken {
    /// `Ok` too if the step found a broken promise, which is on record.
    fn or_broken(self) -> Result<(), Ended>;
}

impl<T> OrBroken for Result<T, Ended> {
    fn or_broken(self) -> Result<(), Ended> {
        match self {
            Ok(_) | Err(Ended::Broken) => Ok(()),
            Err(Ended::Unreachable) => Err(Ended::Unreachable),
        }
    }
}

/// One run of the proof.
pub(super) struct Bench {
    pub(super) effort: Effort,
    pub(super) run: Ulid,
    store: Arc<dyn Provable>,
    others: OnceLock<Vec<Arc<dyn Provable>>>,
    keys: Mutex<BTreeSet<Key>>,
    reports: Mutex<Vec<StepReport>>,
    failure: Mutex<Option<(&'static str, Failed)>>,
    running: Mutex<Vec<&'static str>>,
}

impl Bench {
    pub(super) fn new(store: Arc<dyn Provable>, run: Ulid, effort: Effort) -> Self {
        Self {
            effort,
            run,
            store,
            others: OnceLock::new(),
            keys: Mutex::default(),
            reports: Mutex::default(),
            failure: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// Opens the further connections. They send nothing yet.
    pub(super) async fn connect(&self) -> Result<(), Ended> {
        let mut others = Vec::new();
        for number in 1..self.effort.connections.max(2) {
            match self.store.witness(number).await {
                Ok(other) => others.push(other),
                Err(err) => return Err(self.fail("reach", Failed::Unreachable(err))),
            }
        }
        // Set once, before any step that uses it.
        let _ = self.others.set(others);
        Ok(())
    }

    /// The `index`th connection, counted around.
    pub(super) fn connection(&self, index: usize) -> &Arc<dyn Provable> {
        let others = self.others.get().map_or(&[][..], Vec::as_slice);
        match index % (others.len() + 1) {
            0 => &self.store,
            other => &others[other - 1],
        }
    }

    /// A key of this run, remembered for the clean-up.
    pub(super) fn key(&self, name: &str) -> Key {
        let key = Key::probe(self.run, name).expect("the proof's names are plain");
        locked(&self.keys).insert(key.clone());
        key
    }

    /// A body of `len` bytes that tells by itself who wrote it.
    pub(super) fn body(&self, writer: &str, len: usize) -> Bytes {
        let line = format!("{} {writer}\n", self.run);
        let mut text = line.repeat(len / line.len() + 1);
        text.truncate(len.max(line.len()));
        text.into()
    }

    /// Runs a step and reports it.
    pub(super) async fn step<T: Detail>(
        &self,
        step: &'static str,
        run: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Ended> {
        locked(&self.running).push(step);
        let began = Instant::now();
        // On the heap: there are many of them in one future.
        let result = Box::pin(run).await;
        locked(&self.running).retain(|running| *running != step);
        let (outcome, detail) = match &result {
            Ok(found) => found.detail(),
            Err(Failed::Broken(what)) => (Outcome::Failed, what.clone()),
            Err(Failed::Unreachable(err)) => (Outcome::Unreachable, err.to_string()),
        };
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        locked(&self.reports).push(StepReport { step, outcome, millis, detail });
        result.map_err(|failed| self.fail(step, failed))
    }

    /// Keeps the first failure; a broken promise weighs more than a lost connection.
    fn fail(&self, step: &'static str, failed: Failed) -> Ended {
        let ended = if matches!(failed, Failed::Broken(_)) { Ended::Broken } else { Ended::Unreachable };
        let mut failure = locked(&self.failure);
        if matches!((&*failure, &failed), (None, _) | (Some((_, Failed::Unreachable(_))), Failed::Broken(_))) {
            *failure = Some((step, failed));
        }
        ended
    }

    /// The time is up.
    pub(super) fn overrun(&self, message: String) {
        let step = locked(&self.running).first().copied().unwrap_or("reach");
        self.fail(step, Failed::Unreachable(StoreError::new(StoreErrorKind::Unavailable, message)));
    }

    /// Deletes what this run wrote, and nothing else. Best effort.
    pub(super) async fn clean_up(&self) {
        let keys = locked(&self.keys).clone();
        self.delete(keys.iter()).await;
        if locked(&self.running).is_empty() {
            return;
        }
        // The proof broke off: what was on its way then may land after its delete.
        tokio::time::sleep(LANDING).await;
        match list_all(&*self.store, &Prefix::Probe(self.run)).await {
            Ok(landed) => self.delete(landed.iter().map(|entry| &entry.key)).await,
            Err(err) => tracing::warn!(run = %self.run, error = %err, "what the start-up proof left cannot be listed"),
        }
    }

    async fn delete(&self, keys: impl Iterator<Item = &Key> + Send) {
        for result in futures::future::join_all(keys.map(|key| self.store.delete(key))).await {
            if let Err(err) = result {
                tracing::warn!(run = %self.run, error = %err, "an object of the start-up proof could not be deleted");
            }
        }
    }

    pub(super) fn verdict(&self) -> Verdict {
        let location = self.store.location();
        let steps = std::mem::take(&mut *locked(&self.reports));
        match locked(&self.failure).take() {
            Some((step, failed)) => Verdict::failed(step, failed, &location, steps),
            None => Verdict::proven(&location, steps),
        }
    }

    /// Reads an object whole; `None` if there is none.
    pub(super) async fn read(store: &Arc<dyn Provable>, key: &Key) -> Result<Option<(Etag, Bytes)>, Failed> {
        match store.get(key, None).await? {
            Get::Found(object) => {
                let etag = object.etag.clone();
                Ok(Some((etag, object.bytes(READ_BYTES_MAX).await?)))
            }
            Get::Missing => Ok(None),
            Get::NotModified => Err(Failed::Broken("it answered 304 to a read without If-None-Match".to_owned())),
        }
    }
}

/// What a step has to tell.
pub(super) trait Detail {
    fn detail(&self) -> (Outcome, String) {
        (Outcome::Passed, String::new())
    }
}

impl Detail for () {}

/// Put outcomes as the sequential steps see them.
pub(super) trait Expect {
    /// It must have been stored.
    fn stored(self, what: &str) -> Result<Etag, Failed>;
    /// It must have been refused, one way or another.
    fn refused(self, what: &str) -> Result<(), Failed>;
}

impl Expect for Put {
    fn stored(self, what: &str) -> Result<Etag, Failed> {
        match self {
            Self::Stored(etag) => Ok(etag),
            Self::Refused(how) => Err(Failed::Broken(format!("it refused {what} ({how:?})"))),
            Self::NotSent(err) | Self::Unknown(err) => Err(err.into()),
        }
    }

    fn refused(self, what: &str) -> Result<(), Failed> {
        match self {
            Self::Refused(_) => Ok(()),
            Self::Stored(_) => Err(Failed::Broken(format!("it accepted {what}"))),
            Self::NotSent(err) | Self::Unknown(err) => Err(err.into()),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
