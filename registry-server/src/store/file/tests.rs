//! What is special about files: locks, litter, strangers in the directory.

use std::fs;

use super::*;
use crate::store::{Refused, Sha256Digest, Ulid, list_all};

fn key(name: &str) -> Key {
    Key::probe(Ulid::from_parts(1, 1), name).unwrap()
}

fn open(directory: &Path) -> Result<FileStore, OpenError> {
    FileStore::open(directory, KeyPrefix::default())
}

async fn put(store: &FileStore, key: &Key, body: &'static str, cond: Cond) -> Put {
    store.put(key, Bytes::from_static(body.as_bytes()).into(), cond).await
}

async fn stored(store: &FileStore, key: &Key, body: &'static str) -> Etag {
    match put(store, key, body, Cond::Any).await {
        Put::Stored(etag) => etag,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_second_opener_is_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let message = open(dir.path()).unwrap_err().to_string();
    for part in [&dir.path().canonicalize().unwrap().display().to_string(), &format!("pid {}", std::process::id())] {
        assert!(message.contains(part), "{part}: {message}");
    }
    drop(store);
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn objects_outlive_the_process_and_etags_never_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let first = stored(&store, &key("a"), "one").await;
    drop(store);
    let store = open(dir.path()).unwrap();
    let Get::Found(object) = store.get(&key("a"), None).await.unwrap() else { panic!() };
    let again = object.etag.clone();
    assert_eq!(object.bytes(10).await.unwrap(), "one");
    assert_ne!(again, first, "an ETag of an earlier process must not pass for one of this");
    assert!(matches!(put(&store, &key("a"), "two", Cond::Matches(first)).await, Put::Refused(_)));
    assert!(matches!(put(&store, &key("a"), "two", Cond::Matches(again)).await, Put::Stored(_)));
}

#[tokio::test]
async fn a_file_changed_by_hand_is_another_version() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let etag = stored(&store, &key("a"), "one").await;
    let path = dir.path().join(key("a").to_string());
    assert_eq!(fs::read_to_string(&path).unwrap(), "one", "an object is a plain file at its key");
    fs::write(&path, "changed").unwrap();
    assert!(matches!(store.get(&key("a"), Some(&etag)).await.unwrap(), Get::Found(_)));
    assert!(matches!(put(&store, &key("a"), "two", Cond::Matches(etag)).await, Put::Refused(_)));
}

#[tokio::test]
async fn litter_of_a_crash_is_swept_and_strangers_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    stored(&store, &key("a"), "one").await;
    drop(store);
    fs::write(dir.path().join(".staging/7"), "half a crate").unwrap();
    let beside = dir.path().join(key("a").to_string()).parent().unwrap().to_owned();
    for stranger in [".a.swp", "NOTES.txt", "b~"] {
        fs::write(beside.join(stranger), "x").unwrap();
    }
    let store = open(dir.path()).unwrap();
    assert_eq!(fs::read_dir(dir.path().join(".staging")).unwrap().count(), 0);
    let page = store.list(&Prefix::Probe(Ulid::from_parts(1, 1)), None).await.unwrap();
    assert_eq!(page.entries.iter().map(|entry| &entry.key).collect::<Vec<_>>(), [&key("a")]);
    assert_eq!(page.foreign.len(), 2, "{page:?}");
    store.delete(&key("a")).await.unwrap();
    assert!(beside.join("NOTES.txt").exists());
}

