//! Programs that `cargo dev` builds for itself, at pinned versions, once.
//!
//! Each is a folder of `deploy/dev/tools/` (Go modules with `tool` lines and their `go.sum`; a Python requirements file with
//! hashes) or a crate by version. The result lies in the cache under a hash of what went in, so another version is another folder
//! and switching back is free.

mod build;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::paths;

/// A tool, in the order in which a first run wants them: the cluster starts as early as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Kubernetes' programs and etcd.
    Kubernetes,
    /// The process that holds a pod's namespaces.
    Pause,
    /// The cluster's DNS server.
    CoreDns,
    /// Installs the charts.
    Helm,
    /// The S3 server of the demo and of the end-to-end tests.
    Versitygw,
    /// Checks manifests against the API's schemas.
    Kubeconform,
    /// Checks manifests against good practice.
    KubeScore,
    /// An S3 server, the second witness of the storage contract.
    Minio,
    /// S3, IAM and STS in one process: the witness for bucket sub-resources and rights.
    Ministack,
    /// Licences, bans and sources of crates.
    CargoDeny,
    /// Another registry, for the benchmark; no test needs it.
    Kellnr,
    /// One more.
    Ktra,
}

/// How a tool is made.
#[derive(Debug, Clone, Copy)]
enum Recipe {
    /// `go build`. `tags` as upstream's own releases or to leave out what is not used.
    Go { tags: &'static str },
    /// `pip install --require-hashes` into a virtual environment.
    Python,
    /// `cargo install --locked` of a crate at this version. `pins` are put into its lock file first: what it was released with may be
    /// gone since.
    Cargo { package: &'static str, version: &'static str, pins: &'static [(&'static str, &'static str)] },
}

impl Tool {
    /// All, in building order.
    pub const ALL: [Self; 12] = [
        Self::Kubernetes,
        Self::Pause,
        Self::CoreDns,
        Self::Helm,
        Self::Versitygw,
        Self::Kubeconform,
        Self::KubeScore,
        Self::Minio,
        Self::Ministack,
        Self::CargoDeny,
        Self::Kellnr,
        Self::Ktra,
    ];

    /// Those that tests need, in building order.
    pub fn for_tests() -> Vec<Self> {
        Self::ALL.into_iter().filter(|tool| !matches!(tool, Self::Kellnr | Self::Ktra)).collect()
    }

    /// Its folder below `deploy/dev/tools/` and in the cache.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Pause => "pause",
            Self::CoreDns => "coredns",
            Self::Helm => "helm",
            Self::Versitygw => "versitygw",
            Self::Kubeconform => "kubeconform",
            Self::KubeScore => "kube-score",
            Self::Minio => "minio",
            Self::Ministack => "ministack",
            Self::CargoDeny => "cargo-deny",
            Self::Kellnr => "kellnr",
            Self::Ktra => "ktra",
        }
    }

