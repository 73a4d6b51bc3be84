//! The images that users get, and the S3 server beside them in the demo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Image, Source, build};
use crate::host::packages::{self, CA_CERTIFICATES, Need};
use crate::paths;
use crate::process::{CARGO_PROGRESS, Run, find};
use crate::progress::Step;
use crate::tools::{self, Tool};

/// Both programs of the project as images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Products {
    /// `supercargo/registry`.
    pub registry: Image,
    /// `supercargo/operator`.
    pub operator: Image,
}

/// Compiles both programs for musl in the release profile and builds their images. What did not change is not built again.
///
/// # Errors
/// Shows cargo's last words and the log, or names the missing package or toolchain target.
pub async fn build_products() -> Result<Products> {
    packages::ensure(&[Need::Cluster]).await?;
    let Programs { dir, .. } = compile().await?;
    let source = |name, repository, program: &'static str, containerfile: &str| Source {
        name,
        repository,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        containerfile: paths::workspace().join("deploy/images").join(containerfile),
        files: vec![(program, dir.join(program)), ("ca-certificates.crt", CA_CERTIFICATES.into())],
    };
    Ok(Products {
        registry: build(&source("registry", "supercargo/registry", "supercargo-registry", "registry.Containerfile"))
            .await?,
        operator: build(&source("operator", "supercargo/operator", "supercargo-operator", "operator.Containerfile"))
            .await?,
    })
}

/// The S3 server of the demo and of the end-to-end tests: `versity/versitygw`, under the name that its makers use.
pub async fn build_s3_server() -> Result<Image> {
    packages::ensure(&[Need::Cluster]).await?;
    tools::ensure(&[Tool::Versitygw]).await?;
    build(&Source {
        name: "versitygw",
        repository: "versity/versitygw",
        version: format!("v{}", Tool::Versitygw.version()?),
        containerfile: paths::workspace().join("deploy/images/versitygw.Containerfile"),
        files: vec![("versitygw", tools::bin_dir(Tool::Versitygw)?.join("versitygw"))],
    })
    .await
}

/// The static target of this machine's architecture.
fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Both programs as they go into images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder of `supercargo-registry` and `supercargo-operator`.
    pub dir: PathBuf,
    /// The target that they are compiled for.
    pub target: String,
}

/// Compiles both programs for musl in the release profile. What did not change is not built again.
///
/// # Errors
/// Shows cargo's last words and the log, or names the missing package or toolchain target.
pub async fn compile() -> Result<Programs> {
    packages::ensure(&[Need::Images]).await?;
    let target = target();
    ensure_target(&target).await?;
    let step = Step::long(
        "Compiling supercargo-registry and supercargo-operator",
        "release, static; first time: about 5 minutes on two free cores",
    );
    cargo()
        .args(["build", "--release", "--target", &target, "-p", "supercargo-registry", "-p", "supercargo-operator"])
        .args(["--bin", "supercargo-registry", "--bin", "supercargo-operator"])
        .envs([c_compiler(&target)])
        .envs(CARGO_PROGRESS)
        .logged(&step, &paths::build_log("cargo-release"))
        .await?;
    step.done("");
    Ok(Programs { dir: target_dir().await?.join(&target).join("release"), target })
}

/// Whatever the name of the cross compiler that a build script guesses: this is the one that Debian brings.
pub(crate) fn c_compiler(target: &str) -> (String, &'static str) {
    (format!("CC_{}", target.replace('-', "_")), "musl-gcc")
}

fn cargo() -> Run {
    Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).dir(paths::workspace())
}

async fn target_dir() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text = cargo().args(["metadata", "--no-deps", "--format-version", "1"]).output().await?;
    let metadata: Metadata = serde_json::from_str(&text).context("reading what `cargo metadata` said")?;
    Ok(metadata.target_directory)
}

/// The standard library for `target`, fetched by rustup where rustup is.
async fn ensure_target(target: &str) -> Result<()> {
    let sysroot = Run::new("rustc").args(["--print", "sysroot"]).dir(paths::workspace()).output().await?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    if find("rustup").is_none() {
        bail!(
            "Rust's standard library for {target} is missing, and there is no rustup to fetch it: install your system's package \
             for that target, or Rust by rustup (rustup.rs)"
        )
    }
    let step = Step::start(format!("Rust's standard library for {target}"));
    Run::new("rustup")
        .args(["target", "add", target])
        .dir(paths::workspace())
        .logged(&step, &paths::build_log("rustup"))
        .await?;
    step.done("");
    Ok(())
}
