//! From whatever is there to a cluster that runs.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::state::{NodeRecord, Process, State, boot_id};
use super::{Cluster, LOCK, cgroup, network, node, plan, remains};
use crate::host::{self, packages, packages::Need};
use crate::images::{self, Image};
use crate::lock::Lock;
use crate::paths;
use crate::process::Run;
use crate::progress::{Step, tell};
use crate::tools::{self, Tool};

/// A component that has not answered after this long will not.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

pub(super) async fn up(nodes: Option<u8>) -> Result<Cluster> {
    host::require_root("the cluster")?;
    packages::ensure(&[Need::Cluster]).await?;
    tools::ensure(&[Tool::Kubernetes, Tool::Pause]).await?;
    let pause = images::pause().await?;

    let lock = Lock::acquire(Path::new(LOCK), "starts or stops the cluster").await?;
    let mut state = take_over(nodes).await?;
    let begun = Step::start(format!("Kubernetes {}, {} node(s)", Tool::Kubernetes.version()?, state.nodes.len()));
    let before = Timestamp::now();
    let started = make(&mut state, &pause, &begun).await?;
    let cluster = Cluster::of(state);
    wait_for_api(&cluster, &begun).await?;
    wait_for_nodes(&cluster, &started, before, &begun).await?;
    wait_for_default_account(&cluster, &begun).await?;
    if started.is_empty() {
        begun.unneeded()
    } else {
        begun.done("Ready")
    }
    dns(&cluster).await?;
    drop(lock);
    Ok(cluster)
}

/// The state to go on from: that of a cluster of this boot, extended; or a new one, after clearing away what is of no use.
async fn take_over(nodes: Option<u8>) -> Result<State> {
    let kubernetes = tools::key(Tool::Kubernetes)?;
    let existing = State::load()?.filter(State::is_of_this_boot);
    let Some(mut state) = existing else {
        clear_leftovers().await?;
        network::check_free().await?;
        let state = State {
            boot_id: boot_id(),
            kubernetes,
            nodes: records(nodes.unwrap_or(1)),
            cgroup: cgroup::Changed::default(),
            mount_points: node::missing_mount_points(),
        };
        std::fs::create_dir_all(paths::STATE).with_context(|| format!("creating {}", paths::STATE))?;
        state.save()?;
        return Ok(state);
    };
    if state.kubernetes != kubernetes {
        tell(
            "note: the running cluster was started with another build of Kubernetes; `cargo dev down` and `cargo dev up` \
             replace it",
        );
    }
    let there = u8::try_from(state.nodes.len()).unwrap_or(u8::MAX);
    match nodes {
        Some(wanted) if wanted < there => {
            bail!("the cluster has {there} nodes and none is taken away from a running one: `cargo dev down` first")
        }
        Some(wanted) if wanted > there => {
            state.nodes.extend(records(wanted).into_iter().skip(usize::from(there)));
            state.save()?;
        }
        _ => {}
    }
    Ok(state)
}

fn records(nodes: u8) -> Vec<NodeRecord> {
    (1..=nodes).map(|index| NodeRecord { index, launcher: None }).collect()
}

/// A cluster of an earlier boot, or one whose notes are gone. Image stores are as good as ever.
async fn clear_leftovers() -> Result<()> {
    let found = remains::remains().await?;
    let step = Step::start("Clearing away what an earlier cluster left");
    remains::remove(true, &step).await?;
    // Files alone are what `down --keep-images` leaves on purpose.
    let is_news = |one: &remains::Remain| !matches!(one, remains::Remain::Firewall(_) | remains::Remain::Path(_));
    if found.iter().any(is_news) {
        step.done("")
    } else {
        step.unneeded()
    }
    Ok(())
}

