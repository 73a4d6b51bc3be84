//! A CargoToken goes: what it handed out is revoked first, and nothing holds it up for ever.

use super::*;

fn delete(world: &World, path: &str) {
    world.cluster.edit(path, |object| object["metadata"]["deletionTimestamp"] = json!(now().to_string()));
}

#[tokio::test]
async fn every_token_is_revoked_before_the_object_goes() {
    let world = World::new(json!({"expiresAfter": "30m"})).await;
    world.settle().await;
    pass_time(1200);
    world.settle().await;
    assert_eq!(world.registry.in_force().len(), 2);
    delete(&world, TOKEN);
    world.pass().await.unwrap();
    assert_eq!((world.registry.in_force(), world.cluster.get(TOKEN)), (vec![], None));
}

#[tokio::test]
async fn a_registry_that_exists_and_does_not_answer_holds_the_object() {
    let world = World::new(json!({})).await;
    world.settle().await;
    world.registry.set_down(true);
    delete(&world, TOKEN);
    pass_time(100_000);
    assert!(world.pass().await.is_err());
    assert_eq!(world.told("Ready"), "False/Revoking");
    world.registry.set_down(false);
    world.pass().await.unwrap();
    assert_eq!((world.registry.in_force(), world.cluster.get(TOKEN)), (vec![], None));
}

#[tokio::test]
async fn a_registry_that_goes_too_is_asked_for_a_minute() {
    let world = World::new(json!({})).await;
    world.settle().await;
    world.registry.set_down(true);
    delete(&world, TOKEN);
    delete(&world, REGISTRY);
    pass_time(30);
    assert!(world.pass().await.is_err());
    pass_time(31);
    world.pass().await.unwrap();
    assert_eq!(world.cluster.get(TOKEN), None);
}

#[tokio::test]
async fn a_registry_that_is_gone_holds_nothing_up() {
    let world = World::new(json!({})).await;
    world.settle().await;
    world.cluster.remove(REGISTRY);
    delete(&world, TOKEN);
    world.pass().await.unwrap();
    assert_eq!(world.cluster.get(TOKEN), None);
}

#[tokio::test]
async fn a_token_that_was_never_handed_out_needs_no_registry() {
    let world = World::new(json!({})).await;
    world.make_registry(false);
    world.settle().await;
    delete(&world, TOKEN);
    world.pass().await.unwrap();
    assert_eq!((world.cluster.get(TOKEN), world.registry.take_calls()), (None, vec![]));
}
