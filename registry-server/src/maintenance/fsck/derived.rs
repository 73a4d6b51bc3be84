//! What follows from other things or is only counted: the catalog, and the numbers of downloads. No crate is lost with them.

use futures::TryStreamExt;

use super::{Code, Findings, Fix, Fsck};
use crate::catalog::file::{CURRENT_BYTES_MAX, FILE_BYTES_MAX};
use crate::catalog::{Base, Current, file};
use crate::downloads::counter::DELTA_BYTES_MAX;
use crate::downloads::total::{Gap, Listed, TOTAL_BYTES_MAX};
use crate::downloads::{Delta, Total};
use crate::maintenance::survey::{self, READS_AT_ONCE, Reading, Stored};
use crate::registry::RegistryError;
use crate::store::{Entry, Etag, Key, Prefix, StoreError, Ulid};

/// How many deltas of one gap are named and put back. A counter takes a new name after a day, of at most one delta per minute.
const GAP_NAMED_MAX: usize = 2_000;

impl Fsck<'_> {
    /// Whether `v1/catalog/current` and the file that it names can be used.
    pub(super) async fn check_catalog(&self) -> Result<Findings, RegistryError> {
        self.progress.enter("reading the catalog");
        let mut found = Findings::default();
        let current = match survey::read(&*self.store, &Key::CatalogCurrent, CURRENT_BYTES_MAX).await? {
            // One process alone keeps none.
            Reading::Missing => return Ok(found),
            Reading::Broken { why, .. } => Err(why),
            Reading::Sound(stored) => Current::parse(&stored.bytes),
        };
        match current {
            Err(why) => found.add(Code::CatalogUnreadable, &Key::CatalogCurrent, why),
            Ok(current) => {
                let key = Key::Catalog(current.file().expect("checked when it was read"));
                match self.read_catalog(&key, current).await? {
                    Ok(base) => found.counts.catalog_crates = base.len() as u64,
                    Err(why) => found.add(Code::CatalogUnreadable, &key, why),
                }
            }
        }
        Ok(found)
    }

    /// What `current` names; the inner error says what is wrong with it.
    async fn read_catalog(&self, key: &Key, current: Current) -> Result<Result<Base, String>, RegistryError> {
        let id = self.registry.read_format().await?;
        if id.as_ref() != Some(&current.registry) {
            return Ok(Err(format!("it belongs to the registry {}", current.registry)));
        }
        Ok(match survey::read(&*self.store, key, FILE_BYTES_MAX).await? {
            Reading::Missing => Err(format!("{} names this file, and it is not there", Key::CatalogCurrent)),
            Reading::Broken { why, .. } => Err(why),
            Reading::Sound(stored) => blocking(move || file::decode(&stored.bytes, &current.registry)).await,
        })
    }

    /// Whether the deltas and the total can be read, and no delta waits for one that is gone. The deltas are listed before the total is read:
    /// then each that is gone because it was added is named by the total.
    pub(super) async fn check_downloads(&self) -> Result<Findings, RegistryError> {
        self.progress.enter("reading downloads");
        let entries: Vec<Entry> = survey::entries(self.store.clone(), Prefix::DownloadsDeltas).try_collect().await?;
        let mut found = Findings::default();
        let mut listed = Listed::new();
        for entry in &entries {
            if let Key::DownloadsDelta { counter, number } = entry.key {
                listed.entry(counter).or_default().insert(number);
            }
        }
        found.counts.downloads_deltas = entries.len() as u64;
        if let Some(total) = self.check_total(&mut found).await? {
            check_gaps(&mut found, &total, &listed);
        }
        let checks = listed.iter().flat_map(|(counter, numbers)| numbers.iter().map(|number| (*counter, *number)));
        let checks = checks.collect::<Vec<_>>().into_iter();
        let checks = futures::stream::iter(checks.map(|(counter, number)| Ok(self.check_delta(counter, number))));
        let mut checks = std::pin::pin!(checks.try_buffered(READS_AT_ONCE));
        while let Some(findings) = checks.try_next().await? {
            found.take_over(findings);
        }
        Ok(found)
    }

    /// The total, if it is sound, or there is none yet.
    async fn check_total(&self, found: &mut Findings) -> Result<Option<Total>, RegistryError> {
        let key = Key::DownloadsTotal;
        let (damaged, why) = match survey::read(&*self.store, &key, TOTAL_BYTES_MAX).await? {
            Reading::Missing if self.has_history(&key).await? => {
                let what = "the total is gone, and the store's history has it";
                found.add_fixable(Code::DownloadsMissing, &key, what, Some(Fix::RestoreTotal(None)));
                return Ok(None);
            }
            Reading::Missing => return Ok(Some(Total::empty())),
            Reading::Broken { etag, why } => (etag, why),
            Reading::Sound(Stored { etag, bytes }) => match blocking(move || sound_total(&bytes)).await {
                Ok(total) => return Ok(Some(total)),
                Err(why) => (Some(etag), why),
            },
        };
        let fix = damaged.map(|damaged| Fix::RestoreTotal(Some(damaged)));
        found.add_fixable(Code::DownloadsUnreadable, &key, why, fix);
        Ok(None)
    }

    async fn check_delta(&self, counter: Ulid, number: u64) -> Result<Findings, StoreError> {
        let mut found = Findings::default();
        let key = Key::DownloadsDelta { counter, number };
        let why = match survey::read(&*self.store, &key, DELTA_BYTES_MAX).await? {
            // Added up meanwhile.
            Reading::Missing => return Ok(found),
            Reading::Broken { why, .. } => why,
            Reading::Sound(stored) => match Delta::parse(&stored.bytes, counter, number) {
                Ok(_) => return Ok(found),
                Err(why) => why,
            },
        };
        found.add_fixable(Code::DownloadsUnreadable, &key, why, Some(Fix::RestoreDelta { counter, number }));
        Ok(found)
    }

    /// Puts the total back as it was. What was added to it later is lost where the deltas are deleted, and added again where they are not: in
    /// either case none counts twice, for a total names what is in it.
    pub(super) async fn restore_total(&self, damaged: Option<&Etag>) -> Result<String, RegistryError> {
        let is_sound = |bytes: bytes::Bytes| blocking(move || sound_total(&bytes).map(drop));
        self.restore_object(&Key::DownloadsTotal, TOTAL_BYTES_MAX, damaged, is_sound).await
    }

    /// Puts a delta back, or one that others wait for.
    pub(super) async fn restore_delta(&self, counter: Ulid, number: u64) -> Result<String, RegistryError> {
        let key = Key::DownloadsDelta { counter, number };
        let is_sound = |bytes: bytes::Bytes| async move { Delta::parse(&bytes, counter, number).map(drop) };
        let damaged = match survey::read(&*self.store, &key, DELTA_BYTES_MAX).await? {
            Reading::Sound(stored) => Some(stored.etag),
            Reading::Broken { etag, .. } => etag,
            Reading::Missing => None,
        };
        self.restore_object(&key, DELTA_BYTES_MAX, damaged.as_ref(), is_sound).await
    }
}

fn sound_total(bytes: &bytes::Bytes) -> Result<Total, String> {
    let total = Total::parse(bytes)?;
    total.sums()?;
    Ok(total)
}

/// Deltas are stored one after the other, so before one that waits others were deleted.
fn check_gaps(found: &mut Findings, total: &Total, listed: &Listed) {
    for Gap { counter, missing, waiting } in total.gaps(listed) {
        let (first, last) = (*missing.start(), *missing.end());
        for number in missing.take(GAP_NAMED_MAX) {
            let key = Key::DownloadsDelta { counter, number };
            let what = format!("it is gone, and was never added up; {waiting} later ones wait for it");
            found.add_fixable(Code::DownloadsMissing, &key, what, Some(Fix::RestoreDelta { counter, number }));
        }
        let named = GAP_NAMED_MAX as u64;
        if last - first >= named {
            let key = Key::DownloadsDelta { counter, number: first + named };
            let what = format!("it is gone, as all up to number {last} are; {waiting} later ones wait for them");
            found.add(Code::DownloadsMissing, &key, what);
        }
    }
}

/// Runs what takes long beside other tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}
