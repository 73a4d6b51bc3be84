//! The operator is cut short at every single request it makes, before or after that request has its effect, and begins anew.

use super::fake_cluster::When;
use super::*;

/// Runs `story` once for every request in it and both kinds of fault, until a run is not cut short any more.
async fn at_every_request(story: impl AsyncFn(&mut World, &dyn Fn(&World) -> bool)) {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let mut world = World::new(json!({"expiresAfter": "30m"})).await;
            let struck = Cell::new(false);
            world.cluster.faults.arm(n, when);
            story(&mut world, &|world| {
                struck.set(struck.get() | world.cluster.faults.disarm());
                struck.get()
            })
            .await;
            let in_secret = world.in_secret();
            let label = format!("request {n}, fault {when:?}: {:#}", world.cluster.get(TOKEN).unwrap_or_default());
            assert!(world.registry.in_force().contains(&in_secret), "what the Secret holds is in force; {label}");
            let mut issued = world.issued();
            issued.sort();
            assert_eq!(world.registry.in_force(), issued, "what is in force is on record; {label}");
            assert_eq!(world.told("Ready"), "True/Issued", "{label}");
            if !struck.get() {
                assert!(n >= 5, "the story has too few requests for this test to mean anything: {n}");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_while_the_first_token_is_made_leaves_exactly_one() {
    at_every_request(async |world, struck| {
        for _ in 0..3 {
            if world.pass().await.is_err() {
                break;
            }
        }
        struck(world);
        world.restart();
        world.settle().await;
        assert_eq!(world.issued().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_failure_without_a_crash_leaves_exactly_one_too() {
    at_every_request(async |world, struck| {
        for _ in 0..3 {
            let _ = world.pass().await;
        }
        struck(world);
        world.settle().await;
        assert_eq!(world.issued().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_crash_during_rotation_never_takes_the_old_token_away_early() {
    for when in [When::Before, When::After] {
        for n in 0.. {
            let mut world = World::new(json!({"expiresAfter": "30m"})).await;
            world.settle().await;
            let old = world.in_secret();
            pass_time(1200);
            world.cluster.faults.arm(n, when);
            let _ = world.pass().await;
            let struck = world.cluster.faults.disarm();
            world.restart();
            world.settle().await;
            let label = format!("request {n}, fault {when:?}: {:#}", world.cluster.get(TOKEN).unwrap_or_default());
            let in_force = world.registry.in_force();
            assert!(in_force.contains(&old), "builds that hold the old token go on; {label}");
            assert!(
                in_force.contains(&world.in_secret()) && world.in_secret() != old && in_force.len() == 2,
                "{label}"
            );
            pass_time(601);
            world.settle().await;
            assert_eq!(world.registry.in_force(), [world.in_secret()], "{label}");
            if !struck {
                assert!(n >= 5, "{n}");
                break;
            }
        }
    }
}
