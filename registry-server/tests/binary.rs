//! The binary as a shell or a pod sees it: exit statuses, and what is said before it ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::store::s3_server::{Fault, Lie, S3Server};
use support::process::on_s3;

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

async fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
    end(command(args, env).spawn().unwrap()).await
}

async fn with(args: &[&str], env: &[(&str, String)], more: &[(&str, &str)]) -> Ended {
    let mut all: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(more);
    run(args, &all).await
}

fn write<'a>(directory: &Path, name: &str, text: &str, path: &'a mut String) -> &'a str {
    std::fs::write(directory.join(name), text).unwrap();
    *path = directory.join(name).display().to_string();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_looks_at_everything_that_s3_names() {
    const CHECK: &[&str] = &["serve", "--check-config"];
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let env = on_s3(&server);
    let ended = with(CHECK, &env, &[]).await;
    assert_eq!((ended.status, ended.out.as_str()), (Some(0), "the configuration is valid\n"), "{ended:?}");

    let dir = tempfile::tempdir().unwrap();
    let (mut empty, nothing) = (String::new(), dir.path().join("nothing").display().to_string());
    let empty = write(dir.path(), "empty.pem", "# nothing", &mut empty);
    for (name, value, part) in [
        ("SUPERCARGO_S3_BUCKET", "No_Bucket", "`No_Bucket` cannot be a bucket's name"),
        ("SUPERCARGO_S3_ENDPOINT", "http://10.0.0.1:9000/bucket", "must end with the host or port"),
        ("SUPERCARGO_S3_CA_BUNDLE_FILE", empty, "empty.pem: there is no certificate in it"),
        ("SUPERCARGO_S3_CA_BUNDLE_FILE", &nothing, "nothing: No such file"),
        ("SUPERCARGO_S3_CREDENTIALS_DIR", &nothing, "nothing/AWS_ACCESS_KEY_ID is missing or empty"),
        ("SUPERCARGO_ADMIN_TOKEN_FILE", &nothing, "cannot read admin.token_file"),
        ("SUPERCARGO_LIMITS_DRAIN_SECS", "soon", "SUPERCARGO_LIMITS_DRAIN_SECS is \"soon\""),
        ("SUPERCARGO_LOG_FILTER", "a=b=c", "log.filter is \"a=b=c\""),
    ] {
        let ended = with(CHECK, &env, &[(name, value)]).await;
        assert_eq!(ended.status, Some(2), "{name}={value}: {ended:?}");
        assert!(ended.err.starts_with("error: ") && ended.err.contains(part), "{part}: {}", ended.err);
        assert_eq!(ended.out, "", "{name}={value}");
    }
    assert!(server.requests().is_empty(), "a check sends nothing: {:?}", server.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_end_with_2() {
    for args in [&["serve", "--nonsense"][..], &["nonsense"], &[], &["serve", "--config", "/nowhere.toml"]] {
        let ended = run(args, &[]).await;
        assert_eq!(ended.status, Some(2), "{args:?}: {ended:?}");
    }
    assert_eq!(run(&["config", "--markdown"], &[]).await.status, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn prove_ends_with_0_3_or_4_and_leaves_the_bucket_as_it_was() {
    for (lie, status, part) in
        [(Lie::Honest, 0, "register       Passed"), (Lie::IgnoresConditions, 3, "create         Failed")]
    {
        let server = S3Server::start(lie).await.unwrap();
        let ended = with(&["prove"], &on_s3(&server), &[]).await;
        assert_eq!(ended.status, Some(status), "{lie:?}: {ended:?}");
        assert!(ended.out.contains(part), "{lie:?}: {ended:?}");
        assert_eq!(server.object_keys(), [] as [&str; 0], "{lie:?}");
    }
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let ended = with(&["prove"], &on_s3(&server), &[("SUPERCARGO_S3_ENDPOINT", "http://127.0.0.1:1")]).await;
    assert_eq!(ended.status, Some(4), "{ended:?}");

    server.plant("v1/meta/format", r#"{"version":2}"#);
    let ended = with(&["prove"], &on_s3(&server), &[]).await;
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.err.contains("(step format)") && ended.err.contains("the store has format 2"), "{ended:?}");
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
        let env = on_s3(&server);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_replaces_the_authorities_of_the_system() {
    // Two providers are never compiled in, but a build of everything may have more features than this crate asks for.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let issue = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let (known, other) = (issue(), issue());
    let key = rustls::pki_types::PrivateKeyDer::try_from(known.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![known.cert.der().clone()], key)
        .unwrap();
    let server = S3Server::start_tls(Lie::Honest, Arc::new(tls)).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (mut known_file, mut other_file) = (String::new(), String::new());
    let known = write(dir.path(), "known.pem", &known.cert.pem(), &mut known_file);
    let other = write(dir.path(), "other.pem", &other.cert.pem(), &mut other_file);

    let env = on_s3(&server);
    let ended = with(&["prove"], &env, &[("SSL_CERT_FILE", known)]).await;
    assert_eq!(ended.status, Some(0), "the system knows it: {ended:?}");
    let ended = with(&["prove"], &env, &[("SSL_CERT_FILE", other), ("SUPERCARGO_S3_CA_BUNDLE_FILE", known)]).await;
    assert_eq!(ended.status, Some(0), "the bundle knows it: {ended:?}");
    let ended = with(&["prove"], &env, &[("SSL_CERT_FILE", known), ("SUPERCARGO_S3_CA_BUNDLE_FILE", other)]).await;
    assert_eq!(ended.status, Some(4), "only the system knows it: {ended:?}");
    assert!(ended.err.contains("certificate"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_and_gc_say_by_their_status_whether_somebody_has_to_look() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    let env = on_s3(&server);
    let empty = with(&["fsck"], &env, &[]).await;
    assert_eq!(empty.status, Some(1), "{empty:?}");
    assert!(empty.err.contains("there is no registry here"), "{empty:?}");

    let made = with(&["token", "create", "--user", "ann"], &env, &[]).await;
    assert_eq!(made.status, Some(0), "{made:?}");
    assert!(server.object_keys().iter().any(|key| key.starts_with("v1/audit/")), "a command waits for its entry");
    let sound = with(&["fsck", "--deep", "--json"], &env, &[]).await;
    let report: serde_json::Value = serde_json::from_str(&sound.out).expect("one document");
    assert_eq!(
        (sound.status, &report["counts"]["tokens"], &report["schema"]),
        (Some(0), &1.into(), &1.into()),
        "{sound:?}"
    );
    assert_eq!(report["problems"], serde_json::json!([]));

    server.plant("v1/crate/8b/serde", "not a record");
    server.plant("v1/crate/8b/SERDE", "not ours");
    let sha = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    server.plant(&format!("v1/blob/serde/1.0.0/{sha}-01ARZ3NDEKTSV4RRFFQ69G5FAV"), "old");
    server.advance(Duration::from_secs(50 * 3600));
    let broken = with(&["fsck", "--repair"], &env, &[]).await;
    assert!(broken.status == Some(3) && broken.err.ends_with("error: 1 problem\n"), "{broken:?}");
    assert!(
        broken.out.contains("record-unreadable  v1/crate/8b/serde")
            && broken.out.contains("not ours, left alone: v1/crate/8b/SERDE"),
        "{broken:?}"
    );

    let before = server.object_keys();
    let left = with(&["gc", "--dry-run=false", "--json"], &env, &[]).await;
    let report: serde_json::Value = serde_json::from_str(&left.out).expect("one document");
    assert_eq!(
        (left.status, &report["skipped"][0]["crate"], &report["dry_run"]),
        (Some(3), &"serde".into(), &false.into()),
        "{left:?}"
    );
    assert_eq!(server.object_keys(), before);
    let wrong = with(&["gc", "--dry-run=perhaps"], &env, &[]).await;
    assert_eq!(wrong.status, Some(2), "{wrong:?}");
    server.drop_bucket();
    assert_eq!(with(&["gc"], &env, &[]).await.status, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crate_is_deleted_and_restored_past_the_server_only_if_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().display().to_string();
    let env = [("SUPERCARGO_FILE_DIRECTORY", directory.as_str())];
    let made = run(&["token", "create", "--user", "ann"], &env).await;
    assert_eq!(made.status, Some(0), "{made:?}");
    for verb in ["delete", "restore"] {
        let ended = run(&["crate", verb, "nobody"], &env).await;
        assert!(ended.status == Some(1) && ended.err.ends_with("error: there is no crate `nobody`\n"), "{ended:?}");
    }
    let checked = run(&["fsck"], &env).await;
    assert_eq!(checked.status, Some(0), "{checked:?}");
    assert!(checked.out.contains("1 tokens") && checked.out.ends_with("no problems\n"), "{checked:?}");
}
