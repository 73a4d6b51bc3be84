//! The blocking half of the file store: paths, durable writes, reads, listings.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::durable::{Fresh, Wait, sync_dir};
use super::lock::{DirectoryLock, OpenError};
use super::versions::Versions;
use crate::store::memory::judge;
use crate::store::{
    Body, Cond, Cursor, Entry, Etag, Key, KeyPrefix, PAGE_ENTRIES_MAX, Page, Prefix, Put, StoreError, StoreErrorKind,
};

/// Where files are written before they are moved into place. On the same file system as the rest, so that the move is atomic; one
/// directory, so that what a crash leaves is found without a walk.
const STAGING: &str = ".staging";
/// How many locks the keys share.
const LOCKS: usize = 64;
/// How often a move is tried again after its directory vanished: a concurrent delete removes empty ones.
const MOVES_MAX: usize = 8;

/// A directory of objects, locked for this process, or only read by it.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    prefix: KeyPrefix,
    versions: Versions,
    /// Numbers what is staged.
    counter: AtomicU64,
    locks: [Mutex<()>; LOCKS],
    fresh: Fresh,
    /// Keys whose files are in place, but not for certain on the disk: waiting for their names failed. Nobody is shown them before that is done.
    doubtful: Mutex<BTreeSet<String>>,
    /// None: nothing is written.
    lock: Option<DirectoryLock>,
}

/// An object opened for reading. The file stays whole under the handle, whatever happens to the key.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) etag: Etag,
    pub(super) len: u64,
}

