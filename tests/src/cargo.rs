//! The real Cargo, as a developer runs it: with a `CARGO_HOME` of its own, nothing inherited from
//! the build that runs the test, and all it said kept for the failure message.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

/// Which Cargo to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// The one this workspace is built with.
    Workspace,
    /// A toolchain by the name that `rustup toolchain list` gives it.
    Named(String),
}

impl Toolchain {
    /// The newest nightly that `rustup` has installed, by its compiler's commit date; `None` without one
    /// (also where Rust was installed without `rustup`).
    pub async fn newest_nightly() -> Result<Option<Self>> {
        let Ok(listed) = Command::new("rustup").args(["toolchain", "list"]).stderr(Stdio::null()).output().await else {
            return Ok(None);
        };
        let mut newest: Option<(String, String)> = None;
        for line in String::from_utf8_lossy(&listed.stdout).lines() {
            let Some(name) = line.split_whitespace().next().filter(|n| n.starts_with("nightly")) else {
                continue;
            };
            let version = Command::new("rustc").arg("-vV").env("RUSTUP_TOOLCHAIN", name).output().await?;
            let text = String::from_utf8_lossy(&version.stdout).into_owned();
            let date = text.lines().find_map(|line| line.strip_prefix("commit-date: ")).unwrap_or_default().to_owned();
            if newest.as_ref().is_none_or(|(known, _)| *known < date) {
                newest = Some((date, name.to_owned()));
            }
        }
        Ok(newest.map(|(_, name)| Self::Named(name)))
    }
}

/// A developer's `CARGO_HOME`, empty at first, removed when dropped.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    toolchain: Toolchain,
}

impl Home {
    /// A home without any configuration, for the Cargo of `toolchain`.
    pub fn empty(toolchain: Toolchain) -> Result<Self> {
        let dir = TempDir::with_prefix("supercargo-home-").context("making a CARGO_HOME")?;
        Ok(Self { dir, toolchain })
    }

    /// A home that knows one registry, `name`, at `index` (with `sparse+`), and the token for it, if there is one.
    pub fn with_registry(toolchain: Toolchain, name: &str, index: &str, token: Option<&str>) -> Result<Self> {
        let home = Self::empty(toolchain)?;
        let config = format!(
            "[registries.{name}]\nindex = \"{index}\"\n\n\
             [registry]\ndefault = \"{name}\"\nglobal-credential-providers = [\"cargo:token\"]\n"
        );
        home.write("config.toml", &config)?;
        if let Some(token) = token {
            let credentials = format!("[registries.{name}]\ntoken = \"{token}\"\n");
            home.write("credentials.toml", &credentials)?;
        }
        Ok(home)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Write a file of it, as `config.toml` and `credentials.toml` of a `CargoToken`'s Secret are written.
    pub fn write(&self, name: &str, content: &str) -> Result<()> {
        std::fs::write(self.dir.path().join(name), content).with_context(|| format!("writing {name} of a CARGO_HOME"))
    }

    /// Run `cargo` with `arguments` (separated by spaces) in `directory` to its end, whatever that is.
    pub async fn cargo(&self, directory: &Path, arguments: &str) -> Result<Run> {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.run(directory, &arguments, "").await
    }

    /// As [`Home::cargo`], with `input` on its standard input, as one pastes a token.
    pub async fn cargo_with_input(&self, directory: &Path, arguments: &str, input: &str) -> Result<Run> {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        self.run(directory, &arguments, input).await
    }

    async fn run(&self, directory: &Path, args: &[&str], input: &str) -> Result<Run> {
        let mut child = self
            .command()
            .args(args)
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting cargo {}", args.join(" ")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A Cargo that ended before it read has said why on its standard error.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let output = child.wait_with_output().await?;
        Ok(Run {
            command: format!("cargo {}", args.join(" ")),
            directory: directory.to_owned(),
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Cargo with this home and toolchain, and nothing of the build that runs the test.
    fn command(&self) -> Command {
        let mut command = Command::new("cargo");
        for (key, _) in std::env::vars_os() {
            let key_text = key.to_string_lossy();
            let of_build = key_text.starts_with("CARGO")
                || key_text.starts_with("RUSTC")
                || key_text.starts_with("RUSTFLAGS")
                || key_text.starts_with("RUSTDOC")
                || key_text.starts_with("DEP_")
                || key_text == "LD_LIBRARY_PATH"
                || key_text.to_ascii_lowercase().ends_with("_proxy");
            if of_build {
                command.env_remove(&key);
            }
        }
        if let Toolchain::Named(name) = &self.toolchain {
            command.env("RUSTUP_TOOLCHAIN", name);
        }
        command
            .env("CARGO_HOME", self.dir.path())
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_INCREMENTAL", "0")
            .kill_on_drop(true);
        command
    }
}

/// What one run of Cargo said and how it ended.
#[derive(Clone, Debug)]
pub struct Run {
    command: String,
    directory: PathBuf,
    status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error: where Cargo writes progress, warnings and errors.
    pub stderr: String,
}

impl Run {
    /// It ended well; otherwise an error with all it said.
    pub fn succeeded(self) -> Result<Self> {
        if !self.status.success() {
            bail!("expected success\n{self}");
        }
        Ok(self)
    }

    /// It failed and named each of `reasons`; otherwise an error with all it said.
    pub fn refused(self, reasons: &[&str]) -> Result<Self> {
        if self.status.success() {
            bail!("expected a refusal that names {reasons:?}\n{self}");
        }
        self.says(reasons)
    }

    /// It said each of `texts`, on either stream; otherwise an error with all it said.
    pub fn says(self, texts: &[&str]) -> Result<Self> {
        for text in texts {
            if !self.stderr.contains(text) && !self.stdout.contains(text) {
                bail!("expected Cargo to say {text:?}\n{self}");
            }
        }
        Ok(self)
    }

    /// Whether it ended well, for tests in which both ends are allowed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status.success()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}   (in {}) -> {}", self.command, self.directory.display(), self.status)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            for line in text.lines() {
                writeln!(f, "  {name}| {line}")?;
            }
        }
        Ok(())
    }
}
