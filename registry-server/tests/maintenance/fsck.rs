//! The check of a whole store: silent about a sound one, precise about each damage, and safe to mend with.

use std::time::Duration;

use supercargo_registry::krate::packed::Packed;
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::fsck::{self, Code, Options, Report};
use supercargo_registry::registry::{Registry, Storage};
use supercargo_registry::store::faulty::{Call, Fault};
use supercargo_registry::store::{FileStore, Key, KeyPrefix, Sha256Digest, Ulid};
use tokio::time::advance;

use crate::{Place, clock, index, key, name, op, publish};

const HOUR: Duration = Duration::from_secs(3600);
const DEEP: Options = Options { deep: true, repair: false, accept_loss: false, now: None };
const REPAIR: Options = Options { deep: false, repair: true, accept_loss: false, now: None };

async fn check(registry: &Registry, options: Options) -> Report {
    fsck::run(registry, options, &Progress::default()).await.expect("the store answers")
}

fn found(report: &Report) -> Vec<(Code, &str)> {
    report.problems.iter().map(|problem| (problem.code, problem.key.as_str())).collect()
}

impl Place {
    /// A registry with a little of everything.
    async fn lived_in() -> Self {
        let place = Self::new().await;
        let (registry, ann) = (&place.registry, &place.ann);
        for krate in ["alpha", "beta", "gamma"] {
            publish(registry, ann, krate, "1.0.0").await.unwrap();
            publish(registry, ann, krate, "1.1.0+build").await.unwrap();
        }
        registry.set_yanked(ann, &name("alpha"), &"1.0.0".parse().unwrap(), true).await.unwrap();
        registry.add_owners(ann, &name("beta"), &["bob".parse().unwrap()]).await.unwrap();
        registry.delete_crate(&name("gamma")).await.unwrap();
        registry.finish_writes().await;
        place
    }

