//! The whole decision as one table: every action, on every kind of crate, by every kind of caller.

use std::sync::Arc;

use super::*;
use crate::access::{CratePattern, Grant, TokenSecret};

const NOW: &str = "2026-06-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn token(user: &str, grants: Vec<Grant>) -> Principal {
    use rand::SeedableRng;
    let hash = TokenSecret::generate(&mut rand::rngs::StdRng::seed_from_u64(1)).hash();
    Principal::Token(Arc::new(TokenPrincipal {
        hash,
        user: user.parse().unwrap(),
        grants,
        expires_at: None,
        revoked_at: None,
    }))
}

fn owned_by(owners: &[&str]) -> BTreeSet<Owner> {
    owners.iter().map(|owner| owner.parse().unwrap()).collect()
}

/// The decision in one word.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Allowed => "ok".to_owned(),
        Decision::Hidden => "404".to_owned(),
        Decision::Unauthenticated(_) => "401".to_owned(),
        Decision::Denied(Denial { reason, .. }) => match reason {
            DenialReason::Verb(verb) => format!("403 {verb}"),
            DenialReason::Name => "403 name".to_owned(),
            DenialReason::NotOwner => "403 owner".to_owned(),
        },
    }
}

/// Answers for read, publish, yank, owners.
fn answers(principal: &Principal, owners: Option<&BTreeSet<Owner>>, visibility: Visibility) -> [String; 4] {
    let name: CrateName = "foo-bar".parse().unwrap();
    let reads = decide(principal, Action::Read, Target { name: &name, owners }, visibility, at(NOW));
    let reader = Reader::new(principal, visibility, at(NOW));
    assert_eq!(reader.may_read("foo_bar"), reads == Decision::Allowed, "whoever asks about many crates");
    assert!(!reader.reads_all() || reads == Decision::Allowed);
    [Action::Read, Action::Publish, Action::Yank, Action::ChangeOwners]
        .map(|action| word(&decide(principal, action, Target { name: &name, owners }, visibility, at(NOW))))
}

#[test]
fn the_table() {
    use Verb::{Admin, Owners, PublishNew, PublishUpdate, Read, Yank};
    let (mine, theirs) = (owned_by(&["ann", "bob"]), owned_by(&["bob"]));
    let ann = |verbs: &[Verb]| token("ann", vec![Grant::on_all(verbs.iter().copied())]);
    let all = ann(&Verb::ALL);
    let writer = ann(&[Read, PublishNew, PublishUpdate, Yank, Owners]);
    let reader = ann(&[Read]);
    let blind = ann(&[PublishNew, PublishUpdate, Yank, Owners]);
    let admin_alone = ann(&[Admin]);
    let reading_admin = ann(&[Read, Admin]);
    let nothing = ann(&[]);
    let (absent, mine, theirs) = (None, Some(&mine), Some(&theirs));
    // who, what crate, in a private registry, in a public one
    type Row<'a> = (&'a str, &'a Principal, Option<&'a BTreeSet<Owner>>, [&'a str; 4], [&'a str; 4]);
    let none = ["401", "401", "401", "401"];
    let guest = ["ok", "401", "401", "401"];
    let no_verb = ["ok", "403 PublishUpdate", "403 Yank", "403 Owners"];
    let no_verb_new = ["ok", "403 PublishNew", "403 Yank", "403 Owners"];
    let hidden = ["404", "403 name", "404", "404"];
    let ok = ["ok", "ok", "ok", "ok"];
    let not_owner = ["ok", "403 owner", "403 owner", "403 owner"];
    let table: &[Row<'_>] = &[
        ("anonymous, absent", &Principal::Anonymous, absent, none, guest),
        ("anonymous, theirs", &Principal::Anonymous, theirs, none, guest),
        ("all verbs, absent", &all, absent, ok, ok),
        ("all verbs, mine", &all, mine, ok, ok),
        ("all verbs, theirs", &all, theirs, ok, ok),
        ("writer, absent", &writer, absent, ok, ok),
        ("writer, mine", &writer, mine, ok, ok),
        ("writer, theirs", &writer, theirs, not_owner, not_owner),
        ("reader, absent", &reader, absent, no_verb_new, no_verb_new),
        ("reader, mine", &reader, mine, no_verb, no_verb),
        ("reader, theirs", &reader, theirs, no_verb, no_verb),
        // Verbs do not give `Read`; what one may not see is told apart from the absent nowhere.
        ("blind writer, absent", &blind, absent, ["404", "ok", "ok", "ok"], ok),
        ("blind writer, mine", &blind, mine, ["404", "ok", "ok", "ok"], ok),
        ("blind writer, theirs", &blind, theirs, hidden, not_owner),
        ("admin alone, absent", &admin_alone, absent, hidden, no_verb_new),
        ("admin alone, theirs", &admin_alone, theirs, hidden, no_verb),
        // `Admin` stands in for ownership, and gives no verb.
        ("reading admin, theirs", &reading_admin, theirs, no_verb, no_verb),
        ("nothing, absent", &nothing, absent, hidden, no_verb_new),
        ("nothing, mine", &nothing, mine, hidden, no_verb),
        ("nothing, theirs", &nothing, theirs, hidden, no_verb),
    ];
    for (who, principal, owners, private, public) in table {
        assert_eq!(&answers(principal, *owners, Visibility::Private), private, "{who}, private");
        assert_eq!(&answers(principal, *owners, Visibility::Public), public, "{who}, public");
    }
}

