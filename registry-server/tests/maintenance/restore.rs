//! Records and files that were damaged or deleted past the registry come back from the store's history, and what cannot come back is said.

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::access::Visibility;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::record::OpKind;
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Code, Options, Problem, Report};
use supercargo_registry::maintenance::gc::{self, Grace};
use supercargo_registry::registry::{Registry, Storage};
use supercargo_registry::store::faulty::Call;
use supercargo_registry::store::s3_server::{Lie, S3Server};
use supercargo_registry::store::{Key, Sha256Digest, Store};
use tokio::time::advance;

use crate::support::held::Held;
use crate::{Place, clock, index, key, name, op, publish, replica, replica_on, user};

const HOUR: Duration = Duration::from_secs(3600);
const DEEP: Options = Options { deep: true, repair: false, accept_loss: false, now: None };
const REPAIR: Options = Options { deep: true, repair: true, accept_loss: false, now: None };

async fn check(registry: &Registry, options: Options) -> Report {
    fsck::run(registry, options, &Progress::default()).await.expect("the store answers")
}

fn only(report: &Report, code: Code) -> &Problem {
    assert_eq!(report.problems.len(), 1, "{:#?}", report.problems);
    assert_eq!(report.problems[0].code, code);
    &report.problems[0]
}

/// What the repair says that it did.
fn said(problem: &Problem) -> &str {
    problem.repair.as_deref().expect("a repair was tried")
}

impl Place {
    /// Somebody's hand on the bucket.
    async fn delete(&self, key: &Key) {
        self.store.inner().delete(key).await.unwrap();
    }

    async fn yank(&self, krate: &str, version: &str) {
        self.registry.set_yanked(&self.ann, &name(krate), &version.parse().unwrap(), true).await.unwrap();
    }

