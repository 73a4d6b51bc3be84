//! Crate files on their way to users: parts of them, memory, and the S3 server itself.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::time::Duration;

use http::{Request, StatusCode};
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::store::proof::Verdict;
use supercargo_registry::store::s3_server::{BUCKET, Lie, S3Server};
use support::client::{Raw, send};
use support::{TestServer, noise};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn publish(server: &TestServer, token: &str, krate: &Packed) {
    let put = Request::put("/api/v1/crates/new").header("authorization", token);
    let answer = send(server.running.public, put, krate.body()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn download(name: &str, token: &str) -> http::request::Builder {
    Request::get(format!("/api/v1/crates/{name}/1.0.0/download")).header("authorization", token)
}

fn large(name: &str, bytes: usize) -> Packed {
    Packed::new(name, "1.0.0").with_source(&noise(bytes).lines().map(|line| format!("// {line}\n")).collect::<String>())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_the_same_from_memory_and_from_the_store() {
    // Files above 100 kB are streamed.
    let server = TestServer::start("[storage]\nkind = \"memory\"\n[downloads]\ncached_file_bytes_max = 100000\n").await;
    let token = server.token("ann").await;
    for krate in [Packed::new("small", "1.0.0"), large("large", 300_000)] {
        let (name, bytes) = (if krate.krate().len() < 100_000 { "small" } else { "large" }, krate.krate());
        publish(&server, &token, &krate).await;
        let get = |range: &str| download(name, &token).header("range", range);
        // Twice: the second time what can be kept is.
        for _ in 0..2 {
            let whole = send(server.running.public, download(name, &token), "").await;
            assert_eq!((whole.status.as_u16(), &whole.body[..]), (200, &bytes[..]), "{name}");
            assert_eq!(whole.headers["accept-ranges"], "bytes");
            let part = send(server.running.public, get("bytes=10-109"), "").await;
            assert_eq!((part.status.as_u16(), &part.body[..]), (206, &bytes[10..110]), "{name}");
            assert_eq!(part.headers["content-range"], format!("bytes 10-109/{}", bytes.len()));
            assert_eq!(part.headers["etag"], whole.headers["etag"]);
            let end = send(server.running.public, get("bytes=-7"), "").await;
            assert_eq!((end.status.as_u16(), &end.body[..]), (206, &bytes[bytes.len() - 7..]), "{name}");
            let beyond = send(server.running.public, get(&format!("bytes={}-", bytes.len())), "").await;
            assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE, "{name}");
            assert_eq!(beyond.headers["content-range"], format!("bytes */{}", bytes.len()));
            let same = get("bytes=0-0").header("if-range", &whole.headers["etag"]);
            assert_eq!(send(server.running.public, same, "").await.body, bytes[..1]);
            let other = get("bytes=0-0").header("if-range", "\"another\"");
            assert_eq!(send(server.running.public, other, "").await.body, bytes);
            let known = get("bytes=0-0").header("if-none-match", &whole.headers["etag"]);
            assert_eq!(send(server.running.public, known, "").await.status, StatusCode::NOT_MODIFIED);
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_nothing_of_its_answer_is_let_go() {
    let server = TestServer::start(
        "[storage]\nkind = \"memory\"\n[limits]\nconnections_max = 1\nwrite_stall_secs = 1\nheader_read_secs = 600\n",
    )
    .await;
    let token = server.token("ann").await;
    publish(&server, &token, &large("large", 9_000_000)).await;
    let mut stalled = Raw::connect(server.running.public).await;
    let request =
        format!("GET /api/v1/crates/large/1.0.0/download HTTP/1.1\r\nhost: x\r\nauthorization: {token}\r\n\r\n");
    // More than the sockets in between hold.
    stalled.write(request.repeat(10).as_bytes()).await;
    // There is one connection at a time: the next is served when the first was cut.
    let next = send(server.running.public, download("large", &token).header("range", "bytes=0-0"), "");
    assert_eq!(tokio::time::timeout(PATIENCE, next).await.expect("the stalled one was cut").status, 206);
    drop(stalled);
    server.stop().await;
}

/// How many times the S3 server was asked for a crate file, or a part of one.
fn blobs_read(s3: &S3Server) -> usize {
    s3.requests().iter().filter(|request| request.method == "GET" && request.path.contains("/v1/blob/")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_is_too_small_for_comes_from_the_disk_also_after_a_restart() {
    let (s3, cache) = (S3Server::start(Lie::Honest).await.unwrap(), tempfile::tempdir().unwrap());
    let toml = format!(
        "[storage]\nkind = \"s3\"\n[s3]\nbucket = \"{BUCKET}\"\nendpoint = \"{}\"\nforce_path_style = true\ncredentials_dir = \"{}\"\n\
         [downloads]\ncached_file_bytes_max = 100000\n[cache]\ndownload_bytes = 5000\ndisk_bytes = 10000000\ndirectory = \"{}\"\n",
        s3.endpoint(),
        s3.credentials_dir().display(),
        cache.path().display(),
    );
    let start = async || {
        let server = TestServer::start(&toml).await;
        let ready = tokio::time::timeout(PATIENCE, server.registry().wait_for(Verdict::is_proven)).await;
        assert!(ready.expect("the store is fit").is_proven());
        server
    };
    let on_disk = || {
        let entries = std::fs::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().file_name());
        entries.filter(|name| name.to_string_lossy().ends_with(".crate")).count()
    };
    let server = start().await;
    let token = server.token("ann").await;
    // Memory has room for about one of the small ones, none for the large one.
    let crates = [large("one", 3000), large("two", 3000), large("three", 300_000)];
    let names = ["one", "two", "three"];
    for krate in &crates {
        publish(&server, &token, krate).await;
    }
    s3.clear_requests();
    let get_all = async |server: &TestServer, range: Option<&str>| {
        for (name, krate) in names.iter().zip(&crates) {
            let mut request = download(name, &token);
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let answer = send(server.running.public, request, "").await;
            let wanted = if range.is_some() { krate.krate()[10..110].to_vec() } else { krate.krate() };
            assert!(answer.status.is_success() && answer.body == wanted, "{name}: {}", answer.status);
        }
    };
    get_all(&server, None).await;
    assert_eq!(blobs_read(&s3), 3);
    let written = async {
        while on_disk() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, written).await.expect("all three are kept");
    get_all(&server, None).await;
    get_all(&server, Some("bytes=10-109")).await;
    assert_eq!(blobs_read(&s3), 3, "the store was asked once for each");
    server.stop().await;

    let server = start().await;
    get_all(&server, Some("bytes=10-109")).await;
    get_all(&server, None).await;
    assert_eq!(blobs_read(&s3), 3, "a restart forgets nothing");
    server.stop().await;
}

/// A registry over `s3`, which users reach at `public`.
async fn over(s3: &S3Server, public: &str) -> TestServer {
    let toml = format!(
        "[storage]\nkind = \"s3\"\n[s3]\nbucket = \"{BUCKET}\"\nendpoint = \"{}\"\npublic_endpoint = \"{public}\"\n\
         force_path_style = true\ncredentials_dir = \"{}\"\n[downloads]\nredirect_above_bytes = 100000\n",
        s3.endpoint(),
        s3.credentials_dir().display()
    );
    let server = TestServer::start(&toml).await;
    let ready = tokio::time::timeout(PATIENCE, server.registry().wait_for(Verdict::is_proven)).await;
    assert!(ready.expect("the store is fit").is_proven());
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_come_from_the_s3_server_itself() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let server = over(&s3, &s3.endpoint()).await;
    let public = server.running.public;
    let token = server.token("ann").await;
    let (small, large) = (Packed::new("small", "1.0.0"), large("large", 300_000));
    for krate in [&small, &large] {
        publish(&server, &token, krate).await;
    }
    let answer = send(public, download("small", &token), "").await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &small.krate()[..]));

    let answer = send(public, download("large", &token), "").await;
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    assert_eq!(answer.headers["cache-control"], "private, no-store");
    let location: http::Uri = answer.headers["location"].to_str().unwrap().parse().unwrap();
    assert!(location.query().unwrap().contains("X-Amz-Expires=300"), "{location}");
    let there = location.authority().unwrap().as_str().parse().unwrap();
    // As Cargo does: without the credential.
    let bytes = send(there, Request::get(location.path_and_query().unwrap().as_str()), "").await;
    assert_eq!((bytes.status.as_u16(), &bytes.body[..]), (200, &large.krate()[..]));

    let path = "/api/v1/crates/large/1.0.0/download";
    let head = send(public, Request::head(path).header("authorization", &token), "").await;
    assert_eq!(head.status, 200, "what is signed for GET holds for nothing else");
    let nobody = send(public, Request::get(path), "").await;
    assert_eq!(nobody.status, 401, "first who asks, then where to");
    let etag = head.headers["etag"].clone();
    let known = send(public, download("large", &token).header("if-none-match", etag), "").await;
    assert_eq!(known.status, 304);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_the_address_at_which_they_are() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    // Some proxy has both behind it.
    let server = over(&s3, "http://crates.example").await;
    let token = server.token("ann").await;
    let krate = large("large", 300_000);
    publish(&server, &token, &krate).await;
    let ask = async |host: &str| -> u16 {
        let request = format!(
            "GET /api/v1/crates/large/1.0.0/download HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\nconnection: close\r\n\r\n"
        );
        let mut raw = Raw::connect(server.running.public).await;
        raw.write(request.as_bytes()).await;
        let said = raw.read_to_end().await;
        said[9..12].parse().unwrap()
    };
    for (host, status) in [("crates.example", 200), ("CRATES.example:80", 200), ("elsewhere.example", 302)] {
        assert_eq!(ask(host).await, status, "{host}");
    }
    server.stop().await;
}
