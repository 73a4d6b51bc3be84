//! Many publishes while something happens, and the account of them afterwards.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use supercargo_tests::{
    cargo::Run,
    conformance::Subject,
    http::index_lines,
    scratch::{Package, Scratch},
};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
};

/// Publishers at once, as jobs of a CI are.
const LANES: usize = 4;

/// Crates `NAME-0`, `NAME-1`, … on their way to a registry.
pub(crate) struct Wave {
    lanes: JoinSet<Result<()>>,
    published: watch::Receiver<usize>,
    ledger: Arc<Mutex<Ledger>>,
}

/// What became of the crates of a wave.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Name and sha256 of every crate whose publish Cargo reported as done.
    pub(crate) acknowledged: Vec<(String, String)>,
    /// What Cargo said about publishes that failed and were tried again.
    pub(crate) failed: Vec<Run>,
}

/// Attempts at one crate, as a CI job that is run again by hand. More means that something is broken for good.
const ATTEMPTS: usize = 8;

impl Wave {
    /// Begin to publish `count` crates, a few at once. A publish that fails is tried again until it is done.
    pub(crate) fn start(subject: &Subject, name: &str, count: usize) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (progress, published) = watch::channel(0);
        let (progress, mut lanes) = (Arc::new(progress), JoinSet::new());
        for lane in 0..LANES {
            let names: Vec<String> = (lane..count).step_by(LANES).map(|number| format!("{name}-{number}")).collect();
            let (subject, ledger, progress) = (subject.clone(), Arc::clone(&ledger), Arc::clone(&progress));
            lanes.spawn(async move {
                for name in names {
                    let sha256 = publish(&subject, &name, &ledger).await?;
                    ledger.lock().await.acknowledged.push((name, sha256));
                    progress.send_modify(|published| *published += 1);
                }
                Ok(())
            });
        }
        Self { lanes, published, ledger }
    }

    /// Wait until this many are published.
    pub(crate) async fn reaches(&mut self, count: usize) -> Result<()> {
        // An error means that every lane has ended: `finish` says why.
        let _ = self.published.wait_for(|published| *published >= count).await;
        Ok(())
    }

    /// Wait for all of them.
    pub(crate) async fn finish(mut self) -> Result<Ledger> {
        while let Some(lane) = self.lanes.join_next().await {
            lane??;
        }
        Ok(std::mem::take(&mut *self.ledger.lock().await))
    }
}

async fn publish(subject: &Subject, name: &str, ledger: &Mutex<Ledger>) -> Result<String> {
    let (home, scratch) = (subject.developer()?, Scratch::new()?);
    scratch.package("", &Package::library(name, "0.1.0"))?;
    // What is uploaded is not kept; packing is reproducible, so this is the same file.
    home.cargo(scratch.path(), "package --no-verify").await?.succeeded()?;
    let sha256 = sha256_of(&scratch.path().join(format!("target/package/{name}-0.1.0.crate")))?;
    for _ in 0..ATTEMPTS {
        let run = home.cargo(scratch.path(), "publish --no-verify").await?;
        // "already exists": the reply to an earlier attempt was lost, the publish was not.
        if run.is_success() || run.stderr.contains("already exists") {
            return Ok(sha256);
        }
        ledger.lock().await.failed.push(run);
    }
    let ledger = ledger.lock().await;
    bail!("{name} cannot be published:\n{}", ledger.failed.iter().rev().take(2).map(Run::to_string).collect::<String>())
}

fn sha256_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

/// Every acknowledged crate is in the index with the checksum of what was packed, and a fresh Cargo resolves, downloads and
/// checks all of them. `base` is the registry's URL.
pub(crate) async fn all_are_there(subject: &Subject, base: &str, acknowledged: &[(String, String)]) -> Result<()> {
    ensure!(!acknowledged.is_empty(), "nothing was acknowledged, so nothing is proven");
    for (name, sha256) in acknowledged {
        let lines = index_lines(base, &subject.token, name).await?;
        ensure!(lines.len() == 1, "{name} has {} lines in the index", lines.len());
        ensure!(lines[0]["cksum"] == **sha256, "{name}: packed {sha256}, the index says {}", lines[0]["cksum"]);
    }
    let names: Vec<&str> = acknowledged.iter().map(|(name, _)| name.as_str()).collect();
    fetch(subject, &names).await
}

/// A Cargo with an empty home downloads all of these crates and checks them against the index.
async fn fetch(subject: &Subject, names: &[&str]) -> Result<()> {
    let (home, scratch) = (subject.developer()?, Scratch::new()?);
    let lines: Vec<String> = names.iter().map(|name| subject.dependency(name, "=0.1.0", "")).collect();
    let tables = format!("[dependencies]\n{}", lines.join("\n"));
    scratch.package("", &Package::program("consumer", "").tables(&tables))?;
    home.cargo(scratch.path(), "fetch").await?.succeeded()?;
    Ok(())
}
