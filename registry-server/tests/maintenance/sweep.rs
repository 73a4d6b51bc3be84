//! Marks of writers that died: readers are served all the while, and after the sweep from memory again.

use std::time::Duration;

use supercargo_registry::access::TokenRecord;
use supercargo_registry::ambient::Entropy;
use supercargo_registry::krate::Record;
use supercargo_registry::maintenance::sweep::{Pace, keep_swept};
use supercargo_registry::registry::RegistryError;
use supercargo_registry::store::{Key, Prefix, Store};
use tokio_util::sync::CancellationToken;

use crate::{Place, index, name, op, plain_user, publish, replica, user};

const PACE: Pace = Pace { look_every: Duration::from_secs(1), dead_after: Duration::from_secs(10) };

impl Place {
    fn keep_swept(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        tokio::spawn(keep_swept(self.registry.clone(), PACE, Entropy::seeded(7), stop.clone()));
        stop
    }

    /// Reads the index file three times.
    async fn read(&self, krate: &str) {
        for _ in 0..3 {
            drop(index(&self.registry, krate).await);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_writers_mark_is_cleared_and_the_crate_is_served_from_memory_again() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let before = place.record("krate").await;
    place.plant(&crate::key("krate"), before.marked(op(9)).to_bytes()).await;
    // One that has not read it yet.
    let place = Place { registry: replica(&place.store, 2).await, ..place };
    let stop = place.keep_swept();
    assert_eq!(place.reads_of("krate", place.read("krate")).await, 3, "a marked record is not kept in memory");

    tokio::time::sleep(PACE.dead_after / 2).await;
    assert_eq!(place.record("krate").await.mark(), Some(&op(9)), "its writer may live");
    tokio::time::sleep(PACE.dead_after).await;
    let after = place.record("krate").await;
    assert_eq!((after.mark(), after.rev()), (None, before.rev() + 1));
    assert_eq!((after.index_etag(), after.ops(), after.owners()), (before.index_etag(), before.ops(), before.owners()));
    assert!(place.reads_of("krate", place.read("krate")).await <= 1, "kept in memory again");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_living_writers_mark_is_left_alone_and_each_mark_has_its_own_time() {
    let place = Place::new().await;
    publish(&place.registry, &place.ann, "krate", "1.0.0").await.unwrap();
    let before = place.record("krate").await;
    let place = Place { registry: replica(&place.store, 2).await, ..place };
    let stop = place.keep_swept();
    for digit in 1..=4 {
        // Each writer marks for longer than half the time, and none for the whole.
        place.plant(&crate::key("krate"), before.marked(op(digit)).to_bytes()).await;
        place.read("krate").await;
        tokio::time::sleep(PACE.dead_after * 2 / 3).await;
        assert_eq!(place.record("krate").await.mark(), Some(&op(digit)));
    }
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_publisher_died_is_free_and_its_absence_is_kept_in_memory() {
    let place = Place::new().await;
    let reserved = Record::new(name("foo-bar"), ["dead".parse().unwrap()].into()).reservation(op(9));
    place.plant(&crate::key("foo-bar"), reserved.to_bytes()).await;
    let stop = place.keep_swept();
    assert_eq!(place.reads_of("foo-bar", place.read("foo-bar")).await, 3, "missing, and not kept in memory");

    tokio::time::sleep(PACE.dead_after + 3 * PACE.look_every).await;
    let vacant = place.record("foo-bar").await;
    assert_eq!((vacant.mark(), vacant.rev(), vacant.is_visible(), vacant.is_vacant()), (None, 1, false, true));
    assert!(place.reads_of("foo-bar", place.read("foo-bar")).await <= 1, "its absence is kept in memory");
    assert_eq!(index(&place.registry, "foo-bar").await, None);
    assert!(place.registry.crate_state(&name("foo-bar")).await.unwrap().is_none());

    // Another user, another spelling.
    let bob = plain_user(&place.registry, "bob").await;
    publish(&place.registry, &bob, "Foo_Bar", "1.0.0").await.unwrap();
    let record = place.record("foo-bar").await;
    assert_eq!((record.rev(), record.name(), record.is_visible()), (2, &name("Foo_Bar"), true));
    assert_eq!(place.registry.owners(&bob, &name("foo_bar")).await.unwrap(), ["bob".parse().unwrap()]);
    assert!(index(&place.registry, "Foo_Bar").await.is_some(), "and nobody is shown the absence any more");
    let ann = plain_user(&place.registry, "carl").await;
    assert!(matches!(publish(&place.registry, &ann, "Foo_Bar", "2.0.0").await, Err(RegistryError::Forbidden(_))));
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_tokens_mark_is_cleared_too_and_one_without_a_token_never_becomes_one() {
    let place = Place::new().await;
    let tokens = place.store.inner().list(&Prefix::Tokens, None).await.unwrap().entries;
    let Key::Token(digest) = tokens[0].key else { panic!("{tokens:?}") };
    let hash = digest.to_string().parse().unwrap();
    let before = TokenRecord::parse(&place.object(&tokens[0].key).await).unwrap();
    place.plant(&tokens[0].key, before.marked(op(9)).to_bytes()).await;
    let other = Key::Token(supercargo_registry::store::Sha256Digest::of(b"another"));
    let unborn = before.reservation(op(8));
    place.plant(&other, unborn.to_bytes()).await;
    let other_hash = supercargo_registry::store::Sha256Digest::of(b"another").to_string().parse().unwrap();

    let place = Place { registry: replica(&place.store, 2).await, ..place };
    let stop = place.keep_swept();
    assert!(place.registry.token(hash).await.unwrap().is_some());
    assert!(place.registry.token(other_hash).await.unwrap().is_none());
    tokio::time::sleep(PACE.dead_after + 3 * PACE.look_every).await;
    let after = TokenRecord::parse(&place.object(&tokens[0].key).await).unwrap();
    assert_eq!((after.mark.as_ref(), after.rev), (None, before.rev + 1));
    assert_eq!((&after.user, &after.grants), (&before.user, &before.grants));
    assert!(after.contains(&before.op), "what was done is still known");
    assert_eq!(TokenRecord::parse(&place.object(&other).await).unwrap(), unborn);
    assert!(place.registry.token(other_hash).await.unwrap().is_none());
    drop(user(&place.registry, "zoe").await);
    stop.cancel();
}
