//! Crate files on a local disk, for a registry over S3: what memory is too small for, and what a restart would forget. What has a content address never changes, so nothing
//! here can be out of date; who may have a file is decided before anybody asks here.
//!
//! Reading order: [`ledger`] (which files there are and which go first; pure), [`directory`] (names, the lock, every blocking call), [`calls`] (how many of those at once, and for how long),
//! [`health`] (when to leave the disk alone), `check` (files that nobody can vouch for yet), `arrival` (a file on its way from the store, which any number of clients follow), `reading` (a
//! client's way through a file, and on to the store when the disk lets it down).
//!
//! - No download fails because of the disk: what it does not have, or cannot read or write, comes from the store, from the byte on that is missing. A disk that does not answer counts as
//!   one that cannot: nobody waits for it longer than [`calls::PATIENCE`], and while [`calls::TURNS`] calls are under way, or for a while after one was waited for in vain, downloads
//!   begin at the store.
//! - A file gets its name when it is whole and has its SHA-256. One that was there at the start is read whole before it is first served; one that this process knows is looked at from
//!   outside ([`directory::Stamp`]) at every open, and read again when it was touched. What memory keeps of it is checked always.
//! - The store is read at its own speed, whatever the clients do; each reads the file at theirs. A file that somebody reads is not deleted for want of room, so what is taken of the disk is
//!   the budget at most, and beside it what clients still have open of a file that was deleted for another reason: it was damaged, or did not arrive.
//!
//! What must never exist here: a decision who may have a file; a byte that is served under another SHA-256; a look at files that are not ours.

mod arrival;
mod calls;
mod check;
mod directory;
mod health;
mod ledger;
mod reading;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::arrival::{Arrival, KEEPING_BYTES};
use self::calls::Calls;
use self::check::Checks;
use self::directory::{Directory, Looked, Stamp};
use self::health::Health;
use self::ledger::{Ledger, Reader};
pub(super) use self::reading::Reading;
use crate::metrics;
use crate::store::Sha256Digest;

/// The largest file that is kept, as a share of the budget: a few of them must not push out all others.
const FILE_SHARE: u64 = 8;
/// The pause after the directory could not be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(30);

/// What is kept on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOnDisk {
    /// Where. Made if it is missing; of no other process.
    pub directory: PathBuf,
    /// What all files together may take, in bytes.
    pub bytes_max: u64,
}

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Disk {
    kept: KeptOnDisk,
    opened: OnceLock<Shelves>,
    calls: Calls,
    /// Memory for what waits to be written.
    keeping: Arc<Semaphore>,
    health: Mutex<Health>,
}

/// What is known of the directory since it was opened.
#[derive(Debug)]
struct Shelves {
    directory: Directory,
    ledger: Mutex<Ledger<Stamp>>,
    /// Files on their way.
    arrivals: Mutex<HashMap<Sha256Digest, watch::Receiver<Arrival>>>,
    checks: Checks,
}

impl Shelves {
    fn ledger(&self) -> MutexGuard<'_, Ledger<Stamp>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrivals(&self) -> MutexGuard<'_, HashMap<Sha256Digest, watch::Receiver<Arrival>>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deletes what the ledger has given up. Blocks.
    fn delete(&self, leaving: &[Sha256Digest]) -> io::Result<()> {
        let mut result = Ok(());
        for sha256 in leaving {
            match self.directory.remove(sha256) {
                Ok(()) => self.ledger().gone(sha256),
                Err(error) => {
                    self.ledger().stayed(sha256);
                    result = Err(error);
                }
            }
        }
        result
    }
}

/// Somebody reads a file, which stays for as long.
#[derive(Debug)]
struct Pin {
    disk: Arc<Disk>,
    reader: Reader,
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(shelves) = self.disk.opened.get() {
            shelves.ledger().release(&self.reader);
        }
    }
}

impl Disk {
    pub(super) fn new(kept: KeptOnDisk) -> Self {
        let keeping = Arc::new(Semaphore::new(KEEPING_BYTES));
        Self { kept, opened: OnceLock::new(), calls: Calls::new(), keeping, health: Mutex::default() }
    }

    /// Opens the directory, and tries again until that succeeds or `stop`.
    pub(super) async fn keep_open(self: Arc<Self>, stop: CancellationToken) {
        while !self.clone().open().await {
            if stop.run_until_cancelled(tokio::time::sleep(OPEN_AGAIN)).await.is_none() {
                return;
            }
        }
    }

