//! Replicas over one store, scenario by scenario: what a change waits for, what memory may serve, what a fault costs. (Chance and time are the
//! simulation's.)

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::access::{Principal, TokenSecret};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::Record;
use supercargo_registry::krate::record::OpId;
use supercargo_registry::registry::{Query, Registry, RegistryError};
use supercargo_registry::replicas::{Mode, Mutant, Rules, Settings};
use supercargo_registry::store::{Body, Cond, Etag, Get, Key, Put, Store};
use support::crates::{key, name, new_token, principal, publish_plain as publish, shown};
use support::held::Held;
use support::replicas::{Bench, LEASE, TestStore, at, join, until};
use tokio::time::Instant;

/// How many versions a replica shows; `None`: it knows no such crate.
async fn lines(registry: &Registry, krate: &str) -> Option<usize> {
    shown(registry, &Principal::Anonymous, krate).await
}

async fn record(store: &TestStore, krate: &str) -> (Record, Etag) {
    let Get::Found(object) = store.inner().get(&key(krate), None).await.unwrap() else { panic!("no {krate}") };
    let etag = object.etag.clone();
    (Record::parse(&object.bytes(1 << 24).await.unwrap()).unwrap(), etag)
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_served_without_the_store_and_missing_crates_too() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let story = async {
        for _ in 0..10 {
            assert_eq!(lines(&a, "krate").await, Some(1));
        }
    };
    assert_eq!(bench.calls_of(story).await.1, [""; 0], "who published knows");
    let story = async {
        for _ in 0..10 {
            assert_eq!(lines(&a, "absent").await, None);
        }
    };
    assert_eq!(bench.calls_of(story).await.1, ["Get crate"]);
}

#[tokio::test(start_paused = true)]
async fn a_change_costs_four_puts_and_waits_for_nobody_who_answers() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    let began = Instant::now();
    let (result, calls) = bench.calls_of(publish(&a, &bench.ann, "krate", "1.1.0")).await;
    result.unwrap();
    assert_eq!(calls, ["Put blob", "Put crate", "Put head", "Put crate"]);
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_silent_replica_costs_one_lease_once() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    bench.room.deafen("b");
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    let took = began.elapsed();
    assert!((LEASE..LEASE * 2).contains(&took), "{took:?}");
    assert_eq!(lines(&b, "krate").await, Some(2), "solo, after asking for the head");
    until(|| b.standing().role == "solo").await;
    tokio::time::sleep(LEASE / 2).await;
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.2.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_waited_for_by_nobody() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    bench.room.deafen("b");
    b.leave().await;
    assert_eq!(bench.head().await.members.len(), 1);
    let began = Instant::now();
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(lines(&b, "krate").await, Some(1));
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_share_writes_of_the_head() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    bench.store.set_rates(supercargo_registry::store::faulty::Rates {
        delay_max: Duration::from_millis(10),
        ..Default::default()
    });
    let before = bench.head().await.seq;
    let names = ["one", "two", "three", "four", "five", "six", "seven", "eight"];
    let all = futures::future::join_all(names.map(|krate| publish(&a, &bench.ann, krate, "1.0.0")));
    let (results, calls) = bench.calls_of(all).await;
    results.into_iter().for_each(|result| drop(result.unwrap()));
    let heads = calls.iter().filter(|call| *call == "Put head").count();
    assert!((1..6).contains(&heads), "{heads} writes of the head for 8 changes");
    assert_eq!(bench.head().await.seq, before + 8);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_refused_everywhere_when_the_call_returns() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    let secret = Entropy::seeded(5).with(TokenSecret::generate);
    a.put_token(secret.hash(), new_token()).await.unwrap();
    b.authenticate(secret.expose()).await.unwrap();
    assert_eq!(bench.calls_of(b.authenticate(secret.expose())).await.1, [""; 0], "from memory");
    a.revoke_token(secret.hash()).await.unwrap();
    let error = b.authenticate(secret.expose()).await.unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_writers_mark_harms_nobody_and_the_next_writer_takes_it_over() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let mark: OpId = "12".repeat(16).parse().unwrap();
    let (before, etag) = record(&bench.store, "krate").await;
    let marked = Body::from(before.marked(mark).to_bytes());
    assert!(matches!(bench.store.inner().put(&key("krate"), marked, Cond::Matches(etag)).await, Put::Stored(_)));
    let story = async {
        assert_eq!((lines(&b, "krate").await, lines(&b, "krate").await), (Some(1), Some(1)));
    };
    assert_eq!(bench.calls_of(story).await.1, ["Get crate", "Get crate"], "served, and not kept");
    let began = Instant::now();
    publish(&b, &bench.ann, "krate", "1.1.0").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let (after, _) = record(&bench.store, "krate").await;
    assert_eq!((after.rev(), after.mark()), (2, None));
    assert_eq!(lines(&a, "krate").await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_a_dead_writer_reserved_is_free() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "other", "1.0.0").await.unwrap();
    let mark: OpId = "12".repeat(16).parse().unwrap();
    let reserved = Record::new(name("Free-Name"), ["ann".parse().unwrap()].into()).reservation(mark);
    let put = bench.store.inner().put(&key("free_name"), Body::from(reserved.to_bytes()), Cond::Absent).await;
    assert!(matches!(put, Put::Stored(_)));
    assert_eq!(lines(&a, "Free-Name").await, None);
    let bob = principal(&a, "bob").await;
    publish(&a, &bob, "free_name", "1.0.0").await.unwrap();
    assert_eq!(lines(&a, "free_name").await, Some(1));
    let (record, _) = record(&bench.store, "free_name").await;
    assert_eq!(record.owners().iter().map(ToString::to_string).collect::<Vec<_>>(), ["bob"]);
}

