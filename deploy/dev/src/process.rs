//! Other programs, run with their output kept.
//!
//! [`Run`] is the one way to start a program that ends. Errors name the command, what it said, and the log file if there is
//! one. A child dies with us: on an error path (`kill_on_drop`) and also when we are killed with `-9` (`setpriv
//! --pdeathsig`), so that no build goes on behind anyone's back.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::progress::Step;

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 25;

/// Makes Cargo draw its progress bar although nobody seems to look, so that a step can show it.
pub const CARGO_PROGRESS: [(&str, &str); 2] =
    [("CARGO_TERM_PROGRESS_WHEN", "always"), ("CARGO_TERM_PROGRESS_WIDTH", "100")];

/// A program with its arguments, to be run to its end.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `output`, `succeeds`, `logged` or `interactive`"]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    dir: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    niceness: Option<u8>,
    counted: Option<&'static str>,
}

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code, or 128 + signal as a shell reports it.
    pub code: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Output {
    /// Whether the exit code was 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

impl Run {
    /// A program by name (looked up in `PATH` and the `sbin` folders) or path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            dir: None,
            stdin: None,
            niceness: None,
            counted: None,
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One environment variable, on top of our own environment.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Several environment variables.
    pub fn envs(self, vars: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        vars.into_iter().fold(self, |run, (key, value)| run.env(key, value))
    }

    /// The working directory.
    pub fn dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = Some(dir.as_ref().to_owned());
        self
    }

    /// What the program reads from standard input; nothing by default.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs below everything else on the machine: for builds that take minutes.
    pub fn nice(mut self) -> Self {
        self.niceness = Some(10);
        self
    }

    /// Each line of [`Run::logged`] stands for one thing that is finished: `counting("packages")` shows how many.
    pub fn counting(mut self, things: &'static str) -> Self {
        self.counted = Some(things);
        self
    }

    /// Runs to the end and returns what it said, whatever the exit code. An error means that it could not be started.
    pub async fn attempt(self) -> Result<Output> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        self.feed(&mut child).await;
        let output = child.wait_with_output().await.with_context(|| format!("waiting for `{self}`"))?;
        Ok(Output {
            code: code(output.status),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs to the end and returns standard output. Any exit code but 0 is an error with what the program said.
    pub async fn output(self) -> Result<String> {
        let command = self.to_string();
        let output = self.attempt().await?;
        if output.success() {
            return Ok(output.stdout);
        }
        let said = if output.stderr.trim().is_empty() { &output.stdout } else { &output.stderr };
        bail!("`{command}` ended with {}: {}", output.code, tail(said.trim()))
    }

    /// Whether it ran and ended with 0. For questions ("is this package there?"), never for work.
    pub async fn succeeds(self) -> bool {
        self.attempt().await.is_ok_and(|output| output.success())
    }

    /// Runs to the end with everything it says in `log` (replaced) and its latest line on `step`.
    /// An error shows the log's tail and path.
    pub async fn logged(self, step: &Step, log: &Path) -> Result<()> {
        if let Some(parent) = log.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let mut file =
            tokio::fs::File::create(log).await.with_context(|| format!("creating the log {}", log.display()))?;
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let stdout = child.stdout.take().expect("stdout is piped two lines above");
        let stderr = child.stderr.take().expect("stderr is piped three lines above");
        self.feed(&mut child).await;
        let mut lines = 0_u32;
        let note = |line: &str, is_whole: bool| {
            lines += u32::from(is_whole);
            match self.counted {
                Some(things) => step.note(&format!("{lines} {things}, {line}")),
                None => step.note(line),
            }
        };
        copy_lines(stdout, stderr, &mut file, note).await.with_context(|| format!("writing {}", log.display()))?;
        let status = child.wait().await.with_context(|| format!("waiting for `{self}`"))?;
        if status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
        bail!("`{self}` ended with {}; the end of {}:\n{}", code(status), log.display(), tail(text.trim_end()))
    }

    /// Runs with our own terminal and returns the exit code.
    pub async fn interactive(self) -> Result<i32> {
        self.check_there()?;
        let mut child = self
            .command(Stdio::inherit(), Stdio::inherit())
            .stdin(Stdio::inherit())
            .spawn()
            .with_context(|| format!("starting `{self}`"))?;
        Ok(code(child.wait().await.with_context(|| format!("waiting for `{self}`"))?))
    }

    fn command(&self, stdout: Stdio, stderr: Stdio) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        if let Some(niceness) = self.niceness {
            command.args(["nice", "-n", &niceness.to_string()]);
        }
        command.arg(&self.program).args(&self.args).stdout(stdout).stderr(stderr).kill_on_drop(true);
        command.env("PATH", search_path());
        command.envs(self.envs.iter().map(|(key, value)| (key, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Result<Child> {
        self.check_there()?;
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command(stdout, stderr).stdin(stdin).spawn().with_context(|| format!("starting `{self}`"))
    }

    /// `setpriv`, which we start in front of it, would hide this behind an exit code.
    fn check_there(&self) -> Result<()> {
        let name = self.program.to_string_lossy();
        let is_there = if name.contains('/') { Path::new(&self.program).is_file() } else { find(&name).is_some() };
        if is_there { Ok(()) } else { bail!("`{name}` is not installed, or not in PATH") }
    }

    /// A program that ends before it has read everything reports its own reason; ours (EPIPE) would only hide it.
    async fn feed(&self, child: &mut Child) {
        if let (Some(bytes), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            let _ = pipe.write_all(bytes).await;
            let _ = pipe.shutdown().await;
        }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

/// `PATH` with the `sbin` folders at its end: a root shell does not always have them.
pub fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// Where `program` is, by [`search_path`].
pub fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path()).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

async fn copy_lines(
    mut stdout: impl AsyncRead + Unpin,
    mut stderr: impl AsyncRead + Unpin,
    file: &mut tokio::fs::File,
    mut note: impl FnMut(&str, bool),
) -> std::io::Result<()> {
    let (mut out, mut err) = (Lines::default(), Lines::default());
    let (mut out_buffer, mut err_buffer) = ([0; 8192], [0; 8192]);
    let (mut more_out, mut more_err) = (true, true);
    while more_out || more_err {
        let (lines, bytes) = tokio::select! {
            read = stdout.read(&mut out_buffer), if more_out => {
                let read = read?;
                more_out = read > 0;
                (&mut out, &out_buffer[..read])
            }
            read = stderr.read(&mut err_buffer), if more_err => {
                let read = read?;
                more_err = read > 0;
                (&mut err, &err_buffer[..read])
            }
        };
        file.write_all(&lines.take(bytes, &mut note)).await?;
    }
    file.write_all(&out.pending).await?;
    file.write_all(&err.pending).await?;
    file.flush().await
}

/// Cuts a stream into lines. A line that ends in a carriage return is a progress bar about to be overwritten: shown, not kept.
#[derive(Debug, Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes, shows what they complete, and returns the whole lines.
    fn take(&mut self, bytes: &[u8], note: &mut impl FnMut(&str, bool)) -> Vec<u8> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => {
                    note(&String::from_utf8_lossy(&self.pending), true);
                    self.pending.push(b'\n');
                    whole.append(&mut self.pending);
                }
                b'\r' => {
                    note(&String::from_utf8_lossy(&self.pending), false);
                    self.pending.clear();
                }
                other => self.pending.push(*other),
            }
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_error_names_command_code_and_words() {
        let error = Run::new("sh").args(["-c", "echo broken >&2; exit 7"]).output().await.expect_err("exit 7");
        let text = format!("{error:#}");
        assert!(text.contains("sh -c") && text.contains("ended with 7") && text.contains("broken"), "{text}");
    }

    #[tokio::test]
    async fn a_failing_logged_run_shows_tail_and_path() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("deep/build.log");
        let step = Step::start("a build that fails");
        let script = "for i in $(seq 100); do echo line $i; done; exit 3";
        let error = Run::new("sh").args(["-c", script]).logged(&step, &log).await.expect_err("exit 3");
        let text = format!("{error:#}");
        assert!(text.contains("line 100") && !text.contains("line 75\n"), "{text}");
        assert!(text.contains(&log.display().to_string()), "{text}");
        assert_eq!(std::fs::read_to_string(&log).expect("the log").lines().count(), 100);
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let error = Run::new("no-such-program").attempt().await.expect_err("it is missing");
        assert!(format!("{error:#}").contains("`no-such-program` is not installed"), "{error:#}");
    }

    #[test]
    fn progress_bars_are_shown_and_lines_are_kept() {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        let mut note = |line: &str, is_whole: bool| seen.push((line.to_owned(), is_whole));
        let mut kept = lines.take(b"one\nBuilding 1/2\rBuil", &mut note);
        kept.extend(lines.take(b"ding 2/2\rtwo\nrest", &mut note));
        assert_eq!(kept, b"one\ntwo\n");
        assert_eq!(lines.pending, b"rest");
        let expected = [("one", true), ("Building 1/2", false), ("Building 2/2", false), ("two", true)];
        assert_eq!(seen, expected.map(|(line, whole)| (line.to_owned(), whole)));
    }

    #[tokio::test]
    async fn standard_input_arrives() {
        assert_eq!(Run::new("cat").stdin("hello").output().await.expect("cat"), "hello");
    }

    #[tokio::test]
    async fn a_signal_is_reported_as_a_shell_does() {
        let output = Run::new("sh").args(["-c", "kill -9 $$"]).attempt().await.expect("sh starts");
        assert_eq!(output.code, 137);
    }
}
