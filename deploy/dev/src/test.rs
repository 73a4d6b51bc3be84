//! `cargo dev test`: everything that has to hold before a change lands, in named steps, cheapest first.
//!
//! [`checks`] is the table of steps and what each runs, [`report`] sums up, [`background`] builds what later steps need while
//! the first ones run. A step that fails does not stop the others: one run shows all there is.

mod background;
mod checks;
mod cluster;
mod report;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::check::Bench;
use crate::host::disk;
use crate::progress::say;
use background::Background;
use checks::Check;
use report::{Outcome, Report};

/// What is compiled, in gigabytes: everything, the second time what changed.
const COLD_GIGABYTES: u64 = 10;
const WARM_GIGABYTES: u64 = 2;

/// Check everything: format, lints, tests, charts, and the whole on a real cluster with real Cargo and real S3
///
/// Takes up to an hour from nothing (Kubernetes and other tools are built from source) and well below 20 minutes after that.
/// Ends with a table of the steps and, as its last line, `N passed, N failed`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only steps and end-to-end tests whose name contains one of these words
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// Name every step and every end-to-end test, and run none
    #[arg(long)]
    list: bool,
    /// Build the tools of all steps and end: what `cargo dev test` has done in the background
    #[arg(long, hide = true, conflicts_with_all = ["words", "list"])]
    prepare: bool,
}

/// Runs the chosen steps. The exit code is 0 only if all of them held.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    if args.prepare {
        background::prepare().await?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.list {
        return list().await;
    }
    require_room(args.words.is_empty())?;
    let plan = plan(&args.words).await?;
    let bench = Bench::new()?;
    let mut background = Background::start(&plan.iter().map(|(check, _)| *check).collect::<Vec<_>>())?;
    let mut report = Report::default();
    for (check, filter) in plan {
        if check.needs_tools() {
            background.wait().await;
        }
        let begun = Instant::now();
        let outcome = Outcome::of(check.name(), check.run(&bench, &filter).await, begun.elapsed());
        outcome.tell();
        report.add(outcome);
    }
    report.print(bench.logs());
    Ok(if report.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A whole run from nothing fills some gigabytes with what it compiles.
fn require_room(is_whole: bool) -> Result<()> {
    let program = std::env::current_exe().context("finding our own program")?;
    let folder = program.parent().context("our own program is in no folder")?;
    let is_built = folder.join("libsupercargo_registry.rlib").exists();
    let gigabytes = if is_built || !is_whole { WARM_GIGABYTES } else { COLD_GIGABYTES };
    disk::require_free(folder, gigabytes, "`cargo dev test`")
}

/// The steps to run, each with the tests of it to run (all if none are named).
async fn plan(words: &[String]) -> Result<Vec<(Check, Vec<String>)>> {
    let named = |check: &Check| words.iter().any(|word| check.name().contains(word.as_str()));
    let mut plan: Vec<(Check, Vec<String>)> = Check::ALL
        .into_iter()
        .filter(|check| words.is_empty() || named(check))
        .map(|check| (check, Vec::new()))
        .collect();
    let rest: Vec<String> = words
        .iter()
        .filter(|word| !Check::ALL.iter().any(|check| check.name().contains(word.as_str())))
        .cloned()
        .collect();
    if rest.is_empty() || plan.iter().any(|(check, _)| *check == Check::Cluster) {
        return Ok(plan);
    }
    let tests = checks::end_to_end_tests().await?;
    if let Some(unknown) = rest.iter().find(|word| !tests.iter().any(|test| test.contains(word.as_str()))) {
        bail!("no step and no end-to-end test has {unknown:?} in its name; `cargo dev test --list` names all");
    }
    plan.push((Check::Cluster, rest));
    Ok(plan)
}

async fn list() -> Result<ExitCode> {
    for check in Check::ALL {
        say(format_args!("{:<12} {}", check.name(), check.about()));
        if check == Check::Cluster {
            for test in checks::end_to_end_tests().await? {
                say(format_args!("    {test}"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
