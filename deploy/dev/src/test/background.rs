//! Tools are built by a process of its own while the first steps run: below them (`nice`), and with its progress in a log, so
//! that the screen belongs to the steps.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};

use super::checks::Check;
use crate::host::packages::{self, Need};
use crate::paths;
use crate::progress::{Step, tell};
use crate::tools::{self, Tool};

/// A build in the background, or none.
#[derive(Debug)]
pub(super) struct Background {
    child: Option<Child>,
    log: PathBuf,
}

impl Background {
    /// Starts it if one of the steps to come needs it.
    pub(super) fn start(checks: &[Check]) -> Result<Self> {
        let log = paths::build_log("tools-in-background");
        if !checks.iter().any(|check| check.needs_tools()) {
            return Ok(Self { child: None, log });
        }
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let file = std::fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let program = std::env::current_exe().context("finding our own program")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .args(["test", "--prepare"])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .context("starting the build of tools")?;
        Ok(Self { child: Some(child), log })
    }

    /// Waits for its end. That it failed is only said: the step that misses a tool tries again and fails with the reason.
    pub(super) async fn wait(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let step = Step::start(format!("Tools that are built in the background ({})", self.log.display()));
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = tick.tick() => {
                    let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                    step.note(text.lines().last().unwrap_or_default());
                }
            }
        };
        step.unneeded();
        if !status.is_ok_and(|status| status.success()) {
            tell(format_args!("not all tools were built in the background; see {}", self.log.display()));
        }
    }
}

/// Packages and tools of all steps.
pub(super) async fn prepare() -> Result<()> {
    packages::ensure(&[Need::Cluster, Need::Images, Need::Witnesses]).await?;
    tools::ensure(&Tool::for_tests()).await
}
