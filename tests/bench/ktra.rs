//! Ktra on a directory, with Sled and a Git repository beside it for its index, as it comes from its crate. It serves no index: Cargo
//! clones the repository.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    client::{Client, Target},
    data::{LARGE, Plan, SMALL},
    process::{Process, free_address},
};

/// Ktra as it runs.
#[derive(Debug)]
pub(crate) struct Ktra {
    process: Process,
    address: String,
    token: String,
    _directory: TempDir,
}

impl Ktra {
    /// Starts it with an empty index and one user.
    pub(crate) async fn start(program: &Path) -> Result<Self> {
        let directory = TempDir::with_prefix("supercargo-bench-ktra-").context("making a directory for Ktra")?;
        let (at, address) = (directory.path(), free_address()?);
        index_repository(at, &address).await?;
        let config = at.join("ktra.toml");
        std::fs::write(&config, configuration(at, &address)?)
            .with_context(|| format!("writing {}", config.display()))?;
        let mut command = Command::new(program);
        // It does not start with a filter for its log in the environment.
        command.arg("--config").arg(&config).env_clear().env("HOME", at);
        let process = Process::start(command, &at.join("log"), &address, "/me").await?;
        let user = json!({ "password": "bench-bench-bench" });
        let made = Client::new().post(&format!("http://{address}/ktra/api/v1/new_user/bench"), &user).await?;
        let token =
            serde_json::from_slice::<Value>(&made).ok().and_then(|made| Some(made["token"].as_str()?.to_owned()));
        let token = token.with_context(|| format!("Ktra made no user: {}", String::from_utf8_lossy(&made)))?;
        Ok(Self { process, address, token, _directory: directory })
    }

    /// Publishes what is downloaded: it takes a commit and a push per crate.
    pub(crate) async fn fill(&self, plans: &[Plan]) -> Result<()> {
        let (client, target) = (Client::new(), self.target());
        for plan in plans.iter().filter(|plan| [SMALL, LARGE].contains(&plan.name.as_str())) {
            client.publish(&target, &plan.newest_packed()).await.with_context(|| plan.name.clone())?;
        }
        Ok(())
    }

    /// The address of a crate file.
    pub(crate) fn file(&self, name: &str, version: &str) -> String {
        format!("http://{}/dl/{name}/{version}/download", self.address)
    }

    /// Where crates are published.
    pub(crate) fn target(&self) -> Target {
        Target { url: format!("http://{}/api/v1/crates/new", self.address), token: self.token.clone() }
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

fn configuration(at: &Path, address: &str) -> Result<String> {
    let port: u16 = address.rsplit_once(':').context("an address has a port")?.1.parse()?;
    let at = at.display();
    Ok(format!(
        "[crate_files_config]\ndl_dir_path = \"{at}/crates\"\n[db_config]\ndb_dir_path = \"{at}/db\"\n[index_config]\n\
         remote_url = \"file://{at}/remote.git\"\nlocal_path = \"{at}/index\"\nbranch = \"main\"\nname = \"bench\"\n\
         email = \"bench@localhost\"\n[server_config]\naddress = [127, 0, 0, 1]\nport = {port}\n"
    ))
}

/// The repository that it pushes to, with the one file that every index has.
async fn index_repository(at: &Path, address: &str) -> Result<()> {
    git(at, &["init", "--quiet", "--bare", "--initial-branch", "main", "remote.git"]).await?;
    git(at, &["clone", "--quiet", "remote.git", "seed"]).await?;
    let seed = at.join("seed");
    let config = json!({ "dl": format!("http://{address}/dl"), "api": format!("http://{address}") });
    std::fs::write(seed.join("config.json"), config.to_string()).context("writing config.json")?;
    git(&seed, &["add", "config.json"]).await?;
    git(&seed, &["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "-m", "config"])
        .await?;
    git(&seed, &["push", "--quiet", "origin", "HEAD:main"]).await
}

async fn git(at: &Path, arguments: &[&str]) -> Result<()> {
    let output = Command::new("git").current_dir(at).args(arguments).output().await.context("starting git")?;
    ensure!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
