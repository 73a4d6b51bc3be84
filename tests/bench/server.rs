//! The program under test: started on free ports with a token of its own, gone when dropped.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use supercargo_tests::{
    s3,
    s3_host::{ACCESS_KEY, HostServer, SECRET_KEY},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

/// The bucket of registries on S3.
const BUCKET: &str = "crates";
/// Longest from the start to readiness; the proof of an S3 store takes seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

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

/// The program as it runs.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    settings: Vec<(&'static str, String)>,
    public: String,
    token: String,
    started_in: Duration,
    directory: TempDir,
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
    pub(crate) async fn start(&self, storage: Storage<'_>) -> Result<Server> {
        let directory = TempDir::with_prefix("supercargo-bench-").context("making a directory for a registry")?;
        let (public, internal) = (free_address()?, free_address()?);
        let mut settings = vec![
            ("SUPERCARGO_PUBLIC_LISTEN", public.clone()),
            ("SUPERCARGO_INTERNAL_LISTEN", internal.clone()),
            ("SUPERCARGO_LOG_FILTER", "warn".to_owned()),
        ];
        settings.extend(place(storage, directory.path()).await?);
        let token = self.command(&settings).args(["token", "create", "--user", "bench"]).output().await?;
        ensure!(token.status.success(), "no token was made: {}", String::from_utf8_lossy(&token.stderr));
        let token = String::from_utf8(token.stdout)?.lines().next().context("no token was printed")?.trim().to_owned();

        let log = std::fs::File::create(directory.path().join("log"))?;
        let begun = Instant::now();
        let process = self.command(&settings).arg("serve").stdout(Stdio::null()).stderr(log).spawn()?;
        let mut server = Server { process, settings, public, token, started_in: Duration::ZERO, directory };
        while !is_ready(&internal).await {
            let ended = server.process.try_wait()?;
            if ended.is_some() || begun.elapsed() > STARTS_WITHIN {
                let log = std::fs::read_to_string(server.directory.path().join("log")).unwrap_or_default();
                bail!("the registry is not ready (ended: {ended:?}):\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.started_in = begun.elapsed();
        Ok(server)
    }

    /// Nothing of our environment goes in: an unknown setting would be refused.
    fn command(&self, settings: &[(&'static str, String)]) -> Command {
        let mut command = Command::new(&self.0);
        command.env_clear().envs(settings.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }
}

async fn place(storage: Storage<'_>, directory: &Path) -> Result<Vec<(&'static str, String)>> {
    let server = match storage {
        Storage::File => {
            return Ok(vec![("SUPERCARGO_FILE_DIRECTORY", directory.join("data").display().to_string())]);
        }
        Storage::S3(server) => server,
    };
    let client = s3::client(server.endpoint(), ACCESS_KEY, SECRET_KEY);
    client.create_bucket().bucket(BUCKET).send().await.context("making a bucket")?;
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
        self.started_in
    }

    /// `http://` and the public address.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.public)
    }

    /// A token that may do everything to crates.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The environment that it was started with.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        self.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }

    /// A directory that goes with it.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Memory that it holds, as the kernel counts it.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let pid = self.process.id().context("it has ended")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("reading VmRSS")?;
        Ok(kib * 1024)
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.kill().await.context("stopping the registry")
    }
}

/// One look at `/readyz`, by hand: a client with a pool would be most of what is measured.
async fn is_ready(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

/// A port that was free a moment ago.
fn free_address() -> Result<String> {
    let socket = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(socket.local_addr()?.to_string())
}
