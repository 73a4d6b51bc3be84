//! A file on its way from the store to the disk. It is read once, at the store's speed, whoever waits for it and however slowly they read; they follow it in the
//! file. A client that goes away changes nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;

use super::directory::{PartFile, Stamp};
use super::{Disk, Reading};
use crate::registry::RegistryError;
use crate::registry::blob::Blob;
use crate::store::{ObjectBody, Sha256Digest, StoreError};

/// How much is written at once.
const WRITE_BYTES: usize = 256 * 1024;
/// What all files may take in memory that are there to be written after the caller has gone on; a larger one waits alone.
pub(super) const KEEPING_BYTES: usize = 16 * 1024 * 1024;
/// What the smallest is taken for.
const KEEPING_LEAST: usize = 4096;

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

/// Room for a file on its way, until it is there or nothing of it is left, however that comes about.
struct Room {
    disk: Arc<Disk>,
    sha256: Sha256Digest,
    arrived: Option<Stamp>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(shelves) = self.disk.opened.get() else { return };
        let mut arrivals = shelves.arrivals();
        match self.arrived.take() {
            Some(stamp) => shelves.ledger().arrived(&self.sha256, stamp),
            None => shelves.ledger().abandon(&self.sha256),
        }
        arrivals.remove(&self.sha256);
    }
}

/// A file on its way with its room, which it gives back when it is deleted.
struct Incoming {
    part: PartFile,
    room: Room,
}

impl Incoming {
    /// Blocks. `None`: it does not have the content that its name says.
    fn finish(self) -> io::Result<Option<()>> {
        let Self { part, mut room } = self;
        room.arrived = part.finish()?;
        Ok(room.arrived.is_some().then_some(()))
    }
}

impl Disk {
    /// The file that `blob` names, to be read while it arrives. `None`: there is no room for it, or the disk is not well.
    pub(in crate::registry) fn follow(self: &Arc<Self>, blob: &Blob) -> Option<Reading> {
        let shelves = self.opened.get()?;
        if !self.keeps(blob.len) || !self.is_well() {
            return None;
        }
        let (begun, reading) = {
            let mut arrivals = shelves.arrivals();
            let (begun, arrival) = match arrivals.get(&blob.sha256) {
                Some(arrival) => (None, arrival.clone()),
                None => {
                    let leaving = shelves.ledger().reserve(blob.sha256, blob.len)?;
                    let (sender, arrival) = watch::channel(Arrival::Asked);
                    arrivals.insert(blob.sha256, arrival.clone());
                    (Some((leaving, sender)), arrival)
                }
            };
            (begun, self.pin(shelves, &blob.sha256).map(|(pin, _)| Reading::following(pin, arrival)))
        };
        // Without the lock, which the room takes when it is dropped; a runtime that ends drops what is spawned at once.
        if let Some((leaving, sender)) = begun {
            tokio::spawn(self.clone().fetch(blob.clone(), leaving, self.room(blob.sha256), sender));
        }
        reading
    }

    /// Keeps bytes that are in memory and have been checked, after the caller has gone on; unless too many wait for that already.
    pub(in crate::registry) fn keep(self: &Arc<Self>, sha256: Sha256Digest, bytes: Bytes) {
        let Some(shelves) = self.opened.get() else { return };
        if !self.keeps(bytes.len() as u64) || !self.is_well() {
            return;
        }
        let memory = bytes.len().clamp(KEEPING_LEAST, KEEPING_BYTES) as u32;
        let Ok(memory) = self.keeping.clone().try_acquire_many_owned(memory) else { return };
        let Some(leaving) = shelves.ledger().reserve(sha256, bytes.len() as u64) else { return };
        let (disk, room) = (self.clone(), self.room(sha256));
        tokio::spawn(async move {
            let written = disk.on_shelves(move |shelves| {
                shelves.delete(&leaving)?;
                let mut incoming = Incoming { part: shelves.directory.begin(sha256)?, room };
                incoming.part.write(&bytes)?;
                drop((bytes, memory));
                incoming.finish()
            });
            if let Err(lost) = written.await.map_err(Lost::Disk).and_then(|good| good.ok_or(Lost::Wrong)) {
                disk.note(&sha256, &lost);
            }
        });
    }

