//! Publishers, yankers, owners, token changes and readers, each request on some process, and what its answer proves.

use std::sync::Arc;

use supercargo_registry::access::{Grant, NewToken, Principal, TokenSecret, Verb};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::registry::{Registry, RegistryError, Upload};
use supercargo_registry::store::{Key, Sha256Digest};

use crate::process::Process;
use crate::support::crates::{download, name, plain_upload, rival_upload};
use crate::world::World;

/// The crates of a run; one of them can be spelled in two ways.
pub(crate) const CRATES: [&str; 4] = ["alpha", TWO_WORDS, "gamma", "delta"];
const TWO_WORDS: &str = "two-words";

pub(crate) fn key(krate: &str) -> String {
    Key::krate(name(krate).canonical().as_str()).expect("a name").to_string()
}

/// What a write does; its text is the effect that the books know it by.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Publish(String, Bytes),
    Yank(String),
    AddOwner(String),
}

/// Which bytes somebody publishes as a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bytes {
    First,
    /// Others.
    Rival,
}

impl Write {
    /// The same version with the other bytes, if this is a publish.
    pub(crate) fn rival(&self) -> Option<Self> {
        let Self::Publish(version, bytes) = self else { return None };
        let other = if *bytes == Bytes::First { Bytes::Rival } else { Bytes::First };
        Some(Self::Publish(version.clone(), other))
    }

    /// What is sent, if this is a publish. `krate` in any spelling.
    fn upload(&self, krate: &str) -> Option<Upload> {
        match self {
            Self::Publish(version, Bytes::First) => Some(plain_upload(krate, version)),
            Self::Publish(version, Bytes::Rival) => Some(rival_upload(krate, version)),
            Self::Yank(_) | Self::AddOwner(_) => None,
        }
    }

    fn effect(&self) -> String {
        match self {
            Self::Publish(version, _) => format!("publish {version}"),
            Self::Yank(version) => format!("yank {version}"),
            Self::AddOwner(user) => format!("owner-add {user}"),
        }
    }

    /// `krate` in any spelling.
    async fn carry_out(&self, registry: &Registry, principal: &Principal, krate: &str) -> Result<(), RegistryError> {
        let name = name(krate);
        match self {
            Self::Publish(..) => {
                let ticket = registry.may_publish(principal, &name).await?;
                let upload = self.upload(krate).expect("a publish");
                registry.publish(ticket, upload).await.map(drop)
            }
            Self::Yank(version) => {
                registry.set_yanked(principal, &name, &version.parse().expect("a version"), true).await
            }
            Self::AddOwner(user) => registry.add_owners(principal, &name, &[user.parse().expect("a login")]).await,
        }
    }
}

impl World {
    /// Changes a crate through one process. Whether it was acknowledged.
    pub(crate) async fn write(&self, process: Arc<Process>, krate: &'static str, write: Write) -> bool {
        let (registry, principal, doing) = (process.registry(), self.principal.clone(), write.clone());
        let at = process.clone();
        let spelling = if self.one_in(2) { krate.to_owned() } else { krate.replace('-', "_") };
        let cksum = write.upload(&spelling).map(|upload| upload.sha256.to_string());
        let request = process.spawn(async move {
            at.gate().await;
            doing.carry_out(&registry, &principal, &spelling).await
        });
        // A process that died has answered nothing.
        let Ok(result) = request.await else { return false };
        let (key, effect) = (key(krate), write.effect());
        let (rev, is_ours) = {
            let books = self.ledger.books.lock().unwrap();
            let is_ours = match (&write, cksum) {
                (Write::Publish(version, _), Some(cksum)) => {
                    books.checksum_of(&key, version).map(|stored| stored == cksum)
                }
                _ => Some(true),
            };
            (books.rev_of(&key, &effect), is_ours)
        };
        match (&result, rev) {
            (Ok(()), Some(_)) if is_ours != Some(true) => {
                self.violation(format!("B: {effect} on {krate} was acknowledged and holds the bytes of another"));
            }
            (Ok(()), Some(rev)) => {
                self.count(|report| report.writes += 1);
                self.floors.raise(&key, rev);
                if let Write::Publish(version, _) = &write {
                    self.acknowledged.lock().unwrap().entry(krate).or_default().push(version.clone());
                }
                self.burst(krate);
            }
            (Ok(()), None) => self.violation(format!("I: {effect} on {krate} was acknowledged and is not stored")),
            (Err(RegistryError::Contended { .. }), Some(_)) if is_ours == Some(true) => {
                self.violation(format!("F: {effect} on {krate} is stored, and its user was told that it is not"));
            }
            (Err(RegistryError::Conflict(text)), _) if is_ours != Some(false) && krate != TWO_WORDS => {
                self.violation(format!("B: {effect} on {krate}: {text}, and no other bytes of it are stored"));
            }
            (Err(error), _) => self.count(|report| *report.failed_writes.entry(error.label()).or_default() += 1),
        }
        result.is_ok()
    }

