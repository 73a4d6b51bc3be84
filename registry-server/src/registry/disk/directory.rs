//! The directory: names, the lock, and every blocking call on a file in it. What must never exist here: a look at a file that is not ours, a decision what goes.
//!
//! | name | is |
//! |---|---|
//! | `{sha256}.crate` | a file that was whole when it got this name |
//! | `{sha256}.{number}.part` | one on its way; what a process that was killed left is deleted at the next start |
//! | `.supercargo-cache.lock` | held by the one process that uses the directory |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::store::Sha256Digest;

const LOCK: &str = ".supercargo-cache.lock";
const WHOLE: &str = "crate";
const PART: &str = "part";
/// How much is read at once to be checked.
const READ_BYTES: usize = 128 * 1024;

/// A directory that this process alone uses as a cache, beside whatever else is in it.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Released by the operating system when the process ends, however it ends. Nothing is written into it: that could fail on a full disk.
    _lock: File,
    parts: AtomicU64,
}

/// What a file looks like from outside. Whoever writes to a file or puts another in its place changes it, `ctime` even if they hide the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    len: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let seen = file.metadata()?;
        Ok(Self {
            len: seen.len(),
            inode: seen.ino(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        })
    }
}

/// A file of the cache.
pub(super) enum Opened {
    /// It is what its name says.
    Good(File, Stamp),
    /// It is missing, cut, or has other bytes.
    Bad,
}

impl Directory {
    /// Makes the directory if need be (for its owner only), locks it, deletes what was on its way, and lists what is whole, the oldest first.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<(Sha256Digest, u64)>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses it: give each its own directory"),
            TryLockError::Error(error) => error,
        })?;
        let mut whole = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(name_of_ours) {
                Some(Name::Whole(sha256)) => {
                    let seen = entry.metadata()?;
                    if seen.is_file() {
                        whole.push((seen.modified().unwrap_or(SystemTime::UNIX_EPOCH), sha256, seen.len()));
                    }
                }
                Some(Name::Part) => fs::remove_file(entry.path())?,
                None => {}
            }
        }
        whole.sort_unstable_by_key(|(modified, ..)| *modified);
        let directory = Self { path: path.to_owned(), _lock: lock, parts: AtomicU64::new(0) };
        Ok((directory, whole.into_iter().map(|(_, sha256, len)| (sha256, len)).collect()))
    }

    /// Opens a file to be read in pieces. It is read once before, unless it still has the stamp that it had when it was known to be good.
    pub(super) fn look(&self, sha256: &Sha256Digest, len: u64, known: Option<Stamp>) -> io::Result<Opened> {
        let mut file = match File::open(self.whole(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Opened::Bad),
            file => file?,
        };
        let stamp = Stamp::of(&file)?;
        let good = stamp.len == len && (known == Some(stamp) || digest(&mut file)? == *sha256);
        Ok(if good { Opened::Good(file, stamp) } else { Opened::Bad })
    }

    /// Reads a whole file, which is checked always. `None`: it is bad.
    pub(super) fn read(&self, sha256: &Sha256Digest, len: u64) -> io::Result<Option<Bytes>> {
        let file = match File::open(self.whole(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        file.take(len + 1).read_to_end(&mut bytes)?;
        Ok((bytes.len() as u64 == len && Sha256Digest::of(&bytes) == *sha256).then(|| bytes.into()))
    }

    /// Deletes a file, if it is there.
    pub(super) fn remove(&self, sha256: &Sha256Digest) -> io::Result<()> {
        match fs::remove_file(self.whole(sha256)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Begins a file.
    pub(super) fn begin(&self, sha256: Sha256Digest) -> io::Result<PartFile> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{sha256}.{number}.{PART}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(PartFile {
            file: Arc::new(file),
            path,
            to: self.whole(&sha256),
            sha256,
            digest: Sha256::new(),
            named: false,
        })
    }

    fn whole(&self, sha256: &Sha256Digest) -> PathBuf {
        self.path.join(format!("{sha256}.{WHOLE}"))
    }
}

/// A file on its way. Deleted when dropped, unless it got its name.
#[derive(Debug)]
pub(super) struct PartFile {
    file: Arc<File>,
    path: PathBuf,
    to: PathBuf,
    sha256: Sha256Digest,
    digest: Sha256,
    named: bool,
}

impl PartFile {
    /// To read what is written.
    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        (&*self.file).write_all(bytes)
    }

    /// Gives the file its name, if it has the content that the name says. It does not wait for the disk: what a power cut takes away is seen at the next start.
    pub(super) fn finish(mut self) -> io::Result<Option<Stamp>> {
        let digest = std::mem::take(&mut self.digest);
        if Sha256Digest::from_bytes(digest.finalize().into()) != self.sha256 {
            return Ok(None);
        }
        fs::rename(&self.path, &self.to)?;
        self.named = true;
        Stamp::of(&self.file).map(Some)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.named {
            // What stays is deleted at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

enum Name {
    Whole(Sha256Digest),
    Part,
}

/// `None`: the file is not ours.
fn name_of_ours(name: &str) -> Option<Name> {
    let (sha256, rest) = name.split_once('.')?;
    let sha256 = Sha256Digest::from_hex(sha256)?;
    match rest.split_once('.') {
        None if rest == WHOLE => Some(Name::Whole(sha256)),
        Some((number, PART)) if number.parse::<u64>().is_ok() => Some(Name::Part),
        _ => None,
    }
}

fn digest(file: &mut File) -> io::Result<Sha256Digest> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Sha256Digest::from_bytes(digest.finalize().into())),
            count => digest.update(&buffer[..count]),
        }
    }
}
