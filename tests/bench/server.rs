//! The program under test, with a token of its own.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use supercargo_tests::{
    s3,
    s3_host::{ACCESS_KEY, HostServer, SECRET_KEY},
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Process, free_address};

/// The bucket of registries on S3.
const BUCKET: &str = "crates";

/// The executable.
#[derive(Debug)]
pub(crate) struct Program(PathBuf);

/// Where its crates go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Storage<'a> {
    /// A directory of its own.
    File,
    /// A bucket there.
    S3(&'a HostServer),
}

/// A place for a server: its directory and its settings, before it is started.
#[derive(Debug)]
pub(crate) struct Place {
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
    public: String,
    internal: String,
}

/// The program as it runs.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    place: Place,
    token: String,
}

impl Place {
    /// On free ports, in a directory of its own.
    pub(crate) async fn new(storage: Storage<'_>) -> Result<Self> {
        let directory = TempDir::with_prefix("supercargo-bench-").context("making a directory for a registry")?;
        let (public, internal) = (free_address()?, free_address()?);
        let mut settings = vec![
            ("SUPERCARGO_PUBLIC_LISTEN", public.clone()),
            ("SUPERCARGO_INTERNAL_LISTEN", internal.clone()),
            ("SUPERCARGO_LOG_FILTER", "warn".to_owned()),
        ];
        settings.extend(storage_settings(storage, directory.path()).await?);
        Ok(Self { directory, settings, public, internal })
    }

    /// One more setting.
    pub(crate) fn set(mut self, variable: &'static str, value: impl ToString) -> Self {
        self.settings.push((variable, value.to_string()));
        self
    }

    /// Where a registry on files keeps its crates.
    pub(crate) fn data(&self) -> PathBuf {
        data(self.directory.path())
    }

    /// A directory that goes with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// `host:port` of the internal listener.
    pub(crate) fn internal(&self) -> &str {
        &self.internal
    }
}

impl Program {
    /// An executable that exists.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        ensure!(path.is_file(), "{} is not a file", path.display());
        Ok(Self(path))
    }

    /// Of the file, in bytes.
    pub(crate) fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.0)?.len())
    }

    /// Makes a token, starts the server and waits until it is ready.
    pub(crate) async fn start(&self, place: Place) -> Result<Server> {
        let token = self.command(&place).args(["token", "create", "--user", "bench"]).output().await?;
        ensure!(token.status.success(), "no token was made: {}", String::from_utf8_lossy(&token.stderr));
        let token = String::from_utf8(token.stdout)?.lines().next().context("no token was printed")?.trim().to_owned();
        let mut command = self.command(&place);
        command.arg("serve");
        let process = Process::start(command, &place.directory.path().join("log"), &place.internal, "/readyz").await?;
        Ok(Server { process, place, token })
    }

    /// Nothing of our environment goes in: an unknown setting would be refused.
    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.0);
        command.env_clear().envs(place.settings.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

fn data(directory: &Path) -> PathBuf {
    directory.join("data")
}

async fn storage_settings(storage: Storage<'_>, directory: &Path) -> Result<Vec<(&'static str, String)>> {
    let server = match storage {
        Storage::File => {
            return Ok(vec![("SUPERCARGO_FILE_DIRECTORY", data(directory).display().to_string())]);
        }
        Storage::S3(server) => server,
    };
    let client = s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY);
    if client.head_bucket().bucket(BUCKET).send().await.is_err() {
        client.create_bucket().bucket(BUCKET).send().await.context("making a bucket")?;
    }
    Ok(vec![
        ("SUPERCARGO_STORAGE_KIND", "s3".to_owned()),
        ("SUPERCARGO_S3_BUCKET", BUCKET.to_owned()),
        ("SUPERCARGO_S3_ENDPOINT", server.endpoint().to_owned()),
        ("SUPERCARGO_S3_FORCE_PATH_STYLE", "true".to_owned()),
        ("SUPERCARGO_S3_CREDENTIALS_DIR", server.credentials_dir()?.display().to_string()),
    ])
}

impl Server {
    /// From the start of the process to the first `/readyz` that says yes.
    pub(crate) fn started_in(&self) -> Duration {
        self.process.started_in()
    }

    /// `http://` and the public address.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.place.public)
    }

    /// `https://` and the public address, for a server with a certificate.
    pub(crate) fn tls_base(&self) -> String {
        format!("https://{}", self.place.public)
    }

    /// A token that may do everything to crates.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The environment that it was started with.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        self.place.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    /// Memory that it holds, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.process.resident_bytes()
    }

    /// The same, and from now on the most of it is another.
    pub(crate) fn forget_peak(&self) -> Result<u64> {
        self.process.forget_peak()
    }

    /// The most that it held since then, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        self.process.peak_bytes()
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}
