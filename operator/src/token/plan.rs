//! Which tokens of a CargoToken are in force, which one belongs into the Secret, and when to make a new one. Pure.
//!
//! # The rule that a crash cannot break
//! `status.issued` names every token that was ever handed to the registry and not revoked since: a hash is written there *before* the
//! registry hears of it. So after a crash at any point, what is in `issued` and neither in the Secret nor running out is
//! revoked, and nothing is forgotten.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::crd::conditions::whole_second;
use crate::crd::token::{CargoTokenSpec, IssuedToken};

/// What to do with the tokens of one object.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The token in the Secret, if it is one of ours and may stay there.
    pub current: Option<IssuedToken>,
    /// A new one is needed, for this reason.
    pub mint: Option<Why>,
    /// Older ones that go on until [`IssuedToken::superseded_until`].
    pub overlapping: Vec<IssuedToken>,
    /// The rest: to be revoked, once the Secret holds one that is in force.
    pub revoke: Vec<IssuedToken>,
}

/// Why a new token is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There has been none.
    First,
    /// The one before has lived two thirds of its life.
    Due,
    /// The Secret is gone, or holds something else.
    Lost,
}

/// Decides. `in_secret`: hash of the well-formed token that our Secret holds. `pending`: hash of a token that this process made, announced in
/// `issued`, and still holds in memory because an attempt to hand it out failed.
pub fn plan(
    spec: &CargoTokenSpec,
    issued: &[IssuedToken],
    in_secret: Option<&str>,
    pending: Option<&str>,
    now: Timestamp,
) -> Plan {
    let current = issued.iter().find(|t| Some(t.sha256.as_str()) == in_secret).cloned();
    let mut overlapping = Vec::new();
    let mut revoke = Vec::new();
    for token in issued.iter().filter(|t| Some(*t) != current.as_ref() && Some(t.sha256.as_str()) != pending) {
        match &token.superseded_until {
            Some(until) if until.0 > now => overlapping.push(token.clone()),
            _ => revoke.push(token.clone()),
        }
    }
    let mint = match &current {
        Some(token) if rotation_time(spec, token).is_some_and(|due| due <= now) => Some(Why::Due),
        // Announced as replaced, and then the one that was to replace it got lost.
        Some(token) if token.superseded_until.is_some() => Some(Why::Due),
        Some(_) => None,
        None if issued.is_empty() => Some(Why::First),
        None => Some(Why::Lost),
    };
    Plan { current, mint, overlapping, revoke }
}

/// When the registry stops taking this token by itself.
pub fn expires_at(spec: &CargoTokenSpec, token: &IssuedToken) -> Option<Timestamp> {
    if let Some(until) = &token.superseded_until {
        return Some(until.0);
    }
    Some(whole_second(token.issued_at.0.saturating_add(life(spec)?).ok()?))
}

/// When a token has to be replaced: after two thirds of its life.
pub fn rotation_time(spec: &CargoTokenSpec, token: &IssuedToken) -> Option<Timestamp> {
    let life = life(spec)?;
    token.issued_at.0.saturating_add(life / 3 * 2).ok()
}

/// `issued` as it has to be written before the registry hears of `fresh`: the current one runs out at its end, and `fresh` is added.
pub fn announce(
    spec: &CargoTokenSpec,
    plan: &Plan,
    issued: &[IssuedToken],
    fresh: &str,
    now: Timestamp,
) -> Vec<IssuedToken> {
    let mut all = issued.to_vec();
    if let Some(current) = &plan.current {
        for token in all.iter_mut().filter(|t| t.sha256 == current.sha256) {
            token.superseded_until = Some(Time(expires_at(spec, current).unwrap_or(now)));
        }
    }
    all.push(IssuedToken { sha256: fresh.to_owned(), issued_at: Time(whole_second(now)), superseded_until: None });
    all
}

