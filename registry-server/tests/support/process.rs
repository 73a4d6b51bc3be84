//! The binary as a server in a process of its own, on free ports, with its log line by line.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use http::Request;
use supercargo_registry::store::s3_server::{BUCKET, S3Server};

use super::client::{Answer, send};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// The credential of the admin API in the file of [`admin_file`].
pub(crate) const ADMIN: &str = "the-real-admin-credential-0123";

/// The binary, about to serve on free ports of loopback with nothing but these variables.
pub(crate) fn serve<V: AsRef<OsStr>>(env: &[(&str, V)]) -> Command {
    let mut command = command("serve", env);
    command.envs(on_free_ports());
    command
}

/// Another command of the program, with no other variables.
pub(crate) fn command<V: AsRef<OsStr>>(name: &str, env: &[(&str, V)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supercargo-registry"));
    command.arg(name).env_clear().envs(variables(env));
    command
}

/// The same on a file system of so many bytes, which is mounted at `directory` for that process alone.
pub(crate) fn serve_on_small_disk<V: AsRef<OsStr>>(directory: &Path, bytes: u64, env: &[(&str, V)]) -> Command {
    let mount = format!("mount -t tmpfs -o size={bytes} none \"$0\" && exec \"$1\" serve");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]).arg(directory);
    command.arg(env!("CARGO_BIN_EXE_supercargo-registry")).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(on_free_ports()).envs(variables(env));
    command
}

fn variables<'e, V: AsRef<OsStr>>(env: &'e [(&str, V)]) -> impl Iterator<Item = (&'e str, &'e OsStr)> {
    env.iter().map(|(name, value)| (*name, value.as_ref()))
}

/// The variables of a server that keeps everything in the bucket of this one.
pub(crate) fn on_s3(s3: &S3Server) -> Vec<(&'static str, String)> {
    vec![
        ("SUPERCARGO_STORAGE_KIND", "s3".to_owned()),
        ("SUPERCARGO_S3_BUCKET", BUCKET.to_owned()),
        ("SUPERCARGO_S3_ENDPOINT", s3.endpoint()),
        ("SUPERCARGO_S3_FORCE_PATH_STYLE", "true".to_owned()),
        ("SUPERCARGO_S3_CREDENTIALS_DIR", s3.credentials_dir().display().to_string()),
    ]
}

fn on_free_ports() -> [(&'static str, &'static str); 2] {
    [("SUPERCARGO_PUBLIC_LISTEN", "127.0.0.1:0"), ("SUPERCARGO_INTERNAL_LISTEN", "127.0.0.1:0")]
}

/// A file with [`ADMIN`] in it, for `admin.token_file`.
pub(crate) fn admin_file(directory: &Path) -> String {
    let file = directory.join("admin-token");
    std::fs::write(&file, ADMIN).unwrap();
    file.display().to_string()
}

/// A server that runs. Killed when dropped.
pub(crate) struct ServerProcess {
    child: Child,
    lines: Receiver<String>,
    log: String,
    pub(crate) public: SocketAddr,
    pub(crate) internal: SocketAddr,
}

impl ServerProcess {
    /// Starts it and waits until it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut log = String::new();
        let listening = loop {
            let Ok(line) = lines.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                panic!("{command:?} does not listen:\n{log}");
            };
            log.push_str(&line);
            log.push('\n');
            if line.contains("listening") {
                break line;
            }
        };
        let address = |field: &str| {
            let after = listening.split(&format!("{field}=")).nth(1);
            let after = after.or_else(|| listening.split(&format!("\"{field}\":\"")).nth(1)).expect(field);
            after.split([' ', '"']).next().unwrap().parse().unwrap()
        };
        Self { public: address("public"), internal: address("internal"), child, lines, log }
    }

    /// Waits until the store is proven.
    pub(crate) async fn ready(&self) {
        let ready = async {
            while send(self.internal, Request::get("/readyz"), "").await.status != 200 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("it becomes ready");
    }

    /// A signal by name.
    pub(crate) fn signal(&self, name: &str) {
        assert!(
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success()
        );
    }

    /// Stops it, and gives its log.
    pub(crate) fn end(mut self) -> String {
        self.signal("INT");
        assert!(self.child.wait().unwrap().success());
        let mut log = std::mem::take(&mut self.log);
        for line in self.lines.iter() {
            log.push_str(&line);
            log.push('\n');
        }
        log
    }

    /// Gives a token, by its hash, everything but `Admin` on all crates.
    pub(crate) async fn let_in(&self, hash: &str) {
        let content = r#"{"user":"ann","description":"test","grants":[{"verbs":["Read","PublishNew","PublishUpdate","Yank","Owners"],"crates":["*"]}],"expires_at":null}"#;
        let put = Request::put(format!("/admin/v1/tokens/{hash}")).header("authorization", format!("Bearer {ADMIN}"));
        let answer = send(self.internal, put, content).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        send(self.public, Request::get(path).header("authorization", token), "").await
    }

    pub(crate) async fn publish(&self, body: Vec<u8>, token: &str) -> Answer {
        send(self.public, Request::put("/api/v1/crates/new").header("authorization", token), body).await
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
