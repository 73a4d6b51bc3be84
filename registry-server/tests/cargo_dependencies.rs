//! The real Cargo and every shape of dependency, feature and name that a workspace can have: what is published resolves and builds
//! elsewhere, from an empty CARGO_HOME.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use support::TestServer;
use support::cargo::Cargo;

fn package(name: &str, version: &str, rest: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nedition = \"2021\"\nrust-version = \"1.70\"\nlicense = \"MIT\"\ndescription = \"d\"\n{rest}"
    )
}

async fn publish(cargo: &Cargo, dir: &str) {
    cargo.ok(dir, &["publish", "--registry", "company", "--allow-dirty", "--no-verify"]).await;
}

/// A project that depends on `dependencies` and whose `main` is `main`.
fn app(cargo: &Cargo, dir: &str, dependencies: &str, main: &str) {
    cargo.write(
        &format!("{dir}/Cargo.toml"),
        &format!("[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\n{dependencies}\n[workspace]\n"),
    );
    cargo.write(&format!("{dir}/src/main.rs"), main);
}

#[tokio::test(flavor = "multi_thread")]
async fn renamed_optional_target_build_and_dev_dependencies() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    for (name, source) in [
        ("plain", "pub fn f() -> u32 { 1 }"),
        ("real-name", "pub fn f() -> u32 { 10 }"),
        ("extra", "pub fn f() -> u32 { 100 }"),
        ("unixish", "pub fn f() -> u32 { 1000 }"),
        ("windowsish", "compile_error!(\"not here\");"),
        ("builder", "pub fn f() -> u32 { 10000 }"),
        ("tester", "compile_error!(\"only for tests of the published crate\");"),
    ] {
        ann.write(&format!("{name}/Cargo.toml"), &package(name, "1.0.0", "[features]\nfast = []\n"));
        ann.write(&format!("{name}/src/lib.rs"), source);
        publish(&ann, name).await;
    }
    let dependencies = r#"
