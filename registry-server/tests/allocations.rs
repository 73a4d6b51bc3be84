//! What the hottest reads take from the allocator, over a real socket. In a process of its own: everything in it is counted.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::alloc::System;
use std::io::{Read, Write};
use std::net::TcpStream;

use http::Request;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use supercargo_registry::krate::packed::Packed;
use support::TestServer;
use support::client::send;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

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
