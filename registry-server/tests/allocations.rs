//! What the hottest reads take from the allocator, and what a large crate takes while it is on its way, over a real socket. In a process of its own, one test at a time: everything in it
//! is counted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

use http::Request;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::store::proof::Verdict;
use supercargo_registry::store::s3_server::{BUCKET, Lie, S3Server};
use support::TestServer;
use support::client::send;
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

static ALONE: Mutex<()> = Mutex::const_new(());

const REQUESTS: usize = 500;
/// Per request: the head as hyper reads it, the answer's head, a name and a key. Nine pieces of 1,487 bytes together were measured, four for
/// `config.json`; one `to_string` too many is noticed.
const PIECES_MAX: usize = 10;
const BYTES_MAX: usize = 1600;

/// Allocations and bytes per request, on one connection that is warm.
fn cost(stream: &mut TcpStream, request: &str, status: &str) -> (usize, usize) {
    let mut buffer = vec![0; 64 * 1024];
    let mut ask = |count: usize| {
        for _ in 0..count {
            stream.write_all(request.as_bytes()).unwrap();
            let mut read = 0;
            loop {
                read += stream.read(&mut buffer[read..]).unwrap();
                let said = &buffer[..read];
                let Some(head) = said.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
                let text = std::str::from_utf8(&said[..head]).unwrap();
                assert!(text.starts_with(status), "{text}");
                let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
                if read >= head + 4 + length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
        }
    };
    ask(50);
    let region = Region::new(ALLOCATOR);
    ask(REQUESTS);
    let change = region.change();
    (change.allocations / REQUESTS, change.bytes_allocated / REQUESTS)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_has_costs_next_to_nothing_however_large_it_is() {
    let _alone = ALONE.lock().await;
    let server = TestServer::memory().await;
    let (public, token) = (server.running.public, server.token("ann").await);
    for (name, versions) in [("small", 1), ("large", 60)] {
        for version in 0..versions {
            let put = Request::put("/api/v1/crates/new").header("authorization", &token);
            let answer = send(public, put, Packed::new(name, &format!("1.{version}.0")).body()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    let get = |path: &str| Request::get(path).header("authorization", &token).header("accept-encoding", "gzip");
    let mut asked = Vec::new();
    for path in ["/index/sm/al/small", "/index/la/rg/large"] {
        let etag = send(public, get(path), "").await.headers["etag"].to_str().unwrap().to_owned();
        asked.push((path, format!("if-none-match: {etag}\r\n"), "HTTP/1.1 304"));
        asked.push((path, String::new(), "HTTP/1.1 200"));
    }
    asked.push(("/index/config.json", String::new(), "HTTP/1.1 200"));
    let costs = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(public).unwrap();
        let mut costs = Vec::new();
        for (path, headers, status) in asked {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: {public}\r\nauthorization: {token}\r\naccept-encoding: gzip\r\n{headers}\r\n"
            );
            let (pieces, bytes) = cost(&mut stream, &request, status);
            println!("{path} {status}: {pieces} allocations, {bytes} bytes");
            costs.push((format!("{path} {status}"), pieces, bytes));
        }
        costs
    });
    for (what, pieces, bytes) in costs.await.unwrap() {
        assert!(pieces <= PIECES_MAX && bytes <= BYTES_MAX, "{what}: {pieces} allocations, {bytes} bytes per request");
    }
    server.stop().await;
}

/// The source of a large crate; no packer makes it much smaller.
const SOURCE_BYTES: usize = 32 << 20;
const LARGE: &str = "[limits]\ncrate_bytes_max = 100000000\n";
/// What may be in memory of it at any time. 0.2 MiB were measured from a directory, 0.6 MiB from a bucket and its disk, with the S3 server in the same process.
const LIVE_MAX: usize = 2 << 20;

fn large() -> Packed {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from((state >> 57) as u8)
    };
    Packed::new("large", "1.0.0").with_source(&(0..SOURCE_BYTES).map(|_| noise()).collect::<String>())
}

/// How long the answer to a download is, and the most that was in memory, beside what was there before, whenever the client took the next bit of it.
async fn download(server: &TestServer, token: &str) -> (usize, usize) {
    let public = server.running.public;
    let request = format!(
        "GET /api/v1/crates/large/1.0.0/download HTTP/1.1\r\nhost: {public}\r\nauthorization: {token}\r\nconnection: close\r\n\r\n"
    );
    let read = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 16 * 1024];
        let mut stream = TcpStream::connect(public).unwrap();
        let region = Region::new(ALLOCATOR);
        stream.write_all(request.as_bytes()).unwrap();
        let (mut len, mut live_max) = (0, 0);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                return (len, live_max);
            }
            len += count;
            let change = region.change();
            live_max = live_max.max(change.bytes_allocated.saturating_sub(change.bytes_deallocated));
        }
    });
    read.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_crate_takes_little_memory_on_its_way() {
    let _alone = ALONE.lock().await;
    let (data, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = format!("[storage]\nkind = \"file\"\n[file]\ndirectory = \"{}\"\n{LARGE}", data.path().display());
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let bucket = format!(
        "[storage]\nkind = \"s3\"\n[s3]\nbucket = \"{BUCKET}\"\nendpoint = \"{}\"\nforce_path_style = true\ncredentials_dir = \"{}\"\n\
         [cache]\ndirectory = \"{}\"\n{LARGE}",
        s3.endpoint(),
        s3.credentials_dir().display(),
        cache.path().display(),
    );
    let krate = large();
    let (body, len) = (bytes::Bytes::from(krate.body()), krate.krate().len());
    drop(krate);
    // From the bucket twice: by way of the disk, and from there.
    for (toml, downloads) in [(&file, 1), (&bucket, 2)] {
        let server = TestServer::start(toml).await;
        server.registry().wait_for(Verdict::is_proven).await;
        let token = server.token("ann").await;
        let put = Request::put("/api/v1/crates/new").header("authorization", &token);
        let answer = send(server.running.public, put, body.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        for _ in 0..downloads {
            let (read, live) = download(&server, &token).await;
            println!("{read} bytes read, {live} bytes in memory");
            assert!(read > len, "all of it and a head: {read}");
            assert!(live <= LIVE_MAX, "{live} bytes in memory");
        }
        server.stop().await;
    }
    // Where it is held in memory, it is seen there.
    let held = format!("{file}[downloads]\ncached_file_bytes_max = 100000000\n[cache]\ndownload_bytes = 100000000\n");
    let server = TestServer::start(&held).await;
    let token = server.token("ann").await;
    let (_, live) = download(&server, &token).await;
    // Whatever else went away meanwhile is taken off.
    assert!(live + LIVE_MAX >= len, "{live} bytes in memory");
    server.stop().await;
}
