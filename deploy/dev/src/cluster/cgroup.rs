//! The parents of the nodes' cgroups: `/supercargo-dev/nodeN` in every hierarchy, where each kubelet makes its pods' cgroups.
//!
//! Both worlds are served: cgroup v1 (one hierarchy per controller; `cpuset` must be filled in by hand before the kubelet
//! can use it) and v2 (one tree; controllers are handed down through `cgroup.subtree_control`, see the kernel's
//! `admin-guide/cgroup-v2.rst`). A hybrid machine with controllers in v1 is v1.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::plan::{CGROUP, node_name};

/// Controllers that the kubelet looks for below its root on v2 (`getSupportedUnifiedControllers` in
/// `pkg/kubelet/cm/cgroup_v2_manager_linux.go`).
const KUBELET_V2: [&str; 5] = ["cpu", "cpuset", "memory", "hugetlb", "pids"];

/// Controllers that `up` switched on in the root of a v2 hierarchy, for `down` to switch off. Empty on v1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    root_controllers: Vec<String>,
}

/// Where the controllers are.
#[derive(Debug, PartialEq, Eq)]
enum Hierarchies {
    V1(Vec<PathBuf>),
    V2(PathBuf),
}

/// Mount points of cgroup filesystems.
#[derive(Debug, Default)]
struct Mounts {
    v1: BTreeSet<PathBuf>,
    v2: Option<PathBuf>,
}

/// Makes the cgroups of these nodes where they are missing.
pub(super) fn ensure(nodes: &[u8], changed: &mut Changed) -> Result<()> {
    match hierarchies()? {
        Hierarchies::V1(roots) => roots.iter().try_for_each(|root| ensure_v1(root, nodes)),
        Hierarchies::V2(root) => ensure_v2(&root, nodes, changed),
    }
}

/// Takes back what [`ensure`] did. The pods' processes are gone by then; the kernel may need a moment to notice.
pub(super) async fn remove(changed: &Changed) -> Result<()> {
    for _ in 0..100 {
        for top in remains() {
            remove_tree(&top);
        }
        if remains().is_empty() {
            return take_back(changed);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("these cgroups cannot be removed, so something still runs in them (see their cgroup.procs): {:?}", remains())
}

/// Our cgroups that exist, in all hierarchies: on a hybrid machine runc makes them in the v2 tree as well.
pub(super) fn remains() -> Vec<PathBuf> {
    let Mounts { v1, v2 } = mounts().unwrap_or_default();
    v1.into_iter().chain(v2).map(|root| root.join(CGROUP)).filter(|top| top.exists()).collect()
}

fn hierarchies() -> Result<Hierarchies> {
    match mounts()? {
        Mounts { v1, v2: Some(root) } if v1.is_empty() => Ok(Hierarchies::V2(root)),
        Mounts { v1, v2: None } if v1.is_empty() => {
            bail!(
                "no cgroups are mounted below /sys/fs/cgroup: pods cannot run here. A container needs them passed through"
            )
        }
        Mounts { v1, .. } => Ok(Hierarchies::V1(v1.into_iter().collect())),
    }
}

fn mounts() -> Result<Mounts> {
    Ok(parse(&std::fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?))
}

/// `… mount-id parent major:minor root MOUNT-POINT options … - TYPE source super-options`, see proc(5).
fn parse(mountinfo: &str) -> Mounts {
    let mut found = Mounts::default();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4).map(PathBuf::from) else { continue };
        match right.split(' ').next() {
            Some("cgroup") => drop(found.v1.insert(point)),
            Some("cgroup2") => found.v2 = found.v2.or(Some(point)),
            _ => {}
        }
    }
    found
}

fn ensure_v1(root: &Path, nodes: &[u8]) -> Result<()> {
    let top = root.join(CGROUP);
    let all = std::iter::once(top.clone()).chain(nodes.iter().map(|node| top.join(node_name(*node))));
    for group in all {
        std::fs::create_dir_all(&group).with_context(|| format!("creating the cgroup {}", group.display()))?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(whole) = std::fs::read(root.join(file)) {
                let path = group.join(file);
                std::fs::write(&path, whole).with_context(|| format!("filling {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn ensure_v2(root: &Path, nodes: &[u8], changed: &mut Changed) -> Result<()> {
    let words = |file: PathBuf| -> Vec<String> {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let enabled = words(root.join("cgroup.subtree_control"));
    let available = words(root.join("cgroup.controllers"));
    let wanted: Vec<String> = available.into_iter().filter(|name| KUBELET_V2.contains(&name.as_str())).collect();
    let top = root.join(CGROUP);
    for node in nodes {
        let group = top.join(node_name(*node));
        std::fs::create_dir_all(&group).with_context(|| format!("creating the cgroup {}", group.display()))?;
    }
    for controller in wanted {
        if !enabled.contains(&controller) {
            changed.root_controllers.push(controller.clone());
        }
        for parent in [root, &top] {
            let file = parent.join("cgroup.subtree_control");
            std::fs::write(&file, format!("+{controller}"))
                .with_context(|| format!("handing down the cgroup controller {controller} in {}", file.display()))?;
        }
    }
    Ok(())
}

fn take_back(changed: &Changed) -> Result<()> {
    let Ok(Hierarchies::V2(root)) = hierarchies() else { return Ok(()) };
    let file = root.join("cgroup.subtree_control");
    for controller in &changed.root_controllers {
        // Someone else may have come to need it meanwhile, and then it stays.
        let _ = std::fs::write(&file, format!("-{controller}"));
    }
    Ok(())
}

/// Children first, as rmdir(2) on cgroups wants it. What is still busy is tried again by the caller.
fn remove_tree(group: &Path) {
    for child in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    let _ = std::fs::remove_dir(group);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
29 28 0:25 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
30 28 0:26 / /sys/fs/cgroup/memory rw,relatime shared:3 - cgroup cgroup rw,memory
31 28 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup rw";
    const UNIFIED: &str = "31 28 0:27 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";

    #[test]
    fn both_worlds_are_told_apart() {
        let hybrid = parse(HYBRID);
        assert_eq!(hybrid.v1, ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"].map(PathBuf::from).into());
        assert_eq!(hybrid.v2, Some("/sys/fs/cgroup/unified".into()));
        let unified = parse(UNIFIED);
        assert!(unified.v1.is_empty());
        assert_eq!(unified.v2, Some("/sys/fs/cgroup".into()));
    }
}
