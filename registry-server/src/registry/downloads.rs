//! Counts downloads, stores what was counted, and adds it up: the rules are in [`crate::downloads`].
//!
//! A download is counted when it is answered with the bytes, their beginning, or the address of the bytes; not when the client has them
//! already. Every minute what was counted is stored, and once more at the end of the process; a process that is killed loses what it
//! counted since. Once an hour whoever comes first adds up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use rand::RngExt;
use tokio_util::sync::CancellationToken;

use super::{Registry, RegistryError};
use crate::ambient::{Clock, Entropy, Monotonic};
use crate::downloads::counter::DELTA_BYTES_MAX;
use crate::downloads::total::{Listed, TOTAL_BYTES_MAX};
use crate::downloads::{Counter, Counts, Delta, Mutant, Rules, Total};
use crate::krate::record::OpId;
use crate::krate::{CrateName, Version};
use crate::metrics;
use crate::store::proof::Verdict;
use crate::store::{Body, Cond, Etag, Get, Key, Prefix, Put, Store, StoreError, StoreErrorKind, Ulid, list_all};

/// How often what was counted is stored.
const FLUSH_EVERY: Duration = Duration::from_secs(60);
/// How often one looks whether it is time to add up; and up to a tenth later, so that replicas seldom do it at the same time.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// The same after an attempt that came to nothing.
const FAILED_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The pause before an attempt at the end of the process is repeated.
const FINISH_AGAIN: Duration = Duration::from_millis(200);
/// How many deltas are read at once.
const READS_AT_ONCE: usize = 16;

/// The downloads of one registry, as one process counts them.
pub struct Downloads {
    store: Arc<dyn Store>,
    clock: Clock,
    time: Monotonic,
    entropy: Entropy,
    rules: Rules,
    counter: Mutex<Counter>,
    /// Held while a delta is being stored: there is one at a time.
    flushing: tokio::sync::Mutex<()>,
    /// The total that was read last.
    known: tokio::sync::Mutex<Option<Etag>>,
}

/// How adding up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folded {
    /// Somebody did it less than an hour ago.
    NotDue,
    /// There is nothing to add.
    Nothing,
    /// So many deltas are in the total now that were not before.
    Stored(usize),
    /// Somebody else is doing it.
    Overtaken,
    /// They may be in the total, or not; the next look tells.
    Unclear,
}

impl Folded {
    const fn label(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Nothing => "nothing",
            Self::Stored(_) => "stored",
            Self::Overtaken => "overtaken",
            Self::Unclear => "unclear",
        }
    }
}

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloads").field("store", &self.store.location()).finish_non_exhaustive()
    }
}

impl Downloads {
    /// Nothing counted yet.
    pub fn new(store: Arc<dyn Store>, clock: Clock, time: Monotonic, entropy: Entropy, rules: Rules) -> Self {
        let counter = Mutex::new(Counter::new(new_ulid(&clock, &entropy), time.now()));
        let (flushing, known) = Default::default();
        Self { store, clock, time, entropy, rules, counter, flushing, known }
    }

    /// Counts a download.
    pub fn count(&self, name: &CrateName, version: &Version) {
        self.counter().count(&name.canonical(), &version.to_string());
    }

