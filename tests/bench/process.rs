//! A program that is measured: started on free ports, watched, gone when dropped.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
};

/// Longest from the start to readiness; the proof of an S3 store takes seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Longest from the wish that it ends to its end.
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A program as it runs.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    started_in: Duration,
}

impl Process {
    /// Starts it with its output in `log` and waits until a GET of `path` at `address` is answered with 200.
    pub(crate) async fn start(mut command: Command, log: &Path, address: &str, path: &str) -> Result<Self> {
        let file = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let begun = Instant::now();
        let child = command.spawn().with_context(|| format!("starting {:?}", command.as_std().get_program()))?;
        let mut process = Self { child, log: log.to_owned(), started_in: Duration::ZERO };
        while !answers(address, path).await {
            let ended = process.child.try_wait()?;
            if ended.is_some() || begun.elapsed() > STARTS_WITHIN {
                let said = std::fs::read_to_string(&process.log).unwrap_or_default();
                bail!("http://{address}{path} does not answer (ended: {ended:?}):\n{said}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        process.started_in = begun.elapsed();
        Ok(process)
    }

    /// From the start of the process to the first good answer.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Memory that it and its children hold, as the kernel counts it.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        let children = children.split_whitespace().map(|pid| pid.parse::<u32>().context("a pid"));
        std::iter::once(Ok(pid)).chain(children).map(|pid| memory(pid?, "VmRSS:")).sum()
    }

    /// Memory that it holds, without children. From now on the most of it is another: see [`Process::peak_bytes`].
    pub(crate) fn forget_peak(&self) -> Result<u64> {
        let pid = self.child.id().context("it has ended")?;
        // proc(5): resets the peak resident set size to the current one.
        std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("writing to clear_refs")?;
        memory(pid, "VmRSS:")
    }

    /// The most that it held since then.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        memory(self.child.id().context("it has ended")?, "VmHWM:")
    }

    /// Ends it and waits for that.
    pub(crate) async fn stop(mut self) -> Result<()> {
        terminate(&self.child);
        if tokio::time::timeout(STOPS_WITHIN, self.child.wait()).await.is_err() {
            self.child.kill().await.context("stopping a program that was measured")?;
        }
        Ok(())
    }
}

impl Drop for Process {
    /// Also after a failure: nginx ends its workers when it is asked to end, not when it is killed.
    #[expect(clippy::disallowed_methods, reason = "dropping cannot await")]
    fn drop(&mut self) {
        terminate(&self.child);
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > STOPS_WITHIN {
                // Nothing is left to do about one that does not even die.
                let _ = self.child.start_kill();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Asks it to end, if it has not.
fn terminate(child: &Child) {
    if let Some(pid) = child.id() {
        // It may have ended this moment.
        let _ = std::process::Command::new("kill").args(["-TERM", &pid.to_string()]).status();
    }
}

/// A size that the kernel tells of a process.
fn memory(pid: u32, name: &'static str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(name)?;
    Ok(kib * 1024)
}

/// One look, by hand: a client with a pool would be most of what is measured.
async fn answers(address: &str, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address).await else { return false };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

/// An address on loopback that was free a moment ago.
pub(crate) fn free_address() -> Result<String> {
    let socket = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(socket.local_addr()?.to_string())
}
