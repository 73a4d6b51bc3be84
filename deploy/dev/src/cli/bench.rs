//! `cargo dev bench`.

use std::process::ExitCode;

use anyhow::Result;

use crate::host::packages::{self, Need};
use crate::images::{self, Programs};
use crate::paths;
use crate::process::Run;
use crate::tools::{self, Tool};

/// Measure what the registry costs: publish, index reads, memory, time to ready
///
/// On the program that goes into the image, over loopback, on a directory and on an S3 server. Ends by itself within two minutes once
/// everything is built. Compare lines of one run with each other, never with those of another machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Builds what is measured, and hands over to the benchmark.
pub(crate) async fn run(Args {}: Args) -> Result<ExitCode> {
    packages::ensure(&[Need::Bench]).await?;
    tools::ensure(&[Tool::Versitygw]).await?;
    let Programs { dir, target } = images::compile().await?;
    let code = Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(paths::workspace())
        // The same target as the program: most of what it is made of is compiled already.
        .args(["bench", "-p", "supercargo-tests", "--bench", "registry", "--target", &target])
        .envs([images::c_compiler(&target)])
        .args(["--", "--registry"])
        .arg(dir.join("supercargo-registry"))
        .interactive()
        .await?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}
