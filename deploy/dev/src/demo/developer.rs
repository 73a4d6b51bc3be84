//! The developer of the demo: a laptop with nothing but Cargo, two crates to share and a program that wants them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use crate::progress;

/// The name under which the developer's Cargo knows the registry.
pub(super) const REGISTRY: &str = "company";

/// What a developer writes into Cargo's configuration, line by line: where the registry is, and that Cargo itself keeps the token. A
/// private registry needs the second ("Registry Authentication" in the Cargo book): Cargo asks no provider by default.
pub(super) fn configuration(index: &str) -> [String; 4] {
    [
        format!("[registries.{REGISTRY}]"),
        format!("index = \"{index}\""),
        "[registry]".to_owned(),
        "global-credential-providers = [\"cargo:token\"]".to_owned(),
    ]
}

/// A scratch directory with a `CARGO_HOME` and packages in it, removed when dropped.
#[derive(Debug)]
pub(super) struct Laptop {
    dir: tempfile::TempDir,
    index: String,
}

/// What Cargo said and whether it was content.
#[derive(Debug)]
pub(super) struct Said {
    /// Whether the exit status was 0.
    pub(super) success: bool,
    /// Both streams, standard error first.
    pub(super) text: String,
}

impl Laptop {
    /// Empty but for the address of the registry.
    pub(super) fn new(index: &str) -> Result<Self> {
        let dir =
            tempfile::Builder::new().prefix("supercargo-demo-").tempdir().context("making a scratch directory")?;
        let laptop = Self { dir, index: index.to_owned() };
        for (path, content) in FILES {
            laptop.write(path, content)?;
        }
        laptop.empty_home(None)?;
        Ok(laptop)
    }

    /// A `CARGO_HOME` as on a new machine, with the address of the registry and, if given, the token.
    pub(super) fn empty_home(&self, token: Option<&str>) -> Result<()> {
        let home = self.dir.path().join("home");
        if home.exists() {
            std::fs::remove_dir_all(&home).context("emptying the demo's CARGO_HOME")?;
        }
        let config: Vec<String> = configuration(&self.index).map(|line| format!("{line}\n")).into();
        self.write("home/config.toml", &config.concat())?;
        if let Some(token) = token {
            self.write("home/credentials.toml", &format!("[registries.{REGISTRY}]\ntoken = \"{token}\"\n"))?;
        }
        Ok(())
    }

    /// A folder of the laptop.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Copy the lock file away, or bring it back.
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<()> {
        std::fs::rename(self.folder(from), self.folder(to)).with_context(|| format!("renaming {from} to {to}"))
    }

    /// Show `cargo …`, run it in `folder`, show the lines of its answer that matter, and hand all of it over.
    pub(super) async fn cargo(&self, folder: &str, arguments: &str, input: &str) -> Result<Said> {
        progress::say(format_args!("\n  {folder}$ cargo {arguments}"));
        let mut child = self.command(folder, arguments).spawn().context("starting cargo: is it in PATH?")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A Cargo that ended before it read says why on its standard error.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        }
        let output = child.wait_with_output().await.context("waiting for cargo")?;
        let text = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        for line in text.lines().filter(|line| matters(line)) {
            progress::say(format_args!("  {line}"));
        }
        Ok(Said { success: output.status.success(), text })
    }

    /// As [`Laptop::cargo`]; a failure ends the demo.
    pub(super) async fn must(&self, folder: &str, arguments: &str) -> Result<Said> {
        let said = self.cargo(folder, arguments, "").await?;
        if !said.success {
            bail!("`cargo {arguments}` failed:\n{}", said.text);
        }
        Ok(said)
    }

    /// Cargo with the laptop's home, and without what the Cargo that started us has put into the environment.
    fn command(&self, folder: &str, arguments: &str) -> Command {
        let mut command = Command::new("cargo");
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO")
                || name.starts_with("RUSTFLAGS")
                || name.to_ascii_lowercase().ends_with("_proxy")
            {
                command.env_remove(&key);
            }
        }
        command
            .args(arguments.split_whitespace())
            .current_dir(self.dir.path().join(folder))
            .env("CARGO_HOME", self.dir.path().join("home"))
            .env("CARGO_TERM_COLOR", "never")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.dir.path().join(path);
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        std::fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }
}

/// Cargo's steps are left out where they say nothing about a registry.
fn matters(line: &str) -> bool {
    const NOISE: [&str; 8] =
        ["Locking", "Compiling", "Finished", "Verifying", "Packaging", "Packaged", "Adding", "note: waiting"];
    let line = line.trim_start();
    !line.is_empty() && NOISE.iter().all(|word| !line.starts_with(word))
}

/// The workspace `greetings` with two crates that go to the registry, one using the other, and the program `app`.
const FILES: [(&str, &str); 7] = [
    ("greetings/Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"words\", \"speech\"]\n"),
    (
        "greetings/words/Cargo.toml",
        "[package]\nname = \"greeting-words\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
         description = \"Words to greet with\"\nlicense = \"MIT\"\npublish = [\"company\"]\n",
    ),
    ("greetings/words/src/lib.rs", "//! Words.\n/// What one says first.\npub const HELLO: &str = \"Hello\";\n"),
    (
        "greetings/speech/Cargo.toml",
        "[package]\nname = \"greeting-speech\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
         description = \"Greets whom you name\"\nlicense = \"MIT\"\npublish = [\"company\"]\n\n[dependencies]\n\
         greeting-words = { path = \"../words\", version = \"0.1.0\", registry = \"company\" }\n",
    ),
    (
        "greetings/speech/src/lib.rs",
        "//! Speech.\n/// Greets.\npub fn greet(whom: &str) -> String {\n    format!(\"{}, {whom}!\", greeting_words::HELLO)\n}\n",
    ),
    ("app/Cargo.toml", "[package]\nname = \"app\"\nversion = \"0.0.0\"\nedition = \"2021\"\n"),
    ("app/src/main.rs", "fn main() {\n    println!(\"{}\", greeting_speech::greet(\"Supercargo\"));\n}\n"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiling_is_noise_and_publishing_is_not() {
        assert!(matters("    Published greeting-words v0.1.0 at registry `company`"));
        assert!(matters("error: no token found"));
        assert!(!matters("   Compiling app v0.0.0"));
    }
}
