//! Reads of index files under load, by `wrk`.

use anyhow::{Context, Result, ensure};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use supercargo_registry::krate::packed::Packed;
use tokio::process::Command;

use crate::{publish::publish, server::Server};

/// Versions of the larger crate.
const VERSIONS: usize = 100;
/// Of each load.
const SECONDS: &str = "5";
/// As many as a few busy CI jobs have open.
const CONNECTIONS: &str = "32";

/// The index file of a crate with one version and of one with many, by as many connections at once.
pub(crate) async fn index(server: &Server) -> Result<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    for (name, versions) in [("small", 1), ("large", VERSIONS)] {
        for version in 0..versions {
            publish(&client, server, &Packed::new(name, &format!("1.{version}.0"))).await?;
        }
        let rate = load(server, &format!("{}/index/{}/{}/{name}", server.base(), &name[..2], &name[2..4])).await?;
        println!("  index file, {versions:>3} versions    {rate:.0}/s ({CONNECTIONS} connections)");
    }
    Ok(())
}

/// Requests per second.
async fn load(server: &Server, url: &str) -> Result<f64> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", CONNECTIONS, "--duration", SECONDS])
        .args(["--header", &format!("authorization: {}", server.token()), "--header", "accept-encoding: gzip", url])
        .output()
        .await
        .context("wrk, from the package of that name")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && !said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk: {said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk told no rate")?;
    Ok(rate.trim().parse()?)
}
