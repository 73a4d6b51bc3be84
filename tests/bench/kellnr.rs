//! Kellnr on a directory, with SQLite, as it comes from its crate.

use std::path::Path;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    client::{Client, Target},
    data::{LARGE, Plan, SMALL, VAST},
    process::{Process, free_address},
};

/// The credential of its first user.
const TOKEN: &str = "bench0123456789bench0123456789ab";
/// Publishes at once while it is filled.
const AT_ONCE: usize = 4;

/// Kellnr as it runs.
#[derive(Debug)]
pub(crate) struct Kellnr {
    process: Process,
    address: String,
    _directory: TempDir,
}

impl Kellnr {
    /// Starts it, empty and open to anonymous readers.
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        let directory = TempDir::with_prefix("supercargo-bench-kellnr-").context("making a directory for Kellnr")?;
        let address = free_address()?;
        let port = address.rsplit_once(':').context("an address has a port")?.1.to_owned();
        let mut command = Command::new(std::path::absolute(program)?);
        command
            .arg("start")
            // It makes a folder of its own where it is started.
            .current_dir(directory.path())
            .env_clear()
            .env("HOME", directory.path())
            .env("KELLNR_REGISTRY__DATA_DIR", directory.path().join("data"))
            .env("KELLNR_REGISTRY__MAX_CRATE_SIZE", "50")
            .env("KELLNR_SETUP__ADMIN_TOKEN", TOKEN)
            .env("KELLNR_LOCAL__IP", "127.0.0.1")
            .env("KELLNR_LOCAL__PORT", &port)
            .env("KELLNR_ORIGIN__HOSTNAME", "127.0.0.1")
            .env("KELLNR_ORIGIN__PORT", &port)
            .env("KELLNR_PROXY__ENABLED", "false")
            .env("KELLNR_LOG__LEVEL", "error")
            .env("KELLNR_LOG__LEVEL_WEB_SERVER", "error");
        let log = directory.path().join("log");
        let process = Process::start(command, &log, &address, "/api/v1/crates/config.json").await?;
        Ok(Self { process, address, _directory: directory })
    }

    /// Publishes one version of every crate, and all versions of the larger ones; with files only where they are measured.
    pub(crate) async fn fill(&self, plans: &[Plan]) -> Result<()> {
        let (client, target) = (Client::new(), self.target());
        let publishes = plans.iter().map(|plan| {
            let (client, target) = (&client, &target);
            async move {
                let all = [SMALL, LARGE, VAST].contains(&plan.name.as_str());
                for number in if all { 0 } else { plan.versions - 1 }..plan.versions - 1 {
                    let packed = plan.packed(&format!("1.{number}.0"));
                    client.publish(target, &packed).await.with_context(|| format!("{} 1.{number}.0", plan.name))?;
                }
                let whole = [SMALL, LARGE].contains(&plan.name.as_str());
                let newest = if whole { plan.newest_packed() } else { plan.packed(&plan.newest()) };
                client.publish(target, &newest).await.with_context(|| format!("the newest {}", plan.name))?;
                anyhow::Ok(())
            }
        });
        futures::stream::iter(publishes).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Where its index is, without a slash at the end.
    pub(crate) fn index(&self) -> String {
        format!("http://{}/api/v1/crates", self.address)
    }

    /// The address of a crate file.
    pub(crate) fn file(&self, name: &str, version: &str) -> String {
        format!("http://{}/api/v1/crates/dl/{name}/{version}/download", self.address)
    }

    /// Where crates are published.
    pub(crate) fn target(&self) -> Target {
        Target { url: format!("http://{}/api/v1/crates/new", self.address), token: TOKEN.to_owned() }
    }

    /// The process.
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}
