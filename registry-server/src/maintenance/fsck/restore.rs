//! Putting back what was damaged or deleted past this program, from the history that a bucket with versioning keeps.
//!
//! A file comes back as it was: its key says what it has to be. A crate's record goes on from its newest earlier state that is sound, as an ordinary
//! change ([`Registry::recover_crate`](crate::registry::Registry)) with a `rev` above all that anybody can know, and the report says which changes are lost with the
//! states in between. A token's record is never put back: an earlier state may be one from before it was revoked.

use bytes::Bytes;
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};

use super::Fsck;
use crate::krate::Record;
use crate::krate::record::RECORD_BYTES_MAX;
use crate::maintenance::survey::{self, READS_AT_ONCE, Reading};
use crate::registry::RegistryError;
use crate::registry::audit::{ENTRY_BYTES_MAX, Told};
use crate::replicas::head::{HEAD_BYTES_MAX, Head};
use crate::store::key::CanonicalName;
use crate::store::{Body, Cond, Etag, Get, Key, Past, Prefix, Put, Sha256Digest, StoreError};

/// How far the clocks of two writers may differ: changes from so long before the restored state's last one are looked at, too.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_hours(1);
/// How many lost changes and unnamed files are listed in words.
const LISTED_MAX: usize = 20;

/// A record that can be put back.
#[derive(Debug)]
pub(super) struct LostRecord {
    pub(super) krate: CanonicalName,
    /// What is there instead of it; `None`: nothing, or the name that somebody reserved since.
    pub(super) damaged: Option<Etag>,
    /// The stored files of the crate.
    pub(super) files: Vec<Key>,
}

/// An earlier state of a record.
struct Earlier {
    past: Past,
    record: Record,
    /// How many later ones there are that cannot be read.
    unreadable: u64,
}

