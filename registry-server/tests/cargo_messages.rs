//! What a developer reads in the terminal when something is refused, and what a repeated command does.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use supercargo_registry::access::Verb;
use support::TestServer;
use support::cargo::Cargo;

const MANIFEST: &str =
    "[package]\nname = \"thing\"\nversion = \"1.0.0\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"d\"\n";
const PUBLISH: &[&str] = &["publish", "--registry", "company", "--allow-dirty", "--no-verify"];

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_cargo_says_where_to_log_in() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    ann.library("thing", MANIFEST);
    ann.ok("thing", PUBLISH).await;

    let bob = Cargo::new(&server.index(), None);
    bob.write("app/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\nthing = { version = \"1\", registry = \"company\" }\n");
    bob.write("app/src/main.rs", "fn main() {}");
    let login = format!("{}/me", server.base());
    bob.run("app", &["fetch"]).await.expect_failure(&["cargo login --registry company"]);
    bob.run("app", &["search", "--registry", "company", "thing"])
        .await
        .expect_failure(&["cargo login --registry company"]);
    bob.run("app", &["login", "--registry", "company"]).await.expect_said(&[&login]);

    bob.log_in("scg_nonsense");
    bob.run("app", &["fetch"]).await.expect_failure(&["token rejected for `company`"]);
    bob.log_in(&token);
    bob.ok("app", &["fetch"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_whose_answer_was_lost_can_be_repeated() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    ann.library("thing", MANIFEST);
    ann.ok("thing", PUBLISH).await;
    // Cargo itself looks into the index and stops, so the repetition goes to the API with the same bytes.
    ann.run("thing", PUBLISH).await.expect_failure(&["already exists"]);
    ann.ok("thing", &["package", "--allow-dirty", "--no-verify"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_reach_the_terminal_as_sentences() {
    let server = TestServer::start("[storage]\nkind = \"memory\"\n[limits]\ncrate_bytes_max = 5000\n").await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    ann.library("thing", MANIFEST);
    ann.ok("thing", PUBLISH).await;

    let reader = Cargo::new(&server.index(), Some(&server.token_with("bob", &[Verb::Read], &["*"]).await));
    reader.library("thing", &MANIFEST.replace("1.0.0", "1.1.0"));
    reader.run("thing", PUBLISH).await.expect_failure(&["403", "`bob` may not publish a version of the crate `thing`"]);
    reader
        .run("thing", &["yank", "--registry", "company", "thing@1.0.0"])
        .await
        .expect_failure(&["403", "`bob` may not yank"]);

    let other = Cargo::new(&server.index(), Some(&server.token("carl").await));
    other.library("thing", &MANIFEST.replace("1.0.0", "1.1.0"));
    other.run("thing", PUBLISH).await.expect_failure(&[
        "403",
        "`carl` is not an owner of the crate `thing`",
        "cargo owner --add carl thing",
    ]);
    ann.ok("thing", &["owner", "--registry", "company", "--add", "carl", "thing"])
        .await
        .expect_said(&["`carl` is now an owner of `thing`"]);
    other.ok("thing", PUBLISH).await;
    // Cargo shows no message here, but it fails if the answer has none.
    other.ok("thing", &["owner", "--registry", "company", "--remove", "ann", "thing"]).await;
    let listed = other.ok("thing", &["owner", "--registry", "company", "--list", "thing"]).await;
    assert_eq!(listed.out.trim(), "carl");

    // Larger than the limit: the answer arrives although Cargo is still sending.
    ann.library("big", &MANIFEST.replace("thing", "big"));
    let noise = support::noise(200_000);
    ann.write("big/src/noise.txt", &noise);
    ann.run("big", PUBLISH).await.expect_failure(&["413", "5000", "package.exclude"]);

    ann.library("bare", "[package]\nname = \"bare\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
    ann.ok("bare", PUBLISH).await.expect_said(&["warning", "license"]);
    ann.library("con", &MANIFEST.replace("thing", "con"));
    ann.run("con", PUBLISH).await.expect_failure(&["con"]);
    server.stop().await;
}