    async fn blob(&self, krate: &str, version: &str) -> Key {
        Key::parse(&self.record(krate).await.versions()[&version.parse().unwrap()].blob).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sound_store_has_no_problems() {
    let place = Place::lived_in().await;
    for age in [Duration::ZERO, 100 * HOUR] {
        advance(age).await;
        let report = check(&place.registry, DEEP).await;
        assert_eq!(found(&report), []);
        let counts = &report.counts;
        assert_eq!((counts.crates, counts.deleted_crates, counts.versions, counts.files), (3, 1, 6, 6));
        assert_eq!((counts.tokens, counts.audit_entries, counts.foreign, counts.reserved_names), (1, 10, 0, 0));
        assert_eq!(counts.bytes_compared, counts.file_bytes);
    }
    let json = serde_json::to_value(check(&place.registry, Options::default()).await).unwrap();
    let fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["schema", "store", "at", "deep", "repair", "counts", "problems", "foreign"]);
}

#[tokio::test(start_paused = true)]
async fn every_damage_is_named() {
    let place = Place::lived_in().await;
    place.plant(&key("alpha"), "not a record").await;
    let wrong = place.blob("beta", "1.0.0").await;
    let bytes = place.object(&wrong).await;
    place.plant(&wrong, [&bytes[1..], b"x"].concat()).await;
    let short = place.blob("beta", "1.1.0+build").await;
    place.plant(&short, "short").await;
    let missing = place.blob("gamma", "1.0.0").await;
    supercargo_registry::store::Store::delete(place.store.inner(), &missing).await.unwrap();
    let ghost = Key::blob("beta", &"3.0.0".parse().unwrap(), Sha256Digest::of(b""), Ulid::from_parts(1, 1)).unwrap();
    place.plant(&ghost, "over").await;
    // The record of another crate.
    place.plant(&key("delta"), place.record("beta").await.to_bytes()).await;
    let token = Key::Token(Sha256Digest::of(b"x"));
    place.plant(&token, "{}").await;
    advance(73 * HOUR).await;

    let report = check(&place.registry, DEEP).await;
    let expected = [
        (Code::RecordUnreadable, key("alpha")),
        (Code::RecordUnreadable, key("delta")),
        (Code::TokenUnreadable, token),
        (Code::FileMissing, missing),
        (Code::FileLength, short),
        (Code::FileContent, wrong),
        (Code::Ghost, ghost),
    ];
    let mut expected: Vec<_> = expected.iter().map(|(code, key)| (*code, key.to_string())).collect();
    expected.sort();
    let found: Vec<_> = report.problems.iter().map(|problem| (problem.code, problem.key.clone())).collect();
    assert_eq!(found, expected, "{:#?}", report.problems);
    assert_eq!(report.left(), found.len());
    assert!(report.problems.iter().all(|problem| !problem.what.is_empty() && !problem.remedy.is_empty()));
    assert!(index(&place.registry, "beta").await.is_some(), "all others serve");

    place.plant(&Key::Head, "{").await;
    assert!(check(&place.registry, Options::default()).await.problems.iter().any(|p| p.code == Code::HeadUnreadable));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_put_back_is_behind_the_head() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let before = place.record("krate").await;
    publish(&place.registry, &place.ann, "krate", "1.1.0").await.unwrap();
    place.plant(&key("krate"), before.to_bytes()).await;
    let report = check(&place.registry, Options::default()).await;
    assert_eq!(found(&report), [(Code::HeadAhead, key("krate").to_string().as_str())]);
    assert!(report.problems[0].what.contains("announces rev 2, the record has 1"), "{report:?}");
    place.registry.finish_writes().await;

    // A replica may have the later state in memory.
    assert_eq!(index(&place.registry, "krate").await.unwrap().lines().count(), 2);
    let report = check(&place.registry, REPAIR).await;
    let said = report.problems[0].repair.as_deref().unwrap();
    assert_eq!(report.left(), 0, "{said}");
    assert!(said.starts_with("it has rev 3 now") && said.contains("publish 1.1.0 by ann"), "{said}");
    assert_eq!(index(&place.registry, "krate").await.unwrap().lines().count(), 1);
    advance(HOUR).await;
    assert_eq!(found(&check(&place.registry, DEEP).await), []);
}

#[tokio::test(start_paused = true)]
async fn a_repair_clears_dead_marks_and_writes_what_the_log_misses() {
    let place = Place::lived_in().await;
    for _ in 0..5 {
        place.store.script(Call::Put, "v1/audit/", Fault::NotSent);
    }
    publish(&place.registry, &place.ann, "alpha", "2.0.0").await.unwrap();
    place.registry.finish_writes().await;
    let lost = place.record("alpha").await.ops().last().unwrap().op.to_string();
    let marked = place.record("beta").await;
    place.plant(&key("beta"), marked.marked(op(9)).to_bytes()).await;
    let reserved = supercargo_registry::krate::Record::new(name("delta"), ["dead".parse().unwrap()].into());
    place.plant(&key("delta"), reserved.reservation(op(8)).to_bytes()).await;
    assert_eq!(found(&check(&place.registry, Options::default()).await), [], "all of it may be under way");

    advance(HOUR).await;
    let report = check(&place.registry, Options::default()).await;
    let codes: Vec<_> = report.problems.iter().map(|problem| problem.code).collect();
    assert_eq!((codes, report.left()), (vec![Code::DeadMark, Code::DeadMark, Code::AuditMissing], 3));
    assert!(report.problems[2].key.ends_with(&lost), "{report:?}");
    assert!(place.record("beta").await.mark().is_some(), "nothing is mended unasked");

    let report = check(&place.registry, REPAIR).await;
    assert_eq!((report.problems.len(), report.left()), (3, 0), "{report:?}");
    let beta = place.record("beta").await;
    assert_eq!((beta.mark(), beta.rev(), beta.ops()), (None, marked.rev() + 1, marked.ops()));
    assert!(place.record("delta").await.is_vacant());
    advance(HOUR).await;
    assert_eq!(found(&check(&place.registry, DEEP).await), []);
}

#[tokio::test]
async fn a_directory_that_a_server_holds_can_be_looked_at_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let toml = format!("[storage]\nkind = \"file\"\n[file]\ndirectory = \"{}\"\n", dir.path().display());
    let config = crate::support::config(&toml);
    let server = crate::support::TestServer::start(&toml).await;
    let token = server.token("ann").await;
    let ann = server.registry().authenticate(&token).await.unwrap();
    publish(server.registry(), &ann, "krate", "1.0.0").await.unwrap();
    std::fs::write(dir.path().join("v1/stray"), "not ours").unwrap();

    assert!(
        Storage::open(&config.storage).await.err().expect("held").to_string().contains("in use by another process")
    );
    let storage = Storage::open_to_read(&config.storage).await.unwrap();
    let entropy = supercargo_registry::ambient::Entropy::from_os();
    let registry = Registry::new(&storage, config.visibility, clock(), entropy);
    assert!(registry.open_to_read().await.is_proven());
    let now = Some("2100-01-01T00:00:00Z".parse().unwrap());
    server.registry().finish_writes().await;
    let report = check(&registry, Options { now, ..DEEP }).await;
    assert_eq!((found(&report), report.counts.crates, &report.foreign[..]), (vec![], 1, &["v1/stray".to_owned()][..]));
    assert!(publish(&registry, &ann, "other", "1.0.0").await.is_err());
    drop(Packed::new("a", "1.0.0"));

    let empty = tempfile::tempdir().unwrap();
    assert!(FileStore::open_to_read(&empty.path().join("none"), KeyPrefix::default()).is_err());
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "looking makes no directory");
    server.stop().await;
}
