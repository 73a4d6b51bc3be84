//! The body of a publish on its way in: in memory up to a mebibyte, in a temporary file above, its digest computed on the way.

use std::io::{BufReader, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Limits;
use crate::krate::metadata::PublishMetadata;
use crate::krate::release::OwnIndexUrls;
use crate::krate::tarball::{TarballError, TarballLimits, Unpacked};
use crate::krate::{CrateName, Release, Version};
use crate::registry::{Body, Sha256Digest, SpooledFile};
use crate::registry::{RegistryError, Upload};

/// Uploads up to this are kept in memory, in bytes.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// How much is set aside before bytes have arrived.
const RESERVE_BYTES_MAX: usize = 64 * 1024;
/// How many uploads are opened at once. Each takes a thread, and some ten megabytes beside the upload when it is made to do harm; the others
/// wait for their turn.
const CHECKS_AT_ONCE: usize = 4;

/// What all uploads together may take of the machine.
#[derive(Debug, Clone)]
pub(super) struct Room {
    checks: Arc<Semaphore>,
    /// One permit per byte in a temporary file.
    spool: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(limits: &Limits) -> Self {
        let bytes = usize::try_from(limits.spool_bytes_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)), spool: Arc::new(Semaphore::new(bytes)) }
    }

    /// Space for a file of `len` bytes, or nothing: whoever waits for space holds a connection, and its client can come again.
    fn space(&self, len: u32) -> Result<OwnedSemaphorePermit, RegistryError> {
        self.spool.clone().try_acquire_many_owned(len).map_err(|_| {
            tracing::warn!(bytes = len, "an upload found no space: limits.spool_bytes_max is in use");
            RegistryError::Busy(
                "too many large uploads are under way at the same time; nothing was stored, repeat the command in a moment",
            )
        })
    }
}

/// A `.crate` file that is arriving.
pub(super) struct Spool {
    sha256: Sha256,
    len: u64,
    sink: Sink,
}

enum Sink {
    Memory(Vec<u8>),
    File { file: tokio::fs::File, path: tempfile::TempPath, space: OwnedSemaphorePermit },
}

fn internal(error: &std::io::Error) -> RegistryError {
    RegistryError::Internal {
        text: "the upload could not be kept while it was checked; nothing was stored, repeat the command",
        reason: format!("temporary file: {error}"),
    }
}

impl Spool {
    /// Makes room for `len` bytes. The file, if it takes one, has no name that outlives this value, and its whole length is taken from the
    /// space for all of them at once: an upload that has begun will find space to its end.
    pub(super) async fn new(len: u32, directory: Option<PathBuf>, room: &Room) -> Result<Self, RegistryError> {
        let small = usize::try_from(len).ok().filter(|len| *len <= MEMORY_BYTES_MAX);
        let sink = match small {
            Some(len) => Sink::Memory(Vec::with_capacity(len.min(RESERVE_BYTES_MAX))),
            None => {
                let space = room.space(len)?;
                let made = tokio::task::spawn_blocking(move || {
                    let builder = tempfile::Builder::new().prefix("supercargo-upload-").to_owned();
                    match directory {
                        Some(directory) => builder.tempfile_in(directory),
                        None => builder.tempfile(),
                    }
                });
                let (file, path) = made
                    .await
                    .map_err(std::io::Error::other)
                    .and_then(|made| made)
                    .map_err(|error| internal(&error))?
                    .into_parts();
                Sink::File { file: tokio::fs::File::from_std(file), path, space }
            }
        };
        Ok(Self { sha256: Sha256::new(), len: 0, sink })
    }

    pub(super) async fn write(&mut self, bytes: &Bytes) -> Result<(), RegistryError> {
        self.sha256.update(bytes);
        self.len += bytes.len() as u64;
        match &mut self.sink {
            Sink::Memory(memory) => {
                memory.extend_from_slice(bytes);
                Ok(())
            }
            Sink::File { file, .. } => file.write_all(bytes).await.map_err(|error| internal(&error)),
        }
    }

