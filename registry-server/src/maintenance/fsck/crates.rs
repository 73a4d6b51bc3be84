//! One crate: its record, the files of its versions, its last changes.

use std::collections::BTreeMap;

use futures::StreamExt;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::report::GHOST_OF_NO_CRATE;
use super::restore::{LostRecord, Remembered};
use super::{Code, Findings, Fix, Fsck, GHOST, GIVEN_UP, SETTLED};
use crate::krate::Record;
use crate::maintenance::survey::{self, Files, Reading};
use crate::registry::audit;
use crate::store::{Entry, Etag, Get, Key, Sha256Digest, StoreError};

impl Fsck<'_> {
    /// `modified`: when its record was last written, if it was there when the records were listed.
    pub(super) async fn check_crate(&self, files: Files, modified: Option<Timestamp>) -> Result<Findings, StoreError> {
        let mut found = Findings::default();
        let key = Key::Crate(files.krate.clone());
        found.counts.files = files.entries.len() as u64;
        found.counts.file_bytes = files.entries.iter().map(|entry| entry.len).sum();
        let reading = survey::record(&*self.store, &files.krate).await?;
        let is_nobodys = match &reading {
            Reading::Sound(record) => record.is_vacant(),
            Reading::Missing => true,
            Reading::Broken { .. } => false,
        };
        let named = match reading {
            _ if is_nobodys && self.is_lost(&mut found, &key, &files).await? => None,
            Reading::Sound(record) => {
                self.count(&mut found, &record);
                self.check_mark(&mut found, &key, &record, modified);
                self.check_ops(&mut found, &record);
                self.check_files(&mut found, &record, &files).await?;
                Some(survey::named(&record))
            }
            Reading::Missing => Some(BTreeMap::new()),
            Reading::Broken { etag, why } => {
                let fix = etag.map(|etag| lost(&files, Some(etag)));
                found.add_fixable(Code::RecordUnreadable, &key, why, fix);
                None
            }
        };
        // What an unreadable or lost record names nobody knows.
        if let Some(named) = named {
            let ghosts = files.entries.iter().filter(|entry| !named.contains_key(&entry.key));
            for ghost in ghosts.filter(|entry| self.is_older(entry.modified, GHOST)) {
                let since = ghost.modified;
                let what = format!("nothing names this file of {} bytes, there since {since:.0}", ghost.len);
                if is_nobodys {
                    let what = format!("{what}: its crate has no record");
                    found.add_with_remedy(Code::Ghost, &ghost.key, what, GHOST_OF_NO_CRATE, None);
                } else {
                    found.add(Code::Ghost, &ghost.key, what);
                }
            }
        }
        self.progress.krate();
        self.progress.blobs(files.entries.len());
        Ok(found)
    }

    /// Whether a crate that has files and no record once had one, or nobody knows: this program deletes none, so it was deleted past it.
    async fn is_lost(&self, found: &mut Findings, key: &Key, files: &Files) -> Result<bool, StoreError> {
        let count = files.entries.len();
        if count == 0 {
            return Ok(false);
        }
        match self.remembered(&files.krate).await? {
            Remembered::Nothing => return Ok(false),
            Remembered::Crate => {
                let what = format!("it is gone, and the store's history has it; the crate has {count} files");
                found.add_fixable(Code::RecordMissing, key, what, Some(lost(files, None)));
            }
            Remembered::Unclear(why) => {
                // Whoever publishes for the first time stores the file before the record.
                if !files.entries.iter().any(|entry| self.is_older(entry.modified, GIVEN_UP)) {
                    return Ok(false);
                }
                let what = format!(
                    "there is no record, the crate has {count} files, and whether there was one cannot be read: {why}"
                );
                found.add(Code::HistoryUnreadable, key, what);
            }
        }
        Ok(true)
    }

    fn count(&self, found: &mut Findings, record: &Record) {
        if record.is_vacant() {
            found.counts.reserved_names = 1;
        } else {
            found.counts.crates = 1;
        }
        found.counts.deleted_crates = u64::from(record.deletion().is_some());
        found.counts.versions = record.versions().len() as u64;
    }

    fn check_mark(&self, found: &mut Findings, key: &Key, record: &Record, modified: Option<Timestamp>) {
        let Some(mark) = record.mark() else { return };
        if modified.is_some_and(|modified| self.is_older(modified, SETTLED)) {
            let fix = Fix::ClearMark(key.clone(), mark.clone());
            found.add_fixable(Code::DeadMark, key, "a writer marked this record and died", Some(fix));
        }
    }

    fn check_ops(&self, found: &mut Findings, record: &Record) {
        for done in record.ops() {
            if self.audited.contains(done.op.as_str()) || !self.is_older(done.at, SETTLED) {
                continue;
            }
            let Some(entry) = audit::of_crate(record, done) else { continue };
            let what = format!("the change to rev {} of `{}` is not in the audit log", done.rev, record.name());
            let key = entry.key.clone();
            found.add_fixable(Code::AuditMissing, &key, what, Some(Fix::WriteAudit(entry)));
        }
    }

    async fn check_files(&self, found: &mut Findings, record: &Record, files: &Files) -> Result<(), StoreError> {
        let listed: BTreeMap<&Key, &Entry> = files.entries.iter().map(|entry| (&entry.key, entry)).collect();
        for (version, stored) in record.versions() {
            let Some(key) = Key::parse(&stored.blob) else { continue };
            let what = format!("`{}` {version}", record.name());
            let len = match listed.get(&key) {
                Some(entry) if !self.options.deep => Some(entry.len),
                // Published after the listing, or to be read anyway.
                _ => self.read_file(found, &key, stored.size, &what).await?,
            };
            match len {
                Some(len) if len != stored.size => {
                    let what = format!("the file of {what} has {len} bytes instead of {}", stored.size);
                    found.add_fixable(Code::FileLength, &key, what, restore(&key, stored.size));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a file: its length, and with `--deep` its content. `None`: what is wrong is said already.
    async fn read_file(
        &self,
        found: &mut Findings,
        key: &Key,
        size: u64,
        what: &str,
    ) -> Result<Option<u64>, StoreError> {
        let object = match self.store.get(key, None).await {
            Ok(Get::Found(object)) => object,
            Ok(_) => {
                let what = format!("the file of {what} is not there");
                found.add_fixable(Code::FileMissing, key, what, restore(key, size));
                return Ok(None);
            }
            Err(error) if error.kind().is_transient() => return Err(error),
            Err(error) => {
                found.add(Code::FileUnreadable, key, format!("the file of {what} cannot be read: {error}"));
                return Ok(None);
            }
        };
        let len = object.len;
        if !self.options.deep {
            return Ok(Some(len));
        }
        let (mut body, mut digest) = (object.body, Sha256::new());
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(bytes) => {
                    digest.update(&bytes);
                    found.counts.bytes_compared += bytes.len() as u64;
                    self.progress.bytes(bytes.len() as u64);
                }
                Err(error) => {
                    found.add(Code::FileUnreadable, key, format!("the file of {what} broke off: {error}"));
                    return Ok(None);
                }
            }
        }
        let is = Sha256Digest::from_bytes(digest.finalize().into());
        if let Key::Blob { sha256, .. } = key
            && *sha256 != is
            // Of another length it is said to be already.
            && len == size
        {
            let what = format!("the file of {what} has the SHA-256 {is}");
            found.add_fixable(Code::FileContent, key, what, restore(key, size));
        }
        Ok(Some(len))
    }
}

/// How a record comes back. `damaged`: what is there instead of it.
fn lost(files: &Files, damaged: Option<Etag>) -> Fix {
    Fix::RestoreRecord(LostRecord { krate: files.krate.clone(), damaged, files: files.entries.clone() })
}

fn restore(key: &Key, size: u64) -> Option<Fix> {
    Some(Fix::RestoreFile { key: key.clone(), size })
}