    /// For a file for which room was just reserved.
    fn room(self: &Arc<Self>, sha256: Sha256Digest) -> Room {
        Room { disk: self.clone(), sha256, arrived: None }
    }

    async fn fetch(
        self: Arc<Self>,
        blob: Blob,
        leaving: Vec<Sha256Digest>,
        room: Room,
        sender: watch::Sender<Arrival>,
    ) {
        let end = match self.try_fetch(&blob, leaving, room, &sender).await {
            Ok(file) => Arrival::Whole(file),
            Err(lost) => {
                self.note(&blob.sha256, &lost);
                match lost {
                    Lost::NotSent(error) => Arrival::NotSent(error),
                    Lost::Wrong => Arrival::Wrong(blob.has_other_bytes()),
                    Lost::Disk(_) | Lost::Store(_) => Arrival::Broken,
                }
            }
        };
        sender.send_replace(end);
    }

    /// Notes why a file for which there was room did not arrive.
    fn note(&self, sha256: &Sha256Digest, lost: &Lost) {
        match lost {
            Lost::Disk(error) => self.trouble("write", error),
            Lost::Store(error) => tracing::debug!(%error, "a file did not arrive in the disk cache"),
            Lost::Wrong => {
                tracing::error!(%sha256, "the store sent a crate file that does not have the SHA-256 in its key");
            }
            Lost::NotSent(_) => {}
        }
    }

    async fn try_fetch(
        self: &Arc<Self>,
        blob: &Blob,
        leaving: Vec<Sha256Digest>,
        room: Room,
        sender: &watch::Sender<Arrival>,
    ) -> Result<Arc<File>, Lost> {
        let sha256 = blob.sha256;
        let begun = self.on_shelves(move |shelves| {
            shelves.delete(&leaving)?;
            Ok(Incoming { part: shelves.directory.begin(sha256)?, room })
        });
        let incoming = begun.await.map_err(Lost::Disk)?;
        let body = match blob.whole().await {
            Ok(body) => body,
            Err(error) => return Err(self.give_up(incoming, Lost::NotSent(error)).await),
        };
        let file = incoming.part.file().clone();
        sender.send_replace(Arrival::Coming(file.clone(), 0));
        let incoming = self.receive(incoming, body, blob.len, |written| {
            sender.send_replace(Arrival::Coming(file.clone(), written));
        });
        let incoming = incoming.await?;
        let good = self.calls.run(move || incoming.finish()).await.map_err(Lost::Disk)?;
        good.map(|()| file).ok_or(Lost::Wrong)
    }

    /// Deletes a file that does not arrive.
    async fn give_up(&self, incoming: Incoming, lost: Lost) -> Lost {
        let deleted = self.calls.run(move || {
            drop(incoming);
            Ok(())
        });
        if let Err(error) = deleted.await {
            self.trouble("delete", &error);
        }
        lost
    }

    /// Writes a body of `len` bytes. `written` is told how far it is, but not of the end: that has to be checked first.
    async fn receive(
        &self,
        mut incoming: Incoming,
        mut body: ObjectBody,
        len: u64,
        written: impl Fn(u64),
    ) -> Result<Incoming, Lost> {
        let (mut total, mut waiting, mut bytes) = (0, Vec::new(), 0);
        while total < len {
            match body.next().await {
                Some(Ok(chunk)) => {
                    let chunk: Bytes = chunk;
                    bytes += chunk.len();
                    waiting.push(chunk);
                    if bytes < WRITE_BYTES && total + (bytes as u64) < len {
                        continue;
                    }
                }
                Some(Err(error)) => return Err(self.give_up(incoming, Lost::Store(error)).await),
                None => {}
            }
            let chunks = std::mem::take(&mut waiting);
            let wrote = self.calls.run(move || {
                for chunk in &chunks {
                    incoming.part.write(chunk)?;
                }
                Ok(incoming)
            });
            incoming = wrote.await.map_err(Lost::Disk)?;
            total += bytes as u64;
            bytes = 0;
            if total < len {
                written(total);
            }
        }
        Ok(incoming)
    }
}
