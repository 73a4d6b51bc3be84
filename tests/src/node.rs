//! Processes of pods as the host sees them, so that a test can take one away without notice:
//! the nodes' pid namespaces lie below the host's.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// `kill -9` of the process with the file name `program` in the pod with this uid.
///
/// # Errors
/// When the pod has no such process here: it is not running, or it runs on another machine.
pub fn kill_9(pod_uid: &str, program: &str) -> Result<()> {
    let found = processes(pod_uid, program)?;
    if found.is_empty() {
        bail!("no process {program} in pod {pod_uid} on this machine");
    }
    for pid in found {
        let status =
            std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().context("running kill")?;
        if !status.success() {
            bail!("kill -9 {pid} ({program} of pod {pod_uid}): {status}");
        }
    }
    Ok(())
}

/// Host process ids of `program` in the pod: by the pod's cgroup, whose name carries its uid.
fn processes(pod_uid: &str, program: &str) -> Result<Vec<u32>> {
    // The systemd cgroup driver writes underscores, cgroupfs dashes.
    let spellings = [pod_uid.to_owned(), pod_uid.replace('-', "_")];
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while we look: not ours then.
        let Ok(cgroup) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { continue };
        if !spellings.iter().any(|uid| cgroup.contains(uid)) {
            continue;
        }
        let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).into_owned();
        if Path::new(&first).file_name().is_some_and(|file| file == program) {
            found.push(pid);
        }
    }
    Ok(found)
}
