//! The real Cargo, in a home of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A user at a terminal: a CARGO_HOME, a place for projects, a configured registry `company`.
pub(crate) struct Cargo {
    dir: TempDir,
    index: String,
}

/// What Cargo said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
    command: String,
}

impl Said {
    /// Fails the test unless Cargo succeeded.
    pub(crate) fn expect_ok(self) -> Self {
        assert!(self.ok, "`{}` failed:\n--- stdout\n{}\n--- stderr\n{}", self.command, self.out, self.err);
        self
    }

    /// Fails the test unless Cargo failed and said all of these.
    pub(crate) fn expect_failure(self, parts: &[&str]) -> Self {
        assert!(!self.ok, "`{}` succeeded:\n--- stdout\n{}\n--- stderr\n{}", self.command, self.out, self.err);
        self.expect_said(parts)
    }

    /// Fails the test unless all of these are in what Cargo said.
    pub(crate) fn expect_said(self, parts: &[&str]) -> Self {
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(
                said,
                "`{}` did not say {part:?}:\n--- stdout\n{}\n--- stderr\n{}",
                self.command, self.out, self.err
            );
        }
        self
    }
}

impl Cargo {
    /// A fresh user of the registry with this index URL; logged in if there is a token.
    pub(crate) fn new(index: &str, token: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let home = dir.path().join("home");
        std::fs::create_dir_all(&home).expect("writable");
        std::fs::create_dir_all(dir.path().join("work")).expect("writable");
        let config = format!(
            "[registries.company]\nindex = \"{index}\"\n[registry]\nglobal-credential-providers = [\"cargo:token\"]\n[net]\nretry = 0\n[term]\ncolor = \"never\"\n"
        );
        std::fs::write(home.join("config.toml"), config).expect("writable");
        let this = Self { dir, index: index.to_owned() };
        if let Some(token) = token {
            this.log_in(token);
        }
        this
    }

    /// Writes the token as `cargo login` does.
    pub(crate) fn log_in(&self, token: &str) {
        std::fs::write(self.home().join("credentials.toml"), format!("[registries.company]\ntoken = \"{token}\"\n"))
            .expect("writable");
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where the projects are.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The index URL.
    pub(crate) fn index(&self) -> &str {
        &self.index
    }

    /// Writes a file of a project, relative to [`Cargo::work`].
    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.work().join(path);
        std::fs::create_dir_all(path.parent().expect("below the directory")).expect("writable");
        std::fs::write(path, content).expect("writable");
    }

    /// Reads a file of a project.
    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.work().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A library with this manifest and an empty source.
    pub(crate) fn library(&self, path: &str, manifest: &str) {
        self.write(&format!("{path}/Cargo.toml"), manifest);
        self.write(&format!("{path}/src/lib.rs"), "");
    }

    /// Runs `cargo` in a project. Another thread blocks, so the server in this process goes on.
    pub(crate) async fn run(&self, dir: &str, args: &[&str]) -> Said {
        let (dir, home, tmp) = (self.work().join(dir), self.home(), self.dir.path().join("target"));
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        tokio::task::spawn_blocking(move || run(&dir, &home, &tmp, &args)).await.expect("the thread lives")
    }

    /// Runs `cargo` in a project and expects success.
    pub(crate) async fn ok(&self, dir: &str, args: &[&str]) -> Said {
        self.run(dir, args).await.expect_ok()
    }
}

fn run(dir: &Path, home: &Path, target: &Path, args: &[String]) -> Said {
    // Nothing of the outer Cargo's environment may reach the inner one.
    let keep =
        ["PATH", "RUSTUP_TOOLCHAIN", "LANG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let rustup = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".rustup")));
    let mut command = Command::new("cargo");
    command
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs(keep)
        .env("HOME", home)
        .env("CARGO_HOME", home)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_INCREMENTAL", "0")
        .stdin(Stdio::null());
    if let Some(rustup) = rustup {
        command.env("RUSTUP_HOME", rustup);
    }
    let output = command.output().expect("cargo runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said {
        ok: output.status.success(),
        out: text(output.stdout),
        err: text(output.stderr),
        command: format!("cargo {} (in {})", args.join(" "), dir.display()),
    }
}
