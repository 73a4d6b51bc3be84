//! Over real directories, and a store whose bodies come when the test says so.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::sync::Semaphore;

mod trouble;

use super::*;
use crate::registry::RegistryError;
use crate::registry::blob::Blob;
use crate::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Object, ObjectBody, Page, Part, Prefix, Put, Store, StoreError,
    StoreErrorKind, Ulid,
};

const CHUNK: usize = 256 * 1024;
const MIB: u64 = 1024 * 1024;

/// Objects whose bodies come in chunks, each when there is a permit, and break off where they are told to.
struct Gated {
    inner: MemoryStore,
    chunks: Arc<Semaphore>,
    break_after: usize,
    gets: AtomicU32,
    parts: AtomicU32,
    /// Whether to panic instead.
    panics: AtomicBool,
}

#[async_trait]
impl Store for Gated {
    async fn get(&self, key: &Key, known: Option<&Etag>) -> Result<Get, StoreError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "a defect of the store");
        let Get::Found(object) = self.inner.get(key, known).await? else { return Ok(Get::Missing) };
        let bytes = object.body.bytes().await?;
        let pieces: Vec<_> = bytes.chunks(CHUNK).map(Bytes::copy_from_slice).enumerate().collect();
        let (gate, break_after) = (self.chunks.clone(), self.break_after);
        let chunks = futures::stream::iter(pieces).then(move |(number, piece)| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.expect("open").forget();
                let broken = || StoreError::new(StoreErrorKind::Unavailable, "the connection broke");
                (number < break_after).then_some(piece).ok_or_else(broken)
            }
        });
        Ok(Get::Found(Object { etag: object.etag, len: object.len, body: ObjectBody::new(object.len, chunks) }))
    }
    async fn get_part(&self, key: &Key, part: Range<u64>) -> Result<Option<Part>, StoreError> {
        self.parts.fetch_add(1, Ordering::SeqCst);
        self.inner.get_part(key, part).await
    }
    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        self.inner.put(key, body, cond).await
    }
    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.inner.list(prefix, after).await
    }
    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }
    fn location(&self) -> String {
        "a gate".into()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<Gated>,
    disk: Arc<Disk>,
}

impl Bench {
    async fn new(bytes_max: u64) -> Self {
        Self::breaking(bytes_max, usize::MAX).await
    }

    async fn breaking(bytes_max: u64, break_after: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let chunks = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let (gets, parts, panics) = Default::default();
        let store = Arc::new(Gated { inner: MemoryStore::new(), chunks, break_after, gets, parts, panics });
        let disk = opened(dir.path(), bytes_max).await;
        Self { dir, store, disk }
    }

    /// From now on no chunk comes without [`Semaphore::add_permits`].
    fn close_gate(&self) {
        self.store.chunks.forget_permits(Semaphore::MAX_PERMITS);
    }

    async fn blob(&self, number: u8, len: u64) -> (Blob, Bytes) {
        let bytes: Bytes = (0..len).map(|at| (at / 1000) as u8 ^ number).collect();
        (self.blob_of(number, &bytes, &bytes).await, bytes)
    }

    /// A blob that is to have some bytes and has others.
    async fn blob_of(&self, number: u8, wanted: &Bytes, stored: &Bytes) -> Blob {
        let sha256 = Sha256Digest::of(wanted);
        let version = "1.0.0".parse().expect("a version");
        let key = Key::blob("a", &version, sha256, Ulid::from_parts(1, number.into())).expect("a key");
        let put = self.store.put(&key, Body::Bytes(stored.clone()), Cond::Any).await;
        assert_eq!(put.label(), "stored");
        Blob { store: self.store.clone(), key, sha256, len: wanted.len() as u64 }
    }

    async fn follow(&self, blob: &Blob) -> ObjectBody {
        let mut reading = self.disk.follow(blob).expect("there is room");
        assert!(reading.begins().await.expect("the store has it"));
        reading.body(blob.clone(), 0..blob.len)
    }

    async fn look(&self, blob: &Blob) -> Option<Bytes> {
        let reading = self.disk.look(blob.sha256, blob.len).await?;
        Some(reading.body(blob.clone(), 0..blob.len).bytes().await.expect("it is read"))
    }

    fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }

    fn file(&self, blob: &Blob) -> PathBuf {
        self.dir.path().join(format!("{}.crate", blob.sha256))
    }

    fn calls(&self) -> (u32, u32) {
        (self.store.gets.load(Ordering::SeqCst), self.store.parts.load(Ordering::SeqCst))
    }
}

