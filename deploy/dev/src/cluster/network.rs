//! Links, addresses and routes: one bridge on the host, one network namespace and one cable per node. Nothing else of the
//! host changes: no firewall rule, no forwarding.
//!
//! Every function can be repeated: it makes what is missing.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::plan::{
    BRIDGE, HOST, LINK_ALIAS, NODES, PODS, SERVICES, Subnet, netns, node_address, node_link, pod_subnet,
};
use crate::process::Run;
use crate::progress;

/// The bridge with the host's address and routes.
pub(super) async fn ensure_bridge(nodes: &[u8]) -> Result<()> {
    let mut batch = String::new();
    if !exists(BRIDGE) {
        let _ = writeln!(batch, "link add {BRIDGE} type bridge");
    }
    let _ = writeln!(batch, "link set {BRIDGE} alias {LINK_ALIAS} up");
    let _ = writeln!(batch, "addr replace {HOST}/{} dev {BRIDGE}", NODES.prefix);
    let _ = writeln!(batch, "route replace {SERVICES} via {} dev {BRIDGE}", node_address(1));
    for node in nodes {
        let _ = writeln!(batch, "route replace {} via {} dev {BRIDGE}", pod_subnet(*node), node_address(*node));
    }
    ip(Run::new("ip"), batch).await
}

/// A node's network namespace, its cable to the bridge, and routes to the other nodes' pods.
pub(super) async fn ensure_node(node: u8, nodes: &[u8]) -> Result<()> {
    let (namespace, link) = (netns(node), node_link(node));
    if !is_mounted(&namespace)? {
        let dir = namespace.parent().expect("the namespace file lies in a folder");
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        std::fs::write(&namespace, "").with_context(|| format!("creating {}", namespace.display()))?;
        let mut file = std::ffi::OsString::from("--net=");
        file.push(&namespace);
        Run::new("unshare").arg(file).arg("true").output().await?;
    }
    let mut host = String::new();
    if !exists(&link) {
        let _ = writeln!(host, "link add {link} type veth peer name eth0 netns {}", namespace.display());
    }
    let _ = writeln!(host, "link set {link} alias {LINK_ALIAS} master {BRIDGE} up");
    ip(Run::new("ip"), host).await?;

    let address = node_address(node);
    let mut inside = format!(
        "link set lo up\naddr replace {address}/{} dev eth0\nlink set eth0 up\n\
         route replace {SERVICES} dev eth0 src {address}\n",
        NODES.prefix
    );
    for other in nodes.iter().filter(|other| **other != node) {
        let _ = writeln!(inside, "route replace {} via {}", pod_subnet(*other), node_address(*other));
    }
    ip(Run::new("nsenter").arg(format!("--net={}", namespace.display())).arg("ip"), inside).await
}

