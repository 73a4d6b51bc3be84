//! The table of steps: name, meaning, and what each runs.

use anyhow::{Result, bail};

use super::cluster;
use crate::check::{Bench, Tally, cargo, charts, generated, manifests};
use crate::paths;
use crate::process::Run;
use crate::tools::{self, Tool};

/// A step, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Format,
    Lints,
    Deny,
    Unit,
    Docs,
    Generated,
    HelmLint,
    Kubeconform,
    KubeScore,
    S3,
    Cluster,
}

impl Check {
    /// All, in the order in which they run.
    pub(super) const ALL: [Self; 11] = [
        Self::Format,
        Self::Lints,
        Self::Deny,
        Self::Unit,
        Self::Docs,
        Self::Generated,
        Self::HelmLint,
        Self::Kubeconform,
        Self::KubeScore,
        Self::S3,
        Self::Cluster,
    ];

    /// The name to choose it by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Lints => "lints",
            Self::Deny => "deny",
            Self::Unit => "unit",
            Self::Docs => "docs",
            Self::Generated => "generated",
            Self::HelmLint => "helm-lint",
            Self::Kubeconform => "kubeconform",
            Self::KubeScore => "kube-score",
            Self::S3 => "s3-servers",
            Self::Cluster => "cluster",
        }
    }

    /// What it holds the project to.
    pub(super) fn about(self) -> &'static str {
        match self {
            Self::Format => "rustfmt changes nothing",
            Self::Lints => "clippy has nothing to say, on tests and end-to-end tests, too",
            Self::Deny => "cargo-deny: banned crates, licences, sources",
            Self::Unit => {
                "cargo test --workspace: unit tests, contracts, rules of the house, real Cargo against a local registry"
            }
            Self::Docs => "rustdoc builds without a warning",
            Self::Generated => "crds/ and the CRD chart are what the operator's types say",
            Self::HelmLint => "helm lint of both charts",
            Self::Kubeconform => "charts and examples fit the schemas of Kubernetes and of our CRDs, strictly",
            Self::KubeScore => "kube-score on what the chart renders",
            Self::S3 => {
                "the store contract on versitygw, MinIO and ministack, and its refusal of a store that loses updates"
            }
            Self::Cluster => {
                "end to end: the operator by its chart, registries in pods, S3, the real cargo; the tests are:"
            }
        }
    }

    /// Whether it uses programs that `cargo dev` builds (and that are worth building in the background).
    pub(super) fn needs_tools(self) -> bool {
        matches!(self, Self::HelmLint | Self::Kubeconform | Self::KubeScore | Self::S3 | Self::Cluster)
    }

    /// Runs it; `filter` names the tests to run, all if it is empty.
    pub(super) async fn run(self, bench: &Bench, filter: &[String]) -> Result<Tally> {
        let name = self.name();
        match self {
            Self::Format => bench.check(name, cargo(&["fmt", "--all", "--check"])).await,
            Self::Lints => bench.check(name, lints()).await,
            Self::Deny => bench.check(name, deny().await?).await,
            Self::Unit => bench.cargo_test(name, cargo(&["test", "--workspace", "--no-fail-fast"])).await,
            Self::Docs => bench.check(name, docs()).await,
            Self::Generated => generated::are_fresh(bench).await,
            Self::HelmLint => charts::lint(bench).await,
            Self::Kubeconform => manifests::conform(bench).await,
            Self::KubeScore => charts::score(bench).await,
            Self::S3 => bench.cargo_test(name, s3_servers().await?).await,
            Self::Cluster => cluster::end_to_end(bench, filter).await,
        }
    }
}

/// `--all-targets` covers targets with `test = false`, too.
fn lints() -> Run {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
}

fn docs() -> Run {
    // Programs, not libraries: who reads their documentation works on them, and the maps name private rooms.
    cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links")
}

/// Advisories are left out: their database is not a package registry.
async fn deny() -> Result<Run> {
    tools::ensure(&[Tool::CargoDeny]).await?;
    let program = tools::bin_dir(Tool::CargoDeny)?.join("cargo-deny");
    let config = paths::workspace().join(".deny.toml");
    let run = Run::new(program).dir(paths::workspace()).args(["--all-features", "--locked", "--config"]).arg(config);
    Ok(run.args(["check", "bans", "licenses", "sources"]))
}

/// The tests start and stop the servers; here they are only built.
async fn s3_servers() -> Result<Run> {
    tools::ensure(&[Tool::Versitygw, Tool::Minio, Tool::Ministack]).await?;
    Ok(cargo(&["test", "-p", "supercargo-tests", "--test", "s3", "--no-fail-fast"]))
}

/// Names of all end-to-end tests, out of the compiled suite.
pub(super) async fn end_to_end_tests() -> Result<Vec<String>> {
    let listed =
        cargo(&["test", "--quiet", "-p", "supercargo-tests", "--test", "cluster", "--", "--list"]).attempt().await?;
    if !listed.success() {
        bail!("the end-to-end tests do not compile:\n{}", listed.stderr);
    }
    Ok(listed.stdout.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect())
}
