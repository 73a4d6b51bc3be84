//! One contract, every store. A failure names the promise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

use std::sync::Arc;

use supercargo_registry::store::faulty::Faulty;
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::s3_server::{Lie, S3Server};
use supercargo_registry::store::{FileStore, KeyPrefix, MemoryStore, S3Store, Ulid, contract};

const RUN: Ulid = Ulid::from_parts(1_700_000_000_000, 7);

async fn report(store: impl Provable, word: &str) -> contract::Report {
    let store: Arc<dyn Provable> = Arc::new(store);
    let connections = contract::connections(&store).await.unwrap();
    contract::run_named(&connections, RUN, word).await
}

async fn assert_holds(store: impl Provable) {
    let report = report(store, "").await;
    assert_eq!(report.results.len(), contract::cases().len());
    assert!(report.holds(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_the_contract() {
    assert_holds(MemoryStore::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    assert_holds(FileStore::open(dir.path(), KeyPrefix::default()).unwrap()).await;
    let dir = tempfile::tempdir().unwrap();
    assert_holds(FileStore::open(dir.path(), KeyPrefix::parse("teams/pay.ments").unwrap()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_store_without_faults_keeps_the_contract() {
    assert_holds(Faulty::calm(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_store_keeps_the_contract() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    assert_holds(server.store().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_s3_store_keeps_the_contract_below_a_prefix() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let mut config = server.config();
    config.prefix = KeyPrefix::parse("teams/payments").unwrap();
    assert_holds(S3Store::connect(config).await.unwrap()).await;
    let strays: Vec<String> =
        server.object_keys().into_iter().filter(|k| !k.starts_with("teams/payments/v1/")).collect();
    assert!(strays.is_empty(), "objects outside the prefix: {strays:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_send_the_whole_for_a_part() {
    let server = S3Server::start(Lie::IgnoresRange).await.unwrap();
    let report = report(server.store().await.unwrap(), "a_part_is_read_without_the_rest").await;
    assert!(report.results.len() == 1 && report.holds(), "{report}");
}

/// Each lie breaks at least the promise that it is about.
#[tokio::test(flavor = "multi_thread")]
async fn stores_that_lie_break_the_contract() {
    let lag = std::time::Duration::from_millis(300);
    for (lie, promise) in [
        (Lie::IgnoresConditions, "a_key_is_created_once"),
        (Lie::IgnoresIfMatch, "a_version_is_replaced_once"),
        (Lie::RefusesConditions, "a_key_is_created_once"),
        (Lie::ChecksBeforeBody, "of_32_creating_1_mib_one_wins"),
        (Lie::ChecksThenWrites, "of_32_creating_200_bytes_one_wins"),
        (Lie::EtagBeforeBytes, "a_register_loses_no_acknowledged_write"),
        (Lie::StaleReads(lag), "other_connections_see_a_write_at_once"),
        (Lie::StaleLists(lag), "other_connections_see_a_write_at_once"),
    ] {
        let server = S3Server::start(lie).await.unwrap();
        let report = report(server.store().await.unwrap(), promise).await;
        assert_eq!(report.failed(), [promise], "{lie:?} should break `{promise}`: {report}");
    }
}

/// The file system backend of s3s passes every sequence and loses races.
#[tokio::test(flavor = "multi_thread")]
async fn s3s_fs_breaks_the_contract() {
    let server = support::S3sFs::start().await;
    let report = report(server.store().await, "of_32_").await;
    assert!(!report.holds(), "{report}");
}

#[path = "store_support/mod.rs"]
mod support;