/// Makes what is missing; returns the nodes that had to be started.
async fn make(state: &mut State, pause: &Image, step: &Step) -> Result<Vec<u8>> {
    let nodes = state.indexes();
    let dead: Vec<u8> = state
        .nodes
        .iter()
        .filter(|node| !node.launcher.is_some_and(Process::is_alive))
        .map(|node| node.index)
        .collect();
    if dead.is_empty() {
        return Ok(dead);
    }
    step.note("certificates");
    certificates(&nodes).await?;
    step.note("cgroups");
    let before = state.cgroup.clone();
    cgroup::ensure(&nodes, &mut state.cgroup)?;
    if state.cgroup != before {
        state.save()?;
    }
    step.note("links and routes");
    modules().await?;
    network::ensure_bridge(&nodes).await?;
    for node in &nodes {
        network::ensure_node(*node, &nodes).await?;
    }
    for path in &state.mount_points {
        std::fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    }
    step.note("starting the nodes");
    for node in &dead {
        // An `up` that was killed may have started the node without having noted so.
        remains::kill_all(Some(*node)).await?;
    }
    for record in &mut state.nodes {
        if dead.contains(&record.index) {
            record.launcher = Some(node::launch(record.index, &state.kubernetes, pause)?);
        }
    }
    state.save()?;
    Ok(dead)
}

async fn certificates(nodes: &[u8]) -> Result<()> {
    let service = plan::SERVICES.address.octets();
    Run::new("bash")
        .args(["-s", "--"])
        .args(nodes.iter().map(u8::to_string))
        .env("STATE", paths::STATE)
        .env("API", node::api_address())
        .env("API_SERVICE", format!("{}.{}.{}.1", service[0], service[1], service[2]))
        .env("HOST", plan::HOST.to_string())
        .stdin(include_str!("../../cluster/pki.sh"))
        .output()
        .await
        .map(drop)
        .context("making the cluster's certificates")
}

/// Kernel parts that do not load by themselves. `br_netfilter` filters the host's own bridges too once it is there, unless told
/// not to: where we are the ones who load it, we do.
async fn modules() -> Result<()> {
    let switch = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if !switch.exists() {
        Run::new("modprobe")
            .arg("br_netfilter")
            .output()
            .await
            .context("loading a kernel module that pod networks need")?;
        std::fs::write(switch, "0").with_context(|| format!("writing {}", switch.display()))?;
    }
    let filesystems = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.contains("\toverlay\n") {
        Run::new("modprobe").arg("overlay").output().await.context("loading a kernel module that image layers need")?;
    }
    Ok(())
}

async fn wait_for_api(cluster: &Cluster, step: &Step) -> Result<()> {
    until(cluster, step, "the API server", async || {
        let answer = cluster.kubectl(["get", "--raw", "/readyz", "--request-timeout=2s"]).attempt().await?;
        Ok(if answer.stdout.trim() == "ok" { None } else { Some(last_line(&answer.stderr)) })
    })
    .await
}

/// Ready, and for a node that was just started: by the word of its new kubelet, for the condition of a killed one stays True
/// for 40 seconds.
async fn wait_for_nodes(cluster: &Cluster, started: &[u8], before: Timestamp, step: &Step) -> Result<()> {
    let lists =
        ["get", "nodes,leases.coordination.k8s.io", "-n", "kube-node-lease", "-o", "json", "--request-timeout=5s"];
    until(cluster, step, "Ready nodes", async || {
        let answer = cluster.kubectl(lists).attempt().await?;
        let list: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let since = |node: &u8| started.contains(node).then_some(before);
        let waiting: Vec<String> = cluster
            .nodes()
            .into_iter()
            .filter(|node| !is_ready(&list, &plan::node_name(*node), since(node)))
            .map(plan::node_name)
            .collect();
        Ok(if waiting.is_empty() { None } else { Some(format!("{} not Ready yet", waiting.join(", "))) })
    })
    .await
}

/// Pods are refused until the controller manager has made the ServiceAccount that they run as.
async fn wait_for_default_account(cluster: &Cluster, step: &Step) -> Result<()> {
    until(cluster, step, "the default ServiceAccount", async || {
        let answer =
            cluster.kubectl(["get", "serviceaccount", "default", "-n", "default", "-o", "name"]).attempt().await?;
        Ok(if answer.success() { None } else { Some(last_line(&answer.stderr)) })
    })
    .await
}

