//! Every place on disk that the tool box uses.

use std::path::{Path, PathBuf};

/// All that a running cluster owns: keys, logs, etcd's data, the nodes' image stores. Fixed, because the addresses of the
/// cluster are fixed too: one host has at most one.
pub const STATE: &str = "/var/lib/supercargo-dev";

/// The root of the source tree that this program was built from.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// `$XDG_CACHE_HOME/supercargo` or `~/.cache/supercargo`: built tools and images. Safe to delete while no cluster runs.
pub fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|dir| Path::new(dir).is_absolute()).map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    base.unwrap_or_else(|| home().join(".cache")).join("supercargo")
}

/// Logs of builds, one file per step, replaced by the next build.
pub fn build_log(name: &str) -> PathBuf {
    cache().join("log").join(format!("{name}.log"))
}
