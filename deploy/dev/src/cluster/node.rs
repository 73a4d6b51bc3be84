//! One node: its configuration, its processes, and commands run inside it.
//!
//! A node is `cluster/node.sh` as PID 1 of a pid, mount and uts namespace inside the node's network namespace. The process
//! that we start is the *launcher*, `unshare --kill-child` outside of the pid namespace: killing it kills the node whole.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::plan::{self, node_address, node_dir, node_name};
use super::state::{NodeRecord, Process, write_atomically};
use crate::host::packages;
use crate::images::Image;
use crate::paths;
use crate::process::{Run, search_path, tail};
use crate::progress::Step;
use crate::tools::{self, Tool};

/// In the environment of every process of a node's control plane and node components, for `down` to recognise them.
pub(super) const MARK: &str = "SUPERCARGO_DEV_NODE";

/// Paths that the kubelet, CNI and containerd have built in: every node mounts something of its own there.
const MOUNT_POINTS: [&str; 3] = ["/var/lib/cni", "/var/lib/kubelet", "/var/log/containers"];

/// Those of the built-in paths that the host does not have.
pub(super) fn missing_mount_points() -> Vec<PathBuf> {
    MOUNT_POINTS.iter().map(PathBuf::from).filter(|path| !path.exists()).collect()
}

/// Starts the node's processes from this build of Kubernetes. Its network and cgroup exist already.
pub(super) fn launch(index: u8, kubernetes: &str, pause: &Image) -> Result<Process> {
    let (dir, logs) = (node_dir(index), plan::log_dir(index));
    for dir in [&dir, &logs, &dir.join("cni")] {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    configure(index, pause)?;
    let log = log_of_init(index);
    let open =
        || File::options().create(true).append(true).open(&log).with_context(|| format!("opening {}", log.display()));
    let mut path = tools::bin_dir_of(Tool::Kubernetes, kubernetes).into_os_string();
    path.push(":");
    path.push(search_path());
    // setsid: an interrupt at the keyboard is for us, not for the cluster.
    let child = std::process::Command::new("setsid")
        .args(["nsenter", &format!("--net={}", plan::netns(index).display())])
        .args(["unshare", "--mount", "--pid", "--uts", "--fork", "--mount-proc", "--kill-child"])
        .arg("bash")
        .arg(script())
        .env_clear()
        .env("PATH", path)
        .env(MARK, index.to_string())
        .env("NAME", node_name(index))
        .env("ADDRESS", node_address(index).to_string())
        .env("STATE", paths::STATE)
        .env("DIR", &dir)
        .env("LOGS", &logs)
        .env("API", api_address())
        .env("SERVICES", plan::SERVICES.to_string())
        .env("MOUNT_POINTS", MOUNT_POINTS.join(" "))
        .env("PAUSE", pause.reference())
        .env("PAUSE_ARCHIVE", pause.archive())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        .spawn()
        .context("starting a node (setsid, from util-linux)")?;
    let pid = i32::try_from(child.id()).context("a process id beyond 31 bits")?;
    Process::current(pid).with_context(|| format!("{} ended at once; see {}", node_name(index), log.display()))
}

/// `10.89.0.2:6443`.
pub(super) fn api_address() -> String {
    format!("{}:6443", node_address(1))
}

/// What the node says about itself, beside the components' logs.
pub(super) fn log_of_init(index: u8) -> PathBuf {
    plan::log_dir(index).join("init.log")
}

/// The end of the log that most likely tells why the node is not coming up.
pub(super) fn why(index: u8) -> String {
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let init = log_of_init(index);
    let mut text = format!("{}:\n{}", init.display(), tail(read(&init).trim_end()));
    for component in ["etcd", "kube-apiserver", "containerd", "kubelet"] {
        let log = plan::log_dir(index).join(component).with_extension("log");
        let content = read(&log);
        if let Some(last) = content.lines().rev().find(|line| !line.trim().is_empty()) {
            text.push_str(&format!("\n{}:\n{last}", log.display()));
        }
    }
    text
}

/// A command inside the node: its mounts, network, processes and host name.
pub(super) fn exec(node: &NodeRecord) -> Result<Run> {
    let init = node.launcher.and_then(Process::child);
    let Some(init) = init else { bail!("{} does not run; `cargo dev up` starts it again", node_name(node.index)) };
    Ok(Run::new("nsenter").args(["-t", &init.pid.to_string(), "-m", "-n", "-p", "-u", "--"]))
}

/// Containerd's own client inside the node, on the images and containers of Kubernetes.
pub(super) fn ctr(node: &NodeRecord) -> Result<Run> {
    Ok(exec(node)?.args(["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"]))
}

/// Makes `image` known to the node by both of its references. Only an image that is not there yet is imported.
pub(super) async fn load(node: &NodeRecord, image: &Image, step: &Step) -> Result<()> {
    let listed = images(node).await?;
    let mut names: Vec<&str> = listed.lines().collect();
    let after;
    if image.listed(&names).is_none() {
        step.note(&format!("{} into {}", image.reference(), node_name(node.index)));
        ctr(node)?.args(["images", "import"]).arg(image.archive()).output().await?;
        after = images(node).await?;
        names = after.lines().collect();
    }
    let Some(name) = image.listed(&names) else {
        bail!("{} was imported into {}, which does not list it", image.reference(), node_name(node.index))
    };
    let by_version = format!("{}{}", name.trim_end_matches(&image.reference()), image.version_reference());
    ctr(node)?.args(["images", "tag", "--force", name, &by_version]).output().await?;
    let outdated = image.outdated(&names);
    if !outdated.is_empty() {
        ctr(node)?.args(["images", "remove"]).args(outdated).output().await?;
    }
    Ok(())
}

async fn images(node: &NodeRecord) -> Result<String> {
    ctr(node)?.args(["images", "list", "--quiet"]).output().await
}

fn script() -> PathBuf {
    Path::new(paths::STATE).join("node.sh")
}

fn configure(index: u8, pause: &Image) -> Result<()> {
    let dir = node_dir(index);
    let cni = packages::cni_dir()?;
    let values = [
        ("@DIR@", dir.display().to_string()),
        ("@STATE@", paths::STATE.to_owned()),
        ("@NAME@", node_name(index)),
        ("@ADDRESS@", node_address(index).to_string()),
        ("@PODS@", plan::pod_subnet(index).to_string()),
        ("@ALL_PODS@", plan::PODS.to_string()),
        ("@CGROUP@", plan::CGROUP.to_owned()),
        ("@DNS@", plan::DNS.to_string()),
        ("@PAUSE@", pause.reference()),
        ("@CNI_BIN@", cni.display().to_string()),
    ];
    let files = [
        (dir.join("containerd.toml"), include_str!("../../cluster/containerd.toml")),
        (dir.join("cni/10-bridge.conflist"), include_str!("../../cluster/cni.conflist")),
        (dir.join("kubelet.yaml"), include_str!("../../cluster/kubelet.yaml")),
        (dir.join("kube-proxy.yaml"), include_str!("../../cluster/kube-proxy.yaml")),
        // No name server: pods with `dnsPolicy: Default` ask nobody outside.
        (dir.join("resolv.conf"), ""),
        (script(), include_str!("../../cluster/node.sh")),
    ];
    for (path, template) in files {
        let text = values.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value));
        write_atomically(&path, text.as_bytes())?;
    }
    Ok(())
}
