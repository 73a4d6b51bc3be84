//! The garbage collection: what nothing names goes in two runs, and nothing else ever does.

use std::time::Duration;

use supercargo_registry::krate::Record;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::maintenance::Progress;
use supercargo_registry::maintenance::gc::{self, GcMutant, GcRules, Grace, Report};
use supercargo_registry::registry::{Registry, RegistryError};
use supercargo_registry::store::faulty::Call;
use supercargo_registry::store::{Cond, Key, Prefix, Put, Sha256Digest, Store, Ulid, list_all};
use tokio::time::advance;

use crate::support::held::Held;
use crate::{Place, index, key, name, op, plain_user, publish, replica_on, upload};

const HOUR: Duration = Duration::from_secs(3600);

async fn collect(registry: &Registry, dry_run: bool) -> Report {
    collect_with(registry, dry_run, Grace::default()).await
}

async fn collect_with(registry: &Registry, dry_run: bool, grace: Grace) -> Report {
    gc::run(registry, grace, dry_run, &Progress::default()).await.expect("the store answers")
}

fn keys(of: &[gc::Deleted]) -> Vec<&str> {
    of.iter().map(|deleted| deleted.key.as_str()).collect()
}

impl Place {
    /// What a publish that died after its first step left.
    async fn ghost(&self, packed: &Packed, number: u128) -> Key {
        let bytes = packed.krate();
        let version = packed.version.parse().unwrap();
        let canonical = name(&packed.name).canonical();
        let key =
            Key::blob(canonical.as_str(), &version, Sha256Digest::of(&bytes), Ulid::from_parts(1, number)).unwrap();
        self.plant(&key, bytes).await;
        key
    }

    async fn has(&self, key: &Key) -> bool {
        let Key::Blob { krate, .. } = key else { panic!("{key}") };
        let listed = list_all(self.store.inner(), &Prefix::Blobs(krate.clone())).await.unwrap();
        listed.iter().any(|entry| entry.key == *key)
    }

    async fn everything(&self) -> Vec<String> {
        let all = list_all(self.store.inner(), &Prefix::Everything).await.unwrap();
        all.iter().map(|entry| entry.key.to_string()).collect()
    }
}