impl Fsck<'_> {
    /// Whether the store still has earlier states of an object. Nobody may ask it: then it has none for us.
    pub(super) async fn has_history(&self, key: &Key) -> Result<bool, StoreError> {
        match self.store.history(key).await {
            Ok(history) => Ok(!history.is_empty()),
            Err(error) if error.kind().is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The same, whether one of them is a crate that somebody published.
    pub(super) async fn history_has_crate(&self, krate: &CanonicalName) -> Result<bool, StoreError> {
        match self.newest_sound(&Key::Crate(krate.clone()), krate).await {
            Ok(earlier) => Ok(earlier.is_some()),
            Err(error) if error.kind().is_transient() => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Puts a record back; in words what was done.
    pub(super) async fn restore_record(&self, lost: &LostRecord) -> Result<String, RegistryError> {
        let key = Key::Crate(lost.krate.clone());
        let Some(Earlier { past, record, unreadable }) = self.newest_sound(&key, &lost.krate).await? else {
            return Err(RegistryError::NotFound(format!("the store has no earlier, sound version of {key}")));
        };
        let later = self.changes_after(&record).await?;
        let changes = in_words(&later);
        if let Some(changes) = &changes
            && !self.options.accept_loss
        {
            return Err(RegistryError::Conflict(format!(
                "the newest sound version is of rev {}, stored at {:.0}, and these changes would be lost: {changes}. \
                 `fsck --repair --accept-loss` puts it back all the same",
                record.rev(),
                past.modified
            )));
        }
        // What cannot be read may have been a state: the damaged object itself, and each version after the one that is put back.
        let damaged = u64::from(lost.damaged.is_some());
        let seen = [record.rev() + unreadable + damaged, self.announced(&key).await?];
        let seen = seen.into_iter().chain(later.iter().map(|told| told.rev)).max().unwrap_or(0);
        let put = self.registry.recover_crate(&lost.krate, lost.damaged.clone(), &record, seen).await?;
        let Some(rev) = put else { return Err(meanwhile(&key)) };
        let mut text = format!(
            "put back as it was at rev {}, stored at {:.0} (version {}); it has rev {rev} now",
            record.rev(),
            past.modified,
            past.id
        );
        text += &lost_in_words(changes);
        text += &unnamed(&record, &lost.files);
        Ok(text)
    }

    /// Has a record that lies behind the head catch up; in words what is lost, should somebody have put it back.
    pub(super) async fn catch_up(&self, krate: &CanonicalName, announced: u64) -> Result<String, RegistryError> {
        let Reading::Sound(record) = survey::record(&*self.store, krate).await? else {
            return Err(RegistryError::NotFound(format!("{} cannot be read", Key::Crate(krate.clone()))));
        };
        let later = self.changes_after(&record).await?;
        Ok(match self.registry.catch_up(krate, announced).await? {
            Some(rev) => {
                format!("it has rev {rev} now, and nobody shows a later state of it{}", lost_in_words(in_words(&later)))
            }
            None => "somebody has written it meanwhile".to_owned(),
        })
    }

    async fn newest_sound(&self, key: &Key, krate: &CanonicalName) -> Result<Option<Earlier>, StoreError> {
        let mut unreadable = 0;
        for past in self.store.history(key).await? {
            let bytes = survey::read_past(&*self.store, key, &past, RECORD_BYTES_MAX as u64).await?;
            match bytes.map(|bytes| survey::check(&bytes, krate)) {
                // A name that was only reserved is no crate.
                Some(Ok(record)) if record.is_vacant() => {}
                Some(Ok(record)) => return Ok(Some(Earlier { past, record, unreadable })),
                Some(Err(_)) | None => unreadable += 1,
            }
        }
        Ok(None)
    }

    /// What the audit log knows of the crate's changes after this state, oldest first.
    async fn changes_after(&self, record: &Record) -> Result<Vec<Told>, RegistryError> {
        let last = record.ops().last().map_or(Timestamp::UNIX_EPOCH, |op| op.at);
        let since = last.checked_sub(CLOCKS_DIFFER).unwrap_or(last);
        let entries = survey::entries(self.store.clone(), Prefix::Audits);
        let young = entries.try_filter(|entry| {
            let is_young = matches!(&entry.key, Key::Audit(audit) if !audit.is_before(since));
            std::future::ready(is_young)
        });
        let reads = young.map_ok(|entry| async move {
            let read = survey::read(&*self.store, &entry.key, ENTRY_BYTES_MAX).await?;
            Ok::<_, StoreError>(if let Reading::Sound(stored) = read { Told::parse(&stored.bytes) } else { None })
        });
        let told: Vec<_> =
            reads.try_buffered(READS_AT_ONCE).try_filter_map(|told| std::future::ready(Ok(told))).try_collect().await?;
        let canonical = record.canonical();
        let is_later = |told: &Told| told.rev > record.rev() && told.krate.canonical() == canonical;
        let mut later: Vec<_> = told.into_iter().filter(is_later).collect();
        later.sort_by_key(|told| told.rev);
        Ok(later)
    }

    /// The newest `rev` that the head announces for a record.
    async fn announced(&self, key: &Key) -> Result<u64, StoreError> {
        let read = survey::read(&*self.store, &Key::Head, HEAD_BYTES_MAX).await?;
        let head = if let Reading::Sound(stored) = read { Head::parse(&stored.bytes).ok() } else { None };
        let ring = head.iter().flat_map(|head| &head.ring);
        Ok(ring.filter(|change| change.key().as_ref() == Some(key)).map(|change| change.rev).max().unwrap_or(0))
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
            let Some(bytes) = survey::read_past(&*self.store, key, &past, bytes_max).await? else { continue };
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

/// The changes that users asked for; `None`: there are none.
fn in_words(later: &[Told]) -> Option<String> {
    let changes: Vec<_> = later.iter().filter(|told| told.is_of_a_user()).map(Told::to_string).collect();
    (!changes.is_empty()).then(|| listed(changes.into_iter()))
}

/// What has to be done again by hand.
fn lost_in_words(changes: Option<String>) -> String {
    changes.map_or_else(
        || "; the audit log has no change of it after that".to_owned(),
        |changes| format!("; lost, and to be done again: {changes}"),
    )
}

/// Files that a lost state named, perhaps.
fn unnamed(record: &Record, files: &[Key]) -> String {
    let named = survey::named(record);
    let unnamed: Vec<_> = files.iter().filter(|key| !named.contains_key(key)).collect();
    if unnamed.is_empty() {
        return String::new();
    }
    let keys = listed(unnamed.iter().map(ToString::to_string));
    format!("; files of it that nothing names now, and that are kept for 30 days: {keys}")
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len().saturating_sub(LISTED_MAX);
    let mut text = items.take(LISTED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
