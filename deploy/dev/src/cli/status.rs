//! `cargo dev status`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use crate::cluster::{Cluster, Remain, plan, remains};
use crate::paths;
use crate::progress::{bytes, say, tell};

/// Show what runs: nodes, pods, registries, where the state and the logs are
///
/// Ends with 0 when the cluster is up and its nodes are Ready, else with 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Prints tables; the exit code tells a script whether all is well.
pub(crate) async fn run(Args {}: Args) -> Result<ExitCode> {
    let Some(cluster) = Cluster::find()? else { return nothing_runs().await };
    let answer = cluster.kubectl(["get", "nodes", "-o", "json", "--request-timeout=3s"]).attempt().await?;
    if !answer.success() {
        tell(answer.stderr.trim());
        tell("the API server does not answer: `cargo dev up` mends, `cargo dev logs kube-apiserver` tells why");
        return Ok(ExitCode::FAILURE);
    }
    let list: Value = serde_json::from_str(&answer.stdout)?;
    let mut all_well = true;
    say(format_args!("{:<8} {:<12} {:<10} {:<10} restarts of components", "NODE", "ADDRESS", "STATUS", "VERSION"));
    for node in cluster.nodes() {
        let (ready, version) = describe(&list, &plan::node_name(node));
        let status = match (cluster.node_runs(node), ready) {
            (false, _) => "Stopped",
            (true, false) => "NotReady",
            (true, true) => "Ready",
        };
        all_well &= status == "Ready";
        say(format_args!(
            "{:<8} {:<12} {status:<10} {version:<10} {}",
            plan::node_name(node),
            plan::node_address(node),
            restarts(node)
        ));
    }
    for (title, args) in [
        ("\nPods", &["get", "pods", "-A", "-o", "wide", "--request-timeout=5s"][..]),
        ("\nRegistries and tokens", &["get", "cargo", "-A", "--request-timeout=5s"][..]),
    ] {
        // Before the operator is installed there is no such category.
        let answer = cluster.kubectl(args).attempt().await?;
        if answer.success() && !answer.stdout.trim().is_empty() {
            say(format_args!("{title}\n{}", answer.stdout.trim_end()));
        }
    }
    say(format_args!("\nexport KUBECONFIG={}", cluster.kubeconfig().display()));
    say(format_args!("state and logs: {} ({})", paths::STATE, bytes(disk_use(paths::STATE.as_ref()))));
    if !all_well {
        tell("`cargo dev up` starts again what has stopped");
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn nothing_runs() -> Result<ExitCode> {
    tell("no cluster runs on this machine: `cargo dev up` starts one");
    let left: Vec<Remain> = remains().await?;
    if !left.is_empty() {
        tell("of an earlier one there is still (`cargo dev down` removes it):");
        left.iter().for_each(|one| tell(format_args!("  {one}")));
    }
    Ok(ExitCode::FAILURE)
}

fn describe(list: &Value, name: &str) -> (bool, String) {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(node) = items.iter().find(|item| item["metadata"]["name"] == name) else { return (false, "-".to_owned()) };
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    (ready, node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or("-").to_owned())
}

/// How often a component ended and was started again, from what the node says about itself.
fn restarts(node: u8) -> usize {
    let log = std::fs::read_to_string(Cluster::log(node, "init")).unwrap_or_default();
    log.lines().filter(|line| line.contains(" ended with ")).count()
}

/// Bytes of the files below a folder, of this filesystem alone: containers' mounts are not counted.
fn disk_use(dir: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        sum += if found.is_dir() { disk_use(&entry.path()) } else { found.blocks() * 512 };
    }
    sum
}
