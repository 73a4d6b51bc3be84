//! Bad days, each with what the user sees: the README's table "Bad days", whose last column is here.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::Request;
use supercargo_registry::access::{NewToken, TokenSecret};
use supercargo_registry::ambient::{Clock, Entropy};
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::Storage;
use supercargo_registry::replicas::Settings;
use supercargo_registry::store::faulty::Rates;
use supercargo_registry::store::s3_server::{Lie, S3Server};
use support::TestServer;
use support::client::{Answer, send};
use support::crates::{new_token, publish_plain, shown};
use support::process::{ServerProcess, admin_file, command, on_s3, serve, serve_on_small_disk};
use support::replicas::{Bench, at, join, replica_by};
use tokio::time::Instant;

/// What happens; what the user sees; the test.
const TABLE: [(&str, &str, &str); 9] = [
    (
        "the bucket is gone",
        "503 that says that the storage refuses the registry, and why in its log; nothing is made anew. When the bucket is back with its objects, everything goes on by itself",
        "the_bucket_is_gone",
    ),
    (
        "the credentials are revoked in the middle",
        "the same 503 for what is not in memory, until the mounted Secret holds good ones; no restart",
        "the_credentials_are_revoked_in_the_middle",
    ),
    (
        "the store is ten times slower",
        "changes take ten times as long; what is in memory is served as fast as ever",
        "the_store_is_ten_times_slower",
    ),
    (
        "the wall clock jumps",
        "nothing, but that tokens expire by the clock of the moment; leases and commits do not know it",
        "the_wall_clock_jumps",
    ),
    (
        "the disk is full under `file.directory`",
        "503 for the publish that does not fit, of which nothing stays; smaller ones and all reads go on",
        "the_disk_is_full_under_the_directory",
    ),
    (
        "the disk is full under `cache.directory`, or may not be written",
        "nothing: downloads go on from the store, in the middle of an answer if need be; the log says so once a minute, and every half minute it is tried again",
        "the_disk_is_full_under_the_cache",
    ),
    (
        "the memory budget is reached",
        "nothing: what was not asked for longest is read from the store again",
        "the_memory_budget_is_reached",
    ),
    (
        "a record was damaged by hand",
        "500 for that crate, whose key is in the log; nobody overwrites it; all others are served",
        "a_record_was_damaged_by_hand",
    ),
    (
        "a record was damaged by hand, in a bucket with versioning",
        "the same, until `fsck --repair` has put it back from the history of the bucket, beside running servers; it says which changes are lost, if any",
        "a_record_was_damaged_by_hand_in_a_bucket_with_versioning",
    ),
];

#[test]
fn the_readme_has_the_table_and_every_row_its_test() {
    let mut table = "| on a bad day | the user sees | `tests/bad_days.rs` |\n|---|---|---|\n".to_owned();
    for (day, seen, test) in TABLE {
        table += &format!("| {day} | {seen} | `{test}` |\n");
        assert!(include_str!("bad_days.rs").contains(&format!("async fn {test}()")), "there is no test {test}");
    }
    assert!(
        include_str!("../README.md").contains(&table),
        "registry-server/README.md does not hold this table:\n{table}"
    );
}

/// A server over a bucket, and a token for it.
async fn over(s3: &S3Server) -> (TestServer, String) {
    let store = Arc::new(s3.store().await.unwrap());
    let config = support::config("[storage]\nkind = \"memory\"\n");
    let server = TestServer::with(&config, &Storage::ToProve(store)).await;
    server.registry().wait_for(|verdict| verdict.is_proven()).await;
    let token = server.token("ann").await;
    (server, token)
}

async fn publish(server: &TestServer, token: &str, krate: &str, version: &str) -> Answer {
    let put = Request::put("/api/v1/crates/new").header("authorization", token);
    send(server.running.public, put, Packed::new(krate, version).body()).await
}

async fn index(server: &TestServer, token: &str, path: &str) -> Answer {
    send(server.running.public, Request::get(format!("/index/{path}")).header("authorization", token), "").await
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("the registry's storage refuses the registry"), "{}", answer.text());
    assert!(answer.headers.contains_key("retry-after"));
}

