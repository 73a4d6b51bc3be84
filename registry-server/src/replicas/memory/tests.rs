//! Heads and notices over memory: what may be served after each.

use super::*;
use crate::krate::record::OpId;
use rand::SeedableRng;
use rand::rngs::StdRng;

const LEASE: Duration = Duration::from_secs(2);
const RING: usize = 3;

fn key(name: &str) -> Key {
    Key::krate(name).expect("a name")
}

fn op(number: u64) -> OpId {
    format!("{number:032x}").parse().expect("digits")
}

fn epoch(seed: u64) -> Epoch {
    Epoch::generate(&mut StdRng::seed_from_u64(seed))
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn state(rev: u64, generation: u64) -> Candidate<u64> {
    Candidate { rev, marked: false, generation, bytes: 1, value: rev }
}

fn seen(head: &Head) -> Arc<Seen> {
    Arc::new(Seen { head: head.clone(), etag: Etag::new(&head.rev.to_string()) })
}

/// A member since 0 ms, with `a` at rev 5 and `b` at rev 7 in memory.
fn member() -> (Memory<u64>, Head) {
    let mut memory = Memory::new(false, LEASE, 100_000, RING, Rules::default());
    memory.serve_registry("r", at(0));
    let mut head = Head::empty("r").next(op(1), "r");
    let epoch = memory.lease_mut().offer(&mut head, "a:1", epoch(1)).expect("it joins");
    memory.joined(epoch, &seen(&head), at(0), at(0), 0.0);
    let generation = memory.entries().generation();
    assert!(memory.keep(&key("a"), state(5, generation)) && memory.keep(&key("b"), state(7, generation)));
    assert_eq!(memory.get(&key("a"), at(10)), Lookup::Hit(5));
    (memory, head)
}

#[test]
fn a_head_is_applied_before_it_renews() {
    let (mut memory, head) = member();
    assert_eq!(memory.get(&key("a"), at(2001)), Lookup::Unproven, "the lease is over");
    let mut next = head.next(op(2), "r");
    next.announce(&key("a"), 6, op(3), RING);
    assert!(memory.observe_and_validate(&seen(&next), at(2500), at(2600), 0.0));
    assert_eq!(memory.get(&key("a"), at(2600)), Lookup::Miss);
    assert_eq!(memory.get(&key("b"), at(2600)), Lookup::Hit(7));
    assert!(!memory.observe_and_validate(&seen(&head), at(9000), at(9000), 0.0), "an older one");
    assert_eq!(memory.get(&key("b"), at(9000)), Lookup::Unproven, "neither applies nor validates");
}

#[test]
fn a_gap_in_the_ring_empties_the_memory() {
    let (mut memory, head) = member();
    let begun = memory.entries().generation();
    let mut next = head.next(op(2), "r");
    for number in 0..=RING as u64 {
        next.announce(&key("c"), number + 1, op(10 + number), RING);
    }
    memory.observe_and_validate(&seen(&next), at(100), at(100), 0.0);
    assert_eq!(memory.get(&key("b"), at(100)), Lookup::Miss);
    assert!(!memory.keep(&key("b"), state(7, begun)), "a read under way is not kept");
}

#[test]
fn a_notice_is_applied_always_and_acknowledged_by_its_epoch_only() {
    let (mut memory, head) = member();
    let own = head.members[0].epoch.clone();
    let notice = |epoch: &Epoch, name, rev| Notice { epoch: epoch.clone(), seq: 4, key: key(name).to_string(), rev };
    assert_eq!(memory.notice(&notice(&epoch(9), "a", 6)), None);
    assert_eq!(memory.get(&key("a"), at(10)), Lookup::Miss);
    assert_eq!(memory.notice(&notice(&own, "b", 8)), Some(Ack { epoch: own.clone(), seq: 4 }));
    assert_eq!(memory.get(&key("b"), at(10)), Lookup::Miss);
}

#[test]
fn a_join_that_a_newer_head_has_ended_serves_nothing() {
    let (mut memory, head) = member();
    let own = head.members[0].epoch.clone();
    let mut evicting = head.next(op(2), "r");
    evicting.evict(&own);
    memory.observe_and_validate(&seen(&evicting), at(10), at(10), 0.0);
    let mut joining = evicting.next(op(3), "r");
    let second = memory.lease_mut().offer(&mut joining, "a:1", epoch(2)).expect("it joins");
    let mut later = joining.next(op(4), "r");
    later.evict(&second);
    memory.observe_and_validate(&seen(&later), at(20), at(20), 0.0);
    memory.joined(second, &seen(&joining), at(15), at(25), 0.0);
    assert_eq!(memory.get(&key("a"), at(25)), Lookup::Unproven);
}

#[test]
fn another_registry_behind_the_store_is_another_memory() {
    let (mut memory, head) = member();
    assert!(memory.serve_registry("r", at(10)));
    assert!(!memory.serve_registry("restored", at(10)));
    assert_eq!(memory.get(&key("a"), at(10)), Lookup::Miss);
    assert!(memory.newest().is_none() && memory.lease().epoch().is_none());
    assert_eq!(memory.lease().join_at(), Some(at(10)));
    assert!(memory.observe(&seen(&head), at(20)), "its head may have a lower number");
}

#[test]
fn one_process_alone_needs_no_lease() {
    let mut memory = Memory::new(true, LEASE, 100_000, RING, Rules::default());
    assert!(memory.keep(&key("a"), state(5, 0)));
    assert_eq!(memory.get(&key("a"), at(1_000_000)), Lookup::Hit(5));
    memory.entries().announce(&key("a"), 6);
    assert_eq!(memory.get(&key("a"), at(1_000_000)), Lookup::Miss);
}
