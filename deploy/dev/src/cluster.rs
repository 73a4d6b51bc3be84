//! A real Kubernetes cluster on this machine: nodes are namespaces, so that one kill removes a node whole and the host keeps no
//! rule.
//!
//! Flow of `up`: packages, tools, lock, then what is missing of state, certificates, links, cgroups, nodes; wait for the API
//! server, the nodes and the default ServiceAccount; DNS. Every step makes only what is not there, so `up` also mends: a killed
//! `up`, a killed node, one node more. Flow of `down`: everything that [`remains()`] finds is stopped and removed, with or without
//! notes.
//!
//! Invariants: the state file is written before anything else is made; nothing is found by process number alone; `up` and `down`
//! exclude each other. Absent on purpose: enforcement of NetworkPolicy (objects are stored, and that is all), load balancers,
//! dynamic volumes, images from anywhere but this machine.

mod cgroup;
mod network;
mod node;
pub mod plan;
mod remains;
mod state;
mod up;

pub use remains::{Remain, remains};

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::host;
use crate::images::Image;
use crate::lock::Lock;
use crate::paths;
use crate::process::Run;
use crate::progress::{Step, tell};
use crate::tools::{self, Tool};
use state::{NodeRecord, Process, State};

/// In memory only, outside of the state directory, which `down` removes.
const LOCK: &str = "/run/lock/supercargo-dev";

/// A cluster that is up: its API server answered, its nodes were Ready.
#[derive(Debug, Clone)]
pub struct Cluster {
    state: State,
    kubectl: PathBuf,
}

impl Cluster {
    /// Starts a cluster, or mends and extends the one that is there: `cargo dev up`. `nodes` is how many it shall have; None
    /// means as many as there are, at least one.
    ///
    /// # Errors
    /// Not root, something missing that we may not install, addresses in use, fewer nodes than there are, or a component
    /// that does not come up (with the end of its log).
    pub async fn up(nodes: Option<u8>) -> Result<Self> {
        up::up(nodes).await
    }

    /// What end-to-end tests call: a cluster of at least `nodes` nodes, in a fraction of a second when it runs already.
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub async fn ensure(nodes: u8) -> Result<Self> {
        let running = State::load()?.map_or(0, |state| state.nodes.len());
        Self::up(Some(nodes.max(u8::try_from(running).unwrap_or(nodes)))).await
    }

    /// The cluster on this machine as it is, without mending it; None when there is none.
    ///
    /// # Errors
    /// A damaged state file.
    pub fn find() -> Result<Option<Self>> {
        Ok(State::load()?.filter(State::is_of_this_boot).map(Self::of))
    }

    /// The cluster on this machine, or an error that tells how to get one.
    ///
    /// # Errors
    /// There is none.
    pub fn find_or_say_how() -> Result<Self> {
        Self::find()?.context("no cluster runs on this machine: `cargo dev up` starts one")
    }

    fn of(state: State) -> Self {
        let kubectl = tools::bin_dir_of(Tool::Kubernetes, &state.kubernetes).join("kubectl");
        Self { state, kubectl }
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig()
    }

    /// `kubectl` with this cluster's kubeconfig: add arguments, then `output`, `attempt`, ….
    pub fn kubectl(&self, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Run {
        Run::new(&self.kubectl)
            .env("KUBECONFIG", self.kubeconfig())
            .env("KUBECACHEDIR", Path::new(paths::STATE).join("kubecache"))
            .args(args)
    }

    /// The nodes' numbers, from 1.
    pub fn nodes(&self) -> Vec<u8> {
        self.state.indexes()
    }

    /// A command inside a node (its mounts, network, processes): `node_exec(1, ["nft", "list", "ruleset"])`.
    ///
    /// # Errors
    /// No such node, or it does not run.
    pub fn node_exec(&self, node: u8, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Result<Run> {
        Ok(node::exec(self.record(node)?)?.args(args))
    }

    /// Containerd's `ctr` inside a node, in Kubernetes' namespace: `ctr(1, ["images", "list"])`.
    ///
    /// # Errors
    /// No such node, or it does not run.
    pub fn ctr(&self, node: u8, args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Result<Run> {
        Ok(node::ctr(self.record(node)?)?.args(args))
    }

    /// Kills a node with everything on it, as a power cut would. `up` starts it again.
    ///
    /// # Errors
    /// No such node, or it does not run.
    pub fn kill_node(&self, node: u8) -> Result<()> {
        let launcher = self.record(node)?.launcher.filter(|launcher| launcher.is_alive());
        let Some(launcher) = launcher else { bail!("{} does not run", plan::node_name(node)) };
        remains::kill(launcher);
        Ok(())
    }

    /// Whether the node's processes run; Kubernetes may think otherwise for a while.
    pub fn node_runs(&self, node: u8) -> bool {
        let launcher = self.record(node).ok().and_then(|record| record.launcher);
        launcher.is_some_and(Process::is_alive)
    }

    /// Makes images known to every node. Quick when they are there.
    ///
    /// # Errors
    /// A node that does not run, or an archive that containerd refuses.
    pub async fn load(&self, images: &[&Image]) -> Result<()> {
        let step = Step::start("Loading images into the nodes");
        for node in &self.state.nodes {
            for image in images {
                node::load(node, image, &step)
                    .await
                    .with_context(|| format!("loading {} into {}", image.reference(), plan::node_name(node.index)))?;
            }
        }
        step.done("");
        Ok(())
    }

    /// Imports an archive that something else made (`docker save`, `buildah push … docker-archive:`) into every node.
    ///
    /// # Errors
    /// A node that does not run, or an archive that containerd refuses.
    pub async fn load_archive(&self, archive: &Path) -> Result<()> {
        for node in &self.state.nodes {
            node::ctr(node)?.args(["images", "import"]).arg(archive).output().await?;
        }
        Ok(())
    }

    /// A component's log (`kubelet`, `kube-apiserver`, …) on a node.
    pub fn log(node: u8, component: &str) -> PathBuf {
        plan::log_dir(node).join(format!("{component}.log"))
    }

    fn record(&self, node: u8) -> Result<&NodeRecord> {
        let found = self.state.nodes.iter().find(|record| record.index == node);
        found
            .with_context(|| format!("the cluster has no {}: it has {}", plan::node_name(node), self.state.nodes.len()))
    }
}

/// The administrator's kubeconfig, whether or not a cluster runs.
pub fn kubeconfig() -> PathBuf {
    Path::new(paths::STATE).join("kubeconfig/admin")
}

/// Stops the cluster and removes everything that `up` made, also what a killed `up` left: `cargo dev down`. With `keep_images`
/// the nodes' image stores stay, so that the next `up` need not import.
///
/// # Errors
/// Not root, or something that cannot be removed, by name.
pub async fn down(keep_images: bool) -> Result<()> {
    host::require_root("stopping the cluster")?;
    let lock = Lock::acquire(Path::new(LOCK), "starts or stops the cluster").await?;
    if remains().await?.is_empty() {
        tell("no cluster runs on this machine");
        lock.remove();
        return Ok(());
    }
    let step = Step::start("Stopping the cluster");
    remains::remove(keep_images, &step).await?;
    lock.remove();
    step.done("");
    Ok(())
}