/// Repeats until it succeeds, as a user does.
async fn until_ok(what: &str, mut request: impl AsyncFnMut() -> Answer) {
    let repeated = async {
        while request().await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), repeated).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_is_gone() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let (server, token) = over(&s3).await;
    assert_eq!(publish(&server, &token, "krate", "1.0.0").await.status, 200);
    let objects: Vec<_> = s3.object_keys().into_iter().map(|key| (s3.stored_at(&key).unwrap(), key)).collect();
    s3.drop_bucket();
    assert_refused(&publish(&server, &token, "krate", "1.1.0").await);
    assert_refused(&index(&server, &token, "ne/w_/new_one").await);
    assert_eq!(s3.object_keys(), [] as [&str; 0], "nothing is made anew");

    s3.create_bucket();
    for (bytes, key) in objects {
        s3.plant(&key, bytes);
    }
    until_ok("a publish goes through again", async || publish(&server, &token, "krate", "1.1.0").await).await;
    until_ok("the index is there", async || index(&server, &token, "kr/at/krate").await).await;
    assert_eq!(index(&server, &token, "kr/at/krate").await.text().lines().count(), 2);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_credentials_are_revoked_in_the_middle() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    let (server, token) = over(&s3).await;
    assert_eq!(publish(&server, &token, "krate", "1.0.0").await.status, 200);
    s3.set_credentials("others", "others-secret");
    assert_refused(&publish(&server, &token, "krate", "1.1.0").await);
    assert_refused(&index(&server, &token, "ne/w_/new_one").await);
    s3.write_credentials("others", "others-secret").unwrap();
    until_ok("new credentials are taken up", async || publish(&server, &token, "krate", "1.1.0").await).await;
    server.stop().await;
}

