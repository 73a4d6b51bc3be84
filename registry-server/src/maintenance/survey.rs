//! Reading a whole store without holding it in memory: the stored files crate by crate, records one at a time.
//!
//! The order is what makes it true: a record is read after the files of its crate were listed. So a file that the record does not name was
//! not named by it at any moment since the listing either, unless a writer is under way, who has left a mark.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt, stream};

use crate::krate::Record;
use crate::krate::record::RECORD_BYTES_MAX;
use crate::store::key::CanonicalName;
use crate::store::{Cursor, Entry, Etag, Get, Key, Past, Prefix, Store, StoreError, StoreErrorKind};

/// How many objects are read at once.
pub(super) const READS_AT_ONCE: usize = 16;
/// How often one read is begun when the store cuts its answer, or asks for patience.
const READS_MAX: u32 = 4;

/// The stored files of one crate.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) krate: CanonicalName,
    pub(super) entries: Vec<Entry>,
}

/// All stored files, in the order of their crates. Pages are listed as they are needed.
pub(super) fn files(store: Arc<dyn Store>) -> impl Stream<Item = Result<Files, StoreError>> + Send {
    struct Listing {
        store: Arc<dyn Store>,
        after: Option<Cursor>,
        begun: bool,
        /// Those of the last page that are complete, last first.
        ready: Vec<Files>,
        /// The last crate of the last page may go on on the next.
        open: Option<Files>,
    }
    let listing = Listing { store, after: None, begun: false, ready: Vec::new(), open: None };
    stream::try_unfold(listing, |mut listing| async move {
        loop {
            if let Some(files) = listing.ready.pop() {
                return Ok(Some((files, listing)));
            }
            if listing.begun && listing.after.is_none() {
                return Ok(listing.open.take().map(|files| (files, listing)));
            }
            let page = listing.store.list(&Prefix::AllBlobs, listing.after.as_ref()).await?;
            (listing.begun, listing.after) = (true, page.next);
            let mut by_crate: Vec<Files> = listing.open.take().into_iter().collect();
            for entry in page.entries {
                let Key::Blob { krate, .. } = &entry.key else { continue };
                match by_crate.last_mut() {
                    Some(last) if last.krate == *krate => last.entries.push(entry),
                    _ => by_crate.push(Files { krate: krate.clone(), entries: vec![entry] }),
                }
            }
            listing.open = by_crate.pop();
            by_crate.reverse();
            listing.ready = by_crate;
        }
    })
}

/// All objects below a prefix, as they are listed.
pub(super) fn entries(store: Arc<dyn Store>, prefix: Prefix) -> impl Stream<Item = Result<Entry, StoreError>> + Send {
    stream::try_unfold((store, prefix, None::<Cursor>, false), |(store, prefix, after, done)| async move {
        if done {
            return Ok::<_, StoreError>(None);
        }
        let page = store.list(&prefix, after.as_ref()).await?;
        let done = page.next.is_none();
        Ok(Some((stream::iter(page.entries.into_iter().map(Ok)), (store, prefix, page.next, done))))
    })
    .try_flatten()
}

/// An object as it was read.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) etag: Etag,
    pub(super) bytes: Bytes,
}

/// What reading one object came to.
#[derive(Debug)]
pub(super) enum Reading<T> {
    /// It is there, and sound.
    Sound(T),
    /// There is none.
    Missing,
    /// It is there, and what it holds, or that it cannot be read, says so.
    Broken {
        /// If the store told.
        etag: Option<Etag>,
        why: String,
    },
}

/// Reads one object whole.
///
/// # Errors
/// The store as a whole does not answer.
pub(super) async fn read(store: &dyn Store, key: &Key, bytes_max: u64) -> Result<Reading<Stored>, StoreError> {
    read_with(bytes_max, || store.get(key, None)).await
}

/// Reads an earlier state of an object whole.
///
/// # Errors
/// The store as a whole does not answer.
pub(super) async fn read_past(
    store: &dyn Store,
    key: &Key,
    past: &Past,
    bytes_max: u64,
) -> Result<Reading<Stored>, StoreError> {
    read_with(bytes_max, || store.get_past(key, past)).await
}

async fn read_with<F>(bytes_max: u64, get: impl Fn() -> F) -> Result<Reading<Stored>, StoreError>
where
    F: Future<Output = Result<Get, StoreError>>,
{
    let mut reads = 0;
    loop {
        reads += 1;
        let mut seen = None;
        let read = async {
            let Get::Found(object) = get().await? else { return Ok(Reading::Missing) };
            let etag = object.etag.clone();
            seen = Some(etag.clone());
            Ok::<_, StoreError>(Reading::Sound(Stored { etag, bytes: object.bytes(bytes_max).await? }))
        };
        match read.await {
            Err(error) if error.kind().is_transient() && reads < READS_MAX => {
                tokio::time::sleep(std::time::Duration::from_millis(100) * reads).await;
            }
            Err(error) if is_about_the_object(&error) => {
                return Ok(Reading::Broken { etag: seen, why: error.to_string() });
            }
            other => return other,
        }
    }
}

/// Whether an error may be about this object alone.
fn is_about_the_object(error: &StoreError) -> bool {
    match error.kind() {
        StoreErrorKind::Corrupt | StoreErrorKind::TooLarge | StoreErrorKind::Denied | StoreErrorKind::Rejected => true,
        StoreErrorKind::Unavailable | StoreErrorKind::Throttled | StoreErrorKind::NoBucket => false,
    }
}

/// Reads a record and checks all that it says of itself.
///
/// # Errors
/// The store as a whole does not answer.
pub(super) async fn record(store: &dyn Store, krate: &CanonicalName) -> Result<Reading<Record>, StoreError> {
    let read = read(store, &Key::Crate(krate.clone()), RECORD_BYTES_MAX as u64).await?;
    Ok(match read {
        Reading::Sound(Stored { etag, bytes }) => match check(&bytes, krate) {
            Ok(record) => Reading::Sound(record),
            Err(why) => Reading::Broken { etag: Some(etag), why },
        },
        Reading::Missing => Reading::Missing,
        Reading::Broken { etag, why } => Reading::Broken { etag, why },
    })
}

/// Whether these bytes are a sound record of this crate.
pub(super) fn check(bytes: &Bytes, krate: &CanonicalName) -> Result<Record, String> {
    let record = Record::parse(bytes).map_err(|error| error.to_string())?;
    let index = record.index().map_err(|error| error.to_string())?;
    if record.canonical().as_str() != krate.as_str() {
        return Err(format!("it is the record of `{}`, which belongs elsewhere", record.name()));
    }
    for line in index.lines() {
        let Some(version) = record.versions().get(&line.vers) else { continue };
        match Key::parse(&version.blob) {
            Some(Key::Blob { krate: of, sha256, version, .. }) if of == *krate => {
                if sha256.to_string() != line.cksum.to_string() {
                    return Err(format!(
                        "{}: its index line has the checksum {}, its file {sha256}",
                        line.vers, line.cksum
                    ));
                }
                if version.version() != *line.vers.as_semver() {
                    return Err(format!("{}: its file is one of {}", line.vers, version.version()));
                }
            }
            _ => return Err(format!("{}: `{}` is not the key of one of its files", line.vers, version.blob)),
        }
    }
    Ok(record)
}

/// The keys of the files that a record names, with their lengths.
pub(super) fn named(record: &Record) -> BTreeMap<Key, u64> {
    record.versions().values().filter_map(|version| Some((Key::parse(&version.blob)?, version.size))).collect()
}