/// Whether the node's condition says so and, of a node that is older than `since`, whether its kubelet renewed its lease after
/// that. (A new node's first lease comes ten seconds late, and its condition can only be its own.)
fn is_ready(list: &Value, name: &str, since: Option<Timestamp>) -> bool {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let find = |kind: &str| items.iter().find(|item| item["kind"] == kind && item["metadata"]["name"] == name);
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let Some(node) = find("Node") else { return false };
    let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_true = conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let created = time(&node["metadata"]["creationTimestamp"]);
    let renewed = find("Lease").and_then(|lease| time(&lease["spec"]["renewTime"]));
    // Creation times are whole seconds, rounded down.
    let is_new = |since: Timestamp| created.is_some_and(|created| created.as_second() >= since.as_second());
    is_true && since.is_none_or(|since| is_new(since) || renewed.is_some_and(|renewed| renewed >= since))
}

/// Asks until the answer is None. A node that dies meanwhile, or too long a wait, is an error with what the logs say.
async fn until(
    cluster: &Cluster,
    step: &Step,
    what: &str,
    mut ask: impl AsyncFnMut() -> Result<Option<String>>,
) -> Result<()> {
    let started = std::time::Instant::now();
    loop {
        let Some(answer) = ask().await? else { return Ok(()) };
        step.note(&format!("waiting for {what}: {answer}"));
        if let Some(dead) = cluster.nodes().into_iter().find(|node| !cluster.node_runs(*node)) {
            bail!("{} ended while it was starting. {}", plan::node_name(dead), node::why(dead))
        }
        if started.elapsed() > PATIENCE {
            bail!("still waiting for {what} after {} s: {answer}. {}", PATIENCE.as_secs(), node::why(1))
        }
        tokio::time::sleep(POLL).await;
    }
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

/// Applied on every `up`: it costs a fraction of a second and mends what someone deleted.
async fn dns(cluster: &Cluster) -> Result<()> {
    tools::ensure(&[Tool::CoreDns]).await?;
    let image = images::coredns().await?;
    let step = Step::start("Cluster DNS");
    for record in &cluster.state.nodes {
        node::load(record, &image, &step).await.context("loading the image of CoreDNS")?;
    }
    let manifest = include_str!("../../cluster/coredns.yaml")
        .replace("@IMAGE@", &image.reference())
        .replace("@DNS@", &plan::DNS.to_string());
    cluster
        .kubectl(["apply", "--server-side", "--force-conflicts", "--field-manager=supercargo-dev", "-f", "-"])
        .stdin(manifest)
        .output()
        .await?;
    let rolled = cluster.kubectl(["rollout", "status", "deployment/coredns", "-n", "kube-system", "--timeout=60s"]);
    if let Err(error) = rolled.output().await {
        let pods = cluster.kubectl(["describe", "pods", "-n", "kube-system", "-l", "k8s-app=kube-dns"]).output().await;
        bail!("{error:#}\n{}", crate::process::tail(&pods.unwrap_or_default()))
    }
    if step.elapsed() > Duration::from_secs(2) {
        step.done("")
    } else {
        step.unneeded()
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_node_is_ready_by_the_word_of_its_new_kubelet() {
        let list = serde_json::json!({"items": [
            {"kind": "Node", "metadata": {"name": "node1", "creationTimestamp": "2026-01-01T00:00:03Z"},
             "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
            {"kind": "Lease", "metadata": {"name": "node1"}, "spec": {"renewTime": "2026-01-01T00:00:10.000000Z"}},
        ]});
        let at = |text: &str| Some(text.parse().expect("a time"));
        assert!(is_ready(&list, "node1", None));
        assert!(is_ready(&list, "node1", at("2026-01-01T00:00:03.5Z")), "new");
        assert!(is_ready(&list, "node1", at("2026-01-01T00:00:09Z")), "renewed");
        assert!(!is_ready(&list, "node1", at("2026-01-01T00:00:11Z")), "not renewed since");
        assert!(!is_ready(&list, "node2", None), "absent");
    }
}
