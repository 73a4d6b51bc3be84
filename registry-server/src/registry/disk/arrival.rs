//! A file on its way from the store to the disk. It is read once, at the store's speed, whoever waits for it and however slowly they read; they follow it in the
//! file. A client that goes away changes nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;

use super::directory::{PartFile, Stamp};
use super::{Disk, Reading, blocking};
use crate::registry::RegistryError;
use crate::registry::blob::Blob;
use crate::store::{ObjectBody, Sha256Digest, StoreError};

/// How much is written at once.
const WRITE_BYTES: usize = 256 * 1024;

/// How far a file is.
#[derive(Debug, Clone)]
pub(super) enum Arrival {
    /// The store was asked.
    Asked,
    /// The store does not have it, or does not answer.
    NotSent(RegistryError),
    /// So many bytes can be read.
    Coming(Arc<File>, u64),
    /// All can be read, and they are what they should be.
    Whole(Arc<File>),
    /// The store sent other bytes.
    Wrong(RegistryError),
    /// The disk or the store broke off: the rest has to come from elsewhere.
    Broken,
}

/// Why a file did not arrive.
enum Lost {
    Disk(io::Error),
    NotSent(RegistryError),
    Store(StoreError),
    Wrong,
}

impl Disk {
    /// The file that `blob` names, to be read while it arrives. `None`: there is no room for it, or the disk is not well.
    pub(in crate::registry) fn follow(self: &Arc<Self>, blob: &Blob) -> Option<Reading> {
        let shelves = self.opened.get()?;
        if !self.keeps(blob.len) || !self.is_well() {
            return None;
        }
        let mut arrivals = shelves.arrivals();
        let arrival = match arrivals.get(&blob.sha256) {
            Some(arrival) => arrival.clone(),
            None => {
                let leaving = shelves.ledger().reserve(blob.sha256, blob.len)?;
                let (sender, arrival) = watch::channel(Arrival::Asked);
                arrivals.insert(blob.sha256, arrival.clone());
                tokio::spawn(self.clone().fetch(blob.clone(), leaving, sender));
                arrival
            }
        };
        let (pin, _) = self.pin(shelves, &blob.sha256)?;
        Some(Reading::following(pin, arrival))
    }

    /// Keeps bytes that are in memory and have been checked, after the caller has gone on.
    pub(in crate::registry) fn keep(self: &Arc<Self>, sha256: Sha256Digest, bytes: Bytes) {
        let Some(shelves) = self.opened.get() else { return };
        if !self.keeps(bytes.len() as u64) || !self.is_well() {
            return;
        }
        let Some(leaving) = shelves.ledger().reserve(sha256, bytes.len() as u64) else { return };
        let disk = self.clone();
        tokio::spawn(async move {
            let written = disk.on_shelves(move |shelves| {
                shelves.delete(&leaving)?;
                let mut part = shelves.directory.begin(sha256)?;
                part.write(&bytes)?;
                part.finish()
            });
            let written = written.await.map_err(Lost::Disk).and_then(|stamp| stamp.ok_or(Lost::Wrong));
            disk.settle(&sha256, written);
        });
    }

    async fn fetch(self: Arc<Self>, blob: Blob, leaving: Vec<Sha256Digest>, sender: watch::Sender<Arrival>) {
        let fetched = self.clone().try_fetch(&blob, leaving, &sender).await;
        let end = match &fetched {
            Ok((file, _)) => Arrival::Whole(file.clone()),
            Err(Lost::NotSent(error)) => Arrival::NotSent(error.clone()),
            Err(Lost::Wrong) => Arrival::Wrong(blob.has_other_bytes()),
            Err(Lost::Disk(_) | Lost::Store(_)) => Arrival::Broken,
        };
        self.settle(&blob.sha256, fetched.map(|(_, stamp)| stamp));
        if let Some(shelves) = self.opened.get() {
            shelves.arrivals().remove(&blob.sha256);
        }
        sender.send_replace(end);
    }

    /// Notes what became of a file for which there was room.
    fn settle(&self, sha256: &Sha256Digest, arrived: Result<Stamp, Lost>) {
        let Some(shelves) = self.opened.get() else { return };
        match arrived {
            Ok(stamp) => return shelves.ledger().arrived(sha256, stamp),
            Err(Lost::Disk(error)) => self.trouble("write", &error),
            Err(Lost::Store(error)) => tracing::debug!(%error, "a file did not arrive in the disk cache"),
            Err(Lost::Wrong) => {
                tracing::error!(%sha256, "the store sent a crate file that does not have the SHA-256 in its key");
            }
            Err(Lost::NotSent(_)) => {}
        }
        shelves.ledger().abandon(sha256);
    }

    async fn try_fetch(
        self: Arc<Self>,
        blob: &Blob,
        leaving: Vec<Sha256Digest>,
        sender: &watch::Sender<Arrival>,
    ) -> Result<(Arc<File>, Stamp), Lost> {
        let sha256 = blob.sha256;
        let begun = self.on_shelves(move |shelves| {
            shelves.delete(&leaving)?;
            shelves.directory.begin(sha256)
        });
        let part = begun.await.map_err(Lost::Disk)?;
        let body = blob.whole().await.map_err(Lost::NotSent)?;
        let file = part.file().clone();
        sender.send_replace(Arrival::Coming(file.clone(), 0));
        let part = receive(part, body, blob.len, |written| {
            sender.send_replace(Arrival::Coming(file.clone(), written));
        });
        let part = part.await?;
        let stamp = blocking(move || part.finish()).await.map_err(Lost::Disk)?;
        Ok((file, stamp.ok_or(Lost::Wrong)?))
    }
}

/// Writes a body of `len` bytes. `written` is told how far it is, but not of the end: that has to be checked first.
async fn receive(mut part: PartFile, mut body: ObjectBody, len: u64, written: impl Fn(u64)) -> Result<PartFile, Lost> {
    let (mut total, mut waiting, mut bytes) = (0, Vec::new(), 0);
    while total < len {
        if let Some(chunk) = body.next().await {
            let chunk: Bytes = chunk.map_err(Lost::Store)?;
            bytes += chunk.len();
            waiting.push(chunk);
            if bytes < WRITE_BYTES && total + (bytes as u64) < len {
                continue;
            }
        }
        let chunks = std::mem::take(&mut waiting);
        let wrote = blocking(move || {
            for chunk in &chunks {
                part.write(chunk)?;
            }
            Ok(part)
        });
        part = wrote.await.map_err(Lost::Disk)?;
        total += bytes as u64;
        bytes = 0;
        if total < len {
            written(total);
        }
    }
    Ok(part)
}
