//! `cargo dev images`.

use std::process::ExitCode;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::images::{build_products, build_s3_server};
use crate::progress::{bytes, say, tell};

/// Build the images of both programs and of the demo's S3 server, and load them into the cluster that runs
///
/// What did not change is not built again. Prints one line per image: reference by content, reference by version, size, archive.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Builds, loads into every node if there is a cluster, prints references.
pub(crate) async fn run(Args {}: Args) -> Result<ExitCode> {
    let products = build_products().await?;
    let server = build_s3_server().await?;
    let images = [&products.registry, &products.operator, &server];
    match Cluster::find()? {
        Some(cluster) => cluster.load(&images).await?,
        None => tell("no cluster runs: nothing was loaded"),
    }
    for image in images {
        say(format_args!(
            "{}  {}  {}  {}",
            image.reference(),
            image.version_reference(),
            bytes(image.size()),
            image.archive().display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