    /// The whole file, ready to be checked and stored.
    pub(super) async fn finish(self) -> Result<(Body, Sha256Digest), RegistryError> {
        let sha256 = Sha256Digest::from_bytes(self.sha256.finalize().into());
        let body = match self.sink {
            Sink::Memory(memory) => Body::Bytes(memory.into()),
            Sink::File { mut file, path, space } => {
                file.flush().await.map_err(|error| internal(&error))?;
                Body::File(SpooledFile::within(Some(space), path, self.len, sha256))
            }
        };
        Ok((body, sha256))
    }
}

/// What Cargo said of the crate, parsed.
pub(super) struct Announced {
    pub(super) metadata: PublishMetadata,
    pub(super) name: CrateName,
    pub(super) version: Version,
}

/// Opens the file under limits, away from the threads that serve, and compares it with what Cargo said.
pub(super) async fn check(
    announced: Announced,
    body: Body,
    sha256: Sha256Digest,
    own: OwnIndexUrls,
    limits: &Limits,
    room: &Room,
) -> Result<Upload, RegistryError> {
    let limits = TarballLimits {
        unpacked_bytes_max: limits.unpacked_bytes_max,
        entries_max: u32::try_from(limits.entries_max).unwrap_or(u32::MAX),
    };
    let failed = |reason: String| RegistryError::Internal { text: "the checks of the crate failed", reason };
    let turn = room.checks.clone().acquire_owned().await.map_err(|error| failed(error.to_string()))?;
    let checked = tokio::task::spawn_blocking(move || {
        // Goes with the thread, which runs on when the client goes away.
        let _turn = turn;
        let Announced { metadata, name, version } = announced;
        let krate_bytes = body.len();
        let unpacked = match &body {
            Body::Bytes(bytes) => Unpacked::open(Cursor::new(bytes), krate_bytes, &name, &version, &limits),
            Body::File(file) => {
                let file = std::fs::File::open(file.path()).map_err(|error| internal(&error))?;
                Unpacked::open(BufReader::new(file), krate_bytes, &name, &version, &limits)
            }
        };
        let unpacked = unpacked.map_err(|error| match error {
            TarballError::Io(error) => internal(&error),
            error => RegistryError::Invalid(error.to_string()),
        })?;
        let release =
            Release::check(&metadata, &unpacked, &own).map_err(|error| RegistryError::Invalid(error.to_string()))?;
        Ok(Upload { release, body, sha256 })
    });
    checked.await.map_err(|error| failed(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Config;
    use crate::krate::packed::Packed;

    fn limits() -> Limits {
        Config::from_sources(None, []).expect("the defaults are valid").limits
    }

    #[tokio::test]
    async fn uploads_wait_for_their_turn_to_be_checked() {
        let limits = limits();
        let room = Room::new(&limits);
        let packed = Packed::new("a", "1.0.0");
        let (metadata, name, version) = PublishMetadata::parse(packed.metadata.to_string().as_bytes()).expect("good");
        let krate = packed.krate();
        let sha256 = Sha256Digest::of(&krate);
        let announced = Announced { metadata, name, version };
        let checked = check(announced, krate.into(), sha256, OwnIndexUrls::default(), &limits, &room);
        tokio::pin!(checked);

        let mut others = room.checks.clone().try_acquire_many_owned(4).expect("nobody is checked");
        let waited = tokio::time::timeout(Duration::from_millis(100), &mut checked).await;
        assert!(waited.is_err(), "it did not wait");
        drop(others.split(1));
        checked.await.expect("a good upload");
        assert_eq!(room.checks.available_permits(), 1, "it has given its turn back");
    }

    #[tokio::test]
    async fn files_of_uploads_share_one_space_and_give_it_back() {
        let limits = Limits { spool_bytes_max: 5 << 20, ..limits() };
        let room = Room::new(&limits);
        let spool = |megabytes: u32| Spool::new(megabytes << 20, None, &room);
        let (one, two) = (spool(2).await.expect("space"), spool(3).await.expect("space"));
        let Err(error) = spool(2).await else { panic!("there is no space") };
        assert!(matches!(error, RegistryError::Busy(text) if text.contains("too many large uploads")), "{error:?}");
        spool(1).await.expect("small ones are in memory");

        drop(two);
        let (body, _) = one.finish().await.expect("a file");
        let copy = body.clone();
        drop(body);
        assert_eq!(room.spool.available_permits(), 3 << 20, "as long as anybody has the file");
        drop(copy);
        assert_eq!(room.spool.available_permits(), 5 << 20);
    }
}
