//! The machine: who we are on it, and what has to be installed.

pub mod disk;
pub mod packages;

use anyhow::{Result, bail};

/// Whether this process may install packages and make namespaces.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The cluster is made of namespaces, cgroups and mounts of the host, so it needs root.
pub fn require_root(what: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!(
        "{what} needs root (network namespaces, cgroups, mounts): run it as root, for instance by `sudo -E cargo dev …`"
    )
}
