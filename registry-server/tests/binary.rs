//! The binary as a shell or a pod sees it: exit statuses, and what is said before it ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use supercargo_registry::store::s3_server::{Fault, Lie, S3Server};

/// How a run ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

/// The binary with nothing but these variables.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supercargo-registry"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for the end in a thread, since the servers of a test run in its process.
async fn end(child: Child) -> Ended {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("it ends").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The variables for the bucket of a server.
fn bucket(server: &S3Server) -> Vec<(String, String)> {
    let directory = server.credentials_dir().display().to_string();
    [
        ("SUPERCARGO_STORAGE_KIND", "s3"),
        ("SUPERCARGO_S3_BUCKET", "registry"),
        ("SUPERCARGO_S3_ENDPOINT", &server.endpoint()),
        ("SUPERCARGO_S3_FORCE_PATH_STYLE", "true"),
        ("SUPERCARGO_S3_CREDENTIALS_DIR", &directory),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// Ends a process as Kubernetes does.
fn terminate(child: &Child) {
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_terminated_leaves_nothing_behind() {
    for args in [&["prove"][..], &["serve"]] {
        let server = S3Server::start(Lie::Honest).await.unwrap();
        server.inject("PUT", "race-small-1", Fault::Stall, usize::MAX);
        let env = bucket(&server);
        let mut command = command(
            args,
            &[("SUPERCARGO_PUBLIC_LISTEN", "127.0.0.1:0"), ("SUPERCARGO_INTERNAL_LISTEN", "127.0.0.1:0")],
        );
        let child = command.envs(env).spawn().unwrap();
        let middle = async {
            while !server.requests().iter().any(|request| request.path.contains("race-small-1")) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), middle).await.expect("the proof is in the middle");
        assert!(!server.object_keys().is_empty());
        terminate(&child);
        let ended = end(child).await;
        assert_eq!(ended.status, Some(if args == ["prove"] { 4 } else { 0 }), "{args:?}: {ended:?}");
        assert_eq!(server.object_keys(), [] as [&str; 0], "{args:?}: {ended:?}");
    }
}