/// How long it takes to publish ten versions of a crate, over a store whose calls take up to so long each way.
async fn ten_changes_take(delay_max: Duration) -> Duration {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish_plain(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    bench.store.set_rates(Rates { delay_max, ..Rates::default() });
    let mut took = Duration::ZERO;
    for version in 1..=10 {
        let began = Instant::now();
        publish_plain(&a, &bench.ann, "krate", &format!("1.{version}.0")).await.unwrap();
        took += began.elapsed();
        for registry in [&a, &b] {
            assert_eq!(shown(registry, &bench.ann, "krate").await, Some(version + 1));
            let began = Instant::now();
            assert_eq!(shown(registry, &bench.ann, "krate").await, Some(version + 1));
            assert_eq!(began.elapsed(), Duration::ZERO, "from memory");
        }
    }
    took
}

#[tokio::test(start_paused = true)]
async fn the_store_is_ten_times_slower() {
    let (usual, slow) = (Duration::from_millis(15), Duration::from_millis(150));
    let took = [ten_changes_take(usual).await, ten_changes_take(slow).await];
    println!("{took:?}");
    // Four calls one after the other, each there and back, for half of what they may take.
    assert!((usual * 30..usual * 50).contains(&took[0]), "{took:?}");
    let times = took[1].as_secs_f64() / took[0].as_secs_f64();
    assert!((8.0..12.0).contains(&times), "{times} times as long: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wall_clock_jumps() {
    let bench = Bench::new().await;
    let now = Arc::new(AtomicI64::new(1_800_000_000));
    let clock = {
        let now = now.clone();
        Clock::from_fn(move || jiff::Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap())
    };
    let registry = replica_by(clock, bench.store.clone(), Arc::new(bench.room.clone()), at("j")).await;
    join(&registry).await;

    let secret = Entropy::seeded(8).with(TokenSecret::generate);
    let expires_at = Some(jiff::Timestamp::from_second(1_800_003_600).unwrap());
    registry.put_token(secret.hash(), NewToken { expires_at, ..new_token() }).await.unwrap();
    const YEAR: i64 = 365 * 24 * 3600;
    for (version, jump) in
        [("1.0.0", 0), ("1.1.0", 10 * YEAR), ("1.2.0", -10 * YEAR), ("1.3.0", -60 * YEAR), ("1.4.0", 0)]
    {
        now.store(1_800_000_000 + jump, Ordering::SeqCst);
        publish_plain(&registry, &bench.ann, "krate", version)
            .await
            .unwrap_or_else(|error| panic!("{jump}: {error:?}"));
        let (lines, calls) = bench.calls_of(shown(&registry, &bench.ann, "krate")).await;
        assert_eq!((lines, calls), (Some(version[2..3].parse::<usize>().unwrap() + 1), vec![]), "{jump}: from memory");
        let accepted = registry.authenticate(secret.expose()).await.is_ok();
        assert_eq!(accepted, jump <= 0, "{jump}: the token expires by the clock");
    }
    assert_eq!(bench.lines().await["krate"].len(), 5);
}

/// A token and the variables of a server on a directory.
fn on_directory(dir: &Path) -> (TokenSecret, String, String) {
    let secret = Entropy::seeded(6).with(TokenSecret::generate);
    (secret, dir.join("data").display().to_string(), admin_file(dir))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full_under_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, data, admin) = on_directory(dir.path());
    std::fs::create_dir(&data).unwrap();
    let env = [("SUPERCARGO_FILE_DIRECTORY", data.as_str()), ("SUPERCARGO_ADMIN_TOKEN_FILE", &admin)];
    let server = ServerProcess::start(serve_on_small_disk(Path::new(&data), 1 << 20, &env));
    server.ready().await;
    let token = secret.expose();
    server.let_in(&secret.hash().to_string()).await;
    assert_eq!(server.publish(Packed::new("small", "1.0.0").body(), token).await.status, 200);
    let large = Packed::new("large", "1.0.0").with_source(&format!("// {}", support::noise(3 << 20)));
    for _ in 0..3 {
        let answer = server.publish(large.body(), token).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_eq!(server.get("/index/la/rg/large", token).await.status, 404, "nothing of it is there");
    }
    for version in ["1.1.0", "1.2.0"] {
        let answer = server.publish(Packed::new("small", version).body(), token).await;
        assert_eq!(answer.status, 200, "what was cut takes no room: {}", answer.text());
    }
    assert_eq!(server.get("/index/sm/al/small", token).await.text().lines().count(), 3);
    assert_eq!(server.get("/api/v1/crates/small/1.0.0/download", token).await.status, 200);
    let log = server.end();
    assert!(log.contains("No space left on device"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_is_full_under_the_cache() {
    let (dir, s3) = (tempfile::tempdir().unwrap(), S3Server::start(Lie::Honest).await.unwrap());
    let secret = Entropy::seeded(6).with(TokenSecret::generate);
    let (cache, admin) = (dir.path().join("cache").display().to_string(), admin_file(dir.path()));
    std::fs::create_dir(&cache).unwrap();
    let mut env = on_s3(&s3);
    env.extend([
        ("SUPERCARGO_CACHE_DIRECTORY", cache.clone()),
        ("SUPERCARGO_CACHE_DOWNLOAD_BYTES", "0".to_owned()),
        ("SUPERCARGO_ADMIN_TOKEN_FILE", admin),
    ]);
    let server = ServerProcess::start(serve_on_small_disk(Path::new(&cache), 1 << 20, &env));
    server.ready().await;
    let token = secret.expose();
    server.let_in(&secret.hash().to_string()).await;
    let small = Packed::new("small", "1.0.0").with_source(&format!("// {}", support::noise(200 << 10)));
    let large = Packed::new("large", "1.0.0").with_source(&format!("// {}", support::noise(3 << 20)));
    for krate in [&small, &large] {
        assert_eq!(server.publish(krate.body(), token).await.status, 200);
    }
    let read = || {
        let gets =
            s3.requests().into_iter().filter(|request| request.method == "GET" && request.path.contains("/v1/blob/"));
        gets.map(|request| request.header("range").map(str::to_owned)).collect::<Vec<_>>()
    };
    let get = async |name: &str, krate: &Packed| {
        let answer = server.get(&format!("/api/v1/crates/{name}/1.0.0/download"), token).await;
        assert!(answer.status == 200 && answer.body == krate.krate(), "{name}: {}", answer.status);
    };
    get("small", &small).await;
    get("large", &large).await;
    let asked = read();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let rest = asked[2].as_deref().unwrap_or_default();
    assert!(rest.starts_with("bytes="), "the answer went on with what the client did not have yet: {asked:?}");
    get("large", &large).await;
    assert_eq!(read()[3..], [None], "the disk is left alone for a while");
    get("small", &small).await;
    assert_eq!(read().len(), 4, "what is there is served from there");
    let metrics = send(server.internal, Request::get("/metrics"), "").await;
    assert!(
        metrics.text().contains("supercargo_registry_disk_troubles_total{operation=\"write\"} 1"),
        "{}",
        metrics.text()
    );
    let log = server.end();
    assert_eq!(log.matches("the disk cache is in trouble").count(), 1, "{log}");
    assert!(log.contains("No space left on device"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn the_memory_budget_is_reached() {
    let bench = Bench::new().await;
    const BUDGET: usize = 20_000;
    let registry = bench.replica_with(Settings { entries_bytes_max: BUDGET, ..at("m") }).await;
    let names: Vec<_> = (0..40).map(|number| format!("krate{number}")).collect();
    for krate in &names {
        publish_plain(&registry, &bench.ann, krate, "1.0.0").await.unwrap();
        assert!(registry.standing().entry_bytes <= BUDGET, "{:?}", registry.standing());
    }
    let (_, calls) = bench
        .calls_of(async {
            for krate in &names {
                assert_eq!(shown(&registry, &bench.ann, krate).await, Some(1));
            }
        })
        .await;
    assert!(registry.standing().entry_bytes <= BUDGET, "{:?}", registry.standing());
    assert!(registry.standing().entries > 0, "something is kept");
    assert!((1..=names.len()).contains(&calls.len()), "read again, once each: {} calls", calls.len());
}

fn file_named(directory: &Path, wanted: &str) -> Option<PathBuf> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find_map(|path| if path.is_dir() { file_named(&path, wanted) } else { path.ends_with(wanted).then_some(path) })
}

/// A server lets the token in, is given the crates `damaged` and `whole`, and ends.
async fn with_two_crates<V: AsRef<OsStr>>(env: &[(&str, V)], secret: &TokenSecret) {
    let server = ServerProcess::start(serve(env));
    server.ready().await;
    server.let_in(&secret.hash().to_string()).await;
    for krate in ["damaged", "whole"] {
        assert_eq!(server.publish(Packed::new(krate, "1.0.0").body(), secret.expose()).await.status, 200);
    }
    server.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_was_damaged_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let (secret, data, admin) = on_directory(dir.path());
    let env = [("SUPERCARGO_FILE_DIRECTORY", data.as_str()), ("SUPERCARGO_ADMIN_TOKEN_FILE", &admin)];
    let token = secret.expose();
    with_two_crates(&env, &secret).await;

    let file = file_named(&Path::new(&data).join("v1/crate"), "damaged").expect("the record is a file");
    let good = std::fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0x10;
    for bad in [&b"by hand"[..], &good[..good.len() / 2], &flipped, b""] {
        std::fs::write(&file, bad).unwrap();
        let server = ServerProcess::start(serve(&env));
        server.ready().await;
        let answers = [
            server.get("/index/da/ma/damaged", token).await,
            server.get("/api/v1/crates/damaged/1.0.0/download", token).await,
            server.publish(Packed::new("damaged", "1.1.0").body(), token).await,
        ];
        for answer in answers {
            assert_eq!(answer.status, 500, "{}", answer.text());
            assert!(answer.text().contains("cannot be read"), "{}", answer.text());
        }
        assert_eq!(std::fs::read(&file).unwrap(), bad, "nobody overwrites it");
        assert_eq!(server.get("/index/wh/ol/whole", token).await.status, 200);
        assert_eq!(server.publish(Packed::new("whole", "1.0.0").body(), token).await.status, 200);
        let search = server.get("/api/v1/crates?q=whole", token).await;
        assert_eq!(search.json()["meta"]["total"], 1, "{}", search.text());
        let log = server.end();
        let key = file.strip_prefix(&data).unwrap().display().to_string();
        assert!(log.contains(&key), "{key} is not in the log:\n{log}");
    }
    std::fs::write(&file, &good).unwrap();
    let server = ServerProcess::start(serve(&env));
    server.ready().await;
    assert_eq!(server.get("/index/da/ma/damaged", token).await.status, 200, "put back, it is there again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_was_damaged_by_hand_in_a_bucket_with_versioning() {
    let s3 = S3Server::start(Lie::Honest).await.unwrap();
    s3.keep_versions();
    let dir = tempfile::tempdir().unwrap();
    let (secret, _, admin) = on_directory(dir.path());
    let mut env = on_s3(&s3);
    env.push(("SUPERCARGO_ADMIN_TOKEN_FILE", admin));
    let token = secret.expose();
    with_two_crates(&env, &secret).await;
    let key = s3.object_keys().into_iter().find(|key| key.ends_with("/damaged")).expect("the record");
    s3.plant(&key, "by hand");

    let server = ServerProcess::start(serve(&env));
    server.ready().await;
    assert_eq!(server.get("/index/da/ma/damaged", token).await.status, 500);
    assert_eq!(server.get("/index/wh/ol/whole", token).await.status, 200);
    let fsck = |arguments: &[&str]| {
        let output = command("fsck", &env).args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, said) = fsck(&[]);
    assert!(status == Some(3) && said.contains(&format!("record-unreadable  {key}")), "{status:?}: {said}");
    let (status, said) = fsck(&["--repair"]);
    assert!(status == Some(0) && said.contains("put back as it was at rev 1"), "{status:?}: {said}");
    assert_eq!(server.get("/index/da/ma/damaged", token).await.status, 200);
    assert_eq!(server.get("/api/v1/crates/damaged/1.0.0/download", token).await.status, 200);
    assert_eq!(server.publish(Packed::new("damaged", "1.1.0").body(), token).await.status, 200);
    let (status, said) = fsck(&["--deep"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(server.end().contains(&key), "the key is in the log");
}
