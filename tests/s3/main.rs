//! The store contract on real S3 servers, and the start-up proof: it accepts those that keep their promises and refuses the
//! one that loses updates. And what they tell of earlier versions. `cargo dev test s3-servers` builds the servers.

mod bucket;
mod history;
mod sockets;

use std::sync::Arc;

use anyhow::{Result, ensure};
use supercargo_registry::{
    ambient::Entropy,
    store::{
        KeyPrefix, S3Store, Ulid, contract,
        proof::{self, Effort, Provable, VerdictKind},
        s3::{S3Config, S3Credentials, S3Timeouts},
    },
};
use supercargo_tests::{
    s3,
    s3_host::{ACCESS_KEY, HostServer, SECRET_KEY},
};

const BUCKET: &str = "crates";

async fn store(server: &HostServer) -> Result<Arc<dyn Provable>> {
    s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY).create_bucket().bucket(BUCKET).send().await?;
    let config = S3Config {
        bucket: BUCKET.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(server.endpoint().to_owned()),
        public_endpoint: None,
        prefix: KeyPrefix::default(),
        force_path_style: true,
        ca_bundle_file: None,
        credentials: S3Credentials::Directory(server.credentials_dir()?),
        timeouts: S3Timeouts::default(),
    };
    Ok(Arc::new(S3Store::connect(config).await?))
}

fn run() -> Ulid {
    Ulid::from(Entropy::from_os().bits())
}

async fn keeps_the_contract(server: &HostServer) -> Result<()> {
    let store = store(server).await?;
    let verdict = proof::prove(Arc::clone(&store), run(), &Effort::default()).await;
    ensure!(verdict.kind == VerdictKind::Proven, "the proof refuses an honest store: {verdict:?}");
    let report = contract::run(&contract::connections(&store).await?, run()).await;
    ensure!(report.holds(), "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn versitygw_keeps_the_contract() -> Result<()> {
    keeps_the_contract(&HostServer::versitygw().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn minio_keeps_the_contract() -> Result<()> {
    keeps_the_contract(&HostServer::minio().await?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ministack_keeps_the_contract() -> Result<()> {
    keeps_the_contract(&HostServer::ministack().await?).await
}

/// One flag makes an honest server lose updates: both the proof and the suite have to see it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_loses_updates_is_refused() -> Result<()> {
    let server = HostServer::versitygw_with_sidecar().await?;
    let store = store(&server).await?;
    let verdict = proof::prove(Arc::clone(&store), run(), &Effort::default()).await;
    ensure!(verdict.kind == VerdictKind::Refused, "the proof took a store that loses updates: {verdict:?}");
    let report = contract::run(&contract::connections(&store).await?, run()).await;
    ensure!(!report.holds(), "the contract suite took a store that loses updates");
    Ok(())
}
