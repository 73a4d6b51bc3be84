//! The operator by its Helm charts, and the registry of the quickstart.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{NAMESPACE, place::Place};
use crate::paths;
use crate::progress::{Step, say};

/// Namespace of the operator.
const OPERATOR_NAMESPACE: &str = "supercargo-system";
/// Longest that a registry may take to be ready; it takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// Installs or upgrades both charts and waits until the operator is available.
pub(crate) async fn operator(place: &Place) -> Result<()> {
    let charts = paths::workspace().join("charts");
    let crds = charts.join("supercargo-crds").display().to_string();
    let chart = charts.join("supercargo").display().to_string();
    let step = Step::start("helm upgrade --install supercargo-crds");
    let first = [
        "upgrade",
        "--install",
        "supercargo-crds",
        &crds,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--wait",
    ];
    place.helm(&first).output().await?;
    step.done("");

    let step = Step::start("helm upgrade --install supercargo");
    let values = place.image_values();
    let mut second = vec![
        "upgrade",
        "--install",
        "supercargo",
        &chart,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--wait",
        "--timeout",
        "3m",
    ];
    second.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
    let installed = place.helm(&second).output().await;
    if installed.is_err() {
        // Helm only says that it waited; the pods know why.
        let pods = place.kubectl.run(&["-n", OPERATOR_NAMESPACE, "get", "pods,events"]).attempt().await;
        say(pods.map(|output| output.stdout).unwrap_or_default());
    }
    installed?;
    step.done("");
    Ok(())
}

/// Applies the quickstart and waits for its registry, with every condition on the way shown.
pub(crate) async fn registry(place: &Place) -> Result<()> {
    let file = paths::workspace().join("deploy/examples/quickstart.yaml").display().to_string();
    let applied = place.kubectl.run(&["apply", "-f", &file]).output().await?;
    for line in applied.lines() {
        say(format_args!("    {line}"));
    }
    let step = Step::start("CargoRegistry demo/company becomes Ready");
    place.kubectl.wait_ready(NAMESPACE, "cargoregistry/company", READY_WITHIN, &step).await?;
    step.done("");
    Ok(())
}

/// The token of the quickstart, out of its Secret.
pub(crate) async fn token(place: &Place) -> Result<String> {
    let step = Step::start("CargoToken demo/developer becomes Ready");
    place.kubectl.wait_ready(NAMESPACE, "cargotoken/developer", READY_WITHIN, &step).await?;
    step.done("");
    place.secret("developer", "token").await.context("the token of CargoToken developer")
}
