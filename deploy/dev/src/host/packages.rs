//! Debian packages: the one list, checked by the files they bring and installed where we may.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process::{Run, find};
use crate::progress::Step;
use crate::{host, paths};

/// What a package is for. A command asks for what it uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Running nodes.
    Cluster,
    /// Building container images and the static programs inside them.
    Images,
    /// S3 servers written in Python, as further witnesses for the storage contract.
    Witnesses,
    /// Benchmarks.
    Bench,
}

/// A package, the sign that it (or something as good) is there, and why we want it.
struct Package {
    name: &'static str,
    need: Need,
    sign: Sign,
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people, and by the test that demands it"))]
    why: &'static str,
}

/// How one sees that a package is there.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// A program of this name in `PATH` or an `sbin` folder.
    Program(&'static str),
    /// Any of these files.
    File(&'static [&'static str]),
    /// `python3 -m venv` can install pip: Debian splits that off its own Python.
    PythonVenv,
}

const PACKAGES: &[Package] = &[
    program("containerd", Need::Cluster, "containerd", "container runtime of the nodes, and `ctr`"),
    program("runc", Need::Cluster, "runc", "starts the containers"),
    package(
        "containernetworking-plugins",
        Need::Cluster,
        Sign::File(CNI_BRIDGE),
        "pod networks: bridge, host-local, portmap",
    ),
    program("nftables", Need::Cluster, "nft", "kube-proxy's rules"),
    program("iptables", Need::Cluster, "iptables", "the kubelet's and the portmap plugin's rules"),
    program("iproute2", Need::Cluster, "ip", "links, addresses, routes"),
    program("kmod", Need::Cluster, "modprobe", "br_netfilter and overlay, where they are modules"),
    program("openssl", Need::Cluster, "openssl", "the cluster's certificates"),
    program("curl", Need::Cluster, "curl", "asks the API server whether it is ready"),
    program("buildah", Need::Cluster, "buildah", "builds images from Containerfiles without a daemon"),
    package("ca-certificates", Need::Images, Sign::File(&[CA_CERTIFICATES]), "go into the images, for S3 over TLS"),
    program("musl-tools", Need::Images, "musl-gcc", "compiles the C of aws-lc for static programs"),
    program("wrk", Need::Bench, "wrk", "asks over HTTP/1.1 as fast as it can"),
    program("nghttp2-client", Need::Bench, "h2load", "the same over HTTP/2"),
    program("nginx-light", Need::Bench, "nginx", "serves the same files: the limit for HTTP"),
    program("git", Need::Bench, "git", "keeps the index of Ktra"),
    package("python3-venv", Need::Witnesses, Sign::PythonVenv, "an environment of its own for ministack"),
];

/// Certificate authorities of the host, copied into the images.
pub const CA_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

const CNI_BRIDGE: &[&str] = &["/usr/lib/cni/bridge", "/opt/cni/bin/bridge", "/usr/libexec/cni/bridge"];

const fn program(name: &'static str, need: Need, program: &'static str, why: &'static str) -> Package {
    package(name, need, Sign::Program(program), why)
}

const fn package(name: &'static str, need: Need, sign: Sign, why: &'static str) -> Package {
    Package { name, need, sign, why }
}

impl Package {
    fn is_there(&self) -> bool {
        match self.sign {
            Sign::Program(name) => find(name).is_some(),
            Sign::File(files) => files.iter().any(|file| Path::new(file).exists()),
            Sign::PythonVenv => has_python_venv(),
        }
    }
}

/// A Python that somebody built (pyenv and the like) has all of its standard library.
fn has_python_venv() -> bool {
    let Some(python) = find("python3") else { return false };
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut of_debian = libraries.filter(|entry| entry.file_name().to_string_lossy().starts_with("python3."));
    !python.starts_with("/usr/bin") || of_debian.any(|library| library.path().join("ensurepip/__init__.py").exists())
}

/// Installs what is missing for these needs.
///
/// # Errors
/// Names the packages and the command when we are not root, or this is no Debian.
pub async fn ensure(needs: &[Need]) -> Result<()> {
    let missing = || -> Vec<&str> {
        PACKAGES.iter().filter(|one| needs.contains(&one.need) && !one.is_there()).map(|one| one.name).collect()
    };
    let names = missing();
    if names.is_empty() {
        return Ok(());
    }
    let command = format!("apt-get update && apt-get install --yes --no-install-recommends {}", names.join(" "));
    if find("apt-get").is_none() {
        bail!(
            "these programs are missing: {}. (The names are Debian's; install what your system calls them.)",
            names.join(", ")
        )
    }
    if !host::is_root() {
        bail!("these Debian packages are missing. Install them as root:\n  {command}")
    }
    let step = Step::start(format!("Debian packages: {}", names.join(" ")));
    let apt = || Run::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    apt()
        .arg("update")
        .logged(&step, &paths::build_log("apt-update"))
        .await
        .context("refreshing Debian's package lists")?;
    // --no-remove: on a machine with Docker's own packages nothing of them may go.
    apt()
        .args(["install", "--yes", "--no-remove", "--no-install-recommends"])
        .args(&names)
        .logged(&step, &paths::build_log("apt-install"))
        .await
        .with_context(|| format!("installing Debian packages; by hand: {command}"))?;
    let still = missing();
    if !still.is_empty() {
        bail!("installed, but what they should bring is not there: {}", still.join(", "))
    }
    step.done("");
    Ok(())
}

/// Where the CNI plugins are.
pub fn cni_dir() -> Result<PathBuf> {
    let bridge = CNI_BRIDGE.iter().map(Path::new).find(|path| path.exists());
    let dir = bridge.and_then(Path::parent).map(Path::to_owned);
    dir.with_context(|| format!("no CNI plugins: none of {} exists", CNI_BRIDGE.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_listed_once_and_says_why() {
        for package in PACKAGES {
            assert!(package.why.len() > 10, "{} {:?}", package.name, package.sign);
            assert_eq!(PACKAGES.iter().filter(|other| other.name == package.name).count(), 1, "{}", package.name);
        }
    }
}
