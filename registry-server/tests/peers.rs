//! Two servers over one store, with real sockets between them: notices over plain HTTP and over TLS.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use supercargo_registry::access::TokenSecret;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::Storage;
use supercargo_registry::store::MemoryStore;
use supercargo_registry::store::faulty::Faulty;
use supercargo_registry::store::proof::Provable;
use supercargo_registry::store::s3_server::{Lie, S3Server};
use support::TestServer;
use support::client::{Answer, send};
use support::process::{ServerProcess, admin_file, on_s3, serve};

/// Longer than anything here takes, and much shorter than a lease: a notice that is not acknowledged fails a test.
const PATIENCE: Duration = Duration::from_secs(60);
const CREDENTIAL: &str = "what replicas show each other";

fn toml(dir: &Path, tls: bool) -> String {
    std::fs::write(dir.join("credential"), CREDENTIAL).unwrap();
    let dir = dir.display();
    let mut toml = format!(
        "tls_certificate = \"{dir}/tls.crt\"\ntls_private_key = \"{dir}/tls.key\"\n[storage]\nkind = \"memory\"\n[replicas]\nlease_millis = 60000\n\
         address = \"127.0.0.1:0\"\ncredential_file = \"{dir}/credential\"\nca_bundle_file = \"{dir}/tls.crt\"\ntls_server_name = \"peers.example\"\n"
    );
    if !tls {
        toml = toml.lines().filter(|line| !line.contains("tls")).map(|line| format!("{line}\n")).collect();
    }
    toml
}