    /// Stores what was counted, if there is anything. What cannot be stored now is stored later, under the same key.
    ///
    /// # Errors
    /// The store does not answer, or refuses.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.flushing.lock().await;
        let fresh = new_ulid(&self.clock, &self.entropy);
        let sending = self.counter().next(fresh, self.time.now()).map(|delta| (delta.key(), delta.to_bytes()));
        let Some((key, bytes)) = sending else { return Ok(()) };
        match self.store.put(&key, Body::Bytes(bytes), Cond::Any).await {
            Put::Stored(_) => {
                let count = self.counter().stored();
                metrics::downloads_flushed(count);
                Ok(())
            }
            Put::NotSent(error) => Err(error),
            Put::Unknown(error) => {
                if self.rules.broken(Mutant::RenumberedAfterUnknown) {
                    self.counter().renumber();
                }
                Err(error)
            }
            Put::Refused(refused) => {
                let message = format!("an unconditional put was refused: {refused:?}");
                Err(StoreError::new(StoreErrorKind::Rejected, message))
            }
        }
    }

    /// Stores everything that was counted, again and again until that is done.
    pub async fn finish(&self) {
        // The delta under way, and what was counted meanwhile.
        for _ in 0..2 {
            while let Err(error) = self.flush().await {
                tracing::debug!(%error, "what was downloaded is not stored yet");
                self.time.sleep(FINISH_AGAIN).await;
            }
        }
    }

    /// Adds what processes have stored to the total, if that is due, and deletes what a total names that was read back.
    ///
    /// # Errors
    /// The store does not answer, or the total is damaged: then nothing is written over it.
    pub async fn fold(&self) -> Result<Folded, StoreError> {
        let result = self.fold_once().await;
        metrics::downloads_folded(result.as_ref().map_or_else(|error| error.kind().label(), |folded| folded.label()));
        result
    }

    async fn fold_once(&self) -> Result<Folded, StoreError> {
        let now = self.clock.now();
        let stored = self.total(None).await?;
        if stored.as_ref().is_some_and(|(_, total)| !total.is_due(now)) {
            return Ok(Folded::NotDue);
        }
        let (etag, total) = stored.map_or((None, Total::empty()), |(etag, total)| (Some(etag), total));
        let listed = self.listed().await?;
        let plan = total.plan(&listed, self.rules);
        if plan.waiting > 0 {
            tracing::warn!(deltas = plan.waiting, "downloads wait for others before them to be added up");
        }
        self.delete(&plan.delete).await;
        let Some(deltas) = self.read(plan.fold).await? else { return Ok(Folded::Overtaken) };
        if deltas.is_empty() {
            return Ok(Folded::Nothing);
        }
        let names: Vec<_> = deltas.iter().map(|delta| (delta.counter, delta.number)).collect();
        let mut counts = Counts::default();
        if self.rules.broken(Mutant::FoldRetriedBlindly) {
            deltas.iter().for_each(|delta| counts.merge(delta.counts.clone()));
        }
        let (op, rules) = (self.entropy.with(OpId::generate), self.rules);
        let next = blocking(move || total.with(deltas, &listed, op, now, rules)).await?;
        let cond = etag.map_or(Cond::Absent, Cond::Matches);
        let put = self.store.put(&Key::DownloadsTotal, Body::Bytes(next.to_bytes()), cond).await;
        if self.rules.broken(Mutant::DeletedBeforeNamed) {
            self.delete(&names).await;
        }
        match put {
            Put::Stored(_) => Ok(Folded::Stored(names.len())),
            _ if self.rules.broken(Mutant::FoldRetriedBlindly) => self.retry_blindly(&next, counts, names.len()).await,
            // Whoever replaced it has added the same, or the next look will.
            Put::Refused(_) => Ok(Folded::Overtaken),
            Put::NotSent(error) => Err(error),
            Put::Unknown(_) => Ok(Folded::Unclear),
        }
    }

    /// The wrong thing, for a test.
    async fn retry_blindly(&self, next: &Total, counts: Counts, deltas: usize) -> Result<Folded, StoreError> {
        let Some((etag, total)) = self.total(None).await? else { return Ok(Folded::Unclear) };
        let Ok(again) = total.with_blindly(next, counts) else { return Ok(Folded::Unclear) };
        let put = self.store.put(&Key::DownloadsTotal, Body::Bytes(again.to_bytes()), Cond::Matches(etag)).await;
        Ok(if matches!(put, Put::Stored(_)) { Folded::Stored(deltas) } else { Folded::Unclear })
    }

    /// The stored total, if there is one and it is not the one that is known.
    async fn total(&self, known: Option<&Etag>) -> Result<Option<(Etag, Total)>, StoreError> {
        let Get::Found(object) = self.store.get(&Key::DownloadsTotal, known).await? else { return Ok(None) };
        let etag = object.etag.clone();
        let total = Total::parse(&object.bytes(TOTAL_BYTES_MAX).await?).map_err(|reason| damaged(&reason))?;
        Ok(Some((etag, total)))
    }

    async fn listed(&self) -> Result<Listed, StoreError> {
        let mut listed = Listed::new();
        for entry in list_all(&*self.store, &Prefix::DownloadsDeltas).await? {
            if let Key::DownloadsDelta { counter, number } = entry.key {
                listed.entry(counter).or_default().insert(number);
            }
        }
        Ok(listed)
    }

    /// Deltas that a total names. One that cannot be deleted now is there the next time.
    async fn delete(&self, names: &[(Ulid, u64)]) {
        for (counter, number) in names {
            let key = Key::DownloadsDelta { counter: *counter, number: *number };
            if let Err(error) = self.store.delete(&key).await {
                tracing::debug!(%key, %error, "downloads that were added up could not be deleted yet");
            }
        }
    }

    /// Reads deltas. One that is damaged holds up those of the same counter after it. `None`: somebody else has deleted one, so it
    /// was added up meanwhile.
    async fn read(&self, names: Vec<(Ulid, u64)>) -> Result<Option<Vec<Delta>>, StoreError> {
        let reads = names.into_iter().map(|(counter, number)| async move {
            let key = Key::DownloadsDelta { counter, number };
            let Get::Found(object) = self.store.get(&key, None).await? else { return Ok(None) };
            let bytes = object.bytes(DELTA_BYTES_MAX).await?;
            let delta = Delta::parse(&bytes, counter, number);
            Ok::<_, StoreError>(Some(delta.map_err(|reason| {
                tracing::error!(%key, reason, "downloads cannot be read; they and those after them wait");
                counter
            })))
        });
        let mut reads = futures::stream::iter(reads).buffered(READS_AT_ONCE);
        let mut deltas: Vec<Delta> = Vec::new();
        let mut held_up = BTreeMap::new();
        while let Some(read) = reads.next().await {
            match read? {
                None => return Ok(None),
                Some(Ok(delta)) if !held_up.contains_key(&delta.counter) => deltas.push(delta),
                Some(Ok(_)) => {}
                Some(Err(counter)) => _ = held_up.insert(counter, ()),
            }
        }
        Ok(Some(deltas))
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Counts a download, which was answered with the bytes, their beginning, or their address.
    pub fn count_download(&self, name: &CrateName, version: &Version) {
        self.downloads.count(name, version);
    }

    /// Stores every minute what was counted, adds up every hour, and shows that in searches, until `stop`. Begins when the store is fit.
    pub async fn keep_counting(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.wait_for(Verdict::is_proven).await;
            let mut look_at = self.replica.time().now();
            loop {
                if look_at <= self.replica.time().now() {
                    let pause = if self.add_up().await { LOOK_EVERY } else { FAILED_AGAIN };
                    let share: f64 = self.entropy.with(|rng| rng.random());
                    look_at = self.replica.time().now() + pause.mul_f64(1.0 + share / 10.0);
                }
                self.replica.time().sleep(FLUSH_EVERY).await;
                if let Err(error) = self.downloads.flush().await {
                    tracing::warn!(%error, "downloads could not be stored; they are kept and tried again");
                }
            }
        };
        stop.run_until_cancelled(work).await;
    }

    /// Stores what was counted, at the end of the process.
    pub async fn finish_counting(&self) {
        if self.readiness().is_proven() {
            self.downloads.finish().await;
        }
    }

    /// Adds up if that is due, and shows the total. Whether both went well.
    async fn add_up(self: &Arc<Self>) -> bool {
        let folded = self.downloads.fold().await;
        if let Err(error) = &folded {
            tracing::warn!(%error, "downloads could not be added up; they are kept and tried again");
        }
        let shown = self.show_downloads().await;
        if let Err(error) = &shown {
            tracing::warn!(cause = error.cause(), "the numbers of downloads are not up to date: {error}");
        }
        folded.is_ok() && shown.is_ok()
    }

    /// Shows the stored total in searches.
    async fn show_downloads(self: &Arc<Self>) -> Result<(), RegistryError> {
        let mut known = self.downloads.known.lock().await;
        let Some((etag, total)) = self.downloads.total(known.as_ref()).await? else { return Ok(()) };
        let sums = blocking(move || total.sums()).await?;
        self.show_sums(&sums).await?;
        *known = Some(etag);
        Ok(())
    }
}

/// Runs what takes long away from the threads that serve.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(error.to_string())).map_err(|reason| damaged(&reason))
}

fn damaged(reason: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, format!("{}: {reason}", Key::DownloadsTotal))
}

fn new_ulid(clock: &Clock, entropy: &Entropy) -> Ulid {
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
    Ulid::from_parts(millis, entropy.bits())
}