#[test]
fn a_pattern_holds_for_every_verb_beside_it() {
    let grant = |verbs: &[Verb], crates: &[&str]| Grant {
        verbs: verbs.iter().copied().collect(),
        crates: crates.iter().map(|pattern| CratePattern::parse(pattern).unwrap()).collect(),
    };
    let mine = owned_by(&["ann"]);
    let ask = |grants: Vec<Grant>| answers(&token("ann", grants), Some(&mine), Visibility::Private);
    assert_eq!(ask(vec![grant(&Verb::ALL, &["Foo_*"])]), ["ok", "ok", "ok", "ok"]);
    assert_eq!(ask(vec![grant(&Verb::ALL, &["bar", "foo"])]), ["404", "403 name", "404", "404"]);
    let apart = vec![grant(&[Verb::Read], &["*"]), grant(&[Verb::Yank], &["foo-bar"]), grant(&[Verb::Owners], &["x*"])];
    assert_eq!(ask(apart), ["ok", "403 PublishUpdate", "ok", "403 Owners"]);
    // `Admin` on other crates does not help here.
    let elsewhere = vec![grant(&[Verb::Read, Verb::Yank], &["*"]), grant(&[Verb::Admin], &["baz"])];
    let theirs = owned_by(&["bob"]);
    assert_eq!(answers(&token("ann", elsewhere), Some(&theirs), Visibility::Private)[2], "403 owner");
}

#[test]
fn a_token_that_has_ended_may_nothing() {
    let mine = owned_by(&["ann"]);
    let with = |expires: Option<&str>, revoked: Option<&str>| {
        let Principal::Token(bearer) = token("ann", vec![Grant::on_all(Verb::ALL)]) else { panic!() };
        let mut bearer = TokenPrincipal::clone(&bearer);
        bearer.expires_at = expires.map(at);
        bearer.revoked_at = revoked.map(at);
        Principal::Token(Arc::new(bearer))
    };
    let ended = ["401", "401", "401", "401"];
    let ok = ["ok", "ok", "ok", "ok"];
    for visibility in [Visibility::Private, Visibility::Public] {
        let ask = |principal: &Principal| answers(principal, Some(&mine), visibility);
        assert_eq!(ask(&with(Some("2026-06-01T00:00:00.001Z"), None)), ok);
        assert_eq!(ask(&with(Some(NOW), None)), ended, "it ends at that instant");
        assert_eq!(ask(&with(Some("2026-05-31T23:59:59Z"), None)), ended);
        assert_eq!(ask(&with(None, Some("2026-06-02T00:00:00Z"))), ended, "revoked by a clock that is ahead of ours");
        assert_eq!(word(&enter(&with(Some(NOW), None), visibility, at(NOW))), "401");
        assert_eq!(word(&enter(&with(None, None), visibility, at(NOW))), "ok");
    }
    let Decision::Unauthenticated(text) =
        enter(&with(Some("2026-05-31T23:59:59.5Z"), None), Visibility::Public, at(NOW))
    else {
        panic!()
    };
    assert_eq!(text, "the token of `ann` expired at 2026-05-31T23:59:59Z: log in with a new one");
}

#[test]
fn who_may_come_in() {
    assert_eq!(word(&enter(&Principal::Anonymous, Visibility::Private, at(NOW))), "401");
    assert_eq!(word(&enter(&Principal::Anonymous, Visibility::Public, at(NOW))), "ok");
}

#[test]
fn refusals_say_what_is_missing_and_whom_to_ask() {
    let name: CrateName = "foo-bar".parse().unwrap();
    let text = |grants: Vec<Grant>, action: Action, owners: Option<&BTreeSet<Owner>>| {
        let target = Target { name: &name, owners };
        match decide(&token("ann", grants), action, target, Visibility::Private, at(NOW)) {
            Decision::Denied(denial) => denial.text,
            other => panic!("{other:?}"),
        }
    };
    let theirs = owned_by(&["b", "c", "d", "e", "f", "g"]);
    let writer = || vec![Grant::on_all([Verb::Read, Verb::Yank])];
    assert_eq!(
        text(writer(), Action::Publish, None),
        "the token of `ann` may not publish a new crate named `foo-bar`: it has no grant with the verb PublishNew on that name"
    );
    assert_eq!(
        text(writer(), Action::Yank, Some(&theirs)),
        "`ann` is not an owner of the crate `foo-bar`; its owners (`b`, `c`, `d`, `e`, `f` and others) can change that: \
         `cargo owner --add ann foo-bar`"
    );
    // Free, or taken by a crate that is not for this caller to see: word for word the same.
    let elsewhere = || vec![Grant { verbs: Verb::ALL.into(), crates: vec![CratePattern::parse("x").unwrap()] }];
    let taken = text(elsewhere(), Action::Publish, Some(&theirs));
    assert_eq!(taken, text(elsewhere(), Action::Publish, None));
    assert_eq!(taken, "the token of `ann` may not publish under the name `foo-bar`");
}
