//! `cargo dev demo`, as a stranger types it.

use anyhow::{Context, Result, ensure};
use supercargo_dev::{paths, process::Run};

use crate::turns::with_operator;

/// Twice: the second run finds everything there already.
#[tokio::test]
async fn the_demo_publishes_builds_and_yanks_and_can_be_run_again() -> Result<()> {
    let _turn = with_operator().await;
    for run in ["first", "second"] {
        let output = Run::new("cargo").args(["dev", "demo"]).dir(paths::workspace()).attempt().await?;
        let said = format!("{}\n{}", output.stdout, output.stderr);
        ensure!(output.success(), "the {run} run failed:\n{said}");
        for expected in [
            "Hello, Supercargo!",
            "greeting-speech = \"0.1.0\"",
            "Yank greeting-words@0.1.0",
            "v1/crate/",
            "v1/blob/",
            "sparse+http://10.89.0.2:30080/index/",
            "cargo login --registry company",
            "cargo dev status | cargo dev logs | cargo dev down",
        ] {
            ensure!(said.contains(expected), "the {run} run does not show {expected:?}:\n{said}");
        }
    }
    clean_up().await.context("removing the demo")
}

/// Registry and token first, while the operator clears their finalizers.
async fn clean_up() -> Result<()> {
    let cluster = supercargo_dev::cluster::Cluster::find_or_say_how()?;
    cluster.kubectl(["-n", "demo", "delete", "cargo", "--all"]).output().await?;
    cluster.kubectl(["delete", "namespace", "demo", "--wait=false"]).output().await?;
    Ok(())
}
