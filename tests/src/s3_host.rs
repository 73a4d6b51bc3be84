//! Real S3 servers on loopback, for the store contract: each with a directory and a port of its own, and gone when dropped.

use std::{
    net::TcpListener,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use supercargo_dev::tools;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::s3;

/// Access key of every server here.
pub const ACCESS_KEY: &str = "testadmin";
/// Secret key of every server here.
pub const SECRET_KEY: &str = "testsecret123";
/// Longest that a server may take to answer; MinIO takes half a second on a free core.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server that runs. Its process and its directory go with this value.
#[derive(Debug)]
pub struct HostServer {
    program: &'static str,
    endpoint: String,
    directory: TempDir,
    command: Command,
    process: Child,
}

impl HostServer {
    /// versitygw on a directory, as the end-to-end tests and the demo have it.
    pub async fn versitygw() -> Result<Self> {
        Self::start("versitygw", |directory, address, command| {
            command.args(["--port", address, "--quiet", "posix", "--versioning-dir"]);
            command.args([directory.join("versions"), directory.join("buckets")]);
        })
        .await
    }

    /// versitygw with metadata in files of their own: it pairs new ETags with old bodies, and so loses updates.
    pub async fn versitygw_with_sidecar() -> Result<Self> {
        Self::start("versitygw", |directory, address, command| {
            command.args(["--port", address, "--quiet", "posix", "--sidecar"]);
            command.args([directory.join("sidecar"), directory.join("buckets")]);
        })
        .await
    }

    /// MinIO on one directory.
    pub async fn minio() -> Result<Self> {
        Self::start("minio", |directory, address, command| {
            command.args(["server", "--quiet", "--address", address]).arg(directory.join("buckets"));
        })
        .await
    }

    /// ministack's S3, with signatures checked.
    pub async fn ministack() -> Result<Self> {
        Self::start("ministack", |directory, address, command| {
            let (host, port) = address.split_once(':').unwrap_or((address, ""));
            command.env("BIND_HOST", host).env("GATEWAY_PORT", port).env("TMPDIR", directory.join("tmp"));
        })
        .await
    }

    /// `http://address:port`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A directory with the files `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, as a mounted Secret has them.
    pub fn credentials_dir(&self) -> Result<std::path::PathBuf> {
        let folder = self.directory.path().join("credentials");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("AWS_ACCESS_KEY_ID"), ACCESS_KEY)?;
        std::fs::write(folder.join("AWS_SECRET_ACCESS_KEY"), SECRET_KEY)?;
        Ok(folder)
    }

    async fn start(program: &'static str, arguments: impl Fn(&Path, &str, &mut Command)) -> Result<Self> {
        let binary = tools::binary(program).await?;
        let directory = TempDir::with_prefix("supercargo-s3-").context("making a directory for an S3 server")?;
        for folder in ["buckets", "versions", "sidecar", "tmp"] {
            std::fs::create_dir(directory.path().join(folder))?;
        }
        let address = free_address()?;
        let log = std::fs::File::create(directory.path().join("log"))?;
        // It must not outlive us, not even when we are killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(binary);
        arguments(directory.path(), &address, &mut command);
        environment(&mut command).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let process = command.spawn().with_context(|| format!("starting {program}"))?;
        let mut server = Self { program, endpoint: format!("http://{address}"), directory, command, process };
        server.answers().await?;
        Ok(server)
    }

    /// Kills it as `kill -9` does, and starts it again on its address and its directory.
    ///
    /// # Errors
    /// It does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.process.kill().await.with_context(|| format!("killing {}", self.program))?;
        self.process = self.command.spawn().with_context(|| format!("starting {} again", self.program))?;
        self.answers().await
    }

    /// Wait for the first answer to a signed request: ports open before servers are ready.
    async fn answers(&mut self) -> Result<()> {
        let client = s3::client(&self.endpoint, ACCESS_KEY, SECRET_KEY);
        let begun = Instant::now();
        while let Err(error) = client.list_buckets().send().await {
            let ended = self.process.try_wait()?;
            if ended.is_some() || begun.elapsed() > STARTS_WITHIN {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                bail!("{} does not answer at {} (ended: {ended:?}): {error:?}\n{log}", self.program, self.endpoint);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// All that any of the servers wants to know; each reads its own.
fn environment(command: &mut Command) -> &mut Command {
    command
        .envs([("ROOT_ACCESS_KEY", ACCESS_KEY), ("ROOT_SECRET_KEY", SECRET_KEY)])
        .envs([("MINIO_ROOT_USER", ACCESS_KEY), ("MINIO_ROOT_PASSWORD", SECRET_KEY)])
        .envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off")])
        .envs([("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AUTH", "true")])
        .envs([("SERVICES", "s3,iam,sts"), ("MINISTACK_HOST", "127.0.0.1"), ("IOT_MTLS_ENABLED", "0")])
        .env("LOG_LEVEL", "WARNING")
}

/// A port that was free a moment ago.
fn free_address() -> Result<String> {
    let socket = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(socket.local_addr()?.to_string())
}