async fn opened(directory: &Path, bytes_max: u64) -> Arc<Disk> {
    let disk = Arc::new(Disk::new(KeptOnDisk { directory: directory.to_owned(), bytes_max }));
    assert!(disk.clone().open().await);
    disk
}

/// Without the lock.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    let mut names: Vec<_> = names.filter(|name| !name.starts_with(".supercargo")).collect();
    names.sort();
    names
}

/// By the clock on the wall: that of tokio may stand still.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn any_number_of_clients_follow_one_arrival_each_at_its_own_speed() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 5 * MIB + 7).await;
    bench.close_gate();
    let mut fast = bench.follow(&blob).await;
    let stalled = bench.follow(&blob).await;
    drop(bench.follow(&blob).await);
    bench.store.chunks.add_permits(3);
    let mut got = fast.next().await.expect("a chunk").expect("good").to_vec();
    assert_eq!(bench.look(&blob).await, None, "it is not whole yet");
    assert_eq!(bench.names().len(), 1, "one file on its way: {:?}", bench.names());
    assert!(bench.names()[0].ends_with(".part"));
    bench.store.chunks.add_permits(1000);
    got.extend_from_slice(&fast.bytes().await.expect("the rest"));
    assert!(got == bytes);
    assert_eq!(bench.names(), [format!("{}.crate", blob.sha256)], "whole, whatever the others do");
    assert!(bench.look(&blob).await.expect("it is here") == bytes);
    assert!(stalled.bytes().await.expect("later") == bytes);
    assert_eq!(bench.calls(), (1, 0), "the store was read once");
}

#[tokio::test]
async fn what_breaks_off_is_taken_up_by_each_client_where_it_is() {
    let bench = Bench::breaking(100 * MIB, 6).await;
    let (blob, bytes) = bench.blob(1, 5 * MIB).await;
    bench.close_gate();
    let (one, two) = (bench.follow(&blob).await, bench.follow(&blob).await);
    bench.store.chunks.add_permits(1000);
    assert!(one.bytes().await.expect("all of it") == bytes);
    assert!(two.bytes().await.expect("all of it") == bytes);
    assert_eq!(bench.names(), [] as [&str; 0], "nothing of it stays");
    assert_eq!(bench.calls(), (1, 2));
    assert_eq!(bench.disk.opened.get().expect("open").ledger().size().1, 0, "and it takes no room");
}

#[tokio::test]
async fn other_bytes_than_the_index_names_get_no_name_and_do_not_reach_their_end() {
    let bench = Bench::new(100 * MIB).await;
    let (good, bad) = (Bytes::from(vec![1; 3 << 20]), Bytes::from(vec![2; 3 << 20]));
    let blob = bench.blob_of(1, &good, &bad).await;
    bench.close_gate();
    let mut late = bench.disk.follow(&blob).expect("there is room");
    let body = bench.follow(&blob).await;
    bench.store.chunks.add_permits(1000);
    let error = body.bytes().await.expect_err("other bytes");
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
    assert_eq!(bench.names(), [] as [&str; 0]);
    let error = late.begins().await.expect_err("nothing is sent of what is known to be wrong");
    assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn what_the_store_does_not_have_is_said_before_an_answer_begins() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, _) = bench.blob(1, 3 * MIB).await;
    bench.store.delete(&blob.key).await.expect("deleted");
    let error = bench.disk.follow(&blob).expect("room").begins().await.expect_err("missing");
    assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
    until("nothing of it stays", || bench.names().is_empty()).await;
}

#[tokio::test]
async fn a_restart_keeps_what_is_whole_and_touches_nothing_of_others() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 2 * MIB).await;
    bench.follow(&blob).await.bytes().await.expect("read");
    let (half, other) = (format!("{}.17.part", blob.sha256), format!("{}.crate.txt", blob.sha256));
    for name in [half.as_str(), other.as_str(), "notes"] {
        std::fs::write(bench.dir.path().join(name), "x").expect("written");
    }
    let second = Arc::new(Disk::new(bench.disk.kept.clone()));
    assert!(!second.clone().open().await, "one process at a time");
    assert!(second.look(blob.sha256, blob.len).await.is_none());
    assert!(second.follow(&blob).is_none(), "downloads go on without it");
    let Bench { dir, store, disk } = bench;
    drop(disk);
    assert!(second.clone().open().await, "and the next when it has gone");
    let bench = Bench { dir, store, disk: second };
    assert_eq!(bench.names(), [format!("{}.crate", blob.sha256), other, "notes".to_owned()]);
    assert!(bench.look(&blob).await.expect("it is here") == bytes);
    assert_eq!(bench.calls(), (1, 0));
}

