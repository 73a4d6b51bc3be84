//! Uploads that are too large for memory: where they wait, what they may take together, and that nothing of them stays.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::Storage;
use supercargo_registry::store::MemoryStore;
use support::client::{Raw, send};
use support::{TestServer, keys, noise, publish_head};

const MEMORY: &str = "[storage]\nkind = \"memory\"\n";
/// Longer than anything here takes, so that a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn large_uploads_wait_in_a_file_and_leave_none_behind() {
    let spool = tempfile::tempdir().expect("a directory");
    let toml = format!("{MEMORY}[limits]\nspool_dir = \"{}\"\n", spool.path().display());
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::with(&support::config(&toml), &Storage::Trusted(store.clone())).await;
    let token = server.token("ann").await;
    let files = || std::fs::read_dir(spool.path()).expect("readable").count();
    let large = Packed::new("large", "1.0.0").with_source(&noise(3 << 20)).body();
    assert!(large.len() > 2 << 20);

    // Cut in the middle.
    let mut cut = Raw::connect(server.running.public).await;
    cut.write(&publish_head(&token, large.len())).await;
    cut.write(&large[..large.len() - 1]).await;
    let spooled = async {
        while files() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, spooled).await.expect("the upload is in a file");
    drop(cut);
    let gone = async {
        while files() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("a cut upload leaves no file");
    assert_eq!(keys(&store).await, ["v1/token/*"]);

    let request = || Request::put("/api/v1/crates/new").header("authorization", &token);
    let answer = send(server.running.public, request(), large.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(files(), 0);
    let download = send(
        server.running.public,
        Request::get("/api/v1/crates/large/1.0.0/download").header("authorization", &token),
        "",
    )
    .await;
    assert_eq!(download.body.len(), Packed::new("large", "1.0.0").with_source(&noise(3 << 20)).krate().len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_without_space_is_asked_to_come_again() {
    let spool = tempfile::tempdir().expect("a directory");
    let limits =
        format!("crate_bytes_max = 3000000\nspool_bytes_max = 3000000\nspool_dir = \"{}\"", spool.path().display());
    let server = TestServer::start(&format!("{MEMORY}[limits]\n{limits}\n")).await;
    let token = server.token("ann").await;
    let large = Packed::new("large", "1.0.0").with_source(&noise(2_000_000)).body();
    let mut first = Raw::connect(server.running.public).await;
    first.write(&publish_head(&token, large.len())).await;
    first.write(&large[..large.len() - 1]).await;
    let publish = || {
        let request = Request::put("/api/v1/crates/new").header("authorization", &token);
        send(server.running.public, request, large.clone())
    };
    let begun = async {
        while std::fs::read_dir(spool.path()).expect("readable").count() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the first takes its space");
    let refused = publish().await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.headers["retry-after"], "2");
    assert!(refused.text().contains("too many large uploads are under way"), "{}", refused.text());
    drop(first);
    let taken = async {
        while publish().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("its space is free again");
    server.stop().await;
}
