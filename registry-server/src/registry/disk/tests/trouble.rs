//! A disk that does not answer, has too much to do, or has things in it that are not ours.

use std::process::Command;

use super::super::arrival::KEEPING_BYTES;
use super::super::calls::{PATIENCE, TURNS};
use super::super::health::PAUSE;
use super::*;

/// A pipe in the place of a file: to open it is to wait, until this is dropped.
struct Pipe(PathBuf);

impl Pipe {
    fn at(path: PathBuf) -> Self {
        std::fs::remove_file(&path).expect("there was a file");
        assert!(Command::new("mkfifo").arg(&path).status().expect("mkfifo runs").success());
        Self(path)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let both_ends = std::fs::OpenOptions::new().read(true).write(true).open(&self.0);
        // Who has not come to open it yet finds nothing.
        let _ = std::fs::remove_file(&self.0);
        drop(both_ends);
    }
}

impl Bench {
    /// A file that is on the disk.
    async fn kept(&self, number: u8) -> (Blob, Bytes) {
        let (blob, bytes) = self.blob(number, MIB).await;
        assert!(self.follow(&blob).await.bytes().await.expect("read") == bytes);
        (blob, bytes)
    }

    fn free(&self) -> usize {
        self.disk.calls.turns().available_permits()
    }

    fn room(&self) -> u64 {
        self.disk.opened.get().expect("open").ledger().size().1
    }

