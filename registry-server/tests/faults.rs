//! What a network, a busy store and kill -9 do to changes: nothing acknowledged is lost, nothing dangles, nothing happens twice, and a
//! user who repeats the command gets on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::access::{TokenSecret, Verb};
use supercargo_registry::ambient::Entropy;
use supercargo_registry::config::Config;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::{RegistryError, Storage};
use supercargo_registry::store::faulty::{Call, Fault, Faulty, Rates};
use supercargo_registry::store::proof::VerdictKind;
use supercargo_registry::store::{MemoryStore, Prefix, Sha256Digest, list_all};
use support::crates::{audit, name, principal, publish, publish_plain, shown, upload, version};
use support::replicas::Bench;

const RECORD: &str = "v1/crate/";
const BLOB: &str = "v1/blob/";

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_recognised_as_our_own_write() {
    // Two puts without a fault: the mark and the commit.
    for (fault, puts) in [
        (Fault::LostReply, 2),
        (Fault::LostRequest, 3),
        (Fault::Conflict, 3),
        (Fault::Throttled, 3),
        (Fault::NotSent, 3),
    ] {
        let bench = Bench::new().await;
        bench.store.script(Call::Put, RECORD, fault);
        publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0"))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(bench.puts(RECORD), puts, "{fault:?} at the mark");
        bench.store.script(Call::Put, "v1/head", fault);
        bench.store.script_pass(Call::Put, RECORD);
        bench.store.script(Call::Put, RECORD, fault);
        publish(&bench.registry, &bench.ann, &Packed::new("a", "1.1.0"))
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert_eq!(bench.puts(RECORD), 2 * puts, "{fault:?} at the announcement and the commit");
        assert_eq!(bench.lines().await["a"].len(), 2, "{fault:?}");

        bench.store.script(Call::Put, RECORD, fault);
        bench
            .registry
            .set_yanked(&bench.ann, &name("a"), &version("1.0.0"), true)
            .await
            .unwrap_or_else(|error| panic!("{fault:?}: {error:?}"));
        assert!(bench.lines().await["a"][0].2, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_lands_late_lands_once() {
    for millis in [1, 30, 5_000] {
        let bench = Bench::new().await;
        bench.store.script(Call::Put, RECORD, Fault::Late(Duration::from_millis(millis)));
        publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect("the loop gets there");
        publish(&bench.registry, &bench.ann, &Packed::new("a", "1.1.0")).await.expect("so does the next");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(bench.lines().await["a"].len(), 2, "{millis} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_stays_unknown_is_told_as_such_and_the_command_can_be_repeated() {
    let packed = Packed::new("a", "1.0.0");
    let bench = Bench::new().await;
    let ticket = bench.registry.may_publish(&bench.ann, &name("a")).await.expect("no faults yet");
    // The mark goes well, and nobody hears of the commit.
    bench.store.script_pass(Call::Put, RECORD);
    for _ in 0..8 {
        bench.store.script(Call::Put, RECORD, Fault::LostReply);
    }
    for _ in 0..24 {
        bench.store.script(Call::Get, RECORD, Fault::NotSent);
    }
    let error = bench.registry.publish(ticket, upload(&packed)).await.expect_err("nobody knows");
    assert!(matches!(error, RegistryError::Unclear { .. }), "{error:?}");
    assert!(error.to_string().contains("repeat the command"), "{error}");
    publish(&bench.registry, &bench.ann, &packed).await.expect("repeated, it is a success");
    assert_eq!(bench.lines().await["a"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn endless_conflicts_end_in_a_text_that_says_what_to_do() {
    let bench = Bench::new().await;
    let conflicts = || (0..100).for_each(|_| bench.store.script(Call::Put, RECORD, Fault::Conflict));
    conflicts();
    let error = publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect_err("conflicts only");
    assert!(matches!(error, RegistryError::Contended { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing was written, repeat the command"), "{error}");
    let attempts = bench.puts(RECORD);
    assert!((5..30).contains(&attempts), "{attempts} attempts");
    assert!(bench.lines().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_cut_off_writes_nothing_and_heals() {
    let bench = Bench::new().await;
    publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect("no faults yet");
    bench.store.set_down(true);
    let read = bench.registry.index(&bench.ann, &name("a")).await;
    assert!(matches!(read, Err(RegistryError::Store(_))), "a cached index is not shown without asking: {read:?}");
    publish(&bench.registry, &bench.ann, &Packed::new("a", "1.1.0")).await.expect_err("cut off");
    bench.store.set_down(false);
    assert_eq!(bench.lines().await["a"].len(), 1);
    bench.registry.index(&bench.ann, &name("a")).await.expect("healed");
    publish(&bench.registry, &bench.ann, &Packed::new("a", "1.1.0")).await.expect("healed");
}

#[tokio::test(start_paused = true)]
async fn a_read_that_breaks_off_is_begun_again() {
    let bench = Bench::new().await;
    publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect("no faults yet");
    // Another replica has nothing cached.
    let other = support::registry_in(bench.store.clone(), 3).await;
    bench.store.script(Call::Get, RECORD, Fault::Truncated);
    other.index(&bench.ann, &name("a")).await.expect("the second read is whole");
}

#[tokio::test(start_paused = true)]
async fn a_bit_that_was_turned_over_is_never_shown() {
    let bench = Bench::new().await;
    publish(&bench.registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect("no faults yet");
    let good = bench.registry.index(&bench.ann, &name("a")).await.expect("no faults yet").plain().await.expect("whole");
    let mut refused = 0;
    for seed in 100..400 {
        // One that has nothing in memory.
        let other = support::registry_in(bench.store.clone(), seed).await;
        bench.store.script(Call::Get, RECORD, Fault::Flipped);
        match other.index(&bench.ann, &name("a")).await {
            Ok(index) => assert_eq!(index.plain().await.expect("whole"), good),
            Err(error) => {
                assert!(matches!(error, RegistryError::Broken { .. }), "{error:?}");
                refused += 1;
            }
        }
    }
    assert!(refused > 200, "{refused} of 300 turned bits were noticed; the others would have to be where nothing is");
    let other = support::registry_in(bench.store.clone(), 99).await;
    bench.store.script(Call::Get, RECORD, Fault::Flipped);
    let published = publish(&other, &bench.ann, &Packed::new("a", "1.1.0")).await;
    assert!(published.is_ok() || bench.lines().await["a"].len() == 1, "{published:?}");
}

/// Ten seconds in which the head takes nothing: changes wait or are told to come again, and none is lost.
#[tokio::test(start_paused = true)]
async fn a_head_that_is_throttled_for_long_loses_nothing() {
    for fault in [Fault::Throttled, Fault::Conflict, Fault::NotSent, Fault::LostRequest] {
        let bench = Bench::new().await;
        let replicas = [bench.replica("a").await, bench.replica("b").await];
        let began = tokio::time::Instant::now();
        (0..40).for_each(|_| bench.store.script(Call::Put, "v1/head", fault));
        let versions: Vec<_> = (0..6).map(|number| format!("1.{number}.0")).collect();
        let stories = versions.iter().enumerate().map(|(number, version)| {
            let (registry, bench) = (&replicas[number % 2], &bench);
            async move {
                // What a user does: repeat what failed.
                let mut repeats = 0;
                while let Err(error) = publish_plain(registry, &bench.ann, "a", version).await {
                    assert!(
                        !matches!(error, RegistryError::Internal { .. } | RegistryError::Broken { .. }),
                        "{error:?}"
                    );
                    repeats += 1;
                    assert!(repeats < 50, "{fault:?}: {error:?}");
                }
            }
        });
        futures::future::join_all(stories).await;
        println!("{fault:?}: {:?}", began.elapsed());
        assert_eq!(bench.lines().await["a"].len(), versions.len(), "{fault:?}");
        for registry in &replicas {
            assert_eq!(shown(registry, &bench.ann, "a").await, Some(versions.len()), "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_three_replicas_gets_the_name_and_the_others_are_told() {
    let store = Arc::new(MemoryStore::new());
    let mut tasks = Vec::new();
    for (seed, spelling) in [(1, "foo-bar"), (2, "foo_bar"), (3, "Foo_Bar")] {
        let registry = support::registry_in(store.clone(), seed).await;
        let user = principal(&registry, &format!("user{seed}")).await;
        tasks.push(tokio::spawn(async move {
            (spelling, publish(&registry, &user, &Packed::new(spelling, "1.0.0")).await)
        }));
    }
    let mut winners = Vec::new();
    let mut losers = Vec::new();
    for task in tasks {
        match task.await.expect("no panic") {
            (spelling, Ok(_)) => winners.push(spelling),
            (_, Err(error)) => losers.push(error.to_string()),
        }
    }
    assert_eq!((winners.len(), losers.len()), (1, 2), "{losers:?}");
    assert_eq!(audit(&*store).await.into_keys().collect::<Vec<_>>(), winners);
}

#[tokio::test(start_paused = true)]
async fn two_replicas_and_one_version_end_with_one_checksum() {
    for same in [true, false] {
        let store = Arc::new(MemoryStore::new());
        let one = support::registry_in(store.clone(), 1).await;
        let two = support::registry_in(store.clone(), 2).await;
        let ann = principal(&one, "ann").await;
        let first = Packed::new("a", "1.0.0");
        let second = if same { first.clone() } else { first.clone().with_source("pub fn other() {}") };
        // Both have seen that the name is free.
        let tickets = (
            one.may_publish(&ann, &name("a")).await.expect("free"),
            two.may_publish(&ann, &name("a")).await.expect("free"),
        );
        let results = (one.publish(tickets.0, upload(&first)).await, two.publish(tickets.1, upload(&second)).await);
        results.0.expect("the first wins");
        match same {
            true => drop(results.1.expect("the same bytes are a success for both")),
            false => assert!(matches!(results.1, Err(RegistryError::Conflict(_))), "{:?}", results.1),
        }
        assert_eq!(audit(&*store).await["a"].len(), 1);
    }
}

/// Publishers and yankers on two replicas over a rough store; every acknowledged version has to be there in the end.
async fn rough_story(seed: u64) {
    let store = Arc::new(Faulty::new(MemoryStore::new(), seed, Rates::default()));
    let replicas =
        [support::registry_in(store.clone(), seed ^ 1).await, support::registry_in(store.clone(), seed ^ 2).await];
    let ann = principal(&replicas[0], "ann").await;
    store.set_rates(Rates::rough());
    let mut tasks = Vec::new();
    for worker in 0..4u64 {
        let (registry, ann) = (replicas[usize::try_from(worker % 2).expect("small")].clone(), ann.clone());
        tasks.push(tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for turn in 0..5 {
                let packed = Packed::new("shared", &format!("{worker}.{turn}.0"));
                // What a user does: repeat what failed.
                for _ in 0..3 {
                    if publish(&registry, &ann, &packed).await.is_ok() {
                        acknowledged.push((packed.version.clone(), Sha256Digest::of(&packed.krate()).to_string()));
                        break;
                    }
                }
                if turn % 2 == 0 && acknowledged.iter().any(|(vers, _)| *vers == packed.version) {
                    let _ = registry.set_yanked(&ann, &name("shared"), &version(&packed.version), true).await;
                }
            }
            acknowledged
        }));
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.expect("no panic"));
    }
    // Late writes land now.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let lines = audit(store.inner()).await.remove("shared").unwrap_or_default();
    for (vers, cksum) in &acknowledged {
        assert!(
            lines.iter().any(|(v, c, _)| (v, c) == (vers, cksum)),
            "seed {seed}: {vers} was acknowledged and is not in {lines:?}"
        );
    }
    assert!(acknowledged.len() > 10, "seed {seed}: only {} of 20 got through", acknowledged.len());
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_on_a_rough_store() {
    for seed in 0..8 {
        rough_story(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_survive_lost_replies_and_stay_revoked() {
    let bench = Bench::new().await;
    let secret = Entropy::seeded(9).with(TokenSecret::generate);
    let new = || supercargo_registry::access::NewToken {
        user: "ci".parse().expect("a login"),
        description: "x".into(),
        grants: vec![supercargo_registry::access::Grant::on_all([Verb::Read])],
        expires_at: None,
    };
    bench.store.script(Call::Put, "v1/token/", Fault::LostReply);
    let made = bench.registry.put_token(secret.hash(), new()).await.expect("recognised");
    let again = bench.registry.put_token(secret.hash(), new()).await.expect("the same again");
    assert_eq!(made, again, "the same content writes nothing");
    bench.store.script(Call::Put, "v1/token/", Fault::LostReply);
    bench.registry.revoke_token(secret.hash()).await.expect("recognised");
    let error = bench.registry.put_token(secret.hash(), new()).await.expect_err("for ever");
    assert!(matches!(error, RegistryError::Conflict(_)), "{error:?}");
    bench.registry.revoke_token(secret.hash()).await.expect("again is a success");
    let other = support::registry_in(bench.store.clone(), 8).await;
    let error = other.authenticate(secret.expose()).await.expect_err("on every replica at once");
    assert!(error.to_string().contains("revoked"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_is_unready_until_its_store_is_proven_and_heals_by_itself() {
    let store = Arc::new(Faulty::calm(MemoryStore::new()));
    store.set_down(true);
    let config: Config = support::config("[storage]\nkind = \"memory\"\n");
    let server = support::TestServer::with(&config, &Storage::ToProve(store.clone())).await;
    let verdict = server.registry().wait_for(|verdict| verdict.kind != VerdictKind::Proving).await;
    assert_eq!(verdict.kind, VerdictKind::Unreachable, "{verdict:?}");
    let error = server.registry().anonymous().expect_err("private");
    assert!(matches!(error, RegistryError::Unauthenticated { .. }), "{error:?}");
    store.set_down(false);
    let verdict = server.registry().wait_for(|verdict| verdict.kind == VerdictKind::Proven).await;
    assert!(verdict.is_proven());
    assert!(list_all(store.inner(), &Prefix::Crates).await.expect("no faults").is_empty());
    server.stop().await;
    assert_eq!(store.calls().iter().filter(|(call, key, _)| *call == Call::Put && key.starts_with(BLOB)).count(), 0);
}
