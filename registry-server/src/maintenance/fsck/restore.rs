//! Putting back what was damaged or deleted past this program, from the history that a bucket with versioning keeps.
//!
//! A file comes back as it was: its key says what it has to be. A crate's record goes on from its newest earlier state that is sound, as an ordinary
//! change ([`Registry::recover_crate`](crate::registry::Registry)) with a `rev` above all that anybody can know, and only when somebody has accepted that changes are
//! lost, if anything says that there were later ones (`later`). A token's record is never put back: an earlier state may be one from before it was revoked.

use bytes::Bytes;

use super::{Fsck, listed};
use crate::krate::Record;
use crate::krate::record::RECORD_BYTES_MAX;
use crate::maintenance::survey::{self, Reading};
use crate::registry::RegistryError;
use crate::store::key::CanonicalName;
use crate::store::{Body, Cond, Entry, Etag, Get, Key, Past, Put, Sha256Digest, StoreError};

/// A record that can be put back.
#[derive(Debug)]
pub(super) struct LostRecord {
    pub(super) krate: CanonicalName,
    /// What is there instead of it; `None`: nothing, or the name that somebody reserved since.
    pub(super) damaged: Option<Etag>,
    /// The stored files of the crate.
    pub(super) files: Vec<Entry>,
}

/// An earlier state of a record.
pub(super) struct Earlier {
    pub(super) past: Past,
    pub(super) record: Record,
    /// Later ones that cannot be read, and why.
    pub(super) unreadable: Vec<String>,
}

/// What the store's history says of a crate whose record is gone.
pub(super) enum Remembered {
    /// Somebody had published it.
    Crate,
    /// Nothing.
    Nothing,
    /// It cannot be read; why.
    Unclear(String),
}

