//! A registry in this process, on a directory or any other store, for stories that need no cluster.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, ensure};
use supercargo_registry::{
    access::{Grant, NewToken, TokenSecret, Verb},
    ambient::{Clock, Entropy},
    config::Config,
    krate::Owner,
    registry::{Registry, Storage},
    server::{self, Running, Stop},
};
use tempfile::TempDir;

use crate::{cargo::Toolchain, conformance::Subject};

/// A registry on a directory of its own, gone when it is stopped or dropped.
pub struct LocalRegistry {
    directory: TempDir,
    running: Running,
    entropy: Entropy,
}

impl LocalRegistry {
    /// Serve a fresh directory on free ports. `more` is TOML to go on with, such as a table of limits.
    pub async fn start(more: &str) -> Result<Self> {
        let directory = TempDir::with_prefix("supercargo-local-").context("making a directory for a registry")?;
        let text = format!("{}{more}", on_directory(&directory.path().join("data")));
        let config = Config::from_sources(Some(&text), Vec::new()).context("the configuration of a local registry")?;
        let storage = Storage::open(&config.storage).await?;
        let entropy = Entropy::from_os();
        let running = server::start(&config, &storage, Clock::system(), entropy.clone()).await?;
        Ok(Self { directory, running, entropy })
    }

    /// `http://` and its public address.
    #[must_use]
    pub fn base(&self) -> String {
        format!("http://{}", self.running.public)
    }

    /// `http://` and its internal address.
    #[must_use]
    pub fn internal(&self) -> String {
        format!("http://{}", self.running.internal)
    }

    /// A directory for files that the configuration names.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The registry behind the server.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.running.registry
    }

    /// A token of this user with these grants.
    pub async fn token(&self, user: &str, grants: Vec<Grant>) -> Result<String> {
        let secret = self.entropy.with(TokenSecret::generate);
        let user = Owner::parse(user).context("a user's name")?;
        let new = NewToken { user, description: "made by a test".into(), grants, expires_at: None };
        self.running.registry.put_token(secret.hash(), new).await?;
        Ok(secret.expose().to_owned())
    }

    /// The registry as a developer sees it who may do everything a `CargoToken` can grant to crates of one's own.
    pub async fn subject(&self, toolchain: Toolchain) -> Result<Subject> {
        let verbs = [Verb::Read, Verb::PublishNew, Verb::PublishUpdate, Verb::Yank, Verb::Owners];
        let token = self.token("developer", vec![Grant::on_all(verbs)]).await?;
        let index = format!("sparse+{}/index/", self.base());
        Ok(Subject { registry: "company".to_owned(), index, token, toolchain })
    }

    /// Stop it and check that nothing was left half done.
    pub async fn stop(self) -> Result<()> {
        self.running.shutdown(Stop::Settle);
        ensure!(self.running.wait().await, "the registry did not finish what was under way");
        Ok(())
    }
}

fn on_directory(data: &Path) -> String {
    format!(
        "public.listen = \"127.0.0.1:0\"\ninternal.listen = \"127.0.0.1:0\"\nfile.directory = {:?}\n",
        data.display().to_string()
    )
}
