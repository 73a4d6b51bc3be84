//! The whole log of a server, at its most talkative, over everything that carries a token or a credential: none of them is in it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use supercargo_registry::access::TokenSecret;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::packed::Packed;
use support::client::{Answer, send, send_over_http2};
use support::process::{ADMIN, ServerProcess, admin_file, serve};
use tokio::net::TcpStream;

const WRONG_ADMIN: &str = "a-wrong-admin-credential-4567";
const NO_TOKEN: &str = "hunter2-is-not-of-the-form";

fn start(format: &str, admin_token_file: &str) -> ServerProcess {
    ServerProcess::start(serve(&[
        ("SUPERCARGO_STORAGE_KIND", "memory"),
        ("SUPERCARGO_ADMIN_TOKEN_FILE", admin_token_file),
        ("SUPERCARGO_LOG_FORMAT", format),
        ("SUPERCARGO_LOG_FILTER", "trace"),
    ]))
}

async fn admin(server: &ServerProcess, hash: &str, credential: &str) -> Answer {
    let content = r#"{"user":"ann","description":"test","grants":[{"verbs":["Read","PublishNew"],"crates":["*"]}],"expires_at":null}"#;
    let request =
        Request::put(format!("/admin/v1/tokens/{hash}")).header("authorization", format!("Bearer {credential}"));
    send(server.internal, request, content).await
}

/// Everything that a client does with a token, the right way and the wrong ways.
async fn use_token(server: &ServerProcess, token: &str, expected: [u16; 3]) {
    let get =
        |path: String| Request::get(path).header("authorization", token).header("cookie", format!("session={token}"));
    // What a login leads to: the page, then the first request with the token.
    assert_eq!(send(server.public, get("/me".to_owned()), "").await.status, 200);
    assert_eq!(send(server.public, get("/index/config.json".to_owned()), "").await.status.as_u16(), expected[0]);
    let publish = Request::put("/api/v1/crates/new").header("authorization", token);
    let answer = send(server.public, publish, Packed::new("a", "1.0.0").body()).await;
    assert_eq!(answer.status.as_u16(), expected[1], "{}", answer.text());
    let download = send(server.public, get("/api/v1/crates/a/1.0.0/download".to_owned()), "").await;
    assert_eq!(download.status.as_u16(), expected[2], "{}", download.text());

    // In places where it does not belong.
    send(server.public, get(format!("/api/v1/crates?q={token}")), "").await;
    send(server.public, get(format!("/index/{token}")), "").await;
    send(server.public, get(format!("/{token}?token={token}")), "").await;
    send(server.public, Request::delete(format!("/api/v1/crates/a/{token}/yank")).header("authorization", token), "")
        .await;
    let body = format!("{{\"token\":\"{token}\"");
    send(server.public, Request::put("/api/v1/crates/a/owners").header("authorization", token), body).await;
    let stream = TcpStream::connect(server.public).await.unwrap();
    let http2 = Request::builder().method(Method::GET).uri(format!("http://{}/index/config.json", server.public));
    let http2 = http2.header("authorization", token).body(Full::<Bytes>::default()).unwrap();
    send_over_http2(stream, http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_credential_is_logged() {
    let dir = tempfile::tempdir().unwrap();
    let file = admin_file(dir.path());
    for format in ["text", "json"] {
        let server = start(format, &file);
        let [good, unknown] = [1, 2].map(|seed| Entropy::seeded(seed).with(TokenSecret::generate));
        assert_eq!(admin(&server, &good.hash().to_string(), WRONG_ADMIN).await.status, 401);
        assert_eq!(admin(&server, &good.hash().to_string(), ADMIN).await.status, 200);
        // A token where its hash belongs.
        assert_eq!(admin(&server, good.expose(), ADMIN).await.status, 400);
        use_token(&server, good.expose(), [200, 200, 200]).await;
        use_token(&server, unknown.expose(), [401, 403, 401]).await;
        use_token(&server, NO_TOKEN, [401, 403, 401]).await;

        let log = server.end();
        for part in ["publish", "403", "401", "ann", "TRACE"] {
            assert!(log.contains(part), "{part} is not in the log, so this proves nothing:\n{log}");
        }
        for secret in [ADMIN, WRONG_ADMIN, NO_TOKEN, good.expose(), unknown.expose()] {
            let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
            assert!(
                lines.is_empty(),
                "{format}: {} lines with a secret, such as {:?}",
                lines.len(),
                &lines[..lines.len().min(9)]
            );
        }
    }
}