async fn download(registry: &Registry, place: &Place, krate: &str, version: &str) -> Result<(), RegistryError> {
    let download = registry.download(&place.ann, &name(krate), &version.parse().unwrap()).await?;
    registry.content(&download, None).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_ghost_of_49_hours_goes_in_two_runs_and_one_of_47_stays() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let old = place.ghost(&Packed::new("krate", "2.0.0"), 1).await;
    advance(2 * HOUR).await;
    let young = place.ghost(&Packed::new("krate", "2.0.0"), 2).await;
    advance(47 * HOUR).await;
    place.registry.finish_writes().await;

    let before = place.everything().await;
    let dry = collect(&place.registry, true).await;
    assert_eq!((keys(&dry.planned), dry.dry_run), (vec![old.to_string().as_str()], true));
    assert_eq!(place.everything().await, before, "a dry run changes nothing");

    let first = collect(&place.registry, false).await;
    assert_eq!((keys(&first.planned), first.deleted.len()), (vec![old.to_string().as_str()], 0));
    assert!(place.has(&old).await);
    let hasty = collect(&place.registry, false).await;
    assert_eq!((hasty.plans_waiting, hasty.deleted.len(), place.has(&old).await), (1, 0, true));

    advance(HOUR / 2).await;
    assert_eq!(collect(&place.registry, false).await.deleted.len(), 0, "no plan is an hour old yet");
    advance(HOUR / 2).await;
    let second = collect(&place.registry, false).await;
    assert_eq!(keys(&second.deleted), [old.to_string()], "two plans name it, and it is there once");
    assert_eq!((place.has(&old).await, place.has(&young).await), (false, true));
    assert_eq!(second.skipped, []);
    download(&place.registry, &place, "krate", "1.0.0").await.expect("what is named stays");

    // The log says so, and every plan that was acted on is gone.
    let audits: Vec<_> = list_all(place.store.inner(), &Prefix::Audits).await.unwrap();
    let mut said = 0;
    for entry in audits {
        let text = String::from_utf8(place.object(&entry.key).await.to_vec()).unwrap();
        let is_said = text.contains("\"kind\":\"gc\"") && text.contains(&old.to_string());
        // Such a name is waited for, on a disk: see `store::file`.
        assert_eq!(is_said, entry.key.to_string().contains("/gc-"), "{}: {text}", entry.key);
        said += usize::from(is_said);
    }
    assert_eq!(said, 1);
    advance(3 * HOUR).await;
    let third = collect(&place.registry, false).await;
    assert_eq!(keys(&third.deleted), [young.to_string()]);
    assert_eq!(list_all(place.store.inner(), &Prefix::GcPlans).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_gc_paused_between_list_and_delete_while_identical_bytes_are_published_deletes_nothing_referenced() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let ghost = place.ghost(&Packed::new("krate", "2.0.0"), 1).await;
    advance(49 * HOUR).await;
    assert_eq!(collect(&place.registry, false).await.planned.len(), 1);
    advance(2 * HOUR).await;

    let held = Held::at(&place.store, Call::Delete, "v1/blob/", 1);
    let collector = replica_on(held.clone(), 2).await;
    let run = tokio::spawn(async move { collect(&collector, false).await });
    held.reached().await;
    publish(&place.registry, &place.ann, "krate", "2.0.0").await.unwrap();
    advance(50 * HOUR).await;
    held.go_on();
    assert_eq!(keys(&run.await.unwrap().deleted), [ghost.to_string()]);
    assert!(!place.has(&ghost).await);
    download(&place.registry, &place, "krate", "2.0.0").await.expect("the new attempt has a key of its own");
}

/// A publish that stands still before its second, third … put, while the garbage collection does its worst. Whether it was acknowledged, and
/// whether what the index names can be downloaded.
async fn publish_held_at(put: &str, nth: usize, grace: Grace) -> (Result<(), RegistryError>, bool) {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let held = Held::at(&place.store, Call::Put, put, nth);
    let (publisher, ann) = (replica_on(held.clone(), 2).await, place.ann.clone());
    let run = tokio::spawn(async move { publish(&publisher, &ann, "krate", "2.0.0").await });
    held.reached().await;
    // Nothing but time passes: no other reader or writer comes.
    advance(49 * HOUR).await;
    drop(collect_with(&place.registry, false, grace).await);
    advance(2 * HOUR).await;
    drop(collect_with(&place.registry, false, grace).await);
    held.go_on();
    let result = run.await.unwrap();
    let shown = index(&place.registry, "krate").await.unwrap().contains("2.0.0");
    let sound = !shown || download(&place.registry, &place, "krate", "2.0.0").await.is_ok();
    (result, sound)
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_sleeps_for_two_days_names_nothing_that_is_gone() {
    // Before the mark, before the announcement, before the commit.
    for (put, nth) in [("v1/crate/", 1), ("v1/head", 2), ("v1/crate/", 2)] {
        let (result, sound) = publish_held_at(put, nth, Grace::default()).await;
        println!("{put} {nth}: {result:?}");
        assert!(sound, "{put} {nth}: a version is in the index, and its file is gone");
        if (put, nth) == ("v1/crate/", 2) {
            result.expect("its mark kept the file");
        } else {
            assert!(matches!(result, Err(RegistryError::TooSlow(_))), "{put} {nth}: {result:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_broken_rule_of_the_collection_loses_a_file() {
    let without = |mutant| Grace { rules: GcRules::without(mutant), ..Grace::default() };
    let (result, sound) = publish_held_at("v1/crate/", 2, without(GcMutant::MarksIgnored)).await;
    assert!(result.is_ok() && !sound, "MarksIgnored: {result:?}");

    // Without a grace an honest publish of a moment loses its file.
    for (grace, lost) in [(Grace::default(), false), (without(GcMutant::NoGrace), true)] {
        let place = Place::new().await;
        publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
        let held = Held::at(&place.store, Call::Put, "v1/crate/", 1);
        let (publisher, ann) = (replica_on(held.clone(), 2).await, place.ann.clone());
        let run = tokio::spawn(async move { publish(&publisher, &ann, "krate", "2.0.0").await });
        held.reached().await;
        for _ in 0..2 {
            drop(collect_with(&place.registry, false, grace).await);
        }
        held.go_on();
        run.await.unwrap().expect("it took no time");
        let download = download(&place.registry, &place, "krate", "2.0.0").await;
        assert_eq!(download.is_err(), lost, "NoGrace: {download:?}");
    }

    // A plan that is wrong, whyever.
    for (grace, lost) in [(Grace::default(), false), (without(GcMutant::NoSecondLook), true)] {
        let place = Place::new().await;
        let packed = Packed::new("krate", "2.0.0");
        drop(place.ghost(&packed, 1).await);
        publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
        advance(49 * HOUR).await;
        drop(collect_with(&place.registry, false, grace).await);
        // The record is put back to a state that names the file.
        let ticket = place.registry.may_publish(&place.ann, &name("krate")).await.unwrap();
        place.registry.publish(ticket, upload(&packed)).await.unwrap();
        let named = place.record("krate").await.versions()[&"2.0.0".parse().unwrap()].blob.clone();
        let plan = list_all(place.store.inner(), &Prefix::GcPlans).await.unwrap().remove(0);
        let text = String::from_utf8(place.object(&plan.key).await.to_vec()).unwrap();
        let ghost = text.split('"').find(|part| part.starts_with("v1/blob/")).unwrap().to_owned();
        place.plant(&plan.key, text.replace(&ghost, &named)).await;
        advance(50 * HOUR).await;
        drop(collect_with(&place.registry, false, grace).await);
        let download = download(&place.registry, &place, "krate", "2.0.0").await;
        assert_eq!(download.is_err(), lost, "NoSecondLook: {download:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_doubt_is_left_alone() {
    let place = Place::new().await;
    let mut ghosts = Vec::new();
    for (number, krate) in ["broken", "deleted", "marked", "nobody"].into_iter().enumerate() {
        if krate != "nobody" {
            publish(&place.registry, &place.ann, krate, "1.0.0").await.unwrap();
        }
        ghosts.push(place.ghost(&Packed::new(krate, "2.0.0"), number as u128).await);
    }
    place.plant(&key("broken"), "not a record").await;
    let marked = place.record("marked").await;
    place.plant(&key("marked"), marked.marked(op(9)).to_bytes()).await;
    place.registry.delete_crate(&name("deleted")).await.unwrap();

    for _ in 0..3 {
        advance(49 * HOUR).await;
        let report = collect(&place.registry, false).await;
        assert_eq!((report.planned.len(), report.deleted.len()), (0, 0), "{report:?}");
        let why: Vec<_> = report.skipped.iter().map(|s| (s.krate.as_str(), s.needs_help)).collect();
        assert_eq!(why, [("broken", true), ("marked", false), ("nobody", false)]);
    }
    advance(30 * 24 * HOUR).await;
    let report = collect(&place.registry, false).await;
    assert_eq!(keys(&report.deleted), [ghosts[3].to_string()], "that of a crate that nobody has");
    assert_eq!(keys(&report.planned), [ghosts[1].to_string()]);
    // What was in order when the plan was made, and is not any more.
    place.plant(&key("deleted"), "not a record").await;
    advance(2 * HOUR).await;
    assert_eq!(collect(&place.registry, false).await.deleted, []);
    for ghost in &ghosts[..3] {
        assert!(place.has(ghost).await, "{ghost}");
    }
}

/// Whoever deletes a record has a month from the first run on that sees it, however old the crate is.
#[tokio::test(start_paused = true)]
async fn the_files_of_a_crate_whose_record_vanished_wait_from_when_that_was_seen() {
    let place = Place::new().await;
    let day = 24 * HOUR;
    for krate in ["gone", "vacant", "back"] {
        publish(&place.registry, &place.ann, krate, "1.0.0").await.unwrap();
    }
    place.registry.finish_writes().await;
    advance(400 * day).await;
    let back = place.record("back").await;
    for krate in ["gone", "vacant", "back"] {
        place.store.inner().delete(&key(krate)).await.unwrap();
    }
    // Somebody reserved the name since, died, and the mark was cleared.
    let reserved = Record::new(name("vacant"), ["eve".parse().unwrap()].into()).reservation(op(8));
    place.plant(&key("vacant"), reserved.swept(op(9)).to_bytes()).await;
    let files = async || {
        let files = list_all(place.store.inner(), &Prefix::AllBlobs).await.unwrap();
        files.iter().map(|entry| entry.key.to_string().split('/').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };

    let all = ["back", "gone", "vacant"];
    for number in 0..30 {
        let report = collect(&place.registry, false).await;
        assert_eq!((report.deleted.len(), report.planned.len()), (0, 0), "day {number}: {report:#?}");
        let expected: &[&str] = if number > 20 { &["gone", "vacant"] } else { &["back", "gone", "vacant"] };
        let skipped: Vec<_> = report.skipped.iter().map(|skipped| skipped.krate.as_str()).collect();
        assert_eq!(skipped, expected, "day {number}");
        assert!(report.skipped.iter().all(|skipped| skipped.why.contains("it has no record") && !skipped.needs_help));
        assert_eq!(files().await, all);
        if number == 20 {
            // What began to wait does not go by that when there is a record.
            place.plant(&key("back"), back.to_bytes()).await;
        }
        advance(day).await;
    }
    let dry = collect(&place.registry, true).await;
    assert_eq!((dry.deleted.len(), files().await), (2, all.map(str::to_owned).to_vec()), "{dry:#?}");
    let report = collect(&place.registry, false).await;
    assert_eq!((report.deleted.len(), &report.skipped[..]), (2, &[][..]), "{report:#?}");
    assert_eq!(files().await, ["back"]);

    // And it begins anew when it is gone again.
    place.store.inner().delete(&key("back")).await.unwrap();
    for _ in 0..30 {
        assert_eq!(collect(&place.registry, false).await.deleted.len(), 0);
        advance(day).await;
    }
    assert_eq!(collect(&place.registry, false).await.deleted.len(), 1);
    assert_eq!(files().await, [] as [&str; 0]);
    advance(2 * HOUR).await;
    drop(collect(&place.registry, false).await);
    assert_eq!(list_all(place.store.inner(), &Prefix::GcPlans).await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_collections_at_once_are_harmless_and_old_probes_go_too() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    for number in 0..20 {
        drop(place.ghost(&Packed::new("krate", "2.0.0"), number).await);
    }
    place.plant(&Key::probe(Ulid::from_parts(1, 1), "left").unwrap(), "over").await;
    let other = replica_on((*place.store).clone(), 2).await;
    for _ in 0..3 {
        advance(49 * HOUR).await;
        drop(tokio::join!(collect(&place.registry, false), collect(&other, false)));
    }
    let rest = place.everything().await;
    let count = |part: &str| rest.iter().filter(|key| key.starts_with(part)).count();
    assert_eq!((count("v1/blob/"), count("v1/probe/"), count("v1/gc/")), (1, 0, 0), "{rest:?}");
    let bob = plain_user(&place.registry, "bob").await;
    assert!(place.registry.download(&bob, &name("krate"), &"1.0.0".parse().unwrap()).await.is_ok());
    // A plan that names what is not for a collection to delete deletes nothing.
    let plan = Key::GcPlan(Ulid::from_parts(1, 7));
    let record = key("krate").to_string();
    let text =
        format!(r#"{{"candidates":[{{"key":"{record}","etag":"x","modified":"1970-01-01T00:00:00Z","bytes":1}}]}}"#);
    let put = place.store.inner().put(&plan, text.into_bytes().into(), Cond::Any).await;
    assert!(matches!(put, Put::Stored(_)));
    advance(2 * HOUR).await;
    let error = gc::run(&place.registry, Grace::default(), false, &Progress::default()).await.unwrap_err();
    assert!(error.cause().unwrap().contains("not for it to delete"), "{error:?}");
    assert!(index(&place.registry, "krate").await.is_some());
}
