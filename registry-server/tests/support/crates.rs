//! Crates as tests publish and judge them, past HTTP: checked uploads, what a registry shows, and the invariants of what is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{LazyLock, Mutex};

use supercargo_registry::access::{Grant, NewToken, Principal, Verb};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::metadata::PublishMetadata;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::krate::release::OwnIndexUrls;
use supercargo_registry::krate::tarball::{TarballLimits, Unpacked};
use supercargo_registry::krate::{CrateName, Record, Release, Version};
use supercargo_registry::registry::{Content, Published, Registry, RegistryError, Upload};
use supercargo_registry::store::{Body, Get, Key, Prefix, Sha256Digest, Store, list_all};

pub(crate) fn name(text: &str) -> CrateName {
    text.parse().expect("a name")
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(crate) fn key(text: &str) -> Key {
    Key::krate(text).expect("a name")
}

/// A user who may do everything to their own crates, with a token of their own.
pub(crate) async fn principal(registry: &Registry, user: &str) -> Principal {
    use Verb::{Owners, PublishNew, PublishUpdate, Read, Yank};
    let verbs = [Read, PublishNew, PublishUpdate, Yank, Owners];
    let token = super::mint(registry, &Entropy::from_os(), user, &verbs, &["*"]).await;
    registry.authenticate(&token).await.expect("a good token")
}

/// A token that may read, as one asks for it.
pub(crate) fn new_token() -> NewToken {
    NewToken {
        user: "ci".parse().expect("a user"),
        description: String::new(),
        grants: vec![Grant::on_all([Verb::Read])],
        expires_at: None,
    }
}

/// A checked upload, as the HTTP layer makes one.
pub(crate) fn upload(packed: &Packed) -> Upload {
    let krate = packed.krate();
    Upload { release: release(packed, &krate), sha256: Sha256Digest::of(&krate), body: Body::from(krate) }
}

fn release(packed: &Packed, krate: &[u8]) -> Release {
    let (metadata, name, version) =
        PublishMetadata::parse(packed.metadata.to_string().as_bytes()).expect("good metadata");
    let limits = TarballLimits { unpacked_bytes_max: 1 << 20, entries_max: 100 };
    let unpacked = Unpacked::open(krate, krate.len() as u64, &name, &version, &limits).expect("a good tarball");
    Release::check(&metadata, &unpacked, &OwnIndexUrls::default()).expect("they agree")
}

/// The same of a plain crate.
pub(crate) fn plain_upload(krate: &str, version: &str) -> Upload {
    made_once(Packed::new(krate, version))
}

/// A plain crate of that name and version with other bytes.
pub(crate) fn rival_upload(krate: &str, version: &str) -> Upload {
    made_once(Packed::new(krate, version).with_source("pub fn of_a_rival() {}\n"))
}

/// Made once for all that ask for it: packing is what takes time.
fn made_once(packed: Packed) -> Upload {
    static UPLOADS: LazyLock<Mutex<HashMap<[String; 3], (Release, Vec<u8>)>>> = LazyLock::new(Mutex::default);
    let mut uploads = UPLOADS.lock().unwrap();
    let which = [packed.name.clone(), packed.version.clone(), packed.source.clone()];
    let (release, bytes) = uploads.entry(which).or_insert_with(|| {
        let bytes = packed.krate();
        (release(&packed, &bytes), bytes)
    });
    Upload { release: release.clone(), sha256: Sha256Digest::of(bytes), body: Body::from(bytes.clone()) }
}

/// The bytes of a version as a registry hands them out.
pub(crate) async fn download(
    registry: &Registry,
    user: &Principal,
    krate: &str,
    vers: &str,
) -> Result<Vec<u8>, RegistryError> {
    let download = registry.download(user, &name(krate), &version(vers)).await?;
    Ok(match registry.content(&download, None).await? {
        Content::Whole(bytes) => bytes.to_vec(),
        Content::Stream(body) => body.bytes().await?.to_vec(),
    })
}

pub(crate) async fn publish(
    registry: &Registry,
    user: &Principal,
    packed: &Packed,
) -> Result<Published, RegistryError> {
    let ticket = registry.may_publish(user, &name(&packed.name)).await?;
    registry.publish(ticket, upload(packed)).await
}

/// Publishes a plain crate.
pub(crate) async fn publish_plain(
    registry: &Registry,
    user: &Principal,
    krate: &str,
    version: &str,
) -> Result<Published, RegistryError> {
    let ticket = registry.may_publish(user, &name(krate)).await?;
    registry.publish(ticket, plain_upload(krate, version)).await
}

/// How many versions a registry shows to anybody; `None`: it knows no such crate.
pub(crate) async fn shown(registry: &Registry, user: &Principal, krate: &str) -> Option<usize> {
    match registry.index(user, &name(krate)).await {
        Ok(index) => {
            let text = index.plain().await.expect("it inflates");
            Some(text.iter().filter(|byte| **byte == b'\n').count())
        }
        Err(RegistryError::NotFound(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// Reads everything in the store and checks the invariants; per crate that was committed its lines as (version, checksum, yanked).
pub(crate) async fn audit(store: &dyn Store) -> BTreeMap<String, Vec<(String, String, bool)>> {
    let mut crates = BTreeMap::new();
    for entry in list_all(store, &Prefix::Crates).await.expect("no faults") {
        let Key::Crate(canonical) = entry.key.clone() else { panic!("{:?} below v1/crate/", entry.key) };
        let record = record_at(store, &entry.key).await;
        assert_eq!(record.canonical().as_str(), canonical.as_str(), "C: a record lies under its own name");
        if record.rev() == 0 {
            assert!(record.mark().is_some() && record.versions().is_empty(), "a reservation holds nothing");
            continue;
        }
        assert_eq!(
            record.rev(),
            record.ops().last().expect("every state has an op").rev,
            "D: `rev` counts the commits"
        );
        let ops: BTreeSet<_> = record.ops().iter().map(|op| op.op.as_str().to_owned()).collect();
        assert_eq!(ops.len(), record.ops().len(), "an operation was applied twice");
        let lines = lines_of(store, &record).await;
        crates.insert(record.name().to_string(), lines);
    }
    crates
}

/// Invariants A and B: every line has its bytes, and they are those of the line.
async fn lines_of(store: &dyn Store, record: &Record) -> Vec<(String, String, bool)> {
    let mut lines = Vec::new();
    for line in record.index().expect("readable").lines() {
        let stored = record.versions().get(&line.vers).expect("every line has a version record");
        let key = Key::parse(&stored.blob).expect("a key");
        let Get::Found(blob) = store.get(&key, None).await.expect("no faults") else { panic!("A: {key} dangles") };
        let bytes = blob.bytes(1 << 24).await.expect("whole");
        let found = Sha256Digest::of(&bytes).to_string();
        assert_eq!(found, line.cksum.to_string(), "A: the bytes are those of the index");
        lines.push((line.vers.to_string(), found, line.yanked));
    }
    let unique: BTreeSet<_> = lines.iter().map(|(vers, ..)| vers).collect();
    assert_eq!(unique.len(), lines.len(), "B: a version is in the index twice: {lines:?}");
    lines
}

/// The record as it is stored.
pub(crate) async fn record_at(store: &dyn Store, key: &Key) -> Record {
    let Get::Found(object) = store.get(key, None).await.expect("no faults") else { panic!("no {key}") };
    Record::parse(&object.bytes(1 << 24).await.expect("whole")).expect("a readable record")
}
