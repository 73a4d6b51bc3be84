//! What has to be on the disk before a put is acknowledged, and waiting for it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::Key;

/// How often a put waits for the disk before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For the bytes, which must be whole before they get their name; then for the name.
    Twice,
    /// For both at once: the key is used once, so it replaces nothing, and until its put is acknowledged nobody asks for it.
    Once,
    /// Not at all: what is lost when the power fails is in a record still.
    Not,
}

impl Wait {
    /// For the object at `key`.
    pub(super) fn of(key: &Key) -> Self {
        match key {
            Key::Blob { .. } => Self::Once,
            Key::Audit(audit) if audit.follows_from_a_record() => Self::Not,
            _ => Self::Twice,
        }
    }
}

/// Directories that were made and are perhaps not yet durable in their parents, each with the number of its making. Numbers grow.
#[derive(Debug, Default)]
pub(super) struct Fresh(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    count: u64,
    directories: BTreeMap<PathBuf, u64>,
}

impl Fresh {
    /// Makes `directory` and what is missing above it. [`Fresh::sync`] makes them durable.
    pub(super) fn create_dirs(&self, directory: &Path) -> io::Result<()> {
        if directory.is_dir() {
            return Ok(());
        }
        let parent = directory.parent().expect("below the root, which exists");
        self.create_dirs(parent)?;
        // First on the list, then on the disk: whoever finds the directory finds it on the list, too.
        let mut made = self.lock();
        made.count += 1;
        let number = made.count;
        made.directories.insert(directory.to_owned(), number);
        drop(made);
        match fs::create_dir(directory) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => Err(err),
            _ => Ok(()),
        }
    }

    /// Whether `directory` is perhaps not durable.
    pub(super) fn contains(&self, directory: &Path) -> bool {
        self.lock().directories.contains_key(directory)
    }

    /// Makes the entries of `directory` durable, and itself in those above it where that is not known yet: a directory that is not on
    /// the list has nothing on the list above it. The bytes of `files` too. All at the same time: each asks the disk to empty its cache,
    /// and a disk does that once for all who ask.
    pub(super) fn sync(&self, files: &[&File], directory: &Path) -> io::Result<()> {
        let mut settled = Vec::new();
        let mut top = directory;
        while let Some(number) = self.lock().directories.get(top).copied() {
            settled.push((top, number));
            top = top.parent().expect("below the root, which is never on the list");
        }
        let directories = settled.iter().map(|(directory, _)| Durable::Directory(directory));
        let files = files.iter().map(|file| Durable::File(file));
        sync_all(&directories.chain(files).collect::<Vec<_>>(), Durable::Directory(top))?;
        let mut made = self.lock();
        for (directory, number) in settled {
            // Removed and made again meanwhile: then it is on the list for another reason.
            if made.directories.get(directory) == Some(&number) {
                made.directories.remove(directory);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be on the disk.
#[derive(Debug, Clone, Copy)]
enum Durable<'a> {
    /// Bytes.
    File(&'a File),
    /// Names.
    Directory(&'a Path),
}

impl Durable<'_> {
    fn sync(self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_all(),
            Self::Directory(path) => sync_dir(path),
        }
    }
}

/// Waits for all of them, each on a thread of its own as far as there are threads.
fn sync_all(others: &[Durable<'_>], one: Durable<'_>) -> io::Result<()> {
    std::thread::scope(|scope| {
        let begun: Vec<_> = others
            .iter()
            .map(|other| (other, std::thread::Builder::new().spawn_scoped(scope, || other.sync())))
            .collect();
        let ended = begun.into_iter().map(|(other, thread)| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("a sync ended in a panic"))),
            Err(_) => other.sync(),
        });
        ended.fold(one.sync(), io::Result::and)
    })
}

/// Waits until the entries of a directory are on the disk.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AuditKey, Ulid};

    #[test]
    fn only_what_follows_from_a_record_is_not_waited_for() {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let change = Key::Audit(AuditKey::new(at, &"0".repeat(32)).expect("an identity"));
        assert_eq!(Wait::of(&change), Wait::Not);
        // It is the only trace of files that are deleted after it.
        let collection = Key::Audit(AuditKey::of_collection(at, Ulid::from_parts(1, 2)).expect("a time"));
        assert_eq!(Wait::of(&collection), Wait::Twice);
    }
}