#[tokio::test(start_paused = true)]
async fn cut_off_from_the_store_strict_answers_nothing_and_available_index_files_for_a_while() {
    let bench = Bench::new().await;
    let (strict, available) =
        (bench.replica("s").await, bench.replica_with(Settings { mode: Mode::Available, ..at("v") }).await);
    publish(&strict, &bench.ann, "krate", "1.0.0").await.unwrap();
    for registry in [&strict, &available] {
        assert_eq!(lines(registry, "krate").await, Some(1));
    }
    bench.store.set_down(true);
    assert_eq!(lines(&strict, "krate").await, Some(1), "the lease holds");
    tokio::time::sleep(LEASE * 2).await;
    let refused = |result: Result<_, RegistryError>| matches!(result, Err(RegistryError::Store(_)));
    assert!(refused(strict.index(&bench.ann, &name("krate")).await.map(drop)));
    assert_eq!(lines(&available, "krate").await, Some(1));
    assert!(refused(available.owners(&bench.ann, &name("krate")).await.map(drop)), "nothing but index files");
    assert!(refused(available.set_yanked(&bench.ann, &name("krate"), &"1.0.0".parse().unwrap(), true).await));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(refused(available.index(&bench.ann, &name("krate")).await.map(drop)));
    bench.store.set_down(false);
    for registry in [&strict, &available] {
        assert_eq!(lines(registry, "krate").await, Some(1), "healed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_replica_asks_nothing_and_is_fresh_at_once() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    assert_eq!(lines(&b, "krate").await, Some(1));
    tokio::time::sleep(LEASE * 2).await;
    let before = bench.store.calls().len();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(bench.store.calls().len(), before, "nothing happens when nobody asks");
    assert_eq!(bench.calls_of(lines(&b, "krate")).await, (Some(1), vec![]), "memory, after asking for the head");
    assert_eq!(b.standing().role, "member");
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_was_put_back_empties_the_memory() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    let objects = [Key::Format, Key::Head, key("krate")];
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let mut saved = Vec::new();
    for key in &objects {
        let Get::Found(object) = bench.store.inner().get(key, None).await.unwrap() else { panic!("no {key}") };
        saved.push(object.bytes(1 << 20).await.unwrap());
    }
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    assert_eq!(lines(&a, "krate").await, Some(2));

    // The backup, under a new id, as the documentation says.
    let mut format: serde_json::Value = serde_json::from_slice(&saved[0]).unwrap();
    format["registry"] = "restored".into();
    saved[0] = serde_json::to_vec(&format).unwrap().into();
    for (key, bytes) in objects.iter().zip(saved) {
        assert!(matches!(bench.store.inner().put(key, Body::Bytes(bytes), Cond::Any).await, Put::Stored(_)));
    }
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!(lines(&a, "krate").await, Some(1));
    publish(&a, &bench.ann, "krate", "1.2.0").await.unwrap();
    assert_eq!((lines(&a, "krate").await, bench.head().await.registry.as_str()), (Some(2), "restored"));
}

#[tokio::test(start_paused = true)]
async fn more_changes_than_the_ring_holds_while_a_replica_slept_empty_its_memory() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    // It is not a member, and hears nothing, while others announce more than the ring holds.
    tokio::time::sleep(LEASE * 2).await;
    let mut head = bench.head().await;
    head.members.clear();
    for number in 0..600u64 {
        let op: OpId = format!("{number:032x}").parse().unwrap();
        head = head.next(op.clone(), &head.registry.clone());
        head.announce(&key(&format!("k{number}")), 1, op, 512);
    }
    assert!(matches!(
        bench.store.inner().put(&Key::Head, Body::Bytes(head.to_bytes()), Cond::Any).await,
        Put::Stored(_)
    ));
    assert_eq!(a.standing().entries, 1);
    let (shown, calls) = bench.calls_of(lines(&a, "krate")).await;
    assert_eq!((shown, calls), (Some(1), vec!["Get crate".to_owned()]), "read again");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_a_change_overtook_is_not_kept_and_not_shared() {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let held = Held::over(&bench.store);
    let b = bench.outsider(Arc::new(held.clone()), at("b")).await;
    join(&b).await;

    held.hold_answer("v1/crate/");
    let early = tokio::spawn({
        let b = b.clone();
        async move { lines(&b, "krate").await }
    });
    held.reached().await;
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    // Who comes after the acknowledgement while the old read is still on its way, and after it.
    let late = tokio::spawn({
        let b = b.clone();
        async move { lines(&b, "krate").await }
    });
    held.go_on();
    assert_eq!(early.await.unwrap(), Some(1), "it had begun before the change");
    assert_eq!(late.await.unwrap(), Some(2));
    assert_eq!(lines(&b, "krate").await, Some(2));
}

/// What two readers of a replica without a lease are shown when a read of the head is on its way: the one who asked for it, and one who comes
/// after a change was acknowledged that the read does not know of.
async fn shown_before_and_after_a_change(rules: Rules) -> [Option<usize>; 2] {
    let bench = Bench::new().await;
    let a = bench.replica("a").await;
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let held = Held::over(&bench.store);
    let b = bench.outsider(Arc::new(held.clone()), Settings { rules, ..at("b") }).await;
    // The first head that it sees empties what it had read before.
    assert_eq!((lines(&b, "krate").await, lines(&b, "krate").await), (Some(1), Some(1)));
    assert_eq!(bench.calls_of(lines(&b, "krate")).await, (Some(1), vec![]), "from memory, after asking for the head");
    let reader = || {
        let b = b.clone();
        tokio::spawn(async move { lines(&b, "krate").await })
    };
    held.hold_answer("v1/head");
    let early = reader();
    held.reached().await;
    publish(&a, &bench.ann, "krate", "1.1.0").await.unwrap();
    let late = reader();
    // It waits for the same read now.
    tokio::task::yield_now().await;
    held.go_on();
    [early.await.unwrap(), late.await.unwrap()]
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_a_head_that_was_asked_for_before_the_reader_came_proves_nothing() {
    assert_eq!(shown_before_and_after_a_change(Rules::default()).await, [Some(1), Some(2)]);
    let broken = Rules::without(Mutant::SoloOnOlderHead);
    assert_eq!(shown_before_and_after_a_change(broken).await, [Some(1), Some(1)], "the broken rule shows");
}

/// `cargo publish` and then `cargo search` may reach different replicas.
#[tokio::test(start_paused = true)]
async fn what_one_member_acknowledged_a_search_on_every_other_finds() {
    let bench = Bench::new().await;
    let (a, b) = (bench.replica("a").await, bench.replica("b").await);
    let query = Query::new("krate", None, 1, 100).unwrap();
    let begun = Instant::now();
    for number in 0..20 {
        publish(&a, &bench.ann, &format!("krate{number}"), "1.0.0").await.unwrap();
        for (who, replica) in [("a", &a), ("b", &b)] {
            let found = replica.search(&bench.ann, &query).await.unwrap();
            assert_eq!(found.total, number + 1, "on {who}, {:?} after the beginning", begun.elapsed());
        }
    }
}

/// While one replica is silent a change takes a lease, and others search all the time.
#[tokio::test(start_paused = true)]
async fn a_search_finds_what_was_acknowledged_however_long_its_writer_waited() {
    let bench = Bench::new().await;
    let (a, b, c) = (bench.replica("a").await, bench.replica("b").await, bench.replica("c").await);
    publish(&a, &bench.ann, "krate", "1.0.0").await.unwrap();
    let query = Query::new("krate", None, 1, 100).unwrap();
    for replica in [&b, &c] {
        assert_eq!(replica.search(&bench.ann, &query).await.unwrap().total, 1);
    }
    bench.room.deafen("c");
    let writer = tokio::spawn({
        let (a, ann) = (a.clone(), bench.ann.clone());
        async move { publish(&a, &ann, "krate-two", "1.0.0").await }
    });
    let began = Instant::now();
    while !writer.is_finished() {
        b.search(&bench.ann, &query).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    writer.await.unwrap().unwrap();
    assert!(began.elapsed() > LEASE, "{:?}: the writer waited for the silent one", began.elapsed());
    for (who, replica) in [("b", &b), ("c", &c)] {
        assert_eq!(replica.search(&bench.ann, &query).await.unwrap().total, 2, "on {who}");
    }
}
