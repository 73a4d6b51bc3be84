//! One kind of request, as often as a server answers it: `wrk` for HTTP/1.1, `h2load` for HTTP/2 over TLS.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

use crate::{client::Client, report::Subject};

/// As many as a few busy CI jobs have open.
pub(crate) const CONNECTIONS: u32 = 32;
/// How often each subject is measured; the median counts.
pub(crate) const ROUNDS: usize = 3;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 over TLS.
    Http2,
}

/// A request to one subject.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) subject: Subject,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The status of a right answer.
    pub(crate) status: u16,
    pub(crate) protocol: Protocol,
    connections: u32,
}

impl Request {
    /// A GET that is answered with 200, over HTTP/1.1.
    pub(crate) fn get(subject: Subject, url: String) -> Self {
        Self { subject, url, headers: Vec::new(), status: 200, protocol: Protocol::Http1, connections: CONNECTIONS }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// Answered with this.
    pub(crate) fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// By this many connections.
    pub(crate) fn connections(self, connections: u32) -> Self {
        Self { connections, ..self }
    }

    /// Over HTTP/2 and TLS.
    pub(crate) fn http2(self) -> Self {
        Self { protocol: Protocol::Http2, ..self }
    }
}

/// Requests per second of each subject, in turns; medians.
pub(crate) async fn in_turns(requests: &[Request], seconds: u32) -> Result<Vec<(Subject, f64)>> {
    let client = Client::new();
    for request in requests.iter().filter(|request| request.protocol == Protocol::Http1) {
        let status = client.get(&request.url, &request.headers).await?.status;
        ensure!(status == request.status, "{}: {status} instead of {}", request.url, request.status);
    }
    let mut rates = vec![Vec::new(); requests.len()];
    for round in 0..ROUNDS {
        for turn in 0..requests.len() {
            // Whoever comes first in one round comes last in another.
            let number = (turn + round) % requests.len();
            rates[number].push(rate(&requests[number], seconds).await?);
        }
    }
    Ok(requests.iter().zip(rates).map(|(request, rates)| (request.subject, median(rates))).collect())
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn rate(request: &Request, seconds: u32) -> Result<f64> {
    match request.protocol {
        Protocol::Http1 => wrk(request, seconds).await,
        Protocol::Http2 => h2load(request, seconds).await,
    }
}

async fn wrk(request: &Request, seconds: u32) -> Result<f64> {
    let mut command = Command::new("wrk");
    command.args(["--threads", "2", "--timeout", "30s", "--duration", &seconds.to_string()]);
    command.args(["--connections", &request.connections.to_string()]);
    for (name, value) in &request.headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    let said = said(command.arg(&request.url), "wrk").await?;
    // A 404 is the right answer where a missing crate is asked for; one was looked at before.
    let refused = request.status < 400 && said.contains("Non-2xx");
    ensure!(!refused && !said.contains("Socket errors"), "wrk {}: {said}", request.url);
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk told no rate")?;
    Ok(rate.trim().parse()?)
}

async fn h2load(request: &Request, seconds: u32) -> Result<f64> {
    let mut command = Command::new("h2load");
    // Cargo opens two connections per host; a few such clients at once.
    command.args(["--threads=2", "--clients=8", "--max-concurrent-streams=16", &format!("--duration={seconds}")]);
    for (name, value) in &request.headers {
        command.arg(format!("--header={name}: {value}"));
    }
    let said = said(command.arg(&request.url), "h2load").await?;
    let class = format!("{}xx", request.status / 100);
    let counts = said.lines().find_map(|line| line.strip_prefix("status codes:")).context("h2load told no status")?;
    let right = counts.split(',').find_map(|count| count.trim().strip_suffix(&class)).context("no such status")?;
    ensure!(right.trim() != "0", "h2load {}: {said}", request.url);
    let line = said.lines().find(|line| line.starts_with("finished in")).context("h2load told no rate")?;
    let rate = line.split(',').find_map(|part| part.trim().strip_suffix(" req/s")).context("h2load told no rate")?;
    Ok(rate.parse()?)
}

async fn said(command: &mut Command, name: &str) -> Result<String> {
    let output = command.output().await.with_context(|| format!("{name}, from Debian"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}