    /// Downloads a version that was acknowledged before: the bytes that were committed, from every process.
    pub(crate) async fn download(&self, process: Arc<Process>, krate: &'static str) {
        let version = {
            let acknowledged = self.acknowledged.lock().unwrap();
            let Some(versions) = acknowledged.get(krate) else { return };
            versions[self.dice.index(versions.len())].clone()
        };
        let (registry, principal, at, asked) =
            (process.registry(), self.principal.clone(), process.clone(), version.clone());
        let request = process.spawn(async move {
            at.gate().await;
            download(&registry, &principal, krate, &asked).await
        });
        let Ok(result) = request.await else { return };
        let found = match result {
            Ok(bytes) => Sha256Digest::of(&bytes).to_string(),
            Err(RegistryError::NotFound(text)) => text,
            Err(_) => return self.count(|report| report.failed_reads += 1),
        };
        self.count(|report| report.downloads += 1);
        let books = self.ledger.books.lock().unwrap();
        let committed = books.checksum_of(&key(krate), &version);
        if committed != Some(&*found) {
            let text = format!("B: {krate} {version} on process {}: {found}, committed: {committed:?}", process.number);
            drop(books);
            self.violation(text);
        }
    }

    /// Reads the index file of a crate from one process.
    pub(crate) async fn read_index(&self, process: Arc<Process>, krate: &'static str) {
        if krate == TWO_WORDS {
            // Index files answer to their publisher's spelling only, and owners to any.
            return self.read_owners(process, krate).await;
        }
        let key = key(krate);
        let floor = self.floors.at(&key);
        let (registry, principal, at) = (process.registry(), self.principal.clone(), process.clone());
        let request = process.spawn(async move {
            at.gate().await;
            let index = registry.index(&principal, &name(krate)).await;
            let answer = index.map(|index| index.etag().to_owned());
            at.gate().await;
            answer
        });
        let Ok(result) = request.await else { return };
        let state = match &result {
            Ok(etag) => self.ledger.books.lock().unwrap().oldest(&key, floor, |state| state.index_etag == *etag),
            Err(RegistryError::NotFound(_)) => (floor == 0).then_some(0),
            Err(_) => return self.count(|report| report.failed_reads += 1),
        };
        let text =
            || format!("E: the index of {krate} on process {}: {result:?}, older than rev {floor}", process.number);
        self.seen(&key, state, text, || self.burst(krate));
    }

    /// Reads the owners of a crate from one process.
    pub(crate) async fn read_owners(&self, process: Arc<Process>, krate: &'static str) {
        let key = key(krate);
        let floor = self.floors.at(&key);
        let (registry, principal, at) = (process.registry(), self.principal.clone(), process.clone());
        let request = process.spawn(async move {
            at.gate().await;
            registry.owners(&principal, &name(krate)).await
        });
        let Ok(result) = request.await else { return };
        let state = match &result {
            Ok(owners) => {
                let owners: Vec<_> = owners.iter().map(ToString::to_string).collect();
                self.ledger.books.lock().unwrap().oldest(&key, floor, |state| state.owners == owners)
            }
            Err(RegistryError::NotFound(_)) => (floor == 0).then_some(0),
            Err(_) => return self.count(|report| report.failed_reads += 1),
        };
        let text =
            || format!("E: the owners of {krate} on process {}: {result:?}, older than rev {floor}", process.number);
        self.seen(&key, state, text, || self.burst(krate));
    }

    /// Makes or revokes a token through one process. Whether it was acknowledged.
    pub(crate) async fn change_token(&self, process: Arc<Process>, token: &Arc<TokenSecret>, revoke: bool) -> bool {
        let (registry, at, hash) = (process.registry(), process.clone(), token.hash());
        let request = process.spawn(async move {
            at.gate().await;
            if revoke {
                registry.revoke_token(hash).await
            } else {
                registry.put_token(hash, new_token()).await.map(drop)
            }
        });
        let Ok(result) = request.await else { return false };
        match &result {
            Ok(()) => {
                self.count(|report| report.writes += 1);
                self.floors.raise(&hash.to_string(), 1 + u64::from(revoke));
                self.burst_token(token);
            }
            Err(error) => self.count(|report| *report.failed_writes.entry(error.label()).or_default() += 1),
        }
        result.is_ok()
    }

    /// Shows a token to one process.
    pub(crate) async fn show_token(&self, process: Arc<Process>, token: Arc<TokenSecret>) {
        let key = token.hash().to_string();
        let floor = self.floors.at(&key);
        let (registry, at, shown) = (process.registry(), process.clone(), token.clone());
        let request = process.spawn(async move {
            at.gate().await;
            let result = registry.authenticate(shown.expose()).await;
            at.gate().await;
            result.map(drop)
        });
        let Ok(result) = request.await else { return };
        let state = match &result {
            Ok(()) => 1,
            Err(RegistryError::Unauthenticated { text, .. }) if text.contains("revoked") => 2,
            Err(RegistryError::Unauthenticated { .. }) => 0,
            Err(_) => return self.count(|report| report.failed_reads += 1),
        };
        let text = || format!("E: a token on process {}: {result:?}, older than state {floor}", process.number);
        self.seen(&key, (state >= floor).then_some(state), text, || self.burst_token(&token));
    }

    fn seen(&self, record: &str, state: Option<u64>, violation: impl FnOnce() -> String, news: impl FnOnce()) {
        self.count(|report| report.reads += 1);
        match state {
            Some(state) => {
                if self.floors.raise(record, state) {
                    news();
                }
            }
            None => self.violation(violation()),
        }
    }
}

pub(crate) fn new_token() -> NewToken {
    NewToken {
        user: "ann".parse().expect("a login"),
        description: String::new(),
        grants: vec![Grant::on_all(Verb::ALL)],
        expires_at: None,
    }
}

pub(crate) fn secret(entropy: &Entropy) -> Arc<TokenSecret> {
    Arc::new(entropy.with(TokenSecret::generate))
}
