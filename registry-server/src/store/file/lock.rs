//! One directory, one process: the lock that refuses a second.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// The lock's file name, in the store's directory.
const FILE_NAME: &str = ".lock";

/// A held lock. The operating system releases it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
    opens: u64,
}

/// Why a directory cannot be opened, in the words of whoever configured it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the directory.
    #[error(
        "the directory {} is in use by another process{holder}; a directory serves one registry process: stop that one, or use object storage for several replicas",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// ` (pid 4711)`, or nothing if the holder has not said.
        holder: String,
    },
    /// The directory cannot be created, read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
}

impl OpenError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

impl DirectoryLock {
    /// Takes the lock on `directory`, which exists, and leaves this process's id in the lock file for the message above.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::io("open the lock file", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (pid, _) = read(&mut file);
                let holder = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
                return Err(OpenError::InUse { directory: directory.to_owned(), holder });
            }
            Err(TryLockError::Error(err)) => return Err(OpenError::io("lock", &path)(err)),
        }
        let opens = read(&mut file).1 + 1;
        let write = |file: &mut File| {
            file.seek(SeekFrom::Start(0))?;
            file.set_len(0)?;
            writeln!(file, "pid {}\nopens {opens}", std::process::id())?;
            file.sync_all()
        };
        write(&mut file).map_err(OpenError::io("write the lock file", &path))?;
        Ok(Self { _file: file, opens })
    }

    /// How many times the directory has been opened: part of every ETag, so that none comes again after a restart.
    pub(super) const fn opens(&self) -> u64 {
        self.opens
    }
}

/// The holder's pid and the number of opens. Whatever cannot be read is absent: the lock is the kernel's, the content is a courtesy.
fn read(file: &mut File) -> (Option<u32>, u64) {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.take(256).read_to_string(&mut text));
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
    (field("pid ").and_then(|pid| pid.try_into().ok()), field("opens ").unwrap_or(0))
}
