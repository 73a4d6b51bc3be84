//! The store itself, which sees every commit at the moment at which it happens and checks what must hold of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use supercargo_registry::access::TokenRecord;
use supercargo_registry::krate::Record;
use supercargo_registry::store::faulty::Faulty;
use supercargo_registry::store::{
    Body, Cond, Cursor, Etag, Get, Key, MemoryStore, Page, Prefix, Put, Sha256Digest, Store, StoreError, list_all,
};

use crate::support::crates::{name, plain_upload, principal, rival_upload, version};
use crate::support::registry_in;

/// One committed state of a crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) rev: u64,
    pub(crate) index_etag: String,
    pub(crate) owners: Vec<String>,
    /// What the commit did: `publish 1.0.1`, `yank 1.0.1`, `owner-add user7`; nothing, if it only took a dead writer's mark away.
    pub(crate) effect: String,
}

#[derive(Debug, Default)]
pub(crate) struct Books {
    /// By key: the committed states, `rev` 1 first.
    pub(crate) crates: BTreeMap<String, Vec<Committed>>,
    /// By key: the last `rev`.
    tokens: BTreeMap<String, u64>,
    pub(crate) violations: Vec<String>,
    /// By key and version: the checksum that its first commit gave it.
    checksums: BTreeMap<String, BTreeMap<String, String>>,
    /// Writes of the head.
    pub(crate) heads: u64,
    /// Marks that were taken away.
    pub(crate) sweeps: u64,
}

/// A store in memory that keeps books.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    inner: MemoryStore,
    pub(crate) books: Arc<Mutex<Books>>,
}

impl Ledger {
    async fn enter(&self, key: &Key, bytes: Bytes) {
        match key {
            Key::Crate(_) => {
                let record = Record::parse(&bytes).expect("a readable record");
                if record.mark().is_none() {
                    let dangling = self.dangling(&record).await;
                    let mut books = self.books.lock().unwrap();
                    books.violations.extend(dangling);
                    books.crate_committed(key, &record);
                }
            }
            Key::Token(_) => {
                let token = TokenRecord::parse(&bytes).expect("a readable token");
                if token.mark.is_none() {
                    self.books.lock().unwrap().token_committed(key, &token);
                }
            }
            Key::Head => self.books.lock().unwrap().heads += 1,
            _ => {}
        }
    }

    /// Invariant A: nothing is in an index whose bytes are not stored.
    async fn dangling(&self, record: &Record) -> Option<String> {
        let newest = record.ops().last()?.vers.as_ref()?;
        let blob = Key::parse(&record.versions().get(newest)?.blob).expect("a key");
        let Ok(Get::Found(object)) = self.inner.get(&blob, None).await else {
            return Some(format!("A: {blob} is not stored"));
        };
        let stored = Sha256Digest::of(&object.bytes(1 << 20).await.expect("whole")).to_string();
        let line = record.index().expect("readable").get(newest).expect("every version has a line");
        (stored != line.cksum.to_string()).then(|| format!("A: {blob} holds bytes with the checksum {stored}"))
    }
}

impl Books {
    /// Invariant B: a version keeps its checksum for ever.
    fn versions_committed(&mut self, key: &Key, record: &Record) {
        let index = record.index().expect("readable");
        let shown: BTreeMap<_, _> = index.lines().map(|line| (line.vers.to_string(), line.cksum.to_string())).collect();
        if shown.len() != index.lines().len() {
            self.violations.push(format!("B: a version is in the index of {key} twice"));
        }
        let known = self.checksums.entry(key.to_string()).or_default();
        for (version, cksum) in &*known {
            let now = shown.get(version);
            if now != Some(cksum) {
                self.violations.push(format!("B: {version} of {key} had the checksum {cksum}, and has {now:?}"));
            }
        }
        for (version, cksum) in shown {
            known.entry(version).or_insert(cksum);
        }
    }

    /// The checksum that was committed for a version.
    pub(crate) fn checksum_of(&self, key: &str, version: &str) -> Option<&str> {
        self.checksums.get(key)?.get(version).map(String::as_str)
    }

