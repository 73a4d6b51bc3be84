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
/// How much is read at once to be checked, and in one step of a check.
const READ_BYTES: usize = 128 * 1024;
const STEP_BYTES: u64 = 8 * 1024 * 1024;

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

/// A file of the cache, as it is from outside.
pub(super) enum Looked {
    /// Nobody has touched it since it was known to be good.
    Good(File),
    /// It has to be checked.
    Unchecked,
    /// It is missing or cut.
    Bad,
}

/// How far the check of a file is.
pub(super) enum Step {
    More(Checking),
    /// It is what its name says, and had this stamp before it was read.
    Good(Stamp),
    /// It has other bytes.
    Bad,
}

/// A file that is read to be checked.
pub(super) struct Checking {
    file: File,
    stamp: Stamp,
    sha256: Sha256Digest,
    digest: Sha256,
}

impl Checking {
    /// Reads on for a while. Blocks.
    pub(super) fn step(mut self) -> io::Result<Step> {
        let mut buffer = vec![0; READ_BYTES];
        for _ in 0..STEP_BYTES / READ_BYTES as u64 {
            match self.file.read(&mut buffer)? {
                0 => {
                    let good = Sha256Digest::from_bytes(self.digest.finalize().into()) == self.sha256;
                    return Ok(if good { Step::Good(self.stamp) } else { Step::Bad });
                }
                count => self.digest.update(&buffer[..count]),
            }
        }
        Ok(Step::More(self))
    }
}

impl Directory {
    /// Makes the directory if need be (for its owner only), locks it, deletes what was on its way, and lists what is whole, the oldest first.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<(Sha256Digest, u64)>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(named(path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_path);
        let lock = lock.map_err(named(&lock_path))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::other("another process uses it: give each its own directory"),
            TryLockError::Error(error) => named(&lock_path)(error),
        })?;
        let mut whole = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().and_then(name_of_ours) else { continue };
            let path = entry.path();
            let seen = entry.metadata().map_err(named(&path))?;
            match name {
                // A directory, say, which has one of our names and is not ours.
                _ if !seen.is_file() => {}
                Name::Whole(sha256) => {
                    whole.push((seen.modified().unwrap_or(SystemTime::UNIX_EPOCH), sha256, seen.len()));
                }
                Name::Part => fs::remove_file(&path).map_err(named(&path))?,
            }
        }
        whole.sort_unstable_by_key(|(modified, ..)| *modified);
        let directory = Self { path: path.to_owned(), _lock: lock, parts: AtomicU64::new(0) };
        Ok((directory, whole.into_iter().map(|(_, sha256, len)| (sha256, len)).collect()))
    }

    /// Opens a file to be read in pieces, if it still has the stamp that it had when it was `known` to be good.
    pub(super) fn look(&self, sha256: &Sha256Digest, len: u64, known: Option<Stamp>) -> io::Result<Looked> {
        let Some((file, stamp)) = self.open_whole(sha256)? else { return Ok(Looked::Bad) };
        Ok(match stamp {
            stamp if stamp.len != len => Looked::Bad,
            stamp if known == Some(stamp) => Looked::Good(file),
            _ => Looked::Unchecked,
        })
    }

    /// Begins to check a file. `None`: it is missing or cut.
    pub(super) fn check(&self, sha256: Sha256Digest, len: u64) -> io::Result<Option<Checking>> {
        let found = self.open_whole(&sha256)?.filter(|(_, stamp)| stamp.len == len);
        Ok(found.map(|(file, stamp)| Checking { file, stamp, sha256, digest: Sha256::new() }))
    }

    /// Reads a whole file, which is checked always. `None`: it is bad.
    pub(super) fn read(&self, sha256: &Sha256Digest, len: u64) -> io::Result<Option<Bytes>> {
        let Some((file, _)) = self.open_whole(sha256)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        file.take(len + 1).read_to_end(&mut bytes).map_err(named(&self.whole(sha256)))?;
        Ok((bytes.len() as u64 == len && Sha256Digest::of(&bytes) == *sha256).then(|| bytes.into()))
    }

    /// `None`: it is missing.
    fn open_whole(&self, sha256: &Sha256Digest) -> io::Result<Option<(File, Stamp)>> {
        let path = self.whole(sha256);
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&path)(error)),
            Ok(file) => {
                let stamp = Stamp::of(&file).map_err(named(&path))?;
                Ok(Some((file, stamp)))
            }
        }
    }

    /// Deletes a file, if it is there.
    pub(super) fn remove(&self, sha256: &Sha256Digest) -> io::Result<()> {
        let path = self.whole(sha256);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(named(&path)),
        }
    }

    /// Begins a file.
    pub(super) fn begin(&self, sha256: Sha256Digest) -> io::Result<PartFile> {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        let path = self.path.join(format!("{sha256}.{number}.{PART}"));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(named(&path))?;
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
        (&*self.file).write_all(bytes).map_err(named(&self.path))
    }

    /// Gives the file its name, if it has the content that the name says. It does not wait for the disk: what a power cut takes away is seen at the next start.
    pub(super) fn finish(mut self) -> io::Result<Option<Stamp>> {
        let digest = std::mem::take(&mut self.digest);
        if Sha256Digest::from_bytes(digest.finalize().into()) != self.sha256 {
            return Ok(None);
        }
        fs::rename(&self.path, &self.to).map_err(named(&self.to))?;
        // From here on that is what has to be deleted if this fails.
        self.path.clone_from(&self.to);
        let stamp = Stamp::of(&self.file).map_err(named(&self.path))?;
        self.named = true;
        Ok(Some(stamp))
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

/// An error that says which file it is about.
fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
