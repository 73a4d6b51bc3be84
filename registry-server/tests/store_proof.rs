//! The start-up proof: honest stores pass, each kind of liar is caught, and what cannot be asked is told apart from what lies.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use supercargo_registry::store::faulty::Faulty;
use supercargo_registry::store::proof::{Effort, Outcome, Provable, Verdict, VerdictKind, prove, prove_until};
use supercargo_registry::store::s3_server::{Fault, Lie, S3Server};
use supercargo_registry::store::{FileStore, KeyPrefix, MemoryStore, S3Store, Ulid};
use tokio_util::sync::CancellationToken;

#[path = "store_support/mod.rs"]
mod support;

const RUN: Ulid = Ulid::from_parts(1_700_000_000_000, 11);

async fn verdict(store: impl Provable) -> Verdict {
    let began = Instant::now();
    let verdict = prove(Arc::new(store), RUN, &Effort::default()).await;
    println!("{:?}\n{}", began.elapsed(), serde_json::to_string_pretty(&verdict).unwrap());
    verdict
}

async fn verdict_of(lie: Lie) -> (Verdict, S3Server) {
    let server = S3Server::start(lie).await.unwrap();
    (verdict(server.store().await.unwrap()).await, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_stores_are_proven_and_left_clean() {
    assert!(verdict(MemoryStore::new()).await.is_proven());
    let dir = tempfile::tempdir().unwrap();
    assert!(verdict(FileStore::open(dir.path(), KeyPrefix::default()).unwrap()).await.is_proven());
    assert!(!dir.path().join("v1").exists(), "the proof left something behind");
    assert!(verdict(Faulty::calm(MemoryStore::new())).await.is_proven());

    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.plant("v1/crate/ab/somebody", "else");
    server.plant("v1/probe/01ARZ3NDEKTSV4RRFFQ69G5FAV/sequence", "of another run");
    let verdict = verdict(server.store().await.unwrap()).await;
    assert!(verdict.is_proven());
    assert!(verdict.steps.iter().all(|step| step.outcome == Outcome::Passed), "{verdict:?}");
    assert_eq!(verdict.steps.len(), 9, "{verdict:?}");
    let left = server.object_keys();
    assert_eq!(
        left,
        ["v1/crate/ab/somebody", "v1/probe/01ARZ3NDEKTSV4RRFFQ69G5FAV/sequence"],
        "it deletes what it wrote, and nothing else"
    );
    let strange: Vec<_> =
        server.requests().into_iter().filter(|r| r.method != "GET" && !r.path.contains("/v1/probe/")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_wants_bare_etags_is_proven_and_spoken_to() {
    let server = S3Server::start(Lie::BareEtags).await.unwrap();
    let store = server.store().await.unwrap();
    let verdict = verdict(store.clone()).await;
    assert!(verdict.is_proven());
    assert!(verdict.steps.iter().any(|s| s.detail.contains("without quotes")), "{verdict:?}");
    // The store that was proven speaks the dialect from now on.
    server.clear_requests();
    assert!(prove(Arc::new(store), Ulid::from_parts(1, 2), &Effort::default()).await.is_proven());
}

/// A store that lies like this is refused at one of these steps, in words, and left clean.
async fn is_refused(lie: Lie, steps: &[&str]) -> Verdict {
    let (verdict, server) = verdict_of(lie).await;
    assert_eq!(verdict.kind, VerdictKind::Refused, "{lie:?}: {verdict:?}");
    let step = verdict.step.unwrap();
    assert!(steps.contains(&step), "{lie:?} was found by `{step}`: {}", verdict.message);
    assert!(verdict.message.contains("bucket `registry`"), "{}", verdict.message);
    assert!(server.object_keys().is_empty(), "{lie:?}: left behind: {:?}", server.object_keys());
    verdict
}

fn has_failed(verdict: &Verdict, step: &str) -> bool {
    verdict.steps.iter().any(|report| report.step == step && report.outcome == Outcome::Failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_the_condition_header_is_refused() {
    is_refused(Lie::IgnoresConditions, &["create"]).await;
    is_refused(Lie::IgnoresIfMatch, &["replace"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_knows_no_conditions_is_refused() {
    is_refused(Lie::RefusesConditions, &["create"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_checks_before_the_body_is_refused() {
    is_refused(Lie::ChecksBeforeBody, &["stalled", "race"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_checks_and_then_writes_is_refused() {
    is_refused(Lie::ChecksThenWrites, &["race"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_nodes_do_not_know_of_each_other_is_refused() {
    is_refused(Lie::RacesAcrossNodes, &["race", "register", "stalled"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_pairs_a_new_etag_with_old_bytes_is_refused() {
    is_refused(Lie::EtagBeforeBytes, &["register"]).await;
}

/// Longer than the step that looks for it takes, however busy the machine is.
const LAG: Duration = Duration::from_secs(30);

/// The verdict names the first step that failed, and that is a matter of chance: a connection sees at once what it wrote itself, and now and then
/// the client opens another one for the next request, so that an earlier step meets the lag. The proof goes on after a broken promise, and
/// the step that compares connections finds it each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_stale_gets_is_refused() {
    let verdict = is_refused(Lie::StaleReads(LAG), &["refused", "not-modified", "fresh"]).await;
    assert!(has_failed(&verdict, "fresh"), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_stale_lists_is_refused() {
    let verdict = is_refused(Lie::StaleLists(LAG), &["not-modified", "fresh"]).await;
    assert!(has_failed(&verdict, "fresh"), "{verdict:?}");
}

/// The stalled body alone finds a check before the body, every time.
#[tokio::test(flavor = "multi_thread")]
async fn the_stalled_body_finds_a_check_before_the_body_with_certainty() {
    for round in 0..3 {
        let (verdict, _server) = verdict_of(Lie::ChecksBeforeBody).await;
        assert!(has_failed(&verdict, "stalled"), "round {round}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3s_fs_is_refused() {
    let server = support::S3sFs::start().await;
    let verdict = verdict(server.store().await).await;
    assert_eq!(verdict.kind, VerdictKind::Refused, "{verdict:?}");
    assert!(has_failed(&verdict, "stalled"), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_unreachable_and_says_what_to_do() {
    let (verdict, _server) = {
        let server = S3Server::start(Lie::Honest).await.unwrap();
        server.set_credentials("other", "other");
        (verdict(server.store().await.unwrap()).await, server)
    };
    assert_eq!((verdict.kind, verdict.step), (VerdictKind::Unreachable, Some("reach")), "{verdict:?}");
    for part in ["403", "InvalidAccessKeyId", "s3:PutObject"] {
        assert!(verdict.message.contains(part), "{part}: {}", verdict.message);
    }
    assert!(!verdict.message.contains("test-secret-key"));

    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.drop_bucket();
    let store = server.store().await.unwrap();
    let gone = prove(Arc::new(store), RUN, &Effort::default()).await;
    assert_eq!((gone.kind, gone.step), (VerdictKind::Unreachable, Some("reach")), "{gone:?}");
    for part in ["NoSuchBucket", "`registry`", "Create the bucket"] {
        assert!(gone.message.contains(part), "{part}: {}", gone.message);
    }

    let mut config = server.config();
    config.endpoint = Some("http://127.0.0.1:1".to_owned());
    let nobody = prove(Arc::new(S3Store::connect(config).await.unwrap()), RUN, &Effort::default()).await;
    assert_eq!((nobody.kind, nobody.step), (VerdictKind::Unreachable, Some("reach")), "{nobody:?}");
    assert!(nobody.message.contains("127.0.0.1:1") && nobody.message.contains("refused"), "{}", nobody.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_the_right_to_delete_is_told() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.inject("DELETE", "", Fault::Status(403, "AccessDenied"), usize::MAX);
    let verdict = verdict(server.store().await.unwrap()).await;
    assert_eq!((verdict.kind, verdict.step), (VerdictKind::Unreachable, Some("fresh")), "{verdict:?}");
    assert!(verdict.message.contains("s3:DeleteObject"), "{}", verdict.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_given_up_on() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.inject("PUT", "race-small", Fault::Stall, usize::MAX);
    // All before the race has to be over by then, also on a busy machine; it takes tens of milliseconds.
    let effort = Effort { deadline: Duration::from_secs(15), ..Effort::default() };
    let verdict = prove(Arc::new(server.store().await.unwrap()), RUN, &effort).await;
    assert_eq!((verdict.kind, verdict.step), (VerdictKind::Unreachable, Some("race")), "{verdict:?}");
    assert!(verdict.message.contains("15 seconds"), "{}", verdict.message);
}

/// Lost replies, throttling and conflicts are no lies.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_network_is_not_taken_for_a_lying_store() {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.inject("PUT", "race-", Fault::LoseReply, 20);
    server.inject("PUT", "register", Fault::LoseReply, 30);
    server.inject("PUT", "race-", Fault::Status(409, "ConditionalRequestConflict"), 10);
    server.inject("PUT", "register", Fault::Status(503, "SlowDown"), 10);
    let verdict = verdict(server.store().await.unwrap()).await;
    assert_ne!(verdict.kind, VerdictKind::Refused, "{verdict:?}");
}

/// A server whose proof stands still in the middle, with objects in the bucket.
async fn in_the_middle() -> (S3Server, Arc<dyn Provable>) {
    let server = S3Server::start(Lie::Honest).await.unwrap();
    server.inject("PUT", "race-small-1", Fault::Stall, usize::MAX);
    let store = Arc::new(server.store().await.unwrap());
    (server, store)
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("{what}"));
}

fn has_begun(server: &S3Server) -> bool {
    server.object_keys().iter().any(|key| key.ends_with("race-small-0"))
        && server.requests().iter().any(|request| request.path.contains("race-small-1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_stopped_leaves_nothing_behind() {
    let (server, store) = in_the_middle().await;
    let stop = CancellationToken::new();
    let proving = tokio::spawn({
        let stop = stop.clone();
        async move { prove_until(store, RUN, &Effort::default(), &stop).await }
    });
    until("the proof is in the middle", || has_begun(&server)).await;
    stop.cancel();
    let verdict = proving.await.unwrap();
    assert_eq!(verdict.kind, VerdictKind::Unreachable, "{verdict:?}");
    assert!(verdict.message.contains("the proof was stopped"), "{}", verdict.message);
    assert_eq!(server.object_keys(), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_is_dropped_leaves_nothing_behind() {
    let (server, store) = in_the_middle().await;
    let proving = tokio::spawn(async move { prove(store, RUN, &Effort::default()).await });
    until("the proof is in the middle", || has_begun(&server)).await;
    proving.abort();
    until("it cleans up", || server.object_keys().is_empty()).await;
}
