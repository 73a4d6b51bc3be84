//! Publishes, each of a new crate, in turns with the store calls that a publish is made of.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use supercargo_registry::{
    ambient::Entropy,
    config::{Backend, Config},
    krate::packed::Packed,
    registry,
    store::{Body, Cond, Etag, FileStore, Get, Key, KeyPrefix, Put, Sha256Digest, Store, Ulid},
};

use crate::{figures::Times, server::Server};

/// Times of both, of the same number of crates.
pub(crate) struct Compared {
    /// Of `PUT /api/v1/crates/new`.
    pub(crate) publishes: Times,
    /// Of the calls in [`Calls::make`].
    pub(crate) calls: Times,
}

/// What a publish asks of its store, without a registry around it.
pub(crate) struct Calls {
    store: Arc<dyn Store>,
    entropy: Entropy,
    /// Whether other replicas may read the store: then a publish marks the record and announces on the head before it commits.
    shared: bool,
}

impl Calls {
    /// On the server's own bucket; for a directory, which one process owns, on one beside it.
    pub(crate) async fn open(server: &Server) -> Result<Self> {
        let config = Config::from_sources(None, server.settings()).context("the server's own settings")?;
        let (store, shared): (Arc<dyn Store>, _) = match &config.storage.backend {
            Backend::S3(_) => match registry::Storage::open(&config.storage).await? {
                registry::Storage::Trusted(store) => (store, true),
                registry::Storage::ToProve(store) => (store, true),
            },
            _ => (Arc::new(FileStore::open(&server.directory().join("beside"), KeyPrefix::default())?), false),
        };
        Ok(Self { store, entropy: Entropy::from_os(), shared })
    }

    /// One after the other, as a publish has to: is the name free, the bytes, the record; on a shared store the record twice, with
    /// the head between.
    async fn make(&self, name: &str, krate: Bytes) -> Result<()> {
        let record = Key::krate(name)?;
        ensure!(matches!(self.store.get(&record, None).await?, Get::Missing), "{name} is not new");
        let sha256 = Sha256Digest::of(&krate);
        let blob = Key::blob(name, &"1.0.0".parse()?, sha256, Ulid::from(self.entropy.bits()))?;
        let body = Body::Bytes(krate);
        self.put(&blob, body.clone(), Cond::Any).await?;
        let mut cond = Cond::Absent;
        if self.shared {
            cond = Cond::Matches(self.put(&record, body.clone(), cond).await?);
            // As good as the head, which the server itself is writing.
            self.put(&Key::krate("head")?, body.clone(), Cond::Any).await?;
        }
        self.put(&record, body.clone(), cond).await.map(drop)
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Result<Etag> {
        match self.store.put(key, body, cond).await {
            Put::Stored(etag) => Ok(etag),
            other => bail!("{key}: {other:?}"),
        }
    }
}

/// Publishes `count` crates, each after the same calls on the store alone.
pub(crate) async fn in_turns(server: &Server, calls: &Calls, count: usize) -> Result<Compared> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut compared = Compared { publishes: Times::default(), calls: Times::default() };
    for number in 0..count {
        let packed = Packed::new(&format!("bench{number}"), "1.0.0");
        compared.publishes.add(publish(&client, server, &packed).await?);
        let (name, krate) = (format!("calls{number}"), Bytes::from(packed.krate()));
        let begun = Instant::now();
        calls.make(&name, krate).await?;
        compared.calls.add(begun.elapsed());
    }
    Ok(compared)
}

/// Publishes this version and says how long it took.
pub(crate) async fn publish(
    client: &Client<HttpConnector, Full<Bytes>>,
    server: &Server,
    packed: &Packed,
) -> Result<Duration> {
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("{}/api/v1/crates/new", server.base()))
        .header(header::AUTHORIZATION, server.token())
        .body(Full::new(Bytes::from(packed.body())))?;
    let begun = Instant::now();
    let response = client.request(request).await.context("publishing")?;
    let status = response.status();
    let body = response.into_body().collect().await.context("reading the answer to a publish")?.to_bytes();
    let time = begun.elapsed();
    ensure!(status.is_success(), "publish: {status} {}", String::from_utf8_lossy(&body));
    Ok(time)
}