    /// Opens the directory once, however long that takes: nobody waits for it. `false`: it cannot be opened now.
    pub(super) async fn open(self: Arc<Self>) -> bool {
        let disk = self.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let (directory, found) = Directory::open(&disk.kept.directory)?;
            let mut ledger = Ledger::new(disk.kept.bytes_max);
            for (sha256, len) in found {
                ledger.found(sha256, len);
            }
            let leaving = ledger.trim();
            let (arrivals, checks) = (Mutex::default(), Checks::default());
            let shelves = Shelves { directory, ledger: Mutex::new(ledger), arrivals, checks };
            if let Err(error) = shelves.delete(&leaving) {
                disk.trouble("delete", &error);
            }
            let (files, bytes, _) = shelves.ledger().size();
            tracing::info!(directory = %disk.kept.directory.display(), files, bytes, "the disk cache is open");
            Ok(shelves)
        });
        match opened.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            // Nobody else opens it: the lock.
            Ok(shelves) => self.opened.set(shelves).is_ok(),
            Err(error) => {
                self.trouble("open", &error);
                false
            }
        }
    }

    /// Whether a file of this length may be kept.
    fn keeps(&self, len: u64) -> bool {
        len <= self.kept.bytes_max / FILE_SHARE
    }

    fn pin(self: &Arc<Self>, shelves: &Shelves, sha256: &Sha256Digest) -> Option<(Pin, Option<Stamp>)> {
        let (reader, known) = shelves.ledger().read(sha256)?;
        Some((Pin { disk: self.clone(), reader }, known))
    }

    /// A file that is here, unless the disk is to be left alone.
    fn pin_here(self: &Arc<Self>, shelves: &Shelves, sha256: &Sha256Digest) -> Option<(Pin, Option<Stamp>)> {
        let is_there = self.calls.is_free() && self.answers() && shelves.ledger().has(sha256);
        if is_there { self.pin(shelves, sha256) } else { None }
    }

    /// A file to be read in pieces, if it is here.
    pub(super) async fn look(self: &Arc<Self>, sha256: Sha256Digest, len: u64) -> Option<Reading> {
        let shelves = self.opened.get()?;
        let mut was_checked = false;
        loop {
            let (pin, known) = self.pin_here(shelves, &sha256)?;
            match self.on_shelves(move |shelves| shelves.directory.look(&sha256, len, known)).await {
                Ok(Looked::Good(file)) => return Some(Reading::of(pin, file)),
                // The check takes longer than anybody waits.
                Ok(Looked::Unchecked) if was_checked => return None,
                Ok(Looked::Unchecked) => {
                    self.check(shelves, pin, len, known).await;
                    was_checked = true;
                }
                Ok(Looked::Bad) => {
                    self.condemn(shelves, &pin).await;
                    return None;
                }
                Err(error) => {
                    self.trouble("read", &error);
                    return None;
                }
            }
        }
    }

    /// A whole file, if it is here.
    pub(super) async fn read(self: &Arc<Self>, sha256: Sha256Digest, len: u64) -> Option<Bytes> {
        let shelves = self.opened.get()?;
        let (pin, _) = self.pin_here(shelves, &sha256)?;
        match self.on_shelves(move |shelves| shelves.directory.read(&sha256, len)).await {
            Ok(Some(bytes)) => Some(bytes),
            Ok(None) => {
                self.condemn(shelves, &pin).await;
                None
            }
            Err(error) => {
                self.trouble("read", &error);
                None
            }
        }
    }

    /// Takes a file away that is not what its name says.
    async fn condemn(self: &Arc<Self>, shelves: &Shelves, pin: &Pin) {
        let sha256 = pin.reader.sha256;
        self.trouble(
            "content",
            &io::Error::other(format!("{sha256} is cut, missing or has other bytes: it is deleted")),
        );
        if shelves.ledger().condemn(&pin.reader)
            && let Err(error) = self.on_shelves(move |shelves| shelves.delete(&[sha256])).await
        {
            self.trouble("delete", &error);
        }
    }

    /// Does something with the open directory: as [`Calls::run`].
    async fn on_shelves<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Shelves) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let disk = self.clone();
        let work = move || work(disk.opened.get().ok_or_else(|| io::Error::other("the cache is not open"))?);
        self.calls.run(work).await
    }

    /// Notes that the disk did not do what it was to, for whoever runs the server; users do not notice.
    fn trouble(&self, operation: &'static str, error: &io::Error) {
        metrics::disk_trouble(operation);
        let hangs = error.kind() == io::ErrorKind::TimedOut;
        if let Some(unsaid) = self.health().trouble(operation, hangs, Instant::now()) {
            let directory = self.kept.directory.display();
            tracing::warn!(%directory, operation, %error, unsaid, "the disk cache is in trouble; downloads come from the store");
        }
    }

    /// Whether to try to write.
    fn is_well(&self) -> bool {
        self.calls.is_free() && self.health().may_write(Instant::now())
    }

    /// Whether to try to read.
    fn answers(&self) -> bool {
        self.health().may_read(Instant::now())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the metrics what is kept.
    pub(super) fn report(&self) {
        if let Some(shelves) = self.opened.get() {
            let (files, bytes, evicted) = shelves.ledger().size();
            metrics::disk_files(files, bytes, evicted);
        }
    }
}

#[cfg(test)]
mod tests;
