//! nginx with the same files: the limit for answers over HTTP on this machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::Command;

use crate::{
    data::Made,
    process::{Process, free_address},
    tls::Certificate,
};

/// The files that it serves, as they are written.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

/// nginx as it runs.
#[derive(Debug)]
pub(crate) struct Nginx {
    process: Process,
    plain: String,
    tls: String,
    _site: Site,
}

impl Site {
    /// Nothing yet.
    pub(crate) fn new() -> Result<Self> {
        let directory = TempDir::with_prefix("supercargo-bench-nginx-").context("making a directory for nginx")?;
        Ok(Self { directory })
    }

    /// Adds a crate: its index file, plain and as gzip, and its crate file.
    pub(crate) fn add(&self, made: &Made) -> Result<()> {
        let index = self.root().join("index").join(made.name.index_path());
        write(&index, made.record.index()?.as_bytes())?;
        let mut gzip = index.into_os_string();
        gzip.push(".gz");
        write(Path::new(&gzip), made.record.index_gzip())?;
        if let Some((_, file)) = &made.file {
            let path = format!("api/v1/crates/{}/{}/download", made.name, made.newest);
            write(&self.root().join(path), file)?;
        }
        Ok(())
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("site")
    }

    /// Serves what was added, over plain HTTP and over TLS with HTTP/2.
    pub(crate) async fn serve(self, certificate: &Certificate) -> Result<Nginx> {
        let (plain, tls) = (free_address()?, free_address()?);
        let api = format!("http://{plain}");
        let config = format!("{{\"dl\":\"{api}/api/v1/crates/{{crate}}/{{version}}/download\",\"api\":\"{api}\"}}");
        write(&self.root().join("index/config.json"), config.as_bytes())?;
        let directory = self.directory.path();
        let text = configuration(directory, &self.root(), &plain, &tls, certificate);
        let file = directory.join("nginx.conf");
        write(&file, text.as_bytes())?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).arg("-c").arg(&file).args(["-g", "daemon off;"]);
        let process = Process::start(command, &directory.join("log"), &plain, "/index/config.json").await?;
        Ok(Nginx { process, plain, tls, _site: self })
    }
}

impl Nginx {
    /// `http://` and its address.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.plain)
    }

    /// `https://` and its address.
    pub(crate) fn tls_base(&self) -> String {
        format!("https://{}", self.tls)
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

/// As one would tune it for static files: no log, open files kept open, no end to a connection.
fn configuration(directory: &Path, root: &Path, plain: &str, tls: &str, certificate: &Certificate) -> String {
    let (directory, root) = (directory.display(), root.display());
    let (chain, key) = (certificate.chain(), certificate.key());
    let (chain, key) = (chain.display(), key.display());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {directory}/{kind};\n"))
        .concat();
    format!(
        "user root;\nworker_processes auto;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 100000000;\n{temporary}\
         \x20 open_file_cache max=20000 inactive=10m;\n  open_file_cache_valid 10m;\n  open_file_cache_errors on;\n\
         \x20 types {{ application/json json; }}\n  default_type text/plain;\n\
         \x20 server {{\n    listen {plain};\n    listen {tls} ssl http2;\n    http2_max_requests 100000000;\n\
         \x20   ssl_certificate {chain};\n    ssl_certificate_key {key};\n    root {root};\n\
         \x20   location /index/ {{ gzip_static on; add_header Cache-Control no-cache; }}\n  }}\n}}\n"
    )
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().context("a file has a parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
