//! A file on its way to a client, in pieces. What must never exist here: names of files, a look at the bytes.
//!
//! What costs here is not the disk but memory: a fresh piece for each read means as many page faults as the piece has pages. So a reader fills the
//! same memory again as soon as the connection has let go of it. And it does not change threads for bytes that the system has in memory anyway:
//! those are copied at once, and only what has to be fetched from a disk is waited for on a blocking thread.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::Semaphore;

/// The most that is read at once: large enough that calls do not count, small enough to stay in a processor's cache between two copies.
const PIECE_BYTES: u64 = 256 * 1024;

/// Reads pieces of one file.
#[derive(Debug)]
pub(crate) struct FileReader {
    file: Arc<File>,
    /// The memory of the last piece.
    used: Bytes,
    /// Whether to ask for what the system has in memory.
    at_once: bool,
    /// Who may wait for the disk, if not everybody.
    turns: Option<Arc<Semaphore>>,
}

impl FileReader {
    /// A reader of `file`, whatever its position is.
    pub(crate) fn new(file: impl Into<Arc<File>>) -> Self {
        Self { file: file.into(), used: Bytes::new(), at_once: cfg!(target_os = "linux"), turns: None }
    }

    /// One that waits for the disk only when it has one of the `turns`, which it keeps until the disk has answered, also when nobody waits for that any more.
    pub(crate) fn within(file: impl Into<Arc<File>>, turns: Arc<Semaphore>) -> Self {
        Self { turns: Some(turns), ..Self::new(file) }
    }

    /// Bytes from `at` on: at least one and at most `len`, or none if the file ends there.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) async fn read(&mut self, at: u64, len: u64) -> io::Result<Bytes> {
        let len = len.min(PIECE_BYTES) as usize;
        let mut memory = match std::mem::take(&mut self.used).try_into_mut() {
            Ok(memory) if memory.len() >= len => memory,
            _ => BytesMut::zeroed(len),
        };
        let count = match self.read_at_once(&mut memory[..len], at)? {
            Some(count) => count,
            None => {
                let file = self.file.clone();
                let turn = match &self.turns {
                    Some(turns) => Some(turns.clone().acquire_owned().await.map_err(io::Error::other)?),
                    None => None,
                };
                let read = tokio::task::spawn_blocking(move || {
                    let count = read_at(&file, &mut memory[..len], at);
                    drop(turn);
                    (memory, count)
                });
                let (filled, count) = read.await.map_err(io::Error::other)?;
                memory = filled;
                count?
            }
        };
        self.used = memory.freeze();
        Ok(self.used.slice(..count))
    }

    /// `None`: that would have to wait.
    #[cfg(target_os = "linux")]
    fn read_at_once(&mut self, memory: &mut [u8], at: u64) -> io::Result<Option<usize>> {
        use rustix::io::{Errno, ReadWriteFlags, preadv2};

        if !self.at_once {
            return Ok(None);
        }
        match preadv2(&self.file, &mut [io::IoSliceMut::new(memory)], at, ReadWriteFlags::NOWAIT) {
            // Linux 5.9 and 5.10 say that also of bytes that they do not have in memory (`preadv2(2)`, BUGS): whether the file ends there, a read that may wait has to tell.
            Ok(0) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Ok(count) => Ok(Some(count)),
            // This file system or this kernel has no such reads.
            Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                self.at_once = false;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "as on Linux")]
    fn read_at_once(&mut self, _memory: &mut [u8], _at: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }
}

fn read_at(file: &File, memory: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(memory, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The bytes of a part of a file; fewer, if it ends before.
pub(crate) fn pieces(file: File, part: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold((FileReader::new(file), part), |(mut reader, part)| async move {
        if part.is_empty() {
            return Ok(None);
        }
        let piece = reader.read(part.start, part.end - part.start).await?;
        let next = part.start + piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (reader, next..part.end))))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::TryStreamExt as _;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[tokio::test]
    async fn a_part_is_what_the_file_has_there() {
        let all: Vec<u8> = (0..700_000u32).flat_map(u32::to_le_bytes).collect();
        let len = all.len() as u64;
        for part in [0..len, 0..1, len - 1..len, 5..PIECE_BYTES + 6, 10..10] {
            for at_once in [true, false] {
                let mut reader = FileReader::new(file(&all));
                reader.at_once &= at_once;
                let (mut at, mut read) = (part.start, Vec::new());
                while at < part.end {
                    let piece = reader.read(at, part.end - at).await.unwrap();
                    at += piece.len() as u64;
                    read.push(piece);
                }
                assert!(read.concat() == all[part.start as usize..part.end as usize], "{part:?}, {at_once}");
            }
        }
        let short: Vec<Bytes> = pieces(file(b"12345"), 3..100).try_collect().await.unwrap();
        assert_eq!(short.concat(), b"45", "it ends where the file does");
    }

    #[tokio::test]
    async fn that_a_file_ends_is_not_believed_of_a_read_that_does_not_wait() {
        let mut reader = FileReader::new(file(b"12345"));
        assert_eq!(reader.read_at_once(&mut [0; 10], 5).unwrap(), None);
        assert_eq!(reader.read(5, 10).await.unwrap(), Bytes::new(), "there it ends");
    }

    #[tokio::test]
    async fn who_waits_for_the_disk_waits_for_a_turn_first() {
        let turns = Arc::new(Semaphore::new(1));
        let mut reader = FileReader::within(file(b"12345"), turns.clone());
        reader.at_once = false;
        let turn = turns.clone().try_acquire_owned().unwrap();
        assert!(futures::poll!(std::pin::pin!(reader.read(0, 10))).is_pending());
        drop(turn);
        assert_eq!(reader.read(0, 10).await.unwrap(), "12345");
        assert_eq!(turns.available_permits(), 1, "it is given back");
    }

    #[tokio::test]
    async fn memory_is_used_again_when_nobody_has_it_and_left_alone_while_somebody_does() {
        let all: Vec<u8> = (0..4 * PIECE_BYTES).map(|at| (at / PIECE_BYTES) as u8).collect();
        let mut reader = FileReader::new(file(&all));
        let first = reader.read(0, PIECE_BYTES).await.unwrap();
        let place = first.as_ptr();
        drop(first);
        let second = reader.read(PIECE_BYTES, PIECE_BYTES).await.unwrap();
        assert_eq!(second.as_ptr(), place, "the same memory");
        let third = reader.read(2 * PIECE_BYTES, PIECE_BYTES).await.unwrap();
        assert_ne!(third.as_ptr(), place);
        assert!(second.iter().all(|byte| *byte == 1) && third.iter().all(|byte| *byte == 2), "both whole");
    }
}