#[tokio::test]
async fn deleting_leaves_no_empty_directories_and_nothing_above_the_root_goes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("deep/data");
    let store = open(&root).unwrap();
    stored(&store, &key("a"), "one").await;
    store.delete(&key("a")).await.unwrap();
    assert!(root.exists());
    assert!(!root.join("v1").exists());
    stored(&store, &key("a"), "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_and_deletes_of_neighbours_do_not_trip_over_their_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..30 {
                let key = key(&format!("{writer}"));
                stored(&store, &key, "x").await;
                store.delete(&key).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert!(list_all(&store, &Prefix::Probe(Ulid::from_parts(1, 1))).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let message = open(&file).unwrap_err().to_string();
    assert!(message.contains(&file.display().to_string()), "{message}");
    let message = open(&file.join("below")).unwrap_err().to_string();
    assert!(message.contains("below"), "{message}");
}

#[tokio::test]
async fn the_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let _store = open(&root).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_blob_lies_where_the_layout_says() {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(dir.path(), KeyPrefix::parse("team").unwrap()).unwrap();
    let key = Key::blob("a", &"1.0.0+b".parse().unwrap(), Sha256Digest::of(b"crate"), Ulid::from_parts(1, 1)).unwrap();
    stored(&store, &key, "crate").await;
    assert_eq!(fs::read_to_string(dir.path().join("team").join(key.to_string())).unwrap(), "crate");
}

fn blob(attempt: u64) -> Key {
    let digest = Sha256Digest::of(b"crate");
    Key::blob("krate", &"1.0.0".parse().unwrap(), digest, Ulid::from_parts(1, attempt.into())).unwrap()
}

#[tokio::test]
async fn what_is_named_is_there_before_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let record = Key::krate("krate").unwrap();
    let bytes = |text: &'static str| Body::Bytes(Bytes::from_static(text.as_bytes()));
    let first = blob(1);
    let put = store.put_after((&first, bytes("crate")), (&record, bytes("one")), Cond::Absent).await.unwrap();
    let Put::Stored(etag) = put else { panic!("{put:?}") };
    let Get::Found(object) = store.get(&record, None).await.unwrap() else { panic!() };
    assert_eq!((object.etag.clone(), object.bytes(10).await.unwrap()), (etag, "one".into()));
    // A condition that does not hold is about the second alone.
    let second = blob(2);
    let put = store.put_after((&second, bytes("crate")), (&record, bytes("two")), Cond::Absent).await.unwrap();
    assert_eq!(put, Put::Refused(Refused::Precondition));
    for key in [first, second] {
        assert!(matches!(store.get(&key, None).await.unwrap(), Get::Found(_)), "{key}");
    }
    let Get::Found(object) = store.get(&record, None).await.unwrap() else { panic!() };
    assert_eq!(object.bytes(10).await.unwrap(), "one");
    assert_eq!(fs::read_dir(dir.path().join(".staging")).unwrap().count(), 0, "nothing is left lying around");
    // Nothing can be made in what is no directory.
    fs::remove_dir_all(dir.path().join("v1/blob")).unwrap();
    fs::write(dir.path().join("v1/blob"), "in the way").unwrap();
    let error = store.put_after((&blob(3), bytes("crate")), (&record, bytes("three")), Cond::Any).await.unwrap_err();
    assert!(error.to_string().contains("v1/blob"), "{error}");
    let Get::Found(object) = store.get(&record, None).await.unwrap() else { panic!() };
    assert_eq!(object.bytes(10).await.unwrap(), "one", "not without what it names");
}

#[tokio::test]
async fn nobody_is_shown_what_may_be_gone_after_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let record = Key::krate("krate").unwrap();
    stored(&store, &record, "one").await;
    // The wait for its name failed, and fails again: its directory cannot be opened.
    store.tree.doubtful().insert(record.to_string());
    let path = dir.path().join(record.to_string());
    let (parent, away) = (path.parent().unwrap(), dir.path().join("away"));
    fs::rename(parent, &away).unwrap();
    let error = store.get(&record, None).await.unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert!(matches!(put(&store, &record, "two", Cond::Any).await, Put::NotSent(_)));
    fs::rename(&away, parent).unwrap();
    let Get::Found(object) = store.get(&record, None).await.unwrap() else { panic!() };
    assert_eq!(object.bytes(10).await.unwrap(), "one");
    assert!(store.tree.doubtful().is_empty(), "once is enough");
}

#[tokio::test]
async fn crate_files_are_not_remembered_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    for attempt in 0..10 {
        let etag = stored(&store, &blob(attempt), "crate").await;
        let Get::NotModified = store.get(&blob(attempt), Some(&etag)).await.unwrap() else { panic!("{attempt}") };
    }
    assert_eq!(store.tree.remembered(), 0);
}
