//! On a real S3 server: start with proof, publishes beside the store calls that they are made of, three replicas beside one, reads.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use supercargo_registry::{
    ambient::Entropy,
    config::{Backend, Config},
    krate::packed::Packed,
    registry,
    store::{Body, Cond, Etag, Get, Key, Put, Sha256Digest, Store, Ulid},
};
use supercargo_tests::s3_host::HostServer;

use crate::{
    client::Client,
    data::SMALL,
    field::{index_path, target},
    figures::Times,
    load::{Request, in_turns},
    report::{Report, Row, Subject, Target, Unit},
    server::{Place, Program, Server, Storage},
};

/// Publishes that are timed.
const PUBLISHES: usize = 300;
/// What replicas show each other.
const PEER_CREDENTIAL: &str = "bench-peers-0123456789";

pub(crate) async fn run(program: &Program, report: &mut Report, seconds: u32) -> Result<()> {
    let (lone, shared) = (HostServer::versitygw().await?, HostServer::versitygw().await?);
    let one = program.start(replica(&lone).await?).await?;
    report.add(Row {
        work: "start to ready on S3, with proof".to_owned(),
        unit: Unit::Millis,
        figures: vec![(Subject::Ours, one.started_in().as_secs_f64() * 1e3)],
        targets: Vec::new(),
    });
    let mut three = Vec::new();
    for _ in 0..3 {
        three.push(program.start(replica(&shared).await?).await?);
    }
    publishes(&one, &three, report).await?;
    reads(&one, report, seconds).await?;
    for server in three.into_iter().chain([one]) {
        server.stop().await?;
    }
    Ok(())
}

async fn replica(s3: &HostServer) -> Result<Place> {
    let place = Place::new(Storage::S3(s3)).await?;
    let credential = place.directory().join("peers");
    std::fs::write(&credential, PEER_CREDENTIAL)?;
    let address = place.internal().to_owned();
    let place = place.set("SUPERCARGO_REPLICAS_ADDRESS", address).set("SUPERCARGO_ACCESS_VISIBILITY", "public");
    Ok(place.set("SUPERCARGO_REPLICAS_CREDENTIAL_FILE", credential.display()))
}

/// In turns: the calls alone, one replica, one of three that all serve the same crate.
async fn publishes(one: &Server, three: &[Server], report: &mut Report) -> Result<()> {
    let (client, calls) = (Client::new(), Calls::open(one).await?);
    let [mut alone, mut lone, mut among] = [Times::default(), Times::default(), Times::default()];
    for number in 0..PUBLISHES {
        let name = format!("bench-{number}");
        let packed = Packed::new(&name, "1.0.0");
        let begun = Instant::now();
        calls.make(&format!("calls_{number}"), packed.krate().into()).await?;
        alone.add(begun.elapsed());
        lone.add(client.publish(&target(one), &packed).await?);
        let writer = &three[number % three.len()];
        among.add(client.publish(&target(writer), &packed).await?);
        for reader in three {
            // So that all of them have something to forget at the next publish, and hold a lease.
            let url = format!("{}/index{}", reader.base(), index_path(&name)?);
            ensure!(client.get(&url, &[]).await?.status == 200, "{url} is not there");
        }
    }
    let row = |work: &str, ours: &Times, beside, theirs: &Times, target| Row {
        work: work.to_owned(),
        unit: Unit::Millis,
        figures: vec![(Subject::Ours, ours.median() * 1e3), (beside, theirs.median() * 1e3)],
        targets: vec![target],
    };
    let aim = Target::AtMost(1.15, Subject::Calls);
    report.add(row("publish on S3, p50, beside its store calls", &lone, Subject::Calls, &alone, aim));
    let aim = Target::AtMostPlus(5.0, Subject::OursOtherwise);
    report.add(row("publish with three replicas, p50, beside one", &among, Subject::OursOtherwise, &lone, aim));
    Ok(())
}

async fn reads(server: &Server, report: &mut Report, seconds: u32) -> Result<()> {
    Client::new().publish(&target(server), &Packed::new(SMALL, "1.0.0")).await?;
    let url = format!("{}/index{}", server.base(), index_path(SMALL)?);
    let request = Request::get(Subject::Ours, url).header("accept-encoding", "gzip");
    let figures = in_turns(&[request], seconds).await?;
    report.add(Row {
        work: "index file on S3, 200 gzip".to_owned(),
        unit: Unit::PerSecond,
        figures,
        targets: Vec::new(),
    });
    Ok(())
}

/// What a publish asks of its store, without a registry around it.
struct Calls {
    store: Arc<dyn Store>,
    entropy: Entropy,
}

impl Calls {
    /// On the server's own bucket.
    async fn open(server: &Server) -> Result<Self> {
        let config = Config::from_sources(None, server.settings())?;
        ensure!(matches!(config.storage.backend, Backend::S3(_)), "not on S3");
        let store: Arc<dyn Store> = match registry::Storage::open(&config.storage).await? {
            registry::Storage::Trusted(store) => store,
            registry::Storage::ToProve(store) => store,
        };
        Ok(Self { store, entropy: Entropy::from_os() })
    }

    /// One after the other, as a publish has to: is the name free, the bytes, the record with a mark, the head, the record.
    async fn make(&self, name: &str, krate: Bytes) -> Result<()> {
        let record = Key::krate(name)?;
        ensure!(matches!(self.store.get(&record, None).await?, Get::Missing), "{name} is not new");
        let sha256 = Sha256Digest::of(&krate);
        let blob = Key::blob(name, &"1.0.0".parse()?, sha256, Ulid::from(self.entropy.bits()))?;
        let body = Body::Bytes(krate);
        self.put(&blob, body.clone(), Cond::Any).await?;
        let marked = self.put(&record, body.clone(), Cond::Absent).await?;
        // As good as the head, which the server itself is writing.
        self.put(&Key::krate("head")?, body.clone(), Cond::Any).await?;
        self.put(&record, body, Cond::Matches(marked)).await.map(drop)
    }

    async fn put(&self, key: &Key, body: Body, cond: Cond) -> Result<Etag> {
        match self.store.put(key, body, cond).await {
            Put::Stored(etag) => Ok(etag),
            other => bail!("{key}: {other:?}"),
        }
    }
}
