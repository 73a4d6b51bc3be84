//! The server as a process sees it: listeners, TLS, limits in time and number, uploads, the end.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use supercargo_registry::access::TokenSecret;
use supercargo_registry::ambient::{Clock, Entropy};
use supercargo_registry::krate::packed::{Packed, body};
use supercargo_registry::registry::Storage;
use supercargo_registry::server::{self, Stop};
use support::client::{Answer, Raw, send, send_over, send_over_http2};
use support::{TestServer, publish_head};
use tokio::net::TcpStream;

const MEMORY: &str = "[storage]\nkind = \"memory\"\n";
/// Longer than anything here takes, so that a hang fails.
const PATIENCE: Duration = Duration::from_secs(60);

async fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, Request::get(path), "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_under_way_finishes_while_the_server_drains() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let (public, internal) = (server.running.public, server.running.internal);
    let whole = Packed::new("abcd", "1.0.0").body();
    let mut upload = Raw::connect(public).await;
    upload.write(&publish_head(&token, whole.len())).await;
    upload.write(&whole[..100]).await;
    // The request is in the handler once another one on the same listener was answered after it.
    assert_eq!(get(public, "/me").await.status, 200);
    assert_eq!(get(internal, "/readyz").await.json()["ready"], true);

    server.running.shutdown(Stop::Now);
    let refused = async {
        while TcpStream::connect(public).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("no new connections");
    let ready = get(internal, "/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["draining"]), (503, &true.into()), "{}", ready.text());

    upload.write(&whole[100..]).await;
    let said = upload.read_to_end().await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let registry = server.registry().clone();
    assert!(tokio::time::timeout(PATIENCE, server.running.wait()).await.expect("it ends"), "everything was finished");
    let query = supercargo_registry::registry::Query::new("abcd", None, 1, 1).expect("a search");
    let found =
        registry.search(&registry.authenticate(&token).await.expect("a token"), &query).await.expect("still open");
    assert_eq!(found.total, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_in_time_is_cut() {
    let server = TestServer::start(&format!("{MEMORY}[limits]\ndrain_secs = 1\n")).await;
    let token = server.token("ann").await;
    let mut upload = Raw::connect(server.running.public).await;
    upload.write(&publish_head(&token, 1000)).await;
    upload.write(&[1]).await;
    assert_eq!(get(server.running.public, "/me").await.status, 200);
    server.running.shutdown(Stop::Now);
    assert!(!tokio::time::timeout(PATIENCE, server.running.wait()).await.expect("it ends"), "something was cut");
    assert_eq!(upload.read_to_end().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_takes_those_who_still_come() {
    let server = TestServer::memory().await;
    let public = server.running.public;
    server.running.shutdown(Stop::Settle);
    let ready = get(server.running.internal, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(get(public, "/me").await.status, 200, "a client that has not noticed yet");
    assert!(tokio::time::timeout(PATIENCE, server.running.wait()).await.expect("it ends"));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_say_nothing_or_only_begin_are_let_go() {
    let server = TestServer::start(&format!("{MEMORY}[limits]\nheader_read_secs = 1\nbody_read_secs = 1\n")).await;
    let token = server.token("ann").await;
    let public = server.running.public;
    for begin in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM", "GET /me HTTP/1.1\r\nHost: x\r\n"] {
        let mut silent = Raw::connect(public).await;
        silent.write(begin.as_bytes()).await;
        let said = tokio::time::timeout(PATIENCE, silent.read_to_end())
            .await
            .unwrap_or_else(|_| panic!("{begin:?} holds a connection"));
        assert!(!said.contains("200"), "{begin:?}: {said}");
    }
    let mut slow = Raw::connect(public).await;
    slow.write(&publish_head(&token, 1000)).await;
    slow.write(&[1, 0]).await;
    let said = tokio::time::timeout(PATIENCE, slow.read_until("limits.body_read_secs")).await.expect("an answer");
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_above_the_cap_wait() {
    let server = TestServer::start(&format!("{MEMORY}[limits]\nconnections_max = 1\n")).await;
    let public = server.running.public;
    let mut first = Raw::connect(public).await;
    first.write(b"GET /me HTTP/1.1\r\nHost: x\r\n\r\n").await;
    first.read_until("</html>").await;
    let second = tokio::spawn(get(public, "/me"));
    // The first connection is open and idle; only its end lets the second one in.
    first.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    first.read_until("</html>").await;
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(tokio::time::timeout(PATIENCE, second).await.expect("its turn").expect("no panic").status, 200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_that_goes_on_sending_still_reads_why() {
    let server = TestServer::start(&format!("{MEMORY}[limits]\ncrate_bytes_max = 1000000\n")).await;
    let token = server.token("ann").await;
    let metadata = Packed::new("abcd", "1.0.0").metadata.to_string();
    let huge = body(metadata.as_bytes(), &vec![0; 1_000_001]);
    let answer =
        send(server.running.public, Request::put("/api/v1/crates/new").header("authorization", &token), huge.clone())
            .await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{}", answer.text());
    let answer = send(server.running.public, Request::put("/api/v1/crates/new"), huge).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text());

    // A client that asks first is told at once and sends nothing.
    let mut polite = Raw::connect(server.running.public).await;
    polite
        .write(b"PUT /api/v1/crates/new HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        .await;
    let said = tokio::time::timeout(PATIENCE, polite.read_until("cargo login")).await.expect("an answer");
    assert!(said.starts_with("HTTP/1.1 401"), "{said}");
    server.stop().await;
}

fn write_pair(dir: &Path, name: &str) -> CertificateDer<'static> {
    let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
    std::fs::write(dir.join("tls.key"), pair.signing_key.serialize_pem()).expect("writable");
    std::fs::write(dir.join("tls.crt"), pair.cert.pem()).expect("writable");
    CertificateDer::from_pem_slice(pair.cert.pem().as_bytes()).expect("a certificate")
}

async fn tls(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    alpn: &[u8],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, std::io::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from("crates.test").expect("a name"), stream)
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_speaks_http2_and_takes_a_renewed_certificate_without_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = write_pair(dir.path(), "crates.test");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let toml = format!(
        "[storage]\nkind = \"memory\"\n[access]\nvisibility = \"public\"\n[public]\nlisten = \"127.0.0.1:0\"\ntls_certificate = \"{}\"\n\
         tls_private_key = \"{}\"\n[internal]\nlisten = \"127.0.0.1:0\"\n",
        path("tls.crt"),
        path("tls.key")
    );
    let config = supercargo_registry::config::Config::from_sources(Some(&toml), []).expect("valid");
    let server = TestServer::with(&config, &Storage::open(&config.storage).await.expect("memory")).await;
    let public = server.running.public;

    let request =
        Request::get("https://crates.test/index/config.json").body(Full::<Bytes>::default()).expect("a request");
    let answer = send_over_http2(tls(public, &first, b"h2").await.expect("a handshake"), request).await;
    assert_eq!((answer.status.as_u16(), answer.version), (200, http::Version::HTTP_2));
    assert_eq!(answer.json()["api"], "https://crates.test", "the scheme is that of the listener");
    let answer =
        send_over(tls(public, &first, b"http/1.1").await.expect("a handshake"), public, Request::get("/me"), "").await;
    assert_eq!((answer.status.as_u16(), answer.version), (200, http::Version::HTTP_11));

    let second = write_pair(dir.path(), "crates.test");
    let renewed = async {
        while tls(public, &second, b"h2").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the renewed certificate is taken");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http2_works_on_the_same_port() {
    let server = TestServer::memory().await;
    let stream = TcpStream::connect(server.running.public).await.expect("it listens");
    let request = Request::get(format!("{}/me", server.base())).body(Full::<Bytes>::default()).expect("a request");
    let answer = send_over_http2(stream, request).await;
    assert_eq!((answer.status.as_u16(), answer.version), (200, http::Version::HTTP_2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_needs_the_credential_of_the_moment() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("admin-token");
    std::fs::write(&file, "first-credential-0123\n").expect("writable");
    let server = TestServer::start(&format!("{MEMORY}[admin]\ntoken_file = \"{}\"\n", file.display())).await;
    let internal = server.running.internal;
    let secret = Entropy::seeded(5).with(TokenSecret::generate);
    let path = format!("/admin/v1/tokens/{}", secret.hash());
    let call = |method: http::Method, credential: &str, body: &str| {
        let request =
            Request::builder().method(method).uri(&path).header("authorization", format!("Bearer {credential}"));
        send(internal, request, body.to_owned())
    };
    let content = r#"{"user":"ci","description":"default/ci","grants":[{"verbs":["Read","PublishNew"],"crates":["*"]}],"expires_at":null}"#;
    assert_eq!(get(internal, &path).await.status, 401);
    assert_eq!(call(http::Method::PUT, "wrong", content).await.status, 401);
    assert_eq!(call(http::Method::GET, "first-credential-0123", "").await.status, 404);

    let made = call(http::Method::PUT, "first-credential-0123", content).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let json = made.json();
    assert_eq!(
        (&json["user"], &json["revoked_at"], &json["sha256"]),
        (&"ci".into(), &serde_json::Value::Null, &secret.hash().to_string().into())
    );
    assert_eq!(
        call(http::Method::PUT, "first-credential-0123", content).await.json(),
        json,
        "the same again is the same"
    );
    assert_eq!(call(http::Method::GET, "first-credential-0123", "").await.json(), json);
    let config =
        send(server.running.public, Request::get("/index/config.json").header("authorization", secret.expose()), "")
            .await;
    assert_eq!(config.status, 200, "{}", config.text());

    // A rotated credential holds at once.
    std::fs::write(&file, "second-credential-4567").expect("writable");
    assert_eq!(call(http::Method::GET, "first-credential-0123", "").await.status, 401);
    assert_eq!(call(http::Method::DELETE, "second-credential-4567", "").await.status, 204);
    assert_eq!(call(http::Method::DELETE, "second-credential-4567", "").await.status, 204);
    let gone = call(http::Method::PUT, "second-credential-4567", content).await;
    assert_eq!(gone.status, 409, "{}", gone.text());
    assert!(call(http::Method::GET, "second-credential-4567", "").await.json()["revoked_at"].is_string());
    let config =
        send(server.running.public, Request::get("/index/config.json").header("authorization", secret.expose()), "")
            .await;
    assert_eq!(config.status, 401, "{}", config.text());

    for (bad, part) in [("{", "not as expected"), ("{}", "missing field"), (r#"{"user":"ci","grants":[]}"#, "no verb")]
    {
        let answer = call(http::Method::PUT, "second-credential-4567", bad).await;
        assert_eq!(answer.status, 400, "{bad}: {}", answer.text());
        assert!(answer.text().contains(part), "{bad}: {}", answer.text());
    }
    let wrong = send(
        internal,
        Request::get("/admin/v1/tokens/abc").header("authorization", "Bearer second-credential-4567"),
        "",
    )
    .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert_eq!(get(server.running.public, &path).await.status, 404, "not on the public listener");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics() {
    let server = TestServer::memory().await;
    let internal = server.running.internal;
    assert_eq!(get(internal, "/livez").await.status, 200);
    let ready = get(internal, "/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["store"]["verdict"]), (&true.into(), &"Proven".into()), "{ready}");
    assert_eq!(get(internal, "/admin/v1/tokens/abc").await.status, 404, "no credential is configured");
    get(server.running.public, "/index/se/cr/secret-crate-name").await;
    let metrics = get(internal, "/metrics").await;
    let text = metrics.text();
    for part in [
        "supercargo_registry_build_info{version=\"",
        "supercargo_registry_requests_total{listener=\"public\",route=\"index\",outcome=\"unauthorized\"}",
        "supercargo_registry_request_duration_seconds_bucket{",
        "supercargo_registry_connections{listener=\"internal\"}",
        "supercargo_registry_store_calls_total{call=\"",
        "supercargo_registry_store_proven 1",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains("secret-crate-name"), "a label without end");
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_started_says_which_key() {
    let server = TestServer::memory().await;
    let start = |toml: String| async move {
        let config = supercargo_registry::config::Config::from_sources(Some(&toml), []).expect("valid");
        let storage = Storage::open(&config.storage).await.expect("memory");
        server::start(&config, &storage, Clock::system(), Entropy::seeded(1))
            .await
            .map(drop)
            .expect_err("refused")
            .to_string()
    };
    let taken = start(format!(
        "{MEMORY}[public]\nlisten = \"{}\"\n[internal]\nlisten = \"127.0.0.1:0\"\n",
        server.running.public
    ))
    .await;
    assert!(taken.contains("public.listen") && taken.contains(&server.running.public.to_string()), "{taken}");
    let missing = start(format!("{MEMORY}[admin]\ntoken_file = \"/nowhere/token\"\n")).await;
    assert!(missing.contains("admin.token_file") && missing.contains("/nowhere/token"), "{missing}");
    server.stop().await;
}