/// How long until this object has to be looked at because of time alone. `None`: never.
pub fn next_event(spec: &CargoTokenSpec, issued: &[IssuedToken], now: Timestamp) -> Option<Duration> {
    let times = issued.iter().filter_map(|token| match &token.superseded_until {
        Some(until) => Some(until.0),
        None => rotation_time(spec, token),
    });
    times.min().map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

fn life(spec: &CargoTokenSpec) -> Option<SignedDuration> {
    let life: Duration = spec.expires_after?.into();
    SignedDuration::try_from(life).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::token::{Grant, RegistryReference, Verb};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn spec(expires_after: Option<&str>) -> CargoTokenSpec {
        CargoTokenSpec {
            registry_ref: RegistryReference { name: "company".into() },
            user: None,
            grants: vec![Grant { verbs: vec![Verb::Read], crates: vec!["*".into()] }],
            expires_after: expires_after.map(|d| d.parse().expect("a duration")),
            secret_name: None,
        }
    }

    fn issued(sha256: &str, second: i64) -> IssuedToken {
        IssuedToken { sha256: sha256.into(), issued_at: Time(at(second)), superseded_until: None }
    }

    #[test]
    fn a_new_object_gets_its_first_token() {
        let plan = plan(&spec(None), &[], None, None, at(0));
        assert_eq!(plan, Plan { current: None, mint: Some(Why::First), overlapping: vec![], revoke: vec![] });
    }

    #[test]
    fn a_token_without_end_is_kept_for_ever() {
        let plan = plan(&spec(None), &[issued("a", 0)], Some("a"), None, at(1_000_000_000));
        assert_eq!((plan.mint, plan.revoke.len()), (None, 0));
        assert_eq!(next_event(&spec(None), &[issued("a", 0)], at(5)), None);
    }

    #[test]
    fn after_two_thirds_a_new_one_is_made_and_the_old_one_goes_on_to_its_end() {
        let spec = spec(Some("30m"));
        let old = [issued("a", 0)];
        assert_eq!(plan(&spec, &old, Some("a"), None, at(1199)).mint, None);
        assert_eq!(next_event(&spec, &old, at(1000)), Some(Duration::from_secs(200)));
        let due = plan(&spec, &old, Some("a"), None, at(1200));
        assert_eq!(due.mint, Some(Why::Due));
        let both = announce(&spec, &due, &old, "b", at(1200));
        assert_eq!(both[0].superseded_until, Some(Time(at(1800))));

        let later = plan(&spec, &both, Some("b"), None, at(1300));
        assert_eq!((later.mint, later.overlapping.len(), later.revoke.len()), (None, 1, 0));
        assert_eq!(
            expires_at(&spec, &later.overlapping[0]),
            Some(at(1800)),
            "the old end, though the spec would give another"
        );
        let end = plan(&spec, &both, Some("b"), None, at(1800));
        assert_eq!((end.overlapping.len(), end.revoke[0].sha256.as_str()), (0, "a"));
    }

    #[test]
    fn a_crash_after_the_announcement_revokes_what_was_announced_and_tries_again() {
        let spec = spec(Some("30m"));
        let due = plan(&spec, &[issued("a", 0)], Some("a"), None, at(1200));
        let both = announce(&spec, &due, &[issued("a", 0)], "b", at(1200));
        let after = plan(&spec, &both, Some("a"), None, at(1201));
        assert_eq!(after.mint, Some(Why::Due), "the old token is still what the Secret holds");
        assert_eq!(after.revoke[0].sha256, "b");
    }

    #[test]
    fn a_failed_attempt_keeps_the_token_that_is_still_in_memory() {
        let both = [issued("b", 0)];
        let after = plan(&spec(None), &both, None, Some("b"), at(1));
        assert_eq!((after.mint, after.revoke.len()), (Some(Why::Lost), 0));
    }

    #[test]
    fn a_secret_that_was_deleted_or_edited_means_a_new_token_and_the_old_one_revoked() {
        for in_secret in [None, Some("someone-else's")] {
            let plan = plan(&spec(None), &[issued("a", 0)], in_secret, None, at(1));
            assert_eq!((plan.mint, plan.revoke[0].sha256.as_str()), (Some(Why::Lost), "a"), "{in_secret:?}");
        }
    }

    #[test]
    fn a_shorter_life_in_the_spec_counts_at_once() {
        let plan = plan(&spec(Some("10m")), &[issued("a", 0)], Some("a"), None, at(500));
        assert_eq!(plan.mint, Some(Why::Due));
    }
}
