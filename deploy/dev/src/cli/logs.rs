//! `cargo dev logs`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::cluster::{Cluster, plan};
use crate::process::Run;
use crate::progress::say;

/// Show the log of a component of the cluster, or of the operator or a registry
///
/// Without COMPONENT: the list of logs. Components are kube-apiserver, etcd, kubelet and so on, and `init`, which is what a node
/// says about itself. `operator` and `registry` are the pods that carry these names in `app.kubernetes.io/name`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose log: kubelet, kube-apiserver, …, operator, registry
    component: Option<String>,
    /// On which node (components of the cluster)
    #[arg(long, default_value_t = 1)]
    node: u8,
    /// Go on as it grows
    #[arg(short, long)]
    follow: bool,
    /// How many lines from the end
    #[arg(short = 'n', long, default_value_t = 100)]
    lines: u32,
}

/// Hands over to `tail` or `kubectl logs`.
pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let cluster = Cluster::find_or_say_how()?;
    let Some(component) = &args.component else { return list(&cluster) };
    let follow = if args.follow { &["--follow"][..] } else { &[] };
    let run = if matches!(component.as_str(), "operator" | "registry") {
        pods(&cluster, component, &args).await?.args(follow)
    } else {
        let log = Cluster::log(args.node, component);
        if !log.exists() {
            bail!(
                "{} has no log of `{component}`; it has: {}",
                plan::node_name(args.node),
                components(args.node).join(", ")
            )
        }
        Run::new("tail").args(["--lines", &args.lines.to_string()]).args(follow).arg(log)
    };
    let code = run.interactive().await?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// All pods of a program, wherever they are: kubectl wants to be told the namespace.
async fn pods(cluster: &Cluster, component: &str, args: &Args) -> Result<Run> {
    let selector = format!("app.kubernetes.io/name=supercargo-{component}");
    let columns = "jsonpath={.items[*].metadata.namespace}";
    let found = cluster.kubectl(["get", "pods", "-A", "-l", &selector, "-o", columns]).output().await?;
    let mut namespaces: Vec<&str> = found.split_whitespace().collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    match namespaces[..] {
        [] => bail!("no pod has the label {selector}; `cargo dev demo` installs the operator and a registry"),
        [namespace] => {
            let lines = format!("--tail={}", args.lines);
            Ok(cluster.kubectl(["logs", "-n", namespace, "-l", &selector, "--prefix", "--max-log-requests=20", &lines]))
        }
        [..] => bail!(
            "pods with the label {selector} are in several namespaces ({}): use `kubectl logs -n NAMESPACE -l {selector}`",
            namespaces.join(", ")
        ),
    }
}

fn list(cluster: &Cluster) -> Result<ExitCode> {
    for node in cluster.nodes() {
        for component in components(node) {
            say(Cluster::log(node, &component).display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn components(node: u8) -> Vec<String> {
    let mut found: Vec<String> = std::fs::read_dir(plan::log_dir(node))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    found.sort();
    found
}
