//! The Helm charts: linted, rendered, scored.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{Bench, Tally};
use crate::paths;
use crate::process::Run;
use crate::progress::tell;
use crate::tools;

/// Both charts, in the order in which they are installed.
pub(super) const CHARTS: [&str; 2] = ["supercargo-crds", "supercargo"];

/// `helm lint --strict` of both.
pub(crate) async fn lint(bench: &Bench) -> Result<Tally> {
    let helm = tools::binary("helm").await?;
    let mut tally = Tally::default();
    for chart in CHARTS {
        let command = Run::new(&helm).args(["lint", "--strict"]).arg(folder(chart));
        tally.extend(bench.check(&format!("helm-lint-{chart}"), command).await?);
    }
    Ok(tally)
}

/// `kube-score` on what the operator's chart renders: no critical finding and no warning.
pub(crate) async fn score(bench: &Bench) -> Result<Tally> {
    let program = tools::binary("kube-score").await?;
    let rendered = bench.folder("kube-score")?.join("supercargo.yaml");
    render("supercargo", &[]).await.and_then(|text| Ok(std::fs::write(&rendered, text)?))?;
    let command = Run::new(program).args(["score", "--output-format", "ci", "--exit-one-on-warning"]).arg(&rendered);
    let (ended_well, said) = bench.run("kube-score", command).await?;
    let mut tally = Tally::default();
    for line in said.lines() {
        // "[OK] supercargo-operator apps/v1/Deployment: (check) …"
        if let Some(finding) = line.strip_prefix("[WARNING]").or_else(|| line.strip_prefix("[CRITICAL]")) {
            tell(line);
            tally.add(finding.trim(), false);
        } else if line.starts_with("[OK]") {
            tally.add(line, true);
        }
    }
    if !ended_well && tally.failed.is_empty() {
        tell(&said);
        tally.add("kube-score", false);
    }
    Ok(tally)
}

/// What `helm install` would apply, with these `key=value` pairs.
pub(super) async fn render(chart: &str, values: &[&str]) -> Result<String> {
    let helm = tools::binary("helm").await?;
    let sets = values.iter().flat_map(|value| ["--set", value]);
    Run::new(helm)
        .args(["template", chart])
        .arg(folder(chart))
        .args(["--namespace", "supercargo-system"])
        .args(sets)
        .output()
        .await
        .with_context(|| format!("rendering the chart {chart}"))
}

fn folder(chart: &str) -> PathBuf {
    paths::workspace().join("charts").join(chart)
}
