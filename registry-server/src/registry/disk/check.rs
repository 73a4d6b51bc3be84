//! Files that nobody can vouch for, because they were there at the start or were touched since: each is read whole before it is served, once, whoever waits for it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::calls::PATIENCE;
use super::directory::{Stamp, Step};
use super::{Disk, Pin, Shelves};
use crate::store::Sha256Digest;

/// The checks under way. They say nothing but that they end: what they find is in the ledger.
#[derive(Debug, Default)]
pub(super) struct Checks(Mutex<HashMap<Sha256Digest, watch::Receiver<()>>>);

impl Checks {
    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Sha256Digest, watch::Receiver<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check under way; dropped when it ends, however it does.
struct UnderWay {
    disk: Arc<Disk>,
    sha256: Sha256Digest,
    _ends: watch::Sender<()>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(shelves) = self.disk.opened.get() {
            shelves.checks.lock().remove(&self.sha256);
        }
    }
}

impl Disk {
    /// Waits until a file of `len` bytes is checked that was `known` by its stamp, but not for long: a large one goes on being checked for those who come later.
    pub(super) async fn check(self: &Arc<Self>, shelves: &Shelves, pin: Pin, len: u64, known: Option<Stamp>) {
        let sha256 = pin.reader.sha256;
        let (begun, mut ends) = {
            let mut checks = shelves.checks.lock();
            match checks.get(&sha256) {
                Some(ends) => (None, ends.clone()),
                // One has ended since.
                None if shelves.ledger().sealed(&pin.reader) != known => return,
                None => {
                    let (begun, ends) = watch::channel(());
                    checks.insert(sha256, ends.clone());
                    (Some(begun), ends)
                }
            }
        };
        // Without the lock, which it takes when it ends.
        if let Some(_ends) = begun {
            let under_way = UnderWay { disk: self.clone(), sha256, _ends };
            tokio::spawn(self.clone().run_check(pin, len, under_way));
        }
        let _ = tokio::time::timeout(PATIENCE, ends.changed()).await;
    }

    async fn run_check(self: Arc<Self>, pin: Pin, len: u64, _under_way: UnderWay) {
        let Some(shelves) = self.opened.get() else { return };
        match self.read_through(pin.reader.sha256, len).await {
            Ok(Some(stamp)) => shelves.ledger().seal(&pin.reader, stamp),
            Ok(None) => self.condemn(shelves, &pin).await,
            Err(error) => self.trouble("read", &error),
        }
    }

    /// What a good file looks like from outside. `None`: it is bad.
    async fn read_through(self: &Arc<Self>, sha256: Sha256Digest, len: u64) -> io::Result<Option<Stamp>> {
        let begun = self.on_shelves(move |shelves| shelves.directory.check(sha256, len)).await?;
        let Some(mut checking) = begun else { return Ok(None) };
        loop {
            match self.calls.run(move || checking.step()).await? {
                Step::More(more) => checking = more,
                Step::Good(stamp) => return Ok(Some(stamp)),
                Step::Bad => return Ok(None),
            }
        }
    }
}
