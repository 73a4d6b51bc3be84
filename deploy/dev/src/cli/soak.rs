//! `cargo dev soak`.

use std::process::ExitCode;

use anyhow::Result;

use crate::paths;
use crate::process::Run;

/// Run the simulation of replicas for long: 10,000 seeds, every rule broken in turn, clocks beyond their bound
///
/// On all cores, optimised; below half an hour on two. Prints what it has done, and a seed that fails with the command that replays it.
/// Exit status: 0 everything held and every broken rule was noticed, 1 not, or it could not be built.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seeds of the unbroken code instead of 10,000, and for each broken rule instead of 2,500
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// Only this broken rule, such as NoMargin
    #[arg(long, value_name = "RULE")]
    mutant: Option<String>,
}

/// Builds the simulation and hands over to it.
pub(crate) async fn run(Args { seeds, mutant }: Args) -> Result<ExitCode> {
    let filter = if mutant.is_some() { "soak_every_broken_rule" } else { "soak_" };
    let mut soak = Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(paths::workspace())
        .args(["test", "--profile", "soak", "-p", "supercargo-registry", "--test", "simulation"])
        // Each of them uses all cores.
        .args(["--", "--ignored", "--nocapture", "--test-threads", "1", filter]);
    if let Some(seeds) = seeds {
        soak = soak.env("SUPERCARGO_SEEDS", seeds.to_string());
    }
    if let Some(mutant) = mutant {
        soak = soak.env("SUPERCARGO_MUTANT", mutant);
    }
    Ok(if soak.interactive().await? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
