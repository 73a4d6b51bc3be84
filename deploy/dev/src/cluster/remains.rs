//! What of a cluster is on this machine, found by looking at the machine and not at our notes; and its removal.
//!
//! Ours is: a process in a network namespace that we made or with our mark in its environment; a link with our alias; a mount
//! below the state directory; a cgroup of our name; the state directory. Nothing else is ever touched.

use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::state::{Process, State};
use super::{cgroup, network, node as nodes, plan};
use crate::paths;
use crate::process::Run;
use crate::progress::Step;

/// Something on this machine that belongs to a cluster of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remain {
    /// A process of a node, with its command.
    Process(i32, String),
    /// A network link of the host.
    Link(String),
    /// A route of the host through our bridge, as `ip route` prints it.
    Route(String),
    /// A mount in the host's mount namespace.
    Mount(String),
    /// A cgroup.
    Cgroup(PathBuf),
    /// A firewall rule or table that names our networks.
    Firewall(String),
    /// A file or directory.
    Path(PathBuf),
}

impl std::fmt::Display for Remain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(pid, command) => write!(f, "process {pid} ({command})"),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Route(route) => write!(f, "route {route}"),
            Self::Mount(point) => write!(f, "mount {point}"),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Firewall(rule) => write!(f, "firewall rule {rule}"),
            Self::Path(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// Everything of ours that is on this machine now; empty after a `down`.
///
/// # Errors
/// When the machine cannot be asked (`ip` fails, `/proc` is not mounted).
pub async fn remains() -> Result<Vec<Remain>> {
    let mut found: Vec<Remain> =
        processes(None)?.into_iter().map(|process| Remain::Process(process.pid, command_line(process.pid))).collect();
    found.extend(network::our_links().into_iter().map(Remain::Link));
    let routes = Run::new("ip").args(["-4", "route", "show", "table", "all"]).output().await?;
    let ours = |line: &&str| line.split_whitespace().any(|word| word == plan::BRIDGE);
    found.extend(routes.lines().filter(ours).map(|line| Remain::Route(line.trim().to_owned())));
    found.extend(network::mounts_below(Path::new(paths::STATE))?.into_iter().map(Remain::Mount));
    found.extend(cgroup::remains().into_iter().map(Remain::Cgroup));
    found.extend(firewall().await.into_iter().map(Remain::Firewall));
    let state = PathBuf::from(paths::STATE);
    found.extend(state.exists().then_some(Remain::Path(state)));
    Ok(found)
}

/// Stops and removes everything of ours; with `keep_images` the nodes' image stores stay for the next cluster.
pub(super) async fn remove(keep_images: bool, step: &Step) -> Result<()> {
    // A damaged file must not keep anyone from cleaning up.
    let noted = State::load().ok().flatten();
    step.note("stopping the nodes");
    kill_all(None).await?;
    step.note("removing links and mounts");
    for mount in network::mounts_below(Path::new(paths::STATE))? {
        rustix::mount::unmount(mount.as_str(), rustix::mount::UnmountFlags::DETACH)
            .with_context(|| format!("unmounting {mount}"))?;
    }
    // By name as well, where our notes say so: a killed `up` may not have come to marking what it had made.
    let named = noted.iter().flat_map(State::indexes).map(plan::node_link);
    let named = named.chain(noted.iter().map(|_| plan::BRIDGE.to_owned())).filter(|name| network::exists(name));
    for link in named.chain(network::our_links()) {
        network::remove_link(&link).await?;
    }
    step.note("removing cgroups");
    let noted = noted.unwrap_or_default();
    cgroup::remove(&noted.cgroup).await?;
    step.note("removing files");
    for path in noted.mount_points {
        // One that somebody else uses by now is not empty, and stays.
        let _ = std::fs::remove_dir(path);
    }
    remove_files(keep_images)
}

/// Kills what is left of one node, or of all. A launcher takes its whole node along; what is found beside it was put there by
/// other means (an interactive `nsenter`) and would keep the namespace alive.
pub(super) async fn kill_all(node: Option<u8>) -> Result<()> {
    for _ in 0..100 {
        let processes = processes(node)?;
        if processes.is_empty() {
            return Ok(());
        }
        processes.into_iter().for_each(kill);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left: Vec<String> =
        processes(node)?.iter().map(|one| format!("{} ({})", one.pid, command_line(one.pid))).collect();
    bail!("these processes of the cluster do not end: {}", left.join(", "))
}

/// By a file descriptor for the process, so that a number that was taken over meanwhile is never hit.
pub(super) fn kill(process: Process) {
    let Some(pid) = Pid::from_raw(process.pid) else { return };
    if let Ok(handle) = pidfd_open(pid, PidfdFlags::empty())
        && process.is_alive()
    {
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// Processes of one node, or of any. Pods have network namespaces of their own and die with their node's PID namespace.
fn processes(node: Option<u8>) -> Result<Vec<Process>> {
    let mut namespaces = Vec::new();
    let of = node.map_or_else(|| Path::new(paths::STATE).join("ns"), plan::netns);
    for mount in network::mounts_below(&of)? {
        if let Ok(found) = std::fs::metadata(&mount) {
            namespaces.push((found.st_dev(), found.st_ino()));
        }
    }
    let is_mark = |variable: &[u8]| {
        let value =
            std::str::from_utf8(variable).ok().and_then(|text| text.strip_prefix(nodes::MARK)?.strip_prefix('='));
        value.is_some_and(|value| node.is_none_or(|node| value == node.to_string()))
    };
    let own = std::process::id();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("reading /proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(process) = Process::current(pid).filter(|process| process.is_alive()) else { continue };
        let inside = std::fs::metadata(entry.path().join("ns/net"))
            .is_ok_and(|net| namespaces.contains(&(net.st_dev(), net.st_ino())));
        let marked = || {
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(is_mark)
        };
        if pid.unsigned_abs() != own && (inside || marked()) {
            found.push(process);
        }
    }
    Ok(found)
}

fn command_line(pid: i32) -> String {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).replace('\0', " ");
    text.chars().take(120).collect::<String>().trim().to_owned()
}

/// The nodes write their rules into their own namespaces: on the host there is none, and this is how a test knows.
async fn firewall() -> Vec<String> {
    let rules = Run::new("nft").args(["list", "ruleset"]).output().await.unwrap_or_default();
    let marks = [plan::BRIDGE, "10.244.", "10.96.0.", "10.89.0."];
    rules
        .lines()
        .filter(|line| marks.iter().any(|mark| line.contains(mark)))
        .map(|line| line.trim().to_owned())
        .collect()
}

fn remove_files(keep_images: bool) -> Result<()> {
    let state = Path::new(paths::STATE);
    if !keep_images {
        return match std::fs::remove_dir_all(state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", state.display()))
            }
            _ => Ok(()),
        };
    }
    let stores: Vec<PathBuf> =
        (1..=plan::NODES_MAX).map(plan::node_dir).filter(|dir| dir.join("containerd").exists()).collect();
    // First, so that nobody who stops us half-way makes the next cluster meet the containers of this one.
    for store in &stores {
        let mark = store.join("stale-containers");
        std::fs::write(&mark, "").with_context(|| format!("writing {}", mark.display()))?;
    }
    for entry in std::fs::read_dir(state).into_iter().flatten().flatten() {
        if !stores.contains(&entry.path()) {
            remove_path(&entry.path())?;
        }
    }
    for store in stores {
        for entry in std::fs::read_dir(&store).into_iter().flatten().flatten() {
            if entry.file_name() != "containerd" && entry.file_name() != "stale-containers" {
                remove_path(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn remove_path(path: &Path) -> Result<()> {
    let is_dir = path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let removed = if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    removed.with_context(|| format!("removing {}", path.display()))
}
