//! `cargo dev down`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster;

/// Stop the cluster and remove everything that `up` made
///
/// Finds what belongs to the cluster by looking at the machine, so it also cleans up after a killed `up` or a killed node. Built
/// tools and images stay in the cache.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep the nodes' image stores, so that the next `up` need not import images again
    #[arg(long)]
    keep_images: bool,
}

/// Removes the cluster; fine when there is none.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    cluster::down(args.keep_images).await?;
    Ok(ExitCode::SUCCESS)
}