    async fn file(&self, krate: &str, version: &str) -> Key {
        Key::parse(&self.record(krate).await.versions()[&version.parse().unwrap()].blob).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_comes_back_as_it_was_and_all_others_serve_meanwhile() {
    let place = Place::with_history().await;
    for version in ["1.0.0", "1.1.0"] {
        publish(&place.registry, &place.ann, "krate", version).await.unwrap();
    }
    publish(&place.registry, &place.ann, "other", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    let before = place.record("krate").await;
    let lines = index(&place.registry, "krate").await;
    // One that has it in memory, and one that has not.
    let (knows, fresh) = (replica(&place.store, 2).await, replica(&place.store, 3).await);
    assert_eq!(index(&knows, "krate").await, lines);
    let good = before.to_bytes();
    // In the end while a write is under way.
    let cases = [(false, b"by hand".to_vec()), (false, good[..good.len() / 2].to_vec()), (true, Vec::new())];
    for (marked, damage) in cases {
        let record = place.record("krate").await;
        if marked {
            place.plant(&key("krate"), record.marked(op(7)).to_bytes()).await;
        }
        let rev = record.rev();
        place.plant(&key("krate"), damage.clone()).await;
        let report = check(&place.registry, DEEP).await;
        let problem = only(&report, Code::RecordUnreadable);
        assert_eq!(problem.key, key("krate").to_string());
        assert_eq!(place.object(&key("krate")).await, damage, "nothing is mended unasked");
        assert!(index(&fresh, "other").await.is_some(), "all others are served");

        if marked {
            let report = check(&place.registry, REPAIR).await;
            let problem = only(&report, Code::RecordUnreadable);
            assert!(!problem.repaired && said(problem).contains("the mark of a write"), "{problem:?}");
        }
        let report = check(&place.registry, Options { accept_loss: marked, ..REPAIR }).await;
        assert_eq!(report.left(), 0, "{report:#?}");
        let said = said(only(&report, Code::RecordUnreadable));
        assert!(said.contains(&format!("as it was at rev {rev}, ")) && !said.contains("files"), "{said}");
        assert_eq!(said.contains("the audit log has no change of it after that"), !marked, "{said}");
        let after = place.record("krate").await;
        assert!(after.rev() > rev + 1, "somebody may know a state that the damaged object was: {}", after.rev());
        assert_eq!((after.mark(), after.owners(), after.index_etag()), (None, before.owners(), before.index_etag()));
        let last = after.ops().last().unwrap();
        assert_eq!((&last.kind, last.actor.as_str(), last.rev), (&OpKind::Recover, "admin", after.rev()));
        for registry in [&place.registry, &knows, &fresh] {
            assert_eq!(index(registry, "krate").await, lines);
        }
        place.registry.finish_writes().await;
        advance(HOUR).await;
        assert_eq!(check(&place.registry, DEEP).await.problems, [], "the log has it, too");
    }
    publish(&fresh, &place.ann, "krate", "2.0.0").await.unwrap();
    assert_eq!(index(&knows, "krate").await.unwrap().lines().count(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_with_later_states_is_said_and_nobody_shows_them_any_more() {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    publish(&place.registry, &place.ann, "krate-not", "9.0.0").await.unwrap();
    let kept = index(&place.registry, "krate").await;
    advance(30 * HOUR).await;
    publish(&place.registry, &place.ann, "krate", "1.1.0").await.unwrap();
    publish(&place.registry, &place.ann, "krate-not", "9.1.0").await.unwrap();
    place.yank("krate", "1.0.0").await;
    place.registry.add_owners(&place.ann, &name("krate"), &["bob".parse().unwrap()]).await.unwrap();
    place.registry.finish_writes().await;
    let knows = replica(&place.store, 2).await;
    assert_eq!(index(&knows, "krate").await.unwrap().lines().count(), 2);
    let (newest, file) = (place.record("krate").await, place.file("krate", "1.1.0").await);

    // Three changes, a mark before each, but the first mark; the current state was the last of them.
    place.store.inner().forget_newest(&key("krate"), 5);
    place.plant(&key("krate"), "by hand").await;
    place.store.inner().forget_newest(&key("krate"), 1);
    let report = check(&place.registry, REPAIR).await;
    let problem = only(&report, Code::RecordUnreadable);
    assert!(!problem.repaired && said(problem).contains("would be lost: publish 1.1.0 by ann at "), "{problem:?}");
    assert_eq!(place.object(&key("krate")).await, "by hand", "nothing is lost unasked");
    let report = check(&place.registry, Options { accept_loss: true, ..REPAIR }).await;
    assert_eq!(report.left(), 0, "{report:#?}");
    let said = said(only(&report, Code::RecordUnreadable));
    for part in [
        "as it was at rev 1, ",
        "; lost, and to be done again: publish 1.1.0 by ann at 1970-01-02T",
        " (rev 2), yank 1.0.0 by ann at ",
        " (rev 3), owner-add bob by ann at ",
        " (rev 4); files of it that nothing names now, and that are kept for 30 days: ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.ends_with(&file.to_string()) && !said.contains("9.1.0"), "{said}");
    assert!(place.record("krate").await.rev() > newest.rev());
    for registry in [&place.registry, &knows] {
        assert_eq!(index(registry, "krate").await, kept, "no replica shows what is lost");
    }

    // The file of the lost version is left alone for a month, although nothing names it.
    for _ in 0..4 {
        advance(100 * HOUR).await;
        drop(gc::run(&place.registry, Grace::default(), false, &Progress::default()).await.unwrap());
    }
    assert_eq!(place.store.inner().history(&file).await.unwrap(), [], "it was never touched");
    let ghost = check(&place.registry, DEEP).await;
    assert_eq!(only(&ghost, Code::Ghost).key, file.to_string());
    publish(&place.registry, &place.ann, "krate", "1.1.0").await.unwrap();
    assert_eq!(index(&knows, "krate").await.unwrap().lines().count(), 2);
    for _ in 0..2 {
        advance(31 * 24 * HOUR).await;
        drop(gc::run(&place.registry, Grace::default(), false, &Progress::default()).await.unwrap());
    }
    assert_eq!(check(&place.registry, DEEP).await.problems, [], "and goes after that");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_somebody_deleted_comes_back() {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    let (before, lines) = (place.record("krate").await, index(&place.registry, "krate").await);
    place.delete(&key("krate")).await;
    let fresh = replica(&place.store, 2).await;
    assert_eq!(index(&fresh, "krate").await, None);
    let report = check(&place.registry, DEEP).await;
    assert_eq!(only(&report, Code::RecordMissing).key, key("krate").to_string());

    let report = check(&place.registry, REPAIR).await;
    assert_eq!(report.left(), 0, "{report:#?}");
    assert!(place.record("krate").await.rev() > before.rev());
    for registry in [&place.registry, &fresh] {
        assert_eq!(index(registry, "krate").await, lines, "absence is forgotten, too");
    }
    place.registry.finish_writes().await;
    advance(HOUR).await;
    assert_eq!(check(&place.registry, DEEP).await.problems, []);
}

#[tokio::test(start_paused = true)]
async fn without_a_sound_state_in_the_history_everything_is_left_as_it_is() {
    for history in [false, true] {
        let place = if history { Place::with_history().await } else { Place::new().await };
        publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
        place.registry.finish_writes().await;
        place.plant(&key("krate"), "by hand").await;
        // What is left of it is the name that was reserved.
        place.store.inner().forget_newest(&key("krate"), 1);
        let calls = place.store.calls().len();
        let report = check(&place.registry, REPAIR).await;
        let problem = only(&report, Code::RecordUnreadable);
        assert_eq!((report.left(), problem.repaired), (1, false));
        assert!(said(problem).contains("could not be mended: the store has no earlier, sound version"), "{problem:?}");
        assert_eq!(place.object(&key("krate")).await, "by hand");
        let calls = place.store.calls().split_off(calls);
        let puts = calls.iter().filter(|(call, at, _)| *call == Call::Put && !at.contains("probe"));
        assert_eq!(puts.count(), 0, "not even announced");
    }
}

#[tokio::test(start_paused = true)]
async fn who_mends_by_hand_meanwhile_is_not_written_over() {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let before = place.record("krate").await;
    place.plant(&key("krate"), "by hand").await;
    let held = Held::at(&place.store, Call::Put, "v1/crate/", 1);
    let mending = replica_on(held.clone(), 2).await;
    let by_hand = async {
        held.reached().await;
        place.plant(&key("krate"), before.to_bytes()).await;
        held.go_on();
    };
    let (report, ()) = tokio::join!(check(&mending, REPAIR), by_hand);
    let problem = only(&report, Code::RecordUnreadable);
    assert!(!problem.repaired && said(problem).contains("written by somebody else meanwhile"), "{problem:?}");
    assert_eq!(place.object(&key("krate")).await, before.to_bytes());
    // What was announced for nothing is made good.
    let report = check(&place.registry, REPAIR).await;
    assert!(only(&report, Code::HeadAhead).repaired, "{report:?}");
    place.registry.finish_writes().await;
    assert_eq!(check(&place.registry, DEEP).await.problems, []);
}

/// Somebody deletes the record, and somebody else begins to publish under the name, and dies.
#[tokio::test(start_paused = true)]
async fn a_name_that_was_reserved_since_does_not_hide_that_a_record_was_deleted() {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    let (before, lines) = (place.record("krate").await, index(&place.registry, "krate").await);
    place.delete(&key("krate")).await;
    let reserved = supercargo_registry::krate::Record::new(name("Krate"), ["eve".parse().unwrap()].into());
    place.plant(&key("krate"), reserved.reservation(op(8)).to_bytes()).await;
    let report = check(&place.registry, REPAIR).await;
    assert!(only(&report, Code::RecordMissing).repaired, "{report:#?}");
    assert!(place.record("krate").await.rev() > before.rev());
    let fresh = replica(&place.store, 2).await;
    assert_eq!(index(&fresh, "krate").await, lines);
}

#[tokio::test(start_paused = true)]
async fn files_come_back_by_their_checksums() {
    let place = Place::with_history().await;
    for version in ["1.0.0", "2.0.0", "3.0.0", "4.0.0"] {
        publish(&place.registry, &place.ann, "krate", version).await.unwrap();
    }
    place.registry.finish_writes().await;
    let mut files = Vec::new();
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let file = place.file("krate", version).await;
        files.push((file.clone(), place.object(&file).await));
    }
    let hopeless = place.file("krate", "4.0.0").await;
    let [gone, short, other] = [0, 1, 2].map(|number| files[number].0.clone());
    place.delete(&gone).await;
    place.plant(&short, "short").await;
    place.plant(&short, "shorter").await;
    place.plant(&other, [&files[2].1[1..], b"x"].concat()).await;
    place.plant(&hopeless, "short").await;
    place.store.inner().forget_newest(&hopeless, 1);

    let report = check(&place.registry, REPAIR).await;
    let mended: Vec<_> = report.problems.iter().map(|p| (p.code, p.key.clone(), p.repaired)).collect();
    let mut expected = [
        (Code::FileMissing, gone.to_string(), true),
        (Code::FileLength, short.to_string(), true),
        (Code::FileLength, hopeless.to_string(), false),
        (Code::FileContent, other.to_string(), true),
    ];
    expected.sort();
    assert_eq!(mended, expected, "{:#?}", report.problems);
    for (file, bytes) in &files {
        assert_eq!(place.object(file).await, bytes);
    }
    assert_eq!(only(&check(&place.registry, DEEP).await, Code::FileLength).key, hopeless.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_never_put_back_to_a_state_from_before_it_was_revoked() {
    let place = Place::with_history().await;
    let secret = Entropy::seeded(3).with(supercargo_registry::access::TokenSecret::generate);
    let token = crate::support::crates::new_token();
    place.registry.put_token(secret.hash(), token).await.unwrap();
    place.registry.revoke_token(secret.hash()).await.unwrap();
    place.registry.finish_writes().await;
    let token = Key::Token(Sha256Digest::from_bytes(*secret.hash().as_bytes()));
    place.plant(&token, "by hand").await;
    place.store.inner().forget_newest(&token, 1);
    let report = check(&place.registry, REPAIR).await;
    let problem = only(&report, Code::TokenUnreadable);
    assert_eq!((problem.repaired, &problem.repair), (false, &None));
    assert!(problem.remedy.contains("before it was revoked"), "{problem:?}");
    assert_eq!(place.object(&token).await, "by hand");
    assert!(place.registry.authenticate(secret.expose()).await.is_err());
}

/// The same through the S3 adapter, by a process of its own beside a server that knows the crate.
#[tokio::test]
async fn a_bucket_with_versioning_gives_back_what_was_damaged() {
    for versioned in [true, false] {
        let s3 = S3Server::start(Lie::Honest).await.unwrap();
        if versioned {
            s3.keep_versions();
        }
        let open = async || {
            let storage = Storage::ToProve(Arc::new(s3.store().await.unwrap()));
            let registry = Arc::new(Registry::new(&storage, Visibility::Public, clock(), Entropy::from_os()));
            assert!(registry.open_now().await.is_proven());
            registry
        };
        let serving = open().await;
        let ann = user(&serving, "ann").await;
        for krate in ["gone", "damaged", "whole", "file"] {
            publish(&serving, &ann, krate, "1.0.0").await.unwrap();
        }
        serving.finish_writes().await;
        let lines = index(&serving, "damaged").await;
        let by_hand = s3.store().await.unwrap();
        let stored = |part: &str| s3.object_keys().into_iter().find(|key| key.contains(part)).expect(part);
        s3.plant(&stored(&key("damaged").to_string()), "by hand");
        by_hand.delete(&Key::parse(&stored(&key("gone").to_string())).unwrap()).await.unwrap();
        let file = stored("v1/blob/file/");
        let bytes = s3.stored_at(&file).unwrap();
        s3.plant(&file, "by hand");

        let fsck = open().await;
        let report = check(&fsck, REPAIR).await;
        fsck.finish_writes().await;
        let codes: Vec<_> = report.problems.iter().map(|p| (p.code, p.repaired)).collect();
        if versioned {
            let all = [(Code::RecordUnreadable, true), (Code::RecordMissing, true), (Code::FileLength, true)];
            assert_eq!(codes, all, "{report:#?}");
            for registry in [&serving, &open().await] {
                assert_eq!(index(registry, "damaged").await, lines);
                assert!(index(registry, "gone").await.is_some());
            }
            assert_eq!(s3.stored_at(&file).unwrap(), bytes);
            assert_eq!(check(&fsck, DEEP).await.problems, []);
        } else {
            assert_eq!(codes.iter().filter(|(_, repaired)| *repaired).count(), 0, "{report:#?}");
            assert_eq!(
                s3.stored_at(&stored(&key("damaged").to_string())).unwrap(),
                "by hand",
                "the damaged object is no earlier state"
            );
        }
    }
}
