//! Where steps run their commands and keep what these say.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Tally;
use crate::paths;
use crate::process::{Run, tail};
use crate::progress::{Step, tell};

/// The folder of the logs, and ways to run a command into one of them.
#[derive(Debug)]
pub(crate) struct Bench {
    logs: PathBuf,
}

impl Bench {
    /// `target/test-logs` of the project.
    pub(crate) fn new() -> Result<Self> {
        let logs = paths::workspace().join("target/test-logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
        Ok(Self { logs: std::fs::canonicalize(&logs)? })
    }

    /// A folder for a step's own files, empty.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.logs.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(folder)
    }

    /// Runs a command to its end with all it says in the log `name`; whether it ended well, and what it said.
    pub(crate) async fn run(&self, name: &str, command: Run) -> Result<(bool, String)> {
        let step = Step::start(format!("{name}: {command}"));
        let log = self.logs.join(format!("{name}.log"));
        let ended_well = command.logged(&step, &log).await.is_ok();
        step.unneeded();
        let said = std::fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
        Ok((ended_well, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Runs a command that is one check: its end decides.
    pub(crate) async fn check(&self, name: &str, command: Run) -> Result<Tally> {
        let (ended_well, said) = self.run(name, command).await?;
        if !ended_well {
            tell(tail(said.trim_end()));
            return Ok(Tally::one_failed(name));
        }
        Ok(Tally::one_passed())
    }

    /// Runs `cargo test …` and counts its tests.
    pub(crate) async fn cargo_test(&self, name: &str, command: Run) -> Result<Tally> {
        let (ended_well, said) = self.run(name, command).await?;
        if !ended_well {
            tell(failures(&said));
        }
        Ok(Tally::of_cargo_test(&said, ended_well, name))
    }

    /// The folder of all logs.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }
}

/// `cargo` in the root of the project.
pub(crate) fn cargo(arguments: &[&str]) -> Run {
    Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .dir(paths::workspace())
        .env("CARGO_TERM_COLOR", "never")
        .args(arguments)
}

/// What a failed `cargo test` said about its failures, or its last lines if it never came that far.
fn failures(said: &str) -> String {
    const LINES_MAX: usize = 120;
    let from = said.find("\nfailures:\n").unwrap_or(said.len());
    if from == said.len() {
        return tail(said.trim_end());
    }
    said[from..].lines().take(LINES_MAX).collect::<Vec<_>>().join("\n")
}
