//! What a network, a busy store and kill -9 do to changes: nothing acknowledged is lost, nothing dangles, nothing happens twice, and a
//! user who repeats the command gets on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test says no by panicking")]
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use supercargo_registry::access::TokenSecret;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::config::Config;
use supercargo_registry::krate::packed::Packed;
use supercargo_registry::registry::{Published, RegistryError, Storage};
use supercargo_registry::replicas::{Mutant, Rules, Settings};
use supercargo_registry::store::faulty::{Call, Fault, Faulty, Rates};
use supercargo_registry::store::proof::VerdictKind;
use supercargo_registry::store::{MemoryStore, Prefix, Sha256Digest, list_all};
use support::crates::{
    audit, download, key, name, new_token, principal, publish, publish_plain, record_at, shown, upload, version,
};
use support::replicas::{Bench, at};

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

/// The put that nobody hears of lands later: before the writer looks, while it tries again, after it has answered, and after others have changed
/// the crate.
#[tokio::test(start_paused = true)]
async fn a_write_that_lands_late_lands_once() {
    for late in ["the mark", "the commit"] {
        for millis in [1, 30, 5_000, 30_000] {
            let bench = Bench::new().await;
            let registry = bench.replica("a").await;
            if late == "the commit" {
                bench.store.script_pass(Call::Put, RECORD);
            }
            bench.store.script(Call::Put, RECORD, Fault::Late(Duration::from_millis(millis)));
            publish(&registry, &bench.ann, &Packed::new("a", "1.0.0")).await.expect("the loop gets there");
            let announced = bench.head().await.seq;
            publish(&registry, &bench.ann, &Packed::new("a", "1.1.0")).await.expect("so does the next");
            assert_eq!(bench.head().await.seq, announced + 1, "{late}, {millis} ms");
            let before = bench.lines().await;
            assert_eq!(before["a"].len(), 2, "{late}, {millis} ms");
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(bench.lines().await, before, "{late}, {millis} ms: nothing is lost to what lands late");
            assert_eq!(bench.head().await.seq, announced + 1, "{late}, {millis} ms: and nothing announced again");
            let record = record_at(bench.store.inner(), &key("a")).await;
            assert_eq!(record.mark(), None, "{late}, {millis} ms: no mark is left");
        }
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

/// The commit lands, nobody hears of it or can look, and the same put again is refused: by our own commit. What the user is told then.
async fn told_after_a_refusal_by_ones_own_commit(rules: Rules) -> Result<Published, RegistryError> {
    let packed = Packed::new("a", "1.0.0");
    let bench = Bench::new().await;
    let registry = bench.replica_with(Settings { rules, ..at("a") }).await;
    let ticket = registry.may_publish(&bench.ann, &name("a")).await.expect("no faults yet");
    // The mark goes well.
    bench.store.script_pass(Call::Put, RECORD);
    bench.store.script(Call::Put, RECORD, Fault::LostReply);
    for _ in 0..3 {
        bench.store.script(Call::Get, RECORD, Fault::NotSent);
    }
    let told = registry.publish(ticket, upload(&packed)).await;
    assert_eq!(bench.puts(RECORD), 3, "a mark, a commit, and the commit again");
    assert_eq!(bench.lines().await["a"].len(), 1, "it is stored");
    told
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_an_unknown_outcome_is_looked_into() {
    let told = told_after_a_refusal_by_ones_own_commit(Rules::default()).await;
    told.expect("it is our own commit that refuses us");
    let told = told_after_a_refusal_by_ones_own_commit(Rules::without(Mutant::RefusedAfterUnknown)).await;
    assert!(
        matches!(told, Err(RegistryError::Contended { .. })),
        "the broken rule says that nothing was written: {told:?}"
    );
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

/// Two members publish one version at the same time, over a store whose calls take as long as the seed says. Which of them won, if not both.
async fn race_for_a_version(seed: u64, packed: [&Packed; 2]) -> Option<usize> {
    let bench = Bench::seeded(seed).await;
    let replicas = [bench.replica("a").await, bench.replica("b").await];
    // Both have seen that the name is free.
    let [one, two] = &replicas;
    let tickets = (
        one.may_publish(&bench.ann, &name("krate")).await.expect("free"),
        two.may_publish(&bench.ann, &name("krate")).await.expect("free"),
    );
    bench.store.set_rates(Rates { delay_max: Duration::from_millis(20), ..Rates::default() });
    let race =
        async { tokio::join!(one.publish(tickets.0, upload(packed[0])), two.publish(tickets.1, upload(packed[1]))) };
    let (results, calls) = bench.calls_of(race).await;
    assert_eq!(calls[..2], ["Put blob", "Put blob"], "seed {seed}: both have begun before either is done: {calls:?}");
    let same = packed[0].source == packed[1].source;
    let winner = match &results {
        (Ok(_), Ok(_)) => None,
        (Ok(_), Err(RegistryError::Conflict(text))) | (Err(RegistryError::Conflict(text)), Ok(_)) if !same => {
            assert!(text.contains("1.0.0"), "seed {seed}: {text}");
            Some(usize::from(results.0.is_err()))
        }
        other => panic!("seed {seed}, the same bytes: {same}: {other:?}"),
    };
    assert_eq!(winner.is_none(), same, "seed {seed}: of two with other bytes exactly one wins");

    bench.store.set_rates(Rates::default());
    let wanted = packed[winner.unwrap_or(0)].krate();
    let cksum = Sha256Digest::of(&wanted).to_string();
    assert_eq!(bench.lines().await["krate"], [("1.0.0".to_owned(), cksum, false)], "seed {seed}");
    let late = support::registry_in(bench.store.clone(), 3).await;
    for registry in [one, two, &late] {
        let bytes = download(registry, &bench.ann, "krate", "1.0.0").await.expect("it is there");
        assert!(bytes == wanted, "seed {seed}: the bytes of the winner are what everybody gets");
    }
    winner
}

#[tokio::test(start_paused = true)]
async fn two_replicas_and_one_version_end_with_one_checksum() {
    let first = Packed::new("krate", "1.0.0");
    let second = first.clone().with_source("pub fn other() {}");
    let mut wins = [0; 2];
    for seed in 0..20 {
        assert_eq!(race_for_a_version(seed, [&first, &first]).await, None);
        let winner = race_for_a_version(seed, [&first, &second]).await.expect("one of them");
        wins[winner] += 1;
    }
    println!("{wins:?}");
    assert!(wins.iter().all(|wins| *wins > 0), "either of them can win: {wins:?}");
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
    bench.store.script(Call::Put, "v1/token/", Fault::LostReply);
    let made = bench.registry.put_token(secret.hash(), new_token()).await.expect("recognised");
    let again = bench.registry.put_token(secret.hash(), new_token()).await.expect("the same again");
    assert_eq!(made, again, "the same content writes nothing");
    bench.store.script(Call::Put, "v1/token/", Fault::LostReply);
    bench.registry.revoke_token(secret.hash()).await.expect("recognised");
    let error = bench.registry.put_token(secret.hash(), new_token()).await.expect_err("for ever");
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