/// Refuses to go on when something else on this machine holds the addresses that the cluster needs.
pub(super) async fn check_free() -> Result<()> {
    let addresses: Vec<Link> = json(&["-json", "-4", "address", "show"]).await?;
    let routes: Vec<Route> = json(&["-json", "-4", "route", "show"]).await?;
    let mut taken = Vec::new();
    for link in &addresses {
        for address in &link.addr_info {
            taken.push((
                Subnet { address: address.local, prefix: 32 },
                format!("address {} on {}", address.local, link.ifname),
            ));
        }
    }
    for route in &routes {
        if let Some(subnet) = Subnet::parse(&route.dst) {
            taken.push((subnet, format!("route {} on {}", route.dst, route.dev.as_deref().unwrap_or("no link"))));
        }
    }
    if exists(BRIDGE) {
        taken.push((NODES, format!("link {BRIDGE}, which does not carry our mark (alias {LINK_ALIAS})")));
    }
    let verdict = conflicts(&taken);
    for shadowed in &verdict.shadowed {
        progress::tell(format_args!("note: while the cluster is up, {shadowed} is hidden by it"));
    }
    if verdict.refused.is_empty() {
        return Ok(());
    }
    bail!(
        "this machine already uses addresses that the cluster needs:\n  {}\nThe cluster takes {NODES} (nodes), {PODS} (pods) \
         and {SERVICES} (Services). Stop what holds them (`ip -d link show` tells what a link is; another development cluster \
         or a VPN are usual), or use another machine. Nothing was changed.",
        verdict.refused.join("\n  ")
    )
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Conflicts {
    refused: Vec<String>,
    shadowed: Vec<String>,
}

/// Inside our networks: refused. A wider route that merely covers them (a VPN's 10.0.0.0/8) loses only our addresses. The
/// default route covers everything and is no news.
fn conflicts(taken: &[(Subnet, String)]) -> Conflicts {
    let mut found = Conflicts::default();
    for (subnet, what) in taken {
        for (ours, name) in [(NODES, "nodes"), (PODS, "pods"), (SERVICES, "Services")] {
            if ours.contains(*subnet) {
                found.refused.push(format!("{what} (needed for {name}, {ours})"));
            } else if subnet.prefix > 0 && subnet.contains(ours) {
                found.shadowed.push(format!("{ours} of {what}"));
            }
        }
    }
    found
}

/// Links on the host that carry our mark, with the bridge first.
pub(super) fn our_links() -> Vec<String> {
    let mut links: Vec<String> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let alias = std::fs::read_to_string(format!("/sys/class/net/{name}/ifalias")).unwrap_or_default();
            alias.trim() == LINK_ALIAS
        })
        .collect();
    links.sort_by_key(|name| (name != BRIDGE, name.clone()));
    links
}

/// Removes a link of the host. One that is gone already is fine: a cable goes with its namespace.
pub(super) async fn remove_link(name: &str) -> Result<()> {
    match Run::new("ip").args(["link", "delete", name]).output().await {
        Err(error) if exists(name) => Err(error),
        _ => Ok(()),
    }
}

/// Whether the host has a link of this name.
pub(super) fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// Whether something is mounted on exactly this path, in our mount namespace.
pub(super) fn is_mounted(path: &Path) -> Result<bool> {
    Ok(mounts_below(path)?.iter().any(|mounted| Path::new(mounted) == path))
}

/// Mount points at or below a path, deepest first.
pub(super) fn mounts_below(path: &Path) -> Result<Vec<String>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    let mut found: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mounted| Path::new(mounted).starts_with(path))
        .map(str::to_owned)
        .collect();
    found.sort_by_key(|mounted| std::cmp::Reverse(mounted.len()));
    Ok(found)
}

#[derive(Deserialize)]
struct Link {
    ifname: String,
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    local: std::net::Ipv4Addr,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    dev: Option<String>,
}

async fn ip(run: Run, batch: String) -> Result<()> {
    run.args(["-batch", "-"])
        .stdin(batch.clone())
        .output()
        .await
        .with_context(|| format!("in this batch:\n{batch}"))?;
    Ok(())
}

async fn json<T: serde::de::DeserializeOwned>(args: &[&str]) -> Result<T> {
    let text = Run::new("ip").args(args).output().await?;
    serde_json::from_str(&text).with_context(|| format!("reading what `ip {}` said", args.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Vec<(Subnet, String)> {
        vec![(Subnet::parse(text).expect("a subnet"), format!("route {text} on x"))]
    }

    #[test]
    fn what_lies_inside_our_networks_is_refused_and_what_covers_them_is_told() {
        let inside = conflicts(&taken("10.244.7.0/24"));
        assert_eq!(inside.refused, ["route 10.244.7.0/24 on x (needed for pods, 10.244.0.0/16)"]);
        assert_eq!(conflicts(&taken("10.89.0.1")).refused.len(), 1);
        let vpn = conflicts(&taken("10.0.0.0/8"));
        assert_eq!((vpn.refused.len(), vpn.shadowed.len()), (0, 3));
        assert_eq!(conflicts(&taken("0.0.0.0/0")), Conflicts::default());
        assert_eq!(conflicts(&taken("172.17.0.0/16")), Conflicts::default());
    }
}