impl Fsck<'_> {
    /// Whether the store still has earlier states of an object. Where nobody may ask it, it has none for us.
    pub(super) async fn has_history(&self, key: &Key) -> Result<bool, StoreError> {
        match self.store.history(key).await {
            Ok(history) => Ok(!history.is_empty()),
            Err(error) if error.kind().is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The same of a record, whether one of them is a crate that somebody published.
    pub(super) async fn remembered(&self, krate: &CanonicalName) -> Result<Remembered, StoreError> {
        Ok(match self.newest_sound(&Key::Crate(krate.clone()), krate).await {
            Ok(Ok(_)) => Remembered::Crate,
            Ok(Err(unreadable)) if unreadable.is_empty() => Remembered::Nothing,
            Ok(Err(unreadable)) => Remembered::Unclear(listed(unreadable.iter())),
            Err(error) if error.kind().is_transient() => return Err(error),
            Err(error) => Remembered::Unclear(error.to_string()),
        })
    }

    /// Puts a record back; in words what was done.
    pub(super) async fn restore_record(&self, lost: &LostRecord) -> Result<String, RegistryError> {
        let key = Key::Crate(lost.krate.clone());
        let Ok(earlier) = self.newest_sound(&key, &lost.krate).await? else {
            return Err(RegistryError::NotFound(format!("the store has no earlier, sound version of {key}")));
        };
        let there = match survey::read(&*self.store, &key, RECORD_BYTES_MAX as u64).await? {
            Reading::Sound(stored) => Record::parse(&stored.bytes).ok(),
            Reading::Missing | Reading::Broken { .. } => None,
        };
        let later = self.after(&earlier, lost, there.as_ref()).await?;
        let Earlier { past, record, unreadable } = earlier;
        if let Some(would_be_lost) = later.would_be_lost()
            && !self.options.accept_loss
        {
            return Err(RegistryError::Conflict(format!(
                "the newest sound version is of rev {}, stored at {:.0}, and {would_be_lost}. \
                 `fsck --repair --accept-loss` puts it back all the same",
                record.rev(),
                past.modified
            )));
        }
        // What cannot be read may have been a state: the damaged object itself, and each version after the one that is put back.
        let unknown = unreadable.len() as u64 + u64::from(lost.damaged.is_some());
        let seen = later.rev.max(record.rev() + unknown);
        let put = self.registry.recover_crate(&lost.krate, lost.damaged.clone(), &record, seen).await?;
        let Some(rev) = put else { return Err(meanwhile(&key)) };
        let mut text = format!(
            "put back as it was at rev {}, stored at {:.0} (version {}); it has rev {rev} now",
            record.rev(),
            past.modified,
            past.id
        );
        text += &later.lost();
        text += &unnamed(&record, &lost.files);
        Ok(text)
    }

    /// Has a record that lies behind the head catch up; in words what is lost, should somebody have put it back.
    pub(super) async fn catch_up(&self, krate: &CanonicalName, announced: u64) -> Result<String, RegistryError> {
        let Reading::Sound(record) = survey::record(&*self.store, krate).await? else {
            return Err(RegistryError::NotFound(format!("{} cannot be read", Key::Crate(krate.clone()))));
        };
        let later = self.told_after(&record).await?;
        Ok(match self.registry.catch_up(krate, announced).await? {
            Some(rev) => format!("it has rev {rev} now, and nobody shows a later state of it{}", later.lost()),
            None => "somebody has written it meanwhile".to_owned(),
        })
    }

    /// The inner error: there is none; the versions that cannot be read, and why.
    async fn newest_sound(&self, key: &Key, krate: &CanonicalName) -> Result<Result<Earlier, Vec<String>>, StoreError> {
        let mut unreadable = Vec::new();
        for past in self.store.history(key).await? {
            let why = match survey::read_past(&*self.store, key, &past, RECORD_BYTES_MAX as u64).await? {
                Reading::Sound(stored) => match survey::check(&stored.bytes, krate) {
                    // A name that was only reserved is no crate.
                    Ok(record) if record.is_vacant() => continue,
                    Ok(record) => return Ok(Ok(Earlier { past, record, unreadable })),
                    Err(why) => why,
                },
                Reading::Missing => "it is gone".to_owned(),
                Reading::Broken { why, .. } => why,
            };
            unreadable.push(format!("version {} of {:.0} ({why})", past.id, past.modified));
        }
        Ok(Err(unreadable))
    }

    /// Puts a file back. It is held in memory whole: one at a time, and none is larger than may be published.
    pub(super) async fn restore_file(&self, key: &Key, size: u64) -> Result<String, RegistryError> {
        let Key::Blob { sha256, .. } = key else {
            return Err(RegistryError::NotFound(format!("{key} is not the key of a file")));
        };
        let has_checksum = |bytes: Bytes| async move {
            if Sha256Digest::of(&bytes) == *sha256 { Ok(()) } else { Err("it has another checksum".to_owned()) }
        };
        let damaged = match self.store.get(key, None).await? {
            Get::Found(object) => Some(object.etag),
            Get::Missing | Get::NotModified => None,
        };
        self.restore_object(key, size, damaged.as_ref(), has_checksum).await
    }

    /// Puts the newest earlier state that is sound back as it was, in place of the damaged object, or of none.
    pub(super) async fn restore_object<F>(
        &self,
        key: &Key,
        bytes_max: u64,
        damaged: Option<&Etag>,
        is_sound: impl Fn(Bytes) -> F,
    ) -> Result<String, RegistryError>
    where
        F: Future<Output = Result<(), String>>,
    {
        for past in self.store.history(key).await? {
            let Reading::Sound(stored) = survey::read_past(&*self.store, key, &past, bytes_max).await? else {
                continue;
            };
            let bytes = stored.bytes;
            if is_sound(bytes.clone()).await.is_err() {
                continue;
            }
            let cond = damaged.map_or(Cond::Absent, |etag| Cond::Matches(etag.clone()));
            return match self.store.put(key, Body::Bytes(bytes), cond).await {
                Put::Stored(_) => {
                    Ok(format!("put back as it was stored at {:.0} (version {})", past.modified, past.id))
                }
                Put::NotSent(error) | Put::Unknown(error) => Err(error.into()),
                Put::Refused(_) => Err(meanwhile(key)),
            };
        }
        Err(RegistryError::NotFound(format!("the store has no earlier, sound version of {key}")))
    }
}

fn meanwhile(key: &Key) -> RegistryError {
    RegistryError::Conflict(format!("{key} was written by somebody else meanwhile; check again"))
}

/// Files that a lost state named, perhaps.
fn unnamed(record: &Record, files: &[Entry]) -> String {
    let named = survey::named(record);
    let unnamed: Vec<_> = files.iter().map(|entry| &entry.key).filter(|key| !named.contains_key(key)).collect();
    if unnamed.is_empty() {
        return String::new();
    }
    let keys = listed(unnamed.iter());
    format!("; files of it that nothing names now, and that are kept for 30 days: {keys}")
}
