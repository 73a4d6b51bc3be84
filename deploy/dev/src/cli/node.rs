//! `cargo dev node`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::Cluster;

/// Run a command, or a shell, inside a node: its mounts, network and processes
///
/// For instance `cargo dev node 1 -- ctr -n k8s.io containers ls` or `cargo dev node 2 -- nft list ruleset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's number
    node: u8,
    /// The command [default: bash]
    #[arg(last = true)]
    command: Vec<String>,
}

/// Ends as the command ends.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let command = if args.command.is_empty() { vec!["bash".to_owned()] } else { args.command };
    let code = Cluster::find_or_say_how()?.node_exec(args.node, command)?.interactive().await?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}
