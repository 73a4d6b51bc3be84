//! What `up` has begun: one JSON file, written before anything is made, so that a later `up` or `down` knows what to look for
//! even when the first one was killed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::cgroup;
use crate::paths;

/// The cluster as recorded on disk. Facts that can be looked up (is a node alive?) are not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The boot in which the cluster was started: namespaces and processes do not outlive it.
    pub(super) boot_id: String,
    /// Hash of the Kubernetes build that was started; another one asks for `down` and `up`.
    pub(super) kubernetes: String,
    /// One per node, in order.
    pub(super) nodes: Vec<NodeRecord>,
    /// What was changed in the root of a cgroup v2 hierarchy, to be taken back.
    pub(super) cgroup: cgroup::Changed,
    /// Folders of the host that were made for nodes to mount something of their own on.
    pub(super) mount_points: Vec<PathBuf>,
}

/// One node as recorded on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeRecord {
    /// From 1.
    pub(super) index: u8,
    /// The process that holds the node's namespaces; None while it is being made.
    pub(super) launcher: Option<Process>,
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Process id on the host.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot, field 22 of `/proc/PID/stat` (proc(5)).
    pub(crate) start_time: u64,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn current(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(Self { pid, start_time: start_time(&stat)? })
    }

    /// Whether that very process still runs (a zombie does not).
    pub(crate) fn is_alive(self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        start_time(&stat) == Some(self.start_time) && !after_name(&stat).is_some_and(|rest| rest.starts_with('Z'))
    }

    /// Its first child: PID 1 of the node whose launcher this is.
    pub(crate) fn child(self) -> Option<Self> {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid)).ok()?;
        let child = children.split_whitespace().next()?.parse().ok()?;
        self.is_alive().then(|| Self::current(child)).flatten()
    }
}

/// The program's name may hold spaces and parentheses: everything is counted from the last `)`.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

fn start_time(stat: &str) -> Option<u64> {
    after_name(stat)?.split(' ').nth(19)?.parse().ok()
}

impl State {
    /// The state of the cluster on this machine, None when there is none.
    pub(super) fn load() -> Result<Option<Self>> {
        let file = file();
        match std::fs::read(&file) {
            Ok(text) => {
                let state = serde_json::from_slice(&text).with_context(|| {
                    format!("{} is damaged; `cargo dev down` removes the cluster without it", file.display())
                })?;
                Ok(Some(state))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
        }
    }

    /// Replaces the file at once: a reader sees the old or the new one.
    pub(super) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).expect("plain data serialises");
        write_atomically(&file(), &text)
    }

    /// Whether the machine has not been restarted since.
    pub(super) fn is_of_this_boot(&self) -> bool {
        self.boot_id == boot_id()
    }

    /// The nodes' numbers.
    pub(super) fn indexes(&self) -> Vec<u8> {
        self.nodes.iter().map(|node| node.index).collect()
    }
}

/// The kernel's name for this boot.
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Writes beside the file and renames.
pub(super) fn write_atomically(file: &Path, bytes: &[u8]) -> Result<()> {
    let beside = file.with_extension("new");
    std::fs::write(&beside, bytes).with_context(|| format!("writing {}", beside.display()))?;
    std::fs::rename(&beside, file).with_context(|| format!("renaming {} to {}", beside.display(), file.display()))
}

fn file() -> PathBuf {
    Path::new(paths::STATE).join("cluster.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_an_odd_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9 10";
        assert_eq!(start_time(stat), Some(777));
    }

    #[tokio::test]
    async fn a_process_is_known_by_more_than_its_number() {
        let mut child = tokio::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let pid = i32::try_from(child.id().expect("it runs")).expect("a pid");
        let process = Process::current(pid).expect("it runs");
        assert!(process.is_alive());
        assert!(!Process { start_time: process.start_time + 1, ..process }.is_alive());
        child.kill().await.expect("it can be killed");
        assert!(!process.is_alive());
    }
}
