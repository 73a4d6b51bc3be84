//! What the tests of the whole crate share: a registry in process, tokens for it, packed crates, the real Cargo.

#![allow(dead_code, reason = "every test binary uses its own part of this")]

pub(crate) mod cargo;
pub(crate) mod client;
pub(crate) mod crates;
pub(crate) mod held;
pub(crate) mod process;
pub(crate) mod replicas;

use std::sync::Arc;

use supercargo_registry::access::{Grant, NewToken, TokenSecret, Verb};
use supercargo_registry::ambient::{Clock, Entropy, Monotonic};
use supercargo_registry::config::Config;
use supercargo_registry::registry::{Registry, Replication, Storage};
use supercargo_registry::server::{self, Running, Stop};
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::{Cursor, Key, MemoryStore, Prefix, Store};

/// A configuration for one test: loopback, free ports, memory, plus the lines of `toml`.
pub(crate) fn config(toml: &str) -> Config {
    let text = format!("[public]\nlisten = \"127.0.0.1:0\"\n[internal]\nlisten = \"127.0.0.1:0\"\n{toml}");
    Config::from_sources(Some(&text), []).expect("the test's configuration is valid")
}

/// A registry in process, with both listeners.
pub(crate) struct TestServer {
    pub(crate) running: Running,
    pub(crate) entropy: Entropy,
}

impl TestServer {
    /// In memory, private.
    pub(crate) async fn memory() -> Self {
        Self::start("[storage]\nkind = \"memory\"\n").await
    }

    pub(crate) async fn start(toml: &str) -> Self {
        let config = config(toml);
        let storage = Storage::open(&config.storage).await.expect("the store opens");
        Self::with(&config, &storage).await
    }

    pub(crate) async fn with(config: &Config, storage: &Storage) -> Self {
        let entropy = Entropy::from_os();
        let running =
            server::start(config, storage, Clock::system(), entropy.clone()).await.expect("the server starts");
        Self { running, entropy }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.running.public)
    }

    pub(crate) fn index(&self) -> String {
        format!("sparse+{}/index/", self.base())
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.running.registry
    }

    /// A token that may do everything but `Admin` on all crates.
    pub(crate) async fn token(&self, user: &str) -> String {
        self.token_with(user, &[Verb::Read, Verb::PublishNew, Verb::PublishUpdate, Verb::Yank, Verb::Owners], &["*"])
            .await
    }

    pub(crate) async fn token_with(&self, user: &str, verbs: &[Verb], crates: &[&str]) -> String {
        mint(self.registry(), &self.entropy, user, verbs, crates).await
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown(Stop::Now);
        assert!(self.running.wait().await, "the server stops by itself");
    }
}

/// What stands before the body of a publish, for tests that send the body themselves.
pub(crate) fn publish_head(token: &str, length: usize) -> Vec<u8> {
    format!("PUT /api/v1/crates/new HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n\r\n")
        .into_bytes()
}

/// Text that does not compress well.
pub(crate) fn noise(bytes: usize) -> String {
    Entropy::seeded(3).with(|rng| {
        use rand::RngExt;
        (0..bytes).map(|_| char::from(rng.random_range(b' '..b'~'))).collect()
    })
}

/// A token in a registry.
pub(crate) async fn mint(
    registry: &Registry,
    entropy: &Entropy,
    user: &str,
    verbs: &[Verb],
    crates: &[&str],
) -> String {
    let secret = entropy.with(TokenSecret::generate);
    let grant = Grant {
        verbs: verbs.iter().copied().collect(),
        crates: crates.iter().map(|pattern| pattern.parse().expect("a pattern")).collect(),
    };
    let new = NewToken {
        user: user.parse().expect("a login"),
        description: "test".into(),
        grants: vec![grant],
        expires_at: None,
    };
    registry.put_token(secret.hash(), new).await.expect("the token is stored");
    secret.expose().to_owned()
}

/// A ready registry over a store that others may share, without listeners; it keeps nothing in memory under a lease.
pub(crate) async fn registry_in(store: Arc<dyn Provable>, seed: u64) -> Arc<Registry> {
    let storage = Storage::ToProve(store);
    let visibility = supercargo_registry::access::Visibility::Private;
    let replication = Replication { time: Monotonic::tokio(), ..Replication::default() };
    let registry = Registry::replicated(&storage, visibility, replication, Clock::system(), Entropy::seeded(seed));
    assert!(registry.open_now().await.is_proven(), "a new registry");
    Arc::new(registry)
}

/// All object keys in a store, with what is random replaced, so that tests can compare them: `v1/blob/a/1.0.0/…`.
pub(crate) async fn keys(store: &MemoryStore) -> Vec<String> {
    let mut keys = Vec::new();
    for prefix in [Prefix::Crates, Prefix::Tokens] {
        keys.extend(list(store, &prefix).await);
    }
    let crates: Vec<_> =
        keys.iter().filter_map(|key| key.strip_prefix("v1/crate/")).map(|rest| rest[3..].to_owned()).collect();
    for krate in crates {
        let Ok(Key::Crate(name)) = Key::krate(&krate) else { panic!("{krate}") };
        keys.extend(list(store, &Prefix::Blobs(name)).await);
    }
    keys.into_iter().map(|key| mask(&key)).collect()
}

async fn list(store: &MemoryStore, prefix: &Prefix) -> Vec<String> {
    let mut keys = Vec::new();
    let mut after: Option<Cursor> = None;
    loop {
        let page = store.list(prefix, after.as_ref()).await.expect("memory lists");
        keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

fn mask(key: &str) -> String {
    let mut parts: Vec<_> = key.split('/').collect();
    match parts.get(1) {
        Some(&"blob") => {
            parts.pop();
            parts.push("*");
        }
        Some(&"token") => parts = vec!["v1", "token", "*"],
        _ => {}
    }
    parts.join("/")
}