async fn member(toml: &str, store: &Arc<dyn Provable>, members: usize) -> TestServer {
    // The first lines belong to `[internal]`, with which the common part ends.
    let server = TestServer::with(&support::config(toml), &Storage::ToProve(store.clone())).await;
    let joined = async {
        while server.registry().standing().role != "member" || server.registry().standing().members != members {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, joined).await.expect("it becomes a member");
    server
}

async fn index(server: &TestServer, token: &str) -> Answer {
    send(server.running.public, Request::get("/index/kr/at/krate").header("authorization", token), "").await
}

/// `asked` counts what the store was asked for, but for the head.
async fn two_servers_agree(tls: bool, store: Arc<dyn Provable>, asked: impl Fn() -> usize) {
    let dir = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["peers.example".to_owned()]).unwrap();
    std::fs::write(dir.path().join("tls.crt"), pair.cert.pem()).unwrap();
    std::fs::write(dir.path().join("tls.key"), pair.signing_key.serialize_pem()).unwrap();
    let toml = toml(dir.path(), tls);
    let (a, b) = (member(&toml, &store, 1).await, member(&toml, &store, 2).await);
    let token = a.token("ann").await;

    let put = Request::put("/api/v1/crates/new").header("authorization", &token);
    let answer = send(a.running.public, put, Packed::new("krate", "1.0.0").body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(index(&b, &token).await.text().contains("\"yanked\":false"));
    let before = asked();
    assert!(index(&b, &token).await.text().contains("\"yanked\":false"));
    assert_eq!(asked(), before, "from memory");

    let yank = Request::delete("/api/v1/crates/krate/1.0.0/yank").header("authorization", &token);
    assert_eq!(send(a.running.public, yank, "").await.status, 200);
    assert!(index(&b, &token).await.text().contains("\"yanked\":true"));
    a.registry().revoke_token(TokenSecret::parse(&token).unwrap().hash()).await.unwrap();
    assert_eq!(index(&b, &token).await.status, StatusCode::UNAUTHORIZED);

    // Who stops leaves, and nobody waits for it.
    b.stop().await;
    let other = a.token("bob").await;
    assert_eq!(index(&a, &other).await.status, 200);
    assert_eq!(a.registry().standing().members, 1);
    a.stop().await;
}

async fn two_servers_agree_over_memory(tls: bool) {
    let store = Arc::new(Faulty::calm(MemoryStore::new()));
    let counted = store.clone();
    let asked = move || counted.calls().iter().filter(|(_, key, _)| key != "v1/head").count();
    tokio::time::timeout(PATIENCE, two_servers_agree(tls, store, asked)).await.expect("nobody waits for a lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_agree_over_http() {
    two_servers_agree_over_memory(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_agree_over_tls() {
    two_servers_agree_over_memory(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_agree_over_s3() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let store = Arc::new(s3.store().await.unwrap());
    let asked = || s3.requests().iter().filter(|request| !request.path.ends_with("/v1/head")).count();
    tokio::time::timeout(PATIENCE, two_servers_agree(false, store, asked)).await.expect("nobody waits for a lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_needs_the_credential_and_is_acknowledged_by_its_epoch_only() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Provable> = Arc::new(Faulty::calm(MemoryStore::new()));
    let server = member(&toml(dir.path(), false), &store, 1).await;
    let notice = format!("{{\"epoch\":\"{:032x}\",\"seq\":1,\"key\":\"v1/crate/8b/serde\",\"rev\":2}}", 7);
    let post = || Request::post("/peer/v1/notices");
    let internal = server.running.internal;
    assert_eq!(send(internal, post(), notice.clone()).await.status, StatusCode::UNAUTHORIZED);
    let wrong = post().header("authorization", "Bearer something else entirely");
    assert_eq!(send(internal, wrong, notice.clone()).await.status, StatusCode::UNAUTHORIZED);
    let right = || post().header("authorization", format!("Bearer {CREDENTIAL}"));
    assert_eq!(send(internal, right(), notice).await.status, StatusCode::CONFLICT, "another life");
    assert_eq!(send(internal, right(), "{}").await.status, StatusCode::BAD_REQUEST);
    let ready = send(internal, Request::get("/readyz"), "").await.json();
    assert_eq!(ready["replica"]["role"], "member");
    server.stop().await;

    let without = TestServer::memory().await;
    assert_eq!(send(without.running.internal, right(), "{}").await.status, StatusCode::NOT_FOUND);
    without.stop().await;
}

/// SIGSTOP, a change elsewhere, SIGCONT: the request that waited meanwhile is answered with the change, or with 503.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_stopped_shows_nothing_old() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let (credential, admin) = (dir.path().join("credential"), admin_file(dir.path()));
    std::fs::write(&credential, CREDENTIAL).unwrap();
    let mut env = on_s3(&s3);
    env.extend([
        ("SUPERCARGO_REPLICAS_ADDRESS", "127.0.0.1:0".to_owned()),
        ("SUPERCARGO_REPLICAS_CREDENTIAL_FILE", credential.display().to_string()),
        ("SUPERCARGO_ADMIN_TOKEN_FILE", admin),
    ]);
    let (a, b) = (ServerProcess::start(serve(&env)), ServerProcess::start(serve(&env)));
    a.ready().await;
    b.ready().await;
    let token = Entropy::seeded(3).with(TokenSecret::generate);
    a.let_in(&token.hash().to_string()).await;
    let token = token.expose();
    assert_eq!(a.publish(Packed::new("krate", "1.0.0").body(), token).await.status, 200);
    for round in 1..=3 {
        let answer = b.get("/index/kr/at/krate", token).await;
        assert_eq!((answer.status.as_u16(), answer.text().lines().count()), (200, round), "{}", answer.text());
        b.signal("STOP");
        let waiting = b.get("/index/kr/at/krate", token);
        let change = async {
            let answer = a.publish(Packed::new("krate", &format!("1.{round}.0")).body(), token).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            b.signal("CONT");
            b.get("/index/kr/at/krate", token).await
        };
        // The first may have come before the change, for all that its sender knows; the second has not.
        let (early, late) = tokio::join!(waiting, change);
        assert!(early.status == 503 || early.text().lines().count() >= round, "{}", early.text());
        assert!(late.status == 503 || late.text().lines().count() == round + 1, "{}", late.text());
    }
}
