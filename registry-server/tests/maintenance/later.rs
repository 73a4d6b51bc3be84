//! Changes that the audit log does not tell of: nothing that may undo one is done unasked, and what a lost state named is kept for a month.

use std::io::{Read, Write};
use std::time::Duration;

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::krate::record::{Change, Outcome};
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Code, Options, Problem, Report};
use supercargo_registry::maintenance::gc::{self, Grace};
use supercargo_registry::registry::Registry;
use supercargo_registry::store::faulty::{Call, Fault};
use supercargo_registry::store::{AuditKey, Key, Sha256Digest, Store, Ulid};
use tokio::time::advance;

use crate::support::held::{Denies, Held};
use crate::{Place, index, key, name, op, publish, replica, replica_on};

const HOUR: Duration = Duration::from_secs(3600);
const REPAIR: Options = Options { deep: false, repair: true, accept_loss: false, now: None };
const ACCEPTING: Options = Options { accept_loss: true, ..REPAIR };

async fn check(registry: &Registry, options: Options) -> Report {
    fsck::run(registry, options, &Progress::default()).await.expect("the store answers")
}

fn only(report: &Report, code: Code) -> &Problem {
    let found: Vec<_> = report.problems.iter().filter(|problem| problem.code == code).collect();
    assert_eq!(found.len(), 1, "{:#?}", report.problems);
    found[0]
}

/// A crate with one version that was yanked by a writer who was killed before it could write that into the audit log.
async fn yanked_in_silence() -> Place {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    advance(5 * HOUR).await;
    for _ in 0..5 {
        place.store.script(Call::Put, "v1/audit/", Fault::NotSent);
    }
    place.registry.set_yanked(&place.ann, &name("krate"), &"1.0.0".parse().unwrap(), true).await.unwrap();
    place.registry.finish_writes().await;
    place
}

