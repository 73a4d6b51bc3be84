//! One at a time on this machine: a cluster that comes up or goes down, a tool or an image that is built.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::progress::Step;

/// Held until dropped, also when the holder is killed: the kernel releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Waits for its turn, and says for whom. `what` completes "Waiting for another `cargo dev` that …".
    pub(crate) async fn acquire(path: &Path, what: &str) -> Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let mut waiting = None;
        loop {
            if let Some(lock) = Self::attempt(path)? {
                if let Some(step) = waiting {
                    Step::done(step, "");
                }
                return Ok(lock);
            }
            waiting.get_or_insert_with(|| {
                let holder = std::fs::read_to_string(path).unwrap_or_default();
                Step::start(format!("Waiting for another `cargo dev` that {what} (process {})", holder.trim()))
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// None while somebody else holds it. `File::lock` blocks a thread and cannot be interrupted, hence attempts.
    fn attempt(path: &Path) -> Result<Option<Self>> {
        let context = || format!("locking {}", path.display());
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        // The last holder may have removed the file between our opening and our locking it: then nobody else sees our lock.
        let (ours, there) = (file.metadata().with_context(context)?, std::fs::metadata(path));
        if !there.is_ok_and(|there| there.ino() == ours.ino()) {
            return Ok(None);
        }
        file.set_len(0).and_then(|()| file.rewind()).with_context(context)?;
        writeln!(file, "{}", std::process::id()).with_context(context)?;
        Ok(Some(Self { path: path.to_owned(), _file: file }))
    }

    /// Gives the lock up and leaves no file behind.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_holder_waits_for_the_first_and_survives_the_removal_of_the_file() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("lock");
        let first = Lock::acquire(&path, "tests").await.expect("free");
        assert!(Lock::attempt(&path).expect("no error").is_none());
        let waiter = Lock::acquire(&path, "tests");
        let release = async {
            tokio::task::yield_now().await;
            std::fs::remove_file(&path).expect("it is there");
            drop(first);
        };
        let (second, ()) = tokio::join!(waiter, release);
        let _second = second.expect("released");
        assert!(Lock::attempt(&path).expect("no error").is_none(), "the new file must be the locked one");
    }
}