#[tokio::test]
async fn a_file_that_was_damaged_by_hand_is_not_served() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 2 * MIB).await;
    let mut flipped = bytes.to_vec();
    flipped[1_000_000] ^= 1;
    for bad in [&bytes[..1_000_000], &flipped] {
        for small in [false, true] {
            assert!(bench.follow(&blob).await.bytes().await.expect("read") == bytes);
            assert!(bench.look(&blob).await.is_some());
            std::fs::write(bench.file(&blob), bad).expect("written");
            let found = match small {
                true => bench.disk.read(blob.sha256, blob.len).await,
                false => bench.look(&blob).await,
            };
            assert_eq!(found.map(|bytes| bytes.len()), None, "small: {small}");
            assert_eq!(bench.names(), [] as [&str; 0], "it is gone, and comes again");
        }
    }
    // Between two runs, with another process's dates.
    assert!(bench.follow(&blob).await.bytes().await.expect("read") == bytes);
    let (file, Bench { dir, store, disk }) = (bench.file(&blob), bench);
    drop(disk);
    std::fs::write(&file, &flipped).expect("written");
    let bench = Bench { disk: opened(dir.path(), 100 * MIB).await, dir, store };
    assert_eq!(bench.look(&blob).await.map(|bytes| bytes.len()), None);
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_is_read_on_from_the_store() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 2 * MIB).await;
    bench.follow(&blob).await.bytes().await.expect("read");
    let reading = bench.disk.look(blob.sha256, blob.len).await.expect("it is here");
    let mut body = reading.body(blob.clone(), 0..blob.len);
    let mut got = body.next().await.expect("a chunk").expect("good").to_vec();
    std::fs::OpenOptions::new().write(true).open(bench.file(&blob)).and_then(|file| file.set_len(1)).expect("cut");
    got.extend_from_slice(&body.bytes().await.expect("the rest"));
    assert!(got == bytes);
    assert_eq!(bench.calls(), (1, 1));
}

#[tokio::test]
async fn the_budget_holds_on_the_disk() {
    let bench = Bench::new(16 * MIB).await;
    let room = || -> u64 {
        let files = bench.names().into_iter().map(|name| bench.dir.path().join(name).metadata().expect("a file").len());
        files.sum()
    };
    let mut blobs = Vec::new();
    for number in 0..20 {
        let (blob, bytes) = bench.blob(number, 2 * MIB - u64::from(number)).await;
        assert!(bench.follow(&blob).await.bytes().await.expect("read") == bytes);
        assert!(room() <= 16 * MIB, "{number}: {}", room());
        // The first is asked for all the time.
        assert!(blobs.first().is_none_or(|first: &Blob| {
            bench.disk.opened.get().is_some_and(|shelves| shelves.ledger().read(&first.sha256).is_some())
        }));
        blobs.push(blob);
    }
    let shelves = bench.disk.opened.get().expect("open");
    let kept: Vec<_> = (0..20).filter(|number| shelves.ledger().has(&blobs[*number].sha256)).collect();
    assert_eq!(kept, [0, 13, 14, 15, 16, 17, 18, 19]);
    let (large, _) = bench.blob(21, 2 * MIB + 1).await;
    assert!(bench.disk.follow(&large).is_none(), "no file takes more than an eighth");
}

#[tokio::test]
async fn what_memory_has_is_written_beside_it() {
    let bench = Bench::new(16 * MIB).await;
    let (blob, bytes) = bench.blob(1, 1000).await;
    bench.disk.keep(blob.sha256, bytes.clone());
    bench.disk.keep(blob.sha256, bytes.clone());
    let shelves = bench.disk.opened.get().expect("open");
    until("it is written", || shelves.ledger().has(&blob.sha256)).await;
    assert_eq!(bench.disk.read(blob.sha256, blob.len).await, Some(bytes.clone()));
    let part = bench.disk.look(blob.sha256, blob.len).await.expect("it is here").body(blob.clone(), 10..110);
    let part: Vec<Bytes> = part.try_collect().await.expect("read");
    assert_eq!(part.concat(), bytes[10..110]);
    assert_eq!(bench.calls(), (0, 0));
}
