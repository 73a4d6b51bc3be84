//! What the operator itself is told, by flags and by environment (`SUPERCARGO_OPERATOR_*`; a flag wins).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::check::Check;

/// The Supercargo operator: private Cargo registries as Kubernetes objects
#[derive(Debug, Parser)]
#[command(name = "supercargo-operator", version, about, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The programs in this program.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Reconcile CargoRegistry and CargoToken objects until SIGTERM
    ///
    /// Finds the API server as kubectl does: by $KUBECONFIG or ~/.kube/config, else by the pod's ServiceAccount.
    Run(Box<Config>),
    /// Print the CustomResourceDefinitions that this version works with, as YAML
    Crds(Crds),
    /// Say whether kinds, rights and the running operator are as they should be; exits with 1 if not
    Check(Check),
}

/// Flags of `supercargo-operator crds`.
#[derive(Debug, Args)]
pub struct Crds {
    /// Write one file per kind into this directory instead of printing
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}

/// Flags of `supercargo-operator run`. They hold no secrets.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Image of registries whose spec names none
    #[arg(long, env = "SUPERCARGO_OPERATOR_REGISTRY_IMAGE", value_name = "IMAGE", default_value = DEFAULT_REGISTRY_IMAGE)]
    pub registry_image: String,

    /// Pull policy of registries whose spec names none
    #[arg(
        long,
        env = "SUPERCARGO_OPERATOR_REGISTRY_IMAGE_PULL_POLICY",
        value_name = "POLICY",
        default_value = "IfNotPresent",
        value_parser = ["Always", "IfNotPresent", "Never"]
    )]
    pub registry_image_pull_policy: String,

    /// Namespaces to look after, separated by commas; all of them when empty
    #[arg(long, env = "SUPERCARGO_OPERATOR_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// Namespace the operator runs in: registries let only it and themselves reach their internal port
    #[arg(long, env = "SUPERCARGO_OPERATOR_NAMESPACE", value_name = "NAMESPACE", default_value = "supercargo-system")]
    pub operator_namespace: String,

    /// Name of the operator's pod, for events
    #[arg(long, env = "SUPERCARGO_OPERATOR_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// Address of /livez, /readyz and /metrics
    #[arg(long, env = "SUPERCARGO_OPERATOR_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Objects of one kind that are reconciled at the same time (per watched namespace, if any are named)
    #[arg(
        long,
        env = "SUPERCARGO_OPERATOR_CONCURRENCY",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub concurrency: u16,

    /// Seconds between two looks at what cannot be watched: referenced Secrets and ConfigMaps, the registry's own verdict
    #[arg(
        long,
        env = "SUPERCARGO_OPERATOR_POLL_SECS",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=3600)
    )]
    pub poll_secs: u64,

    /// Seconds one pass over one object may take
    #[arg(
        long,
        env = "SUPERCARGO_OPERATOR_RECONCILE_SECS_MAX",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(5..=600)
    )]
    pub reconcile_secs_max: u64,

    /// Seconds that passes under way are given to end after SIGTERM
    #[arg(
        long,
        env = "SUPERCARGO_OPERATOR_DRAIN_SECS",
        value_name = "SECONDS",
        default_value_t = 20,
        value_parser = clap::value_parser!(u64).range(0..=600)
    )]
    pub drain_secs: u64,

    /// How log lines look
    #[arg(long, env = "SUPERCARGO_OPERATOR_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub log_format: LogFormat,

    /// What is logged, e.g. "info" or "info,supercargo_operator=debug"
    #[arg(long, env = "SUPERCARGO_OPERATOR_LOG_FILTER", value_name = "FILTER", default_value = "info")]
    pub log_filter: String,
}

/// The registry's image of the operator's own version, under the name that the project publishes.
pub const DEFAULT_REGISTRY_IMAGE: &str = concat!("supercargo/registry:", env!("CARGO_PKG_VERSION"));

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

impl Config {
    /// Longest time one pass may take.
    pub fn reconcile_deadline(&self) -> Duration {
        Duration::from_secs(self.reconcile_secs_max)
    }

    /// Longest time that all requests to S3 of one pass may take: at most half of the pass, so that it can tell how it went.
    pub fn bucket_budget(&self) -> Duration {
        crate::bucket::BUDGET.min(self.reconcile_deadline() / 2)
    }

    /// Time between two looks at what cannot be watched.
    pub fn poll_interval(&self) -> Duration {
        Duration::from_secs(self.poll_secs)
    }

    /// Time that passes under way are given to end.
    pub fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }

    /// The namespaces to watch, without duplicates and blanks; `None` stands for the whole cluster.
    pub fn scopes(&self) -> Vec<Option<String>> {
        let mut names: Vec<_> =
            self.watch_namespaces.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        names.sort();
        names.dedup();
        if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, clap::Error> {
        match Cli::try_parse_from([&["supercargo-operator", "run"], args].concat())?.command {
            Command::Run(config) => Ok(*config),
            Command::Crds(_) | Command::Check(_) => unreachable!("`run` was parsed"),
        }
    }

    #[test]
    fn no_namespace_means_the_cluster() {
        assert_eq!(parse(&[]).unwrap().scopes(), [None]);
        assert_eq!(parse(&["--watch-namespaces", ""]).unwrap().scopes(), [None]);
    }

    #[test]
    fn namespaces_are_listed_once() {
        let scopes = parse(&["--watch-namespaces", "b, a,b"]).unwrap().scopes();
        assert_eq!(scopes, [Some("a".into()), Some("b".into())]);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in [["--concurrency", "0"], ["--poll-secs", "0"], ["--reconcile-secs-max", "1"]] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }
}
