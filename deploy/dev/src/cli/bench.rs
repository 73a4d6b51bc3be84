//! `cargo dev bench`.

use std::process::ExitCode;

use anyhow::Result;

use crate::host::packages::{self, Need};
use crate::images::{self, Programs};
use crate::paths;
use crate::process::Run;
use crate::tools::{self, Tool};

/// Measure what the registry costs: index reads, downloads, search, publishes, memory, start
///
/// On the program that goes into the image, over loopback, on a directory and on an S3 server, beside nginx with the same files. Ends by
/// itself within ten minutes once everything is built, and writes tests/bench/RESULTS.md and results.svg. Compare figures of one line
/// with each other, never with those of another machine or run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure another registry beside it; it is built the first time. May be given for each
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// How long each server is put under each kind of load, each of three times, in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Leave tests/bench/RESULTS.md as it is
    #[arg(long)]
    no_results: bool,
}

/// Other registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Peer {
    /// Kellnr on SQLite, from its crate
    Kellnr,
    /// Ktra on Sled and a Git repository, from its crate
    Ktra,
}

/// Builds what is measured, and hands over to the benchmark.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    packages::ensure(&[Need::Bench]).await?;
    tools::ensure(&[Tool::Versitygw]).await?;
    let Programs { dir, target } = images::compile().await?;
    let mut command = Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(paths::workspace())
        // The same target as the program: most of what it is made of is compiled already.
        .args(["bench", "-p", "supercargo-tests", "--bench", "registry", "--target", &target])
        .envs([images::c_compiler(&target)])
        .args(["--", "--seconds", &args.seconds.to_string(), "--registry"])
        .arg(dir.join("supercargo-registry"));
    for (peer, program) in [(Peer::Kellnr, "kellnr"), (Peer::Ktra, "ktra")] {
        if args.peer.contains(&peer) {
            command = command.arg(format!("--{program}")).arg(tools::binary(program).await?);
        }
    }
    if !args.no_results {
        command = command.arg("--results").arg(paths::workspace().join("tests/bench"));
    }
    let code = command.interactive().await?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}