    fn crate_committed(&mut self, key: &Key, record: &Record) {
        self.versions_committed(key, record);
        let states = self.crates.entry(key.to_string()).or_default();
        if record.rev() != states.len() as u64 + 1 {
            self.violations.push(format!("D: {key} goes from rev {} to {}", states.len(), record.rev()));
        }
        if record.canonical().as_str() != key.to_string().rsplit('/').next().expect("a name") {
            self.violations.push(format!("C: {key} holds {}", record.name()));
        }
        let owners = record.owners().iter().map(ToString::to_string).collect();
        let index_etag = record.index_etag().to_owned();
        let Some(last) = record.ops().last().filter(|last| last.rev == record.rev()) else {
            let swept = Committed { rev: record.rev(), index_etag, owners, effect: String::new() };
            if states
                .last()
                .is_some_and(|before| (&before.index_etag, &before.owners) != (&swept.index_etag, &swept.owners))
            {
                self.violations.push(format!("D: {key} changes at rev {} without an operation", record.rev()));
            }
            states.push(swept);
            self.sweeps += 1;
            return;
        };
        let kind = serde_json::to_value(&last.kind).expect("a word");
        let object = last.vers.as_ref().map(ToString::to_string);
        let object = object.or_else(|| last.owners.first().map(ToString::to_string)).unwrap_or_default();
        let effect = format!("{} {object}", kind.as_str().expect("a word"));
        if states.iter().any(|state| state.effect == effect) {
            self.violations.push(format!("F: {effect} was done twice to {key}"));
        }
        states.push(Committed { rev: record.rev(), index_etag, owners, effect });
    }

    fn token_committed(&mut self, key: &Key, token: &TokenRecord) {
        let rev = self.tokens.entry(key.to_string()).or_default();
        if token.rev != *rev + 1 {
            self.violations.push(format!("D: {key} goes from rev {rev} to {}", token.rev));
        }
        *rev = token.rev;
    }

    /// The `rev` at which something was done to a crate.
    pub(crate) fn rev_of(&self, key: &str, effect: &str) -> Option<u64> {
        self.crates.get(key)?.iter().find(|state| state.effect == effect).map(|state| state.rev)
    }

    /// The oldest state, not older than `floor`, of which `fits` holds.
    pub(crate) fn oldest(&self, key: &str, floor: u64, fits: impl Fn(&Committed) -> bool) -> Option<u64> {
        let states = self.crates.get(key)?;
        states.iter().filter(|state| state.rev >= floor).find(|state| fits(state)).map(|state| state.rev)
    }
}

#[async_trait]
impl Store for Ledger {
    async fn get(&self, key: &Key, if_none_match: Option<&Etag>) -> Result<Get, StoreError> {
        self.inner.get(key, if_none_match).await
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Put {
        let Body::Bytes(bytes) = body.clone() else { panic!("nothing here is large") };
        let put = self.inner.put(key, body, cond).await;
        if matches!(put, Put::Stored(_)) {
            self.enter(key, bytes).await;
        }
        put
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Cursor>) -> Result<Page, StoreError> {
        self.inner.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.books.lock().unwrap().violations.push(format!("H: somebody deletes {key}"));
        self.inner.delete(key).await
    }

    fn location(&self) -> String {
        "the simulated store".into()
    }
}

/// What no registry does: the same crate twice, of which each has its own bytes for one version.
#[tokio::test]
async fn the_books_notice_a_version_that_gets_other_bytes() {
    let ledger = Ledger::default();
    let Ok(Key::Crate(alpha)) = Key::krate("alpha") else { panic!("a name") };
    for (rev, upload) in [(1, plain_upload("alpha", "1.0.0")), (2, rival_upload("alpha", "1.0.0"))] {
        let store = Arc::new(Faulty::calm(MemoryStore::new()));
        let registry = registry_in(store.clone(), rev).await;
        let ann = principal(&registry, "ann").await;
        let ticket = registry.may_publish(&ann, &name("alpha")).await.unwrap();
        registry.publish(ticket, upload).await.unwrap();
        if rev == 2 {
            registry.set_yanked(&ann, &name("alpha"), &version("1.0.0"), true).await.unwrap();
        }
        for prefix in [Prefix::Blobs(alpha.clone()), Prefix::Crates] {
            for entry in list_all(store.inner(), &prefix).await.unwrap() {
                let Get::Found(object) = store.inner().get(&entry.key, None).await.unwrap() else { panic!("listed") };
                let body = Body::Bytes(object.bytes(1 << 20).await.unwrap());
                assert!(matches!(ledger.put(&entry.key, body, Cond::Any).await, Put::Stored(_)));
            }
        }
    }
    let violations = ledger.books.lock().unwrap().violations.clone();
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].starts_with("B: 1.0.0 of v1/crate/"), "{violations:?}");
}
