//! What a manifest may say about dependencies, features, `links` and the Rust version, and what must come back of it.

use anyhow::{Result, ensure};

use super::Subject;
use crate::scratch::{Package, Scratch};

/// Renamed, optional, target-specific, build and dev dependencies, features with `dep:` and `?/`, and a crate with
/// `links`: one workspace published in one go, and a program that builds against the parts it chose.
pub async fn every_kind_of_dependency(subject: &Subject) -> Result<()> {
    const MEMBERS: [&str; 8] = ["leaf", "optional", "unix", "windows", "build", "dev", "sys", "top"];
    let (home, scratch) = (subject.developer()?, Scratch::new()?);
    scratch.workspace(&MEMBERS)?;
    for (folder, package) in leaves() {
        scratch.package(folder, &package)?;
    }
    scratch.package("sys", &sys())?;
    scratch.package("top", &top(subject))?;
    home.cargo(scratch.path(), "publish --workspace").await?.succeeded()?;

    let fresh = subject.developer()?;
    let consumer = Scratch::new()?;
    let main = "assert_eq!(kinds_top::story(), \"leaf loud, built by 0.3.0, linked 42, optional extra\")";
    let dependency = subject.dependency("kinds-top", "0.3", "features = [\"fancy\", \"louder\"]");
    consumer.package("", &Package::program("consumer", main).tables(&format!("[dependencies]\n{dependency}")))?;
    fresh.cargo(consumer.path(), "run").await?.succeeded()?;
    let lock = consumer.read("Cargo.lock")?;
    ensure!(!lock.contains("kinds-dev"), "a dev dependency of a dependency was locked:\n{lock}");
    ensure!(lock.contains("kinds-windows"), "a dependency for another target is missing in the lock file:\n{lock}");

    let plain = Scratch::new()?;
    let main = "assert_eq!(kinds_top::story(), \"leaf quiet, built by 0.3.0, linked 42\")";
    let dependency = subject.dependency("kinds-top", "0.3", "");
    plain.package("", &Package::program("consumer", main).tables(&format!("[dependencies]\n{dependency}")))?;
    fresh.cargo(plain.path(), "run").await?.succeeded()?;
    let tree = fresh.cargo(plain.path(), "tree").await?.succeeded()?;
    ensure!(!tree.stdout.contains("kinds-optional"), "an optional dependency came without its feature\n{tree}");
    Ok(())
}

fn leaves() -> Vec<(&'static str, Package)> {
    let leaf = Package::library("kinds-leaf", "0.1.0").tables("[features]\nloud = []").code(
        "//! Leaf.\n/// Word.\npub const WORD: &str = if cfg!(feature = \"loud\") { \"loud\" } else { \"quiet\" };\n",
    );
    let optional = Package::library("kinds-optional", "0.2.0")
        .tables("[features]\nextra = []")
        .code("//! Optional.\n/// Word.\npub const WORD: &str = if cfg!(feature = \"extra\") { \"extra\" } else { \"plain\" };\n");
    vec![
        ("leaf", leaf),
        ("optional", optional),
        ("unix", Package::library("kinds-unix", "0.1.0")),
        ("windows", Package::library("kinds-windows", "0.1.0")),
        ("build", Package::library("kinds-build", "0.3.0")),
        ("dev", Package::library("kinds-dev", "0.1.0")),
    ]
}

fn sys() -> Package {
    Package::library("kinds-sys", "0.1.0")
        .head("links = \"kinds\"\nbuild = \"build.rs\"")
        .file("build.rs", "fn main() { println!(\"cargo:answer=42\"); }\n")
}

fn top(subject: &Subject) -> Package {
    let on = |name: &str, version: &str, folder: &str, more: &str| {
        subject.dependency(name, version, &format!("path = \"../{folder}\"{more}"))
    };
    let tables = [
        "[features]".to_owned(),
        "fancy = [\"dep:kinds-optional\"]".to_owned(),
        "louder = [\"renamed/loud\", \"kinds-optional?/extra\"]".to_owned(),
        "[dependencies]".to_owned(),
        on("renamed", "0.1", "leaf", ", package = \"kinds-leaf\""),
        on("kinds-optional", "0.2", "optional", ", optional = true"),
        on("kinds-sys", "0.1", "sys", ""),
        "[target.'cfg(unix)'.dependencies]".to_owned(),
        on("kinds-unix", "0.1", "unix", ""),
        "[target.'cfg(windows)'.dependencies]".to_owned(),
        on("kinds-windows", "0.1", "windows", ", default-features = false"),
        "[build-dependencies]".to_owned(),
        on("kinds-build", "0.3", "build", ""),
        "[dev-dependencies]".to_owned(),
        on("kinds-dev", "0.1", "dev", ""),
    ];
    let build = "fn main() {\n    println!(\"cargo:rustc-env=BUILT_BY={}\", kinds_build::VERSION);\n    \
                 println!(\"cargo:rustc-env=LINKED={}\", std::env::var(\"DEP_KINDS_ANSWER\").unwrap());\n}\n";
    let code = "//! Top.\n/// What was put together.\npub fn story() -> String {\n    let _ = kinds_unix::VERSION;\n    \
                let mut text = format!(\"leaf {}, built by {}, linked {}\", renamed::WORD, env!(\"BUILT_BY\"), env!(\"LINKED\"));\n    \
                #[cfg(feature = \"fancy\")]\n    text.push_str(&format!(\", optional {}\", kinds_optional::WORD));\n    text\n}\n";
    Package::library("kinds-top", "0.3.0")
        .head("build = \"build.rs\"")
        .tables(&tables.join("\n"))
        .code(code)
        .file("build.rs", build)
}

/// The resolver that looks at `rust-version` (edition 2024's) leaves out a version that this Rust is too old for.
pub async fn rust_version_guides_the_resolver(subject: &Subject) -> Result<()> {
    let home = subject.developer()?;
    for (version, rust) in [("1.0.0", "1.56"), ("1.1.0", "1.999")] {
        let scratch = Scratch::new()?;
        scratch.package("", &Package::library("needs-rust", version).head(&format!("rust-version = \"{rust}\"")))?;
        home.cargo(scratch.path(), "publish --no-verify").await?.succeeded()?;
    }
    let consumer = Scratch::new()?;
    let tables =
        format!("[dependencies]\n{}\n[workspace]\nresolver = \"3\"", subject.dependency("needs-rust", "1", ""));
    let main = "assert_eq!(needs_rust::VERSION, \"1.0.0\")";
    consumer.package("", &Package::program("consumer", main).head("rust-version = \"1.80\"").tables(&tables))?;
    home.cargo(consumer.path(), "run").await?.succeeded()?;
    Ok(())
}
