//! `cargo dev up`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::progress;

/// Start a real Kubernetes cluster on this machine, or mend the one that runs
///
/// Builds Kubernetes from its Go modules the first time (about 5 minutes on two free cores), then starts in seconds. Each node
/// is a set of Linux namespaces; `cargo dev down` removes everything. Needs root.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many nodes [default: as many as run, else 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: Option<u8>,
}

/// Brings the cluster up and says how to use it.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let cluster = Cluster::up(args.nodes).await?;
    progress::say(format_args!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    Ok(ExitCode::SUCCESS)
}
