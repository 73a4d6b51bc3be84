//! The real Cargo against a registry in process: publish, search, add, build, run, yank, owners, from an empty CARGO_HOME.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]

mod support;

use support::TestServer;
use support::cargo::Cargo;

/// A library and another that depends on it, as one workspace.
fn workspace(cargo: &Cargo) {
    cargo.write("ws/Cargo.toml", "[workspace]\nmembers = [\"greet\", \"greet-loud\"]\nresolver = \"2\"\n");
    let package = |name: &str| {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"says {name}\"\npublish = [\"company\"]\n"
        )
    };
    cargo.write("ws/greet/Cargo.toml", &package("greet"));
    cargo.write("ws/greet/src/lib.rs", "pub fn greet() -> String { \"hello\".into() }\n");
    let depends = "[dependencies]\ngreet = { version = \"0.1\", path = \"../greet\", registry = \"company\" }\n";
    cargo.write("ws/greet-loud/Cargo.toml", &format!("{}{depends}", package("greet-loud")));
    cargo.write("ws/greet-loud/src/lib.rs", "pub fn greet() -> String { greet::greet().to_uppercase() }\n");
}

fn binary(cargo: &Cargo, path: &str) {
    cargo.write(
        &format!("{path}/Cargo.toml"),
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    cargo.write(&format!("{path}/src/main.rs"), "fn main() { println!(\"{}\", greet_loud::greet()); }\n");
}

async fn story(server: TestServer) {
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    workspace(&ann);
    ann.ok("ws", &["publish", "--workspace", "--allow-dirty"]).await;

    let bob = Cargo::new(&server.index(), Some(&token));
    bob.ok(".", &["search", "--registry", "company", "greet"]).await.expect_said(&[
        "greet = \"0.1.0\"",
        "greet-loud = \"0.1.0\"",
        "# says greet",
    ]);
    binary(&bob, "app");
    bob.ok("app", &["add", "--registry", "company", "greet-loud"]).await;
    bob.ok("app", &["run"]).await.expect_said(&["HELLO"]);
    bob.ok("app", &["owner", "--registry", "company", "--list", "greet"]).await.expect_said(&["ann"]);
    bob.ok("app", &["info", "--registry", "company", "greet"]).await.expect_said(&["says greet", "0.1.0"]);

    // A yanked version: not for new lock files, still for old ones.
    ann.ok("ws", &["yank", "--registry", "company", "greet-loud@0.1.0"]).await;
    let carl = Cargo::new(&server.index(), Some(&token));
    binary(&carl, "app");
    carl.write(
        "app/Cargo.toml",
        &format!(
            "{}\n[dependencies]\ngreet-loud = {{ version = \"0.1\", registry = \"company\" }}\n",
            carl.read("app/Cargo.toml")
        ),
    );
    carl.run("app", &["build"]).await.expect_failure(&["greet-loud", "yanked"]);
    carl.write("app/Cargo.lock", &bob.read("app/Cargo.lock"));
    carl.ok("app", &["run", "--locked"]).await.expect_said(&["HELLO"]);
    ann.ok("ws", &["yank", "--undo", "--registry", "company", "greet-loud@0.1.0"]).await;
    let dora = Cargo::new(&server.index(), Some(&token));
    binary(&dora, "app");
    dora.ok("app", &["add", "--registry", "company", "greet-loud"]).await;
    dora.ok("app", &["fetch"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_published_found_built_and_yanked_in_memory() {
    story(TestServer::memory().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_published_found_built_and_yanked_in_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let toml = format!("[file]\ndirectory = \"{}\"\n", dir.path().join("data").display());
    story(TestServer::start(&toml).await).await;
}