    /// The programs it brings.
    pub fn binaries(self) -> &'static [&'static str] {
        match self {
            Self::Kubernetes => &[
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kubelet",
                "kube-proxy",
                "kubectl",
                "etcd",
                "etcdctl",
            ],
            Self::Pause => &["pause"],
            Self::CoreDns => &["coredns"],
            Self::Helm => &["helm"],
            Self::Versitygw => &["versitygw"],
            Self::Kubeconform => &["kubeconform"],
            Self::KubeScore => &["kube-score"],
            Self::Minio => &["minio"],
            Self::Ministack => &["ministack"],
            Self::CargoDeny => &["cargo-deny"],
            Self::Kellnr => &["kellnr"],
            Self::Ktra => &["ktra"],
        }
    }

    /// What a person should expect of the first build on two free cores; nothing for what takes seconds.
    fn first_time(self) -> &'static str {
        match self {
            Self::Kubernetes => "first time only: about 5 minutes on two free cores, the longest step of a first run",
            Self::CoreDns | Self::Versitygw => "first time only: about 1 minute",
            Self::Helm | Self::CargoDeny => "first time only: about 2 minutes",
            Self::Minio => "first time only: about 3 minutes",
            Self::Kellnr | Self::Ktra => "first time only: about 10 minutes on two free cores",
            Self::Pause | Self::Kubeconform | Self::KubeScore | Self::Ministack => "",
        }
    }

    fn recipe(self) -> Recipe {
        match self {
            Self::Kubernetes => Recipe::Go { tags: "notest,grpcnotrace" },
            Self::CoreDns => Recipe::Go { tags: "grpcnotrace" },
            Self::Pause | Self::Helm | Self::Versitygw | Self::Kubeconform | Self::KubeScore | Self::Minio => {
                Recipe::Go { tags: "" }
            }
            Self::Ministack => Recipe::Python,
            Self::CargoDeny => Recipe::Cargo { package: "cargo-deny", version: "0.20.2", pins: &[] },
            Self::Kellnr => {
                Recipe::Cargo { package: "kellnr", version: "6.13.0", pins: &[("webpki-roots@1.0.11", "1.0.10")] }
            }
            Self::Ktra => Recipe::Cargo { package: "ktra", version: "0.7.0", pins: &[] },
        }
    }

    /// The pinned version, read from the one place that pins it.
    pub fn version(self) -> Result<String> {
        let module = match self {
            Self::Kubernetes => "k8s.io/kubernetes",
            Self::CoreDns => "github.com/coredns/coredns",
            Self::Helm => "helm.sh/helm/v4",
            Self::Versitygw => "github.com/versity/versitygw",
            Self::Kubeconform => "github.com/yannh/kubeconform",
            Self::KubeScore => "github.com/zegl/kube-score",
            Self::Minio => "github.com/minio/minio",
            Self::Pause => return Ok("1".to_owned()),
            Self::Ministack => {
                let text = std::fs::read_to_string(self.source().join("requirements.txt"))?;
                let pin = text.lines().find_map(|line| line.strip_prefix("ministack=="));
                let version = pin.and_then(|rest| rest.split_whitespace().next());
                return version.map(str::to_owned).context("requirements.txt does not pin ministack");
            }
            Self::CargoDeny | Self::Kellnr | Self::Ktra => {
                let Recipe::Cargo { version, .. } = self.recipe() else { unreachable!("these are crates") };
                return Ok(version.to_owned());
            }
        };
        let file = self.source().join("go.mod");
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let version = text.lines().find_map(|line| {
            line.trim().trim_start_matches("require ").strip_prefix(module)?.strip_prefix(" v")?.split(' ').next()
        });
        version.map(str::to_owned).with_context(|| format!("{} does not require {module}", file.display()))
    }

    /// Its sources: `go.mod` and the like.
    fn source(self) -> PathBuf {
        paths::workspace().join("deploy/dev/tools").join(self.name())
    }

    /// Hash of everything that decides what is built.
    fn key(self) -> Result<String> {
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {} {:?}", self.recipe(), std::env::consts::ARCH, self.binaries()));
        let source = self.source();
        if source.is_dir() {
            let mut files: Vec<PathBuf> = std::fs::read_dir(&source)?.flatten().map(|entry| entry.path()).collect();
            files.sort();
            for file in files {
                let text = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
                hash.update(format!("{:?} {}\n", file.file_name(), text.len()));
                hash.update(text);
            }
        }
        Ok(hex::encode(hash.finalize())[..12].to_owned())
    }

    /// Where it is, or will be.
    fn home(self) -> Result<PathBuf> {
        Ok(self.home_of(&self.key()?))
    }

    fn home_of(self, key: &str) -> PathBuf {
        paths::cache().join("tools").join(format!("{}-{key}", self.name()))
    }

    fn is_built(self) -> Result<bool> {
        Ok(self.home()?.join(build::COMPLETE).exists())
    }
}

/// Builds those of `tools` that are not in the cache yet, in the order of [`Tool::ALL`], with progress.
///
/// # Errors
/// Shows the end of the failing build's log and its path, or names the missing toolchain.
pub async fn ensure(tools: &[Tool]) -> Result<()> {
    for tool in Tool::ALL.into_iter().filter(|tool| tools.contains(tool)) {
        if !tool.is_built()? {
            build::build(tool).await.with_context(|| format!("building {}", tool.name()))?;
        }
    }
    Ok(())
}

/// The path of a program by name (`"helm"`, `"kubectl"`, `"versitygw"`), built first if need be.
///
/// # Errors
/// When no tool brings a program of that name, or its build fails.
pub async fn binary(name: &str) -> Result<PathBuf> {
    let Some(tool) = Tool::ALL.into_iter().find(|tool| tool.binaries().contains(&name)) else {
        bail!("no tool of `cargo dev` brings a program called {name}")
    };
    ensure(&[tool]).await?;
    Ok(bin_dir(tool)?.join(name))
}

/// The folder of a tool's programs, for a `PATH`. It is not built here.
pub fn bin_dir(tool: Tool) -> Result<PathBuf> {
    Ok(tool.home()?.join("bin"))
}

/// The folder of the programs of one build of a tool, by its [`key`]: a cluster goes on with the build that it was started with.
pub fn bin_dir_of(tool: Tool, key: &str) -> PathBuf {
    tool.home_of(key).join("bin")
}

/// The hash under which a tool is cached: changes with its version and flags.
pub fn key(tool: Tool) -> Result<String> {
    tool.key()
}

/// The unpacked source of a Go module that a tool is made of, for files that it carries (schemas, manifests).
///
/// # Errors
/// When the tool is no Go module, or does not depend on `module`.
pub async fn module_dir(tool: Tool, module: &str) -> Result<PathBuf> {
    let Recipe::Go { .. } = tool.recipe() else { bail!("{} is not made of Go modules", tool.name()) };
    let go = build::go(&tool.source())?;
    let dir = go.args(["list", "-m", "-f", "{{.Dir}}", module]).output().await?;
    let dir = Path::new(dir.trim()).to_owned();
    if dir.as_os_str().is_empty() {
        bail!("the source of {module} is not unpacked yet: `cargo dev` has to build {} first", tool.name())
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_is_pinned_and_brings_a_program_of_its_own() {
        let mut names: Vec<&str> = Tool::ALL.into_iter().flat_map(Tool::binaries).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "two tools bring the same program");
        for tool in Tool::ALL {
            let version = tool.version().expect("pinned");
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{tool:?} {version}");
            assert_eq!(tool.key().expect("its sources are there").len(), 12);
        }
    }
}