    /// Asks in a task of its own whether the file is there.
    fn ask(&self, blob: &Blob, small: bool) -> tokio::task::JoinHandle<bool> {
        let (disk, sha256, len) = (self.disk.clone(), blob.sha256, blob.len);
        tokio::spawn(async move {
            match small {
                true => disk.read(sha256, len).await.is_some(),
                false => disk.look(sha256, len).await.is_some(),
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_disk_that_hangs() {
    let bench = Bench::new(100 * MIB).await;
    let ((hung, _), (good, bytes)) = (bench.kept(1).await, bench.kept(2).await);
    let pipe = Pipe::at(bench.file(&hung));
    for (hanging, small) in [(0, true), (1, false)] {
        // A turn is given back a moment after the answer.
        until("nothing else is under way", || bench.free() == TURNS as usize - hanging).await;
        let asked = bench.ask(&hung, small);
        until("a call hangs", || bench.free() < TURNS as usize - hanging).await;
        assert!(bench.look(&good).await.expect("the others are served") == bytes);
        tokio::time::advance(PATIENCE).await;
        assert!(!asked.await.expect("no panic"), "after a while the store is asked");
        // That was no fault of these; but they might hang too.
        let begun = Instant::now();
        assert_eq!(bench.look(&good).await, None);
        assert_eq!(bench.disk.read(good.sha256, good.len).await, None);
        let (new, _) = bench.blob(3, MIB).await;
        assert!(bench.disk.follow(&new).is_none(), "nor is anything written");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        tokio::time::advance(PAUSE).await;
        assert!(bench.look(&good).await.expect("it is tried again") == bytes);
    }
    // As many as there may be.
    until("only those two hang", || bench.free() == TURNS as usize - 2).await;
    let asked: Vec<_> = (0..bench.free()).map(|_| bench.ask(&hung, false)).collect();
    until("all hang", || bench.free() == 0).await;
    let looked = futures::poll!(std::pin::pin!(bench.look(&good)));
    assert_eq!(looked, std::task::Poll::Ready(None), "nobody waits for a turn");
    drop(pipe);
    for asked in asked {
        assert!(!asked.await.expect("no panic"), "it was no file");
    }
    until("the turns are given back", || bench.free() == TURNS as usize).await;
    assert!(bench.look(&good).await.expect("all is well") == bytes);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_written_on_is_read_on_from_the_store_and_keeps_its_room_until_it_is_gone() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 2 * MIB).await;
    bench.close_gate();
    let body = bench.follow(&blob).await;
    let turns = bench.disk.calls.turns().clone().acquire_many_owned(TURNS).await.expect("open");
    bench.store.chunks.add_permits(1000);
    assert!(body.bytes().await.expect("all of it") == bytes);
    assert_eq!(bench.calls(), (1, 1));
    assert_eq!((bench.names().len(), bench.room()), (1, 2 * MIB), "the call may still be made");
    let mut late = bench.disk.opened.get().expect("open").arrivals().get(&blob.sha256).expect("it is known").clone();
    late.wait_for(|arrival| matches!(arrival, Arrival::Broken)).await.expect("it is said");
    drop(turns);
    until("the room is free", || bench.room() == 0).await;
    assert_eq!(bench.names(), [] as [&str; 0]);
    tokio::time::advance(PAUSE).await;
    assert!(bench.follow(&blob).await.bytes().await.expect("and again") == bytes);
    assert!(bench.look(&blob).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_written_takes_so_much_memory_and_no_more() {
    let bench = Bench::new(1000 * MIB).await;
    // With none left, nothing is begun.
    let turns = bench.disk.calls.turns().clone().acquire_many_owned(TURNS - 1).await.expect("open");
    let fit = KEEPING_BYTES as u64 / MIB;
    for number in 0..40 {
        let bytes = Bytes::from(vec![number; MIB as usize]);
        bench.disk.keep(Sha256Digest::of(&bytes), bytes);
    }
    assert_eq!(bench.room(), fit * MIB, "for the others there is no room in memory");
    drop(turns);
    until("they are written", || bench.names().iter().filter(|name| name.ends_with(".crate")).count() as u64 == fit)
        .await;
    until("all memory is free", || bench.disk.keeping.available_permits() == KEEPING_BYTES).await;
    let large = Bytes::from(vec![1; KEEPING_BYTES + 1]);
    bench.disk.keep(Sha256Digest::of(&large), large);
    until("a larger one waits alone", || bench.room() > (fit + 1) * MIB).await;
    assert_eq!(bench.disk.keeping.available_permits(), 0);
}

#[tokio::test]
async fn a_file_is_checked_once_whoever_waits_for_it() {
    let bench = Bench::new(1000 * MIB).await;
    let (blob, bytes) = bench.blob(1, 20 * MIB).await;
    assert!(bench.follow(&blob).await.bytes().await.expect("read") == bytes);
    let Bench { dir, store, disk } = bench;
    drop(disk);
    let bench = Bench { disk: opened(dir.path(), 1000 * MIB).await, dir, store };
    let shelves = bench.disk.opened.get().expect("open");
    let under_way = || shelves.checks.lock().get(&blob.sha256).cloned();
    let asked: Vec<_> = (0..50).map(|_| bench.ask(&blob, false)).collect();
    until("it is checked", || under_way().is_some()).await;
    let first = under_way().expect("a check");
    until("all are answered", || {
        assert!(under_way().is_none_or(|check| check.same_channel(&first)), "a second check");
        asked.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    for asked in asked {
        assert!(asked.await.expect("no panic"), "all are served");
    }
    // One who had looked before the check was over.
    let (pin, known) = bench.disk.pin(shelves, &blob.sha256).expect("it is here");
    assert!(known.is_some());
    let late = std::pin::pin!(bench.disk.check(shelves, pin, blob.len, None));
    assert!(futures::poll!(late).is_ready() && under_way().is_none(), "it is known");
    let touched =
        std::fs::File::open(bench.file(&blob)).and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH));
    touched.expect("touched");
    assert!(bench.look(&blob).await.expect("it is still good") == bytes);
    let (_, again) = bench.disk.pin(shelves, &blob.sha256).expect("it is here");
    assert_ne!(again, known, "it was checked again");
}

#[tokio::test]
async fn a_panic_on_the_way_takes_no_room_for_ever() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.blob(1, 2 * MIB).await;
    bench.store.panics.store(true, Ordering::SeqCst);
    let mut reading = bench.disk.follow(&blob).expect("there is room");
    assert!(!reading.begins().await.expect("the store is asked again"));
    drop(reading);
    until("nothing of it stays", || bench.room() == 0 && bench.names().is_empty()).await;
    bench.store.panics.store(false, Ordering::SeqCst);
    assert!(bench.follow(&blob).await.bytes().await.expect("it can come again") == bytes);
    assert!(bench.look(&blob).await.is_some());
}

#[tokio::test]
async fn a_directory_with_the_name_of_a_file_is_not_ours() {
    let bench = Bench::new(100 * MIB).await;
    let (blob, bytes) = bench.kept(1).await;
    let Bench { dir, store, disk } = bench;
    drop(disk);
    let (part, whole) = (format!("{}.0.part", blob.sha256), format!("{}.crate", Sha256Digest::of(b"other")));
    for name in [&part, &whole] {
        std::fs::create_dir(dir.path().join(name)).expect("made");
    }
    let bench = Bench { disk: opened(dir.path(), 100 * MIB).await, dir, store };
    assert!(bench.look(&blob).await.expect("the cache is open") == bytes);
    for name in [&part, &whole] {
        assert!(bench.dir.path().join(name).is_dir(), "{name} is left alone");
    }
}

#[tokio::test]
async fn an_error_says_which_file_it_is_about() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join(".supercargo-cache.lock")).expect("made");
    let error = Directory::open(dir.path()).expect_err("that is no lock").to_string();
    assert!(error.contains("/.supercargo-cache.lock: "), "{error}");
    std::fs::remove_dir(dir.path().join(".supercargo-cache.lock")).expect("removed");
    let (directory, _) = Directory::open(dir.path()).expect("a directory");
    let (sha256, name) = (Sha256Digest::of(b"x"), format!("/{}.crate: ", Sha256Digest::of(b"x")));
    std::fs::create_dir(dir.path().join(format!("{sha256}.crate"))).expect("made");
    let mut part = directory.begin(sha256).expect("begun");
    part.write(b"x").expect("written");
    for error in [part.finish().expect_err("in the way"), directory.remove(&sha256).expect_err("no file")] {
        assert!(error.to_string().contains(&name), "{error}");
    }
}
