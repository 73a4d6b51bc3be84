//! The rules of membership, one by one.

use super::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const LEASE: Duration = Duration::from_millis(2000);

fn epoch(seed: u64) -> Epoch {
    Epoch::generate(&mut StdRng::seed_from_u64(seed))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Joined at 100 ms, with the head that shows it.
fn member() -> (Lease, Head) {
    let (mut lease, mut head) = (Lease::new(LEASE, Rules::default()), Head::empty("r"));
    let offered = lease.offer(&mut head, "a:1", epoch(1)).expect("it joins");
    lease.joined(offered, ms(100));
    (lease, head)
}

#[test]
fn a_lease_runs_from_before_the_question() {
    let (mut lease, head) = member();
    assert!(lease.holds(ms(2100)) && !lease.holds(ms(2101)));
    lease.validate(&head, ms(1000), ms(1500), 0.0);
    assert!(lease.holds(ms(3000)) && !lease.holds(ms(3001)));
    lease.validate(&head, ms(900), ms(1600), 0.0);
    assert!(lease.holds(ms(3000)), "an earlier stamp takes nothing away");
}

#[test]
fn nothing_is_served_before_the_join_and_nothing_renews_while_evicting() {
    let mut lease = Lease::new(LEASE, Rules::default());
    let mut head = Head::empty("r");
    lease.validate(&head, ms(5), ms(5), 0.0);
    assert!(!lease.holds(ms(5)));
    let offered = lease.offer(&mut head, "a:1", epoch(1)).expect("it joins");
    assert!(!lease.holds(ms(5)));
    lease.joined(offered.clone(), ms(5));
    head.evict(&offered);
    lease.validate(&head, ms(100), ms(110), 1.0);
    assert_eq!((lease.holds(ms(100)), lease.epoch()), (false, None));
    assert_eq!(lease.join_at(), Some(ms(110 + 2500)), "after a pause, with jitter");
}

#[test]
fn short_memberships_are_followed_by_longer_and_longer_pauses() {
    let (mut lease, _) = member();
    let mut pauses = Vec::new();
    let mut now = ms(0);
    for seed in 2..9 {
        lease.validate(&Head::empty("r"), now, now, 0.0);
        pauses.push((lease.join_at().expect("it comes back") - now).as_secs());
        now += ms(1000);
        let offered = lease.offer(&mut Head::empty("r"), "a:1", epoch(seed)).expect("it joins");
        lease.joined(offered, now);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 120]);
    now += LEASE * 61;
    lease.validate(&Head::empty("r"), now, now, 0.0);
    assert_eq!(lease.join_at(), Some(now + LEASE), "a healthy one begins anew");
}

#[test]
fn an_offer_is_made_once_and_a_later_one_takes_its_place() {
    let mut lease = Lease::new(LEASE, Rules::default());
    let mut head = Head::empty("r");
    head.join(epoch(9), "a:1".into(), LEASE);
    let first = lease.offer(&mut head, "a:1", epoch(1)).expect("it joins");
    assert_eq!(lease.accepted(&head), Some(first.clone()), "the reply was lost");
    let second = lease.offer(&mut head, "a:1", epoch(2)).expect("it joins");
    let members: Vec<_> = head.members.iter().map(|member| member.epoch.clone()).collect();
    assert_eq!(members, [epoch(9), second.clone()], "the process that had the address before stays");
    assert!(lease.is_own(&first) && lease.is_own(&second) && !lease.is_own(&epoch(9)));
}

#[test]
fn leaving_is_final() {
    let (mut lease, head) = member();
    assert_eq!(lease.leave().len(), 1);
    assert!(!lease.holds(ms(100)));
    lease.validate(&head, ms(200), ms(200), 0.0);
    assert!(!lease.holds(ms(200)));
    assert_eq!((lease.join_at(), lease.offer(&mut Head::empty("r"), "a:1", epoch(3))), (None, None));
}

#[test]
fn an_evicting_member_is_removed_when_its_lease_is_over_on_any_clock() {
    let (mut lease, mut head) = member();
    head.join(epoch(5), "b:1".into(), LEASE);
    head.evict(&epoch(5));
    lease.watch_evicting(&head, ms(1000));
    lease.watch_evicting(&head, ms(1500));
    assert_eq!(lease.next_removal(), Some((epoch(5), ms(3300))), "from the first sight");
    head.remove(&epoch(5));
    lease.watch_evicting(&head, ms(1600));
    assert_eq!(lease.next_removal(), None);
}

#[test]
fn who_hears_nobody_evicts_nobody() {
    let (lease, head) = member();
    assert!(lease.may_evict(&head, 1, 0), "the only peer");
    assert!(!lease.may_evict(&head, 2, 0) && lease.may_evict(&head, 2, 1));
    assert!(!lease.may_evict(&Head::empty("r"), 1, 0), "not a member");
    assert!(!Lease::new(LEASE, Rules::default()).may_evict(&head, 1, 0));
}
