//! How each kind of tool is built: below everything else on the machine (`nice`), with its output in a log.
//!
//! A build happens in its final folder; the file [`COMPLETE`] appears last, so a build that was cut off is begun again.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Recipe, Tool};
use crate::host::packages::{self, Need};
use crate::lock::Lock;
use crate::paths;
use crate::process::{CARGO_PROGRESS, Run, find};
use crate::progress::Step;

/// Marks a folder whose build came to its end.
pub(super) const COMPLETE: &str = ".complete";

/// The oldest Go that fetches the version a `go.mod` names by itself.
const GO_MIN: (u32, u32) = (1, 21);

pub(super) async fn build(tool: Tool) -> Result<()> {
    let home = tool.home()?;
    let lock = paths::cache().join("tools").join(format!("{}.lock", tool.name()));
    let _turn = Lock::acquire(&lock, &format!("builds {}", tool.name())).await?;
    if tool.is_built()? {
        return Ok(());
    }
    let step = Step::long(format!("Building {} {}", tool.name(), tool.version()?), tool.first_time());
    match std::fs::remove_dir_all(&home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing the unfinished build in {}", home.display()));
        }
        _ => {}
    }
    let bin = home.join("bin");
    std::fs::create_dir_all(&bin).with_context(|| format!("creating {}", bin.display()))?;
    match tool.recipe() {
        Recipe::Go { tags } => go_build(tool, tags, &bin, &step).await?,
        Recipe::Python => python_build(tool, &home, &step).await?,
        Recipe::Cargo { package, version, pins } => cargo_build(package, version, pins, &home, &step).await?,
    }
    for binary in tool.binaries() {
        if !bin.join(binary).is_file() {
            bail!("the build went well, but {} is not there", bin.join(binary).display())
        }
    }
    std::fs::write(home.join(COMPLETE), "").with_context(|| format!("writing {}", home.join(COMPLETE).display()))?;
    step.done("");
    Ok(())
}

/// `go` in a module of ours: nothing but its `go.mod` decides.
pub(super) fn go(source: &Path) -> Result<Run> {
    if find("go").is_none() {
        bail!(
            "Go is missing, and the cluster's programs are built with it: install Go {}.{} or newer (go.dev/doc/install)",
            GO_MIN.0,
            GO_MIN.1
        )
    }
    Ok(Run::new("go")
        .dir(source)
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0"))
}

async fn go_build(tool: Tool, tags: &str, bin: &Path, step: &Step) -> Result<()> {
    let source = tool.source();
    let said = go(&source)?.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output().await?;
    match go_version(said.trim()) {
        Some(found) if found < GO_MIN => {
            bail!("{} is too old: install Go {}.{} or newer (go.dev/doc/install)", said.trim(), GO_MIN.0, GO_MIN.1)
        }
        _ => {}
    }
    let what = if source.join("main.go").exists() { "." } else { "tool" };
    let mut output = bin.as_os_str().to_owned();
    output.push("/");
    go(&source)?
        .nice()
        .args(["build", "-v", "-trimpath", "-tags", tags, "-ldflags", &ldflags(tool)?, "-o"])
        .arg(output)
        .arg(what)
        .counting("packages")
        .logged(step, &paths::build_log(tool.name()))
        .await?;
    if tool == Tool::Kubernetes {
        // etcd's package is called `server`.
        std::fs::rename(bin.join("server"), bin.join("etcd")).context("renaming etcd's program")?;
    }
    Ok(())
}

/// `go1.26.8` -> (1, 26).
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Without symbols, and for Kubernetes and Helm with the version that they report: unstamped, `kubectl version` fails and
/// charts with a `kubeVersion` do not match.
fn ldflags(tool: Tool) -> Result<String> {
    let mut flags = "-s -w".to_owned();
    if tool == Tool::Kubernetes {
        let version = tool.version()?;
        let minor = version.split('.').nth(1).unwrap_or_default();
        for package in ["k8s.io/client-go/pkg/version", "k8s.io/component-base/version"] {
            flags.push_str(&format!(
                " -X {package}.gitVersion=v{version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor} \
                 -X {package}.gitCommit=module -X {package}.gitTreeState=clean \
                 -X {package}.buildDate=1970-01-01T00:00:00Z"
            ));
        }
    }
    Ok(flags)
}

async fn python_build(tool: Tool, home: &Path, step: &Step) -> Result<()> {
    let requirements = tool.source().join("requirements.txt");
    let log = paths::build_log(tool.name());
    packages::ensure(&[Need::Witnesses]).await?;
    Run::new("python3").args(["-m", "venv"]).arg(home).logged(step, &log).await?;
    Run::new(home.join("bin/pip"))
        .args(["install", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:", "--requirement"])
        .arg(requirements)
        .nice()
        .logged(step, &log)
        .await
}

async fn cargo_build(package: &str, version: &str, pins: &[(&str, &str)], home: &Path, step: &Step) -> Result<()> {
    // The build's own folders go away with it: nothing of them is used twice.
    let (target, source) = (home.join("target"), home.join("source"));
    let log = paths::build_log(package);
    let mut install = cargo("/").args(["install", "--locked", "--root"]).arg(home);
    if pins.is_empty() {
        install = install.args(["--version", version, package]);
    } else {
        unpack(package, version, &source).await?;
        for (package, version) in pins {
            cargo(&source).args(["update", package, "--precise", version]).logged(step, &log).await?;
        }
        install = install.arg("--path").arg(&source);
    }
    install.env("CARGO_TARGET_DIR", &target).envs(CARGO_PROGRESS).nice().logged(step, &log).await?;
    for folder in [target, source].iter().filter(|folder| folder.exists()) {
        std::fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

fn cargo(dir: impl AsRef<Path>) -> Run {
    Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).dir(dir)
}

/// The source of a crate, in a folder where its lock file may be changed.
async fn unpack(package: &str, version: &str, to: &Path) -> Result<()> {
    let spec = format!("{package}@{version}");
    // Fetches the source, to read its manifest.
    cargo("/").args(["info", &spec]).output().await?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).context("neither CARGO_HOME nor HOME is set")?;
    let sources = home.join("registry/src");
    let folders = std::fs::read_dir(&sources).with_context(|| format!("reading {}", sources.display()))?;
    let found =
        folders.flatten().map(|folder| folder.path().join(format!("{package}-{version}"))).find(|path| path.is_dir());
    let found = found.with_context(|| format!("cargo did not unpack {spec} below {}", sources.display()))?;
    Run::new("cp").arg("--recursive").arg(found).arg(to).output().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_by_number() {
        assert_eq!(go_version("go1.26.8"), Some((1, 26)));
        assert!(go_version("go1.19.8").expect("a version") < GO_MIN);
        assert_eq!(go_version("devel +abc"), None);
    }

    #[test]
    fn kubernetes_reports_its_version() {
        let flags = ldflags(Tool::Kubernetes).expect("pinned");
        assert!(flags.contains("k8s.io/component-base/version.gitMinor=36"), "{flags}");
    }
}