impl Tree {
    /// Creates the directory if need be (for its owner only), locks it, and removes what a crash left half-written.
    pub(super) fn open(root: &Path, prefix: KeyPrefix) -> Result<Self, OpenError> {
        let create = |path: &Path| {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(OpenError::io("create the directory", path))
        };
        create(root)?;
        let root = root.canonicalize().map_err(OpenError::io("resolve", root))?;
        let lock = DirectoryLock::take(&root)?;
        let staging = root.join(STAGING);
        match fs::remove_dir_all(&staging) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(OpenError::io("clear", &staging)(err)),
            _ => create(&staging)?,
        }
        sync_dir(&root).map_err(OpenError::io("sync", &root))?;
        let versions = Versions::new(lock.opens());
        let locks = std::array::from_fn(|_| Mutex::default());
        Ok(Self {
            root,
            prefix,
            versions,
            counter: AtomicU64::new(0),
            locks,
            fresh: Fresh::default(),
            doubtful: Mutex::default(),
            lock: Some(lock),
        })
    }

    /// Looks at a directory that exists, and that another process may be writing to.
    pub(super) fn open_to_read(root: &Path, prefix: KeyPrefix) -> Result<Self, OpenError> {
        let root = root.canonicalize().map_err(OpenError::io("open", root))?;
        let locks = std::array::from_fn(|_| Mutex::default());
        let (counter, fresh, doubtful) = (AtomicU64::new(0), Fresh::default(), Mutex::default());
        Ok(Self { root, prefix, versions: Versions::new(0), counter, locks, fresh, doubtful, lock: None })
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        let text = || format!("the directory {} was opened to be read only", self.root.display());
        if self.lock.is_some() { Ok(()) } else { Err(StoreError::new(StoreErrorKind::Denied, text())) }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.versions.remembered()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// `Ok(None)`: there is no such object.
    pub(super) fn read(&self, key: &Key) -> Result<Option<Opened>, StoreError> {
        let (text, path) = self.locate(key);
        let _guard = self.guard(&text);
        self.settle(&text, &path)?;
        let open = || -> io::Result<Opened> {
            let file = File::open(&path)?;
            let metadata = file.metadata()?;
            Ok(Opened { etag: self.versions.of(key, &text, &metadata), len: metadata.len(), file })
        };
        match open() {
            Ok(opened) => Ok(Some(opened)),
            Err(err) if is_absent(&err) => Ok(None),
            Err(err) => Err(unavailable("read", &path, &err)),
        }
    }

    /// Stores `body` whole and durably, if `cond` holds at the moment when it is in place.
    pub(super) fn put(&self, key: &Key, body: &Body, cond: &Cond) -> Put {
        let staged = match self.check_writable().and_then(|()| self.stage(body)) {
            Ok(staged) => staged,
            Err(err) => return Put::NotSent(err),
        };
        // Bytes first, outside the lock: the condition is judged when all else is done.
        match staged.sync(Wait::of(key)) {
            Ok(()) => self.place(key, staged, cond, None),
            Err(err) => Put::NotSent(err),
        }
    }

    /// Stores `first`, and after it `then`, whose bytes go to the disk while it waits for the former's.
    pub(super) fn put_after(&self, first: (&Key, &Body), then: (&Key, &Body), cond: &Cond) -> Result<Put, StoreError> {
        self.check_writable()?;
        let (staged, next) = (self.stage(first.1)?, self.stage(then.1)?);
        staged.sync(Wait::of(first.0))?;
        self.place(first.0, staged, &Cond::Any, Some(&next)).unconditional(first.0)?;
        Ok(self.place(then.0, next, cond, None))
    }

    /// Gives what was staged its name, if `cond` holds then, and waits for the name; for the bytes of `next`, too.
    fn place(&self, key: &Key, staged: Staged, cond: &Cond, next: Option<&Staged>) -> Put {
        let (text, path) = self.locate(key);
        let _guard = self.guard(&text);
        if let Err(err) = self.settle(&text, &path) {
            return Put::NotSent(err);
        }
        let current = match fs::metadata(&path) {
            Ok(metadata) => Some(self.versions.of(key, &text, &metadata)),
            Err(err) if is_absent(&err) => None,
            Err(err) => return Put::NotSent(unavailable("read", &path, &err)),
        };
        if let Some(refused) = judge(cond, current.as_ref()) {
            return Put::Refused(refused);
        }
        let file = match self.move_into_place(staged, &path) {
            Ok(file) => file,
            Err(err) => return Put::NotSent(unavailable("write", &path, &err)),
        };
        let parent = path.parent().expect("an object's path has a directory");
        let wait = Wait::of(key);
        let bytes = (wait == Wait::Once).then_some(&file).into_iter().chain(next.and_then(|next| next.file.as_ref()));
        // A directory of the audit log is new once an hour.
        let synced = if wait == Wait::Not && next.is_none() && !self.fresh.contains(parent) {
            Ok(())
        } else {
            self.fresh.sync(&bytes.collect::<Vec<_>>(), parent)
        };
        match synced.and_then(|()| fs::metadata(&path)) {
            Ok(metadata) => Put::Stored(self.versions.written(key, &text, &metadata)),
            // In place, but perhaps not after a power cut.
            Err(err) => {
                self.versions.forget(&text);
                self.doubtful().insert(text);
                Put::Unknown(unavailable("sync", parent, &err))
            }
        }
    }

    /// Waits again for a name that an earlier wait failed for. The caller holds the key's lock.
    fn settle(&self, text: &str, path: &Path) -> Result<(), StoreError> {
        if !self.doubtful().contains(text) {
            return Ok(());
        }
        let parent = path.parent().expect("an object's path has a directory");
        self.fresh.sync(&[], parent).map_err(|err| unavailable("sync", parent, &err))?;
        self.doubtful().remove(text);
        Ok(())
    }

    pub(super) fn doubtful(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.check_writable()?;
        let (text, path) = self.locate(key);
        let _guard = self.guard(&text);
        self.versions.forget(&text);
        self.doubtful().remove(&text);
        match fs::remove_file(&path) {
            Err(err) if is_absent(&err) => return Ok(()),
            Err(err) => return Err(unavailable("delete", &path, &err)),
            Ok(()) => {}
        }
        // Leave no empty directories behind. A concurrent put that needs one of them makes it again.
        let mut directory = path.parent().expect("an object's path has a directory");
        match sync_dir(directory) {
            // A concurrent delete of its last neighbour has removed the directory, and made that durable.
            Err(err) if is_absent(&err) => return Ok(()),
            Err(err) => return Err(unavailable("sync", directory, &err)),
            Ok(()) => {}
        }
        while directory != self.root && fs::remove_dir(directory).is_ok() {
            directory = directory.parent().expect("below the root");
        }
        Ok(())
    }

    pub(super) fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        let below = prefix.to_string();
        let mut page = Page::default();
        let mut last = String::new();
        self.walk(&below, after.map(|cursor| cursor.0.as_str()), &mut page, &mut last)?;
        Ok(page)
    }

    /// Adds the objects below `directory` (a key prefix with its final slash) in the byte order of their keys. Returns whether the
    /// page is full.
    fn walk(
        &self,
        directory: &str,
        after: Option<&str>,
        page: &mut Page,
        last: &mut String,
    ) -> Result<bool, StoreError> {
        let path = self.path(directory);
        for (name, is_dir) in children(&path).map_err(|err| unavailable("list", &path, &err))? {
            let text = format!("{directory}{name}");
            let passed = after.is_some_and(|after| text.as_str() <= after && !(is_dir && after.starts_with(&text)));
            if passed {
                continue;
            }
            if is_dir {
                if self.walk(&text, after, page, last)? {
                    return Ok(true);
                }
                continue;
            }
            let Some(key) = Key::parse(&text) else {
                page.foreign.push(text);
                continue;
            };
            if page.entries.len() == PAGE_ENTRIES_MAX {
                page.next = Some(Cursor(std::mem::take(last)));
                return Ok(true);
            }
            if let Some(entry) = self.entry(key, &text)? {
                page.entries.push(entry);
                *last = text;
            }
        }
        Ok(false)
    }

    fn entry(&self, key: Key, text: &str) -> Result<Option<Entry>, StoreError> {
        let path = self.path(text);
        let _guard = self.guard(text);
        match fs::metadata(&path) {
            Ok(metadata) => {
                let modified = metadata.modified().map_err(|err| unavailable("date", &path, &err))?;
                // Outside of what a timestamp can be: then it is very old, or a broken clock's.
                let modified = Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH);
                let etag = self.versions.of(&key, text, &metadata);
                Ok(Some(Entry { key, etag, len: metadata.len(), modified }))
            }
            Err(err) if is_absent(&err) => Ok(None),
            Err(err) => Err(unavailable("list", &path, &err)),
        }
    }

    /// Key and path. A [`Key`] consists of plain segments and so does the prefix, so no path leaves the root or meets the
    /// store's own dot-files.
    fn locate(&self, key: &Key) -> (String, PathBuf) {
        let text = key.to_string();
        let path = self.path(&text);
        (text, path)
    }

    fn path(&self, text: &str) -> PathBuf {
        self.root.join(self.prefix.as_str()).join(text)
    }

    fn guard(&self, text: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let index = hasher.finish() as usize % LOCKS;
        self.locks[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `body` to a file of its own.
    fn stage(&self, body: &Body) -> Result<Staged, StoreError> {
        let path = self.root.join(STAGING).join(format!("{:x}", self.counter.fetch_add(1, Ordering::Relaxed)));
        let fail = |err: io::Error| unavailable("write", &path, &err);
        let file = File::create_new(&path).map_err(fail)?;
        let mut staged = Staged { path: path.clone(), file: Some(file) };
        let file = staged.file.as_mut().expect("it was just made");
        match body {
            Body::Bytes(bytes) => file.write_all(bytes).map_err(fail)?,
            Body::File(spooled) => spooled.copy_to(file)?,
        }
        Ok(staged)
    }

    fn move_into_place(&self, mut staged: Staged, path: &Path) -> io::Result<File> {
        let directory = path.parent().expect("an object's path has a directory");
        let mut tries = 0;
        loop {
            match self.fresh.create_dirs(directory).and_then(|()| fs::rename(&staged.path, path)) {
                Err(err) if err.kind() == io::ErrorKind::NotFound && tries < MOVES_MAX => tries += 1,
                Err(err) => return Err(err),
                Ok(()) => return Ok(staged.file.take().expect("it is taken once")),
            }
        }
    }
}

/// A file in the staging directory, removed unless it was moved away.
struct Staged {
    path: PathBuf,
    /// Open until it is moved.
    file: Option<File>,
}

impl Staged {
    /// Down to the disk, if that has to be before it gets its name.
    fn sync(&self, wait: Wait) -> Result<(), StoreError> {
        match &self.file {
            Some(file) if wait == Wait::Twice => file.sync_all().map_err(|err| unavailable("write", &self.path, &err)),
            _ => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.file.is_some() {
            // What stays is swept at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The children of a directory that can be part of a key, ordered as keys are: a directory's name counts with its slash. None if the
/// directory does not exist.
fn children(path: &Path) -> io::Result<Vec<(String, bool)>> {
    let entries = match fs::read_dir(path) {
        Err(err) if is_absent(&err) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_dir = entry.file_type()?.is_dir();
        // Not UTF-8 or with a dot in front: not ours, and not worth counting.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with('.') {
            children.push((if is_dir { name + "/" } else { name }, is_dir));
        }
    }
    children.sort_unstable();
    Ok(children)
}

/// No file there; also when a part of the path is a file.
fn is_absent(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn unavailable(what: &str, path: &Path, err: &io::Error) -> StoreError {
    let kind = match err.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreErrorKind::Denied,
        _ => StoreErrorKind::Unavailable,
    };
    StoreError::new(kind, format!("cannot {what} {}: {err}", path.display()))
}
