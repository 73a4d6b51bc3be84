//! A client's way through a file: on the disk, behind the bytes that arrive if it is on its way, and on to the store from the byte on where the disk lets it down.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;

use super::Pin;
use super::arrival::Arrival;
use super::calls::in_time;
use crate::registry::RegistryError;
use crate::registry::blob::Blob;
use crate::store::reading::FileReader;
use crate::store::{ObjectBody, StoreError, StoreErrorKind};

/// A file that is read.
pub(in crate::registry) struct Reading {
    pin: Pin,
    reader: Option<FileReader>,
    /// While it is on its way.
    arrival: Option<watch::Receiver<Arrival>>,
}

/// Why no more can be read here.
enum Lost {
    Disk(io::Error),
    /// The arrival broke off.
    Broken,
    /// The store sent other bytes.
    Wrong(RegistryError),
}

impl Reading {
    /// Of a file that is here.
    pub(super) fn of(pin: Pin, file: File) -> Self {
        let reader = FileReader::within(file, pin.disk.calls.turns().clone());
        Self { pin, reader: Some(reader), arrival: None }
    }

    /// Of a file on its way.
    pub(super) fn following(pin: Pin, arrival: watch::Receiver<Arrival>) -> Self {
        Self { pin, reader: None, arrival: Some(arrival) }
    }

    /// Waits until the store has answered, if it is asked. `false`: nothing comes of it.
    ///
    /// # Errors
    /// The store does not have the file, or does not answer, or has sent other bytes by now.
    pub(in crate::registry) async fn begins(&mut self) -> Result<bool, RegistryError> {
        let Some(arrival) = &mut self.arrival else { return Ok(true) };
        let said = arrival.wait_for(|arrival| !matches!(arrival, Arrival::Asked)).await.map(|said| said.clone());
        match said {
            Ok(Arrival::NotSent(error) | Arrival::Wrong(error)) => Err(error),
            Ok(Arrival::Coming(..) | Arrival::Whole(_)) => Ok(true),
            Ok(Arrival::Asked | Arrival::Broken) | Err(_) => Ok(false),
        }
    }

    /// The bytes of a part of it.
    pub(in crate::registry) fn body(self, blob: Blob, part: Range<u64>) -> ObjectBody {
        let len = part.end - part.start;
        let chunks = futures::stream::try_unfold((Way::Disk(self), blob, part), |(mut way, blob, part)| async move {
            if part.is_empty() {
                return Ok(None);
            }
            let bytes = match &mut way {
                Way::Disk(reading) => match reading.next(&part).await? {
                    Some(bytes) => bytes,
                    None => {
                        let mut body = blob.part(part.clone()).await.map_err(broke_off)?;
                        let Some(bytes) = body.next().await.transpose()? else { return Ok(None) };
                        way = Way::Store(body);
                        bytes
                    }
                },
                Way::Store(body) => match body.next().await.transpose()? {
                    Some(bytes) => bytes,
                    None => return Ok(None),
                },
            };
            let next = part.start + bytes.len() as u64;
            Ok(Some((bytes, (way, blob, next..part.end))))
        });
        ObjectBody::new(len, chunks)
    }

    /// The next bytes. `None`: not from here.
    async fn next(&mut self, part: &Range<u64>) -> Result<Option<Bytes>, StoreError> {
        match self.try_next(part).await {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(Lost::Disk(error)) => self.pin.disk.trouble("read", &error),
            Err(Lost::Broken) => {}
            Err(Lost::Wrong(error)) => return Err(broke_off(error)),
        }
        Ok(None)
    }

    async fn try_next(&mut self, part: &Range<u64>) -> Result<Bytes, Lost> {
        let mut end = part.end;
        if let Some(arrival) = &mut self.arrival {
            let more = |arrival: &Arrival| match arrival {
                Arrival::Asked => false,
                Arrival::Coming(_, written) => *written > part.start,
                Arrival::NotSent(_) | Arrival::Whole(_) | Arrival::Wrong(_) | Arrival::Broken => true,
            };
            let said = arrival.wait_for(more).await.map(|said| said.clone());
            let file = match said {
                Ok(Arrival::Coming(file, written)) => {
                    end = end.min(written);
                    file
                }
                Ok(Arrival::Whole(file)) => {
                    self.arrival = None;
                    file
                }
                Ok(Arrival::Wrong(error)) => return Err(Lost::Wrong(error)),
                Ok(Arrival::Asked | Arrival::NotSent(_) | Arrival::Broken) | Err(_) => return Err(Lost::Broken),
            };
            self.reader.get_or_insert_with(|| FileReader::within(file, self.pin.disk.calls.turns().clone()));
        }
        let Some(reader) = &mut self.reader else { return Err(Lost::Broken) };
        match in_time(reader.read(part.start, end - part.start)).await.map_err(Lost::Disk)? {
            bytes if bytes.is_empty() => {
                Err(Lost::Disk(io::Error::new(io::ErrorKind::UnexpectedEof, "a file was cut")))
            }
            bytes => Ok(bytes),
        }
    }
}

/// Where the bytes come from.
enum Way {
    Disk(Reading),
    Store(ObjectBody),
}

/// In the middle of an answer there is nobody to tell more.
fn broke_off(error: RegistryError) -> StoreError {
    match error {
        RegistryError::Store(error) => error,
        error => StoreError::new(StoreErrorKind::Corrupt, error.to_string()),
    }
}