build = "build.rs"
[dependencies]
plain = { version = "1", registry = "company", features = ["fast"] }
alias = { version = "1", registry = "company", package = "real-name" }
extra = { version = "1.0", registry = "company", optional = true, default-features = false }
[target.'cfg(unix)'.dependencies]
unixish = { version = "1", registry = "company" }
[target.'cfg(windows)'.dependencies]
windowsish = { version = "1", registry = "company" }
[build-dependencies]
builder = { version = ">=1, <2", registry = "company" }
[dev-dependencies]
tester = { version = "1", registry = "company" }
[features]
default = ["with-extra"]
with-extra = ["dep:extra"]
faster = ["plain/fast", "extra?/fast"]
"#;
    ann.write("top/Cargo.toml", &package("top", "0.3.0", dependencies));
    ann.write("top/build.rs", "fn main() { println!(\"cargo:rustc-env=BUILT={}\", builder::f()); }");
    ann.write(
        "top/src/lib.rs",
        "pub fn sum() -> u32 { plain::f() + alias::f() + unixish::f() + env!(\"BUILT\").parse::<u32>().unwrap() + extra() }\n\
         #[cfg(feature = \"with-extra\")] fn extra() -> u32 { extra::f() }\n#[cfg(not(feature = \"with-extra\"))] fn extra() -> u32 { 0 }\n",
    );
    publish(&ann, "top").await;

    let bob = Cargo::new(&server.index(), Some(&token));
    let main = "fn main() { println!(\"sum {}\", top::sum()); }";
    app(&bob, "full", "top = { version = \"0.3\", registry = \"company\", features = [\"faster\"] }", main);
    bob.ok("full", &["run"]).await.expect_said(&["sum 11111"]);
    app(
        &bob,
        "lean",
        "top = { version = \"0.3\", registry = \"company\", default-features = false, features = [\"faster\"] }",
        main,
    );
    bob.ok("lean", &["run"]).await.expect_said(&["sum 11011"]);
    let lock = bob.read("lean/Cargo.lock");
    assert!(!lock.contains("tester"), "dev-dependencies of a dependency are not locked:\n{lock}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_is_known_before_anything_is_downloaded() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    for name in ["z-sys", "z-other-sys"] {
        ann.library(name, &package(name, "1.0.0", "links = \"z\"\nbuild = \"build.rs\"\n"));
        ann.write(&format!("{name}/build.rs"), "fn main() {}");
        publish(&ann, name).await;
    }
    app(
        &ann,
        "app",
        "z-sys = { version = \"1\", registry = \"company\" }\nz-other-sys = { version = \"1\", registry = \"company\" }",
        "fn main() {}",
    );
    ann.run("app", &["generate-lockfile"]).await.expect_failure(&["links", "`z`"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_every_length_case_and_separator() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    let names = ["a", "bb", "ccc", "dddd", "Mixed-Case", "with_under", "Upper_And-both"];
    for name in names {
        ann.library(name, &package(name, "1.0.0", ""));
        ann.ok(name, &["publish", "--registry", "company", "--allow-dirty", "--no-verify"]).await;
    }
    let bob = Cargo::new(&server.index(), Some(&token));
    let dependencies: Vec<_> =
        names.iter().map(|name| format!("{name} = {{ version = \"1\", registry = \"company\" }}")).collect();
    app(&bob, "app", &dependencies.join("\n"), "fn main() {}");
    bob.ok("app", &["fetch"]).await;
    // The other separator, and another case: Cargo asks for the variants and needs 404 for the wrong ones to find the right one.
    app(&bob, "add", "", "fn main() {}");
    bob.ok("add", &["add", "--registry", "company", "mixed_case"])
        .await
        .expect_said(&["translating `mixed_case` to `Mixed-Case`"]);
    ann.library("with-under", &package("with-under", "2.0.0", ""));
    ann.run("with-under", &["publish", "--registry", "company", "--allow-dirty", "--no-verify"])
        .await
        .expect_failure(&["`with_under`"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn build_metadata_survives_the_round_trip() {
    let server = TestServer::memory().await;
    let token = server.token("ann").await;
    let ann = Cargo::new(&server.index(), Some(&token));
    ann.library("meta", &package("meta", "1.0.0-rc.1+build.7", ""));
    publish(&ann, "meta").await;
    let bob = Cargo::new(&server.index(), Some(&token));
    app(&bob, "app", "meta = { version = \"1.0.0-rc.1\", registry = \"company\" }", "fn main() {}");
    bob.ok("app", &["build"]).await;
    assert!(bob.read("app/Cargo.lock").contains("1.0.0-rc.1+build.7"));
    ann.library("meta", &package("meta", "1.0.0-rc.1+build.8", ""));
    ann.run("meta", &["publish", "--registry", "company", "--allow-dirty", "--no-verify"])
        .await
        .expect_failure(&["already exists"]);
    ann.ok("meta", &["yank", "--registry", "company", "meta@1.0.0-rc.1+build.7"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_on_another_registry_keep_its_address() {
    let (one, two) = (TestServer::memory().await, TestServer::memory().await);
    let (token_one, token_two) = (one.token("ann").await, two.token("ann").await);
    let ann = Cargo::new(&one.index(), Some(&token_one));
    ann.library("base", &package("base", "1.0.0", ""));
    publish(&ann, "base").await;

    // Another name for the same registry, and the first one under the name `other`.
    let bob = Cargo::new(&two.index(), Some(&token_two));
    let config = std::fs::read_to_string(bob.home().join("config.toml")).expect("written");
    std::fs::write(
        bob.home().join("config.toml"),
        format!("{config}\n[registries.other]\nindex = \"{}\"\n", one.index()),
    )
    .expect("writable");
    let both = format!("[registries.company]\ntoken = \"{token_two}\"\n[registries.other]\ntoken = \"{token_one}\"\n");
    std::fs::write(bob.home().join("credentials.toml"), both).expect("writable");
    bob.library(
        "upper",
        &package("upper", "1.0.0", "[dependencies]\nbase = { version = \"1\", registry = \"other\" }\n"),
    );
    publish(&bob, "upper").await;
    app(&bob, "app", "upper = { version = \"1\", registry = \"company\" }", "fn main() {}");
    bob.ok("app", &["build"]).await;
    let lock = bob.read("app/Cargo.lock");
    assert!(lock.contains(&one.index()) && lock.contains(&two.index()), "{lock}");
    one.stop().await;
    two.stop().await;
}
