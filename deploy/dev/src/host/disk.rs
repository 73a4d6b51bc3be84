//! Room on the disk, asked for before it is missing: a build that stops for want of it says so once for each of its parts.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Refuses to begin `what` where fewer than `gigabytes` are free.
///
/// # Errors
/// There is less room, or nobody can tell.
pub fn require_free(folder: &Path, gigabytes: u64, what: &str) -> Result<()> {
    let disk = rustix::fs::statvfs(folder).with_context(|| format!("looking at the disk of {}", folder.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= gigabytes * 1_000_000_000 {
        return Ok(());
    }
    bail!(
        "{what} needs about {gigabytes} GB on the disk of {}, where {:.1} GB are free: delete what is not needed there (`cargo clean` takes away \
         earlier builds, `go clean -cache` those of the tools), or set CARGO_TARGET_DIR to a folder on a larger disk",
        folder.display(),
        free as f64 / 1e9
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_small_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        require_free(folder.path(), 0, "nothing").expect("nothing needs no room");
        let said = require_free(folder.path(), 1 << 30, "a test").expect_err("no disk is that large").to_string();
        for part in ["a test needs about 1073741824 GB", &folder.path().display().to_string(), "CARGO_TARGET_DIR"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