/// The repair refuses for this reason, changes nothing, and says it again when it is told to go on.
async fn is_refused_for(place: &Place, why: &str) {
    let before = place.object(&key("krate")).await;
    let report = check(&place.registry, REPAIR).await;
    let problem = only(&report, Code::RecordUnreadable);
    let said = problem.repair.as_deref().unwrap();
    assert!(!problem.repaired && report.left() > 0, "{problem:?}");
    assert!(said.contains("changes that nothing tells of may have come after it: ") && said.contains(why), "{said}");
    assert!(said.contains("--accept-loss"), "{said}");
    assert_eq!(place.object(&key("krate")).await, before, "nothing is lost unasked");
    let report = check(&place.registry, ACCEPTING).await;
    let problem = only(&report, Code::RecordUnreadable);
    let said = problem.repair.as_deref().unwrap();
    assert!(problem.repaired && said.contains("; lost with it may be what nothing tells of: "), "{said}");
    assert!(said.contains(why), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_change_that_only_the_head_knows_is_not_undone_unasked() {
    // The version of the yank is gone from history; its mark, too.
    for (gone, why) in [(1, "the mark of a write"), (2, "the head announces rev 2")] {
        let place = yanked_in_silence().await;
        place.plant(&key("krate"), "by hand").await;
        place.store.inner().forget_newest(&key("krate"), gone);
        is_refused_for(&place, why).await;
        assert!(place.record("krate").await.rev() > 2);
    }
    // With it, nothing is in doubt.
    let place = yanked_in_silence().await;
    place.plant(&key("krate"), "by hand").await;
    let report = check(&place.registry, REPAIR).await;
    assert!(only(&report, Code::RecordUnreadable).repaired, "{report:#?}");
    assert!(index(&place.registry, "krate").await.unwrap().contains("\"yanked\":true"));
}

#[tokio::test(start_paused = true)]
async fn versions_entries_and_files_that_nobody_can_explain_are_signs_of_a_loss() {
    let place = yanked_in_silence().await;
    for text in ["by hand", "by hand again"] {
        place.plant(&key("krate"), text).await;
    }
    is_refused_for(&place, "1 later versions of it cannot be read").await;

    for entry in ["", "not an entry"] {
        let place = yanked_in_silence().await;
        let at = place.record("krate").await.ops().last().unwrap().at;
        place.plant(&Key::Audit(AuditKey::new(at, op(5).as_str()).unwrap()), entry).await;
        // What tells of something else does not count.
        let of_a_token = Key::Audit(AuditKey::new(at, op(6).as_str()).unwrap());
        place.plant(&of_a_token, "{\"op\":\"x\",\"kind\":\"create\",\"token\":\"x\"}").await;
        place.plant(&key("krate"), "by hand").await;
        is_refused_for(&place, "1 entries of the audit log since then cannot be read: v1/audit/1970/01/01/").await;
    }

    for (age, is_sign) in [(3 * HOUR, false), (HOUR / 2, true)] {
        let place = Place::with_history().await;
        let bytes = Packed::new("krate", "2.0.0").krate();
        let file = Key::blob("krate", &"2.0.0".parse().unwrap(), Sha256Digest::of(&bytes), Ulid::from_parts(1, 1));
        let file = file.unwrap();
        place.plant(&file, bytes).await;
        advance(age).await;
        publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
        place.registry.finish_writes().await;
        place.plant(&key("krate"), "by hand").await;
        if is_sign {
            is_refused_for(&place, &format!("files that were stored since: {file}")).await;
        } else {
            // Its publish had given up before that state was stored.
            let report = check(&place.registry, REPAIR).await;
            assert!(only(&report, Code::RecordUnreadable).repaired, "{report:#?}");
        }
    }
}

/// One gzip member of `object`, and what follows it.
fn member(object: &[u8]) -> (String, &[u8]) {
    let (mut rest, mut text) = (object, String::new());
    GzDecoder::new(&mut rest).read_to_string(&mut text).unwrap();
    (text, rest)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

/// Somebody's hand in a record, which servers go on serving: only a check sees that a file lies under another crate's key.
#[tokio::test(start_paused = true)]
async fn a_record_that_servers_can_read_is_replaced_in_their_memory_too() {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    let lines = index(&place.registry, "krate").await;
    let mut edited = place.record("krate").await;
    for digit in 1..=39 {
        let change = Change { op: op(digit), actor: "eve".parse().unwrap(), at: jiff::Timestamp::UNIX_EPOCH };
        let outcome = edited.set_yanked(&"1.0.0".parse().unwrap(), digit % 2 == 1, &change).unwrap();
        assert_eq!(outcome, Outcome::Changed);
    }
    assert_eq!(edited.rev(), 40);
    let edited = edited.to_bytes();
    let (header, rest) = member(&edited);
    let (versions, rest) = member(rest);
    let versions = versions.replace("v1/blob/krate/", "v1/blob/other/");
    place.plant(&key("krate"), [gzip(&header), gzip(&versions), rest.to_vec()].concat()).await;
    let knows = replica(&place.store, 2).await;
    assert!(index(&knows, "krate").await.unwrap().contains("\"yanked\":true"), "it is served");

    is_refused_for(&place, "what lies there now says that it is rev 40").await;
    assert!(place.record("krate").await.rev() > 40);
    for registry in [&place.registry, &knows, &replica(&place.store, 3).await] {
        assert_eq!(index(registry, "krate").await, lines);
    }
    place.registry.finish_writes().await;
    advance(HOUR).await;
    assert_eq!(check(&place.registry, Options::default()).await.problems, []);
}

async fn is_kept_for_a_month(by_hand: bool) {
    let place = Place::with_history().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let first = place.record("krate").await;
    publish(&place.registry, &place.ann, "krate", "1.1.0").await.unwrap();
    place.registry.finish_writes().await;
    let version = "1.1.0".parse().unwrap();
    let file = Key::parse(&place.record("krate").await.versions()[&version].blob).unwrap();
    advance(100 * HOUR).await;
    if by_hand {
        place.plant(&key("krate"), first.to_bytes()).await;
    } else {
        place.plant(&key("krate"), "by hand").await;
        place.store.inner().forget_newest(&key("krate"), 2);
    }
    let report = check(&place.registry, ACCEPTING).await;
    let code = if by_hand { Code::HeadAhead } else { Code::RecordUnreadable };
    assert!(only(&report, code).repaired, "{report:#?}");
    for round in 0..70 {
        let version = "1.0.0".parse().unwrap();
        place.registry.set_yanked(&place.ann, &name("krate"), &version, round % 2 == 0).await.unwrap();
    }
    let collect = async || {
        for _ in 0..2 {
            drop(gc::run(&place.registry, Grace::default(), false, &Progress::default()).await.unwrap());
            advance(2 * HOUR).await;
        }
    };
    let has = async || {
        let found = place.store.inner().get(&file, None).await.unwrap();
        matches!(found, supercargo_registry::store::Get::Found(_))
    };
    collect().await;
    assert!(has().await, "by hand {by_hand}: 70 changes do not make it garbage");
    advance(29 * 24 * HOUR).await;
    collect().await;
    assert!(has().await, "by hand {by_hand}");
    advance(2 * 24 * HOUR).await;
    collect().await;
    assert!(!has().await, "by hand {by_hand}: and a month does");
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_state_named_is_kept_for_a_month_after_a_repair_whatever_comes() {
    is_kept_for_a_month(false).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_state_named_is_kept_for_a_month_when_a_record_was_put_back_by_hand() {
    is_kept_for_a_month(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_history_that_may_not_be_read_is_no_sign_of_health() {
    for denies in [Denies::Listing, Denies::Reading, Denies::Nothing] {
        let place = Place::with_history().await;
        for krate in ["krate", "other"] {
            publish(&place.registry, &place.ann, krate, "1.0.0").await.unwrap();
        }
        place.registry.finish_writes().await;
        place.store.inner().delete(&key("krate")).await.unwrap();
        let looking = replica_on(Held::without_rights(&place.store, denies), 2).await;
        for age in [3 * HOUR, 100 * HOUR] {
            advance(age).await;
            let report = check(&looking, Options::default()).await;
            let [problem] = &report.problems[..] else { panic!("{denies:?}: {report:#?}") };
            assert_eq!(problem.key, key("krate").to_string());
            if denies == Denies::Nothing {
                assert_eq!(problem.code, Code::RecordMissing);
                continue;
            }
            assert_eq!((problem.code, report.left()), (Code::HistoryUnreadable, 1));
            assert!(problem.what.contains("AccessDenied"), "{problem:?}");
            for right in ["s3:ListBucketVersions", "s3:GetObjectVersion"] {
                assert!(problem.remedy.contains(right), "{problem:?}");
            }
        }
    }
    // A store without any history.
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    place.registry.finish_writes().await;
    place.store.inner().delete(&key("krate")).await.unwrap();
    advance(100 * HOUR).await;
    let report = check(&place.registry, Options::default()).await;
    let ghost = only(&report, Code::Ghost);
    assert!(ghost.remedy.contains("restore its record from a backup"), "{ghost:?}");
}
